//! Two tables that stages hand each other about synthesis: what benchmarks ask, and what became of
//! every pair that a teacher made.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::table::{Columns, Row, field, list_type, lists, optional, strings};

/// File name of the benchmarks' questions in an inspect folder.
pub const BENCHMARK_QUESTIONS: &str = "benchmark_questions.parquet";
/// File name of the made pairs in a synth folder.
pub const PAIRS: &str = "pairs.parquet";

/// A question of a benchmark, whose like must stay out of the training data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchmarkQuestion {
    /// The benchmark's name.
    pub benchmark: String,
    /// The benchmark's item.
    pub item: String,
    /// What it asks.
    pub question: String,
}

impl Row for BenchmarkQuestion {
    fn schema() -> SchemaRef {
        let names = ["benchmark", "item", "question"];
        Arc::new(Schema::new(
            names.map(|n| field(n, DataType::Utf8, false)).to_vec(),
        ))
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            strings(rows.iter().map(|r| r.benchmark.as_str())),
            strings(rows.iter().map(|r| r.item.as_str())),
            strings(rows.iter().map(|r| r.question.as_str())),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        (0..batch.num_rows())
            .map(|row| {
                Ok(BenchmarkQuestion {
                    benchmark: c.required("benchmark", row)?,
                    item: c.required("item", row)?,
                    question: c.required("question", row)?,
                })
            })
            .collect()
    }
}

/// A pair that a teacher made, kept or not, with what it was made from and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadePair {
    /// The id that the sample has, or would have had.
    pub id: String,
    /// `askimg`, `compq`, `rephq`, `simpq`.
    pub kind: String,
    /// The source of the parent.
    pub source: String,
    /// The task's short name.
    pub task: String,
    /// The image, as samples write it.
    pub image: String,
    /// Of its bytes, in hex.
    pub image_sha256: String,
    /// The id of the pair it was made from.
    pub parent: String,
    /// What the parent asks.
    pub parent_question: String,
    /// The value of the parent's answer.
    pub parent_answer: String,
    /// The new question.
    pub question: String,
    /// Its choices.
    pub choices: Vec<String>,
    /// The value of its answer, as it was settled; for rejected pairs as the teacher gave it.
    pub answer: String,
    /// What the teacher said the answer is, where that is something else.
    pub given: Option<String>,
    /// The blind answers, in the order they were asked for.
    pub votes: Vec<String>,
    /// What speaks for it: `proven`, `agreed`, `inherited`, `form`; for rejected pairs `rejected`.
    pub verdict: String,
    /// Why it was rejected, in a short fixed word.
    pub reason: Option<String>,
    /// The exact trouble.
    pub detail: Option<String>,
    /// The request that made it: a row of the ledger.
    pub digest: String,
}

impl Row for MadePair {
    fn schema() -> SchemaRef {
        let text = |name| field(name, DataType::Utf8, false);
        let maybe = |name| field(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            text("id"),
            text("kind"),
            text("source"),
            text("task"),
            text("image"),
            text("image_sha256"),
            text("parent"),
            text("parent_question"),
            text("parent_answer"),
            text("question"),
            field("choices", list_type(), false),
            text("answer"),
            maybe("given"),
            field("votes", list_type(), false),
            text("verdict"),
            maybe("reason"),
            maybe("detail"),
            text("digest"),
        ]))
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            strings(rows.iter().map(|r| r.id.as_str())),
            strings(rows.iter().map(|r| r.kind.as_str())),
            strings(rows.iter().map(|r| r.source.as_str())),
            strings(rows.iter().map(|r| r.task.as_str())),
            strings(rows.iter().map(|r| r.image.as_str())),
            strings(rows.iter().map(|r| r.image_sha256.as_str())),
            strings(rows.iter().map(|r| r.parent.as_str())),
            strings(rows.iter().map(|r| r.parent_question.as_str())),
            strings(rows.iter().map(|r| r.parent_answer.as_str())),
            strings(rows.iter().map(|r| r.question.as_str())),
            lists(rows.iter().map(|r| r.choices.as_slice())),
            strings(rows.iter().map(|r| r.answer.as_str())),
            optional(rows.iter().map(|r| r.given.as_deref())),
            lists(rows.iter().map(|r| r.votes.as_slice())),
            strings(rows.iter().map(|r| r.verdict.as_str())),
            optional(rows.iter().map(|r| r.reason.as_deref())),
            optional(rows.iter().map(|r| r.detail.as_deref())),
            strings(rows.iter().map(|r| r.digest.as_str())),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        (0..batch.num_rows())
            .map(|row| {
                Ok(MadePair {
                    id: c.required("id", row)?,
                    kind: c.required("kind", row)?,
                    source: c.required("source", row)?,
                    task: c.required("task", row)?,
                    image: c.required("image", row)?,
                    image_sha256: c.required("image_sha256", row)?,
                    parent: c.required("parent", row)?,
                    parent_question: c.required("parent_question", row)?,
                    parent_answer: c.required("parent_answer", row)?,
                    question: c.required("question", row)?,
                    choices: c.list("choices", row)?,
                    answer: c.required("answer", row)?,
                    given: c.optional("given", row)?,
                    votes: c.list("votes", row)?,
                    verdict: c.required("verdict", row)?,
                    reason: c.optional("reason", row)?,
                    detail: c.optional("detail", row)?,
                    digest: c.required("digest", row)?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_table, write_table};

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let text = |n: usize| format!("t{n}");
        let row = MadePair {
            id: text(1),
            kind: text(2),
            source: text(3),
            task: text(4),
            image: text(5),
            image_sha256: text(16),
            parent: text(6),
            parent_question: text(7),
            parent_answer: text(8),
            question: text(9),
            choices: vec![text(10), text(11)],
            answer: text(12),
            given: None,
            votes: vec![],
            verdict: text(13),
            reason: Some(text(14)),
            detail: None,
            digest: text(15),
        };
        let path = dir.path().join(PAIRS);
        write_table(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read_table::<MadePair>(&path).unwrap(), [row]);
        let question = BenchmarkQuestion {
            benchmark: text(1),
            item: text(2),
            question: text(3),
        };
        let path = dir.path().join(BENCHMARK_QUESTIONS);
        write_table(&path, std::slice::from_ref(&question)).unwrap();
        assert_eq!(read_table::<BenchmarkQuestion>(&path).unwrap(), [question]);
    }
}
