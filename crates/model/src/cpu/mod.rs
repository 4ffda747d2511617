//! Inference on a CPU: packed linear layers and the kernels that libtorch lacks.
//!
//! A weight packed for oneDNN is read at memory speed when one token is decoded, and saves every
//! larger product the repacking that libtorch's plain `linear` does each time. Packed weights
//! have no gradients: training uses the plain ones.
//!
//! Everything here is behind [`can_pack`]: libtorch builds without oneDNN (macOS) go the plain way.

use std::ffi::{CStr, CString, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::Error;

#[allow(non_camel_case_types)]
type text = c_char;

unsafe extern "C" {
    fn math_llava_free(text: *mut text);
    fn math_llava_can_pack() -> bool;
    fn math_llava_pack(weight: *const C_tensor, rows: i64, error: *mut *mut text) -> *mut C_tensor;
    fn math_llava_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: *const text,
        algorithm: *const text,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_linear_with(
        x: *const C_tensor,
        other: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        operation: *const text,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_rms_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_attend(
        qkv: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        slots: *const i64,
        lengths: *const i64,
        heads: i64,
        error: *mut *mut text,
    ) -> *mut C_tensor;
}

/// What is done to a linear layer's output in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x`
    None,
    /// `x sigmoid(x)`
    Silu,
    /// The exact GELU.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
}

/// How a linear layer's output is joined with another tensor of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// Added: a residual.
    Add,
    /// Multiplied: a gate.
    Multiply,
}

/// Whether this libtorch packs weights.
pub(crate) fn can_pack() -> bool {
    // SAFETY: takes nothing and only looks operators up.
    unsafe { math_llava_can_pack() }
}

/// A weight [out, in] as oneDNN wants it. The result is opaque: only [`linear`] and [`linear_with`]
/// can use it.
pub(crate) fn pack(weight: &Tensor) -> Result<Tensor, Error> {
    /// The rows of the products that the layout is chosen for. Measured: one layout serves one row
    /// and hundreds alike.
    const ROWS: i64 = 640;
    // SAFETY: a live tensor, which is not kept.
    call(|error| unsafe { math_llava_pack(weight.as_ptr(), ROWS, error) })
}

/// `activation(x W^T + b)`; `x` is [.., in], the result [.., out].
pub(crate) fn linear(
    x: &Tensor,
    packed: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor, Error> {
    let (name, algorithm) = match activation {
        Activation::None => (c"none", c""),
        Activation::Silu => (c"swish", c""),
        Activation::Gelu => (c"gelu", c"none"),
        Activation::GeluTanh => (c"gelu", c"tanh"),
    };
    // SAFETY: live tensors and constant texts, none of which is kept.
    call(|error| unsafe {
        math_llava_linear(
            x.as_ptr(),
            packed.as_ptr(),
            pointer(bias),
            name.as_ptr(),
            algorithm.as_ptr(),
            error,
        )
    })
}

/// `x W^T + b` joined with `other`, which has the result's shape.
pub(crate) fn linear_with(
    x: &Tensor,
    packed: &Tensor,
    bias: Option<&Tensor>,
    other: &Tensor,
    join: Join,
) -> Result<Tensor, Error> {
    let name = match join {
        Join::Add => c"add",
        Join::Multiply => c"mul",
    };
    // SAFETY: live tensors and a constant text, none of which is kept.
    call(|error| unsafe {
        math_llava_linear_with(
            x.as_ptr(),
            other.as_ptr(),
            packed.as_ptr(),
            pointer(bias),
            name.as_ptr(),
            error,
        )
    })
}

/// RMSNorm over the last dimension: `x` and `weight` are contiguous, both f32 or both bf16.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, Error> {
    // SAFETY: live tensors; types, places and shapes are checked on the other side.
    call(|error| unsafe { math_llava_rms_norm(x.as_ptr(), weight.as_ptr(), eps, error) })
}

