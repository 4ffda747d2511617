//! `--dry-run`: what a run would do, with counts and time, from a rehearsal in a temporary folder.
//!
//! The stages themselves run on a small share of the data, so the counts follow from what the data
//! are like and the times from this machine; nothing is written to the run's folder.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use sample::{Manifest, progress};

use crate::commands::run::Pipeline;
use crate::commands::synth::{self, Cast};
use crate::config::Layout;
use crate::machines::Machines;

/// Figures drawn in a rehearsal.
const FIGURES: usize = 240;
/// Rows read of each published data set in a rehearsal.
const ROWS: usize = 2_000;

/// Prints the plan.
pub fn print(pipeline: &Pipeline) -> Result<bool> {
    let folder = Temporary::new("plan")?;
    let (rehearsal, scale) = shrink(pipeline, &folder.0);
    progress::note("rehearsing on a small share of the data ...");

    let mut seconds = Vec::new();
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |stage: &str, what: String, estimate: f64| {
        rows.push([
            stage.to_owned(),
            what,
            format!("about {}", duration(estimate)),
        ]);
        seconds.push(estimate);
    };

    let config = &pipeline.config;
    let import = timed(|| rehearsal.quietly("import"))?;
    let mut what = Vec::new();
    if let Some(figures) = &config.figures {
        what.push(format!("{} figures to train on", figures.count));
    }
    if let Some(heldout) = &config.heldout {
        what.push(format!("{} held out", heldout.count));
    }
    for source in &config.sources {
        let manifest = Manifest::read(&rehearsal.layout.import(&source.name))?;
        let samples = manifest.counts.get("samples").copied().unwrap_or(0);
        let more = if samples as usize >= ROWS {
            " or more rows"
        } else {
            " rows"
        };
        what.push(format!("{}: {samples}{more}", source.name));
    }
    row("import", what.join(", "), import * scale);

    let inspect = timed(|| rehearsal.quietly("inspect"))?;
    let images = count(&rehearsal, "inspect", "images") * scale;
    let what = format!(
        "{images:.0} images decoded and compared, with {} benchmarks",
        config.benchmarks.len()
    );
    row("inspect", what, inspect * scale);
    if config.grade.is_some() {
        let grade = timed(|| rehearsal.quietly("grade"))?;
        row(
            "grade",
            format!("{images:.0} images, with a grader trained first where none is given"),
            grade * scale,
        );
    }

    let select = timed(|| rehearsal.quietly("select"))?;
    let selected = count(&rehearsal, "select", "images") * scale;
    row(
        "select",
        format!("{selected:.0} images of those"),
        select * scale,
    );

    let cast = Cast::open(config)?;
    let costs = match cast.remote() {
        Some(_) => Some(synth::rehearsed(&rehearsal, &cast)?),
        None => None,
    };
    let mut rehearsal = rehearsal;
    if costs.is_some() {
        // A rehearsal sends nothing.
        rehearsal.config.synth.teacher = ::synth::NO_TEACHER.to_owned();
    }
    let made = timed(|| rehearsal.quietly("synth"))?;
    let pairs = count(&rehearsal, "synth", "samples") * scale;
    let teacher = &config.synth.teacher;
    let what = match &costs {
        None => format!("{pairs:.0} pairs in all, teacher {teacher:?}, no request costs money"),
        Some(costs) => {
            let asked: u64 = costs.plan.iter().map(|line| line.pairs).sum();
            let requests: u64 = costs.forecast.lines.iter().map(|l| l.requests).sum();
            format!(
                "{:.0} pairs asked for, teacher {teacher:?}, {:.0} requests, {:.2} {}; time by server",
                asked as f64 * scale,
                requests as f64 * scale,
                costs.forecast.cost() * scale,
                costs.forecast.currency
            )
        }
    };
    row("synth", what, made * scale);

    learning(&rehearsal, pipeline, scale, selected, &mut row)?;

    println!(
        "This run would do, in {}:
",
        pipeline.layout.run.display()
    );
    let width = rows.iter().map(|r| r[1].chars().count()).max().unwrap_or(0);
    for [stage, what, estimate] in &rows {
        println!("{stage:>8}  {what:<width$}  {estimate}");
    }
    println!(
        "{:>8}  {:<width$}  about {}",
        "total",
        "",
        duration(seconds.iter().sum())
    );
    if let Some(costs) = &costs {
        println!("\n{}", synth::table(&costs.forecast, scale));
        for line in synth::budgets(config, &costs.forecast, scale) {
            println!("{line}");
        }
    }
    println!("\nNothing was written there.");
    Ok(true)
}

