//! How fast outputs are scored: `cargo run --release -p eval --example score_speed -- BENCHMARK[:SPLIT]
//! DATA OUTPUTS [TIMES]`.
//!
//! Reads questions and outputs once, then scores them TIMES times (20 unless told otherwise), with
//! groups, and prints the time of reading and the least and median time of scoring. Beside it, the
//! official rules in Python: `python bench/peers/mathvista_peer.py OUTPUTS`, and MATH-V's own code by
//! `python bench/peers/mathvision_peer.py CHECKOUT DATA OUTPUTS`.

// A program for the terminal.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use eval::{Scoring, find, score};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, data, outputs, times @ ..] = &arguments[..] else {
        return Err("BENCHMARK[:SPLIT] DATA OUTPUTS [TIMES] are wanted".into());
    };
    let (name, split) = match name.split_once(':') {
        Some((name, split)) => (name, Some(split)),
        None => (name.as_str(), None),
    };
    let times: usize = times.first().map_or(Ok(20), |n| n.parse())?;
    let benchmark = find(name)?;
    let split = eval::rescore::split(benchmark, split)?;
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
