//! The rules on small cases; [`published`] has the real files.

mod published;

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::query::{Form, Shot, Texts};
use super::*;
use crate::{Dialect, Picture, score};

fn item(kind: Kind, choices: &[&str], answer: &str) -> Item {
    Item {
        kind,
        choices: choices.iter().map(|&c| c.to_owned()).collect(),
        answer: Some(answer.to_owned()),
        question: "How many?".to_owned(),
        precision: (kind == Kind::Float).then_some(1.0),
        ..unknown("1")
    }
}

const SHAPES: [&str; 4] = ["the cube", "the cone", "12", "12 cm"];

#[test]
fn the_official_rules_settle_only_replies_that_are_answers() {
    let (choice, integer, float, list) = (
        item(Kind::MultiChoice, &SHAPES, "12"),
        item(Kind::Integer, &[], "12"),
        item(Kind::Float, &[], "1.5"),
        item(Kind::List, &[], "[1, 2]"),
    );
    for (item, response, wanted) in [
        (&choice, "", Some("")),
        (&choice, "the cone", Some("the cone")),
        (&choice, "the cone ", None),
        (&choice, "The cone", None),
        (&choice, "B", None),
        (&choice, "12.0", None),
        (&integer, " 012\n", Some("12")),
        (&integer, "１_2", Some("12")),
        (&integer, "12.0", None),
        (&integer, " ", None),
        (&float, "1.50", Some("1.5")),
        (&float, "1e400", Some("inf")),
        (&float, "NaN", Some("nan")),
        (&float, "about 1.5", None),
        (&list, "[1, 2]", None),
        (&list, "", Some("")),
        (&integer, "So. The answer is \"12\".", Some("12")),
        (
            &integer,
            "The answer is \"a\". Or \"b\". End",
            Some("a\". Or \"b"),
        ),
        (&integer, "The answer is \"\".", Some("")),
        (&integer, "The answer is \"12\"\n.", None),
        (
            &integer,
            "The answer is \"1\nThe answer is \"2\".",
            Some("2"),
        ),
        (&integer, "the answer is \"12\".", None),
        (&integer, "The answer is 12.", None),
    ] {
        let got = extract::official(item, response);
        assert_eq!(got.as_deref(), wanted, "{response:?}");
    }
}

#[test]
fn the_extended_rules_read_on() {
    let (choice, integer, float, list) = (
        item(Kind::MultiChoice, &SHAPES, "12"),
        item(Kind::Integer, &[], "12"),
        item(Kind::Float, &[], "1.5"),
        item(Kind::List, &[], "[1, 2]"),
    );
    for (item, response, wanted) in [
        (&choice, "", Some("")),
        (&choice, "the cone", Some("the cone")),
        (&choice, "It is round.\n**B.** the cone", Some("B")),
        (&choice, "The correct option is (C) 12.", Some("C")),
        (&choice, "I choose option D", Some("D")),
        (
            &choice,
            "A cube has corners, so I take the cone.",
            Some("the cone"),
        ),
        (&choice, "Its side is 12 cm long.", Some("12 cm")),
        (&choice, "The cube or the cone", None),
        (&choice, "Answer: B", Some("B")),
        (&choice, "The answer is the cone.", Some("the cone")),
        (&choice, "The answer is 3/5.", Some("3/5")),
        (&choice, "(A) is wrong.\n\\boxed{\\text{(C)}}", Some("C")),
        (&choice, "I cannot tell.", None),
        (&integer, "The answer is 1,234 apples.", Some("1234")),
        (&integer, "2 + 3 = 5.", Some("5")),
        (&integer, "It falls by -3", Some("-3")),
        (&integer, "from 1990-1995", Some("1995")),
        (&integer, "\\boxed{4} of 7", Some("4")),
        (&integer, "so \\boxed{\\frac{3}{4", Some("4")),
        (&integer, "pages 3,4", Some("4")),
        (&integer, "none", None),
        (&float, "about 0.5 m\nor .25\n\nthanks", Some(".25")),
        (&float, "v1.2.3", Some("2.3")),
        (&list, "They are [1, 2] and [3, 4].", Some("[3, 4]")),
        (&list, "They are 1 and 2", None),
    ] {
        let got = extract::extended(item, response);
        assert_eq!(got.as_deref(), wanted, "{response:?}");
    }
}

