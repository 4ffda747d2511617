//! `math-llava convert`: a checkpoint of any form as one that other programs open.
//!
//! What loading found is printed, so that nothing is dropped in silence.

use anyhow::{Result, bail};

use crate::args::Convert;

/// Writes the checkpoint again.
#[cfg(feature = "torch")]
pub fn run(arguments: &Convert) -> Result<bool> {
    use crate::args::{ConvertTo, ConvertType};
    use model::gguf::GgufType;
    use model::{Adapter, Checkpoint, LoadOptions, WeightKind};
    use tch::{Device, Kind};

    let checkpoint = Checkpoint::open(&arguments.model)?;
    // As in the files: nothing is rounded before it is written.
    let kind = checkpoint.stored_kind()?;
    let dtype = arguments.dtype.unwrap_or(match (arguments.to, kind) {
        (ConvertTo::Hf, Kind::Half) => ConvertType::F16,
        (ConvertTo::Hf, Kind::BFloat16) => ConvertType::Bf16,
        (ConvertTo::Hf, _) => ConvertType::F32,
        (ConvertTo::Gguf | ConvertTo::Mmproj, _) => ConvertType::F16,
    });
    let stored = match (arguments.to, dtype) {
        (ConvertTo::Hf, ConvertType::F32) => Some(WeightKind::Float32),
        (ConvertTo::Hf, ConvertType::Bf16) => Some(WeightKind::Bfloat16),
        (ConvertTo::Hf, ConvertType::F16) => Some(WeightKind::Float16),
        (ConvertTo::Gguf, ConvertType::F16 | ConvertType::Q8_0) => None,
        (ConvertTo::Mmproj, ConvertType::F16) => None,
        (ConvertTo::Hf, _) => bail!("folders are written in f32, f16 or bf16"),
        (ConvertTo::Gguf, _) => bail!("GGUF files are written in f16 or q8_0"),
        (ConvertTo::Mmproj, _) => bail!("mmproj files are written in f16"),
    };
    if arguments.out.exists() && !(arguments.dry_run || arguments.force) {
        bail!(
            "{} is there already: give another path, or --force to write over it",
            arguments.out.display()
        );
    }
    if arguments.dry_run {
        let report = checkpoint.plan()?;
        println!("{report}");
        if let Some(adapter) = &arguments.adapter {
            let adapter = Adapter::read(adapter, Device::Cpu, Kind::Float)?;
            println!("adapter: {} tensors", adapter.parameters().len());
        }
        return Ok(report.missing.is_empty());
    }
    // Sums are rounded once: in the written type where the files have it, else they stay f32 until then.
    let same = matches!(
        (dtype, kind),
        (ConvertType::Bf16, Kind::BFloat16) | (ConvertType::F16, Kind::Half)
    );
    let kind = if arguments.adapter.is_some() && !same {
        Kind::Float
    } else {
        kind
    };
    let (mut model, report) = checkpoint.load(&LoadOptions {
        kind,
        ..LoadOptions::default()
    })?;
    println!("{report}");
    if let Some(folder) = &arguments.adapter {
        let adapter = Adapter::read(folder, Device::Cpu, Kind::Float)?;
        println!(
            "merged {} tensors of the adapter",
            adapter.parameters().len()
        );
        model = model.merged(&adapter)?;
    }
    match (arguments.to, stored) {
        (ConvertTo::Mmproj, _) => {
            model::gguf::write_mmproj(&model, &checkpoint.preprocessor()?, &arguments.out)?;
        }
        (_, Some(stored)) => checkpoint.write(&model, &arguments.out, stored)?,
        (_, None) => {
            let kind = match dtype {
                ConvertType::Q8_0 => GgufType::Q8_0,
                _ => GgufType::F16,
            };
            let tokenizer = checkpoint.tokenizer()?;
            // Decoders that were not taught to talk have none.
            let form = checkpoint.prompt_form().ok();
            model::gguf::write_decoder(&model, &tokenizer, form.as_ref(), &arguments.out, kind)?;
        }
    }
    println!("written to {}", arguments.out.display());
    Ok(true)
}

/// Says why it cannot be written.
#[cfg(not(feature = "torch"))]
pub fn run(arguments: &Convert) -> Result<bool> {
    bail!(
        "this build has no libtorch and cannot convert {}: build it with the feature torch",
        arguments.model.display()
    );
}
