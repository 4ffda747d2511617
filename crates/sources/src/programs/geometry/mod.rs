//! Diagrams of plane geometry, as Geometry3K's formal language tells them: points, the lines drawn
//! between them, and what is marked.
//!
//! The positions of points decide only what lies between what. Lengths and angles are never
//! measured: diagrams are not to scale.

mod deduce;
mod equation;
mod form;
mod lines;
mod speech;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use form::Form;
pub(crate) use speech::{questions, understand};

/// More than published diagrams have; what is deduced grows with the square.
const MAX_POINTS: usize = 20;
const MAX_LINES: usize = 60;
const MAX_FORMS: usize = 120;
const MAX_FORM: usize = 160;

/// What a diagram shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Diagram {
    /// Where each point is, in pixels.
    pub points: BTreeMap<String, [f64; 2]>,
    /// The lines drawn, by two points each.
    pub lines: BTreeSet<String>,
    /// What is marked in the diagram, `Equals(LengthOf(Line(A,B)),10)`.
    pub marked: Vec<String>,
    /// What the problem calls a part of it, `Parallelogram(A,C,B,D)`. Not to be seen: only a
    /// question that says the word may use it.
    pub called: Vec<String>,
}

impl Diagram {
    /// Whether the rest of this module can rely on it.
    pub fn fits(&self) -> bool {
        let is_name = |p: &str| p.len() == 1 && p.bytes().all(|b| b.is_ascii_uppercase());
        let mut forms = self.marked.iter().chain(&self.called);
        (2..=MAX_POINTS).contains(&self.points.len())
            && self.points.keys().all(|p| is_name(p))
            && self.points.values().flatten().all(|x| x.abs() < 1e6)
            && self.lines.len() <= MAX_LINES
            && self.lines.iter().all(|line| self.ends(line).is_some())
            && self.marked.len() + self.called.len() <= MAX_FORMS
            && forms.all(|f| f.len() <= MAX_FORM)
    }

    /// The two points that a line's name names.
    fn ends(&self, line: &str) -> Option<(char, char)> {
        let mut points = line.chars();
        let (a, b) = (points.next()?, points.next()?);
        let is_point = |p: char| self.points.contains_key(&p.to_string());
        (points.next().is_none() && a != b && is_point(a) && is_point(b)).then_some((a, b))
    }

    fn at(&self, point: char) -> [f64; 2] {
        let place = self.points.get(&point.to_string());
        place.copied().unwrap_or_default()
    }
}

/// The scene of a published `logic_form.json`; `None` where it is of another form.
pub(crate) fn published(text: &str) -> Option<String> {
    #[derive(Serialize)]
    struct Tagged {
        kind: &'static str,
        #[serde(flatten)]
        diagram: Diagram,
    }
    let file: Value = serde_json::from_str(text).ok()?;
    let texts = |name: &str| -> Option<Vec<String>> {
        serde_json::from_value(file.get(name)?.clone()).ok()
    };
    let called = texts("dissolved_text_logic_form").unwrap_or_default();
    let diagram = Diagram {
        points: serde_json::from_value(file.get("point_positions")?.clone()).ok()?,
        lines: texts("line_instances")?
            .into_iter()
            .filter(|l| !l.is_empty())
            .collect(),
        marked: texts("diagram_logic_form")?,
        called: called
            .into_iter()
            .filter(|f| Form::parse(f).is_some_and(|f| f.is_figure()))
            .collect(),
    };
    let kind = super::GEOMETRY;
    if !diagram.fits() {
        return None;
    }
    serde_json::to_string(&Tagged { kind, diagram }).ok()
}
