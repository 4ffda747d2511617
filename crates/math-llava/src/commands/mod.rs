//! The verbs. Each returns whether everything the user asked for was reached; an error is exit
//! status 2.

pub mod card;
pub mod chat;
pub mod compare;
pub mod convert;
pub mod equal;
pub mod eval;
pub mod export;
pub mod forecast;
pub mod generate;
pub mod grade;
pub mod import;
pub mod inspect;
pub mod ledger;
pub mod logits;
pub mod own;
pub mod plan;
pub mod pull;
pub mod report;
pub mod run;
pub mod score;
pub mod sources;
pub mod sql;
pub mod synth;
pub mod table;
pub mod train;
