//! How tensor cores add: the accumulation models, and one dot product by the definition in whole numbers.
//!
//! A tensor core adds a group of products and the accumulator as one sum. A product of two operands has the exponent `ea + eb` of
//! their encodings (not renormalised) and an exact significand. With `e` the largest exponent among the products that are not zero
//! and the accumulator, every term is cut toward zero to a multiple of `2^(e - fraction_bits)`, the cut terms are added exactly,
//! and the sum is rounded once; it is the accumulator of the next group.
//!
//! | device, instruction | group | fraction bits | rounding | known from |
//! |---|---|---|---|---|
//! | Hopper f16, bf16 | 16 | 25 | toward zero to f32; nearest even to f16 | recorded on an H200, bit for bit |
//! | Hopper tf32 | 8 | 25 | toward zero to f32 | the same |
//! | Hopper wgmma fp8 | 32 | 13 | toward zero to 13 fraction bits; nearest even to f16 | the same |
//! | Hopper mma.sync fp8 | two sums over f16 | 25 | of its f16 instruction, then an addition of C in the same type | the same |
//! | Hopper mma.sync m8n8k4 f16 | | | fused multiply-adds in f32, see `mma_sync::quads` | the same |
//! | Hopper f64 | | | fused multiply-adds in the order of k | the same |
//! | Blackwell f16, bf16 / tf32 / fp8, fp6, fp4 | 16 / 8 / 32 | 25 | toward zero to f32; nearest even to f16 | arXiv 2512.07004, 2511.10909 |
//! | Blackwell mxf8f6f4 | 32 | 25 | toward zero to f32 | arXiv 2511.10909: scales add to the exponents |
//! | Blackwell mxf4, mxf4nvf4 | exact sums of 16 | 35 | toward zero to f32 | arXiv 2511.10909: a term is a sum of 16 times its scales |
//! | Ada f16, bf16 / tf32 / fp8 | 8 / 4 / 16 | 24 / 24 / 13 | as Hopper's wgmma | arXiv 2512.07004 |
//!
//! No Blackwell figure was measured by this project, and the block-scaled ones rest on a single source; they are values of
//! `Numerics`, so that a caller can put others in their place. A sparse instruction has groups of twice the k, of which the absent
//! products do not count (recorded on an H200; assumed elsewhere).
//!
//! A sum that rounds to zero gives plus zero, whatever its sign; NaN is 0x7fffffff, or 0x7fff in f16; subnormal operands and results
//! are not flushed; infinities behave as IEEE 754 has them (recorded on an H200; assumed elsewhere).

use super::element::{Class, Decoded, Element, F16, F32};

/// How one instruction adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numerics {
    /// How many consecutive k are added as one sum. A shorter K is one group.
    pub group: usize,
    /// Bits kept below the largest exponent of a group.
    pub fraction_bits: u32,
    /// What becomes of the sum.
    pub rounding: Rounding,
    /// The exponent of a sum is not taken below this.
    pub lowest_exponent: i32,
    /// What the terms of a sum are.
    pub terms: Terms,
}

/// The rounding of a sum to the type of the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Toward zero to an f32 with this many fraction bits, at most 23; too large becomes infinite.
    TowardZero {
        /// Fraction bits of the result.
        fraction_bits: u32,
    },
    /// To the nearest f16, ties to even.
    NearestF16,
}

/// What the terms of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Every product is a term.
    Products,
    /// The operands are converted to f16; the products in the first half of each `span` of k are summed as one group from zero, those
    /// in the second half are added as another one, and C is added last, to the nearest even in its own type.
    ConvertedPairs {
        /// 4; with a sparse A 8.
        span: usize,
    },
    /// A term is the exact sum of this many consecutive products, times the scales of its block; its exponent is that of the
    /// scales alone.
    Blocks {
        /// Products of one term.
        length: usize,
    },
}

