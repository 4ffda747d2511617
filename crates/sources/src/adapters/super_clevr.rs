//! # Super-CLEVR
//!
//! 30,000 drawn scenes of vehicles with ten questions each, made by programs as in CLEVR: counting,
//! comparing, existence, attributes of objects and of their parts.
//!
//! - Home: <https://github.com/Lizw14/Super-CLEVR>
//! - Licence: CC-BY 4.0
//! - Citation: Li et al., "Super-CLEVR: A Virtual Benchmark to Diagnose Domain Robustness in Visual
//!   Reasoning", CVPR 2023, arXiv 2212.00259
//!
//! ## Layout
//! ```text
//! <root>/superCLEVR_questions_30k.json      also ..._30k_NoRedundant.json, ..._30k_AllRedundant.json
//! <root>/images/<image_filename>            or images.zip
//! <root>/scenes/<image>.json                the image's scene, where it is there
//! ```
//! The ten scenes in the authors' repository (`output/superCLEVR_questions_5.json` and
//! `..._part_5.json`) are read too, as the split `sample`.
//!
//! ## Example row
//! ```json
//! {"split": "new", "image_filename": "superCLEVR_new_000007.png", "image_index": 7,
//!  "image": "superCLEVR_new_000007", "question": "What number of green buses are there?",
//!  "answer": 2, "template_filename": "one_hop.json", "question_family_index": 0,
//!  "question_index": 70}
//! ```
//!
//! ## Quirks
//! - Answers are true or false (which become `yes` and `no`), whole numbers, or words.
//! - The file does not say which split a question is in: the first 20,000 scenes are `train`, the next
//!   5,000 `val`, the last 5,000 `test`.
//! - The two variants have questions with less or more redundant words on the same scenes. They are read
//!   by default only where the plain file is not there.
//! - `question_index` counts from 0 in each file: a row is named `<file's ending>/<question_index>`.
//! - The template is the program's: its file with the number of its form.
//! - Images have an alpha channel.

use sample::{Task, printed};

use super::fields::Fields;
use super::{About, Fault, Part, Raw, Record, Source, under};
use crate::Error;
use crate::programs::Told;
use crate::rows::{Rows, Shape};
use crate::tree::Tree;

const STEM: &str = "superCLEVR_questions_";
/// The first scenes of each split, and where they end.
const SPLITS: [(&str, u64, u64); 3] = [
    ("train", 0, 20_000),
    ("val", 20_000, 25_000),
    ("test", 25_000, u64::MAX),
];

/// The adapter.
pub struct SuperClevr;

static ABOUT: About = About {
    name: "super_clevr",
    page: include_str!("super_clevr.rs"),
    title: "Super-CLEVR",
    task: Task::Vqa,
    licence: "CC-BY 4.0",
    url: "https://github.com/Lizw14/Super-CLEVR",
    citation: "Li et al., Super-CLEVR: A Virtual Benchmark to Diagnose Domain Robustness in Visual Reasoning, CVPR 2023, arXiv 2212.00259",
    layout: &[
        "superCLEVR_questions_30k.json with images/<image_filename>",
        "superCLEVR_questions_30k_<NoRedundant|AllRedundant>.json, superCLEVR_questions_[part_]5.json",
        "the same below output",
    ],
    expected: &[("train", 200_000), ("val", 50_000), ("test", 50_000)],
    paper_images: Some(2_000),
};

