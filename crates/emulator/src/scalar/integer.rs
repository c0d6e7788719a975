//! Integer arithmetic.
//!
//! What the manual leaves open: a quotient or a remainder by zero is all ones. Measured on an H200, for every type.

use gable_ptx::grammar::{Modifier as M, Op};

use super::lanes::{by_type, lanes};
use super::{Compute, Spelled};

pub(super) fn arithmetic(op: Op, spelled: &Spelled<'_>) -> Option<Compute> {
    let ty = spelled.ty?;
    let saturate = spelled.has(M::Sat);
    if matches!(ty, M::U16x2 | M::S16x2 | M::U8x4 | M::S8x4) {
        return packed(op, ty, saturate, spelled.has(M::Relu));
    }
    match op {
        Op::Add if saturate => Some(lanes!(|a, b| (a as i32).saturating_add(b as i32) as u64)),
        Op::Sub if saturate => Some(lanes!(|a, b| (a as i32).saturating_sub(b as i32) as u64)),
        Op::Add => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.wrapping_add(b)),
        Op::Sub => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.wrapping_sub(b)),
        Op::Mul => multiply(ty, spelled),
        Op::Mad => multiply_add(ty, spelled),
        Op::Mul24 | Op::Mad24 => multiply_24(op, ty, spelled),
        Op::Sad => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b, c) => c
            .wrapping_add(a.abs_diff(b) as T)),
        Op::Div => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => {
            if b == 0 { !0 } else { a.wrapping_div(b) }
        }),
        Op::Rem => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => {
            if b == 0 { !0 } else { a.wrapping_rem(b) }
        }),
        Op::Abs => by_type!(ty, [S16 i16, S32 i32, S64 i64], (a) => a.wrapping_abs()),
        Op::Neg => by_type!(ty, [S16 i16, S32 i32, S64 i64], (a) => a.wrapping_neg()),
        Op::Min if spelled.has(M::Relu) => by_type!(ty, [S32 i32], (a, b) => a.min(b).max(0)),
        Op::Max if spelled.has(M::Relu) => by_type!(ty, [S32 i32], (a, b) => a.max(b).max(0)),
        Op::Min => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.min(b)),
        Op::Max => by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.max(b)),
        Op::Dp4a => dot_of_bytes(ty, spelled.second?),
        Op::Dp2a => dot_of_halves(ty, spelled.second?, spelled.has(M::Hi)),
        _ => None,
    }
}

/// The upper half of a product.
trait High {
    fn high(self, other: Self) -> Self;
}

macro_rules! high {
    ($($T:ident in $Wide:ident),*) => {
        $(impl High for $T {
            #[inline(always)]
            fn high(self, other: Self) -> Self {
                ((self as $Wide * other as $Wide) >> $T::BITS) as $T
            }
        })*
    };
}

high!(u16 in u32, u32 in u64, u64 in u128, i16 in i32, i32 in i64, i64 in i128);

fn multiply(ty: M, spelled: &Spelled<'_>) -> Option<Compute> {
    if spelled.has(M::Wide) {
        return Some(match ty {
            M::U16 => lanes!(|a, b| u64::from(u32::from(a as u16) * u32::from(b as u16))),
            M::S16 => lanes!(|a, b| (i32::from(a as i16) * i32::from(b as i16)) as u64),
            M::U32 => lanes!(|a, b| u64::from(a as u32) * u64::from(b as u32)),
            M::S32 => lanes!(|a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64),
            _ => return None,
        });
    }
    if spelled.has(M::Hi) {
        return by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.high(b));
    }
    by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b) => a.wrapping_mul(b))
}

