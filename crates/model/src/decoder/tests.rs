//! Layers over packed rows against the whole decoder under a dense mask.

use super::*;
use crate::{Llava, TextConfig};

/// Rows of 70 tokens: two trees with branches, a tree that is a line, and padding.
fn packed() -> (Tensor, Tensor) {
    let (mut positions, mut ends) = (Vec::new(), Vec::new());
    for prefix in [11i64, 3] {
        let start = ends.len() as i64;
        let branches = [8, 9, 1];
        let all = prefix + branches.iter().sum::<i64>();
        positions.extend(0..prefix);
        ends.extend(vec![start + all; prefix as usize]);
        for branch in branches {
            let end = ends.len() as i64 + branch;
            positions.extend(prefix..prefix + branch);
            ends.extend(vec![end; branch as usize]);
        }
    }
    let line = ends.len() as i64;
    positions.extend(0..14);
    ends.extend(vec![line + 14; 14]);
    for padding in ends.len() as i64..70 {
        positions.push(0);
        ends.push(padding + 1);
    }
    let rows = |values: &[i64]| Tensor::from_slice(values).repeat([2, 1]);
    (rows(&positions), rows(&ends))
}

/// True where a token looks, [rows, 1, tokens, tokens].
fn mask(ends: &Tensor) -> Tensor {
    let index = Tensor::arange(ends.size()[1], (Kind::Int64, Device::Cpu));
    let (looking, looked) = (index.unsqueeze(1), index.unsqueeze(0));
    let after = looked.le_tensor(&looking);
    after
        .logical_and(&looking.lt_tensor(&ends.unsqueeze(1)))
        .unsqueeze(1)
}

fn config(kind: &str) -> LlavaConfig {
    LlavaConfig::text_only(TextConfig {
        model_type: kind.to_owned(),
        hidden_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: Some(3),
        intermediate_size: 70,
        vocab_size: 32,
        sliding_window: (kind == "mistral").then_some(6),
        initializer_range: 0.2,
        ..TextConfig::default()
    })
}

fn layers(model: &Llava, hidden: &Tensor, rows: &Rows) -> Tensor {
    let mut hidden = hidden.shallow_clone();
    for index in 0..2 {
        hidden = model.decoder_layer(index, &hidden, rows).unwrap();
    }
    model.final_norm(&hidden).unwrap()
}

/// What `run` gives, and its gradients for the input and all of the decoder's weights.
fn through(model: &Llava, hidden: &Tensor, run: impl Fn(&Tensor) -> Tensor) -> Vec<Tensor> {
    let input = hidden.detach().set_requires_grad(true);
    let out = run(&input);
    let trained = |name: &str| name.contains(".layers.") || name.ends_with("model.norm.weight");
    let weights: Vec<&Tensor> = (model.parameters().iter())
        .filter(|(name, _)| trained(name))
        .map(|(_, tensor)| tensor)
        .collect();
    let inputs: Vec<&Tensor> = std::iter::once(&input).chain(weights).collect();
    let grad = Tensor::arange(48, (Kind::Float, Device::Cpu)).sin();
    let loss = (&out * grad).sum(Kind::Float);
    let grads = Tensor::run_backward(&[loss], &inputs, false, false);
    std::iter::once(out.detach()).chain(grads).collect()
}

#[test]
fn layers_over_packed_rows_are_the_decoder_under_a_dense_mask() {
    let (positions, ends) = packed();
    for (family, kind, tolerance) in [
        ("llama", Kind::Float, 1e-5),
        ("mistral", Kind::Float, 1e-5),
        ("qwen2", Kind::Float, 1e-5),
        ("llama", Kind::BFloat16, 3e-2),
        ("mistral", Kind::BFloat16, 3e-2),
    ] {
        let mut model = Llava::new(&config(family), 5, Device::Cpu).unwrap();
        let hidden = Tensor::arange(2 * 70 * 48, (Kind::Float, Device::Cpu)).sin();
        let hidden = hidden.view([2, 70, 48]);
        let wanted = through(&model, &hidden, |hidden| {
            model
                .decode(hidden, &positions, Some(&mask(&ends)), None)
                .unwrap()
        });
        model.compute = kind;
        let rows = model.rows(&positions, &ends).unwrap();
        let found = through(&model, &hidden, |hidden| {
            layers(&model, &hidden.to_kind(kind), &rows)
        });
        for (which, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            // The gradients of all keys' bias cancel out but for rounding.
            let most = wanted.abs().max().double_value(&[]).max(0.1);
            let off = (found - wanted).abs().max().double_value(&[]) / most;
            assert!(off < tolerance, "{family} {kind:?}, part {which}: {off}");
        }
    }
}

#[test]
fn a_layer_run_again_with_gradients_repeats_itself_to_the_bit() {
    let (positions, ends) = packed();
    for weights in [Kind::Float, Kind::BFloat16] {
        for compute in [Kind::Float, Kind::BFloat16] {
            let model = Llava::new(&config("llama"), 5, Device::Cpu).unwrap();
            let mut model = model.frozen(weights).unwrap();
            model.compute = compute;
            for (_, tensor) in model.parameters() {
                let _ = tensor.set_requires_grad(true);
            }
            let rows = model.rows(&positions, &ends).unwrap();
            let hidden = Tensor::arange(2 * 70 * 48, (Kind::Float, Device::Cpu)).cos();
            let hidden = hidden.view([2, 70, 48]).to_kind(compute);
            let first = tch::no_grad(|| layers(&model, &hidden, &rows));
            let again = layers(&model, &hidden.set_requires_grad(true), &rows);
            assert_eq!(first, again.detach(), "{weights:?} in {compute:?}");
        }
    }
}
