//! `math-llava eval`: candidates asked the questions of benchmarks; or a run's model its held-out ones.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use chat::{ChatModel, Ledger};
use eval::campaign::{
    self, Again, BenchmarkConfig, Candidate, CandidateConfig, Judge, Plan, Step, Through,
};
use eval::headline;
use sample::benchmark::BenchmarkScore;

use crate::args::{Eval, EvalFrom};
use crate::commands::own::Own;
use crate::commands::run::Pipeline;
use crate::commands::{forecast, plan};
use crate::config::RunConfig;
use crate::teachers::{self, Teacher};

/// What the user asked for.
pub fn run(arguments: &Eval) -> Result<bool> {
    let path = arguments.config.as_ref();
    let path = path.or(arguments.config_option.as_ref());
    let path = path.context("which configuration? Give CONFIG")?;
    let config = RunConfig::read_with(path, &arguments.settings)?;
    let (out, root) = (arguments.out.clone(), arguments.root.clone());
    let pipeline = Pipeline::new(config, out, root, arguments.force).of_shard(arguments.shard)?;
    if pipeline.config.scored.is_empty() {
        return held_out(&pipeline, arguments);
    }
    let choice = Choice {
        benchmarks: arguments.benchmarks.clone(),
        candidates: arguments.candidates.clone(),
        limit: arguments.limit,
        from: arguments.from.map(|from| match from {
            EvalFrom::Responses => Step::Responses,
            EvalFrom::Extractions => Step::Extractions,
            EvalFrom::Scores => Step::Scores,
        }),
    };
    if arguments.dry_run {
        return forecast::print(&pipeline, &choice);
    }
    campaign(&pipeline, &choice)?;
    Ok(true)
}

fn held_out(pipeline: &Pipeline, arguments: &Eval) -> Result<bool> {
    let given = [
        ("--benchmark", !arguments.benchmarks.is_empty()),
        ("--candidate", !arguments.candidates.is_empty()),
        ("--limit", arguments.limit.is_some()),
        ("--from", arguments.from.is_some()),
        ("--shard", arguments.shard.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        bail!(
            "{flag} is for benchmarks, and the configuration has no [[benchmark]]; give one, with name \
             and data, or leave {flag} out to evaluate on what is held out"
        );
    }
    if arguments.dry_run {
        return plan::print(pipeline);
    }
    pipeline.stage("eval")?;
    println!("\n{}", report::table(&pipeline.results()?));
    Ok(true)
}

/// Which part of a campaign is wanted; all of it by default.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Names of benchmarks.
    pub benchmarks: Vec<String>,
    /// Names of candidates.
    pub candidates: Vec<String>,
    /// Questions of each benchmark.
    pub limit: Option<usize>,
    /// The stage to begin again from.
    pub from: Option<Step>,
}

impl Choice {
    /// The benchmarks that are wanted.
    pub fn benchmarks(&self, pipeline: &Pipeline) -> Result<Vec<BenchmarkConfig>> {
        let all = &pipeline.config.scored;
        let is =
            |benchmark: &BenchmarkConfig, name: &str| benchmark.name.eq_ignore_ascii_case(name);
        for name in &self.benchmarks {
            if !all.iter().any(|benchmark| is(benchmark, name)) {
                let known: Vec<&str> = all.iter().map(|b| b.name.as_str()).collect();
                bail!(
                    "--benchmark {name:?}: the configuration has no such [[benchmark]]; it has {}",
                    known.join(", ")
                );
            }
        }
        let wanted = all.iter().filter(|benchmark| {
            self.benchmarks.is_empty() || self.benchmarks.iter().any(|name| is(benchmark, name))
        });
        wanted
            .cloned()
            .map(|mut benchmark| {
                benchmark.limit = self.limit.or(benchmark.limit);
                benchmark.check()?;
                Ok(benchmark)
            })
            .collect()
    }

    /// The candidates that are wanted; the run's own model where the configuration has none.
    pub fn candidates(&self, pipeline: &Pipeline) -> Result<Vec<CandidateConfig>> {
        let mut all = pipeline.config.candidates.clone();
        if all.is_empty() {
            let model = pipeline.layout.stage("train").join("model");
            if !model.is_dir() {
                bail!(
                    "which model is asked? Give [[candidate]] with name and model = \"FOLDER\" or \
                     server = \"NAME\"; there is no trained one in {}",
                    model.display()
                );
            }
            all.push(CandidateConfig {
                name: "student".into(),
                model: Some(model),
                ..CandidateConfig::default()
            });
        }
        for name in &self.candidates {
            if !all.iter().any(|c| c.name == *name) {
                let known: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
                bail!(
                    "--candidate {name:?}: there is no such [[candidate]]; there are {}",
                    known.join(", ")
                );
            }
        }
        if !self.candidates.is_empty() {
            all.retain(|c| self.candidates.contains(&c.name));
        }
        Ok(all)
    }
}

/// Who answers for a candidate.
pub enum Player {
    /// An own model, loaded when it is first asked.
    Own(Box<Own>),
    /// A model behind servers.
    Server(Box<Teacher>),
}

/// A candidate of the configuration, ready to be asked.
pub struct Entrant {
    /// As it was written.
    pub config: CandidateConfig,
    /// Who answers for it.
    pub player: Player,
    identity: String,
}

/// Questions that an own model answers at the same time, where the configuration does not say.
const BATCH: usize = 32;

