//! The two moments of one parameter, in f32 or in 8 bits.
//!
//! In 8 bits, a parameter's elements (in order, whatever its shape) are cut into blocks of 256; each
//! block has an f32 scale, its largest magnitude, and a code a value: 1 + 4/256 bytes for each moment.
//! The last block is filled up with codes of zero. Parameters of less than 4,096 elements (norms,
//! biases) keep f32, as in bitsandbytes: they are a thousandth of the memory and the most sensitive.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::dynamic_map::{BLOCK, SIGNED, UNSIGNED};
use crate::Error;

/// How the moments are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum States {
    /// f32: 8 bytes a parameter.
    #[default]
    Float32,
    /// 8-bit codes in blocks of 256 ("8-bit Optimizers via Block-wise Quantization",
    /// <https://arxiv.org/abs/2110.02861>): 2.03 bytes a parameter.
    Int8,
}

impl States {
    /// Bytes of both moments, for each element of a large parameter.
    pub(super) fn bytes(self) -> f64 {
        match self {
            States::Float32 => 8.0,
            States::Int8 => 2.0 + 2.0 * 4.0 / BLOCK as f64,
        }
    }
}

/// Parameters with fewer elements have f32 moments in any case.
pub(super) const SMALL: usize = 4096;

/// One moment in 8 bits.
#[derive(Debug)]
pub(super) struct Blocks {
    /// `[blocks, 256]`, u8.
    pub(super) codes: Tensor,
    /// The largest magnitude of each block, f32, `[blocks]`.
    pub(super) scales: Tensor,
}

/// Both moments of a parameter, on its device.
#[derive(Debug)]
pub(super) enum Moments {
    /// Of the parameter's shape, f32.
    Float32 { m: Tensor, v: Tensor },
    /// In blocks.
    Int8 { m: Blocks, v: Blocks },
}

impl Moments {
    /// Zeros for `param`, which is a part of a parameter of `whole` elements, or all of it.
    pub(super) fn zeros(param: &Tensor, whole: usize, states: States) -> Result<Moments, Error> {
        let device = param.device();
        if states == States::Float32 || whole < SMALL {
            let size = param.size();
            return Ok(Moments::Float32 {
                m: Tensor::f_zeros(&size, (Kind::Float, device))?,
                v: Tensor::f_zeros(&size, (Kind::Float, device))?,
            });
        }
        let blocks = param.numel().div_ceil(BLOCK) as i64;
        let zeros = |code: u8| -> Result<Blocks, Error> {
            let size = [blocks, BLOCK as i64];
            Ok(Blocks {
                codes: Tensor::f_full(size, i64::from(code), (Kind::Uint8, device))?,
                scales: Tensor::f_zeros([blocks], (Kind::Float, device))?,
            })
        };
        Ok(Moments::Int8 {
            m: zeros(SIGNED.zero)?,
            v: zeros(UNSIGNED.zero)?,
        })
    }

    /// Its tensors, each with what it is called before the parameter's name.
    pub(super) fn tensors(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Moments::Float32 { m, v } => vec![("m", m), ("v", v)],
            Moments::Int8 { m, v } => vec![
                ("m.codes", &m.codes),
                ("m.scales", &m.scales),
                ("v.codes", &v.codes),
                ("v.scales", &v.scales),
            ],
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> u64 {
        let of = |tensor: &Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        self.tensors().iter().map(|(_, tensor)| of(tensor)).sum()
    }
}
