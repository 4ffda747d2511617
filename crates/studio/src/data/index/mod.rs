//! A table held so that its rows are filtered, counted, searched and shown without reading it again.
//!
//! What a list shows of a row (its name, question, answer and choices) and what it is filtered by
//! stays in memory; all else of a row is read from the file where one row is looked at
//! ([`rows::Reader`]). The index of 360,000 questions takes some hundred megabytes and is made once.
//!
//! **Invariant:** an index is of one state of its table: it is known by the stamp of the stage's
//! manifest, and reads the file that it has open, whatever takes its name later.

mod facet;
mod matches;
mod rows;
mod texts;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray};
use sample::scan::Table;
use sample::{MadePair, Reject, Sample};

use super::listing::{Kind, Listed};
use super::opened::{Progress, Weight};
use super::provenance::{Digest, Provenance, digest};
use crate::Error;

pub(crate) use facet::{Facet, NONE};
pub(crate) use matches::{Matches, Order, Wanted};
use texts::Texts;

/// Tables of more rows are for SQL.
const MOST_ROWS: u64 = 4_000_000;
/// Where a row has no image.
const NO_IMAGE: u32 = u32::MAX;

/// A table, ready to be looked through.
pub(crate) struct Index {
    /// The table.
    pub listed: Listed,
    /// What its rows are filtered by.
    pub facets: Vec<Facet>,
    /// Each row's name.
    ids: Texts,
    /// What is shown, in fields.
    texts: Texts,
    /// The same in small letters, which is what is searched.
    lowered: Texts,
    /// Hashes of names, with their rows, in order.
    by_id: Vec<(u64, u32)>,
    /// Each row's image, as a place in `digests`.
    images: Vec<u32>,
    digests: Vec<Digest>,
    reader: rows::Reader,
    found: matches::Found,
}

/// What a list shows of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its question, or what was wrong with it.
    pub text: &'a str,
    /// Its answer as it is printed.
    pub answer: &'a str,
    /// The answer's unit, where it has one.
    pub unit: &'a str,
    /// Its choices.
    pub choices: Vec<&'a str>,
}

impl Weight for Index {
    fn bytes(&self) -> usize {
        let facets: usize = self.facets.iter().map(Facet::size).sum();
        let rows =
            self.images.len() * size_of::<u32>() + self.by_id.len() * size_of::<(u64, u32)>();
        self.ids.size()
            + self.texts.size()
            + self.lowered.size()
            + rows
            + facets
            + self.digests.len() * size_of::<Digest>()
    }
}

impl Index {
    /// Reads a table.
    ///
    /// # Errors
    /// Where it is no such table, or too large to be held.
    pub fn read(listed: &Listed, known: &Provenance, progress: &Progress) -> Result<Index, Error> {
        let path = &listed.file;
        let table = Table::open(path)?;
        if table.rows() > MOST_ROWS {
            return Err(Error::Failed(format!(
                "{}: {} rows; tables of up to {MOST_ROWS} rows are listed here, larger ones can be \
                 asked with SQL",
                listed.name,
                table.rows()
            )));
        }
        progress.expect(table.rows());
        let mut index = Index {
            listed: listed.clone(),
            facets: facets(listed.kind),
            ids: Texts::default(),
            texts: Texts::default(),
            lowered: Texts::default(),
            by_id: Vec::new(),
            images: Vec::new(),
            digests: Vec::new(),
            reader: rows::Reader::open(path)?,
            found: matches::Found::default(),
        };
        let verdicts = match listed.kind {
            Kind::Samples => known.verdicts(&listed.stage)?,
            Kind::Rejects | Kind::Pairs => Default::default(),
        };
        let mut codes = std::collections::HashMap::new();
        for batch in table.batches(columns(listed.kind))? {
            let batch = batch?;
            index
                .add(&batch, known, &verdicts, &mut codes)
                .map_err(|e| sample::Error::format(path, e))?;
            progress.add(batch.num_rows() as u64);
        }
        // What says nothing is not offered: no row has it, or all have the same.
        index
            .facets
            .retain(|facet| facet.values.len() > 1 || is_always_shown(facet.key));
        index.by_id.sort_unstable();
        Ok(index)
    }

