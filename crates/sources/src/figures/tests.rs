//! Tests over the whole of the list of families: a new family is held to all of them.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use sample::{Answer, seed};
use serde_json::{Value, json};

use super::question::{pose, select};
use super::scene::{Composition, read_scene};
use super::*;

fn rng(family: &str, number: u64) -> ChaCha8Rng {
    seed::rng(11, &["test", family, &number.to_string()])
}

fn compose(family: &dyn Family, number: u64) -> Composition {
    family
        .composition(None, &mut rng(family.name(), number))
        .unwrap()
}

#[test]
fn no_text_meets_another_or_leaves_the_canvas() {
    for family in FAMILIES {
        for number in 0..150 {
            let made = compose(*family, number);
            let edge = made.canvas.area();
            let texts = made.canvas.texts();
            for (i, a) in texts.iter().enumerate() {
                let name = family.name();
                assert!(
                    a.left >= edge.left
                        && a.top >= edge.top
                        && a.right <= edge.right
                        && a.bottom <= edge.bottom,
                    "{name} {number}: text {a:?} leaves the canvas"
                );
                for b in &texts[..i] {
                    let apart = a.right <= b.left
                        || b.right <= a.left
                        || a.bottom <= b.top
                        || b.bottom <= a.top;
                    assert!(apart, "{name} {number}: texts meet at {a:?} and {b:?}");
                }
            }
        }
    }
}

#[test]
fn every_task_and_thirteen_families_at_least() {
    assert!(FAMILIES.len() >= 13);
    let tasks: BTreeSet<Task> = families().map(|f| f.1).collect();
    assert_eq!(tasks.len(), Task::ALL.len());
    let names: BTreeSet<&str> = families().map(|f| f.0).collect();
    assert_eq!(names.len(), FAMILIES.len(), "two families share a name");
}

#[test]
fn levels_of_complexity_all_have_a_share() {
    let mut levels = [0usize; 4];
    for family in FAMILIES {
        let mut own = [0usize; 4];
        for number in 0..300 {
            let level = usize::from(compose(*family, number).load.complexity());
            levels[level] += 1;
            own[level] += 1;
        }
        eprintln!("{:>15} {own:?}", family.name());
    }
    let all: usize = levels.iter().sum();
    let share = levels.map(|n| n as f64 / all as f64);
    for (got, wanted) in share.iter().zip([0.20, 0.35, 0.35, 0.10]) {
        assert!(
            (got - wanted).abs() < 0.07,
            "shares of the levels: {share:.2?}"
        );
    }
}

#[test]
fn no_answer_rules_a_template() {
    let mut worst = Vec::new();
    for family in FAMILIES {
        // (answers by template, answers by template and choice)
        let mut answers: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for number in 0..1500 {
            let mut rng = rng(family.name(), number);
            let made = family.composition(None, &mut rng).unwrap();
            for question in select(&made.questions, 4, &|_| false, &mut rng) {
                let posed = pose(question, &mut rng);
                let counts = answers.entry(posed.template).or_default();
                *counts.entry(posed.answer.text()).or_default() += 1;
            }
        }
        for (template, counts) in answers {
            let all: usize = counts.values().sum();
            if all < 40 {
                continue;
            }
            let (answer, most) = counts.iter().max_by_key(|c| c.1).unwrap();
            let share = *most as f64 / all as f64;
            // Two standard deviations of a fair draw, over what the count of answers allows.
            let slack = 2.5 / (all as f64).sqrt() * 0.5;
            let binary = counts.len() == 2
                && counts.keys().all(|a| {
                    [
                        "yes", "no", "up", "down", "left", "right", "large", "small", "short",
                        "long",
                    ]
                    .contains(&a.as_str())
                        || ["addition", "subtraction", "more", "less"].contains(&a.as_str())
                });
            let limit = if binary { 0.55 } else { 0.36 } + slack;
            if share > limit {
                let name = family.name();
                worst.push(format!(
                    "{name}/{template}: {answer} {share:.2} of {all} {counts:?}"
                ));
            }
        }
    }
    assert!(
        worst.is_empty(),
        "answers that rule their templates:\n{}",
        worst.join("\n")
    );
}

