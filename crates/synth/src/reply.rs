//! Reading what a teacher replied.
//!
//! The form is the paper's, with three parts added that may be left out:
//! `The question is [..]. The choices are [(A) ..; (B) ..]. The answer is [..]. The unit is [..].
//! The form is [..].` A reply holds one such line for each pair, with anything around them. There
//! is one reader for every teacher, and no text makes it panic.

use serde_json::Value;

/// One question and answer as a teacher wrote it; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pair {
    /// The question.
    pub question: String,
    /// The texts of its choices, in order; empty for free-form questions.
    pub choices: Vec<String>,
    /// The answer, where one was given.
    pub answer: Option<String>,
    /// The unit, where one was given.
    pub unit: Option<String>,
    /// What the teacher calls this form of question, where it says.
    pub form: Option<String>,
}

/// The parts of a pair; the first begins one.
const PARTS: [&str; 5] = [
    "the question is [",
    "the choices are [",
    "the answer is [",
    "the unit is [",
    "the form is [",
];

/// No more pairs are read from one reply: teachers that repeat themselves without end exist.
const MAX_PAIRS: usize = 64;

/// The pairs in a reply, in order: lines of the paper's form, or else JSON, mended where it is broken.
pub fn parse(reply: &str) -> Vec<Pair> {
    let pairs = lines(reply);
    if pairs.is_empty() && reply.contains('{') {
        return json(reply);
    }
    pairs
}

/// The pairs of `{"pairs": [{"question": .., "choices": [..], "answer": .., "unit": ..}]}`, or of a
/// bare list or object of such.
fn json(reply: &str) -> Vec<Pair> {
    let Some(value) = chat::http::json::repair(reply) else {
        return Vec::new();
    };
    let items = match value {
        Value::Object(mut map) => match map.remove("pairs") {
            Some(Value::Array(items)) => items,
            Some(one) => vec![one],
            None => vec![Value::Object(map)],
        },
        Value::Array(items) => items,
        _ => return Vec::new(),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        _ => None,
    };
    let pair = |item: &Value| {
        let choices = item["choices"].as_array();
        Pair {
            question: text(&item["question"]).unwrap_or_default(),
            choices: choices.into_iter().flatten().filter_map(text).collect(),
            answer: text(&item["answer"]).filter(|a| !a.is_empty()),
            unit: text(&item["unit"]).filter(|u| !u.is_empty()),
            form: None,
        }
    };
    let mut pairs: Vec<Pair> = items.iter().take(MAX_PAIRS).map(pair).collect();
    pairs.retain(|pair| !pair.question.is_empty());
    pairs
}

/// What a reply says its answer is: after the last `The answer is`.
pub fn last_answer(reply: &str) -> Option<String> {
    last_after(reply, "the answer is")
}

/// What follows the last `label` in a reply, in brackets or up to the end of the line.
pub fn last_after(reply: &str, label: &str) -> Option<String> {
    let lower = reply.to_ascii_lowercase();
    let at = lower.rfind(label)? + label.len();
    let rest = reply[at..].trim_start_matches([':', ' ', '*']);
    let said = match rest.strip_prefix('[') {
        Some(inside) => closed(inside.lines().next()?)?,
        None => rest.lines().next()?,
    };
    let said = said.trim().trim_end_matches("**").trim_end_matches('.');
    (!said.is_empty()).then(|| said.to_owned())
}

fn lines(reply: &str) -> Vec<Pair> {
    let lower = reply.to_ascii_lowercase();
    let mut starts: Vec<(usize, usize)> = PARTS
        .iter()
        .enumerate()
        .flat_map(|(part, label)| lower.match_indices(label).map(move |(at, _)| (at, part)))
        .collect();
    starts.sort_unstable();
    let mut pairs: Vec<Pair> = Vec::new();
    for (i, &(at, part)) in starts.iter().enumerate() {
        let end = starts.get(i + 1).map_or(reply.len(), |next| next.0);
        let span = &reply[at + PARTS[part].len()..end];
        let Some(text) = closed(span).map(str::trim).filter(|text| !text.is_empty()) else {
            // A question whose bracket never closes still keeps what follows off the pair before.
            if part == 0 {
                pairs.push(Pair::default());
            }
            continue;
        };
        if part == 0 {
            if pairs.len() == MAX_PAIRS {
                break;
            }
            pairs.push(Pair {
                question: text.to_owned(),
                ..Pair::default()
            });
            continue;
        }
        let Some(pair) = pairs.last_mut() else {
            continue;
        };
        let text = text.to_owned();
        match part {
            1 => pair.choices = choices(&text),
            2 => pair.answer = Some(text),
            3 => pair.unit = Some(text),
            _ => pair.form = Some(text),
        }
    }
    pairs.retain(|pair| !pair.question.is_empty());
    pairs
}