impl Source for SuperClevr {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn find(&self, tree: &Tree) -> Result<Vec<Part>, Error> {
        for home in ["", "output"] {
            let mut parts = Vec::new();
            let plain = under(home, &format!("{STEM}30k.json"));
            let files = tree.files_ending(home, ".json");
            for file in files {
                let Some(ending) = ending(&file) else {
                    continue;
                };
                let kind = match ending.to_lowercase() {
                    e if e.contains("noredundant") => "no_redundant",
                    e if e.contains("allredundant") => "all_redundant",
                    e if e.contains("part") => "part",
                    _ => "",
                };
                let splits: &[&str] = match ending.starts_with("30k") {
                    true => &["train", "val", "test"],
                    false => &["sample"],
                };
                for split in splits {
                    let rows = Rows::json(file.clone(), Shape::ListUnder("questions"));
                    parts.push(Part {
                        by_default: !kind.ends_with("redundant") || !tree.has(&plain),
                        ..Part::new(*split, kind, rows, under(home, "images"))
                    });
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
        let image = fields.text("image_filename")?;
        let question = fields.text("question")?;
        let answers = fields.answers("answer")?;
        let answer = printed::answer(answers.first().map_or("", String::as_str));
        let index = fields.index("question_index")?;
        let scene = image.strip_suffix(".png").map(|name| {
            let home = part.images.trim_end_matches("images").trim_end_matches('/');
            Told::Objects(under(home, &format!("scenes/{name}.json")))
        });
        let program = fields.optional_text("template_filename")?;
        let record = Record::new(
            format!("{}/{index}", ending(part.rows.name()).unwrap_or_default()),
            under(&part.images, &image),
            question,
            answer,
        );
        let template = match (program, fields.index("question_family_index")) {
            (Some(program), Ok(form)) => format!("{}/{form}", program.trim_end_matches(".json")),
            (Some(program), Err(_)) => program,
            (None, _) => record.template.clone(),
        };
        Ok(Record {
            template,
            family: Some("vehicles".to_owned()),
            scene,
            ..record
        })
    }

    /// A file holds all splits: rows of the others are passed over, and those that do not say which
    /// they are of count in the first.
    fn records(&self, part: &Part, raw: &Raw<'_>) -> Vec<Result<Record, Fault>> {
        if let Some((split, from, to)) = SPLITS.iter().find(|(split, ..)| *split == part.split) {
            let scene = Fields::parse(raw.text).and_then(|fields| fields.index("image_index"));
            match scene {
                Ok(scene) if (*from..*to).contains(&scene) => {}
                Err(fault) if *split == "train" => return vec![Err(fault)],
                _ => return Vec::new(),
            }
        }
        vec![self.record(part, raw)]
    }
}

/// `part_5` of `output/superCLEVR_questions_part_5.json`.
fn ending(file: &str) -> Option<&str> {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_prefix(STEM)?.strip_suffix(".json")
}

#[cfg(test)]
mod tests {
    use sample::Answer;

    use super::super::{Picture, laid_out};
    use super::*;

    fn read(split: &str, rest: &str) -> Vec<Result<Record, Fault>> {
        let rows = Rows::json("superCLEVR_questions_30k.json", Shape::List);
        let part = Part::new(split, "", rows, "images");
        let text = format!(
            r#"{{"image_filename": "superCLEVR_new_000007.png", "question": "How many buses?",
                "question_index": 70, "template_filename": "one_hop.json",
                "question_family_index": 3, {rest}}}"#
        );
        let raw = Raw {
            key: "7",
            text: &text,
            ..Raw::default()
        };
        SuperClevr.records(&part, &raw)
    }

    #[test]
    fn answers_are_truths_counts_or_words() {
        for (answer, expected) in [
            ("true", Answer::Text("yes".into())),
            ("false", Answer::Text("no".into())),
            ("3", Answer::Integer(3)),
            ("\"tandem bike\"", Answer::Text("tandem bike".into())),
        ] {
            let record = read("sample", &format!(r#""answer": {answer}"#))
                .remove(0)
                .unwrap();
            assert_eq!(record.answer, expected);
            assert_eq!(record.row, "30k/70");
            assert_eq!(record.template, "one_hop/3");
            let image = "images/superCLEVR_new_000007.png";
            assert_eq!(record.image, Picture::File(image.into()));
        }
    }

    #[test]
    fn a_scene_is_in_one_split_by_its_number() {
        for (scene, split) in [
            (0, "train"),
            (19_999, "train"),
            (20_000, "val"),
            (25_000, "test"),
        ] {
            for (other, ..) in SPLITS {
                let records = read(other, &format!(r#""answer": 1, "image_index": {scene}"#));
                assert_eq!(
                    records.len(),
                    usize::from(other == split),
                    "{scene} {other}"
                );
            }
        }
        assert!(read("train", r#""answer": 1"#)[0].is_err());
        assert!(read("val", r#""answer": 1"#).is_empty());
    }

    #[test]
    fn missing_and_mistyped_fields_are_faults() {
        for (rest, reason) in [
            (r#""answer": null"#, "no_answer"),
            (r#""answer": {}"#, "field_mistyped"),
            (r#""answer": 1, "question_index": true"#, "field_mistyped"),
            (r#""answer": 1, "image_filename": null"#, "field_missing"),
        ] {
            let fault = read("sample", rest).remove(0).unwrap_err();
            assert_eq!(fault.reason, reason, "{rest}");
        }
    }

    #[test]
    fn variants_are_read_only_where_the_plain_file_is_not() {
        let plain = "superCLEVR_questions_30k.json";
        let bare = "superCLEVR_questions_30k_NoRedundant.json";
        let found = laid_out::found(&SuperClevr, &[(plain, "{}"), (bare, "{}")]);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.contains(&format!("train* {plain} images")));
        assert!(found.contains(&format!("val/no_redundant {bare} images")));
        let alone = laid_out::found(
            &SuperClevr,
            &[("all.zip", &format!("{bare}\nimages/1.png"))],
        );
        assert!(alone.contains(&format!("test/no_redundant* {bare} images")));
        let repository = laid_out::found(
            &SuperClevr,
            &[("output/superCLEVR_questions_part_5.json", "{}")],
        );
        let file = "output/superCLEVR_questions_part_5.json";
        assert_eq!(repository, [format!("sample/part* {file} output/images")]);
    }
}