/// What training and evaluation would do.
#[cfg(feature = "torch")]
fn learning(
    rehearsal: &Pipeline,
    pipeline: &Pipeline,
    scale: f64,
    selected: f64,
    row: &mut impl FnMut(&str, String, f64),
) -> Result<()> {
    let config = &pipeline.config.train;
    let probe = Pipeline {
        config: pipeline.config.clone(),
        layout: rehearsal.layout.clone(),
        root: pipeline.root.clone(),
        force: pipeline.force,
        shard: None,
        machines: Machines::default(),
    };
    let forecast = super::train::measure(&probe, 4)?;
    let per_step = forecast.images_per_step.max(1.0);
    let all = (selected / per_step * config.epochs).ceil();
    let steps = if config.max_steps == 0 {
        all
    } else {
        all.min(config.max_steps as f64)
    };
    row(
        "train",
        format!(
            "{:.1} M parameters, {} steps of the tower alone, {steps:.0} of {per_step:.0} images",
            forecast.parameters as f64 / 1e6,
            config.tower.steps,
        ),
        forecast.tower_seconds + forecast.seconds_per_step * steps,
    );

    let mut questions = 0.0;
    if let Some(heldout) = &pipeline.config.heldout {
        questions += (heldout.count * heldout.questions_per_figure) as f64;
    }
    let select = Manifest::read(&rehearsal.layout.stage("select"))?;
    questions += select.counts.get("heldout").copied().unwrap_or(0) as f64 * scale;
    if let Some(limit) = pipeline.config.eval.limit {
        questions = questions.min(limit as f64);
    }
    // A forward pass is a third of a step, and each question brings its own image here.
    let per_image = forecast.seconds_per_step / (3.0 * per_step);
    row(
        "eval",
        format!("{questions:.0} questions, each with its own image and with another"),
        2.0 * questions * per_image,
    );
    Ok(())
}

/// Without libtorch there is nothing to train with.
#[cfg(not(feature = "torch"))]
fn learning(
    _: &Pipeline,
    _: &Pipeline,
    _: f64,
    _: f64,
    row: &mut impl FnMut(&str, String, f64),
) -> Result<()> {
    row(
        "train",
        "not in this build: it has no libtorch".to_owned(),
        0.0,
    );
    Ok(())
}

/// The same run on a share of the data, and how many times more the whole is.
fn shrink(pipeline: &Pipeline, folder: &Path) -> (Pipeline, f64) {
    let mut config = pipeline.config.clone();
    let mut scale = 1.0;
    if let Some(figures) = &mut config.figures
        && figures.count > FIGURES
    {
        scale = figures.count as f64 / FIGURES as f64;
        figures.count = FIGURES;
    }
    let part = |n: usize| ((n as f64 / scale).round() as usize).max(1);
    if let Some(heldout) = &mut config.heldout {
        heldout.count = part(heldout.count);
    }
    config.select.total = part(config.select.total);
    for source in &mut config.sources {
        source.limit = Some(source.limit.unwrap_or(ROWS).min(ROWS));
    }
    let layout = Layout {
        run: folder.to_owned(),
    };
    (
        Pipeline {
            config,
            layout,
            root: pipeline.root.clone(),
            force: false,
            shard: None,
            machines: Machines::default(),
        },
        scale,
    )
}

fn count(pipeline: &Pipeline, stage: &str, name: &str) -> f64 {
    Manifest::read(&pipeline.layout.stage(stage))
        .ok()
        .and_then(|m| m.counts.get(name).copied())
        .unwrap_or(0) as f64
}

fn timed(stage: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    stage()?;
    Ok(started.elapsed().as_secs_f64())
}

/// `4 min 10 s`, `35 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) if s < 10 => format!("{seconds:.1} s"),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A folder that goes away with the value.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes one for `what`.
    pub fn new(what: &str) -> Result<Temporary> {
        let path = std::env::temp_dir().join(format!("math-llava-{what}-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Temporary(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left in the system's temporary folder is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [
            (0.04, "0.0 s"),
            (9.4, "9.4 s"),
            (35.2, "35 s"),
            (250.0, "4 min 10 s"),
            (7500.0, "2 h 5 min"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
