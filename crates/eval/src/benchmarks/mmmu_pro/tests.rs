//! Queries, layouts, and the published output with its own verdicts.

use std::fs;
use std::path::Path;

use sample::scores::Reading;

use super::*;
use crate::data::{json, parquet};
use crate::score;

fn row(options: &str) -> Item {
    let mut item = blank("test_Art_1", options_of(&options.into()).unwrap(), |_| None);
    item.question = "Is <image 2> as <image  1>?".to_owned();
    item
}

#[test]
fn queries_are_the_official_prompts_of_each_setting() {
    let mut item = row("['<image 3>', 'oak']");
    assert_eq!(
        MmmuPro.query(&item),
        "Is [image] as [image]?\nA. [image]\nB. oak\nAnswer with the option letter from the given \
         choices directly."
    );
    item.extra.insert("cot".to_owned(), true.into());
    let cot = MmmuPro.query(&item);
    assert!(cot.starts_with("Is [image]") && cot.ends_with("Think step by step before answering."));
    item.extra.insert("vision".to_owned(), true.into());
    assert!(
        MmmuPro
            .query(&item)
            .starts_with("Write out the multiple-choice question")
    );
    item.extra.remove("cot");
    let direct = MmmuPro.query(&item);
    assert!(
        direct.starts_with("Answer with the option letter") && direct.contains("'Answer: $LETTER'")
    );
}

#[test]
fn only_numbered_images_are_mentions() {
    let numbers = |text: &str| -> Vec<u32> { mentions(text).iter().map(|m| m.2).collect() };
    for (text, wanted) in [
        ("<image 2> and <image\t10>", &[2, 10][..]),
        ("<image> <image x> <image1> <image 1 <image 3>", &[3]),
        ("<image 99999999999>", &[]),
        ("<image \u{e9}", &[]),
        ("<image", &[]),
    ] {
        assert_eq!(numbers(text), wanted, "{text:?}");
    }
}

#[test]
fn settings_are_read_from_their_folders() {
    let dir = tempfile::tempdir().unwrap();
    let ten = dir.path().join("standard (10 options)");
    let vision = dir.path().join("vision");
    fs::create_dir(&ten).unwrap();
    fs::create_dir(&vision).unwrap();
    let shown: [(&str, Vec<Option<&[u8]>>); 2] = [
        ("image_1", vec![Some(b"one")]),
        ("image_2", vec![Some(b"two")]),
    ];
    parquet::write(
        &ten.join("test-00000-of-00002.parquet"),
        &[
            ("id", vec![Some("test_Art_1")]),
            ("question", vec![Some("<image 2> or <image 1>?")]),
            ("options", vec![Some("['a', ['b', 1]]")]),
            ("answer", vec![Some("B")]),
            ("subject", vec![Some("Art")]),
            ("topic_difficulty", vec![Some("Hard")]),
        ],
        &shown,
    );
    parquet::write(
        &vision.join("test-00000-of-00001.parquet"),
        &[
            ("id", vec![Some("test_Art_1")]),
            ("options", vec![Some("['a', 'b']")]),
            ("answer", vec![Some("B")]),
            ("subject", vec![Some("Art")]),
        ],
        &[("image", vec![Some(b"all")])],
    );
    let standard = MmmuPro.load(dir.path(), "standard_10").unwrap();
    // In the order of mention.
    let two: Picture = Picture::Bytes(b"two"[..].into());
    assert_eq!(
        (standard[0].pictures.len(), &standard[0].pictures[0]),
        (2, &two)
    );
    assert_eq!(standard[0].choices, ["a", "['b', 1]"]);
    assert_eq!(
        standard[0].groups[1],
        ("domain".to_owned(), "Art and Design".to_owned())
    );
    let cot = MmmuPro.load(&ten, "standard_10_cot").unwrap();
    assert!(MmmuPro.query(&cot[0]).contains("step by step"));
    let seen = MmmuPro.load(dir.path(), "vision").unwrap();
    assert_eq!(seen[0].pictures, [Picture::Bytes(b"all"[..].into())]);
    let error = MmmuPro
        .load(dir.path(), "standard_4")
        .unwrap_err()
        .to_string();
    assert!(error.contains("standard (4 options)"), "{error}");
    assert!(matches!(
        MmmuPro.load(dir.path(), "val"),
        Err(Error::UnknownSplit { .. })
    ));
}

