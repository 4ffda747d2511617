//! What becomes of each question: kept, or dropped as a benchmark's, repeated or contradicted.
//!
//! Questions are the large table, so they are met first as narrow rows, the *keys*: a row number,
//! the image, a hash of what is asked and one of the id. Hashes that occur once settle nearly all
//! of them; only the few rows whose hash occurs again are then read in full and compared word by
//! word, so that an unlucky hash costs a look and never a question.
//!
//! **Invariant:** in every join the left side is the one that must fit into memory, since the right
//! one, which is streamed past it, may be all questions; hence the right joins.

use std::sync::Arc;

use arrow::array::{Array, Float64Array, Int64Array, UInt32Array};
use arrow::datatypes::Schema;
use sample::progress;

use crate::images::{Pool, register};
use crate::session::{Engine, Scratch};
use crate::write::{BatchWriter, Rejects};
use crate::{Error, SelectConfig, column, tables};

/// Row numbers of the questions that are dropped though their image is kept.
#[derive(Debug, Default)]
pub(crate) struct Dropped(Vec<i64>);

impl Dropped {
    fn register(&self, engine: &Engine) -> Result<(), Error> {
        let rows = Int64Array::from(self.0.clone());
        register(engine, "dropped", vec![("rowid", Arc::new(rows))])
    }

    /// The rows of `query`, which have a `rowid`, but for the dropped ones.
    pub fn without(&self, query: &str) -> String {
        if self.0.is_empty() {
            // Nothing to look up for millions of rows.
            return query.to_owned();
        }
        format!("select q.* from dropped d right anti join ({query}) q on q.rowid = d.rowid")
    }
}

