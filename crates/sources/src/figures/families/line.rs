//! Line charts: one to four coloured lines over time.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::{axes, themes};
use crate::figures::canvas::{Anchor, Canvas, fill, stroke};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, list, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, spread, whole};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct Line;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    labels: Vec<String>,
    hues: Vec<Hue>,
    /// One row per line.
    values: Vec<Vec<i64>>,
    max: i64,
    dots: bool,
}

impl Figure for Line {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "line"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let lines = count(rng, 1, 4);
        let n = count(rng, 3, 6);
        let (title, labels) = themes::over_time(rng, n);
        let factor = pick(rng, &[1, 2, 5, 10]);
        // Ends are clearly apart, so that the highest line at either end can be told.
        let ends = spread(rng, lines, 0, 10, 2);
        let mut starts = spread(rng, lines, 0, 10, 2);
        for (start, end) in starts.iter_mut().zip(&ends) {
            if (*start - end).abs() < 3 {
                *start = if *end >= 5 { end - 4 } else { end + 4 };
            }
        }
        let values = starts
            .iter()
            .zip(&ends)
            .map(|(start, end)| {
                let steps = n as i64 - 1;
                let wobble = pick(rng, &[0, 1, 3]);
                (0..n as i64)
                    .map(|i| {
                        let straight = start + (end - start) * i / steps;
                        let noise = if i == 0 || i == steps {
                            0
                        } else {
                            whole(rng, -wobble, wobble)
                        };
                        (straight + noise).clamp(0, 10) * factor
                    })
                    .collect()
            })
            .collect();
        Scene {
            title: chance(rng, 0.75).then_some(title),
            labels,
            hues: Hue::some(rng, lines),
            values,
            max: 10 * factor,
            dots: chance(rng, 0.7),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let (lines, n) = (s.hues.len(), s.labels.len());
        expect(
            (1..=4).contains(&lines) && (3..=6).contains(&n),
            "1-4 lines, 3-6 labels",
        )?;
        expect(
            distinct(&s.hues) && distinct(&s.labels),
            "distinct hues and labels",
        )?;
        expect(s.values.len() == lines, "a row for each line")?;
        expect(
            s.values.iter().all(|r| r.len() == n),
            "a value for each label",
        )?;
        expect((1..=1000).contains(&s.max), "max from 1 to 1000")?;
        expect(
            s.values.iter().flatten().all(|v| (0..=s.max).contains(v)),
            "values from 0 to max",
        )?;
        expect(
            s.labels.iter().chain(&s.title).all(|t| plain(t)),
            "plain texts",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.labels.len() * s.hues.len() / 2,
            relations: s.hues.len(),
            computation: 1,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let plot = axes::upwards(canvas, room, s.max, (s.max / 5).max(1));
        let slot = plot.area.width() / s.labels.len() as f32;
        let x = |i: usize| plot.area.left + (i as f32 + 0.5) * slot;
        for (i, label) in s.labels.iter().enumerate() {
            let below = plot.area.bottom + 5.0 + look.text * 0.45;
            canvas.label((x(i), below), Anchor::Middle, label);
        }
        for (row, hue) in s.values.iter().zip(&s.hues) {
            let points: Vec<_> = row
                .iter()
                .enumerate()
                .map(|(i, v)| (x(i), plot.scale.at(*v as f32)))
                .collect();
            let colour = look.hue(*hue);
            canvas.polyline(&points, stroke(colour, 4.0));
            if s.dots {
                for p in points {
                    canvas.circle(p, 5.0, fill(colour).in_look(&look));
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.labels.len();
        let names: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let lines = names.len();
        let mut all = vec![
            seen(
                "count",
                int(lines),
                [
                    "How many lines are there in the chart?",
                    "What is the number of lines?",
                    "Number of lines?",
                ],
            )
            .near_misses()
            .measures("the number of lines"),
            read(
                "points",
                int(n),
                [
                    "How many labels are there on the horizontal axis?",
                    "For how many labels does the chart have values?",
                    "Number of labels?",
                ],
            )
            .measures("the number of labels on the horizontal axis"),
        ];
        if lines == 1 {
            all.push(
                seen(
                    "line_colour",
                    word(&*names[0]),
                    [
                        "What colour is the line?",
                        "Which colour does the line have?",
                        "Line colour?",
                    ],
                )
                .among(s.hues[0].others()),
            );
        }
        for (template, at, top, what, place) in [
            ("highest_end", n - 1, true, "highest", "right end"),
            ("lowest_end", n - 1, false, "lowest", "right end"),
            ("highest_start", 0, true, "highest", "left end"),
        ] {
            let key = |i: &usize| {
                if top {
                    s.values[*i][at]
                } else {
                    -s.values[*i][at]
                }
            };
            let best = (0..lines).max_by_key(key).unwrap_or(0);
            let ties = (0..lines).filter(|i| key(i) == key(&best)).count();
            if lines > 1 && ties == 1 {
                all.push(
                    seen(
                        template,
                        word(&*names[best]),
                        [
                            format!("Which colour is the {what} line at the {place} of the chart?"),
                            format!("At the {place}, what is the colour of the {what} line?"),
                            format!("{what} line at {place}?"),
                        ],
                    )
                    .among(pool.clone()),
                );
            }
        }
        for (name, row) in names.iter().zip(&s.values) {
            if row[0] != row[n - 1] {
                all.push(seen(
                    "ends_higher",
                    yes(row[n - 1] > row[0]),
                    [
                        format!("Does the {name} line end higher than it starts?"),
                        format!("Is the end of the {name} line above its start?"),
                        format!("{name} line rising overall?"),
                    ],
                ));
                all.push(seen(
                    "direction",
                    word(if row[n - 1] > row[0] { "up" } else { "down" }),
                    [
                        format!("From left to right, does the {name} line go up or down overall?"),
                        format!("Which way does the {name} line go overall, up or down?"),
                        format!("{name} line: up or down?"),
                    ],
                ));
            }
            let top = (0..n).max_by_key(|i| row[*i]).unwrap_or(0);
            if row.iter().filter(|v| **v == row[top]).count() == 1 {
                all.push(
                    read(
                        "peak",
                        word(&*s.labels[top]),
                        [
                            format!("Where is the {name} line at its highest?"),
                            format!("At which label does the {name} line reach its highest value?"),
                            format!("Peak of {name} line?"),
                        ],
                    )
                    .among(s.labels.clone())
                    .steps(2),
                );
            }
            for (label, value) in s.labels.iter().zip(row) {
                all.push(
                    read(
                        "value",
                        int(*value),
                        [
                            format!("What is the value of the {name} line at {label}?"),
                            format!("How high is the {name} line at {label}?"),
                            format!("{name} line at {label}?"),
                        ],
                    )
                    .steps(2)
                    .measures(format!("the value of the {name} line at {label}")),
                );
            }
            all.push(
                read(
                    "change",
                    int((row[n - 1] - row[0]).abs()),
                    [
                        format!("By how much does the {name} line change from {} to {}?", s.labels[0], s.labels[n - 1]),
                        format!("What is the difference between the first and the last value of the {name} line?"),
                        format!("Change of {name} line?"),
                    ],
                )
                .steps(3)
                .near_misses(),
            );
            if n <= 4 {
                all.push(
                    read(
                        "all_values",
                        list(row.iter().map(i64::to_string)),
                        [
                            format!("List the values of the {name} line from left to right."),
                            format!("What are the values of the {name} line, in order?"),
                            format!("{name} values?"),
                        ],
                    )
                    .steps(4),
                );
            }
        }
        all
    }
}
