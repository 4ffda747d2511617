//! Checks of form: whether a teacher's pair can become a sample.
//!
//! These look at the words alone: lengths, a choice among the choices, a question that was not
//! asked before, and for kinds whose answer is inherited, that it is still the old one. Whether an
//! answer is true is another matter.

use sample::{Answer, Sample, printed};

use crate::augmentation::Augmentation;
use crate::reply::Pair;

/// The paper's bound on answers in words.
const MAX_ANSWER_WORDS: usize = 10;
/// Longer words than these ten can have are no answer either, in bytes.
const MAX_ANSWER_BYTES: usize = 200;
/// Shorter is no question, in characters.
const MIN_QUESTION: usize = 3;
/// Longer is an essay, in characters: the longest published questions have some 500.
const MAX_QUESTION: usize = 800;
/// The letters there are to answer with.
const MAX_CHOICES: usize = 26;

/// Why a pair is rejected: a short fixed word, and the exact trouble.
pub type Fault = (&'static str, String);

/// What a pair becomes: the parts of a sample that the teacher settles.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The question.
    pub question: String,
    /// Its choices.
    pub choices: Vec<String>,
    /// The answer.
    pub answer: Answer,
    /// The unit.
    pub unit: Option<String>,
    /// The form of the question.
    pub template: Option<String>,
}

/// Checks a pair made from `parent`. `asked` holds the [`same`] forms of the questions already
/// asked about the image.
pub fn check(
    augmentation: &dyn Augmentation,
    parent: &Sample,
    pair: &Pair,
    asked: &[String],
) -> Result<Checked, Fault> {
    let question = pair
        .question
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let length = question.chars().count();
    if length < MIN_QUESTION {
        return Err(("question_too_short", format!("{question:?}")));
    }
    if length > MAX_QUESTION {
        return Err((
            "question_too_long",
            format!("{length} characters, over {MAX_QUESTION}"),
        ));
    }
    // Either would be read as part of the prompt in training.
    if question.contains("<image>") || question.contains(char::is_control) {
        return Err(("question_has_markup", format!("{question:?}")));
    }
    let normal = same(&question);
    if normal.is_empty() {
        return Err(("question_too_short", format!("{question:?} has no words")));
    }
    if normal == same(&parent.question) {
        return Err((
            "same_as_original",
            format!("{question:?} is the question it was made from"),
        ));
    }
    if asked.contains(&normal) {
        return Err((
            "same_as_sibling",
            format!("{question:?} is asked of this image already"),
        ));
    }
    if augmentation.inherits_answer() {
        return inherited(parent, pair, question);
    }
    let choices = checked_choices(&pair.choices)?;
    let printed = pair.answer.as_deref().unwrap_or_default();
    let unit = pair
        .unit
        .as_deref()
        .map(str::trim)
        .filter(|u| !u.is_empty() && *u != "-");
    let answer = typed(printed, &choices, unit)?;
    Ok(Checked {
        question,
        choices,
        answer,
        unit: unit.map(str::to_owned),
        template: pair.form.clone(),
    })
}

/// The pair with its parent's answer, where the teacher gave no other.
fn inherited(parent: &Sample, pair: &Pair, question: String) -> Result<Checked, Fault> {
    if !pair.choices.is_empty() {
        let (mut old, mut new) = (parent.choices.clone(), pair.choices.clone());
        old.sort();
        new.sort();
        if old != new {
            let detail = format!("{:?} in place of {:?}", pair.choices, parent.choices);
            return Err(("choices_changed", detail));
        }
    }
    if let Some(printed) = &pair.answer {
        // The teacher may have put the choices in another order: its letter is one of its own.
        let choices = if pair.choices.is_empty() {
            &parent.choices
        } else {
            &pair.choices
        };
        let unit = pair.unit.as_deref().or(parent.unit.as_deref());
        let answer = typed(printed, choices, unit).map_err(|(_, detail)| {
            (
                "answer_changed",
                format!(
                    "{printed:?} in place of {:?}: {detail}",
                    parent.answer_value()
                ),
            )
        })?;
        let value = value(&answer, choices);
        if !equal(&value, &parent.answer_value()) {
            let detail = format!("{value:?} in place of {:?}", parent.answer_value());
            return Err(("answer_changed", detail));
        }
    }
    Ok(Checked {
        question,
        choices: parent.choices.clone(),
        answer: parent.answer.clone(),
        unit: parent.unit.clone(),
        template: pair.form.clone().or_else(|| parent.template.clone()),
    })
}

