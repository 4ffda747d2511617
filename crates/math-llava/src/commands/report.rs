//! `math-llava report`: the page of a run.

use anyhow::Result;

use crate::args::Report;

/// Writes the page.
pub fn run(arguments: &Report) -> Result<bool> {
    let out = arguments.run.join("report");
    report::run(&arguments.run, &out)?;
    println!("report: {}", out.join("report.html").display());
    Ok(true)
}
