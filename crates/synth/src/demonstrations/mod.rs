//! Demonstrations: questions shown to the teacher so that it asks of an image what its task asks.
//!
//! As the paper has it, the questions of each source are clustered by TF-IDF and K-means, and one is
//! drawn from every cluster of every source of the image's task: the teacher sees the range of what
//! is asked, not five phrasings of one question. A question that is asked of the image itself is
//! never shown for it, since the teacher's must be new.

pub mod kmeans;
pub mod tfidf;

use std::collections::{BTreeMap, HashMap};

use rand::Rng;
use sample::{Task, seed};

/// The questions of one cluster.
#[derive(Debug)]
struct Cluster {
    /// Indices into the bank's texts, ascending.
    members: Vec<u32>,
    /// Of each member how often it and those before it are asked together.
    asked: Vec<u64>,
    /// The member nearest to the centre.
    example: u32,
}

impl Cluster {
    fn size(&self) -> u64 {
        self.asked.last().copied().unwrap_or(0)
    }

    /// How often the members before this one are asked.
    fn before(&self, member: usize) -> u64 {
        member.checked_sub(1).map_or(0, |i| self.asked[i])
    }

    /// A member by seed, each as likely as it is often asked, but none of `barred` (ascending).
    fn draw(&self, barred: &[u32], rng: &mut impl Rng) -> Option<u32> {
        let place = |text: &u32| self.members.binary_search(text).ok();
        let barred: Vec<usize> = barred.iter().filter_map(place).collect();
        let often = |i: usize| self.asked[i] - self.before(i);
        let left = self.size() - barred.iter().map(|i| often(*i)).sum::<u64>();
        if left == 0 {
            return None;
        }
        // A place among what is left; those barred before it push it up.
        let mut drawn = rng.random_range(0..left);
        for i in barred {
            if drawn >= self.before(i) {
                drawn += often(i);
            }
        }
        let member = self.asked.partition_point(|end| *end <= drawn);
        self.members.get(member).copied()
    }
}

/// What a report says of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterRow<'a> {
    /// The task.
    pub task: Task,
    /// The source.
    pub source: &'a str,
    /// Its number among the source's, from 0, the largest first.
    pub cluster: usize,
    /// How many questions, each as often as it is asked.
    pub size: u64,
    /// How many different ones.
    pub distinct: usize,
    /// The question nearest to its centre.
    pub example: &'a str,
}

/// All questions of a selection, in clusters by task and source.
#[derive(Debug)]
pub struct Bank {
    texts: Vec<Box<str>>,
    sources: BTreeMap<Task, BTreeMap<Box<str>, Vec<Cluster>>>,
    /// Of each image (by SHA-256) the texts asked of it, ascending.
    by_image: HashMap<Box<str>, Vec<u32>>,
}

impl Bank {
    /// Clusters `questions`, each with its task, source, text and its image's SHA-256, into `k`
    /// clusters for each task and source. Their order makes no difference.
    pub fn build<'a>(
        questions: impl Iterator<Item = (Task, &'a str, &'a str, &'a str)>,
        k: usize,
        seed: u64,
    ) -> Bank {
        let mut counts: BTreeMap<Task, BTreeMap<&str, HashMap<&str, u32>>> = BTreeMap::new();
        let mut asked: HashMap<&str, Vec<&str>> = HashMap::new();
        for (task, source, question, image) in questions {
            let sources = counts.entry(task).or_default();
            let texts = sources.entry(source).or_default();
            *texts.entry(question).or_default() += 1;
            asked.entry(image).or_default().push(question);
        }
        let all = counts.values().flat_map(BTreeMap::values);
        let mut texts: Vec<&str> = all.flat_map(|s| s.keys().copied()).collect();
        texts.sort_unstable();
        texts.dedup();
        let index = |text: &&str| texts.binary_search(text).unwrap_or(0) as u32;

        let mut sources: BTreeMap<Task, BTreeMap<Box<str>, Vec<Cluster>>> = BTreeMap::new();
        for (task, of_task) in &counts {
            for (source, counted) in of_task {
                let mut distinct: Vec<(&str, u32)> =
                    counted.iter().map(|(t, n)| (*t, *n)).collect();
                distinct.sort_unstable();
                let clusters = clusters(&distinct, k, source, seed, index);
                let of_task = sources.entry(*task).or_default();
                of_task.insert((*source).into(), clusters);
            }
        }
        let by_image = asked
            .into_iter()
            .map(|(image, questions)| {
                let mut ids: Vec<u32> = questions.iter().map(index).collect();
                ids.sort_unstable();
                ids.dedup();
                (image.into(), ids)
            })
            .collect();
        Bank {
            texts: texts.into_iter().map(Box::from).collect(),
            sources,
            by_image,
        }
    }

