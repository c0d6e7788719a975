//! Logic, shifts, bit fields, counting and searching.

use gable_ptx::grammar::{Modifier as M, Op};

use super::lanes::{by_type, lanes};
use super::{Compute, Spelled};

pub(super) fn compute(op: Op, spelled: &Spelled<'_>) -> Option<Compute> {
    let ty = spelled.ty?;
    let wrap = spelled.has(M::Wrap);
    match op {
        // Predicates are not registers; the caller has them.
        Op::And | Op::Or | Op::Xor | Op::Not if ty == M::Pred => None,
        Op::And => Some(lanes!(|a, b| a & b)),
        Op::Or => Some(lanes!(|a, b| a | b)),
        Op::Xor => Some(lanes!(|a, b| a ^ b)),
        Op::Not => Some(lanes!(|a| !a)),
        Op::Cnot => by_type!(ty, [B16 u16, B32 u32, B64 u64], (a) => T::from(a == 0)),
        Op::Lop3 => Some(lanes!(|a, b, c, table| by_table(a, b, c, table))),
        Op::Shl => by_type_and_amount(ty, true),
        Op::Shr => by_type_and_amount(ty, false),
        Op::Shf => Some(match (spelled.has(M::L), wrap) {
            (true, true) => lanes!(|a, b, c| (joined(a, b) << (c & 31)) >> 32),
            (true, false) => lanes!(|a, b, c| (joined(a, b) << (c & 0xffff_ffff).min(32)) >> 32),
            (false, true) => lanes!(|a, b, c| (joined(a, b) >> (c & 31)) & 0xffff_ffff),
            (false, false) => lanes!(|a, b, c| (joined(a, b) >> (c & 0xffff_ffff).min(32)) & 0xffff_ffff),
        }),
        Op::Bfe => Some(match ty {
            M::U32 => lanes!(|a, b, c| field(a, b, c, 32, false)),
            M::S32 => lanes!(|a, b, c| field(a, b, c, 32, true)),
            M::U64 => lanes!(|a, b, c| field(a, b, c, 64, false)),
            M::S64 => lanes!(|a, b, c| field(a, b, c, 64, true)),
            _ => return None,
        }),
        Op::Bfi => Some(match ty {
            M::B32 => lanes!(|a, b, c, e| insert(a, b, c, e, 32)),
            M::B64 => lanes!(|a, b, c, e| insert(a, b, c, e, 64)),
            _ => return None,
        }),
        Op::Bfind => Some(match (ty, spelled.has(M::Shiftamt)) {
            (M::U32, false) => lanes!(|a| highest(u64::from(a as u32))),
            (M::S32, false) => lanes!(|a| highest(u64::from((a as i32 ^ (a as i32 >> 31)) as u32))),
            (M::U64, false) => lanes!(|a| highest(a)),
            (M::S64, false) => lanes!(|a| highest((a as i64 ^ (a as i64 >> 63)) as u64)),
            (M::U32, true) => lanes!(|a| distance(u64::from(a as u32), 31)),
            (M::S32, true) => lanes!(|a| distance(u64::from((a as i32 ^ (a as i32 >> 31)) as u32), 31)),
            (M::U64, true) => lanes!(|a| distance(a, 63)),
            (M::S64, true) => lanes!(|a| distance((a as i64 ^ (a as i64 >> 63)) as u64, 63)),
            _ => return None,
        }),
        Op::Brev => by_type!(ty, [B32 u32, B64 u64], (a) => a.reverse_bits()),
        Op::Clz => by_type!(ty, [B32 u32, B64 u64], (a) => T::from(a.leading_zeros() as u8)),
        Op::Popc => by_type!(ty, [B32 u32, B64 u64], (a) => T::from(a.count_ones() as u8)),
        Op::Fns => Some(lanes!(|a, b, c| nth_set(a as u32, b as u32, c as i32))),
        Op::Szext => Some(match (ty, wrap) {
            (M::U32, true) => lanes!(|a, b| extend(a as u32, b as u32 & 31, false)),
            (M::S32, true) => lanes!(|a, b| extend(a as u32, b as u32 & 31, true)),
            (M::U32, false) => lanes!(|a, b| extend(a as u32, b as u32, false)),
            (M::S32, false) => lanes!(|a, b| extend(a as u32, b as u32, true)),
            _ => return None,
        }),
        Op::Bmsk if wrap => Some(lanes!(|a, b| mask(a as u32 & 31, b as u32 & 31))),
        Op::Bmsk => Some(lanes!(|a, b| mask(a as u32, b as u32))),
        Op::Slct => slct(spelled),
        _ => None,
    }
}

/// For every bit the table's bit at the number that the bits of the sources make.
#[inline(always)]
fn by_table(a: u64, b: u64, c: u64, table: u64) -> u64 {
    let mut result = 0;
    for row in 0..8 {
        let take = |source: u64, bit: u32| if row >> bit & 1 == 1 { source } else { !source };
        let listed = (table >> row & 1).wrapping_neg();
        result |= take(a, 2) & take(b, 1) & take(c, 0) & listed;
    }
    result & 0xffff_ffff
}

