//! LLaVA's instruction data: `llava_v1_5_mix665k.json`, `blip_laion_cc_sbu_558k.json`, and whatever
//! has their form.
//!
//! ```json
//! [{"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations": [
//!     {"from": "human", "value": "<image>\nWhat are the colors of the bus in the image?"},
//!     {"from": "gpt", "value": "The bus in the image is white and red."},
//!     {"from": "human", "value": "What feature can be seen on the back of the bus?"},
//!     {"from": "gpt", "value": "The back of the bus features an advertisement."}]}]
//! ```
//!
//! Rows of text have no `image`. The list is read row by row, whatever its length. A row that does
//! not have this form is a [`Reject`]; a file that is not JSON ends the reading with its place.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use sample::prompt::IMAGE_TOKEN;
use sample::{Reject, interrupt, progress};
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;

use super::{Example, ExampleImage, Round};
use crate::Error;

/// No row may have more bytes of JSON; LLaVA's longest has 40 kB.
const LONGEST_ROW: u64 = 8 << 20;

/// All rows of a file, and what could not be used of it. `source` names the file in rejects.
///
/// # Errors
/// A file that cannot be read or is no JSON list; [`sample::Error::Interrupted`] on a stop.
pub fn read_conversations(path: &Path, source: &str) -> Result<(Vec<Example>, Vec<Reject>), Error> {
    let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
    let length = file.metadata().map_or(0, |meta| meta.len());
    let bar = progress::bar("read", length >> 10, "KiB");
    let (mut examples, mut rejects) = (Vec::new(), Vec::new());
    let mut shown = 0;
    parse_conversations(BufReader::new(file), source, |row, read| {
        match row {
            Ok(example) => examples.push(example),
            Err(reject) => rejects.push(reject),
        }
        bar.inc((read >> 10) - shown);
        shown = read >> 10;
    })
    .map_err(|error| match error {
        Error::Data(detail) => sample::Error::format(path, detail).into(),
        other => other,
    })?;
    bar.finish();
    Ok((examples, rejects))
}

/// Hands each row of a JSON list to `each`, with how many bytes were read so far.
///
/// # Errors
/// Text that is no JSON list, or a row that is too long to be one.
pub fn parse_conversations(
    reader: impl Read,
    source: &str,
    each: impl FnMut(Result<Example, Reject>, u64),
) -> Result<(), Error> {
    let (read, limit) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(LONGEST_ROW)));
    let rows = Rows {
        source,
        each,
        read: Rc::clone(&read),
        limit: Rc::clone(&limit),
    };
    let reader = Metered {
        inner: reader,
        read,
        limit,
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let found = json.deserialize_seq(rows).and_then(|stop| {
        if stop.is_none() {
            json.end()?;
        }
        Ok(stop)
    });
    match found {
        Ok(None) => Ok(()),
        Ok(Some(stop)) => Err(stop.into()),
        Err(error) => Err(Error::Data(format!(
            "not a JSON list of conversations: {error}"
        ))),
    }
}

/// Counts bytes, and refuses more than a row may have.
struct Metered<R> {
    inner: R,
    read: Rc<Cell<u64>>,
    /// Moved ahead with each row.
    limit: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() >= self.limit.get() {
            let detail = format!("a row has more than {LONGEST_ROW} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let n = self.inner.read(buffer)?;
        self.read.set(self.read.get() + n as u64);
        Ok(n)
    }
}

struct Rows<'a, F> {
    source: &'a str,
    each: F,
    read: Rc<Cell<u64>>,
    limit: Rc<Cell<u64>>,
}

impl<'de, F: FnMut(Result<Example, Reject>, u64)> Visitor<'de> for Rows<'_, F> {
    /// A stop, if one was asked for.
    type Value = Option<sample::Error>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut number = 0u64;
        while let Some(row) = rows.next_element::<Value>()? {
            if let Err(stop) = interrupt::check() {
                return Ok(Some(stop));
            }
            let read = self.read.get();
            self.limit.set(read + LONGEST_ROW);
            (self.each)(example(row, number, self.source), read);
            number += 1;
        }
        Ok(None)
    }
}