    fn add(
        &mut self,
        batch: &RecordBatch,
        known: &Provenance,
        verdicts: &super::provenance::Verdicts,
        codes: &mut std::collections::HashMap<Digest, u32>,
    ) -> Result<(), String> {
        let columns = Columns(batch);
        let rejects = self.listed.kind == Kind::Rejects;
        let ids = columns.text(if rejects { "row" } else { "id" })?;
        let texts = columns.text(if rejects { "detail" } else { "question" })?;
        let answers = columns.optional("answer")?;
        let units = columns.optional("unit")?;
        let choices = match batch.column_by_name("choices") {
            Some(column) => Some(
                column
                    .as_list_opt::<i32>()
                    .ok_or("column \"choices\" is not a list")?,
            ),
            None => None,
        };
        let digests = columns.optional("image_sha256")?;
        let mut by_column = Vec::new();
        for facet in &self.facets {
            by_column.push(match facet.key {
                "kind" if self.listed.kind == Kind::Samples => columns.optional("augmentation")?,
                "form" => columns.optional("answer_kind")?,
                "verdict" if self.listed.kind == Kind::Samples => None,
                key => columns.optional(key)?,
            });
        }
        for row in 0..batch.num_rows() {
            let id = value(Some(ids), row).unwrap_or_default();
            let (answer, unit) = (value(answers, row), value(units, row));
            let fields = [
                value(Some(texts), row).unwrap_or_default(),
                answer.unwrap_or_default(),
                unit.unwrap_or_default(),
            ];
            let listed = choices.map(|column| list(column, row)).transpose()?;
            let listed = listed.unwrap_or_default();
            let fields: Vec<&str> = fields.into_iter().chain(listed).collect();
            let lowered: Vec<String> = fields.iter().map(|field| field.to_lowercase()).collect();
            let fits = self.ids.push([id])
                && self.texts.push(fields)
                && self.lowered.push(lowered.iter().map(String::as_str));
            if !fits {
                return Err(
                    "its texts are longer than can be held; ask it with SQL instead".to_owned(),
                );
            }
            let at = u32::try_from(self.images.len()).map_err(|_| "has too many rows")?;
            self.by_id
                .push((hash(self.ids.get(self.ids.len() - 1)), at));
            let image = value(digests, row).and_then(digest);
            self.images.push(match image {
                None => NO_IMAGE,
                Some(image) => *codes.entry(image).or_insert_with(|| {
                    self.digests.push(image);
                    u32::try_from(self.digests.len() - 1).unwrap_or(NO_IMAGE)
                }),
            });
            let facts = image.and_then(|image| known.image(&image));
            for (facet, column) in self.facets.iter_mut().zip(&by_column) {
                let kept = value(*column, row);
                match facet.key {
                    "level" => {
                        let level = facts
                            .and_then(|facts| facts.level)
                            .map(|level| level.to_string());
                        facet.push(level.as_deref());
                    }
                    "clarity" => facet.push(facts.and_then(|facts| facts.clarity_word())),
                    "kind" => facet.push(Some(kept.unwrap_or("source"))),
                    "verdict" if column.is_none() => facet.push(verdicts.of(id)),
                    _ => facet.push(kept),
                }
            }
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// What a list shows of a row.
    pub fn line(&self, row: usize) -> Line<'_> {
        let mut fields = self.texts.fields(row);
        let mut next = || fields.next().unwrap_or_default();
        let (text, answer, unit) = (next(), next(), next());
        Line {
            id: self.ids.get(row),
            text,
            answer,
            unit,
            choices: fields.collect(),
        }
    }

    /// The rows of a name: one of a sample, any number of a rejected image.
    pub fn named(&self, id: &str) -> Vec<usize> {
        let hash = hash(id);
        let from = self.by_id.partition_point(|(other, _)| *other < hash);
        let same = self.by_id[from..]
            .iter()
            .take_while(|(other, _)| *other == hash);
        same.map(|(_, row)| *row as usize)
            .filter(|row| self.ids.get(*row) == id)
            .collect()
    }

    /// The digest of a row's image.
    pub fn image(&self, row: usize) -> Option<Digest> {
        let code = *self.images.get(row)?;
        self.digests.get(code as usize).copied()
    }

    /// Other rows with the same image, in order; at most `most`, and how many there are.
    pub fn sharing_image(&self, row: usize, most: usize) -> (Vec<usize>, usize) {
        let Some(&code) = self.images.get(row).filter(|code| **code != NO_IMAGE) else {
            return (Vec::new(), 0);
        };
        let same = self.images.iter().enumerate();
        let same = same
            .filter(|(at, other)| **other == code && *at != row)
            .map(|(at, _)| at);
        let mut all: Vec<usize> = same.collect();
        let count = all.len();
        all.truncate(most);
        (all, count)
    }

    /// The column of that name.
    pub fn facet(&self, key: &str) -> Option<&Facet> {
        self.facets.iter().find(|facet| facet.key == key)
    }

    /// The rows that are wanted, with counts.
    pub fn matches(&self, wanted: &Wanted) -> Arc<Matches> {
        self.found.get(wanted, || matches::find(self, wanted))
    }

    /// All of one sample.
    pub fn sample(&self, row: usize) -> Result<Sample, Error> {
        self.reader.row(row)
    }

    /// All of one made pair.
    pub fn pair(&self, row: usize) -> Result<MadePair, Error> {
        self.reader.row(row)
    }

    /// All of one reject.
    pub fn reject(&self, row: usize) -> Result<Reject, Error> {
        self.reader.row(row)
    }
}

fn facets(kind: Kind) -> Vec<Facet> {
    let all: &[(&str, &str)] = match kind {
        Kind::Samples => &[
            ("source", "Source"),
            ("task", "Task"),
            ("level", "Level of complexity"),
            ("clarity", "Clarity"),
            ("kind", "Kind"),
            ("verdict", "Verdict"),
            ("form", "Form of answer"),
            ("language", "Language"),
        ],
        Kind::Pairs => &[
            ("source", "Source"),
            ("task", "Task"),
            ("kind", "Kind"),
            ("verdict", "Verdict"),
            ("reason", "Reason"),
        ],
        Kind::Rejects => &[("source", "Source"), ("reason", "Reason")],
    };
    all.iter()
        .map(|&(key, label)| Facet::new(key, label))
        .collect()
}

fn is_always_shown(key: &str) -> bool {
    matches!(key, "source" | "task" | "reason")
}

fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Samples => &[
            "id",
            "question",
            "answer",
            "unit",
            "choices",
            "image_sha256",
            "source",
            "task",
            "augmentation",
            "answer_kind",
            "language",
        ],
        Kind::Pairs => &[
            "id",
            "question",
            "answer",
            "choices",
            "image_sha256",
            "source",
            "task",
            "kind",
            "verdict",
            "reason",
        ],
        Kind::Rejects => &["source", "row", "reason", "detail"],
    }
}

