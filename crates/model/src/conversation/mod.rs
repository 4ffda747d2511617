//! How the turns of a conversation, and its images, become one sequence of tokens.
//!
//! LLaVA-1.5's `v1` is Vicuna's form: a system sentence, then `USER: <image>\n... ASSISTANT:
//! ...</s>`. Text and labels are those of LLaVA's own training code ([`rounds`]); other forms are
//! Jinja templates ([`ChatTemplate`]), a folder's own or one of the published ones.
//!
//! **Invariant:** text between two images, or between an image and the end of a reply, is encoded as
//! one piece, so two conversations about one image have the same tokens up to where their texts
//! part. Packing and generation share that prefix.
//!
//! **Invariant:** only forms place special tokens. What a turn says is text, whatever it looks like.

mod chat_template;
mod jinja;
mod published;
mod rounds;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::tokenizer::special::json_file;
use crate::{Error, LlavaConfig, Tokenizer};

pub use chat_template::ChatTemplate;

/// The words around a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// LLaVA-1.5's: `conv_vicuna_v1` in LLaVA's `conversation.py`.
    #[default]
    V1,
    /// `v1` without its system sentence, for models too small to profit from it.
    Tiny,
    /// The image and its caption, nothing else: `conv_llava_plain`, with which LLaVA's projector is
    /// trained first. What the user says is left out.
    Plain,
    /// `<|im_start|>user\n...<|im_end|>`: Qwen2, SmolLM2.
    ChatMl,
    /// `[INST] ... [/INST]`.
    Llama2,
    /// `<|start_header_id|>user<|end_header_id|>\n\n...<|eot_id|>`.
    Llama3,
}

impl Template {
    /// All of them, by the names that configurations use.
    pub const ALL: [(&str, Template); 6] = [
        ("v1", Template::V1),
        ("tiny", Template::Tiny),
        ("plain", Template::Plain),
        ("chatml", Template::ChatMl),
        ("llama2", Template::Llama2),
        ("llama3", Template::Llama3),
    ];

    /// What stands before the image.
    pub fn opening(self) -> &'static str {
        match self {
            Template::V1 => {
                "A chat between a curious user and an artificial intelligence assistant. The \
                 assistant gives helpful, detailed, and polite answers to the user's questions. \
                 USER: "
            }
            Template::Tiny => "USER: ",
            Template::Plain => "",
            Template::ChatMl => "<|im_start|>user\n",
            Template::Llama2 => "[INST] ",
            Template::Llama3 => "<|start_header_id|>user<|end_header_id|>\n\n",
        }
    }

    /// What stands between the question and the reply.
    pub fn reply_mark(self) -> &'static str {
        match self {
            Template::V1 | Template::Tiny => " ASSISTANT:",
            Template::Plain => "",
            Template::ChatMl => "<|im_end|>\n<|im_start|>assistant\n",
            Template::Llama2 => " [/INST]",
            Template::Llama3 => "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        }
    }

    /// The same form for transformers' `apply_chat_template`.
    pub(crate) fn jinja(self) -> String {
        published::source(self)
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Sets the stage, once and first.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is: a literal `<image>` in it stays text.
    Text(String),
    /// The conversation's next image.
    Image,
}

/// One turn of a conversation, its parts in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub speaker: Speaker,
    /// What is said and shown.
    pub parts: Vec<Part>,
}

impl Turn {
    /// A turn of text alone.
    pub fn text(speaker: Speaker, text: impl Into<String>) -> Turn {
        Turn {
            speaker,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// A question about so many images, which come first.
    pub fn about(images: usize, text: impl Into<String>) -> Turn {
        let mut parts = vec![Part::Image; images];
        parts.push(Part::Text(text.into()));
        Turn {
            speaker: Speaker::User,
            parts,
        }
    }

    fn images(&self) -> usize {
        self.parts.iter().filter(|p| **p == Part::Image).count()
    }

    /// The texts, one after the other.
    fn words(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image => None,
        });
        texts.collect()
    }
}

/// How the turns of a conversation become one prompt.
#[derive(Debug, Clone)]
pub enum PromptForm {
    /// One of the published forms.
    Named(Template),
    /// A folder's own chat template.
    Jinja(ChatTemplate),
}

