//! Below the decoder: from pixels, or a frozen tower's features, to rows that replace image tokens.

use model::{Llava, ModelPart};
use tch::{Tensor, no_grad};

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
    pub fn new(
        model: &Llava,
        visual: &Visual,
        trained: &Trained,
        centre: bool,
    ) -> Result<Bottom, Error> {
        let tower = trained.has(ModelPart::Tower);
        let trained = tower || trained.has(ModelPart::Projector);
        let project = || -> Result<Option<Tensor>, Error> {
            let features = match visual {
                Visual::Pixels(pixels) if tower => model.tower_features(pixels)?,
                Visual::Pixels(pixels) => no_grad(|| model.tower_features(pixels))?,
                Visual::Features(features) => features.shallow_clone(),
                Visual::Nothing => return Ok(None),
            };
            let projected = model.project(&features)?.f_flatten(0, 1)?;
            Ok(Some(if centre {
                centred(&projected)?
            } else {
                projected
            }))
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

/// The same features, with a gradient whose mean over the batch's patches is taken off.
///
/// Early in a run from scratch, what all image tokens have in common is the easiest place for the
/// decoder to keep its word frequencies. That drives every feature the same way (measured: standard
/// deviation from 0.4 to 16 within 100 steps, 1 of it between images), the decoder's norm then
/// hides what differs, and the tower learns nothing. Without the common part of the gradient the
/// tower is asked only for differences. The forward pass is untouched.
fn centred(features: &Tensor) -> Result<Tensor, Error> {
    let mean = features.f_mean_dim(Some(&[0i64][..]), true, features.kind())?;
    Ok(features.f_sub(&mean)?.f_add(&mean.f_detach()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn centring_leaves_the_features_and_takes_the_mean_off_their_gradient() {
        let features = Tensor::from_slice(&[1f32, 2.0, 3.0, 5.0, 8.0, 13.0]).reshape([3, 2]);
        let features = features.set_requires_grad(true);
        let out = centred(&features).unwrap();
        assert!(out.allclose(&features, 1e-6, 1e-6, false));
        let weight = Tensor::from_slice(&[1f32, 10.0, 2.0, 20.0, 6.0, 0.0]).reshape([3, 2]);
        (out * weight).sum(tch::Kind::Float).backward();
        let expected = Tensor::from_slice(&[-2f32, 0.0, -1.0, 10.0, 3.0, -10.0]).reshape([3, 2]);
        assert!(
            features
                .grad()
                .to_device(Device::Cpu)
                .allclose(&expected, 1e-5, 1e-5, false)
        );
    }
}
