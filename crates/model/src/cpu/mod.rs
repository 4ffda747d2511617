//! What a CPU computes faster than libtorch's plain operators: packed linear layers and kernels for
//! answering here, the operations of a decoder layer with gradients in [`fused`].
//!
//! A weight packed for oneDNN is read at memory speed when one token is decoded, and saves every
//! larger product the repacking that libtorch's plain `linear` does each time. Packed weights
//! have no gradients: training uses the plain ones.
//!
//! Packing is behind [`can_pack`]: libtorch builds without oneDNN (macOS) go the plain way.

use std::ffi::{CStr, CString, c_char};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::Error;

pub(crate) mod fused;

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
    fn math_llava_linear_added(
        x: *const C_tensor,
        other: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_softmax(
        x: *const C_tensor,
        scale: f64,
        period: i64,
        first: i64,
        error: *mut *mut text,
    ) -> bool;
    fn math_llava_quick_gelu(x: *const C_tensor, error: *mut *mut text) -> *mut C_tensor;
    fn math_llava_attend(
        qkv: *const C_tensor,
        cos: *const C_tensor,
        sin: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        runs: *const *const C_tensor,
        run_count: i64,
        starts: *const i64,
        of_row: *const i64,
        slots: *const i64,
        lengths: *const i64,
        hidden: *const i64,
        heads: i64,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_quantised(
        x: *const C_tensor,
        weight: *const C_tensor,
        scales: *const C_tensor,
        error: *mut *mut text,
    ) -> *mut C_tensor;
    fn math_llava_quantise(
        x: *const C_tensor,
        weight: *const C_tensor,
        scales: *const C_tensor,
        error: *mut *mut text,
    ) -> bool;
    fn math_llava_dequantise(
        weight: *const C_tensor,
        scales: *const C_tensor,
        error: *mut *mut text,
    ) -> *mut C_tensor;
}

/// What is done to a linear layer's output in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x`
    None,
    /// The exact GELU.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
}

/// Whether this libtorch packs weights.
pub(crate) fn can_pack() -> bool {
    // SAFETY: takes nothing and only looks operators up.
    unsafe { math_llava_can_pack() }
}

/// A weight [out, in] as oneDNN wants it. The result is opaque: only [`linear`] and [`linear_added`]
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

/// `x W^T + b + other`, which has the result's shape.
pub(crate) fn linear_added(
    x: &Tensor,
    packed: &Tensor,
    bias: Option<&Tensor>,
    other: &Tensor,
) -> Result<Tensor, Error> {
    // SAFETY: live tensors, none of which is kept.
    call(|error| unsafe {
        math_llava_linear_added(
            x.as_ptr(),
            other.as_ptr(),
            packed.as_ptr(),
            pointer(bias),
            error,
        )
    })
}

/// Whether the kernels here can take a tensor: whole, on the CPU, f32 or bf16, without gradients.
pub(crate) fn takes(x: &Tensor) -> bool {
    x.device() == Device::Cpu
        && matches!(x.kind(), Kind::Float | Kind::BFloat16)
        && x.is_contiguous()
        && !x.requires_grad()
}

/// `x sigmoid(1.702 x)`, for what [`takes`] accepts.
pub(crate) fn quick_gelu(x: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: a live tensor; type and place are checked on the other side.
    call(|error| unsafe { math_llava_quick_gelu(x.as_ptr(), error) })
}

/// Which scores a row of a softmax sees.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sees {
    /// All of them.
    All,
    /// Row `r` sees the first `first + r % period + 1`: queries that follow one another.
    UpTo { first: i64, period: i64 },
}

/// Softmax over the last dimension of `scores` times `scale`, in place, for what [`takes`] accepts;
/// scores that are not seen become 0.
pub(crate) fn softmax_(scores: &Tensor, scale: f64, sees: Sees) -> Result<(), Error> {
    let (first, period) = match sees {
        Sees::All => (0, 0),
        Sees::UpTo { first, period } => (first, period),
    };
    let mut error = std::ptr::null_mut();
    // SAFETY: a live tensor; type, place and shape are checked on the other side.
    let done = unsafe { math_llava_softmax(scores.as_ptr(), scale, period, first, &raw mut error) };
    if done { Ok(()) } else { Err(failure(error)) }
}

/// Where rows of one new token each stand, and what they see.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Each row's slot of the cache.
    pub slots: Vec<i64>,
    /// Tokens in the slot already: the new one's place.
    pub lengths: Vec<i64>,
    /// How many of the first tokens of all a row does not see: those before a window.
    pub hidden: Vec<i64>,
    /// The runs of tokens below the rows: row `i` stands on those whose indices are
    /// `of_row[starts[i]..starts[i + 1]]`, in this order.
    pub starts: Vec<i64>,
    /// See `starts`.
    pub of_row: Vec<i64>,
}

