//! How long a request waits before it is tried again: exponential, with full jitter.
//!
//! The jitter is drawn from the request's digest and the try, so that it repeats, and so that
//! requests which failed together do not come back together.

use std::time::Duration;

use rand::Rng;

/// The wait after try number `attempt`, from 1: between nothing and `first` doubled with each try, no
/// longer than `longest`.
pub fn wait(digest: &str, attempt: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(20));
    let mut rng = sample::seed::rng(0, &["backoff", digest, &attempt.to_string()]);
    doubled.min(longest).mul_f64(rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn waits_repeat_differ_between_requests_and_stay_in_bounds() {
        let mut longest_seen = Duration::ZERO;
        for attempt in 1..40 {
            let bound = LONGEST.min(FIRST * 2u32.pow((attempt - 1).min(10)));
            for name in 0..50 {
                let wait = |n: i32| super::wait(&n.to_string(), attempt, FIRST, LONGEST);
                assert_eq!(wait(name), wait(name));
                assert_ne!(wait(name), wait(name + 1));
                assert!(wait(name) <= bound);
                longest_seen = longest_seen.max(wait(name));
            }
        }
        assert!(longest_seen > LONGEST / 2);
    }
}