#[test]
fn most_questions_need_no_small_print() {
    for family in FAMILIES {
        let (mut perceptual, mut all) = (0, 0);
        for number in 0..200 {
            let mut rng = rng(family.name(), number);
            let made = family.composition(None, &mut rng).unwrap();
            let chosen = select(&made.questions, 3, &|_| false, &mut rng);
            assert_eq!(chosen.len(), 3, "{} has too few questions", family.name());
            perceptual += chosen.iter().filter(|q| q.perceptual).count();
            all += 3;
        }
        let share = perceptual as f64 / f64::from(all);
        let name = family.name();
        assert!(
            share > 0.5,
            "{name}: only {share:.2} of the questions are perceptual"
        );
    }
}

fn perceptual_share_over_all() -> f64 {
    let (mut perceptual, mut all) = (0usize, 0usize);
    for family in FAMILIES {
        for number in 0..100 {
            let mut rng = rng(family.name(), number);
            let made = family.composition(None, &mut rng).unwrap();
            let chosen = select(&made.questions, 3, &|_| false, &mut rng);
            perceptual += chosen.iter().filter(|q| q.perceptual).count();
            all += chosen.len();
        }
    }
    perceptual as f64 / all as f64
}

#[test]
fn two_thirds_of_all_questions_are_perceptual() {
    let share = perceptual_share_over_all();
    assert!(share > 0.66, "{share:.3}");
}

#[test]
fn every_question_is_well_formed() {
    for family in FAMILIES {
        for number in 0..60 {
            let made = compose(*family, number);
            let name = family.name();
            for q in &made.questions {
                assert!(q.forms.len() >= 2, "{name}/{}: one form only", q.template);
                let texts: BTreeSet<&str> = q.texts().collect();
                assert_eq!(
                    texts.len(),
                    q.forms.len() + 1,
                    "{name}: forms repeat: {texts:?}"
                );
                assert!(
                    q.texts().all(|t| !t.contains(['[', ']', '\n'])),
                    "{name}: {texts:?}"
                );
                let shortest = q.forms.iter().map(String::len).min().unwrap();
                assert!(
                    q.concise.len() <= shortest,
                    "{name}: not concise: {:?}",
                    q.concise
                );
                let right = q.answer.text();
                assert!(
                    !q.distractors.contains(&right),
                    "{name}: the right answer is a wrong one"
                );
                assert!(!right.is_empty());
            }
        }
    }
}

#[test]
fn the_same_wording_never_has_two_answers() {
    for family in FAMILIES {
        for number in 0..60 {
            let made = compose(*family, number);
            let mut answers: BTreeMap<&str, &Answer> = BTreeMap::new();
            for q in &made.questions {
                for text in q.texts() {
                    let other = answers.insert(text, &q.answer);
                    assert!(
                        other.is_none_or(|o| *o == q.answer),
                        "{}: {text:?} is asked twice with different answers",
                        family.name()
                    );
                }
            }
        }
    }
}

#[test]
fn scenes_read_back_give_the_same_questions() {
    for family in FAMILIES {
        for number in 0..30 {
            let made = compose(*family, number);
            let back = read_scene(&made.scene).unwrap();
            assert_eq!(back.family, family.name());
            assert_eq!(back.questions, made.questions);
        }
    }
}