#[test]
fn the_dialects_differ_in_whole_numbers_alone() {
    let (integer, float) = (item(Kind::Integer, &[], ""), item(Kind::Float, &[], ""));
    for (item, text, head, paper) in [
        (&integer, Literal::Str("5.0".into()), Some("5"), None),
        (&integer, Literal::Str("7.5".into()), Some("7"), None),
        (&integer, Literal::Str("+7".into()), Some("7"), Some("7")),
        (
            &integer,
            Literal::Str("1e23".into()),
            Some("99999999999999991611392"),
            None,
        ),
        (&integer, Literal::Str("nan".into()), None, None),
        (&integer, Literal::Float(7.5), Some("7"), Some("7")),
        (&integer, Literal::Float(f64::INFINITY), None, None),
        (&integer, Literal::Bool(true), Some("1"), Some("1")),
        (&integer, Literal::Int("9".repeat(400)), None, Some("9")),
        (&integer, Literal::List(vec![]), None, None),
        (
            &float,
            Literal::Str("-0.04".into()),
            Some("-0.0"),
            Some("-0.0"),
        ),
        (&float, Literal::Str("inf".into()), Some("inf"), Some("inf")),
        (&float, Literal::Bool(false), Some("0.0"), Some("0.0")),
        (&float, Literal::Int("9".repeat(400)), None, None),
        (&float, Literal::None, None, None),
    ] {
        let by = |dialect| normalise::normalise(&text, item, dialect);
        assert_eq!(by(Dialect::Head).as_deref(), head, "{text:?}");
        // Only the first digit of a long number is compared.
        let got = by(Dialect::Paper).map(|d| if d.len() > 300 { d[..1].to_owned() } else { d });
        assert_eq!(got.as_deref(), paper, "{text:?}");
    }
}

#[test]
fn a_question_without_what_its_type_needs_has_no_answer() {
    let text = Literal::Str("1".to_owned());
    for item in [
        item(Kind::MultiChoice, &[], ""),
        Item {
            precision: None,
            ..item(Kind::Float, &[], "")
        },
        Item {
            precision: Some(f64::NAN),
            ..item(Kind::Float, &[], "")
        },
    ] {
        assert_eq!(normalise::normalise(&text, &item, Dialect::Head), None);
    }
}

/// A benchmark folder of three questions, and outputs in a file of that name.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let questions = r#"{
        "1": {"question": "Which?", "image": "images/1.jpg", "choices": ["red", "blue"], "unit": null,
              "precision": null, "answer": "blue", "question_type": "multi_choice",
              "answer_type": "text", "metadata": {"task": "colours", "skills": ["x", "y", "x"]}},
        "2": {"question": "How many?", "image": "images/2.jpg", "choices": null, "unit": "g",
              "precision": null, "answer": "5", "question_type": "free_form",
              "answer_type": "integer", "metadata": {"task": "counts", "skills": ["y"]}},
        "3": {"question": "How much?", "image": "images/3.jpg", "choices": null, "unit": null,
              "precision": 1.0, "answer": "1.5", "question_type": "free_form",
              "answer_type": "float", "metadata": {"task": "counts", "skills": []}}}"#;
    let defaults = [("data/testmini.json", questions)];
    for (name, text) in defaults.iter().chain(files) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (folder, root)
}

fn scored(
    outputs: &str,
    name: &str,
    how: Scoring,
) -> (sample::benchmark::BenchmarkScore, Vec<ItemScore>) {
    let (_kept, root) = folder(&[(name, outputs)]);
    let items = MathVista.load(&root, "testmini").unwrap();
    let outputs = MathVista.outputs(&root.join(name), &items).unwrap();
    score(&MathVista, "testmini", &items, &outputs, &how)
}

#[test]
fn questions_are_read_with_their_groups_and_images() {
    let (_kept, root) = folder(&[]);
    let items = MathVista.load(&root, "testmini").unwrap();
    assert_eq!(
        items.iter().map(|i| i.kind).collect::<Vec<_>>(),
        [Kind::MultiChoice, Kind::Integer, Kind::Float]
    );
    assert_eq!(
        items[0].pictures,
        [Picture::File(root.join("data/images/1.jpg"))]
    );
    let skills = items[0].groups.iter().filter(|(d, _)| d == "skills");
    assert_eq!(
        skills.map(|(_, n)| n.as_str()).collect::<Vec<_>>(),
        ["x", "y"]
    );
    assert_eq!(
        MathVista.query(&items[1]),
        "Hint: Please answer the question requiring an integer answer and provide the final value, \
         e.g., 1, 2, 3, at the end.\nQuestion: How many? (Unit: g)"
    );
}

