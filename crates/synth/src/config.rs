//! What to synthesise, as a run's configuration says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::augmentation::{AUGMENTATIONS, Augmentation, find};

/// The teacher that makes nothing: the stage passes its input on.
pub const NO_TEACHER: &str = "none";

/// The `[synth]` part of a run's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthConfig {
    /// Who makes the pairs: a role that the binary knows, or `none`.
    pub teacher: String,
    /// Pairs of each kind for an image, by the kind's name; a kind that is not named has the
    /// paper's count (askimg 5, compq, rephq and simpq 1), and 0 turns it off.
    pub counts: BTreeMap<String, usize>,
    /// No reply may be longer, in tokens.
    pub max_tokens: u32,
    /// 0 takes the likeliest words.
    pub temperature: f32,
}

impl Default for SynthConfig {
    fn default() -> Self {
        SynthConfig {
            teacher: NO_TEACHER.to_owned(),
            counts: BTreeMap::new(),
            max_tokens: 512,
            temperature: 0.0,
        }
    }
}

/// More questions than this about one image repeat each other, and no reply has room for them.
const MAX_COUNT: usize = 50;

impl SynthConfig {
    /// Refuses settings that cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config(format!("synth: {what}")));
        for (name, count) in &self.counts {
            if find(name).is_none() {
                let known: Vec<&str> = AUGMENTATIONS.iter().map(|a| a.name()).collect();
                return wrong(format!(
                    "counts: there is no kind {name:?}; the kinds are {}",
                    known.join(", ")
                ));
            }
            if *count > MAX_COUNT {
                return wrong(format!(
                    "counts: {name} = {count} is over {MAX_COUNT} for one image"
                ));
            }
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens = 0 leaves no room for a reply".into());
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong(format!("temperature = {}: give 0 to 2", self.temperature));
        }
        Ok(())
    }

    /// Pairs of this kind for an image.
    pub fn count(&self, augmentation: &dyn Augmentation) -> usize {
        let count = self.counts.get(augmentation.name());
        count
            .copied()
            .unwrap_or_else(|| augmentation.pairs_per_image())
    }

    /// The kinds that are on, with their counts.
    pub(crate) fn kinds(&self) -> Vec<(&'static dyn Augmentation, usize)> {
        let all = AUGMENTATIONS.iter().map(|a| (*a, self.count(*a)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_not_named_have_the_papers_counts() {
        let read = |json: &str| serde_json::from_str::<SynthConfig>(json).unwrap();
        let counts = |config: &SynthConfig| -> Vec<(&str, usize)> {
            config
                .kinds()
                .into_iter()
                .map(|(a, n)| (a.name(), n))
                .collect()
        };
        let paper = [("askimg", 5), ("compq", 1), ("rephq", 1), ("simpq", 1)];
        assert_eq!(counts(&SynthConfig::default()), paper);
        let some = read(r#"{"counts": {"askimg": 2, "compq": 0}}"#);
        assert_eq!(counts(&some), [("askimg", 2), ("rephq", 1), ("simpq", 1)]);
        for bad in [
            r#"{"counts": {"askme": 2}}"#,
            r#"{"counts": {"askimg": 51}}"#,
            r#"{"max_tokens": 0}"#,
            r#"{"temperature": -1.0}"#,
        ] {
            assert!(
                read(bad)
                    .check()
                    .unwrap_err()
                    .to_string()
                    .starts_with("synth: "),
                "{bad}"
            );
        }
        some.check().unwrap();
    }
}
