//! Triangles with angles or side lengths, drawn true.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Canvas, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, pick, real, whole};
use crate::figures::scene::{Figure, Load, expect};

pub(crate) struct Triangle;

/// What is given in the figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "given", rename_all = "snake_case", deny_unknown_fields)]
enum Given {
    /// Angles at A, B and C in degrees; the last of `hidden` shows as a question mark.
    Angles { angles: [i64; 3], hidden: usize },
    /// Lengths of the sides opposite A, B and C.
    Sides { sides: [i64; 3] },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    given: Given,
    hue: Hue,
    /// In degrees, anticlockwise.
    turn: i64,
    mirrored: bool,
    unit: String,
}

impl Scene {
    /// Lengths of the sides opposite A, B and C, up to scale.
    fn sides(&self) -> [f64; 3] {
        match self.given {
            Given::Sides { sides } => sides.map(|s| s as f64),
            Given::Angles { angles, .. } => angles.map(|a| (a as f64).to_radians().sin()),
        }
    }

    fn angles(&self) -> [f64; 3] {
        match self.given {
            Given::Angles { angles, .. } => angles.map(|a| a as f64),
            Given::Sides { .. } => {
                let s = self.sides();
                [0, 1, 2].map(|i| {
                    let (a, b, c) = (s[i], s[(i + 1) % 3], s[(i + 2) % 3]);
                    ((b * b + c * c - a * a) / (2.0 * b * c))
                        .clamp(-1.0, 1.0)
                        .acos()
                        .to_degrees()
                })
            }
        }
    }

    /// Index of the right angle, from whole numbers alone.
    fn right(&self) -> Option<usize> {
        match self.given {
            Given::Angles { angles, .. } => angles.iter().position(|a| *a == 90),
            Given::Sides { sides } => (0..3).find(|i| {
                let (a, b, c) = (sides[*i], sides[(i + 1) % 3], sides[(i + 2) % 3]);
                a * a == b * b + c * c
            }),
        }
    }

    fn equal_sides(&self) -> usize {
        let v = match self.given {
            Given::Angles { angles, .. } => angles,
            Given::Sides { sides } => sides,
        };
        match (v[0] == v[1], v[1] == v[2], v[0] == v[2]) {
            (true, true, _) => 3,
            (false, false, false) => 0,
            _ => 2,
        }
    }

    fn by_angle(&self) -> &'static str {
        match self.right() {
            Some(_) => "right",
            None if self.angles().iter().any(|a| *a > 90.0) => "obtuse",
            None => "acute",
        }
    }
}

const NAMES: [&str; 3] = ["A", "B", "C"];
/// The side opposite each corner.
const SIDES: [&str; 3] = ["BC", "CA", "AB"];

