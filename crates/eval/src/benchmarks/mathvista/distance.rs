//! Levenshtein distance over code points, 64 cells of the table a step.
//!
//! The official code takes the choice that is nearest to what it cannot read, however long that is:
//! a reply of a megabyte against every choice must not take minutes. Myers' bit-vector method with
//! Hyyrö's blocks keeps a column of the table as its differences, one bit a row.

use std::collections::HashMap;

/// Insertions, deletions and replacements that turn `a` into `b`.
pub(super) fn distance(a: &[char], b: &[char]) -> usize {
    let (pattern, text) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if pattern.is_empty() {
        return text.len();
    }
    let blocks = pattern.len().div_ceil(64);
    let places = Places::of(pattern, blocks);
    let last = 1_u64 << ((pattern.len() - 1) % 64);
    // Vertical differences of the current column that are +1 and -1.
    let mut columns = vec![(u64::MAX, 0_u64); blocks];
    let mut distance = pattern.len();
    for c in text {
        let equal = places.at(*c);
        // The first row counts up: its horizontal difference is +1 in every column.
        let (mut plus, mut minus) = (1, 0);
        for (block, (up, down)) in columns.iter_mut().enumerate() {
            let same = equal[block];
            let vertical = same | *down;
            let same = same | minus;
            let horizontal = ((same & *up).wrapping_add(*up) ^ *up) | same;
            let rises = *down | !(horizontal | *up);
            let falls = *up & horizontal;
            if block + 1 == blocks {
                distance += usize::from(rises & last != 0);
                distance -= usize::from(falls & last != 0);
            }
            let (shifted_rises, shifted_falls) = ((rises << 1) | plus, (falls << 1) | minus);
            (plus, minus) = (rises >> 63, falls >> 63);
            *up = shifted_falls | !(vertical | shifted_rises);
            *down = shifted_rises & vertical;
        }
    }
    distance
}

/// Where each character stands in a pattern: a bit for each place, in blocks.
struct Places {
    blocks: usize,
    /// The blocks of each character, one after the other; before them those of all other characters.
    bits: Vec<u64>,
    /// Which blocks are an ASCII character's.
    ascii: [u32; 128],
    /// Which blocks are another character's.
    others: HashMap<char, u32>,
}

impl Places {
    fn of(pattern: &[char], blocks: usize) -> Places {
        let mut places = Places {
            blocks,
            bits: vec![0; blocks],
            ascii: [0; 128],
            others: HashMap::new(),
        };
        for (at, &c) in pattern.iter().enumerate() {
            let known = match places.ascii.get_mut(c as usize) {
                Some(known) => known,
                None => places.others.entry(c).or_default(),
            };
            if *known == 0 {
                *known = (places.bits.len() / blocks) as u32;
                places.bits.resize(places.bits.len() + blocks, 0);
            }
            places.bits[*known as usize * blocks + at / 64] |= 1 << (at % 64);
        }
        places
    }

    fn at(&self, c: char) -> &[u64] {
        let known = match self.ascii.get(c as usize) {
            Some(known) => *known,
            None => self.others.get(&c).copied().unwrap_or_default(),
        };
        let start = known as usize * self.blocks;
        &self.bits[start..start + self.blocks]
    }
}

/// The first of the choices that are nearest to `text`; `None` where there are none.
pub(super) fn nearest<'a>(text: &str, choices: &'a [String]) -> Option<&'a str> {
    let text: Vec<char> = text.chars().collect();
    let mut best: Option<(usize, &str)> = None;
    for choice in choices {
        let letters: Vec<char> = choice.chars().collect();
        // No nearer than the difference in length: the long way is only for those that may win.
        let least = text.len().abs_diff(letters.len());
        if best.is_some_and(|(nearest, _)| nearest <= least) {
            continue;
        }
        let far = distance(&text, &letters);
        if best.is_none_or(|(nearest, _)| far < nearest) {
            best = Some((far, choice));
        }
    }
    best.map(|(_, choice)| choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook's table, a row at a time.
    fn plainly(a: &[char], b: &[char]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut corner = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let replaced = corner + usize::from(x != y);
                corner = row[j + 1];
                row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
            }
        }
        row[b.len()]
    }

    fn letters(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn distances_count_code_points() {
        for (a, b, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("140°", "145°", 1),
            ("e\u{301}", "é", 2),
            ("中文", "中国", 1),
        ] {
            assert_eq!(distance(&letters(a), &letters(b)), wanted, "{a:?} {b:?}");
        }
    }

    #[test]
    fn of_equally_near_choices_the_first_wins() {
        let choices = ["xyz", "ab", "ac", "x"].map(String::from);
        assert_eq!(nearest("a", &choices), Some("ab"));
        assert_eq!(nearest("", &choices), Some("x"));
        assert_eq!(nearest("a", &[]), None);
    }

    proptest! {
        #[test]
        fn blocks_of_bits_give_the_table_s_distance(a in "[a-d]{0,200}", b in "[a-d]{0,200}") {
            let (a, b) = (letters(&a), letters(&b));
            prop_assert_eq!(distance(&a, &b), plainly(&a, &b));
        }

        #[test]
        fn any_texts_have_the_table_s_distance(a: String, b: String) {
            let (a, b) = (letters(&a), letters(&b));
            prop_assert_eq!(distance(&a, &b), plainly(&a, &b));
        }
    }
}
