//! DynaMath: 501 seed questions, each a program that draws variants of itself, so that what a model
//! can do is told from what it happens to get right.
//!
//! Source: <https://github.com/DynaMath/DynaMath>, `evaluation/opensource_json_eval.py` at 65a346a.
//!
//! - **Layout.** What the generator writes: `dataset.json` and `image/` in the folder, in its
//!   `dataset/`, or, one variant each, in subfolders (`trial1`, `trial2`, ...). `dataset.json` is an
//!   object by the seed's number: `"26": {"question": "The radius of the circle above is 3 and the
//!   angle = 120°. What is the area of the shaded section of the circle?", "answer": "9.4248",
//!   "image": "image/image26.png", "answer_type": "float", "subject": "plane geometry", "level":
//!   "high school"}`. Also JSON lines with `qid` and `varid` beside these names. An item's id is
//!   variant and seed, `1/26`.
//! - **Query.** The official one, which asks for JSON with a `solution` and a `short answer`.
//! - **Outputs.** Reports by the seed's number, whose `response` is that JSON; rows with `id` (or
//!   `varid` and `qid`) and the reply as text.
//! - **Extraction.** From the first `{` to the last `}`, backslashes taken out, read as JSON: its
//!   `short answer`. A reply that is no JSON: its last line without the last character.
//! - **Scoring.** Floats within 0.001, a factor π understood; an option's letter; words contained.
//! - **Groups.** `subject`, `level`, `answer_type`, `variant`.
//! - **Measures.** `average`; `worst_case`: seeds of which every variant is right; their ratio
//!   `reasoning_robustness`; and the worst case by subject and level.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sample::benchmark::{ItemScore, Share};
use serde_json::{Map, Value};

use super::rows::{self, Row};
use super::{Benchmark, mathvision, reply};
use crate::{Answer, Error, Item, Kind, Outputs, Scoring};

/// The benchmark.
pub struct DynaMath;

/// How far off a number may be.
const TOLERANCE: f64 = 0.001;

const GUIDE: &str = "\n## Answer Instruction Please provide an answer to the question outlined \
    above. Your response should adhere \nto the following JSON format, which includes two keys: \
    'solution' and 'short answer'. The 'solution' key can contain \ndetailed steps needed to solve \
    the question, and the 'short answer' key should provide a concise response. If the problem is a \
    multiple choice problem, just provide the corresponing choice option, \nsuch as 'A', 'B', 'C', \
    or 'D'. If the answer is a numerical value, format it as a three-digit floating-point \
    number.\n\nExample of expected JSON response format:\n\n{\n    \"solution\": \"[Detailed \
    step-by-step explanation]\",\n    \"short answer\": \"[Concise Answer]\"\n}";

