//! Any two texts as final answers: a verdict, and of one text the same verdict twice.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pair: (&str, &str)| {
    let (gold, prediction) = pair;
    let verdict = equal::compare(gold, prediction);
    assert_eq!(verdict, equal::compare(gold, prediction));
    if let Some(value) = equal::evaluate(gold) {
        assert!(!value.is_nan());
    }
});
