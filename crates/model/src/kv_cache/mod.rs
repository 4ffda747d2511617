//! What a decoder keeps of the tokens it has seen: keys and values, so that each new token costs
//! one token's work.
//!
//! Two kinds of memory. A *slot* belongs to one conversation, which writes its own tokens there, from
//! the left and without holes; all slots lie in one buffer a layer, so that conversations of
//! different lengths decode in one product. A [`Segment`] is a finished run of tokens that several
//! conversations stand on: it is never written again, and attended in place by all of them at once.
//! What a conversation sees is its segments in order, then its slot.
//!
//! **Invariant:** everything in a buffer is finite, used or not: what a mask hides is multiplied by
//! zero, and zero times NaN is NaN.

mod extension;
mod partial;

use std::cell::Cell;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use crate::{Error, TextConfig};

pub use extension::Extension;

/// Rooms are multiples of this many tokens, so that shapes repeat from step to step: libtorch's bf16
/// products are compiled for each shape they meet.
const BLOCK: i64 = 64;

/// The slots of all live conversations, per layer one buffer of keys and one of values.
#[derive(Debug)]
pub struct KvCache {
    /// Per layer: keys and values, [slots, kv_heads, room, head_dim].
    layers: Vec<(Tensor, Tensor)>,
    slots: i64,
    room: i64,
    kv_heads: i64,
    head_dim: i64,
    kind: Kind,
    device: Device,
    /// Tokens of all segments that come from it and are not dropped yet.
    in_segments: Rc<Cell<usize>>,
}

/// Keys and values of a run of tokens that is not written any more.
#[derive(Debug)]
pub struct Segment {
    /// Per layer: keys and values, [1, kv_heads, tokens, head_dim].
    layers: Vec<(Tensor, Tensor)>,
    tokens: usize,
    /// Where it is counted.
    counted: Rc<Cell<usize>>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        let others = self.counted.get().saturating_sub(self.tokens);
        self.counted.set(others);
    }
}

impl KvCache {
    /// A cache without slots, for a decoder of these shapes.
    pub fn new(shape: &TextConfig, kind: Kind, device: Device) -> Result<KvCache, Error> {
        let mut cache = KvCache {
            layers: Vec::new(),
            slots: 0,
            room: 0,
            kv_heads: shape.kv_heads(),
            head_dim: shape.head_dim(),
            kind,
            device,
            in_segments: Rc::default(),
        };
        for _ in 0..shape.num_hidden_layers {
            let empty = cache.zeros(0, 0)?;
            cache.layers.push((empty.shallow_clone(), empty));
        }
        Ok(cache)
    }

    /// A cache without slots for the same decoder, whose segments are counted with this one's.
    pub fn beside(&self) -> Result<KvCache, Error> {
        let mut cache = KvCache {
            layers: Vec::new(),
            slots: 0,
            room: 0,
            in_segments: Rc::clone(&self.in_segments),
            ..*self
        };
        for _ in &self.layers {
            let empty = cache.zeros(0, 0)?;
            cache.layers.push((empty.shallow_clone(), empty));
        }
        Ok(cache)
    }

    /// Tokens of all segments that come from it and are not dropped yet, each segment counted once.
    pub fn tokens_in_segments(&self) -> usize {
        self.in_segments.get()
    }

    /// Bytes that one token takes in all layers of such a cache.
    pub fn bytes_per_token(shape: &TextConfig, kind: Kind) -> u64 {
        let numbers = shape
            .kv_heads()
            .saturating_mul(shape.head_dim())
            .saturating_mul(shape.num_hidden_layers)
            .saturating_mul(2);
        let bytes = kind.elt_size_in_bytes() as u64;
        u64::try_from(numbers)
            .unwrap_or(u64::MAX)
            .saturating_mul(bytes)
    }

    /// Makes sure of `slots` slots with room for `room` tokens each; what slots hold stays.
    pub fn reserve(&mut self, slots: usize, room: usize) -> Result<(), Error> {
        self.resize(slots.max(self.slots()), room.max(self.room()))
    }

