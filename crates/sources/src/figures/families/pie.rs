//! Pie and ring charts: shares of a whole in per cent.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::{axes, themes};
use crate::figures::canvas::{Anchor, Area, Canvas, around, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, count, whole};
use crate::figures::scene::{Figure, Load, distinct, expect, plain};
use crate::figures::typeface;
use rand::seq::SliceRandom;

pub(crate) struct Pie;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    title: Option<String>,
    kind: String,
    labels: Vec<String>,
    /// Per cent, adding up to 100.
    shares: Vec<i64>,
    hues: Vec<Hue>,
    ring: bool,
    /// Names stand in a legend instead of beside the pie.
    legend: bool,
}

impl Figure for Pie {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "pie"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let n = count(rng, 2, 6);
        let (title, kind, labels) = themes::amounts(rng, n);
        // A ladder with gaps, then what is left goes to it from the top down, keeping the gaps.
        let gap = match n {
            2..=4 => 8,
            5 => 5,
            _ => 4,
        };
        let mut shares: Vec<i64> = (0..n as i64).map(|i| 5 + i * gap).collect();
        let mut left = 100 - shares.iter().sum::<i64>();
        while left > 0 {
            let from = count(rng, 0, n - 1);
            let width = (n - from) as i64;
            let step = whole(rng, 1, (left / width).max(1));
            if step * width <= left {
                shares[from..].iter_mut().for_each(|s| *s += step);
                left -= step * width;
            }
        }
        shares.shuffle(rng);
        Scene {
            title: chance(rng, 0.7).then_some(title),
            kind,
            labels,
            shares,
            hues: Hue::some(rng, n),
            ring: chance(rng, 0.3),
            legend: n > 4 || chance(rng, 0.5),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        let n = s.labels.len();
        expect((2..=6).contains(&n), "2 to 6 labels")?;
        expect(
            s.shares.len() == n && s.hues.len() == n,
            "a share and a hue for each label",
        )?;
        expect(
            s.shares.iter().all(|v| (1..100).contains(v)),
            "shares from 1 to 99",
        )?;
        expect(
            s.shares.iter().sum::<i64>() == 100,
            "shares that add up to 100",
        )?;
        expect(
            distinct(&s.labels) && distinct(&s.hues) && distinct(&s.shares),
            "distinct entries",
        )?;
        expect(
            s.labels
                .iter()
                .chain(&s.title)
                .chain([&s.kind])
                .all(|t| plain(t)),
            "plain texts",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        Load {
            objects: s.labels.len(),
            relations: if s.legend { 2 } else { 1 },
            computation: 1,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let mut room = canvas.headed(s.title.as_deref());
        if s.legend {
            let entries: Vec<_> = s
                .hues
                .iter()
                .zip(&s.labels)
                .map(|(h, t)| (look.hue(*h), t.clone()))
                .collect();
            let half = entries.len().div_ceil(2);
            if entries.len() > 3 {
                room = axes::legend(canvas, room, &entries[..half]);
                room = axes::legend(canvas, room, &entries[half..]);
            } else {
                room = axes::legend(canvas, room, &entries);
            }
        }
        let around_it = if s.legend { 2.0 } else { look.text * 1.5 };
        let radius = (room.width().min(room.height()) / 2.0 - around_it).max(20.0);
        let c = room.centre();
        let start = whole(rng, 0, 3) as f32 / 4.0;
        let mut from = start;
        canvas.keep_clear(Area::new(c.0, c.1, c.0, c.1));
        let edge = if look.outlined {
            look.ink
        } else {
            Colour::WHITE
        };
        let spans: Vec<(f32, f32)> = s
            .shares
            .iter()
            .map(|share| {
                let to = from + *share as f32 / 100.0;
                let span = (from, to);
                from = to;
                span
            })
            .collect();
        for ((from, to), hue) in spans.iter().zip(&s.hues) {
            canvas.sector(c, radius, *from, *to, fill(look.hue(*hue)).edged(edge, 1.5));
        }
        if s.ring {
            canvas.circle(c, radius * 0.45, fill(look.paper).edged(edge, 1.5));
        }
        for (i, (from, to)) in spans.iter().enumerate() {
            let middle = (from + to) / 2.0;
            let at = around(c, radius * if s.ring { 0.73 } else { 0.68 }, middle);
            let colour = look.hue(s.hues[i]).contrast();
            let size = if s.shares[i] < 9 { 12.0 } else { look.text };
            let text = format!("{}%", s.shares[i]);
            canvas.text(at, Anchor::Middle, size, look.bold, colour, &text);
            if !s.legend {
                let half = typeface::extent(look.face, &s.labels[i]).width * look.text / 2.0;
                let (dx, dy) = around((0.0, 0.0), 1.0, middle);
                let out = radius + 5.0 + half * dx.abs() + look.text * 0.4 * dy.abs();
                canvas.label(
                    (c.0 + dx * out, c.1 + dy * out),
                    Anchor::Middle,
                    &s.labels[i],
                );
            }
        }
        if !s.legend {
            canvas.circle(c, radius, stroke(edge, 1.0));
        }
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let n = s.labels.len();
        let names: Vec<String> = s.hues.iter().map(|h| h.name().to_owned()).collect();
        let pool = Hue::pool(&s.hues);
        let high = (0..n).max_by_key(|i| s.shares[*i]).unwrap_or(0);
        let low = (0..n).min_by_key(|i| s.shares[*i]).unwrap_or(0);
        let mut all = vec![
            seen(
                "count",
                int(n),
                [
                    "How many slices does the pie have?",
                    "Into how many parts is the circle divided?",
                    "Number of slices?",
                ],
            )
            .near_misses()
            .measures("the number of slices"),
        ];
        for (template, which, what) in [
            ("largest_colour", high, "largest"),
            ("smallest_colour", low, "smallest"),
        ] {
            all.push(
                seen(
                    template,
                    word(&*names[which]),
                    [
                        format!("What colour is the {what} slice?"),
                        format!("Which colour does the {what} part of the circle have?"),
                        format!("Colour of {what} slice?"),
                    ],
                )
                .among(pool.clone()),
            );
        }
        for (i, a) in names.iter().enumerate() {
            for (j, b) in names.iter().enumerate().filter(|(j, _)| *j != i) {
                all.push(
                    seen(
                        "larger_than",
                        yes(s.shares[i] > s.shares[j]),
                        [
                            format!("Is the {a} slice larger than the {b} slice?"),
                            format!("Compare two slices: is {a} larger than {b}?"),
                            format!("{a} slice larger than {b}?"),
                        ],
                    )
                    .steps(2),
                );
            }
            // Only where some slice is, so that both answers can come up.
            if s.shares[high] > 54 {
                all.push(seen(
                    "more_than_half",
                    yes(s.shares[i] > 50),
                    [
                        format!("Is the {a} slice more than half of the circle?"),
                        format!("Does the {a} part take up more than half of the pie?"),
                        format!("{a} more than half?"),
                    ],
                ));
            }
        }
        let kind = &s.kind;
        all.push(
            read(
                "largest_label",
                word(&*s.labels[high]),
                [
                    format!("Which {kind} has the largest share?"),
                    format!("Which {kind} takes up most of the pie?"),
                    format!("{kind} with largest share?"),
                ],
            )
            .among(s.labels.clone())
            .steps(2),
        );
        for (i, label) in s.labels.iter().enumerate() {
            all.push(
                read(
                    "share",
                    int(s.shares[i]),
                    [
                        format!("How many per cent does {label} have?"),
                        format!("What is the share of {label}, in per cent?"),
                        format!("Share of {label}?"),
                    ],
                )
                .unit("%")
                .near_misses()
                .measures(format!("the share of {label} in per cent")),
            );
            all.push(
                read(
                    "label_colour",
                    word(&*names[i]),
                    [
                        format!("What colour is the slice of {label}?"),
                        format!("Which colour stands for {label}?"),
                        format!("Colour of {label}?"),
                    ],
                )
                .among(pool.clone()),
            );
            if n > 2 {
                all.push(
                    read(
                        "without",
                        int(100 - s.shares[i]),
                        [
                            format!("How many per cent do all others have without {label}?"),
                            format!("What is the share of everything but {label}, in per cent?"),
                            format!("Share of all but {label}?"),
                        ],
                    )
                    .unit("%")
                    .steps(2)
                    .near_misses(),
                );
            }
        }
        all.push(
            read(
                "range",
                int(s.shares[high] - s.shares[low]),
                [
                    "By how many per cent is the largest share greater than the smallest?",
                    "What is the difference between the largest and the smallest share, in per cent?",
                    "Largest minus smallest share?",
                ],
            )
            .unit("%")
            .steps(3)
            .near_misses(),
        );
        all
    }
}
