//! How many pairs a second one core compares, and with `--show` what it said of each.
//!
//! Reads a JSON list of `{"gold", "prediction"}`, or of MATH-V's `{"gt", "gt_value", "model_answer"}`:
//! `cargo run --release -p equal --example pairs -- FILE [--show]`

use std::error::Error;
use std::time::Instant;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("give a JSON file of pairs")?;
    let show = arguments.next().as_deref() == Some("--show");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let text =
        |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let pairs: Vec<(String, String)> = rows
        .iter()
        .flat_map(|row| {
            if row.get("gold").is_some() {
                return vec![(text(row, "gold"), text(row, "prediction"))];
            }
            let answer = text(row, "model_answer");
            [text(row, "gt"), text(row, "gt_value")]
                .into_iter()
                .filter(|gold| !gold.is_empty())
                .map(|gold| (gold, answer.clone()))
                .collect()
        })
        .collect();
    if show {
        for (gold, prediction) in &pairs {
            let verdict = equal::compare(gold, prediction);
            println!(
                "{}",
                serde_json::json!({"gold": gold, "prediction": prediction, "same": verdict.same, "reason": verdict.reason})
            );
        }
        return Ok(());
    }
    let mut rounds = 0usize;
    let mut same = 0usize;
    let (start, before) = (Instant::now(), processor_seconds());
    while rounds == 0 || start.elapsed().as_secs_f64() < 4.0 {
        same = pairs.iter().filter(|(a, b)| equal::equal(a, b)).count();
        rounds += 1;
    }
    let clock = start.elapsed().as_secs_f64();
    // Other jobs on the machine take clock time, not processor time.
    let used = before
        .zip(processor_seconds())
        .map_or(clock, |(a, b)| b - a);
    let seconds = used / rounds as f64;
    println!(
        "{} pairs, {same} the same, {:.0} pairs a second of one core's time ({rounds} rounds, {used:.2} s of {clock:.2} s)",
        pairs.len(),
        pairs.len() as f64 / seconds
    );
    Ok(())
}

/// Seconds that this thread has run for, where the system says so.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