fn checked_choices(choices: &[String]) -> Result<Vec<String>, Fault> {
    if choices.len() == 1 || choices.len() > MAX_CHOICES {
        return Err(("choices_count", format!("{} choices", choices.len())));
    }
    for (i, choice) in choices.iter().enumerate() {
        if choice.is_empty() {
            return Err(("choice_empty", format!("{choices:?}")));
        }
        if choices[..i].contains(choice) {
            return Err(("choice_twice", format!("{choice:?} in {choices:?}")));
        }
    }
    Ok(choices.to_vec())
}

/// A printed answer in the type it is scored in.
pub(crate) fn typed(text: &str, choices: &[String], unit: Option<&str>) -> Result<Answer, Fault> {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text).trim_end();
    if text.is_empty() {
        return Err(("answer_missing", "there is no answer".into()));
    }
    if !choices.is_empty() {
        return choice(text, choices).map(Answer::Choice).ok_or_else(|| {
            (
                "choice_invalid",
                format!("{text:?} is neither the letter nor the text of one of {choices:?}"),
            )
        });
    }
    let words = text.split_whitespace().count();
    if words > MAX_ANSWER_WORDS || text.len() > MAX_ANSWER_BYTES {
        return Err((
            "answer_too_long",
            format!("{words} words, {} bytes: {text:.60}", text.len()),
        ));
    }
    // "5 cm" where the unit is given apart as "cm".
    let bare = unit
        .and_then(|unit| text.strip_suffix(unit))
        .map(str::trim_end);
    let number = bare.and_then(printed::number);
    Ok(number.unwrap_or_else(|| printed::answer(text)))
}

/// The index of the choice that `text` names by letter (`B`, `(B)`, `B. two`, `(B) two`) or by text.
/// A bare letter is a letter even where a choice's text is one too: the reply form asks for it.
fn choice(text: &str, choices: &[String]) -> Option<usize> {
    by_letter(text, choices).or_else(|| choices.iter().position(|c| c == text))
}

fn by_letter(text: &str, choices: &[String]) -> Option<usize> {
    let mut rest = text.strip_prefix('(').unwrap_or(text).chars();
    let letter = rest.next().filter(char::is_ascii_uppercase)?;
    let index = letter as usize - 'A' as usize;
    let marked = rest.as_str().starts_with([')', '.', ':']);
    let named = rest.as_str().trim_start_matches([')', '.', ':']).trim();
    let choice = choices.get(index)?;
    (named.is_empty() || (marked && equal(named, choice))).then_some(index)
}

/// Whether two printed answers say the same: numbers by value, expressions by what they are worth,
/// words by letters and digits.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    sample::equality::equal(a, b)
}

/// An answer's text, or that of the choice it names.
pub(crate) fn value(answer: &Answer, choices: &[String]) -> String {
    match answer {
        Answer::Choice(i) => choices.get(*i).cloned().unwrap_or_default(),
        other => other.text(),
    }
}

