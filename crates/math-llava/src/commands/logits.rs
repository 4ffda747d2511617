//! `math-llava logits`: what a checkpoint computes, for comparison with other programs.

use anyhow::Result;
#[cfg(not(feature = "torch"))]
use anyhow::bail;

use crate::args::Logits;

/// Writes the logits.
#[cfg(feature = "torch")]
pub fn run(arguments: &Logits) -> Result<bool> {
    model::write_logits(
        &arguments.model,
        arguments.image.as_deref(),
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
