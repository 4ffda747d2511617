//! The questions of some runs of one benchmark, joined by id, and what became of each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sample::benchmark::ItemScore;
use sample::benchmark::folder::{self, ItemRecord};
use sample::scores::Reading;

use super::BenchmarkRun;
use crate::Error;

/// What became of a question: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// The model could not be asked.
    Failed,
    /// The outputs have no reply.
    Missing,
    /// The reply has no text.
    Empty,
    /// The official code guessed.
    Fallback,
    /// Wrong, and cut at the token limit.
    Truncated,
    /// No answer was found in the reply.
    Unparsed,
    /// Another answer was found.
    Wrong,
    /// Right.
    Right,
}

impl Fate {
    /// Errors, in the order the page shows them: what is the model's own fault first.
    pub const ERRORS: [Fate; 7] = [
        Fate::Wrong,
        Fate::Unparsed,
        Fate::Truncated,
        Fate::Fallback,
        Fate::Empty,
        Fate::Failed,
        Fate::Missing,
    ];

    /// What became of a question, by its verdict.
    pub fn of(score: &ItemScore) -> Fate {
        match score.reading {
            Reading::Failed => Fate::Failed,
            _ if score.response.is_none() => Fate::Missing,
            Reading::Empty => Fate::Empty,
            _ if score.fallback => Fate::Fallback,
            _ if score.correct => Fate::Right,
            _ if score.truncated => Fate::Truncated,
            Reading::Unparsed => Fate::Unparsed,
            Reading::Parsed => Fate::Wrong,
        }
    }

    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Fate::Failed => "Could not be asked",
            Fate::Missing => "Missing",
            Fate::Empty => "Empty replies",
            Fate::Fallback => "Answered by the official code's guess",
            Fate::Truncated => "Cut at the token limit",
            Fate::Unparsed => "No answer found",
            Fate::Wrong => "Wrong answers",
            Fate::Right => "Right answers",
        }
    }

    /// A word for a badge.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Failed => "failed",
            Fate::Missing => "missing",
            Fate::Empty => "empty",
            Fate::Fallback => "guessed",
            Fate::Truncated => "cut",
            Fate::Unparsed => "unparsed",
            Fate::Wrong => "wrong",
            Fate::Right => "right",
        }
    }
}

/// A question and what each run said; a run that does not have it has none.
#[derive(Debug)]
pub struct Question {
    /// What the benchmark asks.
    pub record: ItemRecord,
    /// Image files, found from the folder of the run that keeps them.
    pub images: Vec<PathBuf>,
    /// What each run said; in the runs' order.
    pub said: Vec<Option<ItemScore>>,
}

impl Question {
    /// Fates in the runs that have it.
    pub fn fates(&self) -> impl Iterator<Item = Fate> + '_ {
        self.said.iter().flatten().map(Fate::of)
    }
}

/// The questions of all runs, in the order of the first that has each.
pub(super) fn read(runs: &[&BenchmarkRun]) -> Result<Vec<Question>, Error> {
    let mut questions: Vec<Question> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (number, run) in runs.iter().enumerate() {
        sample::interrupt::check()?;
        for score in folder::item_scores(&run.folder)? {
            let place = *places.entry(score.id.clone()).or_insert_with(|| {
                questions.push(Question {
                    record: ItemRecord {
                        id: score.id.clone(),
                        answer: score.expected.clone(),
                        ..ItemRecord::default()
                    },
                    images: Vec::new(),
                    said: vec![None; runs.len()],
                });
                questions.len() - 1
            });
            questions[place].said[number] = Some(score);
        }
        for record in folder::items(&run.folder)? {
            let Some(question) = places.get(&record.id).map(|p| &mut questions[*p]) else {
                continue;
            };
            if question.record.question.is_empty() && question.images.is_empty() {
                let found = |path: &PathBuf| below(&run.folder, path);
                question.images = record.images.iter().map(found).collect();
                question.record = record;
            }
        }
    }
    Ok(questions)
}

fn below(folder: &Path, path: &Path) -> PathBuf {
    // An absolute path stays as it is.
    folder.join(path)
}
