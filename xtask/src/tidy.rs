//! The house rules that a compiler does not check: who may import whom, and how files look.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Crate to the workspace crates it may import; ARCHITECTURE.md gives the reasons.
const IMPORTS: &[(&str, &[&str])] = &[
    ("sample", &[]),
    ("chat", &["sample"]),
    ("sources", &["sample"]),
    ("select", &["sample"]),
    ("synth", &["sample", "chat"]),
    ("fit", &["sample", "c10d"]),
    ("equal", &[]),
    ("model", &["sample"]),
    ("c10d", &[]),
    ("train", &["sample", "c10d", "fit", "model"]),
    ("eval", &["sample", "chat"]),
    ("report", &["sample"]),
    ("grade", &["sample", "chat", "fit", "model"]),
    ("export", &["sample"]),
    ("cluster", &["sample", "select"]),
    ("hub", &["sample"]),
    ("serve", &["sample", "chat", "equal"]),
    ("studio", &["sample", "chat", "select", "eval", "report"]),
    (
        "math-llava",
        &[
            "sample", "chat", "sources", "select", "synth", "model", "train", "eval", "report",
            "grade", "export", "hub", "equal", "serve", "studio", "c10d", "cluster",
        ],
    ),
    ("xtask", &[]),
];

/// The only crates that may know libtorch, besides the binary that wires them.
const TORCH: &[&str] = &["c10d", "fit", "model", "train", "grade", "math-llava"];

/// Lines of code before the first `#[cfg(test)]`; longer files are split by concept.
const LONGEST: usize = 600;

/// Checks everything and reports all that is wrong at once.
pub fn check(root: &Path) -> Result<()> {
    let mut wrong = imports(root)?;
    for file in files(root)? {
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        if name.ends_with(".rs") {
            wrong.extend(source(&name, &text));
        }
        if name.ends_with(".md") {
            wrong.extend(links(&file, &name, &text));
        }
    }
    if wrong.is_empty() {
        println!("tidy: import table and house rules hold");
        return Ok(());
    }
    bail!(
        "tidy found {} things:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    )
}

fn imports(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = table.get(name) else {
            wrong.push(format!(
                "crate {name} is not in the import table (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if table.contains_key(on) && !allowed.contains(&on) && !for_tests {
                wrong.push(format!(
                    "{name} imports {on}, which the import table does not allow"
                ));
            }
            if matches!(on, "tch" | "torch-sys") && !TORCH.contains(&name) {
                wrong.push(format!(
                    "{name} imports {on}: only {TORCH:?} may know libtorch"
                ));
            }
        }
    }
    Ok(wrong)
}

fn source(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//!") {
        wrong.push(format!(
            "{name}: must open with `//!`, what it is and why it exists"
        ));
    }
    let code = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .count();
    // Files of tests are read case by case.
    if code > LONGEST && !name.contains("/tests/") && !name.ends_with("/tests.rs") {
        wrong.push(format!(
            "{name}: {code} lines of code; split it by concept at {LONGEST}"
        ));
    }
    wrong
}

/// Relative links in Markdown must lead somewhere.
fn links(file: &Path, name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for piece in text.split("](").skip(1) {
        let target = piece.split([')', ' ', '#']).next().unwrap_or_default();
        let external = target.contains("://") || target.starts_with("mailto:");
        if target.is_empty() || external || target.contains('`') {
            continue;
        }
        let folder = file.parent().unwrap_or(file);
        if !folder.join(target).exists() {
            wrong.push(format!("{name}: the link to {target} leads nowhere"));
        }
    }
    wrong
}

/// The files of the checkout that people write.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_symlink() || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | "runs" | "golden" | "node_modules") {
                    waiting.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_or_too_long_is_found() {
        assert!(source("a.rs", "//! Why.\nfn a() {}\n").is_empty());
        assert_eq!(source("a.rs", "fn a() {}\n").len(), 1);
        let long = format!("//! Why.\n{}", "fn a() {}\n".repeat(LONGEST));
        assert_eq!(source("a.rs", &long).len(), 1);
        let tests = format!("//! Why.\n#[cfg(test)]\n{}", "fn a() {}\n".repeat(LONGEST));
        assert!(source("a.rs", &tests).is_empty());
        assert!(source("a/tests/b.rs", &long).is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("x.md");
        assert!(links(&here, "x.md", "[a](Cargo.toml) [b](https://example.org/)").is_empty());
        assert_eq!(links(&here, "x.md", "[a](nowhere.md)").len(), 1);
    }

    #[test]
    fn every_import_in_the_table_is_itself_in_the_table() {
        let names: Vec<&str> = IMPORTS.iter().map(|(name, _)| *name).collect();
        for (name, imports) in IMPORTS {
            for import in *imports {
                assert!(
                    names.contains(import),
                    "{name} may import the unknown {import}"
                );
            }
        }
    }
}
