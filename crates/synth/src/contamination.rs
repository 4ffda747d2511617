//! Keeping benchmark problems out of what is made.
//!
//! The inspection compares what was imported; a teacher may still ask what a benchmark asks. A new
//! question goes where its wording is a benchmark question's, unless many images of the data are
//! asked in that wording, which then is a template and says nothing about a problem.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sample::{BENCHMARK_QUESTIONS, BenchmarkQuestion, read_table};

use crate::Error;
use crate::check::same;
use crate::near::Index;
use crate::request::Subject;

/// So many images of the data make a wording a common one.
const COMMON: usize = 10;

/// What benchmarks ask.
#[derive(Default)]
pub struct Contamination {
    questions: Vec<BenchmarkQuestion>,
    index: Option<Index<usize>>,
    common: HashSet<String>,
}

impl Contamination {
    /// Reads the inspection's table; nothing is contaminated where there is none, or the threshold
    /// is 0.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn read(
        inspect: Option<&Path>,
        threshold: f64,
        subjects: &[Subject],
    ) -> Result<Contamination, Error> {
        let table = inspect.map(|folder| folder.join(BENCHMARK_QUESTIONS));
        let Some(table) = table.filter(|t| threshold > 0.0 && t.is_file()) else {
            return Ok(Contamination::default());
        };
        let questions: Vec<BenchmarkQuestion> = read_table(&table)?;
        let mut index = Index::new(threshold);
        for (at, question) in questions.iter().enumerate() {
            index.insert(at, &question.question);
        }
        let mut images: HashMap<String, usize> = HashMap::new();
        for subject in subjects {
            let asked: HashSet<String> =
                subject.samples.iter().map(|s| same(&s.question)).collect();
            for question in asked {
                *images.entry(question).or_default() += 1;
            }
        }
        let common = images.into_iter().filter(|(_, n)| *n >= COMMON);
        Ok(Contamination {
            questions,
            index: Some(index),
            common: common.map(|(question, _)| question).collect(),
        })
    }

    /// How many benchmark questions there are to compare with.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Which benchmark's item asks this too, in words for a person.
    pub fn find(&self, question: &str) -> Option<String> {
        let (at, similarity) = self.index.as_ref()?.find(question)?;
        let item = self.questions.get(*at)?;
        if self.common.contains(&same(question)) {
            return None;
        }
        Some(format!(
            "{question:?} has {:.0}% of its wording in common with {} {}: {:?}",
            100.0 * similarity,
            item.benchmark,
            item.item,
            item.question
        ))
    }
}
