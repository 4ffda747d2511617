//! What the user typed. `commands` turn it into what will run.

mod cluster;
mod equal;
mod eval;
mod models;
mod score;
mod serve;
mod table;
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use cluster::{Cluster, ClusterRole};
#[cfg(feature = "cluster")]
pub use cluster::{ClusterExecutor, ClusterScheduler};
pub use equal::Equal;
pub use eval::{Eval, EvalFrom};
pub use models::*;
pub use score::{Score, ScoreDialect, ScoreExtraction};
pub use serve::{Listen, Serve, Studio};
pub use table::{Compare, Table};
pub use train::Train;

/// Builds a vision-language model that reasons about maths: data, training, scoring.
///
/// Stages meet in folders: each writes tables and, last, a manifest.json. A stage that was stopped
/// goes on when the same command is given again; one that is finished is not done twice.
#[derive(Debug, Parser)]
#[command(name = "math-llava", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    /// No progress and no remarks on standard error; errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How many threads to use for data work (default: all; results never depend on it)
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  math-llava run configs/tiny.toml              the whole method on drawn figures, on this CPU
  math-llava run configs/tiny.toml --dry-run    what that would do, and how long it would take
  math-llava run configs/real.toml --root DATA  FigureQA, TabMWP and ChartQA from DATA
  math-llava import --source tabmwp --root DATA/tabmwp --out runs/tabmwp
  math-llava sql --run runs/tiny \"select family, count(*) from images group by 1\"
  math-llava export --run runs/tiny --format hf --out hf-data
  math-llava report --run runs/tiny
  math-llava serve --model runs/tiny/train/model --runs runs";

/// The stages, each a verb, and `run` for all of them.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read a published data set, or draw figures, into tables
    Import(Import),
    /// Decode and fingerprint imported images, find near duplicates, compare with benchmarks
    Inspect(Inspect),
    /// Grade images for clarity and complexity with a ViT, trained first where there is none
    Grade(Grade),
    /// Check, deduplicate and sample images
    Select(Select),
    /// Make new question-answer pairs with a teacher
    Synth(Synth),
    /// Look at the ledger of requests and replies: progress, spend, SQL, export
    Ledger(Ledger),
    /// Train a model on the pairs
    Train(Train),
    /// Score models on benchmarks, or a run's model on held-out questions beside its blind baselines
    Eval(Eval),
    /// Score outputs that exist already as a benchmark's official code does
    Score(Score),
    /// Print scores beside the published ones, with intervals: Markdown, CSV, JSON
    Table(Table),
    /// Compare two benchmark runs question by question: flips, McNemar's test
    Compare(Compare),
    /// Write the HTML report of a run, of trainings, or of benchmark runs
    Report(Report),
    /// Write the pairs for other trainers: LLaVA JSON, ShareGPT, Hugging Face Parquet, WebDataset
    Export(Export),
    /// Write the data card of a run: what its pairs are and where they came from
    Card(Card),
    /// Do all stages of a configuration, going on where a run was stopped
    Run(Run),
    /// Write a checkpoint of any form as a Hugging Face folder, GGUF or mmproj, an adapter merged
    Convert(Convert),
    /// Answer one prompt, about an image or none
    Generate(Generate),
    /// Talk with a model on the terminal
    Chat(Chat),
    /// Fetch a model or a data set from a Hugging Face hub: resumed, checked, shared with Python
    Pull(Pull),
    /// Write a checkpoint's logits for an image and a prompt, to compare with other programs
    Logits(Logits),
    /// Say whether two answers are the same as mathematics, and why
    Equal(Equal),
    /// List the data sets that can be imported
    Sources(Sources),
    /// Ask the tables of a run in SQL
    Sql(Sql),
    /// Answer over HTTP as OpenAI's API does, with models of your own or other servers
    Serve(Serve),
    /// Look at runs in the browser: data, selection, training, scores
    Studio(Studio),
    /// Make this machine part of a cluster: a scheduler, or an executor that works for one
    Cluster(Cluster),
}

/// Where a stage's work is done.
#[derive(Debug, Args)]
pub struct On {
    /// Have the cluster of this scheduler do the work: images are read and plans run by its executors, which
    /// must find the same folders under the same paths. The result is the same
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
}

