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

A file of pairs is a JSON list of {\"gold\": .., \"prediction\": ..}. Answers that begin with a minus
sign and are no numbers come after `--`: math-llava equal -- '-\\frac12' -0.5

Exit status: 0 compared, whatever the verdict; 2 an error; 130 stopped by Ctrl-C.")]
pub struct Equal {
    /// The answer that is right
    #[arg(
        value_name = "GOLD",
        required_unless_present = "pairs",
        requires = "prediction",
        allow_negative_numbers = true
    )]
    pub gold: Option<String>,
    /// The answer to judge
    #[arg(value_name = "PREDICTION", allow_negative_numbers = true)]
    pub prediction: Option<String>,
    /// A JSON list of pairs to judge instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gold", "prediction"])]
    pub pairs: Option<PathBuf>,
    /// One JSON object; of a file of pairs, a list of true and false
    #[arg(long)]
    pub json: bool,
}
