//! Replies with known verdicts, published outputs, layouts, and bad input.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;

use super::choice::{find, letters};
use super::open::{matches, numbers, parse};
use super::*;
use crate::data::parquet;
use crate::{Picture, score};

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// The letter that is found, `-` for none, by MMMU's, MMMU-Pro's and our rules.
fn found(reply: &str, options: &[&str]) -> String {
    let (letters, options) = (letters(options.len()), texts(options));
    [Rules::Mmmu, Rules::Pro, Rules::Extended]
        .map(|rules| {
            find(reply, &letters, &options, rules)
                .map_or("-", |at| letters[at].as_str())
                .to_owned()
        })
        .concat()
}

#[test]
fn letters_are_found_where_each_set_of_rules_looks() {
    let colours = ["red", "green", "dark blue"];
    for (reply, wanted) in [
        // Plain letters; marks at the ends go, and blanks at the ends are put there.
        ("B", "BBB"),
        ("B.", "BBB"),
        ("'B'", "BBB"),
        ("B and then C", "CCC"),
        ("(A) or B", "AAA"),
        ("(C), since (A) is wrong", "AAC"),
        // MMMU wants blanks on both sides, MMMU-Pro only after.
        ("DNA is", "-A-"),
        ("B. green", "-BB"),
        ("I say: B. It is", "-B-"),
        ("\tB\n", "--B"),
        // Of several that end in words, MMMU-Pro takes the first when none stands alone.
        ("xB xA y", "-A-"),
        // Option texts count in replies of more than five words.
        ("the wall was dark blue", "--C"),
        ("i think the wall was dark blue", "CCC"),
        ("i think the wall was red not green", "BB-"),
        ("i think the wall was Dark Blue or RED", "AA-"),
        // MMMU-Pro takes the only letter after the last "Answer:".
        ("(A) Answer: B", "ABB"),
        ("(A) Answer: CAB", "AAA"),
        ("(A) Answer: x Answer: C!", "ACC"),
        // Ours.
        ("the answer is **b**", "---"),
        ("the answer is **B**", "--B"),
        ("The answer is option (C)", "CCC"),
        ("b) green", "--B"),
        ("b", "--B"),
        ("so \\boxed{C} it is, not (A)", "AAC"),
        ("\\boxed{\\text{B}}", "--B"),
        ("no idea", "---"),
        ("", "---"),
        // A single article is a letter by the official rules, and ours take their places over.
        ("A fine day", "AAA"),
    ] {
        assert_eq!(found(reply, &colours), wanted, "{reply:?}");
    }
    // An empty option is in every long reply.
    assert_eq!(found("one two three four five six", &["x", "", "y"]), "BB-");
}

#[test]
fn what_is_said_in_an_open_reply() {
    for (reply, said) in [
        ("12", "12.0"),
        ("The answer is 1,234.567 m", "1,234.567 m | 1234.0 | 234.57"),
        ("so it is C", " c | c "),
        ("x = 5", "5.0"),
        ("x = 5\nThat is all", "all"),
        ("x = 5\nAll", "x = 5\nall | 5.0"),
        ("final answer 2.675", "2.67"),
        ("the result is -3.14e2.", "-314.0 | -3.0 | 2.0"),
        ("is :", "is :"),
        ("it is 24/7", "24/7 | 24.0 | 7.0"),
        ("it is so so", "so"),
        ("", ""),
    ] {
        let found: Vec<String> = parse(reply).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" | "), said, "{reply:?}");
    }
}

#[test]
fn an_open_answer_is_right_where_it_is_in_the_words_or_equals_a_number() {
    for (reply, answers, right) in [
        ("It is Tampa, Florida", &["Tampa", "Florida"][..], true),
        ("3.4294", &["24/7", "3.429"], true),
        ("24/7", &["24/7", "3.429"], true),
        ("3.44", &["24/7", "3.429"], false),
        ("the answer is c", &["C"], true),
        ("it is acid", &["C"], false),
        ("step b", &["B"], true),
        ("5%", &["5"], true),
        ("-5", &["5"], false),
        ("0.001", &["0.004"], true),
        ("nan", &["nan"], false),
        ("-0", &["0.0"], true),
        ("", &["5"], false),
        ("anything", &[], false),
    ] {
        assert_eq!(
            matches(answers, &parse(reply)),
            right,
            "{reply:?} {answers:?}"
        );
    }
}

