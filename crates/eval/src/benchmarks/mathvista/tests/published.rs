//! The published questions, queries and outputs, where the shared folder is there.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use sample::benchmark::BenchmarkScore;

use super::super::demonstrations::{Demonstration, from_query, merge};
use super::super::query::{Form, Shot, Texts, few_shot, zero_shot};
use super::super::*;
use crate::data::json::{self, Json};
use crate::{Dialect, score};

/// The benchmark's shared folder; `None`, and a line that says what is skipped, where there is none.
fn shared(skipped: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MATH_LLAVA_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = root.join("data/benchmarks/mathvista");
    if !folder.is_dir() {
        eprintln!("no {}: skipped {skipped}", folder.display());
        return None;
    }
    Some(folder)
}

/// The published outputs: folder-relative names and files, in order.
fn published(folder: &std::path::Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for model in std::fs::read_dir(folder.join("results")).unwrap() {
        for file in std::fs::read_dir(model.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            // The template's score file belongs to another output.
            if name.contains("output_") && !name.contains("output_testmini_template") {
                found.push((name, path));
            }
        }
    }
    found.sort();
    found
}

fn scored(folder: &std::path::Path, output: &std::path::Path, dialect: Dialect) -> BenchmarkScore {
    let items = MathVista.load(folder, "testmini").unwrap();
    let outputs = MathVista.outputs(output, &items).unwrap();
    let how = Scoring {
        dialect,
        ..Scoring::default()
    };
    score(&MathVista, "testmini", &items, &outputs, &how).0
}

#[test]
fn every_published_output_has_its_official_total_under_both_dialects() {
    let Some(folder) = shared("the totals of published outputs") else {
        return;
    };
    let wanted = json::read(&folder.join("recomputed.json")).unwrap();
    let outputs = published(&folder);
    assert!(outputs.len() >= 5);
    for (name, path) in outputs {
        let Some(wanted) = wanted.get(&name) else {
            continue;
        };
        for (dialect, key) in [
            (Dialect::Head, "head"),
            (Dialect::Paper, "paper_strict_int"),
        ] {
            let score = scored(&folder, &path, dialect);
            let correct = wanted.get(key).and_then(|w| w.get("correct")?.as_f64());
            assert_eq!(Some(score.correct as f64), correct, "{name} {key}");
            assert_eq!((score.total, score.missing), (1000, 0), "{name} {key}");
            assert_eq!(score.remarks, Vec::<String>::new(), "{name}");
        }
    }
}

/// `"26.1"`, as the published averages are printed, and `"48.70"`, as the groups are.
fn printed(correct: u64, total: u64, average: bool) -> String {
    let share = correct as f64 / total as f64 * 100.0;
    if average {
        crate::python::float_to_str(crate::python::round(share, 2).unwrap())
    } else {
        format!("{share:.2}")
    }
}

#[test]
fn every_published_score_file_is_made_again_group_by_group() {
    let Some(folder) = shared("the groups of published scores") else {
        return;
    };
    for (name, path) in published(&folder) {
        let file = name.replace("output_", "scores_");
        let wanted = json::read(&folder.join(file)).unwrap();
        // Published scores follow one dialect or the other, whole.
        let agrees = |dialect| {
            let score = scored(&folder, &path, dialect);
            let mut wrong = Vec::new();
            for (dimension, groups) in wanted.as_object().unwrap() {
                let shares: BTreeMap<&str, &Json> = match dimension.as_str() {
                    "average" => BTreeMap::from([("", groups)]),
                    _ => groups
                        .as_object()
                        .unwrap()
                        .iter()
                        .map(|(name, share)| (name.as_str(), share))
                        .collect(),
                };
                let average = dimension == "average";
                if !average && shares.len() != score.groups[dimension].len() {
                    wrong.push(format!("{dimension} has other groups"));
                }
                for (group, share) in shares {
                    let (correct, total) = if average {
                        (score.correct, score.total)
                    } else {
                        score.groups[dimension]
                            .get(group)
                            .map_or((0, 0), |share| (share.correct, share.total))
                    };
                    let same = share.get("correct").and_then(Json::as_f64) == Some(correct as f64)
                        && share.get("total").and_then(Json::as_f64) == Some(total as f64)
                        && share.get("accuracy").and_then(Json::as_str)
                            == Some(&printed(correct, total, average));
                    if !same {
                        wrong.push(format!("{dimension} {group}: {correct}/{total}, {share:?}"));
                    }
                }
            }
            wrong
        };
        let head = agrees(Dialect::Head);
        let paper = agrees(Dialect::Paper);
        assert!(
            head.is_empty() || paper.is_empty(),
            "{name}: head {head:?}, paper {paper:?}"
        );
    }
}

