//! `setp` and `testp`: comparisons and classes of numbers.

use gable_ptx::grammar::Modifier as M;

use super::lanes::bits;
use super::{Compute, Spelled};
use crate::numbers::Format;

/// The sources of a comparison of floats as f64, which holds them all.
trait Source {
    fn number(lane: u64) -> f64;
}

macro_rules! source {
    ($Name:ident, |$lane:ident| $number:expr) => {
        struct $Name;

        impl Source for $Name {
            #[inline(always)]
            fn number($lane: u64) -> f64 {
                $number
            }
        }
    };
}

source!(Double, |lane| f64::from_bits(lane));
source!(Single, |lane| f64::from(f32::from_bits(lane as u32)));
source!(Flushed, |lane| f64::from(f32::from_bits(Format::F32.flush(lane & 0xffff_ffff) as u32)));
source!(Half, |lane| half::f16::from_bits(lane as u16).to_f64());
source!(FlushedHalf, |lane| half::f16::from_bits(Format::F16.flush(lane & 0xffff) as u16).to_f64());
source!(Brain, |lane| half::bf16::from_bits(lane as u16).to_f64());

/// A comparison of floats. Without `u` it is false where a source is NaN, with it true.
fn floats<S: Source>(comparison: M) -> Option<Compute> {
    macro_rules! holds {
        (|$a:ident, $b:ident| $body:expr) => {
            bits!(|a, b| {
                let ($a, $b) = (S::number(a), S::number(b));
                $body
            })
        };
    }
    Some(match comparison {
        M::Eq => holds!(|a, b| a == b),
        M::Ne => holds!(|a, b| (a < b) | (a > b)),
        M::Lt => holds!(|a, b| a < b),
        M::Le => holds!(|a, b| a <= b),
        M::Gt => holds!(|a, b| a > b),
        M::Ge => holds!(|a, b| a >= b),
        M::Equ => holds!(|a, b| !((a < b) | (a > b))),
        M::Neu => holds!(|a, b| a != b),
        M::Ltu => holds!(|a, b| (a < b) | a.is_nan() | b.is_nan()),
        M::Leu => holds!(|a, b| (a <= b) | a.is_nan() | b.is_nan()),
        M::Gtu => holds!(|a, b| (a > b) | a.is_nan() | b.is_nan()),
        M::Geu => holds!(|a, b| (a >= b) | a.is_nan() | b.is_nan()),
        M::Num => holds!(|a, b| !(a.is_nan() | b.is_nan())),
        M::Nan | M::IsNan => holds!(|a, b| a.is_nan() | b.is_nan()),
        _ => return None,
    })
}

macro_rules! integers {
    ($comparison:expr, $T:ident) => {
        Some(match $comparison {
            M::Eq => bits!(|a, b| a as $T == b as $T),
            M::Ne => bits!(|a, b| a as $T != b as $T),
            M::Lt | M::Lo => bits!(|a, b| (a as $T) < b as $T),
            M::Le | M::Ls => bits!(|a, b| a as $T <= b as $T),
            M::Gt | M::Hi => bits!(|a, b| a as $T > b as $T),
            M::Ge | M::Hs => bits!(|a, b| a as $T >= b as $T),
            _ => return None,
        })
    };
}

pub(super) fn setp(spelled: &Spelled<'_>) -> Option<Compute> {
    let comparison = *spelled.modifiers.first()?;
    let flush = spelled.has(M::Ftz);
    match spelled.ty? {
        M::B16 | M::U16 => integers!(comparison, u16),
        M::B32 | M::U32 => integers!(comparison, u32),
        M::B64 | M::U64 => integers!(comparison, u64),
        M::S16 => integers!(comparison, i16),
        M::S32 => integers!(comparison, i32),
        M::S64 => integers!(comparison, i64),
        M::F16 | M::F16x2 if flush => floats::<FlushedHalf>(comparison),
        M::F16 | M::F16x2 => floats::<Half>(comparison),
        M::Bf16 | M::Bf16x2 => floats::<Brain>(comparison),
        M::F32 if flush => floats::<Flushed>(comparison),
        M::F32 => floats::<Single>(comparison),
        M::F64 => floats::<Double>(comparison),
        _ => None,
    }
}

macro_rules! classes {
    ($class:expr, $number:expr) => {
        Some(match $class {
            M::Finite => bits!(|a| $number(a).is_finite()),
            M::Infinite => bits!(|a| $number(a).is_infinite()),
            M::Number => bits!(|a| !$number(a).is_nan()),
            M::Notanumber => bits!(|a| $number(a).is_nan()),
            // A zero counts as normal (PTX ISA, testp).
            M::Normal => bits!(|a| $number(a).is_normal() | ($number(a) == 0.0)),
            M::Subnormal => bits!(|a| $number(a).is_subnormal()),
            _ => return None,
        })
    };
}

pub(super) fn testp(spelled: &Spelled<'_>) -> Option<Compute> {
    let class = *spelled.modifiers.first()?;
    match spelled.ty? {
        M::F32 => classes!(class, |a: u64| f32::from_bits(a as u32)),
        M::F64 => classes!(class, f64::from_bits),
        _ => None,
    }
}
