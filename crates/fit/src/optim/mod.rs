//! AdamW, and how its weights and states are held.
//!
//! | weights | states | bytes a parameter, weights and states |
//! | --- | --- | --- |
//! | f32 | f32 | 12 |
//! | bf16, stochastic rounding | f32 | 10 |
//! | f32 | 8 bits in blocks | 6.03 |
//! | bf16, stochastic rounding | 8 bits in blocks | 4.03 |
//!
//! Each form has one loop for CPUs and the same in tensor operations for other devices.

mod adamw;
mod dynamic_map;
mod elements;
mod formula;
mod fused;
mod instructions;
mod moments;
mod norm;
mod owned;
mod rounding;
mod tensors;
#[cfg(test)]
mod tests;

pub use adamw::{AdamW, Hyper, Param};
pub use moments::States;
pub use norm::{clip_factor, squared_norm};
pub(crate) use owned::Held;
pub use owned::owned;
