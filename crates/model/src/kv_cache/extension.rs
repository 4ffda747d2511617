//! One run of new tokens through the decoder: where their keys and values go, and what they see.
//!
//! Everything that is the same for all layers (masks, indices) is settled once, when the extension
//! is made; a layer then writes its keys and values and attends. The rows of a run are conversations
//! in neighbouring slots, each with new tokens from its own length on; rows with fewer new tokens than
//! the widest are padded on the right, where no token of theirs looks.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::partial::{Partial, attend_new, attend_part, attend_whole, hidden, merge};
use super::{BLOCK, KvCache, Segment};
use crate::Error;
use crate::cpu::{self, Places};
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
    /// Where the rows' lengths differ and each has one new token: slot and place of each.
    places: Option<[Tensor; 2]>,
    whole: Seen,
    /// What tokens of windowed layers see, where that is less.
    windowed: Option<Seen>,
}

/// What the rows of a run see.
#[derive(Debug)]
struct Seen {
    shared: Vec<Shared>,
    own: Own,
    /// The same for the kernel that takes one new token a row, where it does.
    step: Option<Places>,
}

/// A conversation: the segments it stands on, and how many tokens its slot holds.
pub(crate) type Row<'a> = (&'a [Rc<Segment>], usize);

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
    Step { keys: i64, added: Option<Tensor> },
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
        rows: &[Row],
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
        let before = rows.iter().map(below).collect();
        let sight = |window| Sight {
            window,
            kind: self.kind,
            device: self.device,
        };
        let farthest = rows.iter().map(|row| below(row) + row.1).max().unwrap_or(0) + width;
        let window = window.and_then(|w| usize::try_from(w).ok());
        let windowed = match window.filter(|&window| window < farthest) {
            Some(window) => Some(Seen::new(first, rows, width, &sight(Some(window)))?),
            None => None,
        };
        let places = if width > 1 || held.iter().all(|&h| h == longest) {
            None
        } else {
            let slots: Vec<i64> = (0..held.len()).map(|row| (first + row) as i64).collect();
            let at: Vec<i64> = held.iter().map(|&h| h as i64).collect();
            Some([
                Tensor::f_from_slice(&slots)?.f_to_device(self.device)?,
                Tensor::f_from_slice(&at)?.f_to_device(self.device)?,
            ])
        };
        Ok(Extension {
            whole: Seen::new(first, rows, width, &sight(None))?,
            windowed,
            cache: self,
            first: first as i64,
            held,
            before,
            width,
            places,
        })
    }
}

