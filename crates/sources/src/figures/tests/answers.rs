//! Answers computed a second time, from the scene's JSON alone.

use std::collections::BTreeSet;

use sample::Answer;
use serde_json::Value;

use super::super::*;
use super::{Composition, compose, scene_of};

fn question_of(made: &Composition, template: &str) -> Vec<Answer> {
    made.questions
        .iter()
        .filter(|q| q.template == template)
        .map(|q| q.answer.clone())
        .collect()
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
