//! Comma-separated values, as far as tables of scores need them.
//!
//! Cells are trimmed; one in double quotes may hold commas, and a doubled quote stands for one. Empty
//! lines, and those that begin with `#`, do not count.

/// No line may be longer, in bytes: a table of scores has none.
const LONGEST_LINE: usize = 1 << 16;
/// No file may have more lines that count.
const MOST_LINES: usize = 100_000;

/// A line's number, from 1, and its cells.
type Line = (usize, Vec<String>);

/// The lines of `text`.
///
/// # Errors
/// The line's number and what is wrong with it.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let mut lines = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.len() > LONGEST_LINE || lines.len() == MOST_LINES {
            return Err((
                i + 1,
                format!(
                    "longer than a table may be ({LONGEST_LINE} bytes a line, {MOST_LINES} lines)"
                ),
            ));
        }
        lines.push((i + 1, cells(line).map_err(|detail| (i + 1, detail))?));
    }
    Ok(lines)
}

fn cells(line: &str) -> Result<Vec<String>, String> {
    let mut cells = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let cell = rest.trim_start();
        let after = match cell.strip_prefix('"') {
            Some(quoted) => {
                let (text, after) = until_quote(quoted).ok_or("a quote is not closed")?;
                cells.push(text);
                after.trim_start()
            }
            None => {
                let end = cell.find(',').unwrap_or(cell.len());
                cells.push(cell[..end].trim_end().to_owned());
                &cell[end..]
            }
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(cells),
            None => return Err(format!("{after:?} follows a closed quote")),
        }
    }
}

/// The text up to the quote that closes it, and what follows.
fn until_quote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"')?;
        text.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                text.push('"');
                rest = next;
            }
            None => return Some((text, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_split_as_spreadsheets_split_them() {
        for (line, wanted) in [
            ("a,b", vec!["a", "b"]),
            ("a,,", vec!["a", "", ""]),
            (" a , b\r", vec!["a", "b"]),
            ("\"a, b\",c", vec!["a, b", "c"]),
            ("\"say \"\"x\"\"\" , 1", vec!["say \"x\"", "1"]),
            ("", vec![""]),
        ] {
            assert_eq!(cells(line).unwrap(), wanted, "{line:?}");
        }
        for line in ["\"a", "\"a\"b,c", "a,\"b\"\"", "\"\"\""] {
            assert!(cells(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn remarks_and_empty_lines_do_not_count_but_keep_their_numbers() {
        let read = lines("\u{feff}# x\n\na,b\n#c\nd,e\n").unwrap();
        assert_eq!(read.iter().map(|l| l.0).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(lines("a\n\"b").unwrap_err().0, 2);
        let long = "x".repeat(LONGEST_LINE + 1);
        assert!(lines(&long).is_err());
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(cells in proptest::collection::vec("[^\\n\\r]{0,12}", 1..6)) {
            let line: Vec<String> = cells
                .iter()
                .map(|c| format!("\"{}\"", c.replace('"', "\"\"")))
                .collect();
            prop_assert_eq!(super::cells(&line.join(",")).unwrap(), cells);
        }

        #[test]
        fn any_text_gives_lines_or_an_error(text in "[\\PC\",\\n#]{0,80}") {
            let _ = lines(&text);
        }
    }
}
