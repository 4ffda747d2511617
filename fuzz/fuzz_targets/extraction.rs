//! Any reply to any question: what is found in it, and what that is compared as.
#![no_main]

use eval::benchmarks::mathvista::{extract, normalise};
use eval::data::json;
use eval::python::{Literal, literal_eval};
use eval::{Answer, BENCHMARKS, Dialect, Extraction, Item, Kind, Scoring};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<&str>, f64)| {
    let (reply, choices, precision) = input;
    let _ = literal_eval(reply);
    let as_json = json::parse(reply).map(|value| value.to_python());
    let _ = json::parse_rows(reply);
    for kind in [
        Kind::MultiChoice,
        Kind::Integer,
        Kind::Float,
        Kind::List,
        Kind::Open,
    ] {
        let item = Item {
            id: "1".to_owned(),
            question: reply.to_owned(),
            choices: choices.iter().map(|&c| c.to_owned()).collect(),
            answer: None,
            kind,
            unit: None,
            precision: Some(precision),
            pictures: Vec::new(),
            groups: Vec::new(),
            extra: serde_json::Map::new(),
        };
        let _ = (extract::official(&item, reply), extract::extended(&item, reply));
        for dialect in [Dialect::Head, Dialect::Paper] {
            let _ = normalise::normalise(&Literal::Str(reply.to_owned()), &item, dialect);
            if let Ok(value) = &as_json {
                let _ = normalise::normalise(value, &item, dialect);
            }
        }
        let answer = Answer {
            response: Some(reply.to_owned()),
            ..Answer::default()
        };
        let how = Scoring {
            extraction: Extraction::Extended,
            ..Scoring::default()
        };
        let (items, answers) = ([item], [answer]);
        for benchmark in BENCHMARKS {
            for how in [how, Scoring::default()] {
                assert_eq!(benchmark.score(&items, &answers, &how).len(), 1);
            }
        }
    }
});
