//! Near duplicates: questions that differ in a word or two from one that is there already.
//!
//! Texts are sets of shingles (runs of three words, in short texts of four characters), compared by
//! Jaccard similarity. MinHash estimates it from 128 numbers, and bands of those find candidates
//! without looking at every text; candidates are verified on the sets themselves. It serves for the
//! questions of one image and for the questions of benchmarks, which must not be trained on.
//!
//! **Invariant:** two texts with different numbers share no shingle: what a question says of 3 apples
//! and of 5 apples are two questions, however long the rest of them is.

use std::collections::HashMap;
use std::sync::LazyLock;

use sample::seed;

/// Numbers in a signature.
const HASHES: usize = 128;
/// Of them in one band. Texts of similarity 0.5 share one of 32 bands in 87 of 100 cases.
const BAND: usize = 4;
/// The same where only texts of [`STRICT`] similarity are looked for: they share one of 25 bands in
/// 99 of 100 cases, and others become candidates far less often.
const STRICT_BAND: usize = 5;
/// See [`STRICT_BAND`].
const STRICT: f64 = 0.7;
/// Words in a shingle.
const WORDS: usize = 3;
/// Characters in a shingle of a short text.
const CHARACTERS: usize = 4;
/// Texts of fewer words are cut into characters, of more than [`LONG`] into words; between them
/// both, for their near duplicates may lie on either side.
const SHORT: usize = 7;
/// See [`SHORT`].
const LONG: usize = 9;

/// Fixed multipliers and summands; the same in every run, so that signatures can be kept.
static FAMILY: LazyLock<[(u64, u64); HASHES]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let number = i.to_string();
        let of = |what| seed::derive(0, &["minhash", what, &number]);
        (of("multiplier") | 1, of("summand"))
    })
});

/// MinHash: the share of equal numbers estimates the similarity of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature([u32; HASHES]);

impl Signature {
    /// The signature of a text.
    pub fn of(text: &str) -> Signature {
        let tokens = tokens(text);
        let kind = if tokens.len() < SHORT {
            Kind::Characters
        } else {
            Kind::Words
        };
        Signature::of_shingles(&shingles(&tokens, kind))
    }

    fn of_shingles(shingles: &[u64]) -> Signature {
        let mut least = [u32::MAX; HASHES];
        for shingle in shingles {
            for (least, (multiplier, summand)) in least.iter_mut().zip(FAMILY.iter()) {
                let hash = multiplier.wrapping_mul(*shingle).wrapping_add(*summand) >> 32;
                *least = (*least).min(hash as u32);
            }
        }
        Signature(least)
    }

    /// An estimate of the Jaccard similarity of the two texts; its standard error is below 0.05.
    pub fn similarity(&self, other: &Signature) -> f64 {
        let equal = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count();
        equal as f64 / HASHES as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Words,
    Characters,
}

fn kinds(words: usize) -> &'static [Kind] {
    match words {
        0 => &[],
        n if n < SHORT => &[Kind::Characters],
        n if n > LONG => &[Kind::Words],
        _ => &[Kind::Words, Kind::Characters],
    }
}

/// Words in lower case; numbers without the commas between thousands; each sign of a script without
/// spaces by itself.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.to_lowercase().chars().collect();
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    let mut tokens = Vec::new();
    let mut token = String::new();
    for (at, c) in chars.iter().enumerate() {
        let inner = at > 0 && digit(chars.get(at - 1)) && digit(chars.get(at + 1));
        match c {
            ',' if inner && thousands(&chars[at + 1..]) => {}
            '.' if inner => token.push('.'),
            c if ideograph(*c) => {
                tokens.push(std::mem::take(&mut token));
                tokens.push(c.to_string());
            }
            c if c.is_alphanumeric() => token.push(*c),
            // A sign before a number is part of it, and an operator is a word.
            '-' | '\u{2212}' if digit(chars.get(at + 1)) && token.is_empty() => token.push('-'),
            '+' | '*' | '/' | '=' | '<' | '>' | '^' | '%' => {
                tokens.push(std::mem::take(&mut token));
                tokens.push(c.to_string());
            }
            _ => tokens.push(std::mem::take(&mut token)),
        }
    }
    tokens.push(token);
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// Whether exactly three digits come first.
fn thousands(chars: &[char]) -> bool {
    chars.iter().take_while(|c| c.is_ascii_digit()).count() == 3
}

