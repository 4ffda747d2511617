//! What stands in a table, and how it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

fn score(benchmark: &str, split: &str, groups: &[(&str, &str, u64, u64)]) -> BenchmarkScore {
    let mut score = BenchmarkScore {
        benchmark: benchmark.to_owned(),
        split: split.to_owned(),
        model: "ours <b>|x|".to_owned(),
        extraction: "official".to_owned(),
        dialect: "head".to_owned(),
        correct: 466,
        total: 1000,
        accuracy: 0.466,
        unparsed: 7,
        truncated: 6,
        empty: 5,
        failed: 4,
        missing: 3,
        fallbacks: 2,
        ..BenchmarkScore::default()
    };
    score.measures.insert("worst_case".to_owned(), 0.125);
    for (dimension, name, correct, total) in groups {
        let dimension: &mut BTreeMap<_, _> =
            score.groups.entry((*dimension).to_owned()).or_default();
        dimension.insert((*name).to_owned(), Share::new(*correct, *total));
    }
    score
}

fn mathvista() -> BenchmarkScore {
    score(
        "mathvista",
        "testmini",
        &[
            ("task", "geometry problem solving", 120, 208),
            ("task", "math word problem", 0, 0),
            ("skills", "algebraic reasoning", 149, 281),
            ("grade", "college", 5, 10),
        ],
    )
}

#[test]
fn our_groups_stand_under_the_papers_columns() {
    let board = scoreboard(&[mathvista()], &Options::default()).unwrap();
    let codes: Vec<&str> = board.columns.iter().map(|c| c.code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "FQA", "GPS", "MWP", "TQA", "VQA", "ALG", "ARI", "GEO", "LOG", "NUM", "SCI", "STA"
        ]
    );
    let ours = &board.rows[0];
    assert_eq!(ours.standing, Standing::Ours);
    let gps = ours.cells[1].unwrap();
    assert_eq!((gps.correct, gps.total), (Some(120), Some(208)));
    let (low, high) = gps.interval.unwrap();
    assert!(low < gps.percent && gps.percent < high && (gps.percent - 57.69).abs() < 0.01);
    assert_eq!(ours.cells[5].unwrap().total, Some(281));
    assert_eq!(ours.cells[0], None);
    let published = board
        .rows
        .iter()
        .find(|r| r.model == "Math-LLaVA-13B")
        .unwrap();
    assert_eq!(published.cells[1], Some(Cell::published(57.7)));
    assert_eq!(
        board.rows[1].standing,
        Standing::MathLlava,
        "the method comes next"
    );
    for model in ["GPT-4V", "Human", "Random chance", "LLaVA-1.5-13B"] {
        assert!(board.rows.iter().any(|r| r.model == model), "{model}");
    }
    assert!(board.rows.iter().all(|r| r.standing != Standing::Ablation));
}

#[test]
fn a_dimension_of_another_name_is_found_by_its_groups() {
    let groups = [
        ("discipline", "Art & Design", 1, 2),
        ("domain", "Tech and Engineering", 3, 4),
    ];
    let board = scoreboard(&[score("MMMU", "validation", &groups)], &Options::default()).unwrap();
    assert_eq!(board.rows[0].cells[5].unwrap().correct, Some(3));
    assert_eq!(board.columns[5].dimension, "domain");
}

#[test]
fn a_benchmark_without_published_rows_has_its_own_groups_as_columns() {
    let many: Vec<(String, u64)> = (0..50).map(|i| (format!("s{i}"), i)).collect();
    let mut groups = vec![("level", "1", 1, 2), ("level", "2", 1, 3)];
    groups.extend(
        many.iter()
            .map(|(name, i)| ("source", name.as_str(), 0, *i)),
    );
    let board = scoreboard(&[score("dynamath", "sample", &groups)], &Options::default()).unwrap();
    let names: Vec<&str> = board.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((names, board.rows.len()), (vec!["1", "2"], 1));
}

