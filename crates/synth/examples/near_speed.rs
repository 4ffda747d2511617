//! Lookups a minute against an index of questions, one a line.
//!
//! ```text
//! cargo run --release -p synth --example near_speed -- FILE.txt 20000
//! ```
//! The first lines go into the index, all are looked up, on one thread.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use synth::near::Index;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("give a file of questions")?;
    let indexed: usize = args.next().ok_or("give the size of the index")?.parse()?;
    let text = std::fs::read_to_string(path)?;
    let start = Instant::now();
    let mut index = Index::new(0.8);
    for (n, question) in text.lines().take(indexed).enumerate() {
        index.insert(n, question);
    }
    println!(
        "{} entries in {:.2} s",
        index.len(),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let found = text.lines().filter(|q| index.find(q).is_some()).count();
    let seconds = start.elapsed().as_secs_f64();
    let lookups = text.lines().count();
    let a_minute = lookups as f64 / seconds * 60.0;
    println!("{lookups} lookups, {found} found, {seconds:.2} s, {a_minute:.0} a minute");
    Ok(())
}
