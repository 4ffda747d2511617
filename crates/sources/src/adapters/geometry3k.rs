//! # Geometry3K
//!
//! 3,002 high-school geometry problems with choices, each on a diagram of its own, annotated in a
//! formal language.
//!
//! - Home: <https://lupantech.github.io/inter-gps/>
//! - Licence: MIT
//! - Citation: Lu et al., "Inter-GPS: Interpretable Geometry Problem Solving with Formal Language
//!   and Symbolic Reasoning", ACL 2021, arXiv 2105.04165
//!
//! ## Layout
//! ```text
//! <root>/{train,val,test}.zip                as published, or unpacked:
//! <root>/<split>/<id>/data.json              the problem
//! <root>/<split>/<id>/img_diagram.png        its diagram
//! <root>/<split>/<id>/logic_form.json        what it shows in formal language: the image's scene
//! <root>/<split>/<id>/{img_problem.png,img_diagram_point.png}   not read
//! ```
//! The same below `<root>/data/geometry3k` and `<root>/geometry3k`, as in the authors' repository.
//!
//! ## Example row
//! ```json
//! {"id": 17, "problem_text": "Find m \\angle A.", "choices": ["30", "45", "60", "90"],
//!  "answer": "C", "problem_type_graph": ["Triangle"], "problem_type_goal": ["Angle"],
//!  "compact_text": "Find m \\angle A.", "annotat_text": "Find $m \\angle A$.", "unit": ""}
//! ```
//!
//! ## Quirks
//! - `problem_text` has spaces between the letters of a line (`A B = 30`); `compact_text` has none,
//!   and `annotat_text` is LaTeX and sometimes says more. The first is read: it is the one that
//!   benchmarks print, so that their questions are known again here.
//! - `answer` is a letter; `choices` are numbers and LaTeX (`5 \sqrt { 2 }`).
//! - `img_problem.png` shows the text too, and is not read. Diagrams are RGBA.
//! - `detailed_solution` is blank in nearly all rows.
//! - The template is what is drawn and what is asked for (`circle+triangle/length`); what is drawn
//!   is also the image's family.
//! - Where `id` counts over all splits, rows are still named `<split>/<folder>`.

use sample::Task;

use super::fields::Fields;
use super::iconqa::numbered;
use super::{About, Fault, Part, Raw, Record, Source, choice_by_letter, opening, under};
use crate::Error;
use crate::programs::Told;
use crate::rows::Rows;
use crate::tree::Tree;

/// The adapter.
pub struct Geometry3k;

static ABOUT: About = About {
    name: "geometry3k",
    page: include_str!("geometry3k.rs"),
    title: "Geometry3K",
    task: Task::Gps,
    licence: "MIT",
    url: "https://lupantech.github.io/inter-gps/",
    citation: "Lu et al., Inter-GPS: Interpretable Geometry Problem Solving with Formal Language and Symbolic Reasoning, ACL 2021, arXiv 2105.04165",
    layout: &[
        "<train|val|test>/<id>/data.json with img_diagram.png (or <split>.zip)",
        "the same below data/geometry3k or geometry3k",
    ],
    expected: &[("train", 2_101), ("val", 300), ("test", 601)],
    paper_images: Some(2_101),
};

impl Source for Geometry3k {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn find(&self, tree: &Tree) -> Result<Vec<Part>, Error> {
        for home in ["", "data/geometry3k", "geometry3k"] {
            let mut parts = Vec::new();
            for split in ["train", "val", "test"] {
                let folder = under(home, split);
                let mut files = numbered(tree, &folder, "data.json");
                // Other data sets have numbered folders in their splits too.
                files.retain(|file| {
                    let folder = file.trim_end_matches("data.json");
                    tree.has(file) && tree.has(&format!("{folder}img_diagram.png"))
                });
                if !files.is_empty() {
                    parts.push(Part::new(split, "", Rows::Files { files }, folder));
                }
            }
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
        Ok(Vec::new())
    }

