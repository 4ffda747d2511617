//! How long a training step's exchange takes when nothing is computed: `exchange_alone PART...`, each part's
//! trained numbers on the way down.
//!
//! Run once a rank with `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`. As in the engine of the crate `train`,
//! each part's gradients (f32) are summed up in shares and each part's weights (f32) gathered, two parts being
//! under way at once. Rank 0 prints the median seconds of a step.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people who measure"
)]

use std::collections::VecDeque;
use std::time::Instant;

use c10d::{Group, Pending, Rendezvous};
use tch::{Device, Kind, Tensor};

const STEPS: usize = 15;

fn main() {
    let parts: Vec<i64> = std::env::args()
        .skip(1)
        .map(|count| count.parse().unwrap())
        .collect();
    let place = Rendezvous::from_env()
        .unwrap()
        .expect("RANK and WORLD_SIZE are set");
    tch::set_num_threads(1);
    let group = Group::join(&place).unwrap();
    let mut times: Vec<f64> = (0..STEPS)
        .map(|_| {
            group.barrier().unwrap();
            let began = Instant::now();
            step(&group, &parts);
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    if group.is_first() {
        println!("{:.4}", times[STEPS / 2]);
    }
}

fn step(group: &Group, parts: &[i64]) {
    let world = group.world() as i64;
    let floats = |count: i64| Tensor::ones([count], (Kind::Float, Device::Cpu));
    let mut under_way: VecDeque<Pending> = VecDeque::new();
    let mut started = |pending: Pending| {
        under_way.push_back(pending);
        if under_way.len() > 2 {
            under_way.pop_front().unwrap().wait().unwrap();
        }
    };
    for elements in parts {
        let own = elements.div_euclid(world) + 1;
        let (whole, part) = (floats(own * world), floats(own));
        started(group.start_reduce_scatter(&part, &whole).unwrap());
        started(group.start_all_gather(&whole, &part).unwrap());
    }
    for pending in under_way {
        pending.wait().unwrap();
    }
}
