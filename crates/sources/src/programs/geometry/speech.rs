//! Questions about diagrams: what they say, what they ask for, and which are asked.

use sample::Answer;

use super::Diagram;
use super::deduce::Known;
use super::equation::Key;
use super::form::{FIGURES, Form, Sum};
use crate::figures::question::{Question, read};

/// What a question wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Letter(char),
    Length(char, char),
    /// One point or three.
    Angle(Vec<char>),
    Perimeter([char; 3]),
    Area([char; 3]),
}

/// Words between what is said and what is asked.
const FILLERS: [&str; 21] = [
    "if",
    "and",
    "with",
    "so",
    "that",
    "is",
    "the",
    "quadrilateral",
    "each",
    "a",
    "in",
    "of",
    "figure",
    "diagram",
    "shown",
    "this",
    "given",
    "for",
    "below",
    "value",
    "then",
];

/// The words of a problem: `A B` and `10 x` are put together, as in print.
fn tokens(text: &str) -> Vec<String> {
    let text = text.replace('=', " = ").replace("\\angle", " \\angle ");
    let mut found: Vec<String> = Vec::new();
    let mut joins = false;
    for raw in text.split_whitespace() {
        let word = raw.trim_end_matches(['.', ',', '?', ';', ':']);
        let is_upper = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_uppercase());
        let is_letter = word.len() == 1 && word.bytes().all(|b| b.is_ascii_lowercase());
        if let Some(last) = found.last_mut().filter(|_| joins) {
            let points = is_upper(last) && is_upper(word) && word.len() == 1;
            let number = last.ends_with(|c: char| c.is_ascii_digit());
            let signs = |w: &str| matches!(w, "+" | "-");
            let in_sum = number && (is_letter || signs(word))
                || last.ends_with(['+', '-']) && last.len() > 1
                || signs(word)
                    && last.bytes().all(|b| b.is_ascii_alphanumeric())
                    && !is_upper(last);
            if points || in_sum {
                last.push_str(word);
                joins = raw.len() == word.len();
                continue;
            }
        }
        joins = raw.len() == word.len();
        if !word.is_empty() {
            found.push(word.to_owned());
        }
    }
    found
}

fn points(word: &str) -> Option<Vec<char>> {
    let is = !word.is_empty() && word.len() <= 4 && word.bytes().all(|b| b.is_ascii_uppercase());
    is.then(|| word.chars().collect())
}

/// What a question says and wants, every word of it accounted for.
struct Said {
    lengths: Vec<((char, char), Sum)>,
    angles: Vec<(Vec<char>, Sum)>,
    figures: Vec<&'static str>,
    /// Figures that the question names the corners of.
    drawn: Vec<Form>,
    wanted: Wanted,
}

fn hear(question: &str) -> Option<Said> {
    let tokens = tokens(question);
    let mut rest: &[String] = &tokens;
    let (mut lengths, mut angles, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut drawn, mut wanted) = (Vec::new(), None);
    while let Some((first, after)) = rest.split_first() {
        let word = first.to_lowercase();
        if let Some((want, after)) = wants(rest) {
            if wanted.replace(want).is_some() {
                return None;
            }
            rest = after;
        } else if let Some((corners, sum, after)) = says_angle(rest) {
            angles.push((corners, sum));
            rest = after;
        } else if let [line, equals, sum, after @ ..] = rest
            && equals == "="
            && let Some([a, b]) = points(line).as_deref()
        {
            lengths.push(((*a, *b), Sum::parse(sum)?));
            rest = after;
        } else if let Some(figure) = FIGURES.into_iter().find(|f| f.to_lowercase() == word) {
            rest = after;
            match rest.first().and_then(|w| points(w)) {
                Some(corners) if corners.len() == 4 => {
                    let corners = corners.iter().map(|c| Form::Leaf(c.to_string()));
                    drawn.push(Form::Call(figure.to_owned(), corners.collect()));
                    rest = &rest[1..];
                }
                _ => figures.push(figure),
            }
        } else if FILLERS.contains(&word.as_str()) {
            rest = after;
        } else {
            return None;
        }
    }
    Some(Said {
        lengths,
        angles,
        figures,
        drawn,
        wanted: wanted?,
    })
}

fn angle_name(rest: &[String]) -> Option<(Vec<char>, &[String])> {
    let rest = rest.strip_prefix(&["m".to_owned()][..]).unwrap_or(rest);
    let [word, name, after @ ..] = rest else {
        return None;
    };
    let corners = points(name).filter(|p| matches!(p.len(), 1 | 3))?;
    matches!(word.as_str(), "\\angle" | "angle").then_some((corners, after))
}

