//! When to leave a server alone, and when to ask it again.
//!
//! Closed, requests go. After some faults of the server in a row it opens: nothing is sent for a
//! while, which doubles each time. Then one request goes as a probe, and its end closes or reopens.

use std::time::{Duration, Instant};

/// How a request ended, as far as its server's health is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, whatever it said.
    Well,
    /// It is busy: no sign of life, and no fault.
    Busy,
    /// It failed.
    Unwell,
    /// It was not asked.
    Unknown,
    /// It will never answer.
    Ended,
}

/// What a breaker is told to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Faults in a row that open it.
    pub faults: u32,
    /// The first pause.
    pub pause: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { faults: u32 },
    Open { until: Instant, pause: Duration },
    Probing { pause: Duration },
    Ended,
}

/// One server's breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// The first and the latest sign of trouble since the last answer.
    unwell: Option<(Instant, Instant)>,
}

impl Breaker {
    /// Closed.
    pub fn new(settings: Settings) -> Breaker {
        Breaker {
            settings,
            state: State::Closed { faults: 0 },
            unwell: None,
        }
    }

    /// When a request may go: `None` where only the probe's end, or nothing at all, will tell.
    pub fn ask(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => Some(now),
            State::Open { until, .. } => Some(until.max(now)),
            State::Probing { .. } | State::Ended => None,
        }
    }

    /// A request goes; in an open breaker it is the probe.
    pub fn start(&mut self) {
        if let State::Open { pause, .. } = self.state {
            self.state = State::Probing { pause };
        }
    }

    /// A request has ended.
    pub fn end(&mut self, now: Instant, health: Health) {
        match health {
            Health::Ended => self.state = State::Ended,
            _ if self.state == State::Ended => {}
            Health::Well => {
                self.unwell = None;
                self.state = State::Closed { faults: 0 };
            }
            Health::Unknown => {
                // The probe did not probe; the next request does.
                if let State::Probing { pause } = self.state {
                    self.state = State::Open { until: now, pause };
                }
            }
            Health::Busy => {
                self.unwell.get_or_insert((now, now)).1 = now;
                // A probe that finds it busy has found it alive.
                if let State::Probing { .. } = self.state {
                    self.state = State::Closed { faults: 0 };
                }
            }
            Health::Unwell => {
                self.unwell.get_or_insert((now, now)).1 = now;
                self.state = match self.state {
                    State::Closed { faults } if faults + 1 < self.settings.faults => {
                        State::Closed { faults: faults + 1 }
                    }
                    State::Closed { .. } => self.opened(now, self.settings.pause),
                    State::Probing { pause } => self.opened(now, pause.saturating_mul(2)),
                    // Those that were on their way when it opened.
                    open @ (State::Open { .. } | State::Ended) => open,
                };
            }
        }
    }

    fn opened(&self, now: Instant, pause: Duration) -> State {
        let pause = pause.min(self.settings.longest);
        State::Open {
            until: now + pause,
            pause,
        }
    }

    /// Whether it will never answer.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// For how long it was asked and gave no answer, up to the latest time it was asked.
    pub fn unwell_for(&self) -> Duration {
        self.unwell
            .map_or(Duration::ZERO, |(first, latest)| latest - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(Settings {
            faults: 3,
            pause: SECOND,
            longest: 5 * SECOND,
        })
    }

    #[test]
    fn opens_after_faults_in_a_row_and_not_after_faults_between_answers() {
        let now = Instant::now();
        let mut spread = breaker();
        for health in [Health::Unwell, Health::Unwell, Health::Well].repeat(3) {
            spread.end(now, health);
            assert_eq!(spread.ask(now), Some(now));
        }
        let mut row = breaker();
        for _ in 0..3 {
            row.end(now, Health::Unwell);
        }
        assert_eq!(row.ask(now), Some(now + SECOND));
    }

    #[test]
    fn one_probe_goes_and_failed_probes_double_the_pause_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.end(now, Health::Unwell);
        }
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let at = breaker.ask(now).expect("open");
            pauses.push((at - now).as_secs());
            now = at;
            breaker.start();
            assert_eq!(breaker.ask(now), None, "one probe at a time");
            breaker.end(now, Health::Unwell);
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        now = breaker.ask(now).expect("open");
        breaker.start();
        breaker.end(now, Health::Well);
        assert_eq!(breaker.ask(now), Some(now));
        assert_eq!(breaker.unwell_for(), Duration::ZERO);
    }

    #[test]
    fn late_faults_of_an_open_breaker_do_not_lengthen_its_pause() {
        let now = Instant::now();
        let mut breaker = breaker();
        for n in 0..50 {
            breaker.end(now + n * SECOND / 100, Health::Unwell);
        }
        assert_eq!(breaker.ask(now), Some(now + SECOND * 2 / 100 + SECOND));
        assert_eq!(breaker.unwell_for(), SECOND * 49 / 100);
    }

    #[test]
    fn a_server_that_has_ended_stays_so() {
        let now = Instant::now();
        let mut breaker = breaker();
        breaker.end(now, Health::Ended);
        breaker.end(now, Health::Well);
        assert!(breaker.ended());
        assert_eq!(breaker.ask(now), None);
    }
}
