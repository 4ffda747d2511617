//! Every family of towers, projectors and decoders gives transformers' numbers: one folder of
//! `golden/families/` each. Tolerances as in `agreement.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::{
    Checkpoint, IMAGE_PLACEHOLDER, KvCache, Llava, LlavaConfig, LoadOptions, Quantisation, Segment,
};
use tch::{Device, Kind, Tensor};

use super::{error, golden, tensors};

const TOLERANCE: f64 = 1e-4;

type Golden = std::collections::HashMap<String, Tensor>;

/// Runs a check on every family's folder, all of them before it fails.
fn each_family(check: impl Fn(&str, &Path)) {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(golden("families"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 14);
    let failed: Vec<&str> = folders
        .iter()
        .map(|folder| (folder.file_name().unwrap().to_str().unwrap(), folder))
        .filter(|(name, folder)| catch_unwind(AssertUnwindSafe(|| check(name, folder))).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn open(folder: &Path) -> (Llava, Golden) {
    let (model, report) = Llava::load(folder, Device::Cpu).unwrap();
    assert!(
        report.missing.is_empty() && report.unused.is_empty(),
        "{report:?}"
    );
    (model, tensors(&folder.join("golden.safetensors")))
}

fn positions(from: i64, tokens: i64) -> Tensor {
    Tensor::arange_start(from, from + tokens, (Kind::Int64, Device::Cpu)).unsqueeze(0)
}

/// Image features, where the model sees images, and the embeddings of `ids` with them in place.
fn embed(model: &Llava, ids: &Tensor, pixels: Option<&Tensor>) -> (Option<Tensor>, Tensor) {
    let Some(pixels) = pixels else {
        return (None, model.embed(ids).unwrap());
    };
    let pixels = pixels.narrow(0, 0, ids.size()[0]).to_kind(Kind::Float);
    let features = model.image_features(&pixels).unwrap();
    let embeds = model.embed_with_images(ids, &features).unwrap();
    (Some(features), embeds)
}

/// Hidden states of every layer with the final one normed, and logits.
fn forward(model: &Llava, embeds: &Tensor) -> (Vec<Tensor>, Tensor) {
    let mut layers = Vec::new();
    let last = model
        .decode_seeing_layers(embeds, &positions(0, embeds.size()[1]), None, None, |x| {
            layers.push(x.shallow_clone());
        })
        .unwrap();
    let logits = model.logits(&last).unwrap();
    layers.push(last);
    (layers, logits)
}

fn every_eighth(x: &Tensor) -> Tensor {
    x.slice(-2, 0, None, 8)
}

#[test]
fn every_family_has_the_features_hidden_states_and_logits_of_transformers() {
    each_family(|name, folder| {
        let (model, expected) = open(folder);
        let answering = model.answering(Kind::Float, Quantisation::None).unwrap();
        agrees(name, &model, &expected);
        agrees(&format!("{name}, answering"), &answering, &expected);
    });
}

fn agrees(name: &str, model: &Llava, expected: &Golden) {
    let (features, embeds) = embed(model, &expected["input_ids"], expected.get("pixel_values"));
    if let Some(features) = features {
        let features = features.flatten(0, 1);
        assert!(
            error(&features, &expected["image_features"]) < TOLERANCE,
            "{name}: image features"
        );
    }
    let (layers, logits) = forward(model, &embeds);
    assert_eq!(
        layers.len() as i64,
        expected["hidden_states"].size()[0],
        "{name}"
    );
    for (index, layer) in layers.iter().enumerate() {
        let wanted = expected["hidden_states"].get(index as i64);
        let off = error(&every_eighth(layer), &wanted);
        assert!(
            off < TOLERANCE,
            "{name}: input of layer {index} is off by {off}"
        );
    }
    let off = error(&every_eighth(&logits), &expected["logits"]);
    assert!(off < TOLERANCE, "{name}: logits are off by {off}");
}

#[test]
fn every_family_has_the_loss_and_the_gradients_of_transformers() {
    each_family(|name, folder| {
        let (model, expected) = open(folder);
        let (_, embeds) = embed(&model, &expected["input_ids"], expected.get("pixel_values"));
        let (_, logits) = forward(&model, &embeds);
        let tokens = logits.size()[1];
        let flat = logits.narrow(1, 0, tokens - 1).flatten(0, 1);
        let labels = expected["labels"].narrow(1, 1, tokens - 1).flatten(0, 1);
        let loss =
            flat.cross_entropy_loss::<Tensor>(&labels, None, tch::Reduction::Mean, -100, 0.0);
        assert!(error(&loss, &expected["loss"]) < TOLERANCE, "{name}: loss");
        loss.backward();
        let mut parameters: Vec<&(String, Tensor)> = model.parameters().iter().collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        let gradients = &expected["gradients"];
        assert_eq!(gradients.size(), [parameters.len() as i64, 2], "{name}");
        for (row, (parameter, tensor)) in parameters.into_iter().enumerate() {
            let wanted = |column| gradients.double_value(&[row as i64, column]);
            let (size, along) = (wanted(0), wanted(1));
            let gradient = tensor.grad();
            if !gradient.defined() {
                assert_eq!(size, 0.0, "{name}: {parameter} has no gradient");
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
                (found.0 - size).abs() < slack && (found.1 - along).abs() < slack,
                "{name}: {parameter}: {found:?} for {size}, {along}"
            );
        }
    });
}

/// The best token after each step, with a cache; the prompt goes in `pieces` runs.
fn greedy(model: &Llava, embeds: &Tensor, pieces: &[i64], count: usize) -> Vec<i64> {
    tch::no_grad(|| {
        let shape = &model.config().text_config;
        let mut cache = KvCache::new(shape, Kind::Float, Device::Cpu).unwrap();
        cache.reserve(1, 128).unwrap();
        let mut held = 0;
        let mut run = |embeds: &Tensor| {
            let width = embeds.size()[1] as usize;
            let window = shape.window();
            let mut extension = cache.extend(0, &[(&[], held)], width, window).unwrap();
            held += width;
            let at = extension.positions().unwrap();
            model
                .decode(embeds, &at, None, Some(&mut extension))
                .unwrap()
        };
        let mut last = Tensor::new();
        for piece in embeds.split_with_sizes(pieces, 1) {
            last = run(&piece);
        }
        let mut tokens = Vec::with_capacity(count);
        loop {
            let row = last.select(1, last.size()[1] - 1);
            let best = model.logits(&row).unwrap().argmax(-1, false);
            tokens.push(best.int64_value(&[0]));
            if tokens.len() == count {
                return tokens;
            }
            last = run(&model.embed(&best.unsqueeze(0)).unwrap());
        }
    })
}

#[test]
fn every_family_writes_the_greedy_tokens_of_transformers() {
    each_family(|name, folder| {
        let (model, expected) = open(folder);
        let prompt = expected["input_ids"].narrow(0, 0, 1);
        let (_, embeds) = embed(&model, &prompt, expected.get("pixel_values"));
        let wanted = Vec::<i64>::try_from(&expected["greedy"]).unwrap();
        assert_eq!(wanted.len(), 64);
        assert_eq!(greedy(&model, &embeds, &[40], 64), wanted, "{name}");
        // Under dynamic scaling a piece is turned by what is known when it comes, here and in
        // transformers; everywhere else it does not matter how the prompt arrives.
        if !name.contains("dynamic") {
            assert_eq!(greedy(&model, &embeds, &[7, 32, 1], 64), wanted, "{name}");
        }
        let answering = model.answering(Kind::Float, Quantisation::None).unwrap();
        let found = greedy(&answering, &embeds, &[40], 64);
        assert_eq!(found, wanted, "{name}, answering");
    });
}

#[test]
fn every_family_points_the_same_way_in_bf16() {
    each_family(|name, folder| {
        let (mut model, expected) = open(folder);
        model.compute = Kind::BFloat16;
        let answering = model.answering(Kind::BFloat16, Quantisation::None).unwrap();
        for model in [&model, &answering] {
            let (_, embeds) = embed(model, &expected["input_ids"], expected.get("pixel_values"));
            assert_eq!(embeds.kind(), Kind::BFloat16);
            let (_, logits) = forward(model, &embeds);
            let found = every_eighth(&logits).flatten(0, -1);
            let wanted = expected["logits"].flatten(0, -1);
            let cosine = found.dot(&wanted) / (found.norm() * wanted.norm());
            assert!(cosine.double_value(&[]) > 0.999, "{name}: {cosine:?}");
        }
    });
}

#[test]
fn a_window_hides_what_lies_before_it_under_any_mask_and_in_any_row() {
    let (model, expected) = open(&golden("families/mistral_window"));
    let embeds = model
        .embed(&expected["input_ids"].clamp(2, 47))
        .unwrap()
        .detach();
    let tokens = embeds.size()[1];
    let at = positions(0, tokens);
    let run = |mask: Option<&Tensor>| model.decode(&embeds, &at, mask, None).unwrap();
    let plain = run(None);
    let causal = Tensor::ones([tokens, tokens], (Kind::Bool, Device::Cpu)).tril(0);
    let added = Tensor::zeros([1, 1, tokens, tokens], (Kind::Float, Device::Cpu))
        .masked_fill(&causal.logical_not(), f64::NEG_INFINITY);
    for mask in [&causal, &added] {
        assert!(error(&run(Some(mask)), &plain) < TOLERANCE);
    }
    // Two layers, each of which sees 11 tokens back: the first token reaches 22 further, not 23.
    let changed = embeds.copy();
    let _ = changed.select(1, 0).fill_(1.0);
    let other = model.decode(&changed, &at, None, None).unwrap();
    let moved = (&other - &plain).abs().amax([0, 2], false);
    assert!(moved.double_value(&[22]) > 1e-6);
    assert_eq!(
        moved.narrow(0, 23, tokens - 23).max().double_value(&[]),
        0.0
    );
    // With a cache: one row has all in its slot, the other stands on a segment with its first 15.
    let shape = &model.config().text_config;
    let mut cache = KvCache::new(shape, Kind::Float, Device::Cpu).unwrap();
    cache.reserve(2, 40).unwrap();
    let extend = |cache: &mut KvCache, rows: &[(&[Rc<Segment>], usize)], from: i64, width: i64| {
        let mut extension = cache
            .extend(0, rows, width as usize, shape.window())
            .unwrap();
        let at = extension.positions().unwrap();
        let new = embeds.narrow(1, from, width);
        let found = model.decode(&new, &at, None, Some(&mut extension)).unwrap();
        assert!(error(&found, &plain.narrow(1, from, width)) < TOLERANCE);
    };
    extend(&mut cache, &[(&[], 0), (&[], 0)], 0, 20);
    let below = [Rc::new(cache.segment(1, 0, 15).unwrap())];
    let above = cache.segment(1, 15, 20).unwrap();
    cache.place(1, 0, &above).unwrap();
    extend(&mut cache, &[(&[], 20), (&below, 5)], 20, 5);
    extend(&mut cache, &[(&[], 25), (&below, 10)], 25, 1);
}

/// A family's folder with its `config.json` changed.
fn altered(family: &str, change: fn(&mut serde_json::Value)) -> Llava {
    let dir = tempfile::tempdir().unwrap();
    let folder = golden("families").join(family);
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(folder.join(weights), dir.path().join(weights)).unwrap();
    Llava::load(dir.path(), Device::Cpu).unwrap().0
}

#[test]
fn an_image_token_without_a_row_of_the_embedding_is_replaced_all_the_same() {
    let (model, expected) = open(&golden("families/smollm"));
    let (ids, pixels) = (&expected["input_ids"], expected.get("pixel_values"));
    let (_, wanted) = embed(&model, ids, pixels);
    // The first id after the vocabulary, and the original LLaVA's.
    let after = altered("smollm", |value| value["image_token_index"] = 48.into());
    let original = altered("smollm", |value| {
        value["image_token_index"] = IMAGE_PLACEHOLDER.into();
    });
    for outside in [after, original] {
        let image = outside.config().image_token_index;
        let (_, found) = embed(&outside, &ids.masked_fill(&ids.eq(1), image), pixels);
        assert!(found.equal(&wanted), "{image}");
    }
}

#[test]
fn qwen2_has_its_window_from_the_layer_on_that_older_files_name() {
    let (model, expected) = open(&golden("families/qwen2_tied_text"));
    let embeds = model.embed(&expected["input_ids"]).unwrap();
    let (_, wanted) = forward(&model, &embeds);
    let same = altered("qwen2_tied_text", |value| {
        value.as_object_mut().unwrap().remove("layer_types");
    });
    assert!(forward(&same, &embeds).1.equal(&wanted));
    for other in [
        altered("qwen2_tied_text", |value| {
            value["layer_types"][0] = "sliding_attention".into()
        }),
        altered("qwen2_tied_text", |value| {
            value["use_sliding_window"] = false.into()
        }),
    ] {
        assert!(error(&forward(&other, &embeds).1, &wanted) > 1e-3);
    }
}

/// Means and deviations of a few thousand random values differ from the true ones by a few in a
/// hundred; a wrong formula by more.
#[test]
fn fresh_weights_are_spread_as_transformers_spreads_them() {
    let text = std::fs::read_to_string(golden("initial.json")).unwrap();
    let families: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (family, recorded) in families.as_object().unwrap() {
        let config = LlavaConfig::parse(&recorded["config"].to_string()).unwrap();
        let model = Llava::new(&config, 3, Device::Cpu).unwrap();
        let wanted = recorded["tensors"].as_object().unwrap();
        assert_eq!(model.parameters().len(), wanted.len(), "{family}");
        for (name, tensor) in model.parameters() {
            let tensor = tensor.detach().to_kind(Kind::Double);
            let count = tensor.numel() as f64;
            let number = |at: usize| wanted[name][at].as_f64().unwrap();
            let (mean, std, most) = (number(0), number(1), number(2));
            let found_std = tensor.std(false).double_value(&[]);
            let found_mean = tensor.mean(Kind::Double).double_value(&[]);
            let found_most = tensor.abs().max().double_value(&[]);
            // Four deviations of each estimate, in both models.
            let slack = 6.0 / count.sqrt();
            let shown = format!("{family} {name}: {found_mean} {found_std} {found_most}");
            assert!((found_std - std).abs() <= slack * std + 1e-9, "{shown}");
            assert!((found_mean - mean).abs() <= slack * std + 1e-6, "{shown}");
            // A normal's largest value wanders; a uniform's does not, nor a truncated one's.
            if count > 4000.0 {
                assert!((found_most / most.max(1e-12) - 1.0).abs() < 0.35, "{shown}");
                let flat = |largest: f64, std: f64| largest < 2.5 * std;
                assert_eq!(flat(found_most, found_std), flat(most, std), "{shown}");
            }
        }
    }
}

#[test]
fn a_family_writes_the_config_it_was_read_from() {
    each_family(|name, folder| {
        let config = LlavaConfig::read(folder).unwrap();
        let written = config.to_json().unwrap().to_string();
        assert_eq!(LlavaConfig::parse(&written).unwrap(), config, "{name}");
        let model = Llava::new(&config, 5, Device::Cpu).unwrap();
        let count: usize = model.parameters().iter().map(|(_, t)| t.numel()).sum();
        assert_eq!(count as i64, config.parameter_count(), "{name}");
        let finite = |t: &Tensor| t.isfinite().all().int64_value(&[]) == 1;
        assert!(model.parameters().iter().all(|(_, t)| finite(t)), "{name}");
    });
}

/// Packed in memory, and packed while it is read.
fn ready(folder: &Path, kind: Kind) -> [Llava; 2] {
    let (model, _) = open(folder);
    let options = LoadOptions {
        kind,
        ..LoadOptions::default()
    };
    let checkpoint = Checkpoint::open(folder).unwrap();
    let (read, report) = checkpoint
        .load_answering(&options, Quantisation::None)
        .unwrap();
    assert!(report.missing.is_empty() && report.not_finite.is_empty());
    [model.answering(kind, Quantisation::None).unwrap(), read]
}

#[test]
fn every_family_made_ready_to_answer_has_the_same_numbers() {
    each_family(|name, folder| {
        let expected = tensors(&folder.join("golden.safetensors"));
        let (ids, pixels) = (&expected["input_ids"], expected.get("pixel_values"));
        let wanted = &expected["logits"];
        for model in ready(folder, Kind::Float) {
            assert!(model.parameters().is_empty());
            let (_, embeds) = tch::no_grad(|| embed(&model, ids, pixels));
            let (_, logits) = forward(&model, &embeds);
            let off = error(&every_eighth(&logits), wanted);
            assert!(off < TOLERANCE, "{name}: logits are off by {off}");
        }
        for model in ready(folder, Kind::BFloat16) {
            let (_, embeds) = tch::no_grad(|| embed(&model, ids, pixels));
            let (found, wanted) = (
                every_eighth(&forward(&model, &embeds).1).flatten(0, -1),
                wanted.flatten(0, -1),
            );
            let cosine = found.dot(&wanted) / (found.norm() * wanted.norm());
            assert!(cosine.double_value(&[]) > 0.999, "{name}: {cosine:?}");
        }
    });
}