/// The type of C and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulator {
    /// f32 bits.
    F32,
    /// f16 bits in the low half of a word.
    F16,
    /// s32 bits.
    S32 {
        /// Whether a sum beyond the type is clamped; else it wraps.
        saturate: bool,
    },
}

/// Which tensor cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// sm_80 to sm_89.
    Ada,
    /// sm_90.
    Hopper,
    /// sm_100 and later.
    Blackwell,
}

/// Which instruction drives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `mma.sync`, `wmma.mma`.
    Mma,
    /// `wgmma.mma_async`.
    Wgmma,
    /// `tcgen05.mma`.
    Tcgen05,
}

const TO_F32: Rounding = Rounding::TowardZero { fraction_bits: 23 };
/// Below every exponent of a product of two bf16: a group of zeros has this exponent.
const NO_FLOOR: i32 = -400;
/// The published models of Blackwell do not align below this.
const BLACKWELL_FLOOR: i32 = -133;

impl Numerics {
    /// Hopper, f16 and bf16.
    pub const HOPPER_F16: Numerics =
        Numerics { group: 16, fraction_bits: 25, rounding: TO_F32, lowest_exponent: NO_FLOOR, terms: Terms::Products };
    /// Hopper, tf32.
    pub const HOPPER_TF32: Numerics = Numerics { group: 8, ..Numerics::HOPPER_F16 };
    /// Hopper, `wgmma` of e4m3 and e5m2.
    pub const HOPPER_WGMMA_FP8: Numerics = Numerics {
        group: 32,
        fraction_bits: 13,
        rounding: Rounding::TowardZero { fraction_bits: 13 },
        ..Numerics::HOPPER_F16
    };
    /// Hopper, `mma.sync` of e4m3 and e5m2: two f16 instructions and an addition.
    pub const HOPPER_MMA_FP8: Numerics = Numerics { terms: Terms::ConvertedPairs { span: 4 }, ..Numerics::HOPPER_F16 };
    /// Blackwell, f16 and bf16.
    pub const BLACKWELL_F16: Numerics = Numerics { lowest_exponent: BLACKWELL_FLOOR, ..Numerics::HOPPER_F16 };
    /// Blackwell, tf32.
    pub const BLACKWELL_TF32: Numerics = Numerics { group: 8, ..Numerics::BLACKWELL_F16 };
    /// Blackwell, 8-, 6- and 4-bit floats in byte containers, with block scales or without.
    pub const BLACKWELL_FP8: Numerics = Numerics { group: 32, ..Numerics::BLACKWELL_F16 };
    /// Blackwell, packed e2m1 with block scales.
    pub const BLACKWELL_FP4: Numerics =
        Numerics { group: 64, fraction_bits: 35, terms: Terms::Blocks { length: 16 }, ..Numerics::BLACKWELL_F16 };
    /// Ada, f16 and bf16.
    pub const ADA_F16: Numerics = Numerics { group: 8, fraction_bits: 24, ..Numerics::HOPPER_F16 };
    /// Ada, tf32.
    pub const ADA_TF32: Numerics = Numerics { group: 4, ..Numerics::ADA_F16 };
    /// Ada, e4m3 and e5m2.
    pub const ADA_FP8: Numerics = Numerics { group: 16, ..Numerics::HOPPER_WGMMA_FP8 };

