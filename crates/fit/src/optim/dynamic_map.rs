//! Dynamic 8-bit quantisation: 256 values between -1 (or 0) and 1, dense where they are small.
//!
//! Moments differ by many orders of magnitude within a block, so evenly spaced codes would make most
//! of them zero. The dynamic map ("8-bit Optimizers via Block-wise Quantization",
//! <https://arxiv.org/abs/2110.02861>, section 1.3 and figure 2) has seven decades; the largest, from
//! 0.1 to 1, has 64 codes (128 without a sign), each smaller one half as many. A decade's values are
//! the middles of equal parts of it. Zero and 1 are codes of their own.
//!
//! A value gets the code of the nearest map value, with one exception: **a second moment that is not
//! zero never becomes zero**. The published map sends all below 1.6e-7 of the block's largest to zero,
//! and an update divides by the root of it; the smallest code instead makes such steps too small, not
//! too large.
//!
//! Within a decade value and code are linear functions of each other. Neither way takes a search or a
//! table: the values are the largest of seven lines, and for the codes eight or nine comparisons choose
//! the line, for as many values at once as a register holds. (Looking values up is what loops over 8-bit
//! codes otherwise spend most of their time on.)

/// Values that share one scale.
pub(super) const BLOCK: usize = 256;

const DECADES: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// From where on a code is which linear function of the value: `value * slope + offset`, rounded, for
/// values greater than `above`.
#[derive(Debug, Clone, Copy)]
struct Piece {
    above: f32,
    slope: f32,
    offset: f32,
}

/// `code * slope + offset` is the value of the codes of a decade.
#[derive(Debug, Clone, Copy)]
struct Line {
    slope: f32,
    offset: f32,
}

/// Magnitudes and their codes, counted from zero; a signed map has them on both sides of zero.
#[derive(Debug)]
pub(super) struct DynamicMap<const PIECES: usize> {
    /// Value by code, ascending.
    pub(super) values: [f32; 256],
    /// Code `c` takes the values greater than `thresholds[c - 1]`, up to and with `thresholds[c]`.
    pub(super) thresholds: [f32; 255],
    /// The code of zero.
    pub(super) zero: u8,
    /// What comes last in a decade is this more than 2.25 times its piece's offset.
    last: f32,
    pieces: [Piece; PIECES],
    lines: [Line; 7],
}

/// The first moment's.
pub(super) static SIGNED: DynamicMap<8> = signed();
/// The second moment's.
pub(super) static UNSIGNED: DynamicMap<9> = unsigned();

/// Magnitudes of a decade: `(from 0.1, in parts)` of it.
const fn middle(decade: f64, parts: usize, index: usize) -> f64 {
    decade * (0.1 + 0.9 * (index as f64 + 0.5) / parts as f64)
}

/// The magnitudes greater than zero, `smallest` of them in the lowest decade.
const fn magnitudes<const N: usize>(smallest: usize) -> [f64; N] {
    let mut values = [0.0; N];
    let (mut decade, mut parts, mut next) = (0, smallest, 0);
    while decade < 7 {
        let mut index = 0;
        while index < parts {
            values[next] = middle(DECADES[decade], parts, index);
            next += 1;
            index += 1;
        }
        parts *= 2;
        decade += 1;
    }
    values[next] = 1.0;
    values
}

/// The piece of one decade whose codes begin with `first`; values from the middle to the last value of
/// the decade below.
const fn piece(decade: f64, parts: usize, first: usize, below: f64) -> Piece {
    let count = parts as f64;
    Piece {
        above: ((below + middle(decade, parts, 0)) / 2.0) as f32,
        slope: (count / (0.9 * decade)) as f32,
        // Half a code less, as the sum is rounded to the nearest.
        offset: (first as f64 - count / 9.0 - 0.5) as f32,
    }
}

/// One code for all that is greater than `above`.
const fn single(above: f64, code: usize) -> Piece {
    Piece {
        above: above as f32,
        slope: 0.0,
        offset: code as f32,
    }
}

/// The lines of all decades, the lowest of which has `smallest` codes from 1 on.
const fn lines(smallest: usize) -> [Line; 7] {
    let mut lines = [Line {
        slope: 0.0,
        offset: 0.0,
    }; 7];
    let (mut decade, mut parts, mut first) = (0, smallest, 1);
    while decade < 7 {
        let slope = 0.9 * DECADES[decade] / parts as f64;
        let start = middle(DECADES[decade], parts, 0);
        lines[decade] = Line {
            slope: slope as f32,
            offset: (start - slope * first as f64) as f32,
        };
        first += parts;
        parts *= 2;
        decade += 1;
    }
    lines
}

