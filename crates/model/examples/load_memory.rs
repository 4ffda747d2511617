//! Times loading a checkpoint and says what memory it took, as the kernel counted it.
//!
//!     load_memory MODEL float32|bfloat16|float16 [WARM]
//!
//! With WARM the files are read once before, so that their pages are in memory; peak memory then
//! still starts from nothing, because the reading keeps none of it.

#![allow(clippy::print_stdout)]

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use model::{Checkpoint, LoadOptions};
use tch::Kind;

/// A line of the process's status in bytes; 0 where there is no such file.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, kind) = match arguments.as_slice() {
        [path, kind] | [path, kind, _] => (Path::new(path), kind.as_str()),
        _ => return Err("give MODEL float32|bfloat16|float16 [WARM]".into()),
    };
    let kind = match kind {
        "float32" => Kind::Float,
        "bfloat16" => Kind::BFloat16,
        "float16" => Kind::Half,
        other => return Err(format!("{other:?} is not float32, bfloat16 or float16").into()),
    };
    if arguments.len() == 3 {
        let files: Vec<_> = match path.is_dir() {
            true => std::fs::read_dir(path)?
                .map(|entry| entry.map(|e| e.path()))
                .collect::<Result<_, _>>()?,
            false => vec![path.to_owned()],
        };
        let mut buffer = vec![0; 1 << 20];
        for file in files {
            let mut file = std::fs::File::open(file)?;
            while file.read(&mut buffer)? > 0 {}
        }
    }
    let before = status("VmRSS:");
    let started = Instant::now();
    let checkpoint = Checkpoint::open(path)?;
    let opened = started.elapsed().as_secs_f64();
    let (model, report) = checkpoint.load(&LoadOptions {
        kind,
        ..LoadOptions::default()
    })?;
    let loaded = started.elapsed().as_secs_f64();
    let bytes: usize = model
        .parameters()
        .iter()
        .map(|(_, tensor)| tensor.numel() * kind.elt_size_in_bytes())
        .sum();
    let peak = status("VmHWM:");
    println!("{report}");
    println!(
        "opened in {opened:.3} s, loaded in {loaded:.3} s: {:.2} GB of weights, {:.2} GB/s",
        bytes as f64 / 1e9,
        bytes as f64 / 1e9 / loaded
    );
    println!(
        "memory before {:.2} GB, peak {:.2} GB: {:.3} times the weights, {:.3} without what the \
         program itself takes",
        before as f64 / 1e9,
        peak as f64 / 1e9,
        peak as f64 / bytes as f64,
        (peak.saturating_sub(before)) as f64 / bytes as f64
    );
    Ok(())
}
