//! Colours with names, and the look of one figure: palette, typefaces, sizes, paper.
//!
//! Questions name colours, so every hue must be told from every other also in a small and blurred
//! copy; what varies from figure to figure is the shade, not the name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::random::{Rng8, chance, pick, real, several};
use super::typeface::Face;

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour(pub u8, pub u8, pub u8);

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl Colour {
    pub const WHITE: Colour = Colour(255, 255, 255);
    pub const BLACK: Colour = Colour(20, 20, 24);

    /// A step of `share` towards another colour.
    pub fn towards(self, other: Colour, share: f32) -> Colour {
        let mix = |a: u8, b: u8| {
            (f32::from(a) + (f32::from(b) - f32::from(a)) * share)
                .round()
                .clamp(0.0, 255.0) as u8
        };
        Colour(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }

    /// Black or white, whichever reads better on this colour.
    pub fn contrast(self) -> Colour {
        let light =
            0.299 * f32::from(self.0) + 0.587 * f32::from(self.1) + 0.114 * f32::from(self.2);
        if light > 140.0 {
            Colour::BLACK
        } else {
            Colour::WHITE
        }
    }
}

/// A colour that a question can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hue {
    Red,
    Blue,
    Green,
    Orange,
    Purple,
    Yellow,
    Pink,
    Gray,
}

impl Hue {
    pub const ALL: [Hue; 8] = [
        Hue::Red,
        Hue::Blue,
        Hue::Green,
        Hue::Orange,
        Hue::Purple,
        Hue::Yellow,
        Hue::Pink,
        Hue::Gray,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Hue::Red => "red",
            Hue::Blue => "blue",
            Hue::Green => "green",
            Hue::Orange => "orange",
            Hue::Purple => "purple",
            Hue::Yellow => "yellow",
            Hue::Pink => "pink",
            Hue::Gray => "gray",
        }
    }

    /// The hue in one of three print qualities: chart software, bright print, textbook.
    fn shade(self, palette: usize) -> Colour {
        let (chart, bright, book) = match self {
            Hue::Red => (
                Colour(214, 39, 40),
                Colour(235, 30, 36),
                Colour(190, 30, 45),
            ),
            Hue::Blue => (
                Colour(31, 100, 200),
                Colour(20, 80, 230),
                Colour(40, 85, 165),
            ),
            Hue::Green => (
                Colour(44, 150, 44),
                Colour(20, 170, 60),
                Colour(30, 120, 70),
            ),
            Hue::Orange => (
                Colour(255, 127, 14),
                Colour(255, 140, 0),
                Colour(240, 130, 40),
            ),
            Hue::Purple => (
                Colour(128, 70, 180),
                Colour(130, 40, 190),
                Colour(105, 60, 150),
            ),
            Hue::Yellow => (
                Colour(245, 205, 30),
                Colour(255, 222, 0),
                Colour(240, 200, 60),
            ),
            Hue::Pink => (
                Colour(245, 130, 190),
                Colour(255, 120, 190),
                Colour(240, 150, 190),
            ),
            Hue::Gray => (
                Colour(127, 127, 127),
                Colour(140, 140, 145),
                Colour(120, 120, 125),
            ),
        };
        match palette {
            0 => chart,
            1 => bright,
            _ => book,
        }
    }

    /// `n` different hues.
    pub fn some(rng: &mut Rng8, n: usize) -> Vec<Hue> {
        several(rng, &Hue::ALL, n)
    }

    /// The names of `hues`, filled up to four with others: choices where few are in the figure.
    pub fn pool(hues: &[Hue]) -> Vec<String> {
        let mut pool: Vec<Hue> = hues.to_vec();
        // Where filling starts depends on the figure, so that no hue is the usual filling.
        let start = hues.first().map_or(0, |h| *h as usize * 3 + hues.len());
        for i in 0..Hue::ALL.len() {
            let hue = Hue::ALL[(start + i) % Hue::ALL.len()];
            if pool.len() < 4 && !pool.contains(&hue) {
                pool.push(hue);
            }
        }
        pool.into_iter().map(|h| h.name().to_owned()).collect()
    }

    /// The names of all hues but this one, as wrong choices.
    pub fn others(self) -> Vec<String> {
        Hue::ALL
            .iter()
            .filter(|h| **h != self)
            .map(|h| h.name().to_owned())
            .collect()
    }
}

/// What a figure looks like, apart from what it shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    palette: usize,
    /// Of running text.
    pub face: Face,
    /// Of titles and large labels.
    pub bold: Face,
    /// Height of running text, in units of a canvas whose longer side is 320.
    pub text: f32,
    /// Behind everything.
    pub paper: Colour,
    /// Behind the data of a chart.
    pub panel: Colour,
    /// Of text and axes.
    pub ink: Colour,
    pub grid: Colour,
    pub show_grid: bool,
    /// Width of axes and outlines.
    pub line: f32,
    /// Whether marks have a dark outline.
    pub outlined: bool,
    /// A closed frame rather than two axes.
    pub framed: bool,
    /// Width over height of the canvas.
    pub aspect: f32,
}

impl Look {
    pub fn draw(rng: &mut Rng8) -> Look {
        let serif = chance(rng, 0.3);
        let papers = [
            Colour::WHITE,
            Colour::WHITE,
            Colour::WHITE,
            Colour(252, 250, 244),
            Colour(246, 248, 252),
            Colour(250, 245, 235),
        ];
        let paper = pick(rng, &papers);
        let panel = if chance(rng, 0.25) {
            pick(
                rng,
                &[
                    Colour(234, 236, 244),
                    Colour(240, 240, 240),
                    Colour(236, 244, 238),
                ],
            )
        } else {
            paper
        };
        let ink = pick(
            rng,
            &[Colour(20, 20, 24), Colour(40, 40, 48), Colour(25, 35, 60)],
        );
        Look {
            palette: pick(rng, &[0, 0, 1, 2]),
            face: if serif { Face::Serif } else { Face::Sans },
            bold: if serif {
                Face::SerifBold
            } else {
                Face::SansBold
            },
            text: real(rng, 13.0, 15.5),
            paper,
            panel,
            ink,
            grid: panel.towards(Colour::BLACK, real(rng, 0.12, 0.22)),
            show_grid: chance(rng, 0.6),
            line: real(rng, 1.4, 2.2),
            outlined: chance(rng, 0.4),
            framed: chance(rng, 0.35),
            aspect: pick(rng, &[4.0 / 3.0, 4.0 / 3.0, 1.45, 1.2, 1.1, 1.0]),
        }
    }

    /// Black on white, for captions.
    pub fn plain() -> Look {
        Look {
            palette: 0,
            face: Face::Sans,
            bold: Face::SansBold,
            text: 13.0,
            paper: Colour::WHITE,
            panel: Colour::WHITE,
            ink: Colour::BLACK,
            grid: Colour(210, 210, 210),
            show_grid: false,
            line: 1.5,
            outlined: false,
            framed: false,
            aspect: 4.0 / 3.0,
        }
    }

    /// The colour that a hue has in this figure.
    pub fn hue(&self, hue: Hue) -> Colour {
        hue.shade(self.palette)
    }

    /// Size of titles.
    pub fn title(&self) -> f32 {
        self.text + 1.5
    }
}
