//! Function plots: the graph of a line, a parabola, an absolute value or a wave.

use sample::Task;
use serde::{Deserialize, Serialize};

use super::axes;
use crate::figures::canvas::{Canvas, stroke};
use crate::figures::palette::Hue;
use crate::figures::question::{Question, int, list, read, seen, word, yes};
use crate::figures::random::{Rng8, chance, pick, whole};
use crate::figures::scene::{Figure, Load, expect};

pub(crate) struct Function;

/// `y` as a function of `x`; all coefficients are small whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case", deny_unknown_fields)]
enum Curve {
    /// `y = slope * x / 2 + shift`.
    Line { slope: i64, shift: i64 },
    /// `y = +-(x - h)^2 + k`.
    Parabola { up: bool, h: i64, k: i64 },
    /// `y = +-|x - h| + k`.
    Absolute { up: bool, h: i64, k: i64 },
    /// `y = height * sin(x * turns)`.
    Wave { height: i64, turns: i64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    curve: Curve,
    hue: Hue,
    /// The axes run from `-reach` to `reach`.
    reach: i64,
}

impl Curve {
    fn at(self, x: f32) -> f32 {
        let sign = |up: bool| if up { 1.0 } else { -1.0 };
        match self {
            Curve::Line { slope, shift } => slope as f32 * x / 2.0 + shift as f32,
            Curve::Parabola { up, h, k } => sign(up) * (x - h as f32).powi(2) + k as f32,
            Curve::Absolute { up, h, k } => sign(up) * (x - h as f32).abs() + k as f32,
            Curve::Wave { height, turns } => height as f32 * (x * turns as f32).sin(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Curve::Line { .. } => "line",
            Curve::Parabola { .. } => "parabola",
            Curve::Absolute { .. } => "V",
            Curve::Wave { .. } => "wave",
        }
    }

    /// Points shared with the x axis, where they are few and lie in every plot of the curve.
    fn zeros(self) -> Option<i64> {
        match self {
            Curve::Parabola { up, k, .. } | Curve::Absolute { up, k, .. } => {
                Some(match (k.signum(), up) {
                    (0, _) => 1,
                    (1, false) | (-1, true) => 2,
                    _ => 0,
                })
            }
            _ => None,
        }
    }
}

impl Figure for Function {
    type Scene = Scene;

    fn name(&self) -> &'static str {
        "function"
    }

    fn task(&self) -> Task {
        Task::Fqa
    }

    fn compose(&self, rng: &mut Rng8) -> Scene {
        let up = chance(rng, 0.5);
        // Open towards the x axis, touching it, or away from it: equally likely.
        let towards = whole(rng, 1, 3) * if up { -1 } else { 1 };
        let curve = match whole(rng, 0, 3) {
            0 => Curve::Line {
                slope: pick(rng, &[-4, -3, -2, -1, 1, 2, 3, 4]),
                // Above, through and below the origin: equally likely.
                shift: whole(rng, 1, 3) * whole(rng, -1, 1),
            },
            1 => Curve::Parabola {
                up,
                h: whole(rng, -2, 2),
                k: pick(rng, &[towards, 0, -towards]),
            },
            2 => Curve::Absolute {
                up,
                h: whole(rng, -2, 2),
                k: pick(rng, &[towards, 0, -towards]),
            },
            _ => Curve::Wave {
                height: whole(rng, 1, 4),
                turns: whole(rng, 1, 2),
            },
        };
        Scene {
            curve,
            hue: Hue::some(rng, 1)[0],
            reach: pick(rng, &[5, 5, 6]),
        }
    }

    fn check(&self, s: &Scene) -> Result<(), String> {
        expect((4..=10).contains(&s.reach), "axes from 4 to 10")?;
        let small = |v: i64, bound: i64| (-bound..=bound).contains(&v);
        expect(
            match s.curve {
                Curve::Line { slope, shift } => small(slope, 8) && slope != 0 && small(shift, 4),
                Curve::Parabola { h, k, .. } | Curve::Absolute { h, k, .. } => {
                    small(h, 3) && small(k, 4)
                }
                Curve::Wave { height, turns } => {
                    (1..=4).contains(&height) && (1..=4).contains(&turns)
                }
            },
            "small coefficients",
        )
    }

    fn load(&self, s: &Scene) -> Load {
        let (relations, computation) = match s.curve {
            Curve::Line { shift: 0, .. } => (1, 1),
            Curve::Line { .. } | Curve::Wave { .. } => (2, 1),
            Curve::Absolute { h: 0, .. } | Curve::Parabola { h: 0, .. } => (2, 2),
            Curve::Absolute { .. } => (3, 2),
            Curve::Parabola { .. } => (3, 3),
        };
        Load {
            objects: 1,
            relations,
            computation,
        }
    }

    fn draw(&self, s: &Scene, canvas: &mut Canvas, _: &mut Rng8) {
        let look = canvas.look;
        let room = canvas.headed(None);
        let plane = axes::plane(canvas, room, -s.reach, s.reach);
        let (area, x, y) = plane;
        let reach = s.reach as f32;
        let mut run: Vec<(f32, f32)> = Vec::new();
        let mut runs = Vec::new();
        for i in 0..=240i16 {
            let at = -reach + 2.0 * reach * f32::from(i) / 240.0;
            let value = s.curve.at(at);
            if value.abs() <= reach {
                run.push((x.at(at), y.at(value)));
            } else if !run.is_empty() {
                runs.push(std::mem::take(&mut run));
            }
        }
        runs.push(run);
        for run in runs.iter().filter(|r| r.len() > 1) {
            canvas.polyline(run, stroke(look.hue(s.hue), 4.5));
        }
        canvas.rect(area, stroke(look.grid, 1.0));
        axes::plane_numbers(canvas, plane, -s.reach, s.reach, 2 - s.reach % 2);
    }

