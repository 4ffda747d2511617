//! A transport in this process whose servers fail as a script says.

#![allow(dead_code, reason = "each file of tests that includes it uses a part")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat::transport::{Announced, Attempt, Fault, FaultKind, Sending, Transport};
use chat::{Finish, Reply, Request, Role, Tag, Turn};

/// What a server does with the n-th try, from 0, of a request.
pub type Script = dyn Fn(usize, &Request, usize) -> Act + Send + Sync;

#[derive(Clone)]
pub enum Act {
    Answer,
    /// After so long.
    Late(Duration),
    Fail(FaultKind),
    /// 429 with this `Retry-After`.
    TooMany(Option<Duration>),
    /// Never returns.
    Hang,
    Panic,
}

pub struct Scripted {
    pub servers: usize,
    pub script: Box<Script>,
    /// By key, the tries that were sent.
    pub sent: Mutex<HashMap<String, usize>>,
    /// By key, the replies that were given.
    pub answered: Mutex<HashMap<String, usize>>,
    pub by_server: Vec<AtomicUsize>,
    pub flying: AtomicUsize,
    pub most_flying: AtomicUsize,
}

impl Scripted {
    pub fn new(
        servers: usize,
        script: impl Fn(usize, &Request, usize) -> Act + Send + Sync + 'static,
    ) -> Scripted {
        Scripted {
            servers,
            script: Box::new(script),
            sent: Mutex::default(),
            answered: Mutex::default(),
            by_server: (0..servers).map(|_| AtomicUsize::new(0)).collect(),
            flying: AtomicUsize::new(0),
            most_flying: AtomicUsize::new(0),
        }
    }

    pub fn tries(&self) -> usize {
        self.sent.lock().unwrap().values().sum()
    }
}

/// What every answer is: a function of the question alone.
pub fn answer(request: &Request) -> String {
    format!("answer to {}", request.turns[0].text)
}

pub fn fault(kind: FaultKind) -> Attempt {
    Attempt {
        outcome: Some(Err(Fault {
            kind,
            detail: "scripted".into(),
        })),
        ..Attempt::default()
    }
}

impl Transport for Scripted {
    fn servers(&self) -> Vec<String> {
        (0..self.servers).map(|n| format!("server{n}")).collect()
    }

    fn send<'a>(&'a self, server: usize, request: &'a Arc<Request>, key: &'a str) -> Sending<'a> {
        let nth = {
            let mut sent = self.sent.lock().unwrap();
            let nth = sent.entry(key.to_owned()).or_default();
            *nth += 1;
            *nth - 1
        };
        self.by_server[server].fetch_add(1, Ordering::SeqCst);
        let flying = self.flying.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_flying.fetch_max(flying, Ordering::SeqCst);
        Box::pin(async move {
            let act = (self.script)(server, request, nth);
            let attempt = match act {
                Act::Fail(kind) => fault(kind),
                Act::TooMany(wait) => Attempt {
                    announced: Announced {
                        retry_after: wait,
                        ..Announced::default()
                    },
                    ..fault(FaultKind::RateLimited)
                },
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("scripted"),
                Act::Answer | Act::Late(_) => {
                    if let Act::Late(wait) = act {
                        tokio::time::sleep(wait).await;
                    }
                    *self
                        .answered
                        .lock()
                        .unwrap()
                        .entry(key.to_owned())
                        .or_default() += 1;
                    Attempt {
                        outcome: Some(Ok(Reply {
                            text: answer(request),
                            finish: Finish::Stop,
                            prompt_tokens: 12,
                            completion_tokens: 50,
                        })),
                        status: Some(200),
                        ..Attempt::default()
                    }
                }
            };
            self.flying.fetch_sub(1, Ordering::SeqCst);
            attempt
        })
    }
}

pub fn request(n: usize) -> Request {
    Request {
        id: format!("r{n}"),
        tag: Tag {
            stage: "synth".into(),
            kind: "askimg".into(),
            source: "geometry".into(),
        },
        system: None,
        turns: vec![Turn {
            role: Role::User,
            text: format!("question {n}"),
        }],
        images: Vec::new(),
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 100,
        temperature: 0.0,
        seed: 0,
    }
}
