//! What conversations have in common from their first token on.
//!
//! Conversations that begin alike (the system sentence, then the image that several questions are
//! about) form a tree. Each run of tokens that several of them share is computed once.

/// A token as prefixes compare it: image tokens are equal only where the images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// The token.
    pub id: i64,
    /// Which image it belongs to; 0: none. The place within the image follows from what is before.
    pub image: u32,
}

/// A run of tokens that several prompts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedRun {
    /// The run before it, an earlier one in the list.
    pub parent: Option<usize>,
    /// Its first token's place in the prompts, where the parent's run ends.
    pub start: usize,
    /// One past its last token's place.
    pub end: usize,
    /// A prompt that has it.
    pub example: usize,
    /// How many runs are before it.
    pub depth: usize,
}

/// Runs of fewer tokens (times the prompts that would not compute them) are not worth a pass through
/// the model of their own.
const WORTH: usize = 16;

/// The shared runs, each after its parent, and for each prompt the last of its runs. A prompt always
/// keeps one token of its own, to predict from.
pub(super) fn shared_runs(prompts: &[&[Key]]) -> (Vec<SharedRun>, Vec<Option<usize>>) {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&prompt| prompts[prompt]);
    let mut found = Found {
        prompts,
        runs: Vec::new(),
        of_prompt: vec![None; prompts.len()],
    };
    // Groups of prompts, and the last run that each has. A list, not recursion: a tree can be as deep
    // as prompts are long.
    let mut open = vec![(order, None)];
    while let Some((group, run)) = open.pop() {
        found.split(&group, run, &mut open);
    }
    (found.runs, found.of_prompt)
}

struct Found<'a> {
    prompts: &'a [&'a [Key]],
    runs: Vec<SharedRun>,
    of_prompt: Vec<Option<usize>>,
}

impl Found<'_> {
    fn split(
        &mut self,
        group: &[usize],
        run: Option<usize>,
        open: &mut Vec<(Vec<usize>, Option<usize>)>,
    ) {
        let (Some(&first), Some(&last)) = (group.first(), group.last()) else {
            return;
        };
        // Sorted: what the first and the last share, all share.
        let same = common(self.prompts[first], self.prompts[last]);
        let shortest = group.iter().map(|&p| self.prompts[p].len()).min();
        let end = same.min(shortest.unwrap_or(0).saturating_sub(1));
        let start = run.map_or(0, |r| self.runs[r].end);
        let saved = end.saturating_sub(start) * (group.len() - 1);
        let run = if saved >= WORTH {
            self.runs.push(SharedRun {
                parent: run,
                start,
                end,
                example: first,
                depth: run.map_or(0, |r| self.runs[r].depth + 1),
            });
            Some(self.runs.len() - 1)
        } else {
            run
        };
        for &prompt in group {
            self.of_prompt[prompt] = run;
        }
        if group.len() == 1 {
            return;
        }
        // What is left parts at `end`, so each group shares more than this one. Prompts that end here have nothing more to share.
        let longer: Vec<usize> = group
            .iter()
            .copied()
            .filter(|&p| self.prompts[p].len() > end + 1)
            .collect();
        for alike in longer.chunk_by(|&a, &b| self.prompts[a][end] == self.prompts[b][end]) {
            if alike.len() > 1 {
                open.push((alike.to_vec(), run));
            }
        }
    }
}

/// How many tokens two prompts share at their start.
pub(super) fn common(a: &[Key], b: &[Key]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(ids: &[i64]) -> Vec<Key> {
        ids.iter().map(|&id| Key { id, image: 0 }).collect()
    }

    fn of(prompts: &[Vec<Key>]) -> (Vec<SharedRun>, Vec<Option<usize>>) {
        let prompts: Vec<&[Key]> = prompts.iter().map(Vec::as_slice).collect();
        shared_runs(&prompts)
    }

    #[test]
    fn questions_on_two_images_share_the_system_sentence_and_each_its_image() {
        let system = text(&[1; 20]);
        let about = |image: u32, question: i64| {
            let mut prompt = system.clone();
            prompt.extend([Key { id: 4, image }; 30]);
            prompt.extend(text(&[question, 9]));
            prompt
        };
        let (runs, of_prompt) = of(&[about(1, 5), about(2, 5), about(1, 6), about(2, 7)]);
        let spans: Vec<_> = runs.iter().map(|r| (r.parent, r.start, r.end)).collect();
        assert_eq!(spans, [(None, 0, 20), (Some(0), 20, 50), (Some(0), 20, 50)]);
        assert_eq!(of_prompt[0], of_prompt[2]);
        assert_eq!(of_prompt[1], of_prompt[3]);
        assert_ne!(of_prompt[0], of_prompt[1]);
    }

    #[test]
    fn equal_prompts_share_all_but_their_last_token() {
        let (runs, of_prompt) = of(&[text(&[7; 40]), text(&[7; 40]), text(&[7; 40])]);
        assert_eq!((runs.len(), runs[0].end), (1, 39));
        assert_eq!(of_prompt, [Some(0); 3]);
    }

    #[test]
    fn a_word_in_common_is_not_worth_a_pass() {
        let (runs, of_prompt) = of(&[text(&[1, 2, 3]), text(&[1, 2, 4])]);
        assert_eq!((runs, of_prompt), (vec![], vec![None, None]));
    }

    proptest! {
        #[test]
        fn runs_are_prefixes_of_their_prompts_that_leave_one_token(
            prompts in prop::collection::vec(prop::collection::vec(0i64..2, 1..60), 1..12),
        ) {
            let prompts: Vec<Vec<Key>> = prompts.iter().map(|p| text(p)).collect();
            let (runs, of_prompt) = of(&prompts);
            for (prompt, mut run) in prompts.iter().zip(of_prompt) {
                let mut end = None;
                while let Some(at) = run {
                    let r = &runs[at];
                    prop_assert!(r.start < r.end && r.end < prompt.len());
                    prop_assert_eq!(end.unwrap_or(r.end), r.end);
                    prop_assert_eq!(&prompts[r.example][..r.end], &prompt[..r.end]);
                    prop_assert!(r.parent.is_none_or(|p| p < at && runs[p].depth + 1 == r.depth));
                    end = Some(r.start);
                    run = r.parent;
                }
                prop_assert_eq!(end.unwrap_or(0), 0);
            }
        }

        #[test]
        fn a_long_shared_beginning_is_always_found(
            shared in prop::collection::vec(0i64..5, 16..50),
            tails in prop::collection::vec(prop::collection::vec(0i64..5, 1..20), 2..8),
        ) {
            let prompts: Vec<Vec<Key>> = tails
                .iter()
                .map(|tail| text(&[&shared[..], tail].concat()))
                .collect();
            let (runs, of_prompt) = of(&prompts);
            for run in of_prompt {
                let mut run = run;
                let mut end = 0;
                while let Some(at) = run {
                    end = end.max(runs[at].end);
                    run = runs[at].parent;
                }
                prop_assert!(end >= shared.len());
            }
        }
    }
}
