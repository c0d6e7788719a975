//! Exact remainders of floats, in f64.

use super::Floats;

/// `a - b trunc(a / b)`, exactly: the sign of `a`. NaN where `b` is 0 or `a` infinite.
pub fn remainder<M: Floats>(m: &mut M, a: M::F, b: M::F) -> M::F {
    let (a_size, b_size) = (m.abs(a), m.abs(b));
    let (wide_a, wide_b) = (m.widen(a_size), m.widen(b_size));
    let (one, none, infinity) = (m.double(1.0), m.double(0.0), m.double(f64::INFINITY));
    // NaN and divisors of 0 never get below: the loop is not for them.
    let has_steps = m.less_double(none, wide_b);
    // Below every rounding of a quotient, so that a step never takes too much; the last step is one whole `b`.
    let shy = m.double(1.0 - f64::EPSILON);
    let rest = m.repeat_double(
        wide_a,
        |m, rest| {
            let below = m.less_double(rest, wide_b);
            let not_below = m.not(below);
            let is_finite = m.less_double(rest, infinity);
            let goes_on = m.both(not_below, is_finite);
            m.both(goes_on, has_steps)
        },
        |m, rest| {
            let quotient = m.div_double(rest, wide_b);
            let quotient = m.mul_double(quotient, shy);
            // At most 21 digits of the quotient at a time: their product with the 24 digits of `b` is exact.
            let whole = m.truncate_double(quotient);
            let high = m.high_word(whole);
            let zero = m.double(0.0);
            let head = m.with_high_word(zero, high);
            let is_less = m.less_double(head, one);
            let steps = m.select_double(is_less, one, head);
            let negative = m.sub_double(zero, steps);
            m.fma_double(negative, wide_b, rest)
        },
    );
    let rest = m.narrow(rest);
    let rest = m.copy_sign(a, rest);
    let (zero, infinity, nan) = (m.float(0.0), m.float(f32::INFINITY), m.float(f32::NAN));
    // Infinite divisors leave `a` as it is.
    let (a_is_finite, b_is_nonzero) = (m.less(a_size, infinity), m.less(zero, b_size));
    let exists = m.both(a_is_finite, b_is_nonzero);
    m.select(exists, rest, nan)
}

/// The remainder moved by one `b` where it has not the sign of `b`.
pub fn modulo<M: Floats>(m: &mut M, a: M::F, b: M::F) -> M::F {
    let rest = remainder(m, a, b);
    let zero = m.float(0.0);
    let moved = m.add(rest, b);
    let (rest_below, b_below) = (m.less(rest, zero), m.less(b, zero));
    let (rest_above, b_above) = (m.less(zero, rest), m.less(zero, b));
    let (down, up) = (m.both(rest_below, b_above), m.both(rest_above, b_below));
    let differs = m.either(down, up);
    m.select(differs, moved, rest)
}
