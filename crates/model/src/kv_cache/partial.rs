//! Attention to a part of what a token sees, and how parts become the whole.
//!
//! A softmax over two sets of keys is the mean of the softmaxes over each, weighted by the sums of
//! their exponentials. So each part gives its result and the logarithm of its sum, and parts that
//! many tokens share can be read once for all of them ("cascade" attention; arXiv 2402.05099).

use tch::{Device, Kind, Tensor};

use crate::Error;

/// Added to the score of a key that must not be seen. Finite in every type, so that a row that sees
/// nothing of a part has a result, which the merge then weighs with zero.
pub(super) fn hidden(kind: Kind) -> f64 {
    match kind {
        // f16 ends at 65,504; scores are hundreds at most.
        Kind::Half => -3e4,
        _ => -1e30,
    }
}

/// From this many queries a key-value head on, libtorch's blocked attention kernel is faster than
/// two plain products (32 tokens on 640 keys of 16 heads in bf16: about equal; one token: 490
/// against 190 microseconds).
const FEW_QUERIES: i64 = 32;

/// The result of attention to some of the keys.
pub(super) struct Partial {
    /// [rows, heads, tokens, head_dim]
    pub out: Tensor,
    /// Logarithm of the sum of the exponentials of the scores, [rows, heads, tokens], f32.
    pub log_sum: Tensor,
}

/// `q` is [rows, heads, tokens, head_dim], `k` and `v` [rows, kv_heads, keys, head_dim]; `added`
/// broadcasts to [rows, 1, tokens, keys] and is added to the scores.
pub(super) fn attend_part(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    added: Option<&Tensor>,
) -> Result<Partial, Error> {
    let (heads, tokens) = (q.size()[1], q.size()[2]);
    let many = heads / k.size()[1] * tokens >= FEW_QUERIES;
    if many && q.device() == Device::Cpu {
        return blocked(q, k, v, added, false);
    }
    let scores = scores(q, k, added)?; // [rows, kv_heads, group * tokens, keys]
    let log_sum = scores.f_to_kind(Kind::Float)?.f_logsumexp(-1, false)?;
    Ok(Partial {
        out: weigh(&scores, v, q)?,
        log_sum: log_sum.f_view([-1, heads, tokens])?,
    })
}

/// As [`attend_part`], where only the result is wanted: [rows, heads, tokens, head_dim].
pub(super) fn attend_whole(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    added: Option<&Tensor>,
) -> Result<Tensor, Error> {
    weigh(&scores(q, k, added)?, v, q)
}

/// Each token sees itself and the new ones before it: `k` and `v` are [rows, kv_heads, tokens,
/// head_dim].
pub(super) fn attend_new(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    added: Option<&Tensor>,
) -> Result<Partial, Error> {
    if q.device() == Device::Cpu {
        return blocked(q, k, v, added, added.is_none());
    }
    let tokens = q.size()[2];
    let kind = q.f_kind()?;
    let causal = Tensor::f_full([tokens, tokens], hidden(kind), (kind, q.device()))?.f_triu(1)?;
    attend_part(q, k, v, Some(added.unwrap_or(&causal)))
}

fn blocked(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    added: Option<&Tensor>,
    causal: bool,
) -> Result<Partial, Error> {
    let (out, log_sum) = Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(
        q,
        k,
        v,
        0.0,
        causal,
        added,
        None::<f64>,
    )?;
    Ok(Partial { out, log_sum })
}

/// [rows, kv_heads, group * tokens, keys]
fn scores(q: &Tensor, k: &Tensor, added: Option<&Tensor>) -> Result<Tensor, Error> {
    let (heads, tokens, head_dim) = (q.size()[1], q.size()[2], q.size()[3]);
    let (kv_heads, keys) = (k.size()[1], k.size()[2]);
    let group = heads / kv_heads;
    // Heads that share a key-value head stand together: they are its queries.
    let q = q.f_mul_scalar((head_dim as f64).powf(-0.5))?.f_reshape([
        -1,
        kv_heads,
        group * tokens,
        head_dim,
    ])?;
    // Keys times queries, not the reverse: libtorch's product is up to twice as fast so where there
    // are few queries.
    let mut scores = k.f_matmul(&q.f_transpose(2, 3)?)?.f_transpose(2, 3)?;
    if let Some(added) = added {
        if added.size().get(2) == Some(&1) || group == 1 {
            scores = scores.f_add(added)?;
        } else {
            let split = [-1, kv_heads, group, tokens, keys];
            let apart = scores.f_reshape(split)?.f_add(&added.f_unsqueeze(1)?)?;
            scores = apart.f_reshape([-1, kv_heads, group * tokens, keys])?;
        }
    }
    Ok(scores)
}

/// The values under the softmax of `scores`, in the shape of `q`.
fn weigh(scores: &Tensor, v: &Tensor, q: &Tensor) -> Result<Tensor, Error> {
    let out = scores.f_softmax(-1, None::<Kind>)?.f_matmul(v)?;
    Ok(out.f_view(q.size().as_slice())?)
}

/// Both parts together.
pub(super) fn merge(a: &Partial, b: &Partial) -> Result<Partial, Error> {
    let log_sum = a.log_sum.f_logaddexp(&b.log_sum)?;
    let share = b
        .log_sum
        .f_sub(&log_sum)?
        .f_exp()?
        .f_unsqueeze(-1)?
        .f_to_kind(a.out.f_kind()?)?;
    Ok(Partial {
        out: a.out.f_lerp_tensor(&b.out, &share.f_expand_as(&a.out)?)?,
        log_sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: [i64; 4]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn off(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn parts_merge_to_attention_over_all_keys_for_few_and_for_many_queries() {
        tch::manual_seed(5);
        for (heads, kv_heads, tokens) in [(4, 4, 1), (4, 2, 3), (6, 2, 40)] {
            let q = random([2, heads, tokens, 8]);
            let (k, v) = (random([2, kv_heads, 50, 8]), random([2, kv_heads, 50, 8]));
            let added = Tensor::zeros([2, 1, tokens, 50], (Kind::Float, Device::Cpu));
            let unseen = hidden(Kind::Float);
            let _ = added.narrow(0, 1, 1).narrow(3, 30, 20).fill_(unseen);
            let whole = attend_part(&q, &k, &v, Some(&added)).unwrap();
            let at = |from: i64, n: i64| {
                let cut = |t: &Tensor, dim| t.narrow(dim, from, n);
                attend_part(&q, &cut(&k, 2), &cut(&v, 2), Some(&cut(&added, 3))).unwrap()
            };
            // The second row sees nothing at all of the last part.
            let merged = merge(&merge(&at(0, 12), &at(12, 18)).unwrap(), &at(30, 20)).unwrap();
            assert!(off(&merged.out, &whole.out) < 1e-5);
            assert!(off(&merged.log_sum, &whole.log_sum) < 1e-5);
            let expected = Tensor::scaled_dot_product_attention(
                &q,
                &k,
                &v,
                Some(&added),
                0.0,
                false,
                None::<f64>,
                heads != kv_heads,
            );
            assert!(off(&whole.out, &expected) < 1e-5);
            assert!(off(&attend_whole(&q, &k, &v, Some(&added)).unwrap(), &expected) < 1e-5);
        }
    }
}
