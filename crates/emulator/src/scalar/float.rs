//! Floating-point arithmetic: which function of `numbers` an instruction is.

use gable_ptx::grammar::{Modifier as M, Op};

use super::lanes::{by_mode, lanes};
use super::{Compute, Spelled};
use crate::numbers::approximate;
use crate::numbers::float::{Bf16, F16, F32, F64, Float, Pair, add_mixed, extreme, fma_mixed, mode};

/// The bits of `mode` that an arithmetic instruction spells. Without a rounding it is to nearest.
fn arithmetic_mode(spelled: &Spelled<'_>) -> u8 {
    let rounding = [(M::Rz, mode::RZ), (M::Rm, mode::RM), (M::Rp, mode::RP)];
    let flags = [(M::Ftz, mode::FTZ), (M::Sat, mode::SAT), (M::Relu, mode::RELU), (M::Oob, mode::OOB)];
    rounding
        .into_iter()
        .chain(flags)
        .filter(|&(modifier, _)| spelled.has(modifier))
        .fold(0, |mode, (_, bits)| mode | bits)
}

/// The bits of `extreme` that `min` and `max` spell.
fn extreme_mode(spelled: &Spelled<'_>) -> u8 {
    let flags = [(M::Ftz, mode::FTZ), (M::Nan, extreme::NAN), (M::Abs, extreme::ABS), (M::Xorsign, extreme::XORSIGN)];
    flags.into_iter().filter(|&(modifier, _)| spelled.has(modifier)).fold(0, |mode, (_, bits)| mode | bits)
}

/// Every function of a type with the listed modes of arithmetic.
macro_rules! of_type {
    ($Type:ty, $op:expr, $mode:expr, $extreme:expr, $modes:tt) => {
        match $op {
            Op::Add => by_mode!($mode, $modes, (a, b) => (<$Type as Float>::add)),
            Op::Sub => by_mode!($mode, $modes, (a, b) => (<$Type as Float>::sub)),
            Op::Mul => by_mode!($mode, $modes, (a, b) => (<$Type as Float>::mul)),
            Op::Fma | Op::Mad => by_mode!($mode, $modes, (a, b, c) => (<$Type as Float>::fma)),
            Op::Min => by_mode!($extreme, [0 1 4 5 10 11 14 15], (a, b) => (<$Type as Float>::min)),
            Op::Max => by_mode!($extreme, [0 1 4 5 10 11 14 15], (a, b) => (<$Type as Float>::max)),
            Op::Neg => by_mode!($mode, [0 4], (a) => (<$Type as Float>::neg)),
            Op::Abs => by_mode!($mode, [0 4], (a) => (<$Type as Float>::abs)),
            _ => None,
        }
    };
}

pub(super) fn arithmetic(op: Op, spelled: &Spelled<'_>) -> Option<Compute> {
    let ty = spelled.ty?;
    let mode = arithmetic_mode(spelled);
    let extreme = extreme_mode(spelled);
    match (op, ty) {
        (Op::Div, _) => div(ty, mode, spelled),
        (Op::Copysign, M::F32) => Some(lanes!(|a, b| a & 1 << 31 | b & 0x7fff_ffff)),
        (Op::Copysign, M::F64) => Some(lanes!(|a, b| a & 1 << 63 | b & (u64::MAX >> 1))),
        (_, M::F32) if spelled.second.is_some() => mixed(op, spelled.second?, mode),
        (_, M::F32) => of_type!(F32, op, mode, extreme, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]),
        (_, M::F64) => of_type!(F64, op, mode, extreme, [0 1 2 3]),
        (_, M::F32x2) => of_type!(Pair<F32>, op, mode, extreme, [0 1 2 3 4 5 6 7]),
        (_, M::F16) => of_type!(F16, op, mode, extreme, [0 4 8 12 16 20 32 48]),
        (_, M::F16x2) => of_type!(Pair<F16>, op, mode, extreme, [0 4 8 12 16 20 32 48]),
        (_, M::Bf16) => of_type!(Bf16, op, mode, extreme, [0 16 32 48]),
        (_, M::Bf16x2) => of_type!(Pair<Bf16>, op, mode, extreme, [0 16 32 48]),
        _ => None,
    }
}

/// `add`, `sub` and `fma` of f32 with sources of a half type: the last source is f32 (PTX ISA, mixed precision).
fn mixed(op: Op, narrow: M, mode: u8) -> Option<Compute> {
    macro_rules! of_type {
        ($T:ident, $($mode:literal)+) => {
            match (op, mode) {
                $((Op::Add, $mode) => Some(lanes!(|a, c| add_mixed::<$T, false, $mode>(a, c))),)+
                $((Op::Sub, $mode) => Some(lanes!(|a, c| add_mixed::<$T, true, $mode>(a, c))),)+
                $((Op::Fma, $mode) => Some(lanes!(|a, b, c| fma_mixed::<$T, $mode>(a, b, c))),)+
                _ => None,
            }
        };
    }
    match narrow {
        M::F16 => of_type!(F16, 0 1 2 3 8 9 10 11),
        M::Bf16 => of_type!(Bf16, 0 1 2 3 8 9 10 11),
        _ => None,
    }
}

