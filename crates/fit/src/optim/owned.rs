//! Which part of each parameter a rank's optimiser owns.
//!
//! Ranks that train one model together hold all of its weights, but each only a part of the moments: it
//! updates that part and hands the new weights to the others. Parts begin at whole blocks of 256
//! elements, so that moments in 8 bits are the ones a single rank would have, and the random bits that
//! round a weight follow from its place in the whole parameter: the same update, whoever makes it.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::dynamic_map::BLOCK;
use crate::Error;
use c10d::Group;

/// The elements of a flattened parameter of `numel` elements that rank `rank` of `world` owns. The ranks'
/// parts follow each other, cover everything, and differ by one block at most; a parameter with fewer
/// blocks than there are ranks leaves some with nothing.
pub fn owned(numel: usize, rank: usize, world: usize) -> Range<usize> {
    let blocks = numel.div_ceil(BLOCK);
    let start = |rank: usize| (blocks * rank / world.max(1) * BLOCK).min(numel);
    start(rank)..start(rank + 1)
}

/// A tensor of the optimiser's state: what this rank holds of it, and what the whole is.
#[derive(Debug)]
pub(crate) struct Held {
    /// `param.NAME`, `m.NAME`, `v.codes.NAME`.
    pub(crate) name: String,
    /// This rank's part, along the first dimension; all of it where it is not cut.
    pub(crate) local: Tensor,
    /// The whole tensor's shape.
    pub(crate) shape: Vec<i64>,
    /// How far the parts of the ranks reach along the first dimension of `local`, where it is cut.
    pub(crate) parts: Option<Vec<i64>>,
}

impl Held {
    /// The element type.
    pub(crate) fn kind(&self) -> Kind {
        self.local.kind()
    }

    /// Bytes of the whole tensor.
    pub(crate) fn bytes(&self) -> u64 {
        let numel: i64 = self.shape.iter().product();
        numel.unsigned_abs() * self.kind().elt_size_in_bytes() as u64
    }

    /// The whole tensor, from all ranks; every rank must ask for it.
    pub(crate) fn whole(&self, group: &Group) -> Result<Tensor, Error> {
        let Some(parts) = &self.parts else {
            return Ok(self.local.shallow_clone());
        };
        let most = parts.iter().copied().max().unwrap_or(0);
        let mut size = self.local.size();
        let own = size[0];
        size[0] = most;
        let options = (self.kind(), self.local.device());
        let input = Tensor::f_zeros(&size, options)?;
        input.f_narrow(0, 0, own)?.f_copy_(&self.local)?;
        size[0] = most * group.world() as i64;
        let output = Tensor::f_zeros(&size, options)?;
        group
            .start_all_gather(&output.f_view([-1])?, &input.f_view([-1])?)?
            .wait()?;
        let pieces: Vec<Tensor> = (0i64..)
            .zip(parts)
            .map(|(rank, &count)| output.f_narrow(0, rank * most, count))
            .collect::<Result<_, _>>()?;
        Ok(Tensor::f_cat(&pieces, 0)?.f_view(self.shape.as_slice())?)
    }

    /// Refuses a tensor of another shape or type.
    pub(crate) fn check(&self, whole: &Tensor) -> Result<(), Error> {
        if whole.size() != self.shape || whole.kind() != self.kind() {
            return Err(Error::Config(format!(
                "the checkpoint's {} is {:?} of {:?}, this training's {:?} of {:?}",
                self.name,
                whole.kind(),
                whole.size(),
                self.kind(),
                self.shape
            )));
        }
        Ok(())
    }

    /// Takes this rank's part of `whole`, which was checked.
    pub(crate) fn restore(&mut self, group: &Group, whole: &Tensor) -> Result<(), Error> {
        let part = match &self.parts {
            None => whole.shallow_clone(),
            Some(parts) => {
                let mut flat = self.local.size();
                flat[0] = parts.iter().sum();
                let first: i64 = parts.iter().take(group.rank()).sum();
                let own = self.local.size()[0];
                whole.f_view(flat.as_slice())?.f_narrow(0, first, own)?
            }
        };
        tch::no_grad(|| self.local.f_copy_(&part))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use c10d::Rendezvous;
    use proptest::prelude::*;
    use tch::Device;

    use super::*;
    use crate::optim::{AdamW, Hyper, Param, States};

    /// Bytes of tensors, by name.
    type State = BTreeMap<String, Vec<u8>>;

    fn bytes(tensor: &Tensor) -> Vec<u8> {
        let flat = tensor.contiguous().view([-1]);
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        flat.f_copy_data_u8(&mut bytes, tensor.numel()).unwrap();
        bytes
    }

    /// A large matrix whose last block is not full, a small one, and a vector.
    fn values(salt: i64, kind: Kind) -> Vec<Tensor> {
        let shapes: [&[i64]; 3] = [&[97, 103], &[5, 7], &[130]];
        let tensor = |shape: &&[i64]| {
            let count: i64 = shape.iter().product();
            let flat = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.37 + salt).sin();
            (flat * 0.1).reshape(*shape).to_kind(kind)
        };
        shapes.iter().map(tensor).collect()
    }

