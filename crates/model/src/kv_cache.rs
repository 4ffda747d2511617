//! What a decoder keeps of the tokens it has seen, so that each new one costs one token's work.

use tch::Tensor;

use crate::Error;

/// Keys and values of the tokens so far, for decoding without autograd.
///
/// Buffers have room to grow, so that a new token costs one copy of itself and not of the past.
#[derive(Debug, Default)]
pub struct KvCache {
    /// Per layer: keys and values, [batch, kv_heads, room, head_dim].
    layers: Vec<(Tensor, Tensor)>,
    pub(crate) len: i64,
    room: i64,
    /// [batch, len]: the keys' positions, kept for decoders whose tokens see a window only.
    positions: Option<Tensor>,
}

impl KvCache {
    /// An empty cache with room for `room` tokens in all; it grows where that is not enough.
    pub fn new(room: i64) -> KvCache {
        KvCache {
            layers: Vec::new(),
            len: 0,
            room: room.max(0),
            positions: None,
        }
    }

    /// Tokens held.
    pub fn len(&self) -> i64 {
        self.len
    }

    /// Whether nothing is held yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes row `i` a copy of the present row `rows[i]`, with room for `room` tokens in all: the
    /// batch can grow (several questions go on from one image) and shrink (rows that are done leave
    /// it).
    pub fn select_rows(&mut self, rows: &[usize], room: i64) -> Result<(), Error> {
        self.room = room.max(self.len);
        for (k, v) in &mut self.layers {
            for buffer in [k, v] {
                let held = buffer.f_narrow(2, 0, self.len)?;
                let size = held.size();
                let shape = [rows.len() as i64, size[1], self.room, size[3]];
                let wider = Tensor::f_empty(shape.as_slice(), (held.f_kind()?, held.device()))?;
                let filled = wider.f_narrow(2, 0, self.len)?;
                for (to, &from) in rows.iter().enumerate() {
                    filled
                        .f_select(0, to as i64)?
                        .f_copy_(&held.f_select(0, from as i64)?)?;
                }
                *buffer = wider;
            }
        }
        if let Some(positions) = &mut self.positions {
            let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
            let rows = Tensor::f_from_slice(&rows)?.f_to_device(positions.device())?;
            // One row of positions may have served all of a batch.
            if positions.size()[0] > 1 {
                *positions = positions.f_index_select(0, &rows)?;
            }
        }
        Ok(())
    }

    /// Notes the positions [batch, tokens] of the tokens to come; gives those of all keys,
    /// [batch, len + tokens].
    pub(crate) fn append_positions(&mut self, new: &Tensor) -> Result<Tensor, Error> {
        let whole = match &self.positions {
            None if self.len == 0 => new.shallow_clone(),
            Some(held) if held.size()[1] >= self.len => {
                // What an interrupted call noted beyond `len` is dropped.
                let held = held.f_narrow(1, 0, self.len)?;
                let batch = held.size()[0].max(new.size()[0]);
                let whole = |t: &Tensor| t.f_expand([batch, t.size()[1]], false);
                Tensor::f_cat(&[whole(&held)?, whole(new)?], 1)?
            }
            _ => {
                return Err(Error::Shape(
                    "the cache belongs to a model without a window".into(),
                ));
            }
        };
        self.positions = Some(whole.shallow_clone());
        Ok(whole)
    }

    pub(crate) fn append(
        &mut self,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor), Error> {
        let tokens = k.size()[2];
        let needed = self.len + tokens;
        if layer == self.layers.len() {
            let room = needed.max(self.room);
            self.layers.push((with_room(k, room)?, with_room(v, room)?));
            return Ok((k.shallow_clone(), v.shallow_clone()));
        }
        let Some(held) = self.layers.get_mut(layer) else {
            return Err(Error::Shape(
                "the cache belongs to a model with fewer layers".into(),
            ));
        };
        let mut whole = Vec::with_capacity(2);
        for (buffer, new) in [(&mut held.0, k), (&mut held.1, v)] {
            if buffer.size()[2] < needed {
                *buffer = with_room(&buffer.f_narrow(2, 0, self.len)?, needed + needed / 2)?;
            }
            buffer.f_narrow(2, self.len, tokens)?.f_copy_(new)?;
            whole.push(buffer.f_narrow(2, 0, needed)?);
        }
        let v = whole.swap_remove(1);
        Ok((whole.swap_remove(0), v))
    }
}

/// A copy with its third dimension lengthened to `room`; what is beyond is never read.
fn with_room(held: &Tensor, room: i64) -> Result<Tensor, Error> {
    let size = held.size();
    let shape = [size[0], size[1], room, size[3]];
    let buffer = Tensor::f_empty(shape.as_slice(), (held.f_kind()?, held.device()))?;
    buffer.f_narrow(2, 0, size[2])?.f_copy_(held)?;
    Ok(buffer)
}
