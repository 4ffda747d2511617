//! 4-bit NormalFloat (QLoRA, arXiv 2305.14314): weights in 4.5 bits that a model is trained beside.
//!
//! Each 64 weights share a scale, their largest magnitude; what is left of a weight is the nearest
//! of 16 values, the quantiles of a normal distribution (appendix E). Codes lie as `bitsandbytes`
//! has them: two to a byte, the first in the high half. Scales stay in f32; the paper's second
//! quantisation, of these, would save a further 0.37 bits a weight.
//!
//! Everything here is made of tensor operations, which any device has; a CPU spreads weights out
//! with all threads in one pass.

use half::bf16;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::weights::{fill, with_bytes};

/// Weights that share a scale.
const BLOCK: i64 = 64;
/// The values of the codes.
const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// A weight in 4 bits.
#[derive(Debug)]
pub(crate) struct Nf4 {
    /// uint8 [out, in / 2]
    codes: Tensor,
    /// f32 [out, in / 64]
    scales: Tensor,
}

impl Nf4 {
    /// `None` for weights [out, in] whose rows have no whole blocks: they are kept as they are.
    pub fn new(weight: &Tensor) -> Result<Option<Nf4>, Error> {
        let &[out, inputs] = weight.size().as_slice() else {
            return Ok(None);
        };
        if inputs % BLOCK != 0 || weight.numel() == 0 {
            return Ok(None);
        }
        let blocks =
            weight
                .f_detach()?
                .f_to_kind(Kind::Float)?
                .f_reshape([out, inputs / BLOCK, BLOCK])?;
        let scales = blocks.f_abs()?.f_amax(-1, false)?; // [out, blocks]
        let divisor = scales.f_where_self(&scales.f_gt(0.0)?, &Tensor::f_ones_like(&scales)?)?;
        let unit = blocks.f_div(&divisor.f_unsqueeze(-1)?)?;
        let between: Vec<f32> = VALUES
            .windows(2)
            .map(|pair| (pair[0] + pair[1]) / 2.0)
            .collect();
        let between = Tensor::f_from_slice(&between)?.f_to_device(weight.device())?;
        let codes = unit
            .f_bucketize(&between, true, false)?
            .f_to_kind(Kind::Uint8)?
            .f_view([out, inputs / 2, 2])?;
        let codes = codes
            .f_select(-1, 0)?
            .f_mul_scalar(16)?
            .f_add(&codes.f_select(-1, 1)?)?
            .f_to_kind(Kind::Uint8)?;
        Ok(Some(Nf4 { codes, scales }))
    }

    /// The same weight on another device.
    pub fn to_device(&self, device: Device) -> Result<Nf4, Error> {
        Ok(Nf4 {
            codes: self.codes.f_to_device(device)?,
            scales: self.scales.f_to_device(device)?,
        })
    }

    /// A handle on the same weight.
    pub fn shallow_clone(&self) -> Nf4 {
        Nf4 {
            codes: self.codes.shallow_clone(),
            scales: self.scales.shallow_clone(),
        }
    }

    /// Outputs and inputs.
    pub fn size(&self) -> [i64; 2] {
        let size = self.codes.size();
        [size[0], 2 * size[1]]
    }

    /// The weight [out, in] it stands for.
    pub fn dense(&self, kind: Kind) -> Result<Tensor, Error> {
        let on_cpu = self.codes.device() == Device::Cpu;
        match kind {
            Kind::Float if on_cpu => self.spread(kind, f32::to_ne_bytes),
            Kind::BFloat16 if on_cpu => {
                self.spread(kind, |value| bf16::from_f32(value).to_ne_bytes())
            }
            _ => self.looked_up(kind),
        }
    }