/// The text up to the bracket that closes it. Brackets inside may be unbalanced, `[0, 1)`: where
/// nothing but punctuation and numbering follows the last bracket, that is the one.
fn closed(span: &str) -> Option<&str> {
    let last = span.rfind(']')?;
    let after = &span[last + 1..];
    if after
        .chars()
        .all(|c| c.is_whitespace() || c.is_ascii_punctuation() || c.is_ascii_digit())
    {
        return Some(&span[..last]);
    }
    let mut depth = 0usize;
    for (at, c) in span.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 0 => return Some(&span[..at]),
            ']' => depth -= 1,
            _ => {}
        }
    }
    Some(&span[..last])
}

/// The texts of `(A) ..; (B) ..`; empty where that is not its form.
fn choices(text: &str) -> Vec<String> {
    let Some(mut rest) = text.trim_start().strip_prefix("(A)") else {
        return Vec::new();
    };
    let mut found: Vec<&str> = Vec::new();
    for letter in 'B'..='Z' {
        let next = [
            format!("; ({letter})"),
            format!(" ({letter})"),
            format!("\n({letter})"),
        ]
        .into_iter()
        .find_map(|mark| rest.split_once(&mark));
        let Some((choice, after)) = next else { break };
        found.push(choice);
        rest = after;
    }
    found.push(rest);
    found
        .into_iter()
        .map(|c| c.trim().trim_end_matches([';', ',']).trim_end().to_owned())
        .collect()
}

/// `(A) ..; (B) ..`, as it is read.
pub fn print_choices(choices: &[String]) -> String {
    let mark = |(i, choice): (usize, &String)| {
        let letter = sample::Answer::Choice(i).text();
        format!("({letter}) {choice}")
    };
    choices
        .iter()
        .enumerate()
        .map(mark)
        .collect::<Vec<_>>()
        .join("; ")
}

