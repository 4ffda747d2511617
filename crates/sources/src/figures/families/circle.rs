//! Circles: one line drawn in or at them, a shaded part, or a polygon inside.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Canvas, around, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, decimal, int, read, seen, word, yes};
use crate::figures::random::{Rng8, pick, real, whole};
use crate::figures::scene::{Figure, Load, expect};

pub(crate) struct Circle;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Segment {
    Radius,
    Diameter,
    Chord,
    Tangent,
}

impl Segment {
    const ALL: [Segment; 4] = [
        Segment::Radius,
        Segment::Diameter,
        Segment::Chord,
        Segment::Tangent,
    ];

    fn name(self) -> &'static str {
        match self {
            Segment::Radius => "radius",
            Segment::Diameter => "diameter",
            Segment::Chord => "chord",
            Segment::Tangent => "tangent",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "shows", rename_all = "snake_case", deny_unknown_fields)]
enum Content {
    /// A line of this kind and length.
    Segment {
        segment: Segment,
        length: i64,
        colour: Hue,
    },
    /// `shaded` of `parts` equal sectors.
    Sectors { shaded: i64, parts: i64 },
    /// A regular polygon with its corners on the circle.
    Polygon { corners: i64, colour: Hue },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    content: Content,
    hue: Hue,
    unit: String,
    /// In hundredths of a turn.
    turn: i64,
}

