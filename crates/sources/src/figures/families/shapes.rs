//! Scenes of coloured shapes, large and small, beside and inside each other.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::marks::Shape;
use crate::figures::canvas::{Canvas, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, real, several};
use crate::figures::scene::{Figure, Load, distinct, expect};

pub(crate) struct Shapes;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    shape: Shape,
    hue: Hue,
    large: bool,
    /// Cell of a grid of 4 columns and 3 rows.
    cell: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    items: Vec<Item>,
    /// A small shape inside the first item, which is then large.
    inside: Option<(Shape, Hue)>,
}

const COLUMNS: usize = 4;
const ROWS: usize = 3;

impl Scene {
    fn column(&self, i: usize) -> usize {
        self.items[i].cell % COLUMNS
    }

    fn row(&self, i: usize) -> usize {
        self.items[i].cell / COLUMNS
    }
}

impl Figure for Shapes {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "shapes"
    }

    fn task(&self) -> Task {
        Task::Vqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 1, 7);
        let cells: Vec<usize> = (0..COLUMNS * ROWS).collect();
        let cells = several(rng, &cells, n);
        let mut hues = Hue::some(rng, n + 1);
        let inner = hues.pop();
        // Few kinds, so that counting by kind has more to count.
        let kind_count = count(rng, 1, 4);
        let kinds = several(rng, &Shape::ALL, kind_count);
        let mut items: Vec<Item> = cells
            .into_iter()
            .zip(hues)
            .map(|(cell, hue)| Item {
                shape: pick(rng, &kinds),
                hue,
                large: chance(rng, 0.5),
                cell,
            })
            .collect();
        let inside = match inner {
            Some(hue) if n < 8 && chance(rng, 0.4) => {
                let roomy = [Shape::Circle, Shape::Square];
                items[0].large = true;
                items[0].shape = pick(rng, &roomy);
                let small: Vec<Shape> = Shape::ALL
                    .into_iter()
                    .filter(|s| *s != items[0].shape)
                    .collect();
                Some((pick(rng, &small), hue))
            }
            _ => None,
        };
        Scene { items, inside }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((1..=8).contains(&s.items.len()), "1 to 8 shapes")?;
        let cells: Vec<usize> = s.items.iter().map(|i| i.cell).collect();
        expect(
            distinct(&cells) && cells.iter().all(|c| *c < COLUMNS * ROWS),
            "a cell for each",
        )?;
        let mut hues: Vec<Hue> = s.items.iter().map(|i| i.hue).collect();
        hues.extend(s.inside.map(|i| i.1));
        expect(distinct(&hues), "distinct hues")?;
        let roomy = matches!(s.items[0].shape, Shape::Circle | Shape::Square);
        expect(
            s.inside.is_none() || (s.items[0].large && roomy),
            "room for the inner shape",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        let n = s.items.len();
        let kinds = s
            .items
            .iter()
            .map(|i| i.shape)
            .collect::<std::collections::BTreeSet<_>>();
        Load {
            objects: n + usize::from(s.inside.is_some()),
            relations: (n / 2) + usize::from(s.inside.is_some()),
            computation: usize::from(kinds.len() > 1) + usize::from(n > 5),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let area = canvas.area().inset(6.0);
        let (w, h) = (area.width() / COLUMNS as f32, area.height() / ROWS as f32);
        let cell = w.min(h);
        for (i, item) in s.items.iter().enumerate() {
            let r = cell * if item.large { 0.47 } else { 0.27 };
            let (sx, sy) = ((w / 2.0 - r).max(0.0) * 0.55, (h / 2.0 - r).max(0.0) * 0.55);
            let c = (
                area.left + w * (s.column(i) as f32 + 0.5) + real(rng, -sx, sx),
                area.top + h * (s.row(i) as f32 + 0.5) + real(rng, -sy, sy),
            );
            item.shape
                .draw(canvas, c, r, fill(look.hue(item.hue)).in_look(&look));
            if let (0, Some((shape, hue))) = (i, s.inside) {
                shape.draw(
                    canvas,
                    c,
                    r * 0.52,
                    fill(look.hue(hue)).edged(look.ink, 1.2),
                );
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.items.len();
        let total = n + usize::from(s.inside.is_some());
        let colours: Vec<String> = s.items.iter().map(|i| i.hue.name().to_owned()).collect();
        let hues: Vec<Hue> = s.items.iter().map(|i| i.hue).collect();
        let pool = Hue::pool(&hues);
        let shapes: Vec<String> = Shape::ALL.iter().map(|i| i.name().to_owned()).collect();
        let mut all = vec![
            seen(
                "count",
                int(total),
                [
                    "How many shapes are there in the picture?",
                    "Count all shapes.",
                    "Number of shapes?",
                ],
            )
            .near_misses()
            .measures("the number of shapes"),
        ];
        let mut kinds: Vec<Shape> = s.items.iter().map(|i| i.shape).collect();
        kinds.extend(s.inside.map(|i| i.0));
        let of = |shape: Shape| kinds.iter().filter(|k| **k == shape).count();
        for shape in Shape::ALL {
            let (found, plural) = (of(shape), shape.plural());
            all.push(
                seen(
                    "count_kind",
                    int(found),
                    [
                        format!("How many {plural} are there?"),
                        format!("Count the {plural} in the picture."),
                        format!("Number of {plural}?"),
                    ],
                )
                .measures(format!("the number of {plural}")),
            );
            all.push(seen(
                "is_there",
                yes(found > 0),
                [
                    format!("Is there a {} in the picture?", shape.name()),
                    format!("Does the picture show a {}?", shape.name()),
                    format!("Any {}?", shape.name()),
                ],
            ));
        }
        for (i, item) in s.items.iter().enumerate() {
            let (a, shape) = (&colours[i], item.shape.name());
            all.push(
                seen(
                    "shape_of",
                    word(shape),
                    [
                        format!("Which shape is {a}?"),
                        format!("What is the shape of the {a} thing?"),
                        format!("{a} shape?"),
                    ],
                )
                .among(shapes.clone()),
            );
            if of(item.shape) == 1 {
                all.push(
                    seen(
                        "colour_of",
                        word(&**a),
                        [
                            format!("What colour is the {shape}?"),
                            format!("Which colour does the {shape} have?"),
                            format!("Colour of {shape}?"),
                        ],
                    )
                    .among(pool.clone()),
                );
            }
            all.push(seen(
                "size_of",
                word(if item.large { "large" } else { "small" }),
                [
                    format!("Is the {a} shape large or small?"),
                    format!("What size is the {a} shape, large or small?"),
                    format!("{a}: large or small?"),
                ],
            ));
            for j in (0..n).filter(|j| *j != i) {
                let b = &colours[j];
                if s.column(i) != s.column(j) {
                    all.push(
                        seen(
                            "left_of",
                            yes(s.column(i) < s.column(j)),
                            [
                                format!("Is the {a} shape to the left of the {b} shape?"),
                                format!("Does {a} lie further left than {b}?"),
                                format!("{a} left of {b}?"),
                            ],
                        )
                        .steps(2),
                    );
                }
                if s.row(i) != s.row(j) {
                    all.push(
                        seen(
                            "above",
                            yes(s.row(i) < s.row(j)),
                            [
                                format!("Is the {a} shape above the {b} shape?"),
                                format!("Does {a} lie higher than {b}?"),
                                format!("{a} above {b}?"),
                            ],
                        )
                        .steps(2),
                    );
                }
                if j > i {
                    all.push(
                        seen(
                            "same_shape",
                            yes(item.shape == s.items[j].shape),
                            [
                                format!("Do the {a} and the {b} thing have the same shape?"),
                                format!("Are {a} and {b} the same kind of shape?"),
                                format!("{a} and {b} same shape?"),
                            ],
                        )
                        .steps(2),
                    );
                }
            }
        }
        let unique = |key: &dyn Fn(usize) -> usize| {
            let best = (0..n).max_by_key(|i| key(*i))?;
            ((0..n).filter(|i| key(*i) == key(best)).count() == 1 && n > 1).then_some(best)
        };
        for (template, best, what) in [
            (
                "leftmost",
                unique(&|i| COLUMNS - s.column(i)),
                "furthest to the left",
            ),
            (
                "rightmost",
                unique(&|i| s.column(i)),
                "furthest to the right",
            ),
            ("topmost", unique(&|i| ROWS - s.row(i)), "highest up"),
            ("lowest", unique(&|i| s.row(i)), "furthest down"),
        ] {
            let Some(best) = best else { continue };
            all.push(
                seen(
                    template,
                    word(&*colours[best]),
                    [
                        format!("What colour is the shape that is {what}?"),
                        format!("Which colour has the shape {what}?"),
                        format!("Colour of shape {what}?"),
                    ],
                )
                .among(pool.clone())
                .steps(2),
            );
        }
        let large = s.items.iter().filter(|i| i.large).count();
        all.push(
            seen(
                "count_large",
                int(large),
                [
                    "How many large shapes are there?",
                    "Count the large shapes.",
                    "Number of large shapes?",
                ],
            )
            .steps(2)
            .measures("the number of large shapes"),
        );
        if let Some((shape, hue)) = s.inside {
            let outer = &s.items[0];
            all.push(
                seen(
                    "inside_colour",
                    word(hue.name()),
                    [
                        format!(
                            "What colour is the shape inside the {} {}?",
                            outer.hue.name(),
                            outer.shape.name()
                        ),
                        "What colour is the shape that lies inside another one?".to_owned(),
                        "Colour of inner shape?".to_owned(),
                    ],
                )
                .among(hue.others()),
            );
            all.push(
                seen(
                    "inside_shape",
                    word(shape.name()),
                    [
                        format!(
                            "Which shape is inside the {} {}?",
                            outer.hue.name(),
                            outer.shape.name()
                        ),
                        "Which shape lies inside another one?".to_owned(),
                        "Inner shape?".to_owned(),
                    ],
                )
                .among(shapes),
            );
            all.push(
                seen(
                    "outside_colour",
                    word(outer.hue.name()),
                    [
                        format!(
                            "What colour is the shape around the {} {}?",
                            hue.name(),
                            shape.name()
                        ),
                        "Which colour has the shape that another one lies in?".to_owned(),
                        "Colour of outer shape?".to_owned(),
                    ],
                )
                .among(outer.hue.others()),
            );
        }
        all
    }
}