#[test]
fn numbers_are_found_as_by_three_patterns_one_after_the_other() {
    for (text, wanted) in [
        ("1,234,567 and 12,34", &["1,234,567", "567", "34"][..]),
        ("1,2345", &["2345"]),
        ("1,234,5678", &["1,234", "5678"]),
        ("x1,234", &["234"]),
        ("-1,234", &["-1,234", "234"]),
        ("3.14e5", &["3.14e5", "3", "5"]),
        ("1e-5x 2E+3", &["1e-5", "2E+3", "3"]),
        ("-.5.5", &["-.5", ".5"]),
        ("--5", &["-5"]),
        ("5cm 6 cm", &["6"]),
        ("7.", &["7"]),
        ("٣.１", &["٣.１"]),
        ("", &[]),
    ] {
        assert_eq!(numbers(text), wanted, "{text:?}");
    }
}

/// Five questions, the first of Accounting, the others of Art; all right answers are B.
fn questions() -> Vec<Item> {
    let ids = ["Art_1", "Art_2", "Accounting_1", "Art_3", "Art_4"];
    ids.iter()
        .map(|id| {
            let id = format!("validation_{id}");
            let mut item = questions::blank(&id, subjects::of_id(&id), false);
            item.choices = texts(&["w", "x", "y", "z"]);
            item.answer = Some("B".to_owned());
            item
        })
        .collect()
}

fn reply(id: &str, text: Option<&str>) -> Answer {
    Answer {
        id: format!("validation_{id}"),
        response: text.map(str::to_owned),
        ..Answer::default()
    }
}

#[test]
fn guesses_are_drawn_in_the_official_order_of_subjects_and_only_for_rows() {
    // random.Random(42): A A C B B B ... of four letters.
    let items = questions();
    let answers = [
        reply("Art_1", Some("?")),
        reply("Art_2", Some("B")),
        reply("Accounting_1", Some("")),
        reply("Art_3", None),
        reply("Art_4", Some("none of these")),
    ];
    let how = Scoring::default();
    let scored = Mmmu.score(&items, &answers, &how);
    let predictions: Vec<&str> = scored
        .iter()
        .map(|s| s.prediction.as_deref().unwrap_or("-"))
        .collect();
    assert_eq!(predictions, ["A", "B", "A", "-", "C"]);
    let guessed: Vec<bool> = scored.iter().map(|s| s.fallback).collect();
    assert_eq!(guessed, [true, false, true, false, true]);
    let readings: Vec<Reading> = scored.iter().map(|s| s.reading).collect();
    use Reading::{Empty, Parsed, Unparsed};
    assert_eq!(readings, [Unparsed, Parsed, Empty, Empty, Unparsed]);
    for how in [
        Scoring {
            strict: true,
            ..how
        },
        Scoring {
            extraction: Extraction::Extended,
            ..how
        },
    ] {
        let scored = Mmmu.score(&items, &answers, &how);
        assert!(scored.iter().all(|s| !s.fallback), "{how:?}");
        assert_eq!(scored.iter().filter(|s| s.prediction.is_some()).count(), 1);
    }
}

#[test]
fn an_answer_parsed_before_is_right_only_as_the_letter_itself() {
    let mut items = questions();
    items.truncate(4);
    let answers: Vec<Answer> = ["B", "B.", "", "C"]
        .iter()
        .map(|text| Answer {
            extraction: Some((*text).to_owned()),
            ..Answer::default()
        })
        .collect();
    let scored = Mmmu.score(&items, &answers, &Scoring::default());
    use Reading::{Empty, Parsed, Unparsed};
    let seen: Vec<(bool, Reading)> = scored.iter().map(|s| (s.correct, s.reading)).collect();
    assert_eq!(
        seen,
        [
            (true, Parsed),
            (false, Unparsed),
            (false, Empty),
            (false, Parsed)
        ]
    );
}

#[test]
fn the_query_is_the_official_prompt_for_llava() {
    let mut item = questions().remove(0);
    item.question = "<image 1> Which?".to_owned();
    item.choices = texts(&["one", "<image 2>"]);
    assert_eq!(
        Mmmu.query(&item),
        "<image 1> Which?\n(A) one\n(B) <image 2>\n\nAnswer with the option's letter from the given \
         choices directly."
    );
    item.kind = Kind::Open;
    assert_eq!(
        Mmmu.query(&item),
        "<image 1> Which?\nAnswer the question using a single word or phrase."
    );
}

