//! TensorBoard's event files, read back by a parser of their own.
//!
//! That TensorBoard reads them too is checked by `tests/tensorboard/read_events.py`, which holds what
//! its reader finds against `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::toy::{Toy, options, run};

/// A bit at a time, as the polynomial is defined.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for bit in data
        .iter()
        .flat_map(|byte| (0..8).map(move |i| byte >> i & 1))
    {
        let odd = (crc ^ u32::from(bit)) & 1 == 1;
        crc = (crc >> 1) ^ if odd { 0x82f6_3b78 } else { 0 };
    }
    !crc
}

fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[derive(Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// The fields of a protocol buffer.
fn fields(mut data: &[u8]) -> Vec<(u64, Field)> {
    fn varint(data: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = data.split_first().unwrap();
            *data = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < &0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !data.is_empty() {
        let tag = varint(&mut data);
        let length = match tag & 7 {
            0 => {
                all.push((tag >> 3, Field::Number(varint(&mut data))));
                continue;
            }
            1 => 8,
            2 => varint(&mut data) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (bytes, rest) = data.split_at(length);
        all.push((tag >> 3, Field::Bytes(bytes.to_vec())));
        data = rest;
    }
    all
}

fn bytes(fields: &[(u64, Field)], number: u64) -> Option<&[u8]> {
    fields.iter().find_map(|(n, field)| match field {
        Field::Bytes(bytes) if *n == number => Some(&bytes[..]),
        _ => None,
    })
}

/// The events of a file: their steps and fields.
fn events(path: &Path) -> Vec<(u64, Vec<(u64, Field)>)> {
    let data = std::fs::read(path).unwrap();
    let (mut rest, mut all) = (&data[..], Vec::new());
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(number(8), masked(&rest[..8]));
        let event = &rest[12..12 + length];
        assert_eq!(number(12 + length), masked(event));
        rest = &rest[16 + length..];
        let event = fields(event);
        let time = f64::from_le_bytes(bytes(&event, 1).unwrap().try_into().unwrap());
        assert!(time > 1.7e9, "{time}");
        let Field::Number(step) = event.iter().find(|(n, _)| *n == 2).unwrap().1 else {
            panic!("no step");
        };
        all.push((step, event));
    }
    all
}

/// What is to be seen of a run's files: tag to its values by step.
fn scalars(folder: &Path) -> BTreeMap<String, BTreeMap<u64, f32>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut all: BTreeMap<String, BTreeMap<u64, f32>> = BTreeMap::new();
    for file in files {
        for (i, (step, event)) in events(&file).into_iter().enumerate() {
            if i == 0 {
                assert_eq!(bytes(&event, 3), Some(&b"brain.Event:2"[..]));
            }
            if bytes(&event, 7) == Some(&[8, 1]) {
                for values in all.values_mut() {
                    values.retain(|&at, _| at < step);
                }
            }
            let Some(summary) = bytes(&event, 5) else {
                continue;
            };
            for (_, value) in fields(summary) {
                let Field::Bytes(value) = value else {
                    panic!("not a value");
                };
                let value = fields(&value);
                let tag = String::from_utf8(bytes(&value, 1).unwrap().to_vec()).unwrap();
                let number = f32::from_le_bytes(bytes(&value, 2).unwrap().try_into().unwrap());
                all.entry(tag).or_default().insert(step, number);
            }
        }
    }
    all
}

#[test]
fn the_event_files_hold_what_the_metrics_do_also_over_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let options = fit::Options {
        checkpoint_steps: 7,
        ..options()
    };
    let mut first = Toy::new();
    first.bad_gradient = Some(60);
    run(&mut first, &options, dir.path()).unwrap_err();
    let summary = run(&mut Toy::new(), &options, dir.path()).unwrap();
    assert_eq!(summary.first, 56);
    let folder = dir.path().join("tensorboard");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    let seen = scalars(&folder);
    let lines = fit::metrics::read(&dir.path().join("metrics.jsonl")).unwrap();
    type Of = fn(&fit::metrics::StepMetrics) -> f64;
    let tags: [(&str, Of); 3] = [
        ("train/loss", |l| l.loss),
        ("train/lr", |l| l.lr),
        ("train/grad_norm", |l| l.grad_norm),
    ];
    for (tag, of) in tags {
        let expected: BTreeMap<u64, f32> =
            lines.iter().map(|l| (l.step + 1, of(l) as f32)).collect();
        assert_eq!(seen[tag], expected, "{tag}");
    }
    assert_eq!(seen["train/tokens_per_second"].len(), 90);
    let evaluated: Vec<u64> = seen["eval/score"].keys().copied().collect();
    assert_eq!(evaluated, [20, 40, 60, 80, 90]);
    assert_eq!(seen["eval/accuracy"][&20], seen["eval/score"][&20] / 2.0);
}

#[test]
fn event_files_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let none = fit::Options {
        tensorboard: false,
        ..options()
    };
    run(&mut Toy::new(), &none, dir.path()).unwrap();
    assert!(!dir.path().join("tensorboard").exists());
}
