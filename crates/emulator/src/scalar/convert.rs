//! `cvt`: which function of `numbers` a conversion is.
//!
//! Types, rounding and clamping become constants, so that each conversion has a loop of its own.

use gable_ptx::grammar::Modifier as M;

use super::lanes::lanes;
use super::{Compute, FiveSources, Register, Spelled};
use crate::numbers::convert::{self, Clamping};
use crate::numbers::float::mode;
use crate::numbers::integer::{self, Integer};
use crate::numbers::{Format, Rounding, packed};

/// A match with an arm for each of the listed patterns, in which a constant has the value of the pattern.
macro_rules! constant {
    ($on:expr, $NAME:ident: $Type:ty, [$($pattern:pat => $value:expr),+ $(,)?], $body:expr) => {
        match $on {
            $($pattern => {
                const $NAME: $Type = $value;
                $body
            })+
            _ => None,
        }
    };
}

macro_rules! with_integer {
    ($ty:expr, $NAME:ident => $body:expr) => {
        constant!($ty, $NAME: Integer, [
            M::U8 => Integer::unsigned(8), M::U16 => Integer::unsigned(16),
            M::U32 => Integer::unsigned(32), M::U64 => Integer::unsigned(64),
            M::S8 => Integer::signed(8), M::S16 => Integer::signed(16),
            M::S32 => Integer::signed(32), M::S64 => Integer::signed(64),
        ], $body)
    };
}

macro_rules! with_float {
    ($ty:expr, $NAME:ident => $body:expr) => {
        constant!($ty, $NAME: Format, [
            M::F16 => Format::F16, M::Bf16 => Format::BF16, M::F32 => Format::F32, M::F64 => Format::F64,
        ], $body)
    };
}

/// The format of the elements of a packed half type.
macro_rules! with_halves {
    ($ty:expr, $NAME:ident => $body:expr) => {
        constant!($ty, $NAME: Format, [M::F16x2 => Format::F16, M::Bf16x2 => Format::BF16], $body)
    };
}

/// The format of the elements of a packed type of 8 bits and below.
macro_rules! with_elements {
    ($ty:expr, $NAME:ident => $body:expr) => {
        constant!($ty, $NAME: Format, [
            M::E4m3x2 | M::E4m3x4 => Format::E4M3, M::E5m2x2 | M::E5m2x4 => Format::E5M2,
            M::E2m3x2 | M::E2m3x4 => Format::E2M3, M::E3m2x2 | M::E3m2x4 => Format::E3M2,
            M::E2m1x2 | M::E2m1x4 => Format::E2M1,
        ], $body)
    };
}

macro_rules! with_rounding {
    ($rounding:expr, $NAME:ident => $body:expr) => {
        constant!($rounding, $NAME: Rounding, [
            Rounding::Nearest => Rounding::Nearest, Rounding::Zero => Rounding::Zero,
            Rounding::Down => Rounding::Down, Rounding::Up => Rounding::Up,
        ], $body)
    };
}

const NONE: Clamping = Clamping { flush: false, unit: false, finite: false, relu: false };

/// Any of `.ftz` and `.sat`.
macro_rules! with_flush_and_unit {
    ($clamping:expr, $NAME:ident => $body:expr) => {
        constant!($clamping, $NAME: Clamping, [
            Clamping { flush: false, unit: false, finite: false, relu: false } => NONE,
            Clamping { flush: true, unit: false, finite: false, relu: false } => Clamping { flush: true, ..NONE },
            Clamping { flush: false, unit: true, finite: false, relu: false } => Clamping { unit: true, ..NONE },
            Clamping { flush: true, unit: true, finite: false, relu: false } => {
                Clamping { flush: true, unit: true, ..NONE }
            },
        ], $body)
    };
}

/// Any of `.satfinite` and `.relu`.
macro_rules! with_finite_and_relu {
    ($clamping:expr, $NAME:ident => $body:expr) => {
        constant!($clamping, $NAME: Clamping, [
            Clamping { flush: false, unit: false, finite: false, relu: false } => NONE,
            Clamping { flush: false, unit: false, finite: true, relu: false } => Clamping { finite: true, ..NONE },
            Clamping { flush: false, unit: false, finite: false, relu: true } => Clamping { relu: true, ..NONE },
            Clamping { flush: false, unit: false, finite: true, relu: true } => {
                Clamping { finite: true, relu: true, ..NONE }
            },
        ], $body)
    };
}

