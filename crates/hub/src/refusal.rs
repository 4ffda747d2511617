//! What a hub means when it says no, and what to do about it.
//!
//! The status alone does not tell: a repository that does not exist answers 401 to whoever has no
//! token, as one that is private does. The hub's `X-Error-Code` tells more, where it is sent.

use crate::{RepoKind, Repository};

/// The longest part of a server's own words that is repeated.
const LONGEST: usize = 300;

/// An answer that is not the file.
pub(crate) struct Refusal<'a> {
    /// Without a slash at its end.
    pub endpoint: &'a str,
    pub has_token: bool,
    pub status: u16,
    /// `X-Error-Code`, or nothing.
    pub code: &'a str,
    /// `X-Error-Message`, or nothing.
    pub said: &'a str,
    /// Host and status, for people.
    pub detail: &'a str,
}

impl Refusal<'_> {
    /// The message. `path` is the file that was asked for; without one it was the listing.
    pub(crate) fn advice(&self, repository: &Repository, path: Option<&str>) -> String {
        let advice = self.meaning(repository, path);
        let said = self.said.chars().filter(|c| !c.is_control());
        let said: String = said.take(LONGEST).collect();
        if said.is_empty() {
            advice
        } else {
            format!("{advice}. The server says: {said}")
        }
    }

    fn meaning(&self, repository: &Repository, path: Option<&str>) -> String {
        let Refusal {
            endpoint, detail, ..
        } = self;
        let name = repository.name();
        let tokens = format!("{endpoint}/settings/tokens");
        let (kind, page, other) = match repository.kind() {
            RepoKind::Model => (
                "model",
                format!("{endpoint}/{name}"),
                "is it a data set (--repo-type dataset)?",
            ),
            RepoKind::Dataset => (
                "data set",
                format!("{endpoint}/datasets/{name}"),
                "is it a model (--repo-type model)?",
            ),
        };
        match (self.status, self.code) {
            (_, "GatedRepo") if self.has_token => format!(
                "{name} is gated, and the account of this token has no access: open {page} with that \
                 account and accept the licence. A fine-grained token must also be allowed to read \
                 gated repositories ({tokens})"
            ),
            (_, "GatedRepo") => format!(
                "{name} is gated: open {page}, accept the licence, then set HF_TOKEN to a token of \
                 that account ({tokens})"
            ),
            (_, "RevisionNotFound") => format!(
                "{name} has no revision {:?}; {page}/commits/main shows those it has",
                repository.revision()
            ),
            (404, "EntryNotFound") => format!(
                "{name} has no file {}, though it lists it; try again",
                path.unwrap_or_default()
            ),
            (401, _) if self.has_token => format!(
                "the token was refused, or does not open {name} ({detail}): make a new one at {tokens} \
                 and set HF_TOKEN. An expired token is refused for public repositories too; unset it to \
                 ask as nobody"
            ),
            (401, _) | (404, "RepoNotFound") => format!(
                "{endpoint} has no public {kind} {name} ({detail}): check the name, or {other} For a \
                 private one set HF_TOKEN to a token that may read it ({tokens})"
            ),
            (403, _) => format!(
                "{name} may not be read ({detail}): open {page} to see whether access must be asked for; \
                 a fine-grained token must name this repository ({tokens})"
            ),
            (404 | 410, _) => match path {
                Some(path) => format!("{name} has no file {path} ({detail})"),
                None => format!("{endpoint} has no {repository} ({detail}): check the name"),
            },
            _ => format!("{name}: {detail}, which is no answer of a hub"),
        }
    }
}
