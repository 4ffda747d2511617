//! Tables of text with a header line, separated by commas or tabs.

use std::ops::ControlFlow;

use super::json_lines::broken;
use super::{Each, MAX_ROW, Row};
use crate::Error;
use crate::adapters::Fault;
use crate::tree::Tree;

/// Calls `each` with every record as a JSON object of texts by column, named by its position.
/// Columns without a name are left out; where two have the same name, the last one counts.
pub(super) fn rows(
    tree: &Tree,
    file: &str,
    delimiter: u8,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        // Tables of tabs are written by hand, with quotes as inches and feet.
        .quoting(delimiter == b',')
        .flexible(true)
        .from_reader(tree.stream(file)?);
    let names: Vec<String> = reader
        .byte_headers()
        .map_err(|e| broken(tree, file, 0, &e))?
        .iter()
        .map(|name| {
            String::from_utf8_lossy(name)
                .trim()
                .trim_start_matches('\u{FEFF}')
                .to_owned()
        })
        .collect();
    let mut record = ::csv::ByteRecord::new();
    let (mut position, mut before) = (0u64, reader.position().byte());
    while reader
        .read_byte_record(&mut record)
        .map_err(|e| broken(tree, file, position, &e))?
    {
        let bytes = reader.position().byte() - before;
        before += bytes;
        let text = if record.as_slice().len() > MAX_ROW {
            Err(Fault::new(
                "row_too_long",
                format!("{bytes} bytes: over the limit of {MAX_ROW}"),
            ))
        } else if record.len() > names.len() {
            let detail = format!("{} fields under {} column names", record.len(), names.len());
            Err(Fault::new("row_shape", detail))
        } else {
            let fields = names
                .iter()
                .zip(&record)
                .filter(|(name, _)| !name.is_empty());
            let object: serde_json::Map<String, serde_json::Value> = fields
                .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into()))
                .collect();
            Ok(serde_json::Value::Object(object).to_string())
        };
        let row = Row {
            key: position.to_string(),
            text,
            joined: None,
            image: None,
            bytes,
        };
        position += 1;
        if each(row)? == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_objects_and_odd_ones_faults() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\u{FEFF}name,Question,\na.png,\"one, or\ntwo?\",x\nb.png\nc.png,q,x,y\nd.png,\"5\" tall\",x\n";
        std::fs::write(dir.path().join("rows.csv"), text).unwrap();
        std::fs::write(dir.path().join("rows.tsv"), "name\tq\na\t5\" tall\n").unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let read = |file: &str, delimiter: u8| {
            let mut seen = Vec::new();
            rows(&tree, file, delimiter, &mut |row| {
                seen.push(row.text.map_err(|f| f.reason));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            seen
        };
        let seen = read("rows.csv", b',');
        assert_eq!(
            seen[0].as_deref(),
            Ok(r#"{"name":"a.png","Question":"one, or\ntwo?"}"#)
        );
        assert_eq!(seen[1].as_deref(), Ok(r#"{"name":"b.png"}"#));
        assert_eq!(seen[2], Err("row_shape"));
        assert_eq!(
            read("rows.tsv", b'\t')[0].as_deref(),
            Ok(r#"{"name":"a","q":"5\" tall"}"#)
        );
    }
}
