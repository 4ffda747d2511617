//! libtorch's process groups: processes that meet at a store and make sums together.
//!
//! The engine that PyTorch itself scales on: `TCPStore` to meet at, Gloo between CPUs, NCCL between GPUs. All of
//! it is inside libtorch's libraries; its C API has none of it, so this crate binds it by `cxx`.
//!
//! Around it is what a run of many processes needs and libtorch leaves to Python: who this rank is ([`Rendezvous`]),
//! and which rank is the reason when a collective does not end ([`Error`]).

mod binding;
mod error;
mod group;
mod meeting;
mod nodelist;
mod pending;
mod record;
mod rendezvous;
mod scratch;
mod verdict;
mod watch;

pub use error::{Error, Name};
pub use group::{Group, Op};
pub use pending::Pending;
pub use rendezvous::{Backend, Rendezvous};
