//! Text to tokens and back.
//!
//! Text from data sets is encoded so that a literal `</s>` or `<image>` in it stays text: only the
//! conversation form places special tokens. A folder's `tokenizer.json` is read, or, where only
//! that exists, its SentencePiece `tokenizer.model` ([`sentencepiece`]); one can be learnt from a
//! run's own text ([`train_bpe`]).

mod bytes;
pub mod sentencepiece;
pub(crate) mod special;
mod train;
mod tree;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokenizers::AddedToken;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;

use crate::{Error, LlavaConfig};

pub use special::{IMAGE_PLACEHOLDER, SpecialTokens};
pub use train::{SPECIAL_TOKENS, train_bpe};
pub(crate) use tree::{TokenTree, on_one_line};

/// `tokenizer.json` files are a few megabytes.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// A tokenizer with the ids of its special tokens.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// For text that follows a special token, where that is encoded otherwise than text at the
    /// beginning: without the space that SentencePiece puts before a text.
    later: Option<Box<tokenizers::Tokenizer>>,
    /// By first byte, the longest first among those; none is empty.
    special: Vec<SpecialText>,
    /// What grammars see of the vocabulary, once one was asked for.
    tree: Arc<OnceLock<Result<Arc<TokenTree>, String>>>,
    /// First token of a conversation, where the tokenizer has one.
    pub bos: Option<i64>,
    /// Ends a reply.
    pub eos: i64,
    /// Fills rows; the end token where there is none of its own.
    pub pad: i64,
    /// Where an image goes; [`IMAGE_PLACEHOLDER`] with the original LLaVA, `None` where the model
    /// reads text only.
    pub image: Option<i64>,
    /// Whether a text begins with [`Tokenizer::bos`].
    pub adds_bos: bool,
}

/// A special token as it stands in rendered text.
#[derive(Clone)]
struct SpecialText {
    text: String,
    id: i64,
    lstrip: bool,
    rstrip: bool,
}

/// A stretch of rendered text: one special token, or what stands between two.
pub(crate) struct TextPiece {
    pub start: usize,
    pub end: usize,
    pub special: Option<i64>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}

impl Tokenizer {
    /// Wraps a tokenizer whose special tokens have the names that published vocabularies use.
    pub fn new(inner: tokenizers::Tokenizer) -> Result<Tokenizer, Error> {
        let special = SpecialTokens::by_name(|token| inner.token_to_id(token).map(i64::from));
        Tokenizer::with_special(inner, special)
    }

    /// Wraps a tokenizer whose special tokens are known.
    ///
    /// # Errors
    /// No token that ends a reply; ids that the vocabulary does not have.
    pub fn with_special(
        mut inner: tokenizers::Tokenizer,
        special: SpecialTokens,
    ) -> Result<Tokenizer, Error> {
        let Some(eos) = special.eos else {
            return Err(Error::Tokenizer(
                "has no token that ends a reply: tokenizer_config.json must name an eos_token, \
                 such as </s>"
                    .to_owned(),
            ));
        };
        for (name, id) in [
            ("eos", Some(eos)),
            ("bos", special.bos),
            ("pad", special.pad),
            ("image", special.image.filter(|&id| id != IMAGE_PLACEHOLDER)),
        ] {
            let Some(id) = id else { continue };
            let token = u32::try_from(id).ok().and_then(|id| inner.id_to_token(id));
            let Some(token) = token else {
                return Err(Error::Tokenizer(format!(
                    "the {name} token is {id}, which the vocabulary does not have"
                )));
            };
            // Files may list such a token as an ordinary one, or only in the vocabulary.
            if !inner.get_added_vocabulary().is_special_token(&token) {
                inner.add_special_tokens(&[AddedToken::from(token, true)]);
            }
        }
        let adds_bos = match special.adds_bos {
            Some(adds) => adds && special.bos.is_some(),
            None => {
                let nothing = inner
                    .encode_fast("", true)
                    .map_err(|e| Error::Tokenizer(e.to_string()))?;
                special.bos.is_some()
                    && nothing.get_ids().first().map(|&id| i64::from(id)) == special.bos
            }
        };
        // Special tokens inside a question are text.
        inner.set_encode_special_tokens(true);
        let _ = inner
            .with_truncation(None)
            .map_err(|e| Error::Tokenizer(e.to_string()))?
            .with_padding(None);
        Ok(Tokenizer {
            later: without_first_space(&inner).map(Box::new),
            special: special_texts(&inner, special.image),
            tree: Arc::default(),
            inner,
            bos: special.bos,
            eos,
            pad: special.pad.unwrap_or(eos),
            image: special.image,
            adds_bos,
        })
    }

