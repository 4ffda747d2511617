//! The kernels against libtorch's operators.

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
fn packed_products_are_the_plain_ones_with_every_activation_and_with_a_sum() {
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
                    (Activation::Gelu, plain.gelu("none")),
                    (Activation::GeluTanh, plain.gelu("tanh")),
                ] {
                    let found = linear(&x, &packed, bias, activation).unwrap();
                    assert_eq!(found.size(), wanted.size());
                    let off = error(&found, &wanted);
                    assert!(off < tolerance, "{kind:?} {rows} {activation:?}: {off}");
                }
                let found = linear_added(&x, &packed, bias, &other).unwrap();
                let off = error(&found, &(&plain + &other));
                assert!(off < tolerance, "{kind:?} {rows} sum: {off}");
            }
        }
    }
}

#[test]
fn softmax_is_libtorchs_of_the_scores_that_a_row_sees() {
    tch::manual_seed(4);
    for (kind, tolerance) in KINDS {
        for (count, first, period) in [(70, 0, 0), (37, 33, 4), (48, 16, 32), (3, 0, 3), (1, 0, 1)]
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
                let mut all: Vec<Tensor> = below.iter().map(|&r| which(&runs[r]).get(0)).collect();
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
}

/// The loops for other processors than this one: the tests of all kernels and of quantised weights, each
/// choice in a process of its own, since it is made once.
#[test]
fn every_kind_of_loop_passes_these_tests() {
    if std::env::var_os("MATH_LLAVA_CPU").is_some() {
        return;
    }
    for kind in ["plain", "avx512"] {
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["cpu::", "quantise::tests", "--test-threads", "1"])
            .env("MATH_LLAVA_CPU", kind)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{kind}: {said}");
        for module in ["quantise::tests", "cpu::fused::tests"] {
            assert!(said.contains(module), "{kind}: {said}");
        }
    }
}
