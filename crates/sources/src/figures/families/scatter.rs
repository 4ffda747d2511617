//! Scatter plots: a few points with letters, or a cloud with a trend.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::axes;
use crate::figures::canvas::{Area, Canvas, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, letter, list, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, real, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};

pub(crate) struct Scatter;

/// Which way a cloud of points runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Trend {
    Rising,
    Falling,
    None,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    /// Whole numbers from 0 to 10 where points have letters, tenths where they are a cloud.
    points: Vec<(f32, f32)>,
    /// One per point.
    hues: Vec<Hue>,
    /// Set for clouds.
    trend: Option<Trend>,
}

impl Scene {
    fn lettered(&self) -> bool {
        self.trend.is_none()
    }

    fn colours(&self) -> Vec<Hue> {
        let mut seen = Vec::new();
        for hue in &self.hues {
            if !seen.contains(hue) {
                seen.push(*hue);
            }
        }
        seen
    }
}

impl Figure for Scatter {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "scatter"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let title = chance(rng, 0.5).then(|| {
            pick(
                rng,
                &[
                    "Height and weight",
                    "Study and score",
                    "Age and speed",
                    "Points",
                ],
            )
            .to_owned()
        });
        if chance(rng, 0.6) {
            let n = count(rng, 2, 6);
            let xs = spread(rng, n, 1, 9, 1);
            let ys = spread(rng, n, 1, 9, 1);
            let points = xs
                .into_iter()
                .zip(ys)
                .map(|(x, y)| (x as f32, y as f32))
                .collect();
            return Scene {
                title,
                points,
                hues: Hue::some(rng, n),
                trend: None,
            };
        }
        let trend = pick(rng, &[Trend::Rising, Trend::Falling, Trend::None]);
        let groups = count(rng, 1, 4);
        let colours = Hue::some(rng, groups);
        let n = count(rng, 10, 20);
        let tenth = |v: f32| (v * 10.0).round() / 10.0;
        let points = (0..n)
            .map(|i| {
                let x = 0.6 + 8.8 * i as f32 / (n as f32 - 1.0);
                let y = match trend {
                    Trend::Rising => 0.8 + x * 0.82 + real(rng, -0.9, 0.9),
                    Trend::Falling => 9.2 - x * 0.82 + real(rng, -0.9, 0.9),
                    Trend::None => real(rng, 0.6, 9.4),
                };
                (tenth(x), tenth(y.clamp(0.4, 9.6)))
            })
            .collect();
        let hues = (0..n)
            .map(|i| {
                if i < groups {
                    colours[i]
                } else {
                    pick(rng, &colours)
                }
            })
            .collect();
        Scene {
            title,
            points,
            hues,
            trend: Some(trend),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.points.len();
        expect(
            (2..=24).contains(&n) && s.hues.len() == n,
            "2 to 24 points, a hue for each",
        )?;
        let inside = |v: f32| (0.0..=10.0).contains(&v);
        expect(
            s.points.iter().all(|p| inside(p.0) && inside(p.1)),
            "coordinates from 0 to 10",
        )?;
        if s.lettered() {
            let whole = |v: f32| v.fract() == 0.0;
            expect(n <= 8, "at most 8 points with letters")?;
            expect(
                s.points.iter().all(|p| whole(p.0) && whole(p.1)),
                "whole coordinates",
            )?;
            expect(distinct(&s.hues), "distinct hues")?;
            let xs: Vec<f32> = s.points.iter().map(|p| p.0).collect();
            let ys: Vec<f32> = s.points.iter().map(|p| p.1).collect();
            expect(distinct(&xs) && distinct(&ys), "distinct coordinates")?;
        }
        expect(s.title.as_deref().is_none_or(plain), "a plain title")
    }

