//! Published data sets, each read in the layout its authors publish.
//!
//! One data set is one file here and one line in [`SOURCES`]; the file's doc comment is the page a
//! user reads. An adapter knows where the rows lie ([`Source::find`]) and what a row means
//! ([`Source::row`], a pure function from text to [`Record`], which no text makes panic). It opens
//! no image and writes nothing.

mod chartqa;
mod fields;
mod figureqa;
mod json;
mod tabmwp;

use std::path::{Path, PathBuf};

use sample::{Answer, Task};

use crate::Error;
pub(crate) use json::{Key, Shape, rows};

/// Every published data set that can be imported.
pub static SOURCES: &[&dyn Source] = &[&figureqa::FigureQa, &tabmwp::TabMwp, &chartqa::ChartQa];

/// One published data set.
pub trait Source: Sync {
    /// The word for it on the command line and in ids, `tabmwp`.
    fn name(&self) -> &'static str;
    /// Its name in print, `TabMWP`.
    fn title(&self) -> &'static str;
    /// The task that the paper's Table 6 counts it under.
    fn task(&self) -> Task;
    /// The licence its authors give it.
    fn licence(&self) -> &'static str;
    /// Where it is published.
    fn url(&self) -> &'static str;
    /// The files that are looked for below the root, `<...>` standing for what varies.
    fn layout(&self) -> &'static [&'static str];
    /// Where the rows lie below `root`; empty where the data set is not there.
    fn find(&self, root: &Path) -> Result<Vec<Part>, Error>;
    /// How the rows lie in each part's file.
    fn shape(&self) -> RowShape;
    /// What a row's text means. `key` is its name, or its position in decimal.
    fn row(&self, part: &Part, key: &str, text: &str) -> Result<Record, Fault>;
}

/// How rows lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowShape {
    /// A JSON list.
    List,
    /// A JSON object with the list under this key.
    ListUnder(&'static str),
    /// A JSON object of rows by name.
    Object,
}

impl RowShape {
    pub(crate) fn json(self) -> Shape {
        match self {
            RowShape::List => Shape::List,
            RowShape::ListUnder(key) => Shape::ListUnder(key),
            RowShape::Object => Shape::Object,
        }
    }
}

/// One file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The split as its authors call it, `train1`.
    pub split: String,
    /// What tells the parts of one split apart (`human`), or empty.
    pub kind: &'static str,
    /// The file of rows.
    pub file: PathBuf,
    /// The folder that image paths start from, relative to the root; empty for the root itself.
    pub images: String,
    /// Whether it is read when no split is asked for by name.
    pub by_default: bool,
}

/// What one usable row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The row's own name in its source, unique there.
    pub row: String,
    /// The image's path below the root, as the data says: not yet checked.
    pub image: String,
    /// The question.
    pub question: String,
    /// Empty for free-form questions.
    pub choices: Vec<String>,
    /// The answer.
    pub answer: Answer,
    /// The unit asked for.
    pub unit: Option<String>,
    /// How the answer comes about.
    pub rationale: Option<String>,
    /// The form of the question, with what varies left out.
    pub template: String,
    /// The kind of figure, where the row tells.
    pub family: Option<&'static str>,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A short fixed word to count by.
    pub reason: &'static str,
    /// The exact trouble.
    pub detail: String,
}

/// The source with this name.
pub fn find_source(name: &str) -> Result<&'static dyn Source, Error> {
    SOURCES
        .iter()
        .copied()
        .find(|s| s.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let known: Vec<&str> = SOURCES.iter().map(|s| s.name()).collect();
            Error::UnknownSource {
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
}

/// The parts of `source` below `root`, or an error that says what was looked for and found.
pub fn find_parts(source: &dyn Source, root: &Path) -> Result<Vec<Part>, Error> {
    let names = entries(root)?;
    let mut parts = source.find(root)?;
    if !parts.is_empty() {
        parts.sort_by(|a, b| (&a.split, a.kind).cmp(&(&b.split, b.kind)));
        return Ok(parts);
    }
    let mut hint = format!(
        "Give the folder that {} is unpacked in ({})",
        source.title(),
        source.url()
    );
    for other in SOURCES.iter().filter(|s| s.name() != source.name()) {
        if !other.find(root)?.is_empty() {
            hint = format!(
                "It does look like {}: try --source {}",
                other.title(),
                other.name()
            );
        }
    }
    let mut found = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        found.push_str(&format!(" and {} more", names.len() - 8));
    }
    if names.is_empty() {
        found.push_str("an empty folder");
    }
    Err(Error::WrongFolder {
        root: root.to_owned(),
        title: source.title().to_owned(),
        looked_for: source.layout().join(" or "),
        found,
        hint,
    })
}