fn by_type_and_amount(ty: M, left: bool) -> Option<Compute> {
    // The amount is 32 bits wide whatever the type; amounts beyond the width move every bit out.
    Some(match (ty, left) {
        (M::B16, true) => lanes!(|a, n| shifted_left(a, n, 16)),
        (M::B32, true) => lanes!(|a, n| shifted_left(a, n, 32)),
        (M::B64, true) => lanes!(|a, n| shifted_left(a, n, 64)),
        (M::B16 | M::U16, false) => lanes!(|a, n| shifted_right(a & 0xffff, n)),
        (M::B32 | M::U32, false) => lanes!(|a, n| shifted_right(a & 0xffff_ffff, n)),
        (M::B64 | M::U64, false) => lanes!(|a, n| shifted_right(a, n)),
        (M::S16, false) => lanes!(|a, n| (i64::from(a as i16) >> (n & 0xffff_ffff).min(63)) as u64),
        (M::S32, false) => lanes!(|a, n| (i64::from(a as i32) >> (n & 0xffff_ffff).min(63)) as u64),
        (M::S64, false) => lanes!(|a, n| (a as i64 >> (n & 0xffff_ffff).min(63)) as u64),
        _ => return None,
    })
}

#[inline(always)]
fn shifted_left(a: u64, amount: u64, width: u64) -> u64 {
    let amount = amount & 0xffff_ffff;
    if amount < width { a << amount } else { 0 }
}

#[inline(always)]
fn shifted_right(a: u64, amount: u64) -> u64 {
    let amount = amount & 0xffff_ffff;
    if amount < 64 { a >> amount } else { 0 }
}

#[inline(always)]
fn joined(low: u64, high: u64) -> u64 {
    high << 32 | low & 0xffff_ffff
}

/// The start or the length of a field. The manual restricts both to 255; beyond that the unit for words looks at eight bits, and what
/// stands in for one of 64 bits at all of them (measured on an H200).
#[inline(always)]
fn field_number(word: u64, width: u64) -> u64 {
    if width == 32 { word & 0xff } else { word & 0xffff_ffff }
}

/// `length` bits of `a` from bit `start`, continued with zeros, or with the sign: the field's highest bit, or the highest of
/// `a` where the field reaches beyond it.
#[inline(always)]
fn field(a: u64, start: u64, length: u64, width: u64, signed: bool) -> u64 {
    let (start, length) = (field_number(start, width), field_number(length, width));
    // The shift to the right brings in the sign, or zeros, as if `a` went on.
    let a = match (signed, width) {
        (true, 32) => i64::from(a as i32),
        (true, _) => a as i64,
        (false, 32) => i64::from(a as u32),
        (false, _) => a as i64,
    };
    let low = if signed || width == 32 {
        a >> start.min(63)
    } else if start < 64 {
        (a as u64 >> start) as i64
    } else {
        0
    };
    match length {
        0 => 0,
        1..64 if signed => (low << (64 - length) >> (64 - length)) as u64,
        1..64 => low as u64 & ((1 << length) - 1),
        _ => low as u64,
    }
}

/// `base` with the low `length` bits of `a` at bit `start`.
#[inline(always)]
fn insert(a: u64, base: u64, start: u64, length: u64, width: u64) -> u64 {
    let (start, length) = (field_number(start, width), field_number(length, width));
    if start >= width {
        return base;
    }
    let mask = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
    base & !(mask << start) | (a & mask) << start
}

/// The place of the highest one, or all ones.
#[inline(always)]
fn highest(a: u64) -> u64 {
    a.checked_ilog2().map_or(0xffff_ffff, u64::from)
}

/// How far the highest one is from bit `top`, or all ones.
#[inline(always)]
fn distance(a: u64, top: u32) -> u64 {
    a.checked_ilog2().map_or(0xffff_ffff, |place| u64::from(top - place))
}

/// The place of the n-th one of a mask, counted from `base` upward for positive `n` and downward for negative.
fn nth_set(mask: u32, base: u32, n: i32) -> u64 {
    const NOT_FOUND: u64 = 0xffff_ffff;
    // It has no magnitude in 32 bits; the sequence of instructions gives 0 then, measured on an H200.
    if n == i32::MIN {
        return 0;
    }
    let is_set = |place: i64| mask >> place & 1 == 1;
    // Undefined beyond the word: nothing is found there.
    if base > 31 {
        return NOT_FOUND;
    }
    let mut place = i64::from(base);
    if n == 0 {
        return if is_set(place) { place as u64 } else { NOT_FOUND };
    }
    let mut left = n.unsigned_abs();
    while (0..32).contains(&place) {
        if is_set(place) {
            left -= 1;
            if left == 0 {
                return place as u64;
            }
        }
        place += i64::from(n.signum());
    }
    NOT_FOUND
}

/// The low `length` bits, extended; `length` from 32 on takes the word as it is.
#[inline(always)]
fn extend(a: u32, length: u32, signed: bool) -> u64 {
    u64::from(match length {
        0 => 0,
        1..32 if signed => ((a << (32 - length)) as i32 >> (32 - length)) as u32,
        1..32 => a & ((1 << length) - 1),
        _ => a,
    })
}

/// `length` ones from bit `start` on, as far as the word goes.
#[inline(always)]
fn mask(start: u32, length: u32) -> u64 {
    if start > 31 {
        return 0;
    }
    let ones = if length > 31 { u32::MAX } else { (1 << length) - 1 };
    u64::from(ones << start)
}

/// `a` where `c` is not negative, else `b`; also `b` where `c` is NaN.
fn slct(spelled: &Spelled<'_>) -> Option<Compute> {
    Some(match (spelled.second?, spelled.has(M::Ftz)) {
        (M::S32, _) => lanes!(|a, b, c| if c as i32 >= 0 { a } else { b }),
        (M::F32, false) => lanes!(|a, b, c| if f32::from_bits(c as u32) >= 0.0 { a } else { b }),
        (M::F32, true) => lanes!(|a, b, c| {
            // A subnormal number counts as a zero, which is not negative.
            if f32::from_bits(c as u32) > -f32::MIN_POSITIVE { a } else { b }
        }),
        _ => return None,
    })
}
