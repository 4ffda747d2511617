//! Event files as TensorBoard reads them, with scalars only.
//!
//! A file is a sequence of records (TFRecord: length, its checksum, bytes, their checksum; the
//! checksums are CRC-32C, rotated and shifted so that one over data that holds checksums is none of
//! theirs), each an `Event` protocol buffer:
//! <https://www.tensorflow.org/tutorials/load_data/tfrecord>,
//! <https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto>.
//! Four kinds of field are needed of protocol buffers, which is less than a dependency brings.
//!
//! Every start of a run has a file of its own, which opens with the step it goes on from: TensorBoard
//! drops what earlier files have beyond it. Steps are counted by the updates made, so the first step's
//! loss is at 1. That TensorBoard itself reads these files is checked by
//! `tests/tensorboard/read_events.py`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// What event files' names begin with; TensorBoard looks for it.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that is being written.
#[derive(Debug)]
pub(crate) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Starts a file in `folder` for a run that has made `step` steps; a run from the beginning takes
    /// the place of what an earlier one left.
    pub(crate) fn create(folder: &Path, step: u64) -> Result<Events, Error> {
        let io = |e| sample::Error::io(folder, e);
        fs::create_dir_all(folder).map_err(io)?;
        let mut last = 0;
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if step == 0 {
                fs::remove_file(entry.path()).map_err(io)?;
            } else {
                let seconds = rest.split('.').next().and_then(|s| s.parse::<u64>().ok());
                last = last.max(seconds.unwrap_or(0));
            }
        }
        // Files are read in the order of their names.
        let seconds = (now() as u64).max(last + 1);
        let path = folder.join(format!("{PREFIX}{seconds:010}.fit"));
        let file = File::create(&path).map_err(|e| sample::Error::io(&path, e))?;
        let mut events = Events { path, file };
        events.put(step, &bytes_field(3, b"brain.Event:2"))?;
        if step > 0 {
            // SessionLog { status: START }: what was logged at this step or later is void.
            events.put(step + 1, &bytes_field(7, &[0x08, 1]))?;
        }
        Ok(events)
    }

    /// Adds values by their tags.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), Error> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = bytes_field(1, tag.as_bytes());
            entry.push(2 << 3 | 5); // simple_value, four bytes
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(bytes_field(1, &entry));
        }
        self.put(step, &bytes_field(5, &summary))
    }

    /// Adds an event with `what` in it.
    fn put(&mut self, step: u64, what: &[u8]) -> Result<(), Error> {
        let mut event = vec![1 << 3 | 1]; // wall_time, eight bytes
        event.extend(now().to_le_bytes());
        event.push(2 << 3); // step, a varint
        varint(step, &mut event);
        event.extend(what);
        self.file
            .write_all(&record(&event))
            .map_err(|e| sample::Error::io(&self.path, e).into())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// A field of bytes, text or an embedded message.
fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}

/// Seven bits a byte, the lowest first.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked_crc(data).to_le_bytes());
    bytes
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC with Castagnoli's polynomial, lowest bit first.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in data {
        crc = TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4.
        let ascending: Vec<u8> = (0..32).collect();
        for (data, expected) in [
            (&[0u8; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c(data), expected, "{data:?}");
        }
    }

    #[test]
    fn a_later_start_has_a_later_name_and_one_from_the_beginning_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let mut written = Vec::new();
        for step in [0, 3, 3, 9] {
            let events = Events::create(dir.path(), step).unwrap();
            written.push(events.path.file_name().unwrap().to_owned());
        }
        assert_eq!(names(), written);
        Events::create(dir.path(), 0).unwrap();
        assert_eq!(names().len(), 1);
    }
}
