//! LLaVA: a vision tower (CLIP, SigLIP, DINOv2), a projector and a decoder (LLaMA, Mistral, Qwen2),
//! from pixels to text; and the ViT classifier that grades images.
//!
//! The numbers are those of Hugging Face's `LlavaForConditionalGeneration`, and so are the
//! checkpoint folders: what is trained here loads there, and the reverse. Training builds on the
//! pieces ([`Llava::image_features`], [`Llava::embed`], [`Llava::decode`], [`Llava::logits`]);
//! answering questions is [`Generator`].
//!
//! Weights are kept in f32 and cast to [`Llava::compute`] where they are used, so that an optimiser
//! always updates full-precision values.

mod checkpoint;
mod config;
mod conversation;
mod cpu;
mod decoder;
mod encoder;
mod generate;
pub mod gguf;
mod kv_cache;
mod layers;
mod llava;
mod logits;
mod lora;
mod nf4;
mod parameters;
mod placement;
mod precision;
mod preprocess;
mod quantise;
mod rope;
mod tokenizer;
mod trainable;
mod vision;
mod vit;
mod vit_config;
mod weights;

pub use checkpoint::{
    CardAncestor, CardData, CardScore, Checkpoint, Composition, LoadOptions, ModelCard, WeightKind,
};
pub use config::{FeatureSelect, LlavaConfig, TextConfig, TokenIds, VisionConfig};
pub use conversation::{
    ChatTemplate, ConversationTokens, Part, PromptForm, Speaker, Template, Turn,
    conversation_tokens,
};
pub use decoder::Rows;
pub use generate::{
    Constraint, ConstraintState, Engine, EngineCounts, EngineLimits, Event, Finish, Formed,
    GenerateOptions, Generated, Generator, Logprobs, PrefillCounts, Prepared, PromptTokens,
    Prompter, Request, RequestId, Said, Sampling, TokenLogprob,
};
pub use kv_cache::{Extension, KvCache, Segment};
pub use llava::{FrozenTower, Llava, merge_image_features};
pub use logits::write_logits;
pub use lora::Adapter;
pub use placement::Placement;
pub use precision::{Precision, cpu_has_bf16};
pub use preprocess::{CLIP_MEAN, CLIP_STD, Fit, Pixels, Preprocessor, Resample};
pub use quantise::Quantisation;
pub use tokenizer::{
    IMAGE_PLACEHOLDER, SPECIAL_TOKENS, SpecialTokens, Tokenizer, sentencepiece, train_bpe,
};
pub use trainable::ModelPart;
pub use vit::Vit;
pub use vit_config::VitConfig;
pub use weights::LoadReport;

use std::path::PathBuf;

/// What can go wrong between a folder, an image and an answer; every variant says where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, paths, interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// libtorch refused; the first line of what it said.
    #[error("libtorch: {0}")]
    Torch(String),
    /// A configuration that cannot be built.
    #[error("model configuration: {0}")]
    Config(String),
    /// A weights file that is not what its name says.
    #[error("{path}: {detail}")]
    Weights {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// A tensor that does not fit.
    #[error("{path}: tensor {name}: {detail}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A tokenizer that cannot be read, trained or used with this model.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// An image that cannot be shown to the model.
    #[error("{path}: {fault}")]
    Image {
        /// The image file.
        path: PathBuf,
        /// Why not.
        fault: sample::pixels::Fault,
    },
    /// Tensors or tokens that do not belong together.
    #[error("{0}")]
    Shape(String),
    /// A JSON schema that replies cannot be held to.
    #[error("the reply's JSON schema: {0}")]
    Schema(String),
    /// A request that this model does not answer.
    #[error("{detail}")]
    Unanswerable {
        /// The kind of reason.
        why: Unanswerable,
        /// What is wrong, and what to do.
        detail: String,
    },
}

/// Why a request is not answered: who asked can do something about each, but not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// It cannot be meant: settings without meaning, images that are not those that are shown.
    Meaningless,
    /// The prompt is longer than the model's context.
    Context,
    /// Prompt and reply take more memory than the engine may use.
    Memory,
}

impl Unanswerable {
    pub(crate) fn error(self, detail: String) -> Error {
        Error::Unanswerable { why: self, detail }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // libtorch appends its C++ stack after the first line; it means nothing to a user.
        let text = error.to_string();
        Error::Torch(text.lines().next().unwrap_or_default().to_owned())
    }
}