#[test]
fn a_folder_of_parquet_files_is_read_with_its_images() {
    let dir = tempfile::tempdir().unwrap();
    for (subject, ids) in [
        ("Art", ["validation_Art_1", "validation_Art_2"]),
        (
            "Accounting",
            ["validation_Accounting_1", "validation_Accounting_2"],
        ),
    ] {
        fs::create_dir(dir.path().join(subject)).unwrap();
        parquet::write(
            &dir.path()
                .join(subject)
                .join("validation-00000-of-00001.parquet"),
            &[
                ("id", ids.map(Some).to_vec()),
                ("question", vec![Some("<image 1> q?"); 2]),
                ("options", vec![Some(r#"['a', "b's"]"#), Some("[]")]),
                ("answer", vec![Some("B"), Some("['$MgS$', 'MgS']")]),
                ("question_type", vec![Some("multiple-choice"), Some("open")]),
                ("topic_difficulty", vec![Some("Easy"), None]),
            ],
            &[
                ("image_1", vec![Some(b"PNG"); 2]),
                ("image_2", vec![Some(b"JPG"), None]),
            ],
        );
    }
    let items = Mmmu.load(dir.path(), "val").unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(
        ids[..2],
        ["validation_Accounting_1", "validation_Accounting_2"]
    );
    assert_eq!(ids.len(), 4);
    assert_eq!(items[0].choices, ["a", "b's"]);
    assert_eq!(items[0].pictures[1], Picture::Bytes(b"JPG"[..].into()));
    let group = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        items[0].groups,
        [
            group("category", "Accounting"),
            group("domain", "Business"),
            group("question_type", "multiple-choice"),
            group("topic_difficulty", "Easy"),
        ]
    );
    assert_eq!(items[1].kind, Kind::Open);
    assert_eq!(items[1].answer.as_deref(), Some("['$MgS$', 'MgS']"));
    assert_eq!(questions::answers(&items[1]), ["$MgS$", "MgS"]);
    let error = Mmmu.load(dir.path(), "test").unwrap_err().to_string();
    assert!(
        error.contains("MMMU_TEST.tsv") && error.contains("test-*.parquet"),
        "{error}"
    );
    assert!(matches!(
        Mmmu.load(dir.path(), "train"),
        Err(Error::UnknownSplit { .. })
    ));
}

#[test]
fn a_table_of_vlmevalkit_is_read_with_open_questions_and_predictions() {
    let dir = tempfile::tempdir().unwrap();
    let image = "QUJD".repeat(20);
    fs::write(
        dir.path().join("MMMU_DEV_VAL.tsv"),
        format!(
            "index\tid\tquestion\tA\tB\tanswer\tcategory\tsplit\timage\n\
             1\tdev_Art_1\tq\tx\ty\tA\tArt\tdev\t{image}\n\
             2\tvalidation_Math_1\tq\tx\ty\tB\tMath\tvalidation\t\"['{image}', '{image}']\"\n\
             3\tvalidation_Art_2\tq\t\t\t24/7\tArt\tvalidation\t1\n"
        ),
    )
    .unwrap();
    let items = Mmmu.load(dir.path(), "val").unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        (items[0].id.as_str(), items[0].kind),
        ("validation_Art_2", Kind::Open)
    );
    assert_eq!((items[0].pictures.len(), items[1].pictures.len()), (1, 2));
    assert_eq!(items[1].choices, ["x", "y"]);
    let path = dir.path().join("model.tsv");
    fs::write(&path, "index\tprediction\n2\t(B)\n3\t\n").unwrap();
    let outputs = Mmmu.outputs(&path, &items).unwrap();
    let (total, _) = score(&Mmmu, "val", &items, &outputs, &Scoring::default());
    assert_eq!(
        (total.correct, total.empty, total.missing),
        (1, 1, 0),
        "{total:?}"
    );
    assert_eq!(total.model, "model");
}

#[test]
fn rows_are_scored_by_the_options_and_answers_they_repeat() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("Art")).unwrap();
    let row = |id: &str, answer: &str, response: serde_json::Value| {
        json!({"id": id, "question_type": "multiple-choice", "answer": answer,
            "all_choices": ["A", "B"], "index2ans": {"A": "elm", "B": "oak"}, "response": response})
    };
    let rows = json!([
        row("validation_Art_2", "A", json!("A")),
        row("validation_Art_1", "B", json!("it must be the old oak")),
        {"id": "validation_Art_4", "question_type": "short-answer", "answer": ["2", "two"], "response": 2},
        {"id": "validation_Art_9", "question_type": "multiple-choice", "answer": "A",
            "all_choices": ["A"], "index2ans": {}, "response": "A"},
        {"question_type": "short-answer"},
        7,
    ]);
    fs::write(dir.path().join("Art/output.json"), rows.to_string()).unwrap();
    let items = questions();
    let outputs = Mmmu.outputs(dir.path(), &items).unwrap();
    assert_eq!((outputs.answers.len(), outputs.items.len()), (4, 3));
    assert!(
        outputs.remarks[0].contains("3 rows"),
        "{:?}",
        outputs.remarks
    );
    assert_eq!(outputs.items[0].choices, ["elm", "oak"]);
    let (total, scored) = score(&Mmmu, "val", &items, &outputs, &Scoring::default());
    assert_eq!(
        (total.correct, total.total, total.missing),
        (3, 5, 2),
        "{total:?}"
    );
    assert_eq!(scored[1].expected.as_deref(), Some("A"));
    // What only the data know stays.
    let mut items = items;
    items[1].question = "Which tree?".to_owned();
    let outputs = Mmmu.outputs(dir.path(), &items).unwrap();
    assert_eq!(outputs.items[0].question, "Which tree?");
}

