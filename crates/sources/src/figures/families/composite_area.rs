//! Composite areas: rectilinear shapes with lengths, and shapes made of unit squares.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Area, Canvas, fill};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, read, seen, word};
use crate::figures::random::{Rng8, chance, count, pick, several, whole};
use crate::figures::scene::{Figure, Load, distinct, expect};

pub(crate) struct CompositeArea;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outline {
    Rectangle,
    L,
    T,
    U,
    Plus,
}

impl Outline {
    const ALL: [Outline; 5] = [
        Outline::Rectangle,
        Outline::L,
        Outline::T,
        Outline::U,
        Outline::Plus,
    ];

    fn name(self) -> &'static str {
        match self {
            Outline::Rectangle => "rectangle",
            Outline::L => "L",
            Outline::T => "T",
            Outline::U => "U",
            Outline::Plus => "plus",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "shows", rename_all = "snake_case", deny_unknown_fields)]
enum Content {
    /// An outline in a box of `width` by `height`, with arms of `arm` and `arm2`.
    Outline {
        outline: Outline,
        width: i64,
        height: i64,
        arm: i64,
        arm2: i64,
        turned: bool,
    },
    /// Shaded unit squares of a grid, as row-major numbers.
    Squares {
        rows: usize,
        columns: usize,
        shaded: Vec<usize>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    content: Content,
    hue: Hue,
    unit: String,
}

/// Corners of an outline, y downwards, in units of length.
fn corners(outline: Outline, w: i64, h: i64, a: i64, b: i64, turned: bool) -> Vec<(i64, i64)> {
    let points = match outline {
        Outline::Rectangle => vec![(0, 0), (w, 0), (w, h), (0, h)],
        Outline::L => vec![(0, 0), (a, 0), (a, h - b), (w, h - b), (w, h), (0, h)],
        Outline::T => {
            let left = (w - a) / 2;
            vec![
                (0, 0),
                (w, 0),
                (w, b),
                (left + a, b),
                (left + a, h),
                (left, h),
                (left, b),
                (0, b),
            ]
        }
        Outline::U => {
            let side = (w - a) / 2;
            vec![
                (0, 0),
                (side, 0),
                (side, h - b),
                (w - side, h - b),
                (w - side, 0),
                (w, 0),
                (w, h),
                (0, h),
            ]
        }
        Outline::Plus => {
            let (x, y) = ((w - a) / 2, (h - b) / 2);
            vec![
                (x, 0),
                (x + a, 0),
                (x + a, y),
                (w, y),
                (w, y + b),
                (x + a, y + b),
                (x + a, h),
                (x, h),
                (x, y + b),
                (0, y + b),
                (0, y),
                (x, y),
            ]
        }
    };
    // Upside down or mirrored, which keeps lengths.
    if turned {
        points.into_iter().map(|(x, y)| (w - x, h - y)).collect()
    } else {
        points
    }
}

fn area(points: &[(i64, i64)]) -> i64 {
    let n = points.len();
    let twice: i64 = (0..n)
        .map(|i| {
            let (a, b) = (points[i], points[(i + 1) % n]);
            a.0 * b.1 - b.0 * a.1
        })
        .sum();
    twice.abs() / 2
}

fn lengths(points: &[(i64, i64)]) -> Vec<i64> {
    let n = points.len();
    (0..n)
        .map(|i| {
            let (a, b) = (points[i], points[(i + 1) % n]);
            (a.0 - b.0).abs() + (a.1 - b.1).abs()
        })
        .collect()
}

impl Figure for CompositeArea {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "composite_area"
    }

