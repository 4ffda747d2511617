//! The learning rate over a run: linear warm-up, then half a cosine down to zero.
//!
//! The same numbers as `get_cosine_schedule_with_warmup` in transformers, which LLaVA trains with:
//! the first step of a run with warm-up has learning rate 0, the warm-up is `warmup_ratio` of all
//! steps rounded up, and the step after the last would be at 0 again.

/// The learning rate of `step` (from 0) among `steps`.
pub fn learning_rate(peak: f64, warmup_ratio: f64, step: u64, steps: u64) -> f64 {
    let warmup = (steps as f64 * warmup_ratio).ceil();
    let step = step as f64;
    if step < warmup {
        return peak * step / warmup.max(1.0);
    }
    let progress = (step - warmup) / (steps as f64 - warmup).max(1.0);
    peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_transformers_cosine_with_warmup() {
        // transformers 4.57.1: get_cosine_schedule_with_warmup(optimizer, 3, 100), peak 2.0.
        for (step, expected) in [
            (0, 0.0),
            (1, 2.0 / 3.0),
            (2, 4.0 / 3.0),
            (3, 2.0),
            (4, 1.999475569045515),
            (51, 1.0161930688025016),
            (99, 0.0005244309544850667),
        ] {
            let lr = learning_rate(2.0, 0.03, step, 100);
            assert!(
                (lr - expected).abs() < 1e-12,
                "step {step}: {lr} against {expected}"
            );
        }
    }

    #[test]
    fn without_warmup_the_first_step_has_the_peak_rate() {
        assert_eq!(learning_rate(1e-3, 0.0, 0, 10), 1e-3);
    }

    #[test]
    fn a_run_of_one_step_divides_by_nothing() {
        assert!(learning_rate(1.0, 0.03, 0, 1).is_finite());
        assert!(learning_rate(1.0, 1.0, 0, 1).is_finite());
    }
}
