//! # TabMWP
//!
//! 38,431 grade-school word problems, each on one table that is given as an image, with the
//! solution written out.
//!
//! - Home: <https://promptpg.github.io/>
//! - Licence: CC BY-NC-SA 4.0
//! - Citation: Lu et al., "Dynamic Prompt Learning via Policy Gradient for Semi-structured
//!   Mathematical Reasoning", ICLR 2023, arXiv 2209.14610
//!
//! ## Layout
//! ```text
//! <root>/problems_{train,dev,test,dev1k,test1k}.json
//! <root>/tables/<pid>.png
//! ```
//! The same below `<root>/data/tabmwp` and `<root>/tabmwp`, as in the authors' repository.
//!
//! ## Example row
//! ```json
//! "204": {"question": "How much do 2 kites cost?", "choices": null, "answer": "8.40",
//!         "unit": "$", "table_title": "Toys", "table": "kite | $4.20\nball | $3.10",
//!         "table_for_pd": {"c1": ["kite", "ball"], "c2": ["$4.20", "$3.10"]},
//!         "row_num": 2, "column_num": 2, "solution": "Multiply: 2 x $4.20 = $8.40.",
//!         "ques_type": "free_text", "ans_type": "decimal_number", "grade": 4, "split": "train"}
//! ```
//!
//! ## Quirks
//! - All answers are text; those that are numbers become numbers, keeping their decimal places and
//!   losing the commas between thousands. Fractions (`5/18`, called `decimal_number`) stay text.
//! - The answer to a multiple-choice problem is the choice's text.
//! - `dev1k` and `test1k` are parts of `dev` and `test`: they are read by default only where the
//!   whole is not there.
//! - `unit` is `$` before the number, and words after it otherwise; `$, per year` occurs.
//! - The template is the type of answer with the opening words of the solution (`Find the cost
//!   of`): 87 forms for 800 problems.
//! - The first line of `table` is the head, unless `table_for_pd` calls the columns `Column 1`,
//!   `Column 2`. The table is kept as the image's scene.

use sample::{Task, printed};

use super::fields::Fields;
use super::{About, Fault, Part, Raw, Record, Source, choice_by_text, opening, under};
use crate::Error;
use crate::programs::{Table, Told};
use crate::rows::{Rows, Shape};
use crate::tree::Tree;

const SPLITS: [&str; 5] = ["train", "dev", "test", "dev1k", "test1k"];
const HOMES: [&str; 3] = ["", "data/tabmwp", "tabmwp"];

/// The adapter.
pub struct TabMwp;

static ABOUT: About = About {
    name: "tabmwp",
    page: include_str!("tabmwp.rs"),
    title: "TabMWP",
    task: Task::Mwp,
    licence: "CC BY-NC-SA 4.0",
    url: "https://promptpg.github.io/",
    citation: "Lu et al., Dynamic Prompt Learning via Policy Gradient for Semi-structured Mathematical Reasoning, ICLR 2023, arXiv 2209.14610",
    layout: &[
        "problems_<train|dev|test|dev1k|test1k>.json with tables/<pid>.png",
        "the same below data/tabmwp",
    ],
    expected: &[
        ("train", 23_059),
        ("dev", 7_686),
        ("test", 7_686),
        ("dev1k", 1_000),
        ("test1k", 1_000),
    ],
    paper_images: Some(20_000),
};

impl Source for TabMwp {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn find(&self, tree: &Tree) -> Result<Vec<Part>, Error> {
        for home in HOMES {
            let file = |split: &str| under(home, &format!("problems_{split}.json"));
            let there = |split: &str| tree.has(&file(split));
            let parts: Vec<Part> = SPLITS
                .into_iter()
                .filter(|split| there(split))
                .map(|split| Part {
                    by_default: !split.strip_suffix("1k").is_some_and(there),
                    ..Part::new(split, "", Rows::json(file(split), Shape::Object), home)
                })
                .collect();
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
        Ok(Vec::new())
    }