    /// One question from every cluster of every source of the task, by source and cluster: none
    /// that is asked of the image `own_image` (a SHA-256), and none twice. `name` is what they are
    /// drawn for. A cluster that has no other question gives none.
    pub fn draw(&self, task: Task, own_image: &str, name: &str, seed: u64) -> Vec<&str> {
        let mut barred = self.by_image.get(own_image).cloned().unwrap_or_default();
        let mut drawn = Vec::new();
        for (source, clusters) in self.sources.get(&task).into_iter().flatten() {
            let mut rng = seed::rng(seed, &["demonstrations", source, name]);
            for cluster in clusters {
                let Some(text) = cluster.draw(&barred, &mut rng) else {
                    continue;
                };
                if let Err(place) = barred.binary_search(&text) {
                    barred.insert(place, text);
                }
                drawn.push(&*self.texts[text as usize]);
            }
        }
        drawn
    }

    /// The clusters, by task and source.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterRow<'_>> {
        self.sources.iter().flat_map(move |(task, sources)| {
            sources.iter().flat_map(move |(source, clusters)| {
                let numbered = clusters.iter().enumerate();
                numbered.map(move |(cluster, of)| ClusterRow {
                    task: *task,
                    source,
                    cluster,
                    size: of.size(),
                    distinct: of.members.len(),
                    example: &self.texts[of.example as usize],
                })
            })
        })
    }
}

/// The clusters of one source's distinct questions, sorted, each with how often it is asked.
fn clusters(
    distinct: &[(&str, u32)],
    k: usize,
    source: &str,
    seed: u64,
    index: impl Fn(&&str) -> u32,
) -> Vec<Cluster> {
    let (texts, counts): (Vec<&str>, Vec<u32>) = distinct.iter().copied().unzip();
    let (_, rows) = tfidf::tfidf(&texts, &counts);
    let weights: Vec<f64> = counts.iter().map(|c| f64::from(*c)).collect();
    let mut rng = seed::rng(seed, &["kmeans", source]);
    let found = kmeans::cluster(&rows, &weights, k, &mut rng);
    let empty = || Cluster {
        members: Vec::new(),
        asked: Vec::new(),
        example: 0,
    };
    let mut clusters: Vec<(f64, Cluster)> = Vec::new();
    clusters.resize_with(found.clusters, || (f64::INFINITY, empty()));
    for (i, (text, count)) in distinct.iter().enumerate() {
        let (nearest, cluster) = &mut clusters[found.labels[i]];
        let id = index(text);
        cluster.members.push(id);
        cluster.asked.push(cluster.size() + u64::from(*count));
        if found.distances[i] < *nearest {
            (*nearest, cluster.example) = (found.distances[i], id);
        }
    }
    let mut clusters: Vec<Cluster> = clusters.into_iter().map(|(_, cluster)| cluster).collect();
    clusters.sort_by_key(|c| (std::cmp::Reverse(c.size()), c.members.first().copied()));
    clusters
}

#[cfg(test)]
mod tests;
