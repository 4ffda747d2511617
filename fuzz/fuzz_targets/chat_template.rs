//! A chat template and a conversation: the first line that is only `---` parts the two, and the
//! same line parts the turns.
//!
//! Whatever the template does, special tokens that a turn spells out stay text.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use model::{ChatTemplate, PromptForm, Speaker, Tokenizer, Turn, train_bpe};

static TOKENIZER: LazyLock<Option<Tokenizer>> =
    LazyLock::new(|| train_bpe(["What is 1 + 2?", "The answer is 3"], 300).ok());

fuzz_target!(|text: &str| {
    let Some(tokenizer) = &*TOKENIZER else { return };
    let mut parts = text.split("\n---\n");
    let Some(Ok(template)) = parts.next().map(ChatTemplate::new) else {
        return;
    };
    let turns: Vec<Turn> = parts
        .zip([Speaker::User, Speaker::Assistant].into_iter().cycle())
        .map(|(text, speaker)| Turn::text(speaker, text))
        .collect();
    let form = PromptForm::Jinja(template);
    for reply_follows in [false, true] {
        if let Ok(found) = form.encode(tokenizer, &turns, 3, reply_follows) {
            assert_eq!(found.ids.len(), found.labels.len());
        }
    }
});
