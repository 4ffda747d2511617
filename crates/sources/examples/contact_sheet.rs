//! Draws the contact sheet: `cargo run --release -p sources --example contact_sheet -- docs/figures.png`.

use std::io::Write;

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "docs/figures.png".to_owned());
    let seed = std::env::args().nth(2).map_or(Ok(7), |s| s.parse())?;
    let sheet = sources::figures::contact_sheet(seed, 5)?;
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(
            &sheet,
            sheet.width(),
            sheet.height(),
            image::ExtendedColorType::Rgb8,
        )?;
    std::fs::write(&path, &bytes)?;
    writeln!(std::io::stderr(), "{path}: {} bytes", bytes.len())?;
    Ok(())
}
