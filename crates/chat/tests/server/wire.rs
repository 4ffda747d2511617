//! HTTP/1.1 by hand: a server that must break the rules on purpose cannot be built on one that keeps
//! them.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client sent.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A connection and what was read of it too early.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// No body is longer.
const MAX_BODY: usize = 1 << 30;

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        Wire {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// The next request; `None` where the client is gone.
    pub async fn next(&mut self) -> io::Result<Option<Asked>> {
        let end = loop {
            let end = self.buffer.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                break end;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let method = first.next().unwrap_or_default().to_owned();
        let target = first.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut asked = Asked {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
        };
        // A body whose length is not told is refused, as some servers do.
        let length = asked
            .header("content-length")
            .map_or(Some(0), |n| n.parse().ok());
        let chunked = asked.header("transfer-encoding").is_some();
        let length = length.filter(|n| *n <= MAX_BODY && !chunked);
        let Some(length) = length else {
            return Err(io::Error::other("a request without a content-length"));
        };
        let early = length.min(self.buffer.len());
        asked.body.reserve_exact(length);
        asked.body.extend(self.buffer.drain(..early));
        let mut rest = (&mut self.stream).take((length - early) as u64);
        while asked.body.len() < length {
            if rest.read_buf(&mut asked.body).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(asked))
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Breaks the connection, so that the client sees a reset and no orderly end.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}

/// An answer.
#[derive(Clone)]
pub struct Answered {
    pub status: u16,
    pub kind: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn json(status: u16, body: &serde_json::Value) -> Answered {
        Answered {
            status,
            kind: "application/json",
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    pub fn text(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Answered {
        Answered {
            status,
            kind,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Answered {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} X\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            self.status,
            self.kind,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
