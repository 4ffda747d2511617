//! AdamW and clipping against a recorded trace of PyTorch's; `golden/adamw.py` made it.

#![allow(clippy::unwrap_used)]

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::schedule::Schedule;
use tch::{Device, Kind, Tensor};

const GOLDEN: &str = include_str!("golden/adamw.json");

fn value(name: &str, index: i64, step: u64) -> f64 {
    let height = if step.is_multiple_of(7) { 2.0 } else { 0.1 };
    (0.7 * index as f64 + 1.3 * step as f64 + name.len() as f64).sin() * height
}

fn values(name: &str, shape: &[i64], step: u64) -> Tensor {
    let count = shape.iter().product();
    let flat: Vec<f32> = (0..count).map(|i| value(name, i, step) as f32).collect();
    Tensor::from_slice(&flat).reshape(shape)
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-6 * expected.abs().max(1e-2)
}

fn param(name: &str, tensor: &Tensor) -> Param {
    Param {
        name: name.to_owned(),
        tensor: tensor.shallow_clone(),
        lr_scale: 1.0,
    }
}

const HYPER: Hyper = Hyper {
    betas: [0.9, 0.95],
    eps: 1e-8,
    weight_decay: 0.1,
};

#[test]
fn two_hundred_steps_with_warmup_clipping_and_decay_equal_pytorch() {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    let trace = &golden["trace"];
    assert_eq!(trace["weight_decay"], HYPER.weight_decay);
    let shapes: [(&str, &[i64]); 2] = [("matrix", &[3, 4]), ("bias", &[5])];
    let params: Vec<(&str, Tensor)> = shapes
        .iter()
        .map(|(name, shape)| (*name, values(name, shape, 0).set_requires_grad(true)))
        .collect();
    let slots = params.iter().map(|(name, tensor)| param(name, tensor));
    let mut adamw = AdamW::new(slots.collect(), HYPER, States::Float32, 0).unwrap();
    let steps = trace["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 200);
    let mut compared = 0;
    for (step, expected) in (0..).zip(steps) {
        for (name, param) in &params {
            let wanted = values(name, &param.size(), step + 1);
            (param * wanted).sum(Kind::Float).backward();
        }
        let norm = adamw.gradient_norm().unwrap();
        assert!(
            close(norm, expected["norm"].as_f64().unwrap()),
            "step {step}: norm {norm}"
        );
        let lr = Schedule::Cosine.learning_rate(1e-2, 0.05, step, 200);
        assert!((lr - expected["lr"].as_f64().unwrap()).abs() < 1e-15);
        let limit = trace["clip"].as_f64().unwrap();
        adamw.update_all(lr, clip_factor(norm, limit)).unwrap();
        for (name, param) in &params {
            let Some(expected) = expected[name].as_array() else {
                continue;
            };
            let got = Vec::<f32>::try_from(param.detach().flatten(0, -1)).unwrap();
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let expected = expected.as_f64().unwrap();
                assert!(
                    close(f64::from(*got), expected),
                    "step {step}, {name}[{i}]: {got} against {expected}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 17 * 29);
}

#[test]
fn a_parameter_with_a_learning_rate_of_zero_stays() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let ones = Tensor::ones([2, 2], (kind, Device::Cpu));
        let tensor = ones.copy().set_requires_grad(true);
        let params = vec![Param {
            lr_scale: 0.0,
            ..param("w", &tensor)
        }];
        let mut adamw = AdamW::new(params, HYPER, States::Float32, 0).unwrap();
        tensor.sum(kind).backward();
        adamw.update_all(1.0, 1.0).unwrap();
        assert_eq!(tensor, ones);
    }
}

/// An optimiser of one matrix of ones, of 64 x 64, and the matrix.
fn one_matrix(kind: Kind, states: States) -> (AdamW, Tensor) {
    let tensor = Tensor::ones([64, 64], (kind, Device::Cpu));
    let adamw = AdamW::new(vec![param("layers.0.weight", &tensor)], HYPER, states, 7).unwrap();
    (adamw, tensor)
}

/// All bytes of the optimiser's state.
fn bytes(adamw: &AdamW) -> Vec<(String, Vec<u8>)> {
    let state = adamw.state().into_iter();
    state
        .map(|(name, tensor)| {
            let flat = tensor.contiguous().flatten(0, -1);
            (name, Vec::try_from(flat.view_dtype(Kind::Uint8)).unwrap())
        })
        .collect()
}

#[test]
fn a_gradient_that_is_not_finite_is_refused_by_name_and_changes_nothing() {
    for (kind, states) in [
        (Kind::Float, States::Float32),
        (Kind::BFloat16, States::Int8),
    ] {
        for grads in [Kind::Float, Kind::BFloat16] {
            for (wrong, scale) in [
                (f64::NAN, 1.0),
                (f64::INFINITY, 1.0),
                (f64::NEG_INFINITY, 0.0),
                (0.5, f64::NAN),
                (0.5, f64::INFINITY),
                (-1e25, 1.0), // its square is more than f32 holds
            ] {
                let (mut adamw, _) = one_matrix(kind, states);
                let grad = Tensor::ones([64, 64], (grads, Device::Cpu));
                adamw.begin(1e-2);
                adamw.update(0, &grad, 1.0).unwrap();
                let before = bytes(&adamw);
                let _ = grad.flatten(0, -1).narrow(0, 4095, 1).fill_(wrong);
                adamw.begin(1e-2);
                let error = adamw.update(0, &grad, scale).unwrap_err().to_string();
                assert!(error.contains("layers.0.weight"), "{error}");
                assert!(bytes(&adamw) == before, "{wrong} times {scale}");
            }
        }
    }
}

#[test]
fn what_does_not_belong_to_a_parameter_is_refused_by_name() {
    let (mut adamw, _) = one_matrix(Kind::Float, States::Float32);
    let grad = Tensor::ones([64, 64], (Kind::Float, Device::Cpu));
    let early = adamw.update(0, &grad, 1.0).unwrap_err().to_string();
    assert!(early.contains("before the first step"), "{early}");
    adamw.begin(1.0);
    let turned = adamw.update(0, &grad.narrow(0, 0, 1), 1.0).unwrap_err();
    assert!(turned.to_string().contains("layers.0.weight"), "{turned}");
    assert!(adamw.update(1, &grad, 1.0).is_err());

    let half = Tensor::ones([2], (Kind::Half, Device::Cpu));
    let refused = |params| AdamW::new(params, HYPER, States::Float32, 0).unwrap_err();
    let kind = refused(vec![param("norm", &half)]).to_string();
    assert!(kind.contains("norm") && kind.contains("Half"), "{kind}");
    let twice = refused(vec![param("a", &grad), param("a", &grad)]).to_string();
    assert!(twice.contains("two of this name"), "{twice}");
}

#[test]
fn restoring_tensors_of_another_shape_or_kind_is_refused_by_name() {
    let (adamw, _) = one_matrix(Kind::BFloat16, States::Int8);
    let names: Vec<String> = adamw.state().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "param.layers.0.weight",
            "m.codes.layers.0.weight",
            "m.scales.layers.0.weight",
            "v.codes.layers.0.weight",
            "v.scales.layers.0.weight"
        ]
    );
    for wrong in &names {
        for change in [
            |tensor: &Tensor| tensor.to_kind(Kind::Double),
            |tensor: &Tensor| tensor.narrow(0, 0, 1),
        ] {
            let saved: Vec<(String, Tensor)> = adamw.state();
            let (mut other, _) = one_matrix(Kind::BFloat16, States::Int8);
            let mut take = |name: &str| {
                let (_, tensor) = saved.iter().find(|(own, _)| own == name).unwrap();
                Ok(if name == wrong {
                    change(tensor)
                } else {
                    tensor.copy()
                })
            };
            let error = other.restore(3, &mut take).unwrap_err().to_string();
            assert!(error.contains(wrong.as_str()), "{error}");
            assert_eq!(other.step(), 0);
        }
    }
}

#[test]
fn memory_is_what_the_forecast_says() {
    for (kind, states, expected) in [
        (Kind::Float, States::Float32, 12.0),
        (Kind::BFloat16, States::Float32, 10.0),
        (Kind::Float, States::Int8, 6.031_25),
        (Kind::BFloat16, States::Int8, 4.031_25),
    ] {
        assert_eq!(AdamW::bytes_per_parameter(kind, states), expected);
        let (adamw, tensor) = one_matrix(kind, states);
        let weights = tensor.numel() * kind.elt_size_in_bytes();
        let held = adamw.state_bytes() as f64 + weights as f64;
        assert_eq!(held, expected * tensor.numel() as f64);
    }
    // Small parameters keep f32.
    let bias = Tensor::ones([4095], (Kind::Float, Device::Cpu));
    let adamw = AdamW::new(vec![param("bias", &bias)], HYPER, States::Int8, 0).unwrap();
    assert_eq!(adamw.state_bytes(), 4095 * 8);
}
