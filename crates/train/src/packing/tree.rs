//! Prefix-tree packing: all pairs of one image as one tree of tokens.
//!
//! About nine pairs share each image, and LLaVA's loader feeds the same image tokens nine times.
//! Here the token sequences of an image's pairs become a trie: equal prefixes (the system sentence,
//! the image, the hint, often the start of the question) are one path. Laid out depth-first, with
//! the depth as a token's position and attention to ancestors only, every token sees exactly what
//! it saw in its own sequence, so its hidden state is the same.
//!
//! **Invariant:** the loss lives on edges. A shared token may be followed by different tokens in
//! different pairs, so a hidden state can have several targets; each pair's label "after this
//! prefix comes this token" is the edge from the prefix's last node to that token's node, and edges
//! that pairs share add their weights. Loss and gradients are then those of the separate sequences.
//!
//! **Invariant:** depth-first order makes subtrees contiguous, so one number per token, the end of
//! its subtree, is the whole attention mask: `i` may look at `j` if and only if
//! `j <= i < end[j]`. Trees laid one after the other in a row cannot see each other by the same
//! rule.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// How the labelled tokens of a batch are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Every labelled token of every pair counts 1: the mean over all labels of the batch, which is
    /// what LLaVA's cross-entropy gives when the batch's pairs are its rows. Long answers weigh more.
    #[default]
    PerToken,
    /// Every pair counts 1, spread evenly over its labelled tokens: the mean over the batch's pairs
    /// of each pair's own mean, as if each pair were a batch of one. Long answers weigh no more
    /// than short ones.
    PerPair,
}

/// The tokens of one pair: prompt, image and reply, as the model would read them alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids; the image token once per patch.
    pub ids: Vec<i64>,
    /// Whether the token is to be predicted: the assistant's tokens and their `</s>`.
    pub labelled: Vec<bool>,
}

impl Sequence {
    /// Cuts to `max_length` tokens; `false` where no label is left that some token predicts.
    pub fn truncate(&mut self, max_length: usize) -> bool {
        self.ids.truncate(max_length);
        self.labelled.truncate(max_length);
        self.labels() > 0
    }

    /// How many tokens are predicted. The first token has nothing before it that could predict it.
    pub fn labels(&self) -> usize {
        self.labelled.iter().skip(1).filter(|&&l| l).count()
    }
}

/// "After the token at `at` comes `target`", with the weight of the pairs that say so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Index of the predicting token in the tree.
    pub at: usize,
    /// The id to be predicted.
    pub target: i64,
    /// Sum over the pairs that share the edge.
    pub weight: f64,
}

/// The pairs of one image as one flattened trie.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Token ids, depth-first.
    pub ids: Vec<i64>,
    /// Depth of each token: its position for the rotary embedding.
    pub depth: Vec<i64>,
    /// One past the last token of each token's subtree.
    pub end: Vec<i64>,
    /// For image tokens, which patch: the count of image tokens above it. -1 for text.
    pub patch: Vec<i64>,
    /// What is to be predicted, by predicting token, then in order of appearance.
    pub edges: Vec<Edge>,
    /// Pairs in the tree.
    pub pairs: usize,
    /// Sum of the edges' weights: the number of labels, or of pairs.
    pub weight: f64,
    /// Tokens that the pairs would be as separate sequences.
    pub unpacked: usize,
    /// Tokens that are predicted, counted in each pair.
    pub labels: usize,
}

impl Weighting {
    /// What each of a pair's `labels` counts, and what all of them do.
    fn of(self, labels: usize) -> (f64, f64) {
        match self {
            Weighting::PerToken => (1.0, labels as f64),
            Weighting::PerPair => (1.0 / labels as f64, 1.0),
        }
    }
}

