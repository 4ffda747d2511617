//! From logits to the next token.
//!
//! The steps, their order and their meaning are those of transformers' logits processors:
//! repetition penalty, temperature, top-k, top-p, min-p, then a draw. A draw depends on the
//! request's seed and the token's number alone, so that a conversation gets the same tokens whatever
//! it is batched with.

use crate::{Error, Unanswerable};

/// How a request's tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 is greedy: the likeliest token, always.
    pub temperature: f64,
    /// Only the `k` likeliest tokens, and those as likely as the last of them; 0: all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have at least this probability; 1: all.
    pub top_p: f64,
    /// Only tokens with at least this share of the likeliest one's probability; 0: all.
    pub min_p: f64,
    /// The logit of a token of the prompt or the reply is divided by it where positive, multiplied
    /// where negative; 1: left as it is.
    pub repetition_penalty: f64,
    /// Settles the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// A token and how likely the model held it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// Its id.
    pub token: i64,
    /// Natural logarithm of its probability under the model's own logits, before any of the steps of
    /// [`Sampling`].
    pub logprob: f32,
}

impl Sampling {
    /// Refuses values that mean nothing.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str, value: f64, range: &str| {
            let detail = format!("{what} is {value}: give {range}");
            Err(Unanswerable::Meaningless.error(detail))
        };
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return wrong("temperature", self.temperature, "0 (greedy) or more");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p, "more than 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return wrong("min_p", self.min_p, "0 to 1");
        }
        if !self.repetition_penalty.is_finite() || self.repetition_penalty <= 0.0 {
            return wrong("repetition_penalty", self.repetition_penalty, "more than 0");
        }
        Ok(())
    }

    /// Whether the likeliest token is taken as it is.
    pub(super) fn is_plain_greedy(&self) -> bool {
        self.temperature == 0.0 && self.repetition_penalty == 1.0
    }

    /// The next token. `seen` are the tokens of the prompt and the reply, `number` is how many the
    /// reply has.
    pub(super) fn choose(
        &self,
        logits: &[f32],
        seen: impl Iterator<Item = i64>,
        number: usize,
    ) -> i64 {
        let mut scores = logits.to_vec();
        self.penalise(&mut scores, seen);
        if self.temperature == 0.0 {
            return likeliest(&scores);
        }
        self.warp(&mut scores);
        let draw = sample::seed::derive(self.seed, &["token", &number.to_string()]);
        // The 53 highest bits, which a double holds exactly: 0 to just below 1.
        drawn(&scores, (draw >> 11) as f64 / (1u64 << 53) as f64)
    }

    fn penalise(&self, scores: &mut [f32], seen: impl Iterator<Item = i64>) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let penalty = self.repetition_penalty as f32;
        let mut done = vec![false; scores.len()];
        for token in seen.filter_map(|token| usize::try_from(token).ok()) {
            if let (Some(score), Some(done)) = (scores.get_mut(token), done.get_mut(token))
                && !*done
            {
                *done = true;
                *score = if *score < 0.0 {
                    *score * penalty
                } else {
                    *score / penalty
                };
            }
        }
    }

    /// Temperature, then what is left out, at minus infinity.
    fn warp(&self, scores: &mut [f32]) {
        let temperature = self.temperature as f32;
        for score in scores.iter_mut() {
            *score /= temperature;
        }
        let restricted = self.top_k > 0 || self.top_p < 1.0;
        if restricted {
            // Indices, likeliest first.
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
            if self.top_k > 0 && self.top_k < order.len() {
                let last = scores[order[self.top_k - 1]];
                let kept = order.iter().take_while(|&&i| scores[i] >= last).count();
                drop_after(scores, &mut order, kept);
            }
            if self.top_p < 1.0 {
                let probabilities = softmax(scores);
                // Kept while those less likely, with this one, have more than 1 - top_p.
                let mut less: f32 = 0.0;
                let mut kept = order.len();
                for &index in order.iter().rev() {
                    less += probabilities[index];
                    if less > 1.0 - self.top_p as f32 {
                        break;
                    }
                    kept -= 1;
                }
                drop_after(scores, &mut order, kept.max(1));
            }
        }
        if self.min_p > 0.0 {
            let probabilities = softmax(scores);
            let top = probabilities.iter().copied().fold(0.0, f32::max);
            for (score, probability) in scores.iter_mut().zip(probabilities) {
                if probability < self.min_p as f32 * top {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// Leaves only the first `kept` of `order`.
fn drop_after(scores: &mut [f32], order: &mut Vec<usize>, kept: usize) {
    for &index in &order[kept..] {
        scores[index] = f32::NEG_INFINITY;
    }
    order.truncate(kept);
}

/// The first of the highest.
pub(super) fn likeliest(scores: &[f32]) -> i64 {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best as i64
}

/// The token at `share` (0 to 1) of the probability, in the order of ids.
fn drawn(scores: &[f32], share: f64) -> i64 {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| f64::from(score - highest).exp();
    let total: f64 = scores.iter().map(|&s| weight(s)).sum();
    let mut below = 0.0;
    let mut last = 0;
    for (index, &score) in scores.iter().enumerate() {
        let weight = weight(score);
        if weight > 0.0 {
            last = index;
            below += weight;
            if below > share * total {
                break;
            }
        }
    }
    last as i64
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weights: Vec<f32> = scores.iter().map(|&s| (s - highest).exp()).collect();
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    for weight in &mut weights {
        *weight = (f64::from(*weight) / total) as f32;
    }
    weights
}

/// The token's log-probability, and those of the `top` likeliest tokens, likeliest first.
pub(super) fn logprobs(
    logits: &[f32],
    token: i64,
    top: usize,
) -> (TokenLogprob, Vec<TokenLogprob>) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&l| f64::from(l - highest).exp()).sum();
    let normaliser = f64::from(highest) + total.ln();
    let of = |index: usize| TokenLogprob {
        token: index as i64,
        logprob: (f64::from(logits[index]) - normaliser) as f32,
    };
    let top = top.min(logits.len());
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_logit = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if top > 0 {
        let _ = order.select_nth_unstable_by(top - 1, by_logit);
    }
    order.truncate(top);
    order.sort_by(by_logit);
    (
        of(usize::try_from(token).unwrap_or(0)),
        order.into_iter().map(of).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/golden/sampling.py` wrote what transformers' processors make of fixed logits.
    #[test]
    fn warped_logits_are_those_of_transformers() {
        #[derive(serde::Deserialize)]
        struct Golden {
            logits: Vec<Vec<f32>>,
            seen: Vec<i64>,
            cases: Vec<Case>,
        }
        #[derive(serde::Deserialize)]
        struct Case {
            temperature: f64,
            top_k: usize,
            top_p: f64,
            min_p: f64,
            repetition_penalty: f64,
            /// Per row of logits; `null` where the token is left out.
            scores: Vec<Vec<Option<f32>>>,
        }
        let text = include_str!("../../tests/golden/sampling.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert!(golden.cases.len() > 10);
        for case in &golden.cases {
            let sampling = Sampling {
                temperature: case.temperature,
                top_k: case.top_k,
                top_p: case.top_p,
                min_p: case.min_p,
                repetition_penalty: case.repetition_penalty,
                seed: 0,
            };
            for (logits, expected) in golden.logits.iter().zip(&case.scores) {
                let mut scores = logits.clone();
                sampling.penalise(&mut scores, golden.seen.iter().copied());
                sampling.warp(&mut scores);
                let tied = |index: usize| {
                    logits
                        .iter()
                        .filter(|&&other| other == logits[index])
                        .count()
                        > 1
                };
                let close = |found: f32, expected: f32| {
                    found == expected || (found - expected).abs() < 2e-6 + 1e-5 * expected.abs()
                };
                let expected: Vec<f32> = expected
                    .iter()
                    .map(|s| s.unwrap_or(f32::NEG_INFINITY))
                    .collect();
                // Which of equally likely tokens top-p leaves out is an accident of the sort.
                for index in (0..scores.len()).filter(|&index| !tied(index)) {
                    let (found, expected) = (scores[index], expected[index]);
                    assert!(
                        close(found, expected),
                        "{sampling:?}: token {index} is {found}, not {expected}"
                    );
                }
                let sorted = |mut scores: Vec<f32>| {
                    scores.sort_by(f32::total_cmp);
                    scores
                };
                for (found, expected) in sorted(scores).into_iter().zip(sorted(expected)) {
                    assert!(
                        close(found, expected),
                        "{sampling:?}: {found}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn draws_follow_the_probabilities_and_depend_on_seed_and_number_alone() {
        let logits = [0.0f32, 1.0, 2.0, f32::NEG_INFINITY];
        let of = |seed| Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        };
        let mut counts = [0usize; 4];
        for number in 0..4000 {
            let token = of(7).choose(&logits, std::iter::empty(), number);
            counts[token as usize] += 1;
        }
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (count, &logit) in counts.iter().zip(&logits) {
            let expected = f64::from(logit).exp() / total * 4000.0;
            // Five standard deviations of the widest binomial.
            assert!((*count as f64 - expected).abs() < 160.0, "{counts:?}");
        }
        let run = |seed| -> Vec<i64> {
            (0..50)
                .map(|n| of(seed).choose(&logits, std::iter::empty(), n))
                .collect()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn the_ends_of_the_unit_interval_draw_tokens_that_may_be_drawn() {
        let scores = [f32::NEG_INFINITY, 1.0, 1.0, f32::NEG_INFINITY];
        assert_eq!(drawn(&scores, 0.0), 1);
        assert_eq!(drawn(&scores, 1.0 - f64::EPSILON), 2);
    }

    #[test]
    fn logprobs_are_the_models_own_and_sorted() {
        let (chosen, top) = logprobs(&[0.0, 3.0, 1.0, 3.0], 2, 3);
        let total = 1.0f64 + 2.0 * 3.0f64.exp() + 1.0f64.exp();
        assert!((f64::from(chosen.logprob) - (1.0 - total.ln())).abs() < 1e-6);
        let ids: Vec<i64> = top.iter().map(|t| t.token).collect();
        assert_eq!(ids, [1, 3, 2]);
        assert!(logprobs(&[0.0], 0, 5).1.len() == 1);
    }

    #[test]
    fn values_that_mean_nothing_are_refused_by_name() {
        let refused = |sampling: Sampling| sampling.check().unwrap_err().to_string();
        let d = Sampling::default;
        for (sampling, name) in [
            (
                Sampling {
                    temperature: -1.0,
                    ..d()
                },
                "temperature",
            ),
            (
                Sampling {
                    temperature: f64::NAN,
                    ..d()
                },
                "temperature",
            ),
            (Sampling { top_p: 0.0, ..d() }, "top_p"),
            (Sampling { min_p: 1.5, ..d() }, "min_p"),
            (
                Sampling {
                    repetition_penalty: 0.0,
                    ..d()
                },
                "repetition_penalty",
            ),
        ] {
            let said = refused(sampling);
            assert!(said.starts_with(name), "{said}");
        }
        d().check().unwrap();
    }
}
