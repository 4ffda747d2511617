//! Blocks of quantised numbers to f32, bit for bit as ggml's reference does.
//!
//! Layouts are those of `ggml-common.h`; the order of the arithmetic is that of ggml's
//! `dequantize_row_*`, because rounding depends on it.

use half::f16;

use super::block::Block;

/// Fills `out` from the blocks of `data`, which hold exactly as many elements.
pub(crate) fn dequantise(block: Block, data: &[u8], out: &mut [f32]) {
    debug_assert_eq!(
        data.len() / block.bytes() * block.elements(),
        out.len(),
        "blocks and elements"
    );
    match block {
        Block::F32 | Block::F16 | Block::BF16 => {
            debug_assert!(false, "plain numbers are no blocks");
        }
        Block::Q4_0 => each(data, out, q4_0),
        Block::Q4_1 => each(data, out, q4_1),
        Block::Q5_0 => each(data, out, q5_0),
        Block::Q8_0 => each(data, out, q8_0),
        Block::Q4K => each(data, out, q4_k),
        Block::Q6K => each(data, out, q6_k),
    }
}

fn each<const BYTES: usize, const ELEMENTS: usize>(
    data: &[u8],
    out: &mut [f32],
    convert: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let (blocks, _) = data.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<ELEMENTS>();
    for (block, out) in blocks.iter().zip(outs) {
        convert(block, out);
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, &byte) in block[2..].iter().enumerate() {
        out[i] = f32::from((byte & 15) as i8 - 8) * scale;
        out[i + 16] = f32::from((byte >> 4) as i8 - 8) * scale;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    for (i, &byte) in block[4..].iter().enumerate() {
        out[i] = f32::from(byte & 15) * scale + least;
        out[i + 16] = f32::from(byte >> 4) * scale + least;
    }
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    // The fifth bits of all elements.
    let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let fifth = |i: usize| (((high >> i) & 1) << 4) as i8;
    for (i, &byte) in block[6..].iter().enumerate() {
        out[i] = f32::from(((byte & 15) as i8 | fifth(i)) - 16) * scale;
        out[i + 16] = f32::from(((byte >> 4) as i8 | fifth(i + 16)) - 16) * scale;
    }
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (out, &byte) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(byte as i8) * scale;
    }
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let packed = &block[4..16];
    let quants = &block[16..];
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, m) = scale_and_minimum(packed, group);
        let (scale, least) = (scale * f32::from(s), least * f32::from(m));
        // Two groups share 32 bytes: the low halves, then the high ones.
        let shift = (group % 2) * 4;
        for (out, &byte) in out.iter_mut().zip(&quants[group / 2 * 32..]) {
            *out = scale * f32::from((byte >> shift) & 15) - least;
        }
    }
}

/// The six bits each of a group's scale and minimum in the 12 bytes of a K block.
fn scale_and_minimum(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        (
            (low & 15) | ((packed[group - 4] >> 6) << 4),
            (low >> 4) | ((packed[group] >> 6) << 4),
        )
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let scale = half_at(block, 208);
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scale * f32::from(scales[group] as i8);
        // Each half of the block: four runs of 32 elements, whose low bits are the halves of 64
        // bytes and whose high bits are the quarters of 32 bytes.
        let (half, run, start) = (group / 8, group % 8 / 2, group % 2 * 16);
        let low = &low[half * 64 + run % 2 * 32 + start..];
        let high = &high[half * 32 + start..];
        for ((out, &low), &high) in out.iter_mut().zip(low).zip(high) {
            let low = (low >> (run / 2 * 4)) & 15;
            let high = (high >> (run * 2)) & 3;
            *out = scale * f32::from((low | (high << 4)) as i8 - 32);
        }
    }
}
