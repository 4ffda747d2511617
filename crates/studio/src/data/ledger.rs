//! What the ledger says of the request that made a pair.

use std::path::Path;

use chat::Ledger;
use serde_json::Value;

use super::provenance;

/// File name of a run's ledger.
const LEDGER: &str = "ledger.sqlite";

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Request {
    /// The ledger's row.
    pub row: i64,
    /// The model that was asked.
    pub model: String,
    /// What for: `synth`, `askimg`.
    pub purpose: String,
    /// `open`, `answered`, `refused`.
    pub state: String,
    /// How often it was sent.
    pub tries: i64,
    /// What all tries cost together, and what may have been spent beyond that.
    pub cost: f64,
    /// What may have been spent beyond that.
    pub reserved: f64,
    /// Seconds that the last try took.
    pub latency: Option<f64>,
    /// Tokens of prompt and reply.
    pub tokens: Option<(i64, i64)>,
    /// The reply's text.
    pub reply: Option<String>,
    /// Why there is no reply.
    pub refusal: Option<String>,
    /// What was made of it: for each pair its name, verdict, reason, detail.
    pub verdicts: Vec<[String; 4]>,
}

/// Looks the request up; `None` where the run has no ledger, or the ledger no such request.
///
/// # Errors
/// What is wrong with the ledger.
pub(super) fn request(run: &Path, digest: &str) -> Result<Option<Request>, String> {
    let path = run.join(LEDGER);
    // It is put into SQL below: nothing but hex digits.
    let Some(digest) = provenance::digest(digest).map(|digest| provenance::hex(&digest)) else {
        return Ok(None);
    };
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |e: chat::ledger::Error| e.to_string();
    let ledger = Ledger::read_only(&path).map_err(wrong)?;
    let found = ledger
        .query(
            &format!(
                "SELECT r.row, r.model, r.stage || ' ' || r.kind, r.state,
                    (SELECT count(*) FROM tries t WHERE t.digest = r.digest),
                    (SELECT coalesce(sum(cost), 0) FROM tries t WHERE t.digest = r.digest),
                    (SELECT coalesce(sum(reserved), 0) FROM tries t WHERE t.digest = r.digest),
                    (SELECT latency_s FROM tries t WHERE t.digest = r.digest ORDER BY try DESC LIMIT 1),
                    p.prompt_tokens, p.completion_tokens, p.text, f.reason || ': ' || f.detail
                 FROM requests r LEFT JOIN replies p USING (digest) LEFT JOIN refusals f USING (digest)
                 WHERE r.digest = '{digest}'"
            ),
            1,
        )
        .map_err(wrong)?;
    let Some(row) = found.rows.into_iter().next() else {
        return Ok(None);
    };
    let text = |at: usize| row.get(at).and_then(Value::as_str).map(str::to_owned);
    let whole = |at: usize| row.get(at).and_then(Value::as_i64);
    let number = |at: usize| row.get(at).and_then(Value::as_f64);
    let verdicts = ledger
        .query(
            &format!(
                "SELECT sample_id, verdict, reason, detail FROM verdicts WHERE digest = '{digest}' \
                 ORDER BY pair"
            ),
            100,
        )
        .map_err(wrong)?;
    let verdicts = verdicts.rows.into_iter().map(|row| {
        let mut cells = row
            .into_iter()
            .map(|cell| cell.as_str().unwrap_or_default().to_owned());
        [(); 4].map(|()| cells.next().unwrap_or_default())
    });
    Ok(Some(Request {
        row: whole(0).unwrap_or_default(),
        model: text(1).unwrap_or_default(),
        purpose: text(2).unwrap_or_default(),
        state: text(3).unwrap_or_default(),
        tries: whole(4).unwrap_or_default(),
        cost: number(5).unwrap_or_default(),
        reserved: number(6).unwrap_or_default(),
        latency: number(7),
        tokens: whole(8).zip(whole(9)),
        reply: text(10),
        refusal: text(11),
        verdicts: verdicts.collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::ledger::Verdict;
    use chat::{Finish, Reply, Settled};

    fn asked(id: &str) -> chat::Request {
        chat::Request {
            id: id.to_owned(),
            tag: chat::Tag {
                stage: "synth".into(),
                kind: "askimg".into(),
                source: "s".into(),
            },
            system: None,
            turns: vec![chat::Turn {
                role: chat::Role::User,
                text: "what?".into(),
            }],
            images: Vec::new(),
            subject: Value::Null,
            schema: None,
            max_tokens: 9,
            temperature: 0.0,
            seed: 1,
        }
    }

    #[test]
    fn a_request_comes_with_its_reply_and_what_was_made_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let digest = "ab".repeat(32);
        assert_eq!(request(dir.path(), &digest), Ok(None));
        let ledger = Ledger::open(&dir.path().join(LEDGER)).unwrap();
        let reply = Reply {
            text: "Q: <b>?".into(),
            finish: Finish::Stop,
            prompt_tokens: 7,
            completion_tokens: 3,
        };
        ledger
            .settle_at_once(
                "teacher",
                vec![(digest.clone(), asked("a"), Settled::Replied(reply))],
            )
            .unwrap();
        ledger
            .verdicts(&[Verdict {
                digest: digest.clone(),
                pair: 0,
                sample_id: "a#askimg1".into(),
                verdict: "rejected".into(),
                reason: "unit".into(),
                detail: "no unit".into(),
            }])
            .unwrap();
        drop(ledger);
        let found = request(dir.path(), &digest).unwrap().unwrap();
        assert_eq!(
            (found.model.as_str(), found.state.as_str(), found.tries),
            ("teacher", "answered", 0)
        );
        assert_eq!(
            (found.tokens, found.reply.as_deref()),
            (Some((7, 3)), Some("Q: <b>?"))
        );
        assert_eq!(
            found.verdicts,
            [["a#askimg1", "rejected", "unit", "no unit"].map(str::to_owned)]
        );
        for other in ["00".repeat(32), "' OR 1=1 --".to_owned()] {
            assert_eq!(request(dir.path(), &other), Ok(None));
        }
        std::fs::write(
            dir.path().join(LEDGER),
            b"no database at all, but some text of some length",
        )
        .unwrap();
        assert!(request(dir.path(), &digest).is_err());
    }
}