impl Benchmark for DynaMath {
    fn name(&self) -> &'static str {
        "dynamath"
    }

    fn title(&self) -> &'static str {
        "DynaMath"
    }

    fn version(&self) -> &'static str {
        "DynaMath/DynaMath 65a346a; 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["samples"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        rows::known_split(self, split)?;
        let mut items = Vec::new();
        for (variant, path) in variants(folder)? {
            let images = path.parent().unwrap_or(folder).to_owned();
            items.extend(rows::items(&[path], |row| item(row, &variant, &images))?);
        }
        Ok(items)
    }

    fn query(&self, item: &Item) -> String {
        let float = match item.kind {
            Kind::Float => "Please answer in a floating-point number.",
            _ => "",
        };
        format!("## Question\n{}{float}{GUIDE}", item.question)
    }

    fn outputs(&self, path: &Path, items: &[Item]) -> Result<Outputs, Error> {
        let first = items.first().and_then(|item| item.id.split_once('/'));
        let own = variant_of(path, first.map_or("1", |(variant, _)| variant));
        rows::outputs_by(path, |row| {
            let seed = row.first(&["qid", "id"])?;
            let id = if seed.contains('/') {
                seed
            } else {
                let variant = row.first(&["varid", "variant"]);
                format!("{}/{seed}", variant.as_deref().unwrap_or(own))
            };
            let mut answer = rows::answer(row, id, &["response", "prediction"], &["extraction"]);
            if let Some(Value::Object(reply)) = row.0.get("response") {
                answer.response = Some(Value::Object(reply.clone()).to_string());
                answer.extraction = Some(printed(reply.get("short answer")));
            }
            Some(answer)
        })
    }

    fn score(&self, items: &[Item], answers: &[Answer], _how: &Scoring) -> Vec<ItemScore> {
        items
            .iter()
            .zip(answers)
            .map(|(item, answer)| {
                reply::score(item, answer, short_answer, |short| {
                    right(item, item.answer.as_deref().unwrap_or_default(), short)
                })
            })
            .collect()
    }

    fn measures(&self, items: &[Item], scored: &[ItemScore]) -> BTreeMap<String, f64> {
        // Seed to whether all of its variants are right, for all seeds and for those of a group.
        let mut seeds: BTreeMap<(String, &str), bool> = BTreeMap::new();
        for (item, score) in items.iter().zip(scored) {
            let seed = item
                .id
                .split_once('/')
                .map_or(item.id.as_str(), |(_, seed)| seed);
            let groups = item
                .groups
                .iter()
                .filter(|(dimension, _)| matches!(dimension.as_str(), "subject" | "level"))
                .map(|(dimension, name)| format!("worst_case/{dimension}/{name}"));
            for measure in groups.chain(["worst_case".to_owned()]) {
                *seeds.entry((measure, seed)).or_insert(true) &= score.correct;
            }
        }
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for ((measure, _), right) in seeds {
            let (correct, total) = counts.entry(measure).or_default();
            *correct += u64::from(right);
            *total += 1;
        }
        let mut measures: BTreeMap<String, f64> = counts
            .into_iter()
            .map(|(name, (correct, total))| (name, Share::new(correct, total).accuracy))
            .collect();
        let correct = scored.iter().filter(|score| score.correct).count();
        let average = Share::new(correct as u64, scored.len() as u64).accuracy;
        if let Some(worst) = measures.get("worst_case").copied()
            && average > 0.0
        {
            measures.insert("reasoning_robustness".to_owned(), worst / average);
        }
        measures.insert("average".to_owned(), average);
        measures
    }
}

/// As many variants of each question are published.
const VARIANTS: u64 = 10;

/// The files of questions, with the names of their variants.
fn variants(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    for name in ["dataset.json", "dataset/dataset.json", "DynaMath.jsonl"] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(vec![("1".to_owned(), path)]);
        }
    }
    let mut found: Vec<(u64, String, PathBuf)> = std::fs::read_dir(folder)
        .map_err(|e| Error::Data {
            path: folder.to_owned(),
            detail: e.to_string(),
        })?
        .flatten()
        .filter_map(|entry| {
            let path = entry.path().join("dataset.json");
            let name = entry.file_name().into_string().ok()?;
            let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
            let number = digits.parse().ok()?;
            path.is_file().then(|| (number, digits.to_owned(), path))
        })
        .collect();
    // Hugging Face's files: sample_variant1-00000-of-00001.parquet.
    found.extend((1..=VARIANTS).flat_map(|number| {
        let tables = rows::tables(folder, &format!("sample_variant{number}"));
        tables
            .into_iter()
            .map(move |path| (number, number.to_string(), path))
    }));
    found.sort();
    if found.is_empty() {
        return Err(Error::Data {
            path: folder.to_owned(),
            detail:
                "neither dataset.json is in it, nor folders (trial1, trial2, ...) that have one, nor \
                     sample_variant1-*.parquet; give the folder that the generator writes"
                    .to_owned(),
        });
    }
    Ok(found
        .into_iter()
        .map(|(_, name, path)| (name, path))
        .collect())
}

/// The variant that a report without one is of: the number of the folder it lies in, `trial3`.
fn variant_of<'a>(path: &'a Path, default: &'a str) -> &'a str {
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    let digits = folder.map(|name| name.trim_start_matches(|c: char| !c.is_ascii_digit()));
    match digits {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits,
        _ => default,
    }
}

