//! What `cp.reduce.async.bulk` and its tensor form do to one element.
//!
//! Which operation goes with which type is the tables of PTX ISA sections 9.7.9.25.4.2 and 9.7.9.25.5.3. Additions round to
//! nearest even; that of single precision flushes denormal inputs and results to zero of their sign, those of half precision
//! and brain float do not. Which pairs a tensor reduction takes was measured on an H200: beside the table's, `add` of `f64` and of
//! both TF32 types, and no bit operation on `i64`. The bits of a NaN result and the order of NaN and of zeros in `min` and `max`
//! were not measured: NaN is the canonical one, `min` and `max` give the number where one side is NaN, and -0 lies below +0.

use super::map::DataType;
use half::{bf16, f16};

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Sum.
    Add,
    /// Smaller one.
    Min,
    /// Larger one.
    Max,
    /// One more, back to zero at the source's value.
    Inc,
    /// One less, back to the source's value at zero and above it.
    Dec,
    /// Bits of both.
    And,
    /// Bits of either.
    Or,
    /// Bits of one.
    Xor,
}

/// The type that an element is combined as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the types of the instruction")]
pub enum Type {
    U32,
    S32,
    U64,
    S64,
    B32,
    B64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Type {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::B32 | Self::F32 => 4,
            Self::U64 | Self::S64 | Self::B64 | Self::F64 => 8,
        }
    }
}

/// The type that a tensor reduction uses for elements of a map, `None` when the pair does not exist.
pub fn tensor_type(operation: Operation, data_type: DataType) -> Option<Type> {
    use DataType::*;
    let element = match (operation, data_type) {
        (Operation::And | Operation::Or | Operation::Xor, U32 | S32) => Type::B32,
        (Operation::And | Operation::Or | Operation::Xor, U64) => Type::B64,
        (_, U32) => Type::U32,
        (_, S32) => Type::S32,
        (_, U64) => Type::U64,
        (_, S64) => Type::S64,
        (_, F16) => Type::F16,
        (_, Bf16) => Type::Bf16,
        (_, F32 | F32Ftz | Tf32 | Tf32Ftz) => Type::F32,
        (_, F64) => Type::F64,
        _ => return None,
    };
    exists(operation, element).then_some(element)
}

/// Whether a reduction to global memory has this operation for this type.
pub fn exists(operation: Operation, element: Type) -> bool {
    use Type::*;
    match operation {
        Operation::Add => matches!(element, U32 | S32 | U64 | F32 | F64 | F16 | Bf16),
        Operation::Min | Operation::Max => matches!(element, U32 | S32 | U64 | S64 | F16 | Bf16),
        Operation::Inc | Operation::Dec => element == U32,
        Operation::And | Operation::Or | Operation::Xor => matches!(element, B32 | B64),
    }
}

/// The new bits of an element that holds `old` when `source` arrives. `None` when [`exists`] says no.
pub fn combine(operation: Operation, element: Type, old: u64, source: u64) -> Option<u64> {
    if !exists(operation, element) {
        return None;
    }
    Some(match operation {
        Operation::Add => add(element, old, source),
        Operation::Min => smaller(element, old, source, false),
        Operation::Max => smaller(element, old, source, true),
        Operation::Inc if old >= source => 0,
        Operation::Inc => old + 1,
        Operation::Dec if old == 0 || old > source => source,
        Operation::Dec => old - 1,
        Operation::And => old & source,
        Operation::Or => old | source,
        Operation::Xor => old ^ source,
    })
}

/// Applies `operation` to whole slices of elements. `false`, and `old` unchanged, when the pair does not exist.
pub fn combine_slice(operation: Operation, element: Type, old: &mut [u8], source: &[u8]) -> bool {
    if !exists(operation, element) {
        return false;
    }
    let size = element.bytes();
    let bits = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    for (old, source) in old.chunks_exact_mut(size).zip(source.chunks_exact(size)) {
        let new = combine(operation, element, bits(old), bits(source)).expect("the pair exists");
        old.copy_from_slice(&new.to_le_bytes()[..size]);
    }
    true
}

fn add(element: Type, old: u64, source: u64) -> u64 {
    match element {
        Type::F16 => {
            // A sum of two halves is exact in double precision, so it is rounded once.
            let sum = f16::from_bits(old as u16).to_f64() + f16::from_bits(source as u16).to_f64();
            if sum.is_nan() { 0x7fff } else { u64::from(f16::from_f64(sum).to_bits()) }
        }
        Type::Bf16 => {
            // Either exact in double precision, or the smaller one is too small to matter to the result.
            let sum = bf16::from_bits(old as u16).to_f64() + bf16::from_bits(source as u16).to_f64();
            if sum.is_nan() { 0x7fff } else { u64::from(bf16::from_f64(sum).to_bits()) }
        }
        Type::F32 => {
            let sum = flush(f32::from_bits(old as u32)) + flush(f32::from_bits(source as u32));
            if sum.is_nan() { 0x7fff_ffff } else { u64::from(flush(sum).to_bits()) }
        }
        Type::F64 => {
            let sum = f64::from_bits(old) + f64::from_bits(source);
            if sum.is_nan() { 0x7fff_ffff_ffff_ffff } else { sum.to_bits() }
        }
        Type::U32 | Type::S32 | Type::B32 => u64::from((old as u32).wrapping_add(source as u32)),
        Type::U64 | Type::S64 | Type::B64 => old.wrapping_add(source),
    }
}

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