    fn task(&self) -> Task {
        Task::Gps
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let content = if chance(rng, 0.4) {
            let (rows, columns) = (count(rng, 2, 5), count(rng, 3, 6));
            let all: Vec<usize> = (0..rows * columns).collect();
            let n = count(rng, 1, 9.min(rows * columns - 1));
            let mut shaded = several(rng, &all, n);
            shaded.sort_unstable();
            Content::Squares {
                rows,
                columns,
                shaded,
            }
        } else {
            // Arms leave even rests, so that every length is a whole number.
            let arm = whole(rng, 2, 4);
            let arm2 = whole(rng, 2, 4);
            let width = arm + 2 * whole(rng, 2, 3);
            let height = arm2 + 2 * whole(rng, 1, 2);
            let outline = pick(rng, &Outline::ALL);
            Content::Outline {
                outline,
                width,
                height,
                arm,
                arm2,
                turned: chance(rng, 0.5),
            }
        };
        Scene {
            content,
            hue: Hue::some(rng, 1)[0],
            unit: pick(rng, &["cm", "m"]).to_owned(),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect(
            ["cm", "m", "mm"].contains(&s.unit.as_str()),
            "a unit of length",
        )?;
        match &s.content {
            Content::Outline {
                width,
                height,
                arm,
                arm2,
                ..
            } => {
                expect(
                    (3..=40).contains(width) && (3..=40).contains(height),
                    "sides from 3 to 40",
                )?;
                expect(
                    (1..*width).contains(arm) && (1..*height).contains(arm2),
                    "smaller arms",
                )?;
                expect(
                    (width - arm) % 2 == 0 && (height - arm2) % 2 == 0,
                    "even rests",
                )
            }
            Content::Squares {
                rows,
                columns,
                shaded,
            } => {
                expect(
                    (1..=8).contains(rows) && (1..=8).contains(columns),
                    "1-8 rows and columns",
                )?;
                expect(
                    !shaded.is_empty() && shaded.len() < rows * columns,
                    "some squares shaded",
                )?;
                expect(
                    shaded.iter().all(|i| *i < rows * columns),
                    "squares of the grid",
                )?;
                expect(distinct(shaded), "each square once")
            }
        }
    }

    fn load(&self, s: &Scene) -> Load {
        match &s.content {
            Content::Outline {
                outline,
                width,
                height,
                arm,
                arm2,
                turned,
            } => {
                let n = corners(*outline, *width, *height, *arm, *arm2, *turned).len();
                Load {
                    objects: n,
                    relations: n / 4,
                    computation: if n == 4 { 1 } else { 2 },
                }
            }
            Content::Squares { shaded, .. } => Load {
                objects: shaded.len(),
                relations: 1,
                computation: 1,
            },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let colour = look.hue(s.hue);
        match &s.content {
            Content::Squares {
                rows,
                columns,
                shaded,
            } => {
                let room = canvas.area().inset(18.0);
                let side = (room.width() / *columns as f32).min(room.height() / *rows as f32);
                let (cx, cy) = room.centre();
                let left = cx - side * *columns as f32 / 2.0;
                let top = cy - side * *rows as f32 / 2.0;
                for i in 0..rows * columns {
                    let x = left + side * (i % columns) as f32;
                    let y = top + side * (i / columns) as f32;
                    let paint = if shaded.contains(&i) {
                        fill(colour)
                    } else {
                        fill(Colour::WHITE)
                    };
                    let square = Area::new(x, y, x + side, y + side);
                    canvas.rect(square, paint.edged(look.ink, look.line));
                }
            }
            Content::Outline {
                outline,
                width,
                height,
                arm,
                arm2,
                turned,
            } => {
                let points = corners(*outline, *width, *height, *arm, *arm2, *turned);
                let room = canvas.area();
                let margin = (48.0, 24.0);
                let scale = ((room.width() - 2.0 * margin.0) / *width as f32)
                    .min((room.height() - 2.0 * margin.1) / *height as f32);
                let (cx, cy) = room.centre();
                let at: Vec<(f32, f32)> = points
                    .iter()
                    .map(|(x, y)| {
                        (
                            cx + (*x as f32 - *width as f32 / 2.0) * scale,
                            cy + (*y as f32 - *height as f32 / 2.0) * scale,
                        )
                    })
                    .collect();
                canvas.polygon(&at, fill(colour).edged(look.ink, look.line + 1.2));
                let n = at.len();
                for i in 0..n {
                    canvas.keep_clear_of_line(at[i], at[(i + 1) % n], look.line + 1.2);
                }
                let mut written: Vec<(bool, i64)> = Vec::new();
                let all = lengths(&points);
                // Level sides from the first on, upright ones from the last back, so that equal
                // lengths of both directions do not stand at the same corner.
                let level_side = |i: &usize| points[*i].1 == points[(i + 1) % n].1;
                let level = (0..n).filter(|i| level_side(i));
                let upright = (0..n).rev().filter(|i| !level_side(i));
                for i in level.chain(upright) {
                    let length = all[i];
                    let (a, b) = (points[i], points[(i + 1) % n]);
                    let level = a.1 == b.1;
                    // A length that stands at another side of the same direction is not repeated.
                    if written.contains(&(level, length)) {
                        continue;
                    }
                    written.push((level, length));
                    let (p, q) = (at[i], at[(i + 1) % n]);
                    let middle = ((p.0 + q.0) / 2.0, (p.1 + q.1) / 2.0);
                    // Corners run clockwise, so the outside is on the left of each side.
                    let side = match (level, b.0 > a.0, b.1 > a.1) {
                        (true, true, _) => 0.0,
                        (true, false, _) => 0.5,
                        (false, _, true) => 0.25,
                        (false, _, false) => 0.75,
                    };
                    let text = format!("{length} {}", s.unit);
                    canvas.label_near(middle, side, look.text - 0.5, &text);
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let mut all = vec![
            seen(
                "colour",
                word(s.hue.name()),
                [
                    "What colour is the shaded area?",
                    "In which colour is the shape filled?",
                    "Colour of shape?",
                ],
            )
            .among(s.hue.others()),
        ];
        match &s.content {
            Content::Outline {
                outline,
                width,
                height,
                arm,
                arm2,
                turned,
            } => {
                let points = corners(*outline, *width, *height, *arm, *arm2, *turned);
                let kinds = Outline::ALL.map(|o| o.name().to_owned()).to_vec();
                let square = format!("{}^2", s.unit);
                all.push(
                    seen(
                        "outline",
                        word(outline.name()),
                        [
                            "Which shape is it: rectangle, L, T, U or plus?",
                            "What does the shape look like: a rectangle, an L, a T, a U or a plus?",
                            "Rectangle, L, T, U or plus?",
                        ],
                    )
                    .among(kinds),
                );
                // T and U have eight sides each, so the others are asked about more.
                if !matches!(outline, Outline::U) || *turned {
                    all.push(
                        seen(
                            "sides",
                            int(points.len()),
                            [
                                "How many sides does the shape have?",
                                "What is the number of sides of the shape?",
                                "Number of sides?",
                            ],
                        )
                        .steps(2)
                        .measures("the number of sides"),
                    );
                }
                all.push(
                    read(
                        "area",
                        int(area(&points)),
                        [
                            "What is the area of the shape?",
                            "How large is the area of the figure?",
                            "Area?",
                        ],
                    )
                    .unit(&square)
                    .steps(4)
                    .near_misses(),
                );
                all.push(
                    read(
                        "perimeter",
                        int(lengths(&points).iter().sum::<i64>()),
                        [
                            "What is the perimeter of the shape?",
                            "How long is the way around the shape?",
                            "Perimeter?",
                        ],
                    )
                    .unit(&s.unit)
                    .steps(3)
                    .near_misses()
                    .measures("the perimeter"),
                );
                for (template, value, what) in
                    [("width", *width, "width"), ("height", *height, "height")]
                {
                    all.push(
                        read(
                            template,
                            int(value),
                            [
                                format!("What is the whole {what} of the shape?"),
                                format!("How large is the {what} of the shape in all?"),
                                format!("Whole {what}?"),
                            ],
                        )
                        .unit(&s.unit)
                        .near_misses()
                        .measures(format!("the whole {what}")),
                    );
                }
            }
            Content::Squares {
                rows,
                columns,
                shaded,
            } => {
                let n = shaded.len();
                all.push(
                    seen(
                        "shaded",
                        int(n),
                        [
                            "How many squares are shaded?",
                            "Each square has an area of 1. What is the shaded area?",
                            "Shaded squares?",
                        ],
                    )
                    .near_misses()
                    .measures("the number of shaded squares"),
                );
                for (template, value, what) in
                    [("rows", *rows, "rows"), ("columns", *columns, "columns")]
                {
                    all.push(
                        seen(
                            template,
                            int(value),
                            [
                                format!("How many {what} of squares does the grid have?"),
                                format!("What is the number of {what} of the grid?"),
                                format!("Number of {what}?"),
                            ],
                        )
                        .near_misses()
                        .measures(format!("the number of {what}")),
                    );
                }
                all.push(
                    read(
                        "white",
                        int(rows * columns - n),
                        [
                            "How many squares are not shaded?",
                            "What is the number of white squares?",
                            "White squares?",
                        ],
                    )
                    .steps(2)
                    .near_misses()
                    .measures("the number of white squares"),
                );
                all.push(
                    read(
                        "squares",
                        int(rows * columns),
                        [
                            "How many squares does the grid have in all?",
                            "What is the total number of squares?",
                            "Squares in all?",
                        ],
                    )
                    .steps(2)
                    .near_misses()
                    .measures("the number of squares"),
                );
            }
        }
        all
    }
}