fn clamping(spelled: &Spelled<'_>) -> Clamping {
    Clamping {
        flush: spelled.has(M::Ftz),
        unit: spelled.has(M::Sat),
        finite: spelled.has(M::Satfinite),
        relu: spelled.has(M::Relu),
    }
}

/// The rounding of a result that is not exact; to nearest where none is spelled, as then every result is exact.
fn rounding(spelled: &Spelled<'_>) -> Rounding {
    let roundings = [
        (M::Rz, Rounding::Zero),
        (M::Rzi, Rounding::Zero),
        (M::Rm, Rounding::Down),
        (M::Rmi, Rounding::Down),
        (M::Rp, Rounding::Up),
        (M::Rpi, Rounding::Up),
    ];
    roundings
        .into_iter()
        .find(|&(modifier, _)| spelled.has(modifier))
        .map_or(Rounding::Nearest, |(_, rounding)| rounding)
}

fn is_integral(spelled: &Spelled<'_>) -> bool {
    [M::Rni, M::Rzi, M::Rmi, M::Rpi].into_iter().any(|modifier| spelled.has(modifier))
}

fn has_rounding(spelled: &Spelled<'_>) -> bool {
    [M::Rn, M::Rz, M::Rm, M::Rp].into_iter().any(|modifier| spelled.has(modifier))
}

fn is_integer(ty: M) -> bool {
    matches!(ty, M::U8 | M::U16 | M::U32 | M::U64 | M::S8 | M::S16 | M::S32 | M::S64)
}

pub(super) fn cvt(spelled: &Spelled<'_>) -> Option<Compute> {
    let (to, from) = (spelled.ty?, spelled.second?);
    // A scale is one more source, and s2f6 a fixed-point format: neither is emulated, which an error says.
    if spelled.has(M::ScaledN2Ue8m0) {
        return None;
    }
    match (to, from) {
        (M::Tf32, M::F32) => to_tf32(spelled),
        _ if spelled.has(M::Rs) => stochastic(to, clamping(spelled)),
        _ if is_integer(to) && is_integer(from) => between_integers(to, from, spelled.has(M::Sat)),
        _ if is_integer(to) => to_integer(to, from, rounding(spelled), spelled.has(M::Ftz)),
        _ if is_integer(from) => from_integer(to, from, rounding(spelled), clamping(spelled)),
        (M::F16 | M::Bf16 | M::F32 | M::F64, M::F16 | M::Bf16 | M::F32 | M::F64) => between_floats(to, from, spelled),
        (_, M::F32) => pack_pair(to, rounding(spelled), clamping(spelled)),
        _ => repack(to, from, rounding(spelled), clamping(spelled)),
    }
}

fn between_integers(to: M, from: M, saturate: bool) -> Option<Compute> {
    with_integer!(to, TO => with_integer!(from, FROM => Some(if saturate {
        lanes!(|a| integer::resize(a, FROM, TO, true))
    } else {
        lanes!(|a| integer::resize(a, FROM, TO, false))
    })))
}

fn to_integer(to: M, from: M, rounding: Rounding, flush: bool) -> Option<Compute> {
    if flush {
        return with_integer!(to, TO => with_rounding!(rounding, ROUNDING =>
            Some(lanes!(|a| integer::from_float(a, Format::F32, TO, ROUNDING, true)))));
    }
    with_integer!(to, TO => with_float!(from, FROM => with_rounding!(rounding, ROUNDING =>
        Some(lanes!(|a| integer::from_float(a, FROM, TO, ROUNDING, false))))))
}

