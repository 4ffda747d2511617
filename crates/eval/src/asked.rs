//! Questions as the outputs repeat them.
//!
//! Some official scorers read a question's choices, answer and groups from the row of outputs that
//! repeats it. Where the benchmark's file has changed since, only those give the published score.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::{Benchmark, Item, Outputs};

/// The questions to score by: where the benchmark's official code believes the rows
/// ([`Benchmark::rows_decide`]), those that the outputs repeat in the place of the benchmark's own; of
/// several rows for one question the last.
pub(crate) fn as_repeated<'a>(
    benchmark: &dyn Benchmark,
    items: &'a [Item],
    outputs: &Outputs,
) -> Cow<'a, [Item]> {
    if !benchmark.rows_decide() || outputs.items.is_empty() {
        return Cow::Borrowed(items);
    }
    let repeated: HashMap<&str, &Item> = outputs
        .items
        .iter()
        .map(|item| (item.id.as_str(), item))
        .collect();
    items
        .iter()
        .map(|item| (*repeated.get(item.id.as_str()).unwrap_or(&item)).clone())
        .collect()
}