/// A pair as one line of a reply, for teachers that are programs.
pub fn print(pair: &Pair) -> String {
    let mut line = format!("The question is [{}].", pair.question);
    if !pair.choices.is_empty() {
        line.push_str(&format!(
            " The choices are [{}].",
            print_choices(&pair.choices)
        ));
    }
    let parts = [
        ("answer", &pair.answer),
        ("unit", &pair.unit),
        ("form", &pair.form),
    ];
    for (name, text) in parts {
        if let Some(text) = text {
            line.push_str(&format!(" The {name} is [{text}]."));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_read_where_there_are_no_lines() {
        let reply = "```json\n{\"pairs\": [{\"question\": \"How many?\", \"choices\": [], \
            \"answer\": 3, \"unit\": null}, {\"question\": \"Which?\", \"choices\": \
            [\"one\", \"two\"], \"answer\": \"B\", \"unit\": \"\"},]}\n```";
        let which = Pair {
            choices: vec!["one".into(), "two".into()],
            ..pair("Which?", "B")
        };
        assert_eq!(parse(reply), [pair("How many?", "3"), which]);
        let one = r#"{"question": "How many?", "answer": "3"}"#;
        assert_eq!(parse(one), [pair("How many?", "3")]);
        for none in [
            "{}",
            "{\"pairs\": 3}",
            "[1]",
            "{\"pairs\": [{\"answer\": \"3\"}]}",
        ] {
            assert_eq!(parse(none), [], "{none}");
        }
    }

    #[test]
    fn the_last_answer_of_a_reasoned_reply_counts() {
        for (reply, expected) in [
            (
                "First, the answer is [2]?\nNo.\nThe answer is [3].",
                Some("3"),
            ),
            ("The answer is 3.\nDone", Some("3")),
            ("**The answer is: 3.5**", Some("3.5")),
            ("The answer is [[1, 2]].", Some("[1, 2]")),
            ("The answer is [].", None),
            ("I do not know.", None),
        ] {
            assert_eq!(last_answer(reply).as_deref(), expected, "{reply}");
        }
    }

    fn pair(question: &str, answer: &str) -> Pair {
        Pair {
            question: question.into(),
            answer: Some(answer.into()),
            ..Pair::default()
        }
    }

    #[test]
    fn pairs_are_found_among_whatever_is_around_them() {
        let reply = "Sure! Here they are:\n1. The question is [How many?]. The answer is [3].\n\
            2. the question is [Which is [a, b)?]. The choices are [(A) one; (B) two]. \
            The answer is [(B)]. The unit is [cm]. The form is [bar/which].\nHope [this] helps!";
        let expected = Pair {
            choices: vec!["one".into(), "two".into()],
            unit: Some("cm".into()),
            form: Some("bar/which".into()),
            ..pair("Which is [a, b)?", "(B)")
        };
        assert_eq!(parse(reply), [pair("How many?", "3"), expected]);
    }

    #[test]
    fn brackets_inside_an_answer_belong_to_it() {
        let reply = "The question is [In which years?]. The answer is [[2003, 2004]].";
        assert_eq!(parse(reply), [pair("In which years?", "[2003, 2004]")]);
        let reply = "The question is [Which range?]. The answer is [(0, 1]].\n";
        assert_eq!(parse(reply), [pair("Which range?", "(0, 1]")]);
    }

    #[test]
    fn replies_in_another_form_give_nothing() {
        for reply in [
            "",
            "I cannot help with that.",
            "The answer is [3].",
            "The question is []. The answer is [3].",
            "The question is [How many? The answer is 3.",
            "Question: How many? Answer: 3",
        ] {
            assert_eq!(parse(reply), [], "{reply:?}");
        }
    }

    #[test]
    fn an_answer_never_goes_to_the_question_before_a_broken_one() {
        let reply =
            "The question is [One?]. The answer is [1]. The question is [Two? The answer is [2].";
        assert_eq!(parse(reply), [pair("One?", "1")]);
    }

    #[test]
    fn choices_end_where_the_letters_stop_following() {
        assert_eq!(choices("(A) 1, (B) 2, (D) 3"), ["1", "2, (D) 3"]);
        assert_eq!(
            choices("(A) vitamin (B) or so; (B) none"),
            ["vitamin (B) or so", "none"]
        );
        assert_eq!(choices("one; two"), Vec::<String>::new());
    }

    fn words() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9$%+=.,'\\u{e9}\\u{4e2d}-]{1,8}( [a-zA-Z0-9$%+=.,'?-]{1,8}){0,5}[a-z?]"
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            question in words(), answer in words(), unit in proptest::option::of(words()),
            form in proptest::option::of(words()), choices in proptest::collection::vec(words(), 0..6),
            before in "[a-z .\n]{0,20}",
        ) {
            prop_assume!(choices.len() != 1);
            let pair = Pair { question, choices, answer: Some(answer), unit, form };
            let reply = format!("{before}{}\n{}", print(&pair), print(&pair));
            prop_assert_eq!(parse(&reply), [pair.clone(), pair]);
        }

        #[test]
        fn no_reply_makes_the_reader_panic(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn no_mixture_of_parts_makes_the_reader_panic(
            pieces in proptest::collection::vec(
                proptest::sample::select(&[
                    "The question is [", "The choices are [", "The answer is [", "The unit is [",
                    "The form is [", "].", "]", "[", "(A)", "(B)", ";", "\u{130}", "\u{4e2d}", " x ",
                ][..]), 0..24),
        ) {
            let reply = pieces.concat();
            let pairs = parse(&reply);
            prop_assert!(pairs.iter().all(|p| !p.question.is_empty()));
        }
    }
}
