//! Any text as a teacher's reply: pairs, answers, verdicts, JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synth::reply;

fuzz_target!(|text: &str| {
    for pair in reply::parse(text) {
        assert!(!pair.question.is_empty());
    }
    let _ = reply::last_answer(text);
    let _ = reply::last_after(text, "the verdict is");
    // What is JSON comes back as it is.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(text)
        && (value.is_object() || value.is_array())
    {
        assert_eq!(chat::http::json::repair(text), Some(value));
    } else {
        let _ = chat::http::json::repair(text);
    }
});
