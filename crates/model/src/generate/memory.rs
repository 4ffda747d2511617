//! What an engine keeps, and what makes way for what.
//!
//! Keys and values are in the slots of live replies, in segments that requests stand on, and in those
//! of past conversations. Only the last are given up, the one used longest ago first, when the others
//! need their memory.

use std::collections::HashSet;

use crate::Error;
use crate::generate::Engine;
use crate::generate::engine::MANY_IMAGES;
use crate::generate::filling::Filling;
use crate::generate::retained::distinct_tokens;

/// Images whose features are kept between steps; more are encoded again when they come.
const KEPT_FEATURES: usize = 64;

impl Engine<'_> {
    /// Room for `tokens` tokens in each of `slots` slots; past conversations make way for it.
    pub(super) fn make_room(&mut self, slots: usize, tokens: usize) -> Result<(), Error> {
        if self.cache.fits(slots, tokens) {
            return Ok(());
        }
        let held = self.live.iter().map(|live| live.held).max().unwrap_or(0);
        let tokens = tokens.max(held);
        // Half as much again, so that a reply does not move all slots every few tokens.
        let room = (tokens + tokens / 2).min(self.reach()).max(tokens);
        let bytes = |slots: usize, room: usize| {
            (slots as u64)
                .saturating_mul(room as u64)
                .saturating_mul(self.generator.bytes_per_token())
        };
        let whole = (slots.max(self.cache.slots()), room.max(self.cache.room()));
        // Where all slots there ever were do not fit with this room, those in use do.
        let all = bytes(whole.0, whole.1).saturating_add(self.stood_on());
        let (slots, room) = match all <= self.limits.cache_bytes {
            true => whole,
            false => (slots, room),
        };
        self.forget(bytes(slots, room).saturating_sub(self.cache.bytes()));
        self.cache.resize(slots, room)
    }

    /// Makes sure of memory for `tokens` tokens in segments: past conversations make way for them, then
    /// slots that no one uses.
    pub(super) fn make_way(&mut self, tokens: usize) -> Result<(), Error> {
        let bytes = (tokens as u64).saturating_mul(self.generator.bytes_per_token());
        self.forget(bytes);
        if self.held_bytes().saturating_add(bytes) > self.limits.cache_bytes {
            self.cache.resize(self.live.len(), self.cache.room())?;
        }
        Ok(())
    }

    /// Forgets past conversations until `more` bytes fit beside what is left.
    pub(super) fn forget(&mut self, more: u64) {
        loop {
            let fits = self.held_bytes().saturating_add(more) <= self.limits.cache_bytes;
            if fits || !self.retained.forget_oldest() {
                return;
            }
        }
    }

    /// Tokens that the longest of the conversations with a slot may grow to.
    pub(super) fn reach(&self) -> usize {
        let live = self.live.iter().map(|live| live.room);
        let filling = self.filling.iter().map(|filling| filling.waiting.room);
        live.chain(filling).max().unwrap_or(0)
    }

    /// Bytes of keys and values.
    pub(super) fn held_bytes(&self) -> u64 {
        let tokens = self.cache.tokens_in_segments() as u64;
        let segments = tokens.saturating_mul(self.generator.bytes_per_token());
        self.cache.bytes().saturating_add(segments)
    }

    /// Bytes of the segments that requests stand on.
    fn stood_on(&self) -> u64 {
        let live = self.live.iter().flat_map(|live| &live.path);
        let filling = self.filling.iter().flat_map(|filling| &filling.path);
        let tokens = distinct_tokens(live.chain(filling)) as u64;
        tokens.saturating_mul(self.generator.bytes_per_token())
    }

    /// Forgets images that no conversation here shows, once there are many.
    pub(super) fn forget_images(&mut self) {
        if self.features.len() > KEPT_FEATURES {
            let run = self.generator.prompter.image_tokens();
            let needed: HashSet<u32> = self
                .filling
                .iter()
                .flat_map(|filling| {
                    let done = filling.done();
                    let images = filling.waiting.prompt.images.iter();
                    images.filter(move |(start, _)| start + run > done)
                })
                .map(|&(_, image)| image)
                .collect();
            let mut more = self.features.len() - KEPT_FEATURES;
            self.features.retain(|image, _| {
                let kept = more == 0 || needed.contains(image);
                more -= usize::from(!kept);
                kept
            });
        }
        if self.images.len() < self.many_images {
            return;
        }
        let waiting = self.waiting.iter().flat_map(|w| &w.prompt.keys);
        let filling = self.filling.iter().flat_map(Filling::keys);
        let live = self.live.iter().flat_map(|live| &live.keys);
        let shown: HashSet<u32> = waiting
            .chain(filling)
            .chain(live)
            .chain(self.retained.keys())
            .map(|key| key.image)
            .collect();
        self.images.retain(|_, image| shown.contains(image));
        // All conversations are gone through: not before there are twice as many.
        self.many_images = (2 * self.images.len()).max(MANY_IMAGES);
    }
}
