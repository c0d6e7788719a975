//! What a tensor copy does to the bytes on their way: rounding to TF32, packing of 6-bit elements, the filling.

use super::map::{DataType, Fill};

/// What happens to bytes between the two memories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conversion {
    /// They are moved unchanged.
    #[default]
    None,
    /// Each 32-bit word is rounded to TF32 on its way to shared memory.
    RoundToTf32,
    /// The low 6 bits of sixteen bytes of shared memory become twelve bytes of global memory.
    PackSixBits,
}

/// `bits` of a single-precision number rounded to 10 fraction bits, to nearest even.
///
/// Measured on an H200 for normal numbers. Infinity stays; for NaN, which was not measured, the low bits are cut and the quiet
/// bit is set, so that it stays NaN.
pub fn round_to_tf32(bits: u32) -> u32 {
    const CUT: u32 = 0x1fff;
    match bits & 0x7fff_ffff {
        0x7f80_0001.. => (bits | 0x0040_0000) & !CUT,
        0x7f80_0000 => bits,
        _ => (bits + 0xfff + (bits >> 13 & 1)) & !CUT,
    }
}

/// Packs the low 6 bits of sixteen bytes, first element in the lowest bits; the upper two bits of each byte are dropped.
pub fn pack_six_bits(elements: &[u8; 16]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (group, bytes) in elements.chunks_exact(4).zip(packed.chunks_exact_mut(3)) {
        let word = group.iter().rev().fold(0u32, |word, &element| word << 6 | u32::from(element & 0x3f));
        bytes.copy_from_slice(&word.to_le_bytes()[..3]);
    }
    packed
}

/// Sixteen bytes of filling; the byte at shared address `a` is entry `a % 16`.
///
/// NaN is 0x7ff7 for both 16-bit types and 0x7ff77ff7 for single precision (measured on an H200); other floats continue the
/// pattern, which was not measured.
pub fn filling(data_type: DataType, fill: Fill) -> [u8; 16] {
    match fill {
        Fill::Nan if data_type.is_float() => std::array::from_fn(|at| if at % 2 == 0 { 0xf7 } else { 0x7f }),
        _ => [0; 16],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf32_rounds_to_nearest_even_as_measured() {
        // 1 + 2^-11 and 1 + 2^-12 and 1 + 2^-23 round to 1; 1 + 2^-10 + 2^-11 is a tie that goes up.
        let measured = [0x3f80_1000, 0x3f80_0800, 0x3f80_3000, 0x3f80_0001].map(round_to_tf32);
        assert_eq!(measured, [0x3f80_0000, 0x3f80_0000, 0x3f80_4000, 0x3f80_0000]);
        assert_eq!(round_to_tf32(0x7f7f_ffff), 0x7f80_0000, "the largest number rounds to infinity");
        assert_eq!(round_to_tf32(0xff80_0000), 0xff80_0000);
        assert!(f32::from_bits(round_to_tf32(0x7f80_0001)).is_nan());
    }

    #[test]
    fn six_bits_are_packed_from_the_low_end() {
        let mut elements = [0xc0; 16];
        elements[0] = 0xff;
        elements[5] = 0x01;
        elements[15] = 0x20;
        let packed = u128::from_le_bytes(std::array::from_fn(|at| *pack_six_bits(&elements).get(at).unwrap_or(&0)));
        assert_eq!(packed, 0x3f | 1 << 30 | 0x20 << 90);
    }

    #[test]
    fn nan_fills_are_the_measured_patterns() {
        let nan = filling(DataType::F16, Fill::Nan);
        assert_eq!(u16::from_le_bytes([nan[0], nan[1]]), 0x7ff7);
        let nan = filling(DataType::F32, Fill::Nan);
        assert_eq!(u32::from_le_bytes([nan[4], nan[5], nan[6], nan[7]]), 0x7ff7_7ff7);
        assert_eq!(filling(DataType::F32, Fill::Zeros), [0; 16]);
    }
}
