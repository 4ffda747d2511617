//! The learning rate over a run: linear warm-up, then one of three ways on.
//!
//! The same numbers as `get_*_schedule_with_warmup` in transformers, which LLaVA trains with: the first
//! step of a run with warm-up has learning rate 0, the warm-up is `warmup_ratio` of all steps rounded
//! up, and the step after the last would be at 0 again (unless constant).

use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to zero: the paper's.
    #[default]
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// It stays.
    Constant,
}

impl Schedule {
    /// The learning rate of `step` (from 0) among `steps`.
    pub fn learning_rate(self, peak: f64, warmup_ratio: f64, step: u64, steps: u64) -> f64 {
        let warmup = (steps as f64 * warmup_ratio).ceil();
        let step = step as f64;
        if step < warmup {
            return peak * step / warmup.max(1.0);
        }
        let progress = (step - warmup) / (steps as f64 - warmup).max(1.0);
        match self {
            Schedule::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Schedule::Linear => peak * (1.0 - progress).max(0.0),
            Schedule::Constant => peak,
        }
    }
}

/// The learning rate of `step` (from 0) among `steps`, by [`Schedule::Cosine`].
pub fn learning_rate(peak: f64, warmup_ratio: f64, step: u64, steps: u64) -> f64 {
    Schedule::Cosine.learning_rate(peak, warmup_ratio, step, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_follow_transformers() {
        // transformers 4.57.1: get_cosine_schedule_with_warmup(optimizer, 3, 100), peak 2.0, and
        // get_linear_schedule_with_warmup and get_constant_schedule_with_warmup alike.
        for (step, cosine, linear, constant) in [
            (0, 0.0, 0.0, 0.0),
            (1, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0),
            (2, 4.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0),
            (3, 2.0, 2.0, 2.0),
            (4, 1.999475569045515, 1.9793814432989691, 2.0),
            (51, 1.0161930688025016, 1.0103092783505154, 2.0),
            (99, 0.0005244309544850667, 0.020618556701030927, 2.0),
        ] {
            for (schedule, expected) in [
                (Schedule::Cosine, cosine),
                (Schedule::Linear, linear),
                (Schedule::Constant, constant),
            ] {
                let lr = schedule.learning_rate(2.0, 0.03, step, 100);
                assert!(
                    (lr - expected).abs() < 1e-12,
                    "{schedule:?}, step {step}: {lr} against {expected}"
                );
            }
            assert_eq!(
                learning_rate(2.0, 0.03, step, 100),
                Schedule::Cosine.learning_rate(2.0, 0.03, step, 100)
            );
        }
    }

    #[test]
    fn they_are_written_in_small_letters() {
        for (schedule, written) in [
            (Schedule::Cosine, "\"cosine\""),
            (Schedule::Linear, "\"linear\""),
            (Schedule::Constant, "\"constant\""),
        ] {
            assert_eq!(serde_json::to_string(&schedule).unwrap(), written);
            let read: Schedule = serde_json::from_str(written).unwrap();
            assert_eq!(read, schedule);
        }
        assert_eq!(Schedule::default(), Schedule::Cosine);
    }

    #[test]
    fn without_warmup_the_first_step_has_the_peak_rate() {
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            assert_eq!(schedule.learning_rate(1e-3, 0.0, 0, 10), 1e-3);
        }
    }

    #[test]
    fn a_run_of_one_step_divides_by_nothing() {
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            assert!(schedule.learning_rate(1.0, 0.03, 0, 1).is_finite());
            assert!(schedule.learning_rate(1.0, 1.0, 0, 1).is_finite());
        }
    }
}
