//! What it costs to hold replies to a form: `cargo run --release -p model --example constraint_speed
//! -- TOKENIZER_DIR`.
//!
//! Times are for compiling schemas, ordinary and hostile ones, and a token's for following them: the
//! model's part is played by random logits.

// An example says what it found.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};

use model::{Constraint, Formed, Tokenizer};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("give a model's folder")?;
    let tokenizer = Tokenizer::load(Path::new(&dir))?;
    let begun = Instant::now();
    let _ = Constraint::json_object(&tokenizer)?;
    println!(
        "{} tokens, tree and first grammar {:?}, {} MiB",
        tokenizer.vocab_size(),
        begun.elapsed(),
        resident()
    );
    for (name, schema) in schemas() {
        let before = resident();
        let begun = Instant::now();
        let made = Constraint::json_schema(&tokenizer, &schema);
        let compiled = begun.elapsed();
        let result = match &made {
            Ok(constraint) => follow(constraint, &tokenizer),
            Err(e) => {
                let text: String = e.to_string().chars().take(110).collect();
                format!("refused: {text}")
            }
        };
        let grown = resident().saturating_sub(before);
        println!(
            "{name:<24} {:>8.1} ms, {grown:>4} MiB: {result}",
            ms(compiled)
        );
    }
    Ok(())
}

