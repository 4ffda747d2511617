//! Weights in 8 and 4 bits, for decoding on a CPU, and for training adapters beside them.
//!
//! Decoding one token reads every weight once, so it is as fast as the weights are small. Products
//! are computed in f32 from bf16 inputs; only the weights are rounded. 8 bits: one scale per output
//! row, symmetric. 4 bits: a scale and a least value for every 32 inputs, 5 bits a weight in all: as
//! GGUF's Q4_1, whose weights, and Q4_0's, come through as they were.
//!
//! The layout is that of `cpu/kernels.cpp`: blocks of 8 rows, in a block steps of 64 inputs, in a
//! step the rows one after the other, so that memory is read in one line.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::nf4::Nf4;
use crate::{Error, cpu};

/// How the weights of a model that answers are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantisation {
    /// In the type that is computed in.
    #[default]
    None,
    /// 8 bits a weight.
    Int8,
    /// 5 bits a weight.
    Int4,
    /// 4.5 bits a weight, in values that suit weights better: QLoRA's 4-bit NormalFloat. Not made
    /// for fast answers.
    Nf4,
}

/// Rows of a block.
const ROWS: i64 = 8;
/// Inputs of a step.
const STEP: i64 = 64;
/// Inputs that share a scale in 4 bits.
const GROUP: i64 = 32;

/// A quantised weight.
#[derive(Debug)]
pub(crate) enum Quantised {
    /// As `cpu/kernels.cpp` multiplies it.
    Integers {
        /// int8 [out, in], or uint8 [out, in / 2]
        weight: Tensor,
        /// f32 `[out]`, or bf16 [out * in / 32, 2]
        scales: Tensor,
    },
    /// 4-bit NormalFloat.
    NormalFloat(Nf4),
}

impl Quantised {
    /// `None` for weights whose shape has no whole blocks: they are kept as they are.
    pub fn new(weight: &Tensor, how: Quantisation) -> Result<Option<Quantised>, Error> {
        let (out, inputs) = (weight.size()[0], weight.size()[1]);
        if out % ROWS != 0 || inputs % STEP != 0 {
            return Ok(None);
        }
        let on_cpu = |shape: &[i64], kind| Tensor::f_empty(shape, (kind, Device::Cpu));
        let groups = inputs / GROUP;
        let (kept, scales) = match how {
            Quantisation::None => return Ok(None),
            Quantisation::Nf4 => return Ok(Nf4::new(weight)?.map(Quantised::NormalFloat)),
            Quantisation::Int8 => (
                on_cpu(&[out, inputs], Kind::Int8)?,
                on_cpu(&[out], Kind::Float)?,
            ),
            Quantisation::Int4 => (
                on_cpu(&[out, inputs / 2], Kind::Uint8)?,
                on_cpu(&[out * groups, 2], Kind::BFloat16)?,
            ),
        };
        let from = match weight.f_kind()? {
            Kind::BFloat16 => Kind::BFloat16,
            _ => Kind::Float,
        };
        let weight = weight.f_detach()?.f_to_kind(from)?.f_contiguous()?;
        cpu::quantise(&weight, &kept, &scales)?;
        Ok(Some(Quantised::Integers {
            weight: kept,
            scales,
        }))
    }

    /// A handle on the same weight.
    pub fn shallow_clone(&self) -> Quantised {
        match self {
            Quantised::Integers { weight, scales } => Quantised::Integers {
                weight: weight.shallow_clone(),
                scales: scales.shallow_clone(),
            },
            Quantised::NormalFloat(kept) => Quantised::NormalFloat(kept.shallow_clone()),
        }
    }

    /// The same weight on another device.
    ///
    /// # Errors
    /// Integers anywhere but on a CPU, whose kernels read them.
    pub fn to_device(&self, device: Device) -> Result<Quantised, Error> {
        match self {
            Quantised::NormalFloat(kept) => Ok(Quantised::NormalFloat(kept.to_device(device)?)),
            Quantised::Integers { .. } if device == Device::Cpu => Ok(self.shallow_clone()),
            Quantised::Integers { .. } => Err(Error::Config(
                "weights in int8 and int4 are multiplied on a CPU: on this device use nf4".into(),
            )),
        }
    }

    /// Outputs and inputs.
    pub fn size(&self) -> [i64; 2] {
        match self {
            Quantised::NormalFloat(kept) => kept.size(),
            Quantised::Integers { weight, .. } => {
                let size = weight.size();
                let halves = if weight.kind() == Kind::Int8 { 1 } else { 2 };
                [size[0], size[1] * halves]
            }
        }
    }

