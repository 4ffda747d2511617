//! Any bytes as a SentencePiece model; LLaMA's `tokenizer.model`, cut short, is a good seed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{SpecialTokens, Tokenizer, sentencepiece};

fuzz_target!(|bytes: &[u8]| {
    let Ok((pieces, preparation)) = sentencepiece::parse(bytes) else {
        return;
    };
    // A piece takes at least its field's two bytes.
    assert!(pieces.len() <= bytes.len());
    let Ok(inner) = sentencepiece::build(&pieces, preparation) else {
        return;
    };
    let special = SpecialTokens {
        eos: Some(0),
        ..SpecialTokens::default()
    };
    if let Ok(tokenizer) = Tokenizer::with_special(inner, special) {
        let _ = tokenizer.encode("What is 1 + 2?\n  ½ 🦙").map(|ids| tokenizer.decode(&ids));
    }
});
