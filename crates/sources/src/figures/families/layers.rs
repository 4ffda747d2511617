//! Diagrams of layers, stacked as in soil or nested as in the Earth, with letters or names.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Area, Canvas, fill, stroke};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, letter, list, ordinal, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, spread};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};
use crate::figures::typeface;

pub(crate) struct Layers;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    /// From the top down, or from the outside in.
    names: Vec<String>,
    hues: Vec<Hue>,
    /// Relative thickness.
    thickness: Vec<i64>,
    nested: bool,
    /// Letters stand in the figure instead of names.
    letters: bool,
}

const STACKS: &[(&str, &[&str])] = &[
    (
        "Soil",
        &["humus", "topsoil", "subsoil", "gravel", "bedrock"],
    ),
    (
        "Rainforest",
        &["emergent", "canopy", "shrubs", "herbs", "floor"],
    ),
    (
        "Ocean",
        &["sunlit", "twilight", "midnight", "abyss", "trench"],
    ),
    ("Rock", &["shale", "chalk", "sand", "clay", "granite"]),
];
const NESTED: &[(&str, &[&str])] = &[
    (
        "The Earth",
        &["crust", "mantle", "outer core", "inner core", "centre"],
    ),
    (
        "A tree trunk",
        &["bark", "bast", "cambium", "sapwood", "pith"],
    ),
    (
        "The Sun",
        &["corona", "surface", "mantle", "radiation", "core"],
    ),
];

