//! The language of questions about objects, as far as it is understood.
//!
//! ```text
//! thing    := [other] [size] [colour] [material] noun [where]
//! where    := [that is] (left of | behind | ..) the thing
//!           | (that have | of | ..) the same (size | ..) as the thing
//!           | that has a part
//! part     := [colour] [material] (name | "part")
//! ```
//! A phrase denotes a set of objects. "The thing" must denote exactly one: a question whose
//! description fits two objects, or none, has no answer.

use std::collections::BTreeSet;

use super::{Attribute, COLOURS, Object, Objects, Part, SHAPES, SIDES};

pub(super) type Words<'a> = &'a [&'a str];

/// A set of objects by their places.
type Set = BTreeSet<usize>;

/// Parts by their objects' places and their own.
type Parts = Vec<(usize, usize)>;

pub(super) fn attribute(word: &str) -> Option<Attribute> {
    Some(match word {
        "shape" => Attribute::Shape,
        "color" | "colour" => Attribute::Colour,
        "size" => Attribute::Size,
        "material" => Attribute::Material,
        _ => return None,
    })
}

/// The size, colour or material that a word names.
fn quality(word: &str) -> Option<(Attribute, &'static str)> {
    Some(match word {
        "small" | "tiny" => (Attribute::Size, "small"),
        "large" | "big" => (Attribute::Size, "large"),
        "rubber" | "matte" => (Attribute::Material, "rubber"),
        "metal" | "metallic" | "shiny" => (Attribute::Material, "metal"),
        other => (
            Attribute::Colour,
            COLOURS.into_iter().find(|c| *c == other)?,
        ),
    })
}

/// Takes qualities off the front of a phrase.
fn qualities<'a>(mut phrase: Words<'a>) -> (Vec<(Attribute, &'static str)>, Words<'a>) {
    let mut found = Vec::new();
    while let Some((first, rest)) = phrase.split_first()
        && let Some(quality) = quality(first)
    {
        found.push(quality);
        phrase = rest;
    }
    (found, phrase)
}

fn has(object: &Object, qualities: &[(Attribute, &str)]) -> bool {
    qualities.iter().all(|(a, v)| object.attribute(*a) == *v)
}

/// Which objects a noun at the front of a phrase names, and what follows it.
fn noun<'a>(phrase: Words<'a>) -> Option<(Noun, Words<'a>)> {
    if let Some(rest) = strip_any(phrase, &["thing", "things", "object", "objects"]) {
        return Some((Noun::Any, rest));
    }
    // Published plurals are the name with an `s`: "articulated buss".
    let is = |word: &str, name: &str| {
        word == name
            || word.strip_suffix('s') == Some(name)
            || word.strip_suffix("es") == Some(name)
    };
    for (class, _, shape) in SHAPES {
        let mut parts = shape.split(' ');
        match (parts.next()?, parts.next(), phrase) {
            (one, None, [w, rest @ ..]) if is(w, one) => return Some((Noun::Shape(shape), rest)),
            (one, Some(two), [a, b, rest @ ..]) if *a == one && is(b, two) => {
                return Some((Noun::Shape(shape), rest));
            }
            _ => {}
        }
        if let [w, rest @ ..] = phrase
            && is(w, class)
        {
            return Some((Noun::Class(class), rest));
        }
    }
    // A car of a shape that published scenes call otherwise; those scenes are passed over, so in
    // all others there is none.
    if let ["regular", w, rest @ ..] = phrase
        && is(w, "car")
    {
        return Some((Noun::Shape("regular car"), rest));
    }
    None
}

#[derive(Debug, Clone, Copy)]
enum Noun {
    Any,
    Class(&'static str),
    Shape(&'static str),
}

impl Noun {
    fn names(self, object: &Object) -> bool {
        match self {
            Noun::Any => true,
            Noun::Class(class) => object.class() == class,
            Noun::Shape(shape) => object.shape == shape,
        }
    }
}

pub(super) fn strip_any<'a>(phrase: Words<'a>, firsts: &[&str]) -> Option<Words<'a>> {
    let (first, rest) = phrase.split_first()?;
    firsts.contains(first).then_some(rest)
}

pub(super) fn strip<'a>(phrase: Words<'a>, prefix: &str) -> Option<Words<'a>> {
    let mut rest = phrase;
    for word in prefix.split(' ') {
        rest = strip_any(rest, &[word])?;
    }
    Some(rest)
}

pub(super) fn strip_first<'a>(phrase: Words<'a>, prefixes: &[&str]) -> Option<Words<'a>> {
    prefixes.iter().find_map(|p| strip(phrase, p))
}

pub(super) fn strip_end<'a>(phrase: Words<'a>, suffix: &str) -> Option<Words<'a>> {
    let mut rest = phrase;
    for word in suffix.rsplit(' ') {
        let (last, before) = rest.split_last()?;
        if *last != word {
            return None;
        }
        rest = before;
    }
    Some(rest)
}

impl Objects {
    /// The objects that a whole phrase denotes; `it` stands for what was named before.
    pub(super) fn set(&self, phrase: Words<'_>, it: Option<usize>) -> Option<Set> {
        let (is_other, phrase) = match strip_any(phrase, &["other", "another", "else"]) {
            Some(rest) => (true, rest),
            None => (false, phrase),
        };
        let (qualities, phrase) = qualities(phrase);
        let (noun, rest) = noun(phrase)?;
        let mut found: Set = (0..self.objects.len())
            .filter(|i| noun.names(&self.objects[*i]) && has(&self.objects[*i], &qualities))
            .collect();
        if rest.is_empty() {
            // Other than what?
            return (!is_other).then_some(found);
        }
        let allowed = self.place(rest, it)?;
        found.retain(|i| allowed.contains(i));
        Some(found)
    }

