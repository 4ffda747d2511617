//! How long a checkpoint takes until it can answer, and how much memory: seconds and VmHWM after each
//! step.
//!
//!     load_speed MODEL THREADS none|int8|int4 [bf16|f32]

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use model::{Checkpoint, LoadOptions, Quantisation};
use tch::{Device, Kind, Tensor, no_grad};

fn peak() -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, how, rest @ ..] = &arguments[..] else {
        return Err("give MODEL THREADS none|int8|int4 [bf16|f32]".into());
    };
    tch::set_num_threads(threads.parse()?);
    let how = match how.as_str() {
        "int8" => Quantisation::Int8,
        "int4" => Quantisation::Int4,
        _ => Quantisation::None,
    };
    let kind = match rest.first().map(String::as_str) {
        Some("f32") => Kind::Float,
        _ => Kind::BFloat16,
    };
    let started = Instant::now();
    let say = |what: &str| {
        println!(
            "{what:8} {:.3} s, {}",
            started.elapsed().as_secs_f64(),
            peak()
        )
    };
    let checkpoint = Checkpoint::open(Path::new(model))?;
    say("opened");
    let options = LoadOptions {
        kind,
        ..LoadOptions::default()
    };
    let (model, report) = checkpoint.load_answering(&options, how)?;
    say("loaded");
    no_grad(|| -> Result<(), model::Error> {
        let ids = Tensor::arange(16, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let hidden = model.decode(&model.embed(&ids)?, &ids, None, None)?;
        let _ = model.logits(&hidden.narrow(1, 15, 1))?;
        Ok(())
    })?;
    say("answered");
    println!("{} tensors", report.applied.len());
    Ok(())
}
