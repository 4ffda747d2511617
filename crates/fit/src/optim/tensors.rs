//! The update by tensor operations, for devices that have no loop of ours.
//!
//! The same numbers as [`super::fused`], the random bits and the codes (but for ties) included.
//! Large parameters go through in parts, so that what is put down between operations takes some
//! hundred megabytes at most, whatever the model.

use tch::{Device, Kind, Tensor};

use super::dynamic_map::{BLOCK, SIGNED, UNSIGNED};
use super::formula::Factors;
use super::moments::{Blocks, Moments};
use super::rounding::{self, Key};
use crate::Error;

/// Elements at a time, a multiple of the block that divides 2^32.
pub(super) const PART: i64 = 1 << 22;

/// Updates `param` (f32 or bf16) by `grad` of its shape, both on any one device; `offset` as in
/// [`super::fused::update`].
pub(super) fn update(
    factors: &Factors,
    (key, offset): (Key, usize),
    param: &mut Tensor,
    grad: &Tensor,
    moments: &mut Moments,
) -> Result<(), Error> {
    // A parameter that does not lie in order is worked on as a copy.
    let own = param.f_detach()?.f_contiguous()?;
    let weights = own.f_view([-1])?;
    let grads = grad.f_reshape([-1])?;
    let maps = match moments {
        Moments::Float32 { .. } => None,
        Moments::Int8 { .. } => Some(Maps::on(param.device())?),
    };
    let all = weights.size1()?;
    for first in (0..all).step_by(PART as usize) {
        let count = PART.min(all - first);
        let grad = grads.f_narrow(0, first, count)?.f_to_kind(Kind::Float)?;
        let grad = grad.f_mul_scalar(factors.scale)?;
        let change = match (&mut *moments, &maps) {
            (Moments::Int8 { m, v }, Some(maps)) => {
                // Blocks that the part covers; the parameter's last may not be full.
                let blocks = (count + BLOCK as i64 - 1) / BLOCK as i64;
                let grad = grad.f_constant_pad_nd([0, blocks * BLOCK as i64 - count])?;
                let first_block = first / BLOCK as i64;
                let mut new_m = decode(m, &maps.signed, first_block, blocks)?;
                let mut new_v = decode(v, &maps.unsigned, first_block, blocks)?;
                let change = step(factors, &grad, &mut new_m, &mut new_v)?;
                encode(m, &maps.signed, &new_m, first_block, blocks)?;
                encode(v, &maps.unsigned, &new_v, first_block, blocks)?;
                change.f_narrow(0, 0, count)?
            }
            (Moments::Float32 { m, v }, _) => {
                let mut m = m.f_view([-1])?.f_narrow(0, first, count)?;
                let mut v = v.f_view([-1])?.f_narrow(0, first, count)?;
                step(factors, &grad, &mut m, &mut v)?
            }
            (Moments::Int8 { .. }, None) => continue,
        };
        let mut weights = weights.f_narrow(0, first, count)?;
        let mut exact = weights.f_to_kind(Kind::Float)?; // the weights themselves where they are f32
        let _ = exact.f_mul_scalar_(factors.keep)?.f_sub_(&change)?;
        if weights.kind() == Kind::BFloat16 {
            let mut bits = exact.f_view_dtype(Kind::Int)?; // [count], shares storage
            let _ = bits.f_add_(&rounding::random_tensor(
                key,
                offset as u64 + first as u64,
                count,
                weights.device(),
            )?)?;
            let _ = bits.f_bitwise_and_(-0x1_0000_i64)?;
            // No bit is lost any more.
            weights.f_copy_(&exact)?;
        }
    }
    if !param.is_contiguous() {
        param.f_copy_(&own.f_view(param.size().as_slice())?)?;
    }
    Ok(())
}

/// Updates both moments; what is taken from the weight.
fn step(factors: &Factors, grad: &Tensor, m: &mut Tensor, v: &mut Tensor) -> Result<Tensor, Error> {
    let _ = m.f_lerp_(grad, factors.towards)?;
    let scaled = grad.f_mul_scalar(factors.fresh)?;
    let _ = v.f_mul_scalar_(factors.beta2)?.f_addcmul_(&scaled, grad)?;
    let mut root = v.f_sqrt()?;
    let _ = root
        .f_mul_scalar_(factors.root)?
        .f_add_scalar_(factors.eps)?;
    let mut change = m.f_div(&root)?;
    Ok(change.f_mul_scalar_(factors.rate)?)
}

/// One map on a device.
struct Map {
    /// `[256]`, f32.
    values: Tensor,
    /// `[255]`, f32.
    thresholds: Tensor,
}

/// Both maps.
struct Maps {
    signed: Map,
    unsigned: Map,
}

impl Maps {
    fn on(device: Device) -> Result<Maps, Error> {
        let map = |values: &[f32], thresholds: &[f32]| -> Result<Map, Error> {
            Ok(Map {
                values: Tensor::f_from_slice(values)?.f_to_device(device)?,
                thresholds: Tensor::f_from_slice(thresholds)?.f_to_device(device)?,
            })
        };
        Ok(Maps {
            signed: map(&SIGNED.values, &SIGNED.thresholds)?,
            unsigned: map(&UNSIGNED.values, &UNSIGNED.thresholds)?,
        })
    }
}

/// The values of `count` blocks from `first` on, `[count * 256]`.
fn decode(blocks: &Blocks, map: &Map, first: i64, count: i64) -> Result<Tensor, Error> {
    let codes = blocks.codes.f_narrow(0, first, count)?; // [count, 256]
    let codes = codes.f_reshape([-1])?.f_to_kind(Kind::Int)?;
    let values = map.values.f_index_select(0, &codes)?;
    let mut values = values.f_view([count, BLOCK as i64])?;
    let scales = blocks.scales.f_narrow(0, first, count)?.f_unsqueeze(1)?; // [count, 1]
    let _ = values.f_mul_(&scales)?;
    Ok(values.f_view([-1])?)
}

/// Puts `values`, `[count * 256]`, into `count` blocks from `first` on.
fn encode(
    blocks: &mut Blocks,
    map: &Map,
    values: &Tensor,
    first: i64,
    count: i64,
) -> Result<(), Error> {
    let values = values.f_view([count, BLOCK as i64])?;
    let mut scales = values.f_abs()?.f_amax([1].as_slice(), false)?; // [count]
    let scales = scales.f_clamp_min_(f64::from(f32::MIN_POSITIVE))?;
    let parts = values.f_mul(&scales.f_reciprocal()?.f_unsqueeze(1)?)?;
    let codes = parts.f_bucketize(&map.thresholds, true, false)?; // [count, 256], i32
    blocks.codes.f_narrow(0, first, count)?.f_copy_(&codes)?;
    blocks.scales.f_narrow(0, first, count)?.f_copy_(&scales)?;
    Ok(())
}
