//! Where a pair came from, step by step: the row of a data set at the root, then each pair that was made of
//! it with the request that made it, down to the one that is looked at.

use std::sync::Arc;

use sample::{MadePair, Manifest, Origin, Sample};

use super::index::Index;
use super::ledger::{self, Request};
use super::listing::Kind;
use super::opened::Halt;
use super::{Opening, PATIENCE};
use crate::Studio;

/// Pairs are made of pairs no deeper than this; more is a circle.
const DEEPEST: usize = 16;

/// A step of a lineage.
#[derive(Debug)]
pub(super) struct Step {
    /// The pair's name.
    pub id: String,
    /// What it asks.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// How it was made, but for the root.
    pub made: Option<Made>,
    /// Whether a page can be made of it.
    pub listed: bool,
}

/// How a pair was made.
#[derive(Debug)]
pub(super) struct Made {
    /// `askimg`, ...
    pub kind: String,
    /// The teacher's name, where the sample says.
    pub teacher: Option<String>,
    /// SHA-256 of the request.
    pub digest: String,
    /// What the ledger says, or why it does not.
    pub request: Result<Option<Request>, String>,
    /// What was found out about it: votes, verdict.
    pub pair: Option<MadePair>,
}

/// A lineage, and what else is known of its end.
#[derive(Debug)]
pub(super) struct Lineage {
    /// The source data set.
    pub source: String,
    /// What its import says of it: title, licence, address.
    pub about: Vec<(&'static str, String)>,
    /// The root's row in the data set.
    pub row: Option<String>,
    /// From the root to the pair that is looked at; the root may not be known.
    pub steps: Vec<Step>,
    /// Where the pair was rejected: stage, reason, detail.
    pub rejected: Vec<[String; 3]>,
}

/// Finds the lineage of a sample, on a thread that may wait.
pub(super) fn of_sample(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    sample: &Sample,
) -> Result<Lineage, Halt> {
    let made = made(studio, opening, sample)?;
    let last = Step {
        id: sample.id.clone(),
        question: sample.question.clone(),
        answer: sample.answer_value(),
        made,
        listed: true,
    };
    let parent = match &sample.origin {
        Origin::Synth { parent, .. } => Some(parent.clone()),
        Origin::Source { .. } => None,
    };
    let row = match &sample.origin {
        Origin::Source { row, .. } => Some(row.clone()),
        Origin::Synth { .. } => None,
    };
    let end = End {
        last,
        parent,
        row,
        source: sample.origin.source().to_owned(),
        image: sample.image.path.clone(),
    };
    climb(studio, opening, index, end)
}

/// Finds the lineage of a pair that may not have become a sample.
pub(super) fn of_pair(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    pair: MadePair,
) -> Result<Lineage, Halt> {
    let (source, image) = (pair.source.clone(), pair.image.clone());
    let parent = Some(pair.parent.clone());
    let last = Step {
        id: pair.id.clone(),
        question: pair.question.clone(),
        answer: pair.answer.clone(),
        made: Some(Made {
            kind: pair.kind.clone(),
            teacher: None,
            request: ledger::request(&opening.run.path, &pair.digest),
            digest: pair.digest.clone(),
            pair: Some(pair),
        }),
        listed: true,
    };
    let end = End {
        last,
        parent,
        row: None,
        source,
        image,
    };
    climb(studio, opening, index, end)
}

/// The end of a lineage, from which it is climbed.
struct End {
    last: Step,
    parent: Option<String>,
    row: Option<String>,
    source: String,
    image: String,
}

fn climb(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    end: End,
) -> Result<Lineage, Halt> {
    let End {
        last,
        mut parent,
        mut row,
        source,
        image,
    } = end;
    let mut rejected = rejects(studio, opening, &last.id)?;
    rejected.extend(rejects(studio, opening, &image)?);
    let mut steps = vec![last];
    while let Some(id) = parent.take() {
        if steps.len() == DEEPEST || steps.iter().any(|step| step.id == id) {
            break;
        }
        let step = match find(studio, opening, Some(index), &id)? {
            Some((index, at)) if index.listed.kind == Kind::Samples => {
                let sample = index.sample(at)?;
                match &sample.origin {
                    Origin::Synth { parent: above, .. } => parent = Some(above.clone()),
                    Origin::Source { row: own, .. } => row = Some(own.clone()),
                }
                Step {
                    made: made(studio, opening, &sample)?,
                    answer: sample.answer_value(),
                    question: sample.question,
                    id,
                    listed: true,
                }
            }
            // What the pair's own row says of it.
            _ => {
                let of = steps
                    .last()
                    .and_then(|step| step.made.as_ref()?.pair.as_ref());
                let (question, answer) = of
                    .map(|pair| (pair.parent_question.clone(), pair.parent_answer.clone()))
                    .unwrap_or_default();
                Step {
                    id,
                    question,
                    answer,
                    made: None,
                    listed: false,
                }
            }
        };
        steps.push(step);
    }
    steps.reverse();
    Ok(Lineage {
        about: about(opening, &source),
        source,
        row,
        steps,
        rejected,
    })
}

/// The row of that name: in this table, else in any table of samples, else among the made pairs.
pub(super) fn find(
    studio: &Studio,
    opening: &Opening,
    first: Option<&Arc<Index>>,
    id: &str,
) -> Result<Option<(Arc<Index>, usize)>, Halt> {
    if let Some(index) = first
        && let Some(row) = index.named(id).first().copied()
    {
        return Ok(Some((Arc::clone(index), row)));
    }
    for kind in [Kind::Samples, Kind::Pairs] {
        // The later the stage, the more is known; and of an import only the source's own can have it.
        for listed in opening
            .tables
            .iter()
            .rev()
            .filter(|table| table.kind == kind)
        {
            let source = id.split_once(':').map_or("", |(source, _)| source);
            let import = listed.stage.name.strip_prefix("import/");
            let elsewhere = import.is_some_and(|import| import != source);
            if elsewhere || first.is_some_and(|index| index.listed.name == listed.name) {
                continue;
            }
            let index = studio.index(opening, listed, PATIENCE)?;
            if let Some(row) = index.named(id).first().copied() {
                return Ok(Some((index, row)));
            }
        }
    }
    Ok(None)
}

fn made(studio: &Studio, opening: &Opening, sample: &Sample) -> Result<Option<Made>, Halt> {
    let Origin::Synth {
        augmentation,
        teacher,
        prompt_digest,
        ..
    } = &sample.origin
    else {
        return Ok(None);
    };
    let mut pair = None;
    for listed in opening
        .tables
        .iter()
        .filter(|table| table.kind == Kind::Pairs)
    {
        let index = studio.index(opening, listed, PATIENCE)?;
        if let Some(row) = index.named(&sample.id).first().copied() {
            pair = Some(index.pair(row)?);
        }
    }
    Ok(Some(Made {
        kind: augmentation.clone(),
        teacher: Some(teacher.clone()),
        digest: prompt_digest.clone(),
        request: ledger::request(&opening.run.path, prompt_digest),
        pair,
    }))
}

/// Where something of that name was rejected after its import.
fn rejects(studio: &Studio, opening: &Opening, name: &str) -> Result<Vec<[String; 3]>, Halt> {
    let mut found = Vec::new();
    let later = |table: &&super::Listed| {
        table.kind == Kind::Rejects && !table.stage.name.starts_with("import")
    };
    for listed in opening.tables.iter().filter(later) {
        let index = studio.index(opening, listed, PATIENCE)?;
        for row in index.named(name).into_iter().take(10) {
            let reject = index.reject(row)?;
            found.push([listed.stage.name.clone(), reject.reason, reject.detail]);
        }
    }
    Ok(found)
}

/// What the import of a source says of it.
fn about(opening: &Opening, source: &str) -> Vec<(&'static str, String)> {
    let name = format!("import/{source}");
    let stage = opening.stages.iter().find(|stage| stage.name == name);
    let Some(manifest) = stage.and_then(|stage| Manifest::read(&stage.path).ok()) else {
        return Vec::new();
    };
    ["title", "licence", "url", "citation"]
        .into_iter()
        .filter_map(|key| {
            let text = manifest.results.get(key)?.as_str()?.trim();
            (!text.is_empty()).then(|| (key, text.to_owned()))
        })
        .collect()
}
