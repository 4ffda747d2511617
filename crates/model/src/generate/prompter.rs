//! From a request to the tokens of its prompt, checked: what needs no weights.
//!
//! Tensors stay on the thread that made them, text and pixels do not. A server reads requests on
//! many threads with one [`Prompter`], and hands the engine's thread what is ready to be run: it
//! tokenises nothing, hashes no pixels and finds no fault with a request while others wait for their
//! next token.

use std::sync::Arc;

use crate::generate::request::{GenerateOptions, Request, Said};
use crate::{
    Error, LlavaConfig, Part, Pixels, Preprocessor, PromptForm, Tokenizer, Turn, Unanswerable,
};

/// Text with more bytes than this times the model's context is not tokenised: published
/// vocabularies have no token of so many bytes, and the work on a text must be bounded.
const BYTES_PER_TOKEN: usize = 256;

/// Makes prompts for one model, on any thread; cheap to clone. From [`crate::Generator::prompter`].
#[derive(Debug, Clone)]
pub struct Prompter {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    form: PromptForm,
    config: LlavaConfig,
}

/// A request that was checked, ready for [`crate::Engine::admit_prepared`].
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) ids: Vec<i64>,
    /// In the order of their tokens.
    pub(super) images: Vec<PreparedImage>,
    pub(super) options: GenerateOptions,
    /// Tokens that the conversation may grow to.
    pub(super) room: usize,
}

/// An image of a prompt.
#[derive(Debug, Clone)]
pub(super) struct PreparedImage {
    pub pixels: Arc<Pixels>,
    /// SHA-256 of the pixels, by which equal images are known.
    pub digest: String,
}

impl Prepared {
    /// Tokens of the prompt, those of images included.
    pub fn prompt_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens that the reply can at most have: what was asked for, within the model's context.
    pub fn reply_tokens(&self) -> usize {
        self.room.saturating_sub(self.ids.len())
    }

    /// How the reply is written.
    pub fn options(&self) -> &GenerateOptions {
        &self.options
    }
}

impl Prompter {
    pub(super) fn new(
        tokenizer: Tokenizer,
        preprocessor: Preprocessor,
        form: PromptForm,
        config: LlavaConfig,
    ) -> Prompter {
        Prompter {
            parts: Arc::new(Parts {
                tokenizer,
                preprocessor,
                form,
                config,
            }),
        }
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// How images become the model's input.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.parts.preprocessor
    }

    /// What the model is made of.
    pub fn config(&self) -> &LlavaConfig {
        &self.parts.config
    }

    /// Tokens that prompt and reply may have together.
    pub fn context(&self) -> usize {
        let context = self.config().text_config.max_position_embeddings;
        usize::try_from(context).unwrap_or(usize::MAX)
    }

    /// Whether images can be shown.
    pub fn reads_images(&self) -> bool {
        self.config().vision_config.is_some()
    }

    /// Tokens of one image; 0 for a model that reads text only.
    pub fn image_tokens(&self) -> usize {
        usize::try_from(self.config().image_tokens()).unwrap_or(0)
    }

    /// Tokenises a request and checks all of it.
    ///
    /// # Errors
    /// [`Error::Unanswerable`]: images that do not fit its turns or the model, turns in an order that
    /// the model's form does not have, sampling without meaning, a prompt past the context.
    pub fn prepare(&self, request: &Request) -> Result<Prepared, Error> {
        self.check_images(request)?;
        request.options.sampling.check()?;
        let context = self.context();
        let long = |what: String| {
            let detail = format!("{what}, and the model's context is {context}: shorten it");
            Err(Unanswerable::Context.error(detail))
        };
        let bytes = request.said.text_bytes();
        if bytes > context.saturating_mul(BYTES_PER_TOKEN) {
            return long(format!("its prompt has {bytes} bytes of text"));
        }
        let ids = match &request.said {
            Said::Turns(turns) => self.conversation(turns)?,
            Said::Text(text) => self.tokenizer().encode_prompt(text)?,
        };
        if ids.is_empty() {
            return meaningless("the prompt is empty: say or show something".into());
        }
        if ids.len() >= context {
            return long(format!("its prompt takes {} tokens", ids.len()));
        }
        let run = self.image_tokens();
        let image = Some(self.config().image_token_index).filter(|_| self.reads_images());
        let image_tokens = ids.iter().filter(|&&id| Some(id) == image).count();
        if image_tokens != request.images.len() * run {
            return meaningless(format!(
                "{image_tokens} image tokens in the prompt for {} images of {run}",
                request.images.len()
            ));
        }
        // The original LLaVA's placeholder of an image is no token, and a text may spell it out.
        let rows = self.config().text_config.vocab_size;
        let known = |id: i64| Some(id) == image || (0..rows).contains(&id);
        if let Some(id) = ids.iter().find(|&&id| !known(id)) {
            return meaningless(format!(
                "the prompt has token {id}, and the model has {rows}"
            ));
        }
        let images = request
            .images
            .iter()
            .map(|pixels| PreparedImage {
                pixels: Arc::clone(pixels),
                digest: sample::sha256_hex(&pixels.bytes),
            })
            .collect();
        Ok(Prepared {
            room: ids
                .len()
                .saturating_add(request.options.max_new_tokens)
                .min(context),
            ids,
            images,
            options: request.options.clone(),
        })
    }

    /// The tokens of a conversation that the model answers next.
    fn conversation(&self, turns: &[Turn]) -> Result<Vec<i64>, Error> {
        let said = turns
            .iter()
            .flat_map(|turn| &turn.parts)
            .any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()));
        if !said {
            return meaningless("the prompt is empty: say or show something".into());
        }
        let parts = &self.parts;
        let found = parts
            .form
            .encode(&parts.tokenizer, turns, self.image_tokens(), true);
        match found {
            Ok(found) => Ok(found.ids),
            // Forms refuse what they cannot write, such as two questions in a row.
            Err(Error::Sample(error)) => Err(error.into()),
            Err(error) => meaningless(error.to_string()),
        }
    }

    fn check_images(&self, request: &Request) -> Result<(), Error> {
        if !request.images.is_empty() && !self.reads_images() {
            return meaningless(
                "it has an image, and this model reads text only: leave the image out, or take a \
                 model with a vision tower"
                    .into(),
            );
        }
        let shown = request.said.images();
        if shown != request.images.len() {
            return meaningless(format!(
                "its turns show {shown} images, and {} are given",
                request.images.len()
            ));
        }
        let side = self.preprocessor().side;
        let fits = |image: &Arc<Pixels>| image.side == side && image.bytes.len() == 3 * side * side;
        match request.images.iter().find(|image| !fits(image)) {
            Some(other) => meaningless(format!(
                "an image of {} pixels a side for a tower of {side}",
                other.side
            )),
            None => Ok(()),
        }
    }
}

fn meaningless<T>(detail: String) -> Result<T, Error> {
    Err(Unanswerable::Meaningless.error(detail))
}
