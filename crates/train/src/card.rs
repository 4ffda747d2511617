//! What the trained model's folder says of itself.

use std::collections::{BTreeMap, BTreeSet};

use fit::Best;
use model::{CardAncestor, CardData, CardScore, ModelCard};
use sample::StageKey;

use crate::config::{ClipBy, Packing, Update, Weights};
use crate::data::Data;
use crate::start::Base;
use crate::{TrainConfig, tree};

/// The card of a model that was trained on `data` in `steps` steps. `adapter` is for the folder of a
/// low-rank adapter.
pub fn card(
    config: &TrainConfig,
    key: &StageKey,
    data: &Data,
    base: Option<&Base>,
    (steps, best): (u64, Option<Best>),
    adapter: bool,
) -> ModelCard {
    let parts = || base.iter().flat_map(|base| &base.parts);
    let mut lineage: Vec<CardAncestor> = parts()
        .map(|part| CardAncestor {
            part: part.part.to_owned(),
            name: part.path.display().to_string(),
            digest: part.digest.clone(),
        })
        .collect();
    lineage.push(CardAncestor {
        part: "training data".to_owned(),
        name: "all pairs and images".to_owned(),
        digest: data.digest(),
    });
    lineage.extend(
        key.inputs
            .iter()
            .filter(|(name, _)| *name != "base")
            .map(|(name, digest)| CardAncestor {
                part: "training data".to_owned(),
                name: name.clone(),
                digest: digest.clone(),
            }),
    );
    let scores = best.map(|best| CardScore {
        benchmark: "held-out questions of the training data".to_owned(),
        split: format!("{:.1}% of the images", 100.0 * config.holdout),
        metric: "accuracy".to_owned(),
        value: 100.0 * best.score,
        ..CardScore::default()
    });
    ModelCard {
        title: match (adapter, base) {
            (true, _) => "Math-LLaVA adapter".to_owned(),
            (false, Some(_)) => "Math-LLaVA".to_owned(),
            (false, None) => "Math-LLaVA, trained from scratch".to_owned(),
        },
        path: Some("path/to/this/folder".to_owned()),
        summary: format!(
            "A LLaVA model trained for {steps} steps on {} question-answer pairs about {} images, by \
             the recipe of Math-LLaVA (arXiv 2406.17294) as the table says.",
            data.examples.len(),
            data.images.len(),
        ),
        base_models: parts()
            .map(|part| part.path.display().to_string())
            .collect(),
        adapter,
        data: sources(data),
        recipe: recipe(config, key.seed, steps),
        lineage,
        scores: scores.into_iter().collect(),
        limits: vec![
            "Answers may be wrong and are not checked; the model was trained for questions about \
             mathematical images and knows little else."
                .to_owned(),
        ],
        versions: vec![(
            "math-llava".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        )],
        ..ModelCard::default()
    }
}

/// What was trained on, by data set.
fn sources(data: &Data) -> Vec<CardData> {
    let mut counts: BTreeMap<&str, (u64, BTreeSet<&str>)> = BTreeMap::new();
    for example in &data.examples {
        let (pairs, images) = counts.entry(&example.source).or_default();
        *pairs += 1;
        images.extend(example.image.as_ref().map(|image| image.path.as_str()));
    }
    counts
        .into_iter()
        .map(|(name, (pairs, images))| CardData {
            name: name.to_owned(),
            pairs,
            images: images.len() as u64,
            ..CardData::default()
        })
        .collect()
}

fn recipe(config: &TrainConfig, seed: u64, steps: u64) -> Vec<(String, String)> {
    let frozen = |frozen: bool| if frozen { "frozen" } else { "trained" };
    let decoder = match &config.lora {
        Some(lora) => format!(
            "LoRA of rank {}, alpha {}, dropout {}{}",
            lora.rank,
            lora.alpha,
            lora.dropout,
            if lora.quantise_base {
                ", base in 4 bits"
            } else {
                ""
            }
        ),
        None => frozen(config.freeze_decoder).to_owned(),
    };
    let batch = match config.batch_images {
        0 => format!("{} pairs", config.batch_pairs),
        images => format!("{images} images with all their pairs"),
    };
    let rows = [
        ("vision tower", frozen(config.freeze_tower).to_owned()),
        ("projector", frozen(config.freeze_projector).to_owned()),
        ("decoder", decoder),
        (
            "learning rate",
            format!("{:e}, {:?}", config.lr, config.schedule).to_lowercase(),
        ),
        ("warm-up", format!("{} of the steps", config.warmup_ratio)),
        (
            "optimiser",
            format!(
                "AdamW {:?}, eps {:e}, weight decay {}",
                config.betas, config.eps, config.weight_decay
            ),
        ),
        (
            "weights and moments",
            format!(
                "{}, {:?}",
                match config.optimiser.weights {
                    Weights::Float32 => "f32",
                    Weights::Bfloat16 => "bf16 with stochastic rounding",
                },
                config.optimiser.states
            )
            .to_lowercase(),
        ),
        (
            "updates",
            match config.update {
                Update::Accumulate => "of all layers together".to_owned(),
                Update::Layerwise => "layer by layer".to_owned(),
            },
        ),
        (
            "clipping",
            format!(
                "{} by {}",
                config.clip,
                match config.clip_by {
                    ClipBy::Global => "the norm of all gradients",
                    ClipBy::Layer => "each layer's norm",
                    ClipBy::Previous => "the norm of the step before",
                }
            ),
        ),
        (
            "loss",
            match config.weighting {
                tree::Weighting::PerToken => "every labelled token alike".to_owned(),
                tree::Weighting::PerPair => "every pair alike".to_owned(),
            },
        ),
        (
            "packing",
            match config.packing {
                Packing::Tree => "prefix trees",
                Packing::Rows => "rows",
                Packing::None => "none",
            }
            .to_owned(),
        ),
        ("batch", batch),
        ("epochs", config.epochs.to_string()),
        ("steps", steps.to_string()),
        ("seed", seed.to_string()),
    ];
    rows.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