    /// [`Nf4::dense`] in one pass; `bytes` is a number in the type `kind`.
    fn spread<const N: usize>(
        &self,
        kind: Kind,
        bytes: impl Fn(f32) -> [u8; N] + Sync,
    ) -> Result<Tensor, Error> {
        const CODES: usize = BLOCK as usize / 2;
        let dense = Tensor::f_empty(self.size(), (kind, Device::Cpu))?;
        let count = dense.numel() * N;
        with_bytes(&self.codes, |codes| {
            with_bytes(&self.scales, |scales| {
                let scales = scales.as_chunks::<4>().0;
                fill(&dense, count, |out| {
                    out.par_chunks_mut(2 * CODES * N)
                        .with_min_len(64)
                        .zip(codes.par_chunks(CODES))
                        .zip(scales)
                        .for_each(|((out, codes), scale)| {
                            let scale = f32::from_ne_bytes(*scale);
                            let table = VALUES.map(|value| bytes(value * scale));
                            let (pairs, _) = out.as_chunks_mut::<N>();
                            for (pair, code) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                                *pair =
                                    [table[usize::from(code >> 4)], table[usize::from(code & 15)]];
                            }
                        });
                    true
                })
            })
        })??;
        Ok(dense)
    }

    /// [`Nf4::dense`] by tensor operations.
    fn looked_up(&self, kind: Kind) -> Result<Tensor, Error> {
        let [out, inputs] = self.size();
        let pairs: Vec<f32> = (0..256)
            .flat_map(|code| [VALUES[code >> 4], VALUES[code & 15]])
            .collect();
        let pairs = Tensor::f_from_slice(&pairs)?
            .f_view([256, 2])?
            .f_to_device(self.codes.device())?;
        let codes = self.codes.f_flatten(0, -1)?.f_to_kind(Kind::Int)?;
        Ok(pairs
            .f_index_select(0, &codes)? // [out * in / 2, 2]
            .f_view([out, inputs / BLOCK, BLOCK])?
            .f_mul(&self.scales.f_unsqueeze(-1)?)?
            .f_view([out, inputs])?
            .f_to_kind(kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn codes_scales_and_values_are_those_of_bitsandbytes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nf4.safetensors");
        let golden: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(path)
            .unwrap()
            .into_iter()
            .collect();
        let kept = Nf4::new(&golden["weight"]).unwrap().unwrap();
        assert!(
            kept.codes
                .flatten(0, -1)
                .equal(&golden["codes"].flatten(0, -1))
        );
        assert!(kept.scales.flatten(0, -1).equal(&golden["scales"]));
        for way in [kept.dense(Kind::Float), kept.looked_up(Kind::Float)] {
            assert!(way.unwrap().equal(&golden["dense"]));
        }
    }

    #[test]
    fn both_ways_of_spreading_a_weight_give_the_same_in_every_type() {
        tch::manual_seed(4);
        let weight = Tensor::randn([24, 192], (Kind::Float, Device::Cpu));
        let _ = weight.narrow(0, 3, 2).fill_(0.0);
        let kept = Nf4::new(&weight).unwrap().unwrap();
        assert_eq!(kept.size(), [24, 192]);
        for kind in [Kind::Float, Kind::BFloat16] {
            let (a, b) = (kept.dense(kind).unwrap(), kept.looked_up(kind).unwrap());
            assert!(a.kind() == kind && a.equal(&b), "{kind:?}");
            assert_eq!(a.narrow(0, 3, 2).abs().max().double_value(&[]), 0.0);
        }
        // The widest gap between two values is 0.3 of the scale.
        let off = (kept.dense(Kind::Float).unwrap() - &weight).abs().max();
        assert!(off.double_value(&[]) < 0.153 * weight.abs().max().double_value(&[]));
        // What is on the grid stays.
        let dense = kept.dense(Kind::Float).unwrap();
        let again = Nf4::new(&dense).unwrap().unwrap();
        assert!(again.dense(Kind::Float).unwrap().equal(&dense));
    }

    #[test]
    fn rows_without_whole_blocks_are_left_alone() {
        for shape in [vec![4, 65], vec![0, 64], vec![64]] {
            let weight = Tensor::ones(shape.as_slice(), (Kind::Float, Device::Cpu));
            assert!(Nf4::new(&weight).unwrap().is_none());
        }
    }
}
