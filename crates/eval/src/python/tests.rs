//! CPython's own results, and what must hold for any text.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn rows(name: &str) -> Vec<Value> {
    let rows = golden()[name].as_array().unwrap().clone();
    assert!(rows.len() > 50, "{name}: {}", rows.len());
    rows
}

#[test]
fn the_same_texts_are_numbers_as_in_python() {
    for row in rows("numbers") {
        let text = row[0].as_str().unwrap();
        assert_eq!(parse_int(text).as_deref(), row[1].as_str(), "int({text:?})");
        let real = parse_float(text).map(float_to_str);
        assert_eq!(real.as_deref(), row[2].as_str(), "float({text:?})");
    }
}

#[test]
fn floats_print_round_and_truncate_as_in_python() {
    for row in rows("floats") {
        let text = row[0].as_str().unwrap();
        let value: f64 = text.parse().unwrap();
        assert_eq!(float_to_str(value), text);
        assert_eq!(int_of_float(value).as_deref(), row[1].as_str(), "{text}");
        for pair in row[2].as_array().unwrap() {
            let places = pair[0].as_i64().unwrap();
            assert_eq!(
                round(value, places).map(float_to_str).as_deref(),
                pair[1].as_str(),
                "round({text}, {places})"
            );
        }
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(int_of_float(value), None);
        assert_eq!(round(value, 2).map(float_to_str), Some(float_to_str(value)));
    }
}

#[test]
fn texts_are_quoted_as_in_python() {
    for row in rows("repr") {
        let text = row[0].as_str().unwrap();
        assert_eq!(repr(text), row[1].as_str().unwrap(), "{text:?}");
    }
}

#[test]
fn the_same_texts_are_literals_as_in_python() {
    for row in rows("literals") {
        let text = row[0].as_str().unwrap();
        let read = literal_eval(text);
        assert_eq!(
            read.as_ref().ok().map(ToString::to_string).as_deref(),
            row[1].as_str(),
            "{text:?}: {read:?}"
        );
    }
}

#[test]
fn only_the_ends_are_stripped_and_of_all_that_python_calls_blank() {
    for (text, wanted) in [
        ("\u{1c} a b\u{3000}\u{85}\n", "a b"),
        ("\u{200b}a", "\u{200b}a"),
        (" \t", ""),
    ] {
        assert_eq!(strip(text), wanted, "{text:?}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for open in ["[", "(", "{", "-(", "{1:"] {
        let error = literal_eval(&open.repeat(100_000)).unwrap_err();
        assert!(error.detail.contains("deep"), "{open}: {error}");
    }
}

#[test]
fn long_numbers_are_read_in_full_or_refused() {
    assert_eq!(parse_int(&"9".repeat(4300)), Some("9".repeat(4300)));
    assert_eq!(parse_int(&"0".repeat(4301)), None);
    assert_eq!(parse_float(&"9".repeat(1_000_000)), Some(f64::INFINITY));
}

proptest! {
    #[test]
    fn any_float_reads_back_as_printed(value: f64) {
        let read = parse_float(&float_to_str(value)).unwrap();
        prop_assert!(read == value || (read.is_nan() && value.is_nan()));
    }

    #[test]
    fn any_text_reads_back_as_quoted(text: String) {
        prop_assert_eq!(literal_eval(&repr(&text)), Ok(Literal::Str(text)));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text: String, literal in "[\\[\\](){},:'\"\\\\a-f0-9 \n#+.-]{0,40}") {
        for text in [&text, &literal] {
            let _ = (parse_int(text), parse_float(text));
            if let Ok(value) = literal_eval(text) {
                prop_assert_eq!(literal_eval(&value.to_string()), Ok(value));
            }
        }
    }

    #[test]
    fn rounding_to_more_places_than_a_float_has_changes_nothing(value in -1e6..1e6f64) {
        prop_assert_eq!(round(value, 60), Some(value));
    }
}
