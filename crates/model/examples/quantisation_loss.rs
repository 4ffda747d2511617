//! What keeping weights in fewer bits costs: perplexity of a text, and how often the most likely
//! token is the one that f32 finds.
//!
//!     quantisation_loss MODEL TEXT [TOKENS]
//!
//! MODEL is anything that `math-llava generate` takes; TEXT is cut into windows of 512 tokens, of
//! which the first half is context only.

#![allow(clippy::print_stdout)]

use std::path::Path;

use model::{Checkpoint, Llava, LoadOptions, Quantisation};
use tch::{Device, Kind, Tensor, no_grad};

const WINDOW: usize = 512;

/// Negative log-likelihood of the second half of each window, and the most likely tokens there.
fn judge(model: &Llava, windows: &[&[i64]]) -> Result<(f64, Vec<i64>), Box<dyn std::error::Error>> {
    let (mut sum, mut likely) = (0.0, Vec::new());
    for window in windows {
        let length = window.len() as i64;
        let half = length / 2;
        let ids = Tensor::from_slice(window);
        let logits = no_grad(|| -> Result<Tensor, model::Error> {
            let positions = Tensor::arange(length, (Kind::Int64, Device::Cpu)).unsqueeze(0);
            let embeds = model.embed(&ids.unsqueeze(0))?;
            let hidden = model.decode(&embeds, &positions, None, None)?;
            model.logits(&hidden.get(0).narrow(0, half - 1, length - half))
        })?;
        let targets = ids.narrow(0, half, length - half).unsqueeze(1);
        let chosen = logits
            .log_softmax(-1, Kind::Float)
            .gather(1, &targets, false);
        sum -= chosen.sum(Kind::Double).double_value(&[]);
        likely.extend(Vec::<i64>::try_from(logits.argmax(-1, false))?);
    }
    Ok((sum / likely.len() as f64, likely))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text, rest @ ..] = &arguments[..] else {
        return Err("give MODEL TEXT [TOKENS]".into());
    };
    let most: usize = rest.first().map_or(Ok(16_384), |n| n.parse())?;
    let checkpoint = Checkpoint::open(Path::new(model))?;
    let mut ids = checkpoint
        .tokenizer()?
        .encode(&std::fs::read_to_string(text)?)?;
    ids.truncate(most);
    let windows: Vec<&[i64]> = ids.chunks_exact(WINDOW).collect();
    if windows.is_empty() {
        return Err(format!("{text} has fewer than {WINDOW} tokens").into());
    }
    let load = || {
        checkpoint
            .load(&LoadOptions::default())
            .map(|(model, _)| model)
    };
    let (exact, wanted) = judge(
        &load()?.into_answering(Kind::Float, Quantisation::None)?,
        &windows,
    )?;
    println!("{} tokens in windows of {WINDOW}", wanted.len());
    println!("f32   perplexity {:.4}", exact.exp());
    for (name, how) in [
        ("bf16", Quantisation::None),
        ("int8", Quantisation::Int8),
        ("int4", Quantisation::Int4),
    ] {
        let (loss, found) = judge(&load()?.into_answering(Kind::BFloat16, how)?, &windows)?;
        let same = found.iter().zip(&wanted).filter(|(a, b)| a == b).count();
        println!(
            "{name}  perplexity {:.4} ({:+.2}%), same most likely token {:.2}%",
            loss.exp(),
            ((loss - exact).exp() - 1.0) * 100.0,
            same as f64 * 100.0 / wanted.len() as f64
        );
    }
    Ok(())
}
