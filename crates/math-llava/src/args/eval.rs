//! The arguments of `math-llava eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sample::Shard;

use crate::commands::shards::named;

/// `math-llava eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
Where the configuration has [[benchmark]] sections, its candidates are asked them; else the run's model is
asked what is held out. What is answered is kept: the same command goes on after a stop. Examples:
  math-llava eval configs/benchmarks.toml --dry-run
  math-llava eval configs/benchmarks.toml --limit 20
  math-llava eval configs/benchmarks.toml --benchmark mathvista --from extractions
  math-llava eval configs/benchmarks.toml --shard 2/8      one of eight workers; afterwards without --shard
  math-llava eval configs/tiny.toml")]
pub struct Eval {
    /// The run's configuration
    #[arg(value_name = "CONFIG", required_unless_present = "config_option")]
    pub config: Option<PathBuf>,
    /// The same, as the other stages take it
    #[arg(long = "config", value_name = "FILE", conflicts_with = "config")]
    pub config_option: Option<PathBuf>,
    /// The run's folder (default: the configuration's `out`)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where data sets and benchmarks lie (default: the configuration's `data_root`)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Only this benchmark; may be given more than once
    #[arg(long = "benchmark", value_name = "NAME")]
    pub benchmarks: Vec<String>,
    /// Only this candidate; may be given more than once
    #[arg(long = "candidate", value_name = "NAME")]
    pub candidates: Vec<String>,
    /// Ask only so many questions of each benchmark, into folders of their own
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Do this stage and those after it again, with what lies on disk of those before
    #[arg(long, value_enum, value_name = "STAGE")]
    pub from: Option<EvalFrom>,
    /// Ask only one part of N, into files of its own; the same command without it takes what all parts
    /// left, asks what is missing, and scores. `rank`: as RANK and WORLD_SIZE or Slurm say
    #[arg(long, value_name = "I/N", value_parser = named, conflicts_with = "from")]
    pub shard: Option<Shard>,
    /// Say what would be asked, with tokens, time and cost, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Replace what another configuration left there; replies on the ledger stay and are not asked for again
    #[arg(long)]
    pub force: bool,
    /// A value of the configuration to change for this run, such as eval.limit=9; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

/// A stage of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EvalFrom {
    /// Ask
    Responses,
    /// Find answers in replies
    Extractions,
    /// Decide
    Scores,
}