/// The sorted names in a folder; names that are not UTF-8 belong to no published data set.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let listing = std::fs::read_dir(folder).map_err(|e| sample::Error::io(folder, e))?;
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|e| sample::Error::io(folder, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// `below` under `folder`, where `folder` may be empty.
fn under(folder: &str, below: &str) -> String {
    if folder.is_empty() {
        below.to_owned()
    } else {
        format!("{folder}/{below}")
    }
}

/// The first `words` words of a text as a template: lower case, with numbers as `#` and names (a
/// capital inside the sentence) as `X`.
fn opening(text: &str, words: usize) -> String {
    let sentence = text.split(['.', '\n', '?', ':']).next().unwrap_or_default();
    let masked: Vec<String> = sentence
        .split_whitespace()
        .take(words)
        .enumerate()
        .map(|(i, word)| {
            if word.contains(|c: char| c.is_numeric()) {
                "#".to_owned()
            } else if i > 0 && word.starts_with(char::is_uppercase) {
                "X".to_owned()
            } else {
                word.chars()
                    .filter(|c| c.is_alphanumeric() || *c == '-')
                    .collect::<String>()
                    .to_lowercase()
            }
        })
        .collect();
    masked.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn part() -> Part {
        Part {
            split: "train".into(),
            kind: "human",
            file: "rows.json".into(),
            images: String::new(),
            by_default: true,
        }
    }

    #[test]
    fn names_are_unique_and_usable_as_path_and_id() {
        let mut seen = std::collections::BTreeSet::new();
        for source in SOURCES {
            assert!(seen.insert(source.name()), "{} twice", source.name());
            assert!(
                source
                    .name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(find_source(&source.title().to_lowercase()).is_ok());
            assert!(source.url().starts_with("https://"));
            assert!(!source.licence().is_empty() && !source.layout().is_empty());
        }
        assert!(
            find_source("nosuch")
                .err()
                .unwrap()
                .to_string()
                .contains("tabmwp")
        );
    }

    #[test]
    fn every_adapter_says_on_its_page_what_users_need() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters");
        for source in SOURCES {
            let page =
                std::fs::read_to_string(folder.join(format!("{}.rs", source.name()))).unwrap();
            for word in [
                source.url(),
                source.licence(),
                "Citation",
                "Layout",
                "Example row",
                "Quirks",
            ] {
                let doc: String = page.lines().filter(|l| l.starts_with("//!")).collect();
                assert!(
                    doc.contains(word),
                    "{}: its page lacks {word:?}",
                    source.name()
                );
            }
        }
    }

    #[test]
    fn a_folder_of_another_data_set_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("train1/png")).unwrap();
        std::fs::write(dir.path().join("train1/qa_pairs.json"), "{}").unwrap();
        let tabmwp = find_source("tabmwp").unwrap();
        let message = find_parts(tabmwp, dir.path()).unwrap_err().to_string();
        for word in ["TabMWP", "problems_", "train1", "--source figureqa"] {
            assert!(message.contains(word), "{message}");
        }
        let none = find_parts(tabmwp, &dir.path().join("nosuch"))
            .unwrap_err()
            .to_string();
        assert!(none.contains("nosuch"), "{none}");
    }

    #[test]
    fn openings_leave_out_names_and_numbers() {
        assert_eq!(
            opening("Find the 12 Golden potatoes in it.", 4),
            "find_the_#_X"
        );
        assert_eq!(opening("What's the share?", 2), "whats_the");
        assert_eq!(opening("", 3), "");
    }

    /// JSON of any form.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    const KEYS: &[&str] = &[
        "image_index",
        "question_string",
        "answer",
        "color1_name",
        "color2_name",
        "question_id",
        "question",
        "choices",
        "unit",
        "solution",
        "ques_type",
        "ans_type",
        "grade",
        "imgname",
        "query",
        "label",
    ];

    proptest! {
        #[test]
        fn no_text_makes_an_adapter_panic(key: String, text: String) {
            for source in SOURCES {
                let _ = source.row(&part(), &key, &text);
            }
        }

        #[test]
        fn no_json_under_the_known_keys_makes_an_adapter_panic(
            values in proptest::collection::vec(any_json(), KEYS.len()),
            drop in any::<u32>(),
        ) {
            let row: serde_json::Map<String, Value> = KEYS.iter().enumerate()
                .filter(|(i, _)| drop >> i & 1 == 0)
                .zip(values)
                .map(|((_, key), value)| ((*key).to_owned(), value))
                .collect();
            let text = Value::Object(row).to_string();
            for source in SOURCES {
                if let Ok(record) = source.row(&part(), "7", &text) {
                    prop_assert!(!record.question.trim().is_empty());
                    if let Answer::Choice(i) = record.answer {
                        prop_assert!(i < record.choices.len());
                    }
                }
            }
        }

        #[test]
        fn one_wrong_field_of_a_good_row_is_a_fault_or_a_record(
            key in proptest::sample::select(KEYS), value in any_json(),
        ) {
            let mut row = json!({
                "image_index": 3, "question_string": "Is Red the minimum?", "answer": "1",
                "color1_name": "Red", "question_id": 0, "question": "How many?", "choices": ["1", "2"],
                "unit": null, "solution": "Count.", "ques_type": "multi_choice",
                "ans_type": "integer_number", "grade": 2, "imgname": "a.png", "query": "How many?",
                "label": "4",
            });
            row[key] = value;
            for source in SOURCES {
                if let Err(fault) = source.row(&part(), "7", &row.to_string()) {
                    prop_assert!(!fault.detail.is_empty());
                }
            }
        }
    }
}
