//! TF-IDF: questions as sparse vectors of their words, rare words weighing more.
//!
//! The numbers are those of scikit-learn's `TfidfVectorizer` with its defaults, which the paper's
//! clustering is most plausibly built on: text in lower case, words of two or more word characters,
//! `idf = ln((1 + n) / (1 + df)) + 1`, rows of unit length. A text counts as often as it was asked,
//! so distinct texts with counts give the vectors of the whole list.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

/// Texts that one thread reads together.
const CHUNK: usize = 2048;

/// Sparse rows: of row `i` the columns, ascending, and their values.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    columns: usize,
    starts: Vec<usize>,
    at: Vec<u32>,
    values: Vec<f64>,
}

impl Rows {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many columns: the words of the vocabulary.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The entries of a row as (column, value), columns ascending.
    pub fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.starts[i]..self.starts[i + 1];
        let at = self.at[range.clone()].iter();
        at.zip(&self.values[range]).map(|(c, v)| (*c as usize, *v))
    }
}

/// The words of a text as `\b\w\w+\b` finds them, in lower case. A clause in Chinese, which has no
/// spaces, is one word, as it is there.
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.chars().nth(1).is_some())
        .map(str::to_owned)
        .collect()
}

/// What one chunk of texts holds: its words, and of each text how often which.
struct Chunk {
    words: Vec<String>,
    rows: Vec<BTreeMap<u32, u32>>,
}

fn read(texts: &[&str]) -> Chunk {
    let mut ids: HashMap<String, u32> = HashMap::new();
    let mut known: Vec<String> = Vec::new();
    let mut rows = Vec::with_capacity(texts.len());
    for text in texts {
        let mut row: BTreeMap<u32, u32> = BTreeMap::new();
        for word in words(text) {
            let id = match ids.get(&word) {
                Some(id) => *id,
                None => {
                    let id = known.len() as u32;
                    known.push(word.clone());
                    ids.insert(word, id);
                    id
                }
            };
            *row.entry(id).or_default() += 1;
        }
        rows.push(row);
    }
    Chunk { words: known, rows }
}

/// The vocabulary, sorted, and the vectors of the texts; `counts` says how often each was asked.
pub fn tfidf(texts: &[&str], counts: &[u32]) -> (Vec<String>, Rows) {
    let chunks: Vec<Chunk> = texts.par_chunks(CHUNK).map(read).collect();
    let mut columns: BTreeMap<&str, u32> = BTreeMap::new();
    for word in chunks.iter().flat_map(|chunk| &chunk.words) {
        columns.insert(word, 0);
    }
    for (n, column) in columns.values_mut().enumerate() {
        *column = n as u32;
    }
    let mut rows = Rows {
        columns: columns.len(),
        starts: vec![0],
        at: Vec::new(),
        values: Vec::new(),
    };
    let mut documents = vec![0_u64; columns.len()];
    let mut entries: Vec<(u32, f64)> = Vec::new();
    let mut counts_left = counts.iter();
    for chunk in &chunks {
        let column: Vec<u32> = chunk.words.iter().map(|w| columns[w.as_str()]).collect();
        for row in &chunk.rows {
            let count = counts_left.next().copied().unwrap_or(1);
            let numbered = row.iter();
            entries.clear();
            entries.extend(numbered.map(|(id, tf)| (column[*id as usize], f64::from(*tf))));
            entries.sort_unstable_by_key(|(column, _)| *column);
            for (column, tf) in &entries {
                documents[*column as usize] += u64::from(count);
                rows.at.push(*column);
                rows.values.push(*tf);
            }
            rows.starts.push(rows.at.len());
        }
    }
    let total: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    let idf = |df: &u64| ((1.0 + total as f64) / (1.0 + *df as f64)).ln() + 1.0;
    let idf: Vec<f64> = documents.iter().map(idf).collect();
    for bounds in rows.starts.windows(2) {
        let values = &mut rows.values[bounds[0]..bounds[1]];
        for (value, column) in values.iter_mut().zip(&rows.at[bounds[0]..bounds[1]]) {
            *value *= idf[*column as usize];
        }
        let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        values.iter_mut().for_each(|v| *v /= length);
    }
    let vocabulary = columns.into_keys().map(str::to_owned).collect();
    (vocabulary, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_two_or_more_word_characters_in_lower_case() {
        let cases: &[(&str, &[&str])] = &[
            (
                "How many Bars, in a_b?",
                &["how", "many", "bars", "in", "a_b"],
            ),
            ("x = 5 or 12.50", &["or", "12", "50"]),
            ("don't", &["don"]),
            ("有多少 个人?", &["有多少", "个人"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn counts_give_the_vectors_of_the_repeated_list() {
        let (_, counted) = tfidf(&["red bar", "blue bar", "which line"], &[3, 1, 2]);
        let list = [
            "red bar",
            "red bar",
            "red bar",
            "blue bar",
            "which line",
            "which line",
        ];
        let (_, repeated) = tfidf(&list, &[1; 6]);
        for (one, same) in [(0, 0), (0, 2), (1, 3), (2, 5)] {
            let pairs = counted.row(one).zip(repeated.row(same));
            for ((c, v), (d, w)) in pairs {
                assert!(c == d && (v - w).abs() < 1e-12);
            }
            assert_eq!(counted.row(one).count(), repeated.row(same).count());
        }
    }

    #[test]
    fn texts_without_words_are_empty_rows() {
        let (vocabulary, rows) = tfidf(&["", "a ? b", "two"], &[1, 1, 1]);
        assert_eq!(vocabulary, ["two"]);
        let lengths: Vec<usize> = (0..3).map(|i| rows.row(i).count()).collect();
        assert_eq!((lengths, rows.len()), (vec![0, 0, 1], 3));
        assert!(tfidf(&[], &[]).1.is_empty());
    }
}