#[test]
fn an_object_of_answers_is_not_parsed_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("total_val_output.json");
    let answers =
        json!({"validation_Art_1": "(B)", "validation_Art_2": "B", "validation_Art_3": 3});
    fs::write(&path, answers.to_string()).unwrap();
    let items = questions();
    let outputs = Mmmu.outputs(dir.path(), &items).unwrap();
    assert!(outputs.remarks[0].starts_with("1 answers are not text"));
    assert!(outputs.remarks[1].starts_with("1 answers to questions with options are more"));
    let (total, _) = score(&Mmmu, "val", &items, &outputs, &Scoring::default());
    assert_eq!(
        (
            total.correct,
            total.unparsed,
            total.missing,
            total.fallbacks
        ),
        (1, 2, 2, 0)
    );
}

#[test]
fn guesses_within_a_subject_follow_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let row = |id: &str, response: &str| {
        json!({"id": id, "question_type": "multiple-choice", "answer": "B", "response": response,
            "index2ans": {"A": "w", "B": "x", "C": "y", "D": "z"}})
    };
    // Draws are A, A, C.
    let rows: Vec<_> = ["Art_4", "Art_2", "Art_1"]
        .map(|id| row(&format!("validation_{id}"), "?"))
        .into();
    let path = dir.path().join("output.json");
    fs::write(&path, json!(rows).to_string()).unwrap();
    let items = questions();
    let outputs = Mmmu.outputs(&path, &items).unwrap();
    let (_, scored) = score(&Mmmu, "val", &items, &outputs, &Scoring::default());
    let predictions: Vec<&str> = scored
        .iter()
        .map(|s| s.prediction.as_deref().unwrap_or("-"))
        .collect();
    assert_eq!(predictions, ["C", "A", "-", "-", "A"]);
}

#[test]
fn files_that_are_no_outputs_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.json", ""),
        ("b.json", "[]"),
        ("c.json", "[{\"id\": 7}]"),
        ("d.json", "{\"id\": "),
        ("e.tsv", "index\tanswers\n1\t2\n"),
        ("f.json", &"[".repeat(100_000)),
        (
            "g.json",
            "[[\"id\"], null, {\"id\": [], \"response\": \"A\"}]",
        ),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let error = Mmmu.outputs(&path, &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = Mmmu.outputs(dir.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("output.json"), "{error}");
    let answers = dir.path().join("answer_dict_val.json");
    for content in ["[]", "{}", "{\"validation_Art_1\": 3"] {
        fs::write(&answers, content).unwrap();
        assert!(Mmmu.load(dir.path(), "val").is_err(), "{content}");
    }
}

fn shared(path: &str) -> Option<PathBuf> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var("MATH_LLAVA_SHARED").unwrap_or_else(|_| workspace.to_owned());
    let path = Path::new(&root).join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Right answers by subject in the official order, as the official code counts them.
const LLAVA_13B: [u64; 30] = [
    8, 15, 10, 18, 16, 15, 7, 6, 12, 6, 18, 11, 7, 6, 11, 4, 12, 17, 22, 10, 5, 12, 10, 5, 11, 8,
    9, 11, 12, 16,
];