/// Why a row cannot be used: the word to count by, and the sentence.
type Unusable = (&'static str, String);

/// One row as an example.
fn example(row: Value, number: u64, source: &str) -> Result<Example, Reject> {
    let id = match &row["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => format!("row {number}"),
    };
    let built = build(row, id.clone(), source);
    built.map_err(|(reason, detail)| Reject {
        source: source.to_owned(),
        row: id,
        reason: reason.to_owned(),
        detail: format!("row {number} of the list: {detail}"),
    })
}

fn build(mut row: Value, id: String, source: &str) -> Result<Example, Unusable> {
    if !row.is_object() {
        return Err(("bad_row", "not an object".to_owned()));
    }
    let image = match row["image"].take() {
        Value::Null => None,
        Value::String(path) if !path.is_empty() => Some(ExampleImage {
            path,
            sha256: String::new(),
        }),
        Value::Array(_) => {
            let detail = "several images; training takes one a conversation";
            return Err(("several_images", detail.to_owned()));
        }
        other => return Err(("bad_row", format!("image is {other}, not a path"))),
    };
    let Value::Array(turns) = row["conversations"].take() else {
        return Err(("bad_row", "conversations is not a list".to_owned()));
    };
    let (rounds, shown_in) = rounds(turns, image.is_some())?;
    match (&image, shown_in.as_slice()) {
        (None, _) | (Some(_), [_]) => {}
        (Some(_), []) => {
            let detail = format!("has an image that no question shows by {IMAGE_TOKEN}");
            return Err(("image_token", detail));
        }
        (Some(_), several) => {
            let detail = format!("{IMAGE_TOKEN} is said {} times", several.len());
            return Err(("several_images", detail));
        }
    }
    Ok(Example {
        id,
        source: source.to_owned(),
        image,
        shown_in: shown_in.first().copied().unwrap_or(0),
        rounds,
    })
}

/// The rounds, and the round of each image token in a question. Without an image the token is text,
/// as when people speak of HTML.
fn rounds(turns: Vec<Value>, image: bool) -> Result<(Vec<Round>, Vec<usize>), Unusable> {
    let mut rounds: Vec<Round> = Vec::new();
    let mut shown_in = Vec::new();
    let mut question: Option<String> = None;
    for (index, mut turn) in turns.into_iter().enumerate() {
        let wrong = |detail: String| Err(("turns", format!("turn {index}: {detail}")));
        let (from, value) = match turn.as_object_mut() {
            Some(turn) => (turn.remove("from"), turn.remove("value")),
            None => return wrong("not an object".to_owned()),
        };
        let (Some(Value::String(from)), Some(Value::String(value))) = (from, value) else {
            return wrong("from and value must be text".to_owned());
        };
        match (from.as_str(), question.take()) {
            ("human", None) => {
                // Wherever it stands, LLaVA's code puts the image first in its turn.
                let said = if image && value.contains(IMAGE_TOKEN) {
                    shown_in.extend(value.matches(IMAGE_TOKEN).map(|_| rounds.len()));
                    value.replace(IMAGE_TOKEN, "").trim().to_owned()
                } else {
                    value
                };
                question = Some(said);
            }
            ("gpt", Some(question)) => rounds.push(Round {
                question,
                reply: value,
            }),
            // LLaVA leaves out what the model says before it is asked.
            ("gpt", None) if index == 0 => {}
            ("human" | "gpt", _) => return wrong(format!("{from} speaks out of turn")),
            _ => return wrong(format!("from is {from:?}, not human or gpt")),
        }
    }
    match (rounds.is_empty(), question) {
        (_, Some(_)) => Err(("turns", "the last question has no reply".to_owned())),
        (true, None) => Err(("turns", "no question and reply".to_owned())),
        (false, None) => Ok((rounds, shown_in)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<(Vec<Example>, Vec<Reject>), Error> {
        let (mut examples, mut rejects) = (Vec::new(), Vec::new());
        parse_conversations(text.as_bytes(), "mix", |row, _| match row {
            Ok(example) => examples.push(example),
            Err(reject) => rejects.push(reject),
        })?;
        Ok((examples, rejects))
    }

    fn turn(from: &str, value: &str) -> Value {
        json!({"from": from, "value": value})
    }

    #[test]
    fn rows_with_and_without_an_image_become_rounds_and_the_image_stands_where_it_was_shown() {
        let rows = json!([
            {"id": "one", "image": "coco/1.jpg", "conversations": [
                turn("human", "<image>\nWhat is it?"), turn("gpt", "A bus."),
                turn("human", "Which colour?"), turn("gpt", "Red.")]},
            {"id": 7, "model": "gpt-4", "conversations": [
                turn("gpt", "Hello!"), turn("human", " Who's <image>? "), turn("gpt", "")]},
            {"image": "2.png", "conversations": [
                turn("human", "Look."), turn("gpt", "At <image>?"),
                turn("human", " this\n<image>"), turn("gpt", "I see.")]},
        ]);
        let (examples, rejects) = parse(&rows.to_string()).unwrap();
        assert_eq!(rejects, []);
        let ids: Vec<&str> = examples.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["one", "7", "row 2"]);
        let said = |n: usize| -> Vec<(&str, &str)> {
            let rounds = examples[n].rounds.iter();
            rounds
                .map(|r| (r.question.as_str(), r.reply.as_str()))
                .collect()
        };
        assert_eq!(
            said(0),
            [("What is it?", "A bus."), ("Which colour?", "Red.")]
        );
        assert_eq!(said(1), [(" Who's <image>? ", "")]);
        assert_eq!(said(2), [("Look.", "At <image>?"), ("this", "I see.")]);
        let path = |n: usize| examples[n].image.as_ref().map(|i| i.path.as_str());
        assert_eq!(
            [path(0), path(1), path(2)],
            [Some("coco/1.jpg"), None, Some("2.png")]
        );
        assert_eq!(
            examples.iter().map(|e| e.shown_in).collect::<Vec<_>>(),
            [0, 0, 1]
        );
    }

    #[test]
    fn rows_that_cannot_be_used_are_rejected_by_name_and_the_rest_is_read() {
        let asked = [turn("human", "a"), turn("gpt", "b")];
        let shown = [turn("human", "<image>a"), turn("gpt", "b")];
        let cases = [
            (json!(3), "bad_row", "not an object"),
            (json!({"conversations": "no"}), "bad_row", "not a list"),
            (
                json!({"image": 3, "conversations": asked}),
                "bad_row",
                "image is 3",
            ),
            (
                json!({"image": ["a", "b"], "conversations": shown}),
                "several_images",
                "several",
            ),
            (
                json!({"image": "a", "conversations": [turn("human", "<image><image>"), turn("gpt", "b")]}),
                "several_images",
                "2 times",
            ),
            (
                json!({"image": "a", "conversations": asked}),
                "image_token",
                "no question shows",
            ),
            (json!({"conversations": []}), "turns", "no question"),
            (
                json!({"conversations": [turn("human", "a")]}),
                "turns",
                "no reply",
            ),
            (
                json!({"conversations": [turn("human", "a"), turn("human", "b")]}),
                "turns",
                "turn 1",
            ),
            (
                json!({"conversations": [turn("system", "a")]}),
                "turns",
                "system",
            ),
            (
                json!({"conversations": [{"from": "human"}]}),
                "turns",
                "must be text",
            ),
            (json!({"conversations": [3]}), "turns", "not an object"),
        ];
        let mut rows: Vec<Value> = cases.iter().map(|(row, ..)| row.clone()).collect();
        rows.push(json!({"id": "last", "conversations": asked}));
        let (examples, rejects) = parse(&Value::from(rows).to_string()).unwrap();
        assert_eq!((examples.len(), examples[0].id.as_str()), (1, "last"));
        assert_eq!(rejects.len(), cases.len());
        for (number, (reject, (_, reason, detail))) in rejects.iter().zip(cases).enumerate() {
            assert_eq!(reject.reason, reason, "{reject:?}");
            assert!(reject.detail.contains(detail), "{reject:?}");
            assert_eq!(
                (reject.source.as_str(), reject.row.as_str()),
                ("mix", &*format!("row {number}"))
            );
        }
    }

    #[test]
    fn what_is_no_json_list_is_an_error_with_its_place() {
        let deep = format!("[{}", "[".repeat(100_000));
        for text in [
            "",
            "{}",
            "[",
            "[{\"id\": 1}",
            "[{\"id\" 1}]",
            "[] x",
            "nonsense",
            &deep,
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains("line 1") || error.contains("invalid type"),
                "{error}"
            );
        }
        let long = format!("[{{\"id\": \"{}", "x".repeat(LONGEST_ROW as usize));
        let error = parse(&long).unwrap_err().to_string();
        assert!(error.contains("a row has more than"), "{error}");
    }

    #[test]
    fn many_rows_may_have_more_bytes_together_than_one_may() {
        let reply = "y".repeat(1 << 20);
        let row = json!({"conversations": [turn("human", "x"), turn("gpt", &reply)]}).to_string();
        let text = format!("[{}]", vec![row; 20].join(","));
        assert_eq!(parse(&text).unwrap().0.len(), 20);
    }

    /// JSON that is often nearly right.
    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            Just("human".to_owned()),
            Just("gpt".to_owned()),
            Just("<image>\nWhat?".to_owned()),
            any::<String>()
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
            any::<f64>().prop_map(Value::from)
        ];
        let key = prop_oneof![
            Just("id"),
            Just("image"),
            Just("conversations"),
            Just("from"),
            Just("value"),
            Just("x")
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_row_of_any_json_is_an_example_or_a_reject(rows in prop::collection::vec(value(), 0..9)) {
            let text = Value::from(rows.clone()).to_string();
            let (examples, rejects) = parse(&text).unwrap();
            prop_assert_eq!(examples.len() + rejects.len(), rows.len());
            for example in examples {
                prop_assert!(!example.rounds.is_empty() && example.shown_in < example.rounds.len());
            }
        }

        #[test]
        fn bytes_that_are_changed_or_cut_never_panic(
            rows in prop::collection::vec(value(), 1..5),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = Value::from(rows).to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            let mut seen = 0;
            let read = parse_conversations(bytes.as_slice(), "mix", |_, _| seen += 1);
            prop_assert!(read.is_ok() || !read.unwrap_err().to_string().is_empty());
            prop_assert!(seen <= bytes.len());
        }
    }
}
