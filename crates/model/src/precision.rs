//! Which type the matrix products run in.
//!
//! bf16 is about twice as fast as f32 where the processor multiplies it (AVX-512 BF16, AMX), and
//! several times slower where it is emulated, so the default is to look.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// What the user asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the device multiplies it, f32 elsewhere.
    #[default]
    Auto,
    /// Always f32.
    Float32,
    /// Always bf16, even where that is slow.
    Bfloat16,
}

impl Precision {
    /// The type to compute in, and a sentence for the user that says why.
    pub fn resolve(self, device: Device) -> (Kind, &'static str) {
        match self {
            Precision::Float32 => (Kind::Float, "f32, as configured"),
            Precision::Bfloat16 => (Kind::BFloat16, "bf16, as configured"),
            Precision::Auto if device.is_cuda() => (Kind::BFloat16, "bf16 on the GPU"),
            Precision::Auto if device == Device::Cpu && cpu_has_bf16() => (
                Kind::BFloat16,
                "bf16: this processor multiplies it in hardware",
            ),
            Precision::Auto => (Kind::Float, "f32: no bf16 multiplication in hardware here"),
        }
    }
}

/// Whether this processor multiplies bf16 in hardware.
#[cfg(target_arch = "x86_64")]
pub fn cpu_has_bf16() -> bool {
    // AMX has no stable detection macro; the kernel lists it.
    std::arch::is_x86_feature_detected!("avx512bf16") || cpuinfo_lists("amx_bf16")
}

/// Whether this processor multiplies bf16 in hardware.
#[cfg(target_arch = "aarch64")]
pub fn cpu_has_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

/// Whether this processor multiplies bf16 in hardware.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn cpu_has_bf16() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn cpuinfo_lists(flag: &str) -> bool {
    let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else {
        return false;
    };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|word| word == flag))
}
