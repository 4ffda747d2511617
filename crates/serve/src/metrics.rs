//! What the server did, as Prometheus reads it.

/// Counters and histograms of one server. Cheap to update from any thread.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// The text exposition format, version 0.0.4.
    pub fn text(&self) -> String {
        todo!()
    }
}
