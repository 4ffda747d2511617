//! What ranks exchange in a step: gradients on the way down, weights after an update.
//!
//! Every rank has gone through its own part of the step's trees. A part of the model (a layer) has its
//! gradients added up over the ranks as soon as they are there, while the layer below computes; each rank
//! gets the sum for the elements that its optimiser owns ([`fit::optim::owned`]), updates those, and hands
//! the new weights to the others, again while the next layer computes. So a rank sends and receives each
//! gradient and each weight once a step, whatever the number of ranks, and holds `1 / ranks` of the moments.
//!
//! Sums are f32. **Order of summation:** over a rank's micro-batches first, in their order, then over the
//! ranks in the order of the backend, which depends on the number of ranks and on nothing else. So a run
//! gives the same bytes again with as many ranks, and the same loss up to rounding with another number.
//!
//! A part is one message each way: its tensors' pieces stand one after another, rank by rank, filled up to
//! the longest rank's; after the gradients comes a flag for each tensor, how many ranks have a gradient of it.

use std::collections::VecDeque;
use std::time::Instant;

use c10d::{Group, Op, Pending};
use fit::optim::owned;
use model::ModelPart;
use tch::{Device, Kind, Tensor};

use super::gradients::{Gradients, Trained};
use crate::Error;

/// The gradients of a part on their way.
struct Reduced {
    part: ModelPart,
    indices: Vec<usize>,
    pending: Pending,
    /// `[pieces | flags]`, f32.
    output: Tensor,
    /// Elements of each tensor that are this rank's, in the order of `indices`.
    own: Vec<i64>,
}

/// The weights of a part on their way, those of one element type.
struct Gathered {
    pending: Pending,
    /// `[ranks * longest]`.
    output: Tensor,
    longest: i64,
    indices: Vec<usize>,
}

/// Parts whose weights may be on their way at once: one copy of each is in memory meanwhile.
const AHEAD: usize = 2;

/// A summed gradient: which tensor it is of, and this rank's elements of it.
pub struct Summed {
    /// Into the trained tensors.
    pub index: usize,
    /// `[elements]`, f32.
    pub grad: Tensor,
}

/// The exchange of one step.
pub struct Exchange<'a> {
    group: &'a Group,
    reduced: VecDeque<Reduced>,
    gathered: VecDeque<Gathered>,
    waited: f64,
}

