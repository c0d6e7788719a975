//! What a tensor core multiplies: every operand type, from its code to sign, significand and exponent.
//!
//! The exponent of a value is the one that tensor cores align by: that of the encoding, where a subnormal number keeps the lowest
//! normal exponent and is not renormalised. With `f` fraction bits a finite value is `±significand * 2^(exponent - f)`.

/// The type of the elements of A or B.
#[expect(missing_docs, reason = "each is named like its PTX type")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    B1,
    S4,
    U4,
    S8,
    U8,
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
    E2m3,
    E3m2,
    E2m1,
    F64,
}

/// What the codes with all exponent bits set mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// Infinities and NaN, as IEEE 754 has them.
    Ieee,
    /// NaN where exponent and fraction are all ones; the other codes are numbers.
    NanOnly,
    /// Every code is a number.
    None,
}

/// Layout of a floating-point code: sign, exponent, fraction from the top bit down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatFormat {
    /// Width of the exponent field.
    pub exponent_bits: u32,
    /// Width of the fraction field.
    pub fraction_bits: u32,
    /// What the largest exponent means.
    pub specials: Specials,
}

impl FloatFormat {
    /// Subtracted from the exponent field.
    pub const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    /// The exponent of subnormal numbers and of the least normal one.
    pub const fn lowest_exponent(self) -> i32 {
        1 - self.bias()
    }

    /// Sign, exponent and fraction together.
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits + self.fraction_bits
    }

    /// The value of a code; bits above the format are ignored.
    pub const fn decode(self, code: u32) -> Decoded {
        let fraction_mask = (1 << self.fraction_bits) - 1;
        let exponent_mask = (1 << self.exponent_bits) - 1;
        let fraction = code & fraction_mask;
        let field = (code >> self.fraction_bits) & exponent_mask;
        let negative = (code >> (self.bits() - 1)) & 1 == 1;
        let class = match self.specials {
            Specials::Ieee if field == exponent_mask && fraction == 0 => Class::Infinite,
            Specials::Ieee if field == exponent_mask => Class::Nan,
            Specials::NanOnly if field == exponent_mask && fraction == fraction_mask => Class::Nan,
            _ => Class::Finite,
        };
        let (significand, exponent) = match field {
            0 => (fraction, self.lowest_exponent()),
            _ => (fraction | 1 << self.fraction_bits, field as i32 - self.bias()),
        };
        Decoded { class, negative, significand, exponent }
    }
}

/// f32, the type of most accumulators.
pub const F32: FloatFormat = FloatFormat { exponent_bits: 8, fraction_bits: 23, specials: Specials::Ieee };
/// f16, as accumulator and as operand.
pub const F16: FloatFormat = FloatFormat { exponent_bits: 5, fraction_bits: 10, specials: Specials::Ieee };

/// Whether a value is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A number, zero and subnormal ones too.
    Finite,
    /// Plus or minus infinity.
    Infinite,
    /// Not a number.
    Nan,
}

/// A code taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Whether it is a number; significand and exponent mean something only then.
    pub class: Class,
    /// The sign bit.
    pub negative: bool,
    /// With the leading one of a normal number; zero for zero.
    pub significand: u32,
    /// The exponent of the encoding less its bias.
    pub exponent: i32,
}

impl Element {
    /// Every type.
    pub const ALL: &'static [Element] = &[
        Element::B1,
        Element::S4,
        Element::U4,
        Element::S8,
        Element::U8,
        Element::F16,
        Element::Bf16,
        Element::Tf32,
        Element::E4m3,
        Element::E5m2,
        Element::E2m3,
        Element::E3m2,
        Element::E2m1,
        Element::F64,
    ];

    /// Bits of an element in packed storage; tf32 is stored in a 32-bit word.
    pub const fn bits(self) -> u32 {
        match self {
            Element::B1 => 1,
            Element::S4 | Element::U4 | Element::E2m1 => 4,
            Element::E2m3 | Element::E3m2 => 6,
            Element::S8 | Element::U8 | Element::E4m3 | Element::E5m2 => 8,
            Element::F16 | Element::Bf16 => 16,
            Element::Tf32 => 32,
            Element::F64 => 64,
        }
    }

    /// The layout of the types that tensor cores sum as aligned significands; none for integers, bits and f64.
    ///
    /// The format of tf32 has 19 bits, the upper ones of its word: `float_code` moves them down.
    pub const fn float_format(self) -> Option<FloatFormat> {
        let (exponent_bits, fraction_bits, specials) = match self {
            Element::F16 => (5, 10, Specials::Ieee),
            Element::Bf16 => (8, 7, Specials::Ieee),
            Element::Tf32 => (8, 10, Specials::Ieee),
            Element::E4m3 => (4, 3, Specials::NanOnly),
            Element::E5m2 => (5, 2, Specials::Ieee),
            Element::E2m3 => (2, 3, Specials::None),
            Element::E3m2 => (3, 2, Specials::None),
            Element::E2m1 => (2, 1, Specials::None),
            Element::B1 | Element::S4 | Element::U4 | Element::S8 | Element::U8 | Element::F64 => return None,
        };
        Some(FloatFormat { exponent_bits, fraction_bits, specials })
    }

    /// The code of `float_format` in a stored word: tf32 drops the 13 bits that tensor cores ignore (measured on an H200).
    pub const fn float_code(self, word: u32) -> u32 {
        match self {
            Element::Tf32 => word >> 13,
            _ => word,
        }
    }

    /// The value of an integer element; none for other types. Bits above the type are ignored.
    pub const fn integer(self, code: u32) -> Option<i32> {
        match self {
            Element::S4 => Some(((code << 28) as i32) >> 28),
            Element::U4 => Some((code & 0xf) as i32),
            Element::S8 => Some(code as u8 as i8 as i32),
            Element::U8 => Some(code as u8 as i32),
            _ => None,
        }
    }

    /// As in PTX.
    pub const fn name(self) -> &'static str {
        match self {
            Element::B1 => "b1",
            Element::S4 => "s4",
            Element::U4 => "u4",
            Element::S8 => "s8",
            Element::U8 => "u8",
            Element::F16 => "f16",
            Element::Bf16 => "bf16",
            Element::Tf32 => "tf32",
            Element::E4m3 => "e4m3",
            Element::E5m2 => "e5m2",
            Element::E2m3 => "e2m3",
            Element::E3m2 => "e3m2",
            Element::E2m1 => "e2m1",
            Element::F64 => "f64",
        }
    }
}

