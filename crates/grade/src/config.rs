//! What the `[grade]` section of a run's configuration may say.
//!
//! Defaults are the paper's values where it has one (section 2): ViT at learning rate 2e-4 for 5
//! epochs, 10,000 labelled images, two towers. Where it has none, or where a small ViT is trained
//! from scratch in place of the published ViT-L/16, the field says so.

use std::path::PathBuf;

use model::{Precision, VitConfig};
use serde::{Deserialize, Serialize};

use crate::Error;

/// How images are graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradeConfig {
    /// A trained grader, as an earlier run left it in `grade/model`: images are graded with it and
    /// nothing is trained.
    pub model: Option<PathBuf>,
    /// A Hugging Face folder of a ViT to fine-tune, `google/vit-large-patch16-224` in the paper.
    /// Without it a small ViT is trained from scratch, see `fresh`.
    pub base: Option<PathBuf>,
    /// Where the labels come from.
    pub labels: LabelSource,
    /// The CSV file, for `labels = "csv"`: columns `image` (path in the table, or SHA-256),
    /// `clarity` and `complexity`, either of which may be empty.
    pub csv: Option<PathBuf>,
    /// At most so many images are labelled by the teacher or taken with their sources' labels, drawn
    /// uniformly (paper: 10,000). A CSV is taken whole.
    pub label_images: usize,
    /// Who labels, with `labels = "teacher"`: the name of a `[teachers.NAME]` section.
    pub teacher: String,
    /// How often the teacher is asked again where its reply cannot be used.
    pub retries: u32,
    /// Two towers (paper), or one with both heads: half the cost.
    pub heads: Heads,
    /// Peak learning rate of fine-tuning `base` (paper: 2e-4).
    pub lr: f64,
    /// Passes over the labelled images (paper: 5).
    pub epochs: u32,
    /// Images in a training step (the paper does not say).
    pub batch_size: usize,
    /// Share of the steps in which the learning rate rises (the paper does not say).
    pub warmup_ratio: f64,
    /// Decoupled weight decay (the paper does not say).
    pub weight_decay: f64,
    /// Gradients longer than this are scaled down to it; 0 for never.
    pub clip: f64,
    /// Share of the labelled images that is held out to measure the grader, of each class alike.
    pub holdout: f64,
    /// Kinds of degradation that are never trained on and are measured on their own. Drawn figures
    /// say how they were degraded: `blur`, `noise`, `jpeg`, `down_scale`, `low_contrast`,
    /// `occlusion`.
    pub heldout_kinds: Vec<String>,
    /// For each clear training image, the chance that a copy of it, degraded on the spot, is
    /// trained on as unclear (the paper has none).
    pub degraded_copies: f64,
    /// The type of the matrix products.
    pub precision: Precision,
    /// Threads of the tensor library. It splits its sums by them, so they are a setting.
    pub threads: usize,
    /// Images graded in one pass.
    pub grading_batch: usize,
    /// Replace the grades that sources state of their own images. By default those stay, with the
    /// probability the grader gives them.
    pub regrade: bool,
    /// The small ViT that is trained where there is no `base`.
    pub fresh: FreshVit,
}

impl Default for GradeConfig {
    fn default() -> Self {
        GradeConfig {
            model: None,
            base: None,
            labels: LabelSource::Source,
            csv: None,
            label_images: 10_000,
            teacher: String::new(),
            retries: 2,
            heads: Heads::Separate,
            lr: 2e-4,
            epochs: 5,
            batch_size: 32,
            warmup_ratio: 0.1,
            weight_decay: 0.0,
            clip: 1.0,
            holdout: 0.1,
            heldout_kinds: Vec::new(),
            degraded_copies: 0.0,
            precision: Precision::Auto,
            threads: 2,
            grading_batch: 32,
            regrade: false,
            fresh: FreshVit::default(),
        }
    }
}

/// Who says what is clear and complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelSource {
    /// The data: drawn figures know their labels.
    Source,
    /// A CSV file.
    Csv,
    /// A multimodal model, asked as in the paper.
    Teacher,
}

/// How many towers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Heads {
    /// One for each criterion, as in the paper.
    Separate,
    /// One for both.
    Shared,
}

/// The shape and learning rate of a ViT trained from scratch. None of it is the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshVit {
    /// Side of the square input, in pixels.
    pub image_size: i64,
    /// Side of a patch, in pixels.
    pub patch_size: i64,
    /// Width.
    pub hidden: i64,
    /// Layers.
    pub layers: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width inside the MLP.
    pub mlp: i64,
    /// Standard deviation of the random weights: larger than a published ViT's 0.02, because a
    /// narrow one would begin with hardly any signal.
    pub initializer_range: f64,
    /// Peak learning rate, in place of `lr`: random weights need larger steps than trained ones.
    pub lr: f64,
}

impl Default for FreshVit {
    fn default() -> Self {
        FreshVit {
            image_size: 96,
            patch_size: 12,
            hidden: 128,
            layers: 4,
            heads: 4,
            mlp: 512,
            initializer_range: 0.05,
            lr: 1e-3,
        }
    }
}

impl FreshVit {
    /// As a ViT for `labels`.
    pub fn vit(&self, labels: Vec<String>) -> VitConfig {
        VitConfig {
            hidden_size: self.hidden,
            intermediate_size: self.mlp,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            image_size: self.image_size,
            patch_size: self.patch_size,
            initializer_range: self.initializer_range,
            labels,
            ..VitConfig::default()
        }
    }
}

impl GradeConfig {
    /// Refuses values that cannot work, before any work is done.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config(what));
        let shares = [
            ("warmup_ratio", self.warmup_ratio),
            ("holdout", self.holdout),
            ("degraded_copies", self.degraded_copies),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return wrong(format!("{name} = {share}: give a share from 0 to 1"));
            }
        }
        if self.holdout >= 1.0 {
            return wrong("holdout = 1 leaves nothing to train on".to_owned());
        }
        for (name, rate) in [("lr", self.lr), ("fresh.lr", self.fresh.lr)] {
            if !(rate > 0.0 && rate.is_finite()) {
                return wrong(format!("{name} = {rate}: give a positive learning rate"));
            }
        }
        for (name, value) in [("weight_decay", self.weight_decay), ("clip", self.clip)] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(format!("{name} = {value}: give 0 or more"));
            }
        }
        let counts = [
            ("label_images", self.label_images),
            ("epochs", self.epochs as usize),
            ("batch_size", self.batch_size),
            ("grading_batch", self.grading_batch),
            ("threads", self.threads),
        ];
        for (name, count) in counts {
            if count == 0 {
                return wrong(format!("{name} = 0: give at least 1"));
            }
        }
        for kind in &self.heldout_kinds {
            if !sample::degrade::KINDS.contains(&kind.as_str()) {
                return wrong(format!(
                    "heldout_kinds: {kind:?} is not one of {}",
                    sample::degrade::KINDS.join(", ")
                ));
            }
        }
        if self.labels == LabelSource::Csv && self.csv.is_none() && self.model.is_none() {
            return wrong("labels = \"csv\" needs csv = \"FILE\"".to_owned());
        }
        self.fresh
            .vit(crate::Criterion::Complexity.labels())
            .validate()?;
        Ok(())
    }

    /// The peak learning rate of this training.
    pub fn peak_lr(&self) -> f64 {
        if self.base.is_some() {
            self.lr
        } else {
            self.fresh.lr
        }
    }
}
