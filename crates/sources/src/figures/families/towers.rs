//! Towers of coloured blocks on a table.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Area, Canvas, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, list, ordinal, seen, word, yes};
use crate::figures::random::{Rng8, count, pick, real, several};
use crate::figures::scene::{Figure, Load, expect};

pub(crate) struct Towers;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    /// From left to right; blocks from the bottom up.
    towers: Vec<Vec<Hue>>,
}

const MOST: usize = 5;

impl Scene {
    fn blocks(&self) -> usize {
        self.towers.iter().map(Vec::len).sum()
    }
}

impl Figure for Towers {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "towers"
    }

    fn task(&self) -> Task {
        Task::Vqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 1, 4);
        let heights: Vec<usize> = (1..=MOST).collect();
        // Few colours, so that some come up several times.
        let colours = count(rng, 2, 4);
        let palette = Hue::some(rng, colours);
        let towers = several(rng, &heights, n)
            .into_iter()
            .map(|h| (0..h).map(|_| pick(rng, &palette)).collect())
            .collect();
        Scene { towers }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((1..=5).contains(&s.towers.len()), "1 to 5 towers")?;
        expect(
            s.towers.iter().all(|t| (1..=MOST).contains(&t.len())),
            "1 to 5 blocks a tower",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.blocks(),
            relations: s.towers.len() - 1,
            computation: usize::from(s.towers.len() > 2),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let (w, h) = (canvas.width, canvas.height);
        let table = h - 24.0;
        canvas.rect(Area::new(0.0, table, w, h), fill(Colour(170, 125, 85)));
        canvas.line((0.0, table), (w, table), stroke(look.ink, look.line));
        let slot = (w - 16.0) / s.towers.len() as f32;
        let side = ((table - 16.0) / MOST as f32).min(slot * 0.75);
        for (i, tower) in s.towers.iter().enumerate() {
            let slack = (slot - side) / 2.0 - 4.0;
            let x = 8.0 + slot * (i as f32 + 0.5) + real(rng, -slack, slack) * 0.6;
            for (j, hue) in tower.iter().enumerate() {
                let bottom = table - side * j as f32;
                let block = Area::new(x - side / 2.0, bottom - side, x + side / 2.0, bottom);
                let colour = look.hue(*hue);
                let edge = colour.towards(Colour::BLACK, 0.55);
                canvas.rounded(block.inset(0.8), 2.5, fill(colour).edged(edge, 1.8));
                if look.show_grid {
                    let shine = Area::new(
                        block.left + 4.0,
                        block.top + 4.0,
                        block.right - 4.0,
                        block.top + 8.0,
                    );
                    canvas.rect(shine, fill(colour.towards(Colour::WHITE, 0.45)));
                }
            }
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.towers.len();
        let name = |hue: Option<&Hue>| hue.copied().unwrap_or(Hue::Gray).name();
        let mut all = vec![
            seen(
                "towers",
                int(n),
                [
                    "How many towers are there?",
                    "Count the towers of blocks.",
                    "Number of towers?",
                ],
            )
            .near_misses()
            .measures("the number of towers"),
            seen(
                "blocks",
                int(s.blocks()),
                [
                    "How many blocks are there in all?",
                    "Count all blocks.",
                    "Number of blocks?",
                ],
            )
            .near_misses()
            .steps(2)
            .measures("the number of blocks"),
        ];
        let high = (0..n).max_by_key(|i| s.towers[*i].len()).unwrap_or(0);
        let low = (0..n).min_by_key(|i| s.towers[*i].len()).unwrap_or(0);
        for (i, tower) in s.towers.iter().enumerate() {
            let which = if n == 1 {
                "the tower".to_owned()
            } else {
                format!("the {} tower from the left", ordinal(i))
            };
            all.push(
                seen(
                    "height",
                    int(tower.len()),
                    [
                        format!("How many blocks does {which} have?"),
                        format!("Count the blocks of {which}."),
                        format!("Blocks of {which}?"),
                    ],
                )
                .near_misses()
                .measures(format!("the number of blocks of {which}")),
            );
            for (template, hue, place) in [
                ("top_colour", tower.last(), "top"),
                ("bottom_colour", tower.first(), "bottom"),
            ] {
                let right = hue.copied().unwrap_or(Hue::Gray);
                all.push(
                    seen(
                        template,
                        word(right.name()),
                        [
                            format!("What colour is the block at the {place} of {which}?"),
                            format!("Which colour has the {place} block of {which}?"),
                            format!("{place} colour of {which}?"),
                        ],
                    )
                    .among(right.others()),
                );
            }
            if (2..=4).contains(&tower.len()) {
                all.push(
                    seen(
                        "colours",
                        list(tower.iter().map(|h| h.name())),
                        [
                            format!("List the colours of {which}, from the bottom to the top."),
                            format!("From the bottom up, which colours does {which} have?"),
                            format!("Colours of {which} from bottom?"),
                        ],
                    )
                    .steps(2),
                );
            }
            for (j, other) in s.towers.iter().enumerate().filter(|(j, _)| *j != i) {
                if tower.len() != other.len() {
                    let (a, b) = (ordinal(i), ordinal(j));
                    all.push(
                        seen(
                            "taller_than",
                            yes(tower.len() > other.len()),
                            [
                                format!("Is the {a} tower from the left taller than the {b} one?"),
                                format!("Does the {a} tower have more blocks than the {b} tower, counted from the left?"),
                                format!("{a} tower taller than {b}?"),
                            ],
                        )
                        .steps(2),
                    );
                }
            }
        }
        if n > 1 {
            for (template, which, what) in
                [("tallest", high, "tallest"), ("shortest", low, "shortest")]
            {
                let peers = s
                    .towers
                    .iter()
                    .filter(|t| t.len() == s.towers[which].len())
                    .count();
                if peers > 1 {
                    continue;
                }
                all.push(seen(
                    template,
                    int(which + 1),
                    [
                        format!("Which tower from the left is the {what}? Give its number."),
                        format!("Counting from the left, what is the number of the {what} tower?"),
                        format!("Number of {what} tower?"),
                    ],
                ));
                let top = name(s.towers[which].last());
                all.push(
                    seen(
                        if template == "tallest" {
                            "tallest_top"
                        } else {
                            "shortest_top"
                        },
                        word(top),
                        [
                            format!("What colour is the top block of the {what} tower?"),
                            format!("Which colour lies on top of the {what} tower?"),
                            format!("Top colour of {what} tower?"),
                        ],
                    )
                    .steps(2),
                );
            }
        }
        for hue in Hue::ALL {
            let of = s.towers.iter().flatten().filter(|h| **h == hue).count();
            let colour = hue.name();
            all.push(
                seen(
                    "count_colour",
                    int(of),
                    [
                        format!("How many {colour} blocks are there?"),
                        format!("Count the {colour} blocks."),
                        format!("Number of {colour} blocks?"),
                    ],
                )
                .measures(format!("the number of {colour} blocks")),
            );
        }
        for hue in Hue::ALL {
            let there = s.towers.iter().flatten().any(|h| *h == hue);
            let colour = hue.name();
            all.push(seen(
                "is_there",
                yes(there),
                [
                    format!("Is there a {colour} block?"),
                    format!("Does any tower have a {colour} block?"),
                    format!("Any {colour} block?"),
                ],
            ));
        }
        all
    }
}
