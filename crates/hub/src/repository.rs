//! What is asked for: a repository and a revision of it, as people type them.
//!
//! Both end up in paths and in addresses, so nothing is let through here that could mean more than
//! a name in either.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What kind of thing a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// Weights, a configuration, a tokenizer.
    Model,
    /// Rows and images.
    Dataset,
}

impl FromStr for RepoKind {
    type Err = String;

    fn from_str(text: &str) -> Result<RepoKind, String> {
        match text {
            "model" => Ok(RepoKind::Model),
            "dataset" => Ok(RepoKind::Dataset),
            _ => Err(format!("{text:?} is neither model nor dataset")),
        }
    }
}

/// One revision of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    kind: RepoKind,
    name: String,
    revision: String,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.revision != "main" {
            write!(f, " at {}", self.revision)?;
        }
        Ok(())
    }
}

/// The longest name that the hub allows.
const LONGEST: usize = 96;

impl Repository {
    /// `name` is `owner/name`, or `name` alone for the hub's first models; `revision` a branch, a
    /// tag, a commit or `refs/pr/N`.
    ///
    /// # Errors
    /// [`Error::Asked`] for anything that the hub would not take as a name either.
    pub fn new(kind: RepoKind, name: &str, revision: &str) -> Result<Repository, Error> {
        if name.contains("://") {
            return Err(Error::Asked(format!(
                "{name:?} is an address: give the repository's name, such as llava-hf/llava-1.5-7b-hf; \
                 another host is named by HF_ENDPOINT"
            )));
        }
        let parts: Vec<&str> = name.split('/').collect();
        if name.len() > LONGEST || parts.len() > 2 || !parts.iter().all(|part| plain_part(part)) {
            return Err(Error::Asked(format!(
                "{name:?} is no repository's name: it is owner/name, of letters, digits, '-', '_' and '.'"
            )));
        }
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
        let plain = revision.chars().all(letters)
            && revision.len() <= 255
            && revision
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."));
        if !plain {
            return Err(Error::Asked(format!(
                "{revision:?} is no revision: it is a branch, a tag, a commit or refs/pr/N"
            )));
        }
        Ok(Repository {
            kind,
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// Model or data set.
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same in hf-hub's terms.
    pub(crate) fn repo(&self) -> hf_hub::Repo {
        let kind = match self.kind {
            RepoKind::Model => hf_hub::RepoType::Model,
            RepoKind::Dataset => hf_hub::RepoType::Dataset,
        };
        hf_hub::Repo::with_revision(self.name.clone(), kind, self.revision.clone())
    }
}

/// The hub's own rule; `--` is also how the cache writes the slash.
fn plain_part(part: &str) -> bool {
    !part.is_empty()
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("--")
        && !part.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_revisions_that_could_mean_a_path_or_an_address_are_refused() {
        let new = |name, revision| Repository::new(RepoKind::Model, name, revision);
        for name in ["gpt2", "llava-hf/llava-1.5-7b-hf", "a_b/c.d"] {
            assert!(new(name, "main").is_ok(), "{name}");
        }
        for name in [
            "", "/", "a/", "/a", "../a", "a/..", "a/b/c", "a--b", "a b", "a?b", "a#b", "a%2fb",
            ".a", "a.", "-a", "é/a",
        ] {
            assert!(matches!(new(name, "main"), Err(Error::Asked(_))), "{name}");
        }
        let long = "a".repeat(97);
        assert!(new(&long, "main").is_err());
        let commit = "0a".repeat(20);
        for revision in ["main", "v1.0", "refs/pr/3", &commit] {
            assert!(new("a/b", revision).is_ok(), "{revision}");
        }
        for revision in [
            "", "..", "a/../b", "/a", "a/", "a//b", "a?b", "a b", ".git", "a\\b",
        ] {
            assert!(new("a/b", revision).is_err(), "{revision}");
        }
        let address = new("https://huggingface.co/a/b", "main").unwrap_err();
        assert!(address.to_string().contains("is an address"), "{address}");
    }
}
