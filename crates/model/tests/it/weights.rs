//! Weights of every form people have: PyTorch's files, the original LLaVA's folders, decoders alone,
//! adapters; and what is written comes back.

use std::collections::HashMap;
use std::path::Path;

use model::{Adapter, Checkpoint, Llava, LoadOptions, ModelPart, WeightKind};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::checkpoint::write;
use super::{error, golden, load, python_agrees, tensors};

fn same_weights(a: &Llava, b: &Llava) {
    assert_eq!(a.parameters().len(), b.parameters().len());
    for ((name, x), (other, y)) in a.parameters().iter().zip(b.parameters()) {
        assert!(name == other && x.equal(y), "{name}");
    }
}

fn refused<T>(result: Result<T, model::Error>) -> String {
    match result {
        Ok(_) => panic!("accepted"),
        Err(e) => e.to_string(),
    }
}

fn config(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(golden(name).join("config.json")).unwrap())
        .unwrap()
}

/// The batch of the golden `grouped`, every eighth token, as in the goldens.
fn logits(model: &Llava) -> Tensor {
    logits_with(model, 4)
}

/// The same for a model whose images have another token.
fn logits_with(model: &Llava, image: i64) -> Tensor {
    let batch = tensors(&golden("grouped/golden.safetensors"));
    let features = model.image_features(&batch["pixel_values"]).unwrap();
    let ids = batch["input_ids"].masked_fill(&batch["input_ids"].eq(4), image);
    let embeds = model.embed_with_images(&ids, &features).unwrap();
    let positions = Tensor::arange(ids.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let hidden = model.decode(&embeds, &positions, None, None).unwrap();
    model.logits(&hidden).unwrap().slice(-2, 0, None, 8)
}

#[test]
fn pytorch_shards_hold_what_safetensors_hold() {
    let (found, report) = Llava::load(&golden("weights/tied"), Device::Cpu).unwrap();
    // transformers writes the output layer that is the embedding once more.
    assert!(
        report.unused.iter().all(|name| name.contains("lm_head")),
        "{report}"
    );
    same_weights(&found, &load("tied"));
}

#[test]
fn pickles_that_run_anything_are_refused_as_weights() {
    for (file, word) in [("evil.bin", "posix.system"), ("legacy.bin", "before 1.6")] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(
            golden("grouped/config.json"),
            dir.path().join("config.json"),
        )
        .unwrap();
        let path = dir.path().join("pytorch_model.bin");
        std::fs::copy(golden("weights").join(file), path).unwrap();
        let refused = refused(Llava::load(dir.path(), Device::Cpu));
        assert!(
            refused.contains(word) && refused.contains("pytorch_model.bin"),
            "{refused}"
        );
    }
}

#[test]
fn weights_are_held_in_the_type_that_is_asked_for() {
    let checkpoint = Checkpoint::open(&golden("grouped")).unwrap();
    let full = load("grouped");
    for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
        let how = LoadOptions {
            kind,
            ..LoadOptions::default()
        };
        let (model, report) = checkpoint.load(&how).unwrap();
        assert_eq!(report.applied, checkpoint.plan().unwrap().applied);
        for ((name, x), (_, y)) in model.parameters().iter().zip(full.parameters()) {
            assert!(
                x.equal(&y.to_kind(kind)) && !x.requires_grad(),
                "{name} as {kind:?}"
            );
            assert_eq!(x.data_ptr() as usize % 64, 0, "{name}");
        }
    }
}

/// Where an original LLaVA's folder keeps its parts.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Parts {
    AllInOne,
    TowerApart,
    TowerAndProjectorApart,
}

