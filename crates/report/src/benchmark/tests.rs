//! Pages of runs made here: what they show, what they must not, and how long they may be.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use sample::benchmark::folder::{ITEMS, SCORES};
use sample::benchmark::paired::{Flips, GroupFlips};
use sample::benchmark::scoreboard::{BoardColumn, BoardRow, Cell, Standing};
use sample::benchmark::{ItemScore, Share};
use sample::scores::{Accuracy, Reading};

use super::questions::Fate;
use super::*;

fn verdict(id: &str, reading: Reading, correct: bool) -> ItemScore {
    ItemScore {
        id: id.to_owned(),
        response: Some(format!("The answer is <i>{id}</i>")),
        reading,
        extraction: Some(format!("found {id}")),
        prediction: Some("B".to_owned()),
        expected: Some("A & B".to_owned()),
        correct,
        fallback: false,
        truncated: false,
    }
}

/// One verdict of each fate.
fn of_each_fate() -> Vec<ItemScore> {
    let wrong = |id: &str, reading| verdict(id, reading, false);
    vec![
        ItemScore {
            prediction: Some("found right".to_owned()),
            ..verdict("right", Reading::Parsed, true)
        },
        wrong("wrong", Reading::Parsed),
        wrong("unparsed", Reading::Unparsed),
        ItemScore {
            truncated: true,
            ..wrong("truncated", Reading::Unparsed)
        },
        ItemScore {
            fallback: true,
            ..verdict("guessed", Reading::Unparsed, true)
        },
        ItemScore {
            response: Some(" ".to_owned()),
            ..wrong("empty", Reading::Empty)
        },
        ItemScore {
            response: None,
            ..wrong("failed", Reading::Failed)
        },
        ItemScore {
            response: None,
            ..wrong("missing", Reading::Empty)
        },
    ]
}

fn accuracy(correct: u64, total: u64) -> Accuracy {
    let value = correct as f64 / total.max(1) as f64;
    Accuracy {
        correct,
        total,
        value,
        low: value / 2.0,
        high: (value + 0.1).min(1.0),
    }
}

/// A finished run with an image for each question.
fn run(folder: &Path, model: &str, verdicts: &[ItemScore]) -> BenchmarkRun {
    fs::create_dir_all(folder.join("images")).unwrap();
    let lines = |lines: Vec<String>| lines.join("\n") + "\n";
    let scores = verdicts.iter().map(|v| serde_json::to_string(v).unwrap());
    fs::write(folder.join(SCORES), lines(scores.collect())).unwrap();
    let items = verdicts.iter().enumerate().map(|(i, v)| {
        let picture = RgbImage::from_pixel(20, 10, Rgb([i as u8, 7, 7]));
        picture
            .save(folder.join(format!("images/{i}.png")))
            .unwrap();
        serde_json::json!({
            "id": v.id, "question": format!("What is {}?<script>alert(1)</script>", v.id),
            "choices": ["one & two", "three"], "answer": "A & B", "query": format!("Hint {}", v.id),
            "groups": [["task", "<geometry>"]], "images": [format!("images/{i}.png")],
        })
        .to_string()
    });
    fs::write(folder.join(ITEMS), lines(items.collect())).unwrap();
    let correct = verdicts.iter().filter(|v| v.correct).count() as u64;
    let total = verdicts.len() as u64;
    let mut score = BenchmarkScore {
        benchmark: "mathvista".to_owned(),
        split: "testmini".to_owned(),
        model: model.to_owned(),
        extraction: "official".to_owned(),
        dialect: "head".to_owned(),
        correct,
        total,
        accuracy: correct as f64 / total.max(1) as f64,
        unparsed: 41,
        truncated: 42,
        empty: 43,
        failed: 44,
        missing: 45,
        fallbacks: 46,
        remarks: vec!["<b>2 rows twice</b>".to_owned()],
        ..BenchmarkScore::default()
    };
    score
        .provenance
        .insert("data".to_owned(), "abc123".to_owned());
    score.measures.insert("worst case".to_owned(), 0.125);
    let share = Share::new(correct, total);
    score
        .groups
        .entry("task".to_owned())
        .or_default()
        .insert("<geometry>".to_owned(), share);
    BenchmarkRun {
        folder: folder.to_owned(),
        score,
        breakdown: Breakdown {
            overall: accuracy(correct, total),
            dimensions: vec![(
                "task".to_owned(),
                vec![("<geometry>".to_owned(), accuracy(correct, total))],
            )],
        },
    }
}

