//! Text to tokens and back, and training a byte-level BPE on a run's own text.
//!
//! Digits are tokens of their own, so that numbers are spelled alike wherever they stand. Text from
//! data sets is encoded so that a literal `</s>` or `<image>` in it stays text: only the
//! conversation form places special tokens.

use std::collections::BTreeMap;
use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer,
};

use crate::{Error, LlavaConfig};

/// The special tokens of a tokenizer trained here; their ids are their places in this list.
pub const SPECIAL_TOKENS: [&str; 5] = ["<unk>", "<s>", "</s>", "<pad>", "<image>"];

/// `tokenizer.json` files are a few megabytes.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// A tokenizer with the ids of its special tokens.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// First token of a conversation, where the tokenizer has one.
    pub bos: Option<i64>,
    /// Ends a reply.
    pub eos: i64,
    /// Fills rows; the end token where there is none of its own.
    pub pad: i64,
    /// Where an image goes.
    pub image: i64,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}

impl Tokenizer {
    /// Wraps a tokenizer that has `</s>` and `<image>`.
    pub fn new(mut inner: tokenizers::Tokenizer) -> Result<Tokenizer, Error> {
        let id = |token: &str| inner.token_to_id(token).map(i64::from);
        let required = |token: &str| {
            id(token).ok_or_else(|| {
                Error::Tokenizer(format!(
                    "has no {token} token, which LLaVA's conversations need"
                ))
            })
        };
        let eos = required("</s>")?;
        let image = required("<image>")?;
        let bos = id("<s>");
        let pad = id("<pad>").unwrap_or(eos);
        // Special tokens inside a question are text.
        inner.set_encode_special_tokens(true);
        Ok(Tokenizer {
            bos,
            eos,
            pad,
            image,
            inner,
        })
    }

    /// Reads a folder's `tokenizer.json`.
    pub fn load(dir: &Path) -> Result<Tokenizer, Error> {
        let path = dir.join("tokenizer.json");
        let meta = std::fs::metadata(&path).map_err(|e| sample::Error::io(&path, e))?;
        if meta.len() > MAX_TOKENIZER_BYTES {
            let detail = format!("{} bytes: not a tokenizer", meta.len());
            return Err(sample::Error::format(path, detail).into());
        }
        let bytes = std::fs::read(&path).map_err(|e| sample::Error::io(&path, e))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| sample::Error::format(&path, format!("not a tokenizer: {e}")))?;
        Tokenizer::new(inner).map_err(|e| sample::Error::format(&path, e).into())
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

    /// Tokens of a piece of text, with no special tokens added and none recognised.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, Error> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| Error::Tokenizer(format!("cannot encode {:?}: {e}", shortened(text))))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
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

    /// Refuses a tokenizer whose ids the model's embedding does not have.
    pub fn check(&self, config: &LlavaConfig) -> Result<(), Error> {
        let rows = config.text_config.vocab_size;
        let highest = self.inner.get_vocab(true).into_values().max().unwrap_or(0);
        if i64::from(highest) >= rows {
            return Err(Error::Tokenizer(format!(
                "its highest id is {highest}, but the model's embedding has {rows} rows: \
                 tokenizer.json belongs to another checkpoint"
            )));
        }
        if self.image != config.image_token_index {
            return Err(Error::Tokenizer(format!(
                "<image> is token {}, but config.json says image_token_index {}",
                self.image, config.image_token_index
            )));
        }
        Ok(())
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Trains a byte-level BPE of at most `vocab_size` tokens; with little text it has fewer.
///
/// The result depends on the texts' words and their counts alone, not on order or threads.
pub fn train_bpe<S: AsRef<str>>(
    texts: impl IntoIterator<Item = S>,
    vocab_size: usize,
) -> Result<Tokenizer, Error> {
    let failed = |e: tokenizers::Error| Error::Tokenizer(format!("cannot be trained: {e}"));
    let least = SPECIAL_TOKENS.len() + 256;
    if vocab_size < least {
        return Err(Error::Tokenizer(format!(
            "a vocabulary of {vocab_size} cannot hold the 256 bytes and the special tokens: \
             give at least {least}"
        )));
    }
    // Repeated texts (hints, templates) are the rule: count them, and split each once.
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        sample::interrupt::check()?;
        match counts.get_mut(text.as_ref()) {
            Some(count) => *count += 1,
            None => drop(counts.insert(text.as_ref().to_owned(), 1)),
        }
    }
    let special: Vec<AddedToken> = SPECIAL_TOKENS
        .iter()
        .map(|token| AddedToken::from(*token, true))
        .collect();
    let split = Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, true)),
    ]);
    let first = TemplateProcessing::builder()
        .try_single("<s> $A")
        .and_then(|b| b.try_pair("<s> $A $B:1"))
        .map_err(|e| Error::Tokenizer(e.clone()))?
        .special_tokens(vec![("<s>", 1)])
        .build()
        .map_err(|e| Error::Tokenizer(e.to_string()))?;
    let split = PreTokenizerWrapper::Sequence(split);
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .special_tokens(special)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let repeated = counts
        .iter()
        .flat_map(|(text, &n)| std::iter::repeat_n(text.as_str(), n as usize));
    let words = |text: &str| {
        let mut pieces = PreTokenizedString::from(text);
        split.pre_tokenize(&mut pieces)?;
        let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(pieces
            .into_iter()
            .map(|(word, _, _)| word.to_owned())
            .collect())
    };
    trainer.feed(repeated, words).map_err(failed)?;
    let mut bpe = BPE::default();
    let special = trainer.train(&mut bpe).map_err(failed)?;
    let mut inner = tokenizers::Tokenizer::new(bpe);
    inner
        .with_pre_tokenizer(Some(split))
        .with_post_processor(Some(first))
        .with_decoder(Some(ByteLevelDecoder::default()));
    inner.add_special_tokens(&special);
    Tokenizer::new(inner)
}