    fn load(&self, s: &Scene) -> Load {
        if s.lettered() {
            Load {
                objects: s.points.len(),
                relations: 2,
                computation: 1,
            }
        } else {
            Load {
                objects: s.points.len() / 3,
                relations: s.colours().len(),
                computation: 1,
            }
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let (area, x, y) = axes::plane(canvas, room, 0, 10);
        axes::plane_numbers(canvas, (area, x, y), 0, 10, 2);
        let radius = if s.lettered() { 7.0 } else { 5.5 };
        let at: Vec<_> = s.points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
        for (p, hue) in at.iter().zip(&s.hues) {
            canvas.circle(*p, radius, fill(look.hue(*hue)).in_look(&look));
            if s.lettered() {
                let r = radius + 1.0;
                canvas.keep_clear(Area::new(p.0 - r, p.1 - r, p.0 + r, p.1 + r));
            }
        }
        if s.lettered() {
            for (i, p) in at.iter().enumerate() {
                let near = (p.0 + radius * 0.5, p.1 - radius * 0.5);
                canvas.label_near(near, 0.12, look.text + 1.0, &letter(i));
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.points.len();
        let colours: Vec<String> = s.colours().iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.colours());
        let mut all = Vec::new();
        if let Some(trend) = s.trend {
            let answer = match trend {
                Trend::Rising => "rising",
                Trend::Falling => "falling",
                Trend::None => "none",
            };
            all.push(
                seen(
                    "trend",
                    word(answer),
                    [
                        "Which trend do the points show: rising, falling or none?",
                        "From left to right, are the points rising, falling or neither (none)?",
                        "Trend: rising, falling or none?",
                    ],
                )
                .steps(2),
            );
            all.push(
                seen(
                    "colours",
                    int(colours.len()),
                    [
                        "How many different colours do the points have?",
                        "In how many colours are the points drawn?",
                        "Number of colours?",
                    ],
                )
                .near_misses()
                .steps(2)
                .measures("the number of colours"),
            );
            if colours.len() == 1 {
                all.push(
                    seen(
                        "point_colour",
                        word(&*colours[0]),
                        [
                            "What colour are the points?",
                            "Which colour do the points have?",
                            "Point colour?",
                        ],
                    )
                    .among(s.hues[0].others()),
                );
            }
            for hue in s.colours() {
                let of = s.hues.iter().filter(|h| **h == hue).count();
                let name = hue.name();
                if of <= 9 {
                    all.push(
                        seen(
                            "count_colour",
                            int(of),
                            [
                                format!("How many {name} points are there?"),
                                format!("Count the {name} points."),
                                format!("Number of {name} points?"),
                            ],
                        )
                        .near_misses()
                        .measures(format!("the number of {name} points")),
                    );
                }
            }
            all.push(
                read(
                    "count_all",
                    int(n),
                    [
                        "How many points are there in all?",
                        "What is the total number of points?",
                        "Number of points?",
                    ],
                )
                .steps(2)
                .near_misses()
                .measures("the number of points"),
            );
            return all;
        }
        all.push(
            seen(
                "count",
                int(n),
                [
                    "How many points are plotted?",
                    "What is the number of points in the plot?",
                    "Number of points?",
                ],
            )
            .near_misses()
            .measures("the number of points"),
        );
        let letters: Vec<String> = (0..n).map(letter).collect();
        let x = |i: usize| s.points[i].0;
        let y = |i: usize| s.points[i].1;
        let best = |key: &dyn Fn(usize) -> f32| {
            (0..n)
                .max_by(|a, b| key(*a).total_cmp(&key(*b)))
                .unwrap_or(0)
        };
        for (template, name_template, which, what) in [
            ("highest_colour", "highest", best(&|i| y(i)), "highest"),
            ("lowest_colour", "lowest", best(&|i| -y(i)), "lowest"),
            (
                "rightmost_colour",
                "rightmost",
                best(&|i| x(i)),
                "furthest to the right",
            ),
            (
                "leftmost_colour",
                "leftmost",
                best(&|i| -x(i)),
                "furthest to the left",
            ),
        ] {
            all.push(
                seen(
                    template,
                    word(&*colours[which]),
                    [
                        format!("What colour is the point that is {what}?"),
                        format!("Of all points, which colour has the one that is {what}?"),
                        format!("Colour of point {what}?"),
                    ],
                )
                .among(pool.clone()),
            );
            all.push(
                read(
                    name_template,
                    word(&*letters[which]),
                    [
                        format!("Which point is {what}?"),
                        format!("Which letter marks the point that is {what}?"),
                        format!("Point {what}?"),
                    ],
                )
                .among(letters.clone())
                .steps(2),
            );
        }
        for i in 0..n {
            for j in (0..n).filter(|j| *j != i) {
                let (a, b) = (&colours[i], &colours[j]);
                all.push(
                    seen(
                        "left_of",
                        yes(x(i) < x(j)),
                        [
                            format!("Is the {a} point to the left of the {b} point?"),
                            format!("Does the {a} point lie further left than the {b} point?"),
                            format!("{a} left of {b}?"),
                        ],
                    )
                    .steps(2),
                );
                all.push(
                    seen(
                        "above",
                        yes(y(i) > y(j)),
                        [
                            format!("Is the {a} point higher than the {b} point?"),
                            format!("Does the {a} point lie above the {b} point?"),
                            format!("{a} above {b}?"),
                        ],
                    )
                    .steps(2),
                );
            }
            let name = &letters[i];
            let (px, py) = (x(i) as i64, y(i) as i64);
            all.push(
                read(
                    "colour_of",
                    word(&*colours[i]),
                    [
                        format!("What colour is point {name}?"),
                        format!("Which colour does point {name} have?"),
                        format!("Colour of {name}?"),
                    ],
                )
                .among(pool.clone()),
            );
            all.push(
                read(
                    "coordinates",
                    list([px.to_string(), py.to_string()]),
                    [
                        format!("What are the coordinates of point {name}?"),
                        format!("Give the x and the y coordinate of point {name} as a list."),
                        format!("Coordinates of {name}?"),
                    ],
                )
                .steps(2),
            );
            for (axis, value) in [("x", px), ("y", py)] {
                all.push(
                    read(
                        if axis == "x" { "x_of" } else { "y_of" },
                        int(value),
                        [
                            format!("What is the {axis} coordinate of point {name}?"),
                            format!("Read off the {axis} coordinate of point {name}."),
                            format!("{axis} of {name}?"),
                        ],
                    )
                    .near_misses()
                    .steps(2)
                    .measures(format!("the {axis} coordinate of point {name}")),
                );
            }
        }
        all
    }
}