#[test]
fn a_server_error_is_scored_as_an_empty_reply_and_null_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m_vision_direct.jsonl");
    let row = |id: &str, rest: &str| {
        format!(
            r#"{{"id": "{id}", "options": "['x', 'y']", "answer": "A", "subject": "Art", {rest}}}"#
        )
    };
    let lines = [
        row("1", r#""response": {"error": "timeout"}"#),
        row("2", r#""response": null"#),
        row("3", r#""response": "Answer: A""#),
        "{\"id\": 4".to_owned(),
        r#"{"id": "5", "options": "[x", "answer": "A", "response": "A"}"#.to_owned(),
    ];
    fs::write(&path, lines.join("\n")).unwrap();
    let outputs = MmmuPro.outputs(&path, &[]).unwrap();
    assert_eq!(outputs.remarks.len(), 2, "{:?}", outputs.remarks);
    let items = outputs.items.clone();
    let (total, scored) = score(&MmmuPro, "vision", &items, &outputs, &Scoring::default());
    let readings: Vec<Reading> = scored.iter().map(|s| s.reading).collect();
    assert_eq!(readings, [Reading::Failed, Reading::Empty, Reading::Parsed]);
    assert_eq!((total.fallbacks, total.failed, total.empty), (1, 1, 1));
    assert_eq!(total.model, "m_vision_direct");
}

#[test]
fn the_published_verdicts_hold_wherever_no_guess_was_made() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var("MATH_LLAVA_SHARED").unwrap_or_else(|_| workspace.to_owned());
    let folder = Path::new(&root).join("data/benchmarks/mmmu_pro/output");
    let path = folder.join("gpt-4o_standard(10 options)_direct.jsonl");
    if !path.is_file() {
        eprintln!("skipped: {} is not there", path.display());
        return;
    }
    let outputs = MmmuPro.outputs(&path, &[]).unwrap();
    assert_eq!(outputs.remarks, [""; 0]);
    let items = outputs.items.clone();
    let strict = Scoring {
        strict: true,
        ..Scoring::default()
    };
    let (total, scored) = score(&MmmuPro, "standard_10", &items, &outputs, &strict);
    // All seven official guesses were wrong, so strict is the published 694, too.
    assert_eq!((total.correct, total.total, total.unparsed), (694, 1730, 7));
    let (rows, _) = json::read_rows(&path).unwrap();
    for (row, score) in rows.iter().zip(&scored) {
        if let Some(letter) = &score.prediction {
            let text = |name: &str| row.value.get(name).and_then(Json::as_str);
            assert_eq!(text("pred_indexs"), Some(letter.as_str()), "{}", score.id);
            assert_eq!(
                row.value.get("if_right"),
                Some(&Json::Bool(score.correct)),
                "{}",
                score.id
            );
        }
    }
    let guess = || {
        score(
            &MmmuPro,
            "standard_10",
            &items,
            &outputs,
            &Scoring::default(),
        )
        .0
    };
    let guessed = guess();
    assert_eq!(guessed, guess());
    assert_eq!((guessed.fallbacks, guessed.unparsed), (7, 7));
    assert_eq!(guessed.groups["subject"].len(), 30);
}

#[test]
fn a_hyphen_in_its_name_is_as_good() {
    for name in ["mmmu_pro", "MMMU-Pro"] {
        assert_eq!(crate::find(name).unwrap().name(), "mmmu_pro");
    }
    assert!(crate::find("mmmu-max").is_err());
}
