//! Published data sets, each read in the layout its authors publish.
//!
//! One data set is one file here and one line in [`SOURCES`]; the file's doc comment is the page a
//! user reads. An adapter knows where the rows lie ([`Source::find`]) and what a row means
//! ([`Source::records`], a pure function from a [`Raw`] row to [`Record`]s, which no input makes
//! panic). It opens no image and writes nothing.

mod a_okvqa;
mod ai2d;
mod answers;
mod chartqa;
mod clevr_math;
mod columns;
mod conversations;
mod csv;
mod docvqa;
mod dvqa;
mod easy_vqa;
pub(crate) mod fields;
mod figureqa;
mod geometry3k;
mod geoqa_plus;
mod geos;
mod hf;
mod iconqa;
mod infographicvqa;
#[cfg(test)]
mod laid_out;
mod llava;
mod mapqa;
mod mathv360k;
mod plotqa;
mod pmc_vqa;
mod prompted;
mod scienceqa;
mod sharegpt;
mod super_clevr;
mod tabmwp;
mod textvqa;
mod tqa;
mod typed;
mod unigeo;
mod visualqa;
mod vizwiz;
mod vqa2;
mod vqa_as;
mod vqa_rad;
mod webdataset;

use std::path::Path;

use sample::{Answer, Sample, Task};

use crate::Error;
use crate::programs::Told;
use crate::rows::Rows;
use crate::tree::Tree;
pub(crate) use crate::tree::under;
pub(crate) use answers::{
    MAX_CHOICES, agreed, choice_at, choice_by_letter, choice_by_text, opening, percent, snake,
};

/// Every published data set that can be imported.
pub static SOURCES: &[&dyn Source] = &[
    // FQA
    &docvqa::DocVqa,
    &infographicvqa::InfographicVqa,
    &figureqa::FigureQa,
    &dvqa::Dvqa,
    &plotqa::PlotQa,
    &chartqa::ChartQa,
    &mapqa::MapQa,
    // MWP
    &iconqa::IconQa,
    &clevr_math::ClevrMath,
    &tabmwp::TabMwp,
    // GPS
    &geos::Geos,
    &geometry3k::Geometry3k,
    &geoqa_plus::GeoQaPlus,
    &unigeo::UniGeo,
    // TQA
    &tqa::Tqa,
    &ai2d::Ai2d,
    &scienceqa::ScienceQa,
    // VQA
    &a_okvqa::AOkVqa,
    &vqa2::Vqa2,
    &pmc_vqa::PmcVqa,
    &vizwiz::VizWiz,
    &super_clevr::SuperClevr,
    &vqa_as::VqaAs,
    &vqa_rad::VqaRad,
    &textvqa::TextVqa,
    // Beside the paper's sources
    &mathv360k::MathV360K,
    &easy_vqa::EasyVqa,
    // General formats, the more particular ones first
    &llava::Llava,
    &sharegpt::ShareGpt,
    &hf::HuggingFace,
    &webdataset::WebDataset,
    &csv::Csv,
];

/// One published data set.
pub trait Source: Sync {
    /// What it is.
    fn about(&self) -> &'static About;

    /// Where the rows lie; empty where the data set is not there.
    fn find(&self, tree: &Tree) -> Result<Vec<Part>, Error>;

    /// What a row means that holds one question.
    fn record(&self, part: &Part, raw: &Raw<'_>) -> Result<Record, Fault>;

    /// What a row means; those that hold several questions (a lesson, an image with its
    /// questions) give several.
    fn records(&self, part: &Part, raw: &Raw<'_>) -> Vec<Result<Record, Fault>> {
        vec![self.record(part, raw)]
    }
}

/// What a data set is, for lists, manifests and data cards.
#[derive(Debug)]
pub struct About {
    /// The word for it on the command line and in ids, `tabmwp`.
    pub name: &'static str,
    /// The adapter's own source text, whose `//!` lines are the user's page.
    pub page: &'static str,
    /// Its name in print, `TabMWP`.
    pub title: &'static str,
    /// The task that the paper's Table 6 counts it under.
    pub task: Task,
    /// The licence its authors give it.
    pub licence: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// Who to cite.
    pub citation: &'static str,
    /// The files that are looked for below the root, `<...>` standing for what varies.
    pub layout: &'static [&'static str],
    /// How many questions each split has as published: split (or `split/kind`) and count. Empty where
    /// nobody says.
    pub expected: &'static [(&'static str, u64)],
    /// How many training images the paper's Table 6 has of it.
    pub paper_images: Option<u64>,
}

