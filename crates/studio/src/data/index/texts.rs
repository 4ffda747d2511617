//! Many short texts in one piece of memory, and looking for words in all of them.
//!
//! Three hundred thousand questions are some tens of megabytes: small enough to keep, and to go through
//! for each search, which needs no index of words and finds any part of any word.

use memchr::memmem;

/// Ends a text; a search cannot hold it, so nothing is found across two texts.
const END: char = '\u{1e}';
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
        self.all.push(END);
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

    /// Calls `found` with the number of each text that has `words` in it, in order.
    pub fn search(&self, words: &str, mut found: impl FnMut(usize)) {
        let words: String = words.chars().filter(|c| !is_mark(*c)).collect();
        if words.is_empty() {
            return (0..self.len()).for_each(found);
        }
        let finder = memmem::Finder::new(&words);
        let all = self.all.as_bytes();
        let (mut from, mut text) = (0, 0);
        while let Some(at) = all.get(from..).and_then(|rest| finder.find(rest)) {
            let position = from + at;
            // Occurrences come in order, mostly close to each other.
            text += self.ends[text..].partition_point(|end| (*end as usize) < position);
            let Some(end) = self.ends.get(text) else {
                return;
            };
            found(text);
            from = *end as usize + 1;
            text += 1;
        }
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, END | FIELD)
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
    fn words_are_found_and_never_across_texts_or_fields() {
        let mut texts = texts(&["which bar is highest?", "", "a barber", "größe", "多少"]);
        assert!(texts.push(["left", "right"]));
        let cases: [(&str, &[usize]); 10] = [
            ("bar", &[0, 2]),
            ("bar is", &[0]),
            ("", &[0, 1, 2, 3, 4, 5]),
            ("?", &[0]),
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
            list in prop::collection::vec("[ab x\u{1e}\u{1f}é多]{0,12}", 0..20),
            words in "[ab xé多]{0,3}",
        ) {
            let all: Vec<&str> = list.iter().map(String::as_str).collect();
            let texts = texts(&all);
            let wanted: Vec<usize> = (0..all.len()).filter(|&i| texts.get(i).contains(&words)).collect();
            prop_assert_eq!(found(&texts, &words), wanted);
        }
    }
}
