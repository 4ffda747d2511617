//! Below the decoder: from pixels, or a frozen tower's features, to rows that replace image tokens.

use model::{Llava, ModelPart};
use tch::{Device, Kind, Tensor, no_grad};

use super::exchange::Exchange;
use super::gradients::{Gradients, Trained};
use crate::Error;

/// What the images of a step show.
pub enum Visual {
    /// Normalised pixels, `[images, 3, side, side]`, for a tower that is trained.
    Pixels(Tensor),
    /// A frozen tower's features, `[images, patches, width of the tower]`.
    Features(Tensor),
    /// There are no images.
    Nothing,
}

/// The projected features of a step, cut from what they were computed from.
pub struct Bottom {
    /// With the graph that leads to projector and tower, where one of them is trained.
    projected: Option<Tensor>,
    /// The same values as a leaf: `[images * patches, hidden]`.
    leaf: Option<Tensor>,
    trained: bool,
}

impl Bottom {
    /// Runs tower and projector, with gradients where one of them is trained.
    pub fn new(model: &Llava, visual: &Visual, trained: &Trained) -> Result<Bottom, Error> {
        let tower = trained.has(ModelPart::Tower);
        let trained = tower || trained.has(ModelPart::Projector);
        let project = || -> Result<Option<Tensor>, Error> {
            let features = match visual {
                Visual::Pixels(pixels) if tower => model.tower_features(pixels)?,
                Visual::Pixels(pixels) => no_grad(|| model.tower_features(pixels))?,
                Visual::Features(features) => features.shallow_clone(),
                Visual::Nothing => return Ok(None),
            };
            Ok(Some(model.project(&features)?.f_flatten(0, 1)?))
        };
        let projected = if trained {
            project()?
        } else {
            no_grad(project)?
        };
        let leaf = match &projected {
            Some(projected) => Some(projected.f_detach()?.f_set_requires_grad(trained)?),
            None => None,
        };
        Ok(Bottom {
            projected,
            leaf,
            trained,
        })
    }

    /// Features to be put in the place of image tokens, `[images * patches, hidden]`.
    pub fn features(&self) -> Option<&Tensor> {
        self.leaf.as_ref()
    }

    /// Whether projector or tower are trained.
    pub fn is_trained(&self) -> bool {
        self.trained
    }

    /// Hands the features' gradient on to projector and tower.
    pub fn down(
        &self,
        trained: &Trained,
        grad: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        if let (true, Some(projected)) = (self.trained, &self.projected) {
            let parts = [ModelPart::Projector, ModelPart::Tower];
            let indices: Vec<usize> = parts
                .into_iter()
                .flat_map(|part| trained.of(part))
                .collect();
            gradients.add(trained, &indices, projected, Some(grad), None)?;
        }
        Ok(())
    }
}

/// The features' gradient `[images * patches, hidden]` without its mean over the patches of all ranks' images;
/// `None` where this rank has no images.
///
/// Early in a run from scratch, what all image tokens have in common is the easiest place for the
/// decoder to keep its word frequencies. That drives every feature the same way (measured: standard
/// deviation from 0.4 to 16 within 100 steps, 1 of it between images), the decoder's norm then
/// hides what differs, and the tower learns nothing. Without the common part of the gradient the
/// tower is asked only for differences.
pub fn centred(
    grad: Option<Tensor>,
    hidden: i64,
    device: Device,
    exchange: &mut Exchange<'_>,
) -> Result<Option<Tensor>, Error> {
    // The sums of the columns, and how many rows they are of.
    let sums = match &grad {
        Some(grad) => {
            let sums = grad.f_sum_dim_intlist(Some(&[0i64][..]), false, Kind::Float)?;
            let rows = Tensor::f_full([1], grad.size()[0], (Kind::Float, device))?;
            Tensor::f_cat(&[sums, rows], 0)?
        }
        None => Tensor::f_zeros([hidden + 1], (Kind::Float, device))?,
    }; // [hidden + 1]
    exchange.sum(&sums)?;
    let Some(grad) = grad else {
        return Ok(None);
    };
    let rows = sums.f_narrow(0, hidden, 1)?;
    let mean = sums.f_narrow(0, 0, hidden)?.f_div(&rows)?; // [hidden]
    Ok(Some(grad.f_sub(&mean.f_to_kind(grad.kind())?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use c10d::Group;

    #[test]
    fn centring_takes_the_mean_over_all_patches_off() {
        let grad = Tensor::from_slice(&[1f32, 10.0, 2.0, 20.0, 6.0, 0.0]).reshape([3, 2]);
        let group = Group::alone();
        let mut exchange = Exchange::new(&group);
        let found = centred(Some(grad), 2, Device::Cpu, &mut exchange).unwrap();
        let expected = Tensor::from_slice(&[-2f32, 0.0, -1.0, 10.0, 3.0, -10.0]).reshape([3, 2]);
        assert!(found.unwrap().allclose(&expected, 1e-5, 1e-5, false));
        let none = centred(None, 2, Device::Cpu, &mut exchange).unwrap();
        assert!(none.is_none());
    }
}
