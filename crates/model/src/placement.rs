//! Where a model computes, and in which type: `--device` and `--dtype`.
//!
//! One binary serves machines with and without a GPU: it is linked to libtorch's CPU libraries, and
//! the CUDA ones are opened when a GPU is asked for, or looked for, and they lie where the others do.

use tch::{Cuda, Device, Kind};

use crate::{Error, cpu_has_bf16};

/// A device and the type of its matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Where weights are and products run.
    pub device: Device,
    /// The type they run in.
    pub kind: Kind,
    /// Why this type, for the user.
    pub reason: &'static str,
}

impl Placement {
    /// What `--device` (`auto`, `cpu`, `cuda`, `cuda:N`, `mps`) and `--dtype` (`auto`, `f32`,
    /// `bf16`, `f16`) stand for on this machine.
    ///
    /// # Errors
    /// Words that are none of these; a device that is not here; f16 on a CPU, which libtorch computes
    /// too slowly to be meant.
    pub fn choose(device: &str, dtype: &str) -> Result<Placement, Error> {
        let device = choose_device(device)?;
        let (kind, reason) = match dtype {
            "f32" | "float32" => (Kind::Float, "as asked"),
            "bf16" | "bfloat16" => (Kind::BFloat16, "as asked"),
            "f16" | "float16" if device == Device::Cpu => {
                return Err(Error::Config(
                    "--dtype f16 is for GPUs: on a CPU take bf16 or f32".into(),
                ));
            }
            "f16" | "float16" => (Kind::Half, "as asked"),
            "auto" => match device {
                Device::Cuda(_) => (Kind::BFloat16, "this GPU multiplies it in hardware"),
                Device::Cpu if cpu_has_bf16() => {
                    (Kind::BFloat16, "this processor multiplies it in hardware")
                }
                _ => (Kind::Float, "no bf16 multiplication in hardware here"),
            },
            other => {
                return Err(Error::Config(format!(
                    "--dtype {other:?} is none of auto, f32, bf16 and f16"
                )));
            }
        };
        Ok(Placement {
            device,
            kind,
            reason,
        })
    }

    /// Bytes of memory that are free on a GPU; `None` elsewhere, and where its library does not say.
    pub fn free_gpu_memory(&self) -> Option<u64> {
        match self.device {
            Device::Cuda(_) => free_cuda_memory(),
            _ => None,
        }
    }

    /// For the user: `bf16 on the CPU (this processor multiplies it in hardware)`.
    pub fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::BFloat16 => "bf16",
            Kind::Half => "f16",
            _ => "f32",
        };
        let device = match self.device {
            Device::Cpu => "the CPU".to_owned(),
            Device::Cuda(index) => format!("GPU {index}"),
            other => format!("{other:?}"),
        };
        format!("{kind} on {device} ({})", self.reason)
    }
}

fn choose_device(device: &str) -> Result<Device, Error> {
    let gpu = |index: usize| {
        load_cuda();
        let there = usize::try_from(Cuda::device_count()).unwrap_or(0);
        if index < there {
            return Ok(Device::Cuda(index));
        }
        Err(Error::Config(if there == 0 {
            "--device cuda: libtorch sees no GPU. It needs an NVIDIA driver and a libtorch with CUDA: \
             put the `lib` folder of a PyTorch 2.11 for CUDA first in LD_LIBRARY_PATH"
                .to_owned()
        } else {
            format!("--device cuda:{index}: there are {there} GPUs, counted from 0")
        }))
    };
    match device {
        "cpu" => Ok(Device::Cpu),
        "cuda" => gpu(0),
        "auto" => {
            if std::path::Path::new("/dev/nvidiactl").exists()
                && let Ok(found) = gpu(0)
            {
                return Ok(found);
            }
            Ok(Device::Cpu)
        }
        "mps" if tch::utils::has_mps() => Ok(Device::Mps),
        "mps" => Err(Error::Config(
            "--device mps: this libtorch has no Metal; it is for Apple's processors".into(),
        )),
        other => match other.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
            Some(index) => gpu(index),
            None => Err(Error::Config(format!(
                "--device {other:?} is none of auto, cpu, cuda, cuda:N and mps"
            ))),
        },
    }
}

/// Of the GPU that is in use, as CUDA's run-time library says it.
#[cfg(target_os = "linux")]
fn free_cuda_memory() -> Option<u64> {
    type MemGetInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> libc::c_int;
    // SAFETY: a constant name, looked up among the libraries that are open.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"cudaMemGetInfo".as_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: CUDA's documentation gives the function this type: two places to write to, a status.
    let ask: MemGetInfo = unsafe { std::mem::transmute(found) };
    let (mut free, mut total) = (0usize, 0usize);
    // SAFETY: both places are alive for the call.
    let status = unsafe { ask(&raw mut free, &raw mut total) };
    (status == 0 && free <= total).then_some(free as u64)
}

/// There is no CUDA elsewhere.
#[cfg(not(target_os = "linux"))]
fn free_cuda_memory() -> Option<u64> {
    None
}

/// Opens libtorch's CUDA library where the loader finds it; that registers its kernels with the
/// libtorch that is running. The linker would drop it as unused, and most machines have none.
fn load_cuda() {
    #[cfg(target_os = "linux")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            // SAFETY: a constant name; the library's initialisers are libtorch's own, and it is never
            // closed.
            let _ = unsafe {
                libc::dlopen(
                    c"libtorch_cuda.so".as_ptr(),
                    libc::RTLD_NOW | libc::RTLD_GLOBAL,
                )
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_devices_and_types_or_a_message_that_lists_them() {
        let f32 = Placement::choose("cpu", "f32").unwrap();
        assert_eq!((f32.device, f32.kind), (Device::Cpu, Kind::Float));
        assert_eq!(f32.describe(), "f32 on the CPU (as asked)");
        let chosen = Placement::choose("cpu", "auto").unwrap().kind;
        assert_eq!(chosen == Kind::BFloat16, cpu_has_bf16());
        for (device, dtype, word) in [
            ("tpu", "auto", "cuda:N"),
            ("cuda:x", "auto", "cuda:N"),
            ("cuda:-1", "auto", "cuda:N"),
            ("cpu", "int3", "bf16"),
            ("cpu", "f16", "for GPUs"),
            ("cuda:4096", "auto", "GPU"),
        ] {
            let error = Placement::choose(device, dtype).unwrap_err().to_string();
            assert!(error.contains(word), "{device} {dtype}: {error}");
        }
    }
}
