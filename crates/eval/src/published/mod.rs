//! Published scores, to stand beside our own.
//!
//! A number means little alone: each table of ours has the rows that the papers print, with where each
//! comes from. The rows lie in CSV files here (`model,kind,source`, then a column for each group, in per
//! cent); a user's own file of the same form adds more. What is not printed in a source is left empty.
//!
//! **Invariant:** rows stand as they are printed, also where a paper contradicts itself; the head of a
//! file says where it does.

mod csv;

use std::path::Path;

use sample::benchmark::scoreboard::Standing;

use crate::Error;

/// A column of a published table, and which of our groups it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// As the table is headed, `FQA`.
    pub code: &'static str,
    /// The dimension of our groups it belongs to, `task`.
    pub dimension: &'static str,
    /// The group, `figure question answering`.
    pub name: &'static str,
}

/// A published table of one benchmark.
#[derive(Debug, Clone, Copy)]
pub struct PublishedTable {
    /// The benchmark's name and what else it is called, in small letters and digits alone.
    pub benchmark: &'static [&'static str],
    /// The splits it holds for, likewise.
    pub splits: &'static [&'static str],
    /// The file's column of the score over all questions.
    pub all: &'static str,
    /// Its other columns.
    pub columns: &'static [Column],
    /// The file.
    rows: &'static str,
}

/// A row of a published table.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRow {
    /// As the source names it.
    pub model: String,
    /// What kind of thing was measured.
    pub standing: Standing,
    /// The paper and table, or the leaderboard.
    pub source: String,
    /// Per cent of all questions; none where the source has only parts.
    pub all: Option<f64>,
    /// Per cent of each of the table's columns, in their order.
    pub values: Vec<Option<f64>>,
}

const fn column(code: &'static str, dimension: &'static str, name: &'static str) -> Column {
    Column {
        code,
        dimension,
        name,
    }
}

/// Every published table there is.
pub static PUBLISHED: &[PublishedTable] = &[
    PublishedTable {
        benchmark: &["mathvista"],
        splits: &["testmini"],
        all: "ALL",
        columns: &[
            column("FQA", "task", "figure question answering"),
            column("GPS", "task", "geometry problem solving"),
            column("MWP", "task", "math word problem"),
            column("TQA", "task", "textbook question answering"),
            column("VQA", "task", "visual question answering"),
            column("ALG", "skills", "algebraic reasoning"),
            column("ARI", "skills", "arithmetic reasoning"),
            column("GEO", "skills", "geometry reasoning"),
            column("LOG", "skills", "logical reasoning"),
            column("NUM", "skills", "numeric commonsense"),
            column("SCI", "skills", "scientific reasoning"),
            column("STA", "skills", "statistical reasoning"),
        ],
        rows: include_str!("mathvista.csv"),
    },
    PublishedTable {
        benchmark: &["mathvision", "mathv"],
        splits: &["test"],
        all: "ALL",
        columns: &[
            column("Alg", "subject", "algebra"),
            column("AnaG", "subject", "analytic geometry"),
            column("Ari", "subject", "arithmetic"),
            column("CombG", "subject", "combinatorial geometry"),
            column("Comb", "subject", "combinatorics"),
            column("Cnt", "subject", "counting"),
            column("DescG", "subject", "descriptive geometry"),
            column("GrphT", "subject", "graph theory"),
            column("Log", "subject", "logic"),
            column("Angle", "subject", "metric geometry - angle"),
            column("Area", "subject", "metric geometry - area"),
            column("Len", "subject", "metric geometry - length"),
            column("SolG", "subject", "solid geometry"),
            column("Stat", "subject", "statistics"),
            column("Topo", "subject", "topology"),
            column("TransG", "subject", "transformation geometry"),
        ],
        rows: include_str!("mathvision.csv"),
    },
    PublishedTable {
        benchmark: &["mmmu"],
        splits: &["val", "validation"],
        all: "ALL",
        columns: &[
            column("Art", "domain", "Art and Design"),
            column("Business", "domain", "Business"),
            column("Science", "domain", "Science"),
            column("Health", "domain", "Health and Medicine"),
            column("Humanities", "domain", "Humanities and Social Science"),
            column("Tech", "domain", "Tech and Engineering"),
        ],
        rows: include_str!("mmmu.csv"),
    },
    PublishedTable {
        benchmark: &["mathverse"],
        splits: &["testmini"],
        all: "ALL",
        columns: &[
            column("TD", "problem_version", "Text Dominant"),
            column("TL", "problem_version", "Text Lite"),
            column("VI", "problem_version", "Vision Intensive"),
            column("VD", "problem_version", "Vision Dominant"),
            column("VO", "problem_version", "Vision Only"),
        ],
        rows: include_str!("mathverse.csv"),
    },
    PublishedTable {
        benchmark: &["mmmupro"],
        splits: &["standard4", "standard4cot", "standard4options"],
        all: "Standard4",
        columns: &[],
        rows: include_str!("mmmu_pro.csv"),
    },
    PublishedTable {
        benchmark: &["mmmupro"],
        splits: &["standard10", "standard10cot", "standard10options"],
        all: "Standard10",
        columns: &[],
        rows: include_str!("mmmu_pro.csv"),
    },
    PublishedTable {
        benchmark: &["mmmupro"],
        splits: &["vision", "visioncot"],
        all: "Vision",
        columns: &[],
        rows: include_str!("mmmu_pro.csv"),
    },
];

