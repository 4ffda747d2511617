//! Steps that go layer by layer against plain autograd over the whole model.
//!
//! The reference runs the model once with gradients, calls `backward`, clips and updates. Both are in
//! f32 and differ in the order of sums at most.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod small;

use fit::Guard;
use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use model::{Adapter, Llava, LlavaConfig, ModelPart};
use rand::Rng;
use tch::{Device, Kind, Tensor};
use train::engine::{Engine, How, Visual};
use train::{ClipBy, MicroBatch, StepBatch, Update};

use small::{IMAGE, PATCHES};

const TOLERANCE: f64 = 1e-5;

fn config(tied: bool) -> LlavaConfig {
    let mut config = small::config();
    config.text_config.tie_word_embeddings = tied;
    config
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trains {
    All,
    /// The paper's: projector and decoder.
    WithoutTower,
    /// LLaVA's first stage.
    Projector,
    Adapter,
}

fn model(trains: Trains, tied: bool) -> Llava {
    let config = config(tied);
    let model = Llava::new(&config, 7, Device::Cpu).unwrap();
    match trains {
        Trains::All => model,
        Trains::WithoutTower => {
            model.set_trainable(false, true, true).unwrap();
            model
        }
        Trains::Projector => {
            model.set_trainable(false, true, false).unwrap();
            model
        }
        Trains::Adapter => {
            let targets = ["q_proj", "v_proj", "down_proj"];
            let adapter = Adapter::new(&config, 4, 8.0, &targets, 3, Device::Cpu).unwrap();
            let model = model.with_adapter(adapter, true).unwrap();
            // B begins at zero, which hides gradients of A.
            for (name, tensor) in model.adapter().unwrap().parameters() {
                if name.ends_with("lora_B") {
                    let _ = tch::no_grad(|| tensor.shallow_clone().uniform_(-0.3, 0.3));
                }
            }
            model
        }
    }
}

/// Rows of plain text with an image each, laid out as micro-batches of `per_micro` rows.
fn batch(rows: i64, per_micro: i64, seed: u64) -> (StepBatch, Tensor) {
    let mut rng = sample::seed::rng(seed, &["engine"]);
    let tokens = 14;
    let pixels: Vec<f32> = (0..rows * 3 * 256)
        .map(|_| rng.random_range(-2.0..2.0))
        .collect();
    let pixels = Tensor::from_slice(&pixels).view([rows, 3, 16, 16]);
    let random: Vec<Vec<i64>> = (0..rows)
        .map(|_| (0..tokens).map(|_| rng.random_range(5..40)).collect())
        .collect();
    let weights: Vec<Vec<f32>> = (0..rows)
        .map(|_| (0..5).map(|_| rng.random_range(0.1..1.0)).collect())
        .collect();
    let total: f32 = weights.iter().flatten().sum();
    let mut micro = Vec::new();
    for start in (0..rows).step_by(per_micro as usize) {
        let count = per_micro.min(rows - start);
        let (mut ids, mut at, mut from) = (Vec::new(), Vec::new(), Vec::new());
        let (mut edge_at, mut target, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..count {
            let own = &random[(start + row) as usize];
            ids.extend(own.iter().enumerate().map(|(i, id)| {
                if (2..2 + PATCHES).contains(&i) {
                    IMAGE
                } else {
                    *id
                }
            }));
            at.extend((0..PATCHES as i64).map(|p| row * tokens + 2 + p));
            from.extend((0..PATCHES as i64).map(|p| (start + row) * PATCHES as i64 + p));
            for i in 0..5 {
                edge_at.push(row * tokens + 8 + i);
                target.push(own[(9 + i) as usize]);
            }
            weight.extend(weights[(start + row) as usize].iter().map(|w| w / total));
        }
        let positions: Vec<i64> = (0..count * tokens).map(|i| i % tokens).collect();
        let grid = |values: &[i64]| Tensor::from_slice(values).view([count, tokens]);
        micro.push(MicroBatch {
            ids: grid(&ids),
            positions: grid(&positions),
            ends: Tensor::full([count, tokens], tokens, (Kind::Int64, Device::Cpu)),
            image_at: Tensor::from_slice(&at),
            image_from: Tensor::from_slice(&from),
            edge_at: Tensor::from_slice(&edge_at),
            edge_target: Tensor::from_slice(&target),
            edge_weight: Tensor::from_slice(&weight),
        });
    }
    let batch = StepBatch {
        step: 0,
        micro,
        images: (0..rows as usize).collect(),
        pixels: None,
        pixels_of: Vec::new(),
        features: None,
        features_of: Vec::new(),
        pairs: rows as usize,
        tokens: (rows * tokens) as usize,
        unpacked: (rows * tokens) as usize,
        labels: 5 * rows as usize,
        weight: 5.0 * rows as f64,
        members: Vec::new(),
    };
    (batch, pixels)
}

/// The whole model in one graph.
fn plain_loss(model: &Llava, batch: &StepBatch, pixels: &Tensor) -> Tensor {
    let features = model.image_features(pixels).unwrap().flatten(0, 1);
    let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
    for micro in &batch.micro {
        let embeds = model.embed(&micro.ids).unwrap();
        let shape = embeds.size();
        let embeds = embeds
            .flatten(0, 1)
            .index_copy(
                0,
                &micro.image_at,
                &features.index_select(0, &micro.image_from),
            )
            .view(shape.as_slice());
        let hidden = model.decode(&embeds, &micro.positions, None, None).unwrap();
        let hidden = hidden.flatten(0, 1).index_select(0, &micro.edge_at);
        let losses = model
            .logits(&hidden)
            .unwrap()
            .log_softmax(-1, Kind::Float)
            .gather(1, &micro.edge_target.unsqueeze(1), false)
            .squeeze_dim(1);
        sum -= losses.dot(&micro.edge_weight);
    }
    sum
}

/// A large epsilon keeps updates in proportion to gradients, so that a gradient that is off by a
/// factor shows.
fn optimiser(model: &Llava) -> AdamW {
    let params = model
        .trainable()
        .into_iter()
        .map(|(name, tensor, _)| Param {
            name,
            tensor,
            lr_scale: 1.0,
        })
        .collect();
    let hyper = Hyper {
        betas: [0.9, 0.999],
        eps: 0.1,
        weight_decay: 0.0,
    };
    AdamW::new(params, hyper, States::Float32, 0).unwrap()
}

fn weights(model: &Llava) -> Vec<(String, Tensor)> {
    let all = model.trainable().into_iter();
    all.map(|(name, tensor, _)| (name, tensor.detach().copy()))
        .collect()
}

/// Without clipping these gradients would take the weights far enough for rounding to grow.
fn lr(how: &How) -> f64 {
    if how.clip > 0.0 { 0.05 } else { 0.005 }
}

fn how(update: Update, clip_by: ClipBy, clip: f64, gradient_checkpointing: bool) -> How {
    How {
        update,
        clip_by,
        clip,
        gradient_checkpointing,
        centre_features: false,
        dropout_seed: None,
    }
}

/// Three steps of plain autograd: loss and norm of each.
fn plain(model: &Llava, micro: i64, how: &How) -> Vec<(f64, f64)> {
    let mut adamw = optimiser(model);
    let mut previous = None;
    (0..3)
        .map(|step| {
            let (batch, pixels) = batch(6, micro, step);
            let loss = plain_loss(model, &batch, &pixels);
            loss.backward();
            let norm = adamw.gradient_norm().unwrap();
            let against = match how.clip_by {
                ClipBy::Previous => previous.unwrap_or(norm),
                _ => norm,
            };
            previous = Some(norm);
            adamw
                .update_all(lr(how), clip_factor(against, how.clip))
                .unwrap();
            (loss.double_value(&[]), norm)
        })
        .collect()
}

fn layerwise(model: &Llava, micro: i64, how: &How) -> Vec<(f64, f64)> {
    let mut adamw = optimiser(model);
    let mut engine = Engine::new(model, how.clone());
    let mut guard = Guard::new(0.0, false);
    let tower = model
        .trainable()
        .iter()
        .any(|(_, _, part)| *part == ModelPart::Tower);
    (0..3)
        .map(|step| {
            let (batch, pixels) = batch(6, micro, step);
            let visual = if tower {
                Visual::Pixels(pixels)
            } else {
                Visual::Features(tch::no_grad(|| model.tower_features(&pixels)).unwrap())
            };
            let out = engine
                .step(
                    model,
                    &mut adamw,
                    (&batch, &visual),
                    (step, lr(how)),
                    &mut guard,
                )
                .unwrap();
            (out.loss, out.grad_norm)
        })
        .collect()
}

fn compare(trains: Trains, tied: bool, how: &How, micro: i64) {
    let case = format!("{trains:?}, tied {tied}, {how:?}, {micro} rows at once");
    let (ours, theirs) = (model(trains, tied), model(trains, tied));
    if trains == Trains::Adapter {
        for ((_, a), (_, b)) in ours
            .adapter()
            .unwrap()
            .parameters()
            .iter()
            .zip(theirs.adapter().unwrap().parameters())
        {
            tch::no_grad(|| a.shallow_clone().copy_(&b));
        }
    }
    let before = weights(&ours);
    let expected = plain(&theirs, 6, how);
    let got = layerwise(&ours, micro, how);
    for (step, ((loss, norm), (wanted, wanted_norm))) in got.iter().zip(&expected).enumerate() {
        assert!(
            (loss - wanted).abs() < TOLERANCE * wanted,
            "{case}: step {step}: loss {loss}, not {wanted}"
        );
        assert!(
            (norm - wanted_norm).abs() < TOLERANCE * wanted_norm,
            "{case}: step {step}: norm {norm}, not {wanted_norm}"
        );
    }
    let mut moved = 0;
    for (((name, ours), (_, theirs)), (_, before)) in
        weights(&ours).iter().zip(&weights(&theirs)).zip(&before)
    {
        let change = (theirs - before).norm().double_value(&[]);
        let off = (ours - theirs).norm().double_value(&[]);
        moved += i64::from(change > 0.0);
        // Rounding of the weight itself is about 1e-7 of it.
        // A gradient that is zero in theory (a key's bias) is rounding in both.
        let scale = (change + 0.02 * theirs.norm().double_value(&[])).max(1e-3);
        assert!(
            off <= TOLERANCE * scale,
            "{case}: {name} is off by {off}, of {change}"
        );
    }
    assert!(moved >= 4, "{case}: {moved} tensors were trained");
}

#[test]
fn accumulated_gradients_are_those_of_plain_autograd_with_and_without_checkpointing() {
    for checkpointing in [false, true] {
        let how = how(Update::Accumulate, ClipBy::Global, 0.5, checkpointing);
        for trains in [
            Trains::All,
            Trains::WithoutTower,
            Trains::Projector,
            Trains::Adapter,
        ] {
            compare(trains, false, &how, 6);
        }
        compare(Trains::WithoutTower, true, &how, 6);
    }
}

#[test]
fn rows_that_go_through_one_after_the_other_give_the_update_of_all_together() {
    let how = how(Update::Accumulate, ClipBy::Global, 0.5, true);
    for micro in [1, 2, 4] {
        compare(Trains::All, false, &how, micro);
        compare(Trains::WithoutTower, true, &how, micro);
    }
}

#[test]
fn updates_layer_by_layer_are_those_of_plain_autograd_but_for_what_clipping_is_held_against() {
    for checkpointing in [false, true] {
        let how = how(Update::Layerwise, ClipBy::Layer, 0.0, checkpointing);
        compare(Trains::All, false, &how, 3);
        compare(Trains::WithoutTower, true, &how, 2);
        compare(Trains::Adapter, false, &how, 6);
    }
}

#[test]
fn layerwise_clipping_by_the_step_before_scales_as_the_reference_does() {
    let how = how(Update::Layerwise, ClipBy::Previous, 0.5, true);
    let reference = how_with(Update::Accumulate, &how);
    let (ours, theirs) = (
        model(Trains::WithoutTower, false),
        model(Trains::WithoutTower, false),
    );
    let run = |model: &Llava, how: &How| {
        let mut adamw = optimiser(model);
        let mut engine = Engine::new(model, how.clone());
        engine.set_previous_norm(Some(3.0));
        let mut guard = Guard::new(0.0, false);
        (0..3)
            .map(|step| {
                let (batch, pixels) = batch(4, 2, step);
                let visual = Visual::Pixels(pixels);
                let out = engine.step(
                    model,
                    &mut adamw,
                    (&batch, &visual),
                    (step, 0.05),
                    &mut guard,
                );
                out.unwrap().grad_norm
            })
            .collect::<Vec<f64>>()
    };
    let (a, b) = (run(&ours, &how), run(&theirs, &reference));
    assert_eq!(a.len(), 3);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < TOLERANCE * b, "{a} and {b}");
    }
    for ((name, a), (_, b)) in weights(&ours).iter().zip(&weights(&theirs)) {
        assert!(a.allclose(b, 1e-5, 1e-6, false), "{name}");
    }
}

