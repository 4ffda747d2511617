//! Tests over the whole of the list of families: a new family is held to all of them.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use sample::{Answer, seed};
use serde_json::Value;

use super::question::{pose, select};
use super::scene::{Composition, read_scene};
use super::*;

mod answers;
mod stage;
mod teaching;

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
            let binary = counts.len() == 2;
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

fn scene_of(made: &Composition) -> Value {
    serde_json::from_str(&made.scene).unwrap()
}