/// Up to 400 tokens, those that may follow in an order of preference that is other at each place.
fn follow(constraint: &Constraint, tokenizer: &Tokenizer) -> String {
    let width = usize::try_from(tokenizer.vocab_size()).unwrap_or(0) + 64;
    let mut times = Vec::new();
    let mut tokens: Vec<i64> = Vec::new();
    let mut state = constraint.begin();
    let end = loop {
        let shift = tokens.len() * 7919;
        let logits: Vec<f32> = (0..width)
            .map(|id| ((id + shift) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40)
            .map(|hash| hash as f32)
            .collect();
        let begun = Instant::now();
        let scores = state.restrict(&logits, &[tokenizer.eos]);
        let Some(scores) = scores else {
            break "found too costly";
        };
        let likeliest = (0..width).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let token = likeliest.unwrap_or(0) as i64;
        let formed = match token == tokenizer.eos {
            true => Formed::Complete,
            false => state.accept(token),
        };
        times.push(begun.elapsed());
        tokens.push(token);
        match formed {
            Formed::Complete => break "complete",
            Formed::Lost => break "lost",
            Formed::Open if tokens.len() == 400 => break "open",
            Formed::Open => {}
        }
    };
    times.sort();
    let text = tokenizer.decode(&tokens).unwrap_or_default();
    let at = |share: f64| {
        let place = (times.len().saturating_sub(1)) as f64 * share;
        ms(times.get(place as usize).copied().unwrap_or_default()) * 1000.0
    };
    format!(
        "{end} after {} tokens, us a token {:.0} (p50), {:.0} (p95), {:.0} (most); {:?}",
        tokens.len(),
        at(0.5),
        at(0.95),
        at(1.0),
        text.chars().take(40).collect::<String>(),
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Memory of this process in MiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) / 256
}

/// Ordinary schemas, then those that somebody might send to take memory or time.
fn schemas() -> Vec<(&'static str, Value)> {
    let any_names = |count: usize, schema: Value| -> Value {
        (0..count)
            .map(|n| (format!("p{n}"), schema.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let deep = (0..31).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "object", "properties": {"a": inner}, "required": ["a"]}),
    );
    let chain: serde_json::Map<String, Value> = (0..1000)
        .map(|n| {
            let next = format!("#/$defs/d{}", n + 1);
            (
                format!("d{n}"),
                json!({"type": "object", "$ref": next, "title": "x"}),
            )
        })
        .chain([("d1000".to_owned(), json!({"type": "object"}))])
        .collect();
    let branching: serde_json::Map<String, Value> = (0..30)
        .map(|n| {
            let next = format!("#/$defs/d{}", n + 1);
            let field = json!({"$ref": next});
            (
                format!("d{n}"),
                json!({"type": "object", "properties": {"a": field, "b": field},
                       "allOf": [{"$ref": next}, {"$ref": next}]}),
            )
        })
        .chain([("d30".to_owned(), json!({"type": "object"}))])
        .collect();
    let words: Vec<String> = (0..4000).map(|n| format!("word {n}")).collect();
    let options: Vec<Value> = (0..40)
        .map(|n| json!({"properties": {"k": {"const": n}, (format!("x{n}")): {"type": "string"}}}))
        .collect();
    vec![
        (
            "answer",
            json!({"type": "object", "additionalProperties": false,
                   "required": ["reasoning", "answer", "unit", "sure"],
                   "properties": {"reasoning": {"type": "string", "maxLength": 300},
                       "answer": {"type": "number"},
                       "unit": {"enum": ["cm", "m", "none"]}, "sure": {"type": "boolean"}}}),
        ),
        ("any object", json!({"type": "object"})),
        (
            "dates and patterns",
            json!({"type": "object", "additionalProperties": false, "required": ["d", "c"],
                   "properties": {"d": {"type": "string", "format": "date-time"},
                       "c": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2,4}$"}}}),
        ),
        ("nested 31 deep", deep),
        (
            "1,000 properties",
            json!({"type": "object", "properties": any_names(1000, json!({"type": "string"}))}),
        ),
        (
            "any tree",
            json!({"$defs": {"t": {"type": "object", "properties": {
                "l": {"$ref": "#/$defs/t"}, "r": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}),
        ),
        ("enum of 4,000", json!({"enum": words})),
        (
            "chain of 1,000 $refs",
            json!({"$defs": chain, "$ref": "#/$defs/d0"}),
        ),
        (
            "2^30 by $refs",
            json!({"$defs": branching, "$ref": "#/$defs/d0"}),
        ),
        (
            "$ref to itself",
            json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        ),
        (
            "$ref beside itself",
            json!({"$defs": {"a": {"type": "object", "$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        ),
        (
            "$ref elsewhere",
            json!({"$ref": "http://127.0.0.1:1/schema.json"}),
        ),
        (
            "pattern (a{1000}){1000}",
            json!({"type": "string", "pattern": "^((a{1000}){1000}){1000}$"}),
        ),
        (
            "pattern (a|aa)+ twice",
            json!({"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$", "minLength": 500}),
        ),
        (
            "pattern .*a.{25}",
            json!({"type": "string", "pattern": "(a|b)*a(a|b){25}c"}),
        ),
        (
            "patterns all at once",
            json!({"allOf": (0..40).map(|n| json!({"type": "string",
                "pattern": format!("[a-z]{{{n}}}x.*y[^{n}]+z")})).collect::<Vec<_>>()}),
        ),
        (
            "pattern nested 3,000",
            json!({"type": "string", "pattern": format!("{}a{}", "(".repeat(3000), ")".repeat(3000))}),
        ),
        (
            "pattern of letters",
            json!({"type": "string", "pattern": "^(\\p{L}{1,500}\\p{N}{1,500}){1,500}$"}),
        ),
        (
            "minLength 10^9",
            json!({"type": "string", "minLength": 1_000_000_000}),
        ),
        (
            "minLength 10^18",
            json!({"type": "string", "minLength": 1_000_000_000_000_000_000u64}),
        ),
        (
            "minItems 10^9",
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000_000}),
        ),
        (
            "maxItems 10^18",
            json!({"type": "array", "items": {"type": "array", "maxItems": 1_000_000_000_000_000_000u64},
                   "maxItems": 1_000_000_000_000_000_000u64}),
        ),
        (
            "multipleOf",
            json!({"type": "integer", "multipleOf": 99_999_999, "minimum": 10}),
        ),
        (
            "multipleOf 9973",
            json!({"type": "integer", "multipleOf": 9973}),
        ),
        (
            "multipleOf 0.0625",
            json!({"type": "number", "multipleOf": 0.0625}),
        ),
        (
            "multipleOf of three",
            json!({"allOf": [{"type": "integer", "multipleOf": 65521}, {"multipleOf": 65519},
                             {"multipleOf": 65497}]}),
        ),
        ("multipleOf 0", json!({"type": "number", "multipleOf": 0})),
        (
            "numbers",
            json!({"type": "number", "minimum": 1e-300, "maximum": 1e300}),
        ),
        (
            "contradiction",
            json!({"type": "integer", "minimum": 5, "maximum": 4}),
        ),
        (
            "false",
            json!({"type": "object", "required": ["a"], "properties": {"a": false}}),
        ),
        (
            "anyOf 40 x 40",
            json!({"allOf": [{"anyOf": options.clone()}, {"anyOf": options}]}),
        ),
        (
            "anyOf true x 200",
            json!({"type": "object", "properties": any_names(1500, json!({})),
                   "anyOf": vec![json!(true); 200]}),
        ),
        (
            "enum beside properties",
            json!({"type": "object", "properties": any_names(1500, json!({})),
                   "enum": (0..4000).collect::<Vec<_>>()}),
        ),
        (
            "2,000 formats",
            json!({"type": "object", "properties": any_names(2000, json!({"format": "email"}))}),
        ),
        (
            "1,000 patterns",
            json!({"type": "object", "properties": (0..1000).map(|n| (format!("p{n}"),
                json!({"type": "string", "pattern": format!("^(x.*y.*){{{n}}}z$")})))
                .collect::<serde_json::Map<_, _>>()}),
        ),
        (
            "30 patternProperties",
            json!({"type": "object", "patternProperties": (0..30).map(|n|
                (format!("^{n}(x.*y.*){{50}}z$"), json!({}))).collect::<serde_json::Map<_, _>>()}),
        ),
        (
            "const with an accent",
            json!({"type": "array", "minItems": "é".repeat(99)}),
        ),
        (
            "its own options",
            json!({"x-guidance": {"whitespace_pattern": "(x{1000}){1000}", "lenient": true},
                   "type": "object", "not": {"type": "object"}}),
        ),
    ]
}
