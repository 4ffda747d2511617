//! MATH-V's rules against what the official code makes of the same strings.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Made by `golden.py` beside it.
const GOLDEN: &str = include_str!("../../../tests/data/mathvision/golden.json");

fn golden(name: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    golden[name].as_array().unwrap().clone()
}

fn value(text: &str) -> Option<String> {
    let value = value::of(&expression::parse(text).ok()?).ok()?;
    value::printed(&value::rounded(value)).ok()
}

#[test]
fn values_are_those_of_the_official_code() {
    let cases = golden("values");
    assert!(cases.len() > 900);
    for case in &cases {
        let text = case[0].as_str().unwrap();
        assert_eq!(value(text).as_deref(), case[1].as_str(), "{text:?}");
    }
}

#[test]
fn pairs_are_equal_where_the_official_code_calls_them_equal() {
    let cases = golden("pairs");
    assert!(cases.len() > 400);
    for case in &cases {
        let (a, b) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        assert_eq!(
            equality::equal(a, b),
            case[2].as_bool().unwrap(),
            "{a:?} {b:?}"
        );
    }
}

#[test]
fn replies_are_cleaned_step_by_step_as_officially() {
    for (reply, expected) in [
        ("B", "b"),
        ("The answer is (C).", "c"),
        ("A\nbecause it is larger", "a"),
        ("(D) D\nbecause", "d"),
        ("I think that it is 12.", "12"),
        ("it is 12. It was 13.", "itis12.itwas13"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("first \\boxed{1}, then \\boxed{2}", "2"),
        ("\\boxed{x = 5 \\text{ cm}}", "5{cm}"),
        ("\\boxed{\\sqrt2}", "\\sqrt{2}"),
        ("\\boxed{\\frac12}", "\\frac12"),
        ("\\boxed{\\frac12\\sqrt3}", "\\frac{1}{2}\\sqrt{3}"),
        ("\\boxed{3/4}", "\\frac{3}{4}"),
        ("\\boxed{03/4}", "03/4"),
        ("\\boxed{0.5}", "\\frac{1}{2}"),
        ("\\boxed{60^\\circ}", "60"),
        ("\\boxed{50\\%}", "50"),
        ("The correct answer is 7. It follows", "7"),
        ("The answer should be: 9", "9"),
        ("12 km", "12"),
        ("", ""),
        (".", "0"),
    ] {
        assert_eq!(answer::extract(reply), expected, "{reply:?}");
    }
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    for (text, expected) in [
        (" 1_000 ", Some(1000.0)),
        ("1e3", Some(1000.0)),
        ("+.5", Some(0.5)),
        ("5.", Some(5.0)),
        ("-Infinity", Some(f64::NEG_INFINITY)),
        ("1__0", None),
        ("_1", None),
        ("1,000", None),
        (".", None),
        ("1e", None),
        ("0x10", None),
        ("", None),
    ] {
        assert_eq!(float(text), expected, "{text:?}");
    }
}

#[test]
fn work_is_bounded_whatever_is_asked_for() {
    for text in [
        "10^{10^{10}}".to_owned(),
        "9^{9^{9}}^{9^{9}}".to_owned(),
        "99999!".to_owned(),
        "((((9!)!)!)!)".to_owned(),
        "\\binom{999999999}{99999999}".to_owned(),
        "(".repeat(1 << 16),
        "-".repeat(1 << 16),
        "2^{".repeat(1 << 15),
        "9".repeat(1 << 16),
        "1+".repeat(1 << 15),
        "{".repeat(1 << 20),
    ] {
        assert_eq!(value(&text), None);
        assert!(!equality::equal("5", &text));
        answer::extract(&text);
    }
}

#[test]
fn the_query_lists_options_unless_the_image_shows_them() {
    let row = |options: &str| {
        let text = format!(
            r#"{{"id": "1", "question": "Q?\n<image1>", "options": {options}, "answer": "A",
            "level": 2, "subject": "arithmetic", "image": "images/1.jpg"}}"#
        );
        item(
            &Row(serde_json::from_str(&text).unwrap(), Vec::new()),
            Path::new("/data"),
        )
        .unwrap()
    };
    for (options, end) in [
        (r#"["A", "B", "C", "D", "E"]"#, "Q?\n<image1>\n"),
        (r#"["1", "2"]"#, "Q?\n<image1>\n(A) 1\n(B) 2\n"),
        ("[]", "Q?\n<image1>\n"),
    ] {
        let query = MathVision.query(&row(options));
        assert_eq!(query, format!("{INSTRUCTION}{end}"), "{options}");
    }
    assert!(INSTRUCTION.ends_with("only one letter is allowed in the \"\\boxed{}\".\n"));
    let groups = row("[]").groups;
    assert!(groups.contains(&("subject_level".into(), "arithmetic_level2".into())));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String, other: String) {
        let found = answer::extract(&text);
        equality::equal(&found, &other);
        value(&text);
    }

    #[test]
    fn no_latex_makes_it_panic(
        words in proptest::collection::vec(
            prop_oneof![
                "[0-9]{1,4}", "[-+*/^_(){}\\[\\],.;:!'=<>|&$ a-z]",
                prop::sample::select(vec![
                    "\\frac{", "\\sqrt", "\\left(", "\\right)", "\\pi", "\\sin", "\\log_", "e^{",
                    "\\binom{", "\\text{", "\\infty", "\\gcd(", ")_{", "\\operatorname{floor}",
                ]).prop_map(str::to_owned),
            ],
            0..40,
        )
    ) {
        let text = words.concat();
        value(&text);
        equality::equal(&text, "5");
        answer::extract(&text);
    }

    #[test]
    fn whole_numbers_equal_themselves_and_no_others(a in -10_000i64..10_000, b in -10_000i64..10_000) {
        let (dollars, decimal) = (format!("${a}$"), format!("{b}.0"));
        let a_text = a.to_string();
        prop_assert!(equality::equal(&a_text, &dollars));
        prop_assert_eq!(equality::equal(&a_text, &decimal), a == b);
    }
}
