//! One model over one benchmark: ask, read, score, sum up.

use std::path::Path;

use sample::benchmark::{BenchmarkScore, ItemScore};
use sample::scores::Reading;
use sample::{Error as SampleError, Manifest, Stage, StageKey};
use serde_json::json;

use super::folder::{self, ASKED, EXTRACTIONS, Extracted, ITEMS, SCORES};
use super::judge::{Judge, Sitting};
use super::plan::Plan;
use super::responses::{self, Candidate, Gathered, RESPONSES, Response, Through};
use super::shard;
use crate::{Answer, Error, Extraction, Scoring, digest, score};

/// A stage of a run, to begin again from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Ask.
    Responses,
    /// Find answers in replies.
    Extractions,
    /// Decide.
    Scores,
}

/// What of an earlier run is done again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Again {
    /// Replace what another configuration left.
    pub force: bool,
    /// Do this stage again and those after it, with what lies on disk of those before.
    pub from: Option<Step>,
}

/// Runs a candidate over a planned benchmark in `folder`.
///
/// A folder that holds the finished result of the same question, model and settings is left as it is; a
/// half-finished one is gone on with, and what shards left there ([`super::run_shard`]) is taken.
///
/// # Errors
/// Where the folder holds something else, a model fails, or a judge is wanted and none is given;
/// replies that came before are kept.
pub fn run(
    plan: &Plan<'_>,
    candidate: &Candidate<'_>,
    judge: Option<&Judge<'_>>,
    folder: &Path,
    again: Again,
) -> Result<BenchmarkScore, Error> {
    let judge = match (plan.config.extraction, judge) {
        (Extraction::Judge, None) => {
            return Err(Error::Benchmark {
                benchmark: plan.name().to_owned(),
                detail:
                    "extraction = \"judge\" wants a judge: give [judge] with server = \"NAME\" of \
                         a [teachers.NAME] section, or take \"official\" or \"extended\""
                        .to_owned(),
            });
        }
        (Extraction::Judge, judge) => judge,
        _ => None,
    };
    let asked = asked_key(plan, candidate);
    let key = whole_key(plan, judge, asked.clone());
    let ask_again = again.force || again.from == Some(Step::Responses);
    if !ask_again && again.from.is_none() {
        match Manifest::read_if_any(folder)? {
            Some(found) if found.key == key => return results(folder, found),
            Some(found) if folder::has_replies_to(folder, &asked)? => {
                return Err(read_otherwise(folder, &found.key, &key));
            }
            _ => {}
        }
    }
    // What another key left is told apart by `asked.json`, before anything is touched.
    let goes_on = !ask_again && folder::has_replies_to(folder, &asked)?;
    let gathered = match again.from {
        None => shard::gather(plan, candidate, folder, &asked, again.force)?,
        Some(_) => Gathered::default(),
    };
    if ask_again {
        shard::clear(
            plan,
            candidate,
            folder,
            &asked,
            again.from == Some(Step::Responses),
        )?;
    }
    let stage = Stage::begin(folder, key, true)?;
    if !goes_on {
        folder::claim(&stage, &asked)?;
    }
    folder::write_lines(&stage.path(ITEMS), &folder::items(plan))?;

    let replies = match again.from {
        Some(Step::Extractions | Step::Scores) => kept(plan, &stage)?,
        _ => {
            let all = plan.part(candidate.through.batch(), None);
            let path = stage.path(RESPONSES);
            responses::ask(plan, &all, candidate, &gathered, &path)?
        }
    };
    let answers = in_the_items_order(plan, &replies);

    let mut sitting = Sitting::default();
    let extracted = match again.from {
        Some(Step::Scores) => {
            let lines: Vec<Extracted> = folder::read_lines(&stage.path(EXTRACTIONS))?;
            matching(plan, lines, &stage)?
        }
        _ => {
            let lines = extract(plan, &answers, judge, &mut sitting)?;
            folder::write_lines(&stage.path(EXTRACTIONS), &lines)?;
            lines
        }
    };

    let scored = decide(plan, &answers, &extracted);
    folder::write_lines(&stage.path(SCORES), &scored)?;
    let mut total = score::total(
        plan.benchmark,
        plan.split,
        &plan.items,
        &plan.config.scoring(),
        &scored,
    );
    total.model.clone_from(&candidate.name);
    total.remarks = remarks(plan, &answers, &extracted, &scored, &sitting);
    provenance(plan, candidate, judge, &sitting, &mut total);
    finish(plan, stage, &replies, &total)?;
    Ok(total)
}

