//! A run's stages as a picture: a box for each verb in the order they run, its folders inside it with
//! what they counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::html::{count, escape};

/// Counts on a stage's box, in this order; its manifest has them all.
const SHOWN_COUNTS: [&str; 8] = [
    "samples",
    "images",
    "rejects",
    "heldout",
    "items",
    "requests",
    "steps",
    "parameters",
];

/// A stage's folder in the picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowPart {
    /// The folder's name, where it is not the verb's.
    pub name: Option<String>,
    /// The address of more about it.
    pub link: Option<String>,
    /// What is to be said of it where it is not finished.
    pub note: Option<String>,
    /// Names with what they count, as they are printed.
    pub counts: Vec<(String, String)>,
}

/// Those of a manifest's counts that a stage's box shows.
pub fn shown_counts(counts: &BTreeMap<String, u64>) -> Vec<(String, String)> {
    let shown = SHOWN_COUNTS.iter().filter_map(|name| {
        let n = counts.get(*name)?;
        Some(((*name).to_owned(), count(*n)))
    });
    shown.collect()
}

/// The picture: verbs, each with one of its folders; those of one verb that follow each other share a box.
pub fn flow(parts: impl IntoIterator<Item = (String, FlowPart)>) -> String {
    let mut html = String::from("<ol class=\"flow\">");
    let mut before: Option<String> = None;
    for (verb, part) in parts {
        let link = |text: &str| match &part.link {
            Some(link) => format!("<a href=\"{}\">{}</a>", escape(link), escape(text)),
            None => escape(text),
        };
        if before.as_ref() != Some(&verb) {
            if before.is_some() {
                html.push_str("</li>");
            }
            let shown = match part.name {
                Some(_) => escape(&verb),
                None => link(&verb),
            };
            let _ = write!(html, "<li><span class=\"stage\">{shown}</span>");
        }
        if let Some(name) = &part.name {
            let _ = write!(html, "<span class=\"part\">{}</span>", link(name));
        }
        if let Some(note) = &part.note {
            let _ = write!(
                html,
                "<span class=\"badge unclear\">{}</span>",
                escape(note)
            );
        }
        html.push_str("<dl>");
        for (name, n) in &part.counts {
            let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(n));
        }
        html.push_str("</dl>");
        before = Some(verb);
    }
    if before.is_some() {
        html.push_str("</li>");
    }
    html.push_str("</ol>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_verb_share_a_box_and_all_text_is_escaped() {
        let part = |name: Option<&str>, link: Option<&str>| FlowPart {
            name: name.map(str::to_owned),
            link: link.map(str::to_owned),
            note: Some("begun <b>".to_owned()),
            counts: vec![("<i>".to_owned(), "1,000".to_owned())],
        };
        let html = flow([
            ("import".to_owned(), part(Some("a<"), Some("/x?\"'"))),
            ("import".to_owned(), part(Some("b"), None)),
            ("train".to_owned(), part(None, Some("/train"))),
        ]);
        assert_eq!(html.matches("<li>").count(), 2);
        assert_eq!(html.matches("</li>").count(), 2);
        assert!(
            html.contains("<a href=\"/x?&quot;&#39;\">a&lt;</a>"),
            "{html}"
        );
        assert!(html.contains("<span class=\"stage\"><a href=\"/train\">train</a>"));
        assert!(!html.contains("<b>") && !html.contains("<i>"));
        assert_eq!(flow([]), "<ol class=\"flow\"></ol>");
    }
}