/// One new token of each of several conversations. `qkv` is [rows, (heads + 2 kv_heads) dim],
/// before rotation; `rotary` cosines and sines [rows, dim]; `cache` keys and values [slots,
/// kv_heads, room, dim], into which row `i` is written at slot `slots[i]`, place `lengths[i]`.
/// Gives [rows, heads dim]. Each row's result is what it would be alone.
pub(crate) fn attend(
    qkv: &Tensor,
    rotary: (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    slots: &[i64],
    lengths: &[i64],
    heads: i64,
) -> Result<Tensor, Error> {
    let rows = qkv.size()[0];
    if slots.len() as i64 != rows || lengths.len() as i64 != rows {
        return Err(Error::Shape(format!(
            "{rows} rows in {} slots of {} lengths",
            slots.len(),
            lengths.len()
        )));
    }
    // Each row writes a place of its own.
    let mut distinct = slots.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != slots.len() {
        return Err(Error::Shape("two rows in one slot of the cache".into()));
    }
    // SAFETY: live tensors, and slices as long as `qkv` has rows; the rest is checked on the other
    // side.
    call(|error| unsafe {
        math_llava_attend(
            qkv.as_ptr(),
            rotary.0.as_ptr(),
            rotary.1.as_ptr(),
            cache.0.as_ptr(),
            cache.1.as_ptr(),
            slots.as_ptr(),
            lengths.as_ptr(),
            heads,
            error,
        )
    })
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

fn call(f: impl FnOnce(*mut *mut text) -> *mut C_tensor) -> Result<Tensor, Error> {
    let mut error = std::ptr::null_mut();
    let made = f(&raw mut error);
    if made.is_null() {
        let text = if error.is_null() {
            CString::default()
        } else {
            // SAFETY: a text that the kernels allocated for this call, freed once.
            unsafe {
                let text = CStr::from_ptr(error).to_owned();
                math_llava_free(error);
                text
            }
        };
        let text = text.to_string_lossy();
        // libtorch appends its C++ stack after the first line.
        return Err(Error::Torch(text.lines().next().unwrap_or_default().into()));
    }
    // SAFETY: a tensor allocated for this call, owned from here on.
    Ok(unsafe { Tensor::from_ptr(made) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(shape: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// The largest difference as a share of the largest value.
    fn error(found: &Tensor, wanted: &Tensor) -> f64 {
        let (found, wanted) = (found.to_kind(Kind::Float), wanted.to_kind(Kind::Float));
        let most = wanted.abs().max().double_value(&[]);
        (found - wanted).abs().max().double_value(&[]) / most.max(1e-9)
    }

    const KINDS: [(Kind, f64); 2] = [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)];

    #[test]
    fn packed_products_are_the_plain_ones_with_every_activation_and_join() {
        if !can_pack() {
            eprintln!("skipped: this libtorch has no oneDNN");
            return;
        }
        tch::manual_seed(1);
        for (kind, tolerance) in KINDS {
            for rows in [1, 3, 70] {
                let (x, w) = (random(&[2, rows, 48], kind), random(&[80, 48], kind));
                let (bias, other) = (random(&[80], kind), random(&[2, rows, 80], kind));
                let packed = pack(&w).unwrap();
                for bias in [None, Some(&bias)] {
                    let plain = x.linear(&w, bias);
                    for (activation, wanted) in [
                        (Activation::None, plain.shallow_clone()),
                        (Activation::Silu, plain.silu()),
                        (Activation::Gelu, plain.gelu("none")),
                        (Activation::GeluTanh, plain.gelu("tanh")),
                    ] {
                        let found = linear(&x, &packed, bias, activation).unwrap();
                        assert_eq!(found.size(), wanted.size());
                        let off = error(&found, &wanted);
                        assert!(off < tolerance, "{kind:?} {rows} {activation:?}: {off}");
                    }
                    for (join, wanted) in [
                        (Join::Add, &plain + &other),
                        (Join::Multiply, &plain * &other),
                    ] {
                        let found = linear_with(&x, &packed, bias, &other, join).unwrap();
                        let off = error(&found, &wanted);
                        assert!(off < tolerance, "{kind:?} {rows} {join:?}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn norms_are_libtorchs() {
        tch::manual_seed(2);
        for (kind, tolerance) in KINDS {
            for shape in [[1, 1, 96], [2, 70, 33]] {
                let (x, w) = (random(&shape, kind), random(&shape[2..], kind));
                let wanted = x.rms_norm(&shape[2..], Some(&w), 1e-5);
                let off = error(&rms_norm(&x, &w, 1e-5).unwrap(), &wanted);
                assert!(off < tolerance, "{kind:?} {shape:?}: {off}");
            }
        }
    }

    /// What [`attend`] computes, by libtorch, for one row.
    fn attend_plainly(
        q: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        (cos, sin): (&Tensor, &Tensor),
    ) -> Tensor {
        let half = q.size()[1] / 2;
        let turned = Tensor::cat(&[-q.narrow(1, half, half), q.narrow(1, 0, half)], 1);
        let q = (q * cos + turned * sin).unsqueeze(1); // [heads, 1, dim]
        let group = q.size()[0] / keys.size()[0];
        let keys = keys.repeat_interleave_self_int(group, 0, None::<i64>);
        let values = values.repeat_interleave_self_int(group, 0, None::<i64>);
        let scores = q.matmul(&keys.transpose(1, 2)) / (half as f64 * 2.0).sqrt();
        scores
            .softmax(-1, Kind::Float)
            .matmul(&values)
            .squeeze_dim(1)
    }

    #[test]
    fn a_new_token_attends_to_its_own_conversation_only_and_batch_equals_single() {
        tch::manual_seed(3);
        let (heads, kv_heads, dim, room) = (6, 2, 16, 700);
        let lengths = [0i64, 5, 650, 255, 256];
        let slots = [3i64, 0, 4, 1, 2];
        for (kind, tolerance) in KINDS {
            let keys = random(&[6, kv_heads, room, dim], kind);
            let values = random(&[6, kv_heads, room, dim], kind);
            let qkv = random(&[5, (heads + 2 * kv_heads) * dim], kind);
            let angle = random(&[5, dim / 2], Kind::Float);
            let angle = Tensor::cat(&[&angle, &angle], 1);
            let (cos, sin) = (angle.cos().to_kind(kind), angle.sin().to_kind(kind));
            let (k, v) = (keys.copy(), values.copy());
            let out = attend(&qkv, (&cos, &sin), (&k, &v), &slots, &lengths, heads).unwrap();
            for row in 0..5i64 {
                let (slot, length) = (slots[row as usize], lengths[row as usize]);
                let wide = |t: &Tensor| t.get(row).to_kind(Kind::Float);
                let angles = (wide(&cos), wide(&sin));
                let own = wide(&qkv).view([heads + 2 * kv_heads, dim]);
                // The new key and value are in the cache, and nothing else has changed.
                let seen = |cache: &Tensor| {
                    cache
                        .get(slot)
                        .narrow(1, 0, length + 1)
                        .to_kind(Kind::Float)
                };
                let fresh = own.narrow(0, heads + kv_heads, kv_heads);
                assert_eq!(error(&v.get(slot).select(1, length), &fresh), 0.0);
                let old = keys.get(slot).narrow(1, 0, length);
                assert_eq!(k.get(slot).narrow(1, 0, length), old);
                let wanted = attend_plainly(
                    &own.narrow(0, 0, heads),
                    &seen(&k),
                    &seen(&v),
                    (&angles.0, &angles.1),
                );
                let off = error(&out.get(row).view([heads, dim]), &wanted);
                assert!(off < tolerance, "{kind:?} row {row}: {off}");
                // Alone, to the bit.
                let (k, v) = (keys.copy(), values.copy());
                let alone = attend(
                    &qkv.narrow(0, row, 1),
                    (&cos.narrow(0, row, 1), &sin.narrow(0, row, 1)),
                    (&k, &v),
                    &[slot],
                    &[length],
                    heads,
                );
                assert_eq!(alone.unwrap(), out.narrow(0, row, 1), "{kind:?} row {row}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = |shape: &[i64]| random(shape, Kind::Float);
        let (cos, k) = (x(&[2, 4]), x(&[2, 1, 8, 4]));
        let try_at = |qkv: &Tensor, slots: &[i64], lengths: &[i64]| {
            attend(qkv, (&cos, &cos), (&k, &k), slots, lengths, 2)
        };
        let qkv = x(&[2, 16]);
        assert!(try_at(&qkv, &[0, 1], &[0, 7]).is_ok());
        for (qkv, slots, lengths) in [
            (&qkv, [0i64, 2], [0i64, 0]),
            (&qkv, [0, 1], [0, 8]),
            (&qkv, [0, 1], [-1, 0]),
            (&qkv, [1, 1], [0, 1]),
            (&x(&[2, 15]), [0, 1], [0, 0]),
            (&qkv.to_kind(Kind::Half), [0, 1], [0, 0]),
        ] {
            assert!(try_at(qkv, &slots, &lengths).is_err());
        }
        assert!(try_at(&qkv, &[0], &[0]).is_err());
        assert!(rms_norm(&x(&[2, 3]), &x(&[4]), 1e-5).is_err());
        assert!(rms_norm(&x(&[2, 4]).transpose(0, 1), &x(&[2]), 1e-5).is_err());
    }
}
