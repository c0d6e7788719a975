//! Sine, cosine and tangent.

use super::{Floats, odd, polynomial};

/// `sin(r) = r + r^3 P(r^2)` for |r| <= pi/4.
const SIN: [f32; 4] = [-1.666_666_7e-1, 8.333_329e-3, -1.983_931_3e-4, 2.718_121_6e-6];

/// `cos(r) = 1 - r^2/2 + r^4 P(r^2)` for |r| <= pi/4.
const COS: [f32; 4] = [4.166_666_8e-2, -1.388_888_3e-3, 2.479_946e-5, -2.720_575_5e-7];

/// pi/2 in three parts of f64, each the rest of the ones before, rounded: 159 bits.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591833e-33];

/// The quarter turns in `x`, and sine and cosine of what is left.
///
/// Subtracting the parts of pi/2 leaves the rest to f32 accuracy for |x| up to 10^13. Beyond 10^15 neighbouring numbers of
/// f32 are millions of turns apart; there the rest is clamped, so that the results keep to their bounds.
fn turned<M: Floats>(m: &mut M, x: M::F) -> (M::W, M::F, M::F) {
    let wide = m.widen(x);
    let per_turn = m.double(std::f64::consts::FRAC_2_PI);
    let turns = m.mul_double(wide, per_turn);
    let turns = m.round_double(turns);
    let mut rest = wide;
    for part in HALF_PI {
        let part = m.double(-part);
        rest = m.fma_double(turns, part, rest);
    }
    // A little more than pi/4, which the rounded number of turns can leave.
    let (rest, limit) = (m.narrow(rest), m.float(0.8));
    let rest = m.min(rest, limit);
    let lower = m.float(-0.8);
    let rest = m.max(rest, lower);
    let quarter = m.word_of_double(turns);
    let sine = odd(m, rest, &SIN);
    let square = m.mul(rest, rest);
    let tail = polynomial(m, square, &COS);
    let fourth = m.mul(square, square);
    let (minus_half, one) = (m.float(-0.5), m.float(1.0));
    let bend = m.mul(tail, fourth);
    let bend = m.fma(square, minus_half, bend);
    let cosine = m.add(one, bend);
    (quarter, sine, cosine)
}

/// The sine of a number of quarter turns and a rest.
fn sine_of<M: Floats>(m: &mut M, quarter: M::W, sine: M::F, cosine: M::F) -> M::F {
    let odd_quarter = m.and_word(quarter, 1);
    let is_odd = m.is_nonzero(odd_quarter);
    let value = m.select(is_odd, cosine, sine);
    let zero = m.float(0.0);
    let negative = m.sub(zero, value);
    let second_half = m.and_word(quarter, 2);
    let is_second = m.is_nonzero(second_half);
    m.select(is_second, negative, value)
}

/// Sine of radians.
pub fn sin<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (quarter, sine, cosine) = turned(m, x);
    sine_of(m, quarter, sine, cosine)
}

/// Cosine of radians: the sine a quarter turn on.
pub fn cos<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (quarter, sine, cosine) = turned(m, x);
    let one = m.word(1);
    let next = m.add_word(quarter, one);
    sine_of(m, next, sine, cosine)
}

/// Tangent of radians.
pub fn tan<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (quarter, sine, cosine) = turned(m, x);
    let zero = m.float(0.0);
    let odd_quarter = m.and_word(quarter, 1);
    let is_odd = m.is_nonzero(odd_quarter);
    let negative = m.sub(zero, cosine);
    let top = m.select(is_odd, negative, sine);
    let bottom = m.select(is_odd, sine, cosine);
    m.div(top, bottom)
}
