//! Adapters as PEFT keeps them: `adapter_config.json` beside one file of tensors.
//!
//! Names in the file are `base_model.model.` and the module's name in the adapted model, whichever
//! naming that had, so they go through the same table as weights do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use super::config::{AdapterConfig, to_json};
use super::{Adapter, Update};
use crate::checkpoint::{pretty, write_safetensors};
use crate::weights::names::{internal_name, published_name};
use crate::weights::{TensorFile, open};
use crate::{Error, LlavaConfig};

const ROOT: &str = "base_model.model.";
/// An adapter is small beside its model; this many numbers are a model.
const MAX_ELEMENTS: usize = 1 << 33;

/// What a tensor of the file is.
#[derive(Debug, PartialEq)]
enum Role {
    A(String),
    B(String),
    Whole(String),
}

pub(super) fn read(dir: &Path, device: Device, kind: Kind) -> Result<Adapter, Error> {
    let config = AdapterConfig::read(dir)?;
    let mut updates: BTreeMap<String, (Option<Tensor>, Option<Tensor>)> = BTreeMap::new();
    let mut replaced: BTreeMap<String, Tensor> = BTreeMap::new();
    for path in files(dir)? {
        let file = open(&path)?;
        check_size(file.as_ref())?;
        for (index, info) in file.tensors().iter().enumerate() {
            sample::interrupt::check()?;
            let fault = |detail: &str| Error::Tensor {
                path: path.clone(),
                name: info.name.clone(),
                detail: detail.to_owned(),
            };
            let role = role(&info.name).map_err(|detail| fault(&detail))?;
            if !matches!(
                info.kind,
                Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double
            ) {
                return Err(fault("is of no type that weights have"));
            }
            let (tensor, finite) = file.read_as(index, kind)?;
            if !finite {
                sample::progress::note(&format!(
                    "warning: {}: tensor {} holds NaN or infinite values",
                    path.display(),
                    info.name
                ));
            }
            let tensor = tensor.f_to_device(device)?;
            let before = match role {
                Role::A(module) => updates.entry(module).or_default().0.replace(tensor),
                Role::B(module) => updates.entry(module).or_default().1.replace(tensor),
                Role::Whole(name) => replaced.insert(name, tensor),
            };
            if before.is_some() {
                return Err(fault("is there twice, under two names"));
            }
        }
    }
    let mut all = Vec::with_capacity(updates.len());
    for (module, pair) in updates {
        let broken = |detail: String| Error::Weights {
            path: dir.to_owned(),
            detail: format!("the adapter's update of {module} {detail}"),
        };
        let (Some(a), Some(b)) = pair else {
            return Err(broken("is only half there".into()));
        };
        let (rank, scale) = config.of_module(&module)?;
        if a.size().first() != Some(&rank) || a.dim() != 2 || b.dim() != 2 {
            return Err(broken(format!(
                "has shapes {:?} and {:?}, but adapter_config.json gives it rank {rank}",
                a.size(),
                b.size()
            )));
        }
        all.push(Update {
            module: internal_module(&module),
            a,
            b,
            scale,
        });
    }
    let replaced = replaced
        .into_iter()
        .filter_map(|(name, tensor)| Some((internal_name(&name)?, tensor)))
        .collect();
    Ok(Adapter {
        base: config.base,
        dropout: config.lora_dropout,
        updates: all,
        replaced,
    })
}

/// The adapter's tensors, and what the original LLaVA's training writes beside them.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let main = ["adapter_model.safetensors", "adapter_model.bin"]
        .into_iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Weights {
            path: dir.to_owned(),
            detail: "has neither adapter_model.safetensors nor adapter_model.bin".into(),
        })?;
    let beside = dir.join("non_lora_trainables.bin");
    Ok(std::iter::once(main)
        .chain(beside.is_file().then_some(beside))
        .collect())
}

