//! `math-llava sources`: what can be imported.

use anyhow::Result;

/// Prints the list.
pub fn run() -> Result<bool> {
    println!(
        "{:<10} {:<10} {:<4} {:<40} layout below --root",
        "name", "title", "task", "licence"
    );
    let families: Vec<&str> = ::sources::figures::families()
        .map(|(name, _)| name)
        .collect();
    println!(
        "{:<10} {:<10} {:<4} {:<40} drawn: {}",
        "figures",
        "figures",
        "all",
        "-",
        families.join(", ")
    );
    for source in ::sources::SOURCES {
        println!(
            "{:<10} {:<10} {:<4} {:<40} {}",
            source.name(),
            source.title(),
            source.task().name(),
            source.licence(),
            source.layout().join(", ")
        );
        println!("{:<67} {}", "", source.url());
    }
    Ok(true)
}
