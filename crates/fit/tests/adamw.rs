//! AdamW and clipping against a recorded trace of PyTorch's; `golden/adamw.py` made it.

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
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

#[test]
fn fifty_steps_with_clipping_and_decay_equal_pytorch() {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    let shapes: [(&str, &[i64]); 2] = [("matrix", &[3, 4]), ("bias", &[5])];
    let params: Vec<(&str, Tensor)> = shapes
        .iter()
        .map(|(name, shape)| (*name, values(name, shape, 0).set_requires_grad(true)))
        .collect();
    let hyper = Hyper {
        betas: [0.9, 0.95],
        eps: 1e-8,
        weight_decay: 0.1,
    };
    let slots = params
        .iter()
        .map(|(n, p)| Param {
            name: (*n).to_owned(),
            tensor: p.shallow_clone(),
            lr_scale: 1.0,
        })
        .collect();
    let mut adamw = AdamW::new(slots, hyper, States::Float32, 0).unwrap();
    let trace = golden["trace"].as_array().unwrap();
    assert_eq!(trace.len(), 50);
    for (step, expected) in (1..).zip(trace) {
        for (name, param) in &params {
            let wanted = values(name, &param.size(), step);
            (param * wanted).sum(Kind::Float).backward();
        }
        let norm = adamw.gradient_norm().unwrap();
        assert!(
            close(norm, expected["norm"].as_f64().unwrap()),
            "step {step}: norm {norm}"
        );
        let lr = expected["lr"].as_f64().unwrap();
        adamw.update_all(lr, clip_factor(norm, 1.0)).unwrap();
        for (name, param) in &params {
            let got = Vec::<f32>::try_from(param.detach().flatten(0, -1)).unwrap();
            let expected = expected[name].as_array().unwrap();
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let expected = expected.as_f64().unwrap();
                assert!(
                    close(f64::from(*got), expected),
                    "step {step}, {name}[{i}]: {got} against {expected}"
                );
            }
        }
    }
}

#[test]
fn a_parameter_with_a_learning_rate_of_zero_stays() {
    let param = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let hyper = Hyper {
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.1,
    };
    let params = vec![Param {
        name: "w".to_owned(),
        tensor: param.shallow_clone(),
        lr_scale: 0.0,
    }];
    let mut adamw = AdamW::new(params, hyper, States::Float32, 0).unwrap();
    param.sum(Kind::Float).backward();
    adamw.update_all(1.0, 1.0).unwrap();
    assert_eq!(param, Tensor::ones([2, 2], (Kind::Float, Device::Cpu)));
}
