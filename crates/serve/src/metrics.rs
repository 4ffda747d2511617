//! What the server did, as Prometheus reads it.
//!
//! Our own counters and text, because the format is a few lines and the library that Prometheus keeps
//! writes the other one, OpenMetrics. Everything is an atomic, so counting never waits. Values of labels
//! come from the server alone (the router's own templates, the models it was started with, kinds of
//! refusals): no client can make the text grow.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::model::RefusalKind;

/// Counters and histograms of one server. Cheap to update from any thread.
#[derive(Debug, Default)]
pub struct Metrics {
    models: Mutex<BTreeMap<String, Arc<ModelMetrics>>>,
    /// By route and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

/// What was done with one model.
#[derive(Debug, Default)]
pub(crate) struct ModelMetrics {
    pub(crate) waiting: Gauge,
    pub(crate) live: Gauge,
    pub(crate) cache_bytes: Gauge,
    pub(crate) answered: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) images: Counter,
    pub(crate) images_encoded: Counter,
    pub(crate) prompt_tokens: Counter,
    pub(crate) cached_tokens: Counter,
    pub(crate) completion_tokens: Counter,
    pub(crate) prefill_computed: Counter,
    pub(crate) prefill_cached: Counter,
    pub(crate) queue_time: Histogram,
    pub(crate) first_token_time: Histogram,
    pub(crate) token_time: Histogram,
    pub(crate) request_time: Histogram,
    refused: [Counter; REASONS.len()],
}

/// Kinds of refusals and how they are called here.
const REASONS: [(RefusalKind, &str); 7] = [
    (RefusalKind::Invalid, "invalid"),
    (RefusalKind::ContextLength, "context_length"),
    (RefusalKind::TooLarge, "too_large"),
    (RefusalKind::Busy, "busy"),
    (RefusalKind::Stopping, "stopping"),
    (RefusalKind::TimedOut, "timed_out"),
    (RefusalKind::Failed, "failed"),
];

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// A number as it is now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

/// Upper ends of a histogram's buckets in seconds: from a token on a fast machine to the longest request.
const BOUNDS: [f64; 20] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0,
    60.0, 120.0, 300.0, 600.0,
];

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// By the first bound that is not less; the last for what is over all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl ModelMetrics {
    pub(crate) fn refused(&self, kind: RefusalKind) {
        if let Some(at) = REASONS.iter().position(|(reason, _)| *reason == kind) {
            self.refused[at].add(1);
        }
    }
}

/// A counter's or gauge's name, what it is, and where its value lies.
type Number = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ModelMetrics) -> u64,
);

const NUMBERS: [Number; 12] = [
    (
        "math_llava_waiting_requests",
        "gauge",
        "Requests that wait or are being prepared.",
        |m| m.waiting.get(),
    ),
    (
        "math_llava_live_replies",
        "gauge",
        "Replies being written.",
        |m| m.live.get(),
    ),
    (
        "math_llava_cache_bytes",
        "gauge",
        "Keys and values, those of past conversations included.",
        |m| m.cache_bytes.get(),
    ),
    (
        "math_llava_answered_requests_total",
        "counter",
        "Requests whose replies were written to the end.",
        |m| m.answered.get(),
    ),
    (
        "math_llava_cancelled_requests_total",
        "counter",
        "Requests whose client went away.",
        |m| m.cancelled.get(),
    ),
    (
        "math_llava_images_total",
        "counter",
        "Images in requests.",
        |m| m.images.get(),
    ),
    (
        "math_llava_images_encoded_total",
        "counter",
        "Images encoded; the others were known.",
        |m| m.images_encoded.get(),
    ),
    (
        "math_llava_prompt_tokens_total",
        "counter",
        "Tokens of prompts, each request's counted once.",
        |m| m.prompt_tokens.get(),
    ),
    (
        "math_llava_cached_prompt_tokens_total",
        "counter",
        "Of those, tokens that an earlier request had.",
        |m| m.cached_tokens.get(),
    ),
    (
        "math_llava_completion_tokens_total",
        "counter",
        "Tokens of replies.",
        |m| m.completion_tokens.get(),
    ),
    (
        "math_llava_prefill_tokens_total",
        "counter",
        "Prompt tokens that were computed.",
        |m| m.prefill_computed.get(),
    ),
    (
        "math_llava_prefill_cached_tokens_total",
        "counter",
        "Prompt tokens, each reply's, that were not computed.",
        |m| m.prefill_cached.get(),
    ),
];