fn from_integer(to: M, from: M, rounding: Rounding, clamping: Clamping) -> Option<Compute> {
    if clamping != NONE {
        // A clamped integer is 0 or 1, or flushed where nothing is subnormal: rounding does not matter.
        return with_float!(to, TO => with_integer!(from, FROM => match clamping.unit {
            true => Some(lanes!(|a| {
                integer::to_float(a, FROM, TO, Rounding::Nearest, Clamping { unit: true, ..NONE })
            })),
            false => None,
        }));
    }
    match (to, rounding) {
        (M::F32, Rounding::Nearest) => with_integer!(from, FROM => Some(lanes!(|a| {
            let x = FROM.extend(a);
            u64::from(if FROM.signed { x as i64 as f32 } else { x as f32 }.to_bits())
        }))),
        (M::F64, Rounding::Nearest) => with_integer!(from, FROM => Some(lanes!(|a| {
            let x = FROM.extend(a);
            if FROM.signed { x as i64 as f64 } else { x as f64 }.to_bits()
        }))),
        _ => with_float!(to, TO => with_integer!(from, FROM => with_rounding!(rounding, ROUNDING =>
            Some(lanes!(|a| integer::to_float(a, FROM, TO, ROUNDING, NONE)))))),
    }
}

fn between_floats(to: M, from: M, spelled: &Spelled<'_>) -> Option<Compute> {
    let (rounding, clamping) = (rounding(spelled), clamping(spelled));
    if to == from && is_integral(spelled) {
        return with_float!(to, FORMAT => with_rounding!(rounding, ROUNDING =>
            with_flush_and_unit!(clamping, CLAMPING =>
                Some(lanes!(|a| convert::to_integral(a, FORMAT, ROUNDING, CLAMPING))))));
    }
    if to == from && matches!(to, M::F32 | M::F64) && clamping == NONE && !has_rounding(spelled) {
        // A copy, also of NaN; the half types have one NaN here too (measured on an H200).
        return Some(lanes!(|a| a));
    }
    match (to, from, rounding) {
        (M::F32, M::Bf16, _) if clamping.flush => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::convert(a & 0xffff, Format::BF16, Format::F32, Rounding::Nearest, CLAMPING)))),
        (M::F16 | M::Bf16, M::F32, _) if clamping.finite || clamping.relu => {
            constant!(to, TO: Format, [M::F16 => Format::F16, M::Bf16 => Format::BF16],
                constant!(rounding, ROUNDING: Rounding,
                    [Rounding::Nearest => Rounding::Nearest, Rounding::Zero => Rounding::Zero],
                    with_finite_and_relu!(clamping, CLAMPING =>
                        Some(lanes!(|a| convert::convert(a, Format::F32, TO, ROUNDING, CLAMPING))))))
        }
        (M::F16, M::F32, Rounding::Nearest) => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::narrow(a, Format::F16, CLAMPING)))),
        (M::Bf16, M::F32, Rounding::Nearest) => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::narrow(a, Format::BF16, CLAMPING)))),
        (M::F32, M::F16, _) => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::widen_half(a, CLAMPING)))),
        (M::F32, M::Bf16, _) => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::clamp((a & 0xffff) << 16, Format::F32, CLAMPING)))),
        (M::F32, M::F64, Rounding::Nearest) => with_flush_and_unit!(clamping, CLAMPING =>
            Some(lanes!(|a| convert::narrow_double::<{ mode::RN }>(a, CLAMPING)))),
        _ => with_float!(to, TO => with_float!(from, FROM => with_rounding!(rounding, ROUNDING =>
            with_flush_and_unit!(clamping, CLAMPING =>
                Some(lanes!(|a| convert::convert(a, FROM, TO, ROUNDING, CLAMPING))))))),
    }
}

fn to_tf32(spelled: &Spelled<'_>) -> Option<Compute> {
    let clamping = clamping(spelled);
    if spelled.has(M::Rna) {
        return with_finite_and_relu!(clamping, CLAMPING => Some(lanes!(|a| convert::tf32_away(a, CLAMPING))));
    }
    with_rounding!(rounding(spelled), ROUNDING => with_finite_and_relu!(clamping, CLAMPING =>
        Some(lanes!(|a| convert::tf32(a, ROUNDING, CLAMPING)))))
}

/// Two f32 to a packed pair.
fn pack_pair(to: M, rounding: Rounding, clamping: Clamping) -> Option<Compute> {
    match to {
        M::Ue8m0x2 => with_rounding!(rounding, ROUNDING =>
            Some(lanes!(|a, b| packed::pack(a, b, Format::UE8M0, ROUNDING, NONE)))),
        M::F16x2 | M::Bf16x2 => with_halves!(to, TO => with_rounding!(rounding, ROUNDING =>
            with_finite_and_relu!(clamping, CLAMPING =>
                Some(lanes!(|a, b| packed::pack(a, b, TO, ROUNDING, CLAMPING)))))),
        _ => with_elements!(to, TO => with_finite_and_relu!(clamping, CLAMPING =>
            Some(lanes!(|a, b| packed::pack(a, b, TO, Rounding::Nearest, CLAMPING))))),
    }
}

