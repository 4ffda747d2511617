//! A group of ranks and what they do together.
//!
//! **Invariant:** every rank of a group calls the same collectives in the same order, with tensors of the same
//! shape and kind. A group of one ([`Group::alone`]) needs no store and leaves every tensor as it is.
//!
//! **Order of sums.** [`Group::start_reduce_scatter`], [`Group::sums`] and [`Group::largest`] add up in the order of
//! ranks, in f32 where the tensor is bf16 or f16. [`Group::all_reduce`] is the backend's: Gloo's ring gives each part
//! of the tensor another rank to begin with, and rounds at every addition. Either way all ranks get the same bits.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::binding::{self, Failure, Store, Work};
use crate::error::Error;
use crate::meeting::{self, Met};
use crate::pending::{Finish, Pending};
use crate::rendezvous::Rendezvous;
use crate::scratch::{self, Scratch};
use crate::watch::Watch;

/// How values of the ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The largest.
    Max,
}

/// The ranks of a run, seen from one of them.
#[derive(Debug)]
pub struct Group {
    rank: usize,
    world: usize,
    local_rank: usize,
    joined: Option<Arc<Joined>>,
}

/// What a rank of several holds until it leaves.
pub(crate) struct Joined {
    pub(crate) watch: Watch,
    pub(crate) timeout: std::time::Duration,
    pub(crate) scratch: Scratch,
    backends: Mutex<Option<Backends>>,
    /// Hosts the store, or keeps the connection that Gloo may still look up addresses with.
    store: Option<Store>,
    hosts: bool,
    /// Cleared when a collective is given up: libtorch's threads may be in it still.
    pub(crate) whole: std::sync::atomic::AtomicBool,
}

struct Backends {
    gloo: binding::Backend,
    nccl: Option<binding::Backend>,
}

/// The largest message of all ranks together, in bytes: what peers announce is not believed beyond it.
const LARGEST: i64 = 1 << 31;

/// Kinds that libtorch's backends add up.
const KINDS: &[Kind] = &[
    Kind::Uint8,
    Kind::Int8,
    Kind::Int,
    Kind::Int64,
    Kind::Half,
    Kind::BFloat16,
    Kind::Float,
    Kind::Double,
];

impl Group {
    /// One rank by itself: every collective is the identity.
    pub fn alone() -> Group {
        Group {
            rank: 0,
            world: 1,
            local_rank: 0,
            joined: None,
        }
    }

    /// Meets the other ranks of a run.
    ///
    /// # Errors
    /// A port in use, a store that does not answer, ranks that do not come within the time limit, ranks that were
    /// started differently: who and where is said.
    pub fn join(place: &Rendezvous) -> Result<Group, Error> {
        let Met {
            watch,
            gloo,
            nccl,
            store,
            hosts,
        } = meeting::meet(place)?;
        let joined = Joined {
            watch,
            timeout: place.timeout,
            scratch: Scratch::default(),
            backends: Mutex::new(Some(Backends { gloo, nccl })),
            store: Some(store),
            hosts,
            whole: true.into(),
        };
        Ok(Group {
            rank: place.rank,
            world: place.world,
            local_rank: place.local_rank,
            joined: Some(Arc::new(joined)),
        })
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn world(&self) -> usize {
        self.world
    }

    /// This rank's number on its host, from 0.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Whether this rank is the one that writes.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Replaces `tensor` on every rank by the ranks' sum, least or largest. The sum's order is the
    /// backend's, and the same on every rank.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<(), Error> {
        self.start_all_reduce(tensor, op)?.wait()
    }

    /// Begins [`Group::all_reduce`].
    ///
    /// # Errors
    /// [`Error::Unfit`] for a tensor that is not contiguous or of another kind than the backends know.
    pub fn start_all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Pending, Error> {
        fits("all_reduce", tensor)?;
        let op = match op {
            Op::Sum => 0,
            Op::Min => 1,
            Op::Max => 2,
        };
        self.start(tensor, Finish::Nothing, |backend| {
            backend.all_reduce(tensor, op)
        })
    }