/// The official extraction.
fn short_answer(response: &str) -> String {
    let description = preprocessed(response);
    match serde_json::from_str::<Value>(&description) {
        Ok(Value::Object(reply)) => printed(reply.get("short answer")),
        // JSON, but not an object: officially an error, which is wrong.
        Ok(_) => String::new(),
        Err(_) => {
            let last = description.rsplit('\n').next().unwrap_or_default();
            let mut characters = last.chars();
            characters.next_back();
            characters.as_str().to_owned()
        }
    }
}

/// From the first `{` to the last `}`, without backslashes; the reply itself where there are none.
/// Control characters in it are let through by the official reader, so they are escaped here.
fn preprocessed(response: &str) -> String {
    let object = response.find('{').and_then(|start| {
        Some(&response[start..start + 1 + response[start + 1..].rfind('}')? + 1])
    });
    let Some(object) = object else {
        return response.to_owned();
    };
    let mut out = String::with_capacity(object.len());
    let mut quoted = false;
    for c in object.chars().filter(|c| *c != '\\') {
        quoted ^= c == '"';
        if quoted && c < ' ' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Python's `str()` of a JSON value.
fn printed(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "None".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "True".to_owned(),
        Some(Value::Bool(false)) => "False".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The official decision.
fn right(item: &Item, answer: &str, short: &str) -> bool {
    match item.kind {
        Kind::Float => {
            let first = short.split(' ').next().unwrap_or_default();
            let value = match first.split_once('π') {
                Some((factor, _)) => mathvision::float(factor).map(|x| x * std::f64::consts::PI),
                None => mathvision::float(first),
            };
            match (value, mathvision::float(answer)) {
                (Some(value), Some(answer)) => (value - answer).abs() <= TOLERANCE,
                _ => false,
            }
        }
        Kind::MultiChoice => {
            let start: String = short.chars().take(3).collect();
            match short.chars().count() {
                1 => short == answer,
                _ => start.contains(answer),
            }
        }
        _ => short.contains(answer),
    }
}

fn item(row: &Row, variant: &str, images: &Path) -> Result<Item, String> {
    let seed = row
        .first(&["qid", "id"])
        .ok_or("it has no number, which every seed question has")?;
    let variant = row
        .first(&["varid", "variant"])
        .unwrap_or_else(|| variant.to_owned());
    let answer_type = row.required("answer_type")?;
    Ok(Item {
        id: format!("{variant}/{seed}"),
        question: row.required("question")?,
        choices: Vec::new(),
        answer: row.first(&["answer", "ground_truth"]),
        kind: match answer_type.as_str() {
            "float" => Kind::Float,
            "multiple choice" => Kind::MultiChoice,
            _ => Kind::Open,
        },
        unit: None,
        precision: None,
        pictures: row.pictures("image", |name| rows::inside(images, name))?,
        groups: reply::groups([
            ("subject", row.text("subject")),
            ("level", row.first(&["level", "knowledge_level"])),
            ("answer_type", Some(answer_type)),
            ("variant", Some(variant)),
        ]),
        extra: Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_answers_are_found_as_the_official_code_finds_them() {
        for (reply, expected) in [
            (r#"{"solution": "x", "short answer": "B"}"#, "B"),
            (
                "Sure!\n```json\n{\"solution\": \"a\nb\", \"short answer\": 2.500}\n```",
                "2.5",
            ),
            (
                r#"{"solution": "\\frac{1}{2}", "short answer": "0.5"}"#,
                "0.5",
            ),
            (r#"{"solution": "x"}"#, "None"),
            (r#"{"short answer": true}"#, "True"),
            ("I think so.\nThe answer is 5.", "The answer is 5"),
            ("5", ""),
            ("{", ""),
            ("}{", "}"),
            (
                r#"{"solution": "he said "no"", "short answer": "B"}"#,
                r#"{"solution": "he said "no"", "short answer": "B""#,
            ),
            ("", ""),
        ] {
            assert_eq!(short_answer(reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn answers_are_right_by_their_type() {
        let mut item = Item {
            id: "1/1".into(),
            question: String::new(),
            choices: Vec::new(),
            answer: None,
            kind: Kind::Float,
            unit: None,
            precision: None,
            pictures: Vec::new(),
            groups: Vec::new(),
            extra: Map::new(),
        };
        for (kind, answer, short, expected) in [
            (Kind::Float, "6.2832", "6.283", true),
            (Kind::Float, "6.2832", "6.285", false),
            (Kind::Float, "6.2832", "2π", true),
            (Kind::Float, "6.2832", "2π cm", true),
            (Kind::Float, "6.2832", "π", false),
            (Kind::Float, "13", "13 houses", true),
            (Kind::Float, "13", "houses 13", false),
            (Kind::Float, "0.5", "1/2", false),
            (Kind::Float, "1", "nan", false),
            (Kind::MultiChoice, "B", "B", true),
            (Kind::MultiChoice, "B", "b", false),
            (Kind::MultiChoice, "B", "(B) no", true),
            (Kind::MultiChoice, "B", "no (B)", false),
            (Kind::Open, "May", "In May.", true),
            (Kind::Open, "May", "may", false),
        ] {
            item.kind = kind;
            assert_eq!(right(&item, answer, short), expected, "{answer} {short}");
        }
    }

    #[test]
    fn the_worst_case_counts_seeds_of_which_all_variants_are_right() {
        let folder = tempfile::tempdir().unwrap();
        for variant in 1..=10 {
            let below = folder.path().join(format!("trial{variant}"));
            std::fs::create_dir(&below).unwrap();
            let text = format!(
                r#"{{"1": {{"question": "Q", "answer": "{variant}", "image": "image/image1.png",
                "answer_type": "float", "subject": "algebra", "level": "high school"}},
                "2": {{"question": "Q", "answer": "A", "image": "image/image2.png",
                "answer_type": "multiple choice", "subject": "statistics", "level": "high school"}}}}"#
            );
            std::fs::write(below.join("dataset.json"), text).unwrap();
        }
        let items = DynaMath.load(folder.path(), "samples").unwrap();
        assert_eq!(items.len(), 20);
        assert_eq!(
            (items[2].id.as_str(), items[19].id.as_str()),
            ("2/1", "10/2")
        );
        let answers: Vec<Answer> = items
            .iter()
            .map(|item| Answer {
                id: item.id.clone(),
                response: Some(match item.kind {
                    // Right once.
                    Kind::Float => r#"{"short answer": "3.000"}"#.to_owned(),
                    _ => r#"{"short answer": "A"}"#.to_owned(),
                }),
                ..Answer::default()
            })
            .collect();
        let scored = DynaMath.score(&items, &answers, &Scoring::default());
        let measures = DynaMath.measures(&items, &scored);
        assert_eq!(measures["average"], 0.55);
        assert_eq!(measures["worst_case"], 0.5);
        assert_eq!(measures["reasoning_robustness"], 0.5 / 0.55);
        assert_eq!(measures["worst_case/subject/algebra"], 0.0);
        assert_eq!(measures["worst_case/level/high school"], 0.5);
    }

    #[test]
    fn a_report_belongs_to_the_variant_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("trial3");
        std::fs::create_dir(&below).unwrap();
        let report = below.join("report.json");
        std::fs::write(
            &report,
            r#"{"7": {"question": "Q", "response": {"solution": "", "short answer": 4}}}"#,
        )
        .unwrap();
        let outputs = DynaMath.outputs(&report, &[]).unwrap();
        assert_eq!(outputs.answers[0].id, "3/7");
        assert_eq!(outputs.answers[0].extraction.as_deref(), Some("4"));
    }

    #[test]
    fn the_query_is_the_official_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("dataset.json"),
            r#"{"1": {"question": "Q?", "answer": "1", "answer_type": "float"}}"#,
        )
        .unwrap();
        let items = DynaMath.load(folder.path(), "samples").unwrap();
        let query = DynaMath.query(&items[0]);
        assert!(query.starts_with(
            "## Question\nQ?Please answer in a floating-point number.\n## Answer Instruction Please"
        ));
        assert!(query.ends_with("\n    \"short answer\": \"[Concise Answer]\"\n}"));
    }
}