    /// The objects that a clause about place, likeness or parts fits.
    pub(super) fn place(&self, clause: Words<'_>, it: Option<usize>) -> Option<Set> {
        const RELATIONS: [(&[&str], usize); 4] = [
            (&["left of", "to the left of", "on the left side of"], 0),
            (&["right of", "to the right of", "on the right side of"], 1),
            (&["in front of"], 2),
            (&["behind"], 3),
        ];
        let placed = strip_first(clause, &["that is", "that are"]).unwrap_or(clause);
        for (openings, relation) in RELATIONS {
            if let Some(rest) = strip_first(placed, openings) {
                let of = self.one_or_it(rest, it)?;
                return Some(self.relations[relation][of].clone());
            }
        }
        if let Some(rest) = strip_first(clause, &["that has a", "that has an", "that have a"]) {
            let parts = self.parts(rest, &(0..self.objects.len()).collect())?;
            return Some(parts.into_iter().map(|(object, _)| object).collect());
        }
        const LIKE: [&str; 14] = [
            "that has the same",
            "that have the same",
            "that is the same",
            "that are the same",
            "of the same",
            "have the same",
            "has the same",
            "are the same",
            "is the same",
            "made of the same",
            "are made of the same",
            "that are made of the same",
            "that is made of the same",
            "are of the same",
        ];
        let rest = strip_first(clause, &LIKE)?;
        let (name, rest) = rest.split_first()?;
        let attribute = attribute(name)?;
        let like = self.one_or_it(strip(rest, "as")?, it)?;
        let value = self.objects[like].attribute(attribute);
        Some(
            (0..self.objects.len())
                .filter(|i| *i != like && self.objects[*i].attribute(attribute) == value)
                .collect(),
        )
    }

    /// The one object that `the ..` denotes.
    pub(super) fn one(&self, phrase: Words<'_>) -> Option<usize> {
        let set = self.set(strip_any(phrase, &["the"]).unwrap_or(phrase), None)?;
        let mut set = set.into_iter();
        let one = set.next()?;
        set.next().is_none().then_some(one)
    }

    fn one_or_it(&self, phrase: Words<'_>, it: Option<usize>) -> Option<usize> {
        match phrase {
            ["it"] => it,
            _ => self.one(phrase),
        }
    }

    /// The parts of some objects that a phrase without article denotes.
    fn parts(&self, phrase: Words<'_>, of: &Set) -> Option<Parts> {
        let (qualities, name) = qualities(phrase);
        if qualities.iter().any(|(a, _)| *a == Attribute::Size) || name.is_empty() {
            return None;
        }
        let name = name.join(" ");
        let fits = |part: &Part| {
            (name == "part" || name == part.name || is_less_exact(&name, part))
                && qualities.iter().all(|(a, v)| match a {
                    Attribute::Colour => part.color == *v,
                    _ => part.material == *v,
                })
        };
        let is_known = name == "part"
            || self
                .objects
                .iter()
                .flat_map(|o| &o.parts)
                .any(|p| name == p.name || is_less_exact(&name, p));
        let parts = of.iter().flat_map(|i| {
            let parts = self.objects[*i].parts.iter().enumerate();
            parts.filter(|(_, p)| fits(p)).map(|(j, _)| (*i, j))
        });
        is_known.then(|| parts.collect())
    }

    fn one_part(&self, phrase: Words<'_>, of: &Set) -> Option<(usize, usize)> {
        let phrase = strip_any(phrase, &["the"])?;
        match self.parts(phrase, of)?[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// `PART of the THING`, `PART that belongs to the same object as the PART`.
    pub(super) fn named_part(&self, phrase: Words<'_>) -> Option<&Part> {
        let (object, part) = splits(phrase, "of")
            .into_iter()
            .find_map(|(a, b)| {
                let object = self.one(strip_any(b, &["the"])?)?;
                self.one_part(a, &Set::from([object]))
            })
            .or_else(|| {
                splits(phrase, "that belongs to the same object as")
                    .into_iter()
                    .find_map(|(a, b)| {
                        let all: Set = (0..self.objects.len()).collect();
                        let (object, other) = self.one_part(b, &all)?;
                        let (object, part) = self.one_part_beside(a, object, other)?;
                        Some((object, part))
                    })
            })?;
        self.objects.get(object)?.parts.get(part)
    }

    /// The one part of an object that a phrase denotes, `other` left out.
    fn one_part_beside(
        &self,
        phrase: Words<'_>,
        object: usize,
        other: usize,
    ) -> Option<(usize, usize)> {
        let phrase = strip_any(phrase, &["the"])?;
        let mut parts = self.parts(phrase, &Set::from([object]))?;
        parts.retain(|(_, part)| *part != other);
        match parts[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// Every way to cut a phrase at some words.
pub(super) fn splits<'p>(phrase: Words<'p>, at: &str) -> Vec<(Words<'p>, Words<'p>)> {
    let length = at.split(' ').count();
    (0..phrase.len())
        .filter(|i| strip(&phrase[*i..], at).is_some())
        .map(|i| (&phrase[..i], &phrase[i + length..]))
        .collect()
}

/// Whether `name` is the part's with some sides left out: `wheel`, `left wheel`.
fn is_less_exact(name: &str, part: &Part) -> bool {
    let mut sides: Vec<&str> = Vec::new();
    let mut rest: Vec<&str> = Vec::new();
    for word in name.split(' ') {
        if SIDES.contains(&word) {
            sides.push(word);
        } else {
            rest.push(word);
        }
    }
    let own: Vec<&str> = part.name.split(' ').filter(|w| SIDES.contains(w)).collect();
    rest.join(" ") == part.general() && sides.iter().all(|s| own.contains(s))
}
