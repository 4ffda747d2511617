//! # ChartQA
//!
//! Questions on 20,882 charts taken from the web (Statista, Pew, Our World in Data, OECD): 9,608
//! written by people, 23,111 generated from the charts' summaries.
//!
//! - Home: <https://github.com/vis-nlp/ChartQA>
//! - Licence: GPL-3.0
//! - Citation: Masry et al., "ChartQA: A Benchmark for Question Answering about Charts with Visual
//!   and Logical Reasoning", Findings of ACL 2022, arXiv 2203.10244
//!
//! ## Layout
//! ```text
//! <root>/<split>/<split>_human.json         train, val, test
//! <root>/<split>/<split>_augmented.json
//! <root>/<split>/png/<imgname>
//! ```
//! The same below `<root>/ChartQA Dataset` and `<root>/ChartQA`, as in the authors' archive.
//!
//! ## Example row
//! ```json
//! {"imgname": "41_two_col.png", "query": "Which two years had the same share?",
//!  "label": "[2004, 2009]"}
//! ```
//!
//! ## Quirks
//! - All labels are text; numbers, `15%` and lists in brackets become what they print, and `Yes`
//!   and `No` are put in lower case as in the other sources. Percentages mostly come without the
//!   sign.
//! - Rows have no id: a row is named `<split>/<human|augmented>/<position in the list>`.
//! - Humans write as they speak: `What's is the` and missing question marks are kept.
//! - The template is who asked, with the question's first two words (`human/how_many`).

use std::path::Path;

use sample::{Answer, Task, printed};

use super::fields::Fields;
use super::{Fault, Part, Record, RowShape, Source, opening, under};
use crate::Error;

const HOMES: [&str; 4] = ["", "ChartQA Dataset", "ChartQA", "ChartQA/ChartQA Dataset"];

/// The adapter.
pub struct ChartQa;

impl Source for ChartQa {
    fn name(&self) -> &'static str {
        "chartqa"
    }

    fn title(&self) -> &'static str {
        "ChartQA"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn licence(&self) -> &'static str {
        "GPL-3.0"
    }

    fn url(&self) -> &'static str {
        "https://github.com/vis-nlp/ChartQA"
    }

    fn layout(&self) -> &'static [&'static str] {
        &[
            "<train|val|test>/<split>_<human|augmented>.json with <split>/png/<imgname>",
            "the same below ChartQA Dataset",
        ]
    }

    fn find(&self, root: &Path) -> Result<Vec<Part>, Error> {
        for home in HOMES {
            let mut parts = Vec::new();
            for split in ["train", "val", "test"] {
                let images = under(home, split);
                for kind in ["human", "augmented"] {
                    let file = root.join(&images).join(format!("{split}_{kind}.json"));
                    if file.is_file() {
                        let (split, images) = (split.to_owned(), images.clone());
                        parts.push(Part {
                            split,
                            kind,
                            file,
                            images,
                            by_default: true,
                        });
                    }
                }
            }
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
        Ok(Vec::new())
    }

    fn shape(&self) -> RowShape {
        RowShape::List
    }

    fn row(&self, part: &Part, key: &str, text: &str) -> Result<Record, Fault> {
        let fields = Fields::parse(text)?;
        let image = fields.text("imgname")?;
        let question = fields.text("query")?;
        let label = fields.text_or_number("label")?;
        let percent = label
            .strip_suffix('%')
            .and_then(|n| printed::number(n.trim_end()));
        let (answer, unit): (Answer, _) = match percent {
            Some(number) => (number, Some("%".to_owned())),
            None => (printed::answer(&label), None),
        };
        Ok(Record {
            row: format!("{}/{}/{key}", part.split, part.kind),
            image: under(&part.images, &format!("png/{image}")),
            template: format!("{}/{}", part.kind, opening(&question, 2)),
            question,
            choices: Vec::new(),
            answer,
            unit,
            rationale: None,
            family: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Record, Fault> {
        let part = Part {
            split: "val".into(),
            kind: "human",
            file: "x".into(),
            images: "val".into(),
            by_default: true,
        };
        ChartQa.row(&part, "3", text)
    }

    #[test]
    fn labels_become_numbers_lists_or_words() {
        let cases = [
            (
                r#""0.23""#,
                Answer::Decimal {
                    value: 0.23,
                    places: 2,
                },
                None,
            ),
            (r#"1960"#, Answer::Integer(1960), None),
            (r#""15%""#, Answer::Integer(15), Some("%")),
            (r#""Yes""#, Answer::Text("yes".into()), None),
            (
                r#""[Very poor, Poor]""#,
                Answer::List(vec!["Very poor".into(), "Poor".into()]),
                None,
            ),
            (
                r#""No, but I plan to""#,
                Answer::Text("No, but I plan to".into()),
                None,
            ),
        ];
        for (label, answer, unit) in cases {
            let record = read(&format!(
                r#"{{"imgname": "a.png", "query": "How many people in Peru?", "label": {label}}}"#
            ))
            .unwrap();
            assert_eq!(
                (record.answer, record.unit.as_deref()),
                (answer, unit),
                "{label}"
            );
            assert_eq!(record.row, "val/human/3");
            assert_eq!(record.image, "val/png/a.png");
            assert_eq!(record.template, "human/how_many");
        }
    }

    #[test]
    fn missing_and_mistyped_fields_are_faults() {
        for (text, reason) in [
            (r#"{"query": "q", "label": "1"}"#, "field_missing"),
            (
                r#"{"imgname": "a.png", "query": "q", "label": null}"#,
                "field_missing",
            ),
            (
                r#"{"imgname": "a.png", "query": "q", "label": [1]}"#,
                "field_mistyped",
            ),
            (
                r#"{"imgname": "a.png", "query": " ", "label": "1"}"#,
                "field_empty",
            ),
            ("7", "row_not_object"),
        ] {
            assert_eq!(read(text).unwrap_err().reason, reason, "{text}");
        }
    }
}
