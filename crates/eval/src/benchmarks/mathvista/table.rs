//! VLMEvalKit's tables, as rows: tab-separated, with a header and quotes as `pandas` writes them.

use std::path::Path;

use crate::Error;
use crate::data::json::{Json, Row};

/// The rows of a table; empty fields are `null`.
pub(super) fn rows(path: &Path) -> Result<Vec<Row>, Error> {
    let wrong = |e: csv::Error| Error::Data {
        path: path.to_owned(),
        detail: format!("is no table with tabs: {e}"),
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .flexible(true)
        .from_path(path)
        .map_err(wrong)?;
    let names: Vec<String> = reader
        .headers()
        .map_err(wrong)?
        .iter()
        .map(str::to_owned)
        .collect();
    let mut rows = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(wrong)?;
        let entries = names.iter().zip(record.iter()).map(|(name, field)| {
            let value = match field {
                "" => Json::Null,
                text => Json::String(text.to_owned()),
            };
            (name.clone(), value)
        });
        rows.push(Row {
            key: None,
            line: at + 1,
            value: Json::Object(entries.collect()),
        });
    }
    Ok(rows)
}
