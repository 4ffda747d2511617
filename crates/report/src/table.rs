//! The result as plain text: what a terminal shows at the end of a run.

use sample::scores::{Accuracy, Condition, Difference, Group, Results, Verdict};

/// Tasks as rows and conditions as columns, each `41.2 [38.0, 44.5]`; above it what was asked and
/// how it was read, below it what the differences say.
pub fn table(results: &Results) -> String {
    let mut rows = vec![header()];
    rows.extend(results.tasks.iter().map(row));
    rows.push(row(&Group {
        name: "overall".to_owned(),
        ..results.overall.clone()
    }));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0))
        .collect();
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    let mut text = format!("{}\n{rule}\n", readings(results));
    let last = rows.len() - 1;
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (cell, &width))| match c {
                1 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        if i == 0 || i + 1 == last {
            text.push_str(&rule);
            text.push('\n');
        }
    }
    text.push_str(&format!("{rule}\n{}\n", verdicts(results).join("\n")));
    text
}

fn header() -> [String; 5] {
    ["task", "questions", "model", "swapped", "blind"].map(str::to_owned)
}

fn row(group: &Group) -> [String; 5] {
    [
        group.name.clone(),
        group.model.total.to_string(),
        accuracy(group.model),
        accuracy(group.swapped),
        accuracy(group.blind),
    ]
}

/// `41.2 [38.0, 44.5]`, in per cent.
pub(crate) fn accuracy(a: Accuracy) -> String {
    if a.total == 0 {
        return "-".to_owned();
    }
    format!(
        "{:.1} [{:.1}, {:.1}]",
        100.0 * a.value,
        100.0 * a.low,
        100.0 * a.high
    )
}

/// `+22.1 [+18.3, +25.9]`, in points.
pub(crate) fn difference(d: &Difference) -> String {
    match (d.items, d.interval) {
        (0, _) => "-".to_owned(),
        (_, None) => format!("{:+.1} [too few images]", 100.0 * d.value),
        (_, Some((low, high))) => {
            format!(
                "{:+.1} [{:+.1}, {:+.1}]",
                100.0 * d.value,
                100.0 * low,
                100.0 * high
            )
        }
    }
}

/// What was asked, and what went wrong in reading: the first line of every report.
pub(crate) fn readings(results: &Results) -> String {
    let of = |condition: Condition| {
        results
            .readings
            .get(&condition)
            .copied()
            .unwrap_or_default()
    };
    let (model, swapped) = (of(Condition::Model), of(Condition::Swapped));
    format!(
        "{} v{}, {} questions on {} held-out images; unparsed {}, empty {}, truncated {}, failed {} \
         (swapped: {}, {}, {}, {}; {} left out); blind guesses on wider ground {}, without any {}",
        results.benchmark,
        results.benchmark_version,
        model.asked,
        results.separation.images,
        model.unparsed,
        model.empty,
        model.truncated,
        model.failed,
        swapped.unparsed,
        swapped.empty,
        swapped.truncated,
        swapped.failed,
        swapped.left_out,
        results.blind_grounds.source + results.blind_grounds.task,
        results.blind_grounds.none,
    )
}

/// What the differences say, a line each.
pub(crate) fn verdicts(results: &Results) -> Vec<String> {
    let one = |name: &str, d: &Difference| {
        let word = match d.verdict {
            Verdict::Beats => "the model beats it",
            Verdict::Unclear => "no clear difference",
            Verdict::Loses => "the model loses to it",
        };
        format!("model less {name}: {} ({word})", difference(d))
    };
    vec![
        one("swapped", &results.overall.over_swapped),
        one("blind", &results.overall.over_blind),
        format!(
            "tasks in which the model beats both: {} of {}",
            results.tasks_won(),
            results.tasks.len()
        ),
    ]
}
