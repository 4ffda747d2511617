//! How long one image takes from its file's bytes to normalised pixel values, on one thread.
//!
//!     cargo run --release -p model --example preprocess_speed -- FILE [SIDE] [REPEATS]
//!
//! Prints the best and the median CPU time of each step, which other work on the machine disturbs
//! least, and wall time. LLaVA's Python path on the same file: decode, `expand2square`, CLIP's
//! processor.

use std::path::Path;
use std::time::Instant;

use model::{CLIP_MEAN, CLIP_STD, Fit, Preprocessor, Resample};
use tch::Device;

/// Milliseconds of this thread's CPU time so far.
fn cpu() -> f64 {
    // Nanoseconds on a CPU, the first number of the file.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse::<f64>().map_or(f64::NAN, |nanos| nanos / 1e6)
}

fn time(what: &str, repeats: usize, mut step: impl FnMut()) {
    step();
    let mut spent: Vec<(f64, f64)> = (0..repeats)
        .map(|_| {
            let (start, wall) = (cpu(), Instant::now());
            step();
            (cpu() - start, wall.elapsed().as_secs_f64() * 1e3)
        })
        .collect();
    spent.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wall = spent.iter().map(|s| s.1).fold(f64::INFINITY, f64::min);
    let (best, median) = (spent[0].0, spent[repeats / 2].0);
    #[allow(clippy::print_stdout)]
    {
        println!("{what:32} cpu best {best:.2} median {median:.2} ms; wall best {wall:.2} ms");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("give an image file")?;
    let side = arguments.next().map_or(Ok(336), |side| side.parse())?;
    let repeats: usize = arguments.next().map_or(Ok(60), |n| n.parse())?;
    // One thread, as one core of many would work.
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()?;
    tch::set_num_threads(1);
    let preprocessor = Preprocessor {
        side,
        mean: CLIP_MEAN,
        std: CLIP_STD,
        fit: Fit::Pad,
        resample: Resample::Bicubic,
    };
    let crop = Preprocessor {
        fit: Fit::Crop { shortest: side },
        ..preprocessor.clone()
    };
    let path = Path::new(&file);
    let bytes = std::fs::read(path)?;
    let image = sample::pixels::decode_as_pil(&bytes)?;
    let pixels = preprocessor.square(&image)?;
    let repeats = repeats.max(1);
    time("decode", repeats, || {
        let _ = std::hint::black_box(sample::pixels::decode_as_pil(&bytes));
    });
    time("pad and resize", repeats, || {
        let _ = std::hint::black_box(preprocessor.square(&image));
    });
    time("scale and crop", repeats, || {
        let _ = std::hint::black_box(crop.square(&image));
    });
    time("normalise", repeats, || {
        let _ = std::hint::black_box(preprocessor.normalise(&[&pixels], Device::Cpu));
    });
    time("whole: read, decode, pad, normalise", repeats, || {
        let pixels = preprocessor.open(path);
        let values = pixels.map(|pixels| preprocessor.normalise(&[&pixels], Device::Cpu));
        let _ = std::hint::black_box(values);
    });
    Ok(())
}
