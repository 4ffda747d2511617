//! The arguments of `math-llava equal`.

use std::path::PathBuf;

use clap::Args;

/// `math-llava equal`.
#[derive(Debug, Args)]
#[command(after_help = "\
Answers are found in their texts (boxes, dollars, \"the answer is\", the last number) and compared as mathematics:
exact numbers, polynomials, values at many points, sets, intervals, relations. docs/equality.md has the rules.
Examples:
  math-llava equal '$\\frac12$' 'so the answer is 0.5'
  math-llava equal '$x=5$' '5' --json
  math-llava equal --pairs pairs.json --json

A file of pairs is a JSON list of {\"gold\": .., \"prediction\": ..}. A prediction that begins with a minus sign
comes after `--`: math-llava equal -- -5 -5.0

Exit status: 0 compared, whatever the verdict; 2 an error; 130 stopped by Ctrl-C.")]
pub struct Equal {
    /// The answer that is right
    #[arg(value_name = "GOLD", required_unless_present = "pairs", requires = "prediction")]
    pub gold: Option<String>,
    /// The answer to judge
    #[arg(value_name = "PREDICTION")]
    pub prediction: Option<String>,
    /// A JSON list of pairs to judge instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gold", "prediction"])]
    pub pairs: Option<PathBuf>,
    /// One JSON object; of a file of pairs, a list of true and false
    #[arg(long)]
    pub json: bool,
}
