//! Batches: requests that a server works off in its own time, at a lower price.
