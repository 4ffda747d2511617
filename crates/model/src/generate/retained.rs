//! What is kept of conversations that are over, for those that begin like them.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use crate::Error;
use crate::generate::prefix::{Key, common};
use crate::kv_cache::Segment;

/// So many are kept, whatever memory there is: each prompt is compared with all of them.
const MOST: usize = 1024;

/// Keys and values of past conversations, those used longest ago first.
#[derive(Debug, Default)]
pub(super) struct Retained {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    keys: Vec<Key>,
    /// Their keys and values.
    path: Vec<Rc<Segment>>,
}

impl Retained {
    /// Keeps a conversation of which `path` holds all `keys`.
    pub fn keep(&mut self, keys: Vec<Key>, path: Vec<Rc<Segment>>) {
        debug_assert_eq!(keys.len(), tokens(&path));
        let known = |entry: &Entry| entry.keys.starts_with(&keys);
        if keys.is_empty() || self.entries.iter().any(known) {
            return;
        }
        // What the new one has wholly is not needed twice.
        self.entries.retain(|entry| !keys.starts_with(&entry.keys));
        self.entries.push_back(Entry { keys, path });
        if self.entries.len() > MOST {
            let _ = self.forget_oldest();
        }
    }

    /// The longest common prefix of `keys` and an entry: its length and the entry's index.
    pub fn longest(&self, keys: &[Key]) -> Option<(usize, usize)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (common(&entry.keys, keys), index))
            .max()
    }

    /// Segments that hold the first `tokens` tokens of an entry, which now was used last.
    pub fn take(&mut self, index: usize, tokens: usize) -> Result<Vec<Rc<Segment>>, Error> {
        let Some(entry) = self.entries.remove(index) else {
            return Ok(Vec::new());
        };
        let path = head(&entry.path, tokens);
        self.entries.push_back(entry);
        path
    }

    /// Forgets the conversation used longest ago; whether there was one.
    pub fn forget_oldest(&mut self) -> bool {
        self.entries.pop_front().is_some()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().flat_map(|entry| &entry.keys)
    }
}

/// Tokens that segments hold.
pub(super) fn tokens(path: &[Rc<Segment>]) -> usize {
    path.iter().map(|segment| segment.tokens()).sum()
}

/// Segments that hold the first `tokens` tokens of a path.
pub(super) fn head(path: &[Rc<Segment>], tokens: usize) -> Result<Vec<Rc<Segment>>, Error> {
    let mut left = tokens;
    let mut taken = Vec::new();
    for segment in path {
        if left == 0 {
            break;
        }
        if segment.tokens() <= left {
            taken.push(Rc::clone(segment));
        } else {
            taken.push(Rc::new(segment.head(left)?));
        }
        left -= left.min(segment.tokens());
    }
    Ok(taken)
}

/// Tokens that segments hold, each segment counted once.
pub(super) fn distinct_tokens<'a>(segments: impl Iterator<Item = &'a Rc<Segment>>) -> usize {
    let mut seen = HashSet::new();
    segments
        .filter(|segment| seen.insert(Rc::as_ptr(segment)))
        .map(|segment| segment.tokens())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_conversations_the_latest_are_kept() {
        let talk = |id: i64| vec![Key { id, image: 0 }];
        let mut retained = Retained::default();
        for id in 0..2 * MOST as i64 {
            retained.keep(talk(id), vec![Rc::new(Segment::empty(1))]);
        }
        assert_eq!(retained.entries.len(), MOST);
        let found = |id| retained.longest(&talk(id)).map(|(length, _)| length);
        assert_eq!(found(0), Some(0));
        assert_eq!(found(2 * MOST as i64 - 1), Some(1));
    }
}
