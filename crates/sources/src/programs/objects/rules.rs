//! The forms of questions about objects: counting, comparing, existence, attributes.

use sample::Answer;

use super::grammar::{Words, attribute, splits, strip, strip_any, strip_end, strip_first};
use super::{Attribute, Objects};
use crate::figures::question::{Question, int, read, word, yes};
use crate::programs::wording::words;

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
