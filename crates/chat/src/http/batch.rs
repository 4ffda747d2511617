//! The Batch API: the same requests by the file, answered within a day at half the price.
//!
//! The calls alone; which requests go into which file, and what is asked again, is the dispatcher's.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::body::{self, Pieces};
use super::reply::{fault, of_status, of_value};
use super::{Http, MAX_REPLY, Server, weakened};
use crate::Request;
use crate::transport::{
    BatchLine, BatchState, BatchStatus, BatchTransport, Doing, Fault, FaultKind,
};

/// A file of 200 MB, the most that a batch may have, over a slow line.
const TRANSFER: Duration = Duration::from_secs(3600);
/// Bytes of a file that are read at once.
const BLOCK: usize = 1 << 20;
/// Batches looked through for a label; more than anybody starts in the days that batches live.
const MOST_BATCHES: usize = 10_000;

impl BatchTransport for Http {
    fn line<'a>(
        &'a self,
        server: usize,
        request: &'a Request,
        custom_id: &'a str,
    ) -> Doing<'a, Vec<Bytes>> {
        Box::pin(async move {
            let weaker = self
                .server(server)?
                .weaker
                .load(std::sync::atomic::Ordering::Relaxed);
            let mode = weakened(self.config.json, weaker);
            let data_urls = self.data_urls(request).await?;
            let mut line = Pieces::default();
            line.text(&format!(
                r#"{{"custom_id":{},"method":"POST","url":"/v1/chat/completions","body":"#,
                Value::from(custom_id)
            ));
            if !body::write(&mut line, &self.config, mode, false, request, data_urls) {
                return Err(fault(FaultKind::Invalid, "no user speaks in the request"));
            }
            line.text("}\n");
            Ok(line.finish())
        })
    }

    fn upload<'a>(&'a self, server: usize, lines: &'a Path) -> Doing<'a, String> {
        Box::pin(async move {
            let unreadable =
                |e: std::io::Error| fault(FaultKind::Invalid, format!("{}: {e}", lines.display()));
            let server = self.server(server)?;
            let file = File::open(lines).map_err(unreadable)?;
            let length = file.metadata().map_err(unreadable)?.len();
            let body = reqwest::Body::wrap_stream(blocks(file));
            let part = Part::stream_with_length(body, length)
                .file_name("requests.jsonl")
                .mime_str("application/jsonl")
                .map_err(|e| server.broken(e))?;
            let form = Form::new().text("purpose", "batch").part("file", part);
            let request = server.request(Method::POST, "files").multipart(form);
            let uploaded = server.json(request.timeout(TRANSFER)).await?;
            let id = uploaded["id"].as_str().map(str::to_owned);
            id.ok_or_else(|| fault(FaultKind::BadReply, "the uploaded file was given no id"))
        })
    }

    fn create<'a>(
        &'a self,
        server: usize,
        file_id: &'a str,
        label: &'a str,
    ) -> Doing<'a, BatchState> {
        Box::pin(async move {
            let server = self.server(server)?;
            let body = json!({
                "input_file_id": file_id,
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                "metadata": {"label": label},
            });
            let request = server
                .request(Method::POST, "batches")
                .header("idempotency-key", label)
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
            state(&server.json(request).await?)
        })
    }

    fn find<'a>(&'a self, server: usize, label: &'a str) -> Doing<'a, Option<BatchState>> {
        Box::pin(async move {
            let server = self.server(server)?;
            let mut after: Option<String> = None;
            let mut seen = 0;
            while seen < MOST_BATCHES {
                let mut query = vec![("limit", "100")];
                query.extend(after.as_deref().map(|after| ("after", after)));
                let request = server.request_with(Method::GET, "batches", &query);
                let page = server.json(request).await?;
                let batches = page["data"].as_array().map_or(&[][..], Vec::as_slice);
                for batch in batches {
                    if batch["metadata"]["label"] == label {
                        return state(batch).map(Some);
                    }
                }
                seen += batches.len();
                let last = batches.last().and_then(|batch| batch["id"].as_str());
                after = last.map(str::to_owned);
                if after.is_none() || page["has_more"] != true {
                    break;
                }
            }
            Ok(None)
        })
    }

    fn poll<'a>(&'a self, server: usize, batch_id: &'a str) -> Doing<'a, BatchState> {
        Box::pin(async move {
            let server = self.server(server)?;
            let path = format!("batches/{}", segment(batch_id)?);
            state(&server.json(server.request(Method::GET, &path)).await?)
        })
    }

    fn cancel<'a>(&'a self, server: usize, batch_id: &'a str) -> Doing<'a, BatchState> {
        Box::pin(async move {
            let server = self.server(server)?;
            let path = format!("batches/{}/cancel", segment(batch_id)?);
            state(&server.json(server.request(Method::POST, &path)).await?)
        })
    }

    fn fetch<'a>(
        &'a self,
        server: usize,
        file_id: &'a str,
        heard: &'a mut (dyn FnMut(Result<BatchLine, Fault>) + Send),
    ) -> Doing<'a, ()> {
        Box::pin(async move {
            let server = self.server(server)?;
            let path = format!("files/{}/content", segment(file_id)?);
            let request = server.request(Method::GET, &path).timeout(TRANSFER);
            let mut response = server.accepted(server.sent(request).await?).await?;
            let pause = Duration::from_secs_f64(self.config.timeout_s);
            let mut line = Vec::new();
            loop {
                let chunk = tokio::time::timeout(pause, response.chunk()).await;
                let chunk = chunk
                    .map_err(|_| fault(FaultKind::Timeout, "the file stopped coming"))?
                    .map_err(|e| server.broken(e))?;
                let Some(chunk) = chunk else {
                    break;
                };
                let mut rest = &chunk[..];
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    line.extend_from_slice(&rest[..end]);
                    rest = &rest[end + 1..];
                    server.tell(&line, heard);
                    line.clear();
                }
                line.extend_from_slice(rest);
                if line.len() > MAX_REPLY {
                    let detail = format!("a line of the file is longer than {MAX_REPLY} bytes");
                    return Err(fault(FaultKind::BadReply, detail));
                }
            }
            server.tell(&line, heard);
            Ok(())
        })
    }
}

