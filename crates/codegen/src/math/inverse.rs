//! Inverse trigonometric and hyperbolic functions.

use super::exponential::{log, log1p};
use super::{Floats, odd};
use std::f32::consts::{FRAC_PI_2, LN_2, PI};

/// `asin(x) = x + x^3 P(x^2)` for |x| <= 1/2.
const ASIN: [f32; 5] = [1.666_675_2e-1, 7.495_297_5e-2, 4.547_037_6e-2, 2.417_951_6e-2, 4.216_630_8e-2];

/// `atan(x) = x + x^3 P(x^2)` for |x| <= 1.
const ATAN: [f32; 9] = [
    -3.333_33e-1,
    1.999_854_9e-1,
    -1.426_424_2e-1,
    1.095_218_6e-1,
    -8.403_449_5e-2,
    5.795_758_2e-2,
    -3.117_783_4e-2,
    1.091_459_95e-2,
    -1.793_620_3e-3,
];

/// For |x|: whether it is at most 1/2, the arcsine there, and beyond the arccosine: `2 asin(sqrt((1 - x) / 2))`.
fn arcs<M: Floats>(m: &mut M, size: M::F) -> (M::P, M::F, M::F) {
    let (half, one) = (m.float(0.5), m.float(1.0));
    let beyond = m.less(half, size);
    let is_small = m.not(beyond);
    let near = odd(m, size, &ASIN);
    let rest = m.sub(one, size);
    let rest = m.mul(rest, half);
    let root = m.sqrt(rest);
    let far = odd(m, root, &ASIN);
    let far = m.add(far, far);
    (is_small, near, far)
}

/// Inverse sine.
pub fn asin<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let size = m.abs(x);
    let (is_small, near, far) = arcs(m, size);
    let quarter = m.float(FRAC_PI_2);
    let far = m.sub(quarter, far);
    let result = m.select(is_small, near, far);
    m.copy_sign(x, result)
}

/// Inverse cosine.
pub fn acos<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let size = m.abs(x);
    let (is_small, near, far) = arcs(m, size);
    let (quarter, half, zero) = (m.float(FRAC_PI_2), m.float(PI), m.float(0.0));
    // The part of pi/2 and of pi that f32 leaves out: the results near them would miss it.
    let (rest_of_quarter, rest_of_half) = (
        m.float((std::f64::consts::FRAC_PI_2 - FRAC_PI_2 as f64) as f32),
        m.float((std::f64::consts::PI - PI as f64) as f32),
    );
    let signed = m.copy_sign(x, near);
    let near = m.sub(signed, rest_of_quarter);
    let near = m.sub(quarter, near);
    let reversed = m.sub(far, rest_of_half);
    let reversed = m.sub(half, reversed);
    let is_negative = m.less(x, zero);
    let far = m.select(is_negative, reversed, far);
    m.select(is_small, near, far)
}

/// Inverse tangent.
pub fn atan<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (size, one, quarter) = (m.abs(x), m.float(1.0), m.float(FRAC_PI_2));
    let is_large = m.less(one, size);
    let inverse = m.div(one, size);
    let reduced = m.select(is_large, inverse, size);
    let arc = odd(m, reduced, &ATAN);
    let rest = m.sub(quarter, arc);
    let result = m.select(is_large, rest, arc);
    m.copy_sign(x, result)
}

/// Above this, `x^2 + 1` rounds to `x^2` and `log(2 x)` is the inverse of sinh and cosh to less than half a unit.
const LARGE: f32 = 16_384.0;

/// Inverse hyperbolic sine.
pub fn asinh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (size, one, large) = (m.abs(x), m.float(1.0), m.float(LARGE));
    let bounded = m.min(size, large);
    let square = m.mul(bounded, bounded);
    let sum = m.add(square, one);
    let root = m.sqrt(sum);
    let bottom = m.add(root, one);
    let bent = m.div(square, bottom);
    let argument = m.add(bounded, bent);
    let near = log1p(m, argument);
    let far = log(m, size);
    let ln_2 = m.float(LN_2);
    let far = m.add(far, ln_2);
    let is_large = m.less(large, size);
    let result = m.select(is_large, far, near);
    m.copy_sign(x, result)
}

/// Inverse hyperbolic cosine; NaN below 1.
pub fn acosh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (one, two, large) = (m.float(1.0), m.float(2.0), m.float(LARGE));
    let bounded = m.min(x, large);
    let above = m.sub(bounded, one);
    let sum = m.add(above, two);
    let product = m.mul(above, sum);
    let root = m.sqrt(product);
    let argument = m.add(above, root);
    let near = log1p(m, argument);
    let far = log(m, x);
    let ln_2 = m.float(LN_2);
    let far = m.add(far, ln_2);
    let is_large = m.less(large, x);
    let result = m.select(is_large, far, near);
    let (below, nan) = (m.less(x, one), m.float(f32::NAN));
    m.select(below, nan, result)
}

/// Inverse hyperbolic tangent.
pub fn atanh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (size, one, half) = (m.abs(x), m.float(1.0), m.float(0.5));
    let double = m.add(size, size);
    let rest = m.sub(one, size);
    let ratio = m.div(double, rest);
    let result = log1p(m, ratio);
    let result = m.mul(result, half);
    m.copy_sign(x, result)
}
