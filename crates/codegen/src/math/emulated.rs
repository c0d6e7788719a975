//! The functions on the CPU, measured against f64 over the whole range of f32.

use super::*;

/// f32 arithmetic of the CPU. `drift` is how far the approximate instructions are off, in units of the last place.
struct Cpu {
    drift: i32,
}

impl Floats for Cpu {
    type F = f32;
    type D = f64;
    type W = i32;
    type P = bool;

    fn float(&mut self, value: f32) -> f32 {
        value
    }
    fn double(&mut self, value: f64) -> f64 {
        value
    }
    fn word(&mut self, value: i32) -> i32 {
        value
    }
    fn add(&mut self, a: f32, b: f32) -> f32 {
        a + b
    }
    fn sub(&mut self, a: f32, b: f32) -> f32 {
        a - b
    }
    fn mul(&mut self, a: f32, b: f32) -> f32 {
        a * b
    }
    fn fma(&mut self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    fn div(&mut self, a: f32, b: f32) -> f32 {
        a / b
    }
    fn sqrt(&mut self, a: f32) -> f32 {
        a.sqrt()
    }
    fn abs(&mut self, a: f32) -> f32 {
        a.abs()
    }
    fn min(&mut self, a: f32, b: f32) -> f32 {
        if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }
    }
    fn max(&mut self, a: f32, b: f32) -> f32 {
        if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
    }
    fn copy_sign(&mut self, sign: f32, magnitude: f32) -> f32 {
        magnitude.copysign(sign)
    }
    fn exp2_approx(&mut self, a: f32) -> f32 {
        let exact = f64::from(a).exp2() as f32;
        if exact.is_finite() && exact > f32::MIN_POSITIVE && exact < f32::MAX / 2.0 && a != 0.0 {
            f32::from_bits((exact.to_bits() as i32 + self.drift) as u32)
        } else {
            exact
        }
    }
    fn exp2_flushed(&mut self, a: f32) -> f32 {
        let power = self.exp2_approx(if a.is_subnormal() { 0.0 } else { a });
        if power.is_subnormal() { 0.0 } else { power }
    }
    fn inverse_flushed(&mut self, a: f32) -> f32 {
        let exact = 1.0 / a;
        let drift = self.drift.signum();
        if exact.is_subnormal() {
            0.0
        } else if exact.is_normal() {
            f32::from_bits((exact.to_bits() as i32 + drift) as u32)
        } else {
            exact
        }
    }
    fn truncate(&mut self, a: f32) -> f32 {
        a.trunc()
    }
    fn less(&mut self, a: f32, b: f32) -> bool {
        a < b
    }
    fn equal(&mut self, a: f32, b: f32) -> bool {
        a == b
    }
    fn both(&mut self, a: bool, b: bool) -> bool {
        a && b
    }
    fn either(&mut self, a: bool, b: bool) -> bool {
        a || b
    }
    fn not(&mut self, a: bool) -> bool {
        !a
    }
    fn select(&mut self, cond: bool, a: f32, b: f32) -> f32 {
        if cond { a } else { b }
    }
    fn bits(&mut self, a: f32) -> i32 {
        a.to_bits() as i32
    }
    fn of_bits(&mut self, a: i32) -> f32 {
        f32::from_bits(a as u32)
    }
    fn float_of_word(&mut self, a: i32) -> f32 {
        a as f32
    }
    fn add_word(&mut self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    fn sub_word(&mut self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    fn and_word(&mut self, a: i32, b: i32) -> i32 {
        a & b
    }
    fn shift_left(&mut self, a: i32, count: u32) -> i32 {
        a << count
    }
    fn shift_right(&mut self, a: i32, count: u32) -> i32 {
        a >> count
    }
    fn is_nonzero(&mut self, a: i32) -> bool {
        a != 0
    }
    fn widen(&mut self, a: f32) -> f64 {
        f64::from(a)
    }
    fn narrow(&mut self, a: f64) -> f32 {
        a as f32
    }
    fn add_double(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }
    fn sub_double(&mut self, a: f64, b: f64) -> f64 {
        a - b
    }
    fn mul_double(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }
    fn fma_double(&mut self, a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
    fn div_double(&mut self, a: f64, b: f64) -> f64 {
        a / b
    }
    fn round_double(&mut self, a: f64) -> f64 {
        a.round_ties_even()
    }
    fn truncate_double(&mut self, a: f64) -> f64 {
        a.trunc()
    }
    fn less_double(&mut self, a: f64, b: f64) -> bool {
        a < b
    }
    fn select_double(&mut self, cond: bool, a: f64, b: f64) -> f64 {
        if cond { a } else { b }
    }
    fn word_of_double(&mut self, a: f64) -> i32 {
        a as i64 as i32
    }
    fn double_of_word(&mut self, a: i32) -> f64 {
        f64::from(a)
    }
    fn high_word(&mut self, a: f64) -> i32 {
        (a.to_bits() >> 32) as i32
    }
    fn with_high_word(&mut self, a: f64, high: i32) -> f64 {
        f64::from_bits(u64::from(high as u32) << 32 | (a.to_bits() & 0xFFFF_FFFF))
    }
    fn repeat_double(
        &mut self,
        start: f64,
        mut again: impl FnMut(&mut Self, f64) -> bool,
        mut step: impl FnMut(&mut Self, f64) -> f64,
    ) -> f64 {
        let mut value = start;
        while again(self, value) {
            value = step(self, value);
        }
        value
    }
}

/// How far `found` is from `exact`, in units of the last place of f32 there; subnormals count as whole units.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_nan() || found.is_nan() {
        return if rounded.is_nan() && found.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if rounded.is_infinite() || found.is_infinite() {
        return if rounded == found { 0.0 } else { f64::INFINITY };
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).log2().floor() as i32;
    (f64::from(found) - exact).abs() / 2f64.powi(exponent - 23)
}

/// Every 4099th f32 of both signs, the special ones, and the neighbourhood of 1.
fn samples() -> impl Iterator<Item = f32> {
    let special = [0.0, 1.0, 0.5, 2.0, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, f32::NAN, 88.7, 89.0, 103.9, 1e-42];
    let near_one = (-2000..2000).map(|i| f32::from_bits((1.0f32.to_bits() as i32 + i) as u32));
    (0..0x7F80_0000u32).step_by(4099).map(f32::from_bits).chain(special).chain(near_one).flat_map(|x| [x, -x])
}

fn worst(f: impl Fn(&mut Cpu, f32) -> f32, exact: impl Fn(f64) -> f64, limit: f32) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for drift in [-2, 0, 2] {
        let mut cpu = Cpu { drift };
        for x in samples().filter(|x| !(x.abs() > limit && x.is_finite())) {
            let off = ulps(f(&mut cpu, x), exact(f64::from(x)));
            if off > worst.0 {
                worst = (off, x);
            }
        }
    }
    worst
}

macro_rules! bounds {
    ($( $name:ident: $f:expr, $exact:expr, below $limit:expr, within $ulps:literal; )+) => { $(
        #[test]
        fn $name() {
            let (off, at) = worst(|m, x| $f(m, x), $exact, $limit);
            assert!(off <= $ulps, "{} is off by {off:.2} units at {at:e}", stringify!($name));
        }
    )+ };
}

/// `erf` in f64: the oracle's own, through the op table.
fn erf_f64(x: f64) -> f64 {
    let op = gable_ir::Op::Erf(gable_ir::ops::Erf {});
    gable_ir::ops::scalar_map(&op, gable_tensor::DType::F64, &[x.into()]).expect("a map").as_f64()
}

/// `1 - erf(x)` without cancellation: far out by the continued fraction (Abramowitz and Stegun 7.1.14), from the inside out.
fn erfc_f64(x: f64) -> f64 {
    if x < 2.0 {
        return 1.0 - erf_f64(x);
    }
    let fraction = (1..200).rev().fold(x, |inner, n| x + 0.5 * f64::from(n) / inner);
    (-x * x).exp() / (std::f64::consts::PI.sqrt() * fraction)
}

fn acosh_f64(x: f64) -> f64 {
    // The library's loses digits near 1.
    if x < 1.0 {
        f64::NAN
    } else if x.is_infinite() {
        x
    } else {
        (x - 1.0 + ((x - 1.0) * (x + 1.0)).sqrt()).ln_1p()
    }
}

fn asinh_f64(x: f64) -> f64 {
    let a = x.abs();
    if a.is_infinite() { x } else { (a + a * a / (1.0 + (1.0 + a * a).sqrt())).ln_1p().copysign(x) }
}

fn atanh_f64(x: f64) -> f64 {
    (0.5 * (2.0 * x.abs() / (1.0 - x.abs())).ln_1p()).copysign(x)
}

bounds! {
    exp_error: exp, f64::exp, below f32::INFINITY, within 4.0;
    log_error: log, f64::ln, below f32::INFINITY, within 2.0;
    sigmoid_error: sigmoid, |x: f64| 1.0 / (1.0 + (-x).exp()), below f32::INFINITY, within 7.0;
    tanh_error: tanh, f64::tanh, below f32::INFINITY, within 3.0;
    sinh_error: sinh, f64::sinh, below f32::INFINITY, within 7.0;
    cosh_error: cosh, f64::cosh, below f32::INFINITY, within 5.0;
    erf_error: erf, erf_f64, below f32::INFINITY, within 2.5;
    sin_error: sin, f64::sin, below 1e13, within 1.5;
    cos_error: cos, f64::cos, below 1e13, within 1.5;
    tan_error: tan, f64::tan, below 1e13, within 3.0;
    asin_error: asin, f64::asin, below f32::INFINITY, within 3.0;
    acos_error: acos, f64::acos, below f32::INFINITY, within 3.0;
    atan_error: atan, f64::atan, below f32::INFINITY, within 3.0;
    asinh_error: asinh, asinh_f64, below f32::INFINITY, within 3.0;
    acosh_error: acosh, acosh_f64, below f32::INFINITY, within 3.0;
    atanh_error: atanh, atanh_f64, below f32::INFINITY, within 3.0;
}

/// A narrow function, and the same in f64.
type Narrow = (&'static str, fn(&mut Cpu, f32) -> f32, fn(f64) -> f64);

#[test]
fn narrow_functions_are_off_by_little_of_every_16_bit_number() {
    let functions: [Narrow; 4] = [
        ("sigmoid", narrow::sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        ("silu", narrow::silu, |x| x / (1.0 + (-x).exp())),
        ("gelu_tanh", narrow::gelu_tanh, |x| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x / (1.0 + (-2.0 * u).exp())
        }),
        ("gelu_erf", narrow::gelu_erf, |x| x * 0.5 * erfc_f64(-x / std::f64::consts::SQRT_2)),
    ];
    for (name, function, exact) in functions {
        for drift in [-2, 0, 2] {
            let mut cpu = Cpu { drift };
            for bits in 0..=u16::MAX {
                for x in [half::bf16::from_bits(bits).to_f32(), half::f16::from_bits(bits).to_f32()] {
                    if !x.is_finite() {
                        continue;
                    }
                    let (found, exact) = (f64::from(function(&mut cpu, x)), exact(f64::from(x)));
                    let off = (found - exact).abs();
                    let allowed = 2f64.powi(-14) * exact.abs() + 2f64.powi(-134);
                    assert!(off <= allowed, "{name}({x:e}) is {found:e}, exactly {exact:e}");
                }
            }
            assert!(function(&mut cpu, f32::NAN).is_nan(), "{name}");
        }
    }
}

#[test]
fn pow_error_and_special_cases() {
    let edges = [0.0f32, 0.5, 1.0, 2.0, 3.0, 7.0, 1.5, 0.1, 10.0, 1e-40, 1e30, 33.0, f32::INFINITY, f32::NAN, 127.5];
    let edges: Vec<f32> = edges.iter().flat_map(|&x| [x, -x]).collect();
    for drift in [-2, 0, 2] {
        let mut cpu = Cpu { drift };
        for a in samples().step_by(97).chain(edges.iter().copied()) {
            for &b in &edges {
                let found = pow(&mut cpu, a, b);
                let off = ulps(found, f64::from(a).powf(f64::from(b)));
                assert!(off <= 3.0, "{a:e} to the power {b} is {found:e}, off by {off:.2}");
            }
        }
    }
}

#[test]
fn remainders_are_exact() {
    let mut cpu = Cpu { drift: 0 };
    let divisors = [1.0f32, 3.0, 0.1, 1e-40, 1e30, 7.7, f32::INFINITY, 0.0, f32::NAN];
    for a in samples().step_by(31) {
        for b in divisors.into_iter().flat_map(|b| [b, -b]) {
            let (found, exact) = (remainder(&mut cpu, a, b), a % b);
            assert!(found == exact || (found.is_nan() && exact.is_nan()), "{a:e} % {b:e} = {found:e}, not {exact:e}");
            let found = modulo(&mut cpu, a, b);
            assert!(found.is_nan() || found == 0.0 || (found < 0.0) == (b < 0.0), "{a:e} mod {b:e} = {found:e}");
        }
    }
}
