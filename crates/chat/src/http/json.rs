//! JSON out of what a language model wrote.
//!
//! Servers without schemas give JSON inside fences, between sentences, in Python's spelling, or cut
//! off at the token limit. What is meant is read where it is plain; nothing is made up but the
//! brackets that were still open at the end.

use serde_json::{Map, Value};

/// Deeper nesting is not read: no reply that was asked for has it.
const DEPTH: usize = 64;
/// So many places of a text are tried as the beginning of a value; bounds the work on junk.
const STARTS: usize = 256;

/// The JSON value in `text`: the whole text where that is valid JSON, else the object or array in it
/// that spans the most text.
pub fn repair(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    // What a model thinks aloud may hold drafts.
    let answer = text.rsplit("</think>").next().unwrap_or(text);
    best(answer).or_else(|| best(text))
}

fn best(text: &str) -> Option<Value> {
    let mut found: Option<(usize, Value)> = None;
    let mut from = 0;
    for _ in 0..STARTS {
        let Some(start) = text[from..].find(['{', '[']).map(|n| from + n) else {
            break;
        };
        from = start + 1;
        if let Some((value, end)) = value_at(text, start) {
            from = end;
            if found.as_ref().is_none_or(|(span, _)| end - start > *span) {
                found = Some((end - start, value));
            }
        }
    }
    found.map(|(_, value)| value)
}

/// The value that begins at `start`, and where it ends.
fn value_at(text: &str, start: usize) -> Option<(Value, usize)> {
    let mut strict = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    if let Some(Ok(value)) = strict.next() {
        return Some((value, start + strict.byte_offset()));
    }
    let mut reader = Reader { text, at: start };
    let value = reader.value(0)?;
    Some((value, reader.at))
}

/// Reads JSON as people and models write it. `None` is no JSON at all.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let trimmed = self.rest().trim_start().len();
        self.at = self.text.len() - trimmed;
    }

    fn take(&mut self, expected: char) -> bool {
        let there = self.peek() == Some(expected);
        if there {
            self.at += expected.len_utf8();
        }
        there
    }

    /// Whether the text, or the fence around it, is over.
    fn ended(&self) -> bool {
        self.rest().is_empty() || self.rest().starts_with("```")
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' | '\'' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.take('{');
        let mut map = Map::new();
        loop {
            self.skip_space();
            if self.take('}') || self.ended() {
                return Some(Value::Object(map));
            }
            if self.take(',') {
                continue;
            }
            let key = match self.peek()? {
                '"' | '\'' => self.string()?,
                _ => self.name()?,
            };
            self.skip_space();
            if self.ended() {
                return Some(Value::Object(map));
            }
            if !self.take(':') {
                return None;
            }
            self.skip_space();
            if self.ended() {
                return Some(Value::Object(map));
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.skip_space();
            if !self.ended() && !self.rest().starts_with([',', '}']) {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.take('[');
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(']') || self.ended() {
                return Some(Value::Array(items));
            }
            if self.take(',') {
                continue;
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if !self.ended() && !self.rest().starts_with([',', ']']) {
                return None;
            }
        }
    }

    /// A key without quotes.
    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        (!name.is_empty()).then_some(name)
    }

    /// A number, or a constant in the spelling of JSON, Python or JavaScript.
    fn word(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.' | '_'))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let begins_one = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
                || ["true", "false", "null", "True", "False", "None"]
                    .iter()
                    .any(|constant| constant.starts_with(word))
        };
        if end == rest.len() && begins_one(word) {
            // What was cut off cannot be known: there may have been more digits.
            self.at = self.text.len();
            return Some(Value::Null);
        }
        let value = match word {
            "true" | "True" => Value::Bool(true),
            "false" | "False" => Value::Bool(false),
            "null" | "None" | "undefined" | "NaN" | "nan" => Value::Null,
            _ => number(word)?,
        };
        self.at += end;
        Some(value)
    }

    /// A string in either kind of quotes. One that stands inside it unescaped does not end it: what
    /// ends a string is followed by `,`, `:`, a closing bracket or the end of the text.
    fn string(&mut self) -> Option<String> {
        let quote = self.peek()?;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            if c == '\\' {
                self.escape(&mut text);
            } else if c == quote && self.closes() {
                return Some(text);
            } else {
                text.push(c);
            }
        }
        let fence = text.trim_end().trim_end_matches("```").trim_end().len();
        if fence < text.trim_end().len() {
            text.truncate(fence);
        }
        Some(text)
    }

    fn closes(&self) -> bool {
        let rest = self.rest().trim_start();
        rest.is_empty() || rest.starts_with([',', ':', '}', ']']) || rest.starts_with("```")
    }

    /// One escape; the backslash is read. Those that JSON does not have are LaTeX's, and stay. So do
    /// `\b` and `\f` before a letter: nobody writes a form feed, many write `\frac`.
    fn escape(&mut self, text: &mut String) {
        let Some(c) = self.peek() else {
            return;
        };
        self.at += c.len_utf8();
        let before_letter = self.peek().is_some_and(|c| c.is_ascii_alphabetic());
        match c {
            '"' | '\'' | '\\' | '/' => text.push(c),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' if !before_letter => text.push('\u{8}'),
            'f' if !before_letter => text.push('\u{c}'),
            'u' => match self.code_unit() {
                Some(high @ 0xD800..=0xDBFF) => {
                    let low = self.rest().starts_with("\\u").then(|| {
                        self.at += 2;
                        self.code_unit()
                    });
                    let pair = [high, low.flatten().unwrap_or_default()];
                    let c = char::decode_utf16(pair).next().and_then(Result::ok);
                    text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(unit) => {
                    let c = char::from_u32(u32::from(unit));
                    text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                None => text.push_str("\\u"),
            },
            other => {
                text.push('\\');
                text.push(other);
            }
        }
    }

    fn code_unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(unit)
    }
}

