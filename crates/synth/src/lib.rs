//! The synth stage: new questions and answers about the selected images, from a teacher.
//!
//! Section 3 of the paper: from one pair for each of 40,000 images to nine, by four kinds of
//! [`Augmentation`]. The teacher is any [`ChatModel`]: a program that reads a figure's scene, or a
//! model that looks. Its replies go on [record](replies) before they are used, so a stopped stage
//! asks nobody twice; what they say is [read](reply) by one parser, [checked](check) for its form,
//! and either becomes a sample that names its parent and request, or a reject with a reason.

pub mod augmentation;
pub mod check;
mod config;
pub mod demonstrations;
pub mod form;
mod kinds;
pub mod near;
mod output;
pub mod replies;
pub mod reply;
mod request;
mod round;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use chat::{ChatModel, Finish, Reply};
use sample::{
    IMAGES, ImageRow, Manifest, Origin, REJECTS, Reject, SAMPLES, Sample, Stage, StageKey,
    interrupt, progress, read_table, rebase_root, resolve_image,
};
use serde::Serialize;

pub use augmentation::{AUGMENTATIONS, Augmentation};
pub use config::{NO_TEACHER, SynthConfig};
use output::Output;
pub use output::TRAIN_JSON;
use replies::{REPLIES, Replies};
use request::Subject;
use round::{One, Outcome, Round};

/// Requests that are sent together.
const BATCH: usize = 256;

/// What can go wrong with a whole synthesis; single pairs become rejects instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records, tables, manifests, or the operating system.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// A setting that cannot be right.
    #[error("{0}")]
    Config(String),
    /// The teacher can answer nothing of what it is asked.
    #[error(
        "the teacher {teacher:?} can answer none of the {requests} requests; of the first it says: \
         {detail}. Configure a teacher that can, or teacher = \"none\" to train on the original \
         questions alone"
    )]
    Unanswerable {
        /// The teacher.
        teacher: String,
        /// How many there were.
        requests: u64,
        /// The teacher's own words on the first.
        detail: String,
    },
    /// The teacher failed; its replies so far are on record.
    #[error(
        "the teacher failed on {failed} of {sent} requests: {detail}. The {answered} replies so \
         far are on record; the same command goes on from there"
    )]
    Failed {
        /// Requests without a reply.
        failed: usize,
        /// Requests of the batch.
        sent: usize,
        /// Replies of the batch.
        answered: usize,
        /// The first failure.
        detail: String,
    },
    /// A teacher that answers fewer requests than it was given.
    #[error("the teacher {teacher:?} gave {replies} replies to {requests} requests: it is broken")]
    Protocol {
        /// The teacher.
        teacher: String,
        /// What came.
        replies: usize,
        /// What was sent.
        requests: usize,
    },
}

/// What became of the requests of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Yield {
    requests: u64,
    unanswerable: u64,
    wanted: u64,
    read: u64,
    kept: u64,
    rejected: BTreeMap<&'static str, u64>,
}

/// Makes pairs for the select folder `input` into the stage folder `out`; the result holds the
/// original questions as well. Without a teacher, which must be what `config` says, it holds those
/// alone.
///
/// # Errors
/// Where the input is not a finished selection, the teacher fails or can answer nothing, or `out`
/// cannot be written. Replies that came before an error are kept.
pub fn synthesise(
    config: &SynthConfig,
    run_seed: u64,
    input: &Path,
    teacher: Option<&dyn ChatModel>,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    synthesise_in_batches(config, run_seed, input, teacher, out, force, BATCH)
}

