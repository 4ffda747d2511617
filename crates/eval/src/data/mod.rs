//! The layouts in which benchmarks are published: JSON, JSON lines, Parquet with image bytes,
//! VLMEvalKit's tables.
