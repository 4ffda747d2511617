//! One loop, compiled for several instruction sets, the best of which is chosen when it runs.
//!
//! A binary that runs on any x86-64 may only assume SSE2; the optimiser's loops take four times as
//! many values at once with AVX-512. The loop itself is written once, in plain Rust, and compiled
//! again for each set by inlining it into a function that has the set enabled.
//!
//! **Invariant:** every instruction set gives the same bytes. Additions, multiplications, divisions
//! and roots are rounded as IEEE 754 says in all of them, the compiler never contracts a product and
//! a sum into one operation by itself, and no loop here asks for it (`mul_add`).

/// A loop with its data. Implementations mark [`Kernel::run`] `#[inline(always)]`, and so every
/// function it calls: what is not inlined is compiled for the plain set.
pub(super) trait Kernel {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run(self) -> Self::Output;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// What the target always has: SSE2 on x86-64, NEON on 64-bit ARM.
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// An instruction set that this processor has: values are only made by the functions below, which
/// ask the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instructions(Level);

impl Instructions {
    /// Those of this processor, the plain ones first and the best last.
    pub(super) fn available() -> impl DoubleEndedIterator<Item = Instructions> {
        let all = [
            Some(Level::Plain),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl"))
            .then_some(Level::Avx512),
        ];
        all.into_iter().flatten().map(Instructions)
    }

    /// The best of this processor.
    pub(super) fn best() -> Instructions {
        Instructions::available()
            .next_back()
            .unwrap_or(Instructions(Level::Plain))
    }

    /// Runs `kernel` with these instructions.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Plain => kernel.run(),
            // SAFETY: the level was only made where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
