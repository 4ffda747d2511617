//! `math-llava pull`: a model or a data set from a hub, into the cache that all tools share, or into a
//! folder.

use anyhow::Result;
use hub::{Destination, Repository, Settings, Wanted};
use sample::progress;

use crate::args::Pull;

/// Shows the plan, and does it.
pub fn run(arguments: &Pull) -> Result<bool> {
    let settings = Settings::from_environment(|name| std::env::var(name).ok())?;
    let wanted = Wanted {
        repository: Repository::new(arguments.repo_type, &arguments.repo, &arguments.revision)?,
        destination: match &arguments.out {
            Some(folder) => Destination::Folder(folder.clone()),
            None => Destination::Cache,
        },
        include: arguments.include.clone(),
        exclude: arguments.exclude.clone(),
    };
    let plan = hub::plan(&settings, &wanted)?;
    if arguments.dry_run {
        println!("{}", plan.text());
        plan.check_space()?;
        return Ok(true);
    }
    // Standard output is the folder alone, for `--model "$(math-llava pull ..)"`.
    progress::note(&plan.text());
    let pulled = hub::fetch(&plan)?;
    println!("{}", pulled.folder.display());
    Ok(true)
}
