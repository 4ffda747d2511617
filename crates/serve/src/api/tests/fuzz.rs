//! Ten thousand requests that no client would send: valid ones with something broken in them.

use super::*;

/// A steady source of choices.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.thrown += 1;
        let thrown = self.thrown.to_string();
        let draw = sample::seed::derive(self.seed, &["fuzz", &thrown]);
        (draw % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn valid() -> Vec<(&'static str, Value)> {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "number" } } });
    vec![
        (CHAT, asking(json!({}))),
        (
            CHAT,
            json!({
                "messages": [
                    { "role": "system", "content": "short" },
                    { "role": "user", "content": [
                        { "type": "text", "text": "look" },
                        { "type": "image_url", "image_url": { "url": picture(), "detail": "low" } },
                    ] },
                    { "role": "assistant", "content": "yes", "refusal": null },
                    { "role": "user", "content": "why" },
                ],
                "temperature": 0.5, "top_p": 0.9, "n": 2, "stop": ["a", "b"], "seed": 1,
                "max_tokens": 8, "stream": true, "stream_options": { "include_usage": true },
                "logprobs": true, "top_logprobs": 2,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": { "name": "x", "strict": true, "schema": schema },
                },
            }),
        ),
        (
            PLAIN,
            json!({ "prompt": ["a", "b"], "logprobs": 1, "stream": true, "max_tokens": 4 }),
        ),
        (SCORE, json!({ "pairs": [{ "a": "1/2", "b": "0.5" }] })),
        (
            SCORE,
            json!({ "reference": "x^2", "candidate": ["x*x", "2x"] }),
        ),
    ]
}

fn odd(dice: &mut Dice) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}<script>"),
        json!("x".repeat(3000)),
        json!("data:image/png;base64,AAAA"),
        json!("http://[::1]:22/"),
        json!("file:///etc/passwd"),
        json!([]),
        json!([[[[]]]]),
        json!({}),
        json!({ "type": "text" }),
        json!({ "type": "image_url", "image_url": { "url": "data:," } }),
    ];
    dice.pick(&odd).clone()
}

/// Every place in a value, as pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(entries) => {
            for (at, entry) in entries.iter().enumerate() {
                places(entry, &format!("{here}/{at}"), found);
            }
        }
        Value::Object(entries) => {
            for (name, entry) in entries {
                places(entry, &format!("{here}/{name}"), found);
            }
        }
        _ => {}
    }
}

fn mutated(value: &mut Value, dice: &mut Dice) {
    let mut all = Vec::new();
    places(value, "", &mut all);
    let place = dice.pick(&all).clone();
    let Some(slot) = value.pointer_mut(&place) else {
        return;
    };
    match dice.below(5) {
        0 | 1 => *slot = odd(dice),
        2 => *slot = json!([slot.clone(), slot.clone()]),
        3 => match slot {
            Value::Object(entries) => {
                let names: Vec<String> = entries.keys().cloned().collect();
                if !names.is_empty() {
                    entries.remove(dice.pick(&names));
                }
            }
            Value::Array(entries) => {
                entries.pop();
            }
            Value::String(text) => {
                text.pop();
            }
            other => *other = json!({ "was": other.clone() }),
        },
        _ => {
            let mut copy = slot.clone();
            std::mem::swap(slot, &mut copy);
            if let Value::Object(entries) = slot {
                entries.insert("tools".to_owned(), odd(dice));
            }
        }
    }
}

fn torn(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, *dice.pick(b"\"\\{}[],:0-e\xff\x00")),
            _ => {
                bytes.remove(at);
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_broken_requests_are_answered_and_none_breaks_the_server() {
    let router = served(vec![echo()]);
    let valid = valid();
    for (path, body) in &valid {
        let answer = posted(&router, path, body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    }
    let mut refused = 0;
    for case in 0..10_000 {
        let mut dice = Dice {
            seed: case,
            thrown: 0,
        };
        let (path, mut body) = dice.pick(&valid).clone();
        for _ in 0..dice.below(4) {
            mutated(&mut body, &mut dice);
        }
        let mut bytes = body.to_string().into_bytes();
        if dice.below(3) == 0 {
            torn(&mut bytes, &mut dice);
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = answer(&router, post(path, bytes)).await;
        if answer.status != 200 {
            let (status, ..) = answer.error();
            assert!(
                (400..500).contains(&status),
                "{case}: {shown} gave {}",
                answer.text
            );
            refused += 1;
        } else {
            assert!(
                !answer.text.contains("\"error\""),
                "{case}: {shown} gave {}",
                answer.text
            );
        }
    }
    // Else nothing was broken, or everything.
    assert!((4_000..9_500).contains(&refused), "{refused} were refused");
    assert_eq!(posted(&router, CHAT, &asking(json!({}))).await.status, 200);
}