    /// Reads a folder's tokenizer: `tokenizer.json`, or else `tokenizer.model`.
    pub fn load(dir: &Path) -> Result<Tokenizer, Error> {
        let path = dir.join("tokenizer.json");
        let pieces = dir.join("tokenizer.model");
        let (path, inner) = if !path.exists() && pieces.exists() {
            let inner = sentencepiece::read(&pieces)?;
            (pieces, inner)
        } else {
            let inner = read_json(&path)?;
            (path, inner)
        };
        let id = |token: &str| inner.token_to_id(token).map(i64::from);
        let special = SpecialTokens::of_folder(dir, id)?;
        Tokenizer::with_special(inner, special).map_err(|e| sample::Error::format(&path, e).into())
    }

    /// The text of `tokenizer.json`.
    pub fn to_json(&self) -> Result<String, Error> {
        // `encode_special_tokens` is not part of the file.
        self.inner
            .to_string(true)
            .map_err(|e| Error::Tokenizer(e.to_string()))
    }

    /// Tokens in all, special ones included.
    pub fn vocab_size(&self) -> i64 {
        self.inner.get_vocab_size(true) as i64
    }

    /// The text of one token as the vocabulary has it.
    pub fn token(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// The id of one token of the vocabulary.
    pub fn id(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    /// Tokens of a piece of text, with no special tokens added and none recognised.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, Error> {
        encode(&self.inner, text)
    }

    /// [`Tokenizer::encode`] for text that follows a special token.
    pub(crate) fn encode_later(&self, text: &str) -> Result<Vec<i64>, Error> {
        encode(self.later.as_deref().unwrap_or(&self.inner), text)
    }

    /// Tokens of a text that is a prompt as it is: as transformers' `tokenizer(text)`, special tokens
    /// recognised, and with the token of the beginning where the tokenizer puts one. A text that
    /// spells that token out itself gets no second one.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<i64>, Error> {
        let mut ids = Vec::new();
        let mut after_special = false;
        for piece in self.pieces(text) {
            let plain = &text[piece.start..piece.end];
            match piece.special {
                Some(id) => ids.push(id),
                None if after_special => ids.extend(self.encode_later(plain)?),
                None => ids.extend(self.encode(plain)?),
            }
            after_special = piece.special.is_some();
        }
        match self.bos.filter(|_| self.adds_bos) {
            Some(bos) if ids.first() != Some(&bos) => ids.insert(0, bos),
            _ => {}
        }
        Ok(ids)
    }

    /// Tokens of a piece of text, each with the bytes of the text it stands for.
    pub(crate) fn encode_places(
        &self,
        text: &str,
        later: bool,
    ) -> Result<Vec<(i64, usize, usize)>, Error> {
        let inner = match &self.later {
            Some(inner) if later => inner,
            _ => &self.inner,
        };
        let encoding = inner
            .encode(text, false)
            .map_err(|e| Error::Tokenizer(e.to_string()))?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id));
        Ok(ids
            .zip(encoding.get_offsets())
            .map(|(id, &(start, end))| (id, start, end))
            .collect())
    }

    /// Whether a text is one of the special tokens.
    pub fn is_special(&self, token: &str) -> bool {
        self.inner.get_added_vocabulary().is_special_token(token)
    }

    /// The special token that a text begins with, the longest if several: its id and length.
    pub(crate) fn special_at(&self, text: &str) -> Option<(i64, usize)> {
        let first = text.as_bytes().first()?;
        let at = self
            .special
            .partition_point(|s| s.text.as_bytes()[0] < *first);
        self.special[at..]
            .iter()
            .take_while(|s| s.text.as_bytes()[0] == *first)
            .find(|s| text.starts_with(s.text.as_str()))
            .map(|s| (s.id, s.text.len()))
    }

    /// Cuts rendered text at its special tokens.
    pub(crate) fn pieces(&self, text: &str) -> Vec<TextPiece> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(c) = text[at..].chars().next() {
            let Some((id, length)) = self.special_at(&text[at..]) else {
                at += c.len_utf8();
                continue;
            };
            let token = self.special.iter().find(|s| s.id == id);
            // Some tokens take the white space beside them.
            let mut before = at;
            if token.is_some_and(|t| t.lstrip) {
                before = start + text[start..at].trim_end().len();
            }
            if start < before {
                pieces.push(TextPiece {
                    start,
                    end: before,
                    special: None,
                });
            }
            at += length;
            if token.is_some_and(|t| t.rstrip) {
                at = text.len() - text[at..].trim_start().len();
            }
            pieces.push(TextPiece {
                start: before,
                end: at,
                special: Some(id),
            });
            start = at;
        }
        if start < text.len() {
            pieces.push(TextPiece {
                start,
                end: text.len(),
                special: None,
            });
        }
        pieces
    }

    /// Text of tokens, special ones left out.
    pub fn decode(&self, ids: &[i64]) -> Result<String, Error> {
        let ids: Vec<u32> = ids
            .iter()
            .filter_map(|&id| u32::try_from(id).ok())
            .collect();
        self.inner
            .decode(&ids, true)
            .map_err(|e| Error::Tokenizer(e.to_string()))
    }

    /// Gives the original LLaVA's tokenizer, which has no token for an image, one of its own after
    /// all others, as the published conversion does; its id is returned.
    pub fn add_image_token(&mut self) -> i64 {
        for inner in [Some(&mut self.inner), self.later.as_deref_mut()]
            .into_iter()
            .flatten()
        {
            inner.add_special_tokens(&[AddedToken::from("<image>", true)]);
        }
        let id = self.id("<image>").unwrap_or(IMAGE_PLACEHOLDER);
        self.image = Some(id);
        self.special = special_texts(&self.inner, self.image);
        self.tree = Arc::default();
        id
    }

    /// Refuses a tokenizer whose ids the model's embedding does not have. Rows above them are
    /// padding, as in published folders.
    pub fn check(&self, config: &LlavaConfig) -> Result<(), Error> {
        let rows = config.text_config.vocab_size;
        let highest = self.inner.get_vocab(true).into_values().max().unwrap_or(0);
        if i64::from(highest) >= rows {
            return Err(Error::Tokenizer(format!(
                "its highest id is {highest}, but the model's embedding has {rows} rows: \
                 the tokenizer belongs to another checkpoint"
            )));
        }
        if config.vision_config.is_none() {
            return Ok(());
        }
        let index = config.image_token_index;
        match self.image {
            Some(image) if image == index => Ok(()),
            Some(image) => Err(Error::Tokenizer(format!(
                "<image> is token {image}, but config.json says image_token_index {index}"
            ))),
            None => Err(Error::Tokenizer(format!(
                "has no <image> token, but config.json says image_token_index {index}"
            ))),
        }
    }
}