impl<'a> Exchange<'a> {
    /// Nothing is under way.
    pub fn new(group: &'a Group) -> Exchange<'a> {
        Exchange {
            group,
            reduced: VecDeque::new(),
            gathered: VecDeque::new(),
            waited: 0.0,
        }
    }

    /// Seconds that this rank has waited for others.
    pub fn waited(&self) -> f64 {
        self.waited
    }

    /// Parts whose gradients are on their way.
    pub fn under_way(&self) -> usize {
        self.reduced.len()
    }

    /// The sums of a few numbers over the ranks.
    pub fn sums(&mut self, values: &[f64]) -> Result<Vec<f64>, Error> {
        let started = Instant::now();
        let sums = self.group.sums(values)?;
        self.waited += started.elapsed().as_secs_f64();
        Ok(sums)
    }

    /// Replaces a tensor by its sum over the ranks.
    pub fn sum(&mut self, tensor: &Tensor) -> Result<(), Error> {
        let started = Instant::now();
        self.group.all_reduce(tensor, Op::Sum)?;
        self.waited += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Sends off the gradients of a part, and drops them.
    pub fn reduce(
        &mut self,
        trained: &Trained,
        part: ModelPart,
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        let indices = trained.of(part);
        if indices.is_empty() {
            return Ok(());
        }
        let (world, rank) = (self.group.world(), self.group.rank());
        let (pieces, longest) = layout(trained, &indices, world);
        let device = trained.tensor(indices[0]).device();
        let width = longest + indices.len() as i64;
        let input = Tensor::f_zeros([world as i64 * width], (Kind::Float, device))?;
        let flags: Vec<f32> = indices
            .iter()
            .map(|&index| f32::from(u8::from(gradients.get(index).is_some())))
            .collect();
        let flags = Tensor::f_from_slice(&flags)?.f_to_device(device)?;
        for (to, lengths) in (0i64..).zip(&pieces) {
            let mut at = to * width;
            for (&index, &length) in indices.iter().zip(lengths) {
                if let Some(grad) = gradients.get(index) {
                    let first = owned(grad.numel(), to as usize, world).start as i64;
                    // In order, as the parameter's elements are.
                    let flat = grad.f_reshape([-1])?.f_narrow(0, first, length)?;
                    input.f_narrow(0, at, length)?.f_copy_(&flat)?;
                }
                at += length;
            }
            let flags_at = to * width + longest;
            let mut place = input.f_narrow(0, flags_at, indices.len() as i64)?;
            place.f_copy_(&flags)?;
        }
        for &index in &indices {
            gradients.drop_one(index);
        }
        let output = Tensor::f_empty([width], (Kind::Float, device))?;
        let pending = self.group.start_reduce_scatter(&output, &input)?;
        self.reduced.push_back(Reduced {
            part,
            own: pieces.get(rank).cloned().unwrap_or_default(),
            indices,
            pending,
            output,
        });
        Ok(())
    }

    /// Waits for the gradients that were sent off first; `None` where there are none. A tensor that no rank
    /// has a gradient of is left out.
    pub fn next(&mut self) -> Result<Option<(ModelPart, Vec<Summed>)>, Error> {
        let Some(reduced) = self.reduced.pop_front() else {
            return Ok(None);
        };
        let started = Instant::now();
        reduced.pending.wait()?;
        self.waited += started.elapsed().as_secs_f64();
        let count = reduced.indices.len() as i64;
        let longest = reduced.output.size()[0] - count;
        let flags = reduced.output.f_narrow(0, longest, count)?;
        let flags = Vec::<f32>::try_from(&flags.f_to_device(Device::Cpu)?)?;
        let (mut at, mut summed) = (0, Vec::new());
        for ((&index, &length), flag) in reduced.indices.iter().zip(&reduced.own).zip(flags) {
            let grad = reduced.output.f_narrow(0, at, length)?;
            at += length;
            if flag > 0.0 {
                summed.push(Summed { index, grad });
            }
        }
        Ok(Some((reduced.part, summed)))
    }

    /// Sends off this rank's elements of a part's tensors, which were updated.
    pub fn gather(&mut self, trained: &Trained, part: ModelPart) -> Result<(), Error> {
        let mut of_kind: Vec<(Kind, Vec<usize>)> = Vec::new();
        for index in trained.of(part) {
            let kind = trained.tensor(index).kind();
            match of_kind.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, indices)) => indices.push(index),
                None => of_kind.push((kind, vec![index])),
            }
        }
        let (world, rank) = (self.group.world(), self.group.rank());
        for (kind, indices) in of_kind {
            while self.gathered.len() >= AHEAD {
                self.arrive(trained)?;
            }
            let (pieces, longest) = layout(trained, &indices, world);
            let device = trained.tensor(indices[0]).device();
            let input = Tensor::f_zeros([longest], (kind, device))?;
            let mut at = 0;
            for (&index, &length) in indices.iter().zip(&pieces[rank]) {
                let own = trained.elements(index, owned_of(trained, index, rank, world))?;
                input.f_narrow(0, at, length)?.f_copy_(&own)?;
                at += length;
            }
            let output = Tensor::f_empty([world as i64 * longest], (kind, device))?;
            let pending = self.group.start_all_gather(&output, &input)?;
            self.gathered.push_back(Gathered {
                pending,
                output,
                longest,
                indices,
            });
        }
        Ok(())
    }

    /// Waits for all weights.
    pub fn finish(&mut self, trained: &Trained) -> Result<(), Error> {
        while !self.gathered.is_empty() {
            self.arrive(trained)?;
        }
        Ok(())
    }

    /// Waits for the weights that were sent off first, and puts those of the other ranks into their places.
    fn arrive(&mut self, trained: &Trained) -> Result<(), Error> {
        let Some(gathered) = self.gathered.pop_front() else {
            return Ok(());
        };
        let (world, rank) = (self.group.world(), self.group.rank());
        let started = Instant::now();
        gathered.pending.wait()?;
        self.waited += started.elapsed().as_secs_f64();
        for from in (0..world).filter(|&from| from != rank) {
            let mut at = from as i64 * gathered.longest;
            for &index in &gathered.indices {
                let range = owned_of(trained, index, from, world);
                let length = range.len() as i64;
                let mut place = trained.elements(index, range)?;
                let came = gathered.output.f_narrow(0, at, length)?;
                tch::no_grad(|| place.f_copy_(&came))?;
                at += length;
            }
        }
        Ok(())
    }
}

fn owned_of(trained: &Trained, index: usize, rank: usize, world: usize) -> std::ops::Range<usize> {
    owned(trained.tensor(index).numel(), rank, world)
}

/// How many elements of each tensor each rank owns, by rank, and the most that one owns together.
fn layout(trained: &Trained, indices: &[usize], world: usize) -> (Vec<Vec<i64>>, i64) {
    let pieces: Vec<Vec<i64>> = (0..world)
        .map(|rank| {
            let lengths = indices
                .iter()
                .map(|&i| owned_of(trained, i, rank, world).len() as i64);
            lengths.collect()
        })
        .collect();
    let longest = pieces.iter().map(|lengths| lengths.iter().sum()).max();
    (pieces, longest.unwrap_or(0))
}