#[test]
fn every_row_has_its_published_prediction_and_verdict() {
    let Some(folder) = shared("row verdicts of published outputs") else {
        return;
    };
    let items = MathVista.load(&folder, "testmini").unwrap();
    for (name, path) in published(&folder) {
        let rows = json::read(&path).unwrap();
        let outputs = MathVista.outputs(&path, &items).unwrap();
        let by = |dialect| {
            let how = Scoring {
                dialect,
                ..Scoring::default()
            };
            score(&MathVista, "testmini", &items, &outputs, &how).1
        };
        let (head, paper) = (by(Dialect::Head), by(Dialect::Paper));
        let agree = |scores: &[ItemScore]| {
            scores
                .iter()
                .filter(|score| {
                    let row = rows.get(&score.id).unwrap();
                    let verdict = row.get("true_false") == Some(&Json::Bool(score.correct));
                    verdict
                        && row.get("prediction").unwrap().as_str() == score.prediction.as_deref()
                })
                .count()
        };
        assert!(
            agree(&head) == 1000 || agree(&paper) == 1000,
            "{name}: head {}, paper {}",
            agree(&head),
            agree(&paper)
        );
    }
}

#[test]
fn every_normalisation_vector_passes() {
    let Some(folder) = shared("normalisation vectors") else {
        return;
    };
    let vectors = json::read(&folder.join("normalize_vectors.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() > 100);
    for vector in vectors {
        let kind = match vector.get("kind").unwrap().as_str().unwrap() {
            "multi_choice" => Kind::MultiChoice,
            "integer" => Kind::Integer,
            "float" => Kind::Float,
            "list" => Kind::List,
            other => unreachable!("{other}"),
        };
        let choices = vector.get("choices").and_then(Json::as_array);
        let item = Item {
            kind,
            choices: choices
                .unwrap_or_default()
                .iter()
                .map(|choice| choice.as_str().unwrap().to_owned())
                .collect(),
            precision: vector.get("precision").and_then(Json::as_f64),
            ..unknown("1")
        };
        let extraction = vector.get("extraction").unwrap().to_python();
        for (dialect, key) in [(Dialect::Head, "head"), (Dialect::Paper, "paper")] {
            if let Some(wanted) = vector.get(key) {
                let got = normalise::normalise(&extraction, &item, dialect);
                assert_eq!(got.as_deref(), wanted.as_str(), "{vector:?}");
            }
        }
    }
}

#[test]
fn the_zero_shot_query_of_every_question_is_the_published_one() {
    let Some(folder) = shared("published queries") else {
        return;
    };
    let queries = json::read(&folder.join("data/query.json")).unwrap();
    let items = MathVista.load(&folder, "testmini").unwrap();
    assert_eq!(items.len(), 1000);
    for item in items {
        let wanted = queries.get(&item.id).and_then(Json::as_str);
        assert_eq!(Some(zero_shot(&item).as_str()), wanted, "{}", item.id);
    }
}

#[test]
fn outputs_were_asked_the_zero_shot_queries_but_for_the_choices_of_a_few() {
    let Some(folder) = shared("queries of published outputs") else {
        return;
    };
    let items = MathVista.load(&folder, "testmini").unwrap();
    let (mut same, mut reordered) = (0, 0);
    for (name, path) in published(&folder) {
        let rows = json::read(&path).unwrap();
        for item in &items {
            let query = rows
                .get(&item.id)
                .and_then(|row| row.get("query")?.as_str());
            let Some(query) = query.filter(|query| query.starts_with("Hint: ")) else {
                continue;
            };
            if zero_shot(item) == query {
                same += 1;
                continue;
            }
            let (_, lines) = query.split_once("\nChoices:\n").unwrap();
            let asked: Vec<String> = lines.split('\n').map(|line| line[4..].to_owned()).collect();
            let item = Item {
                choices: asked,
                ..item.clone()
            };
            assert_eq!(zero_shot(&item), query, "{name} {}", item.id);
            reordered += 1;
        }
    }
    assert!(same > 1900 && reordered < same / 50, "{same} {reordered}");
}

/// Every published query, taken apart and put together again: the test split's questions are not here.
#[test]
fn all_published_queries_have_the_zero_shot_form() {
    let Some(folder) = shared("the form of published queries") else {
        return;
    };
    let queries = json::read(&folder.join("data/query.json")).unwrap();
    let queries = queries.as_object().unwrap();
    assert_eq!(queries.len(), 6141);
    for (id, query) in queries {
        let query = query.as_str().unwrap();
        let (hint, rest) = query.split_once("\nQuestion: ").unwrap();
        let kind = match hint {
            _ if hint.contains("option letter") => Kind::MultiChoice,
            _ if hint.contains("an integer") => Kind::Integer,
            _ if hint.contains("Python list") => Kind::List,
            _ => Kind::Float,
        };
        let precision = (kind == Kind::Float).then(|| 1.0 + f64::from(hint.contains("two")));
        let (question, choices) = rest.rsplit_once("\nChoices:\n").unwrap_or((rest, ""));
        let choices = choices.split("\n(").filter(|line| !line.is_empty());
        let choices: Vec<String> = choices
            .map(|line| {
                line.split_once(") ")
                    .map_or("", |(_, text)| text)
                    .to_owned()
            })
            .collect();
        let item = Item {
            kind,
            precision,
            question: question.to_owned(),
            choices,
            ..unknown(id)
        };
        assert_eq!(zero_shot(&item), query, "{id}");
    }
}

/// The published outputs with worked examples, and their forms.
const WITH_EXAMPLES: [(&str, Form); 2] = [
    (
        "chatgpt/output_chatgpt_2shot_solution_use_ocr.json",
        Form {
            shot: Shot::Solution,
            shots: 2,
            captions: false,
            ocr: true,
        },
    ),
    (
        "chatgpt/output_chatgpt_2shot_code.json",
        Form {
            shot: Shot::Code,
            shots: 2,
            captions: false,
            ocr: false,
        },
    ),
];

#[test]
fn the_two_shot_queries_are_the_stored_ones_of_published_outputs() {
    let Some(folder) = shared("two-shot queries") else {
        return;
    };
    let items = MathVista.load(&folder, "testmini").unwrap();
    let mut examples: Vec<Demonstration> = Vec::new();
    let files: Vec<(Form, Json, Texts)> = WITH_EXAMPLES
        .iter()
        .map(|(name, form)| {
            let rows = json::read(&folder.join("results").join(name)).unwrap();
            (*form, rows, Texts::load(&folder, form).unwrap())
        })
        .collect();
    let stored = |rows: &Json, item: &Item| -> String {
        let query = rows.get(&item.id).unwrap().get("query").unwrap();
        query.as_str().unwrap().to_owned()
    };
    // One query of each file shows the examples; all others are then made from nothing of theirs.
    for (form, rows, texts) in &files {
        let shown = from_query(&stored(rows, &items[0]), &items[0], form, texts).unwrap();
        assert_eq!(shown.len(), 2);
        merge(&mut examples, shown);
    }
    assert_eq!(examples.len(), 2);
    for (form, rows, texts) in &files {
        for item in &items {
            let built = few_shot(item, form, &examples, texts).unwrap();
            assert_eq!(built, stored(rows, item), "{form:?} {}", item.id);
        }
    }
}

#[test]
fn all_published_captions_and_detected_texts_can_be_shown() {
    let Some(folder) = shared("captions and detected texts") else {
        return;
    };
    let form = Form {
        captions: true,
        ocr: true,
        ..Form::default()
    };
    let texts = Texts::load(&folder, &form).unwrap();
    let shown: HashMap<bool, usize> = texts.ocr.values().fold(HashMap::new(), |mut by, text| {
        *by.entry(query::corners_and_texts(text).is_empty())
            .or_default() += 1;
        by
    });
    // The only texts that show nothing are an empty list and no text at all.
    let empty = texts
        .ocr
        .values()
        .filter(|t| matches!(t.as_str(), "" | "[]"));
    assert_eq!(shown.get(&true).copied().unwrap_or_default(), empty.count());
    for item in MathVista.load(&folder, "testmini").unwrap() {
        let query = few_shot(&item, &form, &[], &texts).unwrap();
        assert!(query.starts_with("Question: ") && query.ends_with("\nSolution:"));
        assert!(!query.contains("I hope this helps!"));
    }
}