/// A histogram's name, what it is, and where it lies.
type Times = (&'static str, &'static str, fn(&ModelMetrics) -> &Histogram);

const TIMES: [Times; 4] = [
    (
        "math_llava_queue_seconds",
        "From a request's arrival to its first slot.",
        |m| &m.queue_time,
    ),
    (
        "math_llava_time_to_first_token_seconds",
        "From a request's arrival to its first token.",
        |m| &m.first_token_time,
    ),
    (
        "math_llava_time_per_output_token_seconds",
        "From a token to the next one of the same reply.",
        |m| &m.token_time,
    ),
    (
        "math_llava_request_seconds",
        "From a request's arrival to its last token.",
        |m| &m.request_time,
    ),
];

impl Metrics {
    /// The counters of a model that is served; the same for the same name.
    pub(crate) fn model(&self, id: &str) -> Arc<ModelMetrics> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(models.entry(id.to_owned()).or_default())
    }

    fn answered(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status)).or_default() += 1;
    }

    /// The text exposition format, version 0.0.4, to be sent as [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let models: Vec<(String, Arc<ModelMetrics>)> = {
            let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            let quoted = models
                .iter()
                .map(|(id, model)| (quoted(id), Arc::clone(model)));
            quoted.collect()
        };
        let mut text = String::new();
        let name = "math_llava_http_requests_total";
        family(
            &mut text,
            name,
            "counter",
            "Requests, by the route that answered and its status.",
        );
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for ((route, status), count) in requests {
            line(
                &mut text,
                name,
                &format!("route={},status=\"{status}\"", quoted(&route)),
                count,
            );
        }
        for (name, kind, help, value) in NUMBERS {
            family(&mut text, name, kind, help);
            for (id, model) in &models {
                line(&mut text, name, &format!("model={id}"), value(model));
            }
        }
        let name = "math_llava_refused_requests_total";
        family(
            &mut text,
            name,
            "counter",
            "Requests that were not answered, by reason.",
        );
        for (id, model) in &models {
            for ((_, reason), count) in REASONS.iter().zip(&model.refused) {
                line(
                    &mut text,
                    name,
                    &format!("model={id},reason=\"{reason}\""),
                    count.get(),
                );
            }
        }
        for (name, help, histogram) in TIMES {
            family(&mut text, name, "histogram", help);
            for (id, model) in &models {
                times(&mut text, name, id, histogram(model));
            }
        }
        text
    }
}

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label's value in quotation marks.
fn quoted(value: &str) -> String {
    let escaped = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

fn times(text: &mut String, name: &str, id: &str, histogram: &Histogram) {
    let mut total = 0;
    for (at, bucket) in histogram.buckets.iter().enumerate() {
        total += bucket.load(Ordering::Relaxed);
        let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), f64::to_string);
        line(
            text,
            &format!("{name}_bucket"),
            &format!("model={id},le=\"{bound}\""),
            total,
        );
    }
    let seconds = histogram.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
    let _ = writeln!(text, "{name}_sum{{model={id}}} {seconds}");
    line(
        text,
        &format!("{name}_count"),
        &format!("model={id}"),
        total,
    );
}

/// The router, with its answers counted by route and status. What no route matches counts as `other`.
pub fn counted(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(middleware::from_fn_with_state(metrics, count))
}

async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    metrics.answered(route, response.status().as_u16());
    response
}
