//! Running parts of prompts: as padded batches, in slots of a cache.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use tch::Tensor;

use crate::generate::filling::Filling;
use crate::generate::live::{Live, Prompt};
use crate::generate::request::RequestId;
use crate::generate::retained::tokens;
use crate::generate::{Engine, Generator};
use crate::kv_cache::{KvCache, Segment};
use crate::{Error, Pixels};

/// A segment is attended in place, once for all who stand on it, where that saves reading this many
/// bytes a layer; below, each gets a copy in its slot, and a step has one product fewer.
const WORTH_SHARING: u64 = 1 << 20;

/// Images encoded in one pass.
const IMAGES_AT_ONCE: usize = 8;

/// A pass through the model takes about as long as so many more tokens in another pass.
const PASS: usize = 32;

/// Tokens of a prompt that are to be run.
struct Stretch {
    id: RequestId,
    prompt: Rc<Prompt>,
    /// The segments below, which hold the tokens before its slot's.
    path: Vec<Rc<Segment>>,
    /// Tokens that its slot holds.
    held: usize,
    /// One past the last token to run.
    end: usize,
}

impl Stretch {
    fn start(&self) -> usize {
        tokens(&self.path) + self.held
    }

    fn len(&self) -> usize {
        self.end - self.start()
    }
}

