//! What to synthesise, as a run's configuration says it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::augmentation::{AUGMENTATIONS, Augmentation, find};

/// The teacher that makes nothing: the stage passes its input on.
pub const NO_TEACHER: &str = "none";

/// The `[synth]` part of a run's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthConfig {
    /// Who makes the pairs: `program`, `none`, or the name of a `[teachers.NAME]` section.
    pub teacher: String,
    /// Pairs of each kind for an image, by the kind's name; a kind that is not named has the
    /// paper's count (askimg 5, compq, rephq and simpq 1), and 0 turns it off.
    pub counts: BTreeMap<String, usize>,
    /// How many pairs to ask for in all; 0 for `counts` of every image. They are shared out over the
    /// kinds by `proportions`, and over tasks and sources by how many images they have.
    pub total: u64,
    /// The kinds' shares of `total`, and of the result where `balance` trims; a kind that is not
    /// named has its count as its share, so that the paper's 5:1:1:1 is the default.
    pub proportions: BTreeMap<String, f64>,
    /// What becomes of pairs of kinds that lost fewer to verification than others.
    pub balance: Balance,
    /// K-means clusters of each source's questions, of which AskImg is shown one question each.
    pub clusters: usize,
    /// No reply may be longer, in tokens.
    pub max_tokens: u32,
    /// 0 takes the likeliest words.
    pub temperature: f32,
    /// How a teacher is told to reply.
    pub reply: ReplyForm,
    /// A folder of prompts in place of the built-in ones: `askimg.txt`, `compq.txt`, `rephq.txt`,
    /// `simpq.txt`, `answer.txt`, `judge.txt`; those that are missing there stay as they are.
    pub prompts: Option<PathBuf>,
    /// What becomes of requests that no server answered.
    pub missing: Missing,
    /// How pairs are verified.
    pub verify: VerifyConfig,
}

/// What becomes of a surplus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// All pairs that pass are kept.
    Keep,
    /// Pairs are dropped by seed until the kinds are in proportion to the scarcest.
    Trim,
}

/// The form of a teacher's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyForm {
    /// The paper's: `The question is [..]. The answer is [..].`
    Lines,
    /// JSON under a schema, where the server offers that; mended where it does not hold.
    Json,
}

/// What becomes of requests without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The stage ends with an error, and the same command tries them again.
    Error,
    /// They are rejects, and the stage finishes without them.
    Reject,
}

/// How pairs are verified. With everything off the result is what the paper describes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyConfig {
    /// Checks of form beyond those that a sample cannot do without: no answer in the question, the
    /// language kept, numbers kept where the kind must keep them.
    pub form: bool,
    /// Computes the answer by program where the image's scene or table is known and the question is
    /// of a form that the program understands.
    pub proofs: bool,
    /// Who answers blind; empty for the teacher.
    pub verifier: String,
    /// Blind answers to a question with a new answer (AskImg, CompQ); a majority of these must say
    /// the same. 0 turns it off.
    pub answers: usize,
    /// Blind answers to a question with the old answer (RephQ, SimpQ). 0 turns it off.
    pub inherited_answers: usize,
    /// How the blind answers are drawn; one alone is drawn at 0.
    pub temperature: f32,
    /// No blind answer may be longer, in tokens.
    pub max_tokens: u32,
    /// Who judges pairs that passed everything else; empty for nobody.
    pub judge: String,
    /// Questions of one image whose word shingles overlap at least so much are one; 0 is off.
    pub near_duplicates: f64,
    /// New questions whose word shingles overlap a benchmark question's at least so much go, unless
    /// the wording is a common one of the data; 0 is off.
    pub decontaminate: f64,
}

impl Default for VerifyConfig {
    fn default() -> Self {
        VerifyConfig {
            form: true,
            proofs: true,
            verifier: String::new(),
            answers: 3,
            inherited_answers: 1,
            temperature: 0.7,
            max_tokens: 512,
            judge: String::new(),
            near_duplicates: 0.85,
            decontaminate: 0.8,
        }
    }
}

impl Default for SynthConfig {
    fn default() -> Self {
        SynthConfig {
            teacher: NO_TEACHER.to_owned(),
            counts: BTreeMap::new(),
            total: 0,
            proportions: BTreeMap::new(),
            balance: Balance::Keep,
            clusters: 5,
            max_tokens: 512,
            temperature: 0.0,
            reply: ReplyForm::Lines,
            prompts: None,
            missing: Missing::Error,
            verify: VerifyConfig::default(),
        }
    }
}