    /// `x W^T` in bf16; `x` is [.., in].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        /// From here on the weight is spread out in bf16 for oneDNN. Measured: there each way takes
        /// about 37 ms for 154 million weights.
        const MANY: i64 = 32;
        let size = x.size();
        let (width, rows) = match size.split_last() {
            Some((width, rest)) => (*width, rest.iter().product::<i64>()),
            None => return Err(Error::Shape("a product of a single number".into())),
        };
        let x = x.f_to_kind(Kind::BFloat16)?.f_reshape([rows, width])?;
        let out = match self {
            Quantised::Integers { weight, scales } if rows < MANY => {
                cpu::quantised(&x.f_contiguous()?, weight, scales)?
            }
            _ => x.f_linear(&self.dense(Kind::BFloat16)?, None::<&Tensor>)?,
        };
        let mut shape = size;
        if let Some(last) = shape.last_mut() {
            *last = out.size()[1];
        }
        Ok(out.f_view(shape.as_slice())?)
    }

    /// The weight [out, in] it stands for; that of integers has been rounded to bf16.
    pub fn dense(&self, kind: Kind) -> Result<Tensor, Error> {
        match self {
            Quantised::Integers { weight, scales } => {
                Ok(cpu::dequantise(weight, scales)?.f_to_kind(kind)?)
            }
            Quantised::NormalFloat(kept) => kept.dense(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().max().double_value(&[])
    }

    #[test]
    fn what_is_kept_is_within_half_a_step_of_the_weight() {
        tch::manual_seed(1);
        let w = random(&[24, 192]);
        let w = Tensor::cat(&[&w, &w.zeros_like().narrow(0, 0, 8)], 0);
        for (how, steps, range) in [
            (Quantisation::Int8, 127.0, largest(&w)),
            (Quantisation::Int4, 15.0, 2.0 * largest(&w)),
        ] {
            let kept = Quantised::new(&w, how).unwrap().unwrap();
            let dense = kept.dense(Kind::Float).unwrap();
            let off = largest(&(&dense - &w));
            // Half a step, and the rounding of bf16.
            let allowed = range / steps * 0.5 + largest(&w) * 0.008;
            assert!(off < allowed, "{how:?}: {off} of {allowed}");
            assert_eq!(largest(&dense.narrow(0, 24, 8)), 0.0, "zeros stay zeros");
        }
    }

    #[test]
    fn products_are_those_of_the_dense_weight_for_few_rows_and_many() {
        tch::manual_seed(2);
        let w = random(&[40, 128]);
        for how in [Quantisation::Int8, Quantisation::Int4] {
            let kept = Quantised::new(&w, how).unwrap().unwrap();
            let dense = kept.dense(Kind::Float).unwrap();
            for shape in [[1, 1], [2, 3], [4, 20]] {
                let x = random(&[shape[0], shape[1], 128]).to_kind(Kind::BFloat16);
                let found = kept.forward(&x).unwrap();
                assert_eq!(found.size(), [shape[0], shape[1], 40]);
                let wanted = x.to_kind(Kind::Float).linear(&dense, None::<&Tensor>);
                let off = largest(&(found.to_kind(Kind::Float) - &wanted)) / largest(&wanted);
                assert!(off < 0.01, "{how:?} {shape:?}: {off}");
            }
        }
    }

    #[test]
    fn a_row_gives_the_same_alone_and_among_others() {
        tch::manual_seed(3);
        let w = random(&[16, 64]);
        let x = random(&[5, 64]).to_kind(Kind::BFloat16);
        for how in [Quantisation::Int8, Quantisation::Int4] {
            let kept = Quantised::new(&w, how).unwrap().unwrap();
            let together = kept.forward(&x).unwrap();
            for row in 0..5 {
                let alone = kept.forward(&x.narrow(0, row, 1)).unwrap();
                assert_eq!(alone, together.narrow(0, row, 1));
            }
        }
    }

    #[test]
    fn shapes_without_whole_blocks_are_left_alone() {
        for shape in [[12, 64], [8, 65], [8, 32]] {
            let w = random(&shape);
            assert!(Quantised::new(&w, Quantisation::Int8).unwrap().is_none());
            assert!(Quantised::new(&w, Quantisation::Int4).unwrap().is_none());
        }
    }
}
