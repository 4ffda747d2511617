//! What the environment says: the endpoint, the token, the cache. The variables and their order are
//! those of Python's `huggingface_hub`, so whoever has set that up has set this up.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::retry::Patience;

/// The endpoint where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// An access token. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// `None` where nothing is left once spaces and line ends are taken off.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether it can stand in a header.
    fn is_plain(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Where to ask, as whom, and where the shared cache is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://huggingface.co`, or the mirror's address, without a slash at its end.
    pub endpoint: String,
    /// Whom to ask as; public repositories need nobody.
    pub token: Option<Token>,
    /// The folder with `models--owner--name` in it.
    pub cache: PathBuf,
    /// How long to wait and how often to try again.
    pub patience: Patience,
}

impl Settings {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` (or `HUGGING_FACE_HUB_TOKEN`, or the file that `HF_TOKEN_PATH`
    /// or `HF_HOME/token` is), and `HF_HUB_CACHE` (or `HUGGINGFACE_HUB_CACHE`, or `HF_HOME/hub`).
    /// `variable` gives the value of an environment variable.
    ///
    /// # Errors
    /// [`Error::Asked`] where the environment says to stay offline, or leaves no place for a cache.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let truth = |name: &str| {
            set(name).is_some_and(|value| {
                matches!(
                    value.trim().to_ascii_lowercase().as_str(),
                    "1" | "on" | "yes" | "true"
                )
            })
        };
        if let Some(name) = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find(|name| truth(name))
        {
            return Err(Error::Asked(format!(
                "{name} says to stay offline, and a pull needs the network: unset it"
            )));
        }
        let user = set("HOME")
            .or_else(|| set("USERPROFILE"))
            .map(PathBuf::from);
        let path = |name: &str| {
            let value = set(name)?;
            Some(match (value.strip_prefix("~/"), &user) {
                (Some(below), Some(user)) => user.join(below),
                _ => PathBuf::from(value),
            })
        };
        let home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(user.clone()?.join(".cache")));
            Some(caches?.join("huggingface"))
        });
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| below_home("hub"));
        let cache = cache.ok_or_else(|| {
            Error::Asked("there is no home folder to keep a cache in: set HF_HOME".into())
        })?;
        let written = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN"));
        let token = match written {
            Some(token) => Token::new(&token),
            None => match path("HF_TOKEN_PATH").or_else(|| below_home("token")) {
                Some(file) => token_file(&file)?,
                None => None,
            },
        };
        if token.as_ref().is_some_and(|token| !token.is_plain()) {
            return Err(Error::Asked(
                "the token (HF_TOKEN or its file) has characters that no token has: copy it again"
                    .into(),
            ));
        }
        let implicit = !truth("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Ok(Settings {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token: token.filter(|_| implicit),
            cache,
            patience: Patience::default(),
        })
    }
}

fn token_file(file: &Path) -> Result<Option<Token>, Error> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Token::new(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(file, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn settings(variables: Variables<'_>) -> Result<Settings, Error> {
        Settings::from_environment(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_is_where_python_looks_for_it() {
        let cases: &[(Variables<'_>, &str)] = &[
            (&[("HOME", "/h")], "/h/.cache/huggingface/hub"),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (&[("HOME", "/h"), ("HF_HOME", "~/hf")], "/h/hf/hub"),
            (
                &[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/old",
            ),
            (
                &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/c")],
                "/c",
            ),
        ];
        for (variables, cache) in cases {
            let settings = settings(variables).unwrap();
            assert_eq!(settings.cache, Path::new(cache), "{variables:?}");
            assert_eq!(settings.endpoint, ENDPOINT);
        }
        assert!(settings(&[]).unwrap_err().to_string().contains("HF_HOME"));
    }

    #[test]
    fn the_token_is_taken_from_the_environment_then_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "of-the-file\n").unwrap();
        std::fs::write(folder.path().join("other"), "of-another-file").unwrap();
        let other = format!("{home}/other");
        let cases: &[(Variables<'_>, Option<&str>)] = &[
            (
                &[("HF_TOKEN", " new \n"), ("HUGGING_FACE_HUB_TOKEN", "old")],
                Some("new"),
            ),
            (&[("HUGGING_FACE_HUB_TOKEN", "old")], Some("old")),
            (&[("HF_TOKEN", "")], Some("of-the-file")),
            (&[("HF_TOKEN_PATH", &other)], Some("of-another-file")),
            (&[("HF_TOKEN_PATH", "/nowhere/at/all")], None),
            (
                &[("HF_TOKEN", "new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")],
                None,
            ),
        ];
        for (variables, token) in cases {
            let mut variables = variables.to_vec();
            variables.push(("HF_HOME", home));
            let settings = settings(&variables).unwrap();
            assert_eq!(
                settings.token.as_ref().map(Token::text),
                *token,
                "{variables:?}"
            );
            assert!(
                !format!("{settings:?}").contains("new"),
                "a token is never printed"
            );
        }
    }

    #[test]
    fn a_token_that_is_none_is_refused_and_not_repeated() {
        let said = settings(&[("HF_HOME", "/x"), ("HF_TOKEN", "hf_a\nb")]).unwrap_err();
        let said = said.to_string();
        assert!(
            said.contains("HF_TOKEN") && !said.contains("hf_a"),
            "{said}"
        );
    }

    #[test]
    fn offline_is_obeyed_and_a_mirror_is_named_without_its_last_slash() {
        let offline = settings(&[("HF_HOME", "/x"), ("HF_HUB_OFFLINE", "1")]).unwrap_err();
        assert!(offline.to_string().contains("HF_HUB_OFFLINE"), "{offline}");
        assert!(settings(&[("HF_HOME", "/x"), ("HF_HUB_OFFLINE", "0")]).is_ok());
        let mirror = settings(&[
            ("HF_HOME", "/x"),
            ("HF_ENDPOINT", "https://mirror.example/hf/"),
        ]);
        assert_eq!(mirror.unwrap().endpoint, "https://mirror.example/hf");
    }
}
