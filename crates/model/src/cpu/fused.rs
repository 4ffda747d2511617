//! The operations of a decoder layer on a CPU, each in one pass and with gradients.
//!
//! They take f32 and bf16 and compute in f32. Results are the same bits with gradients and without,
//! and whatever the number of threads: a layer that is run again for its gradients repeats itself.

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::{call, text};
use crate::Error;

unsafe extern "C" {
    fn math_llava_rms_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_swiglu(
        gate: *const C_tensor,
        up: *const C_tensor,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_turn(
        x: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_attend_trees(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        ends: *const C_tensor,
        heads: i64,
        kv_heads: i64,
        error: *mut *mut text,
    ) -> *mut C_tensor;
}

/// Whether the operations here can take a tensor: f32 or bf16 on the CPU.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16)
}

/// RMSNorm over the last dimension; the weight may have another type than `x`.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, Error> {
    // SAFETY: live tensors, of which autograd may keep handles of its own; types, places and shapes
    // are checked on the other side, here and below.
    call(|error| unsafe { math_llava_rms_norm(x.as_ptr(), weight.as_ptr(), eps, error) })
}

/// `silu(gate) * up`, of one shape and type.
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: as above.
    call(|error| unsafe { math_llava_swiglu(gate.as_ptr(), up.as_ptr(), error) })
}

/// Heads [rows, tokens, heads * dim] turned by cosines and sines [rows or 1, 1, tokens, dim] of the
/// same type.
pub(crate) fn turn(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor, Error> {
    // SAFETY: as above.
    call(|error| unsafe { math_llava_turn(x.as_ptr(), cos.as_ptr(), sin.as_ptr(), error) })
}

/// Attention over token trees: `q` is [rows, tokens, heads * dim], `k` and `v` [rows, tokens,
/// kv_heads * dim], `ends` [rows, tokens] (i64): token `i` looks at `j` where `j <= i < ends[j]`. Gives
/// the shape of `q`. A token that sees nothing gets zeros.
pub(crate) fn attend_trees(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    ends: &Tensor,
    [heads, kv_heads]: [i64; 2],
) -> Result<Tensor, Error> {
    // SAFETY: as above.
    call(|error| unsafe {
        math_llava_attend_trees(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            ends.as_ptr(),
            heads,
            kv_heads,
            error,
        )
    })
}

#[cfg(test)]
mod tests;
