//! f16 and bf16, through f64: their products are exact there, and sums are rounded to odd.

use super::{Float, Narrow, choices, mode, sum_for};
use crate::numbers::{Format, Specials};

/// Half precision.
pub struct F16;
/// bfloat16.
pub struct Bf16;

/// The NaN that bulk tensor copies put in place of elements outside the tensor, for f16 and bf16. Measured on an H200.
pub const OUT_OF_BOUNDS: u64 = 0x7ff7;

/// The code of `x` in a format, rounded to nearest even; the sign only where the format has one. NaN gives the NaN of the
/// format. Beyond the largest number comes infinity, or the largest number again where `saturate` is set.
///
/// `format` has to be a constant after inlining: there is no branch then, and a loop over lanes becomes vector code.
#[inline(always)]
pub fn nearest_from_f64(x: f64, format: Format, saturate: bool) -> u64 {
    let hidden_exponent = format.smallest_exponent();
    let magnitude = x.abs().min(f64::from_bits(((format.bias + 1 + 1023 + 1) as u64) << 52));
    // `anchor` is 1.5 times a power of two so large that one unit of its last place is one unit of the result: adding it
    // rounds, and the difference of the bits counts units.
    let smallest = ((hidden_exponent + 1023) as u64) << 52;
    let exponent = (magnitude.to_bits() & 0x7ff << 52).max(smallest);
    let anchor = (exponent + (u64::from(52 - format.fraction_bits) << 52)) | 1 << 51;
    let units = (magnitude + f64::from_bits(anchor)).to_bits().wrapping_sub(anchor);
    let field = (exponent - smallest) >> 52;
    let code = (field << format.fraction_bits).wrapping_add(units);
    let limit = if saturate { format.largest() } else { format.infinity().unwrap_or(format.largest()) };
    let code = code.min(limit);
    let sign = x.to_bits() >> 63 << format.magnitude_bits() & format.sign_bit();
    if x.is_nan() { format.nan } else { code | sign }
}

/// The f64 of a code of a format with infinity and NaN, by moving the fields.
#[inline(always)]
pub(crate) fn to_f64(code: u64, format: Format) -> f64 {
    debug_assert!(format.specials == Specials::Ieee);
    let magnitude = code & ((1 << format.magnitude_bits()) - 1);
    let sign = code >> format.magnitude_bits() & 1;
    // Taken as the top of an f64 the number is too small by the difference of the biases; the product is exact.
    let small = f64::from_bits(magnitude << (52 - format.fraction_bits));
    let scale = f64::from_bits(((2 * 1023 - format.bias) as u64) << 52);
    let special = magnitude >> format.fraction_bits == (1 << format.exponent_bits) - 1;
    let finite = (small * scale).to_bits();
    let bits = if special { small.to_bits() | 0x7ff << 52 } else { finite };
    f64::from_bits(bits | sign << 63)
}

macro_rules! half {
    ($Type:ident, $format:expr) => {
        impl $Type {
            #[inline(always)]
            pub(crate) fn source<const MODE: u8>(bits: u64) -> f64 {
                const FORMAT: Format = $format;
                let bits = bits & 0xffff;
                to_f64(if mode::has(MODE, mode::FTZ) { FORMAT.flush(bits) } else { bits }, FORMAT)
            }

            /// The code of an f64 that is exact or was rounded to odd.
            #[inline(always)]
            pub(crate) fn result<const MODE: u8>(x: f64) -> u64 {
                const FORMAT: Format = $format;
                let bits = nearest_from_f64(x, FORMAT, false);
                let bits = if mode::has(MODE, mode::FTZ) { FORMAT.flush(bits) } else { bits };
                if mode::has(MODE, mode::SAT) {
                    const ONE: u64 = (FORMAT.bias as u64) << FORMAT.fraction_bits;
                    return if x > 0.0 { bits.min(ONE) } else { 0 };
                }
                if mode::has(MODE, mode::RELU) && bits & FORMAT.sign_bit() != 0 { 0 } else { bits }
            }
        }

        impl Narrow for $Type {
            #[inline(always)]
            fn wide(bits: u64) -> f64 {
                Self::source::<0>(bits)
            }
        }

        impl Float for $Type {
            const BITS: u32 = 16;
            const ELEMENT_BITS: u32 = 16;

            #[inline(always)]
            fn add<const MODE: u8>(a: u64, b: u64) -> u64 {
                Self::result::<MODE>(sum_for::<MODE>(Self::source::<MODE>(a), Self::source::<MODE>(b)))
            }

            #[inline(always)]
            fn sub<const MODE: u8>(a: u64, b: u64) -> u64 {
                Self::add::<MODE>(a, b ^ 1 << 15)
            }

            #[inline(always)]
            fn mul<const MODE: u8>(a: u64, b: u64) -> u64 {
                Self::result::<MODE>(Self::source::<MODE>(a) * Self::source::<MODE>(b))
            }

            #[inline(always)]
            fn fma<const MODE: u8>(a: u64, b: u64, c: u64) -> u64 {
                // `.oob` looks at the factors alone, not at the addend: measured on an H200.
                let filled = (a & 0xffff == OUT_OF_BOUNDS) | (b & 0xffff == OUT_OF_BOUNDS);
                if mode::has(MODE, mode::OOB) && filled {
                    return 0;
                }
                let product = Self::source::<MODE>(a) * Self::source::<MODE>(b);
                Self::result::<MODE>(sum_for::<MODE>(product, Self::source::<MODE>(c)))
            }

            choices!($format);
        }
    };
}

half!(F16, Format::F16);
half!(Bf16, Format::BF16);
