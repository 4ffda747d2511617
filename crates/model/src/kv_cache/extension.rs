//! One run of new tokens through the decoder: where their keys and values go, and what they see.
//!
//! Everything that is the same for all layers (masks, indices) is settled once, when the extension
//! is made; a layer then writes its keys and values and attends. The rows of a run are conversations
//! in neighbouring slots, each with new tokens from its own length on; rows with fewer new tokens than
//! the widest are padded on the right, where no token of theirs looks.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::partial::{HIDDEN, Partial, attend_new, attend_part, attend_whole, merge};
use super::{BLOCK, KvCache, Segment};
use crate::Error;
use crate::layers::attend;

/// New tokens of some conversations, on their way through the decoder.
#[derive(Debug)]
pub struct Extension<'a> {
    cache: &'a mut KvCache,
    /// Slot of the first row.
    first: i64,
    /// Tokens that each row's slot holds already.
    held: Vec<usize>,
    /// Tokens in front of each row's slot.
    before: Vec<usize>,
    width: usize,
    shared: Vec<Shared>,
    own: Own,
}

/// A segment, and who stands on it.
#[derive(Debug)]
struct Shared {
    segment: Rc<Segment>,
    /// Indices of rows; `None`: all.
    rows: Option<Tensor>,
    /// [1, 1, rows * width, tokens], where not all is seen.
    added: Option<Tensor>,
}

/// What rows see of their own slots.
#[derive(Debug)]
enum Own {
    /// Several new tokens a row: what slots hold (`keys` columns of it, 0 for none), then the new
    /// ones.
    Run {
        keys: i64,
        past: Option<Tensor>,
        new: Option<Tensor>,
    },
    /// One new token a row, written first: `keys` columns are read.
    Step {
        keys: i64,
        added: Option<Tensor>,
        /// Where the rows' lengths differ: slot and place of each.
        places: Option<[Tensor; 2]>,
    },
}

impl KvCache {
    /// Prepares a run of `width` new tokens for each of some conversations. Row `i` stands on the
    /// segments `rows[i].0` and holds `rows[i].1` tokens in slot `first + i`; `window` is how many
    /// tokens a token sees, itself included, where that is limited.
    ///
    /// # Errors
    /// Slots without room; see [`KvCache::reserve`].
    pub fn extend(
        &mut self,
        first: usize,
        rows: &[(&[Rc<Segment>], usize)],
        width: usize,
        window: Option<i64>,
    ) -> Result<Extension<'_>, Error> {
        let held: Vec<usize> = rows.iter().map(|row| row.1).collect();
        let longest = held.iter().copied().max().unwrap_or(0);
        let slots = self.slots as usize;
        if rows.is_empty() || width == 0 || first + rows.len() > slots {
            return Err(Error::Shape(format!(
                "{} rows of {width} tokens from slot {first} of {slots}",
                rows.len()
            )));
        }
        if longest + width > self.room() {
            return Err(Error::Shape(format!(
                "{longest} and {width} tokens in a slot with room for {}",
                self.room
            )));
        }
        let before = rows
            .iter()
            .map(|row| row.0.iter().map(|segment| segment.tokens()).sum())
            .collect();
        let sight = Sight {
            window: window.and_then(|w| usize::try_from(w).ok()),
            kind: self.kind,
            device: self.device,
        };
        let shared = shared(rows, width, &sight)?;
        let own = if width == 1 {
            self.step(first, &held, &sight)?
        } else {
            let past = sight.mask(rows.len(), width, longest, |row, column| {
                (held[row] + column, 0, held[row])
            })?;
            // Without a window the kernel's own causal order will do.
            let new = match sight.window {
                Some(window) if window < width => {
                    sight.mask(1, width, width, |_, column| (column, 0, column + 1))?
                }
                _ => None,
            };
            Own::Run {
                keys: longest as i64,
                past,
                new,
            }
        };
        Ok(Extension {
            cache: self,
            first: first as i64,
            held,
            before,
            width,
            shared,
            own,
        })
    }

    fn step(&self, first: usize, held: &[usize], sight: &Sight) -> Result<Own, Error> {
        let longest = held.iter().copied().max().unwrap_or(0);
        let mut keys = longest as i64 + 1;
        if self.kind != Kind::Float {
            keys = (keys + BLOCK - 1) / BLOCK * BLOCK;
        }
        let added = sight.mask(held.len(), 1, keys as usize, |row, _| {
            (held[row], 0, held[row] + 1)
        })?;
        let places = if held.iter().all(|&h| h == longest) {
            None
        } else {
            let slots: Vec<i64> = (0..held.len()).map(|row| (first + row) as i64).collect();
            let at: Vec<i64> = held.iter().map(|&h| h as i64).collect();
            Some([
                Tensor::f_from_slice(&slots)?.f_to_device(self.device)?,
                Tensor::f_from_slice(&at)?.f_to_device(self.device)?,
            ])
        };
        Ok(Own::Step {
            keys,
            added,
            places,
        })
    }
}

