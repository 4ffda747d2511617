//! Learning a byte-level BPE from a run's own text.
//!
//! Digits are tokens of their own, so that numbers are spelled alike wherever they stand.

use std::collections::BTreeMap;

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

use crate::{Error, Tokenizer};

/// The special tokens of a tokenizer trained here; their ids are their places in this list.
pub const SPECIAL_TOKENS: [&str; 5] = ["<unk>", "<s>", "</s>", "<pad>", "<image>"];

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
