//! The 64-bit zero-column mask of `tcgen05.mma.ws`: which columns of B count as zero, and a shift of all of them.
//!
//! | bits | field |
//! |---|---|
//! | 0-31 | four counts of columns to skip at the start of the pattern, one for each part of N |
//! | 32-35 | whether the pattern of a part begins with zeros |
//! | 36-38 | 0 |
//! | 39 | whether there is a pattern |
//! | 40-47 | zero columns in a row, less one |
//! | 48-55 | used columns in a row, less one |
//! | 56-61 | shift |
//! | 62-63 | 0 |
//!
//! M = 128 has one part, 64 two, 32 four. Source: PTX ISA `#tcgen05-zero-column-mask-descriptor`. Its table describes the two spans the
//! other way round than its examples use them; the examples are followed here. A start count that skips a whole first span is
//! refused, because the manual does not say what follows then.

use super::instruction_descriptor::InstructionDescriptor;

/// A mask that its instruction does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zero-column mask {bits:#018x}: {fault}")]
pub struct ColumnMaskError {
    /// The descriptor.
    pub bits: u64,
    /// What is wrong.
    pub fault: ColumnMaskFault,
}

/// What is wrong with a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum ColumnMaskFault {
    #[error("bits 36-38 and 62-63 must be 0")]
    Reserved,
    #[error("the shift is {found} columns, the largest for M = {m} and this instruction descriptor is {largest}")]
    Shift { found: u32, m: u32, largest: u32 },
    #[error("start count {start} of part {part} skips its whole first span of {span}; what follows is not documented")]
    Start { part: u32, start: u32, span: u32 },
}

/// A zero-column mask taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnMask {
    start: [u32; 4],
    zeros_first: [bool; 4],
    pattern: bool,
    zeros: u32,
    used: u32,
    shift: u32,
    columns_of_a_part: u32,
}

impl ColumnMask {
    /// Takes a mask apart.
    ///
    /// # Errors
    /// When reserved bits are set, the shift is larger than allowed, or the pattern is not documented.
    pub fn decode(bits: u64, instruction: &InstructionDescriptor) -> Result<Self, ColumnMaskError> {
        let error = |fault| ColumnMaskError { bits, fault };
        let field = |first: u32, width: u32| (bits >> first & ((1 << width) - 1)) as u32;
        if field(36, 3) != 0 || field(62, 2) != 0 {
            return Err(error(ColumnMaskFault::Reserved));
        }
        let m = instruction.m;
        let shift = field(56, 6);
        let largest = instruction.max_shift.min(if m == 32 { 16 } else { 32 });
        if shift > largest {
            return Err(error(ColumnMaskFault::Shift { found: shift, m, largest }));
        }
        let parts = 128 / m;
        let mask = ColumnMask {
            start: [0, 8, 16, 24].map(|first| field(first, 8)),
            zeros_first: [32, 33, 34, 35].map(|bit| field(bit, 1) == 1),
            pattern: field(39, 1) == 1,
            zeros: field(40, 8) + 1,
            used: field(48, 8) + 1,
            shift,
            columns_of_a_part: instruction.n / parts,
        };
        for part in 0..parts {
            let span = if mask.zeros_first[part as usize] { mask.zeros } else { mask.used };
            let start = mask.start[part as usize];
            if mask.pattern && start >= span {
                return Err(error(ColumnMaskFault::Start { part, start, span }));
            }
        }
        Ok(mask)
    }

    /// The column of B that column `n` of D multiplies by; none where B counts as zero.
    pub fn source(&self, n: u32) -> Option<u32> {
        let part = (n / self.columns_of_a_part) as usize;
        let position = (n % self.columns_of_a_part + self.start[part]) % (self.zeros + self.used);
        let zero = if self.zeros_first[part] { position < self.zeros } else { position >= self.used };
        (!(self.pattern && zero)).then_some(n + self.shift)
    }

    /// Columns of B that are read in all: those of D and the shift.
    pub fn shift(&self) -> u32 {
        self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_core::tcgen05::instruction_descriptor::{Form, Kind};

    /// bf16 into f32, N = 128, `.ws` with the largest shift.
    fn instruction(m: u32) -> InstructionDescriptor {
        let form = Form {
            kind: Kind::F16,
            cta_group: 1,
            sparse: false,
            weight_stationary: true,
            scale_vector: None,
            k96: false,
        };
        InstructionDescriptor::decode(0xc020_0490 | m >> 4 << 24, form).unwrap()
    }

    fn bits(start: [u64; 4], first: [u64; 4], pattern: u64, skip: u64, used: u64, shift: u64) -> u64 {
        let starts: u64 = start.iter().enumerate().map(|(part, count)| count << (8 * part)).sum();
        let firsts: u64 = first.iter().enumerate().map(|(part, bit)| bit << (32 + part)).sum();
        starts | firsts | pattern << 39 | skip << 40 | used << 48 | shift << 56
    }

    /// The mask of a part as the manual prints it, lowest column last.
    fn printed(mask: &ColumnMask, first: u32, digits: u32) -> String {
        (first..first + digits).rev().map(|n| if mask.source(n).is_none() { '1' } else { '0' }).collect()
    }

    #[test]
    fn the_examples_of_the_manual_give_their_masks() {
        let none = ColumnMask::decode(bits([0; 4], [0; 4], 0, 4, 3, 0), &instruction(128)).unwrap();
        assert!((0..128).all(|n| none.source(n) == Some(n)));
        let one = ColumnMask::decode(bits([0; 4], [0; 4], 1, 2, 3, 0), &instruction(128)).unwrap();
        assert_eq!(printed(&one, 0, 14), "11100001110000");
        let two = ColumnMask::decode(bits([0; 4], [1, 0, 0, 0], 1, 2, 3, 0), &instruction(64)).unwrap();
        assert_eq!(printed(&two, 0, 17), "11100001110000111");
        assert_eq!(printed(&two, 64, 18), "000011100001110000");
        let four = ColumnMask::decode(bits([0, 1, 2, 1], [1, 1, 0, 0], 1, 2, 3, 2), &instruction(32)).unwrap();
        assert_eq!(printed(&four, 0, 14), "00001110000111");
        assert_eq!(printed(&four, 32, 13), "0000111000011");
        assert_eq!(printed(&four, 64, 12), "111000011100");
        assert_eq!(printed(&four, 96, 13), "1110000111000");
        assert_eq!((four.source(126), four.source(127)), (Some(128), None));
    }

    #[test]
    fn masks_that_the_manual_excludes_are_refused() {
        let fault = |bits, m| ColumnMask::decode(bits, &instruction(m)).unwrap_err().fault;
        for bit in [36, 37, 38, 62, 63] {
            assert_eq!(fault(1 << bit, 128), ColumnMaskFault::Reserved);
        }
        assert_eq!(fault(17 << 56, 32), ColumnMaskFault::Shift { found: 17, m: 32, largest: 16 });
        assert_eq!(fault(33 << 56, 64), ColumnMaskFault::Shift { found: 33, m: 64, largest: 32 });
        let start = fault(bits([4, 0, 0, 0], [0; 4], 1, 2, 3, 0), 128);
        assert_eq!(start, ColumnMaskFault::Start { part: 0, start: 4, span: 4 });
    }
}
