//! From verdicts to results: accuracies, differences and counts, by every way to group questions.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sample::scores::{Condition, Group, Reading, Readings, Results, Score};
use sample::{Task, interrupt, seed};

use super::plan::Plan;
use crate::Error;
use crate::statistics::{self, Cluster};

/// Right or wrong by item, for each of [`Condition::ALL`]; `None` where the item was left out.
type Verdicts = Vec<[Option<bool>; 3]>;

/// The results of a whole evaluation.
pub(crate) fn results(plan: &Plan, model: &str, scores: &[Score]) -> Result<Results, Error> {
    let index: BTreeMap<&str, usize> = plan
        .items
        .iter()
        .enumerate()
        .map(|(i, item)| (item.id.as_str(), i))
        .collect();
    let mut verdicts: Verdicts = vec![[None; 3]; plan.items.len()];
    let mut readings: BTreeMap<Condition, Readings> = BTreeMap::new();
    for score in scores {
        if let Some(&i) = index.get(score.id.as_str()) {
            verdicts[i][score.condition as usize] = Some(score.correct);
        }
        count(readings.entry(score.condition).or_default(), score);
    }
    for condition in Condition::ALL {
        let counts = readings.entry(condition).or_default();
        counts.left_out = plan.items.len() as u64 - counts.asked;
    }

    let items = &plan.items;
    let by = |dimension: &str, name: &dyn Fn(usize) -> Option<String>| {
        groups(plan, &verdicts, dimension, name)
    };
    let mut tasks = by("task", &|i| Some(items[i].task.name().to_owned()))?;
    tasks.sort_by_key(|group| Task::parse(&group.name));
    let overall = by("overall", &|_| Some("overall".to_owned()))?;
    Ok(Results {
        benchmark: super::samples::NAME.to_owned(),
        benchmark_version: super::samples::VERSION,
        model: model.to_owned(),
        extraction: plan.config.extraction.name().to_owned(),
        readings,
        blind_grounds: plan.grounds,
        separation: plan.separation,
        overall: overall.into_iter().next().ok_or(Error::NoItems)?,
        tasks,
        sources: by("source", &|i| Some(items[i].origin.source().to_owned()))?,
        families: by("family", &|i| Some(plan.families[i].clone()))?,
        templates: by("template", &|i| items[i].template.clone())?,
        answer_kinds: by("answer kind", &|i| Some(items[i].answer.kind().to_owned()))?,
    })
}

fn count(counts: &mut Readings, score: &Score) {
    counts.asked += 1;
    match score.reading {
        Reading::Parsed => counts.parsed += 1,
        Reading::Unparsed => counts.unparsed += 1,
        Reading::Empty => counts.empty += 1,
        Reading::Failed => counts.failed += 1,
    }
    counts.truncated += u64::from(score.truncated);
}

/// One group for each name that `name` gives to items, by name.
fn groups(
    plan: &Plan,
    verdicts: &Verdicts,
    dimension: &str,
    name: &dyn Fn(usize) -> Option<String>,
) -> Result<Vec<Group>, Error> {
    let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for i in 0..plan.items.len() {
        if let Some(name) = name(i) {
            members.entry(name).or_default().push(i);
        }
    }
    members
        .into_par_iter()
        .map(|(name, members)| {
            interrupt::check()?;
            Ok(group(plan, verdicts, dimension, name, &members))
        })
        .collect()
}

fn group(
    plan: &Plan,
    verdicts: &Verdicts,
    dimension: &str,
    name: String,
    members: &[usize],
) -> Group {
    let accuracy = |condition: Condition| {
        let asked = members
            .iter()
            .filter_map(|&i| verdicts[i][condition as usize]);
        let (correct, total) = asked.fold((0, 0), |(correct, total), right| {
            (correct + u64::from(right), total + 1)
        });
        statistics::accuracy(correct, total)
    };
    let over = |other: Condition| {
        let mut clusters: BTreeMap<&str, Cluster> = BTreeMap::new();
        for &i in members {
            let both = (
                verdicts[i][Condition::Model as usize],
                verdicts[i][other as usize],
            );
            if let (Some(own), Some(other)) = both {
                let cluster = clusters.entry(&plan.items[i].image.sha256).or_default();
                cluster.difference += i64::from(own) - i64::from(other);
                cluster.items += 1;
            }
        }
        let clusters: Vec<Cluster> = clusters.into_values().collect();
        let mut rng = seed::rng(plan.seed, &["bootstrap", dimension, &name, other.name()]);
        statistics::difference(&clusters, plan.config.resamples, &mut rng)
    };
    Group {
        model: accuracy(Condition::Model),
        swapped: accuracy(Condition::Swapped),
        blind: accuracy(Condition::Blind),
        over_swapped: over(Condition::Swapped),
        over_blind: over(Condition::Blind),
        name,
    }
}
