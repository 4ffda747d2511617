//! Where the ranks of a run meet, and who this one is: read from the environment.
//!
//! Three starters are understood. `torchrun` and plain variables say `RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
//! `MASTER_ADDR` and `MASTER_PORT`; Slurm's `srun` says as much in variables of its own.

use std::time::Duration;

use crate::error::Error;
use crate::nodelist;

/// What carries tensors between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Gloo, over TCP, for tensors in the host's memory.
    Gloo,
    /// NCCL for tensors on GPUs, and Gloo for the others.
    Nccl,
}

impl Backend {
    /// NCCL where this build knows it and a GPU is there, otherwise Gloo.
    pub fn of_this_machine() -> Backend {
        if cfg!(nccl) && tch::Cuda::is_available() {
            Backend::Nccl
        } else {
            Backend::Gloo
        }
    }
}

/// Where the ranks meet, and which of them this process is.
#[derive(Debug, Clone)]
pub struct Rendezvous {
    /// The host of rank 0, as all ranks know it.
    pub master_addr: String,
    /// The port of the store there.
    pub master_port: u16,
    /// This process's number among all, from 0.
    pub rank: usize,
    /// How many there are.
    pub world: usize,
    /// This process's number on its host, from 0: which of the host's GPUs it takes.
    pub local_rank: usize,
    /// How long ranks wait for each other, at the start and in each collective.
    pub timeout: Duration,
    /// What carries tensors; the environment does not say, so that of this machine.
    pub backend: Backend,
    /// Whether the store is hosted by another process (torchrun's agent), so that rank 0 is its client too.
    pub hosted: bool,
    /// How often the ranks were started again at the same store, which keeps their keys apart.
    pub restart: u32,
    /// The network interface for Gloo; without one, that from which the store is reached.
    pub interface: Option<String>,
    /// Asked while ranks meet: whether the user wants to stop.
    pub interrupted: fn() -> bool,
}

/// How long ranks wait for each other unless `MATH_LLAVA_RANK_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

/// More ranks than any run has; a wrong number must not ask for memory.
const MOST_RANKS: usize = 65_536;

impl Rendezvous {
    /// A meeting of ranks of this host.
    pub fn local(port: u16, rank: usize, world: usize) -> Rendezvous {
        Rendezvous {
            master_addr: "127.0.0.1".to_owned(),
            master_port: port,
            rank,
            world,
            local_rank: rank,
            timeout: TIMEOUT,
            backend: Backend::of_this_machine(),
            hosted: false,
            restart: 0,
            interface: None,
            interrupted: || false,
        }
    }

    /// What the environment says; `None` where it says nothing of ranks.
    ///
    /// # Errors
    /// [`Error::Incomplete`] where some variables are missing, [`Error::Variable`] where one makes no sense.
    pub fn from_env() -> Result<Option<Rendezvous>, Error> {
        Rendezvous::from_lookup(&|name| std::env::var(name).ok())
    }

