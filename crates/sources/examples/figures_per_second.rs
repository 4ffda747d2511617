//! Measures the drawing of figures, from scene to written table:
//! `cargo run --release -p sources --example figures_per_second -- [count] [threads]`.

use std::io::Write;
use std::time::Instant;

use sources::figures::{FiguresConfig, import};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let count = numbers.next().transpose()?.unwrap_or(4000);
    let threads = numbers.next().transpose()?.unwrap_or(2);
    let folder = std::env::temp_dir().join(format!("figures_per_second_{}", std::process::id()));
    let config = FiguresConfig {
        count,
        ..FiguresConfig::default()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let start = Instant::now();
    let manifest = pool.install(|| import(&config, 1, &folder, true))?;
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&folder)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:?}", manifest.counts)?;
    writeln!(
        out,
        "{threads} threads: {:.0} figures/s",
        count as f64 / seconds
    )?;
    Ok(())
}
