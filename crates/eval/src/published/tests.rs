//! The published rows, held against themselves: a slip of the pen in a file shows here.

use std::collections::HashSet;

use super::*;

/// Questions in each of a table's first columns, which part the benchmark.
const PARTS: &[(&str, &[f64])] = &[
    ("mathvista", &[269.0, 208.0, 186.0, 158.0, 179.0]),
    (
        "mathvision",
        &[
            345.0, 84.0, 140.0, 308.0, 168.0, 67.0, 104.0, 90.0, 119.0, 173.0, 500.0, 449.0, 244.0,
            58.0, 23.0, 168.0,
        ],
    ),
    ("mmmu", &[120.0, 150.0, 150.0, 150.0, 120.0, 210.0]),
    ("mathverse", &[788.0; 5]),
];

/// Rows whose parts do not add up where they are printed, and by how many points at most.
const AT_ODDS: &[(&str, &str, f64)] = &[
    ("mathvista", "Human", 0.7),
    ("mathvista", "LLaVA-1.5-13B (Math-LLaVA's run)", 1.5),
    ("mathvista", "Math-LLaVA-DS (40K selected)", 0.5),
    ("mathvista", "Complexity 3:3:3:1", 0.5),
    ("mathvista", "Complexity 4:3:2:1", 0.5),
    ("mathvista", "Complexity 2:4:3:1", 0.5),
    ("mathverse", "Human", 2.9),
    ("mathverse", "mPLUG-Owl-7B", 1.5),
    ("mathverse", "GPT-4V", 0.7),
    ("mathverse", "Gemini Pro", 1.5),
];

#[test]
fn every_table_reads_and_its_rows_have_names_and_sources() {
    for table in PUBLISHED {
        let rows = table.rows().unwrap();
        assert!(rows.len() > 5, "{:?}", table.benchmark);
        let names: HashSet<&str> = rows.iter().map(|r| r.model.as_str()).collect();
        assert_eq!(
            names.len(),
            rows.len(),
            "{:?}: a row twice",
            table.benchmark
        );
        for row in &rows {
            assert!(!row.model.is_empty() && row.source.len() > 8, "{row:?}");
            assert_eq!(row.values.len(), table.columns.len());
            assert!(
                row.all.is_some() || row.values.iter().any(Option::is_some),
                "{row:?}"
            );
        }
        for standing in [Standing::Human, Standing::Chance] {
            assert!(
                rows.iter().any(|r| r.standing == standing),
                "{:?}",
                table.benchmark
            );
        }
        let header = table
            .rows
            .lines()
            .find(|l| l.starts_with("model,"))
            .unwrap();
        for code in table.columns.iter().map(|c| c.code).chain([table.all]) {
            assert!(
                header.split(',').any(|name| name == code),
                "no column {code}"
            );
        }
    }
}