fn board() -> Scoreboard {
    let row = |model: &str, standing, source: &str, percent| BoardRow {
        model: model.to_owned(),
        standing,
        source: source.to_owned(),
        all: Some(Cell::published(percent)),
        cells: vec![Some(Cell::published(percent + 1.0))],
        counts: String::new(),
        measures: Default::default(),
    };
    Scoreboard {
        benchmark: "mathvista".to_owned(),
        split: "testmini".to_owned(),
        columns: vec![BoardColumn {
            code: "GPS".to_owned(),
            dimension: "task".to_owned(),
            name: "<Geometry>".to_owned(),
        }],
        rows: vec![
            BoardRow {
                all: Some(Cell::from(accuracy(2, 8))),
                ..row("<ours>", Standing::Ours, "this run", 25.0)
            },
            row(
                "Math-LLaVA-13B",
                Standing::MathLlava,
                "a paper, Table 1",
                46.6,
            ),
            row("GPT-4V", Standing::Closed, "a paper, Table 1", 49.9),
        ],
    }
}

fn page(runs: &[BenchmarkRun], compared: &[ComparedRuns], options: &BenchmarkOptions) -> String {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("page.html");
    benchmark_page(runs, &[board()], compared, options, &out).unwrap();
    fs::read_to_string(out).unwrap()
}

#[test]
fn every_fate_is_told_from_the_others() {
    let fates: Vec<Fate> = of_each_fate().iter().map(Fate::of).collect();
    assert_eq!(
        fates,
        [
            Fate::Right,
            Fate::Wrong,
            Fate::Unparsed,
            Fate::Truncated,
            Fate::Fallback,
            Fate::Empty,
            Fate::Failed,
            Fate::Missing,
        ]
    );
    assert!(Fate::ERRORS.iter().all(|f| fates.contains(f)));
}

#[test]
fn a_page_says_what_went_wrong_first_and_shows_every_kind_of_error() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "ours", &of_each_fate());
    let html = page(&[run], &[], &BenchmarkOptions::default());
    let counts = "unparsed 41, truncated 42, empty 43, failed 44, missing 45, fallbacks 46";
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text:?}"));
    assert!(at(counts) < at("25.0%"), "counts come before the score");
    for fate in Fate::ERRORS {
        at(&format!("<h3>{} (1)</h3>", fate.title()));
    }
    for text in [
        "found wrong",
        "an empty reply",
        "no reply",
        "Hint wrong",
        "abc123",
        "worst case",
    ] {
        at(text);
    }
    // What is compared is shown where it is not what was found.
    assert_eq!(html.matches("<dt>compared</dt>").count(), 7);
    // Every question is there once, with its image, its own address, and a mark that leads to it.
    assert_eq!(html.matches("<article").count(), 8);
    for place in 0..8 {
        assert_eq!(html.matches(&format!("id=\"b0-q{place}\"")).count(), 1);
        assert!(html.matches(&format!("href=\"#b0-q{place}\"")).count() >= 2);
    }
    assert_eq!(html.matches("src=\"data:image/png;base64,").count(), 8);
    // The published rows, in the table and as marks of the chart.
    at("a paper, Table 1");
    at("Math-LLaVA-13B (published)");
    assert!(html.matches("class=\"mark\"").count() >= 4);
}

