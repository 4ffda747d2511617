//! A score as text for a terminal. The first line has the accuracy with everything that makes it less
//! than it looks: replies nothing was found in, cut replies, guesses.

use sample::benchmark::BenchmarkScore;

/// `MathVista testmini, llava: 26.1% (261 of 1000); unparsed 4, truncated 0, empty 1, failed 0,
/// missing 2, fallbacks 0`.
pub fn headline(score: &BenchmarkScore) -> String {
    let model = match score.model.as_str() {
        "" => String::new(),
        model => format!(", {model}"),
    };
    format!(
        "{} {}{model}: {:.1}% ({} of {}); unparsed {}, truncated {}, empty {}, failed {}, missing {}, \
         fallbacks {}",
        score.benchmark,
        score.split,
        100.0 * score.accuracy,
        score.correct,
        score.total,
        score.unparsed,
        score.truncated,
        score.empty,
        score.failed,
        score.missing,
        score.fallbacks
    )
}

/// [`headline`], what the score was read by, its groups as a table, and its remarks.
pub fn text(score: &BenchmarkScore) -> String {
    let mut text = headline(score);
    text.push_str(&format!(
        "\nextraction {}, dialect {}, rules of {}\n",
        score.extraction, score.dialect, score.version
    ));
    for (dimension, names) in &score.groups {
        let width = names.keys().map(|n| n.chars().count()).max().unwrap_or(0);
        text.push_str(&format!("\n{dimension}\n"));
        for (name, share) in names {
            let padding = width.saturating_sub(name.chars().count());
            text.push_str(&format!(
                "  {name}{:padding$}  {:>6.2}%  {:>5} of {}\n",
                "",
                100.0 * share.accuracy,
                share.correct,
                share.total
            ));
        }
    }
    if !score.measures.is_empty() {
        text.push('\n');
        for (name, value) in &score.measures {
            text.push_str(&format!("{name} {value}\n"));
        }
    }
    if !score.remarks.is_empty() {
        text.push('\n');
    }
    for remark in &score.remarks {
        text.push_str(&format!("note: {remark}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::benchmark::Share;

    #[test]
    fn the_first_line_has_everything_that_qualifies_the_accuracy() {
        let mut score = BenchmarkScore {
            benchmark: "mathvista".into(),
            split: "testmini".into(),
            correct: 1,
            total: 8,
            accuracy: 0.125,
            unparsed: 2,
            truncated: 3,
            empty: 4,
            failed: 5,
            missing: 6,
            fallbacks: 7,
            remarks: vec!["mind the gap".into()],
            ..BenchmarkScore::default()
        };
        let group = [("Größe".to_owned(), Share::new(1, 3))].into();
        score.groups.insert("task".into(), group);
        let text = text(&score);
        assert_eq!(
            text.lines().next().unwrap(),
            "mathvista testmini: 12.5% (1 of 8); unparsed 2, truncated 3, empty 4, failed 5, \
             missing 6, fallbacks 7"
        );
        assert!(
            text.contains("\ntask\n  Größe   33.33%      1 of 3\n"),
            "{text}"
        );
        assert!(text.ends_with("note: mind the gap\n"), "{text}");
    }
}
