//! Conversions to and from packed narrow formats: which element goes where.
//!
//! The first source is the upper element. An e2m1 takes four bits, so two are a byte; e2m3 and e3m2 stand in the low six bits of
//! a byte each; the others fill their byte or half word.

use super::convert::{Clamping, convert, narrow};
use super::stochastic;
use super::{Format, Rounding};

/// Bits that one element of a packed register takes.
pub const fn element_bits(format: Format) -> u32 {
    match format.bits() {
        0..=4 => 4,
        5..=8 => 8,
        9..=16 => 16,
        _ => 32,
    }
}

/// Two f32 into a packed pair, `high` above `low`.
#[inline(always)]
pub fn pack(high: u64, low: u64, to: Format, rounding: Rounding, clamping: Clamping) -> u64 {
    let element = |code: u64| match rounding {
        Rounding::Nearest if to.signed => narrow(code, to, clamping),
        _ => convert(code & 0xffff_ffff, Format::F32, to, rounding, clamping),
    };
    element(high) << element_bits(to) | element(low)
}

/// A packed pair into a packed pair of another format.
pub fn repack(pair: u64, from: Format, to: Format, rounding: Rounding, clamping: Clamping) -> u64 {
    let width = element_bits(from);
    let mask = (1 << from.bits()) - 1;
    let element = |code: u64| convert(code & mask, from, to, rounding, clamping);
    element(pair >> width) << element_bits(to) | element(pair)
}

/// Four f32 into four packed elements with stochastic rounding, the first source highest.
///
/// The upper half of `random` rounds the first two, the lower half the last two. For e2m1 it is the upper byte of each half for
/// the first two and the lower byte of each half for the last two (PTX ISA, cvt); open: in which order they are joined, here the
/// byte of the upper half above.
pub fn pack_four(sources: [u64; 4], random: u64, to: Format, clamping: Clamping) -> u64 {
    let (first, last) = if to == Format::E2M1 {
        (random >> 16 & 0xff00 | random >> 8 & 0xff, random >> 8 & 0xff00 | random & 0xff)
    } else {
        (random >> 16 & 0xffff, random & 0xffff)
    };
    let width = element_bits(to);
    sources
        .into_iter()
        .zip([first, first, last, last])
        .fold(0, |packed, (source, bits)| packed << width | stochastic::round(source, to, bits, 16, clamping))
}

/// Two f32 into a pair of f16 or bf16 with stochastic rounding.
///
/// Each half of `random` rounds one source, the upper half the upper one; f16 uses the low 13 bits of a half (PTX ISA, cvt).
pub fn pack_stochastic(high: u64, low: u64, random: u64, to: Format, clamping: Clamping) -> u64 {
    let bits = 23 - to.fraction_bits;
    let mask = (1 << bits) - 1;
    let element = |code: u64, random: u64| stochastic::round(code, to, random & mask, bits, clamping);
    element(high, random >> 16) << 16 | element(low, random)
}
