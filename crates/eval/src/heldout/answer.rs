//! When an extracted answer is right.
//!
//! Exact and numeric match by the answer's kind: an option by its letter or its full text, a whole
//! number by value, a decimal at the places the question asks for, a list element by element in
//! order, words whatever their case and spacing. Text is compared, never evaluated, and work is
//! bounded by the text's length.

use sample::{Answer, Sample};

use super::number::{Number, fixed};

/// No right answer is longer, in bytes; longer text is wrong unread.
const LONGEST: usize = 4096;

/// Whether `text` answers `item` rightly.
pub fn matches(item: &Sample, text: &str) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let unit = item.unit.as_deref();
    match &item.answer {
        Answer::Choice(index) => choice(&item.choices, *index, text),
        Answer::Integer(n) => {
            Number::parse(text).is_some_and(|x| x.is_integer(*n) && x.unit_fits(unit))
        }
        Answer::Decimal { value, places } => Number::parse(text)
            .is_some_and(|x| x.rounded(*places) == fixed(*value, *places) && x.unit_fits(unit)),
        Answer::List(items) => list(items, text),
        Answer::Text(wanted) => words(wanted, text, unit),
    }
}

/// A letter is read as the option of that letter, whatever the options' texts are: the prompt asks
/// for letters.
fn choice(choices: &[String], right: usize, text: &str) -> bool {
    let text = text.trim();
    match lettered(text, choices.len()) {
        Some((index, "")) => index == right,
        // "(B) Elm", where letter and text must not contradict each other.
        Some((index, rest)) if same_words(rest, choices.get(index).map_or("", |c| c)) => {
            index == right
        }
        _ => choices
            .get(right)
            .is_some_and(|wanted| same_words(wanted, text)),
    }
}

/// Option letter and what follows it: `B`, `b`, `B.`, `B)`, `(B)`, `(B) Elm`, `B: Elm`.
fn lettered(text: &str, choices: usize) -> Option<(usize, &str)> {
    let (inner, bracket) = match text.strip_prefix('(') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let letter = inner.chars().next().filter(char::is_ascii_alphabetic)?;
    let index = usize::from(letter.to_ascii_uppercase() as u8 - b'A');
    let rest = &inner[1..];
    let rest = match (bracket, rest.chars().next()) {
        (true, Some(')')) | (false, Some(')' | '.' | ':')) => rest[1..].trim(),
        (false, None) => "",
        _ => return None,
    };
    (index < choices).then_some((index, rest))
}

fn list(wanted: &[String], text: &str) -> bool {
    let text = text.trim();
    let inner = [('[', ']'), ('(', ')'), ('{', '}')]
        .iter()
        .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))
        .unwrap_or(text);
    // Elements may have commas of their own ("1,200"): the split that gives the right count is
    // tried, the narrower one first.
    [", ", ",", ";", " and "].iter().any(|separator| {
        let mut found = inner.split(separator).map(str::trim);
        let mut all = wanted.iter();
        loop {
            match (all.next(), found.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if element(a, b) => {}
                // An empty list prints as "[]", which splits into one empty element.
                (None, Some("")) if wanted.is_empty() => {}
                _ => return false,
            }
        }
    })
}

fn element(wanted: &str, found: &str) -> bool {
    let found = found.trim_matches(['\'', '"']);
    words(wanted, found, None)
}

/// Words are equal whatever their case and spacing, numbers by value, and a yes or no by the first
/// word unless the other is said too.
fn words(wanted: &str, text: &str, unit: Option<&str>) -> bool {
    if same_words(wanted, text) {
        return true;
    }
    if let (Some(a), Some(b)) = (Number::parse(wanted), Number::parse(text)) {
        let asked = a.unit.as_deref().or(unit);
        return a.same_value(&b) && b.unit_fits(asked);
    }
    match yes_no(wanted) {
        Some(wanted) => yes_no(text) == Some(wanted),
        None => false,
    }
}

/// Whether the text says yes or no: with its first word, and not the other later.
fn yes_no(text: &str) -> Option<bool> {
    let mut said = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| match word.to_ascii_lowercase().as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        });
    let first = said.next()??;
    said.flatten().all(|other| other == first).then_some(first)
}

fn same_words(a: &str, b: &str) -> bool {
    let (a, b) = (plain(a), plain(b));
    !a.is_empty() && a == b
}

