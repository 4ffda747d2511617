//! The numbers are transformers'. Tolerances: f32 sums in another order differ by 1e-6 or so of the
//! largest value; 1e-4 leaves room for other processors and none for a wrong formula.

use model::{Llava, Preprocessor, conversation_tokens};
use tch::{Device, Kind, Tensor};

use super::{error, golden, golden_tokenizer, load, tensors, texts};

const TOLERANCE: f64 = 1e-4;
const SHAPES: [&str; 2] = ["grouped", "tied"];

/// Features, hidden states of every layer with the final one normed, logits.
fn forward(model: &Llava, pixels: &Tensor, ids: &Tensor) -> (Tensor, Vec<Tensor>, Tensor) {
    let features = model.image_features(pixels).unwrap();
    let embeds = model.embed_with_images(ids, &features).unwrap();
    let positions = Tensor::arange(ids.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let mut layers = Vec::new();
    let last = model
        .decode_seeing_layers(&embeds, &positions, None, None, |x| {
            layers.push(x.shallow_clone())
        })
        .unwrap();
    let logits = model.logits(&last).unwrap();
    layers.push(last);
    (features, layers, logits)
}

fn every_eighth(x: &Tensor) -> Tensor {
    x.slice(-2, 0, None, 8)
}

#[test]
fn features_hidden_states_and_logits_are_those_of_transformers() {
    for shape in SHAPES {
        let expected = tensors(&golden(shape).join("golden.safetensors"));
        let model = load(shape);
        let (features, layers, logits) =
            forward(&model, &expected["pixel_values"], &expected["input_ids"]);
        assert!(
            error(&features.flatten(0, 1), &expected["image_features"]) < TOLERANCE,
            "{shape}"
        );
        for (index, layer) in layers.iter().enumerate() {
            let wanted = expected["hidden_states"].get(index as i64);
            assert!(
                error(&every_eighth(layer), &wanted) < TOLERANCE,
                "{shape} layer {index}"
            );
        }
        assert!(
            error(&every_eighth(&logits), &expected["logits"]) < TOLERANCE,
            "{shape}"
        );
    }
}

#[test]
fn loss_and_every_gradient_are_those_of_transformers() {
    for shape in SHAPES {
        let expected = tensors(&golden(shape).join("golden.safetensors"));
        let model = load(shape);
        let (_, _, logits) = forward(&model, &expected["pixel_values"], &expected["input_ids"]);
        let tokens = logits.size()[1];
        let flat = logits.narrow(1, 0, tokens - 1).flatten(0, 1);
        let labels = expected["labels"].narrow(1, 1, tokens - 1).flatten(0, 1);
        let loss =
            flat.cross_entropy_loss::<Tensor>(&labels, None, tch::Reduction::Mean, -100, 0.0);
        assert!(error(&loss, &expected["loss"]) < TOLERANCE, "{shape}");
        loss.backward();
        for (name, parameter) in model.parameters() {
            let wanted = &expected[&format!("gradient.{name}")];
            let (size, along) = (wanted.double_value(&[0]), wanted.double_value(&[1]));
            let gradient = parameter.grad();
            if !gradient.defined() {
                assert_eq!(size, 0.0, "{shape} {name} has no gradient");
                continue;
            }
            let gradient = gradient.flatten(0, -1).to_kind(Kind::Double);
            let wave = Tensor::arange(gradient.size()[0], (Kind::Double, Device::Cpu)).cos();
            let found = (
                gradient.norm().double_value(&[]),
                gradient.dot(&wave).double_value(&[]),
            );
            // Keys have a bias whose gradient is zero in exact arithmetic.
            let slack = TOLERANCE * size + 1e-6;
            assert!(
                (found.0 - size).abs() < slack,
                "{shape} {name}: {found:?} for {wanted:?}"
            );
            assert!(
                (found.1 - along).abs() < slack,
                "{shape} {name}: {found:?} for {wanted:?}"
            );
        }
    }
}

#[test]
fn bf16_points_the_same_way_as_f32() {
    for shape in SHAPES {
        let expected = tensors(&golden(shape).join("golden.safetensors"));
        let mut model = load(shape);
        model.compute = Kind::BFloat16;
        let (_, layers, logits) =
            forward(&model, &expected["pixel_values"], &expected["input_ids"]);
        assert_eq!(layers[0].kind(), Kind::BFloat16);
        let found = every_eighth(&logits).flatten(0, -1);
        let wanted = expected["logits"].flatten(0, -1);
        let cosine = found.dot(&wanted) / (found.norm() * wanted.norm());
        assert!(cosine.double_value(&[]) > 0.999, "{shape}: {cosine:?}");
    }
}

#[test]
fn prompts_and_pixels_are_those_of_the_processor() {
    let (queries, responses) = texts();
    let tokenizer = golden_tokenizer();
    let expected = tensors(&golden("grouped").join("golden.safetensors"));
    let model = load("grouped");
    let preprocessor = Preprocessor::new(model.config());
    for (index, (query, response)) in queries.iter().zip(&responses).enumerate() {
        for (template, key) in [
            (model::Template::Tiny, "prompt_ids"),
            (model::Template::V1, "prompt_ids_v1"),
        ] {
            let found = conversation_tokens(&tokenizer, template, 16, query, None).unwrap();
            let wanted = Vec::<i64>::try_from(&expected[&format!("{key}.{index}")]).unwrap();
            assert_eq!(found.ids, wanted, "{key}");
            assert!(found.labels.iter().all(|&l| !l));
        }
        // With the reply, the labels are the processor's labels too.
        let whole =
            conversation_tokens(&tokenizer, model::Template::Tiny, 16, query, Some(response));
        let whole = whole.unwrap();
        let labels = Vec::<i64>::try_from(expected["labels"].get(index as i64)).unwrap();
        let found: Vec<i64> = whole
            .ids
            .iter()
            .zip(&whole.labels)
            .map(|(&id, &l)| if l { id } else { -100 })
            .collect();
        assert_eq!(found, labels[..found.len()]);
        assert!(labels[found.len()..].iter().all(|&l| l == -100));

        let pixels = preprocessor
            .open(&golden(&format!("picture_{index}.png")))
            .unwrap();
        let found = preprocessor.normalise(&[&pixels], Device::Cpu).unwrap();
        let wanted = expected["pixel_values"].narrow(0, index as i64, 1);
        // One level is 1 / (255 * 0.26) = 0.0150.
        let most = (found - wanted).abs().max().double_value(&[]);
        assert!(most < 0.0153, "picture {index}: {most}");
    }
}
