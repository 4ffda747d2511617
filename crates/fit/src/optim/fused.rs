//! The update on a CPU: one loop over weight, gradient and moments.
//!
//! The work is bound by memory: an f32 parameter with f32 moments and gradient moves 28 bytes, and each
//! tensor operation that stands alone would move 8 or 12 of them again. Here each element is
//! read once and written once; moments in 8 bits become numbers and codes again within the block,
//! in the first cache.
//!
//! Threads take fixed chunks, and no element depends on another outside its block of 256: bytes do
//! not depend on the number of threads.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::dynamic_map::{BLOCK, SIGNED, UNSIGNED, scale};
use super::elements::{Bf16, Element, codes_mut, slice, slice_mut, visible};
use super::formula::{Factors, Narrow};
use super::instructions::{Instructions, Kernel};
use super::moments::{Blocks, Moments};
use super::rounding::{self, Key};
use crate::Error;

/// Elements that one thread goes over at a time: a multiple of the block.
const CHUNK: usize = 1 << 15;

/// How a weight is written back.
pub(super) trait Weight: Element {
    /// `words` and `index` give the random bits.
    fn store(value: f32, words: [u32; 2], index: u32) -> Self;
}

impl Weight for f32 {
    #[inline(always)]
    fn store(value: f32, _words: [u32; 2], _index: u32) -> f32 {
        value
    }
}

impl Weight for Bf16 {
    #[inline(always)]
    fn store(value: f32, words: [u32; 2], index: u32) -> Bf16 {
        Bf16(rounding::round(value, rounding::random(words, index)))
    }
}

/// Whether [`update`] can work on `param`.
pub(super) fn takes(param: &Tensor) -> bool {
    visible(param)
}

/// Updates `param` (f32 or bf16, in order, on the CPU) by `grad`, of its shape and on its device. It begins
/// at element `offset` of the parameter that `key` is of, where a block does.
pub(super) fn update(
    factors: &Factors,
    (key, offset): (Key, usize),
    param: &mut Tensor,
    grad: &Tensor,
    moments: &mut Moments,
    instructions: Instructions,
) -> Result<(), Error> {
    let grad = if visible(grad) {
        grad.shallow_clone()
    } else if grad.kind() == Kind::BFloat16 {
        grad.f_contiguous()?
    } else {
        grad.f_to_kind(Kind::Float)?.f_contiguous()?
    };
    let run = Run {
        factors: factors.narrow(),
        key,
        offset,
        instructions,
    };
    match (param.kind(), grad.kind()) {
        (Kind::Float, Kind::Float) => {
            run.all(slice_mut::<f32>(param), slice::<f32>(&grad), moments)
        }
        (Kind::Float, _) => run.all(slice_mut::<f32>(param), slice::<Bf16>(&grad), moments),
        (_, Kind::Float) => run.all(slice_mut::<Bf16>(param), slice::<f32>(&grad), moments),
        (_, _) => run.all(slice_mut::<Bf16>(param), slice::<Bf16>(&grad), moments),
    }
    Ok(())
}

/// What is the same for all chunks of an update.
#[derive(Clone, Copy)]
struct Run {
    factors: Narrow,
    key: Key,
    offset: usize,
    instructions: Instructions,
}

impl Run {
    fn all<W: Weight, G: Element>(self, weights: &mut [W], grads: &[G], moments: &mut Moments) {
        // Waking threads takes longer than a chunk does.
        let alone = weights.len() <= CHUNK;
        match moments {
            Moments::Float32 { m, v } => {
                let (m, v) = (slice_mut::<f32>(m), slice_mut::<f32>(v));
                if alone {
                    return self.floats(0, (weights, grads), (m, v));
                }
                let weights = weights.par_chunks_mut(CHUNK).zip(grads.par_chunks(CHUNK));
                let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                let chunks = weights.zip(moments).enumerate();
                chunks.for_each(|(chunk, (weights, moments))| self.floats(chunk, weights, moments));
            }
            Moments::Int8 { m, v } => {
                let (m, v) = (codes(m), codes(v));
                if alone {
                    return self.coded(0, (weights, grads), (m, v));
                }
                let weights = weights.par_chunks_mut(CHUNK).zip(grads.par_chunks(CHUNK));
                let moments = chunks_of(m).zip(chunks_of(v));
                let chunks = weights.zip(moments).enumerate();
                chunks.for_each(|(chunk, (weights, moments))| self.coded(chunk, weights, moments));
            }
        }
    }

    fn floats<W: Weight, G: Element>(
        self,
        chunk: usize,
        (weights, grads): (&mut [W], &[G]),
        (m, v): (&mut [f32], &mut [f32]),
    ) {
        self.instructions.run(Floats {
            run: self,
            first: self.offset + chunk * CHUNK,
            weights,
            grads,
            m,
            v,
        });
    }

