//! Many short texts in one piece of memory, and looking for words in all of them.
//!
//! Three hundred thousand questions are some tens of megabytes: small enough to keep, and fast enough
//! to go through for each search, which needs no index of words and finds any part of any word.

use memchr::{memchr2_iter, memmem};

/// Ends a text; a search cannot hold it, so nothing is found across two texts.
const END: u8 = 0x1e;
/// A table of more text is for SQL: a gigabyte.
const MOST_BYTES: u32 = 1 << 30;
/// Between the fields of a text.
const FIELD: char = '\u{1f}';

/// Texts by number.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    all: String,
    /// Where each ends, its end mark not counted. 32 bits: tables of more text are not opened.
    ends: Vec<u32>,
}

impl Texts {
    /// Adds a text of several fields. `false` where there is no room for it.
    #[must_use]
    pub fn push<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> bool {
        for (i, field) in fields.into_iter().enumerate() {
            if i > 0 {
                self.all.push(FIELD);
            }
            // The marks are control characters, which show nothing.
            if field.contains(is_mark) {
                self.all
                    .extend(field.chars().map(|c| if is_mark(c) { ' ' } else { c }));
            } else {
                self.all.push_str(field);
            }
        }
        let Some(end) = u32::try_from(self.all.len())
            .ok()
            .filter(|end| *end <= MOST_BYTES)
        else {
            return false;
        };
        self.ends.push(end);
        self.all.push(char::from(END));
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.all.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// One text, its fields with marks between them.
    pub fn get(&self, at: usize) -> &str {
        let end = self.ends.get(at).map_or(0, |end| *end as usize);
        self.all.get(self.start(at)..end).unwrap_or_default()
    }

    fn start(&self, at: usize) -> usize {
        match at.checked_sub(1).and_then(|before| self.ends.get(before)) {
            Some(end) => *end as usize + 1,
            None => 0,
        }
    }

    /// The fields of one text.
    pub fn fields(&self, at: usize) -> impl Iterator<Item = &str> {
        self.get(at).split(FIELD)
    }

    /// Calls `found` with the number of each text that has `words` in it, small and capital letters
    /// being the same, in order.
    pub fn search(&self, words: &str, mut found: impl FnMut(usize)) {
        let words: String = words.chars().filter(|c| !is_mark(*c)).collect();
        if words.is_empty() {
            (0..self.len()).for_each(found);
        } else if words.is_ascii() {
            self.search_ascii(words.to_ascii_lowercase().as_bytes(), found);
        } else if words.to_lowercase() == words.to_uppercase() {
            // Of scripts without capitals.
            let finder = memmem::Finder::new(&words);
            self.each(
                |from| Some(from + finder.find(self.all.as_bytes().get(from..)?)?),
                found,
            );
        } else {
            let words = words.to_lowercase();
            for at in 0..self.len() {
                if self.get(at).to_lowercase().contains(&words) {
                    found(at);
                }
            }
        }
    }

    fn search_ascii(&self, words: &[u8], found: impl FnMut(usize)) {
        // The letter that is met least often stops the scan least often.
        let rarest = (0..words.len())
            .min_by_key(|&at| frequency(words[at]))
            .unwrap_or(0);
        let letter = words[rarest];
        let all = self.all.as_bytes();
        self.each(
            |from| {
                let rest = all.get(from..)?;
                memchr2_iter(letter, letter.to_ascii_uppercase(), rest).find_map(|at| {
                    let start = (from + at)
                        .checked_sub(rarest)
                        .filter(|start| *start >= from)?;
                    let here = all.get(start..start + words.len())?;
                    here.eq_ignore_ascii_case(words).then_some(start)
                })
            },
            found,
        );
    }

    /// Goes from one occurrence to the text after it.
    fn each(&self, next: impl Fn(usize) -> Option<usize>, mut found: impl FnMut(usize)) {
        let (mut from, mut text) = (0, 0);
        while let Some(position) = next(from) {
            // Occurrences come in order, mostly close to each other.
            text += self.ends[text..].partition_point(|end| (*end as usize) < position);
            if text >= self.len() {
                return;
            }
            found(text);
            from = self.ends[text] as usize + 1;
            text += 1;
        }
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{1e}' | FIELD)
}

/// How often a byte is met in English questions, roughly: the order of letters by frequency.
fn frequency(byte: u8) -> u8 {
    const ORDER: &[u8] = b"qzjxkvbpygfwmucldrhsniote a ";
    let at = ORDER.iter().rposition(|letter| *letter == byte);
    u8::try_from(at.map_or(0, |at| at + 1)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Texts {
        let mut texts = Texts::default();
        for text in list {
            assert!(texts.push([*text]));
        }
        texts
    }

    fn found(texts: &Texts, words: &str) -> Vec<usize> {
        let mut all = Vec::new();
        texts.search(words, |at| all.push(at));
        all
    }

    #[test]
    fn words_are_found_whatever_their_case_and_never_across_texts_or_fields() {
        let mut texts = texts(&[
            "Which BAR is highest?",
            "",
            "a barber",
            "Größe in ÄRA",
            "多少",
        ]);
        assert!(texts.push(["left", "right"]));
        let cases: [(&str, &[usize]); 12] = [
            ("bar", &[0, 2]),
            ("BAR IS", &[0]),
            ("", &[0, 1, 2, 3, 4, 5]),
            ("?", &[0]),
            ("ära", &[3]),
            ("GRÖSSE", &[]),
            ("größe", &[3]),
            ("多", &[4]),
            ("leftright", &[]),
            ("tr", &[]),
            ("ht", &[5]),
            ("t\u{1f}r", &[]),
        ];
        for (words, wanted) in cases {
            assert_eq!(found(&texts, words), wanted, "{words:?}");
        }
        assert_eq!(texts.fields(5).collect::<Vec<_>>(), ["left", "right"]);
        assert_eq!((texts.get(1), texts.get(99)), ("", ""));
    }

    proptest! {
        #[test]
        fn a_search_finds_what_looking_at_each_text_finds(
            list in prop::collection::vec("[abAB x\u{1e}\u{1f}éÉ多]{0,12}", 0..20),
            words in "[abAB xéÉ多]{0,3}",
        ) {
            let all: Vec<&str> = list.iter().map(String::as_str).collect();
            let texts = texts(&all);
            let wanted: Vec<usize> = (0..all.len())
                .filter(|&i| texts.get(i).to_lowercase().contains(&words.to_lowercase()))
                .collect();
            prop_assert_eq!(found(&texts, &words), wanted);
        }
    }
}
