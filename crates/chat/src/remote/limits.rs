//! How much a server may be asked: what the user set, what it announced, and what it took.
//!
//! All times are arguments, on the monotonic clock: a wall clock that jumps changes nothing.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::transport::Announced;

/// What a server may be asked for, as the user knows it. What it announces tightens this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests on their way at once.
    pub concurrency: usize,
    /// Requests in any minute; 0 is no limit.
    pub requests_per_minute: u64,
    /// Tokens in any minute, prompts and `max_tokens` together; 0 is no limit.
    pub tokens_per_minute: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            concurrency: 32,
            requests_per_minute: 0,
            tokens_per_minute: 0,
        }
    }
}

const MINUTE: f64 = 60.0;

/// A token bucket. It holds one second's worth, and fills so slowly that no minute, wherever it
/// starts, sees more than the limit.
#[derive(Debug, Clone)]
struct Bucket {
    limit: f64,
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(limit: u64, now: Instant) -> Bucket {
        let limit = limit.max(1) as f64;
        let capacity = (limit / MINUTE).floor().max(1.0);
        Bucket {
            limit,
            capacity,
            level: capacity,
            at: now,
        }
    }

    /// Of a whole minute's tokens, a full bucket takes its share. A request that needs more than
    /// half a minute's gets that half.
    fn rate(&self) -> f64 {
        ((self.limit - (self.capacity - 1.0)) / MINUTE).max(self.limit / (2.0 * MINUTE))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate()).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// When `amount` may be taken.
    fn ready(&mut self, now: Instant, amount: f64) -> Instant {
        self.fill(now);
        // The bucket grows to what the largest request needs.
        self.capacity = self.capacity.max(amount.min(self.limit));
        let missing = amount.min(self.capacity) - self.level;
        if missing <= 1e-9 {
            now
        } else {
            // A microsecond later, so that rounding does not wake anyone too early.
            now + Duration::from_secs_f64(missing / self.rate()) + Duration::from_micros(1)
        }
    }

    fn take(&mut self, now: Instant, amount: f64) {
        self.fill(now);
        self.level -= amount;
    }
}

/// Whether a server may be sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Now.
    Now,
    /// Not before this.
    At(Instant),
    /// Once a request has come back.
    Full,
}

/// What keeps one server within its limits.
#[derive(Debug, Clone)]
pub struct Gate {
    concurrency: usize,
    /// What of it is used; halved by each "too many", regained one reply at a time.
    allowed: f64,
    in_flight: usize,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    not_before: Option<Instant>,
    /// Times in a row that the server said "too many" without saying how long to wait.
    refusals: u32,
}

