//! Counting scenes: things of several colours, in one field or in two boxes, some crossed out.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::marks::Thing;
use crate::figures::canvas::{Anchor, Area, Canvas, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, real, several, whole};
use crate::figures::scene::{Figure, Load, distinct, expect};

pub(crate) struct Counting;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    thing: Thing,
    /// Counts by hue: in the one field, or in the left and the right box.
    groups: Vec<(Hue, usize)>,
    boxes: bool,
    /// So many things of the first group are crossed out.
    crossed: usize,
    /// Dollars for one thing, in questions.
    price: i64,
}

impl Scene {
    fn total(&self) -> usize {
        self.groups.iter().map(|g| g.1).sum()
    }
}

impl Figure for Counting {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "counting"
    }

    fn task(&self) -> Task {
        Task::Mwp
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let boxes = chance(rng, 0.4);
        let kinds = if boxes { 2 } else { count(rng, 1, 3) };
        let most = match kinds {
            1 => 9,
            2 => 6,
            _ => 4,
        };
        let sizes: Vec<usize> = (1..=most).collect();
        let counts = several(rng, &sizes, kinds);
        let hues = Hue::some(rng, kinds);
        let crossed = if chance(rng, 0.4) {
            count(rng, 0, counts[0].min(4))
        } else {
            0
        };
        Scene {
            thing: pick(rng, &Thing::ALL),
            groups: hues.into_iter().zip(counts).collect(),
            boxes,
            crossed,
            price: whole(rng, 2, 5),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((1..=4).contains(&s.groups.len()), "1 to 4 groups")?;
        expect(!s.boxes || s.groups.len() == 2, "two groups for two boxes")?;
        expect(
            s.groups.iter().all(|g| (1..=12).contains(&g.1)),
            "1 to 12 things a group",
        )?;
        let hues: Vec<Hue> = s.groups.iter().map(|g| g.0).collect();
        let counts: Vec<usize> = s.groups.iter().map(|g| g.1).collect();
        expect(
            distinct(&hues) && distinct(&counts),
            "distinct hues and counts",
        )?;
        expect(
            s.crossed <= s.groups[0].1,
            "no more crossed out than there are",
        )?;
        expect((1..=100).contains(&s.price), "a price from 1 to 100")
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.total(),
            relations: s.groups.len() - 1,
            computation: usize::from(s.crossed > 0) + usize::from(s.groups.len() > 2),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.area().inset(10.0);
        let mut things: Vec<(Hue, bool)> = Vec::new();
        for (g, (hue, n)) in s.groups.iter().enumerate() {
            things.extend((0..*n).map(|i| (*hue, g == 0 && i < s.crossed)));
        }
        let fields = if s.boxes {
            let middle = room.centre().0;
            let gap = 5.0;
            let label = look.text + 8.0;
            let left = Area::new(room.left, room.top + label, middle - gap, room.bottom);
            let right = Area::new(middle + gap, room.top + label, room.right, room.bottom);
            for (area, name) in [(left, "left box"), (right, "right box")] {
                canvas.rounded(area, 6.0, fill(Colour::WHITE).edged(look.ink, look.line));
                let at = (area.centre().0, area.top - label / 2.0 - 1.0);
                canvas.label(at, Anchor::Middle, name);
            }
            let first = s.groups[0].1;
            vec![
                (left, things[..first].to_vec()),
                (right, things[first..].to_vec()),
            ]
        } else {
            if look.framed {
                canvas.rounded(room, 6.0, fill(Colour::WHITE).edged(look.ink, look.line));
            }
            vec![(room, things)]
        };
        for (area, things) in fields {
            let area = area.inset(5.0);
            let n = things.len();
            // The grid whose cells are closest to squares.
            let columns = (1..=n)
                .max_by(|a, b| {
                    let side = |c: usize| {
                        (area.width() / c as f32).min(area.height() / n.div_ceil(c) as f32)
                    };
                    side(*a).total_cmp(&side(*b))
                })
                .unwrap_or(1);
            let rows = n.div_ceil(columns);
            let (w, h) = (area.width() / columns as f32, area.height() / rows as f32);
            let r = (w.min(h) * 0.42).min(34.0);
            let cells: Vec<usize> = (0..rows * columns).collect();
            let mut places = several(rng, &cells, n);
            if chance(rng, 0.5) {
                places.sort_unstable();
            }
            for (place, (hue, crossed)) in places.into_iter().zip(things) {
                let slack = (w.min(h) / 2.0 - r).max(0.0);
                let c = (
                    area.left + w * ((place % columns) as f32 + 0.5) + real(rng, -slack, slack),
                    area.top + h * ((place / columns) as f32 + 0.5) + real(rng, -slack, slack),
                );
                s.thing.draw(canvas, c, r, look.hue(hue));
                if crossed {
                    let cross = stroke(Colour::BLACK, (r * 0.16).max(3.0));
                    canvas.line((c.0 - r, c.1 - r), (c.0 + r, c.1 + r), cross);
                    canvas.line((c.0 - r, c.1 + r), (c.0 + r, c.1 - r), cross);
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let things = s.thing.plural();
        let total = s.total();
        let mut all = vec![
            seen(
                "total",
                int(total),
                [
                    format!("How many {things} are there in all?"),
                    format!("Count all the {things} in the picture."),
                    format!("Number of {things}?"),
                ],
            )
            .near_misses()
            .measures(format!("the number of {things}")),
        ];
        let most = (0..s.groups.len())
            .max_by_key(|i| s.groups[*i].1)
            .unwrap_or(0);
        let names: Vec<String> = s.groups.iter().map(|g| g.0.name().to_owned()).collect();
        let hues: Vec<Hue> = s.groups.iter().map(|g| g.0).collect();
        if s.groups.len() == 1 {
            all.push(
                seen(
                    "colour",
                    word(&*names[0]),
                    [
                        format!("What colour are the {things}?"),
                        format!("Which colour do the {things} have?"),
                        format!("Colour of {things}?"),
                    ],
                )
                .among(s.groups[0].0.others()),
            );
        } else {
            all.push(
                seen(
                    "most_colour",
                    word(&*names[most]),
                    [
                        format!("Which colour do most {things} have?"),
                        format!("Of which colour are there the most {things}?"),
                        format!("Most common colour of {things}?"),
                    ],
                )
                .among(Hue::pool(&hues))
                .steps(2),
            );
        }
        for (i, (hue, n)) in s.groups.iter().enumerate() {
            let a = hue.name();
            all.push(
                seen(
                    "count_colour",
                    int(*n),
                    [
                        format!("How many {a} {things} are there?"),
                        format!("Count the {a} {things}."),
                        format!("Number of {a} {things}?"),
                    ],
                )
                .near_misses()
                .measures(format!("the number of {a} {things}")),
            );
            for (j, (other, m)) in s.groups.iter().enumerate().filter(|(j, _)| *j != i) {
                let b = other.name();
                all.push(
                    seen(
                        "more_than",
                        yes(n > m),
                        [
                            format!("Are there more {a} {things} than {b} {things}?"),
                            format!("Is the number of {a} {things} greater than that of {b} ones?"),
                            format!("More {a} than {b} {things}?"),
                        ],
                    )
                    .steps(2),
                );
                if j > i {
                    all.push(
                        read(
                            "difference",
                            int(n.abs_diff(*m)),
                            [
                                format!("What is the difference between the numbers of {a} and {b} {things}?"),
                                format!("How many {things} must be added to have as many {a} as {b} ones?"),
                                format!("Difference of {a} and {b} {things}?"),
                            ],
                        )
                        .steps(3)
                        .near_misses(),
                    );
                }
            }
        }
        if s.boxes {
            for (side, (_, n)) in ["left", "right"].iter().zip(&s.groups) {
                all.push(
                    seen(
                        "in_box",
                        int(*n),
                        [
                            format!("How many {things} are in the {side} box?"),
                            format!("Count the {things} in the {side} box."),
                            format!("{things} in {side} box?"),
                        ],
                    )
                    .near_misses()
                    .measures(format!("the number of {things} in the {side} box")),
                );
            }
            all.push(
                seen(
                    "fuller_box",
                    word(if most == 0 { "left" } else { "right" }),
                    [
                        format!("Which box has more {things}, left or right?"),
                        format!("Are there more {things} in the left or in the right box?"),
                        "Fuller box?".to_owned(),
                    ],
                )
                .steps(2),
            );
        }
        if s.crossed > 0 {
            all.push(
                seen(
                    "crossed",
                    int(s.crossed),
                    [
                        format!("How many {things} are crossed out?"),
                        format!("Count the {things} that are crossed out."),
                        format!("Crossed out {things}?"),
                    ],
                )
                .measures(format!("the number of {things} that are crossed out")),
            );
            all.push(
                read(
                    "left_over",
                    int(total - s.crossed),
                    [
                        format!(
                            "The {things} that are crossed out are taken away. How many are left?"
                        ),
                        format!("How many {things} remain when the crossed out ones are removed?"),
                        format!("{things} left over?"),
                    ],
                )
                .steps(3)
                .near_misses()
                .measures(format!("the number of {things} that are not crossed out")),
            );
        }
        let (price, cost) = (s.price, s.price * total as i64);
        all.push(
            read(
                "cost",
                int(cost),
                [
                    format!("Each of the {things} costs ${price}. How much do all of them cost?"),
                    format!("What is the price of all {things} at ${price} each?"),
                    format!("All {things} at ${price} each?"),
                ],
            )
            .unit("$")
            .steps(3)
            .near_misses(),
        );
        all
    }
}
