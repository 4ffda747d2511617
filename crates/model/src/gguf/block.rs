//! The types in which GGUF stores numbers: plain ones, and blocks that share a scale.
//!
//! A block is the unit that is read and written: so many elements in so many bytes. A row of a
//! tensor is a whole number of blocks.

use tch::Kind;

/// A type of tensor that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    F32,
    F16,
    BF16,
    /// Four bits, times a scale.
    Q4_0,
    /// Four bits, times a scale, plus a minimum.
    Q4_1,
    /// Five bits, times a scale.
    Q5_0,
    /// Eight bits, times a scale.
    Q8_0,
    /// Four bits in eight groups of 32, whose scales and minima have six bits and a scale each.
    Q4K,
    /// Six bits in sixteen groups of 16, whose scales have eight bits and a scale.
    Q6K,
}

/// What ggml calls its types; those that are no longer in use have no name.
const NAMES: [&str; 42] = [
    "F32", "F16", "Q4_0", "Q4_1", "", "", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K",
    "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S",
    "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16", "", "", "", "TQ1_0", "TQ2_0", "",
    "", "", "MXFP4", "NVFP4", "Q1_0",
];

/// Those that are read: ggml's number, elements of a block, its bytes.
const READ: [(Block, u32, usize, usize); 9] = [
    (Block::F32, 0, 1, 4),
    (Block::F16, 1, 1, 2),
    (Block::BF16, 30, 1, 2),
    (Block::Q4_0, 2, 32, 18),
    (Block::Q4_1, 3, 32, 20),
    (Block::Q5_0, 6, 32, 22),
    (Block::Q8_0, 8, 32, 34),
    (Block::Q4K, 12, 256, 144),
    (Block::Q6K, 14, 256, 210),
];

impl Block {
    /// The type that a number in a file stands for.
    pub fn of(number: u32) -> Result<Block, String> {
        if let Some((block, ..)) = READ.iter().find(|row| row.1 == number) {
            return Ok(*block);
        }
        let name = usize::try_from(number).ok().and_then(|n| NAMES.get(n));
        let name = match name {
            Some(name) if !name.is_empty() => (*name).to_owned(),
            _ => format!("number {number}"),
        };
        let known: Vec<&str> = READ.iter().map(|row| row.0.name()).collect();
        Err(format!(
            "is of type {name}, which is not read here: quantise the model to one of {}",
            known.join(", ")
        ))
    }

    fn row(self) -> (u32, usize, usize) {
        // Every variant is in the list: a test walks over them.
        READ.iter()
            .find(|row| row.0 == self)
            .map_or((0, 1, 4), |&(_, number, elements, bytes)| {
                (number, elements, bytes)
            })
    }

    /// The number that stands for the type in a file.
    pub fn number(self) -> u32 {
        self.row().0
    }

    /// Elements of one block.
    pub fn elements(self) -> usize {
        self.row().1
    }

    /// Bytes of one block.
    pub fn bytes(self) -> usize {
        self.row().2
    }

    /// libtorch's type for plain numbers; `None` for blocks.
    pub fn plain(self) -> Option<Kind> {
        match self {
            Block::F32 => Some(Kind::Float),
            Block::F16 => Some(Kind::Half),
            Block::BF16 => Some(Kind::BFloat16),
            _ => None,
        }
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        NAMES[self.number() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_read_is_found_by_its_number_and_has_a_name() {
        for (block, number, elements, bytes) in READ {
            assert_eq!(Block::of(number), Ok(block));
            assert_eq!(
                (block.number(), block.elements(), block.bytes()),
                (number, elements, bytes)
            );
            assert!(!block.name().is_empty());
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for (number, name) in [
            (13, "Q5_K"),
            (20, "IQ4_NL"),
            (4, "number 4"),
            (77, "number 77"),
        ] {
            let error = Block::of(number).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