/// What settles the replies.
pub(super) fn asked_key(plan: &Plan<'_>, candidate: &Candidate<'_>) -> StageKey {
    let config = json!({
        "benchmark": plan.name(),
        "split": plan.split,
        "limit": plan.config.limit,
        "images": plan.config.images,
        "max_new_tokens": plan.config.max_new_tokens,
        "temperature": candidate.temperature,
        "candidate": candidate.name,
        "place": candidate.place,
    });
    StageKey::new("benchmark", plan.seed, config)
        .input("data", &plan.data)
        .input("images", &plan.shown)
        .input("prompt", &plan.prompt)
        .input("model", &candidate.identity)
}

/// What settles the score: the replies, and how they are read.
fn whole_key(plan: &Plan<'_>, judge: Option<&Judge<'_>>, asked: StageKey) -> StageKey {
    let mut key = asked;
    key.config["version"] = plan.benchmark.version().into();
    key.config["dialect"] = json!(plan.config.dialect);
    key.config["extraction"] = json!(plan.config.extraction);
    key.config["strict"] = plan.config.strict.into();
    match judge {
        Some(judge) => key.input("judge", &judge.identity),
        None => key,
    }
}

fn read_otherwise(folder: &Path, found: &StageKey, wanted: &StageKey) -> Error {
    SampleError::Conflict(format!(
        "{} holds the same replies, read otherwise ({}). Give --from extractions to keep the replies \
         and read them again, or choose another output folder",
        folder.display(),
        found.differences(wanted)
    ))
    .into()
}

fn results(folder: &Path, manifest: Manifest) -> Result<BenchmarkScore, Error> {
    let read = serde_json::from_value(manifest.results);
    Ok(read.map_err(|e| SampleError::format(folder.join("manifest.json"), e))?)
}

/// The replies on disk, which must be to all questions.
fn kept(plan: &Plan<'_>, stage: &Stage) -> Result<Vec<Response>, Error> {
    let path = stage.path(RESPONSES);
    let lines: Vec<Response> = if path.is_file() {
        folder::read_lines(&path)?
    } else {
        Vec::new()
    };
    let ids = plan.order.iter().map(|&at| plan.items[at].id.as_str());
    if lines.len() != plan.order.len() || !lines.iter().map(|l| l.id.as_str()).eq(ids) {
        return Err(Error::Data {
            path,
            detail: format!(
                "has {} of {} replies; ask for the rest first, without --from",
                lines.len(),
                plan.order.len()
            ),
        });
    }
    Ok(lines)
}

fn in_the_items_order(plan: &Plan<'_>, replies: &[Response]) -> Vec<Answer> {
    let mut answers = vec![Answer::default(); plan.items.len()];
    for (&at, reply) in plan.order.iter().zip(replies) {
        answers[at] = reply.into();
    }
    answers
}

/// Extractions on disk, which must be of these questions in this order.
fn matching(
    plan: &Plan<'_>,
    lines: Vec<Extracted>,
    stage: &Stage,
) -> Result<Vec<Extracted>, Error> {
    let ids = plan.items.iter().map(|item| item.id.as_str());
    if lines.iter().map(|line| line.id.as_str()).eq(ids) {
        return Ok(lines);
    }
    Err(Error::Data {
        path: stage.path(EXTRACTIONS),
        detail: "does not have one line for each question, in order; make it again with --from \
                 extractions"
            .to_owned(),
    })
}

/// How rules find answers, before a judge is asked.
fn rules(how: Scoring) -> Scoring {
    Scoring {
        extraction: match how.extraction {
            Extraction::Judge => Extraction::Official,
            other => other,
        },
        ..how
    }
}