impl About {
    /// The page of the data set, as Markdown: where it is from, how it lies, what is odd about it.
    pub fn page(&self) -> String {
        let lines = self.page.lines().map_while(|line| line.strip_prefix("//!"));
        lines
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
            .collect()
    }
}

/// One file, or folder, of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The split as its authors call it, `train1`.
    pub split: String,
    /// What tells the parts of one split apart (`human`), or empty.
    pub kind: &'static str,
    /// Where the rows lie, and in what form.
    pub rows: Rows,
    /// The folder that image paths start from, below the root; empty for the root itself.
    pub images: String,
    /// Whether it is read when no split is asked for by name.
    pub by_default: bool,
}

impl Part {
    /// A part that is read by default.
    pub fn new(
        split: impl Into<String>,
        kind: &'static str,
        rows: Rows,
        images: impl Into<String>,
    ) -> Part {
        Part {
            split: split.into(),
            kind,
            rows,
            images: images.into(),
            by_default: true,
        }
    }

    /// `split/kind`, or the split alone.
    pub fn label(&self) -> String {
        if self.kind.is_empty() {
            self.split.clone()
        } else {
            format!("{}/{}", self.split, self.kind)
        }
    }
}

/// One row as it was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw<'a> {
    /// Its name: its key in an object, its position in a list (in decimal, from 0), its file's path
    /// where each row is a file.
    pub key: &'a str,
    /// The row as JSON. Rows of CSV are objects of texts by column; rows of Parquet and pickles are
    /// objects too, with images left out.
    pub text: &'a str,
    /// The row of the joined file with the same key, as JSON ([`crate::rows::Join`]).
    pub joined: Option<&'a str>,
    /// The image file inside the row, where the format holds images in its rows.
    pub image: Option<&'a [u8]>,
}

/// What one usable row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The row's own name in its source, unique there.
    pub row: String,
    /// The image, as the data says: not yet checked.
    pub image: Picture,
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
    pub family: Option<String>,
    /// What the image shows, as data, where the source publishes it.
    pub scene: Option<Told>,
    /// The task, where it is another than the source's.
    pub task: Option<Task>,
    /// ISO 639-1.
    pub language: &'static str,
    /// The sample as it was before it was exported, for rows of files that this toolkit wrote: it is
    /// taken over as it is, once its image is checked.
    pub whole: Option<Box<Sample>>,
}

impl Record {
    /// A free-form question in English, whose template is its first two words; other fields are
    /// set with `..Record::new(...)`.
    pub fn new(
        row: impl Into<String>,
        image: impl Into<Picture>,
        question: impl Into<String>,
        answer: Answer,
    ) -> Record {
        let question = question.into();
        Record {
            row: row.into(),
            image: image.into(),
            template: opening(&question, 2),
            question,
            choices: Vec::new(),
            answer,
            unit: None,
            rationale: None,
            family: None,
            scene: None,
            task: None,
            language: "en",
            whole: None,
        }
    }
}

/// Where a row's image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Picture {
    /// A file below the root, named as it lies after unpacking.
    File(String),
    /// Inside the row: the file's bytes, and a name for it that is unique in the source.
    Bytes(String, Vec<u8>),
    /// Choices that are images: drawn under the question's image, side by side, with their letters.
    /// A name for the drawing, the question's image file, the choices' image files.
    Choices(String, Option<String>, Vec<String>),
}

impl From<String> for Picture {
    fn from(path: String) -> Picture {
        Picture::File(path)
    }
}

