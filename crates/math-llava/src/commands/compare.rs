//! `math-llava compare`: two runs on the same questions.

use std::path::Path;

use anyhow::{Result, bail};
use eval::compare::{Run, compare};
use sample::benchmark::paired::Paired;
use sample::benchmark::{BenchmarkScore, ItemScore, folder};

use super::table;
use crate::args::Compare;

/// Flips printed either way; --json has them all.
const SHOWN: usize = 40;

/// Compares.
pub fn run(arguments: &Compare) -> Result<bool> {
    let paired = of(&arguments.first, &arguments.second)?;
    if arguments.json {
        table::to_stdout(&(serde_json::to_string_pretty(&paired)? + "\n"))?;
    } else {
        print(&paired);
    }
    Ok(true)
}

/// The comparison of the runs in two folders.
fn of(first: &Path, second: &Path) -> Result<Paired> {
    let read = |path: &Path| -> Result<(BenchmarkScore, Vec<ItemScore>)> {
        Ok((folder::score(path)?, folder::item_scores(path)?))
    };
    let (a, b) = (read(first)?, read(second)?);
    if (&a.0.benchmark, &a.0.split) != (&b.0.benchmark, &b.0.split) {
        bail!(
            "{} is of {} {} and {} of {} {}: they share no questions",
            first.display(),
            a.0.benchmark,
            a.0.split,
            second.display(),
            b.0.benchmark,
            b.0.split
        );
    }
    Ok(paired(&a.0, &a.1, &b.0, &b.1, &folder::items(first)?))
}

/// The comparison of two runs that are read already.
pub fn paired(
    first: &BenchmarkScore,
    first_items: &[ItemScore],
    second: &BenchmarkScore,
    second_items: &[ItemScore],
    questions: &[folder::ItemRecord],
) -> Paired {
    let run = |score, items| Run { score, items };
    compare(
        run(first, first_items),
        run(second, second_items),
        questions,
    )
}

fn print(paired: &Paired) {
    let (gained, lost) = (&paired.flips.gained, &paired.flips.lost);
    let range = paired.interval.map_or(String::new(), |(low, high)| {
        format!(" [{:+.1}, {:+.1}]", 100.0 * low, 100.0 * high)
    });
    println!(
        "{} against {}: {:+.1} points{range} on {} questions",
        paired.second,
        paired.first,
        100.0 * paired.difference,
        paired.items
    );
    println!(
        "right in both {}, wrong in both {}, became right {}, became wrong {}",
        paired.both_right,
        paired.both_wrong,
        gained.len(),
        lost.len()
    );
    println!(
        "McNemar's test, two-sided: exact p {:.4}, mid-p {:.4}",
        paired.p_exact, paired.p_mid
    );
    if paired.only_first + paired.only_second > 0 {
        println!(
            "not compared: {} questions in the first run alone, {} in the second alone",
            paired.only_first, paired.only_second
        );
    }
    for remark in &paired.remarks {
        println!("note: {remark}");
    }
    for (what, ids) in [("became right", gained), ("became wrong", lost)] {
        if !ids.is_empty() {
            let shown: Vec<&str> = ids.iter().take(SHOWN).map(String::as_str).collect();
            let rest = ids.len() - shown.len();
            let rest = if rest > 0 {
                format!(" and {rest} more (--json has all)")
            } else {
                String::new()
            };
            println!("{what}: {}{rest}", shown.join(" "));
        }
    }
}
