//! Tokens to text while they come: pieces that never split a character, and never show part of a
//! stop string.
//!
//! A token may be part of a character, and its text may depend on the one before it (a
//! SentencePiece token loses its space at the start of a text). So a piece is what the text gains
//! when tokens are added, held back while it ends in a character that is not whole.

use crate::{Error, Tokenizer};

/// What a decoder of bytes writes where they are no character (yet).
const NOT_A_CHARACTER: char = '\u{FFFD}';

/// A character has at most four bytes, and so at most so many tokens; more than these that still end
/// in no character are no text.
const LONGEST_CHARACTER: usize = 4;

/// The text of a reply so far.
#[derive(Debug, Default)]
pub(super) struct ReplyText {
    tokens: Vec<i64>,
    /// Tokens whose text is in `text`.
    read: usize,
    /// First of the tokens that the next piece's text is decoded with.
    context: usize,
    /// The text of the tokens read.
    text: String,
    /// Bytes of `text` that were given out.
    shown: usize,
    stop: Vec<String>,
}

impl ReplyText {
    pub fn new(stop: &[String]) -> ReplyText {
        ReplyText {
            stop: stop.iter().filter(|s| !s.is_empty()).cloned().collect(),
            ..ReplyText::default()
        }
    }

    /// Adds a token; gives the text that can be shown since the last piece, and whether a stop
    /// string was completed, which ends the text before it.
    pub fn push(&mut self, token: i64, tokenizer: &Tokenizer) -> Result<(String, bool), Error> {
        self.tokens.push(token);
        let known = tokenizer.decode(&self.tokens[self.context..self.read])?;
        let whole = tokenizer.decode(&self.tokens[self.context..])?;
        let held = self.tokens.len() - self.read;
        if whole.ends_with(NOT_A_CHARACTER) && held < LONGEST_CHARACTER {
            return Ok((String::new(), false));
        }
        self.take(&known, &whole);
        Ok(self.show(false))
    }

    /// Ends the text: what was held back and is no stop string.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, Error> {
        let known = tokenizer.decode(&self.tokens[self.context..self.read])?;
        let whole = tokenizer.decode(&self.tokens[self.context..])?;
        self.take(&known, &whole);
        Ok(self.show(true).0)
    }

    /// The text up to now, before any stop string.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn take(&mut self, known: &str, whole: &str) {
        // Where a decoder takes back what it said before, what it says now goes on from there.
        let same = known
            .char_indices()
            .zip(whole.chars())
            .find(|((_, a), b)| a != b)
            .map_or(known.len().min(whole.len()), |((at, _), _)| at);
        self.text.push_str(&whole[same..]);
        self.context = self.read;
        self.read = self.tokens.len();
    }

    /// What can be shown; at the `end`, all of it.
    fn show(&mut self, end: bool) -> (String, bool) {
        let found = self.stop.iter().filter_map(|stop| {
            // A stop string may begin in what was held back, never in what was shown.
            self.text[self.shown..].find(stop.as_str())
        });
        if let Some(at) = found.min() {
            let at = self.shown + at;
            self.text.truncate(at);
            let piece = self.text[self.shown..].to_owned();
            self.shown = at;
            return (piece, true);
        }
        let until = if end {
            self.text.len()
        } else {
            self.text.len() - self.begun_stop()
        };
        let piece = self.text[self.shown..until].to_owned();
        self.shown = until;
        (piece, false)
    }

    /// Bytes at the end of what is not shown yet that a stop string may begin with.
    fn begun_stop(&self) -> usize {
        let open = &self.text[self.shown..];
        self.stop
            .iter()
            .flat_map(|stop| {
                stop.char_indices()
                    .map(|(at, _)| &stop[..at])
                    .filter(|begin| open.ends_with(begin))
                    .map(str::len)
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The 256 bytes and nothing else: every character beyond ASCII takes several tokens.
    fn bytes_only() -> Tokenizer {
        crate::train_bpe(["a"], 261).unwrap()
    }

    /// The pieces of `text`, and what is left at its end.
    fn pieces(text: &str, stop: &[String]) -> (Vec<String>, ReplyText) {
        let tokenizer = bytes_only();
        let mut reply = ReplyText::new(stop);
        let mut pieces = Vec::new();
        for token in tokenizer.encode(text).unwrap() {
            let (piece, stopped) = reply.push(token, &tokenizer).unwrap();
            pieces.push(piece);
            if stopped {
                return (pieces, reply);
            }
        }
        pieces.push(reply.finish(&tokenizer).unwrap());
        (pieces, reply)
    }

    #[test]
    fn characters_of_several_tokens_come_whole() {
        let (pieces, reply) = pieces("π≈3, 角度 🙂!", &[]);
        assert!(
            pieces.iter().all(|p| !p.contains(NOT_A_CHARACTER)),
            "{pieces:?}"
        );
        assert!(pieces.contains(&"🙂".to_owned()), "{pieces:?}");
        assert_eq!(reply.text(), "π≈3, 角度 🙂!");
    }

    #[test]
    fn bytes_that_are_no_character_are_shown_in_the_end() {
        let tokenizer = bytes_only();
        let half = tokenizer.encode("π").unwrap()[0];
        let mut reply = ReplyText::new(&[]);
        assert_eq!(reply.push(half, &tokenizer).unwrap().0, "");
        assert_eq!(
            reply.finish(&tokenizer).unwrap(),
            NOT_A_CHARACTER.to_string()
        );
        // A run of them is not held back for ever.
        let mut reply = ReplyText::new(&[]);
        let shown: String = (0..10)
            .map(|_| reply.push(half, &tokenizer).unwrap().0)
            .collect();
        assert!(shown.chars().count() >= 4, "{shown:?}");
    }

    #[test]
    fn a_stop_string_ends_the_text_before_it_and_is_never_shown() {
        for (text, stop, expected) in [
            ("one two three", vec!["two"], "one "),
            ("a USER: b", vec!["USER:", "US"], "a "),
            ("aab", vec!["ab"], "a"),
            ("xé🙂y", vec!["🙂"], "xé"),
            ("no stop", vec!["stopping"], "no stop"),
            ("no stop", vec![""], "no stop"),
            ("\n\n", vec!["\n\n"], ""),
        ] {
            let stop: Vec<String> = stop.into_iter().map(str::to_owned).collect();
            let (pieces, reply) = pieces(text, &stop);
            assert_eq!(pieces.concat(), expected, "{text:?} {stop:?}");
            assert_eq!(reply.text(), expected, "{text:?} {stop:?}");
        }
    }

    #[test]
    fn what_may_become_a_stop_string_is_held_back_and_then_shown() {
        let (pieces, _) = pieces("abcabd", &["abd".to_owned()]);
        assert_eq!(pieces, ["", "", "abc", "", "", ""]);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_up_to_the_first_stop(
            text in "[ab π🙂\n]{0,30}",
            stop in prop::collection::vec("[ab π🙂]{1,3}", 0..3),
        ) {
            let (pieces, reply) = pieces(&text, &stop);
            let shown = pieces.concat();
            prop_assert_eq!(&shown, reply.text());
            prop_assert!(text.starts_with(&shown));
            prop_assert!(!stop.iter().any(|s| shown.contains(s.as_str())));
            let cut = text.len() - shown.len();
            let stopped = stop.iter().any(|s| text[shown.len()..].starts_with(s.as_str()));
            prop_assert!(cut == 0 || stopped, "{:?} of {:?}", shown, text);
        }
    }
}
