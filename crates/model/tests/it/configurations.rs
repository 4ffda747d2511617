//! What `config.json` files of each family mean: transformers' defaults, the original LLaVA's
//! fields, and refusals by name.

use model::{FeatureSelect, Llava, LlavaConfig, TokenIds, VisionConfig};
use proptest::prelude::*;
use serde_json::{Value, json};
use tch::Device;

use super::golden;

fn parse(value: &Value) -> LlavaConfig {
    LlavaConfig::parse(&value.to_string()).unwrap()
}

fn refusal(value: &Value) -> String {
    match LlavaConfig::parse(&value.to_string()) {
        Ok(config) => panic!("{config:?}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn fields_left_out_have_the_defaults_of_their_family() {
    let config = parse(&json!({"model_type": "llava", "text_config": {"vocab_size": 32_064}}));
    let vision = config.vision_config.unwrap();
    // LLaVA's own: ViT-L/14 at 336 pixels, and LLaMA.
    assert_eq!((vision.hidden_size, vision.image_size), (1024, 336));
    assert_eq!(
        (config.image_seq_length, config.vision_feature_layer),
        (576, -2)
    );
    assert_eq!(config.text_config.intermediate_size, 11_008);

    let mistral = parse(&json!({"model_type": "mistral"})).text_config;
    assert_eq!(mistral.num_key_value_heads, Some(8));
    assert_eq!(mistral.intermediate_size, 14_336);
    assert_eq!(mistral.sliding_window, Some(4096));
    // A null says that there is no window; an absent field that there is the usual one.
    let open = parse(&json!({"model_type": "mistral", "sliding_window": null}));
    assert_eq!(open.text_config.sliding_window, None);
    assert_eq!(parse(&open.to_json().unwrap()), open);

    let qwen = parse(&json!({"model_type": "qwen2"}));
    assert_eq!(qwen.text_config.vocab_size, 151_936);
    assert_eq!(qwen.text_config.max_position_embeddings, 32_768);
    assert_eq!(qwen.text_config.eos_token_id, None);
    assert_eq!(qwen.architectures, ["Qwen2ForCausalLM"]);
    assert_eq!((qwen.vision_config.clone(), qwen.image_tokens()), (None, 0));
    let llama = parse(&json!({"model_type": "llama", "pad_token_id": 0})).text_config;
    assert_eq!(llama.eos_token_id, Some(TokenIds::One(2)));
    assert_eq!(llama.pad_token_id, Some(0));

    let tower = |value: Value| VisionConfig::parse(&value).unwrap();
    let siglip = tower(json!({"model_type": "siglip_vision_model"}));
    assert_eq!(
        (siglip.patch_size, siglip.hidden_act.as_str()),
        (16, "gelu_pytorch_tanh")
    );
    let dino = tower(json!({"model_type": "dinov2", "hidden_size": 1024}));
    assert_eq!((dino.patch_size, dino.layer_norm_eps), (14, 1e-6));
    // A folder of the whole CLIP has its tower inside.
    let clip = tower(json!({"model_type": "clip", "vision_config": {"patch_size": 14}}));
    assert_eq!(
        (clip.model_type.as_str(), clip.patch_size),
        ("clip_vision_model", 14)
    );
}

/// Counts are of transformers' models of these shapes; the first is `llava-hf/llava-1.5-7b-hf`, the
/// last LLaMA-3-8B.
#[test]
fn published_shapes_have_their_parameters() {
    let cases = [
        (
            json!({
                "model_type": "llava",
                "text_config": {
                    "model_type": "llama",
                    "max_position_embeddings": 4096,
                    "rms_norm_eps": 1e-5,
                    "vocab_size": 32_064,
                },
                "vision_config": {
                    "model_type": "clip_vision_model",
                    "hidden_size": 1024,
                    "image_size": 336,
                    "intermediate_size": 4096,
                    "num_attention_heads": 16,
                    "num_hidden_layers": 24,
                    "patch_size": 14,
                    "projection_dim": 768,
                    "vocab_size": 32_000,
                },
            }),
            7_063_427_072,
            576,
        ),
        (
            json!({
                "model_type": "llava",
                "image_token_index": 151_646,
                "vision_feature_layer": -1,
                "vision_feature_select_strategy": "full",
                "text_config": {
                    "model_type": "qwen2",
                    "hidden_size": 896,
                    "intermediate_size": 4864,
                    "num_hidden_layers": 24,
                    "num_attention_heads": 14,
                    "num_key_value_heads": 2,
                    "vocab_size": 152_000,
                    "tie_word_embeddings": true,
                },
                "vision_config": {
                    "model_type": "siglip_vision_model",
                    "hidden_size": 1152,
                    "intermediate_size": 4304,
                    "num_hidden_layers": 26,
                    "num_attention_heads": 16,
                    "image_size": 384,
                    "patch_size": 14,
                    "vision_use_head": false,
                },
            }),
            893_674_656,
            // 384 pixels hold 27 patches of 14, and 6 pixels more.
            729,
        ),
        (
            json!({
                "model_type": "llava",
                "image_token_index": 31_999,
                "text_config": {"model_type": "mistral"},
                "vision_config": {
                    "model_type": "dinov2",
                    "hidden_size": 1536,
                    "num_hidden_layers": 40,
                    "num_attention_heads": 24,
                    "image_size": 518,
                    "use_swiglu_ffn": true,
                },
            }),
            8_401_289_728,
            1369,
        ),
        (
            json!({
                "model_type": "llama",
                "intermediate_size": 14_336,
                "num_key_value_heads": 8,
                "vocab_size": 128_256,
            }),
            8_030_261_248,
            0,
        ),
    ];
    for (value, parameters, image_tokens) in cases {
        let config = parse(&value);
        assert_eq!(config.parameter_count(), parameters, "{value}");
        assert_eq!(config.image_tokens(), image_tokens, "{value}");
    }
}

#[test]
fn rotary_fields_of_newer_files_are_those_of_older_ones() {
    let scaling = json!({"rope_type": "linear", "factor": 2.0});
    let old = parse(&json!({"model_type": "llama", "rope_theta": 5e5, "rope_scaling": scaling}));
    let new = parse(&json!({
        "model_type": "llama",
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
    }));
    assert_eq!(new, old);
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_its_name() {
    let cases = [
        (json!({"model_type": "phi3"}), "model_type is phi3"),
        (json!([1]), "model_type is (absent)"),
        (
            json!({"model_type": "llava", "text_config": {"model_type": "gemma2"}}),
            "text_config.model_type is gemma2",
        ),
        (
            json!({"model_type": "llava", "vision_config": {"model_type": "pixtral"}}),
            "vision_config.model_type is pixtral",
        ),
        (
            json!({"model_type": "llava", "vision_config": {"hidden_act": "relu"}}),
            "vision_config.hidden_act",
        ),
        (
            json!({"model_type": "llava", "vision_config": {"patch_size": -3}}),
            "vision_config.patch_size is -3",
        ),
        (
            json!({"model_type": "llava", "vision_config": {"model_type": "dinov2", "mlp_ratio": 1e300}}),
            "vision_config.intermediate_size",
        ),
        (
            json!({"model_type": "llava", "vision_config": {"model_type": "dinov2", "mlp_ratio": -1}}),
            "vision_config.intermediate_size",
        ),
        (
            json!({"model_type": "llava", "vision_config": 7}),
            "vision_config",
        ),
        (
            json!({"model_type": "llava", "text_config": []}),
            "text_config",
        ),
        (
            json!({"model_type": "llava", "vision_feature_layer": [-2, -5]}),
            "vision_feature_layer is a list",
        ),
        (
            json!({"model_type": "llava", "image_token_index": 5, "projector_hidden_act": "silu"}),
            "projector_hidden_act",
        ),
        (
            json!({"model_type": "llava", "image_token_index": 5, "mm_projector_type": "mlp0x_gelu"}),
            "mm_projector_type",
        ),
        (
            json!({"model_type": "llava", "image_token_index": 5, "mm_projector_type": "mlp99x_gelu"}),
            "mm_projector_type",
        ),
        (
            json!({"model_type": "llava", "image_token_index": 5, "mm_projector_type": "mlp+2x_gelu"}),
            "mm_projector_type",
        ),
        (
            json!({"model_type": "llava", "image_token_index": 5, "input_side": 224}),
            "input_side",
        ),
        (
            json!({"model_type": "llava", "quantization_config": {"bits": 4}}),
            "quantization_config",
        ),
        (
            json!({"model_type": "llava", "mm_vision_tower": "openai/clip"}),
            "original LLaVA",
        ),
        (
            json!({"model_type": "llama", "partial_rotary_factor": 0.5}),
            "partial_rotary_factor is 0.5",
        ),
        (
            json!({"model_type": "llama", "rope_scaling": {"type": "su"}}),
            "rope_scaling: type su",
        ),
        (
            json!({"model_type": "mistral", "sliding_window": 0}),
            "sliding_window is 0",
        ),
        (
            json!({"model_type": "qwen2", "layer_types": ["full_attention"]}),
            "layer_types",
        ),
        (
            json!({"model_type": "llama", "hidden_act": "gelu"}),
            "hidden_act",
        ),
    ];
    for (value, word) in cases {
        let refused = refusal(&value);
        assert!(refused.contains(word), "{value}: {refused}");
    }
}

#[test]
fn a_dinov2_folder_is_shown_images_of_the_side_its_processor_makes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = golden("families/dinov2_interpolated");
    std::fs::copy(folder.join("config.json"), dir.path().join("config.json")).unwrap();
    let read = |processor: Option<Value>| {
        let path = dir.path().join("preprocessor_config.json");
        match processor {
            Some(value) => std::fs::write(path, value.to_string()).unwrap(),
            None => drop(std::fs::remove_file(path)),
        }
        LlavaConfig::read(dir.path()).map_err(|e| e.to_string())
    };
    let side = |processor| {
        let config = read(processor).unwrap();
        (config.image_side(), config.image_tokens())
    };
    assert_eq!(side(None), (14, 9));
    assert_eq!(side(Some(json!({"crop_size": 20, "size": 30}))), (20, 25));
    let uncropped =
        json!({"do_center_crop": false, "crop_size": 20, "size": {"height": 17, "width": 17}});
    assert_eq!(side(Some(uncropped)), (17, 16));
    assert_eq!(side(Some(json!({"size": {"shortest_edge": 9}}))), (9, 4));
    for (processor, word) in [
        (json!({"crop_size": {"height": 20, "width": 24}}), "squares"),
        (json!({"crop_size": 1 << 20}), "input_side"),
        (json!({"crop_size": 3}), "smaller than a patch"),
        (json!({"crop_size": -4}), "input_side"),
    ] {
        let refused = read(Some(processor)).unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
    // Other towers have positions for one side only, and keep to it.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("families/siglip/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    std::fs::write(
        dir.path().join("preprocessor_config.json"),
        json!({"crop_size": 20}).to_string(),
    )
    .unwrap();
    assert_eq!(LlavaConfig::read(dir.path()).unwrap().image_side(), 14);
}

/// The fields of `liuhaotian/llava-v1.5-7b` that matter, at a smaller size.
fn original() -> Value {
    json!({
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "vocab_size": 48,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_scaling": null,
        "pad_token_id": 0,
        "freeze_mm_mlp_adapter": false,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": 16,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": false,
        "mm_use_im_start_end": false,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "tune_mm_mlp_adapter": false,
    })
}

fn tower(family: &str) -> VisionConfig {
    let config = LlavaConfig::read(&golden(&format!("families/{family}"))).unwrap();
    config.vision_config.unwrap()
}

#[test]
fn an_original_llava_config_means_what_its_code_does_with_it() {
    let read = |change: &[(&str, Value)], family: &str| {
        let mut value = original();
        for (name, field) in change {
            value[*name] = field.clone();
        }
        assert!(LlavaConfig::is_original(&value));
        LlavaConfig::from_original(&value, tower(family))
    };
    let config = read(&[], "smollm").unwrap();
    assert_eq!(config.text_config.model_type, "llama");
    assert_eq!(config.text_config.rms_norm_eps, 1e-5);
    assert_eq!(config.vision_feature_layer, -2);
    assert_eq!(
        config.vision_feature_select_strategy,
        FeatureSelect::Default
    );
    assert_eq!(
        (config.projector_layers(), config.image_tokens()),
        (Some(2), 9)
    );
    assert_eq!(
        (config.image_token_index, config.pad_token_id),
        (48, Some(0))
    );
    assert_eq!(config.image_aspect_ratio, "pad");
    // It can be built, and written as a llava-hf folder's.
    Llava::new(&config, 1, Device::Cpu).unwrap();
    assert_eq!(parse(&config.to_json().unwrap()), config);

    let mut bare = original();
    for absent in [
        "mm_projector_type",
        "mm_vision_select_feature",
        "image_aspect_ratio",
    ] {
        drop(bare.as_object_mut().unwrap().remove(absent));
    }
    let bare = LlavaConfig::from_original(&bare, tower("smollm")).unwrap();
    assert_eq!(
        (bare.projector_layers(), bare.image_aspect_ratio.as_str()),
        (Some(1), "square")
    );

    let whole = read(
        &[("mm_vision_select_feature", json!("cls_patch"))],
        "smollm",
    )
    .unwrap();
    assert_eq!(whole.image_tokens(), 10);
    // SigLIP has no class token to drop.
    assert_eq!(read(&[], "siglip").unwrap().image_tokens(), 9);
    let qwen = read(&[("model_type", json!("llava_qwen"))], "siglip").unwrap();
    assert_eq!(qwen.text_config.model_type, "qwen2");
    let mistral = read(&[("model_type", json!("llava_mistral"))], "smollm").unwrap();
    assert_eq!(mistral.text_config.sliding_window, Some(4096));

    for (name, field, word) in [
        ("model_type", json!("llava_mpt"), "model_type is llava_mpt"),
        ("mm_hidden_size", json!(1024), "mm_hidden_size is 1024"),
        ("mm_use_im_start_end", json!(true), "mm_use_im_start_end"),
        (
            "image_aspect_ratio",
            json!("anyres"),
            "image_aspect_ratio is anyres",
        ),
        ("mm_projector_type", json!("identity"), "mm_projector_type"),
        (
            "mm_vision_select_layer",
            json!("last"),
            "mm_vision_select_layer is \"last\"",
        ),
        ("mm_vision_select_layer", json!(-9), "vision_feature_layer"),
        (
            "mm_vision_select_feature",
            json!("cls"),
            "mm_vision_select_feature is cls",
        ),
        ("s2", json!(true), "s2"),
        ("hidden_size", json!(1i64 << 40), "text_config.hidden_size"),
    ] {
        let refused = read(&[(name, field)], "smollm").unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    assert!(LlavaConfig::from_original(&json!([1]), tower("smollm")).is_err());
}

/// Values that a broken or hostile file may have anywhere; those that JSON keeps bit for bit.
fn any_field() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![-(1i64 << 62), 1 << 62, 1 << 40, 1 << 31]).prop_map(Value::from),
        (-2i64..40).prop_map(Value::from),
        prop::sample::select(vec![0.0, -1.5, 0.5, 1e20, 1e-20]).prop_map(Value::from),
        prop::sample::select(vec![
            "linear",
            "dynamic",
            "yarn",
            "llama3",
            "mlp4x_gelu",
            "mistral",
            "dinov2"
        ])
        .prop_map(Value::from),
        Just(json!([1, "x", null])),
        Just(json!({"type": "yarn", "factor": 1e-20, "beta_fast": 1e20})),
        Just(json!({"rope_type": "dynamic", "factor": 1e20})),
    ]
}

