//! A folder's own chat template: `chat_template.jinja`, `chat_template.json`, or the
//! `chat_template` of `tokenizer_config.json`.
//!
//! **Invariant:** special tokens are recognised in what the template writes, never in what a turn
//! says. Before rendering, a mark is put inside every special token that stands in a turn; it keeps
//! the token from being found in the rendered text and is taken out before that is encoded. The
//! template can still trim, split or quote the turn's text as it likes.

use std::path::Path;
use std::sync::Arc;

use super::jinja::{self, Content, Context, Message};
use super::{ConversationTokens, Part, Speaker, Template, Turn, published};
use crate::tokenizer::special::{json_file, text_file};
use crate::{Error, Tokenizer};

/// A noncharacter of Unicode, which no text holds; where one does, it is left out.
const MARK: char = '\u{FDD0}';

/// A Jinja template that makes one text of a conversation.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: Arc<str>,
    /// Whether it takes a turn as a list of parts; else as one text.
    takes_parts: bool,
}

impl ChatTemplate {
    /// The template's text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The template for a model that sees, whose processor in transformers gives a turn as a list of
    /// parts: one that takes texts gets each turn's as [`ChatTemplate::encode`] writes it.
    pub(crate) fn source_for_parts(&self) -> String {
        if self.takes_parts {
            return self.source.to_string();
        }
        format!("{}{}", published::FLATTENED, self.source)
    }

    /// A template from its source.
    ///
    /// # Errors
    /// Text that is no Jinja, or that cannot render a single question.
    pub fn new(source: &str) -> Result<ChatTemplate, Error> {
        const WORD: &str = "Wherefore";
        let probe = |content| {
            let messages = [Message {
                role: "user",
                content,
            }];
            let context = Context {
                messages: &messages,
                bos: Some(String::new()),
                eos: Some(String::new()),
                reply_follows: true,
            };
            jinja::render(source, &context)
        };
        // A template that expects text fails on a list of parts, or writes it out as a value.
        let listed = probe(Content::Parts(vec![Some(WORD.to_owned())]));
        let takes_parts = listed.is_ok_and(|text| {
            text.contains(WORD) && !text.contains("\"type\"") && !text.contains("'type'")
        });
        if !takes_parts {
            let _ = probe(Content::Text(WORD.to_owned()))?;
        }
        Ok(ChatTemplate {
            source: source.into(),
            takes_parts,
        })
    }

