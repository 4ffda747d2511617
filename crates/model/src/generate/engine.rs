//! The loop that answers: requests join and leave between steps.
//!
//! A step either runs a chunk of prompts or adds one token to every live reply; where there are
//! both they take turns, so that no one waits longer than a chunk for the next token. Each live request
//! has a slot of the cache; slots are used from the first on without gaps, so that all live requests
//! are neighbours in memory: when one leaves, the last takes its place.
//!
//! **Invariant:** in f32 a greedy reply has the same tokens whatever else is live.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tch::Tensor;

use crate::generate::Generator;
use crate::generate::filling::Filling;
use crate::generate::live::{Live, Prompt, Waiting};
use crate::generate::prefix::Key;
use crate::generate::prompter::Prepared;
use crate::generate::request::{Event, Finish, Generated, PromptTokens, Request, RequestId};
use crate::generate::retained::{Retained, distinct_tokens};
use crate::kv_cache::{KvCache, Segment};
use crate::{Error, Unanswerable};

/// How much an engine does and keeps at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineLimits {
    /// Requests that are answered at the same time.
    pub slots: usize,
    /// Bytes of keys and values, those of past conversations included.
    pub cache_bytes: u64,
    /// Prompt tokens in one pass through the model, which bounds its memory.
    pub prefill_tokens: usize,
    /// Prompt tokens in one step, which bounds how long live replies wait for their next token, and
    /// short prompts behind long ones for their first.
    pub chunk_tokens: usize,
    /// So many slots must be free before prompts join live replies, where so many wait: prompts that
    /// are run together take less time, and the first of them gets its first token later.
    pub company: usize,
}

impl Default for EngineLimits {
    fn default() -> EngineLimits {
        EngineLimits {
            slots: 32,
            cache_bytes: a_quarter_of_memory(),
            prefill_tokens: 2048,
            chunk_tokens: 512,
            company: 1,
        }
    }
}

impl EngineLimits {
    /// Limits for who waits for all replies and for no one's first token: prompts are run in steps of
    /// their own, as many as there are slots for.
    pub fn batch(slots: usize) -> EngineLimits {
        EngineLimits {
            slots,
            chunk_tokens: usize::MAX,
            company: slots.div_ceil(4),
            ..EngineLimits::default()
        }
    }
}

/// A past conversation is worth keeping from this many tokens of its own on.
pub(super) const WORTH_KEEPING: usize = 16;

/// Images whose features are kept between steps; more are encoded again when they come.
const KEPT_FEATURES: usize = 64;

/// Answers requests as they come; see [`Generator::engine`].
pub struct Engine<'m> {
    pub(super) generator: &'m Generator,
    pub(super) limits: EngineLimits,
    pub(super) cache: KvCache,
    pub(super) live: Vec<Live>,
    pub(super) retained: Retained,
    /// [image tokens, hidden] by image.
    pub(super) features: BTreeMap<u32, Tensor>,
    pub(super) waiting: VecDeque<Waiting>,
    /// Requests whose prompts are being run, in order of arrival.
    pub(super) filling: Vec<Filling>,
    /// Tokens that the last chunk had of prompts that did not end in it.
    pub(super) unfinished: usize,
    /// Whose turn it is.
    prompts_next: bool,
    /// Events that the next step gives out.
    pub(super) done: Vec<Event>,
    /// Images by the digest of their pixels.
    images: BTreeMap<String, u32>,
    next_image: u32,
    /// From this many images on, those that no conversation shows are forgotten.
    many_images: usize,
    next_request: u64,
    /// Prompt tokens that were run, and those that were found in the cache.
    pub(super) counts: PrefillCounts,
}

/// What an engine holds now, and what it did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Requests that have no slot yet.
    pub waiting: usize,
    /// Requests whose prompts are being run.
    pub filling: usize,
    /// Replies that are being written.
    pub live: usize,
    /// Bytes of keys and values, those of past conversations included.
    pub cache_bytes: u64,
    /// What became of all prompt tokens so far.
    pub prefill: PrefillCounts,
}

/// What became of prompt tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefillCounts {
    /// Run through the model.
    pub run: usize,
    /// Not run, because another prompt, live or past, had them.
    pub shared: usize,
    /// Images encoded.
    pub images: usize,
}

impl<'m> Engine<'m> {
    pub(super) fn new(generator: &'m Generator, limits: EngineLimits) -> Result<Self, Error> {
        let model = generator.model();
        let shape = &model.config().text_config;
        Ok(Engine {
            cache: KvCache::new(shape, model.compute, model.device())?,
            generator,
            limits: EngineLimits {
                slots: limits.slots.max(1),
                prefill_tokens: limits.prefill_tokens.max(1),
                chunk_tokens: limits.chunk_tokens.max(1),
                ..limits
            },
            live: Vec::new(),
            retained: Retained::default(),
            features: BTreeMap::new(),
            waiting: VecDeque::new(),
            filling: Vec::new(),
            unfinished: 0,
            prompts_next: true,
            done: Vec::new(),
            images: BTreeMap::new(),
            next_image: 1,
            many_images: 4 * KEPT_FEATURES,
            next_request: 0,
            counts: PrefillCounts::default(),
        })
    }

