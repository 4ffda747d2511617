//! The step loop as a whole: stops, kills and damage, what is kept, what is recorded.
//!
//! Stops and kills are real ones: this same program is started again as a child (`child`), killed or
//! signalled while it trains, and what it leaves is gone on from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod child;
mod damage;
mod guards;
mod kept;
mod resume;
mod tensorboard;
mod toy;
