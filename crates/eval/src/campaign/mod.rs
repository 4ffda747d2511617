//! Campaigns: models are asked the questions of published benchmarks, and their replies are read and
//! scored.
//!
//! A model's run over one benchmark is a folder with three stages on disk, each of which can be done
//! again alone ([`Step`]):
//!
//! 1. `responses.jsonl`, what the model said ([`Response`]). An own model's replies are appended batch
//!    by batch; those of servers go through a ledger. Either way a kill costs no reply that came and
//!    doubles none, and the file ends up with the same bytes.
//! 2. `extractions.jsonl`, the answers found in it ([`Extracted`]), by rules or by a judge.
//! 3. `scores.jsonl`, whether they are right, and `manifest.json` with the sums.
//!
//! The first stage can be split: [`run_shard`] asks one worker's part, into files of its own, and [`run`]
//! takes what workers left.
//!
//! Beside them lie `asked.json`, which says whose replies the first stage has, and `items.jsonl`, the
//! questions for pages about the run.

mod config;
mod folder;
mod judge;
mod plan;
mod responses;
mod run;
mod shard;

pub use config::{BenchmarkConfig, CandidateConfig, JudgeConfig, Shown, check_candidates};
pub use folder::{BenchmarkItem, Extracted};
pub use judge::Judge;
pub use plan::{Part, Plan, plan};
pub use responses::{Candidate, RESPONSES, Response, Through};
pub use run::{Again, Step, run};
pub use shard::{ShardReport, run_shard};
