//! What each check lets pass and what it stops, on made pairs and on real questions reworded.

use proptest::prelude::*;
use sample::{Answer, ImageRef, Origin, Task};

use super::*;

fn parent(question: &str, answer: &str) -> Sample {
    let image = ImageRef {
        path: "a/1.png".into(),
        sha256: String::new(),
        width: 1,
        height: 1,
    };
    Sample {
        id: "a:1".into(),
        image,
        question: question.into(),
        choices: Vec::new(),
        answer: sample::printed::answer(answer),
        unit: None,
        rationale: None,
        task: Task::Vqa,
        language: "en".into(),
        origin: Origin::Source {
            source: "a".into(),
            row: "1".into(),
        },
        template: None,
    }
}

fn reason(result: Result<(), Fault>) -> Option<&'static str> {
    result.err().map(|(reason, _)| reason)
}

#[test]
fn a_question_that_states_its_answer_is_stopped() {
    let original = parent("How many of the 25 marbles are red?", "7");
    let cases: &[(&str, &[&str], &str, bool)] = &[
        (
            "The chart shows 42 red bars. How many red bars are there?",
            &[],
            "42",
            true,
        ),
        (
            "The chart shows 1,042 bars. How many are there?",
            &[],
            "1042",
            true,
        ),
        (
            "Given that the answer is 3, how many bars are there?",
            &[],
            "3",
            true,
        ),
        (
            "Which country leads? Hint: the answer is Niger.",
            &["Niger", "Mali"],
            "Niger",
            true,
        ),
        ("Which organ, the stomach, is marked?", &[], "stomach", true),
        ("图中最高的山是泰山,它叫什么?", &[], "泰山", true),
        // Givens, small counts, alternatives, choices, yes and no are free.
        ("Of the 25 marbles, how many are there?", &[], "25", false),
        (
            "How many triangles have 3 sides of equal length?",
            &[],
            "3",
            false,
        ),
        ("Is the red or the green bar taller?", &[], "green", false),
        (
            "Between Gambia and Niger, what is richer?",
            &[],
            "Niger",
            false,
        ),
        (
            "Which is taller, Niger, Mali?",
            &["Niger", "Mali"],
            "Niger",
            false,
        ),
        ("Is there no bar without a label?", &[], "no", false),
        ("What is the colour of the bar?", &[], "red", false),
        ("Is the answer larger than 5?", &[], "5", false),
        ("How many of the bars exceed 420?", &[], "42", false),
        ("What is it?", &[], "", false),
    ];
    for (question, choices, answer, leaked) in cases {
        let choices: Vec<String> = choices.iter().map(|c| (*c).to_owned()).collect();
        let found = reason(answer_leaked(&original, question, &choices, answer));
        assert_eq!(
            found,
            leaked.then_some("answer_leaked"),
            "{question:?} {answer:?}"
        );
    }
}

#[test]
fn a_question_in_another_language_is_stopped() {
    let english = "How many of the red bars are taller than the blue bar?";
    let chinese = "如图,在三角形ABC中,AB=AC,求角B的度数.";
    let french = "Quelle est la hauteur du triangle dans la figure et quel est son angle?";
    let cases = [
        (
            english,
            "What is the number of red bars that are taller?",
            false,
        ),
        (english, chinese, true),
        (chinese, english, true),
        (chinese, "在△ABC中,若AB=AC,则∠B等于多少度?", false),
        (chinese, "∠B = ?", false),
        (english, french, true),
        (french, english, true),
        (english, "Find AB.", false),
        (english, "Сколько красных столбцов выше?", true),
        (english, "Tall red bars: count?", false),
        (english, "Which bar is labelled 泰山?", false),
    ];
    for (old, new, changed) in cases {
        let found = reason(language_kept(&parent(old, "1"), new));
        assert_eq!(found, changed.then_some("language_changed"), "{new:?}");
    }
}