    /// Begins adding up the ranks' `input`, `[world * n]`, and giving rank `r` elements `r * n..` as its
    /// `output`, `[n]`. The sum is made in the order of ranks (NCCL: in its own).
    ///
    /// # Errors
    /// [`Error::Unfit`] as for [`Group::start_all_reduce`], and for shapes that do not go together.
    pub fn start_reduce_scatter(&self, output: &Tensor, input: &Tensor) -> Result<Pending, Error> {
        let (input, output) = self.parts_fit("reduce_scatter", input, output)?;
        if self.joined.is_none() {
            return copied(&output, &input);
        }
        if input.device().is_cuda() {
            return self.start(&input, Finish::Nothing, |backend| {
                backend.reduce_scatter(&output, &input)
            });
        }
        // Gloo's own is an all_reduce of everything; to send each rank its parts is half of that.
        let buffer = self.scratch(&input)?;
        let parts = scratch::view(&buffer, input.size1()?, input.kind())?; // [world * n]
        let rows = parts.f_view([self.world as i64, output.size1()?])?; // [world, n]
        let finish = Finish::Sum {
            rows,
            output,
            buffer,
        };
        self.start(&input, finish, |backend| backend.all_to_all(&parts, &input))
    }

    /// Begins putting all ranks' `input`, `[n]`, into `output`, `[world * n]`, in the order of ranks.
    ///
    /// # Errors
    /// As [`Group::start_reduce_scatter`].
    pub fn start_all_gather(&self, output: &Tensor, input: &Tensor) -> Result<Pending, Error> {
        let (output, input) = self.parts_fit("all_gather", output, input)?;
        if self.joined.is_none() {
            return copied(&output, &input);
        }
        if input.device().is_cuda() {
            return self.start(&input, Finish::Nothing, |backend| {
                backend.all_gather(&output, &input)
            });
        }
        // Gloo's own gathers into fresh memory and copies from there; the same parts for everybody need none.
        let buffer = self.scratch(&output)?;
        let copies = scratch::view(&buffer, output.size1()?, input.kind())?; // [world * n]
        let rows = copies.f_view([self.world as i64, input.size1()?])?; // [world, n]
        tch::no_grad(|| rows.shallow_clone().f_copy_(&input.detach()))?;
        self.start(&input, Finish::Return { buffer }, |backend| {
            backend.all_to_all(&output, &copies)
        })
    }

    /// Replaces `tensor` on every rank by that of rank `from`.
    ///
    /// # Errors
    /// As [`Group::all_reduce`], and [`Error::Unfit`] where there is no such rank.
    pub fn broadcast(&self, tensor: &Tensor, from: usize) -> Result<(), Error> {
        fits("broadcast", tensor)?;
        if from >= self.world {
            return Err(Error::Unfit {
                collective: "broadcast",
                problem: format!("there is no rank {from} among {}", self.world),
            });
        }
        let started = self.start(tensor, Finish::Nothing, |backend| {
            backend.broadcast(tensor, from as i64)
        });
        started?.wait()
    }

