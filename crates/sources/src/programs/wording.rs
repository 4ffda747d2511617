//! The words of a question, as the grammars compare them: lower case, no punctuation at their ends,
//! plurals cut, so that `Jars of jam` and `jar of jam` are one.

/// The words of a text.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || c == '\u{2014}')
        .map(|word| {
            word.trim_matches(|c: char| !c.is_alphanumeric() && c != '$' && c != '-')
                .trim_end_matches('-')
                .to_lowercase()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// The words with plurals cut, and without articles.
pub(crate) fn stems(text: &str) -> Vec<String> {
    words(text)
        .into_iter()
        .filter(|word| !matches!(word.as_str(), "a" | "an" | "the"))
        .map(|word| stem(&word))
        .collect()
}

/// One word without the ending of a plural or a possessive.
pub(crate) fn stem(word: &str) -> String {
    let word = word
        .strip_suffix("'s")
        .or_else(|| word.strip_suffix("\u{2019}s"))
        .unwrap_or(word);
    if word.len() < 4 || word.ends_with("ss") || word.ends_with("us") {
        return word.to_owned();
    }
    for (plural, single) in [
        ("ies", "y"),
        ("ves", "f"),
        ("shes", "sh"),
        ("ches", "ch"),
        ("xes", "x"),
        ("sses", "ss"),
    ] {
        if let Some(rest) = word.strip_suffix(plural) {
            return format!("{rest}{single}");
        }
    }
    word.strip_suffix('s').unwrap_or(word).to_owned()
}

/// The text with single spaces, in lower case, without the marks that end it.
pub(crate) fn plain(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.trim_end_matches(['.', '?', '!', ' ']).to_lowercase()
}

/// Where `part` stands in `all`, from `from` on.
pub(crate) fn position(all: &[String], part: &[String], from: usize) -> Option<usize> {
    if part.is_empty() || part.len() > all.len() {
        return None;
    }
    (from..=all.len() - part.len()).find(|at| all[*at..].starts_with(part))
}

/// Which of `names` the words mention, in order of mention, longer names first where they overlap.
/// `None` where two names are the same.
pub(crate) fn mentions(all: &[String], names: &[Vec<String>]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..names.len()).filter(|i| !names[*i].is_empty()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(names[*i].len()), &names[*i]));
    if order
        .windows(2)
        .any(|pair| names[pair[0]] == names[pair[1]])
    {
        return None;
    }
    let mut taken = vec![false; all.len()];
    let mut found: Vec<(usize, usize)> = Vec::new();
    for i in order {
        let name = &names[i];
        let mut from = 0;
        while let Some(at) = position(all, name, from) {
            from = at + 1;
            let span = &mut taken[at..at + name.len()];
            if span.iter().any(|t| *t) {
                continue;
            }
            span.fill(true);
            if !found.iter().any(|(_, j)| *j == i) {
                found.push((at, i));
            }
        }
    }
    found.sort_unstable();
    Some(found.into_iter().map(|(_, i)| i).collect())
}

/// The last sentence that asks.
pub(crate) fn asking(question: &str) -> &str {
    let question = question.trim();
    let Some(end) = question.rfind('?') else {
        return question;
    };
    let head = &question[..end];
    let start = head
        .char_indices()
        .filter(|(i, c)| {
            matches!(c, '.' | '?' | '!')
                && !abbreviates(&head[..*i])
                && head[*i + 1..].starts_with(' ')
        })
        .map(|(i, _)| i + 1)
        .next_back()
        .unwrap_or(0);
    question[start..=end].trim()
}

/// Whether a text ends in a title or an initial, whose full stop ends no sentence.
fn abbreviates(text: &str) -> bool {
    let last = text.rsplit([' ', '.']).next().unwrap_or_default();
    matches!(last, "Mr" | "Mrs" | "Ms" | "Dr" | "Inc" | "Co" | "St")
        || last.len() == 1 && last.chars().all(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_and_articles_make_no_difference() {
        for (a, b) in [
            ("2 pairs of boots", "2 pair of boot"),
            ("the berries", "Berry"),
            ("a loaf", "loaves"),
            ("bus", "bus"),
        ] {
            assert_eq!(stems(a), stems(b));
        }
        assert_ne!(stems("glass"), stems("glas s"));
    }

    #[test]
    fn the_longest_name_is_the_one_that_is_mentioned() {
        let names: Vec<_> = ["cum laude", "magna cum laude"].map(stems).to_vec();
        let all = stems("Who graduated magna cum laude?");
        assert_eq!(mentions(&all, &names), Some(vec![1]));
        let twice: Vec<_> = ["jam", "jams"].map(stems).to_vec();
        assert_eq!(mentions(&all, &twice), None);
    }

    #[test]
    fn the_sentence_that_asks_is_found_behind_titles() {
        assert_eq!(
            asking("It is so. How many boys are in Mr. South's class?"),
            "How many boys are in Mr. South's class?"
        );
        assert_eq!(asking("Find x."), "Find x.");
    }
}