impl Tree {
    /// One pair as a tree that does not branch.
    pub fn line(sequence: &Sequence, image_token: i64, weighting: Weighting) -> Tree {
        let n = sequence.ids.len();
        let (each, weight) = weighting.of(sequence.labels().max(1));
        let mut patches = 0..;
        Tree {
            ids: sequence.ids.clone(),
            depth: (0..n as i64).collect(),
            end: vec![n as i64; n],
            patch: sequence
                .ids
                .iter()
                .map(|&id| {
                    if id == image_token {
                        patches.next().unwrap_or(-1)
                    } else {
                        -1
                    }
                })
                .collect(),
            edges: (1..n)
                .filter(|&i| sequence.labelled[i])
                .map(|i| Edge {
                    at: i - 1,
                    target: sequence.ids[i],
                    weight: each,
                })
                .collect(),
            pairs: 1,
            weight,
            unpacked: n,
            labels: sequence.labels(),
        }
    }

    /// Tokens in the tree.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A trie under construction; children keep their order of appearance.
struct Trie {
    ids: Vec<i64>,
    weights: Vec<f64>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    find: HashMap<(usize, i64), usize>,
}

/// Stands for "no parent" in the lookup.
const ROOT: usize = usize::MAX;

impl Trie {
    fn new() -> Self {
        Trie {
            ids: Vec::new(),
            weights: Vec::new(),
            children: Vec::new(),
            roots: Vec::new(),
            find: HashMap::new(),
        }
    }

    /// How many tokens `ids` would add.
    fn new_tokens(&self, ids: &[i64]) -> usize {
        let mut parent = ROOT;
        for (depth, &id) in ids.iter().enumerate() {
            match self.find.get(&(parent, id)) {
                Some(&node) => parent = node,
                None => return ids.len() - depth,
            }
        }
        0
    }

    fn insert(&mut self, sequence: &Sequence, weight: f64) {
        let mut parent = ROOT;
        for (depth, (&id, &labelled)) in sequence.ids.iter().zip(&sequence.labelled).enumerate() {
            let node = match self.find.get(&(parent, id)) {
                Some(&node) => node,
                None => {
                    let node = self.ids.len();
                    self.ids.push(id);
                    self.weights.push(0.0);
                    self.children.push(Vec::new());
                    match self.children.get_mut(parent) {
                        Some(siblings) => siblings.push(node),
                        None => self.roots.push(node),
                    }
                    self.find.insert((parent, id), node);
                    node
                }
            };
            if labelled && depth > 0 {
                self.weights[node] += weight;
            }
            parent = node;
        }
    }

