//! Two runs on the same questions, compared question by question.
//!
//! Two intervals that overlap say little: the runs answered the same questions, and where both are right
//! or both wrong nothing is learnt. What counts is the flips. McNemar's test asks how likely flips so
//! uneven are if each were a fair coin: the binomial distribution itself, not the chi-squared
//! approximation of it, since subgroups have few.
//!
//! - Exact two-sided p: twice the chance of as few flips or fewer on the rarer side, at most 1.
//! - Mid-p: the same less the chance of exactly what was seen. It is not conservative, and keeps its
//!   level in practice (Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91).
//! - Interval of the difference: Bonett and Price's adjusted Wald (2012, Biometrical Journal 54:479),
//!   Laplace's half-flips added on either side.

use std::collections::HashMap;

use sample::benchmark::folder::ItemRecord;
use sample::benchmark::paired::{Flips, GroupFlips, Paired};
use sample::benchmark::{BenchmarkScore, ItemScore};

use crate::statistics::Z;

/// One run: its score and its verdicts.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Its score.
    pub score: &'a BenchmarkScore,
    /// Its verdicts.
    pub items: &'a [ItemScore],
}

/// Compares `second` with `first` on the questions that both have; of an id that occurs twice in a run
/// the last counts. `questions` give the groups flips are counted by, and may be empty. Runs of other
/// rules are compared too, with a remark; total on any input.
pub fn compare(first: Run<'_>, second: Run<'_>, questions: &[ItemRecord]) -> Paired {
    let verdicts = |run: Run<'_>| -> HashMap<String, bool> {
        let items = run.items.iter();
        items.map(|item| (item.id.clone(), item.correct)).collect()
    };
    let (before, after) = (verdicts(first), verdicts(second));
    let mut flips = Flips::default();
    let (mut both_right, mut both_wrong, mut only_first) = (0, 0, 0);
    let mut seen = std::collections::HashSet::new();
    for item in first.items {
        let id = item.id.as_str();
        if !seen.insert(id) {
            continue;
        }
        match (before.get(id).copied(), after.get(id).copied()) {
            (Some(true), Some(true)) => both_right += 1,
            (Some(false), Some(false)) => both_wrong += 1,
            (Some(false), Some(true)) => flips.gained.push(id.to_owned()),
            (Some(true), Some(false)) => flips.lost.push(id.to_owned()),
            _ => only_first += 1,
        }
    }
    let (gained, lost) = (flips.gained.len() as u64, flips.lost.len() as u64);
    let items = both_right + both_wrong + gained + lost;
    let (p_exact, p_mid) = mcnemar(gained, lost);
    Paired {
        first: first.score.model.clone(),
        second: second.score.model.clone(),
        items,
        both_right,
        both_wrong,
        groups: by_group(questions, &before, &after),
        flips,
        only_first,
        only_second: after.keys().filter(|id| !before.contains_key(*id)).count() as u64,
        difference: if items == 0 {
            0.0
        } else {
            (gained as f64 - lost as f64) / items as f64
        },
        interval: interval(gained, lost, items),
        p_exact,
        p_mid,
        remarks: remarks(first.score, second.score),
    }
}

/// McNemar's exact two-sided p and its mid-p, of flips one way and the other.
pub fn mcnemar(one: u64, other: u64) -> (f64, f64) {
    let (few, n) = (one.min(other), one.saturating_add(other));
    if n == 0 {
        return (1.0, 1.0);
    }
    // The chance of exactly `few`, by logarithms since 2^-n has no float beyond a thousand flips.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    for i in 1..=few {
        log += (((n - few + i) as f64) / i as f64).ln();
    }
    let exactly = log.exp();
    // Smaller counts are ever less likely: each is the one above times k / (n - k + 1).
    let (mut term, mut tail) = (exactly, exactly);
    for k in (1..=few).rev() {
        term *= k as f64 / (n - k + 1) as f64;
        tail += term;
        if term < tail * 1e-18 {
            break;
        }
    }
    let mid = (2.0 * tail - exactly).clamp(0.0, 1.0);
    ((2.0 * tail).clamp(mid, 1.0), mid)
}

/// The 95% interval of the difference of two paired shares.
fn interval(gained: u64, lost: u64, items: u64) -> Option<(f64, f64)> {
    if items == 0 {
        return None;
    }
    let n = items as f64 + 2.0;
    let (up, down) = ((gained as f64 + 1.0) / n, (lost as f64 + 1.0) / n);
    let half = Z * ((up + down - (up - down).powi(2)) / n).sqrt();
    let ends = (up - down - half, up - down + half);
    Some((ends.0.max(-1.0), ends.1.min(1.0)))
}

fn by_group(
    questions: &[ItemRecord],
    before: &HashMap<String, bool>,
    after: &HashMap<String, bool>,
) -> Vec<GroupFlips> {
    let mut groups: Vec<GroupFlips> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for question in questions {
        let (Some(before), Some(after)) = (before.get(&question.id), after.get(&question.id))
        else {
            continue;
        };
        for (dimension, name) in &question.groups {
            let place = *places.entry((dimension, name)).or_insert_with(|| {
                groups.push(GroupFlips {
                    dimension: dimension.clone(),
                    name: name.clone(),
                    items: 0,
                    gained: 0,
                    lost: 0,
                });
                groups.len() - 1
            });
            let group = &mut groups[place];
            group.items += 1;
            group.gained += u64::from(!before && *after);
            group.lost += u64::from(*before && !after);
        }
    }
    groups.sort_by(|a, b| (&a.dimension, &a.name).cmp(&(&b.dimension, &b.name)));
    groups
}

/// What makes two scores differ besides the model.
fn remarks(first: &BenchmarkScore, second: &BenchmarkScore) -> Vec<String> {
    let mut remarks = Vec::new();
    for (what, a, b) in [
        ("benchmark", &first.benchmark, &second.benchmark),
        ("split", &first.split, &second.split),
        ("rules", &first.version, &second.version),
        ("dialect", &first.dialect, &second.dialect),
        ("extraction", &first.extraction, &second.extraction),
    ] {
        if a != b {
            remarks.push(format!("the runs differ in their {what}: {a:?} and {b:?}"));
        }
    }
    for key in ["data", "prompt", "sampling", "judge"] {
        let (a, b) = (first.provenance.get(key), second.provenance.get(key));
        if let (Some(a), Some(b)) = (a, b)
            && a != b
        {
            remarks.push(format!("the runs differ in their {key}: {a:?} and {b:?}"));
        }
    }
    remarks
}

#[cfg(test)]
mod tests;