impl Seen {
    fn new(first: usize, rows: &[Row], width: usize, sight: &Sight) -> Result<Seen, Error> {
        let longest = rows.iter().map(|row| row.1).max().unwrap_or(0);
        let own = if width == 1 {
            let mut keys = longest + 1;
            if sight.kind != Kind::Float {
                keys = keys.next_multiple_of(BLOCK as usize);
            }
            Own::Step {
                keys: keys as i64,
                added: sight.mask(rows.len(), 1, keys, |row, _| {
                    (rows[row].1, 0, rows[row].1 + 1)
                })?,
            }
        } else {
            Own::Run {
                keys: longest as i64,
                past: sight.mask(rows.len(), width, longest, |row, column| {
                    (rows[row].1 + column, 0, rows[row].1)
                })?,
                // Without a window the kernel's own causal order will do.
                new: match sight.window {
                    Some(window) if window < width => {
                        sight.mask(1, width, width, |_, column| (column, 0, column + 1))?
                    }
                    _ => None,
                },
            }
        };
        let shared = shared(rows, width, sight)?;
        let taken = matches!(sight.kind, Kind::Float | Kind::BFloat16);
        let step = (width == 1 && taken && sight.device == Device::Cpu)
            .then(|| places(first, rows, &shared, sight.window));
        Ok(Seen { shared, own, step })
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
        windowed: bool,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor, Error> {
        self.write(layer, k, v)?;
        let windowed = self.windowed.as_ref().filter(|_| windowed);
        let seen = windowed.unwrap_or(&self.whole);
        let (keys, values) = &self.cache.layers[layer];
        let rows = self.held.len() as i64;
        let slots =
            |buffer: &Tensor, keys: i64| buffer.f_narrow(0, self.first, rows)?.f_narrow(2, 0, keys);
        let alone = seen.shared.is_empty();
        let own = match &seen.own {
            Own::Step { keys: n, added } => {
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
        let all = seen
            .shared
            .iter()
            .try_fold(own, |so_far, shared| shared.attend(layer, q, so_far))?;
        joined(&all.out)
    }

    /// Whether [`Extension::attend_step`] takes this run.
    pub(crate) fn is_step(&self) -> bool {
        self.whole.step.is_some()
    }

    /// As [`Extension::attend`] for one new token a row, from queries, keys and values side by side
    /// and not yet turned, [rows, 1, (heads + 2 kv_heads) head_dim], and cosines and sines
    /// [rows, 1, 1, head_dim].
    pub(crate) fn attend_step(
        &mut self,
        layer: usize,
        windowed: bool,
        qkv: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        heads: i64,
    ) -> Result<Tensor, Error> {
        let windowed = self.windowed.as_ref().filter(|_| windowed);
        let seen = windowed.unwrap_or(&self.whole);
        let (Some(places), Some((keys, values))) = (&seen.step, self.cache.layers.get(layer))
        else {
            return Err(Error::Shape(
                "the cache belongs to a model with fewer layers".into(),
            ));
        };
        let runs: Vec<(&Tensor, &Tensor)> = seen
            .shared
            .iter()
            .filter_map(|shared| shared.segment.layers.get(layer))
            .map(|(k, v)| (k, v))
            .collect();
        let qkv = qkv.f_squeeze_dim(1)?;
        cpu::attend(&qkv, (cos, sin), (keys, values), &runs, places, heads)?
            .f_unsqueeze(1)
            .map_err(Error::from)
    }

    fn write(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(), Error> {
        let Some((keys, values)) = self.cache.layers.get_mut(layer) else {
            return Err(Error::Shape(
                "the cache belongs to a model with fewer layers".into(),
            ));
        };
        for (buffer, new) in [(keys, k), (values, v)] {
            let equal = self.held.iter().all(|h| Some(h) == self.held.first());
            if let Some([slots, at]) = &self.places {
                // [rows, kv_heads, 1, head_dim] -> [rows, kv_heads, head_dim]
                let new = new.f_squeeze_dim(2)?;
                let _ = buffer.f_index_put_(&[Some(slots), None, Some(at)], &new, false)?;
            } else if equal {
                let at = self.held.first().map_or(0, |&h| h as i64);
                buffer
                    .f_narrow(0, self.first, self.held.len() as i64)?
                    .f_narrow(2, at, self.width as i64)?
                    .f_copy_(new)?;
            } else {
                for (row, &held) in self.held.iter().enumerate() {
                    buffer
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
            return Err(Error::Shape(
                "a segment of a model with fewer layers".into(),
            ));
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

/// Where rows of one new token each stand, for the kernel that attends with all of them at once.
fn places(first: usize, rows: &[Row], shared: &[Shared], window: Option<usize>) -> Places {
    let mut places = Places {
        starts: vec![0],
        ..Places::default()
    };
    for (index, row) in rows.iter().enumerate() {
        places.slots.push((first + index) as i64);
        places.lengths.push(row.1 as i64);
        let seen = below(row) + row.1 + 1;
        let hidden = window.map_or(0, |window| seen.saturating_sub(window));
        places.hidden.push(hidden as i64);
        for segment in row.0 {
            let place = shared.iter().position(|s| Rc::ptr_eq(&s.segment, segment));
            places.of_row.extend(place.map(|place| place as i64));
        }
        places.starts.push(places.of_row.len() as i64);
    }
    places
}

/// Tokens in front of a row's slot.
fn below(row: &Row) -> usize {
    row.0.iter().map(|segment| segment.tokens()).sum()
}

/// The segments below all rows, each once.
fn shared(rows: &[Row], width: usize, sight: &Sight) -> Result<Vec<Shared>, Error> {
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
                let row = &rows[f.rows[row]];
                below(row) + row.1 + column
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
        let mut added = vec![hidden(self.kind) as f32; rows * width * keys];
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