    /// How `unit` of `device` adds products of such elements into such an accumulator.
    ///
    /// `packed_fp4` tells the kinds whose e2m1 elements are packed two to a byte (mxf4, mxf4nvf4). For integers, bits and f64 the
    /// result is not used: they are exact or a chain of fused multiply-adds.
    pub fn of(device: Device, unit: Unit, element: Element, accumulator: Accumulator, packed_fp4: bool) -> Numerics {
        let numerics = match (device, element) {
            (Device::Blackwell, Element::E2m1) if packed_fp4 => Numerics::BLACKWELL_FP4,
            (Device::Ada, Element::Tf32) => Numerics::ADA_TF32,
            (Device::Hopper, Element::Tf32) => Numerics::HOPPER_TF32,
            (Device::Blackwell, Element::Tf32) => Numerics::BLACKWELL_TF32,
            (Device::Ada, _) if is_narrow(element) => Numerics::ADA_FP8,
            (Device::Hopper, _) if is_narrow(element) && unit == Unit::Mma => Numerics::HOPPER_MMA_FP8,
            (Device::Hopper, _) if is_narrow(element) => Numerics::HOPPER_WGMMA_FP8,
            (Device::Blackwell, _) if is_narrow(element) => Numerics::BLACKWELL_FP8,
            (Device::Ada, _) => Numerics::ADA_F16,
            (Device::Hopper, _) => Numerics::HOPPER_F16,
            (Device::Blackwell, _) => Numerics::BLACKWELL_F16,
        };
        match accumulator {
            Accumulator::F16 => Numerics { rounding: Rounding::NearestF16, ..numerics },
            Accumulator::F32 | Accumulator::S32 { .. } => numerics,
        }
    }

    /// The same for a sparse A, whose groups span twice the k.
    pub fn sparse(self) -> Numerics {
        let terms = match self.terms {
            Terms::Products => Terms::Products,
            Terms::ConvertedPairs { span } => Terms::ConvertedPairs { span: span * 2 },
            Terms::Blocks { length } => Terms::Blocks { length: length * 2 },
        };
        Numerics { group: self.group * 2, terms, ..self }
    }
}

fn is_narrow(element: Element) -> bool {
    matches!(element, Element::E4m3 | Element::E5m2 | Element::E2m3 | Element::E3m2 | Element::E2m1)
}

/// NaN as tensor cores write it, in f32.
pub const NAN_F32: u32 = 0x7fff_ffff;
/// NaN as tensor cores write it, in f16.
pub const NAN_F16: u32 = 0x7fff;

/// One term of a sum: `±significand * 2^(exponent - fraction_bits)`, zero with a significand of zero.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// With its sign.
    pub significand: i64,
    /// What it is aligned by.
    pub exponent: i32,
    /// How many bits of the significand are below `2^exponent`.
    pub fraction_bits: u32,
}

impl Term {
    /// The term of an accumulator, which must be finite.
    pub fn of_accumulator(rounding: Rounding, bits: u32) -> Term {
        let format = accumulator_format(rounding);
        let decoded = format.decode(bits);
        Term { significand: signed(&decoded), exponent: decoded.exponent, fraction_bits: format.fraction_bits }
    }
}

/// The significand with its sign.
pub fn signed(decoded: &Decoded) -> i64 {
    if decoded.negative { -i64::from(decoded.significand) } else { i64::from(decoded.significand) }
}

/// The layout of an accumulator that is rounded so.
pub fn accumulator_format(rounding: Rounding) -> super::element::FloatFormat {
    match rounding {
        Rounding::TowardZero { .. } => F32,
        Rounding::NearestF16 => F16,
    }
}

/// The sum of the terms by the definition: aligned, cut, added and rounded.
pub fn sum(numerics: &Numerics, terms: &[Term]) -> u32 {
    // Zeros take no part, whatever their exponent.
    let present = terms.iter().filter(|term| term.significand != 0);
    let largest = present.clone().map(|term| term.exponent).fold(numerics.lowest_exponent, i32::max);
    let total: i64 = present
        .map(|term| {
            let shift = term.exponent - largest + numerics.fraction_bits as i32 - term.fraction_bits as i32;
            let cut = shift_toward_zero(term.significand.unsigned_abs(), shift);
            if term.significand < 0 { -cut } else { cut }
        })
        .sum();
    round(numerics.rounding, total, largest - numerics.fraction_bits as i32)
}

/// `magnitude * 2^shift` without its fraction. Terms are aligned to the largest, so that what is kept fits.
fn shift_toward_zero(magnitude: u64, shift: i32) -> i64 {
    match shift {
        0.. => (magnitude << shift) as i64,
        -63..0 => (magnitude >> -shift) as i64,
        _ => 0,
    }
}

