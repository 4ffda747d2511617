//! The card's page on synthesis: how many pairs of each kind were asked for, came and stayed, why the
//! others went, and kept and rejected ones side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use sample::scan::Table;
use sample::{MadePair, PAIRS, Row, seed};
use serde_json::Value;

use super::facts::Stages;
use super::page::table;
use crate::Error;
use crate::html::{count, escape, shortened};
use crate::picture::Pictures;

/// Pairs shown of each kind, kept ones and rejected ones.
const SHOWN: usize = 4;
/// No more of a question, answer or reason is shown, in characters.
const LONGEST: usize = 300;

/// The kinds, in the order that pairs are made.
const KINDS: [(&str, &str); 4] = [
    ("askimg", "AskImg"),
    ("compq", "CompQ"),
    ("rephq", "RephQ"),
    ("simpq", "SimpQ"),
];

/// What the synth stage says of itself, with examples.
#[derive(Debug)]
pub(crate) struct Synthesis {
    pub(crate) results: Value,
    /// By kind: kept ones, and rejected ones, in an order drawn by seed.
    examples: BTreeMap<String, [Vec<(u64, MadePair)>; 2]>,
}

/// Reads the synth stage, where one made pairs.
pub(crate) fn read(found: &Stages, run_seed: u64) -> Result<Option<Synthesis>, Error> {
    let Some(stage) = found.get("synth") else {
        return Ok(None);
    };
    let path = stage.folder.join(PAIRS);
    if !path.is_file()
        || stage.manifest.results["yields"]
            .as_object()
            .is_none_or(|y| y.is_empty())
    {
        return Ok(None);
    }
    let mut examples: BTreeMap<String, [Vec<(u64, MadePair)>; 2]> = BTreeMap::new();
    let pairs = Table::open(&path)?;
    let schema = MadePair::schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    for batch in pairs.batches(&names)? {
        let rows = MadePair::rows(&batch?).map_err(|e| sample::Error::format(&path, e))?;
        for pair in rows {
            let place = seed::derive(run_seed, &["card", "pairs", &pair.id]);
            let sides = examples.entry(pair.kind.clone()).or_default();
            let side = &mut sides[usize::from(pair.reason.is_some())];
            side.push((place, pair));
            if side.len() > 2 * SHOWN {
                shorten(side);
            }
        }
    }
    examples.values_mut().flatten().for_each(shorten);
    Ok(Some(Synthesis {
        results: stage.manifest.results.clone(),
        examples,
    }))
}

fn shorten(side: &mut Vec<(u64, MadePair)>) {
    side.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
    side.truncate(SHOWN);
}

/// One line of a yield table: name, asked, came, kept, share, what speaks for the kept.
pub(crate) fn line(name: String, line: &Value) -> Vec<String> {
    let n = |field: &str| line[field].as_u64().unwrap_or(0);
    let verdict = |word: &str| line["verdicts"][word].as_u64().unwrap_or(0);
    let share = match n("wanted") {
        0 => "–".to_owned(),
        wanted => format!("{:.1}%", 100.0 * n("kept") as f64 / wanted as f64),
    };
    vec![
        name,
        count(n("requests")),
        count(n("wanted")),
        count(n("read")),
        count(n("kept")),
        share,
        count(verdict("proven")),
        count(verdict("agreed")),
        count(verdict("inherited") + verdict("form")),
    ]
}

pub(crate) const HEADS: [&str; 9] = [
    "kind",
    "requests",
    "asked for",
    "came",
    "kept",
    "share",
    "proven",
    "agreed",
    "form only",
];

impl Synthesis {
    /// By kind, and by kind and source.
    pub(crate) fn lines(&self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let (mut kinds, mut sources) = (Vec::new(), Vec::new());
        for (kind, name) in KINDS {
            let found = &self.results["yields"][kind];
            if found.is_object() {
                kinds.push(line(name.to_owned(), found));
            }
            let of = self.results["by_source"][kind].as_object();
            for (source, found) in of.into_iter().flatten() {
                sources.push(line(format!("{name}, {}", escape(source)), found));
            }
        }
        (kinds, sources)
    }