    /// Makes it `slots` slots with room for `room` tokens each, or a few more; what is within both
    /// stays.
    pub fn resize(&mut self, slots: usize, room: usize) -> Result<(), Error> {
        let blocks = (room as i64).saturating_add(BLOCK - 1) / BLOCK;
        let (slots, room) = (slots as i64, blocks.saturating_mul(BLOCK));
        if (slots, room) == (self.slots, self.room) {
            return Ok(());
        }
        let (kept, held) = (slots.min(self.slots), room.min(self.room));
        for layer in 0..self.layers.len() {
            let mut other = [self.zeros(slots, room)?, self.zeros(slots, room)?];
            let (k, v) = &self.layers[layer];
            for (to, from) in other.iter_mut().zip([k, v]) {
                let within = |t: &Tensor| t.f_narrow(0, 0, kept)?.f_narrow(2, 0, held);
                within(to)?.f_copy_(&within(from)?)?;
            }
            let [k, v] = other;
            self.layers[layer] = (k, v);
        }
        (self.slots, self.room) = (slots, room);
        Ok(())
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Whether there are `slots` slots with room for `room` tokens.
    pub fn fits(&self, slots: usize, room: usize) -> bool {
        slots as i64 <= self.slots && room as i64 <= self.room
    }

    /// Bytes that the slots take now.
    pub fn bytes(&self) -> u64 {
        let tokens = (self.slots * self.room) as u64;
        let numbers = (self.kv_heads * self.head_dim * 2) as u64 * self.layers.len() as u64;
        tokens * numbers * self.kind.elt_size_in_bytes() as u64
    }

    /// Tokens that each slot has room for.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// A copy of tokens `from..to` of a slot, as a segment.
    pub fn segment(&self, slot: usize, from: usize, to: usize) -> Result<Segment, Error> {
        let layers = self
            .layers
            .iter()
            .map(|(k, v)| {
                Ok((
                    copied(&part(k, slot, from, to)?)?,
                    copied(&part(v, slot, from, to)?)?,
                ))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Segment::counted(layers, to - from, &self.in_segments))
    }

    /// Writes a segment into a slot, its first token at `at`.
    pub fn place(&mut self, slot: usize, at: usize, segment: &Segment) -> Result<(), Error> {
        let to = at + segment.tokens;
        for ((k, v), (from_k, from_v)) in self.layers.iter().zip(&segment.layers) {
            part(k, slot, at, to)?.f_copy_(from_k)?;
            part(v, slot, at, to)?.f_copy_(from_v)?;
        }
        Ok(())
    }

    /// Copies the first `tokens` tokens of one slot over another's.
    pub fn copy_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), Error> {
        if from == to || tokens == 0 {
            return Ok(());
        }
        for (k, v) in &self.layers {
            part(k, to, 0, tokens)?.f_copy_(&part(k, from, 0, tokens)?)?;
            part(v, to, 0, tokens)?.f_copy_(&part(v, from, 0, tokens)?)?;
        }
        Ok(())
    }

    fn zeros(&self, slots: i64, room: i64) -> Result<Tensor, Error> {
        let shape = [slots, self.kv_heads, room, self.head_dim];
        Ok(Tensor::f_zeros(shape.as_slice(), (self.kind, self.device))?)
    }
}

impl Segment {
    /// So many tokens of a model without layers.
    #[cfg(test)]
    pub(crate) fn empty(tokens: usize) -> Segment {
        Segment::counted(Vec::new(), tokens, &Rc::default())
    }

    fn counted(layers: Vec<(Tensor, Tensor)>, tokens: usize, counted: &Rc<Cell<usize>>) -> Segment {
        counted.set(counted.get() + tokens);
        Segment {
            layers,
            tokens,
            counted: Rc::clone(counted),
        }
    }

    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// A copy of it and of `next`, which goes on where it ends, as one.
    pub fn followed_by(&self, next: &Segment) -> Result<Segment, Error> {
        let both = |a: &Tensor, b: &Tensor| Tensor::f_cat(&[a, b], 2);
        let layers = self
            .layers
            .iter()
            .zip(&next.layers)
            .map(|((k, v), (next_k, next_v))| Ok((both(k, next_k)?, both(v, next_v)?)))
            .collect::<Result<_, Error>>()?;
        let tokens = self.tokens + next.tokens;
        Ok(Segment::counted(layers, tokens, &self.counted))
    }

    /// A copy of its first `tokens` tokens.
    pub fn head(&self, tokens: usize) -> Result<Segment, Error> {
        let narrow = |t: &Tensor| copied(&t.f_narrow(2, 0, tokens as i64)?);
        let layers = self
            .layers
            .iter()
            .map(|(k, v)| Ok((narrow(k)?, narrow(v)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Segment::counted(layers, tokens, &self.counted))
    }
}

/// Tokens `from..to` of a slot, [1, kv_heads, tokens, head_dim], in place.
fn part(buffer: &Tensor, slot: usize, from: usize, to: usize) -> Result<Tensor, Error> {
    let tokens = to.saturating_sub(from) as i64;
    Ok(buffer
        .f_narrow(0, slot as i64, 1)?
        .f_narrow(2, from as i64, tokens)?)
}

fn copied(from: &Tensor) -> Result<Tensor, Error> {
    let mut copy = Tensor::f_empty(from.size(), (from.f_kind()?, from.device()))?;
    copy.f_copy_(from)?;
    Ok(copy)
}