/// The golden `grouped` as folders of the original LLaVA: `llava`, `tower`, and `base` where the
/// projector was trained over it.
fn original(root: &Path, parts: Parts) {
    let weights = tensors(&golden("grouped/model.safetensors"));
    let mut files: HashMap<&str, HashMap<String, Tensor>> = HashMap::new();
    for (name, tensor) in weights {
        let (file, name) = if let Some(rest) = name.strip_prefix("vision_tower.") {
            match parts {
                Parts::AllInOne => ("llava", format!("model.vision_tower.vision_tower.{rest}")),
                _ => ("tower", rest.to_owned()),
            }
        } else if let Some(rest) = name.strip_prefix("multi_modal_projector.") {
            let rest = rest.replace("linear_1", "0").replace("linear_2", "2");
            match parts {
                Parts::TowerAndProjectorApart => continue,
                _ => ("llava", format!("model.mm_projector.{rest}")),
            }
        } else {
            let file = match parts {
                Parts::TowerAndProjectorApart => "base",
                _ => "llava",
            };
            (
                file,
                name.strip_prefix("language_model.").unwrap().to_owned(),
            )
        };
        files.entry(file).or_default().insert(name, tensor);
    }
    for folder in ["llava", "tower", "base"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (folder, weights) in &mut files {
        if *folder == "tower" {
            weights.insert("logit_scale".into(), Tensor::from_slice(&[1f32]));
        }
        write(&root.join(folder).join("model.safetensors"), weights);
    }
    if parts == Parts::TowerAndProjectorApart {
        let from = golden("weights/mm_projector.bin");
        std::fs::copy(from, root.join("llava/mm_projector.bin")).unwrap();
    }
    let whole = config("grouped");
    let mut llava = whole["text_config"].clone();
    llava["model_type"] = json!("llava_llama");
    llava["mm_vision_tower"] = json!("somebody/tower");
    llava["_name_or_path"] = json!("./checkpoints/base");
    llava["mm_projector_type"] = json!("mlp2x_gelu");
    llava["mm_vision_select_layer"] = json!(-2);
    llava["mm_hidden_size"] = whole["vision_config"]["hidden_size"].clone();
    llava["image_aspect_ratio"] = json!("pad");
    let json = |path: &str, value: &Value| {
        std::fs::write(root.join(path), value.to_string()).unwrap();
    };
    json("llava/config.json", &llava);
    json("base/config.json", &whole["text_config"]);
    json("tower/config.json", &whole["vision_config"]);
    json(
        "tower/preprocessor_config.json",
        &json!({"image_mean": [0.4, 0.5, 0.6]}),
    );
}

#[test]
fn original_llava_folders_are_the_same_model_wherever_its_parts_lie() {
    let golden_model = load("grouped");
    for parts in [
        Parts::AllInOne,
        Parts::TowerApart,
        Parts::TowerAndProjectorApart,
    ] {
        let root = tempfile::tempdir().unwrap();
        original(root.path(), parts);
        let text = match parts {
            Parts::TowerAndProjectorApart => "base",
            _ => "llava",
        };
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(
                golden("grouped").join(file),
                root.path().join(text).join(file),
            )
            .unwrap();
        }
        let checkpoint = Checkpoint::open(&root.path().join("llava")).unwrap();
        let (model, report) = checkpoint.load(&LoadOptions::default()).unwrap();
        assert!(report.missing.is_empty(), "{parts:?}: {report}");
        let unused: &[&str] = if parts == Parts::AllInOne {
            &[]
        } else {
            &["logit_scale"]
        };
        assert_eq!(report.unused, unused, "{parts:?}");
        // This tokenizer has a token for images, so the embedding needs no more rows.
        same_weights(&model, &golden_model);
        assert!(error(&logits(&model), &logits(&golden_model)) < 1e-6);
        assert_eq!(model.config().image_mean, [0.4, 0.5, 0.6]);
        assert_eq!(checkpoint.tokenizer().unwrap().image, Some(4));
        // Written as a folder of transformers, it is the same model again.
        let out = root.path().join("out");
        checkpoint.write(&model, &out, WeightKind::Float32).unwrap();
        same_weights(&Llava::load(&out, Device::Cpu).unwrap().0, &golden_model);
    }
}

