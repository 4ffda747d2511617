//! Vicuna's rounds and plain captions, to the token as LLaVA's training code makes them.
//!
//! From haotian-liu/LLaVA: `get_prompt` of `llava/conversation.py` (separator style TWO),
//! `preprocess_multimodal`, `preprocess_v1` and `preprocess_plain` of `llava/train/train.py`, and
//! `tokenizer_image_token` of `llava/mm_utils.py`. What is kept of their behaviour:
//!
//! - an image always comes first in its turn, with a line break after it, and the turn's text loses
//!   the white space at its ends;
//! - text before an image and text after it are tokenised apart, each as if it began a text, so that
//!   SentencePiece puts its space before both;
//! - a round's labels begin after the tokens of everything up to and with `ASSISTANT: `, less two:
//!   one for the first token, which the tokenizer adds to that text as well, and one for the lone
//!   space at its end, which is part of the reply's first word when that follows. With bytes or
//!   digits, which take no space, the space itself is thus a label;
//! - a turn that says ` ASSISTANT: ` itself, or a question without a reply, ends the counting;
//!   where what was counted is then not the whole, nothing of the conversation is a label.
//!
//! What is not: a literal `<image>` or `</s>` in a turn would be special there; here it is text.

use super::{ConversationTokens, Speaker, Template, Turn};
use crate::{Error, Tokenizer};

/// One question and its reply, as text; `None` where an image stands.
struct Round {
    pieces: Vec<Option<String>>,
    /// `</s>` follows.
    ended: bool,
}

/// What separates a question from its reply: the separator and the second role in LLaVA's
/// `preprocess_v1`.
const SEPARATOR: &str = " ASSISTANT: ";

/// The conversation with one token for each image; `max_length` only decides whether LLaVA's
/// check of what it counted applies.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    template: Template,
    turns: &[Turn],
    reply_follows: bool,
    max_length: usize,
) -> Result<ConversationTokens, Error> {
    let rounds = rounds(template, turns, reply_follows)?;
    let mut found = ConversationTokens::default();
    if tokenizer.adds_bos {
        found.extend(tokenizer.bos.as_slice(), false);
    }
    let mut counted = found.ids.len();
    let mut counting = true;
    for (index, round) in rounds.iter().enumerate() {
        let before = found.ids.len();
        encode_pieces(tokenizer, &round.pieces, index > 0, &mut found)?;
        if round.ended {
            found.push(tokenizer.eos, false);
        }
        let Some(instruction) = round.instruction().filter(|_| counting && round.ended) else {
            counting = false;
            continue;
        };
        let mut alone = ConversationTokens::default();
        encode_pieces(tokenizer, &instruction, index > 0, &mut alone)?;
        // The space at the end goes to the reply.
        let masked = alone.ids.len().saturating_sub(1);
        let end = found.labels.len();
        let start = end.min(before + masked);
        found.labels[start..end].fill(true);
        counted = end;
    }
    let images = turns.iter().any(|turn| turn.images() > 0);
    // Text alone is cut before it is counted, text with images after.
    let total = if images {
        found.ids.len()
    } else {
        found.ids.len().min(max_length)
    };
    if reply_follows || (counted < max_length && counted != total) {
        found.labels.fill(false);
    }
    Ok(found)
}

/// Image and caption: everything after the image is a label, and no `</s>` ends it.
pub(super) fn encode_plain(
    tokenizer: &Tokenizer,
    turns: &[Turn],
    reply_follows: bool,
) -> Result<ConversationTokens, Error> {
    let (user, reply) = match turns {
        [user] if reply_follows => (user, None),
        [user, reply] if !reply_follows && reply.speaker == Speaker::Assistant => {
            (user, Some(reply.words()))
        }
        _ => return Err(Error::Shape("plain: one image and its caption".to_owned())),
    };
    let mut found = ConversationTokens::default();
    if tokenizer.adds_bos {
        found.extend(tokenizer.bos.as_slice(), false);
    }
    let images = vec![None; user.images()];
    encode_pieces(tokenizer, &images, false, &mut found)?;
    if let Some(reply) = reply {
        found.extend(&tokenizer.encode(&format!("{reply}\n"))?, true);
    }
    Ok(found)
}