/// A question's letters and digits in lower case: two questions with the same are the same. Signs
/// that carry meaning in mathematics stay.
pub fn same(question: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || "+-*/=<>^%$\u{d7}\u{f7}\u{2212}".contains(c);
    let words = question
        .split_whitespace()
        .map(|word| {
            word.chars()
                .filter(|c| kept(*c))
                .flat_map(char::to_lowercase)
                .collect::<String>()
        })
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::find;
    use crate::tests::sample;

    fn parent() -> Sample {
        Sample {
            question: "Which bar is the tallest?".into(),
            choices: vec!["red".into(), "blue".into(), "green".into()],
            answer: Answer::Choice(1),
            template: Some("bar/tallest".into()),
            ..sample("a:1", "a/1.png")
        }
    }

    fn pair(question: &str, choices: &[&str], answer: &str) -> Pair {
        Pair {
            question: question.into(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
            answer: (!answer.is_empty()).then(|| answer.to_owned()),
            ..Pair::default()
        }
    }

    fn reason(kind: &str, pair: &Pair) -> &'static str {
        let asked = [same("How many bars are there?")];
        match check(find(kind).unwrap(), &parent(), pair, &asked) {
            Ok(_) => "fine",
            Err((reason, detail)) => {
                assert!(!detail.is_empty());
                reason
            }
        }
    }

    #[test]
    fn new_answers_get_a_type_or_a_reason() {
        let long = "one two three four five six seven eight nine ten eleven";
        let cases = [
            (pair("How many are red?", &[], "3"), "fine"),
            (pair("How many are red?", &[], ""), "answer_missing"),
            (pair("How many are red?", &[], "."), "answer_missing"),
            (pair("How many are red?", &[], long), "answer_too_long"),
            (
                pair("How many are red?", &[], &"x".repeat(201)),
                "answer_too_long",
            ),
            (pair("What is it?", &["x", "y"], "C"), "choice_invalid"),
            (pair("What is it?", &["x", "y"], "z"), "choice_invalid"),
            (pair("What is it?", &["x"], "A"), "choices_count"),
            (pair("What is it?", &["x", "x"], "A"), "choice_twice"),
            (pair("What is it?", &["x", ""], "A"), "choice_empty"),
            (pair("?", &[], "3"), "question_too_short"),
            (pair("???", &[], "3"), "question_too_short"),
            (pair(&"why ".repeat(300), &[], "3"), "question_too_long"),
            (pair("<image> How many?", &[], "3"), "question_has_markup"),
            (
                pair("which BAR is the tallest", &[], "3"),
                "same_as_original",
            ),
            (
                pair("How many bars, are there", &[], "3"),
                "same_as_sibling",
            ),
        ];
        for (pair, expected) in cases {
            assert_eq!(reason("askimg", &pair), expected, "{pair:?}");
            assert_eq!(reason("compq", &pair), expected, "{pair:?}");
        }
    }

    #[test]
    fn an_inherited_answer_must_be_the_old_one() {
        for (choices, answer, expected) in [
            (&[][..], "B", "fine"),
            (&[], "blue", "fine"),
            (&[], "(B) blue", "fine"),
            (&[], "", "fine"),
            (&["blue", "red", "green"], "A", "fine"),
            (&["blue", "red", "green"], "B", "answer_changed"),
            (&[], "C", "answer_changed"),
            (&[], "the blue one", "answer_changed"),
            (&["blue", "red"], "A", "choices_changed"),
        ] {
            for kind in ["rephq", "simpq"] {
                let pair = pair("Name the tallest bar.", choices, answer);
                assert_eq!(
                    reason(kind, &pair),
                    expected,
                    "{kind} {choices:?} {answer:?}"
                );
            }
        }
        let pair = pair("Name the tallest bar.", &["blue", "red", "green"], "A");
        let checked = check(find("rephq").unwrap(), &parent(), &pair, &[]).unwrap();
        assert_eq!(
            (checked.choices, checked.answer),
            (parent().choices, Answer::Choice(1))
        );
        assert_eq!(checked.template.as_deref(), Some("bar/tallest"));
    }

    #[test]
    fn answers_are_read_as_they_are_scored() {
        let choices = ["two".to_owned(), "three".to_owned()];
        for (text, expected) in [
            ("B", 1),
            ("(B)", 1),
            ("B.", 1),
            ("(A) two", 0),
            ("A: Two", 0),
            ("three", 1),
        ] {
            assert_eq!(
                typed(text, &choices, None),
                Ok(Answer::Choice(expected)),
                "{text}"
            );
        }
        for text in ["b", "Blue", "(A) three", "B three four", "4"] {
            assert!(typed(text, &choices, None).is_err(), "{text}");
        }
        let letters = ["B".to_owned(), "A".to_owned()];
        assert_eq!(typed("A", &letters, None), Ok(Answer::Choice(0)));
        assert_eq!(typed("5 cm.", &[], Some("cm")), Ok(Answer::Integer(5)));
        assert_eq!(
            typed("2.50", &[], None),
            Ok(Answer::Decimal {
                value: 2.5,
                places: 2
            })
        );
        assert_eq!(typed("Yes.", &[], None), Ok(Answer::Text("yes".into())));
    }

    proptest::proptest! {
        #[test]
        fn no_pair_makes_the_checks_panic(
            question: String, choices: Vec<String>, answer: Option<String>, unit: Option<String>,
        ) {
            let pair = Pair { question, choices, answer, unit, form: None };
            for kind in crate::AUGMENTATIONS {
                if let Ok(checked) = check(kind, &parent(), &pair, &[])
                    && let Answer::Choice(i) = checked.answer
                {
                    proptest::prop_assert!(i < checked.choices.len());
                }
            }
        }
    }
}