#[test]
fn text_of_data_stays_text() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "ours\"><script>x</script>", &of_each_fate());
    let html = page(&[run], &[], &BenchmarkOptions::default());
    assert!(!html.contains("<script") && !html.contains("<b>2 rows") && !html.contains("<i>wrong"));
    assert!(!html.contains("<geometry>") && !html.contains("<Geometry>"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_page_is_bounded_and_counts_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<ItemScore> = (0..60)
        .map(|i| verdict(&i.to_string(), Reading::Parsed, false))
        .collect();
    let run = run(dir.path(), "ours", &many);
    let all = page(
        std::slice::from_ref(&run),
        &[],
        &BenchmarkOptions::default(),
    );
    assert_eq!(all.matches("<article").count(), 60);
    let few = BenchmarkOptions {
        per_kind: 3,
        most_bytes: all.len() / 6,
        ..BenchmarkOptions::default()
    };
    let short = page(std::slice::from_ref(&run), &[], &few);
    let shown = short.matches("<article").count();
    assert!((4..30).contains(&shown), "{shown}");
    assert!(short.contains(&format!("{} questions are left out", 60 - shown)));
    assert!(short.contains("57 more are under another heading"));
    // A mark without an article leads nowhere.
    assert_eq!(
        short.matches("<span class=\"wrong\" title=").count(),
        60 - shown
    );
    // A reply of a megabyte is cut, and the rest counted.
    let long = ItemScore {
        response: Some("x".repeat(1 << 20)),
        ..verdict("long", Reading::Unparsed, false)
    };
    let run = self::run(&dir.path().join("long"), "ours", &[long]);
    let html = page(&[run], &[], &BenchmarkOptions::default());
    assert!(
        html.len() < 100_000 && html.contains("1,045,576 characters more"),
        "{}",
        html.len()
    );
}

#[test]
fn two_runs_stand_side_by_side_with_their_flips() {
    let dir = tempfile::tempdir().unwrap();
    let first = vec![
        verdict("a", Reading::Parsed, true),
        verdict("b", Reading::Parsed, false),
    ];
    let second = vec![
        verdict("b", Reading::Parsed, true),
        verdict("c", Reading::Parsed, true),
    ];
    let runs = [
        run(&dir.path().join("1"), "before", &first),
        run(&dir.path().join("2"), "after", &second),
    ];
    let paired = Paired {
        first: "before".to_owned(),
        second: "after".to_owned(),
        items: 1,
        both_right: 0,
        both_wrong: 0,
        flips: Flips {
            gained: vec!["b".to_owned()],
            lost: vec!["not on the page".to_owned()],
        },
        only_first: 1,
        only_second: 1,
        difference: -0.021,
        interval: Some((-0.04, 0.0012)),
        p_exact: 0.046_04,
        p_mid: 1.4e-7,
        groups: vec![GroupFlips {
            dimension: "task".to_owned(),
            name: "geometry".to_owned(),
            items: 1,
            gained: 1,
            lost: 3,
        }],
        remarks: vec!["the runs differ in their dialect".to_owned()],
    };
    let compared = [ComparedRuns {
        first: 0,
        second: 1,
        paired,
    }];
    let html = page(&runs, &compared, &BenchmarkOptions::default());
    assert_eq!(
        html.matches("<article").count(),
        3,
        "questions are joined by id"
    );
    assert_eq!(html.matches("<dl class=\"said\">").count(), 4);
    for text in [
        "after against before",
        "<a href=\"#b0-q1\">b</a>",
        "<span>not on the page</span>",
        "−2.1 points",
        "p is 0.046, mid-p 1.4e-7",
        "differ in their dialect",
        "<td>−2</td>",
    ] {
        assert!(html.contains(text), "no {text:?}");
    }
    // Flips of runs that are not of one group are not shown beside another's questions.
    let mut other = runs.clone();
    other[1].score.split = "test".to_owned();
    let apart = page(&other, &compared, &BenchmarkOptions::default());
    assert!(!apart.contains("after against before") && apart.contains("mathvista test: Scores"));
}

#[test]
fn runs_of_one_name_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let one = [verdict("a", Reading::Parsed, true)];
    let mut runs = [
        run(&dir.path().join("1"), "ours", &one),
        run(&dir.path().join("2"), "ours", &one),
    ];
    runs[1].score.dialect = "paper".to_owned();
    let html = page(&runs, &[], &BenchmarkOptions::default());
    assert!(html.contains("ours (official, head)") && html.contains("ours (official, paper)"));
}

#[test]
fn runs_that_cannot_be_shown_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = run(&dir.path().join("good"), "ours", &of_each_fate());
    let out = dir.path().join("page.html");
    let said = |runs: &[BenchmarkRun]| {
        let options = BenchmarkOptions::default();
        benchmark_page(runs, &[], &[], &options, &out)
            .unwrap_err()
            .to_string()
    };
    assert!(said(&[]).contains("0 benchmark runs"));
    assert!(said(&vec![good.clone(); 7]).contains("7 benchmark runs"));
    fs::write(good.folder.join(SCORES), "{").unwrap();
    assert!(said(std::slice::from_ref(&good)).contains("scores.jsonl: line 1"));
    assert!(!out.exists(), "no half page is left");
    // Without questions and images there is still a page.
    let bare = run(&dir.path().join("bare"), "ours", &of_each_fate());
    fs::remove_file(bare.folder.join(ITEMS)).unwrap();
    let html = page(&[bare], &[], &BenchmarkOptions::default());
    assert!(html.contains("Question wrong"));
    // An image that is gone is said to be.
    let gone = run(&dir.path().join("gone"), "ours", &of_each_fate());
    fs::remove_dir_all(gone.folder.join("images")).unwrap();
    assert!(page(&[gone], &[], &BenchmarkOptions::default()).contains("no image at"));
}
