//! `math-llava inspect`: images and questions of imports, looked at and compared; from a
//! configuration or on imports directly.

use anyhow::{Result, bail};
use sample::Manifest;
use select::inspect::{InspectConfig, REPORT, inspect_with};

use crate::args::Inspect;
use crate::commands::run::Pipeline;
use crate::config::RunConfig;
use crate::machines::Machines;

/// Inspects, says what was found and where the page is.
pub fn run(arguments: &Inspect) -> Result<bool> {
    let (says, out) = match &arguments.config {
        Some(file) => {
            let (out, root) = (arguments.out.clone(), arguments.root.clone());
            let pipeline = Pipeline::new(RunConfig::read(file)?, out, root, arguments.force)
                .with_benchmarks(&arguments.benchmarks)
                .on(&arguments.on)?;
            (stage(&pipeline)?, pipeline.layout.stage("inspect"))
        }
        None => {
            let Some(out) = arguments.out.clone() else {
                bail!("--out DIR is missing: the folder to write");
            };
            let (imports, benchmarks) = (&arguments.imports, &arguments.benchmarks);
            let config = InspectConfig::default();
            let machines = Machines::find(arguments.on.cluster.as_deref())?;
            let workers = machines.workers();
            let force = arguments.force;
            let manifest = inspect_with(workers, &config, imports, benchmarks, &out, force)?;
            (says(&manifest, !benchmarks.is_empty()), out)
        }
    };
    println!("{says}\nreport: {}", out.join(REPORT).display());
    Ok(true)
}

/// The stage of a run: all imports that training draws from, into `inspect/`.
pub fn stage(pipeline: &Pipeline) -> Result<String> {
    let (imports, out) = (pipeline.imports(), pipeline.layout.stage("inspect"));
    let benchmarks = pipeline.benchmarks()?;
    let config = &pipeline.config.inspect;
    let workers = pipeline.machines.workers();
    let manifest = pipeline.replacing(|force| {
        Ok(inspect_with(
            workers,
            config,
            &imports,
            &benchmarks,
            &out,
            force,
        )?)
    })?;
    Ok(says(&manifest, !benchmarks.is_empty()))
}

/// `600 images, 2 cannot be used, 3 pairs of near duplicates; with benchmarks: ...`.
fn says(manifest: &Manifest, compared: bool) -> String {
    let get = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "{} images, {} cannot be used, {} pairs of near duplicates",
        get("images"),
        get("faults"),
        get("near")
    );
    if compared {
        text.push_str(&format!(
            "; with benchmarks: {} image matches, {} question matches of which {} go",
            get("contaminated_images"),
            get("contaminated_questions"),
            get("contaminated_questions_dropped")
        ));
    }
    text
}
