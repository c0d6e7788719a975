//! Activations whose results are rounded to 16 bits or fewer at once: a few instructions each.
//!
//! Off by at most 2^-14 of the exact result (an eighth of half a unit of f16, a 64th of bf16's) and 2^-134 (half of the
//! smallest bf16); the tests measure it over every f16 and bf16. The full functions are an order of magnitude longer, and a
//! contraction would wait for them.

use super::Floats;

/// `log2(e)`
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Subtracted from exponents, so that shares down to the smallest bf16 are inverses of finite powers.
const DOWN: f32 = 16.0;

/// `x / (1 + 2^(a + DOWN))`. The hardware's short inverse has no subnormals; so it is taken of all by `2^-DOWN`, and of `x` too. An
/// infinite power has the inverse zero.
fn share_of<M: Floats>(m: &mut M, x: M::F, a: M::F) -> M::F {
    let scale = m.float((-DOWN).exp2());
    let power = m.exp2_flushed(a);
    let sum = m.add(scale, power);
    let inverse = m.inverse_flushed(sum);
    let scaled = m.mul(x, scale);
    m.mul(scaled, inverse)
}

/// `x / (1 + exp(-y))`
fn logistic_of<M: Floats>(m: &mut M, x: M::F, y: M::F) -> M::F {
    let (scale, down) = (m.float(-LOG2_E), m.float(-DOWN));
    let power = m.fma(y, scale, down);
    share_of(m, x, power)
}

/// `1 / (1 + exp(-x))`
pub fn sigmoid<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let one = m.float(1.0);
    logistic_of(m, one, x)
}

/// `x sigmoid(x)`
pub fn silu<M: Floats>(m: &mut M, x: M::F) -> M::F {
    logistic_of(m, x, x)
}

/// `0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u))` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`.
pub fn gelu_tanh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    // -2 log2(e) sqrt(2 / pi), and the same by 0.044715.
    let (linear, cubic) = (m.float(-2.302_208_2), m.float(-0.102_943_24));
    let square = m.mul(x, x);
    let bent = m.fma(square, cubic, linear);
    let down = m.float(-DOWN);
    let power = m.fma(x, bent, down);
    share_of(m, x, power)
}

/// The normal distribution beyond `a >= 0` is `exp(-a^2 / 2) t P(t)` with `t = 1 / (1 + a / 4)`; a fit by Lawson's
/// iteration of the relative error over `a` up to 13, which is 4.4e-5.
const TAIL: [f32; 5] = [0.101_386_73, 0.080_216_85, 0.181_230_77, -0.104_848_77, 0.241_996_88];

/// `x Phi(x)` with the normal distribution `Phi`.
pub fn gelu_erf<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let (quarter, one) = (m.float(0.25), m.float(1.0));
    let size = m.abs(x);
    let below = m.fma(size, quarter, one);
    let t = m.inverse_flushed(below);
    let tail = super::polynomial(m, t, &TAIL);
    let tail = m.mul(tail, t);
    let scale = m.float(-0.5 * LOG2_E);
    let scaled = m.mul(size, scale);
    let power = m.mul(scaled, size);
    let density = m.exp2_approx(power);
    // x Phi(x) = max(x, 0) - |x| Phi(-|x|).
    let beyond = m.mul(density, tail);
    let zero = m.float(0.0);
    let (negative, positive) = (m.sub(zero, size), m.max(x, zero));
    m.fma(negative, beyond, positive)
}
