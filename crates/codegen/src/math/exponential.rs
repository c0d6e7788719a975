//! Exponential, logarithm, power, and what is made of them.

use super::{Floats, odd, polynomial};
use std::f32::consts::{LN_2, LOG2_E};

/// `exp(x) 2^-halvings`, without overflow before the result has it.
fn exp_scaled<M: Floats>(m: &mut M, x: M::F, halvings: f32) -> M::F {
    // Beyond these the result is 0 or infinite; within them the products below are finite.
    let (low, high) = (m.float(-110.0), m.float(100.0));
    let x = m.max(x, low);
    let x = m.min(x, high);
    // x log2(e) as a sum of two: the head goes to ex2, the tail is small enough for 1 + tail ln 2.
    let (log2_e, zero) = (m.float(LOG2_E), m.float(0.0));
    let head = m.mul(x, log2_e);
    let negative = m.sub(zero, head);
    let tail = m.fma(x, log2_e, negative);
    let rest_of_log2_e = m.float((std::f64::consts::LOG2_E - LOG2_E as f64) as f32);
    let tail = m.fma(x, rest_of_log2_e, tail);
    // Exact: a difference with a whole number has no finer digits than the head.
    let halvings = m.float(halvings);
    let head = m.sub(head, halvings);
    let power = m.exp2_approx(head);
    let ln_2 = m.float(LN_2);
    let scaled = m.mul(tail, ln_2);
    // Not power + power * scaled: infinity times a negative tail is NaN.
    let one = m.float(1.0);
    let factor = m.add(one, scaled);
    m.mul(power, factor)
}

/// `exp(x)`
pub fn exp<M: Floats>(m: &mut M, x: M::F) -> M::F {
    exp_scaled(m, x, 0.0)
}

/// `log(1 + f) = f - f^2/2 + f^3 P(f)` for f from sqrt(1/2) - 1 to sqrt(2) - 1.
const LOG: [f32; 9] = [
    3.333_331_3e-1,
    -2.500_001e-1,
    2.000_211_9e-1,
    -1.666_799_6e-1,
    1.421_955_2e-1,
    -1.240_558_9e-1,
    1.188_816_3e-1,
    -1.167_565_1e-1,
    6.746_638_6e-2,
];

/// Natural logarithm.
pub fn log<M: Floats>(m: &mut M, x: M::F) -> M::F {
    // Subnormals are scaled up first.
    let (smallest_normal, scale) = (m.float(f32::MIN_POSITIVE), m.float(8_388_608.0));
    let is_small = m.less(x, smallest_normal);
    let scaled = m.mul(x, scale);
    let normal = m.select(is_small, scaled, x);
    // x = 2^e (1 + f): adding the distance of 1 to sqrt(1/2) makes the exponent's bits round where f wants it.
    let bits = m.bits(normal);
    let sqrt_half = m.word(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let above = m.sub_word(bits, sqrt_half);
    let exponent_bits = m.and_word(above, 0xFF80_0000u32 as i32);
    let mantissa = m.sub_word(bits, exponent_bits);
    let exponent = m.shift_right(exponent_bits, 23);
    let mut exponent = m.float_of_word(exponent);
    let (shift, zero) = (m.float(23.0), m.float(0.0));
    let lowered = m.sub(exponent, shift);
    exponent = m.select(is_small, lowered, exponent);
    let mantissa = m.of_bits(mantissa);
    let one = m.float(1.0);
    let f = m.sub(mantissa, one);

    let tail = polynomial(m, f, &LOG);
    let minus_half = m.float(-0.5);
    let tail = m.fma(tail, f, minus_half);
    let square = m.mul(f, f);
    let tail = m.mul(tail, square);
    // ln 2 in two parts; the product of the first with a whole exponent is exact.
    const LN_2_HEAD: f32 = 0.693_359_4;
    let ln_2_tail = m.float((std::f64::consts::LN_2 - LN_2_HEAD as f64) as f32);
    let tail = m.fma(exponent, ln_2_tail, tail);
    let ln_2_head = m.float(LN_2_HEAD);
    let head = m.mul(exponent, ln_2_head);
    let sum = m.add(tail, f);
    let result = m.add(sum, head);

    let (infinity, nan) = (m.float(f32::INFINITY), m.float(f32::NAN));
    let is_infinite = m.equal(x, infinity);
    let result = m.select(is_infinite, infinity, result);
    let is_zero = m.equal(x, zero);
    let minus_infinity = m.float(f32::NEG_INFINITY);
    let result = m.select(is_zero, minus_infinity, result);
    let not_negative = m.less(x, zero);
    let not_negative = m.not(not_negative);
    let is_number = m.equal(x, x);
    let has_log = m.both(not_negative, is_number);
    m.select(has_log, result, nan)
}

/// `log(1 + u)` without loss near 0.
pub(super) fn log1p<M: Floats>(m: &mut M, u: M::F) -> M::F {
    let one = m.float(1.0);
    let sum = m.add(one, u);
    // What rounding took from 1 + u, to first order.
    let back = m.sub(sum, one);
    let lost = m.sub(u, back);
    let correction = m.div(lost, sum);
    let head = log(m, sum);
    let result = m.add(head, correction);
    let infinity = m.float(f32::INFINITY);
    let is_infinite = m.equal(sum, infinity);
    let result = m.select(is_infinite, infinity, result);
    let minus_one = m.float(-1.0);
    let is_pole = m.equal(u, minus_one);
    let minus_infinity = m.float(f32::NEG_INFINITY);
    m.select(is_pole, minus_infinity, result)
}

/// `1 / (1 + exp(-x))`, from the side where the exponential does not overflow.
pub fn sigmoid<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (zero, one) = (m.float(0.0), m.float(1.0));
    let size = m.abs(x);
    let negative = m.sub(zero, size);
    let power = exp(m, negative);
    let sum = m.add(one, power);
    let is_negative = m.less(x, zero);
    let top = m.select(is_negative, power, one);
    m.div(top, sum)
}