#[test]
fn options_add_and_leave_out_rows() {
    let rows = |options: &Options| scoreboard(&[mathvista()], options).unwrap().rows;
    let alone = Options {
        alone: true,
        ..Options::default()
    };
    assert_eq!(rows(&alone).len(), 1);
    let ablations = Options {
        ablations: true,
        ..Options::default()
    };
    assert!(
        rows(&ablations)
            .iter()
            .any(|r| r.standing == Standing::Ablation)
    );
    let text = "model,kind,source,ALL,GPS\nMine,open,my notes,41.5,40\n";
    let more = Options {
        alone: true,
        more: Some((PathBuf::from("mine.csv"), text.to_owned())),
        ..Options::default()
    };
    let mine = &rows(&more)[1];
    assert_eq!(
        (mine.all, mine.cells[1]),
        (Some(Cell::published(41.5)), Some(Cell::published(40.0)))
    );
}

#[test]
fn scores_that_do_not_compare_are_refused() {
    let of = |split: &str| score("mathvista", split, &[]);
    let said = |scores: &[BenchmarkScore]| {
        scoreboard(scores, &Options::default())
            .unwrap_err()
            .to_string()
    };
    assert!(said(&[]).contains("no score"));
    assert!(said(&[of("testmini"), of("test")]).contains("do not compare"));
    assert!(scoreboard(&[of("testmini"), of("testmini")], &Options::default()).is_ok());
}

#[test]
fn markdown_begins_with_what_went_wrong_and_shows_markup_as_text() {
    let board = scoreboard(&[mathvista()], &Options::default()).unwrap();
    let text = Format::Markdown.write(&[board]).unwrap();
    let first = text.lines().next().unwrap();
    let counts = "unparsed 7, truncated 6, empty 5, failed 4, missing 3, fallbacks 2";
    assert!(first.contains(counts), "{first}");
    assert!(text.contains("ours &lt;b>\\|x\\|") && !text.contains("<b>"));
    assert!(text.contains("| 57.7 [50.9, 64.2] |"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with('|')).collect();
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(rows.len() > 20 && rows.iter().all(|r| bars(r) == bars(rows[0])));
    assert!(text.contains("Math-LLaVA (arXiv 2406.17294v3) Table 1"));
    assert!(text.contains("worst\\_case 0.1250"), "{text}");
}

#[test]
fn csv_is_a_rectangle_that_runs_no_formula() {
    let mut nasty = mathvista();
    nasty.model = "=cmd|' /C calc'!A0,\"\n".to_owned();
    let board = scoreboard(&[nasty], &Options::default()).unwrap();
    let text = Format::Csv.write(std::slice::from_ref(&board)).unwrap();
    let second = text.lines().nth(1).unwrap();
    assert!(second.starts_with("\"'=cmd"), "{second}");
    // Quoted commas are in the first cell alone.
    let cells = |line: &str| {
        line.rsplit_once("\",ours")
            .map_or(line, |l| l.1)
            .matches(',')
            .count()
    };
    let header = text.lines().next().unwrap();
    assert_eq!(header.matches(',').count(), 4 + 13 * 5);
    assert!(
        text.lines().skip(2).all(|l| cells(l) == 4 + 13 * 5),
        "{text}"
    );
    assert!(
        text.contains(",46.60,43.5") && second.ends_with(",worst_case=0.125"),
        "{text}"
    );
    assert!(Format::Csv.write(&[board.clone(), board]).is_err());
}

#[test]
fn json_reads_back() {
    let board = scoreboard(&[mathvista()], &Options::default()).unwrap();
    let text = Format::Json.write(std::slice::from_ref(&board)).unwrap();
    let read: Scoreboard = serde_json::from_str(&text).unwrap();
    assert_eq!(read.rows.len(), board.rows.len());
    assert_eq!(read.rows[0].cells[1].unwrap().correct, Some(120));
    let two = Format::Json.write(&[board.clone(), board]).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<Scoreboard>>(&two).unwrap().len(),
        2
    );
    assert!("xlsx".parse::<Format>().is_err() && "md".parse() == Ok(Format::Markdown));
}

#[test]
fn a_breakdown_has_every_group_with_its_interval() {
    let breakdown = breakdown(&mathvista());
    assert_eq!(breakdown.overall.correct, 466);
    let names: Vec<&str> = breakdown.dimensions.iter().map(|d| d.0.as_str()).collect();
    assert_eq!(names, ["grade", "skills", "task"]);
    let (_, college) = &breakdown.dimensions[0].1[0];
    assert!(college.low < 0.5 && college.high > 0.5);
}
