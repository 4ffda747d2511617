//! Stochastic rounding of f32 to bf16, so that bf16 weights can be trained without an f32 copy.
//!
//! bf16 keeps 8 bits of a number. At a learning rate of 2e-5 most updates are smaller than half the
//! distance between neighbours, so rounding to the nearest would drop them all, step after step.
//! Here the result lies above or below with the probability of its distance: the mean over many
//! steps is the exact sum.
//!
//! The random bits are no stream but a function of (seed, parameter's name, step, index of the
//! element): the number of threads, the order of parameters and a resumed run change nothing, and
//! nothing of them has to be saved. The mixing of an index is Chris Wellons' `lowbias32`
//! (<https://nullprogram.com/blog/2018/07/31/>), keyed before and between its rounds.

use tch::{Device, Kind, Tensor};

use crate::Error;

/// The golden ratio's odd neighbours in 32 and 64 bits: indexes one apart become far apart.
const WEYL_32: u32 = 0x9e37_79b9;
const WEYL_64: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLY_1: u32 = 0x7feb_352d;
const MULTIPLY_2: u32 = 0x846c_a68b;

/// What the random bits of one update of one parameter are a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The key of a parameter, whatever the step.
    pub(super) fn of_parameter(seed: u64, name: &str) -> Key {
        // FNV-1a over the name; mixed, as names often differ in one digit only.
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Key(mix(mix(seed) ^ name))
    }

    /// The key of its update number `step`.
    pub(super) fn at(self, step: u64) -> Key {
        Key(mix(self.0.wrapping_add(step.wrapping_mul(WEYL_64))))
    }

    /// The two words that the elements from `first` on are mixed with; another pair after each 2^32
    /// elements, of which only the lower half of the index is mixed.
    #[inline(always)]
    pub(super) fn words(self, first: u64) -> [u32; 2] {
        let key = match first >> 32 {
            0 => self.0,
            high => mix(self.0 ^ high),
        };
        [key as u32, (key >> 32) as u32]
    }
}

/// The output function of SplitMix64.
#[inline(always)]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 32 random bits of the element `index` (its lower half).
#[inline(always)]
pub(super) fn random(words: [u32; 2], index: u32) -> u32 {
    let x = index.wrapping_mul(WEYL_32).wrapping_add(words[0]);
    let x = (x ^ (x >> 16))
        .wrapping_mul(MULTIPLY_1)
        .wrapping_add(words[1]);
    let x = (x ^ (x >> 15)).wrapping_mul(MULTIPLY_2);
    x ^ (x >> 16)
}

/// `value` in bf16, away from zero with the probability of the bits that are dropped.
#[inline(always)]
pub(super) fn round(value: f32, random: u32) -> u16 {
    // bf16 is the upper half of f32; the carry goes through mantissa and exponent as it should.
    (value.to_bits().wrapping_add(random & 0xffff) >> 16) as u16
}

