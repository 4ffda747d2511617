//! What more ranks bring for models of 7 and 13 billion weights, by `train::scaling`.
//!
//! `cargo run --release -p train --example scaling -- [SHARE_OF_PEAK] [TFLOPS] [TOKENS_A_STEP]`, by default 0.4, 989 (an
//! H100's bf16 products) and 84,000 (128 pairs of LLaVA's length as separate sequences).

// It is its output that it is run for.
#![allow(clippy::print_stdout)]

use train::scaling::{Network, Work};

/// (name, hidden, mlp, layers)
const MODELS: [(&str, f64, f64, usize); 2] =
    [("7B", 4096.0, 11008.0, 32), ("13B", 5120.0, 13824.0, 40)];
const VOCABULARY: f64 = 32_000.0;
const TOWER: f64 = 304e6;

/// (name, bytes a second of each rank, latency of a message in seconds)
const NETWORKS: [(&str, f64, f64); 3] = [
    ("NVLink, 400 GB/s", 400e9, 10e-6),
    ("InfiniBand, 50 GB/s a GPU", 50e9, 20e-6),
    ("Ethernet, 100 Gbit/s for 8 GPUs", 1.5e9, 50e-6),
];

fn main() {
    let number = |at: usize, default: f64| {
        let given = std::env::args().nth(at);
        given.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (share, tflops, tokens) = (number(1, 0.4), number(2, 989.0), number(3, 84_000.0));
    println!(
        "{tokens} tokens a step, {share} of {tflops} TFLOP/s a GPU, bf16 weights, layers run twice"
    );
    for (name, hidden, mlp, layers) in MODELS {
        let layer = 4.0 * hidden * hidden + 3.0 * hidden * mlp;
        let head = VOCABULARY * hidden;
        let all = layer * layers as f64 + 2.0 * head + TOWER;
        // Two operations a weight and token up, four down, two for running layers again.
        let seconds = 8.0 * (all - head) * tokens / (share * tflops * 1e12);
        // In the order of the way down; the embedding's rows are only picked.
        let part = |elements: f64, operations: f64| (elements, 2.0 * elements, operations);
        let mut parts = vec![part(head, head)];
        parts.extend(std::iter::repeat_n(part(layer, layer), layers));
        parts.extend([part(head, 0.0), part(TOWER, TOWER)]);
        println!(
            "\n{name}: {:.0} MB of gradients a layer, {seconds:.2} s a step on one GPU",
            4e-6 * layer
        );
        for (name, bytes_per_second, latency) in NETWORKS {
            let network = Network {
                bytes_per_second,
                latency,
            };
            let work = Work::of_step(seconds, 0.25, &parts, true);
            let row: Vec<String> = [2, 4, 8, 16, 32, 64]
                .into_iter()
                .map(|ranks| {
                    // The same batch, and the same batch a rank.
                    let same = work.on(ranks, network).efficiency;
                    let grown = times(&work, ranks).on(ranks, network).efficiency;
                    format!("{ranks}: {:.0}/{:.0}%", 100.0 * same, 100.0 * grown)
                })
                .collect();
            println!("  {name:<32} {}", row.join("  "));
        }
    }
}

/// A step so many times as large.
fn times(work: &Work, factor: usize) -> Work {
    let factor = factor as f64;
    let mut larger = work.clone();
    larger.up *= factor;
    for part in &mut larger.parts {
        part.seconds *= factor;
    }
    larger
}
