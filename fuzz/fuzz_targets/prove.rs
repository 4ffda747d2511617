//! Any scene and any question for the programs that prove answers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|asked: (&str, &str)| {
    let (scene, question) = asked;
    let _ = sources::programs::prove(scene, question, &[]);
    // The table is right, and the question is anything.
    let table = r#"{"kind":"table","head":["Name","Apples"],"rows":[["Ann","3"],["Bo","5"]]}"#;
    let _ = sources::programs::prove(table, question, &[]);
    let _ = sources::programs::prove(table, question, &["3".to_owned(), "5".to_owned()]);
});
