//! The blind condition: the best that can be done from training answers alone.
//!
//! For each question, the most frequent training answer to the same question template; for multiple
//! choice, the option that was most often the right one where it was offered. Where training does
//! not know the template, the guess goes back to wider ground, which is counted. The right answer's
//! kind is used on wider ground although a guesser could not know it: it can only make the guess
//! better, and so the comparison stricter.

use std::collections::BTreeMap;

use sample::scores::Grounds;
use sample::{Answer, Sample, Task};

/// What training answers say about one ground.
#[derive(Debug, Default)]
struct Tally {
    /// Printed answers of free-form questions.
    answers: BTreeMap<String, u64>,
    /// Texts of right options.
    options: BTreeMap<String, u64>,
    /// Positions of right options.
    letters: BTreeMap<usize, u64>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ground<'a> {
    Template {
        source: &'a str,
        template: &'a str,
        options: bool,
    },
    Source {
        source: &'a str,
        task: Task,
        shape: Shape<'a>,
    },
    Task {
        task: Task,
        shape: Shape<'a>,
    },
}

/// Answer kind, and the count of options where there are some.
type Shape<'a> = (&'a str, usize);

/// Answers of training pairs, by ground.
#[derive(Debug)]
pub(crate) struct Guesser<'a> {
    tallies: BTreeMap<Ground<'a>, Tally>,
}

impl<'a> Guesser<'a> {
    pub(crate) fn new(training: &'a [Sample]) -> Self {
        let mut tallies: BTreeMap<Ground<'a>, Tally> = BTreeMap::new();
        for sample in training {
            for ground in grounds(sample) {
                tallies.entry(ground).or_default().add(sample);
            }
        }
        Guesser { tallies }
    }

    /// The printed guess for one question, with the ground counted.
    pub(crate) fn guess(&self, item: &Sample, counts: &mut Grounds) -> String {
        for ground in grounds(item) {
            let Some(tally) = self.tallies.get(&ground) else {
                continue;
            };
            match ground {
                Ground::Template { .. } => counts.template += 1,
                Ground::Source { .. } => counts.source += 1,
                Ground::Task { .. } => counts.task += 1,
            }
            return tally.best(item);
        }
        counts.none += 1;
        if item.choices.is_empty() {
            String::new()
        } else {
            Answer::Choice(0).text()
        }
    }
}

/// The grounds a sample belongs to, the narrowest first.
fn grounds(sample: &Sample) -> impl Iterator<Item = Ground<'_>> {
    let source = sample.origin.source();
    let task = sample.task;
    let shape = (sample.answer.kind(), sample.choices.len());
    let options = !sample.choices.is_empty();
    let narrow = sample.template.as_deref().map(|template| Ground::Template {
        source,
        template,
        options,
    });
    narrow.into_iter().chain([
        Ground::Source {
            source,
            task,
            shape,
        },
        Ground::Task { task, shape },
    ])
}

impl Tally {
    fn add(&mut self, sample: &Sample) {
        match &sample.answer {
            Answer::Choice(index) => {
                *self.options.entry(sample.answer_value()).or_default() += 1;
                *self.letters.entry(*index).or_default() += 1;
            }
            answer => *self.answers.entry(answer.text()).or_default() += 1,
        }
    }

    fn best(&self, item: &Sample) -> String {
        if item.choices.is_empty() {
            // The first of equals in the alphabet: a BTreeMap iterates in order, and only a greater
            // count displaces.
            let mut best = ("", 0);
            for (answer, &count) in &self.answers {
                if count > best.1 {
                    best = (answer, count);
                }
            }
            return best.0.to_owned();
        }
        let count = |i: usize, choice: &String| {
            let of = |n: Option<&u64>| n.copied().unwrap_or(0);
            (of(self.options.get(choice)), of(self.letters.get(&i)))
        };
        let mut best = (0, (0, 0));
        for (i, choice) in item.choices.iter().enumerate() {
            let count = count(i, choice);
            if count > best.1 {
                best = (i, count);
            }
        }
        Answer::Choice(best.0).text()
    }
}