impl Figure for Triangle {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "triangle"
    }

    fn task(&self) -> Task {
        Task::Gps
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let place = whole(rng, 0, 2) as usize;
        let rotated = |v: [i64; 3]| [0, 1, 2].map(|i| v[(i + place) % 3]);
        let given = if chance(rng, 0.55) {
            // Equilateral triangles come up less: they leave fewer other questions to choose from.
            let angles = match whole(rng, 0, 11) {
                0..=2 => {
                    let a = pick(rng, &[25, 30, 35, 40, 50, 55, 60]);
                    [90, a, 90 - a]
                }
                3 => [90, 45, 45],
                4 | 5 | 8 => {
                    let a = pick(rng, &[25, 30, 35]);
                    [180 - 2 * a, a, a]
                }
                6 | 7 => {
                    let big = pick(rng, &[105, 110, 115, 120, 125]);
                    let a = pick(rng, &[20, 25]);
                    [big, a, 180 - big - a]
                }
                9 | 10 => [60, 60, 60],
                _ => {
                    let a = pick(rng, &[50, 65, 70, 75]);
                    [180 - 2 * a, a, a]
                }
            };
            Given::Angles {
                angles: rotated(angles),
                hidden: whole(rng, 0, 2) as usize,
            }
        } else {
            let k = whole(rng, 1, 2);
            let sides = match whole(rng, 0, 11) {
                0..=2 => [5 * k, 4 * k, 3 * k],
                3 => [13, 12, 5],
                4 => pick(rng, &[[11, 7, 6], [12, 8, 6], [9, 5, 6], [13, 9, 6]]),
                5..=8 => pick(rng, &[[8 * k, 5 * k, 5 * k], [7, 4, 4], [9, 6, 6]]),
                _ => {
                    let s = whole(rng, 3, 12);
                    [s, s, s]
                }
            };
            Given::Sides {
                sides: rotated(sides),
            }
        };
        Scene {
            given,
            hue: Hue::some(rng, 1)[0],
            turn: whole(rng, 0, 23) * 15,
            mirrored: chance(rng, 0.5),
            unit: pick(rng, &["cm", "m", "mm"]).to_owned(),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((0..360).contains(&s.turn), "a turn from 0 to 359 degrees")?;
        expect(
            ["cm", "m", "mm"].contains(&s.unit.as_str()),
            "a unit of length",
        )?;
        match s.given {
            Given::Angles { angles, hidden } => {
                expect(
                    angles.iter().all(|a| (10..=150).contains(a)),
                    "angles from 10 to 150",
                )?;
                expect(
                    angles.iter().sum::<i64>() == 180,
                    "angles that add up to 180",
                )?;
                expect(hidden < 3, "a hidden angle from 0 to 2")
            }
            Given::Sides { sides } => {
                expect(
                    sides.iter().all(|v| (1..=100).contains(v)),
                    "sides from 1 to 100",
                )?;
                let sum: i64 = sides.iter().sum();
                expect(
                    sides.iter().all(|v| 2 * v < sum),
                    "sides that close a triangle",
                )
            }
        }
    }

    fn load(&self, s: &Scene) -> Load {
        let relations = match s.equal_sides() {
            3 => 0,
            2 => 1,
            _ => 2,
        };
        let computation = match s.given {
            Given::Angles { .. } => 2,
            Given::Sides { .. } => 3,
        };
        Load {
            objects: 3,
            relations: relations + usize::from(s.right().is_none()),
            computation,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let sides = s.sides();
        let angle_a = s.angles()[0].to_radians();
        // A at the origin, B along x, C from side b and the angle at A.
        let flip = if s.mirrored { -1.0 } else { 1.0 };
        let flat = [
            (0.0, 0.0),
            (sides[2], 0.0),
            (sides[1] * angle_a.cos(), -flip * sides[1] * angle_a.sin()),
        ];
        let turn = -(s.turn as f64).to_radians();
        let turned = flat.map(|(x, y): (f64, f64)| {
            (
                (x * turn.cos() - y * turn.sin()) as f32,
                (x * turn.sin() + y * turn.cos()) as f32,
            )
        });
        let bound = |pick: fn((f32, f32)) -> f32| {
            let v = turned.map(pick);
            let low = v.iter().copied().fold(f32::MAX, f32::min);
            (low, v.iter().copied().fold(f32::MIN, f32::max))
        };
        let ((x0, x1), (y0, y1)) = (bound(|p| p.0), bound(|p| p.1));
        let room = canvas.area().inset(30.0);
        let scale = (room.width() / (x1 - x0)).min(room.height() / (y1 - y0)) * real(rng, 0.9, 1.0);
        let (cx, cy) = room.centre();
        let p = turned.map(|(x, y)| {
            (
                cx + (x - (x0 + x1) / 2.0) * scale,
                cy + (y - (y0 + y1) / 2.0) * scale,
            )
        });
        let colour = look.hue(s.hue);
        canvas.polygon(
            &p,
            fill(colour.towards(Colour::WHITE, 0.25)).edged(look.ink, look.line + 1.2),
        );
        for i in 0..3 {
            canvas.keep_clear_of_line(p[i], p[(i + 1) % 3], look.line + 1.2);
        }
        let centre = (
            (p[0].0 + p[1].0 + p[2].0) / 3.0,
            (p[0].1 + p[1].1 + p[2].1) / 3.0,
        );
        let away = |from: (f32, f32), to: (f32, f32)| {
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            dx.atan2(-dy) / std::f32::consts::TAU
        };
        let unit = |a: (f32, f32), b: (f32, f32)| {
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let l = dx.hypot(dy).max(1e-3);
            (dx / l, dy / l)
        };
        for i in 0..3 {
            let (u, v) = (unit(p[i], p[(i + 1) % 3]), unit(p[i], p[(i + 2) % 3]));
            if s.right() == Some(i) {
                let r = 15.0;
                let corner = [
                    (p[i].0 + u.0 * r, p[i].1 + u.1 * r),
                    (p[i].0 + (u.0 + v.0) * r, p[i].1 + (u.1 + v.1) * r),
                    (p[i].0 + v.0 * r, p[i].1 + v.1 * r),
                ];
                canvas.polyline(&corner, stroke(look.ink, 2.2));
            }
            canvas.label_near(p[i], away(centre, p[i]), look.text + 3.0, NAMES[i]);
        }
        let size = look.text;
        match s.given {
            Given::Angles { angles, hidden } => {
                for i in 0..3 {
                    if s.right() == Some(i) && hidden != i {
                        continue;
                    }
                    let text = if i == hidden {
                        "?".to_owned()
                    } else {
                        format!("{}°", angles[i])
                    };
                    let (u, v) = (unit(p[i], p[(i + 1) % 3]), unit(p[i], p[(i + 2) % 3]));
                    // The sharper the angle, the further in its number has room.
                    let half = (angles[i] as f32).to_radians() / 2.0;
                    let close = (15.0 / half.sin().max(0.1)).clamp(22.0, 80.0) + 3.0;
                    // Beyond the square that marks a right angle.
                    let depth = if s.right() == Some(i) { 34.0 } else { close };
                    let (bx, by) = unit((0.0, 0.0), (u.0 + v.0, u.1 + v.1));
                    let at = (p[i].0 + bx * depth, p[i].1 + by * depth);
                    let ink = colour.towards(Colour::WHITE, 0.25).contrast();
                    canvas.text(
                        at,
                        crate::figures::canvas::Anchor::Middle,
                        size,
                        look.bold,
                        ink,
                        &text,
                    );
                }
            }
            Given::Sides { sides } => {
                for (i, side) in sides.iter().enumerate() {
                    let (a, b) = (p[(i + 1) % 3], p[(i + 2) % 3]);
                    let middle = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
                    let text = format!("{side} {}", s.unit);
                    canvas.label_near(middle, away(p[i], middle), size, &text);
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let strings = |v: &[&str]| v.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let mut all = vec![
            seen(
                "angle_kind",
                word(s.by_angle()),
                [
                    "Is the triangle acute, right or obtuse?",
                    "Judged by its angles, what kind of triangle is it: acute, right or obtuse?",
                    "Acute, right or obtuse?",
                ],
            ),
            seen(
                "side_kind",
                word(match s.equal_sides() {
                    3 => "equilateral",
                    2 => "isosceles",
                    _ => "scalene",
                }),
                [
                    "Is the triangle equilateral, isosceles or scalene? Give the most special name.",
                    "Judged by its sides, is the triangle equilateral, isosceles or scalene?",
                    "Equilateral, isosceles or scalene?",
                ],
            ),
            seen(
                "colour",
                word(s.hue.name()),
                [
                    "What colour is the triangle?",
                    "In which colour is the triangle filled?",
                    "Triangle colour?",
                ],
            )
            .among(s.hue.others()),
        ];
        let sides = s.sides();
        let longest = (0..3)
            .max_by(|a, b| sides[*a].total_cmp(&sides[*b]))
            .unwrap_or(0);
        let others = (0..3)
            .filter(|i| *i != longest)
            .map(|i| sides[i])
            .fold(0.0, f64::max);
        if sides[longest] > others * 1.06 {
            all.push(
                seen(
                    "longest_side",
                    word(SIDES[longest]),
                    [
                        "Which side of the triangle is the longest: AB, BC or CA?",
                        "What is the name of the longest side, AB, BC or CA?",
                        "Longest side?",
                    ],
                )
                .among(strings(&SIDES)),
            );
            all.push(
                seen(
                    "largest_angle",
                    word(NAMES[longest]),
                    [
                        "At which corner is the largest angle?",
                        "Which of the corners A, B and C has the largest angle?",
                        "Corner of largest angle?",
                    ],
                )
                .among(strings(&NAMES)),
            );
        }
        match s.given {
            Given::Angles { angles, hidden } => {
                let name = NAMES[hidden];
                all.push(
                    read(
                        "missing_angle",
                        int(angles[hidden]),
                        [
                            "How large is the angle marked with a question mark?".to_owned(),
                            format!("Find the missing angle at {name}."),
                            format!("Angle at {name}?"),
                        ],
                    )
                    .unit("°")
                    .steps(3)
                    .near_misses()
                    .measures(format!("the angle at {name}")),
                );
                for (i, name) in NAMES.iter().enumerate().filter(|(i, _)| *i != hidden) {
                    all.push(
                        read(
                            "angle",
                            int(angles[i]),
                            [
                                format!("How large is the angle at {name}?"),
                                format!("What is the size of angle {name}?"),
                                format!("Angle {name}?"),
                            ],
                        )
                        .unit("°")
                        .measures(format!("the angle at {name}")),
                    );
                }
            }
            Given::Sides { sides } => {
                for (side, name) in sides.iter().zip(SIDES) {
                    all.push(
                        read(
                            "side",
                            int(*side),
                            [
                                format!("How long is side {name}?"),
                                format!("What is the length of side {name}?"),
                                format!("Length of {name}?"),
                            ],
                        )
                        .unit(&s.unit)
                        .near_misses()
                        .measures(format!("the length of side {name}")),
                    );
                }
                all.push(
                    read(
                        "perimeter",
                        int(sides.iter().sum::<i64>()),
                        [
                            "What is the perimeter of the triangle?",
                            "How long are all sides together?",
                            "Perimeter?",
                        ],
                    )
                    .unit(&s.unit)
                    .steps(3)
                    .near_misses()
                    .measures("the perimeter"),
                );
                if let Some(i) = s.right() {
                    let (a, b) = (sides[(i + 1) % 3], sides[(i + 2) % 3]);
                    let unit = format!("{}^2", s.unit);
                    all.push(
                        read(
                            "right_area",
                            crate::figures::question::decimal((a * b) as f64 / 2.0, 1),
                            [
                                "What is the area of the right triangle?",
                                "How large is the area of the triangle?",
                                "Area?",
                            ],
                        )
                        .unit(&unit)
                        .steps(3)
                        .near_misses(),
                    );
                    all.push(
                        read(
                            "hypotenuse",
                            word(SIDES[i]),
                            [
                                "Which side is the hypotenuse?",
                                "Name the side opposite the right angle.",
                                "Hypotenuse?",
                            ],
                        )
                        .steps(2)
                        .among(strings(&SIDES)),
                    );
                }
            }
        }
        // Asked of right triangles and of half of the others, so that both answers are as likely.
        if s.right().is_some() || s.mirrored {
            all.push(seen(
                "is_right",
                yes(s.right().is_some()),
                [
                    "Is the triangle right-angled?",
                    "Does the triangle have a right angle?",
                    "Right-angled?",
                ],
            ));
        }
        all
    }
}