    fn record(&self, part: &Part, raw: &Raw<'_>) -> Result<Record, Fault> {
        let fields = Fields::parse(raw.text)?;
        let folder = raw.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let name = folder.rsplit('/').next().unwrap_or_default();
        let question = fields.text("problem_text")?;
        let choices = fields.texts("choices")?;
        let answer = choice_by_letter(&choices, &fields.text("answer")?)?;
        let drawn = fields.texts("problem_type_graph")?.join("+").to_lowercase();
        let asked = fields.texts("problem_type_goal")?.join("+").to_lowercase();
        let template = match (drawn.as_str(), asked.as_str()) {
            ("", "") => opening(&question, 2),
            _ => under(&drawn, &asked),
        };
        Ok(Record {
            choices,
            template,
            unit: fields.optional_text("unit")?,
            rationale: fields.optional_text("detailed_solution")?,
            family: (!drawn.is_empty()).then_some(drawn),
            scene: Some(Told::LogicForm(under(folder, "logic_form.json"))),
            ..Record::new(
                format!("{}/{name}", part.split),
                under(folder, "img_diagram.png"),
                question,
                answer,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use sample::Answer;

    use super::super::Picture;
    use super::super::laid_out::{write_all, zip_of};
    use super::*;

    fn read(text: &str) -> Result<Record, Fault> {
        let part = Part::new("train", "", Rows::Files { files: Vec::new() }, "train");
        Geometry3k.record(
            &part,
            &Raw {
                key: "train/17/data.json",
                text,
                ..Raw::default()
            },
        )
    }

    #[test]
    fn a_problem_keeps_its_text_its_choices_and_what_is_drawn() {
        let record = read(
            r#"{"id": 17, "problem_text": "If A D = 27, find B C.", "answer": "B", "unit": "",
                "choices": ["8", "5 \\sqrt { 2 }"], "problem_type_graph": ["Line", "Triangle"],
                "problem_type_goal": ["Length"], "detailed_solution": " "}"#,
        )
        .unwrap();
        assert_eq!(record.row, "train/17");
        assert_eq!(
            record.image,
            Picture::File("train/17/img_diagram.png".into())
        );
        assert_eq!(record.choices[1], "5 \\sqrt { 2 }");
        assert_eq!(
            (record.answer, record.unit, record.rationale),
            (Answer::Choice(1), None, None)
        );
        assert_eq!(record.template, "line+triangle/length");
        assert_eq!(record.family.as_deref(), Some("line+triangle"));
    }

    #[test]
    fn wrong_rows_are_faults() {
        for (text, reason) in [
            (
                r#"{"problem_text": "q", "choices": ["1", "2"], "answer": "E"}"#,
                "answer_not_a_choice",
            ),
            (
                r#"{"problem_text": "q", "choices": ["1", "2"], "answer": "2.0"}"#,
                "answer_not_a_choice",
            ),
            (
                r#"{"problem_text": "q", "choices": [], "answer": "A"}"#,
                "choices_count",
            ),
            (r#"{"choices": ["1", "2"], "answer": "A"}"#, "field_missing"),
            (
                r#"{"problem_text": "q", "choices": ["1", null], "answer": "A"}"#,
                "field_mistyped",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn problems_are_found_in_folders_and_in_the_published_zips() {
        let files = [
            "2/data.json",
            "2/img_diagram.png",
            "11/data.json",
            "11/img_diagram.png",
        ];
        let dir = tempfile::tempdir().unwrap();
        let below = |split: &str| files.map(|file| format!("{split}/{file}"));
        write_all(dir.path(), &below("geometry3k/train"));
        // Numbered folders without a diagram are another data set's.
        write_all(dir.path(), &["geometry3k/val/5/data.json"]);
        std::fs::write(
            dir.path().join("geometry3k/test.zip"),
            zip_of(&below("test")),
        )
        .unwrap();
        let parts = Geometry3k.find(&Tree::open(dir.path()).unwrap()).unwrap();
        let found: Vec<Vec<&str>> = parts.iter().map(|p| p.rows.files()).collect();
        let expected =
            |split: &str| ["2", "11"].map(|id| format!("geometry3k/{split}/{id}/data.json"));
        assert_eq!(found, [expected("train"), expected("test")]);
    }
}