/// Lower case, without white space, quotation marks around it and a final full stop.
fn plain(text: &str) -> String {
    text.trim()
        .trim_end_matches('.')
        .trim_matches(['"', '\'', '“', '”', '‘', '’'])
        .chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sample::{ImageRef, Origin, Task};

    fn item(choices: &[&str], answer: Answer, unit: Option<&str>) -> Sample {
        Sample {
            id: "s:1".into(),
            image: ImageRef {
                path: "s/1.png".into(),
                sha256: "0".into(),
                width: 9,
                height: 9,
            },
            question: "?".into(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
            answer,
            unit: unit.map(str::to_owned),
            rationale: None,
            task: Task::Fqa,
            language: "en".into(),
            origin: Origin::Source {
                source: "s".into(),
                row: "1".into(),
            },
            template: None,
        }
    }

    fn check(item: &Sample, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!(
                matches(item, text),
                "{text:?} should be right for {:?}",
                item.answer
            );
        }
        for text in wrong {
            assert!(
                !matches(item, text),
                "{text:?} should be wrong for {:?}",
                item.answer
            );
        }
    }

    #[test]
    fn an_option_is_given_by_letter_or_full_text() {
        let q = item(&["Oak", "Elm", "Old Ash"], Answer::Choice(1), None);
        check(
            &q,
            &[
                "B", "b", "(B)", "B.", "B)", "(B) Elm", "B: elm", "Elm", " elm ",
            ],
            &[
                "A", "(A)", "D", "Oak", "El", "(B) Oak", "A) Elm", "Elm Oak", "", "BB", "(B", "∆",
            ],
        );
        // Options that are letters themselves: the letter names the option.
        let q = item(&["C", "B", "A"], Answer::Choice(0), None);
        check(&q, &["A", "(A)"], &["C", "B"]);
        // Fewer options than the letter needs: it can only be an option's text.
        let q = item(&["X", "Y"], Answer::Choice(1), None);
        check(&q, &["Y", "B"], &["X", "A"]);
    }

    #[test]
    fn a_whole_number_is_right_by_value() {
        let q = item(&[], Answer::Integer(1200), Some("cm"));
        check(
            &q,
            &["1200", "1,200", "1200.0", "1200 cm", "1200cm", "01200"],
            &[
                "1201",
                "1200.5",
                "1200 m",
                "-1200",
                "12 00",
                "1200 1200",
                "",
                "cm",
            ],
        );
        check(
            &item(&[], Answer::Integer(i64::MIN), None),
            &["-9223372036854775808"],
            &["-9223372036854775807"],
        );
    }

    #[test]
    fn a_decimal_is_right_at_its_places() {
        let q = item(
            &[],
            Answer::Decimal {
                value: 3.5,
                places: 2,
            },
            None,
        );
        check(
            &q,
            &["3.50", "3.5", "3.504", "3.5 m"],
            &["3.51", "3.4", "35", "", "3,50"],
        );
        let q = item(
            &[],
            Answer::Decimal {
                value: -0.001,
                places: 1,
            },
            None,
        );
        check(&q, &["0", "0.0", "-0.0", "0.04"], &["0.1"]);
    }

    #[test]
    fn a_list_is_right_element_by_element_in_order() {
        let q = item(
            &[],
            Answer::List(vec!["1".into(), "2.50".into(), "Red".into()]),
            None,
        );
        check(
            &q,
            &[
                "[1, 2.50, Red]",
                "1,2.5,red",
                "(1; 2.5; RED)",
                "['1', '2.5', 'Red']",
            ],
            &[
                "[1, 2.5]",
                "[2.5, 1, Red]",
                "[1, 2.5, Red, 3]",
                "",
                "[]",
                "[",
            ],
        );
        let q = item(&[], Answer::List(vec!["1,200".into(), "3".into()]), None);
        check(&q, &["[1,200, 3]", "1200, 3", "1200 and 3"], &["1, 200, 3"]);
        check(
            &item(&[], Answer::List(vec![]), None),
            &["[]"],
            &["1", "[1]"],
        );
    }

    #[test]
    fn words_are_right_whatever_their_case_and_spacing() {
        check(
            &item(&[], Answer::Text("Dark Blue".into()), None),
            &["dark blue", "DarkBlue.", "\"Dark  blue\""],
            &["blue", ""],
        );
        check(
            &item(&[], Answer::Text("Yes".into()), None),
            &["yes", "Yes, it is"],
            &["no", "yes and no", "it is yes", "yesterday"],
        );
        check(
            &item(&[], Answer::Text("12.50".into()), None),
            &["12.5", "$12.50"],
            &["12.51"],
        );
        check(
            &item(&[], Answer::Text("1/2".into()), None),
            &["1 / 2"],
            &["2/1", "0.5"],
        );
        check(
            &item(&[], Answer::Text(String::new()), None),
            &[],
            &["", "x"],
        );
    }

    fn any_answer() -> impl Strategy<Value = (Vec<String>, Answer)> {
        prop_oneof![
            (
                proptest::collection::vec("[A-Za-z0-9 ]{1,8}", 1..6),
                any::<prop::sample::Index>()
            )
                .prop_map(|(choices, at)| {
                    let index = at.index(choices.len());
                    (choices, Answer::Choice(index))
                }),
            any::<i64>().prop_map(|n| (vec![], Answer::Integer(n))),
            (-1e9..1e9f64, 0u8..6)
                .prop_map(|(value, places)| { (vec![], Answer::Decimal { value, places }) }),
            proptest::collection::vec("[A-Za-z0-9]{1,8}", 1..5)
                .prop_map(|items| (vec![], Answer::List(items))),
            "[A-Za-z0-9/%]{1,12}".prop_map(|t| (vec![], Answer::Text(t))),
        ]
    }

    proptest! {
        #[test]
        fn the_answer_as_training_prints_it_is_right((choices, answer) in any_answer()) {
            let mut q = item(&[], answer, None);
            q.choices = choices;
            prop_assert!(matches(&q, &q.answer.text()));
        }

        #[test]
        fn no_text_makes_it_panic((choices, answer) in any_answer(), text: String) {
            let mut q = item(&[], answer, Some("cm"));
            q.choices = choices;
            matches(&q, &text);
        }

        #[test]
        fn no_reply_of_brackets_and_signs_makes_it_panic((choices, answer) in any_answer(), text in "[\\[\\](){},;.:' \"A-Fa-f0-9é∆-]{0,24}") {
            let mut q = item(&[], answer, None);
            q.choices = choices;
            matches(&q, &text);
        }
    }
}
