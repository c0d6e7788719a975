//! One element's value, wide enough to hold every type exactly.

use crate::dtype::{DType, Kind};
use crate::small_float;
use half::{bf16, f16};

/// A value of any element type. Floats are exact in `f64`, integers in `i128`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// Floating point.
    F(f64),
    /// Integer.
    I(i128),
    /// Truth value.
    B(bool),
}

impl Scalar {
    /// As a floating-point number; integers beyond 2^53 round to nearest even.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::F(x) => x,
            Scalar::I(x) => x as f64,
            Scalar::B(x) => f64::from(u8::from(x)),
        }
    }

    /// As an integer; floats truncate toward zero and saturate at the ends of `i128`; NaN is 0.
    pub fn as_i128(self) -> i128 {
        match self {
            Scalar::F(x) => x as i128,
            Scalar::I(x) => x,
            Scalar::B(x) => i128::from(x),
        }
    }

    /// As a truth value; anything but zero is true, NaN included.
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::F(x) => x != 0.0,
            Scalar::I(x) => x != 0,
            Scalar::B(x) => x,
        }
    }

    /// The value as the family of `dtype` computes with it, not yet rounded to `dtype`.
    pub fn to_kind(self, dtype: DType) -> Scalar {
        match dtype.kind() {
            Kind::Float => Scalar::F(self.as_f64()),
            Kind::Signed | Kind::Unsigned => Scalar::I(self.as_i128()),
            Kind::Bool => Scalar::B(self.as_bool()),
        }
    }

    /// The value that storing as `dtype` and reading back gives: floats round to nearest even, integers wrap.
    pub fn rounded(self, dtype: DType) -> Scalar {
        let mut bytes = [0; 8];
        self.store(dtype, &mut bytes);
        Scalar::load(dtype, &bytes)
    }

    /// Reads one element from little-endian `bytes`, which hold at least `dtype.bytes()`.
    pub fn load(dtype: DType, bytes: &[u8]) -> Scalar {
        macro_rules! le {
            ($t:ty) => {{
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(&bytes[..size_of::<$t>()]);
                <$t>::from_le_bytes(raw)
            }};
        }
        match dtype {
            DType::Bool => Scalar::B(bytes[0] != 0),
            DType::I8 => Scalar::I(le!(i8).into()),
            DType::I16 => Scalar::I(le!(i16).into()),
            DType::I32 => Scalar::I(le!(i32).into()),
            DType::I64 => Scalar::I(le!(i64).into()),
            DType::U8 => Scalar::I(bytes[0].into()),
            DType::U16 => Scalar::I(le!(u16).into()),
            DType::U32 => Scalar::I(le!(u32).into()),
            DType::U64 => Scalar::I(le!(u64).into()),
            DType::F64 => Scalar::F(le!(f64)),
            DType::F32 => Scalar::F(le!(f32).into()),
            DType::Tf32 => Scalar::F(small_float::tf32_round(le!(f32)).into()),
            DType::F16 => Scalar::F(f16::from_bits(le!(u16)).to_f64()),
            DType::BF16 => Scalar::F(bf16::from_bits(le!(u16)).to_f64()),
            DType::E4M3 | DType::E5M2 | DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0 => {
                Scalar::F(small_float::decode(dtype, bytes[0]))
            }
        }
    }

    /// Writes one element to the front of `bytes`, little endian: floats round to nearest even (8-, 6- and 4-bit
    /// types saturate, as the hardware's conversions do), integers wrap.
    pub fn store(self, dtype: DType, bytes: &mut [u8]) {
        macro_rules! le {
            ($value:expr) => {{
                let raw = $value.to_le_bytes();
                bytes[..raw.len()].copy_from_slice(&raw);
            }};
        }
        match dtype {
            DType::Bool => bytes[0] = u8::from(self.as_bool()),
            DType::I8 => le!((self.as_i128() as i8)),
            DType::I16 => le!((self.as_i128() as i16)),
            DType::I32 => le!((self.as_i128() as i32)),
            DType::I64 => le!((self.as_i128() as i64)),
            DType::U8 => bytes[0] = self.as_i128() as u8,
            DType::U16 => le!((self.as_i128() as u16)),
            DType::U32 => le!((self.as_i128() as u32)),
            DType::U64 => le!((self.as_i128() as u64)),
            DType::F64 => le!(self.as_f64()),
            DType::F32 => le!((self.as_f64() as f32)),
            DType::Tf32 => le!(small_float::tf32_round(self.as_f64() as f32)),
            DType::F16 => le!(f16::from_f64(self.as_f64()).to_bits()),
            DType::BF16 => le!(bf16::from_f64(self.as_f64()).to_bits()),
            DType::E4M3 | DType::E5M2 | DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0 => {
                bytes[0] = small_float::encode(dtype, self.as_f64());
            }
        }
    }
}

impl From<f64> for Scalar {
    fn from(x: f64) -> Scalar {
        Scalar::F(x)
    }
}

impl From<i64> for Scalar {
    fn from(x: i64) -> Scalar {
        Scalar::I(x.into())
    }
}

impl From<bool> for Scalar {
    fn from(x: bool) -> Scalar {
        Scalar::B(x)
    }
}
