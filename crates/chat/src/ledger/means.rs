//! What a ledger has learned of a model, for better forecasts.

use std::collections::BTreeMap;

use super::{Error, Ledger};

/// Fewer replies than this say little.
const ENOUGH: u64 = 20;

/// Tokens that prompts really had, as multiples of those that were estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// In the mean.
    pub mean: f64,
    /// At most.
    pub worst: f64,
}

impl Ledger {
    /// How many times the tokens that were estimated `model`'s prompts really had; 1 in the mean
    /// where too few are known.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn calibration(&self, model: &str) -> Result<Calibration, Error> {
        self.read(|connection| {
            connection.query_row(
                "SELECT count(*), sum(t.prompt_tokens) * 1.0 / sum(t.estimated_tokens),
                    max(t.prompt_tokens * 1.0 / t.estimated_tokens)
                 FROM tries t JOIN requests r USING (digest)
                 WHERE r.model = ?1 AND t.prompt_tokens > 0 AND t.estimated_tokens > 0",
                [model],
                |row| {
                    let count: u64 = row.get(0)?;
                    Ok(Calibration {
                        mean: if count < ENOUGH { 1.0 } else { row.get(1)? },
                        worst: row.get::<_, Option<f64>>(2)?.unwrap_or(1.0),
                    })
                },
            )
        })
    }

    /// The mean tokens of `model`'s replies by stage and kind, where enough are known.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn mean_completions(&self, model: &str) -> Result<BTreeMap<(String, String), f64>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT r.stage, r.kind, avg(p.completion_tokens)
                     FROM replies p JOIN requests r USING (digest)
                     WHERE r.model = ?1 AND p.completion_tokens > 0
                     GROUP BY 1, 2 HAVING count(*) >= ?2",
                )?
                .query_map(rusqlite::params![model, ENOUGH], |row| {
                    Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
                })?
                .collect()
        })
    }
}
