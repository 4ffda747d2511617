//! A reply that comes as server-sent events, collected into the same reply as one in one piece.

use serde_json::Value;

use super::reply::{Said, content, fault, inner_error};
use crate::Reply;
use crate::transport::{Fault, FaultKind};

/// What came so far of a stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: String,
    said: Said,
    done: bool,
    choices: bool,
}

impl Events {
    /// Takes the next bytes, wherever they are cut.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8(line)
                .map_err(|_| fault(FaultKind::BadReply, "the stream is not UTF-8"))?;
            self.line(line.trim_end_matches('\r'))?;
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// Whether nothing that matters is to come.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// Whether the model was done, though the stream may not have been.
    pub(super) fn is_whole(&self) -> bool {
        self.done || self.said.finish.is_some()
    }

    /// The reply, after the stream's end.
    pub(super) fn finish(mut self) -> Result<Reply, Fault> {
        self.event()?;
        if !self.is_whole() {
            let detail = "the stream ended before the reply did";
            return Err(fault(FaultKind::Reset, detail));
        }
        if !self.choices {
            return Err(fault(FaultKind::BadReply, "the stream has no choices"));
        }
        self.said.reply()
    }

    fn line(&mut self, line: &str) -> Result<(), Fault> {
        if line.is_empty() {
            return self.event();
        }
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        Ok(())
    }

    fn event(&mut self) -> Result<(), Fault> {
        let data = std::mem::take(&mut self.data);
        if data.is_empty() || self.done {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Value = serde_json::from_str(&data)
            .map_err(|e| fault(FaultKind::BadReply, format!("an event is no JSON: {e}")))?;
        if let Some(error) = inner_error(&chunk) {
            return Err(error);
        }
        if chunk["usage"].is_object() {
            self.said.usage = chunk["usage"].clone();
        }
        let Some(choice) = chunk["choices"].get(0) else {
            return Ok(());
        };
        self.choices = true;
        if let Some(text) = content(&choice["delta"]["content"]) {
            self.said.text.get_or_insert_default().push_str(&text);
        }
        if let Some(refusal) = choice["delta"]["refusal"].as_str() {
            self.said.refusal.get_or_insert_default().push_str(refusal);
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.said.finish = Some(finish.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Finish;
    use proptest::prelude::*;

    const WHOLE: &str = concat!(
        ": a comment\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n",
        "event: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"h\u{e9}\"}}],\"usage\":null}\n\n",
        "data:{\"choices\":[{\"delta\":\ndata: {\"content\":\"llo\"},\"finish_reason\":null}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        "data: [DONE]\n\n",
    );

    fn read(text: &str, cut: usize) -> Result<Reply, Fault> {
        let mut events = Events::default();
        for part in text.as_bytes().chunks(cut) {
            events.push(part)?;
        }
        events.finish()
    }

    #[test]
    fn a_stream_gives_the_same_reply_wherever_its_bytes_are_cut() {
        for cut in 1..WHOLE.len() {
            let reply = read(WHOLE, cut).unwrap();
            assert_eq!(reply.text, "héllo");
            assert_eq!(reply.finish, Finish::Length);
            assert_eq!((reply.prompt_tokens, reply.completion_tokens), (3, 4));
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_a_reset_and_one_after_the_reason_is_whole() {
        let at = |mark: &str| WHOLE.find(mark).unwrap();
        for (mark, whole) in [
            ("event: x", false),
            ("data: {\"choices\":[{\"delta\":{}", false),
            ("data: {\"choices\":[],", true),
            ("data: [DONE]", true),
        ] {
            let read = read(&WHOLE[..at(mark)], 7);
            match read {
                Ok(reply) => assert!(whole && reply.text == "héllo", "{mark}"),
                Err(fault) => assert!(
                    !whole && fault.kind == FaultKind::Reset,
                    "{mark}: {fault:?}"
                ),
            }
        }
    }

    #[test]
    fn troubles_in_a_stream_have_kinds() {
        let cases = [
            ("data: [DONE]\n\n", FaultKind::BadReply),
            ("data: {\"choices\n\n", FaultKind::BadReply),
            (
                "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
                FaultKind::Server,
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"refusal\":\"No.\"},\"finish_reason\":\"stop\"}]}\n\n",
                FaultKind::Refused,
            ),
            ("", FaultKind::Reset),
        ];
        for (text, kind) in cases {
            assert_eq!(read(text, 10).unwrap_err().kind, kind, "{text}");
        }
        let mut events = Events::default();
        assert_eq!(
            events.push(b"data: \xff\n").unwrap_err().kind,
            FaultKind::BadReply
        );
    }

    proptest! {
        #[test]
        fn no_stream_makes_it_panic(text in "(data: |\\{|\\}|\\[DONE\\]|\"choices\":|\\[|\\]|\r|\n|x){0,40}", cut in 1usize..9) {
            let _ = read(&text, cut);
        }
    }
}
