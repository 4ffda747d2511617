//! What `/metrics` shows is read as strictly as the format's description allows.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use serve::scripted::{Faults, ScriptedEngine, ScriptedModel, ScriptedQuestion, question};
use serve::{Client, Driver, Metrics, Schedule, ScheduleLimits, metrics};
use tower::ServiceExt;

type Labels = BTreeMap<String, String>;

/// A family as `# TYPE` names it, with its samples in order: name, labels, value.
struct Family {
    kind: String,
    samples: Vec<(String, Labels, f64)>,
}

/// Reads the text format 0.0.4; whatever is not in its description is an error.
fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    let body = text
        .strip_suffix('\n')
        .ok_or("the last line does not end")?;
    for line in body.split('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(wrong("no help"))?;
            if help.is_empty() || !helped.insert(name.to_owned()) {
                return Err(wrong("no help, or helped twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(wrong("no type"))?;
            if !["counter", "gauge", "histogram"].contains(&kind) || !helped.contains(name) {
                return Err(wrong("unknown type, or type before help"));
            }
            let family = Family {
                kind: kind.to_owned(),
                samples: Vec::new(),
            };
            if families.insert(name.to_owned(), family).is_some() {
                return Err(wrong("typed twice"));
            }
            current = name.to_owned();
        } else {
            let (name, labels, value) = sample(line).ok_or(wrong("not a sample"))?;
            let family = families.get_mut(&current).ok_or(wrong("no type"))?;
            let suffix = name
                .strip_prefix(&current)
                .ok_or(wrong("another family's"))?;
            let known: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            if !known.contains(&suffix) {
                return Err(wrong("not a name of this family"));
            }
            if family.samples.iter().any(|s| s.0 == name && s.1 == labels) {
                return Err(wrong("twice the same"));
            }
            family.samples.push((name, labels, value));
        }
    }
    Ok(families)
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let is_name = |name: &str| {
        let mut chars = name.chars();
        chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (name, rest) = line.split_once('{')?;
    let mut labels = Labels::new();
    let mut rest = rest;
    loop {
        let (label, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
            return None;
        }
        rest = &quoted[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ")?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// Buckets grow with their bounds, the last is `+Inf` and says as much as the count.
fn check_histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        if sample.ends_with("_bucket") {
            let bound = labels.remove("le").unwrap();
            let bucket = (bound.replace("+Inf", "inf").parse().unwrap(), *value);
            series.entry(labels).or_default().push(bucket);
        } else if sample.ends_with("_count") {
            counts.insert(labels, *value);
        }
    }
    for (labels, buckets) in series {
        assert!(
            buckets
                .windows(2)
                .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1),
            "{name} {labels:?}"
        );
        assert_eq!(
            *buckets.last().unwrap(),
            (f64::INFINITY, counts[&labels]),
            "{name}"
        );
    }
}

fn value(
    families: &BTreeMap<String, Family>,
    family: &str,
    sample: &str,
    labels: &[(&str, &str)],
) -> f64 {
    let labels: Labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let samples = &families[family].samples;
    let found = samples.iter().find(|s| s.0 == sample && s.1 == labels);
    found.unwrap_or_else(|| panic!("no {sample} {labels:?}")).2
}

async fn answer(metrics: &Arc<Metrics>, model: &str, text: &str) {
    let body = |mut driver: Driver<ScriptedQuestion>| {
        driver
            .drive(&mut ScriptedEngine::new(Faults::default()))
            .unwrap();
    };
    let model = Arc::new(ScriptedModel::echo(model));
    let schedule = Schedule::start(model, ScheduleLimits::default(), Arc::clone(metrics), body);
    let mut replies = schedule
        .ask(&Client("a".to_owned()), question(text))
        .await
        .unwrap();
    while replies.next().await.is_some() {}
    schedule.stop();
    schedule.stopped().await;
}

#[tokio::test]
async fn the_text_is_what_prometheus_reads() {
    let metrics = Arc::<Metrics>::default();
    let strange = "a \"quoted\" \\ name\nof two lines";
    answer(&metrics, "plain", "one two three").await;
    answer(&metrics, strange, "one").await;
    let families = parse(&metrics.text()).unwrap();
    for (name, family) in &families {
        assert!(name.starts_with("math_llava_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        match family.kind.as_str() {
            "histogram" => {
                assert!(name.ends_with("_seconds"), "{name} has no unit");
                check_histogram(name, family);
            }
            _ => assert!(family.samples.iter().all(|s| s.2 >= 0.0), "{name}"),
        }
    }
    for (model, tokens) in [("plain", 3.0), (strange, 1.0)] {
        let labels = [("model", model)];
        for (family, expected) in [
            ("math_llava_prompt_tokens_total", tokens),
            ("math_llava_completion_tokens_total", tokens),
            ("math_llava_prefill_tokens_total", tokens),
            ("math_llava_answered_requests_total", 1.0),
            ("math_llava_waiting_requests", 0.0),
            ("math_llava_live_replies", 0.0),
        ] {
            assert_eq!(
                value(&families, family, family, &labels),
                expected,
                "{family}"
            );
        }
        for (family, expected) in [
            ("math_llava_queue_seconds", 1.0),
            ("math_llava_time_to_first_token_seconds", 1.0),
            ("math_llava_time_per_output_token_seconds", tokens - 1.0),
            ("math_llava_request_seconds", 1.0),
        ] {
            let count = format!("{family}_count");
            assert_eq!(
                value(&families, family, &count, &labels),
                expected,
                "{family}"
            );
        }
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_routers_own_templates() {
    let metrics = Arc::<Metrics>::default();
    let router = Router::new()
        .route("/runs/{run}", get(|| async { "a run" }))
        .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }));
    let router = metrics::counted(router, Arc::clone(&metrics));
    for path in ["/runs/1", "/runs/%22%0a", "/broken", "/x", "/y?z=1", "/%22"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
    }
    let families = parse(&metrics.text()).unwrap();
    let name = "math_llava_http_requests_total";
    let expected = [
        ("/runs/{run}", "200", 2.0),
        ("/broken", "502", 1.0),
        ("other", "404", 3.0),
    ];
    for (route, status, count) in expected {
        assert_eq!(
            value(
                &families,
                name,
                name,
                &[("route", route), ("status", status)]
            ),
            count
        );
    }
    assert_eq!(families[name].samples.len(), expected.len());
}
