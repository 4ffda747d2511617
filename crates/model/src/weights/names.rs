//! Foreign tensor names to the model's own.
//!
//! The model's names are those that published `llava-hf` folders use. transformers later moved its
//! parts below `model.`; the original LLaVA code adds its parts to a decoder's own names; decoders
//! alone have those names and nothing else; vision towers in folders of their own lack the prefix
//! that LLaVA gives them. One table tells the first three apart, because no name has two readings.

/// Prefixes, the longer before the shorter.
const PREFIXES: [(&str, &str); 7] = [
    // transformers since 4.52.
    ("model.language_model.", "language_model.model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    // The original code's tower is a wrapper around transformers' one.
    ("model.vision_tower.vision_tower.", "vision_tower."),
    ("model.vision_tower.", "vision_tower."),
    // The original code's projector is handled below: its layers are counted differently.
    ("model.mm_projector.", "mm_projector."),
    // Decoders alone, and the original code's decoder.
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
];

/// The model's name for a tensor, or `None` for buffers that are computed here.
pub(crate) fn internal_name(name: &str) -> Option<String> {
    if is_buffer(name) {
        return None;
    }
    let renamed = PREFIXES
        .iter()
        .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
        .unwrap_or_else(|| name.to_owned());
    Some(match renamed.strip_prefix("mm_projector.") {
        Some(rest) => projector_name(rest).unwrap_or(renamed),
        None => renamed,
    })
}

/// The name of a tensor or module in present versions of transformers: of `LlavaForConditionalGeneration`
/// where the model sees, and else of its decoder alone.
pub(crate) fn published_name(name: &str, sees: bool) -> String {
    if let Some(rest) = name.strip_prefix("language_model.lm_head") {
        return format!("lm_head{rest}");
    }
    match name.strip_prefix("language_model.model.") {
        Some(rest) if sees => format!("model.language_model.{rest}"),
        Some(rest) => format!("model.{rest}"),
        None => format!("model.{name}"),
    }
}

/// The model's name for a tensor of a vision tower's own folder. What is not part of a tower (the
/// text half of CLIP and SigLIP) keeps its name, which no model has.
pub(crate) fn tower_name(name: &str) -> Option<String> {
    if is_buffer(name) {
        return None;
    }
    let bare = name.strip_prefix("dinov2.").unwrap_or(name);
    let parts = ["vision_model.", "embeddings.", "encoder.", "layernorm."];
    Some(if parts.iter().any(|part| bare.starts_with(part)) {
        format!("vision_tower.{bare}")
    } else {
        name.to_owned()
    })
}

/// Values that follow from the configuration; some checkpoints carry them.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".position_ids") || name.ends_with("rotary_emb.inv_freq")
}

/// `0.weight`, `2.weight`, ... of an MLP whose GELUs are counted as layers, or `weight` of a single
/// linear layer.
fn projector_name(rest: &str) -> Option<String> {
    let (layer, leaf) = match rest.split_once('.') {
        None => (1, rest),
        Some((index, leaf)) => {
            let index: usize = index.parse().ok()?;
            if !index.is_multiple_of(2) {
                return None;
            }
            (index / 2 + 1, leaf)
        }
    };
    ["weight", "bias"]
        .contains(&leaf)
        .then(|| format!("multi_modal_projector.linear_{layer}.{leaf}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_naming_ends_in_the_models_own() {
        let cases = [
            (
                "language_model.model.norm.weight",
                "language_model.model.norm.weight",
            ),
            (
                "language_model.lm_head.weight",
                "language_model.lm_head.weight",
            ),
            (
                "model.language_model.norm.weight",
                "language_model.model.norm.weight",
            ),
            ("model.norm.weight", "language_model.model.norm.weight"),
            (
                "model.layers.3.mlp.up_proj.weight",
                "language_model.model.layers.3.mlp.up_proj.weight",
            ),
            ("lm_head.weight", "language_model.lm_head.weight"),
            ("vision_tower.vision_model.x", "vision_tower.vision_model.x"),
            (
                "model.vision_tower.vision_model.x",
                "vision_tower.vision_model.x",
            ),
            (
                "model.vision_tower.vision_tower.vision_model.x",
                "vision_tower.vision_model.x",
            ),
            (
                "model.multi_modal_projector.linear_1.bias",
                "multi_modal_projector.linear_1.bias",
            ),
            (
                "model.mm_projector.0.weight",
                "multi_modal_projector.linear_1.weight",
            ),
            (
                "model.mm_projector.2.bias",
                "multi_modal_projector.linear_2.bias",
            ),
            (
                "model.mm_projector.4.bias",
                "multi_modal_projector.linear_3.bias",
            ),
            (
                "model.mm_projector.weight",
                "multi_modal_projector.linear_1.weight",
            ),
            ("mm_projector.bias", "multi_modal_projector.linear_1.bias"),
            ("model.mm_projector.1.bias", "mm_projector.1.bias"),
        ];
        for (name, expected) in cases {
            assert_eq!(internal_name(name).as_deref(), Some(expected), "{name}");
        }
        for buffer in [
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "vision_model.embeddings.position_ids",
        ] {
            assert_eq!(internal_name(buffer), None);
            assert_eq!(tower_name(buffer), None);
        }
    }

    #[test]
    fn published_names_come_back_as_the_models_own() {
        for name in [
            "language_model.model.layers.1.mlp.up_proj",
            "language_model.lm_head.weight",
            "vision_tower.vision_model.post_layernorm.bias",
            "multi_modal_projector.linear_2.weight",
        ] {
            assert_eq!(
                internal_name(&published_name(name, true)).as_deref(),
                Some(name)
            );
        }
        let alone = "language_model.model.norm.weight";
        assert_eq!(published_name(alone, false), "model.norm.weight");
    }

    #[test]
    fn a_towers_own_folder_gives_tower_tensors_and_nothing_else() {
        let cases = [
            (
                "vision_model.post_layernorm.bias",
                "vision_tower.vision_model.post_layernorm.bias",
            ),
            (
                "encoder.layer.0.norm1.weight",
                "vision_tower.encoder.layer.0.norm1.weight",
            ),
            (
                "dinov2.embeddings.cls_token",
                "vision_tower.embeddings.cls_token",
            ),
            (
                "text_model.encoder.layers.0.mlp.fc1.bias",
                "text_model.encoder.layers.0.mlp.fc1.bias",
            ),
            ("logit_scale", "logit_scale"),
        ];
        for (name, expected) in cases {
            assert_eq!(tower_name(name).as_deref(), Some(expected), "{name}");
        }
    }
}