    /// Reason, and how many pairs of each kind went for it.
    pub(crate) fn reasons(&self) -> Vec<Vec<String>> {
        let mut reasons: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for (at, (kind, _)) in KINDS.iter().enumerate() {
            let of = self.results["yields"][kind]["rejected"].as_object();
            for (reason, n) in of.into_iter().flatten() {
                reasons.entry(reason).or_default()[at] = n.as_u64().unwrap_or(0);
            }
        }
        let mut lines: Vec<(&str, [u64; 4])> = reasons.into_iter().collect();
        lines.sort_by_key(|(reason, n)| (std::cmp::Reverse(n.iter().sum::<u64>()), *reason));
        let cells = |(reason, n): (&str, [u64; 4])| {
            let name = escape(&reason.replace('_', " "));
            std::iter::once(name).chain(n.map(count)).collect()
        };
        lines.into_iter().map(cells).collect()
    }

    /// Who took part.
    pub(crate) fn who(&self) -> String {
        let name = |field: &str| self.results[field].as_str();
        let mut text = format!("Made by {}", name("teacher").unwrap_or("nobody"));
        match name("verifier") {
            Some(verifier) => text.push_str(&format!(", answered blind by {verifier}")),
            None => text.push_str(", not answered blind by anybody"),
        }
        if let Some(judge) = name("judge") {
            text.push_str(&format!(", judged by {judge}"));
        }
        match self.results["benchmark_questions"].as_u64().unwrap_or(0) {
            0 => text.push_str("; compared with no benchmark's questions."),
            n => text.push_str(&format!(
                "; compared with {} benchmark questions.",
                count(n)
            )),
        }
        text
    }
}

/// The section.
pub(crate) fn section(synthesis: &Synthesis, pictures: &mut Pictures<'_>) -> String {
    let (kinds, sources) = synthesis.lines();
    let mut html = format!("<p class=\"lead\">{}</p>", escape(&synthesis.who()));
    html.push_str(&table("Pairs by kind", &HEADS, &kinds));
    if sources.len() > kinds.len() {
        html.push_str(&table("Pairs by kind and source", &HEADS, &sources));
    }
    let reasons = synthesis.reasons();
    if !reasons.is_empty() {
        let heads = ["reason", "AskImg", "CompQ", "RephQ", "SimpQ"];
        html.push_str(&table("Why the others went", &heads, &reasons));
    }
    for (kind, name) in KINDS {
        let Some([kept, rejected]) = synthesis.examples.get(kind) else {
            continue;
        };
        let _ = write!(
            html,
            "<h3>{name}: kept, and rejected</h3><div class=\"split\">"
        );
        for (side, pairs) in [("kept", kept), ("rejected", rejected)] {
            html.push_str("<div>");
            if pairs.is_empty() {
                let _ = write!(html, "<p class=\"missing\">none {side}</p>");
            }
            for (_, pair) in pairs {
                html.push_str(&example(pair, pictures));
            }
            html.push_str("</div>");
        }
        html.push_str("</div>");
    }
    html
}

fn example(pair: &MadePair, pictures: &mut Pictures<'_>) -> String {
    let badge = match &pair.reason {
        None => format!(
            "<span class=\"badge beats\">{}</span>",
            escape(&pair.verdict)
        ),
        Some(reason) => format!(
            "<span class=\"badge loses\">{}</span>",
            escape(&reason.replace('_', " "))
        ),
    };
    let picture = pictures.element(&pair.image, &pair.image_sha256, "the question's image");
    let mut html = format!(
        "<article class=\"item made\"><div class=\"pictures\"><figure>{picture}</figure></div>\
         <div class=\"body\"><h4>{}</h4><p class=\"meta\">{badge} {} · {}</p><dl>",
        shortened(&pair.question, LONGEST),
        escape(&pair.task),
        escape(&pair.source),
    );
    let mut fact = |name: &str, text: &str| {
        if !text.is_empty() {
            let text = shortened(text, LONGEST);
            let _ = write!(html, "<dt>{name}</dt><dd>{text}</dd>");
        }
    };
    fact("choices", &pair.choices.join("; "));
    fact("answer", &pair.answer);
    fact("teacher said", pair.given.as_deref().unwrap_or_default());
    fact("blind answers", &pair.votes.join("; "));
    fact("why", pair.detail.as_deref().unwrap_or_default());
    let parent = format!("{} ({})", pair.parent_question, pair.parent_answer);
    fact("made from", &parent);
    html.push_str("</dl></div></article>");
    html
}
