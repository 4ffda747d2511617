//! What a user writes about benchmarks, the models that answer them, and a judge.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Dialect, Error, Extraction, Scoring};

/// A `[[benchmark]]` of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkConfig {
    /// The benchmark's name.
    pub name: String,
    /// The folder with its data as the authors publish them.
    pub data: PathBuf,
    /// Its part; the usual one where not given.
    #[serde(default)]
    pub split: Option<String>,
    /// Ask only this many questions, drawn by the run's seed; all where not given.
    #[serde(default)]
    pub limit: Option<usize>,
    /// No reply is longer, in tokens. 512 by default, as for the held-out questions.
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: u32,
    /// A system prompt; none by default.
    #[serde(default)]
    pub system: Option<String>,
    /// A JSON file of query by question id, below `data` unless absolute, in place of the benchmark's
    /// zero-shot form; such as MathVista's `data/query.json`.
    #[serde(default)]
    pub queries: Option<PathBuf>,
    /// Text before the query, as it stands.
    #[serde(default)]
    pub before: String,
    /// Text after the query, as it stands: "\nAnswer with a letter only."
    #[serde(default)]
    pub after: String,
    /// Which of a question's images are shown.
    #[serde(default)]
    pub images: Shown,
    /// Of official rules that changed over time, which ones.
    #[serde(default)]
    pub dialect: Dialect,
    /// How answers are found in replies.
    #[serde(default)]
    pub extraction: Extraction,
    /// No guessing where the official code guesses.
    #[serde(default)]
    pub strict: bool,
}

fn max_new_tokens() -> u32 {
    512
}

/// Which of a question's images a model is shown. All that are stand before the first word, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// All of them.
    #[default]
    All,
    /// The first, for models that were taught with one.
    First,
    /// None: how far the questions get one without looking.
    None,
}

impl BenchmarkConfig {
    /// How it is scored.
    pub fn scoring(&self) -> Scoring {
        Scoring {
            dialect: self.dialect,
            extraction: self.extraction,
            strict: self.strict,
        }
    }

    /// Refuses settings that cannot be meant.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), Error> {
        let zero = |setting, wrong: bool| match wrong {
            true => Err(Error::Benchmark {
                benchmark: self.name.clone(),
                detail: format!("{setting} must be at least 1"),
            }),
            false => Ok(()),
        };
        zero("max_new_tokens", self.max_new_tokens == 0)?;
        zero("limit", self.limit == Some(0))
    }

    /// The name of its folder: `mathvista.testmini`, and what makes a trial of it apart.
    pub fn folder(&self, split: &str) -> String {
        let trial = self
            .limit
            .map_or_else(String::new, |limit| format!(".{limit}-questions"));
        format!("{}.{split}{trial}", self.name.to_ascii_lowercase())
    }
}

/// A `[[candidate]]` of a configuration: a model that is asked. It is either an own one, `model`, or
/// behind a server, `server`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CandidateConfig {
    /// Its name in scores, and its folder's.
    pub name: String,
    /// An own model's folder or file.
    pub model: Option<PathBuf>,
    /// A PEFT LoRA adapter beside an own model's weights.
    pub adapter: Option<PathBuf>,
    /// For an own model: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
    pub device: Option<String>,
    /// For an own model: `auto`, `f32`, `bf16` or `f16`.
    pub dtype: Option<String>,
    /// For an own model: how prompts are written, where not as the model says.
    pub template: Option<String>,
    /// For an own model: questions that are answered at the same time.
    pub batch_size: Option<usize>,
    /// The name of a `[teachers.NAME]` section.
    pub server: Option<String>,
    /// 0, the default, is greedy.
    pub temperature: f32,
}

/// The `[judge]` of a configuration: who reads what rules cannot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// The name of a `[teachers.NAME]` section.
    pub server: String,
    /// No reply of the judge is longer, in tokens.
    #[serde(default = "judge_tokens")]
    pub max_new_tokens: u32,
}

fn judge_tokens() -> u32 {
    256
}

/// Refuses candidates without a name that a folder can have, with one twice, or with no model.
///
/// # Errors
/// Says which and what to write.
pub fn check_candidates(candidates: &[CandidateConfig]) -> Result<(), Error> {
    for (i, candidate) in candidates.iter().enumerate() {
        let name = candidate.name.as_str();
        let wrong = |detail: &str| {
            Err(Error::Candidate {
                name: name.to_owned(),
                detail: detail.to_owned(),
            })
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return wrong(
                "its name is a folder's too: letters, digits, '-', '_' and '.', and no '.' first",
            );
        }
        if candidates[..i]
            .iter()
            .any(|c| c.name.eq_ignore_ascii_case(name))
        {
            return wrong("there are two of that name");
        }
        if candidate.model.is_some() == candidate.server.is_some() {
            return wrong(
                "give model = \"FOLDER\" for an own model, or server = \"NAME\" for a \
                 [teachers.NAME] section",
            );
        }
        let own = [
            ("adapter", candidate.adapter.is_some()),
            ("device", candidate.device.is_some()),
            ("dtype", candidate.dtype.is_some()),
            ("template", candidate.template.is_some()),
            ("batch_size", candidate.batch_size.is_some()),
        ];
        if candidate.server.is_some()
            && let Some((setting, _)) = own.iter().find(|(_, given)| *given)
        {
            return wrong(&format!(
                "{setting} is for own models; servers have theirs in [teachers.NAME]"
            ));
        }
        if candidate.batch_size == Some(0) {
            return wrong("batch_size must be at least 1");
        }
        if !(candidate.temperature.is_finite() && candidate.temperature >= 0.0) {
            return wrong("temperature must be 0 or more");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str) -> CandidateConfig {
        CandidateConfig {
            name: name.into(),
            model: Some("m".into()),
            ..CandidateConfig::default()
        }
    }

    #[test]
    fn candidates_that_cannot_be_meant_are_refused_by_name() {
        check_candidates(&[candidate("a"), candidate("b-1.5_x")]).unwrap();
        let with = |change: fn(&mut CandidateConfig)| {
            let mut one = candidate("one");
            change(&mut one);
            vec![one]
        };
        let cases = [
            (vec![candidate("")], "letters"),
            (vec![candidate("a/b")], "letters"),
            (vec![candidate("..")], "no '.' first"),
            (vec![candidate("a"), candidate("A")], "two of that name"),
            (with(|c| c.model = None), "server = "),
            (with(|c| c.server = Some("s".into())), "server = "),
            (with(|c| c.batch_size = Some(0)), "batch_size"),
            (with(|c| c.temperature = f32::NAN), "temperature"),
            (
                with(|c| {
                    c.model = None;
                    c.server = Some("s".into());
                    c.dtype = Some("f32".into());
                }),
                "dtype is for own models",
            ),
        ];
        for (candidates, word) in cases {
            let said = check_candidates(&candidates).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }
}