/// The published table of a benchmark's split; none where there is none. Case, spaces and
/// punctuation of the names do not count.
pub fn find(benchmark: &str, split: &str) -> Option<&'static PublishedTable> {
    let (benchmark, split) = (plain(benchmark), plain(split));
    PUBLISHED
        .iter()
        .find(|t| t.benchmark.contains(&&*benchmark) && t.splits.contains(&&*split))
}

/// Letters and digits alone, letters small: `MMMU_Pro` and `mmmu-pro` are one name.
pub(crate) fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

impl PublishedTable {
    /// Its rows, in the file's order.
    ///
    /// # Errors
    /// Where the file is broken, which a test rules out.
    pub fn rows(&self) -> Result<Vec<PublishedRow>, Error> {
        let path = format!("published scores of {}", self.benchmark[0]);
        rows(Path::new(&path), self.rows, self.all, self.columns)
    }
}

/// Reads rows of a published table from `text`, which `path` names in errors. `all` is the column of
/// the score over all questions; columns of the file that are neither it nor in `columns` are left out,
/// those it lacks are empty.
///
/// # Errors
/// Where a line is not `model,kind,source,number...`, with the line.
pub fn rows(
    path: &Path,
    text: &str,
    all: &str,
    columns: &[Column],
) -> Result<Vec<PublishedRow>, Error> {
    let fault = |line: usize, detail: String| Error::Data {
        path: path.to_owned(),
        detail: format!("line {line}: {detail}"),
    };
    let mut lines = csv::lines(text).map_err(|(line, detail)| fault(line, detail))?;
    if lines.is_empty() {
        return Err(fault(1, "no line `model,kind,source,...`".to_owned()));
    }
    let (line, header) = lines.remove(0);
    if header.get(..3) != Some(&["model", "kind", "source"].map(str::to_owned)[..]) {
        return Err(fault(
            line,
            "the first line must name the columns: model,kind,source and then those of the scores"
                .to_owned(),
        ));
    }
    let place = |code: &str| header.iter().skip(3).position(|name| name == code);
    let (total, places): (_, Vec<_>) =
        (place(all), columns.iter().map(|c| place(c.code)).collect());
    let mut rows = Vec::with_capacity(lines.len());
    for (line, cells) in lines {
        if cells.len() != header.len() {
            return Err(fault(
                line,
                format!(
                    "{} cells, but {} columns are named",
                    cells.len(),
                    header.len()
                ),
            ));
        }
        let Some(standing) = Standing::parse(&cells[1]) else {
            return Err(fault(
                line,
                format!("kind {:?}; choose {}", cells[1], Standing::names()),
            ));
        };
        let mut values = Vec::with_capacity(cells.len() - 3);
        for cell in &cells[3..] {
            values.push(percent(cell).map_err(|detail| fault(line, detail))?);
        }
        let value = |place: Option<usize>| place.and_then(|p| values[p]);
        rows.push(PublishedRow {
            model: cells[0].clone(),
            standing,
            source: cells[2].clone(),
            all: value(total),
            values: places.iter().map(|p| value(*p)).collect(),
        });
    }
    Ok(rows)
}

fn percent(cell: &str) -> Result<Option<f64>, String> {
    if cell.is_empty() || cell == "-" {
        return Ok(None);
    }
    match cell.parse::<f64>() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(Some(value)),
        _ => Err(format!(
            "{cell:?} is not a percentage; write 0 to 100, or nothing"
        )),
    }
}

#[cfg(test)]
mod tests;
