//! The arguments of `math-llava table` and `math-llava compare`.

use std::path::PathBuf;

use clap::Args;

/// `math-llava table`.
#[derive(Debug, Args)]
#[command(after_help = "\
Ours have 95% intervals (Wilson); published rows say which paper and table they are from. Your own rows are
a CSV file: model,kind,source,ALL and the table's columns, with kind one of human, chance, open, closed.
Examples:
  math-llava table runs/real
  math-llava table runs/real/benchmarks/mathvista.testmini/ours --format csv --out table.csv
  math-llava score mathvista --data MathVista --outputs out.json --json > ours.json
  math-llava table ours.json --rows colleagues.csv")]
pub struct Table {
    /// Folders of finished benchmark runs, or of evaluations with some in them; or files that `score --json`
    /// printed
    #[arg(value_name = "FOLDER", required = true)]
    pub runs: Vec<PathBuf>,
    /// Only this benchmark (default: a table of each)
    #[arg(long, value_name = "NAME")]
    pub benchmark: Option<String>,
    /// markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "markdown")]
    pub format: eval::table::Format,
    /// The file to write (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// A CSV file with more rows
    #[arg(long, value_name = "FILE")]
    pub rows: Option<PathBuf>,
    /// With the rows of Math-LLaVA's ablations
    #[arg(long)]
    pub ablations: bool,
    /// Without the published rows
    #[arg(long)]
    pub alone: bool,
}

/// `math-llava compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Says which questions the second run has right and the first wrong, and the other way round, and whether so
uneven flips can be chance (McNemar's test, exact and mid-p). Example:
  math-llava compare runs/before/benchmarks/mathvista.testmini/ours \\
    runs/after/benchmarks/mathvista.testmini/ours --json")]
pub struct Compare {
    /// The folder of the first run, the one to compare with
    #[arg(value_name = "RUN_A")]
    pub first: PathBuf,
    /// The folder of the second run
    #[arg(value_name = "RUN_B")]
    pub second: PathBuf,
    /// One JSON object, with the ids of all flips
    #[arg(long)]
    pub json: bool,
}
