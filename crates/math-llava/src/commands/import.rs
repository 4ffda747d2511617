//! `math-llava import`: one source into one folder.

use anyhow::{Context, Result, bail};
use sample::Manifest;
use sources::ImportOptions;
use sources::figures::FiguresConfig;

use crate::args::Import;

/// Imports.
pub fn run(arguments: &Import) -> Result<bool> {
    let manifest = if arguments.source == "figures" {
        if arguments.root.is_some() || !arguments.splits.is_empty() || arguments.limit.is_some() {
            bail!("figures are drawn, not read: --root, --split and --limit do not go with them");
        }
        let mut config = FiguresConfig::default();
        if let Some(count) = arguments.count {
            config.count = count;
        }
        sources::figures::import(&config, arguments.seed, &arguments.out, arguments.force)?
    } else {
        let source = sources::find_source(&arguments.source)?;
        if arguments.count.is_some() {
            bail!("--count goes with --source figures; use --limit for rows of a data set");
        }
        let root = arguments.root.as_deref().with_context(|| {
            format!("--root DIR is missing: the folder with {}", source.title())
        })?;
        let options = ImportOptions {
            splits: arguments.splits.clone(),
            limit: arguments.limit,
        };
        sources::import(source, &options, root, &arguments.out, arguments.force)?
    };
    println!("{} in {}", counts(&manifest), arguments.out.display());
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
    if let Some(reasons) = manifest.results["rejects"].as_object()
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
