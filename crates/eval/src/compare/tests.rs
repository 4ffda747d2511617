//! The comparison held against scipy, and on runs that hardly are any.

use proptest::prelude::*;
use sample::scores::Reading;

use super::*;

/// Of golden.py beside this file. p below 1e-300 is compared as such; others to nine digits, which
/// leaves room for the order of sums.
const GOLDEN: &str = include_str!("golden.csv");

#[test]
fn the_test_and_the_interval_agree_with_scipy() {
    let mut checked = 0;
    for line in GOLDEN.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let whole = |i: usize| cells[i].parse::<u64>().unwrap();
        let wanted = |i: usize| cells[i].parse::<f64>().unwrap();
        let (one, other, items) = (whole(0), whole(1), whole(2));
        let (exact, mid) = mcnemar(one, other);
        let (low, high) = interval(one, other, items).unwrap();
        for (got, at) in [(exact, 3), (mid, 4), (low, 5), (high, 6)] {
            let close = (got - wanted(at)).abs() <= 1e-9 * wanted(at).abs() + 1e-300;
            assert!(close, "{line}: {got}");
        }
        checked += 1;
    }
    assert!(checked > 10);
}

fn verdicts(verdicts: &[(&str, bool)]) -> Vec<ItemScore> {
    verdicts
        .iter()
        .map(|(id, correct)| ItemScore {
            id: (*id).to_owned(),
            response: Some(String::new()),
            reading: Reading::Parsed,
            extraction: None,
            prediction: None,
            expected: None,
            correct: *correct,
            fallback: false,
            truncated: false,
        })
        .collect()
}

fn compared(first: &[ItemScore], second: &[ItemScore], questions: &[ItemRecord]) -> Paired {
    let score = BenchmarkScore::default();
    let run = |items| Run {
        score: &score,
        items,
    };
    compare(run(first), run(second), questions)
}

#[test]
fn flips_are_told_apart_and_joined_by_id_not_by_place() {
    let first = verdicts(&[
        ("a", true),
        ("b", false),
        ("c", true),
        ("d", false),
        ("only", true),
    ]);
    let second = verdicts(&[
        ("d", false),
        ("c", false),
        ("b", true),
        ("a", true),
        ("other", true),
    ]);
    let question = |id: &str, task: &str| ItemRecord {
        id: id.to_owned(),
        groups: vec![("task".to_owned(), task.to_owned())],
        ..ItemRecord::default()
    };
    let questions =
        ["a", "b", "c", "only"].map(|id| question(id, if id == "c" { "y" } else { "x" }));
    let paired = compared(&first, &second, &questions);
    assert_eq!(paired.flips.gained, ["b"]);
    assert_eq!(paired.flips.lost, ["c"]);
    assert_eq!(
        (paired.both_right, paired.both_wrong, paired.items),
        (1, 1, 4)
    );
    assert_eq!((paired.only_first, paired.only_second), (1, 1));
    assert_eq!((paired.difference, paired.p_exact), (0.0, 1.0));
    let groups: Vec<_> = paired
        .groups
        .iter()
        .map(|g| (&*g.name, g.items, g.gained, g.lost))
        .collect();
    assert_eq!(groups, [("x", 2, 1, 0), ("y", 1, 0, 1)]);
}

#[test]
fn odd_runs_are_compared_too() {
    let none = compared(&[], &[], &[]);
    assert_eq!(
        (none.items, none.interval, none.p_exact, none.p_mid),
        (0, None, 1.0, 1.0)
    );
    // Of an id that occurs twice the last counts, once.
    let twice = verdicts(&[("a", true), ("a", false)]);
    let paired = compared(&twice, &verdicts(&[("a", true)]), &[]);
    assert_eq!((paired.items, paired.flips.gained.len()), (1, 1));
    let apart = compared(&twice, &verdicts(&[("b", true)]), &[]);
    assert_eq!(
        (apart.items, apart.only_first, apart.only_second),
        (0, 1, 1)
    );
}

#[test]
fn runs_under_other_rules_are_remarked_on() {
    let mut second = BenchmarkScore {
        dialect: "paper".to_owned(),
        ..BenchmarkScore::default()
    };
    second.provenance.insert("data".to_owned(), "1".to_owned());
    let mut first = BenchmarkScore::default();
    first.provenance.insert("data".to_owned(), "2".to_owned());
    let run = |score| Run { score, items: &[] };
    let remarks = compare(run(&first), run(&second), &[]).remarks;
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks[0].contains("dialect") && remarks[1].contains("data"));
    assert!(compare(run(&first), run(&first), &[]).remarks.is_empty());
}

proptest! {
    #[test]
    fn the_test_is_a_chance_and_does_not_care_which_run_is_first(one in 0u64..3000, other in 0u64..3000) {
        let (exact, mid) = mcnemar(one, other);
        prop_assert!((0.0..=1.0).contains(&mid) && mid <= exact && exact <= 1.0);
        prop_assert_eq!((exact, mid), mcnemar(other, one));
        // More uneven flips are never more likely.
        if one >= other {
            prop_assert!(mcnemar(one + 1, other).0 <= exact + 1e-12);
        }
    }

    #[test]
    fn a_comparison_counts_every_question_once(
        rows in proptest::collection::vec((0u8..30, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let ids: Vec<String> = rows.iter().map(|r| r.0.to_string()).collect();
        let side = |pick: fn(&(u8, bool, bool)) -> bool, skip: usize| {
            let kept: Vec<(&str, bool)> =
                ids.iter().zip(&rows).skip(skip).map(|(id, r)| (id.as_str(), pick(r))).collect();
            verdicts(&kept)
        };
        let (first, second) = (side(|r| r.1, 0), side(|r| r.2, 3));
        let there = compared(&first, &second, &[]);
        let back = compared(&second, &first, &[]);
        let distinct = |items: &[ItemScore]| {
            items.iter().map(|i| i.id.clone()).collect::<std::collections::HashSet<_>>().len() as u64
        };
        prop_assert_eq!(there.items + there.only_first, distinct(&first));
        prop_assert_eq!(there.items + there.only_second, distinct(&second));
        prop_assert_eq!(there.difference, -back.difference);
        prop_assert_eq!(there.flips.gained.len(), back.flips.lost.len());
        if let Some((low, high)) = there.interval {
            prop_assert!(-1.0 <= low && low <= high && high <= 1.0);
        }
    }
}