fn multiply_add(ty: M, spelled: &Spelled<'_>) -> Option<Compute> {
    if spelled.has(M::Wide) {
        return Some(match ty {
            M::U16 => lanes!(|a, b, c| u64::from((u32::from(a as u16) * u32::from(b as u16)).wrapping_add(c as u32))),
            M::S16 => lanes!(|a, b, c| (i32::from(a as i16) * i32::from(b as i16)).wrapping_add(c as i32) as u64),
            M::U32 => lanes!(|a, b, c| (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)),
            M::S32 => lanes!(|a, b, c| (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64) as u64),
            _ => return None,
        });
    }
    if spelled.has(M::Hi) && spelled.has(M::Sat) {
        return by_type!(ty, [S32 i32], (a, b, c) => a.high(b).saturating_add(c));
    }
    if spelled.has(M::Hi) {
        return by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b, c) => {
            a.high(b).wrapping_add(c)
        });
    }
    by_type!(ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], (a, b, c) => a.wrapping_mul(b).wrapping_add(c))
}

/// The product of the low 24 bits of two words, 48 bits.
fn product_24(a: u64, b: u64, signed: bool) -> i64 {
    let low = |x: u64| if signed { i64::from((x as i32) << 8 >> 8) } else { (x & 0xff_ffff) as i64 };
    low(a) * low(b)
}

fn multiply_24(op: Op, ty: M, spelled: &Spelled<'_>) -> Option<Compute> {
    let add = op == Op::Mad24;
    Some(match (ty, spelled.has(M::Hi), add) {
        (M::U32, false, false) => lanes!(|a, b| product_24(a, b, false) as u32 as u64),
        (M::S32, false, false) => lanes!(|a, b| product_24(a, b, true) as u32 as u64),
        (M::U32, true, false) => lanes!(|a, b| (product_24(a, b, false) >> 16) as u32 as u64),
        (M::S32, true, false) => lanes!(|a, b| (product_24(a, b, true) >> 16) as u32 as u64),
        (M::U32, false, true) => lanes!(|a, b, c| (product_24(a, b, false) as u32).wrapping_add(c as u32) as u64),
        (M::S32, false, true) => lanes!(|a, b, c| (product_24(a, b, true) as u32).wrapping_add(c as u32) as u64),
        (M::U32, true, true) => {
            lanes!(|a, b, c| ((product_24(a, b, false) >> 16) as u32).wrapping_add(c as u32) as u64)
        }
        (M::S32, true, true) if spelled.has(M::Sat) => {
            lanes!(|a, b, c| ((product_24(a, b, true) >> 16) as i32).saturating_add(c as i32) as u64)
        }
        (M::S32, true, true) => lanes!(|a, b, c| ((product_24(a, b, true) >> 16) as u32).wrapping_add(c as u32) as u64),
        _ => return None,
    })
}

/// Integers of 8 or 16 bits in a word, by element; `$Unsigned` is the type of their bits.
macro_rules! elements {
    ($T:ident in $Unsigned:ident, |$a:ident, $b:ident| $body:expr) => {
        lanes!(|a, b| {
            let element = |shift: u32| -> u64 {
                let ($a, $b) = ((a >> shift) as $T, (b >> shift) as $T);
                let result: $T = $body;
                u64::from(result as $Unsigned) << shift
            };
            (0..32 / $T::BITS).fold(0, |word, i| word | element(i * $T::BITS))
        })
    };
}