fn how_with(update: Update, how: &How) -> How {
    How {
        update,
        ..how.clone()
    }
}

#[test]
fn a_loss_that_is_no_number_changes_nothing() {
    let model = model(Trains::All, false);
    let before = weights(&model);
    let mut adamw = optimiser(&model);
    let mut engine = Engine::new(&model, how(Update::Layerwise, ClipBy::Layer, 1.0, true));
    let mut guard = Guard::new(0.0, false);
    let (batch, pixels) = batch(2, 2, 0);
    let visual = Visual::Pixels(pixels * f64::NAN);
    let result = engine.step(&model, &mut adamw, (&batch, &visual), (0, 0.05), &mut guard);
    assert!(matches!(
        result,
        Err(train::Error::Fit(fit::Error::Diverged { .. }))
    ));
    assert_eq!(adamw.step(), 0);
    for ((name, now), (_, before)) in weights(&model).iter().zip(&before) {
        assert_eq!(now, before, "{name}");
    }
}

#[test]
fn the_loss_alone_is_that_of_the_step() {
    let model = model(Trains::WithoutTower, false);
    let mut adamw = optimiser(&model);
    let mut engine = Engine::new(&model, how(Update::Accumulate, ClipBy::Global, 1.0, false));
    let (batch, pixels) = batch(5, 2, 0);
    let visual = Visual::Pixels(pixels);
    let alone = engine.loss(&model, &batch, &visual).unwrap();
    let mut guard = Guard::new(0.0, false);
    let out = engine.step(&model, &mut adamw, (&batch, &visual), (0, 0.05), &mut guard);
    let loss = out.unwrap().loss;
    assert!((alone - loss).abs() < 1e-6 * loss, "{alone} and {loss}");
}
