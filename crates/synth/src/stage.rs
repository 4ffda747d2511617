//! The stage itself: ask, verify, write.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use chat::{ChatModel, Ledger, Request, Stopped, Tally};
use sample::{
    IMAGES, Manifest, PAIRS, REJECTS, SAMPLES, Shard, Stage, StageKey, interrupt, progress,
    rebase_root,
};

use crate::Error;
use crate::augmentation::{AUGMENTATIONS, KINDS};
use crate::candidate::Reader;
use crate::config::{Balance, Missing, NO_TEACHER, SynthConfig};
use crate::contamination::Contamination;
use crate::demonstrations::Bank;
use crate::output::TRAIN_JSON;
use crate::plan::{Plan, plan};
use crate::prompts::Prompts;
use crate::request::{Requests, Subject, subjects};
use crate::verify::{Decision, Name, Prover, Verifier};
use crate::writing::Writing;

/// Who takes part.
#[derive(Clone, Copy, Default)]
pub struct Roles<'a> {
    /// Makes the pairs.
    pub teacher: Option<&'a dyn ChatModel>,
    /// Answers blind; the teacher where there is none.
    pub verifier: Option<&'a dyn ChatModel>,
    /// Judges.
    pub judge: Option<&'a dyn ChatModel>,
    /// Computes answers.
    pub prover: Option<&'a dyn Prover>,
}

impl<'a> Roles<'a> {
    /// Who answers blind: nobody where the teacher is a program, whose answers are computed.
    pub(crate) fn blind(&self) -> Option<&'a dyn ChatModel> {
        self.verifier
            .or(self.teacher)
            .filter(|model| !model.reads_subject())
    }
}

fn name<'a>(model: &&'a dyn ChatModel) -> Name<'a> {
    (model.name(), model.reads_subject())
}

/// Where the stage reads.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The select folder.
    pub select: &'a Path,
    /// The inspect folder, whose benchmark questions must not come again.
    pub inspect: Option<&'a Path>,
}

/// Everything that a synthesis is about, before anything is asked.
pub struct Synthesis<'a> {
    pub(crate) config: &'a SynthConfig,
    pub(crate) run_seed: u64,
    pub(crate) prompts: Prompts,
    pub(crate) bank: Bank,
    pub(crate) subjects: Vec<Subject>,
    /// The subjects that are asked about: all, or a shard's.
    pub(crate) places: Vec<usize>,
    /// How many pairs of each kind are asked for.
    pub plan: Plan,
    contamination: Contamination,
}

impl<'a> Synthesis<'a> {
    /// Reads the selection and makes the plan.
    ///
    /// # Errors
    /// Where a setting cannot be right, or the input is not a finished selection.
    pub fn read(
        config: &'a SynthConfig,
        run_seed: u64,
        inputs: Inputs<'_>,
    ) -> Result<Synthesis<'a>, Error> {
        config.check()?;
        let prompts = Prompts::load(config.prompts.as_deref())?;
        let subjects = subjects(inputs.select)?;
        let nobody = config.teacher == NO_TEACHER;
        let questions = subjects.iter().flat_map(|s| &s.samples).map(|s| {
            let source = s.origin.source();
            (s.task, source, s.question.as_str(), s.image.sha256.as_str())
        });
        let bank = if nobody {
            Bank::build(std::iter::empty(), config.clusters, run_seed)
        } else {
            Bank::build(questions, config.clusters, run_seed)
        };
        let plan = if nobody {
            Plan {
                counts: vec![[0; KINDS]; subjects.len()],
                lines: Vec::new(),
            }
        } else {
            plan(config, run_seed, &subjects)
        };
        let threshold = config.verify.decontaminate;
        let contamination = Contamination::read(inputs.inspect, threshold, &subjects)?;
        Ok(Synthesis {
            config,
            run_seed,
            prompts,
            bank,
            places: (0..subjects.len()).collect(),
            subjects,
            plan,
            contamination,
        })
    }

    /// The same, asking only about the images of one shard. They are dealt by their digests, so that all
    /// that is asked about an image, however often it comes, is asked by one worker.
    #[must_use]
    pub fn of_shard(mut self, shard: Shard) -> Synthesis<'a> {
        let images = self.subjects.iter().map(|s| s.image.image.sha256.as_str());
        let own = shard.takes(images).into_iter().enumerate();
        self.places = own.filter_map(|(at, own)| own.then_some(at)).collect();
        self
    }

    /// How many images are asked about, and how many the selection has.
    pub fn images(&self) -> (usize, usize) {
        (self.places.len(), self.subjects.len())
    }

    /// Requests and pairs that are planned for the images that are asked about, by kind.
    pub(crate) fn planned(&self) -> [(u64, u64); KINDS] {
        let mut planned = [(0, 0); KINDS];
        for &at in &self.places {
            for (sum, count) in planned.iter_mut().zip(self.plan.counts[at]) {
                sum.0 += u64::from(count > 0);
                sum.1 += count as u64;
            }
        }
        planned
    }

    /// The requests, image by image.
    pub fn requests(&self) -> Requests<'_> {
        Requests {
            config: self.config,
            run_seed: self.run_seed,
            prompts: &self.prompts,
            bank: &self.bank,
            subjects: &self.subjects,
            plan: &self.plan,
        }
    }

    pub(crate) fn reader<'b>(
        &'b self,
        requests: &'b Requests<'b>,
        roles: &Roles<'b>,
        ledger: &'b Ledger,
    ) -> Option<Reader<'b>> {
        Some(Reader {
            requests,
            ledger,
            teacher: name(roles.teacher.as_ref()?),
            verify: &self.config.verify,
            contamination: &self.contamination,
        })
    }

    pub(crate) fn verifier<'b>(&'b self, roles: &Roles<'b>, ledger: &'b Ledger) -> Verifier<'b> {
        Verifier {
            config: &self.config.verify,
            run_seed: self.run_seed,
            prompts: &self.prompts,
            ledger,
            teacher_proves: roles.teacher.is_some_and(ChatModel::reads_subject),
            blind: roles.blind().as_ref().map(name),
            judge: roles.judge.as_ref().map(name),
            prover: roles.prover,
        }
    }
}

