//! Files and batches: uploaded, worked on by the poll, fetched.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::script::{Answer, Script};
use super::wire::{Answered, Asked};
use super::{State, completion, error, lock};

#[derive(Default)]
pub struct Batches {
    files: BTreeMap<String, Vec<u8>>,
    batches: Vec<Batch>,
}

struct Batch {
    id: String,
    input: String,
    metadata: Value,
    polls: u64,
    cancelled: bool,
    /// The state at the end.
    ended: Option<Value>,
}

pub fn answer(state: &State, script: &Script, asked: &Asked) -> Answered {
    let parts: Vec<&str> = asked.path.split('/').skip(2).collect();
    let mut held = lock(&state.batches);
    let held = &mut *held;
    match (asked.method.as_str(), parts.as_slice()) {
        ("POST", ["files"]) => {
            let Some(content) = file_of(asked) else {
                return error(400, "bad_form", "no file, or its purpose is not batch");
            };
            let id = format!("file-{}", held.files.len() + 1);
            held.files.insert(id.clone(), content);
            Answered::json(
                200,
                &json!({"id": id, "object": "file", "purpose": "batch"}),
            )
        }
        ("GET", ["files", id, "content"]) => match held.files.get(*id) {
            Some(content) => Answered::text(200, "application/octet-stream", content.clone()),
            None => error(404, "not_found", "no such file"),
        },
        ("POST", ["batches"]) => {
            let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let input = body["input_file_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if !held.files.contains_key(&input) || body["endpoint"] != "/v1/chat/completions" {
                return error(400, "invalid_request", "no such file or endpoint");
            }
            held.batches.push(Batch {
                id: format!("batch_{}", held.batches.len() + 1),
                input,
                metadata: body["metadata"].clone(),
                polls: 0,
                cancelled: false,
                ended: None,
            });
            let created = held.batches.last().map(|batch| batch.state(script));
            Answered::json(200, &created.unwrap_or_default())
        }
        ("GET", ["batches"]) => {
            // Pages of two, the newest first.
            let after = asked
                .query
                .split('&')
                .find_map(|pair| pair.strip_prefix("after="));
            let newest = held.batches.iter().rev();
            let mut rest = newest.skip_while(|batch| after.is_some_and(|after| batch.id != after));
            if after.is_some() {
                rest.next();
            }
            let rest: Vec<Value> = rest.map(|batch| batch.state(script)).collect();
            let page = &rest[..rest.len().min(2)];
            Answered::json(200, &json!({"data": page, "has_more": rest.len() > 2}))
        }
        (method, ["batches", id, rest @ ..]) => {
            let Some(batch) = held.batches.iter_mut().find(|batch| batch.id == *id) else {
                return error(404, "not_found", "no such batch");
            };
            match (method, rest) {
                ("POST", ["cancel"]) => batch.cancelled = true,
                ("GET", []) => batch.polls += 1,
                _ => return error(405, "method", "not so"),
            }
            if batch.ended.is_none() && (batch.cancelled || batch.polls >= script.batch_polls) {
                batch.end(state, script, &mut held.files);
            }
            Answered::json(200, &batch.state(script))
        }
        _ => error(404, "not_found", "no such address"),
    }
}

/// The file in a form whose purpose is a batch.
fn file_of(asked: &Asked) -> Option<Vec<u8>> {
    let kind = asked.header("content-type")?;
    let boundary = format!("--{}", kind.split_once("boundary=")?.1.trim_matches('"'));
    let text = String::from_utf8(asked.body.clone()).ok()?;
    let parts: Vec<(&str, &str)> = text
        .split(boundary.as_str())
        .filter_map(|part| part.split_once("\r\n\r\n"))
        .collect();
    let find = |name: &str| {
        let named = format!("name=\"{name}\"");
        let part = parts.iter().find(|(head, _)| head.contains(&named));
        part.and_then(|(_, content)| content.strip_suffix("\r\n"))
    };
    let file = find("file").filter(|_| find("purpose") == Some("batch"))?;
    Some(file.as_bytes().to_vec())
}

impl Batch {
    fn state(&self, script: &Script) -> Value {
        let status = match self.polls {
            0 => "validating",
            n if n + 1 >= script.batch_polls => "finalizing",
            _ => "in_progress",
        };
        let running = json!({
            "status": status, "output_file_id": null, "error_file_id": null,
            "request_counts": {"total": 0, "completed": 0, "failed": 0}, "errors": null,
        });
        let mut state = self.ended.clone().unwrap_or(running);
        state["id"] = self.id.as_str().into();
        state["object"] = "batch".into();
        state["metadata"] = self.metadata.clone();
        state["expires_at"] = 1_800_000_000.into();
        state
    }

    fn end(&mut self, state: &State, script: &Script, files: &mut BTreeMap<String, Vec<u8>>) {
        let input = files.get(&self.input).cloned().unwrap_or_default();
        let input = String::from_utf8_lossy(&input);
        let lines: Vec<Result<Value, _>> = input.lines().map(serde_json::from_str).collect();
        if let Some(wrong) = lines.iter().position(Result::is_err) {
            self.ended = Some(json!({
                "status": "failed", "output_file_id": null, "error_file_id": null,
                "errors": {"data": [{"code": "invalid_json", "line": wrong + 1,
                    "message": "This line is not parseable as valid JSON."}]},
            }));
            return;
        }
        let mut output = Vec::new();
        let mut errors = Vec::new();
        let total = lines.len();
        let most = if self.cancelled {
            Some(0)
        } else {
            script.batch_expires_after
        };
        for (n, line) in lines.into_iter().flatten().enumerate() {
            let custom_id = line["custom_id"].as_str().unwrap_or_default().to_owned();
            let mut counts = lock(&state.counts);
            let count = counts.keys.entry(custom_id.clone()).or_default();
            count.asked += 1;
            if most.is_some_and(|most| n >= most) {
                let code = if self.cancelled {
                    "batch_cancelled"
                } else {
                    "batch_expired"
                };
                errors.push(json!({"custom_id": custom_id, "response": null,
                    "error": {"code": code, "message": "This request was not executed."}}));
            } else if script.fails_in_batch(&custom_id, count.asked) {
                let body = json!({"error": {"message": "broken", "code": "server_error"}});
                errors.push(json!({"custom_id": custom_id, "error": null,
                    "response": {"status_code": 500, "body": body}}));
            } else {
                count.answered += 1;
                count.billed += 1;
                let text = match &script.answer {
                    Answer::Fixed(text) => text.clone(),
                    Answer::Of(answer) => answer(&line["body"]),
                };
                output.push(
                    json!({"id": format!("r{n}"), "custom_id": custom_id, "error": null,
                    "response": {"status_code": 200, "body": completion(&text)}}),
                );
            }
        }
        // The order of an output is not the input's.
        output.reverse();
        let (completed, failed) = (output.len(), errors.len());
        let mut file = |name: &str, lines: Vec<Value>| {
            if lines.is_empty() {
                return Value::Null;
            }
            let id = format!("file-{}-{name}", self.id);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            files.insert(id.clone(), text.into_bytes());
            id.into()
        };
        let status = match (self.cancelled, most) {
            (true, _) => "cancelled",
            (false, Some(most)) if most < total => "expired",
            _ => "completed",
        };
        self.ended = Some(json!({
            "status": status,
            "output_file_id": file("output", output), "error_file_id": file("error", errors),
            "request_counts": {"total": total, "completed": completed, "failed": failed},
            "errors": null,
        }));
    }
}