    fn questions(&self, s: &Scene) -> Vec<Question> {
        let kinds = ["line", "parabola", "V", "wave"];
        let mut all = vec![
            seen(
                "kind",
                word(s.curve.name()),
                [
                    "What shape is the graph: line, parabola, V or wave?",
                    "Which of these is the graph: a line, a parabola, a V or a wave?",
                    "Line, parabola, V or wave?",
                ],
            )
            .among(kinds.map(str::to_owned).to_vec()),
            seen(
                "colour",
                word(s.hue.name()),
                [
                    "What colour is the graph?",
                    "In which colour is the function drawn?",
                    "Graph colour?",
                ],
            )
            .among(s.hue.others()),
        ];
        let at_zero = s.curve.at(0.0).round() as i64;
        if !matches!(s.curve, Curve::Wave { .. }) && at_zero.abs() <= s.reach {
            all.push(
                read(
                    "y_intercept",
                    int(at_zero),
                    [
                        "At which y does the graph cross the y axis?",
                        "What is the value of the function at x = 0?",
                        "y intercept?",
                    ],
                )
                .steps(2)
                .measures("the y intercept"),
            );
        }
        match s.curve {
            Curve::Line { slope, shift } => {
                all.push(seen(
                    "rising",
                    yes(slope > 0),
                    [
                        "Is the line rising from left to right?",
                        "Does the function increase?",
                        "Line rising?",
                    ],
                ));
                all.push(seen(
                    "crosses_above",
                    word(match shift.signum() {
                        1 => "above",
                        -1 => "below",
                        _ => "through",
                    }),
                    [
                        "Does the line pass above, below or through the origin?",
                        "Where does the line pass the origin: above, below or through it?",
                        "Above, below or through the origin?",
                    ],
                ));
                let gradient = match slope {
                    s if s % 2 == 0 => int(s / 2),
                    s => crate::figures::question::decimal(s as f64 / 2.0, 1),
                };
                all.push(
                    read(
                        "slope",
                        gradient,
                        [
                            "What is the slope of the line?",
                            "By how much does y change when x grows by 1?",
                            "Slope?",
                        ],
                    )
                    .steps(3),
                );
            }
            Curve::Parabola { up, h, k } | Curve::Absolute { up, h, k } => {
                all.push(seen(
                    "opens",
                    word(if up { "up" } else { "down" }),
                    [
                        "Does the graph open up or down?",
                        "In which direction does the graph open, up or down?",
                        "Opens up or down?",
                    ],
                ));
                all.push(seen(
                    "vertex_side",
                    word(match h.signum() {
                        1 => "right",
                        -1 => "left",
                        _ => "on",
                    }),
                    [
                        "Is the turning point left of, right of or on the y axis? Answer left, right or on.",
                        "Where is the turning point seen from the y axis: left, right or on it?",
                        "Turning point left, right or on y axis?",
                    ],
                ));
                all.push(
                    read(
                        "vertex",
                        list([h.to_string(), k.to_string()]),
                        [
                            "What are the coordinates of the turning point?",
                            "Give the turning point of the graph as a list of x and y.",
                            "Turning point?",
                        ],
                    )
                    .steps(2),
                );
                all.push(
                    read(
                        "extreme",
                        int(k),
                        [
                            format!(
                                "What is the {} value of the function?",
                                if up { "smallest" } else { "largest" }
                            ),
                            format!(
                                "What is the {} of the function?",
                                if up { "minimum" } else { "maximum" }
                            ),
                            if up { "Minimum?" } else { "Maximum?" }.to_owned(),
                        ],
                    )
                    .steps(2)
                    .measures(if up {
                        "the minimum of the function"
                    } else {
                        "the maximum of the function"
                    }),
                );
            }
            Curve::Wave { height, turns } => {
                all.push(
                    read(
                        "amplitude",
                        int(height),
                        [
                            "What is the amplitude of the wave?",
                            "How high does the wave rise above the x axis?",
                            "Amplitude?",
                        ],
                    )
                    .steps(2)
                    .measures("the amplitude of the wave"),
                );
                all.push(seen(
                    "starts_up",
                    word(if turns > 1 { "short" } else { "long" }),
                    [
                        "Are the waves short or long?",
                        "Does the wave repeat after a short or a long way? Answer short or long.",
                        "Short or long waves?",
                    ],
                ));
                all.push(
                    read(
                        "maximum",
                        int(height),
                        [
                            "What is the largest value of the function?",
                            "What is the maximum of the function?",
                            "Maximum?",
                        ],
                    )
                    .steps(2)
                    .measures("the maximum of the function"),
                );
            }
        }
        if let Some(zeros) = s.curve.zeros() {
            all.push(
                seen(
                    "zeros",
                    int(zeros),
                    [
                        "How many points does the graph share with the x axis?",
                        "How many times does the graph meet the x axis?",
                        "Number of zeros?",
                    ],
                )
                .steps(2)
                .measures("the number of zeros"),
            );
        }
        all
    }
}