    /// Three updates by the same gradients, each rank's by its own elements; the whole state after them, and what
    /// is left of it after going back to `earlier`.
    fn updated(group: Rc<Group>, kind: Kind, states: States, earlier: Option<&State>) -> State {
        let params = values(0, kind);
        let named = params.iter().enumerate().map(|(i, tensor)| Param {
            name: format!("p{i}"),
            tensor: tensor.shallow_clone(),
            lr_scale: 1.0,
        });
        let hyper = Hyper {
            betas: [0.9, 0.99],
            eps: 1e-8,
            weight_decay: 0.1,
        };
        let mut adamw = AdamW::among(named.collect(), hyper, states, 5, Rc::clone(&group)).unwrap();
        let (rank, world) = (group.rank(), group.world());
        if let Some(earlier) = earlier {
            let shapes: BTreeMap<String, (Vec<i64>, Kind)> = adamw
                .held()
                .into_iter()
                .map(|held| (held.name.clone(), (held.shape.clone(), held.kind())))
                .collect();
            let mut take = |name: &str| {
                assert!(group.is_first());
                let (shape, kind) = &shapes[name];
                Ok(Tensor::f_from_data_size(&earlier[name], shape, *kind)?)
            };
            adamw.restore(3, &mut take).unwrap();
        }
        for step in 0..3 {
            adamw.begin(0.01);
            for (index, grad) in values(10 + step, Kind::Float).iter().enumerate() {
                let range = owned(grad.numel(), rank, world);
                let own = match world {
                    1 => grad.shallow_clone(),
                    _ => grad
                        .view([-1])
                        .narrow(0, range.start as i64, range.len() as i64),
                };
                adamw.update(index, &own, 0.5).unwrap();
            }
            // What ranks exchange in training.
            for tensor in &params {
                let flat = tensor.view([-1]);
                let mut whole = Vec::new();
                let range = owned(tensor.numel(), rank, world);
                let own = flat.narrow(0, range.start as i64, range.len() as i64);
                for part in group.gather(&bytes(&own)).unwrap() {
                    whole.extend(part);
                }
                let whole = Tensor::f_from_data_size(&whole, &tensor.size(), kind).unwrap();
                tensor.shallow_clone().copy_(&whole);
            }
        }
        let held = adamw.held().into_iter();
        held.map(|held| (held.name.clone(), bytes(&held.whole(&group).unwrap())))
            .collect()
    }

    fn ranks(world: usize, rank: impl Fn(Rc<Group>) -> State + Sync) -> Vec<State> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let rank = &rank;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..world)
                .map(|own| {
                    scope.spawn(move || {
                        let at = Rendezvous::local(port, own, world);
                        rank(Rc::new(Group::join(&at).unwrap()))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    #[test]
    fn ranks_that_update_their_parts_have_the_bits_of_one_that_updates_all() {
        // libtorch's record of all groups of a process is written without a lock.
        // SAFETY: no other test of this crate reads the environment or makes groups.
        unsafe { std::env::set_var("TORCH_FR_BUFFER_SIZE", "0") };
        for kind in [Kind::Float, Kind::BFloat16] {
            for states in [States::Float32, States::Int8] {
                let alone = || Rc::new(Group::alone());
                let one = updated(alone(), kind, states, None);
                let longer = updated(alone(), kind, states, Some(&one));
                assert_ne!(one, longer);
                for world in [2, 3] {
                    for state in ranks(world, |group| updated(group, kind, states, None)) {
                        assert!(state == one, "{world} ranks, {kind:?}, {states:?}");
                    }
                    // On from one rank's checkpoint.
                    for state in ranks(world, |group| updated(group, kind, states, Some(&one))) {
                        assert!(state == longer, "{world} ranks, {kind:?}, {states:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_parts_follow_each_other_cover_everything_and_begin_at_blocks(
            numel in 0usize..5_000_000, world in 1usize..100,
        ) {
            let mut at = 0;
            let blocks = numel.div_ceil(BLOCK);
            for rank in 0..world {
                let part = owned(numel, rank, world);
                prop_assert_eq!(part.start, at);
                prop_assert!(part.is_empty() || part.start.is_multiple_of(BLOCK));
                let own = part.len().div_ceil(BLOCK);
                prop_assert!(own == blocks / world || own == blocks.div_ceil(world));
                at = part.end;
            }
            prop_assert_eq!(at, numel);
        }
    }
}