    /// Waits until every rank is here.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn barrier(&self) -> Result<(), Error> {
        self.all_reduce(&Tensor::f_zeros([1], (Kind::Uint8, Device::Cpu))?, Op::Max)
    }

    /// The ranks' sums of a few numbers, added up in the order of ranks.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn sums(&self, values: &[f64]) -> Result<Vec<f64>, Error> {
        self.folded(values, |sum, value| sum + value)
    }

    /// The ranks' largest of a few numbers; not a number where one of them is not.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn largest(&self, values: &[f64]) -> Result<Vec<f64>, Error> {
        self.folded(values, |most, value| {
            if value > most || value.is_nan() {
                value
            } else {
                most
            }
        })
    }

    /// What every rank has to say, by rank; each may be of another length.
    ///
    /// # Errors
    /// As [`Pending::wait`]; [`Error::Unfit`] where the messages are larger than 2 GiB together.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        if self.joined.is_none() {
            return Ok(vec![bytes.to_vec()]);
        }
        let world = self.world as i64;
        let lengths = Tensor::f_zeros([world], (Kind::Int64, Device::Cpu))?;
        let length = Tensor::f_from_slice(&[bytes.len() as i64])?;
        self.start_all_gather(&lengths, &length)?.wait()?;
        let lengths = Vec::<i64>::try_from(&lengths)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let sensible = lengths.iter().all(|length| *length >= 0);
        if !sensible || longest.saturating_mul(world) > LARGEST {
            return Err(too_large("gather", longest));
        }
        let mut padded = bytes.to_vec();
        padded.resize(longest as usize, 0);
        let all = Tensor::f_zeros([world * longest], (Kind::Uint8, Device::Cpu))?;
        self.start_all_gather(&all, &Tensor::f_from_slice(&padded)?)?
            .wait()?;
        let all = Vec::<u8>::try_from(&all)?;
        let parts = lengths.iter().enumerate().map(|(rank, &length)| {
            let from = rank * longest as usize;
            all.get(from..from + length as usize)
                .unwrap_or_default()
                .to_vec()
        });
        Ok(parts.collect())
    }

    /// What rank 0 says, on every rank; other ranks' `bytes` are not looked at.
    ///
    /// # Errors
    /// As [`Group::gather`].
    pub fn tell(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        if self.joined.is_none() {
            return Ok(bytes.to_vec());
        }
        let length = Tensor::f_from_slice(&[bytes.len() as i64])?;
        self.broadcast(&length, 0)?;
        let length = length.f_int64_value(&[0])?;
        if !(0..=LARGEST).contains(&length) {
            return Err(too_large("tell", length));
        }
        let told = if self.is_first() {
            Tensor::f_from_slice(bytes)?
        } else {
            Tensor::f_zeros([length], (Kind::Uint8, Device::Cpu))?
        };
        self.broadcast(&told, 0)?;
        Ok(Vec::<u8>::try_from(&told)?)
    }

    /// Refuses to go on where ranks differ in something that must be the same, such as a digest of their
    /// data: `what` names it, and the error names the ranks that have another than rank 0.
    ///
    /// # Errors
    /// [`Error::Disagree`], on all ranks; otherwise as [`Group::gather`].
    pub fn agree(&self, what: &str, value: &str) -> Result<(), Error> {
        let said = self.gather(value.as_bytes())?;
        let shown = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let Some(first) = said.first() else {
            return Ok(());
        };
        let others = said.iter().enumerate().filter(|(_, bytes)| *bytes != first);
        let others: Vec<_> = others.map(|(rank, bytes)| (rank, shown(bytes))).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Error::Disagree {
            what: what.to_owned(),
            first: shown(first),
            others,
        })
    }

    /// Memory for as much as `like` holds.
    fn scratch(&self, like: &Tensor) -> Result<Tensor, Error> {
        let bytes = like.numel() * like.kind().elt_size_in_bytes();
        Ok(match &self.joined {
            Some(joined) => joined.scratch.take(bytes as i64)?,
            None => Tensor::f_empty([bytes as i64], (Kind::Uint8, Device::Cpu))?,
        })
    }

    fn folded(&self, values: &[f64], fold: fn(f64, f64) -> f64) -> Result<Vec<f64>, Error> {
        if self.joined.is_none() {
            return Ok(values.to_vec());
        }
        let all = values.len() * self.world;
        let all = Tensor::f_zeros([all as i64], (Kind::Double, Device::Cpu))?;
        self.start_all_gather(&all, &Tensor::f_from_slice(values)?)?
            .wait()?;
        let all = Vec::<f64>::try_from(&all)?;
        let mut folded = all.get(..values.len()).unwrap_or_default().to_vec();
        for part in all.chunks(values.len().max(1)).skip(1) {
            for (so_far, value) in folded.iter_mut().zip(part) {
                *so_far = fold(*so_far, *value);
            }
        }
        Ok(folded)
    }

    /// Counts a collective and hands it to the backend of the tensor's device.
    fn start(
        &self,
        tensor: &Tensor,
        finish: Finish,
        begin: impl FnOnce(&binding::Backend) -> Result<Work, Failure>,
    ) -> Result<Pending, Error> {
        let Some(joined) = &self.joined else {
            return Ok(Pending::default());
        };
        let on_gpu = tensor.device().is_cuda();
        // Counted and begun under one lock, so that the order of the counts is that of the collectives.
        let backends = joined
            .backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let backend = match &*backends {
            Some(Backends { gloo, .. }) if !on_gpu => gloo,
            Some(Backends {
                nccl: Some(nccl), ..
            }) => nccl,
            _ => {
                return Err(Error::Unfit {
                    collective: "this group",
                    problem:
                        "its backend is Gloo, and the tensor is on a GPU; join with Backend::Nccl"
                            .to_owned(),
                });
            }
        };
        let nth = joined.watch.enter()?;
        if tensor.numel() == 0 {
            // All ranks have the same shape, so all of them have nothing to say.
            return Ok(Pending::default());
        }
        let begun = begin(backend);
        drop(backends);
        let work = match begun {
            Ok(work) => work,
            Err(failure) => return Err(joined.watch.explain(nth, Some(failure.what()), false)),
        };
        Ok(Pending::of(work, Arc::clone(joined), nth, on_gpu, finish))
    }

    /// Checks the tensors of a collective in which `whole` is all ranks' `part`s, and gives both flat.
    fn parts_fit(
        &self,
        collective: &'static str,
        whole: &Tensor,
        part: &Tensor,
    ) -> Result<(Tensor, Tensor), Error> {
        fits(collective, whole)?;
        fits(collective, part)?;
        if whole.numel() != part.numel() * self.world
            || whole.kind() != part.kind()
            || whole.device() != part.device()
        {
            return Err(Error::Unfit {
                collective,
                problem: format!(
                    "{:?} of {} elements cannot be {} parts that are {:?} of {} elements",
                    whole.kind(),
                    whole.numel(),
                    self.world,
                    part.kind(),
                    part.numel()
                ),
            });
        }
        Ok((whole.f_view(-1)?, part.f_view(-1)?))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.watch.leave(self.hosts);
        let whole = *self.whole.get_mut();
        let backends = self
            .backends
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if !whole {
            // Gloo's threads may still wait for a rank that is lost, and a group's end waits for them. They end with
            // the process.
            std::mem::forget(backends.take());
            std::mem::forget(self.store.take());
        }
    }
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// What all backends ask of a tensor; C++ would write through a strided one as if it were dense.
fn fits(collective: &'static str, tensor: &Tensor) -> Result<(), Error> {
    let unfit = |problem: String| {
        Err(Error::Unfit {
            collective,
            problem,
        })
    };
    if !tensor.defined() || tensor.is_sparse() {
        return unfit("the tensor must be dense".to_owned());
    }
    if !KINDS.contains(&tensor.kind()) {
        return unfit(format!("{:?} is not among {KINDS:?}", tensor.kind()));
    }
    if !tensor.is_contiguous() {
        return unfit(format!(
            "the tensor of shape {:?} has strides {:?}: make it contiguous first",
            tensor.size(),
            tensor.stride()
        ));
    }
    Ok(())
}

fn copied(output: &Tensor, input: &Tensor) -> Result<Pending, Error> {
    tch::no_grad(|| output.shallow_clone().f_copy_(input))?;
    Ok(Pending::default())
}

fn too_large(collective: &'static str, length: i64) -> Error {
    Error::Unfit {
        collective,
        problem: format!(
            "a message of {length} bytes is announced; all together may have {LARGEST}"
        ),
    }
}
