//! What is asked of gradients before an update: their norm, for clipping, and whether they are finite.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::elements::{Bf16, Element, slice, visible};
use super::instructions::{Instructions, Kernel};
use crate::Error;

/// What gradients of norm `norm` are multiplied by so that it is at most `limit`, as
/// `torch.nn.utils.clip_grad_norm_` has it; a limit of 0 leaves them alone.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 {
        (limit / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

/// Elements that one thread goes over at a time. Fixed, so that sums have the same order whatever
/// the number of threads.
const CHUNK: usize = 1 << 16;

/// The sum of the squares of all elements, added in f64 in an order that depends on nothing but their
/// number: a sum over a hundred million elements in f32 would be off in the third digit.
///
/// It is not finite where an element is not. `grad`: any shape and float type.
pub fn squared_norm(grad: &Tensor) -> Result<f64, Error> {
    if !visible(grad) {
        let norm = f64::try_from(grad.f_norm_scalaropt_dtype(2.0, Kind::Double)?)?;
        return Ok(norm * norm);
    }
    Ok(match grad.kind() {
        Kind::BFloat16 => over_chunks(slice::<Bf16>(grad), Squares, 0.0, |a, b| a + b),
        _ => over_chunks(slice::<f32>(grad), Squares, 0.0, |a, b| a + b),
    })
}

/// The largest magnitude among the elements; infinite or NaN where an element is.
pub(super) fn largest(grad: &Tensor) -> Result<f32, Error> {
    if grad.numel() == 0 {
        return Ok(0.0);
    }
    if !visible(grad) {
        let (least, most) = grad.f_aminmax(None, false)?;
        let (least, most) = (f64::try_from(least)? as f32, f64::try_from(most)? as f32);
        // `max` would drop a NaN.
        return Ok(if least.is_nan() {
            least
        } else {
            most.max(-least)
        });
    }
    let bits = match grad.kind() {
        Kind::BFloat16 => over_chunks(slice::<Bf16>(grad), Largest, 0, u32::max),
        _ => over_chunks(slice::<f32>(grad), Largest, 0, u32::max),
    };
    Ok(f32::from_bits(bits))
}

/// Folds a kernel's results over chunks of `elements`, in order.
fn over_chunks<'a, T, K>(
    elements: &'a [T],
    kernel: impl Fn(&'a [T]) -> K + Sync,
    start: K::Output,
    fold: impl Fn(K::Output, K::Output) -> K::Output,
) -> K::Output
where
    T: Element,
    K: Kernel,
    K::Output: Send,
{
    let instructions = Instructions::best();
    if elements.len() <= CHUNK {
        return fold(start, instructions.run(kernel(elements)));
    }
    let parts: Vec<K::Output> = elements
        .par_chunks(CHUNK)
        .map(|chunk| instructions.run(kernel(chunk)))
        .collect();
    parts.into_iter().fold(start, fold)
}

/// Running sums beside each other: as many as the widest registers need to hide an addition's delay.
const LANES: usize = 32;

struct Squares<'a, T>(&'a [T]);

impl<T: Element> Kernel for Squares<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0_f64; LANES];
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for values in whole {
            for (sum, value) in sums.iter_mut().zip(values) {
                let value = f64::from(value.load());
                *sum += value * value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            let value = f64::from(value.load());
            *sum += value * value;
        }
        sums.iter().sum()
    }
}

/// Largest magnitude, by its bits: they are ordered as the magnitudes are, then infinity, then NaN.
struct Largest<'a, T>(&'a [T]);

impl<T: Element> Kernel for Largest<'_, T> {
    type Output = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let mut largest = 0;
        for value in self.0 {
            largest = largest.max(value.load().to_bits() & 0x7fff_ffff);
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn values(count: i64, kind: Kind) -> Tensor {
        let flat: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 1e-3).collect();
        Tensor::from_slice(&flat).to_kind(kind)
    }

    #[test]
    fn the_squared_norm_is_the_sum_of_squares_in_f64() {
        for kind in [Kind::Float, Kind::BFloat16] {
            for count in [0, 1, 31, 33, 70_000, 300_001] {
                let grad = values(count, kind);
                let wanted = f64::try_from(grad.to_kind(Kind::Double).square().sum(Kind::Double));
                let wanted = wanted.unwrap();
                let got = squared_norm(&grad).unwrap();
                assert!(
                    (got - wanted).abs() <= 1e-12 * wanted,
                    "{count} of {kind:?}: {got} against {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_transposed_gradient_has_the_same_norm() {
        let grad = values(600, Kind::Float).reshape([20, 30]);
        let turned = grad.transpose(0, 1);
        assert!(!turned.is_contiguous());
        let (plain, turned) = (squared_norm(&grad).unwrap(), squared_norm(&turned).unwrap());
        assert!((plain - turned).abs() < 1e-12 * plain);
        let (least, most) = (grad.narrow(0, 3, 1) * -50.0, grad);
        let both = Tensor::cat(&[least, most], 0).transpose(0, 1);
        assert_eq!(
            largest(&both).unwrap(),
            largest(&both.contiguous()).unwrap()
        );
    }

    #[test]
    fn neither_threads_nor_instructions_change_a_bit_of_the_norm() {
        let grad = values(500_000, Kind::BFloat16);
        let at = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            let grad = grad.shallow_clone();
            pool.install(move || squared_norm(&grad).unwrap()).to_bits()
        };
        assert_eq!(at(1), at(2));
        assert_eq!(at(1), at(3));
        let elements = slice::<Bf16>(&grad);
        let mut sums =
            Instructions::available().map(|set| set.run(Squares(&elements[..65_521])).to_bits());
        let first = sums.next().unwrap();
        assert!(sums.all(|sum| sum == first));
    }

    #[test]
    fn one_element_that_is_not_finite_shows_wherever_it_is() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
                for at in [0, 69_999, 199_999] {
                    let grad = values(200_000, kind);
                    let _ = grad.narrow(0, at, 1).fill_(wrong);
                    assert!(!largest(&grad).unwrap().is_finite(), "{wrong} at {at}");
                    assert!(!squared_norm(&grad).unwrap().is_finite());
                }
            }
        }
        let grad = Tensor::from_slice(&[0.5_f32, -3.0, 2.0]);
        assert_eq!(largest(&grad).unwrap(), 3.0);
        assert_eq!(largest(&grad.to_kind(Kind::Double)).unwrap(), 3.0);
        let none = Tensor::zeros([0, 4], (Kind::Float, Device::Cpu));
        assert_eq!(largest(&none).unwrap(), 0.0);
    }
}