fn number(word: &str) -> Option<Value> {
    let plain = word.strip_prefix('+').unwrap_or(word).replace('_', "");
    if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
        return None;
    }
    if let Ok(whole) = plain.parse::<i64>() {
        return Some(whole.into());
    }
    serde_json::Number::from_f64(plain.parse().ok()?).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_models_write_around_and_instead_of_json_is_read() {
        let cases = [
            (r#"{"a": 1}"#, json!({"a": 1})),
            ("```json\n{\"a\": 1}\n```", json!({"a": 1})),
            (
                "Sure!\n```\n{\"a\": [1, 2,]}\n```\nBye.",
                json!({"a": [1, 2]}),
            ),
            ("The [1] answer is {\"a\": 1}.", json!({"a": 1})),
            (
                "{'a': 'it's', 'b': True, 'c': None}",
                json!({"a": "it's", "b": true, "c": null}),
            ),
            (
                r#"{a: 1, b_2: -0.5, c: +3, d: .5}"#,
                json!({"a": 1, "b_2": -0.5, "c": 3, "d": 0.5}),
            ),
            (r#"{"a": ["x", "y"#, json!({"a": ["x", "y"]})),
            (r#"{"a": 1, "b"#, json!({"a": 1})),
            (r#"{"a": 1, "b":"#, json!({"a": 1})),
            (
                r#"{"a": {"b": [1, {"c": 2"#,
                json!({"a": {"b": [1, {"c": null}]}}),
            ),
            (r#"{"a": tru"#, json!({"a": null})),
            (r#"{"a": 1, "b": [-"#, json!({"a": 1, "b": [null]})),
            ("{\"a\": \"two\nlines\"}", json!({"a": "two\nlines"})),
            (
                r#"{"a": "\sqrt{2} is \(x\)",}"#,
                json!({"a": r"\sqrt{2} is \(x\)"}),
            ),
            (r#"{"a": "\frac12 \sin",}"#, json!({"a": r"\frac12 \sin"})),
            (
                r#"{"a": "say "hi" twice"}"#,
                json!({"a": r#"say "hi" twice"#}),
            ),
            (
                r#"{"a": "\u00e9\ud83d\ude00 \ud83d \uzz",}"#,
                json!({"a": "é😀 \u{fffd} \\uzz"}),
            ),
            (
                "<think>{\"draft\": [1, 2, 3, 4]}</think>{\"a\": 1}",
                json!({"a": 1}),
            ),
            ("```json\n{\"a\": \"cut\n```", json!({"a": "cut"})),
            ("[1]", json!([1])),
        ];
        for (text, value) in cases {
            assert_eq!(repair(text), Some(value), "{text}");
        }
    }

    #[test]
    fn prose_is_no_json() {
        for text in [
            "",
            "no",
            "a {b} c",
            "{1 2}",
            "f(x) = [x",
            "[a]",
            &"[".repeat(1000),
        ] {
            let value = repair(text);
            let empty = value == Some(json!([]));
            assert!(value.is_none() || empty, "{text}: {value:?}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((".{0,6}", inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_comes_back_equal(value in any_json()) {
            prop_assert_eq!(repair(&value.to_string()), Some(value.clone()));
            if value.is_object() {
                let fenced = format!("Here:\n```json\n{value:#}\n```");
                prop_assert_eq!(repair(&fenced), Some(value));
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in r#"([\[\]{}:,'"\\\n ]|[a-z0-9é]|```|\\u|\\ud83d|True|-|\.)*"#) {
            repair(&text);
        }

        #[test]
        fn json_cut_off_anywhere_gives_some_of_it(value in any_json(), cut in any::<prop::sample::Index>()) {
            let text = json!({"first": 1, "rest": value}).to_string();
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).filter(|at| *at > 10).collect();
            let part = &text[..ends[cut.index(ends.len())]];
            prop_assert_eq!(repair(part).and_then(|v| v.get("first").cloned()), Some(json!(1)), "{}", part);
        }
    }
}
