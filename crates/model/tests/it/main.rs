//! The crate as others use it: against transformers' numbers, on folders, on bad input.

// A panic is how a test fails; clippy allows it only inside `#[test]` functions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod agreement;
mod checkpoint;
mod chunks;
mod compose;
mod configurations;
mod constrained;
mod families;
mod generation;
mod gguf;
mod images;
mod text;
mod tokens;
mod vit;
mod weights;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use model::{Llava, LlavaConfig, TextConfig, Tokenizer, VisionConfig};
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

/// A folder or file beside `golden/generate.py`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// All tensors of a safetensors file.
fn tensors(path: &Path) -> HashMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::BF16 => Kind::BFloat16,
                Dtype::I64 => Kind::Int64,
                Dtype::U8 => Kind::Uint8,
                other => panic!("{other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            (
                name.to_owned(),
                Tensor::from_data_size(view.data(), &shape, kind),
            )
        })
        .collect()
}

fn load(name: &str) -> Llava {
    let (model, report) = Llava::load(&golden(name), Device::Cpu).unwrap();
    assert!(
        report.missing.is_empty() && report.unused.is_empty(),
        "{report:?}"
    );
    model
}

fn golden_tokenizer() -> Tokenizer {
    Tokenizer::load(&golden("grouped")).unwrap()
}

/// The two questions and answers of the goldens.
fn texts() -> (Vec<String>, Vec<String>) {
    let text = std::fs::read_to_string(golden("texts.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| serde_json::from_value(value[key].clone()).unwrap();
    (list("queries"), list("responses"))
}

/// Largest difference, as a share of the largest value expected.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let expected = expected.to_kind(Kind::Double);
    let difference = (found.to_kind(Kind::Double) - &expected)
        .abs()
        .max()
        .double_value(&[]);
    difference / expected.abs().max().double_value(&[])
}

/// A model of a few thousand parameters for the golden tokenizer.
fn small_config() -> LlavaConfig {
    LlavaConfig {
        text_config: TextConfig {
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            vocab_size: 288,
            ..TextConfig::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: 16,
            patch_size: 8,
            ..VisionConfig::default()
        }),
        image_token_index: 4,
        ..LlavaConfig::default()
    }
}

/// Runs a script of `scripts/` with the Python that `MATH_LLAVA_PYTHON` names, which has torch,
/// transformers and peft, and asserts that it agrees; says so where there is none.
pub fn python_agrees(script: &str, arguments: &[&std::ffi::OsStr]) {
    let Some(python) = std::env::var_os("MATH_LLAVA_PYTHON") else {
        eprintln!("skipped: MATH_LLAVA_PYTHON names no Python with torch, transformers and peft");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scripts")
        .join(script);
    let done = std::process::Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    println!("{said}");
    assert!(
        done.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
