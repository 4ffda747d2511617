//! The step loop.
//!
//! **Invariant:** nothing here that reaches the weights depends on the clock or on where a run was
//! stopped before; so a run that goes on from a checkpoint gives, bit for bit, the losses and weights
//! of one that never stopped. Checkpoints may be due by the clock, since saving changes nothing.
//!
//! Several ranks run the same loop. What a clock or a signal decides is the same decision on all of them:
//! after every step they tell each other ([`Turn`]). Only the first writes anything.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use sample::{StageKey, interrupt, progress};

use crate::checkpoint::{Checkpoints, Progress};
use crate::metrics::{EvaluationLine, Records, StepMetrics, StepTiming};
use crate::turn::{Stragglers, Turn};
use crate::{Error, Guard, Members, Options, Step, Task, ranks};

/// How a training went.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The step that this start began with; 0 where there was no checkpoint.
    pub first: u64,
    /// Steps made in all; less than the options' where the run ended early.
    pub steps: u64,
    /// Of these, spikes that were left out.
    pub skipped: u64,
    /// Whether it ended because evaluations got no better.
    pub stopped_early: bool,
    /// The best evaluation.
    pub best: Option<Best>,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Steps made before it.
    pub step: u64,
    /// Its score.
    pub score: f64,
}

/// Trains `task` to its end, and leaves everything that is recorded and saved of it in `folder`:
/// `metrics.jsonl`, `timing.jsonl`, `evaluations.jsonl`, `tensorboard/`, `checkpoint/`.
///
/// Where `folder` holds a checkpoint of the same `key`, the run goes on from it, and the records are
/// cut back to it. On a stop (Ctrl-C, SIGTERM) a checkpoint is saved first. The checkpoints stay when
/// the run is done, until [`crate::checkpoint::remove`].
///
/// # Errors
/// What the task says; [`sample::Error::Interrupted`] after a stop; [`Error::Diverged`];
/// [`Error::NotSaved`]; checkpoints that cannot be read, or are another configuration's.
pub fn run<T: Task>(
    task: &mut T,
    options: &Options,
    folder: &Path,
    key: &StageKey,
) -> Result<Summary, T::Error> {
    let group = Rc::clone(task.optimiser().group());
    let checkpoints =
        Checkpoints::open(folder, key, options.keep_last, options.shard_bytes, &group)?;
    let mut guard = Guard::new(options.spike_deviations, options.skip_spikes);
    let mut at = Progress::default();
    if let Some(saved) = checkpoints.restore(task.optimiser())? {
        task.restore(&saved.task)?;
        guard.restore(saved.guard);
        at = saved;
        progress::note(&format!(
            "{}: going on from the checkpoint of step {} of {}",
            options.title, at.step, options.steps
        ));
    }
    let first = at.step;
    if finished(&at, options) && !evaluation_due(&at, options) {
        return Ok(summary(first, &at, options));
    }
    let records = match group.is_first() {
        true => Records::open(folder, first, options.tensorboard).map(Some),
        false => Ok(None),
    };
    let mut records = ranks::together(&group, records)?;
    let left = options.steps.saturating_sub(first);
    let mut shown = Shown::new(progress::bar(&options.title, left, "steps"));
    let mut saved = Instant::now();
    // Whether there is something that the last checkpoint does not have.
    let mut unsaved = false;
    let mut stragglers = Stragglers::new(group.world());
    let mut turn = Turn::agree(&group, checkpoint_due(&at, options, saved), 0.0)?;
    loop {
        let mut save_now = unsaved && turn.save;
        if evaluation_due(&at, options) {
            match evaluate(task, &mut at, records.as_mut()) {
                Ok(better) => {
                    unsaved = true;
                    save_now |= better;
                }
                Err(error) => {
                    // Stopped while at it: it is done over when the run goes on.
                    if unsaved && interrupt::requested() {
                        save(task, &checkpoints, records.as_ref(), &mut at)?;
                    }
                    return Err(error);
                }
            }
        }
        let done = finished(&at, options);
        let stop = !done && (turn.stop || group.world() == 1 && interrupt::requested());
        if unsaved && (save_now || stop || (done && options.checkpoint_end)) {
            shown.saving();
            save(task, &checkpoints, records.as_ref(), &mut at)?;
            (saved, unsaved) = (Instant::now(), false);
        }
        if done {
            break;
        }
        if stop {
            return Err(Error::from(sample::Error::Interrupted).into());
        }

        let lr = options.schedule.learning_rate(
            options.lr,
            options.warmup_ratio,
            at.step,
            options.steps,
        );
        let updates = task.optimiser().step();
        let started = Instant::now();
        let step = match watched(task, at.step, lr, &mut guard) {
            Ok(step) => step,
            Err(error) => {
                // Stopped while it waited for data, before it changed anything.
                if unsaved && interrupt::requested() && task.optimiser().step() == updates {
                    save(task, &checkpoints, records.as_ref(), &mut at)?;
                }
                return Err(error);
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        at.step += 1;
        at.skipped += u64::from(step.skipped);
        at.guard = guard.running();
        unsaved = true;
        turn = Turn::agree(
            &group,
            checkpoint_due(&at, options, saved),
            seconds - step.waited_seconds,
        )?;
        stragglers.look(at.step - 1, &turn.busy);
        let line = line(at.step - 1, lr, &step);
        let timing = StepTiming::new(line.step, &step, seconds, options.peak_flops, &turn.busy);
        shown.step(&line, &timing);
        let recorded = match &mut records {
            Some(records) => records.step(&line, &timing),
            None => Ok(()),
        };
        recorded?;
    }
    if let Some(records) = &records {
        records.sync()?;
    }
    shown.bar.finish();
    Ok(summary(first, &at, options))
}

/// Brings `task` to the best checkpoint of its run, where evaluations have named one.
///
/// # Errors
/// Where that checkpoint is damaged, or another configuration's.
pub fn restore_best<T: Task>(
    task: &mut T,
    folder: &Path,
    key: &StageKey,
) -> Result<Option<Best>, T::Error> {
    let group = Rc::clone(task.optimiser().group());
    let bytes = crate::checkpoint::SHARD_BYTES;
    let checkpoints = Checkpoints::open(folder, key, 1, bytes, &group)?;
    let Some(saved) = checkpoints.restore_best(task.optimiser())? else {
        return Ok(None);
    };
    task.restore(&saved.task)?;
    Ok(best(&saved))
}

/// One step with its guard; the samples are named where something is wrong with it.
fn watched<T: Task>(task: &mut T, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, T::Error> {
    guard.begin(at, lr);
    let made = task.step(at, lr, guard).and_then(|step| {
        guard.finite("the loss", step.loss)?;
        guard.gradient_norm(step.grad_norm)?;
        Ok(step)
    });
    let step = match made {
        Ok(step) => step,
        Err(error) => {
            let fault = guard.fault(|| task.members(at));
            return Err(fault.map_or(error, T::Error::from));
        }
    };
    if let Some(spike) = guard.spike() {
        progress::note(&format!(
            "warning: step {at}: the loss is {:.4}, {:.1} running deviations above its running mean \
             of {:.4}; the update was {}. The step's {}",
            spike.loss,
            spike.deviations,
            spike.mean,
            if step.skipped { "left out" } else { "made" },
            Members::new(task.members(at))
        ));
    }
    Ok(step)
}

/// Evaluates; whether none before was as good.
fn evaluate<T: Task>(
    task: &mut T,
    at: &mut Progress,
    records: Option<&mut Records>,
) -> Result<bool, T::Error> {
    let found = task.evaluate(at.step)?;
    at.evaluated = at.step;
    let Some(evaluation) = found else {
        return Ok(false);
    };
    let score = evaluation.score;
    let better = !score.is_nan() && best(at).is_none_or(|best| score > best.score);
    if better {
        at.best = Some((at.step, score.to_bits()));
        at.stale = 0;
    } else {
        at.stale += 1;
    }
    if let Some(records) = records {
        records.evaluation(&EvaluationLine {
            step: at.step,
            best: better,
            evaluation,
        })?;
    }
    Ok(better)
}

/// The records first: see [`Records::sync`].
fn save<T: Task>(
    task: &mut T,
    checkpoints: &Checkpoints<'_>,
    records: Option<&Records>,
    at: &mut Progress,
) -> Result<(), Error> {
    let synced = records.map_or(Ok(()), Records::sync);
    ranks::together(task.optimiser().group(), synced)?;
    at.task = task.state();
    checkpoints.save(task.optimiser(), at.clone())
}

fn finished(at: &Progress, options: &Options) -> bool {
    at.step >= options.steps || stopped_early(at, options)
}

fn stopped_early(at: &Progress, options: &Options) -> bool {
    options.early_stop > 0 && at.stale >= options.early_stop && at.step < options.steps
}

fn evaluation_due(at: &Progress, options: &Options) -> bool {
    options.eval_steps > 0
        && at.evaluated < at.step
        && (at.step.is_multiple_of(options.eval_steps) || at.step == options.steps)
}

fn checkpoint_due(at: &Progress, options: &Options, saved: Instant) -> bool {
    let (steps, seconds) = (options.checkpoint_steps, options.checkpoint_seconds);
    at.step < options.steps
        && ((steps > 0 && at.step.is_multiple_of(steps))
            || (seconds > 0 && saved.elapsed().as_secs() >= seconds))
}

fn best(at: &Progress) -> Option<Best> {
    at.best.map(|(step, score)| Best {
        step,
        score: f64::from_bits(score),
    })
}

fn summary(first: u64, at: &Progress, options: &Options) -> Summary {
    Summary {
        first,
        steps: at.step,
        skipped: at.skipped,
        stopped_early: stopped_early(at, options),
        best: best(at),
    }
}

fn line(at: u64, lr: f64, step: &Step) -> StepMetrics {
    StepMetrics {
        step: at,
        epoch: step.epoch,
        loss: step.loss,
        lr,
        grad_norm: step.grad_norm,
        samples: step.samples,
        tokens: step.tokens,
        labels: step.labels,
        skipped: step.skipped,
    }
}

/// What the progress bar says.
struct Shown {
    bar: progress::Bar,
    /// Smoothed, as single steps leap.
    loss: Option<f64>,
    message: String,
}

impl Shown {
    fn new(bar: progress::Bar) -> Shown {
        Shown {
            bar,
            loss: None,
            message: String::new(),
        }
    }

    fn step(&mut self, line: &StepMetrics, timing: &StepTiming) {
        let loss = self
            .loss
            .map_or(line.loss, |old| 0.95 * old + 0.05 * line.loss);
        self.loss = Some(loss);
        let (rate, unit) = if line.tokens > 0 {
            (timing.tokens_per_second, "tokens")
        } else {
            (timing.samples_per_second, "samples")
        };
        self.message = format!("loss {loss:.3}, lr {:.1e}, {rate:.0} {unit}/s", line.lr);
        self.bar.message(&self.message);
        self.bar.inc(1);
    }

    /// A large checkpoint takes a while.
    fn saving(&self) {
        self.bar.message(&format!("{}, saving", self.message));
    }
}
