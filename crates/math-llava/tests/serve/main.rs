//! `serve` as clients meet it who mean no good, or go away, or are many: the program itself is started with a
//! random model of a few thousand weights, and spoken to over sockets by hand.
//!
//! Whatever one client does, it is told so with the right status, the others' answers stay the same, and the
//! memory does not grow.
#![cfg(all(feature = "torch", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod behind;
mod ending;
mod large;
mod malformed;
mod outside;
mod pages;
mod process;
mod wire;