/// The first wait after a "too many" that names none.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No such wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Gate {
    /// Opens at `now`.
    pub fn new(limits: Limits, now: Instant) -> Gate {
        let bucket = |limit: u64| (limit > 0).then(|| Bucket::new(limit, now));
        Gate {
            concurrency: limits.concurrency.max(1),
            allowed: limits.concurrency.max(1) as f64,
            in_flight: 0,
            requests: bucket(limits.requests_per_minute),
            tokens: bucket(limits.tokens_per_minute),
            not_before: None,
            refusals: 0,
        }
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How much of what is allowed at once is used.
    pub fn load(&self) -> f64 {
        self.in_flight as f64 / self.allowed.max(1.0)
    }

    /// Nothing is sent before this, by the server's own word.
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether a request of so many tokens may go.
    pub fn ask(&mut self, now: Instant, tokens: u64) -> Permit {
        if self.in_flight >= (self.allowed as usize).max(1) {
            return Permit::Full;
        }
        let mut at = now.max(self.not_before.unwrap_or(now));
        if let Some(bucket) = &mut self.requests {
            at = at.max(bucket.ready(now, 1.0));
        }
        if let Some(bucket) = &mut self.tokens {
            at = at.max(bucket.ready(now, tokens as f64));
        }
        if at <= now {
            Permit::Now
        } else {
            Permit::At(at)
        }
    }

    /// A request of so many tokens goes.
    pub fn start(&mut self, now: Instant, tokens: u64) {
        self.in_flight += 1;
        if let Some(bucket) = &mut self.requests {
            bucket.take(now, 1.0);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(now, tokens as f64);
        }
    }

    /// It came back. `too_many`: with the word that there were too many; `well`: with a reply.
    pub fn end(&mut self, now: Instant, announced: &Announced, too_many: bool, well: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let mut wait = announced.retry_after;
        for (bucket, window) in [
            (&mut self.requests, &announced.requests),
            (&mut self.tokens, &announced.tokens),
        ] {
            if let Some(limit) = window.limit.filter(|&limit| limit > 0) {
                let limit = limit as f64;
                match bucket {
                    Some(bucket) if limit < bucket.limit => {
                        bucket.limit = limit;
                        bucket.capacity = bucket.capacity.min((limit / MINUTE).max(1.0));
                    }
                    Some(_) => {}
                    None => *bucket = Some(Bucket::new(limit as u64, now)),
                }
            }
            if let (Some(bucket), Some(remaining)) = (bucket, window.remaining) {
                bucket.fill(now);
                bucket.level = bucket.level.min(remaining as f64);
                if remaining == 0 {
                    wait = wait.max(window.reset);
                }
            }
        }
        if too_many {
            let waiting = self.not_before.is_some_and(|until| until > now);
            if !waiting {
                // Those that were on their way together count once.
                self.allowed = (self.allowed / 2.0).max(1.0);
                self.refusals = self.refusals.saturating_add(1);
            }
            let doubled = FIRST_WAIT.saturating_mul(1 << self.refusals.saturating_sub(1).min(16));
            wait = wait.or(Some(doubled.min(LONGEST_WAIT)));
        } else if well {
            self.refusals = 0;
            self.allowed = (self.allowed + 1.0).min(self.concurrency as f64);
        }
        if let Some(wait) = wait {
            // A year is as good as any longer wait, and adds up without overflow.
            let until = now + wait.min(Duration::from_secs(365 * 86_400));
            self.not_before = self.not_before.max(Some(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transport::Window;

    fn limits(concurrency: usize, requests: u64, tokens: u64) -> Limits {
        Limits {
            concurrency,
            requests_per_minute: requests,
            tokens_per_minute: tokens,
        }
    }

    /// Sends as fast as it may for three minutes; gives when each went.
    fn flood(limits: Limits, sizes: &[u64]) -> Vec<(f64, u64)> {
        let start = Instant::now();
        let (mut now, end) = (start, start + Duration::from_secs(180));
        let mut gate = Gate::new(limits, now);
        let mut sent = Vec::new();
        for &tokens in sizes.iter().cycle() {
            loop {
                match gate.ask(now, tokens) {
                    Permit::Now => break,
                    Permit::At(at) => now = at,
                    Permit::Full => unreachable!("each comes back at once"),
                }
            }
            if now >= end || sent.len() > 20_000 {
                return sent;
            }
            gate.start(now, tokens);
            gate.end(now, &Announced::default(), false, true);
            sent.push(((now - start).as_secs_f64(), tokens));
        }
        sent
    }

    /// The most in any half-open minute.
    fn busiest(sent: &[(f64, u64)], weight: impl Fn(u64) -> u64) -> u64 {
        let mut most = 0;
        let (mut first, mut sum) = (0, 0);
        for &(at, tokens) in sent {
            sum += weight(tokens);
            while sent[first].0 <= at - 60.0 {
                sum -= weight(sent[first].1);
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_minute_sees_more_requests_than_the_limit_nor_far_fewer(limit in 1u64..3000) {
            let sent = flood(limits(4, limit, 0), &[1]);
            prop_assert!(busiest(&sent, |_| 1) <= limit);
            prop_assert!(sent.len() as u64 * 10 >= limit * 3 * 9 - 10, "{} of {limit}", sent.len());
        }

        #[test]
        fn no_minute_sees_more_tokens_than_the_limit(
            limit in 2000u64..200_000,
            sizes in proptest::collection::vec(1u64..1000, 1..20),
        ) {
            let sent = flood(limits(4, 0, limit), &sizes);
            prop_assert!(busiest(&sent, |tokens| tokens) <= limit);
            prop_assert!(sent.len() > 2);
        }

        #[test]
        fn never_more_are_on_their_way_than_slots(steps in proptest::collection::vec(0u8..4, 1..200)) {
            let start = Instant::now();
            let mut gate = Gate::new(limits(3, 0, 0), start);
            let mut flying = 0;
            for (n, step) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(n as u64 * 100);
                if step < 2 {
                    if gate.ask(now, 1) == Permit::Now {
                        gate.start(now, 1);
                        flying += 1;
                    } else {
                        prop_assert!(flying > 0, "an idle server must take a request");
                    }
                } else if flying > 0 {
                    gate.end(now, &Announced::default(), step == 2, step == 3);
                    flying -= 1;
                }
                prop_assert!(flying <= 3);
            }
        }
    }

    #[test]
    fn a_request_larger_than_the_limit_still_goes_once_the_bucket_is_full() {
        let now = Instant::now();
        let mut gate = Gate::new(limits(4, 0, 600), now);
        let Permit::At(at) = gate.ask(now, 5000) else {
            panic!("it must wait for a full bucket");
        };
        assert!(at - now < Duration::from_secs(125));
        assert_eq!(gate.ask(at, 5000), Permit::Now);
    }

    #[test]
    fn retry_after_is_waited_for_and_not_longer() {
        let now = Instant::now();
        let mut gate = Gate::new(limits(4, 0, 0), now);
        gate.start(now, 1);
        let announced = Announced {
            retry_after: Some(Duration::from_secs(7)),
            ..Announced::default()
        };
        gate.end(now, &announced, true, false);
        let later = now + Duration::from_secs(7);
        assert_eq!(gate.ask(now, 1), Permit::At(later));
        assert_eq!(gate.ask(later, 1), Permit::Now);
    }

    #[test]
    fn too_many_without_a_time_waits_twice_as_long_each_time_up_to_a_minute() {
        let mut now = Instant::now();
        let mut gate = Gate::new(limits(1, 0, 0), now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            gate.start(now, 1);
            gate.end(now, &Announced::default(), true, false);
            let Permit::At(at) = gate.ask(now, 1) else {
                panic!("it must wait")
            };
            waits.push((at - now).as_millis());
            now = at;
        }
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        );
    }

    #[test]
    fn what_a_server_announces_tightens_what_was_set() {
        let now = Instant::now();
        let window = |limit, remaining, seconds| Window {
            limit,
            remaining,
            reset: Some(Duration::from_secs(seconds)),
        };
        let mut gate = Gate::new(limits(10, 0, 0), now);
        gate.start(now, 1);
        let announced = Announced {
            requests: window(Some(60), Some(0), 3),
            ..Announced::default()
        };
        gate.end(now, &announced, false, true);
        let Permit::At(at) = gate.ask(now, 1) else {
            panic!("nothing remains")
        };
        assert!(at >= now + Duration::from_secs(3));
        gate.start(at, 1);
        gate.end(at, &Announced::default(), false, true);
        assert!(
            matches!(gate.ask(at, 1), Permit::At(_)),
            "60 a minute holds on"
        );
    }
}
