//! Which rows are wanted, in which order, and how many there would be of each value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Index;

/// Answers that are kept: people go back and forth between a few.
const KEPT: usize = 8;

/// In which order rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// As the table has them.
    #[default]
    Table,
    /// In an order that has nothing to do with the rows, and stays: what a fair look needs.
    Shuffled,
    /// Complex images first.
    Hardest,
    /// Plain images first.
    Easiest,
    /// Long texts first.
    Longest,
    /// Short texts first.
    Shortest,
}

impl Order {
    /// All of them: the name in addresses, and for people.
    pub const ALL: [(Order, &'static str, &'static str); 6] = [
        (Order::Table, "table", "as in the table"),
        (Order::Shuffled, "shuffled", "shuffled"),
        (Order::Hardest, "hardest", "complex images first"),
        (Order::Easiest, "easiest", "plain images first"),
        (Order::Longest, "longest", "longest first"),
        (Order::Shortest, "shortest", "shortest first"),
    ];

    /// The order of that name in addresses.
    pub fn parse(name: &str) -> Option<Order> {
        let found = Order::ALL.into_iter().find(|(_, key, _)| *key == name);
        found.map(|(order, ..)| order)
    }

    /// Its name in addresses.
    pub fn key(self) -> &'static str {
        let found = Order::ALL.into_iter().find(|(order, ..)| *order == self);
        found.map_or("table", |(_, key, _)| key)
    }
}

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// Words that a row's texts have.
    pub words: String,
    /// For a column by its key the values of which a row has one.
    pub values: BTreeMap<String, Vec<String>>,
    /// In which order.
    pub order: Order,
}

/// The rows that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matches {
    /// In order.
    pub rows: Vec<u32>,
    /// For each column and value of it how many rows there are, were the column not filtered by.
    pub counts: Vec<Vec<u32>>,
}

/// The answers to what was asked last.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<Vec<(Wanted, Arc<Matches>)>>);

impl Found {
    pub fn get(&self, wanted: &Wanted, find: impl FnOnce() -> Matches) -> Arc<Matches> {
        let locked = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = locked();
            if let Some(at) = kept.iter().position(|(known, _)| known == wanted) {
                let known = kept.remove(at);
                let matches = Arc::clone(&known.1);
                kept.push(known);
                return matches;
            }
        }
        // Two who ask the same at once each find it; that is rarer than two who ask different things.
        let matches = Arc::new(find());
        let mut kept = locked();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((wanted.clone(), Arc::clone(&matches)));
        matches
    }
}

pub(super) fn find(index: &Index, wanted: &Wanted) -> Matches {
    // For each column that is filtered by: which of its values are allowed.
    let allowed: Vec<Option<Vec<bool>>> = index
        .facets
        .iter()
        .map(|facet| {
            let values = wanted.values.get(facet.key)?;
            let mut allowed = vec![false; facet.values.len()];
            for value in values {
                if let Some(code) = facet.code(value) {
                    allowed[usize::from(code)] = true;
                }
            }
            Some(allowed)
        })
        .collect();
    let mut rows = Vec::new();
    let mut counts: Vec<Vec<u32>> = index
        .facets
        .iter()
        .map(|f| vec![0; f.values.len()])
        .collect();
    let mut look = |row: usize| {
        let (mut failed, mut last) = (0, 0);
        for (at, (facet, allowed)) in index.facets.iter().zip(&allowed).enumerate() {
            if let Some(allowed) = allowed
                && !allowed[usize::from(facet.codes[row])]
            {
                (failed, last) = (failed + 1, at);
            }
        }
        match failed {
            0 => {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                for (facet, counts) in index.facets.iter().zip(&mut counts) {
                    counts[usize::from(facet.codes[row])] += 1;
                }
            }
            1 => counts[last][usize::from(index.facets[last].codes[row])] += 1,
            _ => {}
        }
    };
    if wanted.words.is_empty() {
        (0..index.len()).for_each(look);
    } else {
        // Who knows a row's name finds the row by it.
        let mut named = index.named(&wanted.words);
        named.reverse();
        let words = wanted.words.to_lowercase();
        index.lowered.search(&words, |row| {
            while named.last().is_some_and(|name| *name < row) {
                named.pop().into_iter().for_each(&mut look);
            }
            if named.last() == Some(&row) {
                named.pop();
            }
            look(row);
        });
        named.into_iter().rev().for_each(look);
    }
    sort(index, wanted.order, &mut rows);
    Matches { rows, counts }
}

fn sort(index: &Index, order: Order, rows: &mut [u32]) {
    let length = |row: u32| u32::try_from(index.texts.get(row as usize).len()).unwrap_or(u32::MAX);
    match order {
        Order::Table => {}
        Order::Shuffled => rows.sort_unstable_by_key(|row| (mixed(*row), *row)),
        Order::Longest => rows.sort_by_cached_key(|row| std::cmp::Reverse(length(*row))),
        Order::Shortest => rows.sort_by_cached_key(|row| length(*row)),
        Order::Hardest | Order::Easiest => {
            let Some(facet) = index.facet("level") else {
                return;
            };
            // Images without a grade come last, either way.
            let levels: Vec<Option<i64>> = facet.values.iter().map(|v| v.parse().ok()).collect();
            let key = |row: &u32| match levels[usize::from(facet.codes[*row as usize])] {
                None => i64::MAX,
                Some(level) if order == Order::Hardest => -level,
                Some(level) => level,
            };
            rows.sort_by_key(key);
        }
    }
}

/// A row's place in the shuffle: its bits, mixed as SplitMix64 mixes its counter.
fn mixed(row: u32) -> u64 {
    let mut bits = (u64::from(row) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