fn extract(
    plan: &Plan<'_>,
    answers: &[Answer],
    judge: Option<&Judge<'_>>,
    sitting: &mut Sitting,
) -> Result<Vec<Extracted>, Error> {
    let rules = rules(plan.config.scoring());
    let mut lines: Vec<Extracted> = plan
        .benchmark
        .score(&plan.items, answers, &rules)
        .into_iter()
        .map(|score| Extracted {
            id: score.id,
            extraction: score.extraction,
            mode: rules.extraction.name().to_owned(),
            verdict: None,
        })
        .collect();
    let Some(judge) = judge else {
        return Ok(lines);
    };
    let pairs = || plan.items.iter().zip(answers).enumerate();
    let open: Vec<(usize, String)> = pairs()
        .filter_map(|(at, (item, answer))| {
            let prompt = plan
                .benchmark
                .judge_extraction(item, answer.response.as_deref()?)?;
            Some((at, prompt))
        })
        .collect();
    let said = judge.ask(plan, "extract", &open, sitting)?;
    for ((at, _), said) in open.iter().zip(said) {
        if said.is_some() {
            lines[*at].extraction = said;
            Extraction::Judge.name().clone_into(&mut lines[*at].mode);
        }
    }
    let found: Vec<(usize, String)> = pairs()
        .filter_map(|(at, (item, _))| {
            let found = lines[at].extraction.as_deref()?;
            Some((at, plan.benchmark.judge_verdict(item, found)?))
        })
        .collect();
    let said = judge.ask(plan, "verdict", &found, sitting)?;
    for ((at, _), said) in found.iter().zip(said) {
        lines[*at].verdict = said.and_then(|said| plan.benchmark.judged(&said));
    }
    Ok(lines)
}

/// Scores replies with what was found in them. An extraction that the rules find again is left to
/// them; one that they do not find is a judge's, or was put in by hand, and is taken as it stands.
fn decide(plan: &Plan<'_>, answers: &[Answer], extracted: &[Extracted]) -> Vec<ItemScore> {
    let how = plan.config.scoring();
    let score = |answers: &[Answer], how: Scoring| plan.benchmark.score(&plan.items, answers, &how);
    let again = score(answers, rules(how));
    let mut given = answers.to_vec();
    let mut others = false;
    for ((answer, line), own) in given.iter_mut().zip(extracted).zip(&again) {
        if line.extraction != own.extraction {
            others = true;
            answer.extraction = Some(line.extraction.clone().unwrap_or_default());
        }
    }
    let mut scored = if others { score(&given, how) } else { again };
    for (score, line) in scored.iter_mut().zip(extracted) {
        if let Some(verdict) = line.verdict {
            score.correct = verdict;
        }
    }
    scored
}

/// What a reader must know before quoting the score.
fn remarks(
    plan: &Plan<'_>,
    answers: &[Answer],
    extracted: &[Extracted],
    scored: &[ItemScore],
    sitting: &Sitting,
) -> Vec<String> {
    let mut remarks = Vec::new();
    if plan.items.len() < plan.all {
        remarks.push(format!(
            "{} of {} questions, drawn by seed {}: not the benchmark's score",
            plan.items.len(),
            plan.all,
            plan.seed
        ));
    }
    if plan.unaskable() > 0 {
        let why = plan.images.iter().find_map(|i| i.as_ref().err());
        remarks.push(format!(
            "{} questions could not be asked, since an image cannot be shown (first: {})",
            plan.unaskable(),
            why.map_or("", String::as_str)
        ));
    }
    if plan.several_images > 0 {
        remarks.push(format!(
            "{} questions have several images; shown: {}. Models that were taught with one image, as \
             LLaVA-1.5 was, see something new in them",
            plan.several_images,
            match plan.config.images {
                super::Shown::All => "all, in order, before the text",
                super::Shown::First => "the first",
                super::Shown::None => "none",
            }
        ));
    }
    let how = plan.config.scoring();
    let read = |extraction| {
        let how = Scoring { extraction, ..how };
        plan.benchmark.score(&plan.items, answers, &how)
    };
    let (official, extended) = (read(Extraction::Official), read(Extraction::Extended));
    let everywhere = vec![true; scored.len()];
    remarks.push(agreement(
        "official and extended rules",
        &official,
        &extended,
        &everywhere,
    ));
    if how.extraction == Extraction::Judge {
        let judged: Vec<bool> = extracted.iter().map(|l| l.mode == "judge").collect();
        let n = judged.iter().filter(|judged| **judged).count();
        remarks.push(format!(
            "{n} replies were read by the judge, the rest by the official rules"
        ));
        remarks.push(agreement(
            "official rules and judge",
            &official,
            scored,
            &judged,
        ));
        remarks.push(agreement(
            "extended rules and judge",
            &extended,
            scored,
            &judged,
        ));
        if sitting.refused > 0 {
            remarks.push(format!(
                "{} of {} prompts got no reply from the judge; there the rules decide",
                sitting.refused, sitting.asked
            ));
        }
    }
    remarks
}