/// A sign that is a word or a syllable by itself: Chinese, Japanese, Korean.
pub(crate) fn ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// FNV-1a, finished so that every bit depends on all of the text.
fn hash(start: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    let mut hash = start ^ 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 29)
}

/// The set of shingles, sorted. All are mixed with the numbers of the text.
fn shingles(tokens: &[String], kind: Kind) -> Vec<u64> {
    let numeric = |token: &&String| token.contains(|c: char| c.is_numeric());
    let mut numbers: Vec<&str> = tokens.iter().filter(numeric).map(String::as_str).collect();
    numbers.sort_unstable();
    let start = hash(0, numbers.join(" ").bytes());
    let mut shingles: Vec<u64> = match kind {
        Kind::Words => {
            let width = WORDS.min(tokens.len()).max(1);
            let joined = |run: &[String]| hash(start, run.join(" ").bytes());
            tokens.windows(width).map(joined).collect()
        }
        Kind::Characters => {
            let chars: Vec<char> = tokens.join(" ").chars().collect();
            let width = CHARACTERS.min(chars.len()).max(1);
            let joined = |run: &[char]| hash(start, run.iter().collect::<String>().bytes());
            chars.windows(width).map(joined).collect()
        }
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// The Jaccard similarity of two sorted sets; 0 for two empty ones.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        common += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    let union = a.len() + b.len() - common;
    common as f64 / union.max(1) as f64
}

/// The exact similarity of two texts, from 0 to 1.
pub fn similarity(a: &str, b: &str) -> f64 {
    let (a, b) = (tokens(a), tokens(b));
    let both = kinds(a.len())
        .iter()
        .filter(|kind| kinds(b.len()).contains(kind));
    let of = |kind: &Kind| jaccard(&shingles(&a, *kind), &shingles(&b, *kind));
    both.map(of).fold(0.0, f64::max)
}

/// Texts, to be asked for the nearest one.
#[derive(Debug, Clone)]
pub struct Index<Id> {
    threshold: f64,
    entries: Vec<(Id, Kind, Vec<u64>)>,
    /// Of each band's hash the entries with it.
    bands: HashMap<u64, Vec<u32>>,
}

impl<Id> Index<Id> {
    /// An empty index that finds texts at least `threshold` similar; 0.5 or more, for the bands miss
    /// texts that are less.
    pub fn new(threshold: f64) -> Self {
        Index {
            threshold,
            entries: Vec::new(),
            bands: HashMap::new(),
        }
    }

    /// How many texts, those in both kinds of shingles counted twice.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a text. One that has the shingles of an earlier one is not kept: the earlier is found.
    pub fn insert(&mut self, id: Id, text: &str)
    where
        Id: Clone,
    {
        let tokens = tokens(text);
        for kind in kinds(tokens.len()) {
            let shingles = shingles(&tokens, *kind);
            let bands = self.bands_of(&shingles, *kind);
            if self
                .nearest(&bands, *kind, &shingles)
                .is_some_and(|(_, similarity)| similarity >= 1.0)
            {
                continue;
            }
            let entry = self.entries.len() as u32;
            for band in bands {
                self.bands.entry(band).or_default().push(entry);
            }
            self.entries.push((id.clone(), *kind, shingles));
        }
    }

    /// The most similar text, if it is similar enough, and how similar; of equals the first.
    pub fn find(&self, text: &str) -> Option<(&Id, f64)> {
        let tokens = tokens(text);
        let mut best: Option<(u32, f64)> = None;
        for kind in kinds(tokens.len()) {
            let shingles = shingles(&tokens, *kind);
            let bands = self.bands_of(&shingles, *kind);
            if let Some((entry, similarity)) = self.nearest(&bands, *kind, &shingles)
                && best.is_none_or(|(_, most)| similarity > most)
            {
                best = Some((entry, similarity));
            }
        }
        let (entry, similarity) = best?;
        Some((&self.entries[entry as usize].0, similarity))
    }

    fn nearest(&self, bands: &[u64], kind: Kind, shingles: &[u64]) -> Option<(u32, f64)> {
        let found = bands.iter().filter_map(|band| self.bands.get(band));
        let mut candidates: Vec<u32> = found.flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut best: Option<(u32, f64)> = None;
        for entry in candidates {
            let (_, of, other) = &self.entries[entry as usize];
            // Sets of such sizes can be no more similar than this; often it spares the comparison.
            let (small, large) = (
                shingles.len().min(other.len()),
                shingles.len().max(other.len()),
            );
            let most = small as f64 / large.max(1) as f64;
            let wanted = best.map_or(self.threshold, |(_, best)| best);
            if *of != kind || most < wanted {
                continue;
            }
            let similarity = jaccard(shingles, other);
            if similarity >= self.threshold && best.is_none_or(|(_, best)| similarity > best) {
                best = Some((entry, similarity));
            }
        }
        best
    }

    fn bands_of(&self, shingles: &[u64], kind: Kind) -> Vec<u64> {
        let rows = if self.threshold >= STRICT {
            STRICT_BAND
        } else {
            BAND
        };
        let signature = Signature::of_shingles(shingles);
        let chunks = signature.0.chunks_exact(rows).enumerate();
        chunks
            .map(|(n, band)| {
                let start = (n as u64) << 1 | u64::from(kind == Kind::Words);
                hash(start, band.iter().flat_map(|least| least.to_le_bytes()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewordings_are_near_and_other_questions_are_not() {
        let long = "A farmer sold 12 kilograms of apples and 7 kilograms of pears at the market \
                    on Sunday. How many kilograms of fruit did the farmer sell altogether?";
        let cases = [
            (long, long.to_uppercase(), true),
            (long, long.replace("on Sunday", "on Monday"), true),
            (long, long.replace("12", "13"), false),
            (long, long.replace("12", "1,2"), false),
            (
                "How many bars are there?",
                "how many bars are there".into(),
                true,
            ),
            (
                "How many bars are there?",
                "How many bars are there here?".into(),
                true,
            ),
            (
                "How many red bars are taller than the others?",
                "How many red bars are taller than others?".into(),
                true,
            ),
            ("Is Red the minimum?", "Is Red the maximum?".into(), false),
            (
                "How many bars are there?",
                "What is the title?".into(),
                false,
            ),
            (
                "Sold 1,000 units in total?",
                "Sold 1000 units in total?".into(),
                true,
            ),
            (
                "图中有多少个三角形被标出?",
                "图中有多少个三角形被标出来?".into(),
                true,
            ),
            (
                "图中有多少个三角形被标出?",
                "这条线段的长度是多少厘米?".into(),
                false,
            ),
        ];
        for (a, b, near) in cases {
            let exact = similarity(a, &b);
            assert_eq!(exact >= 0.7, near, "{exact}: {a:?} {b:?}");
            let mut index = Index::new(0.7);
            index.insert(1, "Something quite different was asked here before it.");
            index.insert(2, a);
            assert_eq!(index.find(&b), near.then_some((&2, exact)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn signatures_estimate_the_similarity() {
        let words = |from: usize| {
            (from..from + 40)
                .map(|n| {
                    format!(
                        "w{}",
                        char::from(b'a' + (n % 26) as u8)
                            .to_string()
                            .repeat(1 + n / 26)
                    )
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        for shift in [0, 2, 5, 10, 20, 40] {
            let (a, b) = (words(0), words(shift));
            let estimate = Signature::of(&a).similarity(&Signature::of(&b));
            assert!(
                (estimate - similarity(&a, &b)).abs() < 0.15,
                "{shift}: {estimate}"
            );
        }
    }

    #[test]
    fn of_all_texts_the_nearest_is_found() {
        let mut index = Index::new(0.5);
        index.insert(
            "far",
            "one two three four five six seven eight nine ten eleven XX YY ZZ",
        );
        index.insert(
            "near",
            "one two three four five six seven eight nine ten eleven twelve YY ZZ",
        );
        index.insert(
            "copy",
            "One two three four five six seven eight nine ten eleven twelve, YY ZZ!",
        );
        let found = index
            .find("one two three four five six seven eight nine ten eleven twelve thirteen ZZ");
        assert_eq!(found.map(|(id, _)| *id), Some("near"));
        assert_eq!(index.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn a_text_with_words_finds_itself(text: String, others: Vec<String>) {
            let mut index = Index::new(0.5);
            for (n, other) in others.iter().enumerate() {
                index.insert(n, other);
            }
            index.insert(usize::MAX, &text);
            let says_something = text.contains(char::is_alphanumeric);
            if says_something {
                proptest::prop_assert_eq!(index.find(&text).map(|(_, s)| s), Some(1.0));
            }
        }
    }
}
