//! Running prompts: what several share once, the rest in padded batches.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tch::Tensor;

use crate::generate::Engine;
use crate::generate::live::{Live, Prompt, Waiting};
use crate::generate::prefix::{Key, common, shared_runs};
use crate::generate::retained::{head, tokens};
use crate::kv_cache::Segment;
use crate::{Error, Pixels};

use super::engine::WORTH_KEEPING;

/// A segment is attended in place, once for all who stand on it, where that saves reading this many
/// bytes a layer; below, each gets a copy in its slot, and a step has one product fewer.
const WORTH_SHARING: u64 = 1 << 20;

/// Images encoded in one pass.
const IMAGES_AT_ONCE: usize = 8;

/// Tokens of a prompt that are to be run.
struct Chunk<'a> {
    prompt: &'a Prompt,
    /// The segments below, which hold the tokens before its slot's.
    path: Vec<Rc<Segment>>,
    /// Tokens that its slot holds.
    held: usize,
    /// One past the last token to run.
    end: usize,
}

impl Chunk<'_> {
    fn start(&self) -> usize {
        tokens(&self.path) + self.held
    }

    fn len(&self) -> usize {
        self.end - self.start()
    }
}

impl Engine<'_> {
    /// Runs the prompts of requests, which then are live; gives the hidden state of each one's last
    /// token, [requests, hidden], in the order of their slots.
    pub(super) fn prefill(&mut self, arriving: Vec<Waiting>) -> Result<Tensor, Error> {
        let prompts: Vec<&Prompt> = arriving.iter().map(|w| w.prompt.as_ref()).collect();
        let total: usize = prompts.iter().map(|prompt| prompt.keys.len()).sum();
        let run_before = self.counts.run;
        let paths = self.shared_paths(&prompts)?;
        let users = self.users(&paths);
        let first = self.live.len();
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        // Prompts with about as much to run go together.
        order.sort_by_key(|&index| {
            std::cmp::Reverse(prompts[index].keys.len() - tokens(&paths[index]))
        });
        let mut chunks = Vec::new();
        for &index in &order {
            let path = &paths[index];
            let in_place = self.in_place(path, &users);
            chunks.push((
                &path[in_place..],
                Chunk {
                    prompt: prompts[index],
                    path: path[..in_place].to_vec(),
                    held: tokens(&path[in_place..]),
                    end: prompts[index].keys.len(),
                },
            ));
        }
        let longest = chunks.iter().map(|(_, chunk)| chunk.held + chunk.len());
        self.make_room(first + chunks.len(), longest.max().unwrap_or(0))?;
        for (place, (copied, _)) in chunks.iter().enumerate() {
            let mut at = 0;
            for segment in *copied {
                self.cache.place(first + place, at, segment)?;
                at += segment.tokens();
            }
        }
        let chunks: Vec<Chunk> = chunks.into_iter().map(|(_, chunk)| chunk).collect();
        let hidden = self.run(first, &chunks)?;
        let mut bases: HashMap<usize, Vec<Rc<Segment>>> = order
            .iter()
            .zip(chunks)
            .map(|(&index, chunk)| (index, chunk.path))
            .collect();
        let mut arriving: Vec<Option<Waiting>> = arriving.into_iter().map(Some).collect();
        for index in order {
            if let (Some(waiting), Some(path)) = (arriving[index].take(), bases.remove(&index)) {
                self.live.push(Live::new(waiting, path, 0));
            }
        }
        self.counts.shared += total.saturating_sub(self.counts.run - run_before);
        Ok(hidden)
    }

    /// For each prompt, segments that hold its beginning: what past and live conversations have of
    /// it, and what several of the prompts share, which is run here.
    fn shared_paths(&mut self, prompts: &[&Prompt]) -> Result<Vec<Vec<Rc<Segment>>>, Error> {
        let keys: Vec<&[Key]> = prompts.iter().map(|prompt| &prompt.keys[..]).collect();
        let (runs, of_prompt) = shared_runs(&keys);
        let mut held: Vec<Vec<Rc<Segment>>> = vec![Vec::new(); runs.len()];
        let deepest = runs.iter().map(|run| run.depth).max();
        for depth in 0..deepest.map_or(0, |d| d + 1) {
            let mut missing = Vec::new();
            for (index, run) in runs.iter().enumerate().filter(|(_, r)| r.depth == depth) {
                let below = run.parent.map_or_else(Vec::new, |p| held[p].clone());
                let path = self.found(&keys[run.example][..run.end], below)?;
                if tokens(&path) < run.end {
                    missing.push(index);
                }
                held[index] = path;
            }
            missing.sort_by_key(|&index| std::cmp::Reverse(runs[index].end - tokens(&held[index])));
            let chunks: Vec<Chunk> = missing
                .iter()
                .map(|&index| Chunk {
                    prompt: prompts[runs[index].example],
                    path: held[index].clone(),
                    held: 0,
                    end: runs[index].end,
                })
                .collect();
            // They are run in free slots, from where they are taken as segments.
            let first = self.live.len();
            let longest = chunks.iter().map(Chunk::len).max().unwrap_or(0);
            if chunks.is_empty() {
                continue;
            }
            self.make_room(first + chunks.len(), longest)?;
            let _ = self.run(first, &chunks)?;
            for (place, &index) in missing.iter().enumerate() {
                let length = chunks[place].len();
                let segment = self.cache.segment(first + place, 0, length)?;
                held[index].push(Rc::new(segment));
            }
        }
        of_prompt
            .into_iter()
            .zip(&keys)
            .map(|(run, keys)| {
                let path = run.map_or_else(Vec::new, |r| held[r].clone());
                self.found(&keys[..keys.len() - 1], path)
            })
            .collect()
    }

    /// `path` holds the beginning of `keys`; lengthened by what a past or live conversation has of
    /// the rest.
    fn found(&mut self, keys: &[Key], path: Vec<Rc<Segment>>) -> Result<Vec<Rc<Segment>>, Error> {
        let held = tokens(&path);
        let enough = held + WORTH_KEEPING;
        let past = self.retained.longest(keys).filter(|past| past.0 >= enough);
        let live = self
            .live
            .iter()
            .enumerate()
            .map(|(slot, live)| {
                let there = tokens(&live.path) + live.held;
                (common(&live.keys[..there], keys), slot)
            })
            .max()
            .filter(|live| live.0 >= enough);
        let theirs = match (past, live) {
            (Some((length, index)), other) if other.is_none_or(|other| other.0 <= length) => {
                self.retained.take(index, length)?
            }
            (_, Some((length, slot))) => {
                let live = &self.live[slot];
                let below = tokens(&live.path);
                let mut theirs = live.path.clone();
                if length > below {
                    theirs.push(Rc::new(self.cache.segment(slot, 0, length - below)?));
                }
                head(&theirs, length)?
            }
            _ => return Ok(path),
        };
        // Where both hold the same tokens, what is here already is kept, since others stand on it;
        // theirs goes on from the first of their segments that begins where it ends.
        let mut at = 0;
        let beyond = theirs.iter().position(|segment| {
            let begins = at;
            at += segment.tokens();
            begins == held
        });
        match beyond {
            Some(first) => Ok([&path[..], &theirs[first..]].concat()),
            None => Ok(theirs),
        }
    }

    /// How many stand on each segment.
    fn users(&self, paths: &[Vec<Rc<Segment>>]) -> HashMap<*const Segment, usize> {
        let mut users = HashMap::new();
        let live = self.live.iter().map(|live| &live.path);
        for segment in live.chain(paths).flatten() {
            *users.entry(Rc::as_ptr(segment)).or_insert(0) += 1;
        }
        users
    }

    /// How many of a path's segments are attended in place; those after are copied.
    fn in_place(&self, path: &[Rc<Segment>], users: &HashMap<*const Segment, usize>) -> usize {
        let layers = self
            .generator
            .model()
            .config()
            .text_config
            .num_hidden_layers;
        let per_layer =
            self.generator.bytes_per_token() / u64::try_from(layers).unwrap_or(1).max(1);
        let saves = |segment: &Rc<Segment>| {
            let others = users.get(&Rc::as_ptr(segment)).map_or(0, |&n| n - 1);
            (segment.tokens() * others) as u64 * per_layer >= WORTH_SHARING
        };
        path.iter().rposition(saves).map_or(0, |last| last + 1)
    }

    /// Runs chunks in slots from `first` on, those of neighbours together while they are within the
    /// limit of a pass; gives the hidden state of each one's last token, [chunks, hidden].
    fn run(&mut self, first: usize, chunks: &[Chunk]) -> Result<Tensor, Error> {
        self.encode_images(chunks)?;
        let limit = self.limits.prefill_tokens;
        let mut hidden = Vec::new();
        let mut done = 0;
        while done < chunks.len() {
            sample::interrupt::check()?;
            // The first is the longest of what is left.
            let widest = chunks[done].len();
            let most = (limit / widest.max(1)).clamp(1, chunks.len() - done);
            // Padding takes room too: one that holds much does not go with one that gets much.
            let room = self.cache.room();
            let rows = chunks[done..done + most]
                .iter()
                .take_while(|chunk| chunk.held + widest <= room)
                .count()
                .max(1);
            let batch = &chunks[done..done + rows];
            hidden.push(self.run_batch(first + done, batch, limit)?);
            done += rows;
        }
        self.counts.run += chunks.iter().map(Chunk::len).sum::<usize>();
        Ok(Tensor::f_cat(&hidden, 0)?)
    }

    /// One batch, at most `limit` columns at a time.
    fn run_batch(&mut self, first: usize, batch: &[Chunk], limit: usize) -> Result<Tensor, Error> {
        let model = self.generator.model();
        let widest = batch.iter().map(Chunk::len).max().unwrap_or(0);
        let mut last: Vec<Option<Tensor>> = batch.iter().map(|_| None).collect();
        let mut from = 0;
        while from < widest {
            let width = limit.min(widest - from);
            let embeds = self.embed(batch, from, width)?;
            let rows: Vec<(&[Rc<Segment>], usize)> = batch
                .iter()
                // A row that is done goes on as padding behind its own tokens.
                .map(|chunk| (&chunk.path[..], chunk.held + from))
                .collect();
            let mut extension =
                self.cache
                    .extend(first, &rows, width, model.config().text_config.window())?;
            let positions = extension.positions()?;
            let hidden = model.decode(&embeds, &positions, None, Some(&mut extension))?;
            for (row, (chunk, last)) in batch.iter().zip(&mut last).enumerate() {
                if (from + 1..=from + width).contains(&chunk.len()) {
                    let column = (chunk.len() - 1 - from) as i64;
                    *last = Some(hidden.f_select(0, row as i64)?.f_select(0, column)?);
                }
            }
            from += width;
        }
        let last: Vec<Tensor> = last.into_iter().flatten().collect();
        Ok(Tensor::f_stack(&last, 0)?)
    }

    /// Columns `from..from + width` of chunks, [chunks, width, hidden], images in place.
    fn embed(&self, batch: &[Chunk], from: usize, width: usize) -> Result<Tensor, Error> {
        let model = self.generator.model();
        let mut ids = Vec::with_capacity(batch.len() * width);
        for chunk in batch {
            let start = (chunk.start() + from).min(chunk.end);
            let keys = &chunk.prompt.keys[start..chunk.end.min(start + width)];
            // An image's own token may be beyond the embedding; what it has there is not used.
            ids.extend(
                keys.iter()
                    .map(|key| if key.image > 0 { 0 } else { key.id }),
            );
            ids.extend(std::iter::repeat_n(0, width - keys.len()));
        }
        let ids = Tensor::f_from_slice(&ids)?
            .f_view([batch.len() as i64, width as i64])?
            .f_to_device(model.device())?;
        let embeds = model.embed(&ids)?;
        let run = self.generator.prompter.image_tokens();
        for (row, chunk) in batch.iter().enumerate() {
            let start = chunk.start() + from;
            let end = (start + width).min(chunk.end);
            for &(image_start, image) in &chunk.prompt.images {
                let (a, b) = (start.max(image_start), end.min(image_start + run));
                let Some(features) = self.features.get(&image).filter(|_| a < b) else {
                    continue;
                };
                let tokens = (b - a) as i64;
                embeds
                    .f_select(0, row as i64)?
                    .f_narrow(0, (a - start) as i64, tokens)?
                    .f_copy_(&features.f_narrow(0, (a - image_start) as i64, tokens)?)?;
            }
        }
        Ok(embeds)
    }

    /// Features of the images that chunks show and that are not known yet.
    fn encode_images(&mut self, chunks: &[Chunk]) -> Result<(), Error> {
        let run = self.generator.prompter.image_tokens();
        let mut missing: Vec<(u32, &Arc<Pixels>)> = Vec::new();
        for chunk in chunks {
            for (&(start, image), pixels) in chunk.prompt.images.iter().zip(&chunk.prompt.pixels) {
                let shown = start < chunk.end && start + run > chunk.start();
                let known = self.features.contains_key(&image)
                    || missing.iter().any(|(other, _)| *other == image);
                if shown && !known {
                    missing.push((image, pixels));
                }
            }
        }
        let model = self.generator.model();
        for batch in missing.chunks(IMAGES_AT_ONCE) {
            sample::interrupt::check()?;
            let pixels: Vec<&Pixels> = batch.iter().map(|(_, pixels)| pixels.as_ref()).collect();
            let values = self
                .generator
                .preprocessor()
                .normalise(&pixels, model.device())?;
            let features = model.image_features(&values)?;
            for (place, (image, _)) in batch.iter().enumerate() {
                let own = features.f_select(0, place as i64)?;
                let _ = self.features.insert(*image, own);
            }
            self.counts.images += batch.len();
        }
        Ok(())
    }
}