/// How often two ways to read replies find the same, where both find something.
fn agreement(what: &str, one: &[ItemScore], other: &[ItemScore], at: &[bool]) -> String {
    let read = |score: &ItemScore| {
        score.reading == Reading::Parsed && !score.fallback && score.prediction.is_some()
    };
    let (mut both, mut same, mut first, mut second) = (0, 0, 0, 0);
    for ((one, other), _) in one.iter().zip(other).zip(at).filter(|(_, at)| **at) {
        match (read(one), read(other)) {
            (true, true) => {
                both += 1;
                same += u64::from(one.prediction == other.prediction);
            }
            (true, false) => first += 1,
            (false, true) => second += 1,
            (false, false) => {}
        }
    }
    format!(
        "{what}: of {both} replies that both read, {same} the same; {first} read by the first alone, \
         {second} by the second alone"
    )
}

fn provenance(
    plan: &Plan<'_>,
    candidate: &Candidate<'_>,
    judge: Option<&Judge<'_>>,
    sitting: &Sitting,
    total: &mut BenchmarkScore,
) {
    let mut put = |name: &str, value: String| drop(total.provenance.insert(name.into(), value));
    put("benchmark", plan.benchmark.version().to_owned());
    put("data", plan.data.clone());
    put("images", plan.shown.clone());
    put("model", candidate.identity.clone());
    put("prompt", plan.prompt.clone());
    put(
        "sampling",
        format!(
            "temperature {}, at most {} tokens, seed {}",
            candidate.temperature, plan.config.max_new_tokens, plan.seed
        ),
    );
    if !candidate.place.is_empty() {
        put("place", candidate.place.clone());
    }
    put("code", digest::code());
    if let Some(judge) = judge {
        put(
            "judge",
            format!(
                "{}, temperature 0, at most {} tokens",
                judge.identity, judge.max_new_tokens
            ),
        );
        if sitting.asked > 0 {
            put("judge_prompts", sitting.prompts.clone());
        }
        // Benchmarks whose prompt is not always at hand say whose it is.
        let whose = plan
            .items
            .first()
            .and_then(|i| i.extra.get("judge_prompt_name"));
        if let Some(whose) = whose.and_then(serde_json::Value::as_str) {
            put("judge_prompt", whose.to_owned());
        }
    }
    if let Through::Batches(size) = candidate.through {
        put("batch", size.to_string());
    }
}

fn finish(
    plan: &Plan<'_>,
    stage: Stage,
    replies: &[Response],
    total: &BenchmarkScore,
) -> Result<(), Error> {
    let mut manifest = Manifest::new(stage.key().clone());
    let name = plan.benchmark.name().to_owned();
    let _ = manifest.image_roots.insert(name, plan.root.clone());
    manifest.count("items", plan.items.len() as u64);
    manifest.count("images", plan.images() as u64);
    let sum = |of: fn(&Response) -> u32| replies.iter().map(|line| u64::from(of(line))).sum();
    manifest.count("prompt_tokens", sum(|line| line.prompt_tokens));
    manifest.count("completion_tokens", sum(|line| line.completion_tokens));
    manifest.count("correct", total.correct);
    manifest.results =
        serde_json::to_value(total).map_err(|e| SampleError::format(stage.folder(), e))?;
    stage.finish(manifest, &[ASKED, ITEMS, RESPONSES, EXTRACTIONS, SCORES])?;
    Ok(())
}
