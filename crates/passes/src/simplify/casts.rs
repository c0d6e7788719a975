//! Casts of casts. One that rounds is never removed: only a first cast that keeps every value is.

use super::Rewrite;
use crate::exact::{self, MAX_DEPTH};
use gable_ir::ops::Cast;
use gable_ir::{Builder, NodeId, Op};
use gable_tensor::DType;

/// A cast to the same type, and a cast after one that keeps every value.
pub fn chain(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Cast(Cast { to }) = *b.graph.op(id) else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    if b.dtype(x) == to {
        return Ok(Some(x));
    }
    let Op::Cast(Cast { to: between }) = *b.graph.op(x) else { return Ok(None) };
    let source = b.graph.operand(x, 0);
    let from = b.dtype(source);
    // From a float to an integer saturates, from an integer wraps: going through a float may then matter.
    let detour_matters = from.is_int() && between.is_float() && to.is_int() && !is_exact(from, to);
    if !is_exact(from, between) || detour_matters {
        return Ok(None);
    }
    b.cast(source, to).map(Some)
}

/// A product of f32 that is rounded to 16 bits afterwards, where computing it in that type rounds it once as well: what a
/// dequantisation in f32 comes to.
pub fn product(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Cast(Cast { to: to @ (DType::F16 | DType::BF16) }) = *b.graph.op(id) else { return Ok(None) };
    let product = b.graph.operand(id, 0);
    let is_product = matches!(b.graph.op(product), Op::Mul(_)) && b.dtype(product) == DType::F32;
    if !is_product || !exact::rounds_once(b, product, to) {
        return Ok(None);
    }
    exact::narrowed(b, product, to, MAX_DEPTH).map(Some)
}

/// Whether every value of `from` (NaN included) is a value of `to`.
pub fn is_exact(from: DType, to: DType) -> bool {
    if from == to {
        return true;
    }
    if from == DType::Bool {
        // Powers of two have no zero.
        return to != DType::UE8M0;
    }
    match (from.int_range(), to.int_range()) {
        (Some((low, high)), Some((to_low, to_high))) => to != DType::Bool && to_low <= low && high <= to_high,
        (Some((low, high)), None) => {
            let Format { bits, largest, .. } = format(to);
            let whole = 1i128 << bits;
            -whole <= low && high <= whole && high as f64 <= largest && to != DType::UE8M0
        }
        (None, Some(_)) => false,
        (None, None) => {
            let (own, wide) = (format(from), format(to));
            // Types under 8 exponent bits have their own rules for infinity and NaN; only wide targets take those.
            let takes_specials = matches!(to, DType::F64 | DType::F32 | DType::Tf32 | DType::BF16 | DType::F16);
            // Infinities of e5m2 saturate on the way back, so a round trip through a wider type is no identity.
            from != DType::E5M2
                && own.bits <= wide.bits
                && wide.least <= own.least
                && own.largest <= wide.largest
                && takes_specials
        }
    }
}

/// A set of numbers: each is a whole one of so many bits, times a power of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    /// Significant bits.
    pub bits: u32,
    /// Exponent of the least number above zero.
    pub least: i32,
    /// The largest number.
    pub largest: f64,
}

impl Format {
    /// A format that holds every product.
    pub fn times(self, other: Format) -> Format {
        Format { bits: self.bits + other.bits, least: self.least + other.least, largest: self.largest * other.largest }
    }

    /// A format that holds the numbers of both.
    pub fn or(self, other: Format) -> Format {
        Format {
            bits: self.bits.max(other.bits),
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
        }
    }
}

/// The format of a type of numbers.
pub fn format(dtype: DType) -> Format {
    let (bits, least, largest) = match dtype {
        DType::F64 => (53, -1074, f64::MAX),
        DType::F32 => (24, -149, f64::from(f32::MAX)),
        DType::Tf32 => (11, -136, f64::from(f32::MAX) * (1.0 - 2f64.powi(-11))),
        DType::BF16 => (8, -133, 2f64.powi(128) - 2f64.powi(120)),
        DType::F16 => (11, -24, 65504.0),
        DType::E4M3 => (4, -9, 448.0),
        DType::E5M2 => (3, -16, 57344.0),
        DType::E2M1 => (2, -1, 6.0),
        DType::E2M3 => (4, -3, 7.5),
        DType::E3M2 => (3, -4, 28.0),
        DType::UE8M0 => (1, -127, 2f64.powi(127)),
        DType::I8 | DType::U8 => (8, 0, 255.0),
        _ => (0, 0, 0.0),
    };
    Format { bits, least, largest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gable_tensor::{Kind, Scalar};

    #[test]
    fn exact_casts_keep_every_value_of_the_small_types() {
        for &from in DType::ALL.iter().filter(|dtype| dtype.bits() <= 16) {
            let values: Vec<Scalar> =
                (0..1u32 << from.bits().min(16)).map(|bits| Scalar::load(from, &bits.to_le_bytes())).collect();
            for &to in DType::ALL.iter().filter(|to| **to != from) {
                let keeps = values.iter().all(|&value| {
                    let there = value.to_kind(to).rounded(to);
                    let back = there.to_kind(from).rounded(from);
                    let nan = |x: Scalar| matches!(x, Scalar::F(x) if x.is_nan());
                    let saturated = from.kind() == Kind::Float && to.kind() != Kind::Float;
                    !saturated && (there.as_f64() == value.as_f64() && back == value || nan(value) && nan(there))
                });
                if is_exact(from, to) {
                    assert!(keeps, "{from} to {to} is not exact");
                }
            }
        }
    }

    #[test]
    fn casts_that_round_are_not_exact() {
        use DType::*;
        for (from, to) in
            [(F32, BF16), (F32, F16), (BF16, F16), (F16, BF16), (F32, Tf32), (I32, F32), (I64, F64), (F64, F32)]
        {
            assert!(!is_exact(from, to), "{from} to {to}");
        }
        for (from, to) in
            [(BF16, F32), (F16, F32), (F16, Tf32), (BF16, Tf32), (Tf32, F32), (I32, F64), (U8, F16), (I8, BF16)]
        {
            assert!(is_exact(from, to), "{from} to {to}");
        }
    }
}