#[test]
fn tables_of_other_publishers_hold_the_same_questions() {
    let folder = tempfile::tempdir().unwrap();
    let png = "iVBORw0KGgoA";
    let table = format!(
        "index\timage\tquestion\tchoices\tunit\tprecision\tanswer\tquestion_type\tanswer_type\ttask\t\
         skills\n1\t{png}{padding}\t\"Hint: Please answer the question and provide the correct option \
         letter, e.g., A, B, C, D, at the end.\nQuestion: Which?\nChoices:\n(A) red\n(B) blue\"\t\
         \"['red', 'blue']\"\t\t\tblue\tmulti_choice\ttext\tcolours\t\"['x', 'y']\"\n\
         2\t1\t\"Hint: Please answer the question requiring an integer answer and provide the final \
         value, e.g., 1, 2, 3, at the end.\nQuestion: How many? (Unit: g)\"\t\tg\t\t5\tfree_form\t\
         integer\tcounts\t['y']\n",
        padding = "AAAA".repeat(20)
    );
    fs::write(folder.path().join("MathVista_MINI.tsv"), table).unwrap();
    let of_table = MathVista.load(folder.path(), "testmini").unwrap();
    let (_kept, root) = self::folder(&[]);
    let published = MathVista.load(&root, "testmini").unwrap();
    for (table, json) in of_table.iter().zip(&published) {
        assert!(matches!(table.pictures[..], [Picture::Bytes(_)]));
        let table = Item {
            pictures: json.pictures.clone(),
            ..table.clone()
        };
        assert_eq!(table, *json);
    }
    assert_eq!(of_table.len(), 2);
    assert!(MathVista.load(folder.path(), "test").is_err());
}

#[test]
fn a_folder_or_file_that_is_no_benchmark_is_a_named_error() {
    let (_kept, root) = folder(&[]);
    let error = |questions: &str| {
        fs::write(root.join("data/testmini.json"), questions).unwrap();
        MathVista.load(&root, "testmini").unwrap_err().to_string()
    };
    for (questions, wanted) in [
        ("", "has no questions"),
        ("[", "is not JSON: line 1"),
        ("{\"1\": {}, \"1\": {}}", "has no text \"question\""),
        ("{}", "has no questions"),
        ("[3]", "row 1 has no pid"),
        (
            r#"{"1": {"question": "a", "question_type": "multi_choice", "answer_type": "text"}}"#,
            "no choices",
        ),
        (
            r#"{"1": {"question": "a", "question_type": "b", "answer_type": "c", "choices": [1]}}"#,
            "\"choices\" is not",
        ),
        (
            r#"{"1": {"question": "a", "question_type": "b", "answer_type": "c",
                "image": "../../etc/passwd"}}"#,
            "outside the folder",
        ),
        (
            r#"{"1": {"question": "a", "question_type": "b", "answer_type": "c"},
                "1": {"question": "a", "question_type": "b", "answer_type": "c"}}"#,
            "two questions \"1\"",
        ),
    ] {
        let error = error(questions);
        assert!(error.contains(wanted), "{questions}: {error}");
    }
    let missing = MathVista.load(&root, "test").unwrap_err().to_string();
    assert!(missing.contains("test.json"), "{missing}");
    let unknown = MathVista.load(&root, "val").unwrap_err().to_string();
    assert!(unknown.contains("testmini, test"), "{unknown}");
}

#[test]
fn outputs_come_in_the_forms_of_all_stages_and_programs() {
    let official = r#"{"1": {"response": "I say red", "extraction": "(B)"},
        "2": {"response": "5 g", "extraction": "5"}, "3": {"response": "?", "extraction": "1.46"}}"#;
    let replies =
        r#"{"1": {"response": "blue"}, "2": {"response": "5"}, "3": {"response": "1.5"}}"#;
    let list = r#"[{"pid": "1", "response": "blue"}, {"pid": 2, "response": 5},
        {"pid": "3", "response": 1.5}]"#;
    let lines = "{\"id\": \"1\", \"response\": \"blue\"}\n{\"id\": \"2\", \"response\": \"5\"}\n\
                 {\"id\": \"3\", \"response\": \"1.5\"}\n";
    let table = "index\tquestion\tanswer\tprediction\n1\t\"a\n\"\"b\"\"\"\tB\tblue\n2\tq\t5\t5\n3\tq\t\
                 1.5\t1.5\n";
    let judged = r#"[{"index": 1, "prediction": "I say red", "res": "B", "answer": "B"},
        {"index": 2, "prediction": "five", "res": "5"}, {"index": 3, "prediction": "", "res": "1.5"}]"#;
    for (name, text) in [
        ("output_some.json", official),
        ("output_some.json", replies),
        ("a.json", list),
        ("a.jsonl", lines),
        ("a.tsv", table),
        ("a.json", judged),
    ] {
        let (total, scores) = scored(text, name, Scoring::default());
        assert_eq!(total.correct, 3, "{text}: {scores:?}");
        assert_eq!(total.remarks, Vec::<String>::new(), "{text}");
        let model = name.strip_prefix("output_").map_or("", |_| "some");
        assert_eq!(total.model, model, "{text}");
    }
}

