//! The floating-point formats: how many bits of what, and which codes are special.
//!
//! value = (-1)^s * 2^(E - bias) * 1.m where E > 0, and (-1)^s * 2^(1 - bias) * 0.m where E = 0.

/// Which codes are no finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// The highest exponent is infinity and NaN.
    Ieee,
    /// All bits below the sign set is NaN; there is no infinity.
    NanOnly,
    /// Every code is a finite number.
    None,
    /// A power of two without a sign: 2^(code - bias), all bits set is NaN, and there is no zero.
    PowerOfTwo,
}

/// A floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Name as in PTX.
    pub name: &'static str,
    /// Bits of the exponent.
    pub exponent_bits: u32,
    /// Bits after the point.
    pub fraction_bits: u32,
    /// What is subtracted from the exponent field.
    pub bias: i32,
    /// Whether there is a sign bit.
    pub signed: bool,
    /// Which codes are special.
    pub specials: Specials,
    /// The NaN that results have; formats without NaN give their largest number instead.
    pub nan: u64,
}

const fn ieee(name: &'static str, exponent_bits: u32, fraction_bits: u32, nan: u64) -> Format {
    let bias = (1 << (exponent_bits - 1)) - 1;
    Format { name, exponent_bits, fraction_bits, bias, signed: true, specials: Specials::Ieee, nan }
}

const fn finite(name: &'static str, exponent_bits: u32, fraction_bits: u32) -> Format {
    let nan = (1 << (exponent_bits + fraction_bits)) - 1;
    let bias = (1 << (exponent_bits - 1)) - 1;
    Format { name, exponent_bits, fraction_bits, bias, signed: true, specials: Specials::None, nan }
}

impl Format {
    /// Double precision. Its NaN, that of an invalid operation, was measured on an H200.
    pub const F64: Format = ieee("f64", 11, 52, 0xfff8_0000_0000_0000);
    /// Single precision. Its NaN is documented (PTX ISA, floating-point instructions).
    pub const F32: Format = ieee("f32", 8, 23, 0x7fff_ffff);
    /// f32 with 10 fraction bits. A code here is the upper 19 bits of the 32-bit word.
    pub const TF32: Format = ieee("tf32", 8, 10, 0x3_ffff);
    /// bfloat16.
    pub const BF16: Format = ieee("bf16", 8, 7, 0x7fff);
    /// Half precision.
    pub const F16: Format = ieee("f16", 5, 10, 0x7fff);
    /// 8 bits, 4 of them exponent: no infinity. Its NaN was measured on an H200.
    pub const E4M3: Format = Format {
        name: "e4m3",
        exponent_bits: 4,
        fraction_bits: 3,
        bias: 7,
        signed: true,
        specials: Specials::NanOnly,
        nan: 0x7f,
    };
    /// 8 bits, 5 of them exponent. Its NaN was measured on an H200.
    pub const E5M2: Format = ieee("e5m2", 5, 2, 0x7f);
    /// 6 bits, 2 of them exponent. NaN becomes the largest number (PTX ISA, cvt).
    pub const E2M3: Format = finite("e2m3", 2, 3);
    /// 6 bits, 3 of them exponent. NaN becomes the largest number (PTX ISA, cvt).
    pub const E3M2: Format = finite("e3m2", 3, 2);
    /// 4 bits, 2 of them exponent. NaN becomes the largest number (PTX ISA, cvt).
    pub const E2M1: Format = finite("e2m1", 2, 1);
    /// Power of two, for scales.
    pub const UE8M0: Format = Format {
        name: "ue8m0",
        exponent_bits: 8,
        fraction_bits: 0,
        bias: 127,
        signed: false,
        specials: Specials::PowerOfTwo,
        nan: 0xff,
    };
    /// e4m3 without its sign, for scales.
    pub const UE4M3: Format = Format { name: "ue4m3", signed: false, ..Format::E4M3 };

    /// Every format.
    pub const ALL: [Format; 12] = [
        Format::F64,
        Format::F32,
        Format::TF32,
        Format::BF16,
        Format::F16,
        Format::E4M3,
        Format::E5M2,
        Format::E2M3,
        Format::E3M2,
        Format::E2M1,
        Format::UE8M0,
        Format::UE4M3,
    ];

    /// Bits below the sign.
    pub const fn magnitude_bits(self) -> u32 {
        self.exponent_bits + self.fraction_bits
    }

    /// Bits of a code.
    pub const fn bits(self) -> u32 {
        self.magnitude_bits() + self.signed as u32
    }

    /// The bit of the sign, 0 where there is none.
    pub const fn sign_bit(self) -> u64 {
        (self.signed as u64) << self.magnitude_bits()
    }

    /// The code of the largest finite number.
    pub const fn largest(self) -> u64 {
        let all = (1 << self.magnitude_bits()) - 1;
        match self.specials {
            Specials::Ieee => all - (1 << self.fraction_bits),
            Specials::NanOnly | Specials::PowerOfTwo => all - 1,
            Specials::None => all,
        }
    }

    /// The code of positive infinity, where the format has one.
    pub const fn infinity(self) -> Option<u64> {
        match self.specials {
            Specials::Ieee => Some(self.largest() + 1),
            Specials::NanOnly | Specials::None | Specials::PowerOfTwo => None,
        }
    }

    /// Exponent of the smallest normal number.
    pub const fn smallest_exponent(self) -> i32 {
        1 - self.bias
    }

    /// Whether the code is NaN.
    pub const fn is_nan(self, code: u64) -> bool {
        let magnitude = code & ((1 << self.magnitude_bits()) - 1);
        match self.specials {
            Specials::Ieee => magnitude > self.largest() + 1,
            Specials::NanOnly | Specials::PowerOfTwo => magnitude > self.largest(),
            Specials::None => false,
        }
    }

    /// The NaN that an instruction makes of a NaN source of its own format: f64 keeps sign and payload and becomes quiet, the
    /// others have one NaN. Measured on an H200.
    pub const fn quiet(self, code: u64) -> u64 {
        if self.fraction_bits == Format::F64.fraction_bits { code | 1 << 51 } else { self.nan }
    }

    /// The code with a subnormal number replaced by the zero of its sign.
    pub const fn flush(self, code: u64) -> u64 {
        let exponent = code >> self.fraction_bits & ((1 << self.exponent_bits) - 1);
        if exponent == 0 { code & self.sign_bit() } else { code }
    }
}