#[test]
fn published_outputs_score_as_by_the_official_programs() {
    let Some(folder) = shared("data/benchmarks/mmmu") else {
        return;
    };
    let data = Mmmu.load(&folder, "val").unwrap();
    assert_eq!(data.len(), 900);
    assert!(
        data.iter()
            .all(|item| item.kind == Kind::Open || item.choices.len() >= 2)
    );
    let examples = folder.join("example_outputs");
    let strict = Scoring {
        strict: true,
        ..Scoring::default()
    };
    for (path, how, correct, guesses) in [
        ("llava1.5_13b", Scoring::default(), 330, 2),
        ("llava1.5_13b", strict, 329, 0),
        (
            "llava1.5_13b/total_val_output.json",
            Scoring::default(),
            330,
            0,
        ),
        ("llava1.5_13b_val.json", Scoring::default(), 324, 0),
    ] {
        let outputs = Mmmu.outputs(&examples.join(path), &data).unwrap();
        assert_eq!(outputs.remarks, [""; 0]);
        // The rows' own options and the data's give the same.
        let of_data = crate::Outputs {
            items: Vec::new(),
            ..outputs.clone()
        };
        for outputs in [&outputs, &of_data] {
            let (total, _) = score(&Mmmu, "val", &data, outputs, &how);
            assert_eq!((total.correct, total.total), (correct, 900), "{path}");
            assert_eq!((total.fallbacks, total.missing), (guesses, 0), "{path}");
            let unread = if path == "llava1.5_13b" { 2 } else { 0 };
            assert_eq!(total.unparsed + total.empty, unread, "{path}");
            if guesses > 0 {
                let by_subject = subjects::SUBJECTS
                    .map(|(subject, _)| total.groups["category"][subject].correct);
                assert_eq!(by_subject, LLAVA_13B);
                assert_eq!(total.groups["question_type"]["short-answer"].total, 53);
                assert_eq!(total.groups["domain"].len(), 6);
            }
        }
    }
}

/// What a fuzzer may call: no reply makes reading or scoring panic.
fn read_reply(reply: &str, options: &[String], answer: &str) {
    for rules in [Rules::Mmmu, Rules::Pro, Rules::Extended] {
        if let Some(at) = find(reply, &letters(options.len()), options, rules) {
            assert!(at < options.len());
        }
    }
    let said = parse(reply);
    assert!(!said.is_empty());
    matches(&[answer], &said);
}

proptest! {
    #[test]
    fn no_reply_makes_scoring_panic(
        reply: String,
        options in proptest::collection::vec("\\PC{0,6}", 1..6),
        answer: String,
    ) {
        read_reply(&reply, &options, &answer);
    }

    #[test]
    fn no_mixture_of_marks_makes_scoring_panic(
        reply in "[A-D()\\[\\]{}.,:;'!?\\\\boxedAnswer: is=\n0-9eE+٣\u{a0}-]{0,60}",
    ) {
        read_reply(&reply, &texts(&["a", "", "one two"]), &reply);
    }

    #[test]
    fn a_bracketed_letter_is_found_in_any_reply_without_others(before in "[^()A-D]{0,40}", letter in "[A-D]", after in "[^()A-D]{0,40}") {
        prop_assume!(!before.contains("nswer") && !after.contains("nswer"));
        let reply = format!("{before}({letter}){after}");
        let found = found(&reply, &["a", "b", "c", "d"]);
        prop_assert!(found.starts_with(&letter.repeat(2)), "{} {}", reply, found);
    }
}

#[test]
fn long_replies_are_read_in_linear_time() {
    for reply in [
        "1".repeat(1 << 20),
        "1".repeat(1 << 20) + "x",
        "1,234".repeat(1 << 18),
        "1.".repeat(1 << 19),
        "-".repeat(1 << 20),
        "(".repeat(1 << 20),
        "A ".repeat(1 << 19),
        "is ".repeat(1 << 18),
        "so 1\n".repeat(1 << 17),
        "\\boxed{".repeat(1 << 17),
        "answer is ".repeat(1 << 17),
        "٣".repeat(1 << 18),
        " ".repeat(1 << 20),
        "10^10^10".to_owned(),
    ] {
        read_reply(&reply, &texts(&["1", "x", "A "]), "1");
    }
}
