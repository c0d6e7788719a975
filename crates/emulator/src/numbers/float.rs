//! The floating-point types that registers hold, as types: arithmetic on their bits with rounding, flushing and clamping.
//!
//! In: bits in the low end of a `u64`; what stands above is not looked at. Out: bits, zeros above.
//!
//! Narrow formats go through f64. A sum of two f64 that is rounded to odd (its last bit says whether anything was lost) rounds
//! once more to any format of at most 51 digits as if the first rounding had not been. Quotients and roots of numbers of 24 digits
//! are never so close to a number of 25 digits that rounding to f64 hides on which side they are.

mod double;
mod half;
pub(super) mod single;

pub use double::F64;
pub use half::{Bf16, F16, nearest_from_f64};
pub use single::{F32, round_to_f32};

use super::Rounding;

/// How an arithmetic instruction rounds and what it does to its sources and its result: bits of a `Mode`, which is a constant
/// of the functions here so that each instruction gets loops of its own.
pub mod mode {
    use super::Rounding;

    /// Round to nearest even.
    pub const RN: u8 = 0;
    /// Round toward zero.
    pub const RZ: u8 = 1;
    /// Round downward.
    pub const RM: u8 = 2;
    /// Round upward.
    pub const RP: u8 = 3;
    /// `.ftz`: subnormal sources and results become zeros of their sign.
    pub const FTZ: u8 = 4;
    /// `.sat`: the result is clamped to [0, 1], NaN becomes 0.
    pub const SAT: u8 = 8;
    /// `.relu`: a negative result becomes 0, NaN stays.
    pub const RELU: u8 = 16;
    /// `.oob`: the result is 0 where a factor is the NaN that bulk tensor copies fill with.
    pub const OOB: u8 = 32;

    /// The rounding of a mode.
    pub const fn rounding(mode: u8) -> Rounding {
        match mode & 3 {
            RZ => Rounding::Zero,
            RM => Rounding::Down,
            RP => Rounding::Up,
            _ => Rounding::Nearest,
        }
    }

    /// Whether the mode has the flag.
    pub const fn has(mode: u8, flag: u8) -> bool {
        mode & flag != 0
    }
}

/// Arithmetic on the bits of one type, or on the parts of a packed register.
///
/// Results that are NaN are the NaN of the format, with one exception for f64 that is said there. Whether `.ftz` looks at the
/// result before or after it is rounded is open: here after, so that a result which rounds up to the smallest normal number
/// stays.
pub trait Float {
    /// Bits of a register of this type.
    const BITS: u32;
    /// Bits of one element.
    const ELEMENT_BITS: u32;
    /// `a + b`
    fn add<const MODE: u8>(a: u64, b: u64) -> u64;
    /// `a * b`
    fn mul<const MODE: u8>(a: u64, b: u64) -> u64;
    /// `a * b + c`, rounded once.
    fn fma<const MODE: u8>(a: u64, b: u64, c: u64) -> u64;
    /// `a - b`
    fn sub<const MODE: u8>(a: u64, b: u64) -> u64;
    /// The smaller of two numbers, -0 being below +0.
    fn min<const MODE: u8>(a: u64, b: u64) -> u64;
    /// The larger of two numbers, +0 being above -0.
    fn max<const MODE: u8>(a: u64, b: u64) -> u64;
    /// The other sign. NaN is treated as by a sum, so that one of f64 keeps its sign (measured on an H200).
    fn neg<const MODE: u8>(a: u64) -> u64;
    /// No sign. NaN is treated as by a sum.
    fn abs<const MODE: u8>(a: u64) -> u64;
}

/// What `min` and `max` do besides choosing, bits of their mode; `mode::FTZ` counts too.
pub mod extreme {
    /// `.NaN`: NaN where a source is NaN. Without it a number wins against NaN.
    pub const NAN: u8 = 1;
    /// `.abs`: of the magnitudes.
    pub const ABS: u8 = 2;
    /// `.xorsign`: the result has the sign of the product of the sources.
    pub const XORSIGN: u8 = 8;
}

/// `a + b` with the last bit set where bits were lost, so that it can be rounded again.
#[inline(always)]
pub(crate) fn sum_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    // Knuth's exact error of a sum; NaN where the sum is not finite, which the comparisons below answer with false.
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    let bits = sum.to_bits();
    let outward = (error > 0.0) & (sum > 0.0) | (error < 0.0) & (sum < 0.0);
    let inward = (error < 0.0) & (sum > 0.0) | (error > 0.0) & (sum < 0.0);
    let even = bits & 1 == 0;
    let odd = bits.wrapping_add(u64::from(outward & even)).wrapping_sub(u64::from(inward & even));
    f64::from_bits(odd)
}

/// `a + b` for another rounding after this one: to odd, and an exact zero with the sign that the rounding gives it.
#[inline(always)]
pub(crate) fn sum_for<const MODE: u8>(a: f64, b: f64) -> f64 {
    // The sum of the negated terms is rounded to nearest, where an exact zero is positive: negated it is the zero of `.rm`.
    if MODE & 3 == mode::RM { -sum_to_odd(-a, -b) } else { sum_to_odd(a, b) }
}

