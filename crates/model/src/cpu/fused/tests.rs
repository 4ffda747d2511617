//! The fused operations against libtorch's autograd, in f32.

use rand::RngCore;
use tch::{Device, Kind, Tensor};

use super::*;

const KINDS: [(Kind, f64); 2] = [(Kind::Float, 1e-5), (Kind::BFloat16, 1.5e-2)];

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

/// The same numbers in f32.
fn wide(t: &Tensor) -> Tensor {
    t.detach().to_kind(Kind::Float)
}

/// The largest difference as a share of the largest value.
fn error(found: &Tensor, wanted: &Tensor) -> f64 {
    let most = wanted.abs().max().double_value(&[]);
    let off = (wide(found) - wide(wanted)).abs().max().double_value(&[]);
    // A comparison with NaN is false.
    assert!(off.is_finite(), "{off}");
    // All numbers here are about 1 large; where all are wanted to be 0, rounding remains.
    off / most.max(0.1)
}

/// The value of `f` and the gradients of its inputs, for the gradient `grad` of the value.
fn through(f: impl Fn(&[Tensor]) -> Tensor, inputs: &[&Tensor], grad: &Tensor) -> Vec<Tensor> {
    let leaf = |t: &&Tensor| t.detach().set_requires_grad(true);
    let leaves: Vec<Tensor> = inputs.iter().map(leaf).collect();
    let out = f(&leaves);
    let grads = Tensor::run_backward(&[(&out * grad).sum(Kind::Float)], &leaves, false, false);
    std::iter::once(out.detach()).chain(grads).collect()
}

/// Holds an operation against its definition: values and gradients, and the same bits without
/// gradients.
fn agree(
    fused: impl Fn(&[Tensor]) -> Tensor,
    plain: impl Fn(&[Tensor]) -> Tensor,
    inputs: &[&Tensor],
    tolerance: f64,
    what: &str,
) {
    let given: Vec<Tensor> = inputs.iter().map(|t| t.shallow_clone()).collect();
    let silent = tch::no_grad(|| fused(&given));
    let grad = random(&silent.size(), silent.kind());
    let found = through(&fused, inputs, &grad);
    assert_eq!(silent, found[0], "{what}: without gradients");
    let exact: Vec<Tensor> = inputs.iter().map(|t| wide(t)).collect();
    let wanted = through(plain, &exact.iter().collect::<Vec<_>>(), &wide(&grad));
    for (which, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_eq!(found.size(), wanted.size(), "{what}");
        let off = error(found, wanted);
        assert!(off < tolerance, "{what}, part {which}: {off}");
    }
}

#[test]
fn norms_and_their_gradients_are_libtorchs_for_weights_of_either_type() {
    tch::manual_seed(1);
    for (kind, tolerance) in KINDS {
        for weight_kind in [kind, Kind::Float] {
            for shape in [[1, 1, 96], [2, 70, 33], [3, 50, 128]] {
                let (x, w) = (random(&shape, kind), random(&shape[2..], weight_kind));
                agree(
                    |t| rms_norm(&t[0], &t[1], 1e-5).unwrap(),
                    |t| t[0].rms_norm(&shape[2..], Some(&t[1]), 1e-5),
                    &[&x, &w],
                    tolerance,
                    &format!("{kind:?} {weight_kind:?} {shape:?}"),
                );
            }
        }
    }
}

#[test]
fn gates_and_values_have_the_gradients_of_silu_and_product() {
    tch::manual_seed(2);
    for (kind, tolerance) in KINDS {
        for width in [1, 16, 37] {
            let [gate, up] = [0; 2].map(|_| random(&[2, 3, width], kind) * 3.0);
            let plain = |t: &[Tensor]| t[0].silu() * &t[1];
            let what = format!("{kind:?} {width}");
            agree(
                |t| swiglu(&t[0], &t[1]).unwrap(),
                plain,
                &[&gate, &up],
                tolerance,
                &what,
            );
            // Side by side in one tensor, as a joined product leaves them.
            let both = Tensor::cat(&[&gate, &up], -1);
            let halves = |t: &[Tensor]| [0, width].map(|at| t[0].narrow(-1, at, width));
            agree(
                |t| {
                    let [gate, up] = halves(t);
                    swiglu(&gate, &up).unwrap()
                },
                |t| plain(&halves(t)),
                &[&both],
                tolerance,
                &what,
            );
        }
        let far = Tensor::from_slice(&[-300f32, 300.0]).to_kind(kind);
        let one = far.ones_like();
        let found = through(|t| swiglu(&t[0], &t[1]).unwrap(), &[&far, &one], &one);
        let found: Vec<f32> = Vec::try_from(wide(&found[1])).unwrap();
        assert!(found[0].abs() < 1e-30 && found[1] == 1.0, "{found:?}");
    }
}

/// `x cos + rotate_half(x) sin` of each head.
fn turned(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let dim = cos.size()[3];
    let heads = x.unflatten(2, [-1, dim]).transpose(1, 2); // [rows, heads, tokens, dim]
    let half = dim / 2;
    let swapped = Tensor::cat(&[-heads.narrow(3, half, half), heads.narrow(3, 0, half)], 3);
    (heads * cos + swapped * sin).transpose(1, 2).flatten(2, 3)
}