fn encode_pieces(
    tokenizer: &Tokenizer,
    pieces: &[Option<String>],
    later: bool,
    to: &mut ConversationTokens,
) -> Result<(), Error> {
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            None => to.extend(tokenizer.image.as_slice(), false),
            Some(text) if later && index == 0 => to.extend(&tokenizer.encode_later(text)?, false),
            Some(text) => to.extend(&tokenizer.encode(text)?, false),
        }
    }
    Ok(())
}

impl Round {
    /// What the model is given of the round, where it has one question and one reply.
    fn instruction(&self) -> Option<Vec<Option<String>>> {
        let texts = || self.pieces.iter().flatten();
        if texts()
            .map(|text| text.matches(SEPARATOR).count())
            .sum::<usize>()
            != 1
        {
            return None;
        }
        let at = self
            .pieces
            .iter()
            .position(|piece| piece.as_ref().is_some_and(|text| text.contains(SEPARATOR)))?;
        let mut pieces = self.pieces[..=at].to_vec();
        if let Some(Some(text)) = pieces.last_mut() {
            let end = text.find(SEPARATOR)? + SEPARATOR.len();
            text.truncate(end);
        }
        Some(pieces)
    }
}

fn rounds(template: Template, turns: &[Turn], reply_follows: bool) -> Result<Vec<Round>, Error> {
    let mut system = template.opening().trim_end_matches("USER: ").to_owned();
    let mut turns = turns;
    if let [first, rest @ ..] = turns
        && first.speaker == Speaker::System
    {
        system = first.words() + " ";
        turns = rest;
    }
    // LLaVA leaves out what the assistant says before it is asked.
    if let [first, rest @ ..] = turns
        && first.speaker == Speaker::Assistant
    {
        turns = rest;
    }
    let mut rounds: Vec<Round> = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let expected = [Speaker::User, Speaker::Assistant][index % 2];
        if turn.speaker != expected {
            return Err(Error::Shape(format!(
                "turn {} of the conversation is the {:?}'s, where the {expected:?}'s is due",
                index + 1,
                turn.speaker
            )));
        }
        match rounds.last_mut() {
            Some(round) if expected == Speaker::Assistant => {
                if turn.images() > 0 {
                    return Err(Error::Shape("a reply shows no images".to_owned()));
                }
                // Without a reply LLaVA writes neither space nor end.
                let words = turn.words();
                let reply = if words.is_empty() {
                    "ASSISTANT:".to_owned()
                } else {
                    round.ended = true;
                    format!("ASSISTANT: {words}")
                };
                append(&mut round.pieces, &reply);
            }
            _ => {
                let mut pieces = Vec::new();
                append(&mut pieces, &std::mem::take(&mut system));
                append(&mut pieces, "USER: ");
                let words = turn.words();
                let words = if turn.images() == 0 {
                    words.as_str()
                } else {
                    words.trim()
                };
                for image in 0..turn.images() {
                    pieces.push(None);
                    if !words.is_empty() || image + 1 < turn.images() {
                        append(&mut pieces, "\n");
                    }
                }
                append(&mut pieces, words);
                append(&mut pieces, " ");
                match rounds.last_mut() {
                    // No `</s>` parts it from the reply that said nothing.
                    Some(open) if !open.ended => {
                        for piece in pieces {
                            match piece {
                                Some(text) => append(&mut open.pieces, &text),
                                None => open.pieces.push(None),
                            }
                        }
                    }
                    _ => rounds.push(Round {
                        pieces,
                        ended: false,
                    }),
                }
            }
        }
    }
    let open = turns
        .last()
        .is_some_and(|turn| turn.speaker == Speaker::User);
    if reply_follows && !open {
        return Err(Error::Shape(
            "no reply can follow: the conversation does not end with a question".to_owned(),
        ));
    }
    if let Some(round) = rounds.last_mut().filter(|_| reply_follows) {
        append(&mut round.pieces, "ASSISTANT:");
    }
    Ok(rounds)
}

/// Text after text is one piece.
fn append(pieces: &mut Vec<Option<String>>, text: &str) {
    match pieces.last_mut() {
        Some(Some(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Some(text.to_owned())),
    }
}
