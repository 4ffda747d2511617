//! Conversations about an image, as LLaVA, MathV360K and LLaMA-Factory write them down.
//!
//! The three share their parts under different names: `image` or `images`, `conversations` with
//! `from` and `value` or `messages` with `role` and `content`. A row is read with borrowed texts,
//! since files of them have hundreds of thousands; only one that cannot be is read once more to say
//! why.

use std::borrow::Cow;
use std::ops::ControlFlow;

use sample::Task;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::Fields;
use super::prompted::{self, without_image};
use super::{Fault, Picture, Record, opening, typed, under};
use crate::rows::{Rows, first};
use crate::tree::Tree;

/// One row.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry<'a> {
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    images: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "messages", alias = "conversation")]
    conversations: Option<Vec<Turn<'a>>>,
    #[serde(borrow, default)]
    sample: Option<&'a RawValue>,
    #[serde(borrow, default)]
    task: Option<&'a RawValue>,
}

/// One turn.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn<'a> {
    #[serde(borrow, alias = "role")]
    from: Cow<'a, str>,
    #[serde(borrow, alias = "content")]
    value: Cow<'a, str>,
}

/// Reads a row.
pub(crate) fn parse(text: &str) -> Result<Entry<'_>, Fault> {
    // A list would do for a struct, too.
    if text.starts_with('{') && !text.contains('\u{FFFD}') {
        match serde_json::from_str(text) {
            Ok(entry) => return Ok(entry),
            Err(e) => {
                Fields::parse(text)?;
                return Err(Fault::new("field_mistyped", e.to_string()));
            }
        }
    }
    // Says where the bytes are that are not UTF-8.
    Fields::parse(text)?;
    Err(Fault::new("not_utf8", "bytes that are not UTF-8"))
}

/// A text or number as text; `None` for anything else, and for nothing.
fn plain(raw: Option<&RawValue>) -> Option<String> {
    let json = raw?.get();
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).ok()?;
        let trimmed = text.trim();
        return match trimmed.len() {
            0 => None,
            n if n == text.len() => Some(text),
            _ => Some(trimmed.to_owned()),
        };
    }
    json.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        .then(|| json.to_owned())
}

impl Entry<'_> {
    /// The published name.
    pub(crate) fn id(&self) -> Option<String> {
        plain(self.id)
    }

    /// The path of its only image; an entry may have none.
    pub(crate) fn image(&self) -> Result<Option<String>, Fault> {
        let Some(raw) = self.image.or(self.images) else {
            return Ok(None);
        };
        if let Some(path) = plain(Some(raw)) {
            return Ok(Some(path));
        }
        let paths: Vec<Cow<'_, str>> = match raw.get().trim_start().as_bytes() {
            [b'"', ..] => Vec::new(),
            _ => serde_json::from_str(raw.get()).map_err(|e| {
                Fault::new("field_mistyped", format!("the image should be a path: {e}"))
            })?,
        };
        match paths.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone().into_owned())),
            more => {
                let detail = format!("{} images: a question has one here", more.len());
                Err(Fault::new("several_images", detail))
            }
        }
    }

    /// The task it names.
    pub(crate) fn task(&self) -> Option<Task> {
        Task::parse(&plain(self.task)?)
    }

    /// The typed record beside the conversation.
    pub(crate) fn sample(&self) -> Option<&RawValue> {
        self.sample
    }

    /// Whether it has a conversation.
    pub(crate) fn has_turns(&self) -> bool {
        self.conversations.is_some()
    }

    /// Whether it has a list of images.
    pub(crate) fn has_list_of_images(&self) -> bool {
        self.images.is_some()
    }

    /// What people ask, with the reply to each, in order.
    pub(crate) fn pairs(&self) -> Result<Vec<(&str, &str)>, Fault> {
        let Some(turns) = &self.conversations else {
            let detail = "field \"conversations\" is missing";
            return Err(Fault::new("field_missing", detail));
        };
        let wrong = |detail: String| Err(Fault::new("turns_out_of_order", detail));
        let mut pairs = Vec::with_capacity(turns.len() / 2);
        let mut asked: Option<&str> = None;
        for turn in turns {
            match (turn.from.as_ref(), asked) {
                ("system", None) => {}
                ("human" | "user", None) => asked = Some(&turn.value),
                ("gpt" | "assistant" | "model", Some(question)) => {
                    pairs.push((question, turn.value.as_ref()));
                    asked = None;
                }
                (who, _) => return wrong(format!("a turn of {who:?} where none should be")),
            }
        }
        if asked.is_some() || pairs.is_empty() {
            return wrong("no reply to what was asked".to_owned());
        }
        Ok(pairs)
    }

    /// One record for each question, or the record that was exported. `row` names the first, and
    /// those after it with their number.
    pub(crate) fn records(&self, row: &str, images: &str) -> Vec<Result<Record, Fault>> {
        let image = match self.image() {
            Ok(Some(image)) => image,
            Ok(None) => {
                let detail = "a conversation without an image";
                return vec![Err(Fault::new("no_image", detail))];
            }
            Err(fault) => return vec![Err(fault)],
        };
        let task = self.task().or_else(|| task_of_path(&image));
        let picture = Picture::File(under(images, &image));
        if let Some(json) = self.sample {
            return vec![typed::whole(json, picture)];
        }
        self.asked(row, picture, task)
    }

    /// As [`Entry::records`], with the image given.
    pub(crate) fn records_of(&self, row: &str, picture: Picture) -> Vec<Result<Record, Fault>> {
        match self.sample {
            Some(json) => vec![typed::whole(json, picture)],
            None => self.asked(row, picture, self.task()),
        }
    }

    fn asked(&self, row: &str, picture: Picture, task: Option<Task>) -> Vec<Result<Record, Fault>> {
        let pairs = match self.pairs() {
            Ok(pairs) => pairs,
            Err(fault) => return vec![Err(fault)],
        };
        let is_only = pairs.len() == 1;
        pairs
            .into_iter()
            .enumerate()
            .map(|(turn, (asked, replied))| {
                let row = if is_only {
                    row.to_owned()
                } else {
                    format!("{row}/{turn}")
                };
                let record = record(row, picture.clone(), asked, replied)?;
                Ok(Record { task, ..record })
            })
            .collect()
    }
}