fn packed(op: Op, ty: M, saturate: bool, relu: bool) -> Option<Compute> {
    Some(match (op, ty) {
        (Op::Add, M::U16x2) if saturate => elements!(u16 in u16, |a, b| a.saturating_add(b)),
        (Op::Add, M::S16x2) if saturate => elements!(i16 in u16, |a, b| a.saturating_add(b)),
        (Op::Add, M::U8x4) if saturate => elements!(u8 in u8, |a, b| a.saturating_add(b)),
        (Op::Add, M::S8x4) if saturate => elements!(i8 in u8, |a, b| a.saturating_add(b)),
        (Op::Sub, M::U16x2) if saturate => elements!(u16 in u16, |a, b| a.saturating_sub(b)),
        (Op::Sub, M::S16x2) if saturate => elements!(i16 in u16, |a, b| a.saturating_sub(b)),
        (Op::Sub, M::U8x4) if saturate => elements!(u8 in u8, |a, b| a.saturating_sub(b)),
        (Op::Sub, M::S8x4) if saturate => elements!(i8 in u8, |a, b| a.saturating_sub(b)),
        (Op::Add, M::U16x2 | M::S16x2) => elements!(u16 in u16, |a, b| a.wrapping_add(b)),
        (Op::Add, M::U8x4 | M::S8x4) => elements!(u8 in u8, |a, b| a.wrapping_add(b)),
        (Op::Sub, M::U16x2 | M::S16x2) => elements!(u16 in u16, |a, b| a.wrapping_sub(b)),
        (Op::Sub, M::U8x4 | M::S8x4) => elements!(u8 in u8, |a, b| a.wrapping_sub(b)),
        (Op::Min, M::U16x2) => elements!(u16 in u16, |a, b| a.min(b)),
        (Op::Max, M::U16x2) => elements!(u16 in u16, |a, b| a.max(b)),
        (Op::Min, M::U8x4) => elements!(u8 in u8, |a, b| a.min(b)),
        (Op::Max, M::U8x4) => elements!(u8 in u8, |a, b| a.max(b)),
        (Op::Min, M::S16x2) if relu => elements!(i16 in u16, |a, b| a.min(b).max(0)),
        (Op::Max, M::S16x2) if relu => elements!(i16 in u16, |a, b| a.max(b).max(0)),
        (Op::Min, M::S8x4) if relu => elements!(i8 in u8, |a, b| a.min(b).max(0)),
        (Op::Max, M::S8x4) if relu => elements!(i8 in u8, |a, b| a.max(b).max(0)),
        (Op::Min, M::S16x2) => elements!(i16 in u16, |a, b| a.min(b)),
        (Op::Max, M::S16x2) => elements!(i16 in u16, |a, b| a.max(b)),
        (Op::Min, M::S8x4) => elements!(i8 in u8, |a, b| a.min(b)),
        (Op::Max, M::S8x4) => elements!(i8 in u8, |a, b| a.max(b)),
        (Op::Neg, M::S8x4) => {
            lanes!(|a| (0..4).fold(0, |word, i| word | u64::from(((a >> (8 * i)) as u8).wrapping_neg()) << (8 * i)))
        }
        _ => return None,
    })
}

/// `c` plus the products of the bytes of `a` and `b`, each read as its type says.
macro_rules! dot4 {
    ($A:ident, $B:ident) => {
        lanes!(|a, b, c| {
            let product = |i: u32| i32::from((a >> (8 * i)) as $A) * i32::from((b >> (8 * i)) as $B);
            (c as i32).wrapping_add((0..4).map(product).sum()) as u32 as u64
        })
    };
}

fn dot_of_bytes(a: M, b: M) -> Option<Compute> {
    Some(match (a, b) {
        (M::U32, M::U32) => dot4!(u8, u8),
        (M::U32, M::S32) => dot4!(u8, i8),
        (M::S32, M::U32) => dot4!(i8, u8),
        (M::S32, M::S32) => dot4!(i8, i8),
        _ => return None,
    })
}

/// `c` plus the products of the halves of `a` and two bytes of `b`, the lower two or the upper two.
macro_rules! dot2 {
    ($A:ident, $B:ident, $first:literal) => {
        lanes!(|a, b, c| {
            let product =
                |i: u32| i32::from((a >> (16 * i)) as $A).wrapping_mul(i32::from((b >> (8 * (i + $first))) as $B));
            (c as i32).wrapping_add(product(0)).wrapping_add(product(1)) as u32 as u64
        })
    };
}

fn dot_of_halves(a: M, b: M, upper: bool) -> Option<Compute> {
    Some(match (a, b, upper) {
        (M::U32, M::U32, false) => dot2!(u16, u8, 0),
        (M::U32, M::S32, false) => dot2!(u16, i8, 0),
        (M::S32, M::U32, false) => dot2!(i16, u8, 0),
        (M::S32, M::S32, false) => dot2!(i16, i8, 0),
        (M::U32, M::U32, true) => dot2!(u16, u8, 2),
        (M::U32, M::S32, true) => dot2!(u16, i8, 2),
        (M::S32, M::U32, true) => dot2!(i16, u8, 2),
        (M::S32, M::S32, true) => dot2!(i16, i8, 2),
        _ => return None,
    })
}
