//! Grouped bar charts: several series side by side over the same labels, with a legend.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::{axes, themes};
use crate::figures::canvas::{Anchor, Area, Canvas, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, list, ordinal, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct GroupedBar;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    kind: String,
    labels: Vec<String>,
    series: Vec<String>,
    hues: Vec<Hue>,
    /// One row per series.
    values: Vec<Vec<i64>>,
    max: i64,
}

const SERIES: &[&[&str]] = &[
    &["Girls", "Boys", "Staff"],
    &["2022", "2023", "2024"],
    &["Shop", "Online", "Fair"],
    &["North", "South", "East"],
];

impl Figure for GroupedBar {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "grouped_bar"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let groups = count(rng, 2, 5);
        let series = if groups > 3 { 2 } else { count(rng, 2, 3) };
        let (title, kind, labels) = themes::amounts(rng, groups);
        let factor = pick(rng, &[1, 2, 5]);
        // Bars of one group differ clearly, and one bar is the tallest of all.
        let columns: Vec<Vec<i64>> = loop {
            let columns: Vec<Vec<i64>> =
                (0..groups).map(|_| spread(rng, series, 1, 10, 2)).collect();
            let mut tops: Vec<i64> = columns.iter().flatten().copied().collect();
            tops.sort_unstable();
            if tops[tops.len() - 1] > tops[tops.len() - 2] && tops[0] < tops[1] {
                break columns;
            }
        };
        let names = pick(rng, SERIES);
        Scene {
            title: chance(rng, 0.6).then_some(title),
            kind,
            labels,
            series: names.iter().take(series).map(|s| (*s).to_owned()).collect(),
            hues: Hue::some(rng, series),
            values: (0..series)
                .map(|s| columns.iter().map(|c| c[s] * factor).collect())
                .collect(),
            max: 10 * factor,
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let (groups, series) = (s.labels.len(), s.series.len());
        expect(
            (2..=5).contains(&groups) && (2..=3).contains(&series),
            "2-5 labels, 2-3 series",
        )?;
        expect(
            s.hues.len() == series && distinct(&s.hues),
            "a hue of its own for each series",
        )?;
        expect(s.values.len() == series, "a row of values for each series")?;
        expect(
            s.values.iter().all(|r| r.len() == groups),
            "a value for each label",
        )?;
        expect((1..=1000).contains(&s.max), "max from 1 to 1000")?;
        expect(
            s.values.iter().flatten().all(|v| (0..=s.max).contains(v)),
            "values from 0 to max",
        )?;
        let texts = s
            .labels
            .iter()
            .chain(&s.series)
            .chain(&s.title)
            .chain([&s.kind]);
        expect(texts.into_iter().all(|t| plain(t)), "plain texts")?;
        expect(
            distinct(&s.labels) && distinct(&s.series),
            "distinct labels and series",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.labels.len() * s.series.len(),
            relations: s.series.len(),
            computation: 2,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let entries: Vec<_> = s
            .hues
            .iter()
            .zip(&s.series)
            .map(|(h, t)| (look.hue(*h), t.clone()))
            .collect();
        let room = axes::legend(canvas, room, &entries);
        let plot = axes::upwards(canvas, room, s.max, (s.max / 5).max(1));
        let slot = plot.area.width() / s.labels.len() as f32;
        let thick = (slot * 0.78 / s.series.len() as f32).min(30.0);
        for (g, label) in s.labels.iter().enumerate() {
            let middle = plot.area.left + (g as f32 + 0.5) * slot;
            let first = middle - thick * s.series.len() as f32 / 2.0;
            for (i, row) in s.values.iter().enumerate() {
                let x = first + thick * i as f32;
                let top = plot.scale.at(row[g] as f32);
                let paint = fill(look.hue(s.hues[i])).in_look(&look);
                canvas.rect(Area::new(x, top, x + thick, plot.area.bottom), paint);
            }
            let below = plot.area.bottom + 5.0 + look.text * 0.45;
            canvas.label((middle, below), Anchor::Middle, label);
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let (groups, series) = (s.labels.len(), s.series.len());
        let names: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let cells = || (0..series).flat_map(move |i| (0..groups).map(move |g| (i, g)));
        let high = cells()
            .max_by_key(|(i, g)| s.values[*i][*g])
            .unwrap_or((0, 0));
        let low = cells()
            .min_by_key(|(i, g)| s.values[*i][*g])
            .unwrap_or((0, 0));
        let mut all = vec![
            seen(
                "groups",
                int(groups),
                [
                    "How many groups of bars are there?",
                    "What is the number of groups of bars?",
                    "Number of groups?",
                ],
            )
            .near_misses()
            .measures("the number of groups"),
            seen(
                "bars",
                int(groups * series),
                [
                    "How many bars are there in all?",
                    "What is the total number of bars?",
                    "Number of bars?",
                ],
            )
            .near_misses()
            .steps(2)
            .measures("the number of bars"),
            seen(
                "colours",
                list(names.clone()),
                [
                    "List the colours of the bars in a group, from left to right.",
                    "Which colours do the bars of a group have, from left to right?",
                    "Bar colours of a group from left?",
                ],
            )
            .steps(2),
        ];
        for (template, which, what) in [
            ("tallest_colour", high, "tallest"),
            ("shortest_colour", low, "shortest"),
        ] {
            all.push(
                seen(
                    template,
                    word(&*names[which.0]),
                    [
                        format!("What colour is the {what} bar of all?"),
                        format!("Which colour does the {what} bar in the chart have?"),
                        format!("Colour of {what} bar?"),
                    ],
                )
                .among(pool.clone()),
            );
        }
        all.push(seen(
            "tallest_group",
            int(high.1 + 1),
            [
                "In which group, counted from the left, is the tallest bar? Give its number.",
                "Counting groups from the left, which one has the tallest bar?",
                "Group number of tallest bar?",
            ],
        ));
        for g in 0..groups {
            let place = ordinal(g);
            let top = (0..series).max_by_key(|i| s.values[*i][g]).unwrap_or(0);
            all.push(
                seen(
                    "group_colour",
                    word(&*names[top]),
                    [
                        format!(
                            "In the {place} group from the left, what colour is the tallest bar?"
                        ),
                        format!("What is the colour of the tallest bar in the {place} group?"),
                        format!("Tallest bar's colour in {place} group?"),
                    ],
                )
                .among(pool.clone())
                .steps(2),
            );
            for i in 0..series {
                for j in (0..series).filter(|j| *j != i) {
                    let (a, b) = (&names[i], &names[j]);
                    all.push(
                        seen(
                            "group_compare",
                            yes(s.values[i][g] > s.values[j][g]),
                            [
                                format!("In the {place} group, is the {a} bar taller than the {b} bar?"),
                                format!("Look at the {place} group from the left: is {a} taller than {b}?"),
                                format!("{place} group: {a} taller than {b}?"),
                            ],
                        )
                        .steps(2),
                    );
                }
                let (label, name, value) = (&s.labels[g], &s.series[i], s.values[i][g]);
                all.push(
                    read(
                        "value",
                        int(value),
                        [
                            format!("What is the value of {name} for {label}?"),
                            format!("For {label}, how much does {name} have?"),
                            format!("{name}, {label}?"),
                        ],
                    )
                    .steps(2)
                    .measures(format!("the value of {name} for {label}")),
                );
            }
        }
        for (i, name) in s.series.iter().enumerate() {
            let row = &s.values[i];
            let top = (0..groups).max_by_key(|g| row[*g]).unwrap_or(0);
            if row.iter().filter(|v| **v == row[top]).count() == 1 {
                let kind = &s.kind;
                all.push(
                    read(
                        "series_best",
                        word(&*s.labels[top]),
                        [
                            format!("For which {kind} is the value of {name} the highest?"),
                            format!("Which {kind} has the highest {name} value?"),
                            format!("{kind} with highest {name}?"),
                        ],
                    )
                    .among(s.labels.clone())
                    .steps(2),
                );
            }
            all.push(
                read(
                    "series_colour",
                    word(&*names[i]),
                    [
                        format!("What colour are the bars of {name}?"),
                        format!("Which colour stands for {name}?"),
                        format!("Colour of {name}?"),
                    ],
                )
                .among(pool.clone()),
            );
            all.push(
                read(
                    "series_total",
                    int(row.iter().sum::<i64>()),
                    [
                        format!("What is the total of {name} over all groups?"),
                        format!("What do all bars of {name} add up to?"),
                        format!("Total of {name}?"),
                    ],
                )
                .steps(4)
                .near_misses(),
            );
        }
        all
    }
}
