//! Schedules: when something begins, and what begins then.

use super::{Asked, Table, as_asked};
use crate::figures::question::{Question, read, word};
use crate::programs::wording::{mentions, plain};

/// The column that a verb asks for.
fn column(table: &Table, asked: &Asked<'_>) -> Option<usize> {
    const VERBS: [(&str, &[&str]); 4] = [
        ("begin", &["begin", "start"]),
        ("end", &["end"]),
        ("arrive", &["arrive", "time"]),
        ("depart", &["depart", "time"]),
    ];
    let mut found = VERBS
        .iter()
        .filter(|(verb, _)| asked.has(verb) || *verb == "begin" && asked.has("start"));
    let (_, heads) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let at = |head: &&str| table.head.iter().position(|h| plain(h) == **head);
    heads.iter().find_map(at).filter(|c| *c > 0)
}

/// "When does the wrestling meet end?"
pub(super) fn when(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let column = column(table, asked)?;
    let opens = asked.stems.first()? == "when" && asked.stems.get(1)? == "doe";
    let [row] = mentions(&asked.stems, &table.row_names())?[..] else {
        return None;
    };
    let time = table.rows[row].get(column).filter(|t| !t.is_empty())?;
    opens.then(|| as_asked("when", word(time.clone())))
}

/// "Which class begins at 11.15 A.M.?"
pub(super) fn which(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let column = column(table, asked)?;
    let opens = asked.stems.first()? == "which" || asked.says("at which stop");
    let at = asked.stems.iter().rposition(|s| s == "at")?;
    let [clock, half] = &asked.stems[at + 1..] else {
        return None;
    };
    let time = |text: &str| text.to_lowercase().replace(['.', ' '], "").replace(':', "");
    let wanted = time(&format!("{clock}{half}"));
    let mut rows = table.rows.iter().filter(|r| time(&r[column]) == wanted);
    let row = rows.next()?;
    if rows.next().is_some() || !opens {
        return None;
    }
    let head = plain(&table.head[column]);
    // A plain time is one at which things arrive and depart.
    let form = match head.as_str() {
        "begin" | "end" => format!("Which one {head}s at {}?", row[column]),
        _ => return Some(as_asked("which_time", word(row[0].clone()))),
    };
    Some(read(
        "which_time",
        word(row[0].clone()),
        [form, format!("Which {head}s at {}?", row[column])],
    ))
}