/// What a question and the reply to it say, in MathV360K's form or in their own words.
pub(crate) fn record(
    row: String,
    picture: Picture,
    asked: &str,
    replied: &str,
) -> Result<Record, Fault> {
    let read = prompted::question(asked).unwrap_or_else(|| prompted::Prompted {
        question: without_image(asked),
        choices: Vec::new(),
        unit: None,
    });
    if read.question.is_empty() {
        return Err(Fault::new("field_empty", "nothing is asked"));
    }
    let (answer, rationale) = prompted::answer(replied, &read.choices)?;
    Ok(Record {
        row,
        image: picture,
        template: opening(&read.question, 2),
        language: language(&read.question),
        question: read.question,
        choices: read.choices,
        answer,
        unit: read.unit,
        rationale,
        family: None,
        scene: None,
        task: None,
        whole: None,
    })
}

/// `zh` where there are Chinese characters, else `en`.
pub(crate) fn language(text: &str) -> &'static str {
    let is_chinese = |c: char| ('\u{4E00}'..='\u{9FFF}').contains(&c);
    if !text.is_ascii() && text.chars().any(is_chinese) {
        "zh"
    } else {
        "en"
    }
}

/// The task that the paper's Table 6 counts the data set under which a folder of the path is named
/// after.
pub(crate) fn task_of_path(path: &str) -> Option<Task> {
    path.split('/').find_map(task_of_source)
}

/// The same for a name in any case, with or without what is no letter or digit.
pub(crate) fn task_of_source(name: &str) -> Option<Task> {
    let mut plain = [0u8; 16];
    let mut length = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        *plain.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    Some(match &plain[..length] {
        b"docvqa" | b"infographicvqa" | b"figureqa" | b"dvqa" | b"plotqa" | b"chartqa"
        | b"mapqa" => Task::Fqa,
        b"iconqa" | b"clevrmath" | b"tabmwp" => Task::Mwp,
        b"geos" | b"geometry3k" | b"geoqa" | b"geoqaplus" | b"unigeo" => Task::Gps,
        b"tqa" | b"ai2d" | b"scienceqa" => Task::Tqa,
        b"aokvqa" | b"vqa20" | b"vqav2" | b"vqa2" | b"pmcvqa" | b"vizwiz" | b"superclevr"
        | b"vqaas" | b"vqarad" | b"textvqa" => Task::Vqa,
        _ => return None,
    })
}

/// Rows that are looked at to tell what a file is.
const LOOKED_AT: usize = 32;

/// A file of conversations, as its first rows show it.
pub(crate) struct Kind {
    pub rows: Rows,
    /// The file's name without its ending.
    pub stem: String,
    pub has_list_of_images: bool,
    pub has_roles: bool,
    /// The folder that image paths start from.
    pub images: String,
}

/// The files of conversations in the root and in `data`.
pub(crate) fn files(tree: &Tree) -> Vec<Kind> {
    ["", "data"]
        .iter()
        .flat_map(|home| {
            let lists = tree.files_ending(home, ".json").into_iter();
            lists.chain(tree.files_ending(home, ".jsonl"))
        })
        .filter_map(|file| kind(tree, &file))
        .collect()
}

fn kind(tree: &Tree, file: &str) -> Option<Kind> {
    let (stem, rows) = rows_of(file)?;
    let (mut kind, mut is_found) = (None, false);
    first(tree, &rows, LOOKED_AT, &mut |text, _| {
        let Ok(entry) = parse(text) else {
            return ControlFlow::Continue(());
        };
        if !entry.has_turns() {
            return ControlFlow::Continue(());
        }
        let image = entry.image().ok().flatten();
        let places = ["", "images", "data_images", "image", "data"];
        let found = image.as_ref().and_then(|image| {
            let there = |place: &&&str| tree.has(&under(place, image));
            places.iter().find(there).map(|place| (*place).to_owned())
        });
        is_found = found.is_some();
        let known = kind.get_or_insert_with(|| Kind {
            rows: rows.clone(),
            stem: stem.to_owned(),
            has_list_of_images: entry.has_list_of_images(),
            has_roles: text.contains("\"role\""),
            images: String::new(),
        });
        if let Some(place) = found {
            known.images = place;
        }
        // Text-only rows come between, and some images may be missing.
        if is_found {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    kind
}

/// `train` and its rows for `train.json` and `train.jsonl`.
pub(crate) fn rows_of(file: &str) -> Option<(&str, Rows)> {
    let name = file.rsplit('/').next().unwrap_or(file);
    if let Some(stem) = name.strip_suffix(".json") {
        return Some((stem, Rows::json(file, crate::rows::Shape::List)));
    }
    let stem = name.strip_suffix(".jsonl")?;
    let file = file.to_owned();
    Some((stem, Rows::JsonLines { file }))
}