fn synthesise_in_batches(
    config: &SynthConfig,
    run_seed: u64,
    input: &Path,
    teacher: Option<&dyn ChatModel>,
    out: &Path,
    force: bool,
    batch: usize,
) -> Result<Manifest, Error> {
    config.check()?;
    if teacher.is_none() && config.teacher != NO_TEACHER {
        let detail = format!(
            "synth: teacher = {:?}, but no such teacher is there",
            config.teacher
        );
        return Err(Error::Config(detail));
    }
    let kinds = if teacher.is_some() {
        config.kinds()
    } else {
        Vec::new()
    };
    let source = Manifest::read(input)?;
    let key = stage_key(config, run_seed, input, teacher, &kinds)?;
    if !force && let Some(done) = Stage::finished(out, &key)? {
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    let subjects = subjects(input)?;
    let bank = request::bank(&subjects);
    let mut output = Output::create(&stage)?;
    let mut replies = Replies::open(&stage.path(REPLIES))?;
    let mut yields: BTreeMap<&str, Yield> = BTreeMap::new();
    let mut refusal = None;

    let bar = progress::bar("synth", subjects.len() as u64, "images");
    let per_batch = (batch / kinds.len().max(1)).max(1);
    for chunk in subjects.chunks(per_batch) {
        interrupt::check()?;
        let mut round = Round {
            config,
            run_seed,
            kinds: &kinds,
            bank: &bank,
            asked: Vec::new(),
        };
        round.build(
            chunk,
            |path| Ok(resolve_image(input, &source.image_roots, path)?),
            teacher,
        );
        if let Some(teacher) = teacher {
            round.ask(teacher, &mut replies)?;
        }
        let mut asked = round.asked.into_iter().peekable();
        for (at, subject) in chunk.iter().enumerate() {
            let mut questions: Vec<String> = subject
                .samples
                .iter()
                .map(|s| check::same(&s.question))
                .collect();
            output.original(subject)?;
            while let Some(one) = asked.next_if(|one| one.subject == at) {
                let tally = yields.entry(one.kind.name()).or_default();
                tally.requests += 1;
                tally.wanted += one.count as u64;
                if let Outcome::Unanswerable(detail) = &one.outcome {
                    refusal.get_or_insert_with(|| detail.clone());
                }
                take(&one, &replies, tally, &mut questions, &mut output)?;
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();

    let requests: u64 = yields.values().map(|y| y.requests).sum();
    let unanswerable: u64 = yields.values().map(|y| y.unanswerable).sum();
    if let (Some(teacher), Some(detail)) = (teacher, refusal)
        && unanswerable == requests
    {
        let teacher = teacher.name().to_owned();
        return Err(Error::Unanswerable {
            teacher,
            requests,
            detail,
        });
    }
    if teacher.is_none() {
        progress::note("synth: no teacher is configured; the original questions are passed on");
    }
    let mut manifest = output.finish(&stage)?;
    for (source, root) in &source.image_roots {
        manifest
            .image_roots
            .insert(source.clone(), rebase_root(input, root, out)?);
    }
    manifest.results = serde_json::json!({
        "teacher": teacher.map_or(NO_TEACHER, ChatModel::name),
        "yields": yields,
    });
    Ok(stage.finish(manifest, &[SAMPLES, IMAGES, REJECTS, TRAIN_JSON])?)
}

fn stage_key(
    config: &SynthConfig,
    run_seed: u64,
    input: &Path,
    teacher: Option<&dyn ChatModel>,
    kinds: &[(&'static dyn Augmentation, usize)],
) -> Result<StageKey, Error> {
    let mut settings = serde_json::to_value(config).map_err(|e| Error::Config(e.to_string()))?;
    settings["model"] = teacher.map_or(NO_TEACHER, ChatModel::name).into();
    let mut key =
        StageKey::new("synth", run_seed, settings).input("select", &Manifest::digest(input)?);
    for (kind, _) in kinds {
        let digest = sample::sha256_hex(kind.prompt_file().as_bytes());
        key = key.input(&format!("prompts/{}.txt", kind.name()), &digest);
    }
    Ok(key)
}

/// The images in the selection's order, each with its questions.
fn subjects(input: &Path) -> Result<Vec<Subject>, Error> {
    let images: Vec<ImageRow> = read_table(&input.join(IMAGES))?;
    let mut by_path: HashMap<String, Vec<Sample>> = HashMap::new();
    for sample in read_table::<Sample>(&input.join(SAMPLES))? {
        by_path
            .entry(sample.image.path.clone())
            .or_default()
            .push(sample);
    }
    let with_samples = |image: ImageRow| {
        let samples = by_path.remove(&image.image.path).unwrap_or_default();
        Subject { image, samples }
    };
    let subjects = images.into_iter().map(with_samples).collect();
    match by_path.keys().min() {
        None => Ok(subjects),
        Some(path) => {
            let detail = format!("{path} is not in the images table beside it");
            Err(sample::Error::format(input.join(SAMPLES), detail).into())
        }
    }
}

/// Turns what came of a request into samples and rejects.
fn take(
    one: &One<'_>,
    replies: &Replies,
    tally: &mut Yield,
    questions: &mut Vec<String>,
    output: &mut Output,
) -> Result<(), Error> {
    let source = one.parent.origin.source();
    let reject = |row: String, reason: &'static str, detail: String| {
        (
            reason,
            Reject {
                source: source.to_owned(),
                row,
                reason: reason.to_owned(),
                detail,
            },
        )
    };
    let mut refuse = |(reason, reject): (&'static str, Reject), output: &mut Output| {
        *tally.rejected.entry(reason).or_default() += 1;
        output.reject(reject)
    };
    let reply: &Reply = match (&one.outcome, replies.get(&one.digest)) {
        (Outcome::Unanswerable(detail), _) => {
            tally.unanswerable += 1;
            return refuse(
                reject(one.request.id.clone(), "unanswerable", detail.clone()),
                output,
            );
        }
        (_, Some(reply)) => reply,
        (_, None) => {
            let detail = "the request was not answered".to_owned();
            return refuse(reject(one.request.id.clone(), "unanswered", detail), output);
        }
    };
    let pairs = reply::parse(&reply.text);
    if pairs.is_empty() {
        let reason = if reply.finish == Finish::Length {
            "reply_cut"
        } else {
            "reply_unparsable"
        };
        let start: String = reply.text.chars().take(200).collect();
        let detail = format!("no pair in the reply {start:?}");
        return refuse(reject(one.request.id.clone(), reason, detail), output);
    }
    for (n, pair) in pairs.iter().enumerate() {
        tally.read += 1;
        let id = format!("{}{}", one.request.id, n + 1);
        if n >= one.count {
            let detail = format!("{} pairs where {} were wanted", pairs.len(), one.count);
            refuse(reject(id, "surplus", detail), output)?;
            continue;
        }
        match check::check(one.kind, one.parent, pair, questions) {
            Err((reason, detail)) => refuse(reject(id, reason, detail), output)?,
            Ok(checked) => {
                tally.kept += 1;
                questions.push(check::same(&checked.question));
                output.pair(Sample {
                    id,
                    image: one.parent.image.clone(),
                    question: checked.question,
                    choices: checked.choices,
                    answer: checked.answer,
                    unit: checked.unit,
                    rationale: None,
                    task: one.parent.task,
                    language: one.parent.language.clone(),
                    origin: Origin::Synth {
                        source: source.to_owned(),
                        augmentation: one.kind.name().to_owned(),
                        parent: one.parent.id.clone(),
                        teacher: one.teacher.clone(),
                        prompt_digest: one.digest.clone(),
                    },
                    template: checked.template,
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
