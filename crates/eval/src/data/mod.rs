//! The layouts in which benchmarks are published: JSON, JSON lines, Parquet with image bytes,
//! VLMEvalKit's tables.

pub mod json;
pub mod parquet;
pub mod row;
pub mod tsv;
