//! The bytes that preprocessing makes of images, for comparison with another program's.
//!
//!     cargo run --release -p model --example preprocess -- pad|crop|stretch SIDE OUT < FILES
//!
//! Reads paths, one a line, and writes `3 * SIDE * SIDE` bytes for each to OUT: red, green, blue
//! planes before normalisation; zeros, and a line on the standard error, where a file cannot be
//! read. `scripts/check_preprocess.py` runs it.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use model::{CLIP_MEAN, CLIP_STD, Fit, Preprocessor, Resample};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [fit, side, out] = &arguments[..] else {
        return Err("usage: preprocess pad|crop|stretch SIDE OUT < FILES".into());
    };
    let side: usize = side.parse()?;
    let preprocessor = Preprocessor {
        side,
        mean: CLIP_MEAN,
        std: CLIP_STD,
        fit: match fit.as_str() {
            "crop" => Fit::Crop { shortest: side },
            "stretch" => Fit::Stretch,
            _ => Fit::Pad,
        },
        resample: Resample::Bicubic,
    };
    let paths = std::io::stdin().lock().lines().map(|line| Ok(line?.into()));
    let paths: Vec<PathBuf> = paths.collect::<Result<_, std::io::Error>>()?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(out)?);
    for group in paths.chunks(64) {
        for (path, pixels) in group.iter().zip(preprocessor.open_all(group)) {
            match pixels {
                Ok(pixels) => out.write_all(&pixels.bytes)?,
                Err(fault) => {
                    writeln!(std::io::stderr(), "{}: {fault}", path.display())?;
                    out.write_all(&vec![0; 3 * side * side])?;
                }
            }
        }
    }
    out.flush()?;
    Ok(())
}