    fn coded<W: Weight, G: Element>(
        self,
        chunk: usize,
        (weights, grads): (&mut [W], &[G]),
        (m, v): (Codes<'_>, Codes<'_>),
    ) {
        self.instructions.run(Coded {
            run: self,
            first: self.offset + chunk * CHUNK,
            weights,
            grads,
            m,
            v,
        });
    }
}

/// Codes and scales of blocks.
type Codes<'a> = (&'a mut [u8], &'a mut [f32]);

fn codes(blocks: &mut Blocks) -> Codes<'_> {
    let codes = codes_mut(&mut blocks.codes);
    (codes, slice_mut::<f32>(&mut blocks.scales))
}

fn chunks_of((codes, scales): Codes<'_>) -> impl IndexedParallelIterator<Item = Codes<'_>> {
    let codes = codes.par_chunks_mut(CHUNK);
    codes.zip(scales.par_chunks_mut(CHUNK / BLOCK))
}

/// One chunk with f32 moments.
struct Floats<'a, W, G> {
    run: Run,
    /// The index of the chunk's first element in the whole parameter.
    first: usize,
    weights: &'a mut [W],
    grads: &'a [G],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl<W: Weight, G: Element> Kernel for Floats<'_, W, G> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let words = self.run.key.words(self.first as u64);
        let index = self.first as u32;
        elements(
            &self.run.factors,
            words,
            index,
            self.weights,
            self.grads,
            self.m,
            self.v,
        );
    }
}

/// The update of elements that follow each other, `first` of them the first.
#[inline(always)]
fn elements<W: Weight, G: Element>(
    factors: &Narrow,
    words: [u32; 2],
    first: u32,
    weights: &mut [W],
    grads: &[G],
    m: &mut [f32],
    v: &mut [f32],
) {
    let count = weights.len();
    let (grads, m, v) = (&grads[..count], &mut m[..count], &mut v[..count]);
    for i in 0..count {
        let [weight, new_m, new_v] = factors.update(weights[i].load(), grads[i].load(), m[i], v[i]);
        weights[i] = W::store(weight, words, first.wrapping_add(i as u32));
        m[i] = new_m;
        v[i] = new_v;
    }
}

/// One chunk with moments in blocks.
struct Coded<'a, W, G> {
    run: Run,
    first: usize,
    weights: &'a mut [W],
    grads: &'a [G],
    m: Codes<'a>,
    v: Codes<'a>,
}

impl<W: Weight, G: Element> Kernel for Coded<'_, W, G> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let words = self.run.key.words(self.first as u64);
        let index = self.first as u32;
        let (m_codes, _) = self.m.0.as_chunks_mut::<BLOCK>();
        let (v_codes, _) = self.v.0.as_chunks_mut::<BLOCK>();
        let m = m_codes.iter_mut().zip(self.m.1);
        let v = v_codes.iter_mut().zip(self.v.1);
        let weights = self.weights.chunks_mut(BLOCK).zip(self.grads.chunks(BLOCK));
        for (at, ((weights, grads), (m, v))) in weights.zip(m.zip(v)).enumerate() {
            let index = index.wrapping_add((at * BLOCK) as u32);
            block(&self.run.factors, words, index, weights, grads, m, v);
        }
    }
}

/// The update of one block; a parameter's last may have fewer weights, and its other codes stay those
/// of zero.
#[inline(always)]
fn block<W: Weight, G: Element>(
    factors: &Narrow,
    words: [u32; 2],
    first: u32,
    weights: &mut [W],
    grads: &[G],
    (m_codes, m_scale): (&mut [u8; BLOCK], &mut f32),
    (v_codes, v_scale): (&mut [u8; BLOCK], &mut f32),
) {
    let (mut m, mut v) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
    for i in 0..BLOCK {
        m[i] = SIGNED.decode_signed(m_codes[i]) * *m_scale;
        v[i] = UNSIGNED.decode_unsigned(v_codes[i]) * *v_scale;
    }
    elements(factors, words, first, weights, grads, &mut m, &mut v);
    *m_scale = scale(largest(&m));
    *v_scale = scale(largest(&v));
    let (m_part, v_part) = (1.0 / *m_scale, 1.0 / *v_scale);
    for i in 0..BLOCK {
        m_codes[i] = SIGNED.encode_signed(m[i] * m_part);
    }
    for i in 0..BLOCK {
        v_codes[i] = UNSIGNED.encode_unsigned(v[i] * v_part);
    }
}

/// The largest magnitude, by its bits: a maximum of integers is one instruction.
#[inline(always)]
fn largest(values: &[f32; BLOCK]) -> f32 {
    let mut bits = 0;
    for value in values {
        bits = bits.max(value.to_bits() & 0x7fff_ffff);
    }
    f32::from_bits(bits)
}
