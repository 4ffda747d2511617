//! The arguments of `math-llava score`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `math-llava score`.
#[derive(Debug, Args)]
#[command(after_help = "\
OUTPUTS is a file of a model's outputs as the benchmark's own code or another program wrote it, or a folder
that `math-llava eval` left. Nothing is asked and no key is needed. Examples:
  math-llava score mathvista --data MathVista --outputs output_llava.json
  math-llava score mathvista --data MathVista --outputs output_llava.json --dialect paper --json
  math-llava score mmmu --data MMMU --split val --outputs llava1.5_13b.json --strict
  math-llava score mathvista --data MathVista --outputs runs/eval/benchmarks/mathvista.testmini/ours")]
pub struct Score {
    /// The benchmark, by its name; an unknown one is answered with those there are
    #[arg(value_name = "BENCHMARK")]
    pub benchmark: String,
    /// The folder with the benchmark as its authors publish it
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The outputs
    #[arg(long, value_name = "FILE")]
    pub outputs: PathBuf,
    /// The part of the benchmark (default: the one that the outputs are about)
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Of official rules that changed over time, which
    #[arg(long, value_enum, default_value_t = ScoreDialect::Head)]
    pub dialect: ScoreDialect,
    /// How answers are found in replies
    #[arg(long, value_enum, default_value_t = ScoreExtraction::Official)]
    pub extraction: ScoreExtraction,
    /// No guessing where the official code guesses: no answer is wrong
    #[arg(long)]
    pub strict: bool,
    /// The score as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Write every question's score to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
}

/// Of official rules that changed over time, which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScoreDialect {
    /// Today's official code
    Head,
    /// The code that most published scores were made with
    Paper,
}

/// How answers are found in replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScoreExtraction {
    /// The official rules
    Official,
    /// Our rules, which find more
    Extended,
}
