//! Activations whose results are rounded to 16 bits or fewer at once: a few instructions each.
//!
//! Off by at most 2^-14 of the exact result (an eighth of half a unit of f16, a 64th of bf16's) and 2^-119 (1.5e-36: an
//! activation whose share of its argument is below the smallest normal f32 is zero); the tests measure it over every f16 and
//! bf16. The full functions are an order of magnitude longer, and a contraction would wait for them.

use super::Floats;

/// `log2(e)`
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// `1 / (1 + 2^a)`; zero where that is below the smallest normal f32. An infinite power has the inverse zero.
fn inverse_of_one_plus_power<M: Floats>(m: &mut M, a: M::F) -> M::F {
    let one = m.float(1.0);
    let power = m.exp2_flushed(a);
    let sum = m.add(one, power);
    m.inverse_flushed(sum)
}

/// `1 / (1 + exp(-x))`
pub fn sigmoid<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let scale = m.float(-LOG2_E);
    let power = m.mul(x, scale);
    inverse_of_one_plus_power(m, power)
}

/// `x sigmoid(x)`
pub fn silu<M: Floats>(m: &mut M, x: M::F) -> M::F {
    let share = sigmoid(m, x);
    m.mul(x, share)
}

/// `0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u))` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`.
pub fn gelu_tanh<M: Floats>(m: &mut M, x: M::F) -> M::F {
    // -2 log2(e) sqrt(2 / pi), and the same by 0.044715.
    let (linear, cubic) = (m.float(-2.302_208_2), m.float(-0.102_943_24));
    let square = m.mul(x, x);
    let bent = m.fma(square, cubic, linear);
    let power = m.mul(x, bent);
    let share = inverse_of_one_plus_power(m, power);
    m.mul(x, share)
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
    let density = m.exp2_flushed(power);
    // x Phi(x) = max(x, 0) - |x| Phi(-|x|).
    let beyond = m.mul(density, tail);
    let zero = m.float(0.0);
    let (negative, positive) = (m.sub(zero, size), m.max(x, zero));
    m.fma(negative, beyond, positive)
}
