//! Which prompts a chunk of work goes to.
//!
//! A step runs at most a chunk of prompt tokens. Whoever is given them, the others wait; so:
//!
//! 1. Prompts that the chunk can finish come first, the one with the fewest tokens left before all
//!    others: as many as possible get their first token, and a short prompt does not wait for the long
//!    ones that came before it.
//! 2. What then is left of the chunk is for the next prompt in that order, which it does not finish;
//!    but not where a prompt ends that began in this chunk: that one's first token would wait for
//!    tokens of a long prompt, which can as well be run in the next chunk.
//! 3. Half of a chunk is for the oldest prompt, so that short ones, however many come, do not keep it
//!    from ever being answered; but not where the last chunk had more than half a chunk of prompts that
//!    did not end, and a prompt can begin and end in this one.
//!
//! From this follows what tests hold: the oldest prompt gets half a chunk in any two, and one that
//! fits into half a chunk and has the fewest tokens is answered after the chunk that ran when it came
//! and one of its own, which together hold at most one chunk of tokens of prompts that do not end.

use crate::generate::request::RequestId;

/// A part of a prompt of fewer tokens is not worth a pass through the model, where others are run.
const WORTH: usize = 16;

/// A prompt that has tokens left to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub id: RequestId,
    /// Tokens left to its end, at least one.
    pub left: usize,
    /// Tokens left to where it next parts from others, or to its end.
    pub stop: usize,
    /// The run that it shares with others up to there; one of them runs it for all.
    pub run: Option<usize>,
    /// Whether tokens of it were run in an earlier chunk.
    pub begun: bool,
}

/// The tokens of one step, given out in rounds: what is shared is run in one, what stands on it in
/// the next.
#[derive(Debug)]
pub(super) struct Chunk {
    left: usize,
    /// Whose half it is, and how much of it is left.
    oldest: Option<(RequestId, usize)>,
    /// Whether a prompt begins and ends in this chunk.
    short: bool,
    begun: bool,
}

impl Chunk {
    /// A chunk of `tokens` for prompts of which the first is the oldest. The chunk before had
    /// `unfinished` tokens of prompts that did not end in it.
    pub fn new(tokens: usize, candidates: &[Candidate], unfinished: usize) -> Chunk {
        let half = tokens.div_ceil(2);
        let mut open = tokens;
        let short = fewest_first(candidates)
            .map(|index| &candidates[index])
            .take_while(|candidate| {
                let fits = candidate.left <= open;
                open = open.saturating_sub(candidate.left);
                fits
            })
            .any(|candidate| !candidate.begun);
        Chunk {
            left: tokens,
            oldest: candidates
                .first()
                .filter(|_| !short || unfinished <= tokens - half)
                .map(|oldest| (oldest.id, half)),
            short: false,
            begun: false,
        }
    }

    /// Who runs how many tokens in the next round: indices into `candidates`, oldest first, and
    /// numbers of tokens, none beyond the candidate's next stop. Empty where the chunk is used up.
    pub fn portions(&mut self, candidates: &[Candidate]) -> Vec<(usize, usize)> {
        let mut given = vec![0; candidates.len()];
        let mut runs: Vec<usize> = Vec::new();
        let mut open = self.left;
        let oldest = self.oldest.and_then(|(id, kept)| {
            let index = candidates.iter().position(|c| c.id == id)?;
            Some((index, kept.min(candidates[index].left).min(open)))
        });
        if let Some((index, kept)) = oldest {
            given[index] = kept.min(candidates[index].stop);
            runs.extend(candidates[index].run);
            open -= kept;
        }
        for index in fewest_first(candidates) {
            let candidate = &candidates[index];
            let kept = oldest.filter(|o| o.0 == index).map(|o| o.1);
            if kept.is_none() && candidate.run.is_some_and(|run| runs.contains(&run)) {
                // Its own tokens are for the next round.
                open = open.saturating_sub(candidate.left - candidate.stop);
                continue;
            }
            let more = candidate.left - kept.unwrap_or(0);
            if more <= open {
                given[index] = candidate.stop;
                open -= more;
                self.short |= !candidate.begun;
            } else if self.short {
                break;
            } else {
                let most = candidate.stop.min(kept.unwrap_or(0) + open);
                let first = !self.begun && given.iter().all(|&tokens| tokens == 0);
                if most == candidate.stop || most >= WORTH || first {
                    given[index] = given[index].max(most);
                }
                break;
            }
            runs.extend(candidate.run);
        }
        let all: usize = given.iter().sum();
        self.left -= all;
        self.begun |= all > 0;
        if let (Some((index, _)), Some((_, kept))) = (oldest, &mut self.oldest) {
            *kept = kept.saturating_sub(given[index]);
        }
        let given = given.into_iter().enumerate();
        given.filter(|&(_, tokens)| tokens > 0).collect()
    }
}

