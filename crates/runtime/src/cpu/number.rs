//! Arithmetic of the classes, as the reference defines it: what maps, rows and reductions are written with.

use super::rounding::Round;
use super::special;
use gable_ir::ops::{Erf, scalar_map};
use gable_tensor::{DType, Scalar};
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

/// f32 or f64. Functions without a name of their own go through f64 and round once.
pub(super) trait Float:
    Round
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    fn to_f64(self) -> f64;
    fn from_f64(x: f64) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn trunc(self) -> Self;
    fn exp(self) -> Self;
    fn tanh(self) -> Self;
    fn sigmoid(self) -> Self;
    fn erf(self) -> Self;
    fn pow(self, exponent: Self) -> Self;
    /// Larger of both; NaN wins.
    fn larger(self, other: Self) -> Self {
        if self.is_nan() || self > other { self } else { other }
    }
    /// Smaller of both; NaN wins.
    fn smaller(self, other: Self) -> Self {
        if self.is_nan() || self < other { self } else { other }
    }
    #[expect(clippy::eq_op, reason = "a number that differs from itself is NaN")]
    fn is_nan(self) -> bool {
        self != self
    }
}

macro_rules! plain_float_functions {
    ($t:ident) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        const NEG_INFINITY: Self = $t::NEG_INFINITY;
        fn abs(self) -> Self {
            $t::abs(self)
        }
        fn sqrt(self) -> Self {
            $t::sqrt(self)
        }
        fn floor(self) -> Self {
            $t::floor(self)
        }
        fn ceil(self) -> Self {
            $t::ceil(self)
        }
        fn round_ties_even(self) -> Self {
            $t::round_ties_even(self)
        }
        fn trunc(self) -> Self {
            $t::trunc(self)
        }
    };
}

// Sums, products, quotients and roots of f32 in f32 equal those in f64 rounded once: 53 >= 2 * 24 + 2 bits.
impl Float for f32 {
    plain_float_functions!(f32);
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        special::exp(self.into()) as f32
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        special::tanh(self.into()) as f32
    }
    #[inline(always)]
    fn sigmoid(self) -> f32 {
        special::sigmoid(self.into()) as f32
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        special::erf(self.into()) as f32
    }
    fn pow(self, exponent: f32) -> f32 {
        let x = f64::from(self);
        // Squares and cubes of 24-bit numbers round once here, as the reference's power does.
        let power = match exponent {
            2.0 => x * x,
            3.0 => x * x * x,
            _ => x.powf(exponent.into()),
        };
        power as f32
    }
}

impl Float for f64 {
    plain_float_functions!(f64);
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(x: f64) -> f64 {
        x
    }
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn sigmoid(self) -> f64 {
        1.0 / (1.0 + f64::exp(-self))
    }
    fn erf(self) -> f64 {
        scalar_map(&Erf {}.into(), DType::F64, &[Scalar::F(self)]).expect("erf is a map").as_f64()
    }
    fn pow(self, exponent: f64) -> f64 {
        f64::powf(self, exponent)
    }
}

/// i64 or u64. Everything wraps; narrower types wrap again when rounded.
pub(super) trait Int: Round + Ord {
    const ZERO: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn not(self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Toward zero; by zero gives 0.
    fn div(self, other: Self) -> Self;
    /// With the dividend's sign; by zero gives 0.
    fn rem(self, other: Self) -> Self;
    /// With the divisor's sign; by zero gives 0.
    fn modulo(self, other: Self) -> Self;
    fn shl(self, count: Self) -> Self;
    fn shr(self, count: Self) -> Self;
}

macro_rules! ints {
    ($( $t:ident: sign |$s:ident| $sign:expr, abs |$a:ident| $abs:expr, modulo |$r:ident, $by:ident| $modulo:expr,
        shifted out |$x:ident| $out:expr; )+) => { $(
        impl Int for $t {
            const ZERO: Self = 0;
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn neg(self) -> Self { self.wrapping_neg() }
            fn abs(self) -> Self { let $a = self; $abs }
            fn sign(self) -> Self { let $s = self; $sign }
            fn not(self) -> Self { !self }
            fn and(self, other: Self) -> Self { self & other }
            fn or(self, other: Self) -> Self { self | other }
            fn xor(self, other: Self) -> Self { self ^ other }
            fn div(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
            fn rem(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_rem(other) } }
            fn modulo(self, other: Self) -> Self {
                let ($r, $by) = (Int::rem(self, other), other);
                $modulo
            }
            fn shl(self, count: Self) -> Self {
                u32::try_from(count).ok().and_then(|n| self.checked_shl(n)).unwrap_or(0)
            }
            fn shr(self, count: Self) -> Self {
                let $x = self;
                u32::try_from(count).ok().and_then(|n| self.checked_shr(n)).unwrap_or($out)
            }
        }
    )+ };
}
ints! {
    i64: sign |x| x.signum(), abs |x| x.wrapping_abs(),
        modulo |r, by| if r != 0 && (r < 0) != (by < 0) { r.wrapping_add(by) } else { r }, shifted out |x| x >> 63;
    u64: sign |x| x.min(1), abs |x| x, modulo |r, _by| r, shifted out |_x| 0;
}