fn says_angle(rest: &[String]) -> Option<(Vec<char>, Sum, &[String])> {
    let (corners, after) = angle_name(rest)?;
    match after {
        [equals, sum, after @ ..] if equals == "=" => Some((corners, Sum::parse(sum)?, after)),
        _ => None,
    }
}

/// "find x", "what is the length of A B", "the measure of angle A B C".
fn wants(rest: &[String]) -> Option<(Wanted, &[String])> {
    let lower: Vec<String> = rest.iter().take(7).map(|w| w.to_lowercase()).collect();
    let opens = |phrase: &str| {
        let words: Vec<&str> = phrase.split(' ').collect();
        lower.len() >= words.len() && words.iter().zip(&lower).all(|(a, b)| a == b)
    };
    let opening = [
        "find",
        "what is",
        "determine",
        "how long is",
        "how large is",
    ]
    .into_iter()
    .find(|o| opens(o))?;
    let mut rest = &rest[opening.split(' ').count()..];
    let skip = |rest: &mut &[String], phrase: &str| {
        let words: Vec<&str> = phrase.split(' ').collect();
        let fits = rest.len() >= words.len()
            && words
                .iter()
                .zip(rest.iter())
                .all(|(a, b)| *a == b.to_lowercase());
        if fits {
            *rest = &rest[words.len()..];
        }
        fits
    };
    for (phrase, is_area) in [
        ("the perimeter of triangle", false),
        ("the area of triangle", true),
    ] {
        if skip(&mut rest, phrase) {
            let (name, after) = rest.split_first()?;
            let corners: [char; 3] = points(name)?.try_into().ok()?;
            let wanted = if is_area {
                Wanted::Area(corners)
            } else {
                Wanted::Perimeter(corners)
            };
            return Some((wanted, after));
        }
    }
    let is_length = skip(&mut rest, "the length of side")
        || skip(&mut rest, "the length of segment")
        || skip(&mut rest, "the length of");
    let is_measure = !is_length && (skip(&mut rest, "the measure of") || opening == "how large is");
    if !is_length && !is_measure {
        skip(&mut rest, "the value of");
    }
    if let Some((corners, after)) = angle_name(rest).filter(|_| !is_length) {
        return Some((Wanted::Angle(corners), after));
    }
    let (name, after) = rest.split_first()?;
    if let Some([a, b]) = points(name).as_deref()
        && !is_measure
        && a != b
    {
        return Some((Wanted::Length(*a, *b), after));
    }
    let mut letters = name.chars();
    let letter = letters.next().filter(char::is_ascii_lowercase)?;
    let is_one = letters.next().is_none() && letter != 'm' && !is_length && !is_measure;
    is_one.then_some((Wanted::Letter(letter), after))
}

/// A value as an answer: whole, with two places at most, or a root.
fn answer(value: f64) -> Option<Answer> {
    let near = |x: f64| (x - x.round()).abs() < 1e-6;
    if !(0.0..1e9).contains(&value.abs()) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)]
    let whole = |x: f64| x.round() as i64;
    if near(value) {
        return Some(Answer::Integer(whole(value)));
    }
    for places in 1..=2_u8 {
        let tens = 10_f64.powi(i32::from(places));
        if near(value * tens) {
            let value = (value * tens).round() / tens;
            return Some(Answer::Decimal { value, places });
        }
    }
    let square = value * value;
    if !near(square) || square > 1e6 {
        return None;
    }
    let mut under = whole(square);
    let mut before = 1;
    for factor in (2..=1000).rev() {
        while under % (factor * factor) == 0 {
            under /= factor * factor;
            before *= factor;
        }
    }
    let before = if before == 1 {
        String::new()
    } else {
        format!("{before} ")
    };
    Some(Answer::Text(format!("{before}\\sqrt {{ {under} }}")))
}

fn measure(known: &Known<'_>, wanted: &Wanted) -> Option<f64> {
    let side = |a: char, b: char| known.value(&Known::length(a, b));
    match wanted {
        Wanted::Letter(letter) => known.value(&Key::Letter(*letter)),
        Wanted::Length(a, b) => side(*a, *b),
        Wanted::Angle(corners) => match corners[..] {
            [a, v, b] => known.value(&known.angle(a, v, b)?),
            [v] => known.value(&known.angle_at(v)?),
            _ => None,
        },
        Wanted::Perimeter([a, b, c]) => Some(side(*a, *b)? + side(*b, *c)? + side(*a, *c)?),
        Wanted::Area([a, b, c]) => {
            let is_right = |(p, v, q): (char, char, char)| {
                let angle = known.angle(p, v, q).and_then(|k| known.value(&k));
                angle.is_some_and(|x| (x - 90.0).abs() < 1e-6)
            };
            let corners = [(*b, *a, *c), (*a, *b, *c), (*a, *c, *b)];
            let (p, v, q) = corners.into_iter().find(|corner| is_right(*corner))?;
            Some(side(v, p)? * side(v, q)? / 2.0)
        }
    }
}

