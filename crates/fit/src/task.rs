//! What a training brings to the step loop, and what it hands back.
//!
//! The loop knows nothing of models and data. A [`Task`] makes one update when it is asked to, says
//! what it was made of, and can be evaluated; everything that is the same for a LLaVA and for a
//! grader (learning rate, guard, checkpoints, records, early stop, stops by signal) is the loop's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optim::AdamW;
use crate::{Error, Guard};

/// A training: a model with its optimiser and data, between two steps.
///
/// **Invariant:** what step `at` does follows from the seed, the data, the settings and `at`, apart
/// from what the optimiser and [`Task::state`] hold. Only so does a run that goes on from a checkpoint
/// end with the bits of one that never stopped.
///
/// Several ranks run one training where the optimiser is one of several ([`AdamW::among`]). Every method is then
/// called on each of them in the same order, and gives the same everywhere, errors included: see
/// [`crate::ranks`]. Samples, tokens and the like are those of all ranks together.
pub trait Task {
    /// The crate's own error.
    type Error: From<Error>;

    /// The optimiser, which holds the trained parameters.
    fn optimiser(&mut self) -> &mut AdamW;

    /// One update at learning rate `lr`; `at` counts from 0.
    ///
    /// [`Guard::loss`] is called before any weight changes. Where it says [`Verdict::Skip`], nothing
    /// is changed, and the step comes back with `skipped` set. [`Guard::gradient_norm`] is called
    /// before the update where the norm is known by then; the loop looks at [`Step::grad_norm`] in any
    /// case.
    ///
    /// A task that waits for data may return [`sample::Error::Interrupted`] as long as neither weights
    /// nor what [`Task::state`] gives have changed: the loop then saves what was there before the step.
    ///
    /// [`Verdict::Skip`]: crate::Verdict::Skip
    fn step(&mut self, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, Self::Error>;

    /// Ids of the samples of step `at`, for messages. Called after the step was tried.
    fn members(&mut self, at: u64) -> Vec<String>;

    /// Measures the model after `steps` updates; `None` where there is nothing to measure.
    fn evaluate(&mut self, _steps: u64) -> Result<Option<Evaluation>, Self::Error> {
        Ok(None)
    }

    /// What a checkpoint must hold besides the optimiser's tensors: counts, running numbers.
    ///
    /// Numbers that must come back to the bit are to be kept as [`f64::to_bits`]: reading decimal
    /// JSON may be off in the last place.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Goes back to what [`Task::state`] gave.
    fn restore(&mut self, _state: &Value) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// Passes over the data before this step, from 0.
    pub epoch: u64,
    /// The loss before the update.
    pub loss: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Samples trained on.
    pub samples: usize,
    /// Tokens that went through the model, shared ones once; 0 where there are none.
    pub tokens: usize,
    /// Positions with a label.
    pub labels: usize,
    /// Floating-point operations of forward and backward, a multiplication and an addition counted as
    /// two; 0 where unknown.
    pub flops: f64,
    /// Seconds that the step waited for its data.
    pub data_seconds: f64,
    /// Seconds that the step waited for other ranks.
    pub waited_seconds: f64,
    /// Whether the update was left out.
    pub skipped: bool,
}

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What the best checkpoint is chosen by, higher being better.
    pub score: f64,
    /// Other numbers, by name: `accuracy`, `loss`.
    pub values: BTreeMap<String, f64>,
    /// Questions with the model's answers, as they are to be read in `evaluations.jsonl`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Value>,
}