/// A packed pair to a packed pair, one of them of a half type.
fn repack(to: M, from: M, rounding: Rounding, clamping: Clamping) -> Option<Compute> {
    match (to, from) {
        (M::Ue8m0x2, _) => with_halves!(from, FROM => with_rounding!(rounding, ROUNDING =>
            Some(lanes!(|a| packed::repack(a, FROM, Format::UE8M0, ROUNDING, NONE))))),
        (_, M::Ue8m0x2) => with_halves!(to, TO =>
            Some(lanes!(|a| packed::repack(a, Format::UE8M0, TO, Rounding::Nearest, NONE)))),
        (M::F16x2 | M::Bf16x2, _) => with_halves!(to, TO => with_elements!(from, FROM =>
            with_finite_and_relu!(clamping, CLAMPING =>
                Some(lanes!(|a| packed::repack(a, FROM, TO, Rounding::Nearest, CLAMPING)))))),
        _ => with_elements!(to, TO => with_halves!(from, FROM => with_finite_and_relu!(clamping, CLAMPING =>
            Some(lanes!(|a| packed::repack(a, FROM, TO, Rounding::Nearest, CLAMPING)))))),
    }
}

/// `cvt.rs` of two f32: the third source are the random bits.
fn stochastic(to: M, clamping: Clamping) -> Option<Compute> {
    match to {
        M::F16x2 => with_finite_and_relu!(clamping, CLAMPING =>
            Some(lanes!(|a, b, c| packed::pack_stochastic(a, b, c, Format::F16, CLAMPING)))),
        M::Bf16x2 => with_finite_and_relu!(clamping, CLAMPING =>
            Some(lanes!(|a, b, c| packed::pack_stochastic(a, b, c, Format::BF16, CLAMPING)))),
        _ => None,
    }
}

/// `cvt.rs` of four f32 to four narrow elements: the fifth source are the random bits.
pub fn four_elements(modifiers: &[M]) -> Option<FiveSources> {
    let spelled = Spelled::new(modifiers);
    if !matches!(spelled.ty?, M::E4m3x4 | M::E5m2x4 | M::E2m3x4 | M::E3m2x4 | M::E2m1x4) {
        return None;
    }
    with_elements!(spelled.ty?, TO => with_finite_and_relu!(clamping(&spelled), CLAMPING => {
        let run: FiveSources = |d: &mut Register, sources: [&Register; 5]| {
            for (lane, d) in d.iter_mut().enumerate() {
                let [a, b, e, f, random] = sources.map(|source| source[lane]);
                *d = packed::pack_four([a, b, e, f], random, TO, CLAMPING);
            }
        };
        Some(run)
    }))
}

/// `cvt.pack`: two s32 clamped to a narrower type, `a` above `b`; for 8 bits and below above them `c` moved up.
pub(super) fn pack(spelled: &Spelled<'_>) -> Option<Compute> {
    fn narrow(a: u64, to: Integer) -> u64 {
        integer::resize(a, Integer::signed(32), to, true) & (u64::MAX >> (64 - to.bits))
    }
    macro_rules! pair {
        ($to:expr) => {
            lanes!(|a, b| narrow(a, $to) << $to.bits | narrow(b, $to))
        };
    }
    macro_rules! above {
        ($to:expr) => {
            lanes!(|a, b, c| (c << (2 * $to.bits) | narrow(a, $to) << $to.bits | narrow(b, $to)) & 0xffff_ffff)
        };
    }
    Some(match spelled.ty? {
        M::U16 => pair!(Integer::unsigned(16)),
        M::S16 => pair!(Integer::signed(16)),
        M::U8 => above!(Integer::unsigned(8)),
        M::S8 => above!(Integer::signed(8)),
        M::U4 => above!(Integer::unsigned(4)),
        M::S4 => above!(Integer::signed(4)),
        M::U2 => above!(Integer::unsigned(2)),
        M::S2 => above!(Integer::signed(2)),
        _ => return None,
    })
}