#[test]
fn degraded_scenes_read_back_too() {
    let config = FiguresConfig {
        degraded: 1.0,
        ..FiguresConfig::default()
    };
    let mut kinds = BTreeSet::new();
    for number in 0..40 {
        let figure = draw(&config, 3, "bar", number).unwrap();
        let scene: Value = serde_json::from_str(&figure.scene).unwrap();
        let kept: Degradation = serde_json::from_value(scene["degradation"].clone()).unwrap();
        assert_eq!(Some(kept), figure.degradation);
        kinds.insert(scene["degradation"]["kind"].as_str().unwrap().to_owned());
        assert!(read_scene(&figure.scene).is_ok());
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

// Answers computed a second time, from the scene's JSON alone.

fn question_of(made: &Composition, template: &str) -> Vec<Answer> {
    made.questions
        .iter()
        .filter(|q| q.template == template)
        .map(|q| q.answer.clone())
        .collect()
}

fn scene_of(made: &Composition) -> Value {
    serde_json::from_str(&made.scene).unwrap()
}

fn whole_numbers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect()
}

fn place_of_largest(values: &[i64]) -> usize {
    let largest = values.iter().max().unwrap();
    values.iter().position(|v| v == largest).unwrap()
}

#[test]
fn bar_answers_follow_from_the_scene() {
    for number in 0..80 {
        let made = compose(&families::bar::Bar, number);
        let scene = scene_of(&made);
        let values = whole_numbers(&scene["values"]);
        let top = place_of_largest(&values);
        assert_eq!(
            question_of(&made, "count"),
            [Answer::Integer(values.len() as i64)]
        );
        assert_eq!(
            question_of(&made, "total"),
            [Answer::Integer(values.iter().sum())]
        );
        assert_eq!(
            question_of(&made, "tallest_position"),
            [Answer::Integer(top as i64 + 1)]
        );
        for answer in question_of(&made, "tallest_colour") {
            assert_eq!(
                answer,
                Answer::Text(scene["hues"][top].as_str().unwrap().to_owned())
            );
        }
    }
}

#[test]
fn pie_answers_follow_from_the_scene() {
    for number in 0..80 {
        let made = compose(&families::pie::Pie, number);
        let scene = scene_of(&made);
        let shares = whole_numbers(&scene["shares"]);
        assert_eq!(shares.iter().sum::<i64>(), 100);
        let top = scene["hues"][place_of_largest(&shares)]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(question_of(&made, "largest_colour"), [Answer::Text(top)]);
        let halves = question_of(&made, "more_than_half");
        if !halves.is_empty() {
            let yes: Vec<usize> = (0..halves.len())
                .filter(|i| halves[*i] == Answer::Text("yes".into()))
                .collect();
            assert_eq!(yes, [place_of_largest(&shares)]);
        }
    }
}

#[test]
fn areas_and_perimeters_follow_from_the_scene() {
    let mut outlines = BTreeSet::new();
    for number in 0..120 {
        let made = compose(&families::composite_area::CompositeArea, number);
        let scene = scene_of(&made);
        let content = &scene["content"];
        if content["shows"] == "squares" {
            let shaded = content["shaded"].as_array().unwrap().len() as i64;
            assert_eq!(question_of(&made, "shaded"), [Answer::Integer(shaded)]);
            continue;
        }
        let get = |name: &str| content[name].as_i64().unwrap();
        let (w, h, a, b) = (get("width"), get("height"), get("arm"), get("arm2"));
        let outline = content["outline"].as_str().unwrap();
        // By cutting into rectangles, where the family uses the polygon's corners.
        let (area, perimeter) = match outline {
            "rectangle" => (w * h, 2 * (w + h)),
            "l" => (a * (h - b) + w * b, 2 * (w + h)),
            "t" => (w * b + a * (h - b), 2 * (w + h)),
            "u" => (w * h - a * (h - b), 2 * (w + h) + 2 * (h - b)),
            "plus" => (w * b + a * (h - b), 2 * (w + h)),
            other => panic!("{other}"),
        };
        outlines.insert(outline.to_owned());
        assert_eq!(
            question_of(&made, "area"),
            [Answer::Integer(area)],
            "{scene}"
        );
        assert_eq!(
            question_of(&made, "perimeter"),
            [Answer::Integer(perimeter)],
            "{scene}"
        );
    }
    assert_eq!(outlines.len(), 5);
}

#[test]
fn clocks_tell_the_time_also_later() {
    for number in 0..120 {
        let made = compose(&families::clock::Clock, number);
        let scene = scene_of(&made);
        let (h, m) = (
            scene["hour"].as_i64().unwrap(),
            scene["minute"].as_i64().unwrap(),
        );
        assert_eq!(question_of(&made, "hour"), [Answer::Integer(h)]);
        let in_an_hour = format!("{}:{m:02}", h % 12 + 1);
        assert!(
            question_of(&made, "later").contains(&Answer::Text(in_an_hour)),
            "{scene}"
        );
    }
}

#[test]
fn kinds_of_triangles_follow_from_the_scene() {
    let mut kinds = BTreeSet::new();
    for number in 0..120 {
        let made = compose(&families::triangle::Triangle, number);
        let scene = scene_of(&made);
        let given = &scene["given"];
        let sided = given["given"] == "sides";
        let mut v = whole_numbers(&given[if sided { "sides" } else { "angles" }]);
        v.sort_unstable();
        let excess = if sided {
            v[2] * v[2] - v[0] * v[0] - v[1] * v[1]
        } else {
            v[2] - 90
        };
        let kind = ["acute", "right", "obtuse"][(excess.signum() + 1) as usize];
        kinds.insert(kind);
        assert_eq!(
            question_of(&made, "angle_kind"),
            [Answer::Text(kind.into())],
            "{scene}"
        );
    }
    assert_eq!(kinds.len(), 3);
}

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

#[test]
fn settings_that_cannot_be_used_are_named() {
    let base = FiguresConfig::default;
    for (config, word) in [
        (FiguresConfig { size: 3, ..base() }, "size"),
        (
            FiguresConfig {
                degraded: 1.5,
                ..base()
            },
            "degraded",
        ),
        (
            FiguresConfig {
                degraded: f64::NAN,
                ..base()
            },
            "degraded",
        ),
        (
            FiguresConfig {
                questions_per_figure: 0,
                ..base()
            },
            "questions_per_figure",
        ),
        (
            FiguresConfig {
                split: "../x".into(),
                ..base()
            },
            "split",
        ),
        (
            FiguresConfig {
                families: vec!["bars".into()],
                ..base()
            },
            "grouped_bar",
        ),
        (
            FiguresConfig {
                families: vec!["bar".into(), "bar".into()],
                ..base()
            },
            "twice",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = import(&config, 1, folder.path(), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(serde_json::from_value::<FiguresConfig>(json!({"counts": 3})).is_err());
}

fn contents(folder: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                all.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_any_thread_count_and_after_a_stop() {
    sample::progress::set_quiet(true);
    let config = FiguresConfig {
        count: 45,
        size: 160,
        degraded: 0.3,
        ..FiguresConfig::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: usize, seed: u64| {
        let path = folder.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let manifest = pool
            .install(|| import(&config, seed, &path, false))
            .unwrap();
        (path, manifest)
    };
    let (one, manifest) = run("one", 1, 9);
    assert_eq!(manifest.counts["images"], 45);
    assert_eq!(manifest.counts["samples"], 135);
    assert_eq!(manifest.counts["rejects"], 0);
    let all = contents(&one);
    assert_eq!(contents(&run("two", 2, 9).0), all);
    assert_ne!(contents(&run("other", 2, 10).0), all);
    // As a kill leaves it: no manifest, some files missing, one half written.
    let half = folder.path().join("half");
    std::fs::create_dir_all(half.join("images/bar")).unwrap();
    std::fs::write(half.join("images/bar/0.png"), b"half").unwrap();
    assert_eq!(contents(&run("half", 2, 9).0), all);
    // A finished folder is left as it is, and refused to another configuration.
    assert_eq!(run("one", 2, 9).1, manifest);
    let error = import(&config, 10, &one, false).unwrap_err().to_string();
    assert!(error.contains("seed"), "{error}");
}

#[test]
fn rows_trace_back_and_their_images_are_there() {
    sample::progress::set_quiet(true);
    let folder = tempfile::tempdir().unwrap();
    let config = FiguresConfig {
        count: 40,
        split: "test".into(),
        ..FiguresConfig::default()
    };
    let manifest = import(&config, 2, folder.path(), false).unwrap();
    let samples: Vec<sample::Sample> =
        sample::read_table(&folder.path().join(sample::SAMPLES)).unwrap();
    let images: Vec<sample::ImageRow> =
        sample::read_table(&folder.path().join(sample::IMAGES)).unwrap();
    assert_eq!(samples[0].id, "figures:test:bar:0:q0");
    let ids: BTreeSet<&str> = samples.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids.len(), samples.len());
    for row in &images {
        let path =
            sample::resolve_image(folder.path(), &manifest.image_roots, &row.image.path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(sample::sha256_hex(&bytes), row.image.sha256);
        let pixels = sample::pixels::decode(&bytes).unwrap();
        assert_eq!(pixels.dimensions(), (row.image.width, row.image.height));
        assert!(row.scene.as_deref().is_some_and(|s| read_scene(s).is_ok()));
    }
    for sample in &samples {
        if let Answer::Choice(right) = sample.answer {
            assert!(right < sample.choices.len() && sample.choices.len() >= 2);
            let distinct: BTreeSet<&String> = sample.choices.iter().collect();
            assert_eq!(distinct.len(), sample.choices.len(), "{sample:?}");
        }
    }
}

#[test]
fn other_splits_are_other_figures() {
    let train = FiguresConfig {
        degraded: 0.0,
        ..FiguresConfig::default()
    };
    let test = FiguresConfig {
        split: "test".into(),
        ..train.clone()
    };
    for (family, _) in families() {
        let digest = |config: &FiguresConfig, n| {
            sample::sha256_hex(draw(config, 1, family, n).unwrap().image.as_raw())
        };
        let seen: BTreeSet<String> = (0..15).map(|n| digest(&train, n)).collect();
        assert_eq!(seen.len(), 15, "{family}: two figures are the same");
        assert!(
            (0..15).all(|n| !seen.contains(&digest(&test, n))),
            "{family}"
        );
    }
}
