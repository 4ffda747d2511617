//! `math-llava eval --dry-run`: what a campaign would ask, with tokens, time and cost.
//!
//! Own models answer a few of the real questions, from which time and tokens follow; servers are sent
//! nothing, and their tokens and cost come from the prompts and the ledger.

use std::time::Instant;

use anyhow::{Result, bail};
use chat::{ChatModel, Request};
use eval::Extraction;
use eval::campaign::Plan;

use crate::commands::eval::{Choice, Entrant, Player, planned};
use crate::commands::own::Own;
use crate::commands::plan::{Temporary, duration};
use crate::commands::run::Pipeline;
use crate::commands::shards;

/// Questions that an own model answers for its forecast.
const PROBE: usize = 8;

/// Prints the plan of a campaign; nothing is written to the run's folder.
pub fn print(pipeline: &Pipeline, choice: &Choice) -> Result<bool> {
    let temporary = Temporary::new("eval")?;
    let benchmarks = choice.benchmarks(pipeline)?;
    let plans = benchmarks
        .iter()
        .map(|benchmark| planned(pipeline, benchmark, temporary.path()))
        .collect::<Result<Vec<_>>>()?;
    let ledger = shards::ledger_looked_at(pipeline)?;
    let (mut seconds, mut own) = (0.0, false);
    for candidate in choice.candidates(pipeline)? {
        let entrant = Entrant::open(pipeline, &candidate)?;
        for plan in &plans {
            println!(
                "{} by {}: {} questions ({} cannot be asked), {} images",
                plan.folder(),
                candidate.name,
                plan.questions(),
                plan.unaskable(),
                plan.images()
            );
            let part = plan.part(entrant.batch(), pipeline.shard);
            if let Some(shard) = pipeline.shard {
                println!("  shard {shard}: {} questions; of those:", part.questions());
            }
            let requests = || plan.requests_of(&part, candidate.temperature);
            match &entrant.player {
                Player::Own(model) => {
                    let probe = Probe::of(model, plan, candidate.temperature)?;
                    let all = requests().count() as f64;
                    println!(
                        "  {:.0} prompt tokens, {:.0} reply tokens, {} after loading, from {} questions",
                        probe.prompt_tokens * all,
                        probe.completion_tokens * all,
                        duration(probe.seconds * all),
                        probe.questions
                    );
                    seconds += probe.seconds * all;
                    own = true;
                }
                Player::Server(teacher) => {
                    let forecast = teacher.forecast(&mut requests(), &ledger)?;
                    for line in forecast.to_string().lines() {
                        println!("  {line}");
                    }
                }
            }
        }
    }
    for (plan, benchmark) in plans.iter().zip(&benchmarks) {
        if benchmark.extraction == Extraction::Judge {
            println!(
                "{}: at most {} requests of each kind to the judge for each candidate, for what the rules \
                 leave open",
                plan.folder(),
                plan.questions()
            );
        }
    }
    if own {
        println!("own models: about {} in all", duration(seconds));
    }
    for line in shards::bounds(pipeline) {
        println!("{line}");
    }
    println!("\nNothing was sent, and nothing was written there.");
    Ok(true)
}

/// What a question takes, on the average of a few.
struct Probe {
    questions: usize,
    seconds: f64,
    prompt_tokens: f64,
    completion_tokens: f64,
}

impl Probe {
    /// Has `model` answer questions from all over the benchmark.
    fn of(model: &Own, plan: &Plan<'_>, temperature: f32) -> Result<Probe> {
        let requests: Vec<Request> = plan.requests(temperature).collect();
        let step = requests.len().div_ceil(PROBE).max(1);
        let few: Vec<Request> = requests.into_iter().step_by(step).collect();
        // Loads the model, and lets it ask for its memory.
        let first = few.get(..1).unwrap_or_default();
        model.reply(first);
        let started = Instant::now();
        let replies = model.reply(&few);
        let seconds = started.elapsed().as_secs_f64();
        let (mut prompt, mut completion) = (0.0, 0.0);
        for reply in replies {
            match reply {
                Ok(reply) => {
                    prompt += f64::from(reply.prompt_tokens);
                    completion += f64::from(reply.completion_tokens);
                }
                Err(chat::Error::Unanswerable { .. }) => {}
                Err(error) => bail!(error),
            }
        }
        let n = few.len().max(1) as f64;
        Ok(Probe {
            questions: few.len(),
            seconds: seconds / n,
            prompt_tokens: prompt / n,
            completion_tokens: completion / n,
        })
    }
}
