//! The loop for CPUs against the tensor operations, and against itself with other instructions and
//! other numbers of threads.

use tch::{Device, Kind, Tensor};

use super::dynamic_map::{SIGNED, UNSIGNED};
use super::formula::Factors;
use super::instructions::Instructions;
use super::moments::Moments;
use super::rounding::Key;
use super::{Hyper, States, fused, tensors};

const HYPER: Hyper = Hyper {
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0.1,
};

/// Numbers of several magnitudes and both signs, some of them zero.
fn numbers(count: i64, salt: u64) -> Tensor {
    let number = |i: u64| {
        let bits = (i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let unit = (bits >> 40) as f32 / 16_777_216.0 - 0.5;
        match i % 11 {
            0 => 0.0,
            k => unit * 10_f32.powi(-(k as i32) / 2),
        }
    };
    let flat: Vec<f32> = (0..count as u64).map(number).collect();
    Tensor::from_slice(&flat)
}

/// One parameter and its states, updated several times.
struct Run {
    param: Tensor,
    moments: Moments,
}

impl Run {
    fn new(count: i64, kind: Kind, states: States) -> Run {
        let param = numbers(count, 1).to_kind(kind);
        let moments = Moments::zeros(&param, param.numel(), states).unwrap();
        Run { param, moments }
    }

    /// `with`: `None` for tensor operations.
    fn update(&mut self, step: u64, grad: &Tensor, with: Option<Instructions>) {
        let factors = Factors::new(&HYPER, step, 1e-2, true, 0.7);
        let key = Key::of_parameter(3, "w").at(step);
        let (param, moments) = (&mut self.param, &mut self.moments);
        match with {
            Some(set) => fused::update(&factors, (key, 0), param, grad, moments, set).unwrap(),
            None => tensors::update(&factors, (key, 0), param, grad, moments).unwrap(),
        }
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        let tensors = self.moments.tensors().into_iter().map(|(_, tensor)| tensor);
        tensors
            .chain([&self.param])
            .map(|tensor| Vec::try_from(tensor.flatten(0, -1).view_dtype(Kind::Uint8)).unwrap())
            .collect()
    }
}

fn forms() -> impl Iterator<Item = (Kind, States, Kind)> {
    let kinds = [Kind::Float, Kind::BFloat16];
    kinds.into_iter().flat_map(move |weights| {
        [States::Float32, States::Int8]
            .into_iter()
            .flat_map(move |states| kinds.map(|grads| (weights, states, grads)))
    })
}

/// More than one chunk, and a last block that is not full.
const COUNT: i64 = 70_001;

#[test]
fn all_instruction_sets_give_the_same_bytes() {
    for (weights, states, grads) in forms() {
        let mut of_sets = Instructions::available().map(|set| {
            let mut run = Run::new(COUNT, weights, states);
            for step in 1..=3 {
                run.update(step, &numbers(COUNT, 100 * step).to_kind(grads), Some(set));
            }
            (set, run.bytes())
        });
        let (_, plain) = of_sets.next().unwrap();
        for (set, bytes) in of_sets {
            assert!(bytes == plain, "{set:?}: {weights:?} {states:?} {grads:?}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for (weights, states, grads) in forms() {
        let at = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut run = Run::new(COUNT, weights, states);
                for step in 1..=3 {
                    let grad = numbers(COUNT, 100 * step).to_kind(grads);
                    run.update(step, &grad, Some(Instructions::best()));
                }
                run.bytes()
            })
        };
        let one = at(1);
        assert!(at(2) == one, "{weights:?} {states:?} {grads:?}");
        assert!(at(3) == one, "{weights:?} {states:?} {grads:?}");
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

#[test]
fn tensor_operations_give_the_same_f32_numbers() {
    for grads in [Kind::Float, Kind::BFloat16, Kind::Double] {
        let mut fused = Run::new(COUNT, Kind::Float, States::Float32);
        let mut operations = Run::new(COUNT, Kind::Float, States::Float32);
        for step in 1..=20 {
            let grad = numbers(COUNT, 100 * step).to_kind(grads);
            fused.update(step, &grad, Some(Instructions::best()));
            operations.update(step, &grad, None);
        }
        let pairs = floats(&fused.param)
            .into_iter()
            .zip(floats(&operations.param));
        // Relative to a weight, or to how far it may have gone: 20 steps of 0.01.
        let off = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(0.2));
        let off = off.fold(0.0, f32::max);
        assert!(off <= 1e-6, "{grads:?}: {off}");
    }
}

#[test]
fn tensor_operations_round_with_the_same_bits() {
    let mut fused = Run::new(COUNT, Kind::BFloat16, States::Float32);
    let mut operations = Run::new(COUNT, Kind::BFloat16, States::Float32);
    let grad = numbers(COUNT, 100);
    fused.update(1, &grad, Some(Instructions::best()));
    operations.update(1, &grad, None);
    let pairs = floats(&fused.param)
        .into_iter()
        .zip(floats(&operations.param));
    // The f32 results differ in the last of 16 dropped bits at times.
    let other = pairs
        .filter(|(fused, operations)| fused != operations)
        .count();
    assert!(other < COUNT as usize / 1000, "{other} of {COUNT}");
}

#[test]
fn tensor_operations_give_the_same_codes_but_for_ties() {
    let mut fused = Run::new(COUNT, Kind::Float, States::Int8);
    for step in 1..=5 {
        let grad = numbers(COUNT, 100 * step);
        // Both start from the same state in each step: one other code would lead to further ones.
        let mut operations = Run {
            param: fused.param.copy(),
            moments: copy(&fused.moments),
        };
        fused.update(step, &grad, Some(Instructions::best()));
        operations.update(step, &grad, None);
        let both = fused
            .moments
            .tensors()
            .into_iter()
            .zip(operations.moments.tensors());
        for ((name, fused), (_, operations)) in both {
            let pairs: Vec<(f32, f32)> =
                floats(fused).into_iter().zip(floats(operations)).collect();
            if name.ends_with("scales") {
                assert!(
                    pairs.iter().all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()),
                    "{name}"
                );
            } else {
                assert!(
                    pairs.iter().all(|(a, b)| (a - b).abs() <= 1.0),
                    "{name}, step {step}"
                );
                let other = pairs.iter().filter(|(a, b)| a != b).count();
                assert!(
                    other < pairs.len() / 10_000,
                    "{name}, step {step}: {other} differ"
                );
            }
        }
    }
}