/// Indices of candidates, the one with the fewest tokens left first, of several the oldest.
fn fewest_first(candidates: &[Candidate]) -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| candidates[index].left);
    order.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(left: &[usize]) -> Vec<Candidate> {
        left.iter()
            .enumerate()
            .map(|(id, &left)| Candidate {
                id: RequestId(id as u64),
                left,
                stop: left,
                run: None,
                begun: false,
            })
            .collect()
    }

    #[test]
    fn a_chunk_ends_short_prompts_and_then_advances_a_long_one() {
        for (what, left, begun, unfinished, expected) in [
            ("one alone", vec![700], false, 0, vec![(0, 512)]),
            (
                "all fit",
                vec![100, 40, 60],
                false,
                0,
                vec![(0, 100), (1, 40), (2, 60)],
            ),
            (
                "a short one behind a long one",
                vec![5000, 40],
                false,
                0,
                vec![(0, 256), (1, 40)],
            ),
            (
                "that had a chunk",
                vec![5000, 40],
                false,
                512,
                vec![(1, 40)],
            ),
            (
                "long ones only",
                vec![5000, 900],
                false,
                0,
                vec![(0, 256), (1, 256)],
            ),
            (
                "the oldest has the fewest",
                vec![900, 5000],
                false,
                0,
                vec![(0, 512)],
            ),
            (
                "the end of a long one",
                vec![128, 640],
                true,
                512,
                vec![(0, 128), (1, 384)],
            ),
            ("not a few tokens", vec![508, 640], true, 0, vec![(0, 508)]),
        ] {
            let mut candidates = candidates(&left);
            for candidate in &mut candidates {
                candidate.begun = begun;
            }
            let found = Chunk::new(512, &candidates, unfinished).portions(&candidates);
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_is_shared_is_run_by_one_and_the_rest_in_the_next_round() {
        let mut asked = candidates(&[100, 90, 300]);
        for candidate in &mut asked[..2] {
            (candidate.stop, candidate.run) = (80, Some(0));
        }
        let mut chunk = Chunk::new(400, &asked, 400);
        assert_eq!(chunk.portions(&asked), [(1, 80)]);
        let mut rest = candidates(&[20, 10, 300]);
        assert_eq!(chunk.portions(&rest), [(0, 20), (1, 10)]);
        rest = candidates(&[300]);
        assert_eq!(chunk.portions(&rest), []);
    }

    proptest! {
        /// Prompts of any lengths that come at any time: chunks are bounded, all prompts end, the
        /// oldest advances, and short prompts are answered as promised.
        #[test]
        fn no_prompt_is_starved_and_short_ones_do_not_wait_for_long_ones(
            size in 1usize..200,
            arrivals in prop::collection::vec((0usize..20, 1usize..1000), 1..30),
        ) {
            let mut arrivals = arrivals;
            arrivals.sort();
            let mut open: Vec<Candidate> = Vec::new();
            // Per chunk: tokens of prompts that did not end in it.
            let mut of_others: Vec<usize> = Vec::new();
            // Who was the oldest in the last chunk, and what it got.
            let mut last = (RequestId(u64::MAX), 0);
            let mut came: Vec<usize> = vec![0; arrivals.len()];
            let mut next = 0;
            for time in 0.. {
                while next < arrivals.len() && arrivals[next].0 <= time {
                    let id = RequestId(next as u64);
                    let left = arrivals[next].1;
                    open.push(Candidate { id, left, stop: left, run: None, begun: false });
                    came[next] = time;
                    next += 1;
                }
                if open.is_empty() && next == arrivals.len() {
                    break;
                }
                if open.is_empty() {
                    of_others.push(0);
                    continue;
                }
                let oldest = open[0];
                let unfinished = of_others.last().copied().unwrap_or(0);
                let fewest = *open.iter().min_by_key(|c| (c.left, c.id)).unwrap();
                let mut chunk = Chunk::new(size, &open, unfinished);
                let mut ran: Vec<(RequestId, usize)> = Vec::new();
                loop {
                    let portions = chunk.portions(&open);
                    if portions.is_empty() {
                        break;
                    }
                    for (index, tokens) in portions {
                        prop_assert!(tokens <= open[index].stop);
                        open[index].left -= tokens;
                        open[index].stop = open[index].left;
                        ran.push((open[index].id, tokens));
                    }
                    open.retain(|c| c.left > 0);
                }
                let total: usize = ran.iter().map(|r| r.1).sum();
                prop_assert!(0 < total && total <= size);
                let ended = |id: RequestId| open.iter().all(|c| c.id != id);
                let got: usize = ran.iter().filter(|r| r.0 == oldest.id).map(|r| r.1).sum();
                if last.0 == oldest.id && !ended(oldest.id) {
                    prop_assert!(last.1 + got >= size / 2, "{oldest:?} got {}, {got}", last.1);
                }
                let others: usize = ran.iter().filter(|r| !ended(r.0)).map(|r| r.1).sum();
                let place = fewest.id.0 as usize;
                if !fewest.begun && fewest.left <= size / 2 {
                    prop_assert!(ended(fewest.id));
                    if came[place] == time && time > 0 {
                        prop_assert!(of_others[time - 1] + others <= size, "{} and {others}", of_others[time - 1]);
                    }
                }
                of_others.push(others);
                last = (oldest.id, got);
                for candidate in &mut open {
                    candidate.begun |= ran.iter().any(|r| r.0 == candidate.id);
                }
            }
        }
    }
}