/// Why a row cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A short fixed word to count by.
    pub reason: &'static str,
    /// The exact trouble.
    pub detail: String,
}

/// The record of a row that is asked for one.
pub(crate) fn only(records: Vec<Result<Record, Fault>>) -> Result<Record, Fault> {
    let mut records = records.into_iter();
    match (records.next(), records.next()) {
        (Some(record), None) => record,
        _ => Err(Fault::new(
            "several_questions",
            "the row holds several questions",
        )),
    }
}

/// The source with this name.
pub fn find_source(name: &str) -> Result<&'static dyn Source, Error> {
    SOURCES
        .iter()
        .copied()
        .find(|s| s.about().name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let known: Vec<&str> = SOURCES.iter().map(|s| s.about().name).collect();
            Error::UnknownSource {
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
}

/// The parts of `source` in the tree, or an error that says what was looked for and found.
pub fn find_parts(source: &dyn Source, tree: &Tree) -> Result<Vec<Part>, Error> {
    let about = source.about();
    let mut parts = source.find(tree)?;
    if !parts.is_empty() {
        parts.sort_by(|a, b| (&a.split, a.kind, &a.rows).cmp(&(&b.split, b.kind, &b.rows)));
        return Ok(parts);
    }
    let mut hint = format!(
        "Give the folder that {} is in, unpacked or not ({})",
        about.title, about.url
    );
    for other in SOURCES.iter().filter(|s| s.about().name != about.name) {
        if !other.find(tree)?.is_empty() {
            let other = other.about();
            hint = format!(
                "It does look like {}: try --source {}",
                other.title, other.name
            );
            // General formats come last, and would claim much that is a known data set.
            break;
        }
    }
    for warning in &tree.warnings {
        hint.push_str(&format!(". {warning}"));
    }
    let names = tree.names("");
    let mut found = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        found.push_str(&format!(" and {} more", names.len() - 8));
    }
    if names.is_empty() {
        found.push_str("an empty folder");
    }
    Err(Error::WrongFolder {
        root: tree.root().to_owned(),
        title: about.title.to_owned(),
        looked_for: about.layout.join(" or "),
        found,
        hint,
    })
}

