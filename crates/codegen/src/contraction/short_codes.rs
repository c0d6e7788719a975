//! Codes of fewer bits than the byte that each is stored in: what the tensor cores take of them.
//!
//! ```text
//!            bits of the byte      `mma.sync` takes      as a float of 8 bits
//!   e2m3     0 0 s e e m m m       the same              s 0 0 e e m m m    e4m3, 2^6 too small
//!   e3m2     0 0 s e e e m m       the same              s 0 0 e e e m m    e5m2, 2^12 too small
//!   e2m1     0 0 0 0 s e e m       0 0 s e e m 0 0       s 0 0 e e m 0 0    e4m3, 2^6 too small
//! ```
//! A float's exponent and fraction mean the same below another sign and a longer exponent but for a power of two, whether the
//! number is normal or not. Bits above a code are left out.

use gable_ptx::{B32, KernelBuilder, R};
use gable_tensor::DType;

/// The signs of four codes of 6 bits.
const SIGNS: u32 = 0x2020_2020;

/// The bits of four codes of 6 bits, and of e2m1 where they are moved to.
const SIX_BITS: u32 = 0x3f3f_3f3f;
const FOUR_BITS: u32 = 0x3c3c_3c3c;

/// Whether elements of the type are codes in bytes of more bits.
pub(super) fn is_short(element: DType) -> bool {
    matches!(element, DType::E2M3 | DType::E3M2 | DType::E2M1)
}

/// Four codes as `mma.sync` takes them; those that fill a byte as they are.
pub(super) fn placed(k: &mut KernelBuilder, element: DType, word: R<B32>) -> R<B32> {
    match element {
        DType::E2M3 | DType::E3M2 => k.and_b32(word, SIX_BITS),
        DType::E2M1 => {
            let moved = k.shl_b32(word, 2);
            k.and_b32(moved, FOUR_BITS)
        }
        _ => word,
    }
}

/// The float of 8 bits that has an element's codes, and the power of two that it is too small by.
pub(super) fn float8(element: DType) -> (DType, i32) {
    match element {
        DType::E2M3 | DType::E2M1 => (DType::E4M3, 6),
        DType::E3M2 => (DType::E5M2, 12),
        other => (other, 0),
    }
}

/// Four codes as floats of 8 bits; those that fill a byte as they are.
pub(super) fn widened(k: &mut KernelBuilder, element: DType, word: R<B32>) -> R<B32> {
    if !is_short(element) {
        return word;
    }
    let code = placed(k, element, word);
    // The sign goes two bits up, over zeros: as much as to add it three times.
    let sign = k.and_b32(code, SIGNS);
    k.mad_lo_u32(sign, 3, code)
}

/// Eight codes of 4 bits, two to a byte and the first in the low bits, as floats of 8 bits: the first four, then the others.
pub(super) fn unpacked(k: &mut KernelBuilder, word: R<B32>) -> [R<B32>; 2] {
    const LOW: u32 = 0x0f0f_0f0f;
    let even = k.and_b32(word, LOW);
    let odd = k.shr_u32(word, 4);
    let odd = k.and_b32(odd, LOW);
    [0x5140, 0x7362].map(|order| {
        let codes = k.prmt_b32(even, odd, order);
        widened(k, DType::E2M1, codes)
    })
}
