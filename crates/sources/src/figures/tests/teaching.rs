//! What the program teacher says, and that nothing makes it panic.

use serde_json::{Value, json};

use super::super::*;
use super::{compose, scene_of};

fn subject(kind: &str, figure: &Drawn, q: &DrawnQuestion, avoid: &[String]) -> Value {
    json!({
        "kind": kind, "scene": figure.scene, "question": q.question, "choices": q.choices,
        "answer": q.answer.text(), "template": q.template, "unit": q.unit,
        "count": 4, "avoid": avoid, "seed": 5,
    })
}

fn bracketed<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!("The {name} is ["))? + name.len() + 9;
    line[start..].split("].").next()
}

#[test]
fn the_teacher_never_repeats_what_is_to_be_avoided() {
    let config = FiguresConfig::default();
    for (family, _) in families() {
        for number in 0..12 {
            let figure = draw(&config, 21, family, number).unwrap();
            let mut avoid: Vec<String> = figure
                .questions
                .iter()
                .map(|q| q.question.clone())
                .collect();
            let first = &figure.questions[0];
            for _ in 0..4 {
                for kind in ["askimg", "compq"] {
                    let Ok(text) = teach(&subject(kind, &figure, first, &avoid)) else {
                        continue;
                    };
                    for line in text.lines() {
                        let question = bracketed(line, "question").unwrap().to_owned();
                        assert!(!avoid.contains(&question), "{family} {kind}: {question}");
                        avoid.push(question);
                    }
                }
            }
        }
    }
}

#[test]
fn the_teacher_answers_every_kind_for_every_family() {
    let config = FiguresConfig::default();
    let (mut asked, mut silent) = (0, Vec::new());
    for (family, _) in families() {
        for number in 0..20 {
            let figure = draw(&config, 22, family, number).unwrap();
            for q in &figure.questions {
                for kind in ["askimg", "compq", "rephq", "simpq"] {
                    asked += 1;
                    let text = match teach(&subject(kind, &figure, q, &[])) {
                        Ok(text) => text,
                        Err(e) => {
                            silent.push(format!("{family} {kind} {:?}: {e}", q.question));
                            continue;
                        }
                    };
                    let lines = text.lines().count();
                    assert!(
                        lines == 1 || kind == "askimg" && (3..=4).contains(&lines),
                        "{text}"
                    );
                    if kind == "rephq" || kind == "simpq" {
                        assert_ne!(bracketed(&text, "question"), Some(q.question.as_str()));
                        assert_eq!(bracketed(&text, "answer"), Some(q.answer.text().as_str()));
                        assert_eq!(bracketed(&text, "form"), Some(q.template.as_str()));
                    }
                }
            }
        }
    }
    // Where a question takes more steps than any other, there is none that is harder.
    assert!(
        silent.len() * 100 < asked,
        "no answer to {} of {asked}: {silent:#?}",
        silent.len()
    );
    assert!(silent.iter().all(|s| s.contains(" compq ")), "{silent:#?}");
}

#[test]
fn composed_questions_need_more_steps_and_compute_their_answer() {
    let config = FiguresConfig {
        degraded: 0.0,
        ..FiguresConfig::default()
    };
    let mut sums = 0;
    for number in 0..60 {
        let figure = draw(&config, 23, "counting", number).unwrap();
        let scene: Value = serde_json::from_str(&figure.scene).unwrap();
        let things = format!("{}s", scene["thing"].as_str().unwrap());
        for q in &figure.questions {
            let Ok(text) = teach(&subject("compq", &figure, q, &[])) else {
                continue;
            };
            let question = bracketed(&text, "question").unwrap();
            // Sums of two colours, against the scene.
            let numbers: Option<Vec<i64>> = question
                .strip_prefix("What is the sum of the number of ")
                .and_then(|rest| rest.strip_suffix("?"))
                .and_then(|rest| rest.split_once(" and the number of "))
                .and_then(|(a, b)| {
                    [a, b]
                        .iter()
                        .map(|part| {
                            let colour = part.strip_suffix(&format!(" {things}"))?;
                            scene["groups"]
                                .as_array()?
                                .iter()
                                .find_map(|g| (g[0] == colour).then(|| g[1].as_i64()).flatten())
                        })
                        .collect()
                });
            if let Some(numbers) = numbers {
                sums += 1;
                let sum: i64 = numbers.iter().sum();
                let answer = bracketed(&text, "answer").unwrap();
                assert!(
                    answer == sum.to_string() || text.contains("The choices are"),
                    "{text}"
                );
            }
        }
    }
    assert!(sums > 0, "no sum of two colours came up");
}

#[test]
fn without_a_scene_the_teacher_says_what_is_needed() {
    let nothing = teach(&json!({"kind": "askimg", "scene": null, "question": "?"})).unwrap_err();
    assert!(
        nothing.contains("real images need a configured teacher"),
        "{nothing}"
    );
    for (scene, word) in [
        ("no json", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "names no family"),
        (r#"{"family":"photo"}"#, "photo"),
        (r#"{"family":"bar","values":[1]}"#, "not a bar scene"),
    ] {
        let error = teach(&json!({"kind": "askimg", "scene": scene})).unwrap_err();
        assert!(error.contains(word), "{scene}: {error}");
    }
    let figure = draw(&FiguresConfig::default(), 1, "bar", 0).unwrap();
    let mut odd = subject("rephq", &figure, &figure.questions[0], &[]);
    odd["question"] = json!("Who drew this?");
    assert!(teach(&odd).is_err());
    odd["kind"] = json!("guess");
    assert!(teach(&odd).unwrap_err().contains("guess"));
}

/// Replaces the `at`th value found in a walk over `value`.
fn damage(value: &mut Value, at: &mut usize, by: &Value) {
    if *at == 0 {
        *value = by.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Value::Array(items) => {
            for item in items {
                if *at == usize::MAX {
                    return;
                }
                damage(item, at, by);
            }
        }
        Value::Object(fields) => {
            for (_, item) in fields.iter_mut() {
                if *at == usize::MAX {
                    return;
                }
                damage(item, at, by);
            }
        }
        _ => {}
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_scene_makes_the_teacher_panic(
        family in 0usize..FAMILIES.len(),
        number in 0u64..20,
        places in proptest::collection::vec((0usize..40, 0usize..14), 1..4),
        kind in 0usize..4,
    ) {
        let odd = [
            json!(null), json!(0), json!(-1), json!(1), json!(3), json!(i64::MAX), json!(i64::MIN),
            json!(1e308), json!(0.5), json!(""), json!("red"), json!([]), json!({}), json!(true),
        ];
        let mut scene = scene_of(&compose(FAMILIES[family], number));
        for (mut at, by) in places {
            damage(&mut scene, &mut at, &odd[by]);
        }
        let kind = ["askimg", "compq", "rephq", "simpq"][kind];
        let _ = teach(&json!({
            "kind": kind, "scene": scene.to_string(), "question": "How many?", "count": 50,
        }));
    }

    #[test]
    fn no_text_as_scene_makes_the_teacher_panic(scene: String, question: String) {
        let _ = teach(&json!({"kind": "rephq", "scene": scene, "question": question}));
    }
}