impl Extension<'_> {
    /// Where in their conversations the new tokens stand, [rows, width].
    pub fn positions(&self) -> Result<Tensor, Error> {
        let positions: Vec<i64> = self
            .before
            .iter()
            .zip(&self.held)
            .flat_map(|(before, held)| (0..self.width).map(move |c| (before + held + c) as i64))
            .collect();
        Ok(Tensor::f_from_slice(&positions)?
            .f_view([self.held.len() as i64, self.width as i64])?
            .f_to_device(self.cache.device)?)
    }

    /// Keeps a layer's keys and values [rows, kv_heads, width, head_dim] and attends with its
    /// queries [rows, heads, width, head_dim]; gives [rows, width, heads * head_dim].
    pub(crate) fn attend(
        &mut self,
        layer: usize,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor, Error> {
        self.write(layer, k, v)?;
        let (keys, values) = &self.cache.layers[layer];
        let rows = self.held.len() as i64;
        let slots = |buffer: &Tensor, keys: i64| {
            buffer
                .f_narrow(0, self.first, rows)?
                .f_narrow(2, 0, keys)
        };
        let alone = self.shared.is_empty();
        let own = match &self.own {
            Own::Step { keys: n, added, .. } => {
                let (keys, values) = (slots(keys, *n)?, slots(values, *n)?);
                if alone {
                    return joined(&attend_whole(q, &keys, &values, added.as_ref())?);
                }
                attend_part(q, &keys, &values, added.as_ref())?
            }
            Own::Run { keys: 0, new, .. } if alone => {
                return attend(q, k, v, new.as_ref(), new.is_none());
            }
            Own::Run { keys: n, past, new } => {
                let new = attend_new(q, k, v, new.as_ref())?;
                if *n == 0 {
                    new
                } else {
                    let (keys, values) = (slots(keys, *n)?, slots(values, *n)?);
                    merge(&attend_part(q, &keys, &values, past.as_ref())?, &new)?
                }
            }
        };
        let all = self
            .shared
            .iter()
            .try_fold(own, |seen, shared| shared.attend(layer, q, seen))?;
        joined(&all.out)
    }

    fn write(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(), Error> {
        let Some((keys, values)) = self.cache.layers.get_mut(layer) else {
            return Err(Error::Shape(
                "the cache belongs to a model with fewer layers".into(),
            ));
        };
        for (buffer, new) in [(keys, k), (values, v)] {
            let equal = self.held.iter().all(|h| Some(h) == self.held.first());
            if let Own::Step {
                places: Some([slots, at]),
                ..
            } = &self.own
            {
                // [rows, kv_heads, 1, head_dim] -> [rows, kv_heads, head_dim]
                let new = new.f_squeeze_dim(2)?;
                let _ = buffer.f_index_put_(&[Some(slots), None, Some(at)], &new, false)?;
            } else if equal {
                let at = self.held.first().map_or(0, |&h| h as i64);
                let _ = buffer
                    .f_narrow(0, self.first, self.held.len() as i64)?
                    .f_narrow(2, at, self.width as i64)?
                    .f_copy_(new)?;
            } else {
                for (row, &held) in self.held.iter().enumerate() {
                    let _ = buffer
                        .f_select(0, self.first + row as i64)?
                        .f_narrow(1, held as i64, self.width as i64)?
                        .f_copy_(&new.f_select(0, row as i64)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Shared {
    /// What rows saw so far, and this segment.
    fn attend(&self, layer: usize, q: &Tensor, seen: Partial) -> Result<Partial, Error> {
        let Some((k, v)) = self.segment.layers.get(layer) else {
            return Err(Error::Shape("a segment of a model with fewer layers".into()));
        };
        let q = match &self.rows {
            Some(rows) => q.f_index_select(0, rows)?,
            None => q.shallow_clone(),
        };
        let [rows, heads, width, head_dim] = q.size()[..] else {
            return Err(Error::Shape(format!("queries of {:?}", q.size())));
        };
        // All rows' queries at once: [1, heads, rows * width, head_dim].
        let folded = q
            .f_transpose(0, 1)?
            .f_reshape([1, heads, rows * width, head_dim])?;
        let part = attend_part(&folded, k, v, self.added.as_ref())?;
        let part = Partial {
            out: part
                .out
                .f_reshape([heads, rows, width, head_dim])?
                .f_transpose(0, 1)?,
            log_sum: part
                .log_sum
                .f_reshape([heads, rows, width])?
                .f_transpose(0, 1)?,
        };
        let Some(index) = &self.rows else {
            return merge(&seen, &part);
        };
        let Partial {
            mut out,
            mut log_sum,
        } = seen;
        let theirs = Partial {
            out: out.f_index_select(0, index)?,
            log_sum: log_sum.f_index_select(0, index)?,
        };
        let merged = merge(&theirs, &part)?;
        let _ = out.f_index_copy_(0, index, &merged.out)?;
        let _ = log_sum.f_index_copy_(0, index, &merged.log_sum)?;
        Ok(Partial { out, log_sum })
    }
}

/// The segments below all rows, each once.
fn shared(
    rows: &[(&[Rc<Segment>], usize)],
    width: usize,
    sight: &Sight,
) -> Result<Vec<Shared>, Error> {
    struct Found<'a> {
        segment: &'a Rc<Segment>,
        start: usize,
        rows: Vec<usize>,
    }
    let mut found: Vec<Found> = Vec::new();
    for (row, (path, _)) in rows.iter().enumerate() {
        let mut start = 0;
        for segment in *path {
            match found.iter_mut().find(|f| Rc::ptr_eq(f.segment, segment)) {
                Some(known) => known.rows.push(row),
                None => found.push(Found {
                    segment,
                    start,
                    rows: vec![row],
                }),
            }
            start += segment.tokens();
        }
    }
    found
        .into_iter()
        .map(|f| {
            let tokens = f.segment.tokens();
            let position = |row: usize, column: usize| {
                let (path, held) = rows[f.rows[row]];
                let before: usize = path.iter().map(|segment| segment.tokens()).sum();
                before + held + column
            };
            let added = sight.mask(f.rows.len(), width, tokens, |row, column| {
                (position(row, column), f.start, tokens)
            })?;
            let added = match added {
                // [rows, 1, width, tokens] -> [1, 1, rows * width, tokens]
                Some(mask) => {
                    let queries = (f.rows.len() * width) as i64;
                    Some(mask.f_reshape([1, 1, queries, tokens as i64])?)
                }
                None => None,
            };
            let index: Vec<i64> = f.rows.iter().map(|&row| row as i64).collect();
            Ok(Shared {
                segment: Rc::clone(f.segment),
                rows: if index.len() == rows.len() {
                    None
                } else {
                    Some(Tensor::f_from_slice(&index)?.f_to_device(sight.device)?)
                },
                added,
            })
        })
        .collect()
}

/// How far tokens see.
struct Sight {
    window: Option<usize>,
    kind: Kind,
    device: Device,
}

impl Sight {
    /// Numbers to add to scores, [rows, 1, width, keys]; `None` where all is seen. For each row and
    /// column `query` says its position, the position of the first key, and how many keys are there.
    fn mask(
        &self,
        rows: usize,
        width: usize,
        keys: usize,
        query: impl Fn(usize, usize) -> (usize, usize, usize),
    ) -> Result<Option<Tensor>, Error> {
        let mut all = true;
        let mut seen = Vec::with_capacity(rows * width);
        for row in 0..rows {
            for column in 0..width {
                let (position, first, there) = query(row, column);
                let from = match self.window {
                    Some(window) => (position + 1).saturating_sub(window + first).min(keys),
                    None => 0,
                };
                let to = there.min(keys).max(from);
                all &= from == 0 && to == keys;
                seen.push(from..to);
            }
        }
        if all {
            return Ok(None);
        }
        let mut added = vec![HIDDEN as f32; rows * width * keys];
        for (row, seen) in added.chunks_mut(keys.max(1)).zip(seen) {
            row[seen].fill(0.0);
        }
        Ok(Some(
            Tensor::f_from_slice(&added)?
                .f_view([rows as i64, 1, width as i64, keys as i64])?
                .f_to_device(self.device)?
                .f_to_kind(self.kind)?,
        ))
    }
}

/// [rows, heads, width, head_dim] -> [rows, width, heads * head_dim]
fn joined(heads: &Tensor) -> Result<Tensor, Error> {
    Ok(heads.f_transpose(1, 2)?.f_flatten(2, 3)?)
}