#[test]
fn heads_turn_by_their_positions_and_gradients_turn_back() {
    tch::manual_seed(3);
    for (kind, tolerance) in KINDS {
        for (rows, of_angles, dim) in [(2, 2, 16), (3, 1, 32), (1, 1, 6), (2, 2, 96)] {
            let x = random(&[rows, 5, 3 * dim], kind);
            let angles = random(&[of_angles, 1, 5, dim / 2], Kind::Float);
            let angles = Tensor::cat(&[&angles, &angles], 3);
            let rotary = (angles.cos().to_kind(kind), angles.sin().to_kind(kind));
            agree(
                |t| turn(&t[0], &rotary).unwrap(),
                |t| turned(&t[0], &wide(&rotary.0), &wide(&rotary.1)),
                &[&x],
                tolerance,
                &format!("{kind:?} {rows} {dim}"),
            );
        }
    }
}

/// Token trees in depth-first order, row after row: where each token's descendants end. The last
/// `padding` tokens of a row see themselves only.
fn forest(rows: i64, tokens: i64, padding: i64, seed: u64) -> Tensor {
    let mut rng = sample::seed::rng(seed, &["trees"]);
    let mut all = Vec::new();
    for _ in 0..rows {
        let mut ends: Vec<i64> = (1..=tokens).collect();
        let mut path: Vec<usize> = Vec::new();
        for token in 0..(tokens - padding).max(0) as usize {
            // Mostly on from the last token, sometimes from one of its ancestors, or a new tree.
            if rng.next_u32().is_multiple_of(8) {
                path.truncate(rng.next_u32() as usize % (path.len() + 1));
            }
            path.push(token);
            for &ancestor in &path {
                ends[ancestor] = token as i64 + 1;
            }
        }
        all.extend(ends);
    }
    Tensor::from_slice(&all).view([rows, tokens])
}

/// True where a token of a row looks, [rows, 1, tokens, tokens].
fn mask(ends: &Tensor) -> Tensor {
    let index = Tensor::arange(ends.size()[1], (Kind::Int64, Device::Cpu));
    let (looking, looked) = (index.unsqueeze(1), index.unsqueeze(0));
    looked
        .le_tensor(&looking)
        .logical_and(&looking.lt_tensor(&ends.unsqueeze(1)))
        .unsqueeze(1)
}

/// Attention under a mask; all operands are [rows, tokens, heads * dim].
fn attended(t: &[Tensor], seen: &Tensor, dim: i64) -> Tensor {
    let split = |x: &Tensor| x.unflatten(2, [-1, dim]).transpose(1, 2);
    let (q, k, v) = (split(&t[0]), split(&t[1]), split(&t[2]));
    let group = q.size()[1] / k.size()[1];
    let k = k.repeat_interleave_self_int(group, 1, None::<i64>);
    let v = v.repeat_interleave_self_int(group, 1, None::<i64>);
    let scores = q.matmul(&k.transpose(2, 3)) / (dim as f64).sqrt();
    scores
        .masked_fill(&seen.logical_not(), f64::NEG_INFINITY)
        .softmax(-1, Kind::Float)
        .matmul(&v)
        .transpose(1, 2)
        .flatten(2, 3)
}

#[test]
fn trees_are_attended_to_as_under_a_dense_mask() {
    tch::manual_seed(4);
    for (kind, tolerance) in KINDS {
        for (case, (rows, tokens, padding, heads, kv_heads, dim)) in [
            (1, 1, 0, 1, 1, 16),
            (1, 7, 2, 2, 2, 64),
            (2, 65, 0, 3, 1, 20),
            (3, 150, 21, 2, 1, 32),
            (1, 333, 40, 4, 2, 64),
            (2, 129, 70, 2, 2, 80),
            (1, 200, 1, 2, 2, 128),
            (2, 97, 3, 2, 2, 17),
        ]
        .into_iter()
        .enumerate()
        {
            let ends = forest(rows, tokens, padding, case as u64);
            let wide = |heads: i64| random(&[rows, tokens, heads * dim], kind);
            let (q, k, v) = (wide(heads) * 2.0, wide(kv_heads), wide(kv_heads));
            agree(
                |t| attend_trees(&t[0], &t[1], &t[2], &ends, [heads, kv_heads]).unwrap(),
                |t| attended(t, &mask(&ends), dim),
                &[&q, &k, &v],
                tolerance,
                &format!("{kind:?}, case {case}"),
            );
        }
    }
}

