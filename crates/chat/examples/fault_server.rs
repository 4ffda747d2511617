//! A server that speaks OpenAI's chat completions and Batch API and does wrong on demand: what a
//! teacher's bad day looks like, for trying a configuration and for measuring.
//!
//! ```text
//! cargo run --release -p chat --example fault_server -- --port 8123 \
//!     --limited 0.1 --reset 0.05 --latency-ms 200 --slots 64 --seed 7
//! curl localhost:8123/stats
//! ```
//! Each fault of [`server::Trouble::ALL`] is a flag with its share of tries; `--fixed TEXT` answers
//! always the same without reading the body, as fast as it goes; `--slow-ms`, `--most-faults`,
//! `--retry-after`, `--clock-off`, `--rpm`, `--honour-keys 1`, `--batch-polls`, `--batch-failures` and
//! `--batch-expires-after` set the rest.
#![allow(clippy::print_stdout)]

#[path = "../tests/server/mod.rs"]
mod server;

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use server::{Answer, Script, Server, Trouble};

fn main() -> Result<(), Box<dyn Error>> {
    let mut script = Script::default();
    let mut port = 0;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} wants a value"))?;
        let name = flag.strip_prefix("--").unwrap_or(&flag);
        let milliseconds = || read(&flag, &value).map(Duration::from_millis);
        let trouble = Trouble::ALL.iter().find(|(_, word)| *word == name);
        if let Some((trouble, _)) = trouble {
            script.faults.push((*trouble, read(&flag, &value)?));
            continue;
        }
        match name {
            "port" => port = read(&flag, &value)?,
            "seed" => script.seed = read(&flag, &value)?,
            "slots" => script.slots = read(&flag, &value)?,
            "latency-ms" => script.latency = milliseconds()?,
            "slow-ms" => script.slow = milliseconds()?,
            "most-faults" => script.most_faults = read(&flag, &value)?,
            "retry-after" => script.retry_after = read(&flag, &value)?,
            "clock-off" => script.clock_off = Some(read(&flag, &value)?),
            "rpm" => script.requests_per_minute = Some(read(&flag, &value)?),
            "honour-keys" => script.honours_keys = value == "1",
            "fixed" => script.answer = Answer::Fixed(value),
            "batch-polls" => script.batch_polls = read(&flag, &value)?,
            "batch-failures" => script.batch_failures = read(&flag, &value)?,
            "batch-expires-after" => script.batch_expires_after = Some(read(&flag, &value)?),
            _ => return Err(format!("{flag} is not known").into()),
        }
    }
    let server = Server::on(port, script)?;
    println!("{}", server.url());
    server.wait();
    Ok(())
}

fn read<T: FromStr>(flag: &str, value: &str) -> Result<T, Box<dyn Error>> {
    let read = value.parse().ok();
    read.ok_or_else(|| format!("{flag} cannot be {value}").into())
}