fn encode(inner: &tokenizers::Tokenizer, text: &str) -> Result<Vec<i64>, Error> {
    let encoding = inner.encode_fast(text, false).map_err(|e| {
        let start: String = text.chars().take(60).collect();
        Error::Tokenizer(format!("cannot encode {start:?}: {e}"))
    })?;
    Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
}

/// Every special token; an image is written `<image>` even where the vocabulary has no such token.
fn special_texts(inner: &tokenizers::Tokenizer, image: Option<i64>) -> Vec<SpecialText> {
    let mut found: Vec<SpecialText> = inner
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(_, token)| token.special && !token.content.is_empty())
        .map(|(id, token)| SpecialText {
            text: token.content,
            id: i64::from(id),
            lstrip: token.lstrip,
            rstrip: token.rstrip,
        })
        .collect();
    if let Some(id) = image
        && found.iter().all(|special| special.text != "<image>")
    {
        found.push(SpecialText {
            text: "<image>".to_owned(),
            id,
            lstrip: false,
            rstrip: false,
        });
    }
    found.sort_by(|a, b| {
        let first = |s: &SpecialText| s.text.as_bytes().first().copied();
        first(a)
            .cmp(&first(b))
            .then(b.text.len().cmp(&a.text.len()))
            .then_with(|| a.text.cmp(&b.text))
    });
    found
}

fn read_json(path: &Path) -> Result<tokenizers::Tokenizer, Error> {
    let meta = std::fs::metadata(path).map_err(|e| sample::Error::io(path, e))?;
    if meta.len() > MAX_TOKENIZER_BYTES {
        let detail = format!("{} bytes: not a tokenizer", meta.len());
        return Err(sample::Error::format(path, detail).into());
    }
    let bytes = std::fs::read(path).map_err(|e| sample::Error::io(path, e))?;
    tokenizers::Tokenizer::from_bytes(bytes)
        .map_err(|e| sample::Error::format(path, format!("not a tokenizer: {e}")).into())
}

/// The tokenizer for text that does not stand first, where the two differ: a `Metaspace` that puts
/// its space before the first text only.
fn without_first_space(inner: &tokenizers::Tokenizer) -> Option<tokenizers::Tokenizer> {
    let Some(PreTokenizerWrapper::Metaspace(space)) = inner.get_pre_tokenizer() else {
        return None;
    };
    if space.get_prepend_scheme() != PrependScheme::First {
        return None;
    }
    let mut space = space.clone();
    space.set_prepend_scheme(PrependScheme::Never);
    let mut later = inner.clone();
    let _ = later.with_pre_tokenizer(Some(space));
    Some(later)
}
