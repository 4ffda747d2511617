//! The loop that answers: requests join and leave between steps.
//!
//! A step either runs a chunk of prompts or adds one token to every live reply; where there are
//! both they take turns, so that no one waits longer than a chunk for the next token. Each live request
//! has a slot of the cache; slots are used from the first on without gaps, so that all live requests
//! are neighbours in memory: when one leaves, the last takes its place.
//!
//! **Invariant:** in f32 a greedy reply has the same tokens whatever else is live.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tch::Tensor;

use crate::generate::Generator;
use crate::generate::filling::Filling;
use crate::generate::limits::{EngineCounts, EngineLimits, PrefillCounts};
use crate::generate::live::{Live, Prompt, Waiting};
use crate::generate::prefix::Key;
use crate::generate::prompter::Prepared;
use crate::generate::request::{Event, Finish, Generated, PromptTokens, Request, RequestId};
use crate::generate::retained::Retained;
use crate::kv_cache::{KvCache, Segment};
use crate::{Error, Unanswerable};

/// A past conversation is worth keeping from this many tokens of its own on.
pub(super) const WORTH_KEEPING: usize = 16;

/// From this many images on, those that no conversation shows are forgotten.
pub(super) const MANY_IMAGES: usize = 256;

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
    pub(super) images: BTreeMap<String, u32>,
    next_image: u32,
    /// How many of these are too many.
    pub(super) many_images: usize,
    next_request: u64,
    /// Prompt tokens that were run, and those that were found in the cache.
    pub(super) counts: PrefillCounts,
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
            many_images: MANY_IMAGES,
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
}