#[test]
fn rows_are_believed_about_the_question_as_in_the_official_code() {
    let rows = r#"{"1": {"choices": ["blue", "red"], "answer": "red", "response": "", "extraction": "B",
        "metadata": {"task": "others", "skills": ["z"]}, "question_type": "multi_choice"}}"#;
    let (total, scores) = scored(rows, "a.json", Scoring::default());
    assert!(scores[0].correct);
    assert_eq!(scores[0].expected.as_deref(), Some("red"));
    assert_eq!(total.groups["task"]["others"].correct, 1);
    assert!(!total.groups["task"].contains_key("colours"));
    assert_eq!((total.total, total.missing), (3, 2));
    assert!(
        total.remarks[0].contains("another answer"),
        "{:?}",
        total.remarks
    );
}

#[test]
fn bad_rows_are_wrong_or_left_out_and_always_remarked() {
    for (rows, correct, remark) in [
        (
            r#"{"1": {"response": "blue"}, "9": {"response": "x"}}"#,
            1,
            "not have",
        ),
        (
            r#"{"1": {"response": "red"}, "1": {"response": "blue"}}"#,
            1,
            "the last counts",
        ),
        (r#"[{"pid": "1", "response": "blue"}, 7]"#, 1, "no objects"),
        (
            r#"[{"pid": "1", "response": "blue"}, {"response": "5"}]"#,
            1,
            "no pid",
        ),
        (r#"{"1": {"response": "blue"}, "2": {}}"#, 1, "no reply"),
        (
            r#"{"1": {"response": "blue"}, "2": {"response": null}}"#,
            1,
            "no reply",
        ),
        (
            r#"{"1": {"response": "", "extraction": "B"}, "2": {"response": "5"}}"#,
            1,
            "no extraction",
        ),
        (
            r#"{"1": {"response": "blue", "choices": [1, 2]}}"#,
            1,
            "choices that are none",
        ),
        (r#"{"1": {"response": "blue", "answer": 3}}"#, 1, "no text"),
        (
            r#"{"3": {"response": "1.5", "precision": [], "metadata": {"skills": 3}}}"#,
            1,
            "form it does not have",
        ),
        (
            "{\"id\": \"1\", \"response\": \"blue\"}\n{\"id\"\n",
            1,
            "not JSON",
        ),
    ] {
        let (total, _) = scored(rows, "a.json", Scoring::default());
        assert_eq!(total.correct, correct, "{rows}");
        assert_eq!(total.total, 3);
        let found = total.remarks.iter().any(|r| r.contains(remark));
        assert!(found, "{rows}: {:?}", total.remarks);
    }
}

#[test]
fn a_file_without_rows_is_a_named_error() {
    let (_kept, root) = folder(&[]);
    for text in ["", "{}", "[]", "3", "{\"a\": {}}", "[1", "{\"1\": "] {
        let path = root.join("outputs.json");
        fs::write(&path, text).unwrap();
        let items = MathVista.load(&root, "testmini").unwrap();
        let read = MathVista.outputs(&path, &items);
        let known = read
            .as_ref()
            .is_ok_and(|o| o.remarks.iter().any(|r| r.contains("no reply")));
        let named = read.is_err_and(|e| e.to_string().contains("outputs.json"));
        assert!(known || named, "{text}");
    }
}

#[test]
fn an_empty_extraction_is_the_official_guess_and_strictly_no_answer() {
    for (rows, guess) in [
        (r#"{"1": {"response": "?", "extraction": ""}}"#, true),
        (r#"{"1": {"response": "?", "extraction": " "}}"#, true),
        (r#"{"1": {"response": "?", "extraction": null}}"#, true),
        (r#"{"1": {"response": ""}}"#, true),
        (r#"{"1": {"response": "?", "extraction": "None"}}"#, false),
        (r#"{"2": {"response": "?", "extraction": ""}}"#, false),
        (r#"{"1": {"response": "I cannot tell"}}"#, false),
    ] {
        let (total, _) = scored(rows, "a.json", Scoring::default());
        assert_eq!(total.fallbacks, u64::from(guess), "{rows}");
        let strict = Scoring {
            strict: true,
            ..Scoring::default()
        };
        let (total, scores) = scored(rows, "a.json", strict);
        assert_eq!(total.fallbacks, 0, "{rows}");
        let guessed = scores.iter().any(|s| s.prediction.is_some());
        assert_eq!(guessed, rows.contains("\"None\""), "{rows}");
    }
}

#[test]
fn replies_are_counted_by_how_they_were_read() {
    let rows = r#"{"1": {"response": "red or blue"}, "2": {"response": " "},
        "3": {"error": "no such image"}}"#;
    let (total, scores) = scored(rows, "a.json", Scoring::default());
    assert_eq!(
        scores.iter().map(|s| s.reading).collect::<Vec<_>>(),
        [Reading::Unparsed, Reading::Empty, Reading::Failed]
    );
    assert_eq!((total.unparsed, total.empty, total.failed), (1, 1, 1));
}

#[test]
fn values_that_are_no_text_count_as_python_counts_them() {
    let rows = r#"{"2": {"extraction": 5.9}, "3": {"extraction": 1.5}, "1": {"extraction": true}}"#;
    for dialect in [Dialect::Head, Dialect::Paper] {
        let how = Scoring {
            dialect,
            ..Scoring::default()
        };
        let (_, scores) = scored(rows, "a.json", how);
        assert_eq!(scores[1].prediction.as_deref(), Some("5"), "{dialect:?}");
        assert_eq!(scores[2].prediction.as_deref(), Some("1.5"));
        assert_eq!(scores[0].prediction.as_deref(), Some("blue"));
    }
}

#[test]
fn the_judge_is_asked_only_what_the_rules_do_not_settle() {
    let (_kept, root) = folder(&[]);
    let items = MathVista.load(&root, "testmini").unwrap();
    assert_eq!(MathVista.judge_extraction(&items[0], "blue"), None);
    assert_eq!(MathVista.judge_extraction(&items[0], ""), None);
    let asked = MathVista
        .judge_extraction(&items[0], "It is {blue}")
        .unwrap();
    let query = MathVista.query(&items[0]);
    let end = format!("\n\n{query}\n\nIt is {{blue}}\n\nExtracted answer: ");
    assert!(asked.starts_with(judge::OURS) && asked.ends_with(&end));
    assert_eq!(judge_prompt_name(&items), "ours");
}

#[test]
fn prompts_and_examples_are_read_from_a_checkout_or_the_user() {
    let code = "# examples\nother = [1]\nshot_examples = [\n{\n\"question\": \"Q?\",\n\"choices\": ['a', \
                'b'],\n\"ocr\": \"[1]\",\n\"solution\": \"\"\"\nFirst.\\n\\nThen [x]\n]\nso.\n\"\"\",\n\
                \"code\": \"\"\"\nprint(1)\n\"\"\"\n},\n]\n\n\ndef build():\n    return [\n]\n";
    let prompt = "import os\n\ndemo_prompt = \"\"\"\nRead.\n\nIt's \"so\".\n\"\"\"\n";
    let (_kept, root) = folder(&[
        ("evaluation/build_query.py", code),
        ("evaluation/prompts/ext_ans.py", prompt),
    ]);
    let examples = demonstrations::load(&root).unwrap();
    assert_eq!(examples.len(), 1);
    assert_eq!(examples[0].choices, ["a", "b"]);
    assert_eq!(examples[0].caption.as_deref(), Some(""));
    let items = MathVista.load(&root, "testmini").unwrap();
    assert_eq!(judge_prompt_name(&items), "official");
    let asked = MathVista.judge_extraction(&items[1], "x").unwrap();
    assert!(
        asked.starts_with("Read.\n\nIt's \"so\".\n\nHint: "),
        "{asked}"
    );
    let form = Form {
        shot: Shot::Solution,
        shots: 3,
        captions: true,
        ocr: true,
    };
    let texts = Texts {
        captions: [(
            "1".to_owned(),
            "Sure. A  red\tball. I hope this helps!".to_owned(),
        )]
        .into(),
        ocr: [(
            "1".to_owned(),
            "[([[1, 2.7], [3, 2]], \"it's\", 0.9)]".to_owned(),
        )]
        .into(),
    };
    assert_eq!(
        query::few_shot(&items[0], &form, &examples, &texts).unwrap(),
        "Question: Q?\nChoices:\n(A) a\n(B) b\nImage detected text: [1]\nSolution: First.\n\nThen [x]\
         \n]\nso.\n\nQuestion: Which?\nChoices:\n(A) red\n(B) blue\nImage description: A red\tball.\n\
         Image detected text: [([1, 2], \"it's\")]\nHint: Please answer the question and provide the \
         correct option letter, e.g., A, B, C, D, at the end.\nSolution:"
    );
    let code = Form {
        shot: Shot::Code,
        shots: 0,
        captions: false,
        ocr: true,
    };
    assert_eq!(
        query::few_shot(&items[1], &code, &examples, &texts).unwrap(),
        "Question: How many? (Unit: g)\nImage detected text: []\nHint: Please generate a python code to \
         solve the problem\nPython code:"
    );

    fs::create_dir(root.join("prompts")).unwrap();
    fs::write(root.join("prompts/extract.txt"), " Mine. \n").unwrap();
    fs::write(
        root.join("prompts/demonstrations.json"),
        r#"[{"question": "Mine?", "code": "1"}]"#,
    )
    .unwrap();
    let items = MathVista.load(&root, "testmini").unwrap();
    assert_eq!(judge_prompt_name(&items), "given");
    let examples = demonstrations::load(&root).unwrap();
    let error = query::few_shot(&items[0], &form, &examples, &texts).unwrap_err();
    assert!(error.to_string().contains("solution"), "{error}");
    fs::write(root.join("prompts/demonstrations.json"), "{}").unwrap();
    assert!(demonstrations::load(&root).is_err());
}

#[test]
fn huge_and_hostile_replies_get_a_verdict() {
    let million = 1_000_000;
    let replies = [
        "{".repeat(million),
        "\\boxed{".repeat(million / 7),
        "(A".repeat(million / 2),
        " ".repeat(million / 2) + &"A".repeat(million / 2),
        "1,".repeat(million / 2),
        "9".repeat(million),
        "The answer is \"".repeat(million / 15),
        "answer is ".repeat(million / 10),
        "\u{202e}١٢٣\u{202c}".repeat(million / 12),
        "blue\n".repeat(million / 5),
        "[".repeat(million),
        "10^10^10".to_owned(),
    ];
    for reply in &replies {
        for (kind, choices) in [
            (Kind::MultiChoice, &SHAPES[..]),
            (Kind::Integer, &[]),
            (Kind::Float, &[]),
            (Kind::List, &[]),
        ] {
            let item = item(kind, choices, "none of these");
            for extraction in [Extraction::Official, Extraction::Extended] {
                let answers = [None, Some(reply.clone())].map(|extraction| Answer {
                    id: "1".to_owned(),
                    response: Some(reply.clone()),
                    extraction,
                    ..Answer::default()
                });
                let how = Scoring {
                    extraction,
                    ..Scoring::default()
                };
                let items = [item.clone(), item.clone()];
                let scores = MathVista.score(&items, &answers, &how);
                assert!(scores.iter().all(|score| !score.correct));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_reply_gets_a_verdict(
        reply in "(\\PC|[A-D(){}\\[\\],.0-9 \n-]|answer is |\\\\boxed|the cone){0,30}",
        choices in proptest::collection::vec("\\PC{0,6}", 0..5),
        precision: Option<f64>,
        strict: bool,
    ) {
        for kind in [Kind::MultiChoice, Kind::Integer, Kind::Float, Kind::List, Kind::Open] {
            let item = Item { kind, choices: choices.clone(), precision, ..unknown("1") };
            for extraction in [Extraction::Official, Extraction::Extended, Extraction::Judge] {
                let answer = Answer { response: Some(reply.clone()), ..Answer::default() };
                let how = Scoring { extraction, strict, ..Scoring::default() };
                let score = verdict(&item, &answer, &how);
                prop_assert!(!score.correct);
                if kind == Kind::MultiChoice && let Some(prediction) = &score.prediction {
                    prop_assert!(choices.contains(prediction));
                }
            }
        }
    }
}