impl Figure for Layers {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "layers"
    }

    fn task(&self) -> Task {
        Task::Tqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 5);
        let nested = chance(rng, 0.45);
        let (title, names) = pick(rng, if nested { NESTED } else { STACKS });
        Scene {
            title: chance(rng, 0.6).then(|| title.to_owned()),
            names: names.iter().take(n).map(|t| (*t).to_owned()).collect(),
            hues: Hue::some(rng, n),
            thickness: spread(rng, n, 3, 10, 1),
            nested,
            letters: chance(rng, 0.5),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.names.len();
        expect((2..=6).contains(&n), "2 to 6 layers")?;
        expect(
            s.hues.len() == n && s.thickness.len() == n,
            "hue and thickness for each",
        )?;
        expect(
            s.thickness.iter().all(|t| (1..=100).contains(t)),
            "thickness from 1 to 100",
        )?;
        expect(
            distinct(&s.names) && distinct(&s.hues) && distinct(&s.thickness),
            "distinct entries",
        )?;
        expect(
            s.names.iter().chain(&s.title).all(|t| plain(t)),
            "plain texts",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        let n = s.names.len();
        Load {
            objects: n,
            relations: n / 2 + usize::from(s.nested),
            computation: if s.letters { 2 } else { 1 },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let n = s.names.len();
        let text = |i: usize| {
            if s.letters {
                letter(i)
            } else {
                s.names[i].clone()
            }
        };
        let size = if s.letters {
            look.text + 3.0
        } else {
            look.text
        };
        let widest = (0..n)
            .map(|i| typeface::extent(look.bold, &text(i)).width * size)
            .fold(0.0f32, f32::max);
        let total: i64 = s.thickness.iter().sum();
        let edge = |canvas: &Canvas| if canvas.look.outlined { 1.8 } else { 0.8 };
        // Texts stand in a column at the right, one slot each.
        let column = room.right - widest - 4.0;
        let slot = room.height() / n as f32;
        let label_y = |i: usize| room.top + slot * (i as f32 + 0.5);
        if s.nested {
            let most = (column - room.left - 24.0).min(room.height()) / 2.0;
            let (cx, cy) = (room.left + most + 4.0, room.centre().1);
            let mut rest = total;
            let mut radii = Vec::new();
            for (i, t) in s.thickness.iter().enumerate() {
                let radius = most * (rest as f32 / total as f32);
                radii.push(radius);
                let paint = fill(look.hue(s.hues[i])).edged(look.ink, edge(canvas));
                canvas.circle((cx, cy), radius, paint);
                rest -= t;
            }
            for i in 0..n {
                let inner = radii.get(i + 1).copied().unwrap_or(0.0);
                let middle = (radii[i] + inner) / 2.0;
                // The leader starts in the layer, at the height closest to its text.
                let dy = (label_y(i) - cy).clamp(-middle * 0.93, middle * 0.93);
                let from = (cx + (middle * middle - dy * dy).max(0.0).sqrt(), cy + dy);
                let to = (column - 5.0, label_y(i));
                canvas.line(from, to, stroke(look.ink, 1.6));
                canvas.circle(from, 2.8, fill(look.ink));
            }
        } else {
            let gap = if chance(rng, 0.5) { 30.0 } else { 22.0 };
            let block = Area::new(room.left + 4.0, room.top, column - gap, room.bottom);
            let mut y = block.top;
            for (i, t) in s.thickness.iter().enumerate() {
                let high = block.height() * *t as f32 / total as f32;
                let area = Area::new(block.left, y, block.right, y + high);
                canvas.rect(
                    area,
                    fill(look.hue(s.hues[i])).edged(look.ink, edge(canvas)),
                );
                let from = (block.right - 8.0, y + high / 2.0);
                canvas.line(from, (column - 5.0, label_y(i)), stroke(look.ink, 1.6));
                canvas.circle(from, 2.8, fill(look.ink));
                y += high;
            }
        }
        for i in 0..n {
            canvas.strong((column, label_y(i)), Anchor::Start, size, &text(i));
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.names.len();
        let colours: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let thick = (0..n).max_by_key(|i| s.thickness[*i]).unwrap_or(0);
        let thin = (0..n).min_by_key(|i| s.thickness[*i]).unwrap_or(0);
        let (first, last) = if s.nested {
            ("outermost", "innermost")
        } else {
            ("top", "bottom")
        };
        let start = if s.nested {
            "from the outside"
        } else {
            "from the top"
        };
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many layers does the diagram show?",
                    "What is the number of layers?",
                    "Number of layers?",
                ],
            )
            .near_misses()
            .measures("the number of layers"),
        ];
        for (template, which, what) in [
            ("first_colour", 0, first),
            ("last_colour", n - 1, last),
            ("thickest_colour", thick, "thickest"),
            ("thinnest_colour", thin, "thinnest"),
        ] {
            // The innermost disc has no thickness that could be compared.
            if s.nested && template.starts_with("thi") {
                continue;
            }
            all.push(
                seen(
                    template,
                    word(&*colours[which]),
                    [
                        format!("What colour is the {what} layer?"),
                        format!("Which colour does the {what} layer have?"),
                        format!("Colour of {what} layer?"),
                    ],
                )
                .among(pool.clone()),
            );
        }
        for i in 0..n {
            let place = ordinal(i);
            all.push(
                seen(
                    "colour_at",
                    word(&*colours[i]),
                    [
                        format!("Counting {start}, what colour is the {place} layer?"),
                        format!("What colour does the {place} layer {start} have?"),
                        format!("Colour of {place} layer {start}?"),
                    ],
                )
                .among(pool.clone()),
            );
            for j in (0..n).filter(|j| *j != i) {
                let (a, b) = (&colours[i], &colours[j]);
                let relation = if s.nested {
                    "further out than"
                } else {
                    "above"
                };
                all.push(
                    seen(
                        "above",
                        yes(i < j),
                        [
                            format!("Is the {a} layer {relation} the {b} layer?"),
                            format!("Does the {a} layer lie {relation} the {b} one?"),
                            format!("{a} {relation} {b}?"),
                        ],
                    )
                    .steps(2),
                );
                if i.abs_diff(j) == 2 {
                    let between = i.midpoint(j);
                    all.push(
                        seen(
                            "between",
                            word(&*colours[between]),
                            [
                                format!("Which colour lies between {a} and {b}?"),
                                format!(
                                    "What colour is the layer between the {a} and the {b} one?"
                                ),
                                format!("Between {a} and {b}?"),
                            ],
                        )
                        .among(pool.clone())
                        .steps(2),
                    );
                }
            }
            if s.letters {
                let name = letter(i);
                all.push(
                    read(
                        "colour_of_letter",
                        word(&*colours[i]),
                        [
                            format!("What colour is layer {name}?"),
                            format!("Which colour has the layer marked {name}?"),
                            format!("Colour of {name}?"),
                        ],
                    )
                    .among(pool.clone())
                    .steps(2),
                );
            } else {
                all.push(
                    read(
                        "name",
                        word(&*s.names[i]),
                        [
                            format!("What is the name of the {} layer?", colours[i]),
                            format!("Which name belongs to the {} layer?", colours[i]),
                            format!("Name of {} layer?", colours[i]),
                        ],
                    )
                    .among(s.names.clone()),
                );
                all.push(
                    read(
                        "colour_of_name",
                        word(&*colours[i]),
                        [
                            format!("What colour is the layer called {}?", s.names[i]),
                            format!("In which colour is {} drawn?", s.names[i]),
                            format!("Colour of {}?", s.names[i]),
                        ],
                    )
                    .among(pool.clone()),
                );
                all.push(
                    read(
                        "layers_over",
                        int(i),
                        [
                            format!(
                                "How many layers come before {}, counted {start}?",
                                s.names[i]
                            ),
                            format!(
                                "How many layers have to be passed {start} to reach {}?",
                                s.names[i]
                            ),
                            format!("Layers before {}?", s.names[i]),
                        ],
                    )
                    .steps(2)
                    .measures(format!("the number of layers before {}", s.names[i])),
                );
            }
        }
        let positions = int(n - 2.min(n));
        all.push(
            seen(
                "between_ends",
                positions,
                [
                    format!("How many layers lie between the {first} and the {last} one?"),
                    format!("Without the {first} and the {last} layer, how many layers are there?"),
                    format!("Layers between {first} and {last}?"),
                ],
            )
            .steps(2)
            .measures(format!(
                "the number of layers between the {first} and the {last} one"
            )),
        );
        if n <= 4 {
            all.push(
                seen(
                    "order",
                    list(colours.clone()),
                    [
                        format!("List the colours of the layers, {start}."),
                        format!("What are the colours of the layers in order {start}?"),
                        format!("Layer colours {start}?"),
                    ],
                )
                .steps(2),
            );
        }
        all
    }
}