#[test]
fn attention_takes_its_operands_out_of_one_joined_product() {
    tch::manual_seed(5);
    let (ends, [heads, kv_heads, dim]) = (forest(2, 50, 0, 1), [4, 2, 16]);
    for (kind, tolerance) in KINDS {
        let qkv = random(&[2, 50, (heads + 2 * kv_heads) * dim], kind);
        let parts = |t: &[Tensor]| {
            [(0, heads), (heads, kv_heads), (heads + kv_heads, kv_heads)]
                .map(|(from, count)| t[0].narrow(2, from * dim, count * dim))
        };
        agree(
            |t| {
                let [q, k, v] = parts(t);
                attend_trees(&q, &k, &v, &ends, [heads, kv_heads]).unwrap()
            },
            |t| attended(&parts(t), &mask(&ends), dim),
            &[&qkv],
            tolerance,
            &format!("{kind:?}"),
        );
    }
}

#[test]
fn what_another_branch_or_tree_holds_changes_no_bit() {
    tch::manual_seed(6);
    // Two trees of 100: a prefix of 40 and branches of 30.
    let ends: Vec<i64> = [0i64, 100]
        .into_iter()
        .flat_map(|start| {
            (0..100)
                .map(move |at| start + [100, 70, 100][(at >= 40) as usize + (at >= 70) as usize])
        })
        .collect();
    let ends = Tensor::from_slice(&ends).unsqueeze(0);
    for (kind, _) in KINDS {
        let [q, k, v] = [0; 3].map(|_| random(&[1, 200, 32], kind));
        let attend = |k: &Tensor, v: &Tensor| attend_trees(&q, k, v, &ends, [2, 2]).unwrap();
        let before = attend(&k, &v);
        for t in [&k, &v] {
            let _ = t.narrow(1, 40, 30).fill_(1000.0);
        }
        let after = attend(&k, &v);
        for (from, count, same) in [(0, 40, true), (40, 30, false), (70, 130, true)] {
            let part = |t: &Tensor| t.narrow(1, from, count);
            assert_eq!(part(&before) == part(&after), same, "{kind:?} from {from}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    tch::manual_seed(7);
    let ends = forest(2, 180, 9, 3);
    for (kind, _) in KINDS {
        let (q, kv) = (random(&[2, 180, 96], kind), random(&[2, 180, 32], kind));
        let w = random(&[96], kind);
        let run = |threads| {
            tch::set_num_threads(threads);
            let run = |t: &[Tensor]| {
                let x = rms_norm(&t[0], &t[2], 1e-5).unwrap();
                let x = attend_trees(&x, &t[1], &t[1], &ends, [3, 1]).unwrap();
                swiglu(&x, &t[0]).unwrap()
            };
            through(run, &[&q, &kv, &w], &q)
        };
        let before = tch::get_num_threads();
        let (one, four) = (run(1), run(4));
        tch::set_num_threads(before);
        assert_eq!(one, four, "{kind:?}");
    }
}

#[test]
fn a_number_that_is_none_is_not_hidden() {
    let ends = Tensor::from_slice(&[3i64, 3, 3]).unsqueeze(0);
    for (kind, _) in KINDS {
        for which in 0..3 {
            let t = [0; 3].map(|_| random(&[1, 3, 16], kind));
            let _ = t[which].narrow(1, 1, 1).fill_(f64::NAN);
            let out = attend_trees(&t[0], &t[1], &t[2], &ends, [1, 1]).unwrap();
            assert!(
                wide(&out).isnan().any().int64_value(&[]) == 1,
                "{kind:?} {which}"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = |shape: &[i64]| random(shape, Kind::Float);
    let ends = forest(2, 8, 0, 1);
    let (q, k) = (x(&[2, 8, 32]), x(&[2, 8, 16]));
    let attend = |q: &Tensor, k: &Tensor, v: &Tensor, ends: &Tensor, heads| {
        attend_trees(q, k, v, ends, heads)
    };
    assert!(attend(&q, &k, &k, &ends, [2, 1]).is_ok());
    for (q, k, v, ends, heads) in [
        (&q, &k, &k, &ends, [2, 2]),
        (&q, &k, &k, &ends, [3, 1]),
        (&q, &k, &k, &ends, [0, 0]),
        (&q, &k, &q, &ends, [2, 1]),
        (&q, &x(&[2, 7, 16]), &x(&[2, 7, 16]), &ends, [2, 1]),
        (&q, &k, &k, &ends.narrow(1, 0, 7).contiguous(), [2, 1]),
        (&q, &k, &k, &ends.to_kind(Kind::Int), [2, 1]),
        (&q, &k.to_kind(Kind::BFloat16), &k, &ends, [2, 1]),
        (&q.to_kind(Kind::Half), &k, &k, &ends, [2, 1]),
    ] {
        assert!(
            attend(q, k, v, ends, heads).is_err(),
            "{heads:?} {q:?} {k:?} {v:?}"
        );
    }
    assert!(rms_norm(&x(&[2, 3]), &x(&[4]), 1e-5).is_err());
    assert!(swiglu(&x(&[2, 3]), &x(&[2, 4])).is_err());
    let angles = |shape: &[i64]| (x(shape), x(shape));
    assert!(turn(&q, &angles(&[2, 1, 8, 16])).is_ok());
    for shape in [[2, 1, 7, 16], [3, 1, 8, 16], [2, 1, 8, 12], [2, 2, 8, 16]] {
        assert!(turn(&q, &angles(&shape)).is_err(), "{shape:?}");
    }
}