impl Entrant {
    /// Finds the candidate's model; loads and asks nothing yet.
    pub fn open(pipeline: &Pipeline, config: &CandidateConfig) -> Result<Entrant> {
        let place = format!("[[candidate]] {:?} server", config.name);
        let (player, identity) = match (&config.server, &config.model) {
            (Some(server), _) => {
                let section = teachers::find(&pipeline.config.teachers, server, &place)?;
                let player = Player::Server(Box::new(section.open(server)?));
                (player, section.http.model.clone())
            }
            (None, Some(model)) => {
                let own = Own::find(config, model, config.batch_size.unwrap_or(BATCH))?;
                let identity = own.identity().to_owned();
                (Player::Own(Box::new(own)), identity)
            }
            (None, None) => bail!("{place}: neither model nor server is given"),
        };
        Ok(Entrant {
            config: config.clone(),
            player,
            identity,
        })
    }

    /// How many questions are answered at the same time, where that is settled here.
    pub fn batch(&self) -> Option<usize> {
        match &self.player {
            Player::Own(own) => Some(own.batch_size()),
            Player::Server(_) => None,
        }
    }

    /// The same as a campaign wants it.
    fn candidate<'a>(&'a self, ledger: Option<&'a Ledger>) -> Result<Candidate<'a>> {
        let (model, place, through): (&dyn ChatModel, _, _) = match &self.player {
            Player::Own(own) => (
                &**own,
                own.place().to_owned(),
                Through::Batches(own.batch_size()),
            ),
            Player::Server(teacher) => (
                teacher.model(),
                String::new(),
                Through::Ledger(ledger.context("a server is asked through a ledger")?),
            ),
        };
        Ok(Candidate {
            name: self.config.name.clone(),
            model,
            identity: self.identity.clone(),
            place,
            temperature: self.config.temperature,
            through,
        })
    }
}

/// A benchmark of the configuration with its questions read.
pub fn planned(
    pipeline: &Pipeline,
    config: &BenchmarkConfig,
    pictures: &std::path::Path,
) -> Result<Plan<'static>> {
    let benchmark = eval::find(&config.name)?;
    let data = pipeline.benchmark_data(&config.data);
    let seed = pipeline.config.seed;
    Ok(campaign::plan(benchmark, config, &data, seed, pictures)?)
}

/// The folder of all benchmark runs.
fn folder(pipeline: &Pipeline) -> PathBuf {
    pipeline.layout.stage("benchmarks")
}

/// Asks every chosen candidate every chosen benchmark, and says what came out as it comes.
pub fn campaign(pipeline: &Pipeline, choice: &Choice) -> Result<Vec<BenchmarkScore>> {
    let config = &pipeline.config;
    let benchmarks = choice.benchmarks(pipeline)?;
    let entrants = choice
        .candidates(pipeline)?
        .iter()
        .map(|candidate| Entrant::open(pipeline, candidate))
        .collect::<Result<Vec<_>>>()?;
    let referee = match &config.judge {
        // Replies are read when all are there.
        Some(_) if pipeline.shard.is_some() => None,
        Some(judge) => {
            let section = teachers::find(&config.teachers, &judge.server, "[judge] server")?;
            let model = section.http.model.clone();
            Some((section.open(&judge.server)?, model, judge.max_new_tokens))
        }
        None => None,
    };
    let servers = entrants
        .iter()
        .any(|entrant| matches!(entrant.player, Player::Server(_)));
    let ledger = match servers || referee.is_some() {
        true => Some(pipeline.ledger()?),
        false => None,
    };
    let judge = match (&referee, &ledger) {
        (Some((teacher, identity, max_new_tokens)), Some(ledger)) => Some(Judge {
            model: teacher.model(),
            ledger,
            identity: identity.clone(),
            max_new_tokens: *max_new_tokens,
        }),
        _ => None,
    };
    let again = Again {
        force: pipeline.force,
        from: choice.from,
    };
    let pictures = folder(pipeline).join("images");
    let plans = benchmarks
        .iter()
        .map(|benchmark| planned(pipeline, benchmark, &pictures))
        .collect::<Result<Vec<_>>>()?;
    let mut scores = Vec::new();
    // One candidate after the other, and each dropped when it is done: memory holds one model.
    for entrant in entrants {
        for plan in &plans {
            let out = folder(pipeline)
                .join(plan.folder())
                .join(&entrant.config.name);
            let candidate = entrant.candidate(ledger.as_ref())?;
            if let Some(shard) = pipeline.shard {
                let done = campaign::run_shard(plan, &candidate, &out, shard, again.force)?;
                println!(
                    "{} by {}: shard {shard}, {} of {} questions, {} of them known before",
                    plan.folder(),
                    candidate.name,
                    done.questions,
                    plan.questions(),
                    done.known
                );
                println!("  {}", done.file.display());
                continue;
            }
            let score = campaign::run(plan, &candidate, judge.as_ref(), &out, again)?;
            println!("{}", headline::headline(&score));
            for remark in &score.remarks {
                println!("  note: {remark}");
            }
            println!("  {}", out.display());
            scores.push(score);
        }
    }
    if let Some(shard) = pipeline.shard {
        println!(
            "The same command without --shard reads and scores the replies when all {} shards are done.",
            shard.of()
        );
    }
    Ok(scores)
}
