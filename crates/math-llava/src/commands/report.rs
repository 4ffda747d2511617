//! `math-llava report`: the page of a run, of trainings, or of benchmark runs.

use anyhow::Result;
use report::benchmark::{BenchmarkOptions, BenchmarkRun, ComparedRuns, benchmark_page};
use sample::benchmark::{BenchmarkScore, folder};

use super::{compare, table};
use crate::args::Report;

/// File name of the page of benchmark runs.
const BENCHMARK_PAGE: &str = "benchmark.html";

/// Writes the page.
pub fn run(arguments: &Report) -> Result<bool> {
    if let Some(run) = &arguments.run {
        let out = run.join("report");
        report::run(run, &out)?;
        println!("report: {}", out.join("report.html").display());
        return Ok(true);
    }
    if !arguments.benchmark.is_empty() {
        return benchmarks(arguments);
    }
    let folders = &arguments.training;
    if let Some(picture) = &arguments.picture {
        report::loss_picture(folders, picture)?;
        println!("picture: {}", picture.display());
    }
    let page = arguments.picture.is_none() || arguments.out.is_some();
    if let Some(first) = folders.first().filter(|_| page) {
        let beside = || first.join(report::TRAINING_PAGE);
        let out = arguments.out.clone().unwrap_or_else(beside);
        report::training_page(folders, &out, false)?;
        println!("page: {}", out.display());
    }
    Ok(true)
}

/// The page of benchmark runs, each compared with the first of its benchmark.
fn benchmarks(arguments: &Report) -> Result<bool> {
    let mut runs: Vec<BenchmarkRun> = Vec::new();
    for path in &arguments.benchmark {
        for folder in folder::runs(path)? {
            let score = folder::score(&folder)?;
            let breakdown = eval::table::breakdown(&score);
            runs.push(BenchmarkRun {
                folder,
                score,
                breakdown,
            });
        }
    }
    let same =
        |a: &BenchmarkScore, b: &BenchmarkScore| a.benchmark == b.benchmark && a.split == b.split;
    let mut compared = Vec::new();
    for (second, run) in runs.iter().enumerate() {
        let first = runs.iter().position(|r| same(&r.score, &run.score));
        let Some(first) = first.filter(|first| *first < second) else {
            continue;
        };
        let before = &runs[first];
        compared.push(ComparedRuns {
            first,
            second,
            paired: compare::paired(
                &before.score,
                &folder::item_scores(&before.folder)?,
                &run.score,
                &folder::item_scores(&run.folder)?,
                &folder::items(&before.folder)?,
            ),
        });
    }
    let scores: Vec<BenchmarkScore> = runs.iter().map(|r| r.score.clone()).collect();
    let boards = table::boards(&scores, &eval::table::Options::default())?;
    let beside = || {
        let first = runs.first().map(|r| r.folder.as_path());
        first
            .unwrap_or(std::path::Path::new("."))
            .join(BENCHMARK_PAGE)
    };
    let out = arguments.out.clone().unwrap_or_else(beside);
    benchmark_page(
        &runs,
        &boards,
        &compared,
        &BenchmarkOptions::default(),
        &out,
    )?;
    println!("page: {}", out.display());
    Ok(true)
}