#[test]
fn a_vocabulary_without_an_image_token_gets_one_only_when_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    original(root.path(), Parts::TowerApart);
    // The golden tokenizer with an ordinary token in the place of the image's.
    let text = std::fs::read_to_string(golden("grouped/tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    added.retain(|token| token["content"] != "<image>");
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let id = vocabulary.remove("<image>").unwrap();
    vocabulary.insert("ordinary".into(), id);
    let path = root.path().join("llava/tokenizer.json");
    std::fs::write(path, tokenizer.to_string()).unwrap();

    let checkpoint = Checkpoint::open(&root.path().join("llava")).unwrap();
    let (model, _) = checkpoint.load(&LoadOptions::default()).unwrap();
    let plain = load("grouped");
    same_weights(&model, &plain);
    let placeholder = model.config().image_token_index;
    assert_eq!(checkpoint.tokenizer().unwrap().image, Some(placeholder));
    assert!(!(0..288).contains(&placeholder));
    let expected = logits(&plain);
    assert!(error(&logits_with(&model, placeholder), &expected) < 1e-6);

    let out = root.path().join("out");
    checkpoint.write(&model, &out, WeightKind::Float32).unwrap();
    let (written, _) = Llava::load(&out, Device::Cpu).unwrap();
    let config = written.config();
    assert_eq!(
        (config.text_config.vocab_size, config.image_token_index),
        (320, 288)
    );
    let found = logits_with(&written, 288);
    assert!(error(&found.narrow(-1, 0, 288), &expected) < 1e-6);
    // The rows of no token are never the answer.
    assert!(i64::try_from(found.argmax(-1, false).max()).unwrap() < 288);
}

#[test]
fn parts_that_are_nowhere_are_asked_for_by_name() {
    for (gone, words) in [
        ("tower", ["mm_vision_tower", "somebody/tower"]),
        ("base", ["_name_or_path", "checkpoints/base"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        original(root.path(), Parts::TowerAndProjectorApart);
        std::fs::remove_dir_all(root.path().join(gone)).unwrap();
        let refused = refused(Checkpoint::open(&root.path().join("llava")));
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
}

#[test]
fn a_decoder_alone_comes_back_under_the_names_that_transformers_gives_it() {
    let root = tempfile::tempdir().unwrap();
    let mut weights = tensors(&golden("grouped/model.safetensors"));
    weights.retain(|name, _| name.starts_with("language_model."));
    let weights: HashMap<String, Tensor> = weights
        .into_iter()
        .map(|(name, t)| (name.replace("language_model.", ""), t))
        .collect();
    write(&root.path().join("model.safetensors"), &weights);
    let mut text = config("grouped")["text_config"].clone();
    text["kept_by"] = json!("whoever wrote it");
    std::fs::write(root.path().join("config.json"), text.to_string()).unwrap();
    std::fs::write(root.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
    let checkpoint = Checkpoint::open(root.path()).unwrap();
    let (model, report) = checkpoint.load(&LoadOptions::default()).unwrap();
    assert!(
        report.missing.is_empty() && report.unused.is_empty(),
        "{report}"
    );
    for kind in [WeightKind::Float32, WeightKind::Float16] {
        let out = tempfile::tempdir().unwrap();
        checkpoint.write(&model, out.path(), kind).unwrap();
        let stored = Checkpoint::open(out.path()).unwrap().stored_kind().unwrap();
        let expected = match kind {
            WeightKind::Float16 => Kind::Half,
            _ => Kind::Float,
        };
        assert_eq!(stored, expected);
        let written = tensors_or_half(&out.path().join("model.safetensors"));
        assert_eq!(written.len(), weights.len());
        for (name, tensor) in &weights {
            assert!(
                written[name].allclose(&tensor.to_kind(Kind::Float), 1e-3, 1e-3, false),
                "{name}"
            );
        }
        let config: Value =
            serde_json::from_slice(&std::fs::read(out.path().join("config.json")).unwrap())
                .unwrap();
        assert_eq!(config["kept_by"], "whoever wrote it");
        let dtype = if kind == WeightKind::Float32 {
            "float32"
        } else {
            "float16"
        };
        assert!(
            [&config["dtype"], &config["torch_dtype"]]
                .iter()
                .any(|d| **d == dtype)
        );
        assert!(out.path().join("chat_template.jinja").is_file());
    }
    let refused = refused(checkpoint.write(&model, root.path(), WeightKind::Float32));
    assert!(refused.contains("the checkpoint itself"), "{refused}");
}

fn tensors_or_half(path: &Path) -> HashMap<String, Tensor> {
    let read = Tensor::read_safetensors(path).unwrap();
    read.into_iter()
        .map(|(name, t)| (name, t.to_kind(Kind::Float)))
        .collect()
}

const ADAPTERS: [&str; 2] = ["adapter", "adapter_stabilised"];

fn adapter(name: &str) -> Adapter {
    Adapter::read(&golden("weights").join(name), Device::Cpu, Kind::Float).unwrap()
}

#[test]
fn adapters_beside_and_merged_into_the_weights_give_pefts_logits() {
    let expected = tensors(&golden("weights/adapters.safetensors"));
    for name in ADAPTERS {
        let beside = load("grouped").with_adapter(adapter(name), false).unwrap();
        let found = logits(&beside);
        assert!(error(&found, &expected[name]) < 1e-4, "{name}");
        let merged = load("grouped").merged(&adapter(name)).unwrap();
        assert!(error(&logits(&merged), &found) < 1e-5, "{name}");
        assert!(merged.adapter().is_none());
        // A copy for answering keeps it.
        let frozen = beside.frozen(Kind::Float).unwrap();
        assert!(error(&logits(&frozen), &found) < 1e-6, "{name}");
        // Packed, where several layers are one product and an update has its place in it.
        let packed = beside
            .answering(Kind::Float, model::Quantisation::None)
            .unwrap();
        assert!(error(&logits(&packed), &found) < 1e-5, "{name}");
        // As an option of loading.
        let how = LoadOptions {
            adapter: Some(golden("weights").join(name)),
            ..LoadOptions::default()
        };
        let (loaded, report) = Checkpoint::open(&golden("grouped"))
            .unwrap()
            .load(&how)
            .unwrap();
        let (ready, _) = Checkpoint::open(&golden("grouped"))
            .unwrap()
            .load_answering(&how, model::Quantisation::None)
            .unwrap();
        assert!(error(&logits(&ready), &found) < 1e-5, "{name}");
        assert!(error(&logits(&loaded), &found) < 1e-6, "{name}");
        assert_eq!(
            report.adapted.len(),
            loaded.adapter().unwrap().parameters().len()
        );
    }
}

#[test]
fn adapters_have_the_loss_and_the_gradients_of_peft() {
    let expected = tensors(&golden("weights/adapter_gradients.safetensors"));
    for name in ADAPTERS {
        let model = load("grouped").with_adapter(adapter(name), true).unwrap();
        let batch = tensors(&golden("grouped/golden.safetensors"));
        let ids = &batch["input_ids"];
        let features = model.image_features(&batch["pixel_values"]).unwrap();
        let embeds = model.embed_with_images(ids, &features).unwrap();
        let tokens = ids.size()[1];
        let positions = Tensor::arange(tokens, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let hidden = model.decode(&embeds, &positions, None, None).unwrap();
        let logits = model.logits(&hidden).unwrap().narrow(1, 0, tokens - 1);
        let labels = ids.narrow(1, 1, tokens - 1).flatten(0, 1);
        let loss = logits.flatten(0, 1).cross_entropy_for_logits(&labels);
        loss.backward();
        assert!(
            error(&loss, &expected[&format!("{name}.loss")]) < 1e-5,
            "{name}"
        );
        let mut met = 1;
        for (tensor_name, tensor, _) in model.trainable() {
            let key = format!("{name}.{tensor_name}");
            match expected.get(&key) {
                Some(gradient) => {
                    let off = error(&tensor.grad(), gradient);
                    assert!(off < 1e-4, "{key}: {off}");
                    met += 1;
                }
                // The tower's last layer is not run.
                None => assert!(!tensor.grad().defined(), "{key}"),
            }
        }
        let prefix = format!("{name}.");
        let all = expected.keys().filter(|key| key.starts_with(&prefix));
        assert_eq!(met, all.count(), "{name}");
    }
}

/// Runs `scripts/check_adapter.py` with the Python that `MATH_LLAVA_PYTHON` names.
#[test]
fn peft_loads_an_adapter_with_the_projector_trained_whole() {
    let plain = load("grouped");
    let before = logits(&plain);
    let fresh = Adapter::new(plain.config(), 4, 8.0, &["all-linear"], 7, Device::Cpu).unwrap();
    let fresh = fresh.with_dropout(0.05).unwrap();
    let fresh = fresh.with_whole(&plain, ModelPart::Projector).unwrap();
    let model = plain.with_adapter(fresh, true).unwrap();
    model.set_trainable(false, true, true).unwrap();
    logits(&model).square().mean(Kind::Float).backward();
    tch::no_grad(|| {
        for (_, mut tensor, _) in model.trainable() {
            drop(tensor.f_sub_(&tensor.grad()).unwrap());
        }
    });
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("adapter");
    model
        .adapter()
        .unwrap()
        .write(model.config(), &folder)
        .unwrap();
    let again = Adapter::read(&folder, Device::Cpu, Kind::Float).unwrap();
    assert_eq!(again.dropout, 0.05);
    // Ours has no dropout once nothing is trained.
    let again = load("grouped").with_adapter(again, false).unwrap();
    let found = logits(&again);
    assert!(error(&found, &before) > 1e-2);
    assert!(found.equal(&logits(&model.frozen(Kind::Float).unwrap())));

    let mut batch = tensors(&golden("grouped/golden.safetensors"));
    batch.retain(|name, _| ["input_ids", "pixel_values"].contains(&name.as_str()));
    batch.insert("logits".into(), found);
    let file = out.path().join("logits.safetensors");
    write(&file, &batch);
    python_agrees(
        "check_adapter.py",
        &[
            golden("grouped").as_os_str(),
            folder.as_ref(),
            "--logits".as_ref(),
            file.as_ref(),
        ],
    );
}

#[test]
fn a_written_adapter_is_the_same_adapter() {
    for name in ADAPTERS {
        let model = load("grouped");
        let out = tempfile::tempdir().unwrap();
        adapter(name).write(model.config(), out.path()).unwrap();
        let again = Adapter::read(out.path(), Device::Cpu, Kind::Float).unwrap();
        assert_eq!(again.base.as_deref(), Some("grouped"));
        let (a, b) = (adapter(name).parameters(), again.parameters());
        assert_eq!(a.len(), b.len());
        for ((name, x), (other, y)) in a.iter().zip(&b) {
            assert!(name == other && x.equal(y), "{name}");
        }
        let first = logits(&load("grouped").with_adapter(adapter(name), false).unwrap());
        assert!(error(&logits(&model.with_adapter(again, false).unwrap()), &first) < 1e-6);
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_until_it_is_trained_and_then_alone() {
    let plain = load("grouped");
    let before = logits(&plain);
    let targets = ["q_proj", "up_proj"];
    let fresh = Adapter::new(plain.config(), 3, 6.0, &targets, 7, Device::Cpu).unwrap();
    assert_eq!(fresh.parameters().len(), 2 * 2 * targets.len());
    let model = plain.with_adapter(fresh, true).unwrap();
    let found = logits(&model);
    assert!(error(&found, &before) < 1e-6);
    found.sum(Kind::Float).backward();
    for (name, tensor) in model.adapter().unwrap().parameters() {
        assert!(tensor.grad().defined(), "{name}");
        // A's gradient goes through B, which is still zero.
        let moved = tensor.grad().abs().max().double_value(&[]) > 0.0;
        assert_eq!(moved, name.ends_with("lora_B"), "{name}");
    }
    assert!(model.parameters().iter().all(|(_, t)| !t.requires_grad()));
    let refused = refused(Adapter::new(
        model.config(),
        3,
        6.0,
        &["w1"],
        7,
        Device::Cpu,
    ));
    assert!(refused.contains("w1"), "{refused}");
}

#[test]
fn what_is_trained_is_said_by_part_with_and_without_an_adapter() {
    let parts = |model: &Llava| -> Vec<ModelPart> {
        let mut parts: Vec<_> = model
            .trainable()
            .into_iter()
            .map(|(_, _, part)| part)
            .collect();
        parts.dedup();
        parts
    };
    let decoder = [
        ModelPart::Embedding,
        ModelPart::Layer(0),
        ModelPart::Layer(1),
        ModelPart::Norm,
        ModelPart::Head,
    ];
    let plain = load("grouped");
    assert_eq!(plain.trainable().len(), plain.parameters().len());
    plain.set_trainable(false, false, true).unwrap();
    assert_eq!(parts(&plain), decoder);
    plain.set_trainable(true, true, false).unwrap();
    assert_eq!(parts(&plain), [ModelPart::Tower, ModelPart::Projector]);

    let fresh = || Adapter::new(plain.config(), 3, 6.0, &["q_proj"], 7, Device::Cpu).unwrap();
    let whole = fresh().with_whole(&plain, ModelPart::Projector).unwrap();
    let model = load("grouped").with_adapter(whole, true).unwrap();
    model.set_trainable(false, true, true).unwrap();
    let both = [
        ModelPart::Projector,
        ModelPart::Layer(0),
        ModelPart::Layer(1),
    ];
    assert_eq!(parts(&model), both);
    logits(&model).sum(Kind::Float).backward();
    for (name, tensor, _) in model.trainable() {
        assert!(tensor.is_leaf() && tensor.grad().defined(), "{name}");
    }
    model.set_trainable(false, false, true).unwrap();
    assert_eq!(parts(&model), both[1..]);
    let nothing = refused(model.set_trainable(true, false, true));
    assert!(nothing.contains("vision tower"), "{nothing}");
    let model = load("grouped").with_adapter(fresh(), true).unwrap();
    let nothing = refused(model.set_trainable(false, true, true));
    assert!(nothing.contains("projector"), "{nothing}");
    let twice = refused(fresh().with_whole(&plain, ModelPart::Layer(1)));
    assert!(twice.contains("layers.1.self_attn.q_proj"), "{twice}");
}

#[test]
fn adapters_that_do_not_fit_are_refused_by_what_does_not() {
    let refused_by = |name: &str| refused(load(name).with_adapter(adapter("adapter"), false));
    let other = refused_by("tied");
    assert!(other.contains("belongs to another model"), "{other}");
    let dir = tempfile::tempdir().unwrap();
    let from = golden("weights/adapter");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(from.join(file), dir.path().join(file)).unwrap();
    }
    let path = dir.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (change, word) in [
        (("\"use_dora\": false", "\"use_dora\": true"), "use_dora"),
        (("\"r\": 4", "\"r\": 5"), "rank 5"),
        (("\"LORA\"", "\"LOHA\""), "LOHA"),
    ] {
        assert!(text.contains(change.0));
        std::fs::write(&path, text.replace(change.0, change.1)).unwrap();
        let refused = refused(Adapter::read(dir.path(), Device::Cpu, Kind::Float));
        assert!(refused.contains(word), "{refused}");
    }
    std::fs::write(&path, text).unwrap();
    let weights = dir.path().join("adapter_model.safetensors");
    let mut half = tensors(&weights);
    half.retain(|name, _| !name.contains("layers.0.mlp.down_proj.lora_B"));
    write(&weights, &half);
    let refused = refused(Adapter::read(dir.path(), Device::Cpu, Kind::Float));
    assert!(refused.contains("only half there"), "{refused}");
}