/// `math-llava import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava import --source tabmwp --root data/tabmwp --out runs/tabmwp
  math-llava import --source figureqa --root data/figureqa --split sample_train1 --limit 1000 --out runs/fqa
  math-llava import --all --root data --out runs/import
  math-llava import --source tabmwp --root /shared/tabmwp --out /shared/runs/tabmwp --cluster node1:50050
  math-llava import --source figures --count 500 --seed 3 --out runs/figures")]
pub struct Import {
    /// The data set; `math-llava sources` lists them
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub source: Option<String>,
    /// Every data set that lies below --root in a folder of its name, each into a folder below --out
    #[arg(long)]
    pub all: bool,
    /// The folder, or archive, with the data set as its authors publish it
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these splits (default: all that are there)
    #[arg(long = "split", value_name = "NAME")]
    pub splits: Vec<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// How many figures to draw, for --source figures
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// The seed, for --source figures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Replace what another configuration left in --out
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub on: On,
}

/// `math-llava sources`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava sources
  math-llava sources geoqa_plus
  math-llava sources --root data")]
pub struct Sources {
    /// Print the page of this one: layout, an example row, quirks
    #[arg(value_name = "NAME", conflicts_with = "root")]
    pub name: Option<String>,
    /// Say what of them lies below this folder
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// `math-llava grade`.
#[derive(Debug, Args)]
#[command(after_help = "\
From a run's configuration, or on imports directly. Examples:
  math-llava grade --config configs/tiny.toml --out runs/tiny
  math-llava grade --import runs/figures --out runs/grade
  math-llava grade --import runs/tabmwp --import runs/fqa --model runs/grade/model --out runs/graded
  math-llava grade --import runs/tabmwp --base vit-large-patch16-224 --csv labels.csv --out runs/graded")]
pub struct Grade {
    /// The run's configuration; its `[grade]` section counts, and its imports are graded
    #[arg(long, value_name = "FILE", required_unless_present = "imports")]
    pub config: Option<PathBuf>,
    /// An import to grade; may be given more than once
    #[arg(long = "import", value_name = "DIR", conflicts_with_all = ["config", "root"])]
    pub imports: Vec<PathBuf>,
    /// The run's folder (default: the configuration's `out`); with --import the folder to write
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub out: Option<PathBuf>,
    /// Where published data sets lie (default: the configuration's `data_root`)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A trained grader, `grade/model` of a run: nothing is trained
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// A Hugging Face ViT to fine-tune (default: a small one from scratch)
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    pub base: Option<PathBuf>,
    /// Labels to learn from: image, clarity, complexity (default: those the sources state)
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub csv: Option<PathBuf>,
    /// The seed, with --import
    #[arg(long, default_value_t = 0, conflicts_with = "config")]
    pub seed: u64,
    /// Replace what another configuration left there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub on: On,
}

/// `math-llava inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every image is decoded once; what is learnt goes into tables, and into decontamination.html for you.
From a run's configuration, or on imports directly. Examples:
  math-llava inspect --config configs/real.toml --root data --benchmark data/MathVista
  math-llava inspect --import runs/tabmwp runs/figureqa --benchmark data/MathVista data/MathVerse \\
    --out runs/inspect")]
pub struct Inspect {
    /// The run's configuration; its imports are inspected
    #[arg(long, value_name = "FILE", required_unless_present = "imports")]
    pub config: Option<PathBuf>,
    /// The folders of imports
    #[arg(long = "import", value_name = "DIR", num_args = 1.., conflicts_with_all = ["config", "root"])]
    pub imports: Vec<PathBuf>,
    /// Folders of benchmarks, as their authors publish them; without any, nothing is decontaminated
    #[arg(long = "benchmark", value_name = "DIR", num_args = 1..)]
    pub benchmarks: Vec<PathBuf>,
    /// The run's folder (default: the configuration's `out`); with --import the folder to write
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub out: Option<PathBuf>,
    /// Where published data sets lie (default: the configuration's `data_root`)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Replace what another configuration left there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub on: On,
}

/// A stage on its own, from a run's configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
The stage reads what the stages before it left in the run's folder. Example:
  math-llava select --config configs/tiny.toml --out runs/tiny")]
pub struct StageArguments {
    /// The run's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The run's folder (default: the configuration's `out`)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where published data sets lie (default: the configuration's `data_root`)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A benchmark whose problems must stay out of the training data; may be given more than once
    #[arg(long = "benchmark", value_name = "DIR")]
    pub benchmarks: Vec<PathBuf>,
    /// Say what would be done, with counts and time, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Replace what another configuration left there
    #[arg(long)]
    pub force: bool,
    /// A value of the configuration to change for this run, such as train.lr=2e-5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

/// `math-llava select`.
#[derive(Debug, Args)]
pub struct Select {
    #[command(flatten)]
    pub stage: StageArguments,
    #[command(flatten)]
    pub on: On,
}

/// `math-llava synth`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every request and reply goes on the ledger (ledger.sqlite in the run's folder) before it is used, so the
same command goes on after a stop and pays for nothing twice. Examples:
  math-llava synth --config configs/teacher.toml --out runs/mine --dry-run
  math-llava synth --config configs/teacher.toml --out runs/mine --show-prompt askimg
  math-llava synth --config configs/teacher.toml --out runs/mine
  math-llava synth --config configs/teacher.toml --out runs/mine --status
  math-llava synth --config configs/teacher.toml --out runs/mine --shard 2/8   one of eight workers")]
pub struct Synth {
    #[command(flatten)]
    pub stage: StageArguments,
    /// Ask only about one part of N of the images, on a ledger of its own; the same command without it
    /// takes in what all parts left, asks what is missing, and writes. `rank`: as RANK and WORLD_SIZE or
    /// Slurm say
    #[arg(long, value_name = "I/N", value_parser = crate::commands::shards::named)]
    pub shard: Option<sample::Shard>,
    /// Show progress, spend, rates and reject reasons of the run's ledger, and stop
    #[arg(long, conflicts_with_all = ["dry_run", "show_prompt"])]
    pub status: bool,
    /// Show a request of this kind as it would be sent, and stop: askimg, compq, rephq or simpq
    #[arg(long, value_name = "KIND", conflicts_with = "dry_run")]
    pub show_prompt: Option<String>,
    /// The sample that --show-prompt is about (default: the first of the selection)
    #[arg(long, value_name = "ID", requires = "show_prompt")]
    pub sample: Option<String>,
}

/// `math-llava ledger`.
#[derive(Debug, Args)]
#[command(after_help = "\
A ledger may be looked at while a run writes it. Its tables: requests, tries, replies, refusals, verdicts,
batches; its views: spend, progress. Examples:
  math-llava ledger runs/mine
  math-llava ledger runs/mine \"select outcome, count(*), sum(cost) from tries group by 1\"
  math-llava ledger runs/mine --export requests.jsonl
  math-llava ledger merge runs/mine runs/mine/ledger.shard-*.sqlite")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Ledger {
    #[command(subcommand)]
    pub action: Option<LedgerAction>,
    /// The run's folder, or the ledger's file
    #[arg(value_name = "RUN", required = true)]
    pub run: Option<PathBuf>,
    /// A query in SQLite's SQL; without one the status is shown
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// One JSON object a line, or the status as JSON
    #[arg(long)]
    pub json: bool,
    /// Write every request with its reply to this file, one JSON object a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "json"])]
    pub export: Option<PathBuf>,
}

/// What is done with ledgers beyond looking.
#[derive(Debug, Subcommand)]
pub enum LedgerAction {
    /// Take what other ledgers hold into one: each request once, and all that was spent
    Merge {
        /// The ledger that takes them in, or its run's folder; it is made where it is not there
        #[arg(value_name = "INTO")]
        into: PathBuf,
        /// Ledgers, or runs' folders; they stay as they are
        #[arg(value_name = "FROM", required = true)]
        from: Vec<PathBuf>,
    },
}

/// `math-llava report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava report --run runs/tiny
  math-llava report --training runs/a/train --training runs/b/train --out compared.html
  math-llava report --training runs/a/train --training runs/b/train --picture losses.svg
  math-llava report --benchmark runs/a runs/b --out scores.html")]
pub struct Report {
    /// The run's folder
    #[arg(long, value_name = "DIR", required_unless_present_any = ["training", "benchmark"])]
    pub run: Option<PathBuf>,
    /// A training's folder, `train` in a run's: its curves, those of several over each other; finished or
    /// not
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    pub training: Vec<PathBuf>,
    /// Benchmark runs, or folders with some: scores beside published ones, errors, flips, every question
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["run", "training"])]
    pub benchmark: Vec<PathBuf>,
    /// With --training or --benchmark: the page (default: training.html or benchmark.html in the first of
    /// the folders)
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub out: Option<PathBuf>,
    /// With --training: the loss curves alone, as a picture
    #[arg(long, value_name = "FILE.svg", requires = "training")]
    pub picture: Option<PathBuf>,
}