fn hash(id: &str) -> u64 {
    let mut hash = DefaultHasher::new();
    id.hash(&mut hash);
    hash.finish()
}

/// A batch's columns by name.
pub(super) struct Columns<'a>(pub &'a RecordBatch);

impl<'a> Columns<'a> {
    pub fn text(&self, name: &str) -> Result<&'a StringArray, String> {
        self.optional(name)?.ok_or_else(|| {
            format!("has no column {name:?}; was it written by another version or tool?")
        })
    }

    pub fn optional(&self, name: &str) -> Result<Option<&'a StringArray>, String> {
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(None);
        };
        let texts = column.as_string_opt::<i32>();
        texts
            .map(Some)
            .ok_or_else(|| format!("column {name:?} is not text"))
    }
}

pub(super) fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row))
}

fn list(column: &ListArray, row: usize) -> Result<Vec<&str>, String> {
    let items = column.values().as_string_opt::<i32>();
    let items = items.ok_or("column \"choices\" is not a list of text")?;
    let bound = |at: usize| {
        column
            .value_offsets()
            .get(at)
            .and_then(|at| usize::try_from(*at).ok())
    };
    let (Some(from), Some(to)) = (bound(row), bound(row + 1)) else {
        return Ok(Vec::new());
    };
    Ok((from..to)
        .map(|at| value(Some(items), at).unwrap_or_default())
        .collect())
}
