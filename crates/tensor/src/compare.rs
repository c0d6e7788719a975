//! Comparison of tensors by named classes: equal, within rounding, or within a relative L2 distance.

use crate::tensor::Tensor;
use std::fmt;

/// How near two tensors must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Every element equal; NaN equals NaN.
    Exact,
    /// `|found - expected| <= atol + rtol * |expected|` for every element.
    Elementwise {
        /// Relative part.
        rtol: f64,
        /// Absolute part.
        atol: f64,
    },
    /// As `Elementwise`, with `atol` a share of the largest expected magnitude.
    ScaledElementwise {
        /// Relative part.
        rtol: f64,
        /// Absolute part, as a share of `max |expected|`.
        atol_of_max: f64,
    },
    /// `|found - expected|_2 <= bound * |expected|_2`.
    RelativeL2(f64),
}

impl Tolerance {
    /// For models computed in f32: rtol 1e-3 and atol 1e-4 of the largest value. Different summation orders over a
    /// few thousand terms stay a decade below this.
    pub const F32_MODEL: Tolerance = Tolerance::ScaledElementwise { rtol: 1e-3, atol_of_max: 1e-4 };
    /// For models computed in f16 (11 significant bits, several layers deep).
    pub const F16_MODEL: Tolerance = Tolerance::ScaledElementwise { rtol: 1e-2, atol_of_max: 1e-2 };
    /// For f32 models run with bf16 contractions.
    pub const BF16_MODEL: Tolerance = Tolerance::RelativeL2(2e-2);
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Whether the tolerance holds.
    pub within: bool,
    /// Largest absolute difference over elements that are finite on both sides.
    pub max_abs: f64,
    /// `|found - expected|_2 / |expected|_2`; infinite where only one side is finite.
    pub relative_l2: f64,
    /// Row-major position, found and expected value of the worst element.
    pub worst: Option<(usize, f64, f64)>,
    /// Set when shape or type differ, in which case nothing else was compared.
    pub mismatch: Option<String>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mismatch) = &self.mismatch {
            return f.write_str(mismatch);
        }
        write!(f, "max abs {:.3e}, relative L2 {:.3e}", self.max_abs, self.relative_l2)?;
        if let Some((index, found, expected)) = self.worst {
            write!(f, ", worst at {index}: found {found}, expected {expected}")?;
        }
        Ok(())
    }
}

/// Compares `found` with `expected` by value. Shapes must agree; so must types, unless both are floating point.
pub fn compare(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Comparison {
    let mut result = Comparison { within: false, max_abs: 0.0, relative_l2: 0.0, worst: None, mismatch: None };
    if found.shape() != expected.shape() {
        result.mismatch = Some(format!("shape is {:?}, expected {:?}", found.shape(), expected.shape()));
        return result;
    }
    if found.dtype() != expected.dtype() && !(found.dtype().is_float() && expected.dtype().is_float()) {
        result.mismatch = Some(format!("type is {}, expected {}", found.dtype(), expected.dtype()));
        return result;
    }
    let largest = expected.scalars().map(|x| x.as_f64().abs()).filter(|x| x.is_finite()).fold(0.0, f64::max);
    let (rtol, atol) = match tolerance {
        Tolerance::Exact => (0.0, 0.0),
        Tolerance::Elementwise { rtol, atol } => (rtol, atol),
        Tolerance::ScaledElementwise { rtol, atol_of_max } => (rtol, atol_of_max * largest),
        Tolerance::RelativeL2(_) => (0.0, f64::INFINITY),
    };
    let (mut error_squares, mut expected_squares, mut all_near) = (0.0, 0.0, true);
    let mut worst_excess = f64::NEG_INFINITY;
    for (index, (f, e)) in found.scalars().zip(expected.scalars()).enumerate() {
        let (fv, ev) = (f.as_f64(), e.as_f64());
        let same = f == e || (fv.is_nan() && ev.is_nan());
        let difference = if same { 0.0 } else { (fv - ev).abs() };
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        if difference.is_finite() {
            result.max_abs = result.max_abs.max(difference);
        }
        error_squares += difference * difference;
        if ev.is_finite() {
            expected_squares += ev * ev;
        }
        let allowed = atol + rtol * ev.abs();
        // An infinite expected value makes `allowed` infinite; only the same infinity is near it.
        let near = same || (fv.is_finite() == ev.is_finite() && !fv.is_nan() && difference <= allowed);
        all_near &= near;
        let excess = if same {
            0.0
        } else if near {
            difference
        } else {
            f64::MAX.min(difference) * 2.0
        };
        if !same && excess > worst_excess {
            worst_excess = excess;
            result.worst = Some((index, fv, ev));
        }
    }
    result.relative_l2 = match (error_squares, expected_squares) {
        (0.0, _) => 0.0,
        (error, squares) => (error / squares).sqrt(),
    };
    result.within = match tolerance {
        Tolerance::RelativeL2(bound) => result.relative_l2 <= bound,
        _ => all_near,
    };
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[f32], expected: &[f32], tolerance: Tolerance) -> bool {
        compare(&Tensor::from_vec([found.len()], found), &Tensor::from_vec([expected.len()], expected), tolerance)
            .within
    }

    #[test]
    fn nan_and_infinity_are_never_near_anything_else() {
        let loose = Tolerance::Elementwise { rtol: 1e9, atol: 1e9 };
        assert!(check(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY], loose));
        assert!(!check(&[f32::NAN], &[0.0], loose));
        assert!(!check(&[0.0], &[f32::INFINITY], loose));
        assert!(!check(&[f32::NAN], &[1.0], Tolerance::RelativeL2(1e9)));
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(check(&[1.5], &[1.0], Tolerance::Elementwise { rtol: 0.0, atol: 0.5 }));
        assert!(!check(&[1.75], &[1.0], Tolerance::Elementwise { rtol: 0.0, atol: 0.5 }));
        assert!(check(&[3.0, 4.0], &[3.0, 4.0], Tolerance::Exact));
    }
}
