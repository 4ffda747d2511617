//! Pairs of answers with the verdict that mathematics gives, by topic, and properties that hold of all.

use std::collections::BTreeMap;
use std::path::Path;

use equal::{Options, compare, compare_with, equal, evaluate};
use proptest::prelude::*;

/// `pairs.json`: topic to gold, prediction, verdict.
#[test]
fn every_pair_has_the_verdict_of_mathematics() {
    let topics: BTreeMap<String, Vec<(String, String, bool)>> =
        serde_json::from_str(include_str!("pairs.json")).unwrap();
    let mut wrong = Vec::new();
    for (topic, pairs) in &topics {
        for (gold, prediction, same) in pairs {
            let verdict = compare(gold, prediction);
            if verdict.same != *same {
                wrong.push(format!(
                    "{topic}: {gold} and {prediction}: {}",
                    verdict.reason
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the published suite's verdict is not mathematics; `docs/equality.md` has the reasons.
const DIFFERENT_BY_CHOICE: &[(&str, &str)] =
    &[(r"$1 - \frac{1}{\mathrm{e}}$", r"$1 + \frac{1}{\mathrm{e}}$")];

#[test]
fn published_cases_have_their_verdicts() {
    let shared = std::env::var_os("MATH_LLAVA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        Into::into,
    );
    let file = shared.join("data/benchmarks/answers/math_verify_cases.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: {} is absent", file.display());
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    let mut chosen = 0;
    for case in &cases {
        let (gold, prediction) = (
            case["gold"].as_str().unwrap(),
            case["prediction"].as_str().unwrap(),
        );
        let form = |name: &str| case["forms"].as_array().unwrap().iter().any(|f| f == name);
        let options = Options {
            latex: form("latex"),
            plain: form("expr"),
        };
        let expected = case["same"].as_bool().unwrap();
        for verdict in [
            compare(gold, prediction),
            compare_with(gold, prediction, options),
        ] {
            if DIFFERENT_BY_CHOICE.contains(&(gold, prediction)) {
                assert_ne!(verdict.same, expected, "{gold} {prediction}");
                chosen += 1;
            } else {
                assert_eq!(
                    verdict.same, expected,
                    "{gold} {prediction}: {}",
                    verdict.reason
                );
            }
        }
    }
    assert_eq!(chosen, 2 * DIFFERENT_BY_CHOICE.len());
}

/// The differences that `docs/equality.md` lists.
#[test]
fn differences_by_choice_are_as_documented() {
    for (gold, prediction, same) in [
        ("2", "2\\sqrt{3}", false),
        ("$R^2 - r^2$", "$0$", false),
        ("$0.0000001$", "$0.0000002$", false),
        ("A", "a", true),
        ("$i^2$", "$-1$", true),
        ("$\\sqrt[3]{-8}$", "$-2$", true),
        ("$5 \\text{ m}$", "$500 \\text{ cm}$", true),
        ("$5 \\text{ m}$", "$5 \\text{ cm}$", false),
        ("$2x = 4$", "$x = 2$", true),
        ("$f(2) = 5$", "$5$", true),
        ("$e = \\frac12$", "$\\frac12$", true),
        ("$f(x) = 2x$", "$f(t) = 2t$", true),
        ("$f(x) = 2x$", "$g(x) = 2x$", false),
        ("$1:2:3$", "$2:4:6$", true),
        ("$1:2:3$", "$3:2:1$", false),
        ("$\\{x \\mid x > 1\\}$", "$(1,\\infty)$", true),
        ("9%", "9", true),
        ("$x + y = 1$", "$1$", true),
        ("$\\log 100$", "$2$", true),
        ("$\\ln(xy)$", "$\\ln x + \\ln y$", false),
    ] {
        let verdict = compare(gold, prediction);
        assert_eq!(
            verdict.same, same,
            "{gold} {prediction}: {}",
            verdict.reason
        );
    }
}

#[test]
fn gold_says_which_form_is_wanted() {
    for (gold, prediction, same) in [
        ("$0<x<1$", "$(0,1)$", true),
        ("$(0,1)$", "$0<x<1$", false),
        ("$(1,2,3)$", "$1,2,3$", true),
        ("$(3,2,1)$", "$1,2,3$", false),
        ("$1,2,3$", "$(3,2,1)$", true),
        ("$x=5$", "$5$", true),
        ("$5$", "$x=5$", true),
        ("$x=5$", "$y=5$", false),
    ] {
        assert_eq!(equal(gold, prediction), same, "{gold} {prediction}");
    }
}

#[test]
fn reasons_name_the_rule() {
    for (gold, prediction, part) in [
        ("5", "5.0", "exact number"),
        ("1/3", "0.333333", "six decimal places"),
        ("9%", "9", "percent"),
        ("$(x+1)^2$", "$x^2+2x+1$", "finite field"),
        ("$\\sin 2x$", "$2\\sin x\\cos x$", "25 digits"),
        ("$\\{1,2\\}$", "$2,1$", "any order"),
        ("$x<1$", "$1>x$", "relation"),
        ("", "5", "gold"),
        ("5", "", "prediction"),
        ("$12:00$", "$12:00$", "text"),
        ("$10^{10^{10}}$", "$\\pi^{10^{10}}$", "no rule"),
    ] {
        let reason = compare(gold, prediction).reason;
        assert!(reason.contains(part), "{gold} {prediction}: {reason}");
    }
}

#[test]
fn values_are_those_of_the_expression() {
    for (text, value) in [
        ("\\frac{1}{2}", Some(0.5)),
        ("$\\sqrt{2}$", Some(std::f64::consts::SQRT_2)),
        ("3:4", Some(0.75)),
        ("2\\pi", Some(std::f64::consts::TAU)),
        ("50\\%", Some(0.5)),
        ("5\\text{ cm}", Some(5.0)),
        ("x=7", Some(7.0)),
        ("1,234.5", Some(1234.5)),
        ("2^{10}", Some(1024.0)),
        ("30^\\circ", Some(30.0)),
        ("\\sin 30^\\circ", Some(0.5)),
        ("\\frac{1}{0}", None),
        ("x", None),
        ("\\{1,2\\}", None),
        ("a sentence", None),
        ("", None),
        ("i", None),
    ] {
        let found = evaluate(text);
        match (found, value) {
            (Some(found), Some(value)) => {
                assert!(
                    (found - value).abs() <= 1e-15 * value.abs(),
                    "{text}: {found}"
                );
            }
            _ => assert_eq!(found, value, "{text}"),
        }
    }
}

/// Expressions that have a value, as LaTeX.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-50i32..50).prop_map(|n| n.to_string()),
        (0u32..500, 1u32..100).prop_map(|(a, b)| format!("{a}.{b}")),
        prop::sample::select(vec!["x", "y", "a_1", "\\pi", "e", "\\theta"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})+({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})-({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})\\cdot({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("\\frac{{{a}}}{{({b})^2+1}}")),
            (inner.clone(), 0u32..5).prop_map(|(a, n)| format!("({a})^{{{n}}}")),
            inner.clone().prop_map(|a| format!("\\sqrt{{({a})^2+1}}")),
            inner.clone().prop_map(|a| format!("\\sin({a})")),
            inner.prop_map(|a| format!("\\ln(({a})^2+2)")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_expression_is_itself_and_its_terms_may_change_places(a in expression(), b in expression()) {
        let whole = format!("${a}$");
        prop_assert!(equal(&whole, &whole), "{whole}");
        let (left, right) = (format!("$({a})+({b})$"), format!("$({b})+({a})$"));
        prop_assert!(equal(&left, &right), "{left} {right}: {}", compare(&left, &right).reason);
        let (left, right) = (format!("$({a})\\cdot({b})$"), format!("$({b})\\cdot({a})$"));
        prop_assert!(equal(&left, &right), "{left} {right}: {}", compare(&left, &right).reason);
    }

    #[test]
    fn an_expression_is_not_itself_and_one(a in expression()) {
        let (left, right) = (format!("${a}$"), format!("$({a})+1$"));
        prop_assert!(!equal(&left, &right), "{left} {right}");
    }

    #[test]
    fn quantities_are_the_same_both_ways(a in expression(), b in expression()) {
        let (a, b) = (format!("${a}$"), format!("${b}$"));
        prop_assert_eq!(equal(&a, &b), equal(&b, &a));
    }

    #[test]
    fn lists_are_the_same_in_any_order(mut entries in prop::collection::vec(-99i32..99, 1..8), seed in any::<u64>()) {
        let write = |entries: &[i32]| {
            let entries: Vec<String> = entries.iter().map(i32::to_string).collect();
            format!("$\\{{{}\\}}$", entries.join(", "))
        };
        let gold = write(&entries);
        let length = entries.len();
        entries.rotate_left(seed as usize % length);
        prop_assert!(equal(&gold, &write(&entries)));
        entries.push(100);
        prop_assert!(!equal(&gold, &write(&entries)));
    }

    #[test]
    fn any_text_has_a_verdict(gold in "\\PC{0,60}", prediction in "\\PC{0,60}") {
        let verdict = compare(&gold, &prediction);
        prop_assert!(!verdict.reason.is_empty());
        prop_assert_eq!(verdict, compare(&gold, &prediction));
    }

    #[test]
    fn text_of_mathematical_signs_has_a_verdict(
        gold in "[$0-9a-z{}()\\[\\]|^_+*/=<>,;:.%! \\\\-]{0,60}",
        pieces in prop::collection::vec(prop::sample::select(vec![
            "\\frac", "\\sqrt", "{", "}", "(", ")", "\\left", "\\right", "$", "\\boxed{", "1", "x", "^", "_", ",",
            "\\pm", "\\cup", "=", "<", "\\sum_{k=1}^{3}", "\\int", "\\text{", "\\begin{pmatrix}", "&", "\\\\", "|",
            "\\end{pmatrix}", "!", "%", "\\{", "\\}", "\\in", "\\log_", "answer is", "\\lim_{x\\to 0}", ":", "[", "]",
        ]), 0..25),
    ) {
        let prediction = pieces.concat();
        let verdict = compare(&gold, &prediction);
        prop_assert_eq!(verdict, compare(&gold, &prediction));
        let wrapped = format!("${prediction}$");
        let _ = compare(&wrapped, &gold);
        let _ = evaluate(&prediction);
    }
}