/// The question with its answer, where all of it is understood and the answer follows.
pub(crate) fn understand(diagram: &Diagram, question: &str) -> Option<Question> {
    let said = hear(question)?;
    let mut forms = said.drawn;
    for figure in said.figures {
        let mut called = diagram
            .called
            .iter()
            .filter_map(|f| Form::parse(f))
            .filter(|f| f.points(figure).is_some());
        forms.push(called.next()?);
        if called.next().is_some() {
            return None;
        }
    }
    let plain = Known::from(diagram, &[], &[])?;
    let mut sums: Vec<(Key, Sum)> = Vec::new();
    for ((a, b), sum) in said.lengths {
        sums.push((Known::length(a, b), sum));
    }
    for (corners, sum) in said.angles {
        let key = match corners[..] {
            [a, v, b] => plain.angle(a, v, b)?,
            [v] => plain.angle_at(v)?,
            _ => return None,
        };
        sums.push((key, sum));
    }
    let known = Known::from(diagram, &forms, &sums)?;
    let value = measure(&known, &said.wanted)?;
    let is_plain = forms.is_empty() && sums.is_empty();
    let answer = answer(value)?;
    if !is_plain {
        let mut made = read::<String, 0>("derived", answer, []);
        made.steps = 3;
        return Some(made);
    }
    Some(asked(&said.wanted, answer))
}

/// A question in its wordings.
fn asked(wanted: &Wanted, answer: Answer) -> Question {
    let name = |points: &[char]| points.iter().collect::<String>();
    let question = match wanted {
        Wanted::Letter(letter) => read(
            "letter",
            answer,
            [
                format!("What is the value of {letter}?"),
                format!("Find the value of {letter} in the figure."),
                format!("Find {letter}."),
            ],
        ),
        Wanted::Length(a, b) => {
            let line = name(&[*a, *b]);
            read(
                "length",
                answer,
                [
                    format!("What is the length of {line}?"),
                    format!("Find the length of segment {line} in the figure."),
                    format!("Find {line}."),
                ],
            )
            .measures(format!("the length of {line}"))
        }
        Wanted::Angle(corners) => {
            let angle = name(corners);
            read(
                "angle",
                answer,
                [
                    format!("What is the measure of angle {angle}?"),
                    format!("How large is angle {angle} in the figure?"),
                    format!("Find m \\angle {angle}."),
                ],
            )
            .measures(format!("the measure of angle {angle}"))
            .unit("degrees")
        }
        Wanted::Perimeter(corners) | Wanted::Area(corners) => {
            let is_area = matches!(wanted, Wanted::Area(_));
            let (template, what) = if is_area {
                ("area", "area")
            } else {
                ("perimeter", "perimeter")
            };
            let triangle = name(corners);
            read(
                template,
                answer,
                [
                    format!("What is the {what} of triangle {triangle}?"),
                    format!("Determine the {what} of triangle {triangle} in the figure."),
                    format!("Find the {what} of triangle {triangle}."),
                ],
            )
        }
    };
    question.near_misses().steps(2)
}

/// Every question about the diagram whose answer follows from its marks alone.
pub(crate) fn questions(diagram: &Diagram) -> Vec<Question> {
    let Some(known) = Known::from(diagram, &[], &[]) else {
        return Vec::new();
    };
    let mut wanted: Vec<Wanted> = ('a'..='z')
        .filter(|c| *c != 'm')
        .map(Wanted::Letter)
        .collect();
    for line in &diagram.lines {
        if let Some((a, b)) = diagram.ends(line) {
            wanted.push(Wanted::Length(a, b));
        }
    }
    for [a, b, c] in known.triangles() {
        wanted.push(Wanted::Angle(vec![b, a, c]));
        wanted.push(Wanted::Angle(vec![a, b, c]));
        wanted.push(Wanted::Angle(vec![a, c, b]));
        wanted.push(Wanted::Perimeter([a, b, c]));
        wanted.push(Wanted::Area([a, b, c]));
    }
    wanted
        .into_iter()
        .filter_map(|wanted| {
            let answer = answer(measure(&known, &wanted)?)?;
            // Roots have spellings of their own; only numbers are asked for.
            (!matches!(answer, Answer::Text(_))).then(|| asked(&wanted, answer))
        })
        .collect()
}