const fn thresholds(values: &[f64; 256]) -> [f32; 255] {
    let mut thresholds = [0.0; 255];
    let mut code = 0;
    while code < 255 {
        thresholds[code] = ((values[code] + values[code + 1]) / 2.0) as f32;
        code += 1;
    }
    thresholds
}

const fn signed() -> DynamicMap<8> {
    let magnitudes: [f64; 128] = magnitudes(1);
    let mut values = [0.0; 256];
    let mut index = 0;
    while index < 128 {
        values[128 + index] = magnitudes[index];
        if index < 127 {
            // One is a code of the positive side only.
            values[126 - index] = -magnitudes[index];
        }
        index += 1;
    }
    // Codes of magnitudes, from 1; zero is 0.
    let mut pieces = [single(magnitudes[0] / 2.0, 1); 8];
    let (mut decade, mut parts) = (1, 2);
    while decade < 7 {
        pieces[decade] = piece(DECADES[decade], parts, parts, magnitudes[parts - 2]);
        parts *= 2;
        decade += 1;
    }
    pieces[7] = single((magnitudes[126] + 1.0) / 2.0, 128);
    let mut map = DynamicMap {
        values: [0.0; 256],
        thresholds: thresholds(&values),
        zero: 127,
        // A decade of n codes has the offset 8n/9 - 1/2 and ends with code 2n - 1.
        last: 0.125,
        pieces,
        lines: lines(1),
    };
    let mut code = 0;
    while code < 256 {
        map.values[code] = map.decode_signed(code as u8);
        code += 1;
    }
    map
}

const fn unsigned() -> DynamicMap<9> {
    let magnitudes: [f64; 255] = magnitudes(2);
    let mut values = [0.0; 256];
    let mut index = 0;
    while index < 255 {
        values[index + 1] = magnitudes[index];
        index += 1;
    }
    // All above zero is at least code 1.
    let mut pieces = [single(0.0, 1); 9];
    pieces[1] = single((magnitudes[0] + magnitudes[1]) / 2.0, 2);
    let (mut decade, mut parts) = (1, 4);
    while decade < 7 {
        pieces[decade + 1] = piece(DECADES[decade], parts, parts - 1, magnitudes[parts - 3]);
        parts *= 2;
        decade += 1;
    }
    pieces[8] = single((magnitudes[253] + 1.0) / 2.0, 255);
    let mut thresholds = thresholds(&values);
    thresholds[0] = 0.0;
    let mut map = DynamicMap {
        values: [0.0; 256],
        thresholds,
        zero: 0,
        // A decade of n codes has the offset 8n/9 - 3/2 and ends with code 2n - 2.
        last: 1.375,
        pieces,
        lines: lines(2),
    };
    let mut code = 0;
    while code < 256 {
        map.values[code] = map.decode_unsigned(code as u8);
        code += 1;
    }
    map
}

/// 2^23: an f32 that it is added to has no bits behind the point, and its integer in the lowest bits.
const INTEGER: f32 = 8_388_608.0;

impl<const PIECES: usize> DynamicMap<PIECES> {
    /// The value of a magnitude's code: each decade's line lies above the others where it is its turn.
    #[inline(always)]
    const fn magnitude(&self, code: f32) -> f32 {
        let mut value = 0.0;
        let mut decade = 0;
        while decade < 7 {
            let line = code * self.lines[decade].slope + self.lines[decade].offset;
            // As one instruction; `max` treats NaN apart.
            value = if line > value { line } else { value };
            decade += 1;
        }
        if value < 1.0 { value } else { 1.0 }
    }

    /// What a code of the signed map means.
    #[inline(always)]
    pub(super) const fn decode_signed(&self, code: u8) -> f32 {
        let signed = code as i32 - 127;
        let magnitude = self.magnitude(signed.abs() as f32);
        f32::from_bits(magnitude.to_bits() | (signed as u32 & 0x8000_0000))
    }

    /// What a code of the unsigned map means.
    #[inline(always)]
    pub(super) const fn decode_unsigned(&self, code: u8) -> f32 {
        self.magnitude(code as f32)
    }

    /// The code of a magnitude of at most 1, still to be rounded.
    #[inline(always)]
    fn code(&self, magnitude: f32) -> f32 {
        let (mut slope, mut offset) = (0.0, 0.0);
        for piece in &self.pieces {
            if magnitude > piece.above {
                (slope, offset) = (piece.slope, piece.offset);
            }
        }
        let code = magnitude * slope + offset;
        // Values between two decades belong to the last code of the lower one up to their middle.
        let last = offset * 2.25 + self.last;
        if code < last { code } else { last }
    }

