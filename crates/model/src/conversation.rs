//! How a question, its image and its answer become one sequence of tokens.
//!
//! LLaVA-1.5's `v1` is Vicuna's form: a system sentence, then `USER: <image>\n... ASSISTANT:
//! ...</s>`. The loss is on the assistant's tokens and their `</s>` only.
//!
//! **Invariant:** the sequence is put together from pieces that are tokenised apart (what stands
//! before the image, the image, the question, the reply), so two conversations about one image have
//! the same tokens up to where their texts part. Packing and generation share that prefix.

use serde::{Deserialize, Serialize};

use crate::{Error, Tokenizer};

/// The words around a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// LLaVA-1.5's: `conv_vicuna_v1` in LLaVA's `conversation.py`.
    #[default]
    V1,
    /// `v1` without its system sentence, for models too small to profit from it.
    Tiny,
}

impl Template {
    /// What stands before the image.
    pub fn opening(self) -> &'static str {
        match self {
            Template::V1 => {
                "A chat between a curious user and an artificial intelligence assistant. The \
                 assistant gives helpful, detailed, and polite answers to the user's questions. \
                 USER: "
            }
            Template::Tiny => "USER: ",
        }
    }

    /// What stands between the question and the reply.
    pub fn reply_mark(self) -> &'static str {
        " ASSISTANT:"
    }

    /// The same form for transformers' `apply_chat_template`.
    pub(crate) fn jinja(self) -> String {
        let system = self.opening().trim_end_matches("USER: ");
        format!(
            "{{{{ bos_token }}}}{system}\
             {{% for message in messages %}}\
             {{% if message['role'] == 'user' %}}USER: \
             {{% for part in message['content'] if part['type'] == 'image' %}}<image>\n{{% endfor %}}\
             {{% for part in message['content'] if part['type'] == 'text' %}}{{{{ part['text'] }}}}\
             {{% endfor %}}\
             {{% else %}} ASSISTANT: \
             {{% for part in message['content'] if part['type'] == 'text' %}}{{{{ part['text'] }}}}\
             {{% endfor %}}{{{{ eos_token }}}}{{% endif %}}{{% endfor %}}\
             {{% if add_generation_prompt %}} ASSISTANT:{{% endif %}}"
        )
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

/// How the turns of a conversation become one prompt.
#[derive(Debug, Clone)]
pub enum PromptForm {
    /// One of the published forms.
    Named(Template),
}

impl PromptForm {
    /// Tokens of a conversation in which each image takes `image_tokens`. Where `reply_follows`
    /// they end where the model begins its reply.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        image_tokens: usize,
        reply_follows: bool,
    ) -> Result<ConversationTokens, Error> {
        let PromptForm::Named(template) = self;
        let (images, text) = match turns {
            [turn] if turn.speaker == Speaker::User && reply_follows => match &turn.parts[..] {
                [Part::Image, Part::Text(text)] => (image_tokens, text),
                [Part::Text(text)] => (0, text),
                _ => return Err(Error::Shape("one image and one text".into())),
            },
            _ => return Err(Error::Shape("one turn of the user".into())),
        };
        conversation_tokens(tokenizer, *template, images, text, None)
    }
}

/// A tokenised conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationTokens {
    /// Token ids; the image stands as a run of image tokens.
    pub ids: Vec<i64>,
    /// Per token, whether the model is trained to produce it.
    pub labels: Vec<bool>,
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
    let mut ids: Vec<i64> = tokenizer.bos.into_iter().collect();
    ids.extend(tokenizer.encode(template.opening())?);
    if image_tokens > 0 {
        let image = tokenizer.image.ok_or_else(|| {
            Error::Tokenizer("has no <image> token: this model reads text only".into())
        })?;
        ids.extend(std::iter::repeat_n(image, image_tokens));
        ids.extend(tokenizer.encode("\n")?);
    }
    ids.extend(tokenizer.encode(query)?);
    ids.extend(tokenizer.encode(template.reply_mark())?);
    let mut labels = vec![false; ids.len()];
    if let Some(response) = response {
        ids.extend(tokenizer.encode(&format!(" {response}"))?);
        ids.push(tokenizer.eos);
        labels.resize(ids.len(), true);
    }
    Ok(ConversationTokens { ids, labels })
}
