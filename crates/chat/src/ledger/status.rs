//! What a ledger tells people: progress, spend, rates, faults, verdicts.

use std::fmt;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::{Error, Ledger};

/// Where everything stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// By stage and kind.
    pub groups: Vec<Group>,
    /// By model.
    pub models: Vec<ModelSpend>,
    /// How tries ended, most frequent first.
    pub outcomes: Vec<Outcome>,
    /// Why requests were refused, and what stages made of the replies.
    pub verdicts: Vec<VerdictCount>,
    /// Replies in a second, over the last minute of work.
    pub rate: f64,
}

/// The requests of one stage and kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Group {
    /// The stage.
    pub stage: String,
    /// What was asked for.
    pub kind: String,
    /// Requests that were sent or settled.
    pub requests: u64,
    /// Of those, answered or refused.
    pub settled: u64,
    /// With a reply.
    pub answered: u64,
    /// Never to have one.
    pub refused: u64,
    /// On their way.
    pub in_flight: u64,
    /// Tries that were on their way when their process ended.
    pub lost: u64,
    /// All tries.
    pub tries: u64,
    /// Read by the models.
    pub prompt_tokens: u64,
    /// Written by them.
    pub completion_tokens: u64,
    /// Known to be spent.
    pub cost: f64,
    /// May be spent beyond that.
    pub reserved: f64,
    /// Of answered tries outside batches, in seconds.
    pub mean_latency_s: f64,
}

/// What one model has cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelSpend {
    /// The model.
    pub model: String,
    /// All tries.
    pub tries: u64,
    /// Read by it.
    pub prompt_tokens: u64,
    /// Written by it.
    pub completion_tokens: u64,
    /// Known to be spent.
    pub cost: f64,
    /// May be spent beyond that.
    pub reserved: f64,
}

/// How many tries ended in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The server.
    pub server: String,
    /// `answered`, a fault's word, `lost`, `in_flight`.
    pub outcome: String,
    /// How many.
    pub tries: u64,
}

/// How many pairs got one verdict for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerdictCount {
    /// The kind of request.
    pub kind: String,
    /// `kept`, `rejected`; `refused` where there was no reply to judge.
    pub verdict: String,
    /// The reason.
    pub reason: String,
    /// How many.
    pub pairs: u64,
}

impl Ledger {
    /// Where everything stands.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        self.read(|connection| {
            Ok(Status {
                groups: groups(connection)?,
                models: all(
                    connection,
                    "SELECT model, sum(tries), sum(prompt_tokens), sum(completion_tokens),
                        sum(cost), sum(reserved) FROM spend GROUP BY model ORDER BY model",
                    |row| {
                        Ok(ModelSpend {
                            model: row.get(0)?,
                            tries: row.get(1)?,
                            prompt_tokens: row.get(2)?,
                            completion_tokens: row.get(3)?,
                            cost: row.get(4)?,
                            reserved: row.get(5)?,
                        })
                    },
                )?,
                outcomes: all(
                    connection,
                    "SELECT server, coalesce(outcome, 'in_flight'), count(*) FROM tries
                     GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2",
                    |row| {
                        Ok(Outcome {
                            server: row.get(0)?,
                            outcome: row.get(1)?,
                            tries: row.get(2)?,
                        })
                    },
                )?,
                verdicts: all(
                    connection,
                    "SELECT r.kind, v.verdict, v.reason, count(*) AS n
                     FROM verdicts v JOIN requests r USING (digest) GROUP BY 1, 2, 3
                     UNION ALL
                     SELECT r.kind, 'refused', f.reason, count(*)
                     FROM refusals f JOIN requests r USING (digest) GROUP BY 1, 2, 3
                     ORDER BY 1, 2, 4 DESC, 3",
                    |row| {
                        Ok(VerdictCount {
                            kind: row.get(0)?,
                            verdict: row.get(1)?,
                            reason: row.get(2)?,
                            pairs: row.get(3)?,
                        })
                    },
                )?,
                rate: connection.query_row(
                    "WITH last AS (SELECT max(at) AS at FROM replies)
                     SELECT coalesce(count(*) / max(1.0, max(r.at) - min(r.at)), 0)
                     FROM replies r, last WHERE r.at > last.at - 60",
                    [],
                    |row| row.get(0),
                )?,
            })
        })
    }
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

