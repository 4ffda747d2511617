//! Updates, with gradients scaled so that a norm stays below a limit.

use fit::Guard;
use fit::optim::{AdamW, clip_factor, squared_norm};
use model::ModelPart;

use super::exchange::{Exchange, Summed};
use super::gradients::{Gradients, Trained};
use crate::{ClipBy, Error};

/// What the updates of one step share.
pub struct Clipping {
    by: ClipBy,
    limit: f64,
    previous: Option<f64>,
    /// Sum of squares of the gradients met so far.
    squares: f64,
}

impl Clipping {
    /// For one step; `previous` is the norm of all gradients of the step before.
    pub fn new(by: ClipBy, limit: f64, previous: Option<f64>) -> Clipping {
        Clipping {
            by,
            limit,
            previous,
            squares: 0.0,
        }
    }

    /// Updates a part and drops its gradients.
    ///
    /// # Errors
    /// What `guard` says where one is not finite; the part is as it was then.
    pub fn update(
        &mut self,
        optimiser: &mut AdamW,
        trained: &Trained,
        gradients: &mut Gradients,
        part: ModelPart,
        guard: &mut Guard,
    ) -> Result<(), Error> {
        let indices = trained.of(part);
        let squares = squares(gradients, &indices)?;
        guard.gradient_norm(squares.sqrt())?;
        self.squares += squares;
        let norm = match (self.by, self.previous) {
            (ClipBy::Previous, Some(norm)) => norm,
            _ => squares.sqrt(),
        };
        let factor = clip_factor(norm, self.limit);
        for index in indices {
            if let Some(grad) = gradients.get(index) {
                optimiser.update(index, grad, factor)?;
                gradients.drop_one(index);
            }
        }
        Ok(())
    }

    /// Updates everything by the norm of all gradients together, or of each part's.
    ///
    /// # Errors
    /// What `guard` says where one is not finite; nothing is changed then.
    pub fn update_all(
        &mut self,
        optimiser: &mut AdamW,
        trained: &Trained,
        gradients: &mut Gradients,
        guard: &mut Guard,
    ) -> Result<(), Error> {
        let all: Vec<usize> = (0..trained.len()).collect();
        self.squares = squares(gradients, &all)?;
        guard.gradient_norm(self.norm())?;
        let whole = match (self.by, self.previous) {
            (ClipBy::Global, _) => Some(self.norm()),
            (ClipBy::Previous, Some(norm)) => Some(norm),
            _ => None,
        };
        let factor = whole.map(|norm| clip_factor(norm, self.limit));
        let Some(factor) = factor else {
            let total = std::mem::take(&mut self.squares);
            for part in trained.parts() {
                self.update(optimiser, trained, gradients, part, guard)?;
            }
            self.squares = total;
            return Ok(());
        };
        for index in all {
            if let Some(grad) = gradients.get(index) {
                optimiser.update(index, grad, factor)?;
                gradients.drop_one(index);
            }
        }
        Ok(())
    }

    /// As [`Clipping::update`] with all ranks' gradients: waits for the part that was sent off first, updates
    /// this rank's elements, and sends the weights off.
    ///
    /// # Errors
    /// As [`Clipping::update`], on every rank.
    pub fn update_next(
        &mut self,
        optimiser: &mut AdamW,
        trained: &Trained,
        exchange: &mut Exchange<'_>,
        guard: &mut Guard,
    ) -> Result<(), Error> {
        let Some((part, summed)) = exchange.next()? else {
            return Ok(());
        };
        let squares = summed_squares(exchange, &[&summed])?;
        let squares = squares.first().copied().unwrap_or(0.0);
        guard.gradient_norm(squares.sqrt())?;
        self.squares += squares;
        let norm = match (self.by, self.previous) {
            (ClipBy::Previous, Some(norm)) => norm,
            _ => squares.sqrt(),
        };
        update(optimiser, summed, clip_factor(norm, self.limit))?;
        exchange.gather(trained, part)
    }

    /// As [`Clipping::update_all`] with all ranks' gradients.
    ///
    /// # Errors
    /// As [`Clipping::update_all`], on every rank.
    pub fn update_all_summed(
        &mut self,
        optimiser: &mut AdamW,
        trained: &Trained,
        exchange: &mut Exchange<'_>,
        guard: &mut Guard,
    ) -> Result<(), Error> {
        let mut parts = Vec::new();
        while let Some(part) = exchange.next()? {
            parts.push(part);
        }
        let lists: Vec<&Vec<Summed>> = parts.iter().map(|(_, summed)| summed).collect();
        let squares = summed_squares(exchange, &lists)?;
        self.squares = squares.iter().sum();
        guard.gradient_norm(self.norm())?;
        for ((part, summed), squares) in parts.into_iter().zip(squares) {
            let norm = match (self.by, self.previous) {
                (ClipBy::Global, _) => self.norm(),
                (ClipBy::Previous, Some(norm)) => norm,
                _ => squares.sqrt(),
            };
            update(optimiser, summed, clip_factor(norm, self.limit))?;
            exchange.gather(trained, part)?;
        }
        Ok(())
    }

    /// The norm of all gradients met, before clipping.
    pub fn norm(&self) -> f64 {
        self.squares.sqrt()
    }
}

fn update(optimiser: &mut AdamW, summed: Vec<Summed>, factor: f64) -> Result<(), Error> {
    for Summed { index, grad } in summed {
        optimiser.update(index, &grad, factor)?;
    }
    Ok(())
}

/// The sum of squares of each part's gradients, over all ranks' elements.
fn summed_squares(exchange: &mut Exchange<'_>, parts: &[&Vec<Summed>]) -> Result<Vec<f64>, Error> {
    let mut own = Vec::with_capacity(parts.len());
    for part in parts {
        let mut sum = 0.0;
        for summed in *part {
            sum += squared_norm(&summed.grad)?;
        }
        own.push(sum);
    }
    exchange.sums(&own)
}

fn squares(gradients: &Gradients, indices: &[usize]) -> Result<f64, Error> {
    let mut sum = 0.0;
    for grad in indices.iter().filter_map(|&index| gradients.get(index)) {
        sum += squared_norm(grad)?;
    }
    Ok(sum)
}
