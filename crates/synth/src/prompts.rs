//! The prompts: files with a version in their first line, built in, and replaceable by a user's own.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;
use crate::augmentation::AUGMENTATIONS;

/// The prompt for blind answers.
pub const ANSWER: &str = "answer";
/// The prompt for judges.
pub const JUDGE: &str = "judge";

/// No prompt is longer, in bytes.
const MAX_PROMPT: u64 = 64 * 1024;

/// All prompts of a synthesis, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(BTreeMap<&'static str, String>);

impl Prompts {
    /// The built-in prompts, with those of `folder` in their place.
    ///
    /// # Errors
    /// Where the folder cannot be read, has a file of another name, or a prompt lacks a place that
    /// it cannot do without.
    pub fn load(folder: Option<&Path>) -> Result<Prompts, Error> {
        let kinds = AUGMENTATIONS.iter().map(|a| (a.name(), a.prompt_file()));
        let others = [
            (ANSWER, include_str!("../prompts/answer.txt")),
            (JUDGE, include_str!("../prompts/judge.txt")),
        ];
        let mut prompts: BTreeMap<&'static str, String> = kinds
            .chain(others)
            .map(|(name, text)| (name, text.to_owned()))
            .collect();
        if let Some(folder) = folder {
            replace(&mut prompts, folder)?;
        }
        Ok(Prompts(prompts))
    }

    /// The text below the version line.
    pub fn body(&self, name: &str) -> &str {
        let file = self.0.get(name).map_or("", String::as_str);
        match file.split_once('\n') {
            Some((first, rest)) if first.starts_with('#') => rest,
            _ => file,
        }
    }

    /// The version line, without its mark.
    pub fn version(&self, name: &str) -> &str {
        let file = self.0.get(name).map_or("", String::as_str);
        match file.lines().next() {
            Some(first) if first.starts_with('#') => first.trim_start_matches(['#', ' ']),
            _ => "without a version line",
        }
    }

    /// Every prompt's name and digest, for the stage's key.
    pub fn digests(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(name, text)| {
            let digest = sample::sha256_hex(text.as_bytes());
            (format!("prompts/{name}.txt"), digest)
        })
    }

    /// The prompt with its places filled in by `place`. Braces in what is filled in stay as they
    /// are, and so do places that `place` does not know.
    pub fn fill(&self, name: &str, place: impl Fn(&str) -> Option<String>) -> String {
        let mut filled = String::new();
        let mut rest = self.body(name);
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let known = after
                .split_once('}')
                .and_then(|(name, after)| Some((place(name)?, after)));
            match known {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

fn replace(prompts: &mut BTreeMap<&'static str, String>, folder: &Path) -> Result<(), Error> {
    let io = |e| sample::Error::io(folder, e);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let names: Vec<&str> = prompts.keys().copied().collect();
        let Some(name) = names.iter().find(|name| **name == stem) else {
            let detail = format!(
                "{}: no prompt has this name; they are {}",
                path.display(),
                names.join(", ")
            );
            return Err(Error::Config(detail));
        };
        let length = std::fs::metadata(&path)
            .map_err(|e| sample::Error::io(&path, e))?
            .len();
        if length > MAX_PROMPT {
            let detail = format!("{length} bytes; a prompt has at most {MAX_PROMPT}");
            return Err(sample::Error::format(&path, detail).into());
        }
        let text = std::fs::read_to_string(&path).map_err(|e| sample::Error::io(&path, e))?;
        let needed = match *name {
            "askimg" => "{avoid}",
            _ => "{question}",
        };
        if !text.contains(needed) {
            let detail = format!("the prompt has no {needed}, without which it asks nothing");
            return Err(sample::Error::format(&path, detail).into());
        }
        prompts.insert(name, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_names_its_version_and_the_reply_form_that_is_read() {
        let prompts = Prompts::load(None).unwrap();
        for kind in AUGMENTATIONS {
            let name = kind.name();
            assert!(prompts.version(name).starts_with("version "), "{name}");
            let body = prompts.body(name);
            assert!(
                body.contains("The question is [..]. The answer is [..]."),
                "{name}"
            );
            assert!(body.contains("{count}"), "{name}");
            assert_eq!(kind.inherits_answer(), !body.contains("The choices are ["));
        }
        assert!(prompts.body(ANSWER).contains("The answer is [..]."));
        assert!(prompts.body(JUDGE).contains("The verdict is [..]."));
    }

    #[test]
    fn a_folder_replaces_prompts_by_name_and_its_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "rephq.txt",
            "# version 7.\nSay {question} anew, {unknown} {",
        );
        write("notes.md", "not a prompt");
        let prompts = Prompts::load(Some(dir.path())).unwrap();
        assert_eq!(prompts.version("rephq"), "version 7.");
        let filled = prompts.fill("rephq", |name| (name == "question").then(|| "{x}".into()));
        assert_eq!(filled, "Say {x} anew, {unknown} {");
        let digests = |p: &Prompts| p.digests().collect::<Vec<_>>();
        let built_in = Prompts::load(None).unwrap();
        let changed = digests(&built_in)
            .into_iter()
            .zip(digests(&prompts))
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(changed, 1);
        write("rephq.txt", "Say it anew.");
        let message = Prompts::load(Some(dir.path())).unwrap_err().to_string();
        assert!(message.contains("{question}"), "{message}");
        write("rephq.txt", "{question}");
        write("askme.txt", "{question}");
        let message = Prompts::load(Some(dir.path())).unwrap_err().to_string();
        assert!(
            message.contains("askme") && message.contains("simpq"),
            "{message}"
        );
        assert!(Prompts::load(Some(&dir.path().join("gone"))).is_err());
    }
}
