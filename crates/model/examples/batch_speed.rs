//! Answers a list of prompts at once, as `generate` does: what a server's throughput is held against.
//!
//!     batch_speed MODEL PROMPTS.json AT_ONCE NEW_TOKENS [f32|bf16]
//!
//! PROMPTS is a list of questions, such as `bench/serve/load.py prompts` writes.

// An example says what it found.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use model::{Checkpoint, Generator, LoadOptions, Quantisation, Request};
use tch::{Device, Kind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts, at_once, tokens, ..] = &arguments[..] else {
        return Err("give MODEL PROMPTS.json AT_ONCE NEW_TOKENS [f32|bf16]".into());
    };
    let (at_once, tokens): (usize, usize) = (at_once.parse()?, tokens.parse()?);
    let options = LoadOptions {
        device: Device::Cpu,
        kind: match arguments.get(4).map(String::as_str) {
            Some("f32") => Kind::Float,
            _ => Kind::BFloat16,
        },
        ..LoadOptions::default()
    };
    let checkpoint = Checkpoint::open(Path::new(model))?;
    let (model, _) = checkpoint.load_answering(&options, Quantisation::None)?;
    let generator = Generator::with(
        model,
        checkpoint.tokenizer()?,
        checkpoint.preprocessor()?,
        checkpoint.prompt_form()?,
    )?;
    let prompts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(prompts)?)?;
    let requests: Vec<Request> = prompts
        .iter()
        .map(|text| Request::question(text, None, tokens))
        .collect();
    let begun = Instant::now();
    let replies = generator.generate(&requests, at_once, |_, _| ())?;
    let seconds = begun.elapsed().as_secs_f64();
    let written: usize = replies.iter().map(|reply| reply.tokens.len()).sum();
    let read: usize = replies.iter().map(|reply| reply.prompt_tokens).sum();
    println!(
        "{} requests, {at_once} at once: {seconds:.1} s, {written} tokens written, {read} read: {:.1} \
         tokens/s",
        replies.len(),
        written as f64 / seconds,
    );
    Ok(())
}