impl PromptForm {
    /// The form of a folder: the one this project's training wrote into `config.json`, else the
    /// folder's own chat template, else the `v1` of LLaVA.
    ///
    /// # Errors
    /// A chat template that is not Jinja; none at all where the model reads text only, since no
    /// form can be assumed then.
    pub fn of_folder(dir: &Path, config: &LlavaConfig) -> Result<PromptForm, Error> {
        let written = json_file(&dir.join("config.json"))?;
        if !written["conversation_template"].is_null() {
            return Ok(PromptForm::Named(config.conversation_template));
        }
        if let Some(template) = ChatTemplate::load(dir)? {
            return Ok(PromptForm::Jinja(template));
        }
        if config.vision_config.is_none() {
            return Err(Error::Config(format!(
                "{} has no chat template: name one with --template: {}",
                dir.display(),
                Template::ALL.map(|(name, _)| name).join(", ")
            )));
        }
        Ok(PromptForm::Named(Template::V1))
    }

    /// Tokens of a conversation in which each image takes `image_tokens`. Where `reply_follows`
    /// they end where the model begins its reply.
    ///
    /// # Errors
    /// Turns in an order that the form does not have, or images for a model that reads text only.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        image_tokens: usize,
        reply_follows: bool,
    ) -> Result<ConversationTokens, Error> {
        let most = usize::MAX;
        self.encode_within(tokenizer, turns, image_tokens, reply_follows, most)
    }

    /// [`PromptForm::encode`], cut to `max_length` tokens as LLaVA's training cuts them: from the
    /// end, in the middle of an image if need be.
    pub fn encode_within(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        image_tokens: usize,
        reply_follows: bool,
        max_length: usize,
    ) -> Result<ConversationTokens, Error> {
        if tokenizer.image.is_none() && turns.iter().any(|turn| turn.images() > 0) {
            return Err(Error::Tokenizer(
                "has no <image> token: this model reads text only".to_owned(),
            ));
        }
        let template = match self {
            PromptForm::Jinja(template) => {
                return template.encode(tokenizer, turns, image_tokens, reply_follows, max_length);
            }
            PromptForm::Named(template) => *template,
        };
        match template {
            Template::V1 | Template::Tiny => {
                let mut found =
                    rounds::encode(tokenizer, template, turns, reply_follows, max_length)?;
                found.expand(tokenizer, image_tokens, max_length);
                Ok(found)
            }
            Template::Plain => {
                let mut found = rounds::encode_plain(tokenizer, turns, reply_follows)?;
                found.expand(tokenizer, image_tokens, max_length);
                Ok(found)
            }
            Template::ChatMl | Template::Llama2 | Template::Llama3 => {
                published::check(template, tokenizer)?;
                ChatTemplate::named(template).encode(
                    tokenizer,
                    turns,
                    image_tokens,
                    reply_follows,
                    max_length,
                )
            }
        }
    }
}

/// A tokenised conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationTokens {
    /// Token ids; an image stands as a run of image tokens.
    pub ids: Vec<i64>,
    /// Per token, whether the model is trained to produce it.
    pub labels: Vec<bool>,
}

impl ConversationTokens {
    fn push(&mut self, id: i64, label: bool) {
        self.ids.push(id);
        self.labels.push(label);
    }

    fn extend(&mut self, ids: &[i64], label: bool) {
        self.ids.extend_from_slice(ids);
        self.labels.resize(self.ids.len(), label);
    }

    /// Makes each image token as many as an image takes, and cuts the end off.
    fn expand(&mut self, tokenizer: &Tokenizer, image_tokens: usize, max_length: usize) {
        let image = tokenizer.image;
        if image_tokens != 1 && self.ids.iter().any(|&id| Some(id) == image) {
            let mut expanded = ConversationTokens::default();
            for (&id, &label) in self.ids.iter().zip(&self.labels) {
                let times = if Some(id) == image { image_tokens } else { 1 };
                for _ in 0..times {
                    expanded.push(id, label);
                }
            }
            *self = expanded;
        }
        self.ids.truncate(max_length);
        self.labels.truncate(max_length);
    }
}

/// Tokens of one exchange about one image, which takes `image_tokens` of them (0: no image).
/// Without a response they end where the reply begins.
pub fn conversation_tokens(
    tokenizer: &Tokenizer,
    template: Template,
    image_tokens: usize,
    query: &str,
    response: Option<&str>,
) -> Result<ConversationTokens, Error> {
    let mut turns = vec![Turn::about(usize::from(image_tokens > 0), query)];
    turns.extend(response.map(|text| Turn::text(Speaker::Assistant, text)));
    PromptForm::Named(template).encode(tokenizer, &turns, image_tokens, response.is_none())
}
