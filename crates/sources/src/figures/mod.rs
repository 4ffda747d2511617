//! The embedded source: figures drawn from a seed, with questions whose answers are computed.
//!
//! A family is a kind of figure: bar charts, clocks, food chains. Each composes a
//! *scene*, plain data that says what the figure shows; draws it as SVG in a random look; and lists
//! every question it can ask about the scene, with answers computed from the data. Nothing is typed
//! in by hand, so every pair is right by construction, and the scene stays with the image so that
//! [`teach`] can ask more about it later.
//!
//! The look is that of textbooks and charts. Text is laid out in boxes measured from the typeface,
//! and a layout in which two boxes meet, or one leaves the canvas, is drawn again. A share of the
//! figures is degraded on purpose, which gives known labels of clarity; labels of complexity follow
//! from the scene.

mod canvas;
mod draw;
mod facts;
mod families;
mod import;
mod palette;
pub(crate) mod question;
mod random;
pub(crate) mod scene;
mod sheet;
mod solve;
mod teach;
pub(crate) mod typeface;

use sample::Task;
pub use sample::degrade::Degradation;
use serde::{Deserialize, Serialize};

pub(crate) use draw::png;
pub use draw::{Drawn, DrawnQuestion, draw};
pub use facts::facts;
pub use import::import;
pub use sheet::contact_sheet;
pub(crate) use solve::{solve, solve_scene};
pub use teach::teach;
pub(crate) use teach::teach_from;

use crate::Error;
use scene::Family;

/// Every family; a new one is a file under `families/` and a line here.
static FAMILIES: &[&dyn Family] = &[
    // Figure question answering.
    &families::bar::Bar,
    &families::grouped_bar::GroupedBar,
    &families::line::Line,
    &families::scatter::Scatter,
    &families::pie::Pie,
    &families::table::Table,
    &families::function::Function,
    // Geometry.
    &families::triangle::Triangle,
    &families::circle::Circle,
    &families::composite_area::CompositeArea,
    // Word problems.
    &families::price_list::PriceList,
    &families::counting::Counting,
    &families::clock::Clock,
    &families::number_line::NumberLine,
    // Textbook diagrams.
    &families::food_chain::FoodChain,
    &families::layers::Layers,
    &families::cycle::Cycle,
    &families::plant::Plant,
    // Scenes.
    &families::shapes::Shapes,
    &families::towers::Towers,
];

/// The names of all families with their tasks, in a fixed order.
pub fn families() -> impl Iterator<Item = (&'static str, Task)> {
    FAMILIES.iter().map(|f| (f.name(), f.task()))
}

/// What to draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FiguresConfig {
    /// How many figures, shared out evenly over the families.
    pub count: usize,
    /// The longer side of every figure, in pixels.
    pub size: u32,
    /// Which families to draw; empty means all.
    pub families: Vec<String>,
    /// Questions asked about each figure.
    pub questions_per_figure: usize,
    /// Share of figures that are degraded on purpose, from 0 to 1.
    pub degraded: f64,
    /// Names the split. It is part of every figure's seed, so other splits are other figures.
    pub split: String,
}

impl Default for FiguresConfig {
    fn default() -> Self {
        FiguresConfig {
            count: 2000,
            size: 320,
            families: Vec::new(),
            questions_per_figure: 3,
            degraded: 0.12,
            split: "train".to_owned(),
        }
    }
}

impl FiguresConfig {
    /// The families to draw.
    ///
    /// # Errors
    /// Says which value cannot be used, and which could.
    fn families(&self) -> Result<Vec<&'static dyn Family>, Error> {
        let wrong = |what: String| Err(Error::Config(format!("figures: {what}")));
        if !(64..=2048).contains(&self.size) {
            return wrong(format!("size = {}: give 64 to 2048 pixels", self.size));
        }
        if !(0.0..=1.0).contains(&self.degraded) {
            return wrong(format!(
                "degraded = {}: give a share from 0 to 1",
                self.degraded
            ));
        }
        if !(1..=64).contains(&self.questions_per_figure) {
            let n = self.questions_per_figure;
            return wrong(format!("questions_per_figure = {n}: give 1 to 64"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.split.is_empty() || !self.split.chars().all(plain) {
            return wrong(format!(
                "split = {:?}: give letters, digits, - or _",
                self.split
            ));
        }
        if self.families.is_empty() {
            return Ok(FAMILIES.to_vec());
        }
        let mut chosen = Vec::new();
        for name in &self.families {
            match family(name) {
                Some(f) if !self.families[..chosen.len()].contains(name) => chosen.push(f),
                Some(_) => return wrong(format!("families: {name:?} is given twice")),
                None => {
                    let known: Vec<_> = families().map(|(n, _)| n).collect();
                    return wrong(format!(
                        "families: {name:?} is not one of {}",
                        known.join(", ")
                    ));
                }
            }
        }
        Ok(chosen)
    }
}

fn family(name: &str) -> Option<&'static dyn Family> {
    FAMILIES.iter().copied().find(|f| f.name() == name)
}

#[cfg(test)]
mod tests;
