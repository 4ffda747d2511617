//! Times one decoder layer's training step on a CPU and says what share of the machine's limit for
//! matrix products it reaches.
//!
//!     layer_step THREADS [ROWSxTREES...]
//!
//! The layer is 1024 wide with 16 heads and an MLP of 2816; a row holds TREES token trees, each a
//! prefix of 620 tokens and nine branches of 60, or for `0` a plain sequence of 640 tokens. Measured
//! are the pass without gradients, and a pass with gradients and its backward, in bf16 with weights
//! in f32 and in bf16. The limit is the fastest of the large plain products that take turns with these. Counted
//! are the products with weights and attention's over the pairs of tokens that see each other.
//! With `tower` as an argument the frozen ViT-L/14-336 is timed on four images as well, plain and
//! packed.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use model::{Llava, LlavaConfig, Quantisation, TextConfig, VisionConfig};
use tch::{Device, Kind, Tensor, no_grad};

type Failure = Box<dyn std::error::Error>;

const WIDTH: i64 = 1024;
const MLP: i64 = 2816;
const PREFIX: i64 = 620;
const BRANCHES: i64 = 9;
const BRANCH: i64 = 60;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (threads, rest) = arguments
        .split_first()
        .ok_or("give THREADS [ROWSxTREES...] [tower]")?;
    tch::set_num_threads(threads.parse()?);
    let shapes: Vec<&str> = match rest.iter().map(String::as_str).filter(|a| *a != "tower") {
        given if given.clone().count() > 0 => given.collect(),
        _ => vec!["1x1", "4x1", "4x0"],
    };
    for shape in shapes {
        let (rows, trees) = shape.split_once('x').ok_or("shapes are ROWSxTREES")?;
        step(rows.parse()?, trees.parse()?)?;
    }
    if rest.iter().any(|a| a == "tower") {
        tower()?;
    }
    Ok(())
}