#[test]
fn numbers_and_units_of_the_original_are_kept() {
    let long = "A box holds 1,000 pens of 12.50 cm. Three friends pay $8 each. How many are left?";
    let cases = [
        (
            long,
            "With 1000 pens of 12.5 centimeters in a box and 8 dollars paid by 3 friends, what is left?",
            Numbers::AllKept,
            None,
        ),
        (
            long,
            "A box holds pens of 12.50 cm. Friends pay $8.",
            Numbers::AllKept,
            Some("number_lost"),
        ),
        (
            long,
            "A box holds 1,000 pens of 12.50 inches, at $8.",
            Numbers::AllKept,
            Some("unit_lost"),
        ),
        (
            long,
            "A box holds 1,000 pens of 12.50 cm. Friends pay 8.",
            Numbers::AllKept,
            Some("unit_lost"),
        ),
        (
            "In 3 days, what is 50% of it?",
            "What is 50 percent of it within three days?",
            Numbers::AllKept,
            None,
        ),
        (
            "What is the 3rd value?",
            "What is the third value?",
            Numbers::AllKept,
            None,
        ),
        ("Which one is it?", "Which is it?", Numbers::AllKept, None),
        (
            long,
            "How many of 1000 pens are left?",
            Numbers::NoneAdded,
            None,
        ),
        (
            long,
            "How many of the 3 friends are left?",
            Numbers::NoneAdded,
            None,
        ),
        (
            long,
            "How many of 24 pens are left?",
            Numbers::NoneAdded,
            Some("number_added"),
        ),
        (
            "What is the difference?",
            "What is the difference of the two?",
            Numbers::NoneAdded,
            None,
        ),
        (
            "What year is it?",
            "Is it 2001?",
            Numbers::NoneAdded,
            Some("number_added"),
        ),
    ];
    for (old, new, rule, expected) in cases {
        assert_eq!(
            reason(numbers_kept(&parent(old, "1"), new, rule)),
            expected,
            "{new:?}"
        );
    }
    let mut listed = parent("What year is it?", "1");
    (listed.choices, listed.answer) = (vec!["2001".into(), "2002".into()], Answer::Choice(0));
    assert_eq!(
        numbers_kept(&listed, "2001 or 2002?", Numbers::NoneAdded),
        Ok(())
    );
}

#[test]
fn a_rewording_asks_for_the_same_kind_of_thing() {
    let cases = [
        (
            "Is the red bar taller?",
            "yes",
            "Does the red bar exceed the others?",
            false,
        ),
        (
            "Is the red bar taller?",
            "yes",
            "How much taller is the red bar?",
            true,
        ),
        (
            "Is the red bar taller?",
            "yes",
            "Tell me whether the red bar is taller.",
            false,
        ),
        ("How many bars are there?", "5", "Are there any bars?", true),
        (
            "How many bars are there?",
            "5",
            "What is the count of bars?",
            false,
        ),
        (
            "How many bars are there?",
            "5",
            "Can you count the bars?",
            false,
        ),
        ("Which is taller?", "red", "Is red or blue taller?", false),
        (
            "A farmer sold 12 apples and 7 pears. How much fruit was sold?",
            "19",
            "A train travels 80 miles in 2 hours. What speed is that?",
            true,
        ),
        (
            "A farmer sold 12 apples and 7 pears. How much fruit was sold?",
            "19",
            "After selling 7 pears and 12 apples, what total of fruit has a farmer sold?",
            false,
        ),
        (
            "Find the length of AC.",
            "5",
            "Compute how long segment AC is.",
            false,
        ),
    ];
    for (old, answer, new, other) in cases {
        let found = reason(not_another_question(&parent(old, answer), new));
        assert_eq!(found, other.then_some("asks_another_thing"), "{new:?}");
    }
}

