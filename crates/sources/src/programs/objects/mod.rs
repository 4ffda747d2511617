//! Scenes of vehicles, as Super-CLEVR publishes them: objects with shape, colour, size, material and
//! parts, and which of them stand left of, right of, before and behind which.

mod ask;
mod grammar;
mod rules;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use ask::questions;
pub(crate) use rules::understand;

/// More than any published scene has.
const MAX_OBJECTS: usize = 32;
const MAX_PARTS: usize = 32;

/// The kinds of vehicles with their shapes, as the scenes and as the questions name them.
/// Published scenes with another shape are passed over: its name in questions is not known.
const SHAPES: [(&str, &str, &str); 21] = [
    ("car", "suv", "suv"),
    ("car", "wagon", "wagon"),
    ("car", "minivan", "minivan"),
    ("car", "sedan", "sedan"),
    ("car", "truck", "truck"),
    ("bus", "articulated", "articulated bus"),
    ("bus", "regular", "regular bus"),
    ("bus", "double", "double bus"),
    ("bus", "school", "school bus"),
    ("motorbike", "chopper", "chopper"),
    ("motorbike", "dirtbike", "dirtbike"),
    ("motorbike", "scooter", "scooter"),
    ("motorbike", "cruiser", "cruiser"),
    ("aeroplane", "jet", "jet"),
    ("aeroplane", "fighter", "fighter"),
    ("aeroplane", "biplane", "biplane"),
    ("aeroplane", "airliner", "airliner"),
    ("bicycle", "road", "road bike"),
    ("bicycle", "utility", "utility bike"),
    ("bicycle", "mountain", "mountain bike"),
    ("bicycle", "tandem", "tandem bike"),
];

pub(crate) const COLOURS: [&str; 8] = [
    "gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow",
];

/// The four relations, as the published files name them.
const RELATIONS: [&str; 4] = ["left", "right", "front", "behind"];

/// Words of parts' names that say where the part is.
const SIDES: [&str; 6] = ["front", "back", "left", "right", "mid", "center"];

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// In words, with sides first: `back left wheel`.
    pub name: String,
    pub color: String,
    pub material: String,
}

impl Part {
    /// The name without sides: `wheel`.
    fn general(&self) -> String {
        let words = self.name.split(' ').filter(|w| !SIDES.contains(w));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// One vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// In words, `school bus`.
    pub shape: String,
    pub color: String,
    pub size: String,
    pub material: String,
    pub parts: Vec<Part>,
}

impl Object {
    /// `bus` for a school bus.
    fn class(&self) -> &'static str {
        SHAPES
            .iter()
            .find(|(_, _, name)| *name == self.shape)
            .map_or("", |(class, ..)| class)
    }

    fn attribute(&self, attribute: Attribute) -> &str {
        match attribute {
            Attribute::Shape => &self.shape,
            Attribute::Colour => &self.color,
            Attribute::Size => &self.size,
            Attribute::Material => &self.material,
        }
    }
}

/// What objects are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Shape,
    Colour,
    Size,
    Material,
}

/// What an image shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Objects {
    pub objects: Vec<Object>,
    /// For `left`, `right`, `front` and `behind`, for every object, which others are there.
    pub relations: [Vec<BTreeSet<usize>>; 4],
}

impl Objects {
    /// Whether the rest of this module can rely on it.
    pub fn fits(&self) -> bool {
        let n = self.objects.len();
        (1..=MAX_OBJECTS).contains(&n)
            && self.objects.iter().all(|o| {
                !o.class().is_empty()
                    && COLOURS.contains(&o.color.as_str())
                    && matches!(o.size.as_str(), "small" | "large")
                    && is_material(&o.material)
                    && o.parts.len() <= MAX_PARTS
                    && o.parts.iter().all(Part::fits)
            })
            && self
                .relations
                .iter()
                .all(|r| r.len() == n && r.iter().flatten().all(|i| *i < n))
    }
}

impl Part {
    fn fits(&self) -> bool {
        let plain = |c: char| c.is_ascii_lowercase() || c == ' ';
        let name = &self.name;
        name.len() <= 40
            && name.chars().all(plain)
            && !self.general().is_empty()
            && COLOURS.contains(&self.color.as_str())
            && is_material(&self.material)
    }
}

fn is_material(text: &str) -> bool {
    matches!(text, "rubber" | "metal")
}

/// `wheel_back_left` as questions say it: `back left wheel`.
fn part_name(published: &str) -> String {
    let words: Vec<&str> = published.split('_').filter(|w| *w != "s").collect();
    let (sides, rest): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|w| SIDES.contains(w));
    sides.into_iter().chain(rest).collect::<Vec<_>>().join(" ")
}

/// The scene of a published file; `None` where it is of another form.
pub(crate) fn published(text: &str) -> Option<String> {
    #[derive(Serialize)]
    struct Tagged {
        kind: &'static str,
        #[serde(flatten)]
        scene: Objects,
    }
    let file: Value = serde_json::from_str(text).ok()?;
    let word = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
    let object = |value: &Value| -> Option<Object> {
        let shape = word(value, "shape")?;
        let (.., name) = SHAPES
            .iter()
            .find(|(_, published, _)| **published == *shape)?;
        let parts = match value.get("parts") {
            Some(Value::Object(parts)) => parts
                .iter()
                .map(|(name, part)| {
                    Some(Part {
                        name: part_name(name),
                        color: word(part, "color")?,
                        material: word(part, "material")?,
                    })
                })
                .collect::<Option<_>>()?,
            _ => Vec::new(),
        };
        Some(Object {
            shape: (*name).to_owned(),
            color: word(value, "color")?,
            size: word(value, "size")?,
            material: word(value, "material")?,
            parts,
        })
    };
    let objects: Option<Vec<Object>> = file
        .get("objects")?
        .as_array()?
        .iter()
        .map(object)
        .collect();
    let relation = |name: &str| -> Option<Vec<BTreeSet<usize>>> {
        serde_json::from_value(file.get("relationships")?.get(name)?.clone()).ok()
    };
    let [a, b, c, d] = RELATIONS.map(relation);
    let scene = Objects {
        objects: objects?,
        relations: [a?, b?, c?, d?],
    };
    let kind = super::OBJECTS;
    if !scene.fits() {
        return None;
    }
    serde_json::to_string(&Tagged { kind, scene }).ok()
}
