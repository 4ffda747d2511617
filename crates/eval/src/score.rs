//! From what a model said to a score, whatever the benchmark.

use std::collections::{BTreeMap, HashMap, HashSet};

use sample::benchmark::{BenchmarkScore, ItemScore, Share};
use sample::scores::Reading;
use serde::{Deserialize, Serialize};

use crate::{Answer, Benchmark, Item};

/// Of official rules that changed over time, which ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Today's official code.
    #[default]
    Head,
    /// The code that most published scores were made with.
    Paper,
}

/// How answers are found in replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extraction {
    /// The official rules alone, without the official code's language model.
    #[default]
    Official,
    /// Our rules, which find more; scores are reported apart.
    Extended,
    /// A model was asked with the official prompt; its findings are in [`Answer::extraction`].
    Judge,
}

impl Extraction {
    /// The name in files and tables, `official`.
    pub fn name(self) -> &'static str {
        match self {
            Extraction::Official => "official",
            Extraction::Extended => "extended",
            Extraction::Judge => "judge",
        }
    }
}

/// How a benchmark decides.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scoring {
    /// Which official rules.
    pub dialect: Dialect,
    /// How answers are found in replies that have none found yet.
    pub extraction: Extraction,
    /// No guessing where the official code guesses: no answer is wrong.
    pub strict: bool,
}

/// What was read from a file of outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// The model, where the file says.
    pub model: Option<String>,
    /// One for each row, in the file's order.
    pub answers: Vec<Answer>,
    /// Questions that the rows themselves hold, for benchmarks whose outputs repeat their data.
    pub items: Vec<Item>,
    /// Rows that could not be used, and other things worth knowing.
    pub remarks: Vec<String>,
}

/// Scores `outputs` on `items`: rows are joined by id, what is missing counts as wrong, what does not
/// belong is a remark.
pub fn score(
    benchmark: &dyn Benchmark,
    split: &str,
    items: &[Item],
    outputs: &Outputs,
    how: &Scoring,
) -> (BenchmarkScore, Vec<ItemScore>) {
    let items = &*benchmark.questions(items.to_vec(), outputs);
    let joined = join(items, outputs);
    let scored = benchmark.score(items, &joined.answers, how);
    let mut total = total(benchmark, split, items, how, &scored);
    total.model = outputs.model.clone().unwrap_or_default();
    total.missing = joined.missing;
    total.remarks = joined.remarks;
    (total, scored)
}

/// Rows of outputs, laid beside the questions.
pub(crate) struct Joined {
    /// One for each question, in the questions' order; without a response where there is no row.
    pub(crate) answers: Vec<Answer>,
    /// Questions without a row.
    pub(crate) missing: u64,
    /// The outputs' own remarks, and rows that found no question.
    pub(crate) remarks: Vec<String>,
}

/// Finds each question's row by its id.
pub(crate) fn join(items: &[Item], outputs: &Outputs) -> Joined {
    let mut remarks = outputs.remarks.clone();
    let mut rows: HashMap<&str, &Answer> = HashMap::new();
    let (mut twice, mut unknown) = (Vec::new(), Vec::new());
    let known: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
    for answer in &outputs.answers {
        if !known.contains(answer.id.as_str()) {
            unknown.push(answer.id.as_str());
        } else if rows.insert(&answer.id, answer).is_some() {
            // The last one counts, as in a dictionary that is read from JSON.
            twice.push(answer.id.as_str());
        }
    }
    for (ids, what) in [
        (
            unknown,
            "rows are for questions that the split does not have",
        ),
        (
            twice,
            "rows are for a question that had one; the last counts",
        ),
    ] {
        if let Some(first) = ids.first() {
            remarks.push(format!("{} {what} (first: {first:?})", ids.len()));
        }
    }
    let mut missing = 0;
    let answers = items
        .iter()
        .map(|item| match rows.get(item.id.as_str()) {
            Some(answer) => (*answer).clone(),
            None => {
                missing += 1;
                Answer {
                    id: item.id.clone(),
                    ..Answer::default()
                }
            }
        })
        .collect();
    Joined {
        answers,
        missing,
        remarks,
    }
}

/// Counts what was scored.
pub(crate) fn total(
    benchmark: &dyn Benchmark,
    split: &str,
    items: &[Item],
    how: &Scoring,
    scored: &[ItemScore],
) -> BenchmarkScore {
    let mut total = BenchmarkScore {
        benchmark: benchmark.name().to_owned(),
        split: split.to_owned(),
        version: benchmark.version().to_owned(),
        extraction: how.extraction.name().to_owned(),
        dialect: match (how.dialect, how.strict) {
            (Dialect::Head, false) => "head",
            (Dialect::Head, true) => "head, strict",
            (Dialect::Paper, false) => "paper",
            (Dialect::Paper, true) => "paper, strict",
        }
        .to_owned(),
        measures: benchmark.measures(items, scored),
        ..BenchmarkScore::default()
    };
    count(&mut total, items, scored);
    total
}

fn count(total: &mut BenchmarkScore, items: &[Item], scored: &[ItemScore]) {
    let mut groups: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let (mut correct, mut all) = (0, 0);
    for (item, score) in items.iter().zip(scored) {
        let right = u64::from(score.correct);
        correct += right;
        all += 1;
        for (dimension, name) in &item.groups {
            let group = groups.entry((dimension, name)).or_default();
            group.0 += right;
            group.1 += 1;
        }
        total.fallbacks += u64::from(score.fallback);
        total.truncated += u64::from(score.truncated);
        match score.reading {
            Reading::Parsed => {}
            Reading::Unparsed => total.unparsed += 1,
            Reading::Empty => total.empty += 1,
            Reading::Failed => total.failed += 1,
        }
    }
    let share = Share::new(correct, all);
    (total.correct, total.total, total.accuracy) = (share.correct, share.total, share.accuracy);
    for ((dimension, name), (correct, all)) in groups {
        total
            .groups
            .entry(dimension.to_owned())
            .or_default()
            .insert(name.to_owned(), Share::new(correct, all));
    }
}