    /// A folder's template; `None` where it has none.
    pub fn load(dir: &Path) -> Result<Option<ChatTemplate>, Error> {
        let wrong = |file: &str, detail: String| -> Error {
            sample::Error::format(dir.join(file), detail).into()
        };
        let file = "chat_template.jinja";
        if let Some(source) = text_file(&dir.join(file), jinja::MAX_SOURCE as u64)? {
            let template = ChatTemplate::new(&source);
            return template.map(Some).map_err(|e| wrong(file, e.to_string()));
        }
        for file in ["chat_template.json", "tokenizer_config.json"] {
            let value = json_file(&dir.join(file))?;
            let value = &value["chat_template"];
            let source = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(source) => Some(source.as_str()),
                // Several by name, of which one is for plain conversations.
                list => {
                    let named = |entry: &&serde_json::Value| entry["name"] == "default";
                    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
                    entries
                        .iter()
                        .find(named)
                        .or(entries.first().filter(|_| entries.len() == 1))
                        .and_then(|entry| entry["template"].as_str())
                }
            };
            let Some(source) = source else {
                return Err(wrong(file, "chat_template has no default".to_owned()));
            };
            let template = ChatTemplate::new(source);
            return template.map(Some).map_err(|e| wrong(file, e.to_string()));
        }
        Ok(None)
    }

    /// A published form.
    pub(super) fn named(template: Template) -> ChatTemplate {
        ChatTemplate {
            source: published::source(template).into(),
            takes_parts: true,
        }
    }

    /// The text of a conversation, as transformers' `apply_chat_template` gives it.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        reply_follows: bool,
    ) -> Result<String, Error> {
        let text = self.render_marked(tokenizer, turns, reply_follows)?;
        Ok(text.replace(MARK, ""))
    }

    fn render_marked(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        reply_follows: bool,
    ) -> Result<String, Error> {
        let messages: Vec<Message> = turns
            .iter()
            .map(|turn| Message {
                role: match turn.speaker {
                    Speaker::System => "system",
                    Speaker::User => "user",
                    Speaker::Assistant => "assistant",
                },
                content: self.content(tokenizer, turn),
            })
            .collect();
        let context = Context {
            messages: &messages,
            bos: tokenizer.bos.and_then(|id| tokenizer.token(id)),
            eos: tokenizer.token(tokenizer.eos),
            reply_follows,
        };
        jinja::render(&self.source, &context)
    }

    fn content(&self, tokenizer: &Tokenizer, turn: &Turn) -> Content {
        if self.takes_parts {
            let part = |part: &Part| match part {
                Part::Image => None,
                Part::Text(text) => Some(marked(tokenizer, text)),
            };
            return Content::Parts(turn.parts.iter().map(part).collect());
        }
        // As LLaVA's code writes images into text: they come first, a line each.
        let text = "<image>\n".repeat(turn.images()) + &marked(tokenizer, &turn.words());
        Content::Text(text)
    }

    /// Tokens and labels; the labels are what a turn of the assistant adds to the text that asks
    /// for it, up to and with the token that ends it.
    pub(super) fn encode(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        image_tokens: usize,
        reply_follows: bool,
        max_length: usize,
    ) -> Result<ConversationTokens, Error> {
        let text = self.render_marked(tokenizer, turns, reply_follows)?;
        let replies = if reply_follows {
            Vec::new()
        } else {
            self.replies(tokenizer, turns, &text)?
        };
        let mut found = ConversationTokens::default();
        let first = tokenizer.bos.filter(|_| tokenizer.adds_bos);
        let bos = first.and_then(|id| tokenizer.token(id));
        // Templates for text write the first token themselves; LLaVA's leave it to the tokenizer.
        if bos.is_some_and(|bos| !text.starts_with(&bos)) {
            found.extend(first.as_slice(), false);
        }
        let labelled = |start: usize, end: usize| {
            replies
                .iter()
                .any(|reply| start < reply.end && end > reply.start)
        };
        let mut after_special = false;
        for piece in tokenizer.pieces(&text) {
            match piece.special {
                Some(id) => {
                    found.push(id, labelled(piece.start, piece.end));
                    after_special = true;
                }
                None => {
                    let (plain, origin) = unmarked(&text[piece.start..piece.end]);
                    let tokens = tokenizer.encode_places(&plain, after_special)?;
                    for (id, start, end) in tokens {
                        let at = |place: usize| {
                            piece.start + origin.get(place).copied().unwrap_or(piece.end)
                        };
                        found.push(id, labelled(at(start), at(end.max(1) - 1) + 1));
                    }
                }
            }
        }
        found.expand(tokenizer, image_tokens, max_length);
        Ok(found)
    }

    /// Where in the rendered text the replies are.
    fn replies(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        text: &str,
    ) -> Result<Vec<std::ops::Range<usize>>, Error> {
        let mut replies = Vec::new();
        for (index, turn) in turns.iter().enumerate() {
            if turn.speaker != Speaker::Assistant {
                continue;
            }
            let asked = self.render_marked(tokenizer, &turns[..index], true)?;
            let answered = self.render_marked(tokenizer, &turns[..=index], false)?;
            if !answered.starts_with(&asked) || !text.starts_with(&answered) {
                return Err(Error::Shape(format!(
                    "the chat template writes turn {} otherwise once others follow it: there \
                     is no telling what of it is the reply",
                    index + 1
                )));
            }
            // The line break that some forms write after the reply's end is nobody's to learn.
            let end = answered.trim_end().len();
            let ends_special = tokenizer
                .pieces(&answered[..end])
                .last()
                .is_some_and(|piece| piece.special.is_some());
            let end = if ends_special { end } else { answered.len() };
            replies.push(asked.len()..end);
        }
        Ok(replies)
    }
}

/// A turn's text with every special token in it broken up.
fn marked(tokenizer: &Tokenizer, text: &str) -> String {
    let text = text.replace(MARK, "");
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        out.push(c);
        if tokenizer.special_at(&text[at..]).is_some() {
            out.push(MARK);
        }
    }
    out
}

/// Text without the marks, and for each of its bytes where it stood.
fn unmarked(text: &str) -> (String, Vec<usize>) {
    let mut origin = Vec::with_capacity(text.len());
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices().filter(|&(_, c)| c != MARK) {
        out.push(c);
        origin.extend(at..at + c.len_utf8());
    }
    (out, origin)
}
