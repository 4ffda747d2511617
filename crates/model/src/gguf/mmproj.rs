//! The vision tower and its projector as llama.cpp's multimodal library loads them: an `mmproj`
//! file of architecture `clip`.
//!
//! llama.cpp's LLaVA graph takes the output of a chosen layer and applies the tower's last norm
//! where the file has one. LLaVA does not apply it, so it is left out. Its activations are
//! approximations (the tanh form of GELU, tables in f16): features agree to about three digits in
//! those of its versions that put the class token first. Since its graphs were refactored in 2025 it
//! puts that token last, whose output then stands for a patch; no file can mend that.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::block::Block;
use super::write::{GgufType, Out, Put, write_file};
use crate::{Error, FeatureSelect, Llava, Preprocessor, VisionConfig};

/// Of the tower as a whole: GGUF's name, the model's below `vision_tower.vision_model.`.
const WHOLE: [(&str, &str); 5] = [
    ("v.class_embd", "embeddings.class_embedding"),
    ("v.patch_embd.weight", "embeddings.patch_embedding.weight"),
    (
        "v.position_embd.weight",
        "embeddings.position_embedding.weight",
    ),
    ("v.pre_ln.weight", "pre_layrnorm.weight"),
    ("v.pre_ln.bias", "pre_layrnorm.bias"),
];

/// Of each layer, below `v.blk.N.` and `encoder.layers.N.`.
const LAYER: [(&str, &str); 8] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_out", "self_attn.out_proj"),
    ("ln1", "layer_norm1"),
    ("ln2", "layer_norm2"),
    ("ffn_up", "mlp.fc1"),
    ("ffn_down", "mlp.fc2"),
];

/// Writes tower and projector in f16 (norms, biases and positions in f32).
///
/// # Errors
/// Models without a CLIP tower, or whose image tokens llama.cpp would not compute: with the class
/// token among them, or through another projector than one or two linear layers.
pub fn write_mmproj(model: &Llava, preprocessor: &Preprocessor, out: &Path) -> Result<(), Error> {
    let config = model.config();
    let refuse = |detail: &str| Error::Config(format!("no mmproj can be written: {detail}"));
    let Some(vision) = &config.vision_config else {
        return Err(refuse("the model reads text only"));
    };
    if vision.model_type != "clip_vision_model" {
        return Err(refuse("llama.cpp's LLaVA has CLIP towers only"));
    }
    if config.vision_feature_select_strategy != FeatureSelect::Default {
        return Err(refuse(
            "llama.cpp drops the class token, this model keeps it",
        ));
    }
    let layers = config.vision_layers_used();
    if layers < 1 {
        return Err(refuse("the projector reads the tower's embeddings"));
    }
    let mut tensors = Vec::new();
    let mut projectors = 0;
    for (name, tensor) in model.parameters() {
        let (name, is_projector) = match tower_name(name) {
            Some(name) => (name, false),
            None => match projector_name(name) {
                Some(name) => (name, true),
                None => continue,
            },
        };
        let position = name.starts_with("v.position_embd");
        tensors.push(Out {
            block: if position {
                Block::F32
            } else {
                GgufType::F16.block(&tensor.size())
            },
            tensor: tensor.shallow_clone(),
            heads: None,
            name: name.clone(),
        });
        if is_projector && name.ends_with(".weight") {
            projectors += 1;
            let bias = name.replace(".weight", ".bias");
            if !config.multimodal_projector_bias {
                let width = tensor.size()[0];
                tensors.push(Out {
                    name: bias,
                    // llama.cpp adds one always.
                    tensor: Tensor::f_zeros([width], (Kind::Float, Device::Cpu))?,
                    block: Block::F32,
                    heads: None,
                });
            }
        }
    }
    if !(1..=2).contains(&projectors) {
        return Err(refuse("its projector has more than two layers"));
    }
    let metadata = metadata(model, vision, layers, preprocessor)?;
    write_file(out, &metadata, &tensors)
}

fn metadata(
    model: &Llava,
    vision: &VisionConfig,
    layers: i64,
    preprocessor: &Preprocessor,
) -> Result<Vec<(String, Put)>, Error> {
    let text = |value: &str| Put::Text(value.to_owned());
    let floats = |values: [f64; 3]| Put::F32s(values.iter().map(|&v| v as f32).collect());
    let mut list = vec![
        ("general.architecture", text("clip")),
        ("general.type", text("mmproj")),
        ("general.file_type", Put::U32(1)),
        ("general.quantization_version", Put::U32(2)),
        ("clip.has_vision_encoder", Put::Bool(true)),
        ("clip.has_llava_projector", Put::Bool(true)),
        ("clip.projector_type", text("mlp")),
        // Neither is CLIP's own x * sigmoid(1.702 x).
        ("clip.use_gelu", Put::Bool(vision.hidden_act == "gelu")),
        ("clip.use_silu", Put::Bool(false)),
        (
            "clip.vision.attention.layer_norm_epsilon",
            Put::F32(vision.layer_norm_eps as f32),
        ),
        ("clip.vision.image_mean", floats(preprocessor.mean)),
        ("clip.vision.image_std", floats(preprocessor.std)),
    ];
    for (name, size) in [
        ("clip.vision.image_size", vision.image_size),
        ("clip.vision.patch_size", vision.patch_size),
        ("clip.vision.embedding_length", vision.hidden_size),
        ("clip.vision.feed_forward_length", vision.intermediate_size),
        ("clip.vision.block_count", vision.num_hidden_layers),
        (
            "clip.vision.attention.head_count",
            vision.num_attention_heads,
        ),
        (
            "clip.vision.projection_dim",
            model.config().text_config.hidden_size,
        ),
    ] {
        let size = u32::try_from(size)
            .map_err(|_| Error::Config(format!("{name} {size} does not fit GGUF")))?;
        list.push((name, Put::U32(size)));
    }
    // Without it llama.cpp takes the layer before the last that the file has.
    let layers = i32::try_from(layers).unwrap_or(i32::MAX);
    list.push(("clip.vision.feature_layer", Put::I32s(vec![layers])));
    Ok(list
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// GGUF's name for a tensor of the tower that LLaVA uses.
fn tower_name(name: &str) -> Option<String> {
    let bare = name.strip_prefix("vision_tower.vision_model.")?;
    if let Some((gguf, _)) = WHOLE.iter().find(|(_, model)| *model == bare) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = bare.strip_prefix("encoder.layers.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let (gguf, _) = LAYER.iter().find(|(_, model)| *model == part)?;
    Some(format!("v.blk.{layer}.{gguf}.{kind}"))
}

/// GGUF's name for a tensor of the projector, which counts the activation between as a layer.
fn projector_name(name: &str) -> Option<String> {
    let (layer, kind) = name
        .strip_prefix("multi_modal_projector.linear_")?
        .split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    Some(format!("mm.{}.{kind}", layer.checked_sub(1)? * 2))
}
