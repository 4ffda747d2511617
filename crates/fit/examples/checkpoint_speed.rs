//! How long a checkpoint takes to save and to read back.
//!
//! ```text
//! cargo run --release -p fit --example checkpoint_speed -- FOLDER MILLION_PARAMETERS
//! ```
//!
//! One step that changes nothing is made and saved; a second start checks and reads what it left, and
//! makes no step. The state is 12 bytes a parameter: f32 weights and moments.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use fit::optim::{AdamW, Hyper, Param, States};
use fit::{Guard, Options, Step, Task};
use sample::StageKey;
use tch::{Device, Kind, Tensor};

struct Still(AdamW);

impl Task for Still {
    type Error = fit::Error;

    fn optimiser(&mut self) -> &mut AdamW {
        &mut self.0
    }

    fn step(&mut self, _at: u64, _lr: f64, _guard: &mut Guard) -> Result<Step, fit::Error> {
        Ok(Step::default())
    }

    fn members(&mut self, _at: u64) -> Vec<String> {
        Vec::new()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(millions)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder and a number of parameters in millions".into());
    };
    let (folder, millions) = (PathBuf::from(folder), millions.parse::<i64>()?);
    // Matrices of 16 M, as a model of billions has them.
    let params = (0..millions.div_ceil(16))
        .map(|i| {
            let tensor = Tensor::f_rand([4096, 4096], (Kind::Float, Device::Cpu))?;
            Ok(Param {
                name: format!("layers.{i}.weight"),
                tensor,
                lr_scale: 1.0,
            })
        })
        .collect::<Result<_, tch::TchError>>()?;
    let hyper = Hyper {
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.0,
    };
    let mut task = Still(AdamW::new(params, hyper, States::Float32, 1)?);
    let options = Options {
        steps: 1,
        ..Options::default()
    };
    let key = StageKey::new("speed", 0, serde_json::Value::Null);
    for what in ["saved", "checked and read"] {
        let started = Instant::now();
        fit::run(&mut task, &options, &folder, &key)?;
        let seconds = started.elapsed().as_secs_f64();
        let gib = task
            .0
            .state()
            .iter()
            .map(|(_, t)| t.numel() as f64 * 4.0)
            .sum::<f64>()
            / f64::from(1 << 30);
        println!(
            "{gib:.2} GiB {what} in {seconds:.2} s: {:.2} GiB/s",
            gib / seconds
        );
    }
    Ok(())
}
