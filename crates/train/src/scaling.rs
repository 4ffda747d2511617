//! How a step's time falls with the number of ranks: a model of what `engine::exchange` does.
//!
//! What one rank computes is measured ([`Work`] holds it), what a network carries is given ([`Network`]), and
//! the exchange is gone through message by message as the engine sends them: a part's gradients
//! are sent off when its backward pass is done, and waited for after that of the part below; then its weights
//! are updated and sent off, of which two parts may be on their way. Messages take turns on a rank's
//! network.
//!
//! **Assumptions.** All ranks are alike and have like shares (stragglers cost what they cost: `timing.jsonl`
//! shows them). Collectives are rings: of `B` bytes on `n` ranks a rank sends `(n - 1) / n * B` in `n - 1`
//! steps, each with the latency. Nothing else is on the network, and sending takes nothing from computing,
//! which holds for GPUs and not for Gloo's threads on the cores that compute. Half as many trees a rank
//! take half the time, which holds while a rank still fills its device.

use serde::Serialize;

/// As in `engine::exchange`.
const AHEAD: usize = 2;

/// What a rank reaches others by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Network {
    /// Bytes a second that a rank sends while it receives as many.
    pub bytes_per_second: f64,
    /// Seconds until a message's first byte arrives.
    pub latency: f64,
}

/// A part of the model, in the order of the way down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PartWork {
    /// Trained numbers; gradients travel in four bytes each.
    pub elements: f64,
    /// Bytes of its weights.
    pub weight_bytes: f64,
    /// Seconds of its backward pass on one rank that has the whole step.
    pub seconds: f64,
}

/// What a step is on one rank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Work {
    /// Seconds before the first gradient: the way up.
    pub up: f64,
    /// The way down.
    pub parts: Vec<PartWork>,
    /// Parts are updated as they come; otherwise all after the last gradient, by the norm of all.
    pub layerwise: bool,
}

/// A step on several ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scaled {
    /// How many.
    pub ranks: usize,
    /// Seconds of a step of the same batch, shared out.
    pub seconds: f64,
    /// Of which nothing was computed: what the network took that no computation hid.
    pub exposed: f64,
    /// Of the time of one rank, over `ranks` times this one's.
    pub efficiency: f64,
}

impl Work {
    /// A step of `seconds` on one rank. `parts` are (trained numbers, bytes of weights, operations), in the order
    /// of the way down; a share `up` of the step is the way up.
    pub fn of_step(seconds: f64, up: f64, parts: &[(f64, f64, f64)], layerwise: bool) -> Work {
        let all: f64 = parts.iter().map(|part| part.2).sum();
        let down = seconds * (1.0 - up);
        let parts = parts
            .iter()
            .map(|&(elements, weight_bytes, operations)| PartWork {
                elements,
                weight_bytes,
                seconds: down * operations / all.max(f64::MIN_POSITIVE),
            });
        Work {
            up: seconds * up,
            parts: parts.collect(),
            layerwise,
        }
    }

    /// Seconds on one rank.
    pub fn seconds(&self) -> f64 {
        self.up + self.parts.iter().map(|part| part.seconds).sum::<f64>()
    }

