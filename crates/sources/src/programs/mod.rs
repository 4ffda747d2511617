//! Answers that a program computes: what an image shows, as data, and the questions that can be
//! answered from it.
//!
//! An image's *scene* is JSON that says what it shows. Drawn [figures](crate::figures) have theirs
//! by construction; TabMWP publishes its tables, Geometry3K its logic forms, Super-CLEVR its
//! objects. From a scene, [`prove`] answers a question that it understands, which checks a pair that
//! a model made; and [`teach`] makes pairs itself.
//!
//! **Invariant:** nothing is guessed. A question that is not understood word by word, or whose names
//! are not in the scene, has no proof.

mod exact;
mod geometry;
mod objects;
mod prove;
mod tables;
mod wording;

use serde_json::Value;

use crate::figures::question::Question;
use crate::tree::Tree;

pub use prove::{agree, prove};
pub(crate) use tables::Table;

/// The kinds of scene beside those of drawn figures, as their JSON names them.
pub(crate) const TABLE: &str = "table";
pub(crate) const GEOMETRY: &str = "geometry";
pub(crate) const OBJECTS: &str = "clevr_objects";

/// Published files of scenes that are larger are not read.
const MAX_FILE: u64 = 1 << 20;
/// Scenes that are longer are not kept, nor read.
const MAX_SCENE: usize = 64 << 10;

/// Where a record's scene is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The scene itself.
    Here(String),
    /// A file of Geometry3K's formal language, below the root.
    LogicForm(String),
    /// A file of Super-CLEVR's objects, below the root.
    Objects(String),
}

impl Told {
    /// The scene; `None` where its file is not there or not of its form. A scene is an extra: its
    /// absence is no fault of the row.
    pub(crate) fn scene(&self, tree: &Tree) -> Option<String> {
        let read = |path: &str| {
            tree.file(path)?;
            String::from_utf8(tree.read(path, MAX_FILE).ok()?).ok()
        };
        let scene = match self {
            Told::Here(scene) => Some(scene.clone()),
            Told::LogicForm(path) => geometry::published(&read(path)?),
            Told::Objects(path) => objects::published(&read(path)?),
        };
        scene.filter(|s| !s.is_empty() && s.len() <= MAX_SCENE)
    }
}

/// What a scene that is no drawn figure shows.
enum Shown {
    Table(tables::Table),
    Geometry(geometry::Diagram),
    Objects(objects::Objects),
}

impl Shown {
    /// Reads a scene; `None` for drawn figures' and for what is no scene.
    fn read(scene: &str) -> Option<Shown> {
        if scene.len() > MAX_SCENE {
            return None;
        }
        let mut value: Value = serde_json::from_str(scene).ok()?;
        let Value::String(kind) = value.as_object_mut()?.remove("kind")? else {
            return None;
        };
        match kind.as_str() {
            TABLE => {
                let table: tables::Table = serde_json::from_value(value).ok()?;
                table.fits().then_some(Shown::Table(table))
            }
            GEOMETRY => {
                let diagram: geometry::Diagram = serde_json::from_value(value).ok()?;
                diagram.fits().then_some(Shown::Geometry(diagram))
            }
            OBJECTS => {
                let objects: objects::Objects = serde_json::from_value(value).ok()?;
                objects.fits().then_some(Shown::Objects(objects))
            }
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Shown::Table(_) => TABLE,
            Shown::Geometry(_) => GEOMETRY,
            Shown::Objects(_) => OBJECTS,
        }
    }

    /// Every question that is asked about it.
    fn questions(&self) -> Vec<Question> {
        match self {
            Shown::Table(table) => tables::questions(table),
            Shown::Geometry(diagram) => geometry::questions(diagram),
            Shown::Objects(objects) => objects::questions(objects),
        }
    }

    /// The answer to a question in words of its own.
    fn understand(&self, question: &str) -> Option<Question> {
        match self {
            Shown::Table(table) => tables::understand(table, question),
            Shown::Geometry(diagram) => geometry::understand(diagram, question),
            Shown::Objects(objects) => objects::understand(objects, question),
        }
    }
}

/// Answers a request for new pairs from the image's scene, as
/// [`figures::teach`](crate::figures::teach) does from those of drawn figures; its replies for
/// those are the same byte for byte.
///
/// # Errors
/// A sentence that says why there is no answer: no scene, one that nothing is known about, a
/// question that is not understood, or nothing left to ask.
pub fn teach(subject: &Value) -> Result<String, String> {
    let shown = subject
        .get("scene")
        .and_then(Value::as_str)
        .and_then(Shown::read);
    let Some(shown) = shown else {
        return crate::figures::teach(subject);
    };
    let questions = shown.questions();
    let choices = prove::choices_of(subject);
    crate::figures::teach_from(shown.kind(), &questions, subject, &|question| {
        // A reworded question inherits its answer, so only a proven one is reworded.
        let understood = shown.understand(question)?;
        let proof = prove::posed(&understood.answer, &choices)?;
        let inherited = subject.get("answer").and_then(Value::as_str)?;
        prove::is_same(&proof.text(), inherited).then_some(understood)
    })
}

#[cfg(test)]
mod tests;