fn groups(connection: &Connection) -> rusqlite::Result<Vec<Group>> {
    all(
        connection,
        "WITH asked AS (
            SELECT stage, kind, count(*) AS requests, sum(state = 'answered') AS answered,
                sum(state = 'refused') AS refused FROM requests GROUP BY 1, 2),
         tried AS (
            SELECT r.stage, r.kind, count(*) AS tries,
                count(DISTINCT iif(t.outcome IS NULL, t.digest, NULL)) AS in_flight,
                sum(coalesce(t.outcome, '') = 'lost') AS lost,
                coalesce(sum(t.prompt_tokens), 0) AS prompt_tokens,
                coalesce(sum(t.completion_tokens), 0) AS completion_tokens,
                sum(t.cost) AS cost, sum(t.reserved) AS reserved,
                coalesce(avg(iif(t.outcome = 'answered' AND t.batch IS NULL, t.latency_s, NULL)), 0.0) AS latency
            FROM tries t JOIN requests r USING (digest) GROUP BY 1, 2)
         SELECT a.stage, a.kind, a.requests, a.answered, a.refused,
            coalesce(t.in_flight, 0), coalesce(t.lost, 0), coalesce(t.tries, 0),
            coalesce(t.prompt_tokens, 0), coalesce(t.completion_tokens, 0),
            coalesce(t.cost, 0.0), coalesce(t.reserved, 0.0), coalesce(t.latency, 0.0)
         FROM asked a LEFT JOIN tried t USING (stage, kind) ORDER BY 1, 2",
        |row| {
            let (answered, refused): (u64, u64) = (row.get(3)?, row.get(4)?);
            Ok(Group {
                stage: row.get(0)?,
                kind: row.get(1)?,
                requests: row.get(2)?,
                settled: answered + refused,
                answered,
                refused,
                in_flight: row.get(5)?,
                lost: row.get(6)?,
                tries: row.get(7)?,
                prompt_tokens: row.get(8)?,
                completion_tokens: row.get(9)?,
                cost: row.get(10)?,
                reserved: row.get(11)?,
                mean_latency_s: row.get(12)?,
            })
        },
    )
}

/// Columns of their widest cell; the first line is the heading.
pub(crate) fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let cells = lines.iter().filter_map(|line| line.get(at));
            cells.map(|c| c.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| {
                if cell.parse::<f64>().is_ok() {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn heading(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![heading(&[
            "stage",
            "kind",
            "requests",
            "answered",
            "refused",
            "in flight",
            "lost",
            "tries",
            "tokens in",
            "tokens out",
            "cost",
            "at risk",
            "latency",
        ])];
        for g in &self.groups {
            lines.push(vec![
                g.stage.clone(),
                g.kind.clone(),
                g.requests.to_string(),
                g.answered.to_string(),
                g.refused.to_string(),
                g.in_flight.to_string(),
                g.lost.to_string(),
                g.tries.to_string(),
                g.prompt_tokens.to_string(),
                g.completion_tokens.to_string(),
                format!("{:.4}", g.cost),
                format!("{:.4}", g.reserved),
                format!("{:.2}", g.mean_latency_s),
            ]);
        }
        table(f, &lines)?;
        writeln!(
            f,
            "\n{:.1} replies/s over the last minute of work",
            self.rate
        )?;
        if !self.models.is_empty() {
            let mut lines = vec![heading(&[
                "model",
                "tries",
                "tokens in",
                "tokens out",
                "cost",
                "at risk",
            ])];
            lines.extend(self.models.iter().map(|m| {
                vec![
                    m.model.clone(),
                    m.tries.to_string(),
                    m.prompt_tokens.to_string(),
                    m.completion_tokens.to_string(),
                    format!("{:.4}", m.cost),
                    format!("{:.4}", m.reserved),
                ]
            }));
            writeln!(f)?;
            table(f, &lines)?;
        }
        if !self.outcomes.is_empty() {
            let mut lines = vec![heading(&["server", "outcome", "tries"])];
            lines.extend(
                self.outcomes
                    .iter()
                    .map(|o| vec![o.server.clone(), o.outcome.clone(), o.tries.to_string()]),
            );
            writeln!(f)?;
            table(f, &lines)?;
        }
        if !self.verdicts.is_empty() {
            let mut lines = vec![heading(&["kind", "verdict", "reason", "pairs"])];
            lines.extend(self.verdicts.iter().map(|v| {
                vec![
                    v.kind.clone(),
                    v.verdict.clone(),
                    v.reason.clone(),
                    v.pairs.to_string(),
                ]
            }));
            writeln!(f)?;
            table(f, &lines)?;
        }
        Ok(())
    }
}
