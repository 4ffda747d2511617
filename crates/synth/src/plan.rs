//! The balance plan: how many pairs of each kind are asked for about which images, before anything
//! is sent.
//!
//! Without a total every image gets the counts of the configuration, which for the paper's counts
//! are the paper's proportions. A total is shared out over the kinds by their shares; a kind's part
//! over the groups of images (task and source) by their room; and a group's part over its images in
//! an order drawn by seed, so that no image gets a second kind's pairs before it is its turn.

use std::collections::BTreeMap;

use sample::{Sample, Task, seed};
use serde::{Deserialize, Serialize};

use crate::augmentation::{AUGMENTATIONS, KINDS};
use crate::config::SynthConfig;
use crate::request::Subject;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// For each image, in order: pairs of each kind, in the order of [`AUGMENTATIONS`].
    pub counts: Vec<[usize; KINDS]>,
    /// The same by kind, task and source.
    pub lines: Vec<Line>,
}

/// The plan for one kind, task and source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The kind.
    pub kind: String,
    /// The task's short name.
    pub task: String,
    /// The source.
    pub source: String,
    /// Images that are asked about; each is one request.
    pub requests: u64,
    /// Pairs that are asked for.
    pub pairs: u64,
}

/// Makes the plan.
pub fn plan(config: &SynthConfig, run_seed: u64, subjects: &[Subject]) -> Plan {
    let parents: Vec<Option<&Sample>> = subjects.iter().map(|s| s.parent(run_seed)).collect();
    let mut groups: BTreeMap<(Task, &str), Vec<usize>> = BTreeMap::new();
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            let group = (parent.task, parent.origin.source());
            groups.entry(group).or_default().push(at);
        }
    }
    let mut counts = vec![[0; KINDS]; subjects.len()];
    let asked: usize = groups.values().map(Vec::len).sum();
    let shares = config.shares();
    let parts = (config.total > 0).then(|| apportion(config.total, &shares));
    let mut lines = Vec::new();
    for (k, kind) in AUGMENTATIONS.iter().enumerate() {
        let most = config.count(*kind);
        let room: Vec<f64> = groups.values().map(|g| (g.len() * most) as f64).collect();
        let wanted = parts
            .as_ref()
            .map_or(u64::MAX, |parts| parts[k])
            .min((asked * most) as u64);
        for (((task, source), images), part) in groups.iter().zip(apportion(wanted, &room)) {
            let mut order: Vec<(u64, usize)> = images
                .iter()
                .map(|&at| {
                    (
                        seed::derive(run_seed, &["plan", kind.name(), id(&parents, at)]),
                        at,
                    )
                })
                .collect();
            order.sort_unstable();
            let (mut left, mut requests) = (part as usize, 0);
            for (_, at) in order {
                let count = most.min(left);
                counts[at][k] = count;
                left -= count;
                requests += u64::from(count > 0);
            }
            if part > 0 {
                lines.push(Line {
                    kind: kind.name().to_owned(),
                    task: task.name().to_owned(),
                    source: (*source).to_owned(),
                    requests,
                    pairs: part,
                });
            }
        }
    }
    Plan { counts, lines }
}

fn id<'a>(parents: &[Option<&'a Sample>], at: usize) -> &'a str {
    parents[at].map_or("", |parent| parent.id.as_str())
}

/// Shares `total` out by weight: largest remainders, the first of equals first; never more than
/// `total`, and exactly that where any weight is above zero.
pub(crate) fn apportion(total: u64, weights: &[f64]) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|w| total as f64 * w / sum).collect();
    let mut parts: Vec<u64> = exact.iter().map(|e| e.floor() as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| {
        exact[b]
            .fract()
            .total_cmp(&exact[a].fract())
            .then(a.cmp(&b))
    });
    let left = total.saturating_sub(parts.iter().sum());
    for &at in order.iter().cycle().take(left as usize) {
        parts[at] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{sample, subject};

    fn subjects(sources: &[(&str, Task, usize)]) -> Vec<Subject> {
        let mut all = Vec::new();
        for (source, task, n) in sources {
            for i in 0..*n {
                let mut one = sample(&format!("{source}:{i}"), &format!("{source}/{i}.png"));
                one.task = *task;
                one.origin = sample::Origin::Source {
                    source: (*source).into(),
                    row: i.to_string(),
                };
                all.push(subject(one));
            }
        }
        all
    }

    fn sums(plan: &Plan) -> [usize; KINDS] {
        let mut sums = [0; KINDS];
        for counts in &plan.counts {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        sums
    }

    #[test]
    fn without_a_total_every_image_gets_the_papers_pairs() {
        let subjects = subjects(&[("a", Task::Fqa, 7), ("b", Task::Mwp, 3)]);
        let plan = plan(&SynthConfig::default(), 1, &subjects);
        assert!(plan.counts.iter().all(|c| *c == [5, 1, 1, 1]));
        assert_eq!(plan.lines.len(), 8);
        assert_eq!((plan.lines[0].requests, plan.lines[0].pairs), (7, 35));
    }

    #[test]
    fn a_total_is_shared_in_proportion_over_kinds_and_sources() {
        let subjects = subjects(&[("a", Task::Fqa, 60), ("b", Task::Mwp, 40)]);
        let config = SynthConfig {
            total: 400,
            ..SynthConfig::default()
        };
        let made = plan(&config, 1, &subjects);
        assert_eq!(sums(&made), [250, 50, 50, 50]);
        let pairs = |kind: &str| -> Vec<u64> {
            let of = made.lines.iter().filter(|l| l.kind == kind);
            of.map(|l| l.pairs).collect()
        };
        assert_eq!(
            (pairs("askimg"), pairs("simpq")),
            (vec![150, 100], vec![30, 20])
        );
        assert_eq!(made, plan(&config, 1, &subjects));
        assert_ne!(made.counts, plan(&config, 2, &subjects).counts);
        // More than there is room for is what there is room for.
        let config = SynthConfig {
            total: 1_000_000,
            ..config
        };
        assert_eq!(sums(&plan(&config, 1, &subjects)), [500, 100, 100, 100]);
    }

    proptest::proptest! {
        #[test]
        fn parts_sum_to_the_whole(
            total in 0u64..10_000, weights in proptest::collection::vec(0.0f64..9.0, 1..9),
        ) {
            let parts = apportion(total, &weights);
            let expected = if weights.iter().sum::<f64>() > 0.0 { total } else { 0 };
            proptest::prop_assert_eq!(parts.iter().sum::<u64>(), expected);
        }
    }
}