fn copy(moments: &Moments) -> Moments {
    let blocks = |blocks: &super::moments::Blocks| super::moments::Blocks {
        codes: blocks.codes.copy(),
        scales: blocks.scales.copy(),
    };
    match moments {
        Moments::Float32 { m, v } => Moments::Float32 {
            m: m.copy(),
            v: v.copy(),
        },
        Moments::Int8 { m, v } => Moments::Int8 {
            m: blocks(m),
            v: blocks(v),
        },
    }
}

#[test]
fn codes_hold_what_f32_moments_would_be_within_half_a_code() {
    let mut coded = Run::new(COUNT, Kind::Float, States::Int8);
    let mut exact = Run::new(COUNT, Kind::Float, States::Float32);
    let grad = numbers(COUNT, 100);
    coded.update(1, &grad, Some(Instructions::best()));
    exact.update(1, &grad, Some(Instructions::best()));
    // The first update starts from zero in both, so that only the coding differs.
    assert_eq!(coded.param, exact.param);
    let (
        Moments::Int8 { m, v },
        Moments::Float32 {
            m: exact_m,
            v: exact_v,
        },
    ) = (&coded.moments, &exact.moments)
    else {
        panic!("the states are not of the kinds asked for");
    };
    for (blocks, exact, values) in [(m, exact_m, &SIGNED.values), (v, exact_v, &UNSIGNED.values)] {
        let codes = Vec::<u8>::try_from(blocks.codes.flatten(0, -1)).unwrap();
        let scales = floats(&blocks.scales);
        for (i, exact) in floats(exact).into_iter().enumerate() {
            let (code, scale) = (usize::from(codes[i]), scales[i / 256]);
            let around = |other: usize| (values[code] - values[other]).abs() / 2.0;
            let half = around(code.saturating_sub(1)).max(around((code + 1).min(255)));
            // The smallest second moments are rounded up, so as not to be zero.
            let half = if code == 1 { half.max(values[1]) } else { half };
            let off = (values[code] * scale - exact).abs();
            assert!(
                off <= half * scale * 1.0001 + 1e-30,
                "[{i}] code {code}: off by {off}"
            );
        }
    }
}

#[test]
fn a_parameter_larger_than_a_part_goes_through_whole() {
    // Tensor operations cut it; the loop does not know of parts.
    let count = tensors::PART + 300;
    let mut fused = Run::new(count, Kind::BFloat16, States::Int8);
    let mut operations = Run::new(count, Kind::BFloat16, States::Int8);
    let grad = numbers(count, 5).to_kind(Kind::BFloat16);
    fused.update(1, &grad, Some(Instructions::best()));
    operations.update(1, &grad, None);
    let other = fused.param.ne_tensor(&operations.param).sum(Kind::Int64);
    assert!(i64::try_from(other).unwrap() < count / 1000);
    let last = |run: &Run| floats(&run.param.narrow(0, count - 300, 300));
    assert_eq!(last(&fused), last(&operations));
}

#[test]
fn a_parameter_that_does_not_lie_in_order_is_updated_too() {
    let stored = numbers(60, 1).reshape([6, 10]);
    let mut param = stored.transpose(0, 1);
    assert!(!fused::takes(&param));
    let mut ordered = param.contiguous();
    let grad = numbers(60, 9).reshape([10, 6]);
    let factors = Factors::new(&HYPER, 1, 1e-2, true, 1.0);
    let key = Key::of_parameter(3, "w").at(1);
    for param in [&mut param, &mut ordered] {
        let mut moments = Moments::zeros(param, param.numel(), States::Float32).unwrap();
        tensors::update(&factors, (key, 0), param, &grad, &mut moments).unwrap();
    }
    assert_eq!(param, ordered);
    assert_ne!(param, numbers(60, 1).reshape([6, 10]).transpose(0, 1));
    assert_eq!(param.device(), Device::Cpu);
}
