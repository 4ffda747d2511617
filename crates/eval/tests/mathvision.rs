//! MATH-V's published outputs, scored, against the verdicts that the official code left in them.

use std::path::PathBuf;

use eval::Scoring;
use serde_json::Value;

/// The benchmark's data and outputs; none where they are not at hand.
fn published() -> Option<PathBuf> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared =
        std::env::var_os("MATH_LLAVA_SHARED").map_or_else(|| workspace.into(), PathBuf::from);
    let folder = shared.join("data/benchmarks/mathvision");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "skipped: MATH-V's published outputs are not at {}",
        folder.display()
    );
    None
}

const OUTPUTS: [&str; 4] = [
    "outputs/Random-Chance",
    "outputs/open-source/LLavA/LLaVA-v1.5-13B",
    "outputs/open-source/Internlm/InternLM-XComposer2-VL",
    "outputs/closed-source/Qwen/Qwen-VL-Max",
];

#[test]
fn published_outputs_have_their_published_verdicts_and_groups() {
    let Some(folder) = published() else { return };
    let benchmark = eval::find("mathvision").unwrap();
    let items = benchmark.load(&folder, "test").unwrap();
    assert_eq!(items.len(), 3040);
    for name in OUTPUTS {
        let path = folder.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let as_published = benchmark.outputs(&path, &items).unwrap();
        let mut from_replies = as_published.clone();
        for answer in &mut from_replies.answers {
            answer.extraction = None;
        }
        for outputs in [&as_published, &from_replies] {
            let (total, scored) =
                eval::score(benchmark, "test", &items, outputs, &Scoring::default());
            for ((row, score), item) in rows.iter().zip(&scored).zip(&items) {
                assert_eq!(row["id"], item.id.as_str());
                assert_eq!(row["correct"], score.correct, "{name}: {row}");
                let extraction = score.extraction.as_deref().unwrap_or_default();
                assert_eq!(row["model_answer"], extraction, "{name}: {row}");
            }
            assert_eq!((total.total, total.missing, total.fallbacks), (3040, 0, 0));
            let results = folder.join(format!("{name}_result.json"));
            let results: Value =
                serde_json::from_str(&std::fs::read_to_string(results).unwrap()).unwrap();
            for (key, share) in results.as_object().unwrap() {
                let counts = share.as_str().unwrap().split('=').next().unwrap();
                let found = group(&total, key);
                assert_eq!(found, counts, "{name}: {key}");
            }
        }
    }
}

/// `correct/total` of a key of the official result files.
fn group(total: &sample::benchmark::BenchmarkScore, key: &str) -> String {
    let share = match key.strip_prefix('-') {
        Some("all") => return format!("{}/{}", total.correct, total.total),
        Some(level) => match level.split_once('_') {
            Some((level, subject)) => total.groups["subject_level"][&format!("{subject}_{level}")],
            None => total.groups["level"][level],
        },
        None if key.contains("_level") => total.groups["subject_level"][key],
        None => total.groups["subject"][key],
    };
    format!("{}/{}", share.correct, share.total)
}

#[test]
fn published_triples_are_judged_as_published() {
    let Some(folder) = published() else { return };
    let text = std::fs::read_to_string(folder.join("equality_triples.json")).unwrap();
    let triples: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(triples.len(), 3000);
    let items: Vec<eval::Item> = triples
        .iter()
        .enumerate()
        .map(|(at, t)| as_item(at, t))
        .collect();
    let outputs = eval::Outputs {
        answers: triples
            .iter()
            .enumerate()
            .map(|(at, triple)| as_answer(at, triple))
            .collect(),
        ..eval::Outputs::default()
    };
    let benchmark = eval::find("mathvision").unwrap();
    let (_, scored) = eval::score(benchmark, "test", &items, &outputs, &Scoring::default());
    for (triple, score) in triples.iter().zip(&scored) {
        assert_eq!(triple["correct"][0], score.correct, "{triple}");
    }
}

/// A question whose right option is the triple's.
fn as_item(at: usize, triple: &Value) -> eval::Item {
    let text = |name: &str| triple[name].as_str().unwrap_or_default();
    let (letter, text) = (text("gt"), text("gt_value"));
    let mut choices = Vec::new();
    if let [letter @ b'A'..=b'Z'] = letter.as_bytes() {
        choices = vec![String::new(); usize::from(letter - b'A')];
        choices.push(text.to_owned());
    }
    eval::Item {
        id: at.to_string(),
        question: String::new(),
        choices,
        answer: Some(letter.to_owned()),
        kind: eval::Kind::Open,
        unit: None,
        precision: None,
        pictures: Vec::new(),
        groups: Vec::new(),
        extra: serde_json::Map::new(),
    }
}

fn as_answer(at: usize, triple: &Value) -> eval::Answer {
    eval::Answer {
        id: at.to_string(),
        extraction: triple["model_answer"].as_str().map(str::to_owned),
        ..eval::Answer::default()
    }
}

#[test]
fn testmini_is_a_part_of_test_with_its_images() {
    let Some(folder) = published() else { return };
    let benchmark = eval::find("mathvision").unwrap();
    let items = benchmark.load(&folder, "testmini").unwrap();
    assert_eq!(items.len(), 304);
    for item in &items {
        match item.pictures.as_slice() {
            [eval::Picture::File(path)] => assert!(path.is_file(), "{}", path.display()),
            other => panic!("{}: {other:?}", item.id),
        }
    }
}

#[test]
fn outputs_with_every_fault_get_a_verdict_or_a_remark() {
    let Some(folder) = published() else { return };
    let benchmark = eval::find("mathvision").unwrap();
    let items = benchmark.load(&folder, "testmini").unwrap();
    let first = &items[0].id;
    let long = "{".repeat(1 << 20);
    let rows = [
        format!(r#"{{"id": "{first}", "response": "wrong"}}"#),
        format!(r#"{{"id": "{first}", "response": null}}"#),
        format!(r#"{{"id": "{}", "response": {}}}"#, items[1].id, 7),
        format!(
            r#"{{"id": "{}", "response": "10^{{10^{{10}}}}"}}"#,
            items[2].id
        ),
        format!(r#"{{"id": "{}", "response": "{long}"}}"#, items[3].id),
        r#"{"id": "nowhere", "response": "1"}"#.to_owned(),
        r#"{"response": "1"}"#.to_owned(),
        "[[[[".to_owned(),
    ];
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("out.jsonl");
    std::fs::write(&path, rows.join("\n")).unwrap();
    let outputs = benchmark.outputs(&path, &items).unwrap();
    let (total, scored) = eval::score(benchmark, "testmini", &items, &outputs, &Scoring::default());
    assert_eq!(total.missing, 300);
    // The last row of an id counts, and it has no reply; those without a row have none either.
    assert_eq!(total.empty, 301);
    assert_eq!(scored.len(), 304);
    assert_eq!(total.remarks.len(), 4, "{:?}", total.remarks);
}
