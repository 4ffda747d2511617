//! `generate` and `chat` as a user meets them, with a random model of a few thousand weights: its words
//! mean nothing, but the same words must come whichever way they are asked for.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/golden")
        .join(name)
}

fn command(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
    command
        .args([
            "--quiet",
            verb,
            "--device",
            "cpu",
            "--dtype",
            "f32",
            "--max-new-tokens",
            "12",
        ])
        .arg("--model")
        .arg(golden("grouped"));
    command
}

fn generate(arguments: &[&str]) -> Output {
    command("generate").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn picture() -> String {
    golden("picture_0.png").display().to_string()
}

#[test]
fn generate_streams_what_it_gives_as_json() {
    let asked = ["--image", &picture(), "--prompt", "How many bars?"];
    let streamed = generate(&asked);
    assert!(streamed.status.success(), "{}", text(&streamed.stderr));
    let whole = generate(&[&asked[..], &["--json", "--logprobs", "2"]].concat());
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(
        text(&streamed.stdout).trim(),
        whole["text"].as_str().unwrap()
    );
    let tokens = whole["tokens"].as_array().unwrap();
    let logprobs = whole["logprobs"].as_array().unwrap();
    assert_eq!(tokens.len(), logprobs.len());
    for (token, at) in tokens.iter().zip(logprobs) {
        // Greedy: the token is the likeliest.
        assert_eq!((token, token), (&at["token"], &at["top"][0]["token"]));
        assert!(at["top"][1]["logprob"].as_f64() <= at["logprob"].as_f64());
    }
}

#[test]
fn a_seed_repeats_a_draw_and_another_seed_changes_it() {
    let drawn = |seed: &str| {
        let output = generate(&["--prompt", "Say", "--temperature", "2", "--seed", seed]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
}

#[test]
fn what_cannot_be_answered_ends_with_two_and_the_reason() {
    let long = "word ".repeat(700);
    let cases: [(&[&str], &str); 5] = [
        (&["--prompt", &long], "context is 512"),
        (&["--prompt", " "], "empty"),
        (&["--prompt", "x", "--image", "absent.png"], "absent.png"),
        (&["--prompt", "x", "--temperature=-1"], "temperature"),
        (&["--prompt", "x", "--quantise", "int3"], "int8"),
    ];
    for (arguments, reason) in cases {
        let output = generate(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_piped_chat_answers_each_line_and_goes_on_after_mistakes() {
    let alone = |arguments: &[&str]| text(&generate(arguments).stdout);
    let image = picture();
    let about = alone(&["--image", &image, "--prompt", "How many bars?"]);
    let plain = alone(&["--prompt", "How many bars?"]);
    let mut chat = command("chat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = format!(
        "/image absent.png\n/nonsense\n/image {image}\nHow many bars?\n/reset\nHow many bars?\n/quit\n"
    );
    chat.stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = chat.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("absent.png") && said.contains("/nonsense"),
        "{said}"
    );
    assert_eq!(text(&output.stdout), format!("{about}{plain}"));
}
