//! The arguments of `math-llava train`.

use std::path::PathBuf;

use clap::Args;

/// `math-llava train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Trains what the configuration's [train] section says, on the pairs that `synth` left in the run's folder, or
on conversations in LLaVA's JSON. The same command goes on after a stop: Ctrl-C and SIGTERM save a
checkpoint first, from which any number of ranks may go on. Several processes train together where RANK,
WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set, as torchrun does, or under Slurm's srun; docs/distributed.md
has worked examples. Examples:
  math-llava train configs/tiny.toml
  math-llava train configs/math-llava-7b.toml --dry-run
  math-llava train configs/math-llava-7b.toml --dry-run --ranks 8,64 --network-speed 50
  math-llava train configs/math-llava-7b.toml --base models/llava-v1.5-7b --conversations pairs.json --images images
  math-llava train configs/llava-tune.toml --set train.lora.rank=64 --set train.lora.quantise_base=true --set train.lr=2e-4
  math-llava train configs/math-llava-7b.toml --nproc 8
  torchrun --no-python --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint node0:29500 \\
    math-llava train configs/math-llava-7b.toml
  tensorboard --logdir runs/math-llava-7b/train/tensorboard

Exit status: 0 done, or stopped by SIGTERM with everything saved; 2 an error; 130 stopped by Ctrl-C.")]
pub struct Train {
    /// The run's configuration
    #[arg(value_name = "CONFIG", required_unless_present = "config_option")]
    pub config: Option<PathBuf>,
    /// The same, as the other stages take it
    #[arg(long = "config", value_name = "FILE", conflicts_with = "config")]
    pub config_option: Option<PathBuf>,
    /// The run's folder (default: the configuration's `out`)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The model to begin with (train.base.model)
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Conversations in LLaVA's JSON to train on (train.data.conversations)
    #[arg(long, value_name = "FILE", requires = "images")]
    pub conversations: Option<PathBuf>,
    /// The folder of their images (train.data.images)
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Train with N processes on this machine (ranks); each has the configuration's `threads`, or a GPU of its own
    #[arg(long, value_name = "N", conflicts_with = "dry_run")]
    pub nproc: Option<usize>,
    /// Say how much memory and time it would take, from a few steps, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: as JSON
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// With --dry-run: also what a step would take on so many ranks, such as 2,8,64
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        requires = "dry_run"
    )]
    pub ranks: Vec<usize>,
    /// With --ranks: gigabytes a second that a rank sends while it receives as many
    #[arg(long, value_name = "GB/S", default_value_t = 25.0, requires = "ranks")]
    pub network_speed: f64,
    /// With --ranks: microseconds until a message begins to arrive
    #[arg(long, value_name = "US", default_value_t = 20.0, requires = "ranks")]
    pub network_latency: f64,
    /// Replace what another configuration left there
    #[arg(long)]
    pub force: bool,
    /// A value of the configuration to change for this run, such as train.lr=2e-5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}