impl Engine<'_> {
    /// Runs so many tokens of the prompts at these places; whether all were run: an interruption is
    /// heeded after each pass, and what was run is kept.
    pub(super) fn run_portions(&mut self, portions: &[(usize, usize)]) -> Result<bool, Error> {
        let users = self.users();
        let (mut ends, mut parts) = (Vec::new(), Vec::new());
        for &(index, tokens) in portions {
            let filling = &self.filling[index];
            let end = filling.done() + tokens;
            let mut stretch = Stretch {
                id: filling.waiting.id,
                prompt: Rc::clone(&filling.waiting.prompt),
                path: filling.path.clone(),
                held: 0,
                end,
            };
            if end < filling.keys().len() {
                parts.push(stretch);
                continue;
            }
            let copied = stretch.path.split_off(self.in_place(&filling.path, &users));
            stretch.held = self::tokens(&copied);
            ends.push((copied, stretch));
        }
        let shown = parts.iter().chain(ends.iter().map(|(_, stretch)| stretch));
        let shown: Vec<(Rc<Prompt>, Range<usize>)> = shown
            .map(|s| (Rc::clone(&s.prompt), s.start()..s.end))
            .collect();
        self.encode_images(&shown)?;
        // Those with about as much to run go together.
        parts.sort_by_key(|stretch| std::cmp::Reverse(stretch.len()));
        ends.sort_by_key(|(_, stretch)| std::cmp::Reverse(stretch.len()));
        Ok(self.run_parts(parts)? && self.run_ends(ends)?)
    }

    /// Runs stretches that do not end their prompts, in slots of their own, from where they are taken
    /// as segments.
    fn run_parts(&mut self, mut parts: Vec<Stretch>) -> Result<bool, Error> {
        let limit = self.limits.prefill_tokens;
        let lengths: Vec<usize> = parts.iter().map(Stretch::len).collect();
        for range in batches(&lengths, |rows| rows.len() * lengths[rows.start] <= limit) {
            let batch: Vec<Stretch> = parts.drain(..range.len()).collect();
            let widest = batch.iter().map(Stretch::len).max().unwrap_or(0);
            self.make_way(batch.iter().map(Stretch::len).sum())?;
            let mut cache = self.cache.beside()?;
            cache.resize(batch.len(), widest)?;
            let passes = Passes {
                generator: self.generator,
                features: &self.features,
                limit,
            };
            let _ = passes.run(&mut cache, 0, &batch)?;
            for (row, stretch) in batch.into_iter().enumerate() {
                let (id, tokens) = (stretch.id, stretch.len());
                let part = cache.segment(row, 0, tokens)?;
                self.counts.run += tokens;
                // From here on its path is the prompt's alone, and may grow together.
                drop(stretch);
                let filling = self.filling.iter_mut().find(|f| f.waiting.id == id);
                if let Some(filling) = filling {
                    filling.add(part)?;
                }
            }
            if sample::interrupt::requested() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs stretches that end their prompts, which then are live; each comes with the segments that
    /// its slot gets a copy of.
    fn run_ends(&mut self, ends: Vec<(Vec<Rc<Segment>>, Stretch)>) -> Result<bool, Error> {
        let (copied, ends): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let longest = ends.iter().map(|stretch| stretch.held + stretch.len());
        if let Some(longest) = longest.max() {
            self.make_room(self.live.len() + ends.len(), longest)?;
        }
        let (limit, room) = (self.limits.prefill_tokens, self.cache.room());
        let lengths: Vec<usize> = ends.iter().map(Stretch::len).collect();
        // Padding takes room too: one that holds much does not go with one that gets much.
        let fits = |rows: Range<usize>| {
            let widest = lengths[rows.start];
            let held = ends[rows.clone()].iter().map(|s| s.held).max();
            rows.len() * widest <= limit && held.unwrap_or(0) + widest <= room
        };
        for range in batches(&lengths, fits) {
            let first = self.live.len();
            for (place, segments) in copied[range.clone()].iter().enumerate() {
                let mut at = 0;
                for segment in segments {
                    self.cache.place(first + place, at, segment)?;
                    at += segment.tokens();
                }
            }
            let batch = &ends[range];
            let passes = Passes {
                generator: self.generator,
                features: &self.features,
                limit,
            };
            let hidden = passes.run(&mut self.cache, first, batch)?;
            for stretch in batch {
                let place = |f: &Filling| f.waiting.id == stretch.id;
                let Some(place) = self.filling.iter().position(place) else {
                    continue;
                };
                let filling = self.filling.remove(place);
                let ran = filling.ran + stretch.len();
                let cached = stretch.prompt.keys.len() - ran.min(stretch.prompt.keys.len());
                self.counts.run += stretch.len();
                self.counts.shared += cached;
                let path = stretch.path.clone();
                self.live.push(Live::new(filling.waiting, path, cached));
            }
            let events = self.choose(first, &hidden)?;
            self.done.extend(events);
            if sample::interrupt::requested() {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// Features of the images that these places of prompts show and that are not known yet.
    fn encode_images(&mut self, shown: &[(Rc<Prompt>, Range<usize>)]) -> Result<(), Error> {
        let run = self.generator.prompter.image_tokens();
        let mut missing: Vec<(u32, &Arc<Pixels>)> = Vec::new();
        for (prompt, tokens) in shown {
            for (&(start, image), pixels) in prompt.images.iter().zip(&prompt.pixels) {
                let shown = start < tokens.end && start + run > tokens.start;
                let known = self.features.contains_key(&image)
                    || missing.iter().any(|(other, _)| *other == image);
                if shown && !known {
                    missing.push((image, pixels));
                }
            }
        }
        let model = self.generator.model();
        for batch in missing.chunks(IMAGES_AT_ONCE) {
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

/// How stretches go through the model.
struct Passes<'a> {
    generator: &'a Generator,
    /// Of images, [image tokens, hidden].
    features: &'a BTreeMap<u32, Tensor>,
    /// Most tokens in one pass.
    limit: usize,
}

impl Passes<'_> {
    /// Runs stretches in slots from `first` on, a row each; gives the hidden state of each one's last
    /// token, [stretches, hidden].
    fn run(&self, cache: &mut KvCache, first: usize, batch: &[Stretch]) -> Result<Tensor, Error> {
        let model = self.generator.model();
        let widest = batch.iter().map(Stretch::len).max().unwrap_or(0);
        let mut last: Vec<Option<Tensor>> = batch.iter().map(|_| None).collect();
        let mut from = 0;
        while from < widest {
            let width = self.limit.min(widest - from);
            let embeds = self.embed(batch, from, width)?;
            let rows: Vec<(&[Rc<Segment>], usize)> = batch
                .iter()
                // A row that is done goes on as padding behind its own tokens.
                .map(|stretch| (&stretch.path[..], stretch.held + from))
                .collect();
            let mut extension =
                cache.extend(first, &rows, width, model.config().text_config.window())?;
            let positions = extension.positions()?;
            let hidden = model.decode(&embeds, &positions, None, Some(&mut extension))?;
            for (row, (stretch, last)) in batch.iter().zip(&mut last).enumerate() {
                if (from + 1..=from + width).contains(&stretch.len()) {
                    let column = (stretch.len() - 1 - from) as i64;
                    *last = Some(hidden.f_select(0, row as i64)?.f_select(0, column)?);
                }
            }
            from += width;
        }
        let last: Vec<Tensor> = last.into_iter().flatten().collect();
        Ok(Tensor::f_stack(&last, 0)?)
    }

    /// Columns `from..from + width` of stretches, [stretches, width, hidden], images in place.
    fn embed(&self, batch: &[Stretch], from: usize, width: usize) -> Result<Tensor, Error> {
        let model = self.generator.model();
        let mut ids = Vec::with_capacity(batch.len() * width);
        for stretch in batch {
            let start = (stretch.start() + from).min(stretch.end);
            let keys = &stretch.prompt.keys[start..stretch.end.min(start + width)];
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
        for (row, stretch) in batch.iter().enumerate() {
            let start = stretch.start() + from;
            let end = (start + width).min(stretch.end);
            for &(image_start, image) in &stretch.prompt.images {
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
}

/// Cuts rows, the longest first, into batches. What padding costs is weighed against what a pass
/// costs, and the cheapest cuts are taken; a batch of several `fits`.
fn batches(lengths: &[usize], fits: impl Fn(Range<usize>) -> bool) -> Vec<Range<usize>> {
    let rows = lengths.len();
    // From each row on: what all take, and where the first batch ends.
    let mut best = vec![(0, rows); rows + 1];
    for start in (0..rows).rev() {
        let mut cheapest = (usize::MAX, rows);
        for (end, &(rest, _)) in best.iter().enumerate().skip(start + 1) {
            if end > start + 1 && !fits(start..end) {
                break;
            }
            let cost = (end - start) * lengths[start] + PASS + rest;
            cheapest = cheapest.min((cost, end));
        }
        best[start] = cheapest;
    }
    let mut cut = Vec::new();
    let mut start = 0;
    while start < rows {
        cut.push(start..best[start].1);
        start = best[start].1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_batch_are_about_as_long_and_no_more_than_fit() {
        for (lengths, limit, expected) in [
            (vec![], 100, vec![]),
            (vec![500, 40, 40, 40], 2048, vec![1, 3]),
            (vec![50, 40, 40, 30], 2048, vec![4]),
            (vec![600, 600, 600, 600], 1200, vec![2, 2]),
            (vec![5000, 10], 2048, vec![1, 1]),
        ] {
            let fits = |rows: Range<usize>| rows.len() * lengths[rows.start] <= limit;
            let found = batches(&lengths, fits);
            let rows: Vec<usize> = found.iter().map(Range::len).collect();
            assert_eq!(rows, expected, "{lengths:?}");
            assert!(found.into_iter().flatten().eq(0..lengths.len()));
        }
    }
}