/// `tanh(x) = x + x^3 P(x^2)` for |x| < 0.625.
const TANH: [f32; 5] = [-3.333_328e-1, 1.333_144_2e-1, -5.373_971_5e-2, 2.063_908_6e-2, -5.704_986_4e-3];

/// Hyperbolic tangent.
pub fn tanh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let small = odd(m, x, &TANH);
    let (one, two) = (m.float(1.0), m.float(2.0));
    let size = m.abs(x);
    let double = m.add(size, size);
    let power = exp(m, double);
    let sum = m.add(power, one);
    let share = m.div(two, sum);
    let large = m.sub(one, share);
    let large = m.copy_sign(x, large);
    let limit = m.float(0.625);
    let is_small = m.less(size, limit);
    m.select(is_small, small, large)
}

/// `sinh(x) = x + x^3 P(x^2)` for |x| < 1.
const SINH: [f32; 4] = [1.666_666_7e-1, 8.333_35e-3, 1.983_616e-4, 2.816_951_3e-6];

/// Half of `exp(|x|)`, and half of its inverse.
fn half_powers<M: Floats>(m: &mut M, x: M::F) -> (M::F, M::F) {
    let size = m.abs(x);
    let half = exp_scaled(m, size, 1.0);
    let quarter = m.float(0.25);
    let inverse = m.div(quarter, half);
    (half, inverse)
}

/// Hyperbolic sine.
pub fn sinh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let small = odd(m, x, &SINH);
    let (half, inverse) = half_powers(m, x);
    let large = m.sub(half, inverse);
    let large = m.copy_sign(x, large);
    let (size, one) = (m.abs(x), m.float(1.0));
    let is_small = m.less(size, one);
    m.select(is_small, small, large)
}

/// Hyperbolic cosine.
pub fn cosh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (half, inverse) = half_powers(m, x);
    m.add(half, inverse)
}

/// `erf(x) = x + x P(x^2)` for |x| < 1.
const ERF: [f32; 7] =
    [1.283_791_7e-1, -3.761_262_6e-1, 1.128_358_54e-1, -2.685_381_1e-2, 5.188_327_7e-3, -8.010_192_5e-4, 7.853_858e-5];

/// `-log(erfc(x))` for x from 1 to 4.
const LOG_ERFC: [f32; 8] = [
    -1.884_666e-4,
    1.129_580_3,
    6.332_164e-1,
    1.084_220_9e-1,
    -2.521_033_4e-2,
    4.205_283e-3,
    -4.414_723_4e-4,
    2.169_759e-5,
];

/// Error function.
pub fn erf<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let square = m.mul(x, x);
    let tail = polynomial(m, square, &ERF);
    let small = m.fma(tail, x, x);
    // From 4 on, and before, erf rounds to 1.
    let (size, four) = (m.abs(x), m.float(4.0));
    let bounded = m.min(size, four);
    let exponent = polynomial(m, bounded, &LOG_ERFC);
    let (zero, one) = (m.float(0.0), m.float(1.0));
    let exponent = m.sub(zero, exponent);
    let power = exp(m, exponent);
    let large = m.sub(one, power);
    let large = m.copy_sign(x, large);
    let is_small = m.less(size, one);
    m.select(is_small, small, large)
}

/// `atanh(s) = s + s^3 P(s^2)` for s up to (sqrt(2) - 1) / (sqrt(2) + 1), in f64.
const ATANH_DOUBLE: [f64; 6] = [
    3.333_333_333_329_374_6e-1,
    2.000_000_002_607_919_5e-1,
    1.428_570_857_308_273_7e-1,
    1.111_168_532_034_898_7e-1,
    9.061_836_513_183_615e-2,
    8.409_744_631_489_854e-2,
];