    /// The same step shared by `ranks`.
    pub fn on(&self, ranks: usize, network: Network) -> Scaled {
        let n = ranks.max(1) as f64;
        let alone = self.seconds();
        let computing = alone / n;
        if ranks <= 1 {
            return Scaled {
                ranks,
                seconds: alone,
                exposed: 0.0,
                efficiency: 1.0,
            };
        }
        let ring =
            |bytes: f64| (n - 1.0) * (network.latency + bytes / n / network.bytes_per_second);
        // Two small sums before the first gradient, one after the step, and one for each part's norm.
        let small = 2.0 * ring(64.0);
        let mut line = Line::default();
        let mut now = self.up / n + 2.0 * small;
        let mut gathers: Vec<f64> = Vec::new();
        let mut reduced: Vec<(f64, f64)> = Vec::new();
        let mut next = 0;
        let mut update = |now: &mut f64, line: &mut Line, (end, bytes): (f64, f64)| {
            *now = now.max(end);
            if let Some(&earlier) = gathers
                .len()
                .checked_sub(AHEAD)
                .and_then(|at| gathers.get(at))
            {
                *now = now.max(earlier);
            }
            gathers.push(line.send(*now, ring(bytes)));
        };
        for part in &self.parts {
            now += part.seconds / n;
            reduced.push((line.send(now, ring(4.0 * part.elements)), part.weight_bytes));
            while self.layerwise && reduced.len() - next > 1 {
                now += small;
                update(&mut now, &mut line, reduced[next]);
                next += 1;
            }
        }
        if !self.layerwise {
            let last = reduced.iter().map(|(end, _)| *end).fold(now, f64::max);
            now = last + small;
        }
        for &sent in &reduced[next..] {
            now += if self.layerwise { small } else { 0.0 };
            update(&mut now, &mut line, sent);
        }
        let seconds = now.max(line.free) + small;
        Scaled {
            ranks,
            seconds,
            exposed: seconds - computing,
            efficiency: computing / seconds,
        }
    }
}

/// A rank's network, on which messages take turns.
#[derive(Debug, Default)]
struct Line {
    free: f64,
}

impl Line {
    /// When a message has arrived that is handed over at `now` and takes `seconds`.
    fn send(&mut self, now: f64, seconds: f64) -> f64 {
        self.free = self.free.max(now) + seconds;
        self.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Network = Network {
        bytes_per_second: 1e15,
        latency: 0.0,
    };

    fn work(layerwise: bool) -> Work {
        let parts = [(1e8, 2e8, 1.0); 10];
        Work::of_step(4.0, 0.25, &parts, layerwise)
    }

    #[test]
    fn without_a_cost_of_sending_twice_the_ranks_take_half_the_time() {
        for layerwise in [false, true] {
            let work = work(layerwise);
            assert!((work.seconds() - 4.0).abs() < 1e-12);
            for ranks in [1, 2, 8, 64] {
                let scaled = work.on(ranks, FAST);
                assert!(
                    (scaled.seconds * ranks as f64 - 4.0).abs() < 1e-3,
                    "{scaled:?}"
                );
                assert!(scaled.efficiency > 0.999);
            }
        }
    }

    #[test]
    fn what_computation_hides_costs_nothing_and_the_rest_is_exposed() {
        // Of two ranks each sends 0.2 s of gradients for a part, and computes for 0.15 s of it.
        let slow = Network {
            bytes_per_second: 1e9,
            latency: 0.0,
        };
        let scaled = work(true).on(2, slow);
        // Ten times 0.2 s of gradients and 0.1 s of weights: the line is never idle after the first part.
        assert!(
            (scaled.seconds - (0.5 + 0.15 + 3.0)).abs() < 1e-4,
            "{scaled:?}"
        );
        assert!((scaled.exposed - (scaled.seconds - 2.0)).abs() < 1e-9);
        // A line ten times as fast is idle most of the time: what is exposed is the last part's, and the weights of
        // the part above it.
        let fast = Network {
            bytes_per_second: 1e10,
            latency: 0.0,
        };
        let scaled = work(true).on(2, fast);
        assert!((scaled.exposed - 0.04).abs() < 1e-4, "{scaled:?}");
    }

    #[test]
    fn latency_grows_with_the_ranks_and_updates_after_all_gradients_hide_less() {
        let far = Network {
            bytes_per_second: 1e10,
            latency: 1e-4,
        };
        for ranks in [4, 16, 64] {
            let (by_layer, at_end) = (work(true).on(ranks, far), work(false).on(ranks, far));
            assert!(by_layer.efficiency < 1.0 && at_end.efficiency < 1.0);
            assert!(by_layer.efficiency < work(true).on(ranks / 2, far).efficiency);
            assert!(by_layer.efficiency > at_end.efficiency);
        }
        let near = Network {
            latency: 0.0,
            ..far
        };
        assert!(work(true).on(64, far).efficiency < work(true).on(64, near).efficiency);
    }
}
