//! Process cycles: stages around a circle with arrows, such as the water cycle.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Area, Canvas, around, fill};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, pick};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};
use crate::figures::typeface;

pub(crate) struct Cycle;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    /// In the order of the process; the first stands at the top.
    stages: Vec<String>,
    hues: Vec<Hue>,
    clockwise: bool,
}

const CYCLES: &[(&str, &[&str])] = &[
    ("Water", &["rain", "river", "sea", "vapour", "cloud"]),
    ("Butterfly", &["egg", "larva", "pupa", "adult"]),
    ("Frog", &["eggs", "tadpole", "froglet", "frog"]),
    ("Plant", &["seed", "sprout", "plant", "flower", "fruit"]),
    ("Year", &["spring", "summer", "autumn", "winter"]),
    ("Rock", &["magma", "lava", "stone", "sand", "layers"]),
    ("Paper", &["use", "collect", "sort", "pulp", "print"]),
];

impl Figure for Cycle {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "cycle"
    }

    fn task(&self) -> Task {
        Task::Tqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 5);
        let fitting: Vec<_> = CYCLES.iter().filter(|c| c.1.len() >= n).collect();
        let (title, stages) = pick(rng, &fitting);
        Scene {
            title: chance(rng, 0.5).then(|| format!("{title} cycle")),
            stages: stages.iter().take(n).map(|t| (*t).to_owned()).collect(),
            hues: Hue::some(rng, n),
            clockwise: chance(rng, 0.5),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.stages.len();
        expect(
            (2..=6).contains(&n) && s.hues.len() == n,
            "2 to 6 stages, a hue for each",
        )?;
        expect(
            distinct(&s.stages) && distinct(&s.hues),
            "distinct stages and hues",
        )?;
        expect(
            s.stages.iter().chain(&s.title).all(|t| plain(t)),
            "plain texts",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        let n = s.stages.len();
        Load {
            objects: n,
            relations: n - 1,
            computation: 1 + usize::from(!s.clockwise),
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(s.title.as_deref());
        let n = s.stages.len();
        let widest = s
            .stages
            .iter()
            .map(|t| typeface::extent(look.bold, t).width * look.text)
            .fold(0.0f32, f32::max);
        let (wide, high) = ((widest + 16.0).max(56.0), 34.0);
        let c = room.centre();
        let (rx, ry) = ((room.width() - wide) / 2.0, (room.height() - high) / 2.0);
        let turn = |i: f32| {
            let t = i / n as f32;
            if s.clockwise { t } else { -t }
        };
        let at = |i: f32| {
            let (x, y) = around((0.0, 0.0), 1.0, turn(i));
            (c.0 + x * rx.min(ry * 1.35), c.1 + y * ry)
        };
        let boxes: Vec<Area> = (0..n)
            .map(|i| {
                let (x, y) = at(i as f32);
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
            .any(|(i, a)| boxes[..i].iter().any(|b| b.inset(-4.0).meets(a)))
        {
            canvas.give_up();
        }
        for i in 0..n {
            // The part of the arc outside both boxes.
            let inside = |p: (f32, f32)| {
                let point = Area::new(p.0, p.1, p.0 + 0.01, p.1 + 0.01);
                boxes.iter().any(|b| b.inset(-4.0).meets(&point))
            };
            let arc: Vec<(f32, f32)> = (0..=60u8)
                .map(|k| at(i as f32 + f32::from(k) / 60.0))
                .filter(|p| !inside(*p))
                .collect();
            let Some((last, most)) = arc.split_last() else {
                canvas.give_up();
                continue;
            };
            let length: f32 = arc
                .windows(2)
                .map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1))
                .sum();
            if length < 16.0 || most.len() < 3 {
                canvas.give_up();
                continue;
            }
            let neck = most
                .iter()
                .rposition(|p| (p.0 - last.0).hypot(p.1 - last.1) > 12.0)
                .unwrap_or(0);
            canvas.polyline(
                &most[..=neck],
                crate::figures::canvas::stroke(look.ink, 3.4),
            );
            canvas.arrow(most[neck], *last, look.ink, 3.4);
        }
        for (i, area) in boxes.iter().enumerate() {
            let colour = look.hue(s.hues[i]);
            canvas.rounded(*area, 7.0, fill(colour).in_look(&look));
            let text = &s.stages[i];
            canvas.text(
                area.centre(),
                Anchor::Middle,
                look.text,
                look.bold,
                colour.contrast(),
                text,
            );
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.stages.len();
        let colours: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many stages does the cycle have?",
                    "What is the number of stages in the diagram?",
                    "Number of stages?",
                ],
            )
            .near_misses()
            .measures("the number of stages"),
            seen(
                "arrows",
                int(n),
                [
                    "How many arrows does the cycle have?",
                    "What is the number of arrows in the diagram?",
                    "Number of arrows?",
                ],
            )
            .near_misses()
            .measures("the number of arrows"),
            seen(
                "top_colour",
                word(&*colours[0]),
                [
                    "What colour is the stage at the top?",
                    "Which colour has the topmost box?",
                    "Top colour?",
                ],
            )
            .among(pool.clone()),
            seen(
                "clockwise",
                yes(s.clockwise),
                [
                    "Does the cycle run clockwise?",
                    "Do the arrows go round clockwise?",
                    "Clockwise?",
                ],
            )
            .steps(2),
            read(
                "top_name",
                word(&*s.stages[0]),
                [
                    "Which stage stands at the top?",
                    "What is written in the topmost box?",
                    "Top stage?",
                ],
            )
            .among(s.stages.clone()),
        ];
        for i in 0..n {
            let next = (i + 1) % n;
            all.push(
                seen(
                    "colour_after",
                    word(&*colours[next]),
                    [
                        format!(
                            "Following the arrows, which colour comes after {}?",
                            colours[i]
                        ),
                        format!(
                            "The arrow from the {} box leads to which colour?",
                            colours[i]
                        ),
                        format!("Colour after {}?", colours[i]),
                    ],
                )
                .among(pool.clone())
                .steps(2),
            );
            if n > 2 {
                let second = (i + 2) % n;
                all.push(
                    seen(
                        "colour_after_two",
                        word(&*colours[second]),
                        [
                            format!(
                                "Start at {} and follow two arrows. Which colour is there?",
                                colours[i]
                            ),
                            format!(
                                "Which colour is two steps after {} along the arrows?",
                                colours[i]
                            ),
                            format!("Colour two after {}?", colours[i]),
                        ],
                    )
                    .among(pool.clone())
                    .steps(3),
                );
            }
            all.push(
                read(
                    "stage_after",
                    word(&*s.stages[next]),
                    [
                        format!("What comes after {}?", s.stages[i]),
                        format!("Which stage follows {}?", s.stages[i]),
                        format!("After {}?", s.stages[i]),
                    ],
                )
                .among(s.stages.clone())
                .steps(2),
            );
            all.push(
                read(
                    "stage_before",
                    word(&*s.stages[i]),
                    [
                        format!("What comes just before {}?", s.stages[next]),
                        format!("Which stage leads to {}?", s.stages[next]),
                        format!("Before {}?", s.stages[next]),
                    ],
                )
                .among(s.stages.clone())
                .steps(2),
            );
            all.push(
                read(
                    "stage_colour",
                    word(&*colours[i]),
                    [
                        format!("What colour is the box of {}?", s.stages[i]),
                        format!("In which colour is {} drawn?", s.stages[i]),
                        format!("Colour of {}?", s.stages[i]),
                    ],
                )
                .among(pool.clone()),
            );
            for j in (0..n).filter(|j| *j != i) {
                let steps = (j + n - i) % n;
                let (a, b) = (&colours[i], &colours[j]);
                if n > 3 {
                    all.push(
                        seen(
                            "steps_between",
                            int(steps),
                            [
                                format!("How many arrows lead from the {a} box to the {b} box?"),
                                format!(
                                    "Following the arrows, how many steps is it from {a} to {b}?"
                                ),
                                format!("Steps from {a} to {b}?"),
                            ],
                        )
                        .steps(3)
                        .measures(format!("the number of steps from {a} to {b}")),
                    );
                }
                if n > 2 {
                    all.push(
                        seen(
                            "leads_to",
                            yes(steps == 1),
                            [
                                format!("Does an arrow lead from {a} straight to {b}?"),
                                format!("Is {b} the next stage after {a}?"),
                                format!("Arrow from {a} to {b}?"),
                            ],
                        )
                        .steps(2),
                    );
                }
            }
        }
        all
    }
}
