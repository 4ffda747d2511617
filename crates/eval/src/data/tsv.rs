//! Tables of text with a header line: VLMEvalKit's TSV files, whose images are base64 text, and CSV.
//!
//! A cell of VLMEvalKit's column `image` is one of three: base64 of an image file; a list of these as
//! Python prints one; or, where several questions have one image, the `index` of the row that has it.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::row::{LARGEST_IMAGE, LONGEST_FIELD, Row, Weighed, broken};
use crate::Error;

/// No row is longer, in bytes: nine images of the largest kind as base64.
const LONGEST_ROW: u64 = 12 * LARGEST_IMAGE as u64;
/// A text of no more bytes in an image column is the index of another row; so VLMEvalKit has it.
const LONGEST_INDEX: usize = 64;

/// Reads all rows of a file; tabs between the columns where its name ends in `.tsv`, else commas.
/// Values stay text. The columns `image` and `image_1`, `image_2`, ... hold images.
///
/// # Errors
/// Where the file cannot be read, a row has another number of cells than the header or is not UTF-8,
/// an image is not base64 or its row does not exist, or a limit of [`super::row`] is broken.
pub fn read(path: &Path) -> Result<Vec<Row>, Error> {
    let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
    let left = Rc::new(Cell::new(LONGEST_ROW));
    let limited = Limited {
        inner: file,
        left: Rc::clone(&left),
    };
    let tabs = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(if tabs { b'\t' } else { b',' })
        .from_reader(limited);
    let header = reader.headers().map_err(|e| broken(path, 0, &e))?;
    let names: Vec<String> = header
        .iter()
        .map(|name| name.trim().trim_start_matches('\u{feff}').to_owned())
        .collect();
    let (mut rows, mut weighed) = (Vec::new(), Weighed::new(path));
    let (mut by_index, mut wanted) = (HashMap::new(), Vec::new());
    let mut record = ::csv::StringRecord::new();
    loop {
        left.set(LONGEST_ROW);
        let more = reader
            .read_record(&mut record)
            .map_err(|e| broken(path, weighed.next(), &e))?;
        if !more {
            break;
        }
        let number = weighed.next();
        let mut row = Row::default();
        let mut other = Vec::new();
        for (name, cell) in names.iter().zip(&record) {
            if name.is_empty() || cell.is_empty() {
                continue;
            }
            if !holds_images(name) {
                if cell.len() > LONGEST_FIELD {
                    let detail = format!("{name:?} is longer than {LONGEST_FIELD} bytes");
                    return Err(broken(path, number, detail));
                }
                row.fields.insert(name.clone(), cell.into());
            } else if cell.len() <= LONGEST_INDEX && !cell.starts_with('[') {
                other.push((name.clone(), cell.to_owned()));
            } else {
                for image in images(cell) {
                    let bytes = image.map_err(|detail| {
                        broken(path, number, format!("the image in {name:?}: {detail}"))
                    })?;
                    row.images.push((name.clone(), bytes.into()));
                }
            }
        }
        weighed.add(&row)?;
        if let Some(index) = row.text("index") {
            by_index.insert(index.to_owned(), rows.len());
        }
        wanted.extend(
            other
                .into_iter()
                .map(|(name, index)| (rows.len(), name, index)),
        );
        rows.push(row);
    }
    for (at, name, index) in wanted {
        let shared: Vec<(String, Arc<[u8]>)> = by_index
            .get(&index)
            .map(|from| {
                rows[*from]
                    .images_of(&name)
                    .map(|i| (name.clone(), i))
                    .collect()
            })
            .unwrap_or_default();
        if shared.is_empty() {
            let detail = format!("{name:?} leads to row {index:?}, which has no such image");
            return Err(broken(path, at + 1, detail));
        }
        rows[at].images.extend(shared);
    }
    Ok(rows)
}