/// [`random`] & 0xffff of `count` elements from `first` on, by tensor operations: the same bits.
///
/// `first` and what follows lie in the same 2^32 elements. `[count]`, i32.
pub(super) fn random_tensor(
    key: Key,
    first: u64,
    count: i64,
    device: Device,
) -> Result<Tensor, Error> {
    // i32 products and sums wrap like u32 ones and have the same bits; a shift to the right repeats
    // the sign, which the mask removes.
    let signed = |word: u32| i64::from(word.cast_signed());
    let [before, between] = key.words(first);
    let shift = |x: &Tensor, by: i64| -> Result<Tensor, Error> {
        let mut upper = x.f_bitwise_right_shift_tensor_scalar(by)?;
        Ok(upper.f_bitwise_and_((1_i64 << (32 - by)) - 1)?)
    };
    let mut x = Tensor::f_arange(count, (Kind::Int, device))?; // [count]
    let _ = x.f_add_scalar_(signed(first as u32))?;
    let _ = x.f_mul_scalar_(signed(WEYL_32))?;
    let _ = x.f_add_scalar_(signed(before))?;
    let _ = x.f_bitwise_xor_tensor_(&shift(&x, 16)?)?;
    let _ = x.f_mul_scalar_(signed(MULTIPLY_1))?;
    let _ = x.f_add_scalar_(signed(between))?;
    let _ = x.f_bitwise_xor_tensor_(&shift(&x, 15)?)?;
    let _ = x.f_mul_scalar_(signed(MULTIPLY_2))?;
    let _ = x.f_bitwise_xor_tensor_(&shift(&x, 16)?)?;
    Ok(x.f_bitwise_and_(0xffff_i64)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_operations_draw_the_same_bits() {
        let key = Key::of_parameter(7, "model.layers.3.mlp.up_proj.weight").at(12);
        for first in [0_u64, 4096, (1 << 31) - 100, (1 << 33) + 256] {
            let drawn = random_tensor(key, first, 300, Device::Cpu).unwrap();
            let drawn = Vec::<i32>::try_from(drawn).unwrap();
            for (i, drawn) in (0..).zip(drawn) {
                let expected = random(key.words(first), (first as u32).wrapping_add(i)) & 0xffff;
                assert_eq!(drawn.cast_unsigned(), expected, "element {first} + {i}");
            }
        }
    }

    #[test]
    fn the_mean_of_many_roundings_is_the_value() {
        // A quarter, a half and most of the way between two neighbours of bf16, of both signs.
        for value in [1.0 + 1.0 / 512.0, -3.0 - 1.0 / 128.0, 1e-3 * 1.0033, -1e-30] {
            let value = value as f32;
            let below = f32::from_bits(value.to_bits() & 0xffff_0000);
            let above = f32::from_bits((value.to_bits() & 0xffff_0000) + 0x1_0000);
            let wanted = f64::from((value - below) / (above - below));
            // Over elements of one step, and over steps of one element.
            let elements = (0..100_000).map(|i| (Key::of_parameter(1, "w").at(1), i));
            let steps = (0..100_000).map(|s| (Key::of_parameter(1, "w").at(s), 5));
            let of_elements = share_above(value, elements);
            let of_steps = share_above(value, steps);
            // Five deviations of a mean over 100,000 draws.
            let bound = 5.0 * (wanted * (1.0 - wanted) / 1e5).sqrt() + 1e-9;
            for (got, over) in [(of_elements, "elements"), (of_steps, "steps")] {
                assert!(
                    (got - wanted).abs() < bound,
                    "{value}, {over}: {got} above, not {wanted}"
                );
            }
        }
    }

    fn share_above(value: f32, draws: impl Iterator<Item = (Key, u32)>) -> f64 {
        let below = (value.to_bits() >> 16) as u16;
        let (mut above, mut all) = (0_u32, 0_u32);
        for (key, index) in draws {
            let rounded = round(value, random(key.words(0), index));
            assert!(rounded == below || rounded == below + 1);
            above += u32::from(rounded != below);
            all += 1;
        }
        f64::from(above) / f64::from(all)
    }

    #[test]
    fn draws_of_neighbours_steps_names_and_seeds_are_independent() {
        let base = |i| random(Key::of_parameter(1, "a").at(1).words(0), i);
        let others: [(&str, &dyn Fn(u32) -> u32); 5] = [
            ("next element", &|i| base(i + 1)),
            ("element 256 on", &|i| base(i + 256)),
            ("next step", &|i| {
                random(Key::of_parameter(1, "a").at(2).words(0), i)
            }),
            ("other name", &|i| {
                random(Key::of_parameter(1, "b").at(1).words(0), i)
            }),
            ("other seed", &|i| {
                random(Key::of_parameter(2, "a").at(1).words(0), i)
            }),
        ];
        let unit = |bits: u32| f64::from(bits & 0xffff) / 65_536.0 - 0.5;
        for (what, other) in others {
            let n = 200_000;
            let covariance: f64 =
                (0..n).map(|i| unit(base(i)) * unit(other(i))).sum::<f64>() / f64::from(n);
            // The deviation of a product of two uniform variables is 1/12.
            let bound = 5.0 / 12.0 / f64::from(n).sqrt();
            assert!(covariance.abs() < bound, "{what}: covariance {covariance}");
        }
    }

    #[test]
    fn values_that_bf16_holds_stay() {
        for value in [0.0_f32, -0.0, 1.0, -2.5, 65_280.0] {
            for random in [0, 1, 0x7fff, 0xffff] {
                assert_eq!(round(value, random), (value.to_bits() >> 16) as u16);
            }
        }
    }
}
