//! The vocabulary as a tree of bytes, which is how a grammar asks it for the tokens that may follow.
//!
//! The tree (and masks for the commonest parts of JSON's strings) takes longer to make than a grammar
//! does, and depends on the vocabulary alone: a tokenizer makes it once, when it is first asked for,
//! and its copies share it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::panic_utils::catch_unwind;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use super::Tokenizer;
use crate::Error;

/// Tokens of more bytes than this are not offered: the tree has room for some thousand levels, and no
/// reply needs such a token.
const LONGEST_TOKEN: usize = 512;
/// Four times the largest published vocabulary; what is beyond is a broken file.
const MOST_TOKENS: usize = 1 << 20;

/// What a grammar may cost. llguidance's own limits, where they are lower here, are for one grammar at
/// a time; a server holds one for each reply. Times are those that llguidance states.
pub(crate) const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2_000,
    // 10 ms when a schema is compiled.
    initial_lexer_fuel: 500_000,
    // 4 ms a token.
    step_lexer_fuel: 50_000,
    // 1 ms a token.
    step_max_items: 20_000,
    // 1 to 2 kB each.
    max_lexer_states: 16_000,
    max_grammar_size: 100_000,
    // Would run big expressions over the whole vocabulary when a schema is compiled.
    precompute_large_lexemes: false,
    verbose_errors: false,
};

/// Makes grammars for one vocabulary.
pub(crate) struct TokenTree {
    pub grammars: ParserFactory,
    /// Stands for the end of a reply; no token of the vocabulary.
    pub end: u32,
}

impl Tokenizer {
    /// The tree of this vocabulary.
    pub(crate) fn tree(&self) -> Result<Arc<TokenTree>, Error> {
        let made = self.tree.get_or_init(|| {
            let made = catch_unwind(AssertUnwindSafe(|| Ok(make(self))));
            made.unwrap_or_else(|fault| Err(on_one_line(&fault)))
                .map(Arc::new)
        });
        made.clone().map_err(Error::Tokenizer)
    }
}

/// What went wrong, on one line, without the state or the back trace that may follow.
pub(crate) fn on_one_line(fault: &impl std::fmt::Display) -> String {
    let text = fault.to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with('<'))
        .collect();
    said.join(" ").chars().take(300).collect()
}

fn make(tokenizer: &Tokenizer) -> Result<TokenTree, String> {
    let ids = tokenizer.inner.get_vocab(true).into_values();
    let count = ids.max().map_or(0, |highest| highest as usize + 1);
    if count > MOST_TOKENS {
        return Err(format!(
            "its ids go to {count}: replies cannot be held to a form with it"
        ));
    }
    let mut words: Vec<Vec<u8>> = (0..count as i64)
        .map(|id| {
            let bytes = tokenizer.token_bytes(id).unwrap_or_default();
            // In such a tree 0xFF, which is in no text, begins the name of a special token.
            let is_text = bytes.len() <= LONGEST_TOKEN && !bytes.starts_with(&[0xFF]);
            if is_text { bytes } else { Vec::new() }
        })
        .collect();
    if words.iter().all(Vec::is_empty) {
        return Err(
            "its tokens have no bytes of their own, so replies cannot be held to a form: use a model \
             whose tokenizer is a byte-level BPE or SentencePiece's"
                .to_owned(),
        );
    }
    // Which tokens end a reply is for the model to say, so here the end is one that none has.
    let end = words.len() as u32;
    words.push(Vec::new());
    let tree = TokTrie::from(&TokRxInfo::new(end + 1, end), &words);
    // The model itself chooses how to spell what the form leaves no choice about: tokens that are put
    // there for it would have to be those it was trained on, and byte strings do not tell which.
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(tree));
    let mut grammars = ParserFactory::new_simple(&environment).map_err(|e| on_one_line(&e))?;
    let _ = grammars.quiet();
    *grammars.limits_mut() = LIMITS;
    Ok(TokenTree { grammars, end })
}
