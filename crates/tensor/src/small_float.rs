//! The 8-, 6- and 4-bit floating-point formats and tf32, decoded and encoded exactly.
//!
//! Encoding rounds to nearest, ties to even, and saturates at the largest finite value, as `cvt.rn.satfinite` does
//! (PTX ISA, `cvt`); NaN becomes the format's NaN, or its largest value where it has none.
//!
//! | format | sign/exponent/fraction bits | bias | largest | specials |
//! |---|---|---|---|---|
//! | e4m3 | 1/4/3 | 7 | 448 | NaN 0x7F, 0xFF |
//! | e5m2 | 1/5/2 | 15 | 57344 | inf 0x7C, NaN 0x7D..0x7F |
//! | e2m3 | 1/2/3 | 1 | 7.5 | none |
//! | e3m2 | 1/3/2 | 3 | 28 | none |
//! | e2m1 | 1/2/1 | 1 | 6 | none |
//! | ue8m0 | 0/8/0 | 127 | 2^127 | NaN 0xFF |

use crate::dtype::DType;

struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
    bias: i32,
    largest: f64,
    /// The code that NaN is written as.
    nan: u8,
}

fn format(dtype: DType) -> Format {
    let (exponent_bits, fraction_bits, bias, largest, nan) = match dtype {
        DType::E4M3 => (4, 3, 7, 448.0, 0x7F),
        DType::E5M2 => (5, 2, 15, 57344.0, 0x7F),
        DType::E2M3 => (2, 3, 1, 7.5, 0x1F),
        DType::E3M2 => (3, 2, 3, 28.0, 0x1F),
        DType::E2M1 => (2, 1, 1, 6.0, 0x07),
        other => unreachable!("{other} is not a small sign-exponent-fraction format"),
    };
    Format { exponent_bits, fraction_bits, bias, largest, nan }
}

/// The value of a code. Bits above the format's width are ignored.
pub fn decode(dtype: DType, code: u8) -> f64 {
    if dtype == DType::UE8M0 {
        return if code == 0xFF { f64::NAN } else { 2f64.powi(i32::from(code) - 127) };
    }
    let Format { exponent_bits, fraction_bits, bias, .. } = format(dtype);
    let negative = code >> (exponent_bits + fraction_bits) & 1 == 1;
    let exponent = i32::from(code >> fraction_bits) & ((1 << exponent_bits) - 1);
    let fraction = f64::from(code & ((1 << fraction_bits) - 1)) / f64::from(1u32 << fraction_bits);
    let size = match dtype {
        DType::E4M3 if code & 0x7F == 0x7F => f64::NAN,
        DType::E5M2 if exponent == 31 => {
            if fraction == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        _ if exponent == 0 => fraction * 2f64.powi(1 - bias),
        _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
    };
    if negative { -size } else { size }
}

/// The code nearest to `x`, saturating.
pub fn encode(dtype: DType, x: f64) -> u8 {
    if dtype == DType::UE8M0 {
        return encode_ue8m0(x);
    }
    let Format { exponent_bits, fraction_bits, bias, largest, nan } = format(dtype);
    if x.is_nan() {
        return nan;
    }
    let sign = u8::from(x.is_sign_negative()) << (exponent_bits + fraction_bits);
    let size = x.abs().min(largest);
    // Spacing of representable numbers around `size`; the smallest normal's spacing also serves the subnormals.
    let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(1 - bias);
    let spacing = 2f64.powi(exponent - fraction_bits as i32);
    // Exact: `size / spacing` has few bits, and rounding up to the next binade carries into the exponent.
    let steps = (size / spacing).round_ties_even() as i32;
    let code = ((exponent + bias - 1) << fraction_bits) + steps;
    sign | code as u8
}

/// Rounds the magnitude to the nearest power of two (ties to the larger), within 2^-127 to 2^127.
fn encode_ue8m0(x: f64) -> u8 {
    if x.is_nan() {
        return 0xFF;
    }
    let size = x.abs().clamp(2f64.powi(-127), 2f64.powi(127));
    let exponent = (size.to_bits() >> 52) as i32 - 1023;
    let above = size >= 1.5 * 2f64.powi(exponent);
    ((exponent + i32::from(above)).min(127) + 127) as u8
}

/// Rounds to the 10 fraction bits of tf32, to nearest, ties to even; NaN keeps being NaN.
pub fn tf32_round(x: f32) -> f32 {
    if x.is_nan() {
        return f32::NAN;
    }
    let bits = x.to_bits();
    let even = (bits >> 13) & 1;
    f32::from_bits(bits.wrapping_add(0x0FFF + even) & !0x1FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: [DType; 5] = [DType::E4M3, DType::E5M2, DType::E2M1, DType::E2M3, DType::E3M2];

    #[test]
    fn every_finite_code_round_trips() {
        for dtype in SMALL {
            for code in 0..1u16 << dtype.bits() {
                let value = decode(dtype, code as u8);
                if value.is_finite() {
                    assert_eq!(encode(dtype, value), code as u8, "{dtype} {code:#x} = {value}");
                }
            }
        }
        for code in 0..255 {
            assert_eq!(encode(DType::UE8M0, decode(DType::UE8M0, code)), code);
        }
    }

    /// The nearest code by exhaustive search, ties to the even code.
    fn nearest(dtype: DType, x: f64) -> u8 {
        (0..1u16 << (dtype.bits() - 1))
            .map(|code| code as u8)
            .filter(|&code| decode(dtype, code).is_finite())
            .min_by(|&a, &b| {
                let (da, db) = ((decode(dtype, a) - x).abs(), (decode(dtype, b) - x).abs());
                da.total_cmp(&db).then((a & 1).cmp(&(b & 1)))
            })
            .expect("the format has finite codes")
    }

    #[test]
    fn encoding_is_nearest_even_and_saturates() {
        for dtype in SMALL {
            let largest = format(dtype).largest;
            for step in 0..20_000 {
                let x = f64::from(step) * largest / 16_000.0;
                assert_eq!(encode(dtype, x), nearest(dtype, x), "{dtype} {x}");
                assert_eq!(decode(dtype, encode(dtype, -x)), -decode(dtype, encode(dtype, x)));
            }
            assert_eq!(decode(dtype, encode(dtype, f64::INFINITY)), largest);
        }
    }

    #[test]
    fn tf32_drops_thirteen_bits_to_nearest_even() {
        assert_eq!(tf32_round(1.0 + 2f32.powi(-11)), 1.0);
        assert_eq!(tf32_round(1.0 + 3.0 * 2f32.powi(-11)), 1.0 + 2.0 * 2f32.powi(-10));
    }
}
