//! Bar charts: one bar per label, upright or lying, in many colours or one.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::{axes, themes};
use crate::figures::canvas::{Anchor, Area, Canvas, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, list, ordinal, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct Bar;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    kind: String,
    labels: Vec<String>,
    values: Vec<i64>,
    /// All different, or all the same.
    hues: Vec<Hue>,
    lying: bool,
    /// Whether values stand at the bars.
    printed: bool,
    /// End of the axis.
    max: i64,
}

impl Scene {
    fn colourful(&self) -> bool {
        distinct(&self.hues)
    }
}

impl Figure for Bar {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "bar"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 6);
        let (title, kind, labels) = themes::amounts(rng, n);
        let factor = pick(rng, &[1, 1, 2, 5, 10]);
        let gap = if n <= 4 { 2 } else { 1 };
        let values = spread(rng, n, 1, 10, gap)
            .into_iter()
            .map(|v| v * factor)
            .collect();
        let hues = if chance(rng, 0.85) {
            Hue::some(rng, n)
        } else {
            vec![Hue::some(rng, 1)[0]; n]
        };
        Scene {
            title: chance(rng, 0.75).then_some(title),
            kind,
            labels,
            values,
            hues,
            lying: chance(rng, 0.3),
            printed: chance(rng, 0.35),
            max: 10 * factor,
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.labels.len();
        expect((2..=6).contains(&n), "2 to 6 labels")?;
        expect(
            s.values.len() == n && s.hues.len() == n,
            "a value and a hue for each label",
        )?;
        expect(
            distinct(&s.labels) && s.labels.iter().all(|l| plain(l)),
            "plain distinct labels",
        )?;
        expect(
            plain(&s.kind) && s.title.as_deref().is_none_or(plain),
            "plain texts",
        )?;
        expect((1..=1000).contains(&s.max), "max from 1 to 1000")?;
        expect(
            s.values.iter().all(|v| (0..=s.max).contains(v)),
            "values from 0 to max",
        )?;
        expect(distinct(&s.values), "distinct values")?;
        let same = s.hues.iter().all(|h| *h == s.hues[0]);
        expect(s.colourful() || same, "hues all different or all the same")
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.labels.len(),
            relations: usize::from(s.colourful()) + usize::from(s.lying),
            computation: if s.printed { 1 } else { 2 },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let n = s.labels.len() as f32;
        let step = (s.max / 5).max(1);
        // Room beyond the longest bar for its printed value.
        let max = if s.printed { s.max + step } else { s.max };
        let plot = if s.lying {
            axes::rightwards(canvas, room, max, step, &s.labels)
        } else {
            axes::upwards(canvas, room, max, step)
        };
        let slot = if s.lying {
            plot.area.height()
        } else {
            plot.area.width()
        } / n;
        let thick = (slot * 0.68).min(46.0);
        for (i, value) in s.values.iter().enumerate() {
            let middle = (i as f32 + 0.5) * slot;
            let end = plot.scale.at(*value as f32);
            let paint = fill(look.hue(s.hues[i])).in_look(&look);
            let size = look.text - 0.5;
            if s.lying {
                let y = plot.area.top + middle;
                let half = thick / 2.0;
                canvas.rect(Area::new(plot.area.left, y - half, end, y + half), paint);
                canvas.label((plot.area.left - 4.0, y), Anchor::End, &s.labels[i]);
                if s.printed {
                    canvas.strong((end + 4.0, y), Anchor::Start, size, &value.to_string());
                }
            } else {
                let x = plot.area.left + middle;
                let half = thick / 2.0;
                canvas.rect(Area::new(x - half, end, x + half, plot.area.bottom), paint);
                let below = plot.area.bottom + 5.0 + look.text * 0.45;
                canvas.label((x, below), Anchor::Middle, &s.labels[i]);
                if s.printed {
                    let at = (x, end - 3.0 - size * 0.4);
                    canvas.strong(at, Anchor::Middle, size, &value.to_string());
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.labels.len();
        let (most, least, more) = if s.lying {
            ("longest", "shortest", "longer")
        } else {
            ("tallest", "shortest", "taller")
        };
        let side = if s.lying { "top" } else { "left" };
        let by = |i: &usize| s.values[*i];
        let high = (0..n).max_by_key(by).unwrap_or(0);
        let low = (0..n).min_by_key(by).unwrap_or(0);
        let names: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many bars are there?",
                    "What is the number of bars in the chart?",
                    "Number of bars?",
                ],
            )
            .near_misses()
            .measures("the number of bars"),
            seen(
                "tallest_position",
                int(high + 1),
                [
                    format!("Counting from the {side}, which bar is the {most}? Give its number."),
                    format!("What is the position of the {most} bar, counted from the {side}?"),
                    format!("Position of {most} bar from {side}?"),
                ],
            ),
        ];
        if s.colourful() {
            for (template, which, word_for) in [
                ("tallest_colour", high, most),
                ("shortest_colour", low, least),
            ] {
                all.push(
                    seen(
                        template,
                        word(&*names[which]),
                        [
                            format!("What colour is the {word_for} bar?"),
                            format!("Which colour does the {word_for} bar have?"),
                            format!("Colour of {word_for} bar?"),
                        ],
                    )
                    .among(pool.clone()),
                );
            }
            for (i, a) in names.iter().enumerate() {
                let place = ordinal(i);
                all.push(
                    seen(
                        "colour_at",
                        word(&**a),
                        [
                            format!("What colour is the {place} bar from the {side}?"),
                            format!(
                                "Counting from the {side}, what is the colour of the {place} bar?"
                            ),
                            format!("Colour of {place} bar from {side}?"),
                        ],
                    )
                    .among(pool.clone()),
                );
                for (j, b) in names.iter().enumerate().filter(|(j, _)| *j != i) {
                    all.push(
                        seen(
                            "taller_than",
                            yes(s.values[i] > s.values[j]),
                            [
                                format!("Is the {a} bar {more} than the {b} bar?"),
                                format!(
                                    "Compare two bars: is the {a} one {more} than the {b} one?"
                                ),
                                format!("{a} bar {more} than {b} bar?"),
                            ],
                        )
                        .steps(2),
                    );
                }
            }
            if n <= 4 {
                all.push(
                    seen(
                        "colours_in_order",
                        list(names.clone()),
                        [
                            format!("List the colours of the bars, starting from the {side}."),
                            format!("What are the colours of the bars in order from the {side}?"),
                            format!("Bar colours from {side}?"),
                        ],
                    )
                    .steps(2),
                );
            }
        } else {
            all.push(seen(
                "bar_colour",
                word(&*names[0]),
                [
                    "What colour are the bars?",
                    "Which colour do all bars have?",
                    "Bar colour?",
                ],
            ));
        }
        let kind = &s.kind;
        for (template, which, word_for) in [("most", high, "highest"), ("least", low, "lowest")] {
            all.push(
                read(
                    template,
                    word(&*s.labels[which]),
                    [
                        format!("Which {kind} has the {word_for} value?"),
                        format!("For which {kind} is the value the {word_for}?"),
                        format!("{word_for} {kind}?"),
                    ],
                )
                .among(s.labels.clone())
                .steps(2),
            );
        }
        for (label, value) in s.labels.iter().zip(&s.values) {
            all.push(
                read(
                    "value",
                    int(*value),
                    [
                        format!("What is the value for {label}?"),
                        format!("How much does the chart show for {label}?"),
                        format!("Value of {label}?"),
                    ],
                )
                .measures(format!("the value for {label}")),
            );
        }
        for parts in 1..5 {
            let bound = s.max * parts / 5;
            if s.values.contains(&bound) {
                continue;
            }
            let above = s.values.iter().filter(|v| **v > bound).count();
            all.push(
                read(
                    "above",
                    int(above),
                    [
                        format!("How many bars are above {bound}?"),
                        format!("How many of the bars have a value greater than {bound}?"),
                        format!("Bars above {bound}?"),
                    ],
                )
                .steps(2)
                .measures(format!("the number of bars above {bound}")),
            );
        }
        all.push(
            read(
                "range",
                int(s.values[high] - s.values[low]),
                [
                    "What is the difference between the highest and the lowest value?",
                    "By how much is the highest value greater than the lowest?",
                    "Highest minus lowest value?",
                ],
            )
            .steps(3)
            .near_misses(),
        );
        all.push(
            read(
                "total",
                int(s.values.iter().sum::<i64>()),
                [
                    "What is the sum of all values in the chart?",
                    "What do all bars add up to?",
                    "Sum of all bars?",
                ],
            )
            .steps(4)
            .near_misses(),
        );
        all
    }
}
