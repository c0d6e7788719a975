//! Exponential, error function and hyperbolic tangent for f32 results, in f64 arithmetic that compilers vectorise.
//!
//! Relative error stays below 1e-10, so the rounded f32 differs from the exactly rounded one about once in a thousand
//! elements, and then by one unit in the last place. No table, no branch, no call.

/// `exp(x)`; below -150 and above 130 the result rounds to zero or infinity in f32 all the same.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    // NaN fails both comparisons and stays.
    let x = if x < -150.0 { -150.0 } else { x };
    let x = if x > 130.0 { 130.0 } else { x };
    // Adding 1.5 * 2^52 rounds to the nearest integer, whose low bits then end the word.
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::LOG2_E + SHIFTER;
    let n = shifted - SHIFTER;
    let r = x - n * std::f64::consts::LN_2;
    // Taylor series for |r| <= ln(2)/2: the first term left out is 7e-12.
    let mut p = 1.0 / 362_880.0;
    p = p * r + 1.0 / 40_320.0;
    p = p * r + 1.0 / 5_040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    p * power
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh(x: f64) -> f64 {
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    // Near zero `far` cancels; the series' next term is 17/315 x^7, 1e-11 of x at the border.
    let square = x * x;
    let near = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0)));
    if x.abs() < 0.025 { near } else { far }
}

/// Error function.
#[inline(always)]
pub(super) fn erf(x: f64) -> f64 {
    let size = x.abs();
    let size = if size > 4.2 { 4.2 } else { size };
    // erfc(x) exp(x^2) as a polynomial in t = 1/(1 + 0.4 x): Chebyshev fit of degree 8 over 0.45 <= x <= 4.2, within
    // 6e-11 of erf. Beyond 4.2 erf is 1 to within a tenth of f32's spacing.
    const FIT: [f64; 9] = [
        0.00030541281805157583,
        0.2205629873278136,
        0.2633570136699658,
        0.047555019363932416,
        0.6011824486069786,
        -0.6255501648545326,
        0.8858025842248025,
        -0.4849414843374483,
        0.09172638823901018,
    ];
    let t = 1.0 / (1.0 + 0.4 * size);
    let fit = FIT.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let far = 1.0 - fit * exp(-size * size);
    let far = if x < 0.0 { -far } else { far };
    // Maclaurin series near zero: 2/sqrt(pi) (x - x^3/3 + x^5/10 - x^7/42 + ...); the first term left out is 1e-11 of x.
    let square = x * x;
    const SERIES: [f64; 8] =
        [1.0, -1.0 / 3.0, 1.0 / 10.0, -1.0 / 42.0, 1.0 / 216.0, -1.0 / 1320.0, 1.0 / 9360.0, -1.0 / 75600.0];
    let near = x * std::f64::consts::FRAC_2_SQRT_PI * SERIES.iter().rev().fold(0.0, |sum, c| sum * square + c);
    if size < 0.47 { near } else { far }
}

#[cfg(test)]
mod tests {
    use gable_ir::ops::{Erf, Exp, Sigmoid, Tanh, scalar_map};
    use gable_tensor::{DType, Scalar};

    /// Every 4099th f32 pattern and a fine grid: at most one unit in the last place off, seldom off at all.
    fn check(op: gable_ir::Op, f: fn(f64) -> f64) {
        let patterns = (0..u32::MAX).step_by(4099).map(f32::from_bits);
        let grid = (-40_000..40_000).map(|i| i as f32 / 3000.0);
        let (mut count, mut off) = (0, 0);
        for x in patterns.chain(grid).chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0]) {
            let expected = scalar_map(&op, DType::F32, &[Scalar::F(x.into())]).expect("a map").as_f64() as f32;
            let found = f(x.into()) as f32;
            count += 1;
            if found == expected || (found.is_nan() && expected.is_nan()) {
                continue;
            }
            off += 1;
            let distance = (found.to_bits() as i64 - expected.to_bits() as i64).abs();
            assert!(distance <= 1, "{}({x}) = {found}, expected {expected}", op.name());
        }
        assert!(off * 500 < count, "{}: {off} of {count} differ", op.name());
    }

    #[test]
    fn exp_rounds_as_the_reference() {
        check(Exp {}.into(), super::exp);
    }

    #[test]
    fn sigmoid_rounds_as_the_reference() {
        check(Sigmoid {}.into(), super::sigmoid);
    }

    #[test]
    fn tanh_rounds_as_the_reference() {
        check(Tanh {}.into(), super::tanh);
    }

    #[test]
    fn erf_rounds_as_the_reference() {
        check(Erf {}.into(), super::erf);
    }
}