fn check_size(file: &dyn TensorFile) -> Result<(), Error> {
    let total = file.tensors().iter().try_fold(0usize, |total, info| {
        total
            .checked_add(crate::weights::element_count(&info.shape)?)
            .filter(|&total| total <= MAX_ELEMENTS)
    });
    total.map(|_| ()).ok_or_else(|| Error::Weights {
        path: file.path().to_owned(),
        detail: "is larger than any adapter".into(),
    })
}

/// The model's name for a module.
fn internal_module(module: &str) -> String {
    let weight = internal_name(&format!("{module}.weight"));
    let bare = weight
        .as_deref()
        .and_then(|name| name.strip_suffix(".weight"));
    bare.unwrap_or(module).to_owned()
}

/// What a name says; modules keep the name they have in the file.
fn role(name: &str) -> Result<Role, String> {
    let bare = name.strip_prefix(ROOT).unwrap_or(name);
    for (mark, low_rank) in [
        (".lora_A.", Role::A as fn(String) -> Role),
        (".lora_B.", Role::B as fn(String) -> Role),
    ] {
        if let Some((module, leaf)) = bare.split_once(mark) {
            // Files of trainings that were cut short name the adapter as well.
            return if ["weight", "default.weight"].contains(&leaf) {
                Ok(low_rank(module.to_owned()))
            } else {
                Err("is a part of LoRA that is not computed here".into())
            };
        }
    }
    if bare.contains("lora_") {
        return Err("is a part of LoRA that is not computed here".into());
    }
    let whole = bare
        .replace(".modules_to_save.default.", ".")
        .replace(".modules_to_save.", ".")
        // The weight below an update, which PEFT saves of embeddings and output layers.
        .replace(".base_layer.", ".");
    Ok(Role::Whole(whole))
}

pub(super) fn write(adapter: &Adapter, config: &LlavaConfig, dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(|e| sample::Error::io(dir, e))?;
    let published = |name: &str| published_name(name, config.vision_config.is_some());
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut modules = Vec::new();
    for update in &adapter.updates {
        let module = published(&update.module);
        for (part, tensor) in [("lora_A", &update.a), ("lora_B", &update.b)] {
            let name = format!("{ROOT}{module}.{part}.weight");
            tensors.push((name, tensor.shallow_clone()));
        }
        modules.push((module, update.a.size()[0], update.scale));
    }
    let mut saved: Vec<String> = Vec::new();
    for (name, tensor) in &adapter.replaced {
        let name = published(name);
        let Some((module, leaf)) = name.rsplit_once('.') else {
            continue;
        };
        let stored = if modules.iter().any(|(updated, ..)| updated == module) {
            format!("{ROOT}{module}.base_layer.{leaf}")
        } else {
            if saved.iter().all(|known| known != module) {
                saved.push(module.to_owned());
            }
            format!("{ROOT}{name}")
        };
        tensors.push((stored, tensor.shallow_clone()));
    }
    let all = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.shallow_clone()));
    write_safetensors(&dir.join("adapter_model.safetensors"), all, None)?;
    let text = pretty(&to_json(
        adapter.base.as_deref(),
        adapter.dropout,
        &modules,
        &saved,
    ))?;
    sample::write_atomic(&dir.join("adapter_config.json"), text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_file_say_what_a_tensor_is() {
        let module = || "model.layers.0.self_attn.q_proj".to_owned();
        let cases = [
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                Role::A(module()),
            ),
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight",
                Role::B(module()),
            ),
            (
                "base_model.model.lm_head.weight",
                Role::Whole("lm_head.weight".into()),
            ),
            (
                "base_model.model.lm_head.modules_to_save.weight",
                Role::Whole("lm_head.weight".into()),
            ),
            (
                "base_model.model.lm_head.base_layer.weight",
                Role::Whole("lm_head.weight".into()),
            ),
            (
                "model.mm_projector.0.bias",
                Role::Whole("model.mm_projector.0.bias".into()),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(role(name).unwrap(), expected);
        }
        for refused in [
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "base_model.model.x.lora_magnitude_vector",
            "base_model.model.x.lora_B.bias",
        ] {
            assert!(role(refused).is_err(), "{refused}");
        }
    }
}