    /// Takes a request; it joins at one of the next steps.
    ///
    /// # Errors
    /// Those of [`crate::Prompter::prepare`] and of [`Engine::admit_prepared`].
    pub fn admit(&mut self, request: &Request) -> Result<RequestId, Error> {
        let prepared = self.generator.prompter.prepare(request)?;
        self.admit_prepared(&prepared, None)
    }

    /// Takes a request that was prepared by this model's [`crate::Prompter`]; it joins at one of the
    /// next steps. One may be taken several times, for several replies, each drawn with a `seed` of
    /// its own instead of the one in its options; their prompt is run once.
    ///
    /// # Errors
    /// [`Error::Unanswerable`] for more keys and values than [`EngineLimits::cache_bytes`]. The
    /// engine goes on without it.
    pub fn admit_prepared(
        &mut self,
        prepared: &Prepared,
        seed: Option<u64>,
    ) -> Result<RequestId, Error> {
        let (all, room) = (prepared.ids.len(), prepared.room);
        let bytes = (room as u64).saturating_mul(self.generator.bytes_per_token());
        if bytes > self.limits.cache_bytes {
            return Err(Unanswerable::Memory.error(format!(
                "its {all} prompt tokens and {} new ones take {} MiB of keys and values, and the \
                 limit is {} MiB: ask for fewer new tokens",
                room - all,
                bytes >> 20,
                self.limits.cache_bytes >> 20
            )));
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let mut options = prepared.options.clone();
        options.sampling.seed = seed.unwrap_or(options.sampling.seed);
        if options.max_new_tokens == 0 {
            self.done.push(Event {
                id,
                prompt: Some(PromptTokens { all, cached: 0 }),
                token: None,
                logprobs: None,
                text: String::new(),
                finished: Some(Generated {
                    text: String::new(),
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    prompt_tokens: all,
                    finish: Finish::Length,
                }),
            });
            return Ok(id);
        }
        let prompt = Rc::new(self.keyed(prepared));
        self.waiting.push_back(Waiting {
            id,
            prompt,
            options,
            room,
        });
        Ok(id)
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.filling.is_empty()
            && self.live.is_empty()
            && self.done.is_empty()
    }

    /// Requests that have a slot, and those that wait for one.
    pub fn load(&self) -> (usize, usize) {
        (self.live.len() + self.filling.len(), self.waiting.len())
    }

    /// What it holds now, and what it did so far.
    pub fn counts(&self) -> EngineCounts {
        EngineCounts {
            waiting: self.waiting.len(),
            filling: self.filling.len(),
            live: self.live.len(),
            cache_bytes: self.held_bytes(),
            prefill: self.counts,
        }
    }

    /// What became of all prompt tokens so far.
    pub fn prefill_counts(&self) -> PrefillCounts {
        self.counts
    }

    /// Gives up a request, with the reply so far; `None` where it is not here any more.
    pub fn cancel(&mut self, id: RequestId) -> Result<Option<Generated>, Error> {
        if let Some(at) = self.waiting.iter().position(|w| w.id == id) {
            let waiting = self.waiting.remove(at);
            return Ok(waiting.map(Waiting::cancelled));
        }
        self.done.retain(|event| event.id != id);
        if let Some(at) = self.filling.iter().position(|f| f.waiting.id == id) {
            return self.give_up(at).map(Some);
        }
        let Some(slot) = self.live.iter().position(|live| live.id == id) else {
            return Ok(None);
        };
        let reply = self.live[slot].generated(Finish::Cancelled);
        self.leave(slot)?;
        Ok(Some(reply))
    }

    /// Runs a chunk of prompts, or adds a token to every live reply, in turns where there are both;
    /// at most one event a request.
    ///
    /// # Errors
    /// libtorch's own. What was live is then in no defined state: drop the engine.
    pub fn step(&mut self) -> Result<Vec<Event>, Error> {
        self.join()?;
        self.prompts_next |= self.live.is_empty();
        if self.prompts_next && !self.filling.is_empty() {
            self.prompts_next = false;
            tch::no_grad(|| self.prefill())?;
        } else if !self.live.is_empty() {
            self.prompts_next = true;
            let hidden = tch::no_grad(|| self.run_live())?;
            let events = self.choose(0, &hidden)?;
            self.done.extend(events);
        }
        let events = std::mem::take(&mut self.done);
        let finished: Vec<RequestId> = events
            .iter()
            .filter(|event| event.finished.is_some())
            .map(|event| event.id)
            .collect();
        for slot in (0..self.live.len()).rev() {
            if finished.contains(&self.live[slot].id) {
                self.leave(slot)?;
            }
        }
        self.forget_images();
        Ok(events)
    }

    /// One token of every live request; [live, hidden].
    fn run_live(&mut self) -> Result<Tensor, Error> {
        let model = self.generator.model();
        let longest = self.live.iter().map(|live| live.held).max().unwrap_or(0);
        self.make_room(self.live.len(), longest + 1)?;
        let last: Vec<i64> = self.live.iter().map(Live::last).collect();
        let ids = Tensor::f_from_slice(&last)?
            .f_unsqueeze(1)?
            .f_to_device(model.device())?;
        let embeds = model.embed(&ids)?;
        let rows: Vec<(&[Rc<Segment>], usize)> = self
            .live
            .iter()
            .map(|live| (&live.path[..], live.held))
            .collect();
        let mut extension = self
            .cache
            .extend(0, &rows, 1, model.config().text_config.window())?;
        let positions = extension.positions()?;
        let hidden = model.decode(&embeds, &positions, None, Some(&mut extension))?;
        for live in &mut self.live {
            live.held += 1;
        }
        Ok(hidden.f_squeeze_dim(1)?)
    }

    /// The next token of the live requests from `first` on, from their hidden states.
    pub(super) fn choose(&mut self, first: usize, hidden: &Tensor) -> Result<Vec<Event>, Error> {
        let generator = self.generator;
        let (tokenizer, ends) = (generator.tokenizer(), &generator.ends[..]);
        let logits = tch::no_grad(|| generator.model.logits(hidden))?; // [rows, vocabulary]
        let live = &mut self.live[first..];
        if live.iter().all(Live::needs_argmax_only) {
            let tokens: Vec<i64> = Vec::try_from(logits.f_argmax(-1, false)?)?;
            return live
                .iter_mut()
                .zip(tokens)
                .map(|(live, token)| live.add(token, None, tokenizer, ends))
                .collect();
        }
        let width = usize::try_from(logits.size()[1]).unwrap_or(1).max(1);
        let logits: Vec<f32> = Vec::try_from(logits.f_contiguous()?.f_view([-1])?)?;
        live.iter_mut()
            .zip(logits.chunks(width))
            .map(|(live, logits)| live.choose(logits, tokenizer, ends))
            .collect()
    }

    /// Takes a request out of its slot, keeps what it computed, and fills the gap.
    fn leave(&mut self, slot: usize) -> Result<(), Error> {
        let last = self.live.len() - 1;
        let live = &mut self.live[slot];
        let mut path = std::mem::take(&mut live.path);
        let mut keys = std::mem::take(&mut live.keys);
        if live.held >= WORTH_KEEPING {
            path.push(Rc::new(self.cache.segment(slot, 0, live.held)?));
        }
        keys.truncate(path.iter().map(|segment| segment.tokens()).sum());
        self.retained.keep(keys, path);
        self.cache.copy_slot(last, slot, self.live[last].held)?;
        let _ = self.live.swap_remove(slot);
        self.forget(0);
        Ok(())
    }

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
        let all = bytes(whole.0, whole.1).saturating_add(self.segment_bytes(false));
        let (slots, room) = match all <= self.limits.cache_bytes {
            true => whole,
            false => (slots, room),
        };
        self.forget(bytes(slots, room).saturating_sub(self.cache.bytes()));
        self.cache.resize(slots, room)
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
    fn held_bytes(&self) -> u64 {
        self.cache.bytes().saturating_add(self.segment_bytes(true))
    }

    /// Bytes of what requests stand on, and of what was kept of past ones.
    fn segment_bytes(&self, past: bool) -> u64 {
        let live = self.live.iter().flat_map(|live| &live.path);
        let filling = self.filling.iter().flat_map(|filling| &filling.path);
        let past = self.retained.paths().filter(|_| past);
        let tokens = distinct_tokens(live.chain(filling).chain(past)) as u64;
        tokens.saturating_mul(self.generator.bytes_per_token())
    }

    /// Tokens as prefixes compare them, images known by their pixels.
    fn keyed(&mut self, prepared: &Prepared) -> Prompt {
        let prompter = &self.generator.prompter;
        let run = prompter.image_tokens().max(1);
        let image_token = prompter.config().image_token_index;
        let numbers: Vec<u32> = prepared
            .images
            .iter()
            .map(|image| {
                let digest = image.digest.clone();
                *self.images.entry(digest).or_insert_with(|| {
                    self.next_image += 1;
                    self.next_image - 1
                })
            })
            .collect();
        let mut images = Vec::new();
        let mut seen = 0;
        let keys = prepared
            .ids
            .iter()
            .enumerate()
            .map(|(at, &id)| {
                if id != image_token || numbers.is_empty() {
                    return Key { id, image: 0 };
                }
                let image = numbers.get(seen / run).copied().unwrap_or(0);
                if seen % run == 0 {
                    images.push((at, image));
                }
                seen += 1;
                Key { id, image }
            })
            .collect();
        Prompt {
            keys,
            images,
            pixels: prepared
                .images
                .iter()
                .map(|image| Arc::clone(&image.pixels))
                .collect(),
        }
    }

    /// Forgets images that no conversation here shows, once there are many.
    fn forget_images(&mut self) {
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
        self.many_images = (2 * self.images.len()).max(4 * KEPT_FEATURES);
    }
}

/// A quarter of the machine's memory; 4 GiB where that is not known.
fn a_quarter_of_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    total.map_or(4 << 30, |kib| kib * 1024 / 4)
}
