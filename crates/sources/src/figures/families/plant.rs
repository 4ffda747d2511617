//! A plant with its parts marked by letters or names.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Area, Canvas, around, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, letter, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, several};
use crate::figures::scene::{Figure, Load, distinct, expect};

pub(crate) struct Plant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Flower,
    Stem,
    Leaf,
    Root,
}

impl Part {
    const ALL: [Part; 4] = [Part::Flower, Part::Stem, Part::Leaf, Part::Root];

    fn name(self) -> &'static str {
        match self {
            Part::Flower => "flower",
            Part::Stem => "stem",
            Part::Leaf => "leaf",
            Part::Root => "root",
        }
    }

    fn job(self) -> &'static str {
        match self {
            Part::Flower => "makes the seeds",
            Part::Stem => "carries water up and holds the plant upright",
            Part::Leaf => "makes food from light",
            Part::Root => "takes up water from the soil",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    petals: usize,
    leaves: usize,
    flower: Hue,
    centre: Hue,
    pot: Option<Hue>,
    /// Which part has letter A, B, ...; all marked parts in order.
    marked: Vec<Part>,
    /// Names stand at the leaders instead of letters.
    named: bool,
}

impl Figure for Plant {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "plant"
    }

    fn task(&self) -> Task {
        Task::Tqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let hues: Vec<Hue> = Hue::ALL.into_iter().filter(|h| *h != Hue::Green).collect();
        let hues = several(rng, &hues, 3);
        let marked = count(rng, 2, 4);
        let mut parts = several(rng, &Part::ALL, marked);
        let leaves = count(rng, 0, 4);
        if leaves == 0 {
            parts.retain(|p| *p != Part::Leaf);
        }
        Scene {
            petals: count(rng, 4, 8),
            leaves,
            flower: hues[0],
            centre: hues[1],
            pot: chance(rng, 0.5).then_some(hues[2]),
            marked: parts,
            named: chance(rng, 0.3),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((3..=10).contains(&s.petals), "3 to 10 petals")?;
        expect(s.leaves <= 4, "at most 4 leaves")?;
        expect(
            s.flower != s.centre,
            "petals in another hue than the centre",
        )?;
        expect(
            !s.marked.is_empty() && distinct(&s.marked),
            "distinct marked parts",
        )?;
        expect(
            s.leaves > 0 || !s.marked.contains(&Part::Leaf),
            "no mark at a leaf that is not there",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.petals / 2 + s.leaves,
            relations: s.marked.len() / 2,
            computation: if s.named { 0 } else { 1 },
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let (w, h) = (canvas.width, canvas.height);
        let x = w * 0.42;
        let ground = h * 0.76;
        let radius = h * 0.135;
        let head = (x, radius * 2.0 + 8.0);
        let green = look.hue(Hue::Green);
        let soil = Colour(150, 110, 75);
        if s.pot.is_none() {
            canvas.rect(
                Area::new(0.0, ground, w, h),
                fill(soil.towards(Colour::WHITE, 0.45)),
            );
        }
        // Roots.
        let root_tip = (x + h * 0.12, h - 10.0);
        for tip in [(x - h * 0.14, h - 12.0), (x, h - 6.0), root_tip] {
            canvas.line(
                (x, ground),
                tip,
                stroke(soil.towards(Colour::BLACK, 0.35), 3.5),
            );
        }
        if let Some(hue) = s.pot {
            let (top, low) = (h * 0.2, h * 0.14);
            let rim = ground - 4.0;
            let points = [
                (x - top, rim),
                (x + top, rim),
                (x + low, h - 8.0),
                (x - low, h - 8.0),
            ];
            canvas.polygon(
                &points,
                fill(look.hue(hue)).faint(0.55).edged(look.ink, look.line),
            );
        }
        canvas.line((x, ground), head, stroke(green, 7.0));
        let stem = (x, ground - (ground - head.1) * 0.52);
        let mut leaf = stem;
        for i in 0..s.leaves {
            let right = i % 2 == 0;
            let y = ground - 16.0 - (ground - head.1 - radius * 1.9) * (i as f32 + 0.4) / 4.4;
            let reach = h * 0.115;
            let c = (if right { x + reach } else { x - reach }, y - 6.0);
            canvas.ellipse(
                c,
                reach,
                reach * 0.42,
                if right { -22.0 } else { 22.0 },
                fill(green).edged(look.ink, 1.2),
            );
            if i == 0 {
                leaf = (c.0 + reach * 0.4, c.1 - 2.0);
            }
        }
        let paint = fill(look.hue(s.flower)).edged(look.ink, 1.2);
        let petal = (radius * std::f32::consts::PI / s.petals as f32).min(radius * 0.62);
        for i in 0..s.petals {
            let turn = i as f32 / s.petals as f32;
            let c = around(head, radius * 1.05, turn);
            canvas.ellipse(c, petal, radius * 0.78, turn * 360.0, paint);
        }
        canvas.circle(
            head,
            radius * 0.52,
            fill(look.hue(s.centre)).edged(look.ink, 1.2),
        );

        let column = w * if s.named { 0.78 } else { 0.86 };
        let mut rows: Vec<(usize, (f32, f32))> = s
            .marked
            .iter()
            .enumerate()
            .map(|(i, part)| {
                let at = match part {
                    Part::Flower => (head.0 + radius * 1.2, head.1),
                    Part::Stem => stem,
                    Part::Leaf => leaf,
                    Part::Root => ((x + root_tip.0) / 2.0, (ground + root_tip.1) / 2.0),
                };
                (i, at)
            })
            .collect();
        rows.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let mut low = 14.0f32;
        for (i, at) in rows {
            let y = at.1.max(low).min(h - 14.0);
            low = y + look.text + 6.0;
            canvas.line(at, (column - 5.0, y), stroke(look.ink, 1.6));
            canvas.circle(at, 2.8, fill(look.ink));
            let (text, size) = if s.named {
                (s.marked[i].name().to_owned(), look.text)
            } else {
                (letter(i), look.text + 4.0)
            };
            canvas.strong((column, y), Anchor::Start, size, &text);
        }
        if chance(rng, 0.3) {
            canvas.circle((w * 0.1, h * 0.13), h * 0.07, fill(Colour(255, 205, 60)));
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let mut all = vec![
            seen(
                "leaves",
                int(s.leaves),
                [
                    "How many leaves does the plant have?",
                    "Count the leaves of the plant.",
                    "Number of leaves?",
                ],
            )
            .measures("the number of leaves"),
            seen(
                "petals",
                int(s.petals),
                [
                    "How many petals does the flower have?",
                    "Count the petals of the flower.",
                    "Number of petals?",
                ],
            )
            .near_misses()
            .measures("the number of petals"),
            seen(
                "petal_colour",
                word(s.flower.name()),
                [
                    "What colour are the petals?",
                    "Which colour do the petals of the flower have?",
                    "Petal colour?",
                ],
            )
            .among(s.flower.others()),
            seen(
                "centre_colour",
                word(s.centre.name()),
                [
                    "What colour is the centre of the flower?",
                    "Which colour has the middle of the flower?",
                    "Centre colour?",
                ],
            )
            .among(s.centre.others()),
            seen(
                "in_pot",
                yes(s.pot.is_some()),
                [
                    "Does the plant grow in a pot?",
                    "Is there a pot in the picture?",
                    "Pot?",
                ],
            ),
        ];
        if let Some(pot) = s.pot {
            all.push(
                seen(
                    "pot_colour",
                    word(pot.name()),
                    [
                        "What colour is the pot?",
                        "Which colour does the pot have?",
                        "Pot colour?",
                    ],
                )
                .among(pot.others()),
            );
        }
        if s.named {
            all.push(
                read(
                    "named_parts",
                    int(s.marked.len()),
                    [
                        "How many parts of the plant are named?",
                        "What is the number of names in the diagram?",
                        "Number of names?",
                    ],
                )
                .measures("the number of named parts"),
            );
            return all;
        }
        all.push(
            seen(
                "marks",
                int(s.marked.len()),
                [
                    "How many parts are marked with a letter?",
                    "What is the number of letters in the diagram?",
                    "Number of letters?",
                ],
            )
            .measures("the number of letters"),
        );
        let letters: Vec<String> = (0..s.marked.len()).map(letter).collect();
        let parts: Vec<String> = Part::ALL.iter().map(|p| p.name().to_owned()).collect();
        for (part, name) in s.marked.iter().zip(&letters) {
            let (what, job) = (part.name(), part.job());
            all.push(
                seen(
                    "part_at",
                    word(what),
                    [
                        format!(
                            "Which part of the plant is marked {name}: flower, stem, leaf or root?"
                        ),
                        format!("What is the part at letter {name}: flower, stem, leaf or root?"),
                        format!("Part {name}?"),
                    ],
                )
                .among(parts.clone())
                .steps(2),
            );
            all.push(
                read(
                    "letter_of",
                    word(&**name),
                    [
                        format!("Which letter marks the {what}?"),
                        format!("At which letter is the {what}?"),
                        format!("Letter of {what}?"),
                    ],
                )
                .among(letters.clone())
                .steps(2),
            );
            all.push(
                read(
                    "letter_of_job",
                    word(&**name),
                    [
                        format!("Which letter marks the part that {job}?"),
                        format!("At which letter is the part that {job}?"),
                        format!("Letter of the part that {job}?"),
                    ],
                )
                .among(letters.clone())
                .steps(3),
            );
        }
        all
    }
}
