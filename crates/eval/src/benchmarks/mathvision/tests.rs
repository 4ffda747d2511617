//! MATH-V's rules against the official code: its published outputs where they are at hand, and a
//! golden of strings that were run through it.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// `tests/data/mathvision/golden.json` beside its generator.
const GOLDEN: &str = include_str!("../../../tests/data/mathvision/golden.json");

#[test]
fn values_are_those_of_the_official_code() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let cases = golden["values"].as_array().unwrap();
    assert!(cases.len() > 500);
    let mut wrong = Vec::new();
    for case in cases {
        let (text, expected) = (case[0].as_str().unwrap(), case[1].as_str());
        let found = expression::parse(text)
            .and_then(|node| value::of(&node))
            .and_then(|value| value::printed(&value::rounded(value)))
            .ok();
        if found.as_deref() != expected {
            wrong.push(format!("{text:?}: official {expected:?}, here {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
