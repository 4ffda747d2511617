//! Checks of what a new question must keep or must not say, from its words alone.
//!
//! They are conservative: each rejects only what is very likely wrong, since agreement and proofs come
//! after. A question that states its own answer teaches nothing; one in another language, without a
//! number of the original, or asking for another kind of thing, does not have the answer it inherits.

use std::collections::BTreeSet;

use sample::{Sample, equality};

use crate::near::ideograph;

/// Why a question is rejected: a short fixed word, and the exact trouble.
pub type Fault = (&'static str, String);

/// What must become of the numbers of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// All are there, with their units: the question is reworded.
    AllKept,
    /// No others are there: the question is shortened.
    NoneAdded,
}

/// Phrases after which an answer is given away, whatever it is.
const GIVEAWAYS: &[&str] = &[
    "the answer is",
    "answer is",
    "answer:",
    "correct answer",
    "答案是",
    "答案为",
];
/// Letters that a language is told by.
const MIN_LETTERS: usize = 6;
/// Share of ideographs from which a text is in such a language: questions of geometry in Chinese
/// are full of Latin letters.
const IDEOGRAPHS: f64 = 0.2;
/// Shared content words below which a question with other numbers is another question.
const MIN_OVERLAP: f64 = 0.15;

/// Words, numbers in figures included, in lower case and in order.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let chars: Vec<char> = lower.chars().collect();
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    let mut words = vec![String::new()];
    let mut figures = false;
    for (at, c) in chars.iter().enumerate() {
        let inner = at > 0 && digit(chars.get(at - 1)) && digit(chars.get(at + 1));
        let joined = (c.is_alphanumeric() && !ideograph(*c)) || (matches!(c, '.' | ',') && inner);
        // `5cm` is a number and a unit, `3rd` stays together until it is read.
        let breaks = figures && c.is_alphabetic();
        figures = c.is_ascii_digit() || (joined && figures && !c.is_alphabetic());
        if breaks || !joined {
            words.push(String::new());
        }
        if (joined || ideograph(*c) || "%$\u{20ac}\u{a3}\u{b0}".contains(*c))
            && let Some(word) = words.last_mut()
        {
            word.push(*c);
        }
        if !joined {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_figure(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether `part` stands in `whole`, word for word.
fn contains(whole: &[String], part: &[String]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|run| run == part)
}

/// Whether the question offers alternatives, one of which must be the answer.
fn offers(question: &[String], raw: &str) -> bool {
    let offer = ["or", "between", "among", "versus", "vs", "than", "from"];
    question.iter().any(|word| offer.contains(&word.as_str()))
        || ["还是", "或", "之间", "哪"]
            .iter()
            .any(|word| raw.contains(word))
}

/// The new question must not state its own answer: not after "the answer is", and where the answer
/// is a number of two or more digits or a word of four or more letters, not at all. What the
/// original question gives, what choices list, alternatives (`red or blue?`), yes and no are free.
pub fn answer_leaked(
    parent: &Sample,
    question: &str,
    choices: &[String],
    answer: &str,
) -> Result<(), Fault> {
    let fault = || ("answer_leaked", format!("{answer:?} in {question:?}"));
    let (asked, given) = (words(question), words(answer));
    if given.is_empty() {
        return Ok(());
    }
    let lower = question.to_lowercase();
    for giveaway in GIVEAWAYS {
        if let Some((_, after)) = lower.split_once(giveaway) {
            let after: Vec<String> = words(after).into_iter().take(given.len() + 1).collect();
            if contains(&after, &given) {
                return Err(fault());
            }
        }
    }
    let answer_word = given.join(" ");
    let plain = ["yes", "no", "true", "false", "是", "否", "不是"];
    if !choices.is_empty() || plain.contains(&answer_word.as_str()) || offers(&asked, question) {
        return Ok(());
    }
    let known = words(&parent.question);
    let leaked = if given.len() == 1 && is_figure(&given[0]) {
        let figures = given[0].bytes().filter(u8::is_ascii_digit).count();
        let says = |words: &[String]| {
            let same = |w: &&String| is_figure(w) && equality::equal(w, &given[0]);
            words.iter().find(same).is_some()
        };
        figures > 1 && says(&asked) && !says(&known)
    } else {
        let letters = answer_word.chars().filter(|c| c.is_alphabetic()).count();
        let wide = answer_word.chars().filter(|c| ideograph(*c)).count();
        (letters > 3 || wide > 1) && contains(&asked, &given) && !contains(&known, &given)
    };
    if leaked { Err(fault()) } else { Ok(()) }
}

/// Function words that tell languages in Latin script apart.
const FUNCTION_WORDS: &[(&str, &[&str])] = &[
    (
        "English",
        &[
            "the", "what", "is", "are", "of", "how", "many", "which", "and", "does", "there",
            "than", "find", "with", "if",
        ],
    ),
    (
        "French",
        &[
            "le", "la", "les", "quel", "quelle", "est", "sont", "des", "du", "combien", "dans",
            "une", "et", "que", "avec",
        ],
    ),
    (
        "German",
        &[
            "der", "die", "das", "ist", "sind", "wie", "viele", "welche", "welcher", "und", "den",
            "im", "von", "ein", "wenn",
        ],
    ),
    (
        "Spanish",
        &[
            "el",
            "los",
            "las",
            "cu\u{e1}l",
            "cu\u{e1}ntos",
            "cu\u{e1}ntas",
            "es",
            "son",
            "del",
            "en",
            "una",
            "qu\u{e9}",
            "y",
            "con",
            "por",
        ],
    ),
];

/// The script of a text, and in Latin its language where several function words tell it.
fn language(text: &str) -> Option<&'static str> {
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).collect();
    let share = |of: fn(char) -> bool| {
        letters.iter().filter(|c| of(**c)).count() as f64 / letters.len().max(1) as f64
    };
    let wide = letters.iter().filter(|c| ideograph(**c)).count();
    if wide > 1 && share(ideograph) >= IDEOGRAPHS {
        return Some("ideographs");
    }
    if letters.len() < MIN_LETTERS {
        return None;
    }
    let latin = |c: char| c.is_ascii() || ('\u{c0}'..='\u{24f}').contains(&c);
    type Script = (&'static str, fn(char) -> bool);
    let scripts: [Script; 4] = [
        ("Cyrillic", |c| ('\u{400}'..='\u{52f}').contains(&c)),
        ("Greek", |c| ('\u{370}'..='\u{3ff}').contains(&c)),
        ("Arabic", |c| ('\u{600}'..='\u{6ff}').contains(&c)),
        ("Devanagari", |c| ('\u{900}'..='\u{97f}').contains(&c)),
    ];
    if let Some((name, _)) = scripts.iter().find(|(_, of)| share(*of) > 0.5) {
        return Some(name);
    }
    if share(latin) <= 0.5 {
        return None;
    }
    let words: BTreeSet<String> = words(text).into_iter().collect();
    let mut hits: Vec<(usize, &str)> = FUNCTION_WORDS
        .iter()
        .map(|(name, of)| (of.iter().filter(|w| words.contains(**w)).count(), *name))
        .collect();
    hits.sort_unstable();
    match hits.as_slice() {
        [.., (second, _), (first, name)] if *first >= 3 && *first > 2 * second => Some(name),
        _ => Some("Latin"),
    }
}

/// The new question must be in the language of the original, as far as script and function words
/// tell.
pub fn language_kept(parent: &Sample, question: &str) -> Result<(), Fault> {
    let (Some(old), Some(new)) = (language(&parent.question), language(question)) else {
        return Ok(());
    };
    // "Latin" is any language written in it.
    let in_latin = |name: &str| name == "Latin" || FUNCTION_WORDS.iter().any(|(n, _)| *n == name);
    let undecided = (old == "Latin" && in_latin(new)) || (new == "Latin" && in_latin(old));
    if old == new || undecided {
        return Ok(());
    }
    Err((
        "language_changed",
        format!("{new} in place of {old}: {question:?}"),
    ))
}

const ORDINALS: &[&str] = &[
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
];
const WIDE: &[&str] = &["一", "二", "三", "四", "五", "六", "七", "八", "九", "十"];

/// A number in a text: its figures, and the known unit beside it.
#[derive(Debug, PartialEq)]
struct Quantity {
    figures: String,
    unit: Option<&'static str>,
    /// In figures, not in words; `one` and `two` are often no numbers.
    printed: bool,
}

fn quantities(text: &str) -> Vec<Quantity> {
    let words = words(text);
    let in_words = |word: &str| {
        let lists = [&equality::NUMBER_WORDS[1..], ORDINALS, WIDE];
        let at = lists
            .iter()
            .find_map(|list| list.iter().position(|w| *w == word))
            .or_else(|| (word == "twenty").then_some(19));
        at.map(|n| (n + 1).to_string())
    };
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let (figures, printed) = if is_figure(word) {
            (word.clone(), true)
        } else if let Some(figures) = in_words(word) {
            (figures, false)
        } else {
            continue;
        };
        let before = at.checked_sub(1).and_then(|i| words.get(i));
        let currency = before.filter(|w| "$\u{20ac}\u{a3}".contains(w.as_str()));
        // Letters alone name points and variables as often as units.
        let after = words
            .get(at + 1)
            .filter(|w| w.len() > 1 || !w.is_ascii() || *w == "%");
        let unit = currency.or(after).and_then(|w| equality::unit(w));
        found.push(Quantity {
            figures,
            unit,
            printed,
        });
    }
    found
}