impl Http {
    fn server(&self, server: usize) -> Result<&Server, Fault> {
        let known = self.servers.get(server);
        known.ok_or_else(|| fault(FaultKind::NotFound, format!("there is no server {server}")))
    }
}

impl Server {
    async fn sent(&self, request: RequestBuilder) -> Result<Response, Fault> {
        request.send().await.map_err(|e| self.broken(e))
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Fault> {
        let response = self.accepted(self.sent(request).await?).await?;
        let body = self.bounded(response, MAX_REPLY).await?;
        serde_json::from_slice(&body)
            .map_err(|e| fault(FaultKind::BadReply, format!("the body is no JSON: {e}")))
    }

    fn tell(&self, line: &[u8], heard: &mut (dyn FnMut(Result<BatchLine, Fault>) + Send)) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        heard(match read_line(line) {
            Ok(line) => Ok(BatchLine {
                outcome: line.outcome.map_err(|fault| self.scrubbed(fault)),
                ..line
            }),
            Err(fault) => Err(self.scrubbed(fault)),
        });
    }
}

/// A file in blocks, read off the threads that wait for the network.
fn blocks(file: File) -> impl stream::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut block = Vec::with_capacity(BLOCK);
            file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
            Ok::<_, std::io::Error>((block, file))
        });
        let (block, file) = read.await.map_err(std::io::Error::other)??;
        Ok((!block.is_empty()).then(|| (Bytes::from(block), file)))
    })
}

/// An id as a part of an address; what a server gave as an id must not lead elsewhere.
fn segment(id: &str) -> Result<&str, Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !id.is_empty() && id.chars().all(plain) && !id.starts_with('.') {
        return Ok(id);
    }
    Err(fault(
        FaultKind::Invalid,
        format!("`{id}` is no id of a file or batch"),
    ))
}

fn state(value: &Value) -> Result<BatchState, Fault> {
    let text = |name: &str| {
        value[name]
            .as_str()
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    let bad = |detail: String| fault(FaultKind::BadReply, detail);
    let status = match value["status"].as_str().unwrap_or_default() {
        "validating" => BatchStatus::Validating,
        "in_progress" => BatchStatus::InProgress,
        "finalizing" => BatchStatus::Finalizing,
        "completed" => BatchStatus::Completed,
        "failed" => BatchStatus::Failed,
        "expired" => BatchStatus::Expired,
        "cancelling" => BatchStatus::Cancelling,
        "cancelled" => BatchStatus::Cancelled,
        other => return Err(bad(format!("a batch has the unknown status `{other}`"))),
    };
    let count = |name: &str| value["request_counts"][name].as_u64().unwrap_or_default();
    let errors = value["errors"]["data"].as_array();
    let errors = errors.into_iter().flatten().map(|error| {
        let message = error["message"].as_str().unwrap_or("no explanation");
        match error["line"].as_u64() {
            Some(line) => format!("line {line}: {message}"),
            None => message.to_owned(),
        }
    });
    Ok(BatchState {
        id: text("id").ok_or_else(|| bad("a batch has no id".into()))?,
        status,
        output_file_id: text("output_file_id"),
        error_file_id: text("error_file_id"),
        total: count("total"),
        completed: count("completed"),
        failed: count("failed"),
        expires_at: value["expires_at"].as_u64(),
        errors: errors.collect(),
    })
}

/// A line of an output or error file.
fn read_line(line: &[u8]) -> Result<BatchLine, Fault> {
    let value: Value = serde_json::from_slice(line).map_err(|e| {
        fault(
            FaultKind::BadReply,
            format!("a line of the file is no JSON: {e}"),
        )
    })?;
    let Some(custom_id) = value["custom_id"].as_str() else {
        return Err(fault(
            FaultKind::BadReply,
            "a line of the file names no request",
        ));
    };
    let response = &value["response"];
    let outcome = match response["status_code"].as_u64() {
        Some(200..300) => of_value(&response["body"]),
        Some(status) => {
            let status = u16::try_from(status).unwrap_or(500);
            Err(of_status(status, response["body"].to_string().as_bytes()))
        }
        None => {
            let error = &value["error"];
            let code = error["code"].as_str().unwrap_or("no response");
            let message = error["message"].as_str().unwrap_or_default();
            // Expired, cancelled or lost: not answered and not billed.
            Err(fault(FaultKind::Server, format!("{code}: {message}")))
        }
    };
    Ok(BatchLine {
        custom_id: custom_id.to_owned(),
        outcome,
    })
}
