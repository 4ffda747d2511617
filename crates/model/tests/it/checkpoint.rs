//! Folders: what is saved comes back, foreign names are understood, broken files are named.

use std::collections::HashMap;
use std::path::Path;

use model::{Llava, LlavaConfig, Template, WeightKind, train_bpe, write_logits};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};

use super::{error, golden, golden_tokenizer, load, python_agrees, small_config, tensors};

fn same_weights(a: &Llava, b: &Llava) {
    assert_eq!(a.parameters().len(), b.parameters().len());
    for ((name, x), (other, y)) in a.parameters().iter().zip(b.parameters()) {
        assert_eq!(name, other);
        assert_eq!(x.kind(), Kind::Float);
        assert!(x.requires_grad());
        assert!(x.equal(y), "{name}");
    }
}

/// Copies the golden folder with its weights changed.
fn altered(change: impl Fn(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("grouped/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let mut weights = tensors(&golden("grouped/model.safetensors"));
    change(&mut weights);
    write(&dir.path().join("model.safetensors"), &weights);
    dir
}

pub(super) fn write(path: &Path, weights: &HashMap<String, Tensor>) {
    let bytes: Vec<(String, Vec<usize>, safetensors::Dtype, Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| {
            let dtype = match tensor.kind() {
                Kind::Float => safetensors::Dtype::F32,
                Kind::BFloat16 => safetensors::Dtype::BF16,
                Kind::Int64 => safetensors::Dtype::I64,
                other => panic!("{other:?}"),
            };
            let mut data = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.contiguous().copy_data_u8(&mut data, tensor.numel());
            (
                name.clone(),
                tensor.size().iter().map(|&n| n as usize).collect(),
                dtype,
                data,
            )
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, dtype, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn refusal(dir: &Path) -> String {
    match Llava::load(dir, Device::Cpu) {
        Ok(_) => panic!("loaded"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_saved_model_comes_back_bit_for_bit() {
    for tied in [false, true] {
        let mut config = small_config();
        config.text_config.tie_word_embeddings = tied;
        let model = Llava::new(&config, 3, Device::Cpu).unwrap();
        let count: i64 = model
            .parameters()
            .iter()
            .map(|(_, t)| t.numel() as i64)
            .sum();
        assert_eq!(count, config.parameter_count());
        let dir = tempfile::tempdir().unwrap();
        model
            .save(dir.path(), &golden_tokenizer(), WeightKind::Float32)
            .unwrap();
        let (again, report) = Llava::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(report.applied.len(), model.parameters().len());
        same_weights(&model, &again);
        assert_eq!(again.config().image_tokens(), 4);
        // What transformers' processor gives must be what its `generate` takes.
        let settings = std::fs::read(dir.path().join("tokenizer_config.json")).unwrap();
        let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
        assert_eq!(settings["model_input_names"].as_array().unwrap().len(), 2);
        // Saving what was loaded changes no byte.
        let second = tempfile::tempdir().unwrap();
        again
            .save(second.path(), &golden_tokenizer(), WeightKind::Float32)
            .unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let name = entry.unwrap().file_name();
            let (a, b) = (dir.path().join(&name), second.path().join(&name));
            assert_eq!(
                std::fs::read(a).unwrap(),
                std::fs::read(b).unwrap(),
                "{name:?}"
            );
        }
    }
}

#[test]
fn bf16_folders_take_half_the_room_and_lose_only_rounding() {
    let model = Llava::new(&small_config(), 3, Device::Cpu).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model
        .save(dir.path(), &golden_tokenizer(), WeightKind::Bfloat16)
        .unwrap();
    let (again, _) = Llava::load(dir.path(), Device::Cpu).unwrap();
    for ((name, x), (_, y)) in model.parameters().iter().zip(again.parameters()) {
        assert!(
            x.to_kind(Kind::BFloat16).to_kind(Kind::Float).equal(y),
            "{name}"
        );
    }
}

#[test]
fn random_weights_depend_on_the_seed_alone() {
    let new = |seed| Llava::new(&small_config(), seed, Device::Cpu).unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    same_weights(&new(5), &pool.install(|| new(5)));
    let (a, b) = (new(5), new(6));
    let embedding = |m: &Llava| {
        let found = m
            .parameters()
            .iter()
            .find(|(n, _)| n.ends_with("embed_tokens.weight"));
        found.unwrap().1.detach()
    };
    assert!(!embedding(&a).equal(&embedding(&b)));
    let std = embedding(&a).std(false).double_value(&[]);
    assert!((std - 0.02).abs() < 0.001, "{std}");
    assert!(embedding(&a).mean(Kind::Double).double_value(&[]).abs() < 0.001);
}

#[test]
fn the_newer_tensor_names_load_as_the_older_ones() {
    let dir = altered(|weights| {
        let old: Vec<String> = weights.keys().cloned().collect();
        for name in old {
            let tensor = weights.remove(&name).unwrap();
            let new = name
                .replace("language_model.model.", "model.language_model.")
                .replace("language_model.lm_head.", "lm_head.")
                .replace("vision_tower.", "model.vision_tower.")
                .replace("multi_modal_projector.", "model.multi_modal_projector.");
            assert_ne!(new, name);
            weights.insert(new, tensor);
        }
        // Old files hold a buffer that is computed here.
        let buffer = "vision_tower.vision_model.embeddings.position_ids";
        weights.insert(buffer.to_owned(), Tensor::from_slice(&[0i64, 1]));
    });
    let (model, report) = Llava::load(dir.path(), Device::Cpu).unwrap();
    assert!(report.unused.is_empty(), "{report:?}");
    same_weights(&model, &load("grouped"));
}

#[test]
fn shards_load_as_one_file_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("grouped/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let mut parts: [HashMap<String, Tensor>; 2] = Default::default();
    let mut map = serde_json::Map::new();
    for (index, (name, tensor)) in tensors(&golden("grouped/model.safetensors"))
        .into_iter()
        .enumerate()
    {
        map.insert(
            name.clone(),
            format!("part-{}.safetensors", index % 2).into(),
        );
        parts[index % 2].insert(name, tensor);
    }
    for (index, part) in parts.iter().enumerate() {
        write(&dir.path().join(format!("part-{index}.safetensors")), part);
    }
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    same_weights(
        &Llava::load(dir.path(), Device::Cpu).unwrap().0,
        &load("grouped"),
    );

    std::fs::remove_file(dir.path().join("part-1.safetensors")).unwrap();
    let refused = refusal(dir.path());
    assert!(
        refused.contains("index.json") && refused.contains("part-1.safetensors"),
        "{refused}"
    );
    let outside = serde_json::json!({"weight_map": {"x": "../../etc/passwd"}});
    std::fs::write(&index, outside.to_string()).unwrap();
    assert!(refusal(dir.path()).contains("leaves the folder"));
}

#[test]
fn what_does_not_fit_is_named_with_file_and_tensor() {
    type Change = fn(&mut HashMap<String, Tensor>);
    let cases: [(Change, &[&str]); 4] = [
        (
            |w| drop(w.remove("language_model.model.norm.weight")),
            &[
                "1 of the model's tensors",
                "language_model.model.norm.weight",
            ],
        ),
        (
            |w| {
                drop(w.insert(
                    "language_model.model.norm.weight".into(),
                    Tensor::from_slice(&[1f32; 31]),
                ))
            },
            &[
                "model.safetensors",
                "language_model.model.norm.weight",
                "[31]",
                "[32]",
            ],
        ),
        (
            |w| {
                drop(w.insert(
                    "language_model.model.norm.weight".into(),
                    Tensor::from_slice(&[1i64; 32]),
                ))
            },
            &[
                "model.safetensors",
                "language_model.model.norm.weight",
                "Int64",
            ],
        ),
        (
            |w| {
                drop(w.insert(
                    "lm_head.weight".into(),
                    w["language_model.lm_head.weight"].copy(),
                ))
            },
            &["model.safetensors", "twice"],
        ),
    ];
    for (change, words) in cases {
        let refused = refusal(altered(change).path());
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
}

#[test]
fn what_is_not_needed_or_not_finite_is_reported() {
    sample::progress::set_quiet(true);
    let dir = altered(|weights| {
        weights.insert("language_model.extra".into(), Tensor::from_slice(&[1f32]));
        let norm = Tensor::from_slice(&[f32::NAN; 32]);
        weights.insert("language_model.model.norm.weight".into(), norm);
        weights.remove("multi_modal_projector.linear_1.bias");
    });
    let (model, report) = Llava::load_partial(dir.path(), 9, Device::Cpu).unwrap();
    assert_eq!(report.unused, ["language_model.extra"]);
    assert_eq!(report.not_finite, ["language_model.model.norm.weight"]);
    assert_eq!(report.missing, ["multi_modal_projector.linear_1.bias"]);
    assert_eq!(model.parameters().len(), report.applied.len() + 1);
}

#[test]
fn broken_weight_files_are_named() {
    let whole = std::fs::read(golden("grouped/model.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("grouped/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("neither model.safetensors"), "{refused}");
    let mut oversized = whole.clone();
    oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut overlapping = whole.clone();
    let at = whole
        .windows(14)
        .position(|w| w == b"\"data_offsets\"")
        .unwrap();
    overlapping[at + 16] = b'9';
    std::fs::write(dir.path().join("model.safetensors"), []).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("model.safetensors: is empty"), "{refused}");
    for bytes in [
        &whole[..5],
        &whole[..900],
        &whole[..whole.len() - 1],
        &oversized,
        &overlapping,
    ] {
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let refused = refusal(dir.path());
        assert!(
            refused.contains("model.safetensors: not a whole safetensors file"),
            "{refused}"
        );
    }
}

#[test]
fn configurations_that_cannot_be_built_are_refused_before_memory_is_asked_for() {
    let text = std::fs::read_to_string(golden("grouped/config.json")).unwrap();
    let cases = [
        (
            "/text_config/hidden_size",
            serde_json::json!(1i64 << 40),
            "text_config.hidden_size",
        ),
        (
            "/text_config/num_hidden_layers",
            serde_json::json!(0),
            "num_hidden_layers is 0",
        ),
        (
            "/text_config/num_attention_heads",
            serde_json::json!(3),
            "num_key_value_heads",
        ),
        (
            "/text_config/head_dim",
            serde_json::json!(7),
            "head_dim must be even",
        ),
        (
            "/text_config/rope_scaling",
            serde_json::json!({"rope_type": "yarn"}),
            "rope_scaling",
        ),
        (
            "/text_config/model_type",
            serde_json::json!("gemma"),
            "model_type is gemma",
        ),
        (
            "/text_config/vocab_size",
            serde_json::json!("many"),
            "invalid type",
        ),
        (
            "/vision_config/patch_size",
            serde_json::json!(29),
            "patch_size is larger",
        ),
        (
            "/vision_config/num_attention_heads",
            serde_json::json!(-1),
            "is -1",
        ),
        (
            "/vision_feature_layer",
            serde_json::json!(-9),
            "vision_feature_layer",
        ),
        (
            "/image_token_index",
            serde_json::json!(32000),
            "image_token_index",
        ),
        ("/model_type", serde_json::json!("llava_next"), "llava_next"),
    ];
    for (at, value, word) in cases {
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        *config.pointer_mut(at).unwrap() = value;
        let refused = LlavaConfig::parse(&config.to_string())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(word), "{at}: {refused}");
    }
    // Each size is allowed by itself; together they are too much for any machine.
    let mut config = small_config();
    config.text_config.hidden_size = 1 << 17;
    config.text_config.num_attention_heads = 1 << 10;
    config.text_config.num_hidden_layers = 1 << 12;
    config.text_config.intermediate_size = 1 << 20;
    let refused = Llava::new(&config, 0, Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("parameters"), "{refused}");
    config.text_config.num_hidden_layers = 2;
    config.text_config.intermediate_size = 1 << 18;
    let refused = Llava::new(&config, 0, Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("make the model smaller"), "{refused}");
}

#[test]
fn written_logits_are_those_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = load("grouped");
    model
        .save(dir.path(), &golden_tokenizer(), WeightKind::Float32)
        .unwrap();
    let expected = tensors(&golden("grouped/golden.safetensors"));
    let (queries, _) = super::texts();
    let out = dir.path().join("logits.safetensors");
    write_logits(
        dir.path(),
        Some(&golden("picture_0.png")),
        &queries[0],
        &out,
    )
    .unwrap();
    let found = tensors(&out);
    assert!(found["input_ids"].equal(&expected["prompt_ids.0"]));
    let tokens = found["input_ids"].size()[0];
    assert_eq!(found["logits"].size(), [tokens, 288]);
    let wanted = expected["logits"].get(0).narrow(0, 0, (tokens + 7) / 8);
    // Pixels differ by a level here and there, so the logits do a little.
    assert!(error(&found["logits"].slice(0, 0, None, 8), &wanted) < 0.02);

    let broken = golden("texts.json");
    let refused = write_logits(dir.path(), Some(&broken), "x", &out)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("texts.json"), "{refused}");
}

/// Runs `scripts/check_checkpoint.py` with the Python that `MATH_LLAVA_PYTHON` names.
#[test]
fn transformers_loads_what_was_saved_and_gives_its_logits() {
    for (template, tied) in [(Template::V1, false), (Template::Tiny, true)] {
        let texts = [
            "Hint: Please answer the question.",
            "Question: how many bars are red?",
        ];
        let tokenizer = train_bpe(texts.repeat(9), 300).unwrap();
        let mut config = small_config();
        config.conversation_template = template;
        config.text_config.tie_word_embeddings = tied;
        config.text_config.vocab_size = tokenizer.vocab_size();
        config.text_config.initializer_range = 0.2;
        let model = Llava::new(&config, 11, Device::Cpu).unwrap();
        let dir = tempfile::tempdir().unwrap();
        model
            .save(dir.path(), &tokenizer, WeightKind::Float32)
            .unwrap();
        let (image, out) = (
            golden("picture_1.png"),
            dir.path().join("logits.safetensors"),
        );
        let prompt = "Hint: Please answer the question.\nQuestion: are 12 red?\nChoices:\n(A) no";
        write_logits(dir.path(), Some(&image), prompt, &out).unwrap();
        python_agrees(
            "check_checkpoint.py",
            &[
                dir.path().as_os_str(),
                "--prompt".as_ref(),
                prompt.as_ref(),
                "--image".as_ref(),
                image.as_ref(),
                "--logits".as_ref(),
                out.as_ref(),
            ],
        );
    }
}

#[test]
fn image_features_must_match_the_image_tokens() {
    let model = load("grouped");
    let ids = Tensor::from_slice(&[1i64, 4, 4, 9]).unsqueeze(0);
    let features = Tensor::zeros([1, 16, 32], (Kind::Float, Device::Cpu));
    let refused = model
        .embed_with_images(&ids, &features)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("2 image tokens in the text for 16"),
        "{refused}"
    );
    let wrong = Tensor::zeros([1, 3, 20, 28], (Kind::Float, Device::Cpu));
    assert!(
        model
            .image_features(&wrong)
            .unwrap_err()
            .to_string()
            .contains("[1, 3, 20, 28]")
    );
    assert!(model.embed(&Tensor::from_slice(&[288i64])).is_err());
    let embeds = Tensor::zeros([1, 2, 31], (Kind::Float, Device::Cpu));
    let positions = Tensor::zeros([1, 2], (Kind::Int64, Device::Cpu));
    assert!(model.decode(&embeds, &positions, None, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_loading_panic(flips in prop::collection::vec((0usize..12_000, any::<u8>()), 1..20), keep in 0usize..12_000) {
        sample::progress::set_quiet(true);
        let dir = tempfile::tempdir().unwrap();
        for (name, whole) in [("config.json", golden("grouped/config.json")), ("model.safetensors", golden("grouped/model.safetensors"))] {
            let mut bytes = std::fs::read(whole).unwrap();
            for (at, value) in &flips {
                let length = bytes.len();
                if name == "model.safetensors" { bytes[at % length] = *value; }
            }
            if name == "config.json" && keep % 3 == 0 { bytes.truncate(keep % 1400); }
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let _ = Llava::load(dir.path(), Device::Cpu);
    }
}
