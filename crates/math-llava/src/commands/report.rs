//! `math-llava report`: the page of a run, or of trainings.

use anyhow::Result;

use crate::args::Report;

/// Writes the page.
pub fn run(arguments: &Report) -> Result<bool> {
    if let Some(run) = &arguments.run {
        let out = run.join("report");
        report::run(run, &out)?;
        println!("report: {}", out.join("report.html").display());
        return Ok(true);
    }
    let folders = &arguments.training;
    if let Some(picture) = &arguments.picture {
        report::loss_picture(folders, picture)?;
        println!("picture: {}", picture.display());
    }
    let page = arguments.picture.is_none() || arguments.out.is_some();
    if let Some(first) = folders.first().filter(|_| page) {
        let beside = || first.join(report::TRAINING_PAGE);
        let out = arguments.out.clone().unwrap_or_else(beside);
        report::training_page(folders, &out, false)?;
        println!("page: {}", out.display());
    }
    Ok(true)
}
