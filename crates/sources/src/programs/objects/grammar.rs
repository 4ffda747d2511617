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

use sample::Answer;

use super::{Attribute, COLOURS, Object, Objects, Part, SHAPES, SIDES};
use crate::figures::question::{Question, int, read, word, yes};
use crate::programs::wording::words;

type Words<'a> = &'a [&'a str];

/// A set of objects by their places.
type Set = BTreeSet<usize>;

/// Parts by their objects' places and their own.
type Parts = Vec<(usize, usize)>;

fn attribute(word: &str) -> Option<Attribute> {
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

fn strip_any<'a>(phrase: Words<'a>, firsts: &[&str]) -> Option<Words<'a>> {
    let (first, rest) = phrase.split_first()?;
    firsts.contains(first).then_some(rest)
}

fn strip<'a>(phrase: Words<'a>, prefix: &str) -> Option<Words<'a>> {
    let mut rest = phrase;
    for word in prefix.split(' ') {
        rest = strip_any(rest, &[word])?;
    }
    Some(rest)
}

fn strip_first<'a>(phrase: Words<'a>, prefixes: &[&str]) -> Option<Words<'a>> {
    prefixes.iter().find_map(|p| strip(phrase, p))
}

fn strip_end<'a>(phrase: Words<'a>, suffix: &str) -> Option<Words<'a>> {
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
    fn set(&self, phrase: Words<'_>, it: Option<usize>) -> Option<Set> {
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
    fn place(&self, clause: Words<'_>, it: Option<usize>) -> Option<Set> {
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
    fn one(&self, phrase: Words<'_>) -> Option<usize> {
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
    fn named_part(&self, phrase: Words<'_>) -> Option<&Part> {
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
fn splits<'p>(phrase: Words<'p>, at: &str) -> Vec<(Words<'p>, Words<'p>)> {
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

type Rule = fn(&Objects, Words<'_>) -> Option<Answer>;

static RULES: &[(&str, Rule)] = &[
    ("compare_counts", compare_counts),
    ("count", count),
    ("exist", exist),
    ("compare_attribute", compare_attribute),
    ("query_part", query_part),
    ("query", query),
];

/// The question with its answer, where a rule of the language fits all of its words.
pub(crate) fn understand(scene: &Objects, question: &str) -> Option<Question> {
    let ends_well = question.trim_end().ends_with('?');
    let all = words(question);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (name, answer) = RULES
        .iter()
        .find_map(|(name, rule)| Some((*name, rule(scene, &all)?)))?;
    let mut made = read::<String, 0>(name, answer, []);
    let forms = reworded(&all);
    if ends_well && forms.len() > 1 {
        // Only those are kept that are read back to the same answer.
        made.forms = forms
            .into_iter()
            .filter(|form| {
                let form = words(form);
                let form: Vec<&str> = form.iter().map(String::as_str).collect();
                RULES
                    .iter()
                    .find_map(|(_, rule)| rule(scene, &form))
                    .as_ref()
                    == Some(&made.answer)
            })
            .collect();
        made.concise = made.forms.pop().unwrap_or_default();
    }
    Some(made)
}

/// The same question in other words, the last in the fewest.
fn reworded(all: Words<'_>) -> Vec<String> {
    const WORDS: [(&str, &str); 7] = [
        ("tiny", "small"),
        ("big", "large"),
        ("shiny", "metal"),
        ("metallic", "metal"),
        ("matte", "rubber"),
        ("object", "thing"),
        ("objects", "things"),
    ];
    let other = |word: &str| {
        let pair = WORDS.iter().find_map(|(a, b)| match word {
            w if w == *a => Some(*b),
            w if w == *b => Some(*a),
            _ => None,
        });
        pair.unwrap_or(word).to_owned()
    };
    let sentence = |words: Vec<String>| {
        let mut text = words.join(" ");
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        format!("{text}?")
    };
    let same = |words: Words<'_>| sentence(words.iter().map(|w| (*w).to_owned()).collect());
    let changed = sentence(all.iter().map(|w| other(w)).collect());
    let brief: Vec<&str> = all
        .iter()
        .enumerate()
        .filter(|(i, w)| {
            let next = all.get(i + 1).copied().unwrap_or_default();
            let before = i.checked_sub(1).map_or("", |j| all[j]);
            let is_link = |a: &str, b: &str| a == "that" && matches!(b, "is" | "are");
            !(is_link(w, next) || is_link(before, w))
        })
        .map(|(_, w)| *w)
        .collect();
    let opened = match strip(all, "how many") {
        Some(rest) => Some(same(&[&["what", "number", "of"], rest].concat())),
        None => strip(all, "what number of").map(|rest| same(&[&["how", "many"], rest].concat())),
    };
    let mut forms: Vec<String> = opened.into_iter().chain([changed]).collect();
    forms.push(same(&brief));
    let original = same(all);
    forms.retain(|f| *f != original);
    forms
}

fn compare_counts(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    let count = |phrase: Words<'_>| Some(scene.set(phrase, None)?.len());
    let both = |rest: Words<'_>, at: &str, is: fn(usize, usize) -> bool| {
        splits(rest, at)
            .into_iter()
            .find_map(|(a, b)| Some(yes(is(count(a)?, count(b)?))))
    };
    if let Some(rest) = strip(all, "is the number of") {
        return both(rest, "the same as the number of", |a, b| a == b)
            .or_else(|| both(rest, "less than the number of", |a, b| a < b))
            .or_else(|| both(rest, "greater than the number of", |a, b| a > b));
    }
    if let Some(rest) = strip(all, "are there more") {
        return both(rest, "than", |a, b| a > b);
    }
    if let Some(rest) = strip(all, "are there fewer") {
        return both(rest, "than", |a, b| a < b);
    }
    let rest = strip_first(
        all,
        &[
            "are there the same number of",
            "are there an equal number of",
        ],
    )?;
    both(rest, "and", |a, b| a == b)
}

impl Objects {
    /// `There is a THING; ..`: the thing, and what is asked about it.
    fn introduced<'p>(&self, all: Words<'p>) -> Option<(usize, Words<'p>)> {
        let rest = strip_first(all, &["there is a", "there is an"])?;
        (1..rest.len()).find_map(|i| {
            let opens = ["is", "are", "how", "what", "does"];
            let it = opens.contains(&rest[i]).then(|| self.one(&rest[..i]))??;
            Some((it, &rest[i..]))
        })
    }
}

fn count(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    let (it, all) = match scene.introduced(all) {
        Some((it, rest)) => (Some(it), rest),
        None => (None, all),
    };
    let rest = strip_first(all, &["how many", "what number of"])?;
    // "are there": at the end, or between the noun and its clause.
    let whole = strip_end(rest, "are there");
    if let Some(set) = whole.and_then(|phrase| scene.set(phrase, it)) {
        return Some(int(set.len()));
    }
    let without = |words: &[&str]| -> Vec<Vec<String>> {
        splits(rest, &words.join(" "))
            .into_iter()
            .map(|(a, b)| a.iter().chain(b).map(|w| (*w).to_owned()).collect())
            .collect()
    };
    let mut readings = vec![rest.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()];
    readings.extend(without(&["are", "there"]));
    readings.extend(without(&["are"]));
    readings.iter().find_map(|reading| {
        let words: Vec<&str> = reading.iter().map(String::as_str).collect();
        Some(int(scene.set(&words, it)?.len()))
    })
}

fn exist(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    let (it, all) = match scene.introduced(all) {
        Some((it, rest)) => (Some(it), rest),
        None => (None, all),
    };
    if let Some(rest) = strip(all, "is there anything else") {
        return Some(yes(!scene.place(rest, it)?.is_empty()));
    }
    let rest = strip_first(
        all,
        &[
            "are there any",
            "is there any",
            "is there a",
            "is there an",
            "is there",
        ],
    )?;
    Some(yes(!scene.set(rest, it)?.is_empty()))
}

fn same_as(scene: &Objects, a: usize, b: usize, name: &str) -> Option<Answer> {
    let attribute = attribute(name)?;
    let [a, b] = [a, b].map(|i| scene.objects[i].attribute(attribute));
    Some(yes(a == b))
}

fn compare_attribute(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    // "Do A and B have the same size", "Are A and B made of the same material".
    if let Some(rest) = strip_first(all, &["do the", "are the"]) {
        let (name, rest) = rest.split_last()?;
        let pair = strip_end(rest, "have the same")
            .or_else(|| strip_end(rest, "made of the same"))
            .or_else(|| strip_end(rest, "the same"))?;
        return splits(pair, "and the")
            .into_iter()
            .find_map(|(a, b)| same_as(scene, scene.one(a)?, scene.one(b)?, name));
    }
    const LINKS: [&str; 3] = ["have the same", "made of the same", "the same"];
    // "There is A; does it have the same size as B", ".. is its size the same as B".
    if let Some((it, rest)) = scene.introduced(all) {
        if let Some([name, rest @ ..]) = strip_first(rest, &["is its"]) {
            return same_as(scene, it, scene.one(strip(rest, "the same as the")?)?, name);
        }
        let rest = strip_first(rest, &["does it", "is it"])?;
        let [name, rest @ ..] = strip_first(rest, &LINKS)? else {
            return None;
        };
        return same_as(scene, it, scene.one(strip(rest, "as the")?)?, name);
    }
    // "Is the size of A the same as B".
    if let Some([name, rest @ ..]) = strip(all, "is the")
        && attribute(name).is_some()
    {
        let rest = strip(rest, "of the")?;
        return splits(rest, "the same as the")
            .into_iter()
            .find_map(|(a, b)| same_as(scene, scene.one(a)?, scene.one(b)?, name));
    }
    // "Does A have the same size as B", "Is A the same size as B".
    let rest = strip_first(all, &["does the", "is the"])?;
    LINKS.iter().find_map(|link| {
        splits(rest, link).into_iter().find_map(|(a, b)| {
            let (name, b) = b.split_first()?;
            same_as(scene, scene.one(a)?, scene.one(strip(b, "as the")?)?, name)
        })
    })
}

fn query(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    let told = |object: usize, attribute: Attribute| {
        Some(word(scene.objects.get(object)?.attribute(attribute)))
    };
    if let Some((it, rest)) = scene.introduced(all) {
        let asked = match rest {
            ["what", "is", "its", name] | ["what", name, "is", "it"] => attribute(name)?,
            ["how", "big", "is", "it"] => Attribute::Size,
            ["what", "is", "it", "made", "of"] => Attribute::Material,
            _ => return None,
        };
        return told(it, asked);
    }
    if let Some(rest) = strip(all, "how big is the") {
        return told(scene.one(rest)?, Attribute::Size);
    }
    if let Some(rest) = strip(all, "what is the") {
        if let Some((name, rest)) = rest.split_first()
            && let Some(rest) = strip(rest, "of the")
        {
            let asked = if *name == "name" {
                Attribute::Shape
            } else {
                attribute(name)?
            };
            return told(scene.one(rest)?, asked);
        }
        return told(scene.one(strip_end(rest, "made of")?)?, Attribute::Material);
    }
    if let Some([name, "is", "the", rest @ ..]) = strip_any(all, &["what"]) {
        return told(scene.one(rest)?, attribute(name)?);
    }
    // "The big thing is what colour".
    let rest = strip_any(all, &["the"])?;
    let (name, rest) = rest.split_last()?;
    let rest = strip_end(rest, "is what")
        .or_else(|| strip_end(rest, "has what"))
        .or_else(|| strip_end(rest, "is made of what"))?;
    told(scene.one(rest)?, attribute(name)?)
}

fn query_part(scene: &Objects, all: Words<'_>) -> Option<Answer> {
    let rest = strip(all, "what is the")?;
    let (name, rest) = rest.split_first()?;
    let part = scene.named_part(strip_any(rest, &["of"])?)?;
    Some(word(match *name {
        "color" | "colour" => part.color.as_str(),
        "material" => part.material.as_str(),
        "name" => part.name.as_str(),
        _ => return None,
    }))
}
