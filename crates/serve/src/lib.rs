//! Models over HTTP, as the clients of OpenAI speak it.
//!
//! Three layers, each usable without the next. [`Engine`] is anything that answers several questions at
//! once, step by step; [`Schedule`] puts a bounded, fair queue in front of one and drives it on a thread of
//! its own; [`api`] is the HTTP over it, [`guard`] what keeps strangers out, [`Server`] the socket with its
//! time limits. What a model is made of is not known here: the binary wires libtorch's engine in, tests one
//! that follows a script.
//!
//! **Invariants:** a request holds no more than its limits say, in bytes, images, tokens and time, whatever
//! it contains; when its client goes away it leaves the engine at the next step; no answer depends on who
//! else asks; no key is written anywhere.

pub mod api;
mod ask;
pub mod guard;
pub mod metrics;
mod model;
mod schedule;
pub mod scripted;
mod server;

pub use ask::{
    Ask, ChoiceEvent, Finish, Form, ImageBytes, Part, Prompt, Role, Sampling, TokenLogprob,
    TokenText, Turn, Usage,
};
pub use metrics::Metrics;
pub use model::{Counts, Engine, EngineId, Fault, Model, ModelCard, Refusal, RefusalKind, Step};
pub use schedule::{Client, Driver, Replies, Schedule, ScheduleLimits};
pub use server::{Server, ServerLimits, UploadError, upload_timed_out};