/// More questions than this about one image repeat each other, and no reply has room for them.
const MAX_COUNT: usize = 50;
/// More blind answers than this settle nothing more.
const MAX_ANSWERS: usize = 25;

impl SynthConfig {
    /// Refuses settings that cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config(format!("synth: {what}")));
        for name in self.counts.keys().chain(self.proportions.keys()) {
            if find(name).is_none() {
                let known: Vec<&str> = AUGMENTATIONS.iter().map(|a| a.name()).collect();
                return wrong(format!(
                    "counts: there is no kind {name:?}; the kinds are {}",
                    known.join(", ")
                ));
            }
        }
        for (name, count) in &self.counts {
            if *count > MAX_COUNT {
                return wrong(format!(
                    "counts: {name} = {count} is over {MAX_COUNT} for one image"
                ));
            }
        }
        for (name, share) in &self.proportions {
            if !share.is_finite() || *share < 0.0 {
                return wrong(format!("proportions: {name} = {share}: give 0 or more"));
            }
        }
        if self.total > 0 && self.shares().iter().all(|share| *share == 0.0) {
            return wrong("total is given, but no kind has a share of it".into());
        }
        if self.clusters == 0 || self.clusters > 1000 {
            return wrong(format!("clusters = {}: give 1 to 1000", self.clusters));
        }
        if self.max_tokens == 0 || self.verify.max_tokens == 0 {
            return wrong("max_tokens = 0 leaves no room for a reply".into());
        }
        for temperature in [self.temperature, self.verify.temperature] {
            if !(0.0..=2.0).contains(&temperature) {
                return wrong(format!("temperature = {temperature}: give 0 to 2"));
            }
        }
        let verify = &self.verify;
        if verify.answers.max(verify.inherited_answers) > MAX_ANSWERS {
            return wrong(format!("verify: more than {MAX_ANSWERS} blind answers"));
        }
        for (name, threshold) in [
            ("near_duplicates", verify.near_duplicates),
            ("decontaminate", verify.decontaminate),
        ] {
            if !(0.0..=1.0).contains(&threshold) {
                return wrong(format!("verify: {name} = {threshold}: give 0 to 1"));
            }
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

    /// Every kind's share, in the order of [`AUGMENTATIONS`]; 0 for kinds that are off.
    pub fn shares(&self) -> Vec<f64> {
        let share = |a: &&'static dyn Augmentation| match self.count(*a) {
            0 => 0.0,
            count => {
                let share = self.proportions.get(a.name());
                share.copied().unwrap_or(count as f64)
            }
        };
        AUGMENTATIONS.iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_not_named_have_the_papers_counts() {
        let read = |json: &str| serde_json::from_str::<SynthConfig>(json).unwrap();
        let counts = |config: &SynthConfig| -> Vec<(&str, usize)> {
            let all = AUGMENTATIONS.iter().map(|a| (a.name(), config.count(*a)));
            all.filter(|(_, n)| *n > 0).collect()
        };
        let paper = [("askimg", 5), ("compq", 1), ("rephq", 1), ("simpq", 1)];
        assert_eq!(counts(&SynthConfig::default()), paper);
        assert_eq!(SynthConfig::default().shares(), [5.0, 1.0, 1.0, 1.0]);
        let some = read(r#"{"counts": {"askimg": 2, "compq": 0}, "proportions": {"rephq": 0.5}}"#);
        assert_eq!(counts(&some), [("askimg", 2), ("rephq", 1), ("simpq", 1)]);
        assert_eq!(some.shares(), [2.0, 0.0, 0.5, 1.0]);
        for bad in [
            r#"{"counts": {"askme": 2}}"#,
            r#"{"counts": {"askimg": 51}}"#,
            r#"{"proportions": {"askme": 2}}"#,
            r#"{"proportions": {"askimg": -1}}"#,
            r#"{"total": 9, "counts": {"askimg": 0, "compq": 0, "rephq": 0, "simpq": 0}}"#,
            r#"{"max_tokens": 0}"#,
            r#"{"clusters": 0}"#,
            r#"{"temperature": -1.0}"#,
            r#"{"verify": {"answers": 26}}"#,
            r#"{"verify": {"decontaminate": 2}}"#,
        ] {
            let message = read(bad).check().unwrap_err().to_string();
            assert!(message.starts_with("synth: "), "{bad}: {message}");
        }
        some.check().unwrap();
    }
}
