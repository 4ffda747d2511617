//! Two runs on the same questions, compared question by question: the agreement between what compares
//! and what shows it.

use serde::{Deserialize, Serialize};

/// Questions that one run has right and the other has wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flips {
    /// Ids of those the first run has wrong and the second right, in the first run's order.
    pub gained: Vec<String>,
    /// Ids of those the first run has right and the second wrong.
    pub lost: Vec<String>,
}

/// Flips within a group of questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFlips {
    /// The dimension, `task`.
    pub dimension: String,
    /// The group.
    pub name: String,
    /// Questions of the group that both runs have.
    pub items: u64,
    /// Wrong in the first run and right in the second.
    pub gained: u64,
    /// Right in the first run and wrong in the second.
    pub lost: u64,
}

/// The second run against the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// The first run's model.
    pub first: String,
    /// The second run's model.
    pub second: String,
    /// Questions that both runs have.
    pub items: u64,
    /// Of these, right in both.
    pub both_right: u64,
    /// Of these, wrong in both.
    pub both_wrong: u64,
    /// The others.
    pub flips: Flips,
    /// Questions that only the first run has; they are not compared.
    pub only_first: u64,
    /// Questions that only the second run has; they are not compared.
    pub only_second: u64,
    /// Accuracy of the second run less the first's, from -1 to 1.
    pub difference: f64,
    /// Its 95% interval (Bonett and Price's adjusted Wald); none where nothing is compared.
    pub interval: Option<(f64, f64)>,
    /// McNemar's test: the chance of so uneven flips or worse if both runs were equally good, two-sided,
    /// from the binomial distribution.
    pub p_exact: f64,
    /// The same with half the weight on what was seen (mid-p), which is less shy of saying so.
    pub p_mid: f64,
    /// Flips by group; empty where the runs do not hold their questions' groups.
    pub groups: Vec<GroupFlips>,
    /// What a reader must know: other rules in one of the runs.
    pub remarks: Vec<String>,
}
