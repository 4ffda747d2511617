//! What the step loop is told.

use crate::schedule::Schedule;

/// What the step loop is told; every number is one of the training's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What the progress bar and messages call the run: "train", "tower".
    pub title: String,
    /// Steps of the whole run.
    pub steps: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// How it falls after it has risen.
    pub schedule: Schedule,
    /// Share of the steps over which the learning rate rises.
    pub warmup_ratio: f64,
    /// Saves a checkpoint every so many steps; 0 for never.
    pub checkpoint_steps: u64,
    /// Saves a checkpoint whenever so many seconds have passed since the last; 0 for never.
    pub checkpoint_seconds: u64,
    /// Saves a checkpoint after the last step too, so that what comes after the training can be done
    /// again without it.
    pub checkpoint_end: bool,
    /// Checkpoints kept, besides the best; at least 1.
    pub keep_last: usize,
    /// Most bytes of one file of a checkpoint; a parameter that is larger has a file to itself.
    pub shard_bytes: u64,
    /// Evaluates every so many steps and after the last; 0 for never.
    pub eval_steps: u64,
    /// Ends after so many evaluations without a better one; 0 for never.
    pub early_stop: u64,
    /// A loss so many running deviations above its running mean is a spike; 0 looks for none.
    pub spike_deviations: f64,
    /// Leaves the update of a spike out.
    pub skip_spikes: bool,
    /// What the machine can do, floating-point operations a second; the share of it that a step
    /// reaches is recorded.
    pub peak_flops: Option<f64>,
    /// Writes event files for TensorBoard.
    pub tensorboard: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            title: "train".to_owned(),
            steps: 0,
            lr: 0.0,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.0,
            checkpoint_steps: 0,
            checkpoint_seconds: 120,
            checkpoint_end: true,
            keep_last: 1,
            shard_bytes: crate::checkpoint::SHARD_BYTES,
            eval_steps: 0,
            early_stop: 0,
            spike_deviations: 0.0,
            skip_spikes: false,
            peak_flops: None,
            tensorboard: true,
        }
    }
}