    /// [`Rendezvous::from_env`] with another environment.
    ///
    /// # Errors
    /// As there.
    pub fn from_lookup(
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Rendezvous>, Error> {
        let env = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let set = |name: &&str| env(name).is_some();
        let place = if ["RANK", "WORLD_SIZE"].iter().any(set) {
            Some(place_by_torch(&env)?)
        } else {
            place_by_slurm(&env)?
        };
        let Some(place) = place else {
            // A rank that believes to be alone would overwrite what the others write.
            let stray: Vec<&str> = ["MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"]
                .into_iter()
                .filter(|name| set(name))
                .collect();
            // One task of Slurm's is no group, whatever a script exports.
            if stray.is_empty() || env("SLURM_STEP_ID").is_some() {
                return Ok(None);
            }
            return Err(Error::Incomplete {
                set: stray.join(" and "),
                missing: "RANK and WORLD_SIZE".to_owned(),
            });
        };
        let seconds = match env("MATH_LLAVA_RANK_TIMEOUT") {
            Some(_) => number(&env, "MATH_LLAVA_RANK_TIMEOUT", 1, 7 * 24 * 3600)?,
            None => TIMEOUT.as_secs(),
        };
        let agent = env("TORCHELASTIC_USE_AGENT_STORE");
        let restart = match env("TORCHELASTIC_RESTART_COUNT") {
            Some(_) => number(&env, "TORCHELASTIC_RESTART_COUNT", 0, u64::from(u32::MAX))?,
            None => 0,
        };
        Ok(Some(Rendezvous {
            timeout: Duration::from_secs(seconds),
            hosted: agent.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            restart: restart as u32,
            interface: env("GLOO_SOCKET_IFNAME"),
            ..place
        }))
    }

    /// Host and port of the store, as errors say it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.master_addr, self.master_port)
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

fn place_by_torch(env: Env<'_>) -> Result<Rendezvous, Error> {
    let needed = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"];
    let (set, missing): (Vec<&str>, Vec<&str>) =
        needed.into_iter().partition(|name| env(name).is_some());
    if !missing.is_empty() {
        return Err(Error::Incomplete {
            set: set.join(" and "),
            missing: missing.join(" and "),
        });
    }
    let local_rank = match env("LOCAL_RANK") {
        Some(_) => number(env, "LOCAL_RANK", 0, MOST_RANKS as u64)?,
        None => 0,
    };
    let port = number(env, "MASTER_PORT", 1, u64::from(u16::MAX))?;
    place(
        env,
        ["RANK", "WORLD_SIZE"],
        local_rank,
        host(env, "MASTER_ADDR")?,
        port,
    )
}

/// `srun` tells every task its number. The batch script around it has some of the same variables, but no step's.
fn place_by_slurm(env: Env<'_>) -> Result<Option<Rendezvous>, Error> {
    if env("SLURM_STEP_ID").is_none() || env("SLURM_PROCID").is_none() {
        return Ok(None);
    }
    let tasks = match env("SLURM_STEP_NUM_TASKS") {
        Some(_) => "SLURM_STEP_NUM_TASKS",
        None => "SLURM_NTASKS",
    };
    for name in [tasks, "SLURM_LOCALID"] {
        if env(name).is_none() {
            return Err(Error::Incomplete {
                set: "SLURM_PROCID".to_owned(),
                missing: name.to_owned(),
            });
        }
    }
    if number(env, tasks, 1, MOST_RANKS as u64)? == 1 {
        return Ok(None);
    }
    let address = match (env("MASTER_ADDR"), nodes(env)) {
        (Some(_), _) => host(env, "MASTER_ADDR")?,
        (None, Some((variable, value))) => {
            nodelist::first_host(&value).map_err(|problem| Error::Variable {
                variable: variable.to_owned(),
                value: shown(&value),
                problem,
            })?
        }
        (None, None) => {
            return Err(Error::Incomplete {
                set: "SLURM_PROCID".to_owned(),
                missing: "SLURM_JOB_NODELIST (or MASTER_ADDR)".to_owned(),
            });
        }
    };
    let port = match env("MASTER_PORT") {
        Some(_) => number(env, "MASTER_PORT", 1, u64::from(u16::MAX))?,
        None => port_of_job(env)?,
    };
    let local_rank = number(env, "SLURM_LOCALID", 0, MOST_RANKS as u64)?;
    place(env, ["SLURM_PROCID", tasks], local_rank, address, port).map(Some)
}

/// The step's own hosts, which may be fewer than the job's.
fn nodes(env: Env<'_>) -> Option<(&'static str, String)> {
    ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"]
        .into_iter()
        .find_map(|name| Some((name, env(name)?)))
}

/// A port that all tasks of a step know and other steps rarely have, below those that systems give to clients.
fn port_of_job(env: Env<'_>) -> Result<u64, Error> {
    let job = match env("SLURM_JOB_ID") {
        Some(_) => number(env, "SLURM_JOB_ID", 0, u64::from(u32::MAX))?,
        None => 0,
    };
    let step = number(env, "SLURM_STEP_ID", 0, u64::from(u32::MAX))?;
    Ok(20_000 + (job + step) % 12_000)
}

fn place(
    env: Env<'_>,
    [rank_name, world_name]: [&str; 2],
    local_rank: u64,
    master_addr: String,
    port: u64,
) -> Result<Rendezvous, Error> {
    let world = number(env, world_name, 1, MOST_RANKS as u64)?;
    let rank = number(env, rank_name, 0, world - 1)?;
    Ok(Rendezvous {
        master_addr,
        local_rank: local_rank as usize,
        ..Rendezvous::local(port as u16, rank as usize, world as usize)
    })
}

fn number(env: Env<'_>, variable: &str, least: u64, most: u64) -> Result<u64, Error> {
    let value = env(variable).unwrap_or_default();
    match value.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::Variable {
            variable: variable.to_owned(),
            value: shown(&value),
            problem: format!("it must be a whole number from {least} to {most}"),
        }),
    }
}

fn host(env: Env<'_>, variable: &str) -> Result<String, Error> {
    let value = env(variable).unwrap_or_default();
    let host = value.trim();
    // Names, and addresses of both kinds; 253 characters are DNS's longest name.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
    if host.len() <= 253 && host.chars().all(fits) {
        return Ok(host.to_owned());
    }
    Err(Error::Variable {
        variable: variable.to_owned(),
        value: shown(&value),
        problem: "it must be a host's name or address, without a port".to_owned(),
    })
}

/// As much of a foreign text as a message has room for.
fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests;
