//! `math-llava logits`: what a checkpoint computes, for comparison with other programs.

use anyhow::{Result, bail};

use crate::args::Logits;

/// Writes the logits.
#[cfg(feature = "torch")]
pub fn run(arguments: &Logits) -> Result<bool> {
    if !arguments.model.join("config.json").is_file() {
        bail!(
            "{} is no Hugging Face folder: it has no config.json",
            arguments.model.display()
        );
    }
    model::write_logits(
        &arguments.model,
        &arguments.image,
        &arguments.prompt,
        &arguments.out,
    )?;
    println!("logits in {}", arguments.out.display());
    Ok(true)
}

/// Says why there are none.
#[cfg(not(feature = "torch"))]
pub fn run(arguments: &Logits) -> Result<bool> {
    bail!(
        "this build has no libtorch and cannot run {}: build it with the feature torch",
        arguments.model.display()
    );
}