/// Finds which images are asked about, as the table `asked_images`, and drops questions about
/// images that no table lists.
pub(crate) fn count_by_image(engine: &Engine, rejects: &mut Rejects) -> Result<(), Error> {
    let doing = "counting questions";
    let counts = "select image, count(*) as questions from samples group by image";
    engine.keep(doing, "asked_images", counts)?;
    let unlisted =
        "select a.image from asked_images a left anti join images i on i.image = a.image";
    if engine.keep(doing, "unlisted_images", unlisted)? == 0 {
        return Ok(());
    }
    let sql = "select s.id, s.source, s.image from unlisted_images u \
               join samples s on u.image = s.image order by s.image, s.id, s.rowid";
    engine.each(doing, sql, |batch| {
        let text = |name| column::text(&batch, name);
        let (id, source, image) = (text("id")?, text("source")?, text("image")?);
        for row in 0..batch.num_rows() {
            let image = image.value(row);
            let detail = format!("{image} is not in the images table of its import");
            rejects.push(source.value(row), id.value(row), "image_not_listed", detail)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Drops the questions that are a benchmark's, repeated ones and contradicted ones, and then the
/// images that have none left. Leaves the tables `keys` and `dropped`.
pub(crate) fn judge(
    engine: &Engine,
    config: &SelectConfig,
    run_seed: u64,
    pool: &mut Pool,
    scratch: &Scratch,
    rows: usize,
    rejects: &mut Rejects,
) -> Result<Dropped, Error> {
    pool.register_asked_of(engine, None)?;
    let mut dropped = Dropped::default();
    benchmark_questions(engine, &mut dropped, rejects)?;
    dropped.register(engine)?;
    let of_heldout = config.holdout.as_ref().and_then(|h| h.questions_per_image);
    let rank = match config.questions_per_image.or(of_heldout) {
        Some(_) => format!("seeded_rank({run_seed}, 'question', s.id)"),
        // All are kept, so none needs a rank.
        None => "0".to_owned(),
    };
    write_keys(engine, &rank, scratch, rows, &dropped)?;
    if suspects(engine)? > 0 {
        repeated(engine, &mut dropped, rejects)?;
        dropped.register(engine)?;
        taken_ids(engine, &mut dropped, rejects)?;
        dropped.register(engine)?;
    }
    drop_emptied(engine, pool, &dropped, rejects)?;
    Ok(dropped)
}

fn benchmark_questions(
    engine: &Engine,
    dropped: &mut Dropped,
    rejects: &mut Rejects,
) -> Result<(), Error> {
    let doing = "leaving out benchmark questions";
    let found = engine.keep(doing, "leaked", "select * from benchmark_questions")?;
    if found == 0 {
        return Ok(());
    }
    let sql = "select s.rowid, s.id, s.source, b.benchmark, b.item, b.benchmark_question \
               from asked_of o \
               join (leaked b join samples s on b.id = s.id and b.image = s.image) \
               on o.path = s.image order by s.id, s.rowid";
    engine.each(doing, sql, |batch| {
        let text = |name| column::text(&batch, name);
        let (id, source, benchmark) = (text("id")?, text("source")?, text("benchmark")?);
        let (item, question) = (text("item")?, text("benchmark_question")?);
        let rowid = column::of::<Int64Array>(&batch, "rowid")?;
        for row in 0..batch.num_rows() {
            let item = if item.is_valid(row) {
                item.value(row)
            } else {
                "a question"
            };
            let mut detail = format!("asks the same as {item} of {}", benchmark.value(row));
            if question.is_valid(row) {
                detail = format!("{detail}: {:?}", question.value(row));
            }
            let id = id.value(row);
            rejects.push(source.value(row), id, "benchmark_question", detail)?;
            dropped.0.push(rowid.value(row));
        }
        Ok(())
    })?;
    Ok(())
}

/// Writes the keys of all questions whose image is kept, and makes them the table `keys`.
fn write_keys(
    engine: &Engine,
    rank: &str,
    scratch: &Scratch,
    rows: usize,
    dropped: &Dropped,
) -> Result<(), Error> {
    let sql = dropped.without(&format!(
        "select s.rowid, o.place, text_key(o.place, asked(s.question, s.choices, s.unit)) as words, \
                text_key(0, s.id) as id, {rank} as rank \
         from asked_of o join samples s on o.path = s.image"
    ));
    let path = scratch.path("keys.parquet");
    let mut writer: Option<BatchWriter> = None;
    let bar = progress::bar("questions", rows as u64, "questions");
    let schema = engine.each("reading questions", &sql, |batch| {
        bar.inc(batch.num_rows() as u64);
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(BatchWriter::passing(&path, batch.schema())?),
        };
        writer.push(&batch)
    })?;
    bar.finish();
    let schema = Arc::new(Schema::new(schema.fields().clone()));
    let writer = match writer {
        Some(writer) => writer,
        None => BatchWriter::passing(&path, schema.clone())?,
    };
    writer.finish()?;
    let keys = tables::provider(engine, &[tables::footer(&path)?], &schema)?;
    engine.provide("keys", keys)
}

/// Finds the rows whose hash occurs again, as the table `suspects`; returns their count.
fn suspects(engine: &Engine) -> Result<usize, Error> {
    let doing = "looking for repeated questions";
    let mut again = 0;
    for what in ["words", "id"] {
        let sql = format!("select {what} from keys group by {what} having count(*) > 1");
        again += engine.keep(doing, &format!("{what}_again"), &sql)?;
    }
    if again == 0 {
        return Ok(0);
    }
    engine.keep(
        doing,
        "suspects",
        "select k.rowid, k.place, i.id is not null as id_again from id_again i \
         right join (words_again w right join keys k on w.words = k.words) on i.id = k.id \
         where w.words is not null or i.id is not null",
    )
}

/// What two answers must share to be the same.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    kind: String,
    text: String,
    value: Option<u64>,
    items: Option<String>,
}

/// Of questions that are the same about the same image, keeps the first by id; where their answers
/// differ, none, since nothing says which is true.
fn repeated(engine: &Engine, dropped: &mut Dropped, rejects: &mut Rejects) -> Result<(), Error> {
    let sql = "select p.place, p.rowid, s.id, s.source, asked(s.question, s.choices, s.unit) as words, \
                      s.answer_kind, s.answer, s.answer_value, \
                      array_to_string(s.answer_items, chr(31)) as items \
               from suspects p join samples s on s.rowid = p.rowid \
               order by p.place, words, s.id, p.rowid";
    let mut same = Same::default();
    engine.each("comparing repeated questions", sql, |batch| {
        let text = |name| column::text(&batch, name);
        let (id, source, words) = (text("id")?, text("source")?, text("words")?);
        let (kind, answer, items) = (text("answer_kind")?, text("answer")?, text("items")?);
        let value = column::of::<Float64Array>(&batch, "answer_value")?;
        let place = column::of::<UInt32Array>(&batch, "place")?;
        let rowid = column::of::<Int64Array>(&batch, "rowid")?;
        for row in 0..batch.num_rows() {
            let at = (place.value(row), words.value(row));
            if (same.place, same.words.as_str()) != at {
                same.judge(dropped, rejects)?;
                (same.place, same.words) = (at.0, at.1.to_owned());
            }
            same.questions.push(Question {
                rowid: rowid.value(row),
                id: id.value(row).to_owned(),
                source: source.value(row).to_owned(),
                answered: Answered {
                    kind: kind.value(row).to_owned(),
                    text: answer.value(row).to_owned(),
                    value: value.is_valid(row).then(|| value.value(row).to_bits()),
                    items: items.is_valid(row).then(|| items.value(row).to_owned()),
                },
            });
        }
        Ok(())
    })?;
    same.judge(dropped, rejects)
}

/// Questions that are the same about the same image, by id.
#[derive(Default)]
struct Same {
    place: u32,
    words: String,
    questions: Vec<Question>,
}

struct Question {
    rowid: i64,
    id: String,
    source: String,
    answered: Answered,
}

impl Same {
    /// Says which of them are dropped, and forgets them.
    fn judge(&mut self, dropped: &mut Dropped, rejects: &mut Rejects) -> Result<(), Error> {
        let questions = std::mem::take(&mut self.questions);
        let Some(first) = questions.first() else {
            return Ok(());
        };
        let other = questions.iter().find(|q| q.answered != first.answered);
        for (at, question) in questions.iter().enumerate() {
            let (reason, detail) = match other {
                Some(other) => {
                    let other = if question.answered == first.answered {
                        other
                    } else {
                        first
                    };
                    let (own, its) = (&question.answered.text, &other.answered.text);
                    let detail = format!("answers {own:?}; {} asks the same, {its:?}", other.id);
                    ("contradicting_answer", detail)
                }
                None if at > 0 => ("duplicate_question", format!("{} asks the same", first.id)),
                None => continue,
            };
            rejects.push(&question.source, &question.id, reason, detail)?;
            dropped.0.push(question.rowid);
        }
        Ok(())
    }
}

/// Of questions with the same id that are left, keeps the first by the path of its image.
fn taken_ids(engine: &Engine, dropped: &mut Dropped, rejects: &mut Rejects) -> Result<(), Error> {
    let left = dropped.without("select rowid, place from suspects where id_again");
    let sql = format!(
        "select s.id, s.source, s.rowid, p.place, o.image from asked_of o \
         join (({left}) p join samples s on s.rowid = p.rowid) on o.path = s.image \
         order by s.id, p.place, p.rowid"
    );
    let mut first: Option<(String, String)> = None;
    engine.each("comparing ids", &sql, |batch| {
        let text = |name| column::text(&batch, name);
        let (id, source, image) = (text("id")?, text("source")?, text("image")?);
        let rowid = column::of::<Int64Array>(&batch, "rowid")?;
        for row in 0..batch.num_rows() {
            let id = id.value(row);
            match &first {
                Some((taken, path)) if taken == id => {
                    let detail = format!("the id is taken by a question about {path}");
                    rejects.push(source.value(row), id, "duplicate_id", detail)?;
                    dropped.0.push(rowid.value(row));
                }
                _ => first = Some((id.to_owned(), image.value(row).to_owned())),
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Drops the images that have no question left.
fn drop_emptied(
    engine: &Engine,
    pool: &mut Pool,
    dropped: &Dropped,
    rejects: &mut Rejects,
) -> Result<(), Error> {
    if dropped.0.is_empty() {
        // Then every image has what it came with, and none came with nothing.
        return Ok(());
    }
    let mut gone = vec![true; pool.kept.len()];
    let left = dropped.without("select rowid, place from keys");
    let sql = format!("select distinct place from ({left})");
    engine.each("counting what is left", &sql, |batch| {
        for place in column::of::<UInt32Array>(&batch, "place")?.values() {
            gone[*place as usize] = false;
        }
        Ok(())
    })?;
    for (image, _) in pool.kept.iter().zip(&gone).filter(|(_, gone)| **gone) {
        let detail = format!("{}: none of its questions could be kept", image.path);
        rejects.push(&image.source, &image.path, "no_question", detail)?;
    }
    pool.empty(gone);
    Ok(())
}
