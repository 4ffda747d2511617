//! Number lines with marked points, or with a jump from one number to another.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Canvas, fill, stroke};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, letter, list, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, real, spread};
use crate::figures::scene::{Figure, Load, distinct, expect};

pub(crate) struct NumberLine;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    low: i64,
    /// From one tick to the next.
    step: i64,
    /// Ten ticks follow the first.
    ticks: i64,
    /// Tick and hue of each marked point; with a jump, where it starts and where it ends.
    points: Vec<(i64, Hue)>,
    jump: bool,
    /// Whether only every second number is printed.
    sparse: bool,
}

impl Scene {
    fn value(&self, tick: i64) -> i64 {
        self.low + tick * self.step
    }
}

impl Figure for NumberLine {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "number_line"
    }

    fn task(&self) -> Task {
        Task::Mwp
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let jump = chance(rng, 0.35);
        let n = if jump { 2 } else { count(rng, 1, 5) };
        let (low, step) = pick(
            rng,
            &[(0, 1), (0, 1), (0, 1), (0, 2), (-5, 1), (0, 10), (10, 1)],
        );
        let at = spread(rng, n, 0, 10, if jump { 2 } else { 1 });
        Scene {
            low,
            step,
            ticks: 10,
            points: at.into_iter().zip(Hue::some(rng, n)).collect(),
            jump,
            sparse: chance(rng, 0.4),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect(
            (-100..=100).contains(&s.low) && (1..=100).contains(&s.step),
            "a short line",
        )?;
        expect((4..=12).contains(&s.ticks), "4 to 12 ticks")?;
        expect((1..=6).contains(&s.points.len()), "1 to 6 points")?;
        expect(
            s.points.iter().all(|p| (0..=s.ticks).contains(&p.0)),
            "points on the line",
        )?;
        let (at, hues): (Vec<i64>, Vec<Hue>) = s.points.iter().copied().unzip();
        expect(distinct(&at) && distinct(&hues), "distinct points and hues")?;
        expect(!s.jump || s.points.len() == 2, "two points for a jump")
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.points.len(),
            relations: 1 + usize::from(s.jump),
            computation: usize::from(s.sparse) + usize::from(s.step != 1) + usize::from(s.low != 0),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let margin = 24.0;
        let length = canvas.width - 2.0 * margin;
        let x = |tick: f32| margin + length * tick / s.ticks as f32;
        let y = canvas.height * real(rng, 0.5, 0.64);
        canvas.arrow(
            (margin - 16.0, y),
            (canvas.width - 6.0, y),
            look.ink,
            look.line + 1.2,
        );
        let every = if s.sparse || s.value(s.ticks).abs() >= 100 {
            2
        } else {
            1
        };
        let size = 15.0;
        for tick in 0..=s.ticks {
            let px = x(tick as f32);
            let half = if tick % every == 0 { 9.0 } else { 6.0 };
            canvas.line((px, y - half), (px, y + half), stroke(look.ink, 2.0));
            if tick % every == 0 {
                let at = (px, y + 22.0);
                let text = s.value(tick).to_string();
                canvas.text(at, Anchor::Middle, size, look.bold, look.ink, &text);
            }
        }
        if let (true, [from, to]) = (s.jump, s.points.as_slice()) {
            let (a, b) = (x(from.0 as f32), x(to.0 as f32));
            let rise = (b - a).abs() * 0.35 + 26.0;
            let colour = look.hue(to.1);
            let peak = ((a + b) / 2.0, (y - 10.0 - rise * 1.15).max(8.0));
            let end = (b, y - 10.0);
            // The head points along the end of the curve.
            let (dx, dy) = (end.0 - peak.0, end.1 - peak.1);
            let length = dx.hypot(dy).max(1.0);
            let neck = (end.0 - dx / length * 14.0, end.1 - dy / length * 14.0);
            canvas.path(
                &format!(
                    "M{a:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
                    y - 10.0,
                    peak.0,
                    peak.1,
                    neck.0,
                    neck.1
                ),
                stroke(colour, 4.0),
            );
            canvas.arrow(neck, end, colour, 4.0);
        }
        for (i, (tick, hue)) in s.points.iter().enumerate() {
            let p = (x(*tick as f32), y);
            canvas.circle(p, 8.5, fill(look.hue(*hue)).edged(look.ink, 1.6));
            if !s.jump {
                let at = (p.0, y - 24.0);
                canvas.text(at, Anchor::Middle, 17.0, look.bold, look.ink, &letter(i));
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.points.len();
        let names: Vec<&str> = s.points.iter().map(|p| p.1.name()).collect();
        let at = |i: usize| s.value(s.points[i].0);
        let hues: Vec<Hue> = s.points.iter().map(|p| p.1).collect();
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many points are marked on the line?",
                    "What is the number of coloured points?",
                    "Number of points?",
                ],
            )
            .near_misses()
            .measures("the number of marked points"),
        ];
        if n == 1 {
            all.push(
                seen(
                    "point_colour",
                    word(names[0]),
                    [
                        "What colour is the marked point?",
                        "Which colour does the point on the line have?",
                        "Point's colour?",
                    ],
                )
                .among(hues[0].others()),
            );
            let tick = s.points[0].0;
            if 2 * tick != s.ticks {
                all.push(seen(
                    "half",
                    word(if 2 * tick > s.ticks { "right" } else { "left" }),
                    [
                        "Is the point in the left or in the right half of the number line?",
                        "In which half of the line is the point, left or right?",
                        "Point left or right?",
                    ],
                ));
            }
            all.push(
                read(
                    "from_start",
                    int(tick),
                    [
                        "How many ticks is the point away from the left end of the line?",
                        "Counted from the first tick, how many ticks on is the point?",
                        "Ticks from left end?",
                    ],
                )
                .near_misses()
                .measures("the number of ticks from the left end to the point"),
            );
        }
        if s.jump {
            // A jump always has two points.
            all.clear();
            let (a, b) = (at(0), at(1));
            all.push(seen(
                "jump_direction",
                word(if b > a { "right" } else { "left" }),
                [
                    "Does the arrow jump to the left or to the right?",
                    "In which direction does the arrow go, left or right?",
                    "Jump left or right?",
                ],
            ));
            all.push(
                read(
                    "jump_steps",
                    int((s.points[1].0 - s.points[0].0).abs()),
                    [
                        "How many ticks long is the jump?",
                        "Over how many ticks does the arrow jump?",
                        "Ticks jumped?",
                    ],
                )
                .steps(2)
                .near_misses()
                .measures("the number of ticks of the jump"),
            );
            all.push(
                read(
                    "jump_size",
                    int((b - a).abs()),
                    [
                        "By how much does the arrow change the number?",
                        "How large is the difference that the jump makes?",
                        "Size of jump?",
                    ],
                )
                .steps(3)
                .near_misses()
                .measures("the size of the jump"),
            );
            all.push(seen(
                "jump_sign",
                word(if b > a { "addition" } else { "subtraction" }),
                [
                    "Does the jump show an addition or a subtraction?",
                    "Addition or subtraction: which one does the arrow show?",
                    "Addition or subtraction?",
                ],
            ));
            for (template, value, what) in [("jump_start", a, "start"), ("jump_end", b, "end")] {
                all.push(
                    seen(
                        template,
                        int(value),
                        [
                            format!("At which number does the jump {what}?"),
                            format!("Where on the number line does the arrow {what}?"),
                            format!("Jump's {what}?"),
                        ],
                    )
                    .measures(format!("the number at the {what} of the jump")),
                );
            }
        }
        for (i, a) in names.iter().enumerate() {
            all.push(
                seen(
                    "value",
                    int(at(i)),
                    [
                        format!("At which number is the {a} point?"),
                        format!("Which number does the {a} point mark?"),
                        format!("Number at {a} point?"),
                    ],
                )
                .measures(format!("the number at the {a} point")),
            );
            for (j, b) in names.iter().enumerate().filter(|(j, _)| *j != i) {
                all.push(
                    seen(
                        "greater",
                        yes(at(i) > at(j)),
                        [
                            format!(
                                "Is the number at the {a} point greater than at the {b} point?"
                            ),
                            format!("Does the {a} point mark a greater number than the {b} point?"),
                            format!("{a} greater than {b}?"),
                        ],
                    )
                    .steps(2),
                );
                if j > i {
                    all.push(
                        read(
                            "distance",
                            int((at(i) - at(j)).abs()),
                            [
                                format!("How far is it from the {a} point to the {b} point?"),
                                format!("What is the difference between the numbers at the {a} and the {b} point?"),
                                format!("From {a} to {b}?"),
                            ],
                        )
                        .steps(3)
                        .near_misses(),
                    );
                }
            }
        }
        if n > 1 && !s.jump {
            let last = (0..n).max_by_key(|i| at(*i)).unwrap_or(0);
            let first = (0..n).min_by_key(|i| at(*i)).unwrap_or(0);
            for (template, which, what) in [
                ("largest_colour", last, "largest"),
                ("smallest_colour", first, "smallest"),
            ] {
                all.push(
                    seen(
                        template,
                        word(names[which]),
                        [
                            format!("What colour is the point at the {what} number?"),
                            format!("Which colour has the point that marks the {what} number?"),
                            format!("Colour of {what} point?"),
                        ],
                    )
                    .among(Hue::pool(&hues)),
                );
            }
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|i| at(*i));
            if n <= 4 {
                all.push(
                    seen(
                        "order",
                        list(order.iter().map(|i| names[*i])),
                        [
                            "List the colours of the points from the smallest number to the largest.",
                            "What are the colours of the points, from left to right?",
                            "Colours from left to right?",
                        ],
                    )
                    .steps(2),
                );
            }
            for i in 0..n {
                let name = letter(i);
                all.push(
                    read(
                        "value_of_letter",
                        int(at(i)),
                        [
                            format!("Which number does point {name} mark?"),
                            format!("At which number is point {name}?"),
                            format!("Number at {name}?"),
                        ],
                    )
                    .measures(format!("the number at point {name}")),
                );
            }
        }
        all
    }
}
