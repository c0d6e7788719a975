//! How stored elements of B become fragments: sixteen bytes as pairs of 16-bit elements, unpacked in registers.
//!
//! | stored | pairs of a lane's load | how |
//! |---|---|---|
//! | f16, bf16 | 4 | as they are |
//! | e4m3, e5m2 | 8 | by the conversion to f16 pairs; to bf16 on from there by f32, each step exact |
//! | i8 | 8 | as the low bits of a large f32, less that number |
//! | e2m1 | 16 | sign, exponent and fraction moved to their places, times a power of two |
//! | int4 | 16 | as the low bits of a large number, less that number and 8 |
//!
//! Four-bit elements give pairs of the elements i and i + 4 of a word, because those lie at the same bits of its two
//! halves. The kernel for few rows does this once for each pair that there is, and looks up the rest ([`super::table`]).

use super::super::problem::{Codes, ContractionError, Operand, Problem};
use gable_ptx::{B16, B32, F32, KernelBuilder, R};
use gable_tensor::DType;

/// What memory holds of B, and what the fragments hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Format {
    /// How B is stored; absent where it is as the fragments are.
    codes: Option<Codes>,
    /// The factors' type: f16 or bf16.
    element: DType,
}

/// The value of f32 whose lowest fraction bit counts 1, and by which an excess of 128 is taken back.
const EXCESS: f32 = 8_388_736.0;

impl Format {
    /// The format of a problem of 16-bit factors.
    pub fn of(problem: &Problem) -> Format {
        let quantised = problem.quantised.as_ref().filter(|_| matches!(problem.b, Operand::Expression { .. }));
        Format { codes: quantised.map(|quantised| quantised.codes), element: problem.element }
    }

    /// Bits of a stored element.
    pub fn bits(self) -> u32 {
        self.codes.map_or(16, Codes::bits)
    }

    /// Two elements of the factors' type from two f32, the first in the low half.
    pub fn pair(self, k: &mut KernelBuilder, low: R<F32>, high: R<F32>) -> R<B32> {
        if self.element == DType::BF16 { k.cvt_bf16x2_f32(high, low) } else { k.cvt_f16x2_f32(high, low) }
    }

    /// The product of two pairs, rounded.
    pub fn multiply(self, k: &mut KernelBuilder, a: R<B32>, b: R<B32>) -> R<B32> {
        if self.element == DType::BF16 { k.mul_bf16x2(a, b) } else { k.mul_f16x2(a, b) }
    }

    /// The words of a chunk as pairs of elements: neighbours, of four-bit elements those of the module's text.
    pub fn pairs(self, k: &mut KernelBuilder, words: [R<B32>; 4]) -> Result<Vec<R<B32>>, ContractionError> {
        let mut pairs = Vec::new();
        for word in words {
            match self.codes {
                None => pairs.push(word),
                Some(Codes::Bytes(DType::E4M3)) => {
                    let halves = k.unpack_b32(word);
                    let f16 = halves.map(|half: R<B16>| k.cvt_f16x2_e4m3x2(half));
                    pairs.extend(f16.map(|pair| self.widened(k, pair)));
                }
                Some(Codes::Bytes(DType::E5M2)) => {
                    let zero = k.mov_b32(0);
                    // A value of e5m2 is the upper byte of one of f16.
                    for selector in [0x1404, 0x3424] {
                        let pair = k.prmt_b32(word, zero, selector);
                        pairs.push(self.widened(k, pair));
                    }
                }
                Some(Codes::Bytes(DType::I8)) => {
                    let excess = k.xor_b32(word, 0x8080_8080u32);
                    let large = k.mov_b32(0x4b00_0000u32);
                    let mut values = Vec::new();
                    for byte in 0..4 {
                        let bits = k.prmt_b32(excess, large, 0x7440 | byte);
                        let value = k.f32_of_b32(bits);
                        values.push(k.add_f32(value, -EXCESS));
                    }
                    pairs.push(self.pair(k, values[0], values[1]));
                    pairs.push(self.pair(k, values[2], values[3]));
                }
                Some(Codes::E2m1Pairs | Codes::Int4Pairs) => {
                    for nibble in 0..4 {
                        pairs.push(self.pair_of_codes(k, word, nibble)?);
                    }
                }
                Some(Codes::Bytes(other)) => return Err(ContractionError::Type(other)),
            }
        }
        Ok(pairs)
    }

    /// The elements whose four-bit codes are this nibble of the two halves of a word.
    pub fn pair_of_codes(self, k: &mut KernelBuilder, word: R<B32>, nibble: u32) -> Result<R<B32>, ContractionError> {
        let bf16 = self.element == DType::BF16;
        match self.codes {
            Some(Codes::E2m1Pairs) => {
                // Sign, two bits of exponent and one of fraction; as the low bits of the exponent they are the value
                // times 2 to the power of 1 - bias.
                let (lowest, unit) = if bf16 { (6, 0x7e80_7e80u32) } else { (9, 0x7400_7400) };
                let unit = k.mov_b32(unit);
                let at = 4 * nibble;
                let sign = if at == 12 { word } else { k.shl_b32(word, 12 - at) };
                let magnitude = match at.cmp(&lowest) {
                    std::cmp::Ordering::Less => k.shl_b32(word, lowest - at),
                    std::cmp::Ordering::Equal => word,
                    std::cmp::Ordering::Greater => k.shr_u32(word, at - lowest),
                };
                let magnitude = k.and_b32(magnitude, 0x0007_0007u32 << lowest);
                // (sign and mask) or magnitude.
                let small = k.lop3_b32(sign, 0x8000_8000u32, magnitude, 0xea);
                Ok(self.multiply(k, small, unit))
            }
            Some(Codes::Int4Pairs) => {
                // As the lowest fraction bits of 128 or 1024, less that number and 8.
                let (base, excess) = if bf16 { (0x4300_4300u32, 0xc308_c308u32) } else { (0x6400_6400, 0xe408_e408) };
                let (base, excess) = (k.mov_b32(base), k.mov_b32(excess));
                let low = if nibble == 0 { word } else { k.shr_u32(word, 4 * nibble) };
                // (low and mask) or base.
                let large = k.lop3_b32(low, 0x000f_000fu32, base, 0xea);
                Ok(if bf16 { k.add_bf16x2(large, excess) } else { k.add_f16x2(large, excess) })
            }
            _ => Err(ContractionError::NotTiled("only elements of four bits are unpacked by their codes".to_string())),
        }
    }

    /// A pair of f16 in the factors' type, where it is exact.
    fn widened(self, k: &mut KernelBuilder, pair: R<B32>) -> R<B32> {
        if self.element == DType::F16 {
            return pair;
        }
        let [low, high] = k.unpack_b32(pair).map(|half| k.cvt_f32_f16(half));
        k.cvt_bf16x2_f32(high, low)
    }
}
