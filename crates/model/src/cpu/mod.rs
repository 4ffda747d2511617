//! Inference on a CPU: packed linear layers and the kernels that libtorch lacks.
//!
//! A weight packed for oneDNN is read at memory speed when one token is decoded, and saves every
//! larger product the repacking that libtorch's plain `linear` does each time. Packed weights
//! have no gradients: training uses the plain ones.
//!
//! Everything here is behind [`can_pack`]: libtorch builds without oneDNN (macOS) go the plain way.

use std::ffi::{CStr, CString, c_char};

use tch::{Device, Kind, Tensor};
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
    fn math_llava_silu_multiply(x: *const C_tensor, error: *mut *mut text) -> *mut C_tensor;
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

/// `silu(gate) * value` of rows that hold gates, then values, side by side: [.., 2 width] to
/// [.., width], for what [`takes`] accepts.
pub(crate) fn silu_multiply(x: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: a live tensor; type, place and shape are checked on the other side.
    call(|error| unsafe { math_llava_silu_multiply(x.as_ptr(), error) })
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
mod tests {
    use super::*;

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

    #[test]
    fn gates_and_values_are_multiplied_as_libtorch_does() {
        tch::manual_seed(5);
        for (kind, tolerance) in KINDS {
            for width in [1, 16, 37] {
                let x = random(&[2, 3, 2 * width], kind) * 3.0;
                let part = |from| x.narrow(2, from, width).to_kind(Kind::Float);
                let found = silu_multiply(&x).unwrap();
                assert_eq!(found.size(), [2, 3, width]);
                let off = error(&found, &(part(0).silu() * part(width)));
                assert!(off < tolerance, "{kind:?} {width}: {off}");
            }
        }
        assert!(silu_multiply(&random(&[2, 3], Kind::Float)).is_err());
    }

    #[test]
    fn softmax_is_libtorchs_of_the_scores_that_a_row_sees() {
        tch::manual_seed(4);
        for (kind, tolerance) in KINDS {
            for (count, first, period) in
                [(70, 0, 0), (37, 33, 4), (48, 16, 32), (3, 0, 3), (1, 0, 1)]
            {
                let scores = random(&[2, 4 * period.max(1), count], kind);
                let found = scores.copy();
                let sees = match period {
                    0 => Sees::All,
                    _ => Sees::UpTo { first, period },
                };
                softmax_(&found, 0.3, sees).unwrap();
                let wide = scores.to_kind(Kind::Float) * 0.3;
                let wide = if period == 0 {
                    wide
                } else {
                    let seen = Tensor::ones([period, count], (Kind::Bool, Device::Cpu)).tril(first);
                    wide.masked_fill(&seen.repeat([4, 1]).logical_not(), f64::NEG_INFINITY)
                };
                let off = error(&found, &wide.softmax(-1, Kind::Float));
                assert!(off < tolerance, "{kind:?} {count} {first} {period}: {off}");
            }
            let wrong = Sees::UpTo {
                first: 1,
                period: 3,
            };
            assert!(softmax_(&random(&[3, 3], kind), 1.0, wrong).is_err());
        }
    }

    #[test]
    fn quick_gelu_is_clips_also_far_out() {
        for (kind, tolerance) in KINDS {
            let x = Tensor::cat(
                &[
                    random(&[37], kind),
                    Tensor::from_slice(&[-300f32, 300.0, 0.0]).to_kind(kind),
                ],
                0,
            );
            let wide = x.to_kind(Kind::Float);
            let wanted = &wide * (&wide * 1.702).sigmoid();
            assert!(error(&quick_gelu(&x).unwrap(), &wanted) < tolerance / 100.0);
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
        let mut places = Places::alone(&[3, 0, 4, 1, 2], &[0, 5, 650, 255, 256]);
        // Rows 1 and 2 share a run, row 1 stands on another one besides, row 2 has a window.
        places.starts = vec![0, 0, 2, 3, 3, 3];
        places.of_row = vec![0, 1, 0];
        places.hidden = vec![0, 0, 60, 0, 100];
        let below = [vec![], vec![0, 1], vec![0], vec![], vec![]];
        for (kind, tolerance) in KINDS {
            let keys = random(&[6, kv_heads, room, dim], kind);
            let values = random(&[6, kv_heads, room, dim], kind);
            let runs: Vec<(Tensor, Tensor)> = [50i64, 7]
                .map(|n| [0; 2].map(|_| random(&[1, kv_heads, n, dim], kind)))
                .into_iter()
                .map(|[k, v]| (k, v))
                .collect();
            let runs: Vec<(&Tensor, &Tensor)> = runs.iter().map(|(k, v)| (k, v)).collect();
            let qkv = random(&[5, (heads + 2 * kv_heads) * dim], kind);
            let angle = random(&[5, dim / 2], Kind::Float);
            let angle = Tensor::cat(&[&angle, &angle], 1);
            let (cos, sin) = (angle.cos().to_kind(kind), angle.sin().to_kind(kind));
            let (k, v) = (keys.copy(), values.copy());
            let out = attend(&qkv, (&cos, &sin), (&k, &v), &runs, &places, heads).unwrap();
            for (row, below) in below.iter().enumerate() {
                let (slot, length) = (places.slots[row], places.lengths[row]);
                let at = row as i64;
                let wide = |t: &Tensor| t.get(at).to_kind(Kind::Float);
                let angles = (wide(&cos), wide(&sin));
                let own = wide(&qkv).view([heads + 2 * kv_heads, dim]);
                // The new key and value are in the cache, and nothing else has changed.
                let fresh = own.narrow(0, heads + kv_heads, kv_heads);
                assert_eq!(error(&v.get(slot).select(1, length), &fresh), 0.0);
                let old = keys.get(slot).narrow(1, 0, length);
                assert_eq!(k.get(slot).narrow(1, 0, length), old);
                let seen = |cache: &Tensor, which: fn(&(&Tensor, &Tensor)) -> Tensor| {
                    let mut all: Vec<Tensor> =
                        below.iter().map(|&r| which(&runs[r]).get(0)).collect();
                    all.push(cache.get(slot).narrow(1, 0, length + 1));
                    let all = Tensor::cat(&all, 1).to_kind(Kind::Float);
                    let hidden = places.hidden[row];
                    all.narrow(1, hidden, all.size()[1] - hidden)
                };
                let wanted = attend_plainly(
                    &own.narrow(0, 0, heads),
                    &seen(&k, |run| run.0.shallow_clone()),
                    &seen(&v, |run| run.1.shallow_clone()),
                    (&angles.0, &angles.1),
                );
                let off = error(&out.get(at).view([heads, dim]), &wanted);
                assert!(off < tolerance, "{kind:?} row {row}: {off}");
                // Alone, to the bit.
                let (k, v) = (keys.copy(), values.copy());
                let mut alone = Places::alone(&[slot], &[length]);
                alone.hidden = vec![places.hidden[row]];
                alone.starts = vec![0, below.len() as i64];
                alone.of_row = below.iter().map(|&r| r as i64).collect();
                let single = |t: &Tensor| t.narrow(0, at, 1);
                let alone = attend(
                    &single(&qkv),
                    (&single(&cos), &single(&sin)),
                    (&k, &v),
                    &runs,
                    &alone,
                    heads,
                );
                assert_eq!(alone.unwrap(), out.narrow(0, at, 1), "{kind:?} row {row}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = |shape: &[i64]| random(shape, Kind::Float);
        let (cos, k) = (x(&[2, 4]), x(&[2, 1, 8, 4]));
        let try_at =
            |qkv: &Tensor, places: &Places| attend(qkv, (&cos, &cos), (&k, &k), &[], places, 2);
        let qkv = x(&[2, 16]);
        assert!(try_at(&qkv, &Places::alone(&[0, 1], &[0, 7])).is_ok());
        for (qkv, slots, lengths) in [
            (&qkv, [0i64, 2], [0i64, 0]),
            (&qkv, [0, 1], [0, 8]),
            (&qkv, [0, 1], [-1, 0]),
            (&qkv, [1, 1], [0, 1]),
            (&x(&[2, 15]), [0, 1], [0, 0]),
            (&qkv.to_kind(Kind::Half), [0, 1], [0, 0]),
        ] {
            assert!(try_at(qkv, &Places::alone(&slots, &lengths)).is_err());
        }
        assert!(try_at(&qkv, &Places::alone(&[0], &[0])).is_err());
        let mut absent = Places::alone(&[0, 1], &[0, 0]);
        (absent.starts, absent.of_row) = (vec![0, 0, 1], vec![0]);
        assert!(try_at(&qkv, &absent).is_err());
        assert!(rms_norm(&x(&[2, 3]), &x(&[4]), 1e-5).is_err());
        assert!(rms_norm(&x(&[2, 4]).transpose(0, 1), &x(&[2]), 1e-5).is_err());
    }
}
