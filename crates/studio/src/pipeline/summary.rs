//! What a run's stages say in figures: from source rows to scores.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sample::Manifest;
use serde_json::Value;

use super::stages::{StageFolder, State};

/// No more reasons are listed.
const MOST_REASONS: usize = 60;

/// The figures of a run; what no finished stage says is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    /// Rows of the sources' files: those that became samples and those that did not.
    pub rows: Option<u64>,
    /// Name and count of samples after each stage, in their order.
    pub samples: Vec<(String, u64)>,
    /// Samples after the last stage of data.
    pub last_samples: Option<u64>,
    /// What the last evaluation found.
    pub score: Option<Score>,
    /// Loss at the first and at the last step.
    pub loss: Option<(f64, f64)>,
    pub steps: Option<u64>,
    /// When the last stage was finished.
    pub finished: Option<SystemTime>,
    /// Stage, reason, rows.
    pub rejects: Vec<(String, String, u64)>,
}

/// An accuracy and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Score {
    pub of: String,
    /// From 0 to 1.
    pub accuracy: f64,
    pub questions: u64,
}

fn count(manifest: &Manifest, name: &str) -> Option<u64> {
    manifest.counts.get(name).copied()
}

impl Summary {
    /// The figures of these stages.
    pub(crate) fn of(stages: &[StageFolder]) -> Summary {
        let mut summary = Summary::default();
        let finished = || {
            let stages = stages.iter().filter(|s| s.is_training_data());
            stages.filter_map(|s| Some((s, s.manifest()?)))
        };
        let sum = |verb: &str, name: &str| -> Option<u64> {
            let counts = finished().filter(|(s, _)| s.verb == verb);
            counts
                .filter_map(|(_, m)| count(m, name))
                .reduce(|a, b| a.saturating_add(b))
        };
        let imported = sum("import", "samples");
        let rejected = sum("import", "rejects").unwrap_or(0);
        summary.rows = imported.map(|n| n.saturating_add(rejected));
        let mut samples = vec![
            ("rows of the sources", summary.rows),
            ("imported", imported),
            ("selected", sum("select", "samples")),
            ("held out", sum("select", "heldout").filter(|n| *n > 0)),
        ];
        let synth = finished().find(|(s, _)| s.verb == "synth").map(|(_, m)| m);
        let (wanted, read, kept) = synth.map(made).unwrap_or_default();
        if wanted > 0 {
            samples.push(("pairs asked of the teacher", Some(wanted)));
            samples.push(("pairs that came", Some(read)));
            samples.push(("pairs kept", Some(kept)));
        }
        samples.push(("with the made pairs", sum("synth", "samples")));
        samples.push(("trained on", sum("train", "samples")));
        let named = samples
            .into_iter()
            .filter_map(|(name, n)| Some((name.to_owned(), n?)));
        summary.samples = named.collect();
        summary.last_samples = ["synth", "select", "import"]
            .into_iter()
            .find_map(|verb| sum(verb, "samples"));
        summary.steps = sum("train", "steps");
        summary.finished = stages.iter().filter_map(|s| s.finished).max();
        for (_, manifest) in finished().filter(|(s, _)| s.verb == "train") {
            let number = |name: &str| manifest.results[name].as_f64().filter(|x| x.is_finite());
            summary.loss = number("first_loss").zip(number("final_loss"));
        }
        for stage in stages {
            let Some(manifest) = stage.manifest() else {
                continue;
            };
            summary.score = score(&stage.verb, &manifest.results).or(summary.score);
            for (reason, n) in reasons(&stage.verb, &manifest.results) {
                if summary.rejects.len() < MOST_REASONS {
                    summary.rejects.push((stage.label.clone(), reason, n));
                }
            }
        }
        summary
    }
}

/// Pairs asked for, that came, and that were kept, of all kinds.
fn made(manifest: &Manifest) -> (u64, u64, u64) {
    let yields = manifest.results["yields"].as_object();
    let kinds = yields.into_iter().flat_map(|kinds| kinds.values());
    kinds.fold((0, 0, 0), |(wanted, read, kept), kind| {
        let n = |name: &str| kind[name].as_u64().unwrap_or(0);
        (
            u64::saturating_add(wanted, n("wanted")),
            u64::saturating_add(read, n("read")),
            u64::saturating_add(kept, n("kept")),
        )
    })
}

/// A held-out evaluation's accuracy, or a benchmark's.
fn score(verb: &str, results: &Value) -> Option<Score> {
    let (of, accuracy, questions) = match verb {
        "eval" => {
            let model = &results["overall"]["model"];
            ("held out".to_owned(), &model["value"], &model["total"])
        }
        "benchmark" => {
            let name = results["benchmark"].as_str()?;
            let split = results["split"].as_str().unwrap_or_default();
            (
                format!("{name} {split}"),
                &results["accuracy"],
                &results["total"],
            )
        }
        _ => return None,
    };
    Some(Score {
        of,
        accuracy: accuracy.as_f64().filter(|x| x.is_finite())?,
        questions: questions.as_u64()?,
    })
}

/// Why rows went, where the manifest says; a synthesis says it by kind of pair.
fn reasons(verb: &str, results: &Value) -> Vec<(String, u64)> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |reasons: &Value| {
        for (reason, n) in reasons.as_object().into_iter().flatten() {
            let sum = found.entry(reason.clone()).or_default();
            *sum = sum.saturating_add(n.as_u64().unwrap_or(0));
        }
    };
    match verb {
        "synth" => {
            let kinds = results["yields"].as_object();
            kinds
                .into_iter()
                .flatten()
                .for_each(|(_, kind)| add(&kind["rejected"]));
        }
        "inspect" => add(&results["faults_by_reason"]),
        "grade" => add(&results["rejects"]),
        _ => add(&results["rejects_by_reason"]),
    }
    let mut found: Vec<(String, u64)> = found.into_iter().filter(|(_, n)| *n > 0).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found
}

/// `import ×4, inspect, select`: those that are finished, and those that are not.
pub(crate) fn stage_names(stages: &[StageFolder]) -> (String, String) {
    let named = |finished: bool| {
        let mut names: Vec<(&str, usize)> = Vec::new();
        let of = stages
            .iter()
            .filter(|s| matches!(s.state, State::Finished(_)) == finished);
        for stage in of {
            match names.last_mut().filter(|(verb, _)| *verb == stage.verb) {
                Some((_, n)) => *n += 1,
                None => names.push((&stage.verb, 1)),
            }
        }
        let names: Vec<String> = names
            .into_iter()
            .map(|(verb, n)| match n {
                1 => verb.to_owned(),
                n => format!("{verb} ×{n}"),
            })
            .collect();
        names.join(", ")
    };
    (named(true), named(false))
}
