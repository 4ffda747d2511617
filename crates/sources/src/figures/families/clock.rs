//! Clocks with hands.

use sample::Task;
use serde::{Deserialize, Serialize};

use crate::figures::canvas::{Anchor, Canvas, around, fill, stroke};
use crate::figures::palette::{Colour, Hue};
use crate::figures::question::{Question, int, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, pick, real, whole};
use crate::figures::scene::{Figure, Load, expect};

pub(crate) struct Clock;

/// How the hours are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dial {
    Numbers,
    Quarters,
    Strokes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    /// 1 to 12.
    hour: i64,
    /// 0 to 55 in fives.
    minute: i64,
    dial: Dial,
    rim: Hue,
    hands: Hue,
}

fn time(hour: i64, minute: i64) -> String {
    format!("{hour}:{minute:02}")
}

/// `minutes` after `hour:minute`, on a dial of twelve hours.
fn later(hour: i64, minute: i64, minutes: i64) -> String {
    let all = (hour * 60 + minute + minutes).rem_euclid(720);
    let hour = if all / 60 == 0 { 12 } else { all / 60 };
    time(hour, all % 60)
}

impl Figure for Clock {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "clock"
    }

    fn task(&self) -> Task {
        Task::Mwp
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let hues = Hue::some(rng, 2);
        Scene {
            hour: whole(rng, 1, 12),
            minute: if chance(rng, 0.6) {
                15 * whole(rng, 0, 3)
            } else {
                5 * whole(rng, 0, 11)
            },
            dial: pick(
                rng,
                &[Dial::Numbers, Dial::Numbers, Dial::Quarters, Dial::Strokes],
            ),
            rim: hues[0],
            hands: hues[1],
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((1..=12).contains(&s.hour), "an hour from 1 to 12")?;
        expect(
            (0..60).contains(&s.minute) && s.minute % 5 == 0,
            "minutes from 0 to 55 in fives",
        )?;
        expect(s.rim != s.hands, "hands in another hue than the rim")
    }

    fn load(&self, s: &Scene) -> Load {
        let minutes = match s.minute {
            0 => 0,
            30 => 1,
            15 | 45 => 2,
            _ => 4,
        };
        let dial = match s.dial {
            Dial::Numbers => 0,
            Dial::Quarters => 1,
            Dial::Strokes => 2,
        };
        Load {
            objects: 2,
            relations: 1,
            computation: minutes + dial,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, rng: &mut Rng8) {
        let look = canvas.look;
        let short = canvas.width.min(canvas.height);
        let radius = short * real(rng, 0.41, 0.46);
        let slack = (canvas.width - 2.0 * radius) / 2.0 - 6.0;
        let (cx, cy) = canvas.area().centre();
        let c = (cx + real(rng, -0.7, 0.7) * slack.max(0.0), cy);
        canvas.circle(c, radius, fill(Colour::WHITE).edged(look.hue(s.rim), 9.0));
        if look.outlined {
            canvas.circle(c, radius + 4.5, stroke(look.ink, 1.2));
        }
        for i in 0..60u8 {
            let turn = f32::from(i) / 60.0;
            let hour = i % 5 == 0;
            if !hour && !look.show_grid {
                continue;
            }
            let (length, width) = match (hour, s.dial) {
                (false, _) => (4.0, 1.0),
                (true, Dial::Strokes) => (if i % 15 == 0 { 16.0 } else { 10.0 }, 3.5),
                (true, _) => (7.0, 2.2),
            };
            let outer = radius - 7.0;
            canvas.line(
                around(c, outer, turn),
                around(c, outer - length, turn),
                stroke(look.ink, width),
            );
        }
        for hour in 1..=12u8 {
            let shown = match s.dial {
                Dial::Numbers => true,
                Dial::Quarters => hour % 3 == 0,
                Dial::Strokes => false,
            };
            if shown {
                let at = around(c, radius - 25.0, f32::from(hour) / 12.0);
                canvas.text(
                    at,
                    Anchor::Middle,
                    16.0,
                    look.bold,
                    look.ink,
                    &hour.to_string(),
                );
            }
        }
        let minute = s.minute as f32 / 60.0;
        let hour = (s.hour as f32 + minute) / 12.0;
        let colour = look.hue(s.hands).towards(Colour::BLACK, 0.15);
        // The long hand ends short of the numbers.
        let long = if s.dial == Dial::Strokes {
            radius * 0.8
        } else {
            radius - 36.0
        };
        let back = |turn: f32| around(c, radius * 0.1, turn + 0.5);
        canvas.line(back(minute), around(c, long, minute), stroke(look.ink, 4.0));
        canvas.line(
            back(hour),
            around(c, radius * 0.48, hour),
            stroke(colour, 8.5),
        );
        canvas.circle(c, 6.0, fill(look.ink));
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let (h, m) = (s.hour, s.minute);
        let now = time(h, m);
        let wrong: Vec<String> = [60, -60, 30, 15, -15, 120, 360, 5, -5]
            .into_iter()
            .map(|d| later(h, m, d))
            .chain([time(if m == 0 { 12 } else { (m / 5).max(1) }, h % 12 * 5)])
            .collect();
        let mut all = vec![
            read(
                "time",
                word(&*now),
                [
                    "What time does the clock show?",
                    "Read the time off the clock.",
                    "Time?",
                ],
            )
            .steps(2)
            .among(wrong),
            seen(
                "hour",
                int(h),
                [
                    "Which hour does the clock show? Give the last full hour.",
                    "What is the last full hour on the clock?",
                    "Last full hour?",
                ],
            )
            .near_misses()
            .measures("the last full hour"),
            seen(
                "hand_colour",
                word(s.hands.name()),
                [
                    "What colour is the hour hand?",
                    "Which colour does the short hand have?",
                    "Hour hand's colour?",
                ],
            )
            .among(s.hands.others()),
            seen(
                "rim_colour",
                word(s.rim.name()),
                [
                    "What colour is the rim of the clock?",
                    "Which colour does the ring around the dial have?",
                    "Rim colour?",
                ],
            )
            .among(s.rim.others()),
            seen(
                "minute_number",
                int(if m == 0 { 12 } else { m / 5 }),
                [
                    "At which number of the dial does the long hand point?",
                    "The minute hand points at which number from 1 to 12?",
                    "Number at long hand?",
                ],
            )
            .near_misses()
            .measures("the number at the long hand"),
            seen(
                "half",
                word(
                    if (1..6).contains(&(h % 12)) || (h == 12 && m > 0) || (h == 12 && m == 0) {
                        "right"
                    } else {
                        "left"
                    },
                ),
                [
                    "Is the short hand in the right or in the left half of the dial?",
                    "In which half of the dial is the hour hand, left or right?",
                    "Hour hand left or right?",
                ],
            ),
            read(
                "minutes",
                int(m),
                [
                    "How many minutes past the full hour is it?",
                    "How many minutes does the long hand show?",
                    "Minutes?",
                ],
            )
            .unit("min")
            .steps(2)
            .measures("the minutes past the hour"),
        ];
        // The hand points straight up or down at 12 and 6, and the half is not clear.
        if m == 0 && h % 6 == 0 {
            all.retain(|q| q.template != "half");
        }
        // Full hours and the rest are as likely among the times that this is asked about.
        if m == 0 || (m == 30 && h % 2 == 0) || (m == 15 && h % 2 == 1) {
            all.push(seen(
                "full_hour",
                yes(m == 0),
                [
                    "Is it a full hour?",
                    "Does the clock show a full hour?",
                    "Full hour?",
                ],
            ));
        }
        for wait in [15, 20, 30, 60, 90] {
            all.push(
                read(
                    "later",
                    word(later(h, m, wait)),
                    [
                        format!("What time is it {wait} minutes later?"),
                        format!("A film starts now and takes {wait} minutes. When does it end?"),
                        format!("Time after {wait} minutes?"),
                    ],
                )
                .steps(3)
                .among(
                    [30, -30, 60, -60, 15, 5]
                        .map(|d| later(h, m, wait + d))
                        .to_vec(),
                ),
            );
        }
        if m > 0 {
            all.push(
                read(
                    "to_next",
                    int(60 - m),
                    [
                        "How many minutes are left to the next full hour?",
                        "In how many minutes is it a full hour?",
                        "Minutes to full hour?",
                    ],
                )
                .unit("min")
                .steps(3)
                .measures("the minutes to the next full hour"),
            );
        }
        all
    }
}