/// The numbers of the original must be in the new question, each with its unit, in any printed form;
/// or, where it is shortened, there must be no new ones. Numbers of the choices are known.
pub fn numbers_kept(parent: &Sample, question: &str, rule: Numbers) -> Result<(), Fault> {
    let (old, new) = (quantities(&parent.question), quantities(question));
    let has = |all: &[Quantity], one: &Quantity| {
        all.iter()
            .any(|q| equality::equal(&q.figures, &one.figures))
    };
    match rule {
        Numbers::AllKept => {
            for quantity in old.iter().filter(|q| q.printed) {
                if !has(&new, quantity) {
                    let detail = format!("{} is not in {question:?}", quantity.figures);
                    return Err(("number_lost", detail));
                }
                // The unit may stand elsewhere: "the lengths in cm are 3 and 5".
                let mentioned = |unit: &str| {
                    words(question)
                        .iter()
                        .any(|w| equality::unit(w) == Some(unit))
                };
                if let Some(unit) = quantity.unit
                    && !mentioned(unit)
                {
                    let detail = format!(
                        "{} {unit} without its unit in {question:?}",
                        quantity.figures
                    );
                    return Err(("unit_lost", detail));
                }
            }
        }
        Numbers::NoneAdded => {
            let listed = quantities(&parent.choices.join("; "));
            let added = new.iter().filter(|q| q.printed);
            if let Some(quantity) = added
                .into_iter()
                .find(|q| !has(&old, q) && !has(&listed, q))
            {
                let detail = format!("{} in {question:?}", quantity.figures);
                return Err(("number_added", detail));
            }
        }
    }
    Ok(())
}