fn holds_images(column: &str) -> bool {
    column.strip_prefix("image").is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The images of a cell: one, or a list in brackets with each in quotes.
fn images(cell: &str) -> impl Iterator<Item = Result<Vec<u8>, String>> {
    let inner = cell
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    // Base64 has no commas and no quotes.
    inner
        .unwrap_or(cell)
        .split(if inner.is_some() { ',' } else { '\0' })
        .map(|text| text.trim().trim_matches(['\'', '"']))
        .filter(|text| !text.is_empty())
        .map(decode)
}

/// As Python's `b64decode` reads it: line ends are passed over, and what follows padding. Padding may be
/// missing.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text = text.split('=').next().unwrap_or_default();
    let text: String = text.split_ascii_whitespace().collect();
    LENIENT
        .decode(text)
        .map_err(|e| format!("is not base64: {e}"))
}

/// A reader that refuses to go on when one record has taken too much.
struct Limited<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(format!(
                "longer than {LONGEST_ROW} bytes; a quotation mark may be missing its pair"
            )));
        }
        let read = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, text: &str) -> Result<Vec<Row>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    /// Longer than an index: 51 bytes are 68 characters of base64.
    fn picture(byte: u8) -> (Vec<u8>, String) {
        let bytes = vec![byte; 51];
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        (bytes, text)
    }

    #[test]
    fn an_image_is_base64_or_a_list_or_another_rows() {
        let ((one, a), (two, b)) = (picture(1), picture(2));
        let text = format!(
            "\u{feff}index\tquestion\tA\timage\n\
             0\t\"tab\there, \"\"quoted\"\"\nand two lines\"\tx\t{a}\n\
             1\tq\t\t\"['{a}', '{b}']\"\n2\tq\t\t1\n3\tq\t\t4\n4\tq\t\t{b}\n"
        );
        let rows = table("MMMU.tsv", &text).unwrap();
        assert_eq!(
            rows[0].text("question"),
            Some("tab\there, \"quoted\"\nand two lines")
        );
        assert_eq!((rows[0].text("A"), rows[1].text("A")), (Some("x"), None));
        let seen: Vec<Vec<Vec<u8>>> = rows
            .iter()
            .map(|row| row.images_of("image").map(|i| i.to_vec()).collect())
            .collect();
        let both = vec![one.clone(), two.clone()];
        assert_eq!(
            seen,
            [vec![one], both.clone(), both, vec![two.clone()], vec![two]]
        );
    }

    #[test]
    fn base64_is_read_as_by_python() {
        for text in ["QUI=", "QUI", "Q\nUI", "QUI=QUJD", "QUJ"] {
            assert_eq!(decode(text).as_deref(), Ok(&b"AB"[..]), "{text:?}");
        }
        assert!(decode("Q*I").is_err());
    }

    #[test]
    fn commas_part_the_columns_of_other_tables() {
        let rows = table("a.csv", "id,question\n7,\"one, two\"\n").unwrap();
        assert_eq!(
            (rows[0].text("id"), rows[0].text("question")),
            (Some("7"), Some("one, two"))
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_row() {
        let long = "!".repeat(80);
        for (text, wanted) in [
            ("index\timage\n0\t7\n".to_owned(), "leads to row \"7\""),
            (format!("index\timage\n0\t{long}\n"), "not base64"),
            (format!("index\timage\n0\t['{long}']\n"), "not base64"),
            ("a\tb\n1\t2\t3\n".to_owned(), "3 fields"),
        ] {
            let error = table("a.tsv", &text).unwrap_err().to_string();
            assert!(error.contains("row 1") && error.contains(wanted), "{error}");
        }
        assert_eq!(table("a.tsv", "").unwrap(), []);
    }

    #[test]
    fn a_record_without_an_end_is_not_held_in_memory() {
        let left = Rc::new(Cell::new(10));
        let mut limited = Limited {
            inner: io::repeat(b'x'),
            left,
        };
        let mut buffer = [0; 8];
        assert_eq!(limited.read(&mut buffer).unwrap(), 8);
        assert_eq!(limited.read(&mut buffer).unwrap(), 8);
        assert!(
            limited
                .read(&mut buffer)
                .unwrap_err()
                .to_string()
                .contains("quotation mark")
        );
    }
}
