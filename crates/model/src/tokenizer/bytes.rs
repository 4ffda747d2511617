//! The bytes that each token stands for.
//!
//! Vocabularies spell tokens in characters of their own: byte-level ones write a visible character
//! for every byte, SentencePiece's write `▁` for a space and `<0x0A>` for a byte. How that becomes
//! text again is written down as the tokenizer's decoder, a list of steps; here the steps are taken
//! as far as they concern one token by itself. A token may be part of a character, so what it stands
//! for is bytes and not text.

use tokenizers::Decoder;
use tokenizers::decoders::DecoderWrapper;

use super::Tokenizer;

impl Tokenizer {
    /// The bytes of one token, as it stands inside a text. The bytes of a text's tokens are the text's
    /// bytes, except for a space that SentencePiece puts before every text and takes away again.
    ///
    /// `None` where a token stands for no text of its own: special tokens, ids that no token has, and
    /// all tokens of a vocabulary whose tokens mean something only beside each other (WordPiece).
    pub fn token_bytes(&self, id: i64) -> Option<Vec<u8>> {
        let token = self.token(id)?;
        if self.is_special(&token) {
            return None;
        }
        match self.inner.get_decoder()? {
            DecoderWrapper::Sequence(steps) => bytes(steps.get_decoders(), token),
            step => bytes(std::slice::from_ref(step), token),
        }
    }
}

/// What the `steps` of a decoder make of one token.
fn bytes(steps: &[DecoderWrapper], mut token: String) -> Option<Vec<u8>> {
    // After tokens are fused, what follows is about the text and not about a token.
    for step in steps {
        match step {
            DecoderWrapper::ByteLevel(_) => return Some(byte_level(&token)),
            DecoderWrapper::ByteFallback(_) => {
                if let Some(byte) = spelled_byte(&token) {
                    return Some(vec![byte]);
                }
            }
            DecoderWrapper::Fuse(_) => break,
            DecoderWrapper::Replace(step) => token = step.decode_chain(vec![token]).ok()?.pop()?,
            DecoderWrapper::Strip(step) => token = step.decode_chain(vec![token]).ok()?.pop()?,
            // The first token of a text is treated otherwise: this is the second.
            DecoderWrapper::Metaspace(step) => {
                token = step.decode_chain(vec![String::new(), token]).ok()?.pop()?;
            }
            DecoderWrapper::BPE(_)
            | DecoderWrapper::WordPiece(_)
            | DecoderWrapper::CTC(_)
            | DecoderWrapper::Sequence(_) => return None,
        }
    }
    Some(token.into_bytes())
}

/// A byte-level token: a character for each byte. A token that was added to the vocabulary may be
/// written as it is, and then is what it says.
fn byte_level(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's `bytes_to_unicode`, backwards: visible characters of Latin-1 are their own bytes, the
/// others are numbered from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    match c {
        '!'..='~' | '¡'..='¬' | '®'..='ÿ' => u8::try_from(c).ok(),
        '\u{100}'..='\u{143}' => {
            let number = (u32::from(c) - 0x100) as u8;
            Some(match number {
                0..=0x20 => number,
                0x21..=0x42 => number - 0x21 + 0x7F,
                _ => 0xAD,
            })
        }
        _ => None,
    }
}

/// `<0x0A>` and its like.
fn spelled_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let bytes: BTreeSet<u8> = alphabet.iter().filter_map(|&c| byte_of(c)).collect();
        assert_eq!((alphabet.len(), bytes.len()), (256, 256));
        for (c, byte) in [
            ('a', b'a'),
            ('Ġ', b' '),
            ('Ċ', b'\n'),
            ('Ń', 0xAD),
            ('ł', 0xA0),
        ] {
            assert_eq!(byte_of(c), Some(byte), "{c}");
        }
        for c in ['\u{144}', ' ', '角', '\u{AD}'] {
            assert_eq!(byte_of(c), None, "{c:?}");
        }
    }

    #[test]
    fn bytes_are_spelled_in_two_digits() {
        for (token, byte) in [
            ("<0x0A>", Some(10)),
            ("<0xff>", Some(255)),
            ("<0x>", None),
            ("<0x123>", None),
            ("<0xg0>", None),
            ("0x0A", None),
        ] {
            assert_eq!(spelled_byte(token), byte, "{token}");
        }
    }
}