    /// The code of a first moment divided by the block's largest magnitude.
    #[inline(always)]
    pub(super) fn encode_signed(&self, value: f32) -> u8 {
        let code = self.code(value.abs());
        let negative = value.to_bits() >> 31; // 0 or 1
        // The negative side ends one code earlier.
        let end = 128.0 - negative as f32;
        let code = if code < end { code } else { end };
        let magnitude = (code + INTEGER).to_bits();
        let turned = (magnitude ^ negative.wrapping_neg()).wrapping_add(negative);
        turned.wrapping_add(127) as u8
    }

    /// The code of a second moment divided by the block's largest.
    #[inline(always)]
    pub(super) fn encode_unsigned(&self, value: f32) -> u8 {
        (self.code(value) + INTEGER).to_bits() as u8
    }
}

/// What a block's values are divided by: its largest magnitude, or the smallest normal number, so
/// that the division has a result where all are zero.
#[inline(always)]
pub(super) fn scale(largest: f32) -> f32 {
    largest.max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By definition: how many thresholds lie below the value.
    fn searched(thresholds: &[f32; 255], value: f32) -> u8 {
        thresholds.partition_point(|threshold| *threshold < value) as u8
    }

    #[test]
    fn the_maps_are_the_published_ones() {
        // bitsandbytes 0.50.2, functional.create_dynamic_map; golden/adamw_forms.py recorded them.
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/dynamic_map.json")).unwrap();
        for (name, values) in [("signed", &SIGNED.values), ("unsigned", &UNSIGNED.values)] {
            let published = golden[name].as_array().unwrap();
            assert_eq!(published.len(), 256);
            for (code, (value, published)) in values.iter().zip(published).enumerate() {
                // Both compute in f32; ours adds what nearly cancels.
                let published = published.as_f64().unwrap();
                assert!(
                    (f64::from(*value) - published).abs() <= 2e-6 * published.abs(),
                    "{name} code {code}: {value} against {published}"
                );
            }
        }
    }

    #[test]
    fn every_map_value_has_its_own_code() {
        for (code, value) in (0..=255).zip(SIGNED.values) {
            assert_eq!(SIGNED.encode_signed(value), code, "{value}");
        }
        for (code, value) in (0..=255).zip(UNSIGNED.values) {
            assert_eq!(UNSIGNED.encode_unsigned(value), code, "{value}");
        }
        assert_eq!(SIGNED.values[usize::from(SIGNED.zero)], 0.0);
        assert_eq!(UNSIGNED.values[usize::from(UNSIGNED.zero)], 0.0);
    }

    #[test]
    fn the_lines_give_the_nearest_code_but_for_ties() {
        // Each f32 whose lower 9 bits are zero, from 1 down to where all is zero.
        for bits in (0..=1.0_f32.to_bits()).step_by(512) {
            let value = f32::from_bits(bits);
            for value in [value, -value] {
                let (got, wanted) = (
                    SIGNED.encode_signed(value),
                    searched(&SIGNED.thresholds, value),
                );
                if got != wanted {
                    let tie = SIGNED.thresholds[usize::from(got.min(wanted))];
                    assert!(
                        got.abs_diff(wanted) == 1 && (value - tie).abs() <= 1e-6 * tie.abs(),
                        "{value}: code {got}, not {wanted}"
                    );
                }
            }
            let (got, wanted) = (
                UNSIGNED.encode_unsigned(value),
                searched(&UNSIGNED.thresholds, value),
            );
            if got != wanted {
                let tie = UNSIGNED.thresholds[usize::from(got.min(wanted))];
                assert!(
                    got.abs_diff(wanted) == 1 && (value - tie).abs() <= 1e-6 * tie,
                    "{value}: code {got}, not {wanted}"
                );
            }
        }
    }

    #[test]
    fn no_second_moment_above_zero_becomes_zero() {
        for value in [f32::from_bits(1), 1e-30, 1e-9, 1e-7] {
            assert_eq!(UNSIGNED.encode_unsigned(value), 1, "{value}");
        }
        assert_eq!(UNSIGNED.encode_unsigned(0.0), 0);
        // A first moment may.
        assert_eq!(SIGNED.encode_signed(1e-9), 127);
        assert_eq!(SIGNED.encode_signed(-0.0), 127);
    }

    #[test]
    fn a_value_that_rounding_carried_past_one_has_the_last_code() {
        let past = 1.0 + f32::EPSILON;
        assert_eq!(SIGNED.encode_signed(past), 255);
        assert_eq!(SIGNED.encode_signed(-past), 0);
        assert_eq!(UNSIGNED.encode_unsigned(past), 255);
    }
}
