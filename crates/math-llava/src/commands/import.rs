//! `math-llava import`: one source into one folder, or all that are there into a folder each.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sample::{Manifest, progress};
use sources::figures::FiguresConfig;
use sources::{ImportOptions, SOURCES, find_folder};

use crate::args::Import;
use crate::machines::Machines;

/// Imports.
pub fn run(arguments: &Import) -> Result<bool> {
    if arguments.all {
        return all(arguments);
    }
    let address = arguments.on.cluster.as_deref();
    let Some(name) = arguments.source.as_deref() else {
        bail!("give --source NAME, or --all for every data set below --root");
    };
    let manifest = if name == "figures" {
        if arguments.root.is_some() || !arguments.splits.is_empty() || arguments.limit.is_some() {
            bail!("figures are drawn, not read: --root, --split and --limit do not go with them");
        }
        if address.is_some() {
            bail!(
                "figures are drawn in this process, faster than others could be asked: leave --cluster out"
            );
        }
        let mut config = FiguresConfig::default();
        if let Some(count) = arguments.count {
            config.count = count;
        }
        sources::figures::import(&config, arguments.seed, &arguments.out, arguments.force)?
    } else {
        let source = sources::find_source(name)?;
        if arguments.count.is_some() {
            bail!("--count goes with --source figures; use --limit for rows of a data set");
        }
        let root = root(arguments, source.about().title)?;
        sources::import_with(
            Machines::find(address)?.workers(),
            source,
            &options(arguments),
            root,
            &arguments.out,
            arguments.force,
        )?
    };
    println!("{} in {}", counts(&manifest), arguments.out.display());
    Ok(true)
}

fn root<'a>(arguments: &'a Import, title: &str) -> Result<&'a Path> {
    arguments
        .root
        .as_deref()
        .with_context(|| format!("--root DIR is missing: the folder with {title}"))
}

fn options(arguments: &Import) -> ImportOptions {
    ImportOptions {
        splits: arguments.splits.clone(),
        limit: arguments.limit,
    }
}

/// Imports every source that is below the root. One that fails does not stop the others.
fn all(arguments: &Import) -> Result<bool> {
    let root = root(arguments, "the data sets, each in a folder of its name")?;
    let machines = Machines::find(arguments.on.cluster.as_deref())?;
    let (mut done, mut failed) = (0, Vec::new());
    for source in SOURCES {
        let name = source.about().name;
        let Some(tree) = find_folder(*source, root)? else {
            continue;
        };
        let out = arguments.out.join(name);
        match sources::import_with(
            machines.workers(),
            *source,
            &options(arguments),
            tree.root(),
            &out,
            arguments.force,
        ) {
            Ok(manifest) => {
                done += 1;
                println!("{name:>14}  {} in {}", counts(&manifest), out.display());
            }
            Err(error) if sample::interrupt::requested() => return Err(error.into()),
            Err(error) => {
                progress::note(&format!("{name}: {error}"));
                failed.push(name);
            }
        }
    }
    if done == 0 && failed.is_empty() {
        let known: Vec<&str> = SOURCES.iter().map(|s| s.about().name).collect();
        bail!(
            "no data set is below {}: looked for folders named {}",
            root.display(),
            known.join(", ")
        );
    }
    if !failed.is_empty() {
        bail!(
            "{} could not be imported; {done} others were",
            failed.join(", ")
        );
    }
    Ok(true)
}

/// `8000 samples, 600 images, 2 rejects (image_missing 2)`.
pub fn counts(manifest: &Manifest) -> String {
    let get = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "{} samples, {} images, {} rejects",
        get("samples"),
        get("images"),
        get("rejects")
    );
    if let Some(reasons) = manifest.results["rejects_by_reason"].as_object()
        && !reasons.is_empty()
    {
        let listed: Vec<String> = reasons
            .iter()
            .map(|(reason, n)| format!("{reason} {n}"))
            .collect();
        text.push_str(&format!(" ({})", listed.join(", ")));
    }
    text
}
