//! Our scores and published ones as a table of the page.

use std::fmt::Write;

use sample::benchmark::scoreboard::{Breakdown, Cell, Scoreboard, Standing};

use crate::html::{accuracy, count, escape, shortened};

/// No more groups of a dimension are listed.
const MOST_GROUPS: usize = 400;

/// The table, a heading for each kind of row, with sources numbered below it.
pub fn board(board: &Scoreboard) -> String {
    let caption = format!(
        "{}, {}: accuracy in per cent, of these runs with 95% intervals",
        escape(&board.benchmark),
        escape(&board.split)
    );
    let mut html = format!(
        "<div class=\"card\"><div class=\"scroll\" role=\"region\" tabindex=\"0\" \
         aria-label=\"{caption}\"><table class=\"board\"><caption>{caption}</caption><thead><tr>\
         <th scope=\"col\">model</th><th scope=\"col\">ALL</th>"
    );
    for column in &board.columns {
        let _ = write!(
            html,
            "<th scope=\"col\" title=\"{}\">{}</th>",
            escape(&column.name),
            shortened(&column.code, 24)
        );
    }
    html.push_str("<th scope=\"col\">source</th></tr></thead>");
    let mut sources: Vec<&str> = Vec::new();
    for standing in Standing::ALL {
        let mut rows = board
            .rows
            .iter()
            .filter(|r| r.standing == standing)
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        let _ = write!(
            html,
            "<tbody><tr class=\"heading\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>",
            board.columns.len() + 3,
            standing.title()
        );
        for row in rows {
            let class = if standing == Standing::Ours {
                " class=\"total\""
            } else {
                ""
            };
            let _ = write!(
                html,
                "<tr{class}><th scope=\"row\">{}</th>",
                shortened(&row.model, 60)
            );
            for cell in std::iter::once(&row.all).chain(&row.cells) {
                let _ = write!(html, "<td>{}</td>", cell.map_or("–".to_owned(), number));
            }
            let place = sources.iter().position(|s| *s == row.source);
            let source = place.unwrap_or_else(|| {
                sources.push(&row.source);
                sources.len() - 1
            });
            let _ = write!(html, "<td>{}</td></tr>", source + 1);
        }
        html.push_str("</tbody>");
    }
    html.push_str("</table></div><ol class=\"sources\">");
    for source in sources {
        let _ = write!(html, "<li>{}</li>", shortened(source, 300));
    }
    html.push_str("</ol></div>");
    html
}

fn number(cell: Cell) -> String {
    match (cell.total, cell.interval) {
        (Some(0), _) => "–".to_owned(),
        (_, None) => format!("{:.1}", cell.percent),
        (_, Some((low, high))) => format!(
            "{:.1}<br><span class=\"range\">[{low:.1}, {high:.1}]</span>",
            cell.percent
        ),
    }
}

/// All groups of the runs, a table for each dimension.
pub fn groups(breakdowns: &[&Breakdown], names: &[String]) -> String {
    let mut html = String::new();
    let mut dimensions: Vec<&str> = Vec::new();
    for (dimension, _) in breakdowns.iter().flat_map(|b| &b.dimensions) {
        if !dimensions.contains(&dimension.as_str()) {
            dimensions.push(dimension);
        }
    }
    for dimension in dimensions {
        let found = super::chart::shares(breakdowns, dimension);
        let caption = format!("Accuracy in per cent by {}", shortened(dimension, 60));
        let _ = write!(
            html,
            "<details><summary>By {} ({})</summary><div class=\"scroll\" role=\"region\" \
             tabindex=\"0\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>\
             <th scope=\"col\">group</th><th scope=\"col\">questions</th>",
            shortened(dimension, 60),
            count(found.len() as u64)
        );
        for name in names {
            let _ = write!(html, "<th scope=\"col\">{}</th>", shortened(name, 40));
        }
        html.push_str("</tr></thead><tbody>");
        for (name, shares) in found.iter().take(MOST_GROUPS) {
            let most = shares.iter().flatten().map(|a| a.total).max().unwrap_or(0);
            let _ = write!(
                html,
                "<tr><th scope=\"row\" class=\"wrap\">{}</th><td>{}</td>",
                shortened(name, 120),
                count(most)
            );
            for share in shares {
                let _ = write!(html, "<td>{}</td>", share.map_or("–".to_owned(), accuracy));
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div>");
        if found.len() > MOST_GROUPS {
            let rest = (found.len() - MOST_GROUPS) as u64;
            let _ = write!(html, "<p class=\"lead\">{} more groups.</p>", count(rest));
        }
        html.push_str("</details>");
    }
    html
}
