//! Element types: one row per type, with its width, its family and its floating-point layout.

use std::fmt;
use std::str::FromStr;

/// The family that a type's arithmetic belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Truth values, stored as one byte, 0 or 1.
    Bool,
    /// Two's complement integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// Binary floating point.
    Float,
}

macro_rules! dtypes {
    ($( $(#[$doc:meta])* $Variant:ident = $name:literal, $bits:literal bits, $kind:ident, npy $npy:expr ; )+) => {
        /// The type of one element.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType { $( $(#[$doc])* $Variant ),+ }

        impl DType {
            /// Every type, in table order.
            pub const ALL: &'static [DType] = &[ $( DType::$Variant ),+ ];

            /// The name used in `.gir` text, messages and reports.
            pub const fn name(self) -> &'static str { match self { $( DType::$Variant => $name ),+ } }

            /// Bits that carry the value; storage rounds up to whole bytes (see [`DType::bytes`]).
            pub const fn bits(self) -> u32 { match self { $( DType::$Variant => $bits ),+ } }

            /// The family of its arithmetic.
            pub const fn kind(self) -> Kind { match self { $( DType::$Variant => Kind::$kind ),+ } }

            /// The `.npy` type descriptor under which this type is written, little endian.
            /// Types that NumPy lacks are written as the bits of an unsigned integer.
            pub const fn npy_descr(self) -> &'static str { match self { $( DType::$Variant => $npy ),+ } }
        }
    };
}

dtypes! {
    /// Truth value, one byte.
    Bool = "bool", 8 bits, Bool, npy "|b1";
    /// 8-bit signed integer.
    I8 = "i8", 8 bits, Signed, npy "|i1";
    /// 16-bit signed integer.
    I16 = "i16", 16 bits, Signed, npy "<i2";
    /// 32-bit signed integer.
    I32 = "i32", 32 bits, Signed, npy "<i4";
    /// 64-bit signed integer.
    I64 = "i64", 64 bits, Signed, npy "<i8";
    /// 8-bit unsigned integer.
    U8 = "u8", 8 bits, Unsigned, npy "|u1";
    /// 16-bit unsigned integer.
    U16 = "u16", 16 bits, Unsigned, npy "<u2";
    /// 32-bit unsigned integer.
    U32 = "u32", 32 bits, Unsigned, npy "<u4";
    /// 64-bit unsigned integer.
    U64 = "u64", 64 bits, Unsigned, npy "<u8";
    /// IEEE 754 binary64.
    F64 = "f64", 64 bits, Float, npy "<f8";
    /// IEEE 754 binary32.
    F32 = "f32", 32 bits, Float, npy "<f4";
    /// The tensor cores' 19-bit format (8 exponent, 10 fraction bits) in a 32-bit word; a compute type.
    Tf32 = "tf32", 32 bits, Float, npy "<f4";
    /// IEEE 754 binary16.
    F16 = "f16", 16 bits, Float, npy "<f2";
    /// bfloat16: the upper half of a binary32.
    BF16 = "bf16", 16 bits, Float, npy "<u2";
    /// OCP FP8 E4M3: no infinities, one NaN pattern, largest 448.
    E4M3 = "e4m3", 8 bits, Float, npy "|u1";
    /// OCP FP8 E5M2: IEEE-like, largest 57344.
    E5M2 = "e5m2", 8 bits, Float, npy "|u1";
    /// OCP MX FP4 E2M1: largest 6; one element in the low four bits of a byte.
    E2M1 = "e2m1", 4 bits, Float, npy "|u1";
    /// OCP MX FP6 E2M3: largest 7.5; one element in the low six bits of a byte.
    E2M3 = "e2m3", 6 bits, Float, npy "|u1";
    /// OCP MX FP6 E3M2: largest 28; one element in the low six bits of a byte.
    E3M2 = "e3m2", 6 bits, Float, npy "|u1";
    /// OCP MX scale: a power of two from 2^-127 to 2^127; 0xFF is NaN.
    UE8M0 = "ue8m0", 8 bits, Float, npy "|u1";
}

impl DType {
    /// Bytes of one stored element. Host tensors hold one element of a type under 8 bits per byte;
    /// packing two 4-bit elements into a byte is a layout, decided by the code generator.
    pub const fn bytes(self) -> usize {
        (self.bits() as usize).div_ceil(8)
    }

    /// Whether the type holds binary floating point numbers.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Whether the type holds integers; `bool` is not an integer.
    pub fn is_int(self) -> bool {
        matches!(self.kind(), Kind::Signed | Kind::Unsigned)
    }

    /// Smallest and largest value of an integer type or `bool`; `None` for floating point.
    pub fn int_range(self) -> Option<(i128, i128)> {
        let bits = self.bits();
        match self.kind() {
            Kind::Bool => Some((0, 1)),
            Kind::Signed => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
            Kind::Unsigned => Some((0, (1i128 << bits) - 1)),
            Kind::Float => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DType::ALL.iter().copied().find(|dtype| dtype.name() == text).ok_or_else(|| {
            let known: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
            format!("unknown element type `{text}`; known: {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for &dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert!("f31".parse::<DType>().is_err());
    }
}