/// The smaller of two, or the larger.
fn smaller(element: Type, old: u64, source: u64, larger: bool) -> u64 {
    // A key of each whose order as a signed number is that of the values; `None` for NaN.
    let key = |bits: u64| -> Option<i128> {
        let ordered =
            |bits: u16| i128::from(if bits & 0x8000 != 0 { -1 - i32::from(bits & 0x7fff) } else { bits.into() });
        match element {
            Type::S32 => Some(i128::from(bits as i32)),
            Type::S64 => Some(i128::from(bits as i64)),
            Type::F16 => (!f16::from_bits(bits as u16).is_nan()).then(|| ordered(bits as u16)),
            Type::Bf16 => (!bf16::from_bits(bits as u16).is_nan()).then(|| ordered(bits as u16)),
            _ => Some(i128::from(bits)),
        }
    };
    match (key(old), key(source)) {
        (Some(left), Some(right)) => {
            if (left < right) != larger {
                old
            } else {
                source
            }
        }
        (Some(_), None) => old,
        (None, Some(_)) => source,
        (None, None) => 0x7fff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: Operation, element: Type, old: u64, source: u64) -> u64 {
        combine(operation, element, old, source).expect("the pair exists")
    }

    #[test]
    fn integers_wrap_and_compare_with_their_sign() {
        assert_eq!(check(Operation::Add, Type::U32, 0xffff_ffff, 2), 1);
        assert_eq!(check(Operation::Min, Type::S32, 0xffff_ffff, 2), 0xffff_ffff);
        assert_eq!(check(Operation::Min, Type::U32, 0xffff_ffff, 2), 2);
        assert_eq!(check(Operation::Max, Type::S64, u64::MAX, 0), 0);
        assert_eq!(check(Operation::Max, Type::U64, u64::MAX, 0), u64::MAX);
        assert_eq!(check(Operation::Inc, Type::U32, 7, 7), 0);
        assert_eq!(check(Operation::Inc, Type::U32, 6, 7), 7);
        assert_eq!(check(Operation::Dec, Type::U32, 0, 7), 7);
        assert_eq!(check(Operation::Dec, Type::U32, 9, 7), 7);
        assert_eq!(check(Operation::Xor, Type::B64, 0b1100, 0b1010), 0b0110);
    }

    #[test]
    fn single_precision_flushes_denormals_and_half_keeps_them() {
        assert_eq!(check(Operation::Add, Type::F32, 1, 1), 0);
        assert_eq!(check(Operation::Add, Type::F32, 0x8000_0001, 0x8000_0001), 0x8000_0000);
        assert_eq!(check(Operation::Add, Type::F16, 1, 1), 2);
        assert_eq!(check(Operation::Add, Type::Bf16, 1, 1), 2);
        assert_eq!(check(Operation::Add, Type::F16, 0x7c00, 0xfc00), 0x7fff);
    }

    #[test]
    fn half_precision_order_puts_numbers_before_nan_and_minus_zero_first() {
        assert_eq!(check(Operation::Min, Type::F16, 0x0000, 0x8000), 0x8000);
        assert_eq!(check(Operation::Max, Type::F16, 0x8000, 0x0000), 0x0000);
        assert_eq!(check(Operation::Max, Type::Bf16, 0x7fc0, 0xc000), 0xc000);
        assert_eq!(check(Operation::Min, Type::Bf16, 0xc000, 0xbf80), 0xc000);
    }

    #[test]
    fn pairs_outside_the_table_do_not_exist() {
        assert_eq!(combine(Operation::Min, Type::F32, 0, 0), None);
        assert_eq!(combine(Operation::Add, Type::S64, 0, 0), None);
        assert_eq!(tensor_type(Operation::Add, DataType::U8), None);
        assert_eq!(tensor_type(Operation::Add, DataType::Bf16), Some(Type::Bf16));
        assert_eq!(tensor_type(Operation::And, DataType::S32), Some(Type::B32));
        let mut old = [1, 0, 0, 0];
        assert!(!combine_slice(Operation::Max, Type::F32, &mut old, &[2, 0, 0, 0]));
        assert!(combine_slice(Operation::Max, Type::U32, &mut old, &[2, 0, 0, 0]));
        assert_eq!(old, [2, 0, 0, 0]);
    }
}
