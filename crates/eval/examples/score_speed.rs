//! How fast outputs are scored: `cargo run --release -p eval --example score_speed -- BENCHMARK DATA
//! OUTPUTS [TIMES]`.
//!
//! Reads questions and outputs once, then scores them TIMES times (20 unless told otherwise), with
//! groups, and prints the time of reading and the least and median time of scoring. Beside it, the
//! official rules in Python: `python bench/peers/mathvista_peer.py OUTPUTS`.

// A program for the terminal.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use eval::{Scoring, find, score};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, data, outputs, times @ ..] = &arguments[..] else {
        return Err("BENCHMARK DATA OUTPUTS [TIMES] are wanted".into());
    };
    let times: usize = times.first().map_or(Ok(20), |n| n.parse())?;
    let benchmark = find(name)?;
    let split = benchmark.splits().first().copied().unwrap_or_default();
    let started = Instant::now();
    let items = benchmark.load(&PathBuf::from(data), split)?;
    let read = benchmark.outputs(&PathBuf::from(outputs), &items)?;
    let reading = started.elapsed();
    let mut spent = Vec::with_capacity(times);
    let mut total = None;
    for _ in 0..times.max(1) {
        let started = Instant::now();
        total = Some(score(benchmark, split, &items, &read, &Scoring::default()).0);
        spent.push(started.elapsed());
    }
    spent.sort();
    if let Some(total) = total {
        println!(
            "{outputs}: {}/{}, read in {:.1} ms, scored in {:.2} ms (least), {:.2} ms (median)",
            total.correct,
            total.total,
            reading.as_secs_f64() * 1e3,
            spent[0].as_secs_f64() * 1e3,
            spent[spent.len() / 2].as_secs_f64() * 1e3,
        );
    }
    Ok(())
}