impl Places {
    /// Rows that stand on nothing shared.
    #[cfg(test)]
    fn alone(slots: &[i64], lengths: &[i64]) -> Places {
        Places {
            slots: slots.to_vec(),
            lengths: lengths.to_vec(),
            hidden: vec![0; slots.len()],
            starts: vec![0; slots.len() + 1],
            of_row: Vec::new(),
        }
    }

    fn check(&self, rows: i64) -> Result<(), Error> {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let fits = self.slots.len() == rows
            && self.lengths.len() == rows
            && self.hidden.len() == rows
            && self.starts.len() == rows + 1
            && self.starts.last() == Some(&(self.of_row.len() as i64));
        if !fits {
            return Err(Error::Shape(format!("{rows} rows at {self:?}")));
        }
        // Each row writes a place of its own.
        let mut distinct = self.slots.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != rows {
            return Err(Error::Shape("two rows in one slot of the cache".into()));
        }
        Ok(())
    }
}

/// One new token of each of several conversations. `qkv` is [rows, (heads + 2 kv_heads) dim],
/// before rotation; `rotary` cosines and sines [rows, dim]; `cache` keys and values [slots,
/// kv_heads, room, dim], into which the rows are written; `runs` the keys and values [1, kv_heads,
/// tokens, dim] of tokens that rows share. Gives [rows, heads dim]. Each row's result is what it
/// would be alone, to the bit.
pub(crate) fn attend(
    qkv: &Tensor,
    rotary: (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    runs: &[(&Tensor, &Tensor)],
    places: &Places,
    heads: i64,
) -> Result<Tensor, Error> {
    places.check(qkv.size()[0])?;
    let of_runs: Vec<*const C_tensor> = runs
        .iter()
        .flat_map(|(k, v)| [k.as_ptr(), v.as_ptr()])
        .collect();
    // SAFETY: live tensors, and slices of the lengths just checked; the rest is checked on the
    // other side.
    call(|error| unsafe {
        math_llava_attend(
            qkv.as_ptr(),
            rotary.0.as_ptr(),
            rotary.1.as_ptr(),
            cache.0.as_ptr(),
            cache.1.as_ptr(),
            of_runs.as_ptr(),
            runs.len() as i64,
            places.starts.as_ptr(),
            places.of_row.as_ptr(),
            places.slots.as_ptr(),
            places.lengths.as_ptr(),
            places.hidden.as_ptr(),
            heads,
            error,
        )
    })
}

/// `x W^T` for few rows `x` [rows, in] (bf16), by a weight that [`crate::quantise`] laid out.
pub(crate) fn quantised(x: &Tensor, weight: &Tensor, scales: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: live tensors; types and shapes are checked on the other side.
    call(|error| unsafe {
        math_llava_quantised(x.as_ptr(), weight.as_ptr(), scales.as_ptr(), error)
    })
}

/// Writes a weight [out, in] (f32 or bf16) in few bits into `weight` and `scales`, whose types and
/// shapes say in how many.
pub(crate) fn quantise(x: &Tensor, weight: &Tensor, scales: &Tensor) -> Result<(), Error> {
    let mut error = std::ptr::null_mut();
    // SAFETY: live tensors; types and shapes are checked on the other side.
    let done = unsafe {
        math_llava_quantise(x.as_ptr(), weight.as_ptr(), scales.as_ptr(), &raw mut error)
    };
    if done { Ok(()) } else { Err(failure(error)) }
}

/// The weight [out, in] in bf16 that a quantised one stands for.
pub(crate) fn dequantise(weight: &Tensor, scales: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: live tensors; types and shapes are checked on the other side.
    call(|error| unsafe { math_llava_dequantise(weight.as_ptr(), scales.as_ptr(), error) })
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

fn call(f: impl FnOnce(*mut *mut text) -> *mut C_tensor) -> Result<Tensor, Error> {
    let mut error = std::ptr::null_mut();
    let made = f(&raw mut error);
    if made.is_null() {
        return Err(failure(error));
    }
    // SAFETY: a tensor allocated for this call, owned from here on.
    Ok(unsafe { Tensor::from_ptr(made) })
}

/// What the kernels said went wrong.
fn failure(error: *mut text) -> Error {
    let said = if error.is_null() {
        CString::default()
    } else {
        // SAFETY: a text that the kernels allocated for this call, freed once.
        unsafe {
            let said = CStr::from_ptr(error).to_owned();
            math_llava_free(error);
            said
        }
    };
    // libtorch appends its C++ stack after the first line.
    let said = said.to_string_lossy();
    Error::Torch(said.lines().next().unwrap_or_default().into())
}

#[cfg(test)]
mod tests;
