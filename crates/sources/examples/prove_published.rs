//! How many of a published data set's own questions the programs prove, and how many of the proofs
//! the published answers agree with.
//!
//! ```text
//! cargo run --release -p sources --example prove_published -- tabmwp /data/tabmwp
//! ```
//! Disagreements are printed one a line; `--missed` prints the questions that are not understood.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use sample::{IMAGES, ImageRow, SAMPLES, Sample, read_table};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, root, rest @ ..] = &arguments[..] else {
        return Err("give the name of a source and its folder".into());
    };
    let prints_missed = rest.iter().any(|a| a == "--missed");
    let out = tempfile::tempdir()?;
    let source = sources::find_source(source)?;
    let options = sources::ImportOptions::default();
    let root = PathBuf::from(root);
    sources::import(source, &options, &root, out.path(), true)?;
    let mut scenes: BTreeMap<String, String> = BTreeMap::new();
    for row in read_table::<ImageRow>(&out.path().join(IMAGES))? {
        scenes.extend(row.scene.map(|scene| (row.image.path, scene)));
    }
    let (mut all, mut with_scene, mut proven, mut right) = (0, 0, 0, 0);
    for sample in read_table::<Sample>(&out.path().join(SAMPLES))? {
        all += 1;
        let Some(scene) = scenes.get(&sample.image.path) else {
            continue;
        };
        with_scene += 1;
        let Some(proof) = sources::programs::prove(scene, &sample.question, &sample.choices) else {
            if prints_missed {
                println!("missed {}: {}", sample.id, sample.question);
            }
            continue;
        };
        proven += 1;
        if sources::programs::agree(&proof, &sample.answer) {
            right += 1;
        } else {
            let (proof, answer) = (proof.text(), sample.answer.text());
            println!(
                "{}: {} is {answer}, not {proof}",
                sample.id, sample.question
            );
        }
    }
    println!("{all} questions, {with_scene} with a scene, {proven} proven, {right} as published");
    Ok(())
}