    fn flatten(&self, image_token: i64) -> Tree {
        let n = self.ids.len();
        let mut tree = Tree {
            ids: Vec::with_capacity(n),
            depth: Vec::with_capacity(n),
            end: vec![0; n],
            patch: Vec::with_capacity(n),
            edges: Vec::new(),
            pairs: 0,
            weight: 0.0,
            unpacked: 0,
            labels: 0,
        };
        // (node, depth, flat index of the parent, image tokens above); the last child is pushed
        // first so that the first is popped first.
        let mut stack: Vec<(usize, i64, usize, i64)> = self
            .roots
            .iter()
            .rev()
            .map(|&root| (root, 0, ROOT, 0))
            .collect();
        let mut parents = Vec::with_capacity(n);
        while let Some((node, depth, parent, patches)) = stack.pop() {
            let at = tree.ids.len();
            let id = self.ids[node];
            let is_image = id == image_token;
            tree.ids.push(id);
            tree.depth.push(depth);
            tree.patch.push(if is_image { patches } else { -1 });
            parents.push(parent);
            if parent != ROOT && self.weights[node] > 0.0 {
                tree.edges.push(Edge {
                    at: parent,
                    target: id,
                    weight: self.weights[node],
                });
            }
            let below = patches + i64::from(is_image);
            let children = self.children[node].iter().rev();
            stack.extend(children.map(|&child| (child, depth + 1, at, below)));
        }
        // Children come after their parents, so one pass from the back carries ends upwards.
        for at in (0..n).rev() {
            tree.end[at] = tree.end[at].max(at as i64 + 1);
            if let Some(end) = parents.get(at).and_then(|&p| tree.end.get(p)) {
                let end = (*end).max(tree.end[at]);
                tree.end[parents[at]] = end;
            }
        }
        // Stable: the edges of one token stay in their children's order.
        tree.edges.sort_by_key(|edge| edge.at);
        tree
    }
}

/// Packs the sequences of one image into trees of at most `tree_tokens` tokens (a single longer
/// sequence still gets a tree of its own). Sequences without labels add nothing and are left out.
/// The order of `sequences` decides the layout, not the result.
pub fn pack(
    sequences: &[Sequence],
    image_token: i64,
    weighting: Weighting,
    tree_tokens: usize,
) -> Vec<Tree> {
    let mut trees = Vec::new();
    let mut trie = Trie::new();
    // The sequences of the tree that grows, and what their labels weigh.
    let (mut members, mut weight): (Vec<&Sequence>, f64) = (Vec::new(), 0.0);
    let mut close = |trie: &mut Trie, members: &mut Vec<&Sequence>, weight: &mut f64| {
        let mut tree = std::mem::replace(trie, Trie::new()).flatten(image_token);
        tree.pairs = members.len();
        tree.weight = std::mem::take(weight);
        tree.unpacked = members.iter().map(|sequence| sequence.ids.len()).sum();
        tree.labels = members.iter().map(|sequence| sequence.labels()).sum();
        members.clear();
        trees.push(tree);
    };
    for sequence in sequences {
        let labels = sequence.labels();
        if labels == 0 {
            continue;
        }
        if !members.is_empty() && trie.ids.len() + trie.new_tokens(&sequence.ids) > tree_tokens {
            close(&mut trie, &mut members, &mut weight);
        }
        let (each, all) = weighting.of(labels);
        trie.insert(sequence, each);
        members.push(sequence);
        weight += all;
    }
    if !members.is_empty() {
        close(&mut trie, &mut members, &mut weight);
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IMAGE: i64 = 99;

    fn sequence(ids: &[i64], labels: usize) -> Sequence {
        let labelled = (0..ids.len()).map(|i| i + labels >= ids.len()).collect();
        Sequence {
            ids: ids.to_vec(),
            labelled,
        }
    }

    fn edges(tree: &Tree) -> Vec<(usize, i64, f64)> {
        tree.edges
            .iter()
            .map(|e| (e.at, e.target, e.weight))
            .collect()
    }

    #[test]
    fn a_shared_prefix_is_laid_out_once_and_its_image_patches_are_numbered() {
        let pairs = [
            sequence(&[1, IMAGE, IMAGE, 5, 6], 1),
            sequence(&[1, IMAGE, IMAGE, 5, 7, 8], 2),
        ];
        let trees = pack(&pairs, IMAGE, Weighting::PerToken, 100);
        let tree = &trees[0];
        assert_eq!(tree.ids, [1, IMAGE, IMAGE, 5, 6, 7, 8]);
        assert_eq!(tree.depth, [0, 1, 2, 3, 4, 4, 5]);
        assert_eq!(tree.end, [7, 7, 7, 7, 5, 7, 7]);
        assert_eq!(tree.patch, [-1, 0, 1, -1, -1, -1, -1]);
        assert_eq!(edges(tree), [(3, 6, 1.0), (3, 7, 1.0), (5, 8, 1.0)]);
        assert_eq!(
            (trees.len(), tree.pairs, tree.weight, tree.unpacked),
            (1, 2, 3.0, 11)
        );
    }

    #[test]
    fn equal_pairs_share_their_edges_and_the_weights_add() {
        let pairs = [
            sequence(&[1, 2, 3], 2),
            sequence(&[1, 2, 3], 2),
            sequence(&[1, 2, 4], 1),
        ];
        let tree = &pack(&pairs, IMAGE, Weighting::PerToken, 100)[0];
        assert_eq!(edges(tree), [(0, 2, 2.0), (1, 3, 2.0), (1, 4, 1.0)]);
        let tree = &pack(&pairs, IMAGE, Weighting::PerPair, 100)[0];
        assert_eq!(edges(tree), [(0, 2, 1.0), (1, 3, 1.0), (1, 4, 1.0)]);
        assert_eq!(tree.weight, 3.0);
    }

    #[test]
    fn pairs_without_labels_and_labels_on_the_first_token_add_nothing() {
        assert!(pack(&[sequence(&[1, 2], 0)], IMAGE, Weighting::PerPair, 9).is_empty());
        assert!(pack(&[sequence(&[1], 1)], IMAGE, Weighting::PerPair, 9).is_empty());
        let tree = &pack(&[sequence(&[1, 2], 2)], IMAGE, Weighting::PerPair, 9)[0];
        assert_eq!(edges(tree), [(0, 2, 1.0)]);
    }

    #[test]
    fn a_tree_that_grows_too_long_is_split_between_pairs() {
        let pairs = [
            sequence(&[1, 2, 3], 1),
            sequence(&[1, 2, 4], 1),
            sequence(&[1, 5, 6], 1),
        ];
        let trees = pack(&pairs, IMAGE, Weighting::PerToken, 4);
        let ids: Vec<_> = trees.iter().map(|t| t.ids.clone()).collect();
        assert_eq!(ids, [vec![1, 2, 3, 4], vec![1, 5, 6]]);
        assert_eq!(trees.iter().map(|t| t.pairs).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn truncation_tells_whether_a_label_is_left() {
        let mut long = sequence(&[1, 2, 3, 4], 2);
        assert!(long.truncate(3));
        assert_eq!((long.ids.len(), long.labels()), (3, 1));
        assert!(!long.truncate(2));
    }

    fn sequences() -> impl Strategy<Value = Vec<Sequence>> {
        let one = prop::collection::vec((0i64..4, any::<bool>()), 1..9);
        prop::collection::vec(one, 1..8).prop_map(|all| {
            all.into_iter()
                .map(|tokens| Sequence {
                    ids: tokens.iter().map(|t| t.0).collect(),
                    labelled: tokens.iter().map(|t| t.1).collect(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn every_pair_reads_its_own_tokens_along_its_path(
            all in sequences(), limit in 1usize..40
        ) {
            let trees = pack(&all, 0, Weighting::PerToken, limit);
            let mut labels: Vec<(Vec<i64>, i64)> = Vec::new();
            for tree in &trees {
                prop_assert!(tree.pairs == 1 || tree.len() <= limit);
                for edge in &tree.edges {
                    // The prefix that the attention mask lets the predicting token see.
                    let seen: Vec<usize> = (0..=edge.at)
                        .filter(|&j| tree.end[j] > edge.at as i64)
                        .collect();
                    for (depth, &j) in seen.iter().enumerate() {
                        prop_assert_eq!(tree.depth[j], depth as i64);
                    }
                    let prefix: Vec<i64> = seen.iter().map(|&j| tree.ids[j]).collect();
                    let patches: Vec<i64> =
                        seen.iter().map(|&j| tree.patch[j]).filter(|&p| p >= 0).collect();
                    prop_assert!(patches.iter().enumerate().all(|(n, &p)| n as i64 == p));
                    for _ in 0..edge.weight as usize {
                        labels.push((prefix.clone(), edge.target));
                    }
                }
            }
            let mut expected: Vec<(Vec<i64>, i64)> = all
                .iter()
                .flat_map(|s| (1..s.ids.len()).filter(|&i| s.labelled[i]).map(|i| {
                    (s.ids[..i].to_vec(), s.ids[i])
                }))
                .collect();
            expected.sort();
            labels.sort();
            prop_assert_eq!(labels, expected);
            let weight: f64 = trees.iter().map(|t| t.weight).sum();
            prop_assert_eq!(weight as usize, all.iter().map(Sequence::labels).sum::<usize>());
        }
    }
}
