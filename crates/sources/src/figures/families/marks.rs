//! Small drawings that several families share: shapes and simple objects.

use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Area, Canvas, Paint, around, fill, stroke};
use crate::figures::palette::Colour;

/// A plane shape that questions can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Cross,
    Heart,
}

impl Shape {
    pub const ALL: [Shape; 6] = [
        Shape::Circle,
        Shape::Square,
        Shape::Triangle,
        Shape::Star,
        Shape::Cross,
        Shape::Heart,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Circle => "circle",
            Shape::Square => "square",
            Shape::Triangle => "triangle",
            Shape::Star => "star",
            Shape::Cross => "cross",
            Shape::Heart => "heart",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Shape::Circle => "circles",
            Shape::Square => "squares",
            Shape::Triangle => "triangles",
            Shape::Star => "stars",
            Shape::Cross => "crosses",
            Shape::Heart => "hearts",
        }
    }

    /// Draws the shape about `c`, no wider or higher than `2 * r`.
    pub fn draw(self, canvas: &mut Canvas, c: (f32, f32), r: f32, paint: Paint) {
        match self {
            Shape::Circle => canvas.circle(c, r, paint),
            Shape::Square => {
                let h = r * 0.9;
                canvas.rect(Area::new(c.0 - h, c.1 - h, c.0 + h, c.1 + h), paint);
            }
            Shape::Triangle => {
                let points = [
                    (c.0, c.1 - r),
                    (c.0 + r, c.1 + r * 0.8),
                    (c.0 - r, c.1 + r * 0.8),
                ];
                canvas.polygon(&points, paint);
            }
            Shape::Star => {
                let points: Vec<_> = (0..10u8)
                    .map(|i| {
                        let radius = if i % 2 == 0 { r * 1.05 } else { r * 0.45 };
                        around(c, radius, f32::from(i) / 10.0)
                    })
                    .collect();
                canvas.polygon(&points, paint);
            }
            Shape::Cross => {
                let (a, b) = (r * 0.34, r * 0.95);
                let corners = [
                    (-a, -b),
                    (a, -b),
                    (a, -a),
                    (b, -a),
                    (b, a),
                    (a, a),
                    (a, b),
                    (-a, b),
                    (-a, a),
                    (-b, a),
                    (-b, -a),
                    (-a, -a),
                ];
                let points = corners.map(|(x, y)| (c.0 + x, c.1 + y));
                canvas.polygon(&points, paint);
            }
            Shape::Heart => {
                let (x, y) = c;
                let d = format!(
                    "M{:.1} {:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}Z",
                    x,
                    y + r * 0.95,
                    x - r * 1.7,
                    y - r * 0.1,
                    x - r * 0.75,
                    y - r * 1.35,
                    x,
                    y - r * 0.45,
                    x + r * 0.75,
                    y - r * 1.35,
                    x + r * 1.7,
                    y - r * 0.1,
                    x,
                    y + r * 0.95,
                );
                canvas.path(&d, paint);
            }
        }
    }
}

/// A thing that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Thing {
    Apple,
    Ball,
    Balloon,
    Flower,
    Fish,
    Star,
    Gift,
}

impl Thing {
    pub const ALL: [Thing; 7] = [
        Thing::Apple,
        Thing::Ball,
        Thing::Balloon,
        Thing::Flower,
        Thing::Fish,
        Thing::Star,
        Thing::Gift,
    ];

    pub fn plural(self) -> &'static str {
        match self {
            Thing::Apple => "apples",
            Thing::Ball => "balls",
            Thing::Balloon => "balloons",
            Thing::Flower => "flowers",
            Thing::Fish => "fish",
            Thing::Star => "stars",
            Thing::Gift => "gifts",
        }
    }

    /// Draws the thing about `c`, no wider or higher than about `2 * r`.
    pub fn draw(self, canvas: &mut Canvas, c: (f32, f32), r: f32, colour: Colour) {
        let ink = canvas.look.ink;
        let dark = colour.towards(Colour::BLACK, 0.35);
        let light = colour.towards(Colour::WHITE, 0.55);
        let paint = if canvas.look.outlined {
            fill(colour).edged(ink, 1.2)
        } else {
            fill(colour)
        };
        let (x, y) = c;
        match self {
            Thing::Apple => {
                canvas.line(
                    (x, y - r * 0.5),
                    (x + r * 0.15, y - r),
                    stroke(Colour(95, 65, 40), 2.0),
                );
                canvas.ellipse(
                    (x + r * 0.4, y - r * 0.8),
                    r * 0.3,
                    r * 0.14,
                    -25.0,
                    fill(Colour(60, 150, 60)),
                );
                canvas.circle((x, y + r * 0.1), r * 0.82, paint);
                canvas.ellipse(
                    (x - r * 0.3, y - r * 0.15),
                    r * 0.14,
                    r * 0.24,
                    25.0,
                    fill(light),
                );
            }
            Thing::Ball => {
                canvas.circle(c, r * 0.92, paint);
                canvas.ellipse(c, r * 0.92, r * 0.32, -20.0, stroke(dark, 1.4));
                canvas.circle((x - r * 0.35, y - r * 0.4), r * 0.17, fill(light));
            }
            Thing::Balloon => {
                let knot = (x, y + r * 0.55);
                canvas.line(knot, (x + r * 0.1, y + r), stroke(ink, 1.2));
                canvas.ellipse((x, y - r * 0.2), r * 0.66, r * 0.78, 0.0, paint);
                canvas.ellipse(
                    (x - r * 0.25, y - r * 0.45),
                    r * 0.11,
                    r * 0.22,
                    20.0,
                    fill(light),
                );
            }
            Thing::Flower => {
                for i in 0..6u8 {
                    let petal = around(c, r * 0.58, f32::from(i) / 6.0);
                    canvas.circle(petal, r * 0.36, paint);
                }
                canvas.circle(c, r * 0.32, fill(Colour(60, 45, 30)));
            }
            Thing::Fish => {
                let tail = [
                    (x + r * 0.45, y),
                    (x + r, y - r * 0.5),
                    (x + r, y + r * 0.5),
                ];
                canvas.polygon(&tail, paint);
                canvas.ellipse((x - r * 0.15, y), r * 0.8, r * 0.5, 0.0, paint);
                canvas.circle((x - r * 0.55, y - r * 0.12), r * 0.1, fill(Colour::BLACK));
            }
            Thing::Star => Shape::Star.draw(canvas, c, r, paint),
            Thing::Gift => {
                let h = r * 0.78;
                canvas.rect(Area::new(x - h, y - h * 0.7, x + h, y + h), paint);
                canvas.rect(
                    Area::new(x - h * 0.18, y - h * 0.7, x + h * 0.18, y + h),
                    fill(light),
                );
                canvas.ellipse(
                    (x - h * 0.4, y - h * 0.92),
                    h * 0.4,
                    h * 0.2,
                    20.0,
                    stroke(dark, 2.0),
                );
                canvas.ellipse(
                    (x + h * 0.4, y - h * 0.92),
                    h * 0.4,
                    h * 0.2,
                    -20.0,
                    stroke(dark, 2.0),
                );
            }
        }
    }
}
