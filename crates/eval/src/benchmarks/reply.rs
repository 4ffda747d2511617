//! How one reply is scored where a benchmark finds an answer in it and then decides on that alone.

use std::collections::BTreeMap;

use sample::benchmark::{ItemScore, Share};
use sample::scores::Reading;

use crate::{Answer, Item};

/// Scores one reply: `extract` finds the answer where no earlier stage has, `right` decides. A reply
/// without an answer is wrong.
pub(super) fn score(
    item: &Item,
    answer: &Answer,
    extract: impl FnOnce(&str) -> String,
    right: impl FnOnce(&str) -> bool,
) -> ItemScore {
    let response = answer
        .response
        .as_deref()
        .filter(|text| !text.trim().is_empty());
    let extraction = match (&answer.extraction, response) {
        (Some(extraction), _) => Some(extraction.clone()),
        (None, Some(response)) => Some(extract(response)),
        (None, None) => None,
    };
    let found = extraction.as_deref().filter(|text| !text.trim().is_empty());
    let reading = match (&answer.failed, found, response) {
        (Some(_), ..) => Reading::Failed,
        (None, Some(_), _) => Reading::Parsed,
        (None, None, Some(_)) => Reading::Unparsed,
        (None, None, None) => Reading::Empty,
    };
    let correct = match (reading, found) {
        (Reading::Parsed, Some(found)) => item.answer.is_some() && right(found),
        _ => false,
    };
    ItemScore {
        id: item.id.clone(),
        response: answer.response.clone(),
        reading,
        prediction: found.map(str::to_owned),
        extraction,
        expected: item.answer.clone(),
        correct,
        fallback: false,
        truncated: answer.truncated,
    }
}

/// The groups of an item: dimensions and names, without those that have none.
pub(super) fn groups<const N: usize>(named: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    named
        .into_iter()
        .filter_map(|(dimension, name)| Some((dimension.to_owned(), name?)))
        .filter(|(_, name)| !name.is_empty())
        .collect()
}

/// The accuracy of each group of a dimension.
pub(super) fn accuracies(
    items: &[Item],
    scored: &[ItemScore],
    dimension: &str,
) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (item, score) in items.iter().zip(scored) {
        for (_, name) in item.groups.iter().filter(|(of, _)| of == dimension) {
            let (correct, total) = counts.entry(name).or_default();
            *correct += u64::from(score.correct);
            *total += 1;
        }
    }
    counts
        .into_iter()
        .map(|(name, (correct, total))| (name.to_owned(), Share::new(correct, total).accuracy))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn item() -> Item {
        Item {
            id: "1".into(),
            question: String::new(),
            choices: Vec::new(),
            answer: Some("B".into()),
            kind: Kind::Open,
            unit: None,
            precision: None,
            pictures: Vec::new(),
            groups: Vec::new(),
            extra: serde_json::Map::new(),
        }
    }

    fn answer(response: Option<&str>, extraction: Option<&str>) -> Answer {
        Answer {
            id: "1".into(),
            response: response.map(str::to_owned),
            extraction: extraction.map(str::to_owned),
            ..Answer::default()
        }
    }

    #[test]
    fn every_way_to_be_without_an_answer_is_told_apart_and_wrong() {
        let mut failed = answer(Some("B"), None);
        failed.failed = Some("timeout".into());
        for (answer, reading, correct) in [
            (answer(Some("B"), None), Reading::Parsed, true),
            (answer(None, Some("B")), Reading::Parsed, true),
            (answer(Some("C"), Some("B")), Reading::Parsed, true),
            (answer(Some("B"), Some("")), Reading::Unparsed, false),
            (answer(Some(" \n"), None), Reading::Empty, false),
            (answer(None, None), Reading::Empty, false),
            (failed, Reading::Failed, false),
        ] {
            let score = score(&item(), &answer, str::to_owned, |found| found == "B");
            assert_eq!(
                (score.reading, score.correct),
                (reading, correct),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn nothing_is_right_where_the_answer_is_not_published() {
        let mut item = item();
        item.answer = None;
        assert!(!score(&item, &answer(Some("B"), None), str::to_owned, |_| true).correct);
    }
}