/// The folder below `root` that holds `source`, by its name or title in any case and spelling, if
/// it does hold it.
pub fn find_folder(source: &dyn Source, root: &Path) -> Result<Option<Tree>, Error> {
    let plain = |s: &str| -> String {
        s.chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .collect::<String>()
            .to_lowercase()
    };
    let about = source.about();
    let wanted = [plain(about.name), plain(about.title)];
    let listing = std::fs::read_dir(root).map_err(|e| sample::Error::io(root, e))?;
    let mut folders: Vec<_> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .filter(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| wanted.contains(&plain(n)))
        })
        .collect();
    folders.sort();
    for folder in folders {
        let tree = Tree::open(&folder)?;
        if !source.find(&tree)?.is_empty() {
            return Ok(Some(tree));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn part() -> Part {
        Part::new(
            "train",
            "human",
            Rows::json("rows.json", crate::rows::Shape::List),
            "",
        )
    }

    #[test]
    fn names_are_unique_and_usable_as_path_and_id() {
        let mut seen = std::collections::BTreeSet::new();
        for source in SOURCES {
            let about = source.about();
            assert!(seen.insert(about.name), "{} twice", about.name);
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(about.name.bytes().all(plain), "{}", about.name);
            assert!(find_source(&about.name.to_uppercase()).is_ok());
            assert!(about.url.starts_with("https://"), "{}", about.name);
            for text in [about.title, about.licence, about.citation] {
                assert!(!text.is_empty(), "{}", about.name);
            }
            assert!(!about.layout.is_empty(), "{}", about.name);
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
        for about in SOURCES.iter().map(|s| s.about()) {
            // A licence may be broken over two lines.
            let words: Vec<String> = about.page().split_whitespace().map(str::to_owned).collect();
            let page = words.join(" ");
            for word in [
                about.url,
                about.licence,
                "Citation",
                "Layout",
                "Example row",
                "Quirks",
            ] {
                assert!(
                    page.contains(word),
                    "{}: its page lacks {word:?}",
                    about.name
                );
            }
            assert!(about.page().starts_with("# "), "{}", about.name);
        }
    }

    #[test]
    fn a_folder_of_another_data_set_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("train1/png")).unwrap();
        std::fs::write(dir.path().join("train1/qa_pairs.json"), "{}").unwrap();
        let tabmwp = find_source("tabmwp").unwrap();
        let message = find_parts(tabmwp, &Tree::open(dir.path()).unwrap())
            .unwrap_err()
            .to_string();
        for word in ["TabMWP", "problems_", "train1", "--source figureqa"] {
            assert!(message.contains(word), "{message}");
        }
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
        "questionId",
        "answers",
        "image",
        "image_local_name",
        "question_types",
        "answer_type",
        "template_id",
        "type",
        "template",
        "qid",
        "map_id",
        "question_type",
        "question_template_id",
        "image_id",
        "correct_choice_idx",
        "direct_answers",
        "rationales",
        "Figure_path",
        "Question",
        "Answer",
        "Choice A",
        "Choice B",
        "Choice C",
        "Choice D",
        "Answer_label",
        "answerable",
        "image_filename",
        "template_filename",
        "question_family_index",
        "question_index",
        "multiple_choice_answer",
        "image_name",
        "phrase_type",
        "question_frame",
        "conversations",
        "messages",
        "images",
        "sample",
        "problem",
        "options",
        "id",
        "task",
        "A",
        "B",
        "hint",
        "text",
        "problem_text",
        "problem_type_graph",
        "subject",
        "English_problem",
        "numbers",
        "manual_program",
        "questions",
        "imageName",
        "split",
    ];

    proptest! {
        #[test]
        fn no_text_makes_an_adapter_panic(key: String, text: String) {
            for source in SOURCES {
                let raw = Raw { key: &key, text: &text, joined: Some(&text), image: None };
                let _ = source.records(&part(), &raw);
            }
        }

        #[test]
        fn no_json_under_the_known_keys_makes_an_adapter_panic(
            values in proptest::collection::vec(any_json(), KEYS.len()),
            keep in proptest::collection::vec(any::<bool>(), KEYS.len()),
        ) {
            let row: serde_json::Map<String, Value> = KEYS.iter().zip(values).zip(keep)
                .filter(|(_, keep)| *keep)
                .map(|((key, value), _)| ((*key).to_owned(), value))
                .collect();
            let text = Value::Object(row).to_string();
            for source in SOURCES {
                let raw = Raw { key: "7", text: &text, joined: Some(&text), image: None };
                for record in source.records(&part(), &raw).into_iter().flatten() {
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
                "label": "1", "hint": "Count.", "image_filename": "a.png",
                "template_filename": "addition.json", "text": "Find x.", "problem_text": "Find x.",
                "problem_type_graph": ["Line"], "subject": "N_0", "English_problem": "Find N_0.",
                "numbers": [2.0], "manual_program": ["g_half"], "id": 7, "imageName": "1.png",
                "questions": {
                    "diagramQuestions": {"DQ_1": {"answerChoices": {"a": {"processedText": "1"}}}},
                    "Who?": {"abcLabel": false, "answerTexts": ["1", "2"], "correctAnswer": 0,
                             "questionId": "1.png-0"},
                },
                "image": "image.png", "split": "train", "task": "vqa", "conversations": [
                    {"from": "human", "value": "<image>Question: How many?\nChoices:\n(A) 1\n(B) 2"},
                    {"from": "gpt", "value": "The answer is B"}],
            });
            row[key] = value;
            for source in SOURCES {
                let text = row.to_string();
                let raw = Raw { key: "7", text: &text, joined: Some(&text), image: None };
                for fault in source.records(&part(), &raw).into_iter().filter_map(Result::err) {
                    prop_assert!(!fault.detail.is_empty());
                }
            }
        }
    }
}