/// Makes pairs for the selection into the stage folder `out`; the result holds the original
/// questions as well. Without a teacher, which must be what `config` says, it holds those alone.
///
/// # Errors
/// Where the input is not a finished selection, the teacher fails or can answer nothing, or `out`
/// cannot be written. Replies that came before an error are on the ledger.
pub fn synthesise(
    config: &SynthConfig,
    run_seed: u64,
    inputs: Inputs<'_>,
    roles: Roles<'_>,
    ledger: &Ledger,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    check_roles(config, &roles)?;
    let source = Manifest::read(inputs.select)?;
    let key = stage_key(config, run_seed, inputs, &roles)?;
    if !force && let Some(done) = Stage::finished(out, &key)? {
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    let synthesis = Synthesis::read(config, run_seed, inputs)?;
    let requests = synthesis.requests();
    let reader = synthesis.reader(&requests, &roles, ledger);
    let verifier = synthesis.verifier(&roles, ledger);
    ask(&synthesis, reader.as_ref(), &verifier, &roles, ledger)?;
    let work = Writing {
        synthesis: &synthesis,
        reader: reader.as_ref(),
        verifier: &verifier,
        teacher: roles.teacher.map_or(NO_TEACHER, ChatModel::name),
    };
    let dropped = match config.balance {
        Balance::Keep => HashSet::new(),
        Balance::Trim => work.surplus()?,
    };
    let (mut manifest, yields) = work.write(&stage, ledger, &dropped)?;
    let requests: u64 = yields.yields.values().map(|y| y.requests).sum();
    let unanswerable: u64 = yields.yields.values().map(|y| y.unanswerable).sum();
    if let Some(teacher) = roles.teacher
        && requests > 0
        && unanswerable == requests
    {
        return Err(Error::Unanswerable {
            teacher: teacher.name().to_owned(),
            requests,
            detail: work.first_refusal()?,
        });
    }
    if roles.teacher.is_none() {
        progress::note("synth: no teacher is configured; the original questions are passed on");
    }
    for (source, root) in &source.image_roots {
        let root = rebase_root(inputs.select, root, out)?;
        manifest.image_roots.insert(source.clone(), root);
    }
    manifest.results = serde_json::json!({
        "teacher": work.teacher,
        "verifier": verifier.blind.map(|b| b.0),
        "judge": verifier.judge.map(|j| j.0),
        "benchmark_questions": synthesis.contamination.len(),
        "plan": synthesis.plan.lines,
        "yields": yields.yields,
        "by_source": yields.by_source,
    });
    Ok(stage.finish(manifest, &[SAMPLES, IMAGES, REJECTS, PAIRS, TRAIN_JSON])?)
}

/// Refuses settings that cannot be right, and a teacher that is named and not there.
pub(crate) fn check_roles(config: &SynthConfig, roles: &Roles<'_>) -> Result<(), Error> {
    config.check()?;
    if roles.teacher.is_none() && config.teacher != NO_TEACHER {
        let detail = format!(
            "synth: teacher = {:?}, but no such teacher is there",
            config.teacher
        );
        return Err(Error::Config(detail));
    }
    Ok(())
}

/// Has everything asked that is asked about the synthesis' images: pairs, votes, judgements.
pub(crate) fn ask(
    synthesis: &Synthesis<'_>,
    reader: Option<&Reader<'_>>,
    verifier: &Verifier<'_>,
    roles: &Roles<'_>,
    ledger: &Ledger,
) -> Result<(), Error> {
    if let (Some(teacher), Some(reader)) = (roles.teacher, reader) {
        make(synthesis, teacher, ledger)?;
        verify(synthesis, reader, verifier, roles, ledger)?;
    }
    Ok(())
}

pub(crate) fn stage_key(
    config: &SynthConfig,
    run_seed: u64,
    inputs: Inputs<'_>,
    roles: &Roles<'_>,
) -> Result<StageKey, Error> {
    let mut settings = serde_json::to_value(config).map_err(|e| Error::Config(e.to_string()))?;
    // Where prompts lie settles nothing; what they say does.
    settings["prompts"] = serde_json::Value::Null;
    settings["model"] = roles.teacher.map_or(NO_TEACHER, ChatModel::name).into();
    let blind = roles.blind().map(ChatModel::name);
    settings["verify"]["verifier"] = blind.into();
    settings["verify"]["judge"] = roles.judge.map(ChatModel::name).into();
    let digest = Manifest::digest(inputs.select)?;
    let mut key = StageKey::new("synth", run_seed, settings).input("select", &digest);
    if let Some(inspect) = inputs.inspect
        && roles.teacher.is_some()
    {
        key = key.input("inspect", &Manifest::digest(inspect)?);
    }
    if roles.teacher.is_some() {
        for (name, digest) in Prompts::load(config.prompts.as_deref())?.digests() {
            key = key.input(&name, &digest);
        }
    }
    Ok(key)
}

/// Asks for all pairs.
fn make(synthesis: &Synthesis<'_>, teacher: &dyn ChatModel, ledger: &Ledger) -> Result<(), Error> {
    let planned = synthesis.planned();
    let total: u64 = planned.iter().map(|(requests, _)| requests).sum();
    let pairs: Vec<String> = AUGMENTATIONS
        .iter()
        .zip(planned)
        .map(|(kind, (_, pairs))| format!("{} {pairs}", kind.name()))
        .collect();
    progress::note(&format!(
        "asking {} for pairs: {}, in {total} requests",
        teacher.name(),
        pairs.join(", ")
    ));
    let mut stream = synthesis.making();
    converse(
        teacher,
        &mut stream,
        ledger,
        "synth",
        total,
        synthesis.config,
    )
    .map(drop)
}

/// Has a stream of requests answered, under a bar.
fn converse(
    model: &dyn ChatModel,
    requests: &mut (dyn Iterator<Item = Request> + Send),
    ledger: &Ledger,
    label: &str,
    total: u64,
    config: &SynthConfig,
) -> Result<Tally, Error> {
    let bar = (label, total, "requests");
    let tally = chat::converse_with_bar(model, requests, ledger, bar).map_err(Error::Model)?;
    let teacher = model.name().to_owned();
    match &tally.stopped {
        Some(Stopped::Interrupted) => return Err(sample::Error::Interrupted.into()),
        Some(Stopped::Budget { spent, max }) => {
            return Err(Error::Budget {
                teacher,
                spent: *spent,
                max: *max,
            });
        }
        Some(stopped) => {
            return Err(Error::Missing {
                teacher,
                missing: tally.missing.max(1),
                detail: stopped.to_string(),
            });
        }
        None => {}
    }
    if tally.missing > 0 && config.missing == Missing::Error {
        return Err(Error::Missing {
            teacher,
            missing: tally.missing,
            detail: tally.first_missing.clone().unwrap_or_default(),
        });
    }
    Ok(tally)
}

/// Asks for blind answers, and then for judgements, until nothing is open that gets a reply.
fn verify(
    synthesis: &Synthesis<'_>,
    reader: &Reader<'_>,
    verifier: &Verifier<'_>,
    roles: &Roles<'_>,
    ledger: &Ledger,
) -> Result<(), Error> {
    let steps = [("verify", roles.blind()), ("judge", roles.judge)];
    for (kind, model) in steps {
        let Some(model) = model else { continue };
        // Each round asks for the next vote of those that are still open.
        loop {
            interrupt::check()?;
            let failure: Mutex<Option<Error>> = Mutex::new(None);
            let mut open = synthesis.places.iter().flat_map(|&at| {
                match open_requests(synthesis, reader, verifier, at, kind) {
                    Ok(requests) => requests,
                    Err(error) => {
                        if let Ok(mut failure) = failure.lock() {
                            failure.get_or_insert(error);
                        }
                        Vec::new()
                    }
                }
            });
            let total = synthesis.planned().iter().map(|(_, pairs)| pairs).sum();
            let tally = converse(model, &mut open, ledger, kind, total, synthesis.config)?;
            drop(open);
            if let Ok(Some(error)) = failure.into_inner() {
                return Err(error);
            }
            if tally.answered + tally.refused == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn open_requests(
    synthesis: &Synthesis<'_>,
    reader: &Reader<'_>,
    verifier: &Verifier<'_>,
    at: usize,
    kind: &str,
) -> Result<Vec<Request>, Error> {
    let mut open = Vec::new();
    for candidate in reader.read(at)?.pairs.into_iter().flatten() {
        let outcome = verifier.decide(&candidate, &synthesis.subjects[at])?;
        if let Decision::Open(request) = outcome.decision
            && request.tag.kind == kind
        {
            open.push(*request);
        }
    }
    Ok(open)
}
