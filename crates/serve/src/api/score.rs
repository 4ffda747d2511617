//! `POST /v1/score`: whether answers are the same as mathematics.
//!
//! `{"pairs": [{"a": "1/2", "b": "0.5"}]}`, or `{"reference": "1/2", "candidate": "0.5"}` with one candidate or
//! a list of them. As in crate `equal`, `a` and the reference say which form is wanted; the work on a pair is
//! bounded whatever it holds. This route is no OpenAI's; its errors have the same form.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use equal::Comparison;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::field::Field;
use super::reply::written;
use super::{JSON, Shared, body};

/// Pairs of one request.
const PAIRS: usize = 1000;
/// Bytes of one text.
const TEXT: usize = 64 << 10;

#[derive(Debug, PartialEq)]
struct Pair {
    reference: String,
    candidate: String,
}

fn pairs(value: &Value) -> Result<Vec<Pair>, ApiError> {
    let body = Field::body(value)?;
    if let Some(list) = body.get("pairs") {
        let entries = counted(&list)?;
        let pairs: Vec<Pair> = entries
            .map(|pair| {
                let pair = pair.object()?;
                Ok(Pair {
                    reference: text(&pair.need("a")?)?,
                    candidate: text(&pair.need("b")?)?,
                })
            })
            .collect::<Result<_, ApiError>>()?;
        return Ok(pairs);
    }
    let Some(reference) = body.get("reference") else {
        let message = "give `pairs`, a list of {\"a\", \"b\"}, or `reference` and `candidate`";
        return Err(ApiError::value("pairs", message));
    };
    let reference = text(&reference)?;
    let candidate = body.need("candidate")?;
    let candidates = if candidate.is_text() {
        vec![text(&candidate)?]
    } else if matches!(candidate.value(), Value::Array(_)) {
        counted(&candidate)?
            .map(|candidate| text(&candidate))
            .collect::<Result<_, ApiError>>()?
    } else {
        return Err(candidate.not_a("a string or a list of strings"));
    };
    let pair = |candidate| Pair {
        reference: reference.clone(),
        candidate,
    };
    Ok(candidates.into_iter().map(pair).collect())
}

fn counted<'a>(list: &Field<'a>) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, ApiError> {
    let entries = list.list()?;
    if entries.len() > PAIRS {
        let message = format!(
            "`{}` has {} entries: give no more than {PAIRS}",
            list.place(),
            entries.len()
        );
        return Err(ApiError::limit(list.place(), message));
    }
    Ok(entries)
}

fn text(field: &Field) -> Result<String, ApiError> {
    let text = field.text()?;
    if text.len() > TEXT {
        let message = format!("`{}` has more than {TEXT} bytes", field.place());
        return Err(ApiError::limit(field.place(), message));
    }
    Ok(text.to_owned())
}

/// Says that nobody waits any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Compares.
pub(super) async fn compare(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let json = body::read(&shared.room, request).await?;
    let pairs = pairs(&json.value)?;
    drop(json);
    let _place = shared
        .scores
        .try_acquire()
        .map_err(|_| ApiError::busy("too many comparisons wait already; ask again in a moment"))?;
    let turn = shared.scoring.clone().acquire_owned().await;
    let gone = Arc::new(AtomicBool::new(false));
    let _gone = Gone(gone.clone());
    let verdicts = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        // Of a client that went away, the rest is not worth the work.
        pairs
            .iter()
            .take_while(|_| !gone.load(Ordering::Relaxed))
            .map(|pair| equal::compare(&pair.reference, &pair.candidate))
            .collect()
    })
    .await
    .map_err(|_| ApiError::internal())?;
    Ok((JSON, list(verdicts)).into_response())
}

fn list(verdicts: Vec<Comparison>) -> String {
    #[derive(Serialize)]
    struct List {
        object: &'static str,
        data: Vec<Verdict>,
        same: usize,
    }
    #[derive(Serialize)]
    struct Verdict {
        index: usize,
        object: &'static str,
        same: bool,
        reason: String,
    }
    let same = verdicts.iter().filter(|verdict| verdict.same).count();
    let data = verdicts.into_iter().enumerate();
    let data = data.map(|(index, verdict)| Verdict {
        index,
        object: "score",
        same: verdict.same,
        reason: verdict.reason,
    });
    written(&List {
        object: "list",
        data: data.collect(),
        same,
    })
}
