//! f32 to the types that are written: F16, and Q8_0 bit for bit as ggml's reference does.

use half::f16;

use super::block::Block;

/// Appends the blocks of `values`, a whole number of them. Types that are not written give nothing.
pub(crate) fn quantise(block: Block, values: &[f32], out: &mut Vec<u8>) {
    match block {
        Block::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        Block::F16 => out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
        Block::Q8_0 => values
            .as_chunks::<32>()
            .0
            .iter()
            .for_each(|values| out.extend(q8_0(values))),
        _ => debug_assert!(false, "{} is not written", block.name()),
    }
}

/// The largest magnitude becomes 127; values are rounded half away from zero.
fn q8_0(values: &[f32; 32]) -> [u8; 34] {
    let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = (value * inverse).round() as i8 as u8;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn written_blocks_are_those_of_the_gguf_package() {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/gguf_files/blocks.safetensors"
        );
        let bytes = std::fs::read(golden).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for block in [Block::F16, Block::Q8_0] {
            let part = |name: &str| {
                let name = format!("{}.{name}", block.name());
                file.tensor(&name).unwrap().data().to_vec()
            };
            let values: Vec<f32> = part("values")
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect();
            let mut ours = Vec::new();
            quantise(block, &values, &mut ours);
            assert_eq!(ours, part("bytes"), "{}", block.name());
        }
    }
}
