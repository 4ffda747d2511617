//! Reads a PEFT adapter and writes it again, to see that PEFT opens what is written:
//!
//!     copy_adapter MODEL FROM TO
//!     python scripts/check_convert.py MODEL --like MODEL --adapter TO

use std::path::Path;

use model::{Adapter, LlavaConfig};
use tch::{Device, Kind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, from, to] = &arguments[..] else {
        return Err("give MODEL FROM TO".into());
    };
    let adapter = Adapter::read(Path::new(from), Device::Cpu, Kind::Float)?;
    let base = LlavaConfig::read(Path::new(base))?;
    Ok(adapter.write(&base, Path::new(to))?)
}