/// The least seconds of each run, which take turns: what else the machine does then hits all of them.
fn fastest<const N: usize>(
    mut runs: [&mut dyn FnMut() -> Result<(), Failure>; N],
) -> Result<[f64; N], Failure> {
    let mut least = [f64::INFINITY; N];
    for _ in 0..8 {
        for (run, least) in runs.iter_mut().zip(&mut least) {
            let started = Instant::now();
            run()?;
            *least = least.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}

fn random(shape: &[i64], kind: Kind) -> Result<Tensor, Failure> {
    Ok(Tensor::f_randn(shape, (Kind::Float, Device::Cpu))?.f_to_kind(kind)?)
}

/// A plain bf16 product of these operations: run often, its fastest run is the machine's limit.
const LIMIT: f64 = 2.0 * 2048.0 * 2048.0 * 2048.0;

fn product() -> Result<impl FnMut() -> Result<(), Failure>, Failure> {
    let (x, w) = (
        random(&[2048, 2048], Kind::BFloat16)?,
        random(&[2048, 2048], Kind::BFloat16)?,
    );
    Ok(move || {
        let _ = x.f_linear(&w, None::<&Tensor>)?;
        Ok(())
    })
}

/// Positions and ends of a row, and the pairs of tokens that see each other.
fn row(trees: i64) -> (Vec<i64>, Vec<i64>, i64) {
    let (mut positions, mut ends) = (Vec::new(), Vec::new());
    if trees == 0 {
        positions = (0..640).collect();
        ends = vec![640; 640];
    }
    for _ in 0..trees {
        let start = positions.len() as i64;
        let all = PREFIX + BRANCHES * BRANCH;
        positions.extend(0..PREFIX);
        ends.extend(vec![start + all; PREFIX as usize]);
        for branch in 1..=BRANCHES {
            positions.extend(PREFIX..PREFIX + BRANCH);
            ends.extend(vec![start + PREFIX + branch * BRANCH; BRANCH as usize]);
        }
    }
    let pairs = ends.iter().zip(0..).map(|(end, at)| end - at).sum();
    (positions, ends, pairs)
}

fn step(rows: i64, trees: i64) -> Result<(), Failure> {
    let config = LlavaConfig::text_only(TextConfig {
        hidden_size: WIDTH,
        num_hidden_layers: 1,
        num_attention_heads: 16,
        intermediate_size: MLP,
        vocab_size: 320,
        ..TextConfig::default()
    });
    let (positions, ends, pairs) = row(trees);
    let tokens = positions.len() as i64;
    let spread = |values: &[i64]| Tensor::from_slice(values).f_repeat([rows, 1]);
    let (positions, ends) = (spread(&positions)?, spread(&ends)?);
    let products = (4 * WIDTH * WIDTH + 3 * WIDTH * MLP) * rows * tokens + 2 * WIDTH * pairs * rows;
    let operations = 2.0 * products as f64;
    println!("{rows} rows of {tokens} tokens, {trees} trees each:");
    for kind in [Kind::Float, Kind::BFloat16] {
        let mut model = Llava::new(&config, 1, Device::Cpu)?.frozen(kind)?;
        model.compute = Kind::BFloat16;
        for (_, tensor) in model.parameters() {
            let _ = tensor.f_set_requires_grad(true)?;
        }
        let of_layer = |name: &str| name.contains(".layers.0.");
        let trained: Vec<Tensor> = (model.parameters().iter())
            .filter(|(name, _)| of_layer(name))
            .map(|(_, tensor)| tensor.shallow_clone())
            .collect();
        let seen = model.rows(&positions, &ends)?;
        let hidden = random(&[rows, tokens, WIDTH], Kind::BFloat16)?;
        let grad = random(&[rows, tokens, WIDTH], Kind::BFloat16)?;
        let mut first = || {
            let _ = no_grad(|| model.decoder_layer(0, &hidden, &seen))?;
            Ok(())
        };
        let mut both = || {
            let input = hidden.f_detach()?.f_set_requires_grad(true)?;
            let out = model.decoder_layer(0, &input, &seen)?;
            let loss = out.f_mul(&grad)?.f_sum(Kind::Float)?;
            let mut inputs = vec![&input];
            inputs.extend(trained.iter());
            drop(Tensor::f_run_backward(&[&loss], &inputs, false, false)?);
            Ok(())
        };
        let [product, first, both] = fastest([&mut product()?, &mut first, &mut both])?;
        let limit = LIMIT / product;
        let share = |times: f64, seconds: f64| {
            let speed = times * operations / seconds;
            format!(
                "{:.1} ms, {:.0} GFLOP/s, {:.1} % of the limit",
                seconds * 1e3,
                speed / 1e9,
                100.0 * speed / limit
            )
        };
        println!("  limit: {:.0} GFLOP/s", limit / 1e9);
        println!(
            "  weights {kind:?}, without gradients: {}",
            share(1.0, first)
        );
        println!(
            "  weights {kind:?}, with and backward:  {}",
            share(3.0, both)
        );
        println!(
            "  weights {kind:?}, the whole step:     {}",
            share(4.0, first + both)
        );
    }
    Ok(())
}

fn tower() -> Result<(), Failure> {
    const IMAGES: i64 = 4;
    let config = LlavaConfig {
        text_config: TextConfig {
            hidden_size: WIDTH,
            num_hidden_layers: 1,
            num_attention_heads: 16,
            intermediate_size: MLP,
            vocab_size: 320,
            ..TextConfig::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size: 336,
            patch_size: 14,
            ..VisionConfig::default()
        }),
        image_token_index: 319,
        ..LlavaConfig::default()
    };
    let pixels = random(&[IMAGES, 3, 336, 336], Kind::BFloat16)?;
    let tokens = IMAGES * 577;
    let layers = config.vision_layers_used();
    // A layer's products with weights (12 width squared) and attention's.
    let products = layers * tokens * (12 * 1024 * 1024 + 2 * 577 * 1024);
    let mut model = Llava::new(&config, 1, Device::Cpu)?;
    model.compute = Kind::BFloat16;
    let plain = model.frozen(Kind::BFloat16)?;
    let packed = model.answering(Kind::BFloat16, Quantisation::None)?;
    let run = |model: &Llava| {
        let _ = no_grad(|| model.tower_features(&pixels))?;
        Ok(())
    };
    let [product, f32_weights, bf16_weights, packed] = fastest([
        &mut product()?,
        &mut || run(&model),
        &mut || run(&plain),
        &mut || run(&packed),
    ])?;
    for (name, seconds) in [
        ("weights in f32", f32_weights),
        ("weights in bf16", bf16_weights),
        ("packed", packed),
    ] {
        let share = 2.0 * products as f64 / seconds / (LIMIT / product);
        println!(
            "tower, {name}: {:.1} ms an image, {:.1} % of the limit",
            seconds * 1e3 / IMAGES as f64,
            100.0 * share
        );
    }
    Ok(())
}