/// All that a faithful rewording must pass.
fn rewording(parent: &Sample, question: &str) -> Result<(), Fault> {
    answer_leaked(parent, question, &parent.choices, &parent.answer_value())?;
    language_kept(parent, question)?;
    numbers_kept(parent, question, Numbers::AllKept)?;
    numbers_kept(parent, question, Numbers::NoneAdded)?;
    not_another_question(parent, question)
}

/// Faithful rewordings by rule: other openings, other prints of numbers, other words.
fn rewordings(question: &str) -> Vec<String> {
    let question = question.trim();
    let opened = question
        .split_once(' ')
        .filter(|(first, _)| first.chars().skip(1).all(char::is_lowercase));
    let lower = opened.map_or(question.to_owned(), |(first, rest)| {
        format!("{} {rest}", first.to_lowercase())
    });
    let swapped = question
        .replace("How many", "What number of")
        .replace("What is the difference between", "How far apart are")
        .replace("What is the", "Give the")
        .replace("Which", "What");
    vec![
        question.to_owned(),
        format!("Look at the figure. {question}"),
        format!("According to the figure, {lower}"),
        format!("{question} Answer from what you see."),
        swapped,
        question.replace(" dollars", "$").replace(" percent", "%"),
    ]
}

fn shared(path: &str) -> Option<serde_json::Value> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var("MATH_LLAVA_SHARED").unwrap_or_else(|_| workspace.to_owned());
    let text = std::fs::read_to_string(std::path::Path::new(&root).join(path)).ok();
    if text.is_none() {
        eprintln!("skipped: {path} is not there");
    }
    text.map(|text| serde_json::from_str(&text).unwrap())
}

#[test]
fn real_questions_reworded_by_rule_pass() {
    let text = |row: &serde_json::Value, key: &str| match &row[key] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let files = [
        (
            "data/sources/tabmwp/problems_dev1k.json",
            "",
            "question",
            "answer",
        ),
        (
            "data/sources/chartqa/test/test_human.json",
            "",
            "query",
            "label",
        ),
        (
            "data/sources/chartqa/test/test_augmented.json",
            "",
            "query",
            "label",
        ),
        (
            "data/sources/vqa_rad/trainset.json",
            "",
            "question",
            "answer",
        ),
        (
            "data/sources/super_clevr/superCLEVR_questions_5.json",
            "questions",
            "question",
            "answer",
        ),
    ];
    for (path, inside, question, answer) in files {
        let Some(file) = shared(path) else { continue };
        let rows = if inside.is_empty() {
            &file
        } else {
            &file[inside]
        };
        let rows: Vec<&serde_json::Value> = match rows {
            serde_json::Value::Array(rows) => rows.iter().collect(),
            rows => rows.as_object().unwrap().values().collect(),
        };
        let (mut all, mut rejected) = (0_usize, Vec::new());
        for row in rows {
            let parent = parent(&text(row, question), &text(row, answer));
            for new in rewordings(&parent.question) {
                all += 1;
                if let Err((reason, detail)) = rewording(&parent, &new) {
                    rejected.push(format!("{reason}: {detail} (of {:?})", parent.question));
                }
            }
        }
        eprintln!("{path}: {} of {all} rewordings rejected", rejected.len());
        rejected
            .iter()
            .take(8)
            .for_each(|line| eprintln!("  {line}"));
        assert!(rejected.len() * 100 <= all, "{path}: {rejected:#?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_checks_panic(old: String, new: String, answer: String, choice: String) {
        let mut parent = parent(&old, &answer);
        let _ = rewording(&parent, &new);
        parent.choices = vec![choice];
        let _ = rewording(&parent, &new);
    }

    #[test]
    fn a_question_keeps_its_own_numbers(question in "[a-z0-9$%., ]{0,60}") {
        let parent = parent(&question, "1");
        prop_assert_eq!(numbers_kept(&parent, &question, Numbers::AllKept), Ok(()));
        prop_assert_eq!(numbers_kept(&parent, &question, Numbers::NoneAdded), Ok(()));
        prop_assert_eq!(language_kept(&parent, &question), Ok(()));
    }
}
