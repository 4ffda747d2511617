//! Food chains: living things in boxes, with arrows from the eaten to the eater.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Area, Canvas, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, list, ordinal, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick, real};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};
use crate::figures::typeface;

pub(crate) struct FoodChain;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    /// From the plant up.
    names: Vec<String>,
    hues: Vec<Hue>,
    /// Whether the chain runs from the top down (or in two lines) or is reversed.
    reversed: bool,
    oval: bool,
}

const CHAINS: &[&[&str]] = &[
    &["grass", "rabbit", "fox", "eagle"],
    &["leaf", "snail", "frog", "snake", "hawk"],
    &["algae", "shrimp", "fish", "seal", "shark"],
    &["wheat", "mouse", "cat", "lynx"],
    &["seed", "beetle", "bird", "owl"],
    &["plant", "insect", "frog", "heron", "eagle"],
    &["grass", "deer", "wolf", "bear"],
    &["corn", "mouse", "snake", "owl", "eagle"],
];

impl Figure for FoodChain {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "food_chain"
    }

    fn task(&self) -> Task {
        Task::Tqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 5);
        let fitting: Vec<&[&str]> = CHAINS.iter().copied().filter(|c| c.len() >= n).collect();
        let names = pick(rng, &fitting);
        Scene {
            title: chance(rng, 0.5).then(|| "Food chain".to_owned()),
            names: names.iter().take(n).map(|t| (*t).to_owned()).collect(),
            hues: Hue::some(rng, n),
            reversed: chance(rng, 0.5),
            oval: chance(rng, 0.4),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.names.len();
        expect(
            (2..=6).contains(&n) && s.hues.len() == n,
            "2 to 6 names, a hue for each",
        )?;
        expect(
            distinct(&s.names) && distinct(&s.hues),
            "distinct names and hues",
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
            relations: n - 1,
            computation: 1 + usize::from(s.reversed),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let n = s.names.len();
        // A zigzag of two lines leaves room for wide boxes.
        let columns = n as f32;
        let widest = s
            .names
            .iter()
            .map(|t| typeface::extent(look.bold, t).width * look.text)
            .fold(0.0f32, f32::max);
        let wide = (widest + 18.0).max(62.0);
        let high = real(rng, 38.0, 48.0).min(room.height() * 0.26);
        let step = if n > 1 {
            (room.width() - wide) / (columns - 1.0)
        } else {
            0.0
        };
        let rise = (room.height() - high) / 2.0 * real(rng, 0.72, 0.95);
        let middle = room.centre().1;
        let steep = chance(rng, 0.5);
        let centre = |i: usize| {
            let i = if s.reversed { n - 1 - i } else { i };
            let x = room.left + wide / 2.0 + step * i as f32;
            let y = if steep {
                middle - rise + 2.0 * rise * i as f32 / (columns - 1.0).max(1.0)
            } else if i.is_multiple_of(2) {
                middle + rise
            } else {
                middle - rise
            };
            (x, y)
        };
        let boxes: Vec<Area> = (0..n)
            .map(|i| {
                let (x, y) = centre(i);
                Area::new(
                    x - wide / 2.0,
                    y - high / 2.0,
                    x + wide / 2.0,
                    y + high / 2.0,
                )
            })
            .collect();
        if boxes
            .iter()
            .enumerate()
            .any(|(i, a)| boxes[..i].iter().any(|b| b.inset(-3.0).meets(a)))
        {
            canvas.give_up();
        }
        for i in 0..n - 1 {
            let (a, b) = (centre(i), centre(i + 1));
            let leave = exit(&boxes[i], b);
            let enter = exit(&boxes[i + 1], a);
            if (leave.0 - enter.0).hypot(leave.1 - enter.1) < 14.0 {
                canvas.give_up();
            }
            canvas.arrow(leave, enter, look.ink, 3.2);
        }
        for (i, area) in boxes.iter().enumerate() {
            let colour = look.hue(s.hues[i]);
            let paint = fill(colour).in_look(&look);
            if s.oval {
                canvas.ellipse(
                    area.centre(),
                    area.width() / 2.0,
                    area.height() / 2.0,
                    0.0,
                    paint,
                );
            } else {
                canvas.rounded(*area, 6.0, paint);
            }
            let at = area.centre();
            canvas.text(
                at,
                Anchor::Middle,
                look.text,
                look.bold,
                colour.contrast(),
                &s.names[i],
            );
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.names.len();
        let colours: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let living = s.names.clone();
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many living things are in the food chain?",
                    "What is the number of boxes in the diagram?",
                    "Number of living things?",
                ],
            )
            .near_misses()
            .measures("the number of living things"),
            seen(
                "arrows",
                int(n - 1),
                [
                    "How many arrows does the diagram have?",
                    "What is the number of arrows?",
                    "Number of arrows?",
                ],
            )
            .near_misses()
            .measures("the number of arrows"),
            seen(
                "first_colour",
                word(&*colours[0]),
                [
                    "What colour is the start of the food chain?",
                    "Which colour has the box where the arrows begin?",
                    "Colour at the start?",
                ],
            )
            .among(pool.clone())
            .steps(2),
            seen(
                "last_colour",
                word(&*colours[n - 1]),
                [
                    "What colour is the end of the food chain?",
                    "Which colour has the box where the arrows end?",
                    "Colour at the end?",
                ],
            )
            .among(pool.clone())
            .steps(2),
            read(
                "producer",
                word(&*living[0]),
                [
                    "Which living thing is the producer?",
                    "What does the food chain start with?",
                    "Producer?",
                ],
            )
            .among(living.clone())
            .steps(2),
            read(
                "top",
                word(&*living[n - 1]),
                [
                    "Which animal is at the top of the food chain?",
                    "Which living thing is eaten by no other here?",
                    "Top of the chain?",
                ],
            )
            .among(living.clone())
            .steps(2),
        ];
        let place = |i: usize| if s.reversed { n - 1 - i } else { i };
        for i in 0..n {
            let position = ordinal(place(i));
            all.push(
                seen(
                    "colour_at",
                    word(&*colours[i]),
                    [
                        format!("Counting from the left, what colour is the {position} box?"),
                        format!("What colour is the {position} box from the left?"),
                        format!("Colour of {position} box?"),
                    ],
                )
                .among(pool.clone()),
            );
            let mut wrong = living.clone();
            wrong.push("nothing".to_owned());
            if i + 1 < n {
                all.push(
                    seen(
                        "arrow_to",
                        word(&*colours[i + 1]),
                        [
                            format!(
                                "The arrow from the {} box leads to a box of which colour?",
                                colours[i]
                            ),
                            format!("Which colour comes after {} along the arrows?", colours[i]),
                            format!("Colour after {}?", colours[i]),
                        ],
                    )
                    .among(pool.clone())
                    .steps(2),
                );
                all.push(
                    read(
                        "eats",
                        word(&*living[i + 1]),
                        [
                            format!("What eats the {}?", living[i]),
                            format!(
                                "To which living thing does the arrow from {} lead?",
                                living[i]
                            ),
                            format!("Eater of {}?", living[i]),
                        ],
                    )
                    .among(wrong.clone()),
                );
                all.push(
                    read(
                        "food_of",
                        word(&*living[i]),
                        [
                            format!("What does the {} eat?", living[i + 1]),
                            format!(
                                "From which living thing does the arrow to {} come?",
                                living[i + 1]
                            ),
                            format!("Food of {}?", living[i + 1]),
                        ],
                    )
                    .among(wrong),
                );
                all.push(
                    read(
                        "removed",
                        word("more"),
                        [
                            format!("If all of {} disappear, will there be more or less of {} at first?", living[i + 1], living[i]),
                            format!("The {} dies out. Does the number of {} first become more or less?", living[i + 1], living[i]),
                            format!("{} without {}: more or less?", living[i], living[i + 1]),
                        ],
                    )
                    .steps(3),
                );
                all.push(
                    read(
                        "removed",
                        word("less"),
                        [
                            format!("If all of {} disappear, will there be more or less of {} at first?", living[i], living[i + 1]),
                            format!("The {} dies out. Does the number of {} first become more or less?", living[i], living[i + 1]),
                            format!("{} without {}: more or less?", living[i + 1], living[i]),
                        ],
                    )
                    .steps(3),
                );
            }
            for j in (0..n).filter(|j| *j != i) {
                all.push(
                    seen(
                        "before",
                        yes(i < j),
                        [
                            format!(
                                "Following the arrows, does {} come before {}?",
                                colours[i], colours[j]
                            ),
                            format!(
                                "Is the {} box earlier in the chain than the {} box?",
                                colours[i], colours[j]
                            ),
                            format!("{} before {}?", colours[i], colours[j]),
                        ],
                    )
                    .steps(3),
                );
            }
        }
        if n <= 4 {
            all.push(
                seen(
                    "order",
                    list(colours.clone()),
                    [
                        "List the colours of the boxes in the order of the arrows.",
                        "Following the arrows, which colours do you meet?",
                        "Colours along the arrows?",
                    ],
                )
                .steps(3),
            );
        }
        all
    }
}

/// Where the straight line from the middle of `area` to `to` leaves it, with a little distance.
fn exit(area: &Area, to: (f32, f32)) -> (f32, f32) {
    let c = area.centre();
    let (dx, dy) = (to.0 - c.0, to.1 - c.1);
    let (hw, hh) = (area.width() / 2.0 + 3.0, area.height() / 2.0 + 3.0);
    let t = (hw / dx.abs().max(1e-3)).min(hh / dy.abs().max(1e-3));
    (c.0 + dx * t, c.1 + dy * t)
}