    fn record(&self, part: &Part, raw: &Raw<'_>) -> Result<Record, Fault> {
        let (fields, key) = (Fields::parse(raw.text)?, raw.key);
        let question = fields.text("question")?;
        let choices = fields.texts("choices")?;
        let printed_answer = fields.text_or_number("answer")?;
        let solution = fields.optional_text("solution")?;
        let answer = if choices.is_empty() {
            printed::answer(&printed_answer)
        } else {
            choice_by_text(&choices, &printed_answer)?
        };
        let form = opening(solution.as_deref().unwrap_or(&question), 4);
        let kind = fields
            .optional_text("ans_type")?
            .unwrap_or_else(|| answer.kind().to_owned());
        let image = under(&part.images, &format!("tables/{key}.png"));
        Ok(Record {
            template: format!("{kind}/{form}"),
            choices,
            unit: fields.optional_text("unit")?,
            rationale: solution,
            family: Some("table".to_owned()),
            scene: table_of(raw.text),
            ..Record::new(key, image, question, answer)
        })
    }
}

/// The table as the row publishes it; a row whose table cannot be read has none, which is no fault.
fn table_of(text: &str) -> Option<Told> {
    #[derive(serde::Deserialize)]
    struct Published {
        table: String,
        table_title: Option<String>,
        #[serde(default)]
        table_for_pd: serde_json::Map<String, serde_json::Value>,
    }
    let row: Published = serde_json::from_str(text).ok()?;
    let has_head = !row.table_for_pd.contains_key("Column 1");
    let table = Table::published(row.table_title.as_deref(), &row.table, has_head)?;
    Some(Told::Here(table.json()))
}

#[cfg(test)]
mod tests {
    use sample::Answer;

    use super::super::Picture;
    use super::*;

    fn read(text: &str) -> Result<Record, Fault> {
        let part = Part::new("train", "", Rows::json("x", Shape::Object), "");
        TabMwp.record(
            &part,
            &Raw {
                key: "204",
                text,
                ..Raw::default()
            },
        )
    }

    #[test]
    fn rows_get_the_answer_type_they_print() {
        let cases = [
            (
                r#""choices": null, "answer": "8.40", "unit": "$""#,
                Answer::Decimal {
                    value: 8.4,
                    places: 2,
                },
            ),
            (
                r#""choices": null, "answer": "6,830""#,
                Answer::Integer(6830),
            ),
            (
                r#""choices": null, "answer": "5/18""#,
                Answer::Text("5/18".into()),
            ),
            (
                r#""choices": ["linear", "nonlinear"], "answer": "nonlinear""#,
                Answer::Choice(1),
            ),
        ];
        for (rest, expected) in cases {
            let record = read(&format!(
                r#"{{"question": "How much?", "solution": "Find the cost of the kite. Then", "ans_type": "t", {rest}}}"#
            ))
            .unwrap();
            assert_eq!(record.answer, expected);
            assert_eq!(record.template, "t/find_the_cost_of");
            assert_eq!(record.image, Picture::File("tables/204.png".into()));
            assert_eq!(
                record.rationale.as_deref(),
                Some("Find the cost of the kite. Then")
            );
        }
    }

    #[test]
    fn answers_outside_the_choices_and_odd_fields_are_faults() {
        for (rest, reason) in [
            (
                r#""choices": ["a", "b"], "answer": "c""#,
                "answer_not_a_choice",
            ),
            (r#""choices": ["a"], "answer": "a""#, "choices_count"),
            (r#""choices": "ab", "answer": "a""#, "field_mistyped"),
            (r#""choices": null, "answer": ["1"]"#, "field_mistyped"),
            (r#""choices": null"#, "field_missing"),
            (r#""answer": "1", "unit": 4"#, "field_mistyped"),
        ] {
            let fault = read(&format!(r#"{{"question": "How much?", {rest}}}"#)).unwrap_err();
            assert_eq!(fault.reason, reason, "{rest}");
        }
    }

    #[test]
    fn parts_of_a_split_are_left_out_where_the_whole_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("data/tabmwp");
        std::fs::create_dir_all(&home).unwrap();
        for split in ["dev", "dev1k", "test1k"] {
            std::fs::write(home.join(format!("problems_{split}.json")), "{}").unwrap();
        }
        let parts = TabMwp.find(&Tree::open(dir.path()).unwrap()).unwrap();
        let read: Vec<(&str, bool)> = parts
            .iter()
            .map(|p| (p.split.as_str(), p.by_default))
            .collect();
        assert_eq!(read, [("dev", true), ("dev1k", false), ("test1k", true)]);
        assert_eq!(parts[0].images, "data/tabmwp");
    }
}