/// `total * 2^exponent` as an accumulator.
pub fn round(rounding: Rounding, total: i64, exponent: i32) -> u32 {
    match rounding {
        Rounding::TowardZero { fraction_bits } => toward_zero_f32(total, exponent, fraction_bits),
        Rounding::NearestF16 => nearest_f16(total, exponent),
    }
}

fn toward_zero_f32(total: i64, exponent: i32, fraction_bits: u32) -> u32 {
    let magnitude = total.unsigned_abs();
    if magnitude == 0 {
        return 0;
    }
    let sign = if total < 0 { 1 << 31 } else { 0 };
    let leading = 63 - magnitude.leading_zeros() as i32;
    let top = leading + exponent;
    if top > 127 {
        return sign | 0x7f80_0000;
    }
    // The last place that is kept: of the normal number, or of the subnormal ones of f32.
    let last = (top - fraction_bits as i32).max(-149);
    let kept = shift_toward_zero(magnitude, exponent - last) as u32;
    if kept == 0 {
        return 0;
    }
    // In places of f32, of which fewer may have been asked for than it has.
    let significand = kept << (last - (top - 23).max(-149));
    // Adding a significand with its leading one raises the field by one: a normal number starts from `field - 1`.
    let field = (top.max(-127) + 127) as u32;
    sign | ((field.saturating_sub(1) << 23) + significand)
}

fn nearest_f16(total: i64, exponent: i32) -> u32 {
    let magnitude = total.unsigned_abs();
    if magnitude == 0 {
        return 0;
    }
    let sign = if total < 0 { 0x8000 } else { 0 };
    let top = 63 - magnitude.leading_zeros() as i32 + exponent;
    if top > 15 {
        return sign | 0x7c00;
    }
    let last = (top - 10).max(-24);
    let shift = last - exponent;
    let rounded = match shift {
        ..=0 => magnitude << -shift,
        1..=63 => {
            let kept = magnitude >> shift;
            let rest = magnitude & ((1 << shift) - 1);
            let half = 1u64 << (shift - 1);
            kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
        }
        _ => 0,
    };
    if rounded == 0 {
        return 0;
    }
    // A carry out of the fraction goes into the exponent, up to infinity.
    let field = (top + 15).max(1) as u32;
    sign | (((field - 1) << 10) + rounded as u32)
}

/// What a sum with NaN or infinity in it is, by IEEE 754; none when every term is finite.
pub struct Special {
    positive: bool,
    negative: bool,
    nan: bool,
}

impl Special {
    /// No term yet.
    pub fn new() -> Self {
        Special { positive: false, negative: false, nan: false }
    }

    /// Adds the product of factors.
    pub fn product(&mut self, factors: &[Decoded]) {
        if factors.iter().any(|factor| factor.class == Class::Nan) {
            self.nan = true;
        } else if factors.iter().any(|factor| factor.class == Class::Infinite) {
            let zero = factors.iter().any(|factor| factor.class == Class::Finite && factor.significand == 0);
            let negative = factors.iter().filter(|factor| factor.negative).count() % 2 == 1;
            self.nan |= zero;
            self.negative |= negative;
            self.positive |= !negative;
        }
    }

    /// The accumulator's bits, if they are not a number.
    pub fn result(&self, rounding: Rounding) -> Option<u32> {
        let (nan, infinity, sign) = match rounding {
            Rounding::TowardZero { .. } => (NAN_F32, 0x7f80_0000, 1 << 31),
            Rounding::NearestF16 => (NAN_F16, 0x7c00, 0x8000),
        };
        match self {
            Special { nan: true, .. } | Special { positive: true, negative: true, .. } => Some(nan),
            Special { positive: true, .. } => Some(infinity),
            Special { negative: true, .. } => Some(sign | infinity),
            _ => None,
        }
    }
}

impl Default for Special {
    fn default() -> Self {
        Special::new()
    }
}