/// Binary logarithm in f64 of a positive, finite f32.
fn log2_double<M: Floats>(m: &mut M, x: M::F) -> M::D {
    let wide = m.widen(x);
    let high = m.high_word(wide);
    let sqrt_half = m.word((std::f64::consts::FRAC_1_SQRT_2.to_bits() >> 32) as i32);
    let above = m.sub_word(high, sqrt_half);
    let exponent_bits = m.and_word(above, 0xFFF0_0000u32 as i32);
    let mantissa_high = m.sub_word(high, exponent_bits);
    let mantissa = m.with_high_word(wide, mantissa_high);
    let exponent = m.shift_right(exponent_bits, 20);
    let exponent = m.double_of_word(exponent);
    let one = m.double(1.0);
    let (top, bottom) = (m.sub_double(mantissa, one), m.add_double(mantissa, one));
    let s = m.div_double(top, bottom);
    let square = m.mul_double(s, s);
    let (&last, others) = ATANH_DOUBLE.split_last().expect("there are coefficients");
    let mut tail = m.double(last);
    for &coefficient in others.iter().rev() {
        let coefficient = m.double(coefficient);
        tail = m.fma_double(tail, square, coefficient);
    }
    let cube = m.mul_double(square, s);
    let atanh = m.fma_double(tail, cube, s);
    let scale = m.double(2.0 * std::f64::consts::LOG2_E);
    m.fma_double(atanh, scale, exponent)
}

/// `a` to the power `b`, with the special cases of IEEE 754.
pub fn pow<M: Floats>(m: &mut M, a: M::F, b: M::F) -> M::F {
    let (zero, one, infinity, nan) = (m.float(0.0), m.float(1.0), m.float(f32::INFINITY), m.float(f32::NAN));
    let size = m.abs(a);
    let log2 = log2_double(m, size);
    let wide_b = m.widen(b);
    let exponent = m.mul_double(wide_b, log2);
    // Beyond these the result is 0 or infinite.
    let (low, high) = (m.double(-200.0), m.double(200.0));
    let below = m.less_double(exponent, low);
    let exponent = m.select_double(below, low, exponent);
    let above = m.less_double(high, exponent);
    let exponent = m.select_double(above, high, exponent);
    let whole = m.round_double(exponent);
    let fraction = m.sub_double(exponent, whole);
    let fraction = m.narrow(fraction);
    let power = m.exp2_approx(fraction);
    // 2^whole in two factors, each within the range of f32.
    let whole = m.word_of_double(whole);
    let first = m.shift_right(whole, 1);
    let second = m.sub_word(whole, first);
    let bias = m.word(127);
    let mut result = power;
    for part in [first, second] {
        let biased = m.add_word(part, bias);
        let bits = m.shift_left(biased, 23);
        let factor = m.of_bits(bits);
        result = m.mul(result, factor);
    }

    // Zero and infinity: log2 above is for finite, positive numbers.
    let (is_zero, is_infinite) = (m.equal(size, zero), m.equal(size, infinity));
    let (b_is_negative, b_size) = (m.less(b, zero), m.abs(b));
    let pole = m.select(b_is_negative, infinity, zero);
    result = m.select(is_zero, pole, result);
    let limit = m.select(b_is_negative, zero, infinity);
    result = m.select(is_infinite, limit, result);
    let b_is_infinite = m.equal(b_size, infinity);
    let (grows, shrinks) = (m.less(one, size), m.less(size, one));
    let b_is_positive = m.not(b_is_negative);
    let (up, down) = (m.both(grows, b_is_positive), m.both(shrinks, b_is_negative));
    let is_up = m.either(up, down);
    let at_infinity = m.select(is_up, infinity, zero);
    result = m.select(b_is_infinite, at_infinity, result);
    let size_is_one = m.equal(size, one);
    let stays_one = m.both(b_is_infinite, size_is_one);
    result = m.select(stays_one, one, result);

    // Negative bases: the sign of odd powers, NaN for powers that are not whole.
    let truncated = m.truncate(b);
    let b_is_whole = m.equal(truncated, b);
    let half = m.float(0.5);
    let half_b = m.mul(b, half);
    let half_truncated = m.truncate(half_b);
    let b_is_even = m.equal(half_truncated, half_b);
    let b_is_not_even = m.not(b_is_even);
    let b_is_odd = m.both(b_is_whole, b_is_not_even);
    let signed = m.copy_sign(a, result);
    result = m.select(b_is_odd, signed, result);
    let a_is_negative = m.less(a, zero);
    let b_is_not_whole = m.not(b_is_whole);
    let a_is_finite = m.not(is_infinite);
    let has_no_root = m.both(a_is_negative, b_is_not_whole);
    let has_no_root = m.both(has_no_root, a_is_finite);
    result = m.select(has_no_root, nan, result);
    let (a_is_number, b_is_number) = (m.equal(a, a), m.equal(b, b));
    let numbers = m.both(a_is_number, b_is_number);
    result = m.select(numbers, result, nan);
    let (a_is_one, b_is_zero) = (m.equal(a, one), m.equal(b, zero));
    let always_one = m.either(a_is_one, b_is_zero);
    m.select(always_one, one, result)
}
