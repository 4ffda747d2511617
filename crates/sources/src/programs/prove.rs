//! Proofs: the answer to a question, computed from what the image shows.

use sample::Answer;
use serde_json::Value;

use super::Shown;
use super::exact::Exact;
use super::wording::{plain, stems};

/// The answer to `question` about the image whose `scene` this is: the place of a choice where there
/// are `choices`, else a number or words. `None` where the scene is of no known kind, the question
/// of no known form, or the answer not among the choices.
///
/// ```
/// let scene = r#"{"kind": "table", "head": [], "rows": [["kite", "$4.20"], ["ball", "$3.10"]]}"#;
/// let answer = sources::programs::prove(scene, "How much more does a kite cost than a ball?", &[]);
/// assert_eq!(answer.unwrap().text(), "1.10");
/// assert_eq!(sources::programs::prove(scene, "Is the kite red?", &[]), None);
/// ```
pub fn prove(scene: &str, question: &str, choices: &[String]) -> Option<Answer> {
    let answer = match Shown::read(scene) {
        Some(shown) => match crate::figures::solve(&shown.questions(), question) {
            Some(known) => known,
            None => shown.understand(question)?.answer,
        },
        None => crate::figures::solve_scene(scene, question)?,
    };
    posed(&answer, choices)
}

/// The answer as it is given beside some choices.
pub(super) fn posed(answer: &Answer, choices: &[String]) -> Option<Answer> {
    if choices.is_empty() {
        return Some(answer.clone());
    }
    let text = answer.text();
    let one = |is: &dyn Fn(&String) -> bool| {
        let mut hits = choices.iter().enumerate().filter(|(_, c)| is(c));
        let hit = hits.next()?.0;
        hits.next().is_none().then_some(Answer::Choice(hit))
    };
    // The same words first; then the same but for what a name leaves out, "wrestling" for
    // "wrestling meet".
    one(&|c| is_same(c, &text)).or_else(|| {
        let words = stems(&text);
        let is_word = matches!(answer, Answer::Text(_)) && !words.is_empty();
        let has = |a: &[String], b: &[String]| b.iter().all(|w| a.contains(w));
        one(&|c| {
            let choice = stems(c);
            is_word && !choice.is_empty() && (has(&choice, &words) || has(&words, &choice))
        })
    })
}

/// Whether a proof and a given answer say the same: the same choice, words, or number.
pub fn agree(proof: &Answer, given: &Answer) -> bool {
    is_same(&proof.text(), &given.text())
}

/// Whether two printed answers say the same: the same words, or the same number.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    if plain(a) == plain(b) {
        return true;
    }
    let number = |text: &str| Exact::parse(text.trim().trim_start_matches('$'));
    matches!((number(a), number(b)), (Some(a), Some(b)) if a == b)
}

/// The choices of a request.
pub(super) fn choices_of(subject: &Value) -> Vec<String> {
    match subject.get("choices") {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}
