//! A table as Markdown, CSV or JSON.

use std::fmt::Write;
use std::str::FromStr;

use sample::benchmark::scoreboard::{BoardRow, Cell, Scoreboard, Standing};

use crate::Error;

/// A form to write tables in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: pull requests, model cards.
    #[default]
    Markdown,
    /// For spreadsheets: one line a row, with the ends of intervals in columns of their own.
    Csv,
    /// For programs.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        match name {
            "markdown" | "md" => Ok(Format::Markdown),
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            other => Err(format!("no format {other:?}; choose markdown, csv or json")),
        }
    }
}

impl Format {
    /// Writes tables; each benchmark's is one.
    ///
    /// # Errors
    /// More than one table as CSV, whose lines are all of one table.
    pub fn write(self, boards: &[Scoreboard]) -> Result<String, Error> {
        match self {
            Format::Markdown => Ok(boards.iter().map(markdown).collect::<Vec<_>>().join("\n")),
            Format::Csv => match boards {
                [board] => Ok(csv(board)),
                _ => Err(Error::Table(format!(
                    "{} tables do not fit one CSV file; choose one with --benchmark",
                    boards.len()
                ))),
            },
            Format::Json => {
                let text = match boards {
                    [board] => serde_json::to_string_pretty(board),
                    boards => serde_json::to_string_pretty(boards),
                };
                let text = text.map_err(|e| Error::Table(e.to_string()))?;
                Ok(text + "\n")
            }
        }
    }
}

fn markdown(board: &Scoreboard) -> String {
    // What went wrong comes first, so that nobody quotes a score without having seen it.
    let mut text = String::new();
    for row in board.rows.iter().filter(|r| r.standing == Standing::Ours) {
        let _ = writeln!(text, "{}: {}.  ", inert(&row.model), inert(&row.counts));
    }
    let _ = writeln!(
        text,
        "\n## {}, {}\n\nAccuracy in per cent; of these runs with 95% intervals.\n",
        inert(&board.benchmark),
        inert(&board.split)
    );
    text.push_str("| model | ALL |");
    for column in &board.columns {
        let _ = write!(text, " {} |", inert(&column.code));
    }
    text.push_str(" source |\n| --- | --- |");
    text.push_str(&" --- |".repeat(board.columns.len()));
    text.push_str(" ---: |\n");
    let mut sources: Vec<&str> = Vec::new();
    for row in &board.rows {
        let name = inert(&row.model);
        let name = if row.standing == Standing::Ours {
            format!("**{name}**")
        } else {
            name
        };
        let _ = write!(text, "| {name} |");
        for cell in cells(row) {
            let _ = write!(text, " {} |", cell.map_or("-".to_owned(), percent));
        }
        let place = sources.iter().position(|s| *s == row.source);
        let number = place.unwrap_or_else(|| {
            sources.push(&row.source);
            sources.len() - 1
        });
        let _ = writeln!(text, " {} |", number + 1);
    }
    for row in board.rows.iter().filter(|r| !r.measures.is_empty()) {
        let measures: Vec<String> = row
            .measures
            .iter()
            .map(|(name, value)| format!("{} {value:.4}", inert(name)))
            .collect();
        let _ = writeln!(text, "\n{}: {}.", inert(&row.model), measures.join(", "));
    }
    text.push_str("\nSources:\n\n");
    for (i, source) in sources.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", i + 1, inert(source));
    }
    let named: Vec<String> = board
        .columns
        .iter()
        .filter(|c| c.code != c.name)
        .map(|c| format!("{} {}", inert(&c.code), inert(&c.name)))
        .collect();
    if !named.is_empty() {
        let _ = writeln!(text, "\nColumns: {}.", named.join(", "));
    }
    text
}

/// The number over all questions, then the columns'.
fn cells(row: &BoardRow) -> impl Iterator<Item = Option<Cell>> + '_ {
    std::iter::once(row.all).chain(row.cells.iter().copied())
}

/// `46.6`, or `46.6 [43.5, 49.7]`.
fn percent(cell: Cell) -> String {
    match (cell.total, cell.interval) {
        (Some(0), _) => "-".to_owned(),
        (_, None) => format!("{:.1}", cell.percent),
        (_, Some((low, high))) => format!("{:.1} [{low:.1}, {high:.1}]", cell.percent),
    }
}

/// Text that Markdown and HTML show as it is.
fn inert(text: &str) -> String {
    let mut inert = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => inert.push_str("&amp;"),
            '<' => inert.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' => inert.extend(['\\', c]),
            c if c.is_control() => inert.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => inert.push(c),
        }
    }
    inert
}

fn csv(board: &Scoreboard) -> String {
    let mut header = ["model", "kind", "source"].map(str::to_owned).to_vec();
    let codes = board.columns.iter().map(|c| c.code.as_str());
    for code in std::iter::once("ALL").chain(codes) {
        header.extend([
            code.to_owned(),
            format!("{code} low"),
            format!("{code} high"),
            format!("{code} correct"),
            format!("{code} total"),
        ]);
    }
    header.extend(["counts".to_owned(), "measures".to_owned()]);
    let mut text = line(&header);
    for row in &board.rows {
        let mut fields = vec![
            row.model.clone(),
            row.standing.name().to_owned(),
            row.source.clone(),
        ];
        for cell in cells(row) {
            let number = |n: Option<f64>| n.map_or(String::new(), |n| format!("{n:.2}"));
            let whole = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
            let interval = cell.and_then(|c| c.interval);
            fields.extend([
                number(cell.filter(|c| c.total != Some(0)).map(|c| c.percent)),
                number(interval.map(|i| i.0)),
                number(interval.map(|i| i.1)),
                whole(cell.and_then(|c| c.correct)),
                whole(cell.and_then(|c| c.total)),
            ]);
        }
        fields.push(row.counts.clone());
        let measures = row.measures.iter();
        let measures: Vec<String> = measures
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        fields.push(measures.join("; "));
        text.push_str(&line(&fields));
    }
    text
}

fn line(fields: &[String]) -> String {
    let quoted: Vec<String> = fields.iter().map(|f| field(f)).collect();
    quoted.join(",") + "\n"
}

/// In quotes where it must be. Spreadsheets run a field that begins as a formula does: a mark before it
/// makes it text.
fn field(text: &str) -> String {
    let number = text.parse::<f64>().is_ok();
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) || text.starts_with('#') || text.trim() != text {
        format!(
            "\"{}\"",
            text.replace('"', "\"\"").replace(['\n', '\r'], " ")
        )
    } else {
        text
    }
}
