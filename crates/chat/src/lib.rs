//! Everything that answers a conversation, behind one trait.
//!
//! Teacher, judge, student and served model are all a [`ChatModel`]; which one plays which role is
//! a word in the configuration. A model takes a batch, because that is where the speed is, and
//! answers each request on its own, because one bad image must not cost the others.
//!
//! What is asked in bulk goes through a [`Ledger`]: a request that is answered there is never sent
//! again, whoever answers.

pub mod fetch;
pub mod http;
pub mod ledger;
#[cfg(test)]
mod loopback;
mod model;
pub mod money;
pub mod relay;
pub mod remote;
mod request;
pub mod transport;

pub use ledger::{Ledger, Settled};
pub use model::{ChatModel, Error, Stopped, Tally, converse_with_bar};
pub use request::{Finish, Image, Reply, Request, Role, Schema, Tag, Turn};