/// The type of the scales of blocks along k.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleFormat {
    /// A power of two: `2^(code - 127)`, NaN at 0xff.
    Ue8m0,
    /// e4m3 without a sign; the top bit is ignored, NaN at 0x7f.
    Ue4m3,
}

impl ScaleFormat {
    /// Fraction bits of the significand.
    pub const fn fraction_bits(self) -> u32 {
        match self {
            ScaleFormat::Ue8m0 => 0,
            ScaleFormat::Ue4m3 => 3,
        }
    }

    /// The value of a code.
    pub const fn decode(self, code: u8) -> Decoded {
        match self {
            ScaleFormat::Ue8m0 => {
                let class = if code == 0xff { Class::Nan } else { Class::Finite };
                Decoded { class, negative: false, significand: 1, exponent: code as i32 - 127 }
            }
            ScaleFormat::Ue4m3 => {
                let format = FloatFormat { exponent_bits: 4, fraction_bits: 3, specials: Specials::NanOnly };
                format.decode(code as u32 & 0x7f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(element: Element, code: u32) -> f64 {
        let format = element.float_format().unwrap();
        let decoded = format.decode(element.float_code(code));
        let sign = if decoded.negative { -1.0 } else { 1.0 };
        match decoded.class {
            Class::Nan => f64::NAN,
            Class::Infinite => sign * f64::INFINITY,
            Class::Finite => {
                sign * decoded.significand as f64 * 2f64.powi(decoded.exponent - format.fraction_bits as i32)
            }
        }
    }

    #[test]
    fn the_values_of_narrow_types_are_those_of_their_tables() {
        let e2m1: Vec<f64> = (0..8).map(|code| value(Element::E2m1, code)).collect();
        assert_eq!(e2m1, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(value(Element::E2m1, 0xf), -6.0);
        assert_eq!((value(Element::E2m3, 0x1f), value(Element::E2m3, 1)), (7.5, 0.125));
        assert_eq!((value(Element::E3m2, 0x1f), value(Element::E3m2, 1)), (28.0, 0.0625));
        assert_eq!((value(Element::E4m3, 0x7e), value(Element::E4m3, 1)), (448.0, 2f64.powi(-9)));
        assert_eq!(value(Element::E4m3, 0x78), 256.0);
        assert!(value(Element::E4m3, 0xff).is_nan());
        assert_eq!((value(Element::E5m2, 0x7b), value(Element::E5m2, 1)), (57344.0, 2f64.powi(-16)));
        assert_eq!(value(Element::E5m2, 0xfc), f64::NEG_INFINITY);
        assert!((0x7d..0x80).all(|code| value(Element::E5m2, code).is_nan()));
    }

    #[test]
    fn sixteen_bit_types_and_tf32_agree_with_their_conversions() {
        for code in 0..=u16::MAX {
            let word = u32::from(code);
            let pairs = [
                (value(Element::F16, word), half::f16::from_bits(code).to_f64()),
                (value(Element::Bf16, word), half::bf16::from_bits(code).to_f64()),
                (value(Element::Tf32, word << 16 | 0x1fff), f64::from(f32::from_bits(word << 16))),
            ];
            for (ours, theirs) in pairs {
                assert!(ours == theirs || (ours.is_nan() && theirs.is_nan()), "{code:#06x}: {ours} and {theirs}");
            }
        }
    }

    #[test]
    fn scales_are_unsigned() {
        assert_eq!(ScaleFormat::Ue8m0.decode(0).exponent, -127);
        assert_eq!(ScaleFormat::Ue8m0.decode(0xff).class, Class::Nan);
        let one = ScaleFormat::Ue4m3.decode(0x38);
        assert_eq!((one.significand, one.exponent), (8, 0));
        assert_eq!(ScaleFormat::Ue4m3.decode(0xb8), one);
        assert_eq!(ScaleFormat::Ue4m3.decode(0xff).class, Class::Nan);
    }
}