/// `math-llava export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava export --run runs/tiny --format llava --out llava-data
  math-llava export --run runs/tiny --format sharegpt --images link --out LLaMA-Factory/data/tiny
  math-llava export --stage runs/tiny/select --format hf --shard-size 500MB --out hf-data
  math-llava export --run runs/tiny --format webdataset --plain --out shards")]
pub struct Export {
    /// The run's folder: its last data stage is exported (synth, else select, else the imports)
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "stage",
        required_unless_present = "stage"
    )]
    pub run: Option<PathBuf>,
    /// One stage's folder
    #[arg(long, value_name = "DIR")]
    pub stage: Option<PathBuf>,
    /// llava, sharegpt, hf or webdataset
    #[arg(long, value_name = "FORMAT")]
    pub format: export::Format,
    /// The folder to write: a new one, or an export's
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// copy, link or none: what becomes of the image files (llava and sharegpt)
    #[arg(long, value_name = "HOW", default_value = "copy")]
    pub images: export::Images,
    /// Without the typed record beside each conversation
    #[arg(long)]
    pub plain: bool,
    /// How long a shard is, about (hf and webdataset)
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = export::parse_size)]
    pub shard_size: u64,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Replace another export in --out
    #[arg(long)]
    pub force: bool,
}

/// `math-llava card`.
#[derive(Debug, Args)]
pub struct Card {
    /// The run's folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// The folder to write (default: `card` in the run's folder)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `math-llava run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  math-llava run configs/tiny.toml
  math-llava run configs/real.toml --root ~/data --out runs/real
  math-llava run configs/tiny.toml --dry-run

Exit status: 0 done; 1 done, but below --min-accuracy; 2 an error; 130 interrupted.")]
pub struct Run {
    /// The configuration
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// The run's folder (default: the configuration's `out`)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where published data sets lie (default: the configuration's `data_root`)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A benchmark whose problems must stay out of the training data; may be given more than once
    #[arg(long = "benchmark", value_name = "DIR")]
    pub benchmarks: Vec<PathBuf>,
    /// Say what would be done, with counts and time, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do again what another configuration left in the run's folder
    #[arg(long)]
    pub force: bool,
    /// A value of the configuration to change for this run, such as train.lr=2e-5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Exit with status 1 if the model's accuracy is below this, in per cent
    #[arg(long, value_name = "PERCENT")]
    pub min_accuracy: Option<f64>,
    #[command(flatten)]
    pub on: On,
}

/// `math-llava sql`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every finished stage's tables have the stage's name before theirs: select_images, inspect_near,
import_tabmwp_samples; import_samples is all imports' together. A table without a stage is that of
the furthest stage that has it. Files are neither written nor read but for these tables.

Examples:
  math-llava sql --run runs/real --tables
  math-llava sql --run runs/real \"select source, complexity, count(*) from images group by 1, 2 order by 1, 2\"
  math-llava sql --run runs/real \"select reason, count(*) from rejects group by 1 order by 2 desc\"
  math-llava sql --run runs/real \"select id, question, answer from samples where task = 'GPS'\" --json
  math-llava sql --run runs/real \"select * from plan\" --csv > plan.csv")]
pub struct Sql {
    /// The query, in quotes
    #[arg(value_name = "QUERY", required_unless_present = "tables")]
    pub query: Option<String>,
    /// The run's folder, or that of one stage
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// List the tables, with their columns and how many rows they have
    #[arg(long, conflicts_with_all = ["query", "json", "csv", "limit"])]
    pub tables: bool,
    /// One JSON object a line
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values, with a line of names
    #[arg(long)]
    pub csv: bool,
    /// At most so many rows (default: 100 as a table, all as JSON or CSV)
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub on: On,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