/// Words that say nothing of what is asked.
const STOP_WORDS: &[&str] = &[
    "the",
    "a",
    "an",
    "of",
    "in",
    "on",
    "at",
    "to",
    "for",
    "from",
    "by",
    "with",
    "and",
    "or",
    "is",
    "are",
    "was",
    "were",
    "be",
    "do",
    "does",
    "did",
    "has",
    "have",
    "had",
    "can",
    "could",
    "will",
    "would",
    "what",
    "which",
    "who",
    "whom",
    "where",
    "when",
    "why",
    "how",
    "this",
    "that",
    "these",
    "those",
    "there",
    "it",
    "its",
    "you",
    "me",
    "please",
    "image",
    "figure",
    "picture",
    "diagram",
    "shown",
    "show",
    "tell",
    "find",
    "determine",
    "calculate",
    "given",
    "based",
    "according",
    "many",
    "much",
    "number",
    "value",
];

/// What a question is about: its words without endings and function words.
fn content(text: &str) -> BTreeSet<String> {
    let endings = ["ing", "est", "ed", "es", "er", "s"];
    let stem = |word: &str| {
        let cut = endings
            .iter()
            .find_map(|e| word.strip_suffix(e).filter(|w| w.len() > 2));
        cut.unwrap_or(word).to_owned()
    };
    let of = words(text);
    let kept = of
        .iter()
        .filter(|w| !STOP_WORDS.contains(&w.as_str()) && !is_figure(w));
    kept.map(|word| stem(word)).collect()
}

/// Whether the question can be answered by yes or no; `None` where its words do not tell.
fn asks_yes_or_no(question: &str) -> Option<bool> {
    let words = words(question);
    let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    let verbs = [
        "is", "are", "was", "were", "do", "does", "did", "has", "have", "isn", "aren",
    ];
    if has(&["whether", "true", "yes", "or", "if", "correct", "not"]) {
        return None;
    }
    let asks = has(&[
        "what", "which", "who", "where", "when", "why", "how", "whose",
    ]);
    match words.first() {
        Some(first) if verbs.contains(&first.as_str()) && !asks => Some(true),
        Some(first)
            if [
                "what", "which", "who", "where", "when", "why", "how", "whose",
            ]
            .contains(&first.as_str()) =>
        {
            Some(false)
        }
        _ => None,
    }
}

/// A reworded question must still ask for the same kind of thing: not for yes or no where the answer
/// is neither, nor the reverse; and not, with other numbers, about other things altogether.
pub fn not_another_question(parent: &Sample, question: &str) -> Result<(), Fault> {
    let answer = parent.answer_value().to_lowercase();
    let yes_or_no = ["yes", "no", "true", "false"].contains(&answer.trim());
    if let (Some(old), Some(new)) = (asks_yes_or_no(&parent.question), asks_yes_or_no(question))
        && old != new
        && old == yes_or_no
    {
        let wants = if new {
            "asks for yes or no"
        } else {
            "does not ask for yes or no"
        };
        return Err(("asks_another_thing", format!("{question:?} {wants}")));
    }
    let (old, new) = (content(&parent.question), content(question));
    let least = old.len().min(new.len());
    let common = old.intersection(&new).count();
    let figures = |text: &str| -> BTreeSet<String> {
        let printed = quantities(text).into_iter().filter(|q| q.printed);
        printed.map(|q| q.figures).collect()
    };
    let other_numbers = figures(&parent.question) != figures(question);
    if least > 2 && other_numbers && (common as f64) < MIN_OVERLAP * least as f64 {
        let detail = format!(
            "{question:?} shares {common} words with {:?}",
            parent.question
        );
        return Err(("asks_another_thing", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