/// All places of a JSON value, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Value::Object(fields) = value {
        for (name, field) in fields {
            let here = format!("{at}/{name}");
            places(field, &here, found);
            found.push(here);
        }
    }
}

/// Of the goldens, one of each kind of fields.
const FAMILIES: [&str; 5] = [
    "dinov2_swiglu",
    "siglip",
    "mistral_window",
    "qwen2_tied_text",
    "llama_yarn_text",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_field_makes_a_config_panic_and_what_passes_can_be_written(
        family in prop::sample::select(&FAMILIES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_field()), 1..4),
    ) {
        let text = std::fs::read_to_string(golden("families").join(family).join("config.json")).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        for (at, field) in changes {
            let mut all = Vec::new();
            places(&value, "", &mut all);
            let place: &String = at.get(&all);
            *value.pointer_mut(place).unwrap() = field;
        }
        if let Ok(config) = LlavaConfig::parse(&value.to_string()) {
            let written = config.to_json().unwrap().to_string();
            prop_assert_eq!(LlavaConfig::parse(&written).unwrap(), config);
        }
        let _ = VisionConfig::parse(&value);
        let mut flat = original();
        if let (Value::Object(to), Value::Object(from)) = (&mut flat, value) {
            to.extend(from);
        }
        let _ = LlavaConfig::from_original(&flat, tower("smollm"));
    }
}
