//! How fast collectives are between processes of this host: `all_reduce_speed [RANKS]`.
//!
//! Starts itself once a rank and prints a table in Markdown: the bytes of the whole tensor, the median time in
//! seconds, and both as a rate. `bench/distributed/gloo.py` measures the same through PyTorch.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people who measure"
)]

use std::process::Command;
use std::time::Instant;

use c10d::{Group, Op, Rendezvous};
use tch::{Device, Kind, Tensor};

/// Of the whole tensor.
const BYTES: &[i64] = &[1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26, 1 << 28];

fn main() {
    if let Some(place) = Rendezvous::from_env().unwrap() {
        tch::set_num_threads(1);
        measure(&Group::join(&place).unwrap());
        return;
    }
    let ranks: usize = std::env::args()
        .nth(1)
        .map_or(2, |count| count.parse().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let start = |rank: usize| {
        Command::new(std::env::current_exe().unwrap())
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", ranks.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .env("OMP_NUM_THREADS", "1")
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..ranks).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

fn measure(group: &Group) {
    if group.is_first() {
        println!(
            "| collective | ranks | bytes | seconds | GB/s |\n| --- | ---: | ---: | ---: | ---: |"
        );
    }
    let world = group.world() as i64;
    let floats = |count: i64| Tensor::ones([count], (Kind::Float, Device::Cpu));
    for &bytes in BYTES {
        let whole = floats(bytes / 4);
        let part = floats(bytes / 4 / world);
        report(group, "all_reduce", bytes, &|| {
            group.all_reduce(&whole, Op::Sum).unwrap();
        });
        report(group, "reduce_scatter", bytes, &|| {
            group
                .start_reduce_scatter(&part, &whole)
                .unwrap()
                .wait()
                .unwrap();
        });
        report(group, "all_gather", bytes, &|| {
            group
                .start_all_gather(&whole, &part)
                .unwrap()
                .wait()
                .unwrap();
        });
    }
}

fn report(group: &Group, name: &str, bytes: i64, run: &dyn Fn()) {
    for _ in 0..2 {
        run();
    }
    let repeats = ((1 << 28) / bytes).clamp(5, 200);
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            group.barrier().unwrap();
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    if group.is_first() {
        let rate = bytes as f64 / seconds / 1e9;
        println!(
            "| {name} | {} | {bytes} | {seconds:.6} | {rate:.3} |",
            group.world()
        );
    }
}