#[test]
fn the_parts_of_a_row_add_up_to_its_whole() {
    let mut checked = 0;
    for (name, sizes) in PARTS {
        let table = PUBLISHED.iter().find(|t| t.benchmark[0] == *name).unwrap();
        for row in table.rows().unwrap() {
            let parts: Option<Vec<f64>> = row.values[..sizes.len()].iter().copied().collect();
            let (Some(parts), Some(all)) = (parts, row.all) else {
                continue;
            };
            let right: f64 = parts.iter().zip(*sizes).map(|(p, n)| p * n).sum();
            let mean = right / sizes.iter().sum::<f64>();
            let allowed = AT_ODDS
                .iter()
                .find(|(t, model, _)| t == name && *model == row.model)
                .map_or(0.1, |(_, _, by)| *by);
            assert!(
                (mean - all).abs() <= allowed,
                "{name}, {}: {mean:.2} against {all}",
                row.model
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn names_are_found_however_they_are_written() {
    for (benchmark, split, all) in [
        ("mathvista", "testmini", Some("ALL")),
        ("MathVista", "testmini", Some("ALL")),
        ("math-v", "test", Some("ALL")),
        ("math_vision", "TEST", Some("ALL")),
        ("mmmu", "validation", Some("ALL")),
        ("mmmu_pro", "standard (4 options)", Some("Standard4")),
        ("MMMU-Pro", "standard_10", Some("Standard10")),
        ("mmmu-pro", "vision", Some("Vision")),
        ("mmmu_pro", "standard_4_cot", Some("Standard4")),
        ("mathvista", "test", None),
        ("mathvision", "testmini", None),
        ("", "", None),
    ] {
        assert_eq!(
            find(benchmark, split).map(|t| t.all),
            all,
            "{benchmark}, {split}"
        );
    }
}

#[test]
fn rows_say_what_the_papers_say() {
    let row = |benchmark: &str, split: &str, model: &str| {
        let table = find(benchmark, split).unwrap();
        let rows = table.rows().unwrap();
        rows.into_iter().find(|r| r.model == model).unwrap()
    };
    let ours = row("mathvista", "testmini", "Math-LLaVA-13B");
    assert_eq!((ours.all, ours.values[1]), (Some(46.6), Some(57.7)));
    assert_eq!(ours.standing, Standing::MathLlava);
    assert_eq!(row("mathvista", "testmini", "GPT-4V").all, Some(49.9));
    assert_eq!(row("mathvista", "testmini", "G-LLaVA-13B").all, None);
    assert_eq!(row("mmmu", "val", "LLaVA-1.5-13B").all, Some(36.4));
    assert_eq!(row("mmmu-pro", "vision", "GPT-4o (0513)").all, Some(49.7));
}

/// The official score files of published outputs say what the rows say.
#[test]
fn rows_equal_the_official_score_files() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var("MATH_LLAVA_SHARED").unwrap_or_else(|_| workspace.to_owned());
    let results = Path::new(&root).join("data/benchmarks/mathvista/results");
    let table = find("mathvista", "testmini").unwrap();
    for (file, model) in [
        ("random/scores_random_guess.json", "Random chance"),
        ("llavar/scores_llavar.json", "LLaVAR-13B"),
        ("bard/scores_bard.json", "Multimodal Bard"),
    ] {
        let path = results.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is absent", path.display());
            continue;
        };
        let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rows = table.rows().unwrap();
        let row = rows.iter().find(|r| r.model == model).unwrap();
        let official = |value: &serde_json::Value| -> f64 {
            value["accuracy"].as_str().unwrap().parse().unwrap()
        };
        assert_eq!(row.all, Some(official(&scores["average"])), "{model}");
        for (column, value) in table.columns.iter().zip(&row.values) {
            // Printed with one decimal place there, with two here.
            let exact = official(&scores[column.dimension][column.name]);
            assert!(
                (value.unwrap() - exact).abs() < 0.051,
                "{model}, {}",
                column.code
            );
        }
    }
}

/// MATH-V's result files print `338/3040=11.12%`.
#[test]
fn rows_equal_the_official_result_files() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var("MATH_LLAVA_SHARED").unwrap_or_else(|_| workspace.to_owned());
    let outputs = Path::new(&root).join("data/benchmarks/mathvision/outputs");
    let table = find("mathvision", "test").unwrap();
    for (file, model) in [
        ("Random-Chance_result.json", "Random chance"),
        ("closed-source/Qwen/Qwen-VL-Max_result.json", "Qwen-VL-Max"),
        (
            "open-source/LLavA/LLaVA-v1.5-13B_result.json",
            "LLaVA-1.5-13B",
        ),
        (
            "open-source/Internlm/InternLM-XComposer2-VL_result.json",
            "InternLM-XComposer2-VL-7B",
        ),
    ] {
        let path = outputs.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is absent", path.display());
            continue;
        };
        let results: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rows = table.rows().unwrap();
        let row = rows.iter().find(|r| r.model == model).unwrap();
        let keys = std::iter::once("-all").chain(table.columns.iter().map(|c| c.name));
        for (key, value) in keys.zip(std::iter::once(&row.all).chain(&row.values)) {
            let (counts, _) = results[key].as_str().unwrap().split_once('=').unwrap();
            let (right, all) = counts.split_once('/').unwrap();
            // The paper rounds what these files have rounded: 17/104 is 16.35 there, 16.4 in the paper.
            let exact = 100.0 * right.parse::<f64>().unwrap() / all.parse::<f64>().unwrap();
            assert!(
                (value.unwrap() - exact).abs() < 0.056,
                "{model}, {key}: {exact}"
            );
        }
    }
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let columns = &[column("FQA", "task", "figure question answering")];
    let read = |text: &str| rows(Path::new("mine.csv"), text, "ALL", columns);
    let good = "model,kind,source,ALL,FQA,other\n\"Ours, again\",open,\"a paper\",40,,7\n";
    let found = read(good).unwrap();
    assert_eq!(
        (found[0].model.as_str(), found[0].all),
        ("Ours, again", Some(40.0))
    );
    assert_eq!(found[0].values, [None]);
    assert_eq!(read("model,kind,source\nx,open,y\n").unwrap()[0].all, None);
    for (text, says) in [
        ("", "line 1: no line"),
        ("name,ALL\n", "line 1: the first line must name"),
        (
            "model,kind,source,ALL\nx,open,y\n",
            "line 2: 3 cells, but 4",
        ),
        (
            "model,kind,source,ALL\n\nx,friend,y,1\n",
            "line 3: kind \"friend\"",
        ),
        (
            "model,kind,source,ALL\nx,open,y,101\n",
            "line 2: \"101\" is not a percentage",
        ),
        (
            "model,kind,source,ALL\nx,open,y,NaN\n",
            "line 2: \"NaN\" is not a percentage",
        ),
        ("model,kind,source,ALL\n\"x\n", "line 2: a quote"),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(
            said.starts_with("mine.csv: ") && said.contains(says),
            "{text:?}: {said}"
        );
    }
}