impl Figure for Circle {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "circle"
    }

    fn task(&self) -> Task {
        Task::Gps
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let hues = Hue::some(rng, 2);
        let content = match whole(rng, 0, 9) {
            0..=4 => {
                let segment = pick(rng, &Segment::ALL);
                let length = match segment {
                    Segment::Diameter => 2 * whole(rng, 1, 10),
                    _ => whole(rng, 2, 12),
                };
                Content::Segment {
                    segment,
                    length,
                    colour: hues[1],
                }
            }
            5..=7 => {
                let parts = whole(rng, 3, 8);
                Content::Sectors {
                    shaded: whole(rng, 1, parts - 1),
                    parts,
                }
            }
            _ => Content::Polygon {
                corners: whole(rng, 3, 6),
                colour: hues[1],
            },
        };
        Scene {
            content,
            hue: hues[0],
            unit: pick(rng, &["cm", "m", "mm"]).to_owned(),
            turn: whole(rng, 0, 99),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((0..100).contains(&s.turn), "a turn from 0 to 99")?;
        expect(
            ["cm", "m", "mm"].contains(&s.unit.as_str()),
            "a unit of length",
        )?;
        match s.content {
            Content::Segment {
                segment,
                length,
                colour,
            } => {
                expect((1..=1000).contains(&length), "a length from 1 to 1000")?;
                expect(colour != s.hue, "a line in another hue than the circle")?;
                expect(
                    segment != Segment::Diameter || length % 2 == 0,
                    "an even diameter",
                )
            }
            Content::Sectors { shaded, parts } => expect(
                (2..=12).contains(&parts) && (1..parts).contains(&shaded),
                "some of 2 to 12 parts shaded",
            ),
            Content::Polygon { corners, colour } => {
                expect(colour != s.hue, "a polygon in another hue than the circle")?;
                expect((3..=8).contains(&corners), "3 to 8 corners")
            }
        }
    }

    fn load(&self, s: &Scene) -> Load {
        match s.content {
            Content::Segment { segment, .. } => Load {
                objects: 2,
                relations: 1,
                computation: match segment {
                    Segment::Chord | Segment::Tangent => 0,
                    Segment::Radius => 2,
                    Segment::Diameter => 3,
                },
            },
            Content::Sectors { parts, .. } => Load {
                objects: usize::try_from(parts).unwrap_or(2),
                relations: 1,
                computation: 2,
            },
            Content::Polygon { corners, .. } => Load {
                objects: usize::try_from(corners).unwrap_or(3),
                relations: 1,
                computation: 1,
            },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let (cx, cy) = canvas.area().centre();
        let radius = canvas.width.min(canvas.height) * real(rng, 0.33, 0.39);
        let slack = canvas.width / 2.0 - radius - 34.0;
        let c = (cx + real(rng, -0.5, 0.5) * slack.max(0.0), cy);
        let turn = s.turn as f32 / 100.0;
        let colour = look.hue(s.hue);
        let edge = stroke(look.ink, look.line + 1.0);
        match s.content {
            Content::Sectors { shaded, parts } => {
                canvas.circle(c, radius, fill(Colour::WHITE));
                for i in 0..parts {
                    let from = turn + i as f32 / parts as f32;
                    let to = turn + (i + 1) as f32 / parts as f32;
                    let paint = if i < shaded {
                        fill(colour)
                    } else {
                        fill(Colour::WHITE)
                    };
                    canvas.sector(c, radius, from, to, paint.edged(look.ink, look.line));
                }
                canvas.circle(c, radius, edge);
            }
            Content::Polygon {
                corners,
                colour: inner,
            } => {
                canvas.circle(c, radius, fill(colour).edged(look.ink, look.line + 1.0));
                let points: Vec<_> = (0..corners)
                    .map(|i| around(c, radius, turn + i as f32 / corners as f32))
                    .collect();
                let paint = fill(look.hue(inner)).edged(look.ink, look.line);
                canvas.polygon(&points, paint);
            }
            Content::Segment {
                segment,
                length,
                colour: line,
            } => {
                let pale = fill(colour.towards(Colour::WHITE, 0.3));
                canvas.circle(c, radius, pale.edged(look.ink, look.line + 1.0));
                canvas.circle(c, 3.5, fill(look.ink));
                let (a, b) = match segment {
                    Segment::Radius => (c, around(c, radius, turn)),
                    Segment::Diameter => (around(c, radius, turn), around(c, radius, turn + 0.5)),
                    Segment::Chord => (
                        around(c, radius, turn - 0.16),
                        around(c, radius, turn + 0.16),
                    ),
                    Segment::Tangent => {
                        let touch = around(c, radius, turn);
                        let along = around((0.0, 0.0), radius * 0.75, turn + 0.25);
                        (
                            (touch.0 - along.0, touch.1 - along.1),
                            (touch.0 + along.0, touch.1 + along.1),
                        )
                    }
                };
                canvas.line(a, b, stroke(look.hue(line), 5.0));
                if segment != Segment::Tangent {
                    for end in [a, b] {
                        canvas.circle(end, 3.5, fill(look.ink));
                    }
                }
                canvas.keep_clear_of_line(a, b, 5.0);
                let middle = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
                // Beside the line: outwards for tangents, inwards for chords.
                let side = match segment {
                    Segment::Radius | Segment::Diameter => turn + 0.25,
                    Segment::Chord => turn + 0.5,
                    Segment::Tangent => turn,
                };
                let text = format!("{length} {}", s.unit);
                canvas.label_near(middle, side, look.text + 1.0, &text);
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let mut all = vec![
            seen(
                "colour",
                word(s.hue.name()),
                match s.content {
                    Content::Sectors { .. } => [
                        "What colour is the shaded part?",
                        "In which colour is part of the circle shaded?",
                        "Colour of shaded part?",
                    ],
                    _ => [
                        "What colour is the circle?",
                        "In which colour is the circle filled?",
                        "Circle colour?",
                    ],
                },
            )
            .among(s.hue.others()),
        ];
        match s.content {
            Content::Segment {
                segment,
                length,
                colour,
            } => {
                let kinds = Segment::ALL.map(|k| k.name().to_owned()).to_vec();
                all.push(
                    seen(
                        "segment",
                        word(segment.name()),
                        [
                            "What is the coloured line: a radius, a diameter, a chord or a tangent?",
                            "Which kind of line is drawn: radius, diameter, chord or tangent?",
                            "Radius, diameter, chord or tangent?",
                        ],
                    )
                    .among(kinds)
                    .steps(2),
                );
                all.push(seen(
                    "through_centre",
                    yes(matches!(segment, Segment::Radius | Segment::Diameter)),
                    [
                        "Does the coloured line meet the centre of the circle?",
                        "Is the centre of the circle on the coloured line?",
                        "Line meets centre?",
                    ],
                ));
                // A diameter and a chord both have two; asked of one of them, so that all answers
                // are as likely.
                let ends = match segment {
                    Segment::Radius => Some(1),
                    Segment::Chord => Some(2),
                    Segment::Tangent => Some(0),
                    Segment::Diameter => None,
                };
                if let Some(ends) = ends {
                    all.push(
                        seen(
                            "ends_on_circle",
                            int(ends),
                            [
                                "How many ends of the coloured line lie on the circle?",
                                "Count the ends of the coloured line that are on the circle.",
                                "Line ends on the circle?",
                            ],
                        )
                        .steps(2)
                        .measures("the number of ends of the line on the circle"),
                    );
                }
                all.push(
                    seen(
                        "parts_cut",
                        int(if matches!(segment, Segment::Diameter | Segment::Chord) { 2 } else { 1 }),
                        [
                            "Into how many parts does the coloured line divide the inside of the circle?",
                            "How many separate parts of the circle's inside does the coloured line leave?",
                            "Parts made by the line?",
                        ],
                    )
                    .steps(2)
                    .measures("the number of parts the line makes"),
                );
                all.push(
                    seen(
                        "line_colour",
                        word(colour.name()),
                        [
                            "What colour is the line?",
                            "In which colour is the line drawn?",
                            "Line colour?",
                        ],
                    )
                    .among(colour.others()),
                );
                all.push(
                    read(
                        "length",
                        int(length),
                        [
                            "How long is the coloured line?",
                            "What is the length of the line?",
                            "Length of line?",
                        ],
                    )
                    .unit(&s.unit)
                    .near_misses()
                    .measures("the length of the line"),
                );
                let radius = match segment {
                    Segment::Radius => {
                        all.push(
                            read(
                                "diameter",
                                int(2 * length),
                                [
                                    "What is the diameter of the circle?",
                                    "How long is the diameter?",
                                    "Diameter?",
                                ],
                            )
                            .unit(&s.unit)
                            .steps(2)
                            .near_misses()
                            .measures("the diameter"),
                        );
                        length
                    }
                    Segment::Diameter => {
                        all.push(
                            read(
                                "radius",
                                int(length / 2),
                                [
                                    "What is the radius of the circle?",
                                    "How long is the radius?",
                                    "Radius?",
                                ],
                            )
                            .unit(&s.unit)
                            .steps(2)
                            .near_misses()
                            .measures("the radius"),
                        );
                        length / 2
                    }
                    _ => return all,
                };
                all.push(
                    read(
                        "circumference",
                        decimal((628 * radius) as f64 / 100.0, 2),
                        [
                            "What is the circumference of the circle? Use 3.14 for pi.",
                            "With pi = 3.14, how long is the way around the circle?",
                            "Circumference (pi = 3.14)?",
                        ],
                    )
                    .unit(&s.unit)
                    .steps(3)
                    .near_misses(),
                );
                let square = format!("{}^2", s.unit);
                all.push(
                    read(
                        "area",
                        decimal((314 * radius * radius) as f64 / 100.0, 2),
                        [
                            "What is the area of the circle? Use 3.14 for pi.",
                            "With pi = 3.14, how large is the area of the circle?",
                            "Area (pi = 3.14)?",
                        ],
                    )
                    .unit(&square)
                    .steps(4)
                    .near_misses(),
                );
            }
            Content::Sectors { shaded, parts } => {
                all.push(
                    seen(
                        "parts",
                        int(parts),
                        [
                            "Into how many equal parts is the circle divided?",
                            "What is the number of equal parts of the circle?",
                            "Number of parts?",
                        ],
                    )
                    .near_misses()
                    .measures("the number of parts"),
                );
                all.push(
                    seen(
                        "shaded_parts",
                        int(shaded),
                        [
                            "How many parts of the circle are shaded?",
                            "What is the number of shaded parts?",
                            "Shaded parts?",
                        ],
                    )
                    .near_misses()
                    .measures("the number of shaded parts"),
                );
                all.push(
                    seen(
                        "white_parts",
                        int(parts - shaded),
                        [
                            "How many parts of the circle are white?",
                            "What is the number of parts that are not shaded?",
                            "White parts?",
                        ],
                    )
                    .near_misses()
                    .measures("the number of white parts"),
                );
                if 2 * shaded != parts {
                    all.push(
                        seen(
                            "more_than_half",
                            yes(2 * shaded > parts),
                            [
                                "Is more than half of the circle shaded?",
                                "Does the shaded part take up more than half of the circle?",
                                "More than half shaded?",
                            ],
                        )
                        .steps(2),
                    );
                }
                let others = [
                    (1, 2),
                    (1, 3),
                    (2, 3),
                    (1, 4),
                    (3, 4),
                    (2, 5),
                    (3, 5),
                    (1, 6),
                    (5, 6),
                ]
                .iter()
                .filter(|(a, b)| a * parts != shaded * b)
                .map(|(a, b)| format!("{a}/{b}"))
                .collect();
                all.push(
                    seen(
                        "fraction",
                        word(format!("{shaded}/{parts}")),
                        [
                            "What fraction of the circle is shaded? Count the parts, do not simplify.",
                            "Which fraction of all parts is shaded (not simplified)?",
                            "Shaded fraction?",
                        ],
                    )
                    .among(others)
                    .steps(2),
                );
                all.push(
                    read(
                        "angle",
                        decimal(360.0 / parts as f64, 1),
                        [
                            "How large is the angle of one part at the centre?",
                            "All parts are equal: what is the angle of one?",
                            "Angle of one part?",
                        ],
                    )
                    .unit("°")
                    .steps(3),
                );
            }
            Content::Polygon { corners, colour } => {
                all.push(
                    seen(
                        "corners",
                        int(corners),
                        [
                            "How many corners does the polygon in the circle have?",
                            "What is the number of sides of the inner polygon?",
                            "Corners of polygon?",
                        ],
                    )
                    .near_misses()
                    .measures("the number of corners of the polygon"),
                );
                let kinds = [
                    "triangle", "square", "pentagon", "hexagon", "heptagon", "octagon",
                ];
                let kind = usize::try_from(corners - 3)
                    .unwrap_or(0)
                    .min(kinds.len() - 1);
                all.push(
                    seen(
                        "polygon_kind",
                        word(kinds[kind]),
                        [
                            "What is the polygon in the circle: a triangle, square, pentagon or hexagon?",
                            "Which kind of polygon is drawn inside the circle?",
                            "Kind of polygon?",
                        ],
                    )
                    .among(kinds[..4].iter().map(|k| (*k).to_owned()).collect()),
                );
                all.push(
                    seen(
                        "polygon_colour",
                        word(colour.name()),
                        [
                            "What colour is the polygon in the circle?",
                            "In which colour is the inner polygon filled?",
                            "Polygon colour?",
                        ],
                    )
                    .among(colour.others()),
                );
                all.push(
                    seen(
                        "angle_sum",
                        int((corners - 2) * 180),
                        [
                            "What is the sum of the inner angles of the polygon?",
                            "What do the angles inside the polygon add up to?",
                            "Angle sum of polygon?",
                        ],
                    )
                    .unit("°")
                    .steps(3)
                    .near_misses()
                    .measures("the angle sum of the polygon"),
                );
            }
        }
        all
    }
}
