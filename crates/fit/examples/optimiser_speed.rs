//! How fast AdamW's forms are beside what memory gives: `cargo run --release -p fit --example
//! optimiser_speed [parameters in millions]`.
//!
//! Bytes are those that a form must move for each parameter: weight and moments read and written, the
//! gradient read, and read once more beforehand to be checked. Beside them, by the same threads: a copy
//! between two arrays and one array doubled in place, as bytes read and written. The second is the
//! limit: a copy also reads what it overwrites, which is not counted.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use fit::optim::{AdamW, Hyper, Param, States, squared_norm};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Elements of one parameter: a matrix of a 7B model.
const SHAPE: [i64; 2] = [4096, 4096];
const ROUNDS: usize = 12;

/// The best of several rounds, in seconds: others use the machine too.
fn best(mut work: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// GB/s of a copy and of a change in place, reading and writing.
fn memory_speed() -> [f64; 2] {
    const PART: usize = 1 << 18;
    let count = 64 << 20;
    let (from, mut to) = (vec![1_f32; count], vec![0_f32; count]);
    let copying = best(|| {
        let parts = to.par_chunks_mut(PART).zip(from.par_chunks(PART));
        parts.for_each(|(to, from)| to.copy_from_slice(from));
    });
    assert_eq!(to, from);
    let in_place = best(|| {
        let parts = to.par_chunks_mut(PART);
        parts.for_each(|part| part.iter_mut().for_each(|value| *value *= 2.0));
    });
    [copying, in_place].map(|seconds| 8.0 * count as f64 / seconds / 1e9)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let millions: i64 = std::env::args()
        .nth(1)
        .map_or(Ok(100), |text| text.parse())?;
    let each: i64 = SHAPE.iter().product();
    let count = (millions * 1_000_000 / each).max(1);
    let parameters = (count * each) as f64;
    let [copy, limit] = memory_speed();
    println!(
        "{:.0} M parameters, {} threads; copying: {copy:.1} GB/s, in place: {limit:.1} GB/s",
        parameters / 1e6,
        rayon::current_num_threads()
    );
    println!("weights   states   gradients  M parameters/s  bytes each   GB/s  of in place");
    let hyper = Hyper {
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.0,
    };
    for (weights, states, grads) in [
        (Kind::Float, States::Float32, Kind::Float),
        (Kind::Float, States::Float32, Kind::BFloat16),
        (Kind::BFloat16, States::Float32, Kind::BFloat16),
        (Kind::Float, States::Int8, Kind::BFloat16),
        (Kind::BFloat16, States::Int8, Kind::BFloat16),
    ] {
        let params = (0..count)
            .map(|index| {
                Ok(Param {
                    name: format!("layers.{index}"),
                    tensor: (Tensor::f_randn(SHAPE, (Kind::Float, Device::Cpu))? * 0.02)
                        .f_to_kind(weights)?,
                    lr_scale: 1.0,
                })
            })
            .collect::<Result<Vec<_>, tch::TchError>>()?;
        let all = (0..count)
            .map(|_| (Tensor::f_randn(SHAPE, (Kind::Float, Device::Cpu))? * 1e-3).f_to_kind(grads))
            .collect::<Result<Vec<_>, tch::TchError>>()?;
        let mut adamw = AdamW::new(params, hyper, states, 1)?;
        let mut failed = None;
        let seconds = best(|| {
            adamw.begin(1e-5);
            for (index, grad) in all.iter().enumerate() {
                failed = adamw.update(index, grad, 1.0).err().or(failed.take());
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let moved = 2.0 * AdamW::bytes_per_parameter(weights, states)
            + 2.0 * grads.elt_size_in_bytes() as f64;
        let speed = parameters / seconds;
        println!(
            "{:9} {:8} {:9} {:15.0} {:11.2} {:6.1} {:10.0} %",
            format!("{weights:?}"),
            format!("{states:?}"),
            format!("{grads:?}"),
            speed / 1e6,
            moved,
            speed * moved / 1e9,
            100.0 * speed * moved / 1e9 / limit
        );
        let seconds = best(|| {
            for grad in &all {
                std::hint::black_box(squared_norm(grad).unwrap_or_default());
            }
        });
        let read = parameters * grads.elt_size_in_bytes() as f64 / seconds / 1e9;
        println!("          the norm of its gradients: {read:.1} GB/s");
    }
    Ok(())
}