fn div(ty: M, mode: u8, spelled: &Spelled<'_>) -> Option<Compute> {
    match ty {
        M::F32 if spelled.has(M::Approx) => by_mode!(mode, [0 4], (a, b) => (approximate::div_approx)),
        M::F32 if spelled.has(M::Full) => by_mode!(mode, [0 4], (a, b) => (approximate::div_full)),
        M::F32 => by_mode!(mode, [0 1 2 3 4 5 6 7], (a, b) => (F32::div)),
        M::F64 => by_mode!(mode, [0 1 2 3], (a, b) => (F64::div)),
        _ => None,
    }
}

/// `min` and `max` of three f32: as of two, twice. With `.abs` they are of the magnitudes.
pub fn extreme_of_three(op: Op, modifiers: &[M]) -> Option<Compute> {
    let spelled = Spelled::new(modifiers);
    if spelled.ty != Some(M::F32) {
        return None;
    }
    macro_rules! nested {
        ($name:ident, $($mode:literal)+) => {
            match extreme_mode(&spelled) {
                $($mode => Some(lanes!(|a, b, c| F32::$name::<$mode>(F32::$name::<$mode>(a, b), c))),)+
                _ => None,
            }
        };
    }
    match op {
        Op::Min => nested!(min, 0 1 2 3 4 5 6 7),
        Op::Max => nested!(max, 0 1 2 3 4 5 6 7),
        _ => None,
    }
}

/// A function of half elements for both halves of a word.
#[inline(always)]
fn halves(a: u64, function: fn(u64) -> u64) -> u64 {
    function(a >> 16 & 0xffff) << 16 | function(a & 0xffff)
}

/// Roots, reciprocals and the approximate functions.
pub(super) fn of_one(op: Op, spelled: &Spelled<'_>) -> Option<Compute> {
    let mode = arithmetic_mode(spelled);
    let approximate = spelled.has(M::Approx);
    match (op, spelled.ty?) {
        (Op::Rcp, M::F32) if approximate => by_mode!(mode, [0 4], (a) => (approximate::rcp)),
        (Op::Rcp, M::F32) => by_mode!(mode, [0 1 2 3 4 5 6 7], (a) => (F32::rcp)),
        (Op::Rcp, M::F64) if approximate => Some(lanes!(|a| approximate::rcp_upper_word(a))),
        (Op::Rcp, M::F64) => by_mode!(mode, [0 1 2 3], (a) => (F64::rcp)),
        (Op::Sqrt, M::F32) if approximate => by_mode!(mode, [0 4], (a) => (approximate::sqrt)),
        (Op::Sqrt, M::F32) => by_mode!(mode, [0 1 2 3 4 5 6 7], (a) => (F32::sqrt)),
        (Op::Sqrt, M::F64) => by_mode!(mode, [0 1 2 3], (a) => (F64::sqrt)),
        (Op::Rsqrt, M::F32) => by_mode!(mode, [0 4], (a) => (approximate::rsqrt)),
        (Op::Rsqrt, M::F64) if spelled.has(M::Ftz) => Some(lanes!(|a| approximate::rsqrt_upper_word(a))),
        (Op::Rsqrt, M::F64) => Some(lanes!(|a| approximate::rsqrt_double(a))),
        (Op::Sin, M::F32) => by_mode!(mode, [0 4], (a) => (approximate::sin)),
        (Op::Cos, M::F32) => by_mode!(mode, [0 4], (a) => (approximate::cos)),
        (Op::Lg2, M::F32) => by_mode!(mode, [0 4], (a) => (approximate::log2)),
        (Op::Ex2, M::F32) => by_mode!(mode, [0 4], (a) => (approximate::exp2)),
        (Op::Ex2, M::F16) => Some(lanes!(|a| approximate::exp2_f16(a & 0xffff))),
        (Op::Ex2, M::F16x2) => Some(lanes!(|a| halves(a, approximate::exp2_f16))),
        (Op::Ex2, M::Bf16) => Some(lanes!(|a| approximate::exp2_bf16(a & 0xffff))),
        (Op::Ex2, M::Bf16x2) => Some(lanes!(|a| halves(a, approximate::exp2_bf16))),
        (Op::Tanh, M::F32) => Some(lanes!(|a| approximate::tanh(a))),
        (Op::Tanh, M::F16) => Some(lanes!(|a| approximate::tanh_f16(a & 0xffff))),
        (Op::Tanh, M::F16x2) => Some(lanes!(|a| halves(a, approximate::tanh_f16))),
        (Op::Tanh, M::Bf16) => Some(lanes!(|a| approximate::tanh_bf16(a & 0xffff))),
        (Op::Tanh, M::Bf16x2) => Some(lanes!(|a| halves(a, approximate::tanh_bf16))),
        _ => None,
    }
}
