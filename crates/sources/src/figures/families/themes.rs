//! What charts are about: titles with the labels that belong to them.

use crate::figures::random::{Rng8, pick, several};

/// A subject for a chart with one value per label.
pub(crate) struct Theme {
    pub title: &'static str,
    /// What a label names: "fruit".
    pub kind: &'static str,
    labels: &'static [&'static str],
    /// Labels have an order that a chart keeps.
    ordered: bool,
}

const fn theme(
    title: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    ordered: bool,
) -> Theme {
    Theme {
        title,
        kind,
        labels,
        ordered,
    }
}

static AMOUNTS: &[Theme] = &[
    theme(
        "Favourite fruit",
        "fruit",
        &["Apple", "Pear", "Plum", "Kiwi", "Fig", "Lime"],
        false,
    ),
    theme(
        "Pets in the class",
        "pet",
        &["Cat", "Dog", "Fish", "Bird", "Frog", "Pony"],
        false,
    ),
    theme(
        "Books read",
        "day",
        &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
        true,
    ),
    theme(
        "Rainy days",
        "month",
        &["Jan", "Feb", "Mar", "Apr", "May", "Jun"],
        true,
    ),
    theme(
        "Goals scored",
        "team",
        &["Reds", "Stars", "Owls", "Bears", "Jets", "Lions"],
        false,
    ),
    theme(
        "Tickets sold",
        "child",
        &["Ann", "Ben", "Eva", "Leo", "Mia", "Tom"],
        false,
    ),
    theme(
        "Trees planted",
        "town",
        &["Ash", "Bay", "Dale", "Ford", "Hill", "York"],
        false,
    ),
    theme("Cakes sold", "shop", &["A", "B", "C", "D", "E", "F"], false),
    theme(
        "Sports played",
        "sport",
        &["Golf", "Judo", "Polo", "Swim", "Ski", "Run"],
        false,
    ),
];

static SERIES: &[(&str, &[&str])] = &[
    ("Temperature", &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]),
    ("Visitors", &["Jan", "Feb", "Mar", "Apr", "May", "Jun"]),
    ("Plant height", &["1", "2", "3", "4", "5", "6"]),
    ("Sales", &["2015", "2016", "2017", "2018", "2019", "2020"]),
    (
        "Water level",
        &["8 am", "9 am", "10 am", "11 am", "12", "1 pm"],
    ),
    ("Points", &["R1", "R2", "R3", "R4", "R5", "R6"]),
];

/// Title, kind of label, and `n` labels (at most six).
pub(crate) fn amounts(rng: &mut Rng8, n: usize) -> (String, String, Vec<String>) {
    let index: Vec<usize> = (0..AMOUNTS.len()).collect();
    let theme = &AMOUNTS[pick(rng, &index)];
    let labels = if theme.ordered {
        theme.labels.iter().take(n).copied().collect()
    } else {
        several(rng, theme.labels, n)
    };
    (
        theme.title.to_owned(),
        theme.kind.to_owned(),
        labels.into_iter().map(str::to_owned).collect(),
    )
}

/// Title and `n` labels in time (at most six).
pub(crate) fn over_time(rng: &mut Rng8, n: usize) -> (String, Vec<String>) {
    let (title, labels) = pick(rng, SERIES);
    (
        title.to_owned(),
        labels.iter().take(n).map(|l| (*l).to_owned()).collect(),
    )
}
