//! `math-llava grade`: clarity and complexity of every image, from a configuration or on imports.

use anyhow::{Result, bail};

use crate::args::Grade;
#[cfg(feature = "torch")]
use crate::teachers;

/// Grades.
#[cfg(feature = "torch")]
pub fn run(arguments: &Grade) -> Result<bool> {
    use crate::commands::run::Pipeline;
    use crate::config::RunConfig;

    let Some(file) = &arguments.config else {
        let config = with_arguments(grade::GradeConfig::default(), arguments);
        let Some(out) = &arguments.out else {
            bail!("--out DIR is missing: the folder to write");
        };
        let (seed, imports) = (arguments.seed, &arguments.imports);
        let machines = crate::machines::Machines::find(arguments.on.cluster.as_deref())?;
        let (workers, force) = (machines.workers(), arguments.force);
        let manifest = grade::run_with(workers, &config, seed, imports, out, None, force)?;
        println!("{} in {}", says(&manifest), out.display());
        return Ok(true);
    };
    let mut config = RunConfig::read(file)?;
    config.grade = Some(with_arguments(config.grade.unwrap_or_default(), arguments));
    let pipeline = Pipeline::new(
        config,
        arguments.out.clone(),
        arguments.root.clone(),
        arguments.force,
    )
    .on(&arguments.on)?;
    let says = stage(&pipeline)?;
    println!("{says} in {}", pipeline.layout.stage("grade").display());
    Ok(true)
}

/// The stage of a run: all imports that training draws from, into `grade/`.
#[cfg(feature = "torch")]
pub fn stage(pipeline: &crate::commands::run::Pipeline) -> Result<String> {
    let (imports, out) = (pipeline.imports(), pipeline.layout.stage("grade"));
    let Some(config) = &pipeline.config.grade else {
        bail!("the configuration has no [grade] section: nothing says how to grade");
    };
    let asks = config.labels == grade::LabelSource::Teacher && config.model.is_none();
    let (teacher, ledger) = if asks {
        let place = "[grade] teacher";
        let section = teachers::find(&pipeline.config.teachers, &config.teacher, place)?;
        (
            Some(section.open(&config.teacher)?),
            Some(pipeline.ledger()?),
        )
    } else {
        (None, None)
    };
    let teacher = teacher.as_ref().map(teachers::Teacher::model);
    let teacher = teacher.zip(ledger.as_ref());
    let manifest = pipeline.replacing(|force| {
        let teacher = teacher.map(|(model, ledger)| grade::teacher::Teacher { model, ledger });
        Ok(grade::run_with(
            pipeline.machines.workers(),
            config,
            pipeline.config.seed,
            &imports,
            &out,
            teacher,
            force,
        )?)
    })?;
    Ok(says(&manifest))
}

/// What the command line says wins over the file.
#[cfg(feature = "torch")]
fn with_arguments(mut config: grade::GradeConfig, arguments: &Grade) -> grade::GradeConfig {
    if let Some(model) = &arguments.model {
        config.model = Some(model.clone());
    }
    if let Some(base) = &arguments.base {
        config.base = Some(base.clone());
    }
    if let Some(csv) = &arguments.csv {
        config.labels = grade::LabelSource::Csv;
        config.csv = Some(csv.clone());
    }
    config
}

/// `600 of 602 images graded, 2 rejects; held out: clarity 95.0%, complexity 88.3%`.
#[cfg(feature = "torch")]
fn says(manifest: &sample::Manifest) -> String {
    let get = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "{} of {} images graded, {} rejects",
        get("graded"),
        get("images"),
        get("rejects")
    );
    let held: Vec<String> = grade::Criterion::ALL
        .iter()
        .filter_map(|criterion| {
            let name = criterion.name();
            let accuracy = manifest.results["heldout"][name]["accuracy"].as_f64()?;
            Some(format!("{name} {:.1}%", 100.0 * accuracy))
        })
        .collect();
    if !held.is_empty() {
        text.push_str(&format!("; held out: {}", held.join(", ")));
    }
    text
}

/// Says why nothing is graded.
#[cfg(not(feature = "torch"))]
pub fn run(arguments: &Grade) -> Result<bool> {
    let what = arguments.config.iter().chain(&arguments.imports).next();
    bail!(
        "this build has no libtorch and cannot grade {}: build it with the feature torch",
        what.map_or_else(String::new, |p| p.display().to_string())
    );
}