/// A half type as f64, as the mixed instructions read it.
pub trait Narrow {
    /// The number of some bits; exact.
    fn wide(bits: u64) -> f64;
}

/// `a + c` with `a` of a half type and `c` f32, rounded once to f32; `a - c` where `MINUS`.
#[inline(always)]
pub fn add_mixed<T: Narrow, const MINUS: bool, const MODE: u8>(a: u64, c: u64) -> u64 {
    let c = f64::from(f32::from_bits(c as u32));
    F32::add_wide::<MODE>(T::wide(a), if MINUS { -c } else { c })
}

/// `a * b + c` with `a` and `b` of a half type and `c` f32, rounded once to f32.
#[inline(always)]
pub fn fma_mixed<T: Narrow, const MODE: u8>(a: u64, b: u64, c: u64) -> u64 {
    F32::fma_wide::<MODE>(T::wide(a), T::wide(b), f64::from(f32::from_bits(c as u32)))
}

/// The order of `min` and `max` on bits: ascending with the number, -0 below +0.
#[inline(always)]
pub(crate) fn order_key(bits: u64, sign: u64) -> i64 {
    if bits & sign == 0 { bits as i64 } else { -((bits ^ sign) as i64) - 1 }
}

/// Defines `min`, `max`, `neg` and `abs` of a type with one element from its format.
macro_rules! choices {
    ($format:expr) => {
        #[inline(always)]
        fn min<const MODE: u8>(a: u64, b: u64) -> u64 {
            $crate::numbers::float::choose::<MODE, false>(a, b, const { $format })
        }

        #[inline(always)]
        fn max<const MODE: u8>(a: u64, b: u64) -> u64 {
            $crate::numbers::float::choose::<MODE, true>(a, b, const { $format })
        }

        #[inline(always)]
        fn neg<const MODE: u8>(a: u64) -> u64 {
            const FORMAT: Format = $format;
            let a = a & (u64::MAX >> (64 - FORMAT.bits()));
            let a = if mode::has(MODE, mode::FTZ) { FORMAT.flush(a) } else { a };
            if FORMAT.is_nan(a) { FORMAT.quiet(a) } else { a ^ FORMAT.sign_bit() }
        }

        #[inline(always)]
        fn abs<const MODE: u8>(a: u64) -> u64 {
            const FORMAT: Format = $format;
            let a = a & (u64::MAX >> (64 - FORMAT.bits()));
            let a = if mode::has(MODE, mode::FTZ) { FORMAT.flush(a) } else { a };
            if FORMAT.is_nan(a) { FORMAT.quiet(a) } else { a & !FORMAT.sign_bit() }
        }
    };
}
pub(crate) use choices;

#[inline(always)]
pub(crate) fn choose<const MODE: u8, const LARGER: bool>(a: u64, b: u64, format: super::Format) -> u64 {
    let all = u64::MAX >> (64 - format.bits());
    let sign = format.sign_bit();
    let source = |x: u64| {
        let x = x & all;
        let x = if mode::has(MODE, mode::FTZ) { format.flush(x) } else { x };
        if mode::has(MODE, extreme::ABS) { x & !sign } else { x }
    };
    let product_sign = (a ^ b) & sign;
    let (a, b) = (source(a), source(b));
    let a_wins = if LARGER { order_key(a, sign) > order_key(b, sign) } else { order_key(a, sign) < order_key(b, sign) };
    let (a_nan, b_nan) = (format.is_nan(a), format.is_nan(b));
    let nan = if mode::has(MODE, extreme::NAN) { a_nan | b_nan } else { a_nan & b_nan };
    let number = if b_nan | (a_wins & !a_nan) { a } else { b };
    let number = if mode::has(MODE, extreme::XORSIGN) { number | product_sign } else { number };
    if nan { format.nan } else { number }
}

/// A packed register: two elements of `T`, the first in the low half.
pub struct Pair<T>(std::marker::PhantomData<T>);

impl<T: Float> Pair<T> {
    #[inline(always)]
    fn each(of: impl Fn(u32) -> u64) -> u64 {
        of(0) | of(T::BITS) << T::BITS
    }

    const ELEMENT: u64 = u64::MAX >> (64 - T::BITS);
}

/// Defines functions of a pair by those of its elements.
macro_rules! by_element {
    ($($name:ident($($source:ident),+);)*) => {
        $(
            #[inline(always)]
            fn $name<const MODE: u8>($($source: u64),+) -> u64 {
                Self::each(|shift| T::$name::<MODE>($($source >> shift & Self::ELEMENT),+))
            }
        )*
    };
}

impl<T: Float> Float for Pair<T> {
    const BITS: u32 = 2 * T::BITS;
    const ELEMENT_BITS: u32 = T::BITS;
    by_element! {
        add(a, b);
        mul(a, b);
        fma(a, b, c);
        sub(a, b);
        min(a, b);
        max(a, b);
        neg(a);
        abs(a);
    }
}
