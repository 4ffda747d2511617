//! The project's task runner: `cargo xtask demo`, `cargo xtask test`.
//!
//! A fresh machine has Rust, a C++ compiler and python3 with pip; everything else is set up here.

// A task runner talks to the person who runs it.
#![allow(clippy::print_stdout)]

mod browser;
mod clients;
mod libtorch;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What the default build leaves out and every check has in: named in each build, so that the dependencies are
/// built once.
const CLUSTER: &str = "math-llava/cluster";

const HELP: &str = "\
cargo xtask TASK

  setup          fetch libtorch into the per-user cache and link it into the checkout
  demo           set up, build, run the whole method on drawn figures (about ten minutes)
  demo --quick   the same in little, under 90 seconds; shows that it runs, not that it learns
  test           set up, then import table, format check, clippy, docs, all tests
  browser        build, then the pages in Chromium: [--runs DIR] [--out DIR], by default runs and target/browser
  tidy           the import table and the house rules alone
  clients        check OpenAI's clients for Python and Node against the built server (fetches them with pip and npm)
  bench          measure figures per second, demo time and peak memory (see bench/README.md)

Environment:
  LIBTORCH=DIR             use this libtorch 2.11 instead of fetching one
  LIBTORCH_USE_PYTORCH=1   use the libtorch of the installed PyTorch 2.11
  MATH_LLAVA_CACHE=DIR     the per-user cache (default: $XDG_CACHE_HOME or ~/.cache, math-llava)
  CHROMIUM=PROGRAM         the browser for `browser` (default: the first on the path)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["setup"] => libtorch::set_up(&root()).map(|_| ()),
        ["demo"] => demo("tiny"),
        ["demo", "--quick"] => demo("quick"),
        ["test"] => test(),
        ["browser", options @ ..] => browser(options),
        ["tidy"] => tidy::check(&root()),
        ["clients"] => clients::check(),
        ["bench"] => bench(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!(
            "no such task: {}\n\n{HELP}",
            other.join(" ")
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The checkout's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map_or_else(|| here.to_owned(), Path::to_owned)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(arguments))
}

/// Runs a command in the checkout's root and says how long it took.
fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let started = Instant::now();
    let status = command
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    println!("  ({:.0} s)", started.elapsed().as_secs_f64());
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Where cargo puts programs.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn build() -> Result<PathBuf> {
    libtorch::set_up(&root())?;
    // With the examples, so that the dependencies get the features they have in `cargo test`: one
    // build of them serves both.
    cargo(&[
        "build",
        "--release",
        "--workspace",
        "--features",
        CLUSTER,
        "--bins",
        "--examples",
    ])?;
    Ok(target()
        .join("release")
        .join(format!("math-llava{}", std::env::consts::EXE_SUFFIX)))
}

fn demo(config: &str) -> Result<()> {
    let program = build()?;
    run(Command::new(program)
        .arg("run")
        .arg(format!("configs/{config}.toml")))
}

fn test() -> Result<()> {
    libtorch::set_up(&root())?;
    tidy::check(&root())?;
    cargo(&["fmt", "--all", "--check"])?;
    // Everything in release: one build of the dependencies serves demo, tests and lints.
    cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--features",
        CLUSTER,
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["doc", "--release", "--workspace", "--features", CLUSTER])
            .arg("--no-deps")
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    // Data building and scoring must not need libtorch.
    cargo(&[
        "check",
        "--release",
        "--package",
        "math-llava",
        "--no-default-features",
    ])?;
    // Last, for it takes longest.
    cargo(&["test", "--release", "--workspace", "--features", CLUSTER])
}

/// The studio's pages in a browser, over models that follow a script and the runs that are there.
fn browser(options: &[&str]) -> Result<()> {
    let mut runs = root().join("runs");
    let mut out = target().join("browser");
    for pair in options.chunks(2) {
        match pair {
            ["--runs", folder] => runs = std::path::absolute(folder)?,
            ["--out", folder] => out = std::path::absolute(folder)?,
            other => bail!(
                "browser takes --runs DIR and --out DIR, not {}",
                other.join(" ")
            ),
        }
    }
    let program = build()?;
    if !runs.is_dir() {
        demo("quick")?;
    }
    let preview = target()
        .join("release/examples")
        .join(format!("preview{}", std::env::consts::EXE_SUFFIX));
    let mut scripted = Command::new(preview);
    scripted.arg(&runs);
    let mut servers = vec![(scripted, browser::ALL)];
    let models = [
        runs.join("tiny/train/model"),
        runs.join("quick/train/model"),
    ];
    if let Some(model) = models.iter().find(|model| model.is_dir()) {
        let mut own = Command::new(program);
        own.arg("serve").arg("--model").arg(model);
        own.arg("--runs").arg(&runs).args(["--port", "0"]);
        servers.push((own, browser::CHAT));
    }
    browser::test(browser::Plan {
        root: &root(),
        servers,
        out: &out,
    })
}

fn bench() -> Result<()> {
    build()?;
    cargo(&[
        "run",
        "--release",
        "--package",
        "sources",
        "--example",
        "figures_per_second",
    ])
}
