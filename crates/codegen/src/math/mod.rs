//! Functions of f32 that the hardware lacks, or has only roughly, as sequences of instructions.
//!
//! Each is written once over [`Floats`], a machine with f32, f64, words and predicates. The kernel builder is such
//! a machine, and so is the CPU in the tests, which measure every function against f64 over the whole range. The
//! coefficients are minimax fits (Lawson's iteration in f64) over the intervals named beside them.
//!
//! Largest errors, in units of the last place of f32, with the hardware's `ex2` and `rsqrt` taken as off by 2:
//! see the table in `docs/codegen.md`, which the tests below assert.

mod emit;
#[cfg(test)]
mod emulated;
mod exponential;
mod inverse;
pub mod narrow;
mod remainder;
mod trigonometric;

pub use exponential::{cosh, erf, exp, log, pow, sigmoid, sinh, tanh};
pub use inverse::{acos, acosh, asin, asinh, atan, atanh};
pub use remainder::{modulo, remainder};
pub use trigonometric::{cos, sin, tan};

/// What the functions are written with. Comparisons with NaN are false.
pub trait Floats {
    /// An f32.
    type F: Copy;
    /// An f64.
    type D: Copy;
    /// A 32-bit word.
    type W: Copy;
    /// A truth value.
    type P: Copy;

    /// A constant.
    fn float(&mut self, value: f32) -> Self::F;
    /// A constant.
    fn double(&mut self, value: f64) -> Self::D;
    /// A constant.
    fn word(&mut self, value: i32) -> Self::W;

    /// `a + b`
    fn add(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(&mut self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a / b`, rounded to nearest.
    fn div(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// Square root, rounded to nearest.
    fn sqrt(&mut self, a: Self::F) -> Self::F;
    /// `|a|`
    fn abs(&mut self, a: Self::F) -> Self::F;
    /// The smaller, or NaN where one is NaN.
    fn min(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// The larger, or NaN where one is NaN.
    fn max(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// The magnitude of the second with the sign of the first.
    fn copy_sign(&mut self, sign: Self::F, magnitude: Self::F) -> Self::F;
    /// `2^a`, off by 2 units in the last place at most.
    fn exp2_approx(&mut self, a: Self::F) -> Self::F;
    /// The same; subnormals are zero. Without them the hardware needs one instruction, not four.
    fn exp2_flushed(&mut self, a: Self::F) -> Self::F;
    /// `1 / a`, off by 1 unit in the last place at most; subnormals are zero.
    fn inverse_flushed(&mut self, a: Self::F) -> Self::F;
    /// Toward zero to a whole number.
    fn truncate(&mut self, a: Self::F) -> Self::F;
    /// `a < b`
    fn less(&mut self, a: Self::F, b: Self::F) -> Self::P;
    /// `a == b`
    fn equal(&mut self, a: Self::F, b: Self::F) -> Self::P;
    /// Both hold.
    fn both(&mut self, a: Self::P, b: Self::P) -> Self::P;
    /// One holds, or both.
    fn either(&mut self, a: Self::P, b: Self::P) -> Self::P;
    /// It does not hold.
    fn not(&mut self, a: Self::P) -> Self::P;
    /// `a` where the condition holds, else `b`.
    fn select(&mut self, cond: Self::P, a: Self::F, b: Self::F) -> Self::F;
    /// The bits of an f32.
    fn bits(&mut self, a: Self::F) -> Self::W;
    /// The f32 of these bits.
    fn of_bits(&mut self, a: Self::W) -> Self::F;
    /// A signed word as f32.
    fn float_of_word(&mut self, a: Self::W) -> Self::F;

    /// `a + b`, wrapping.
    fn add_word(&mut self, a: Self::W, b: Self::W) -> Self::W;
    /// `a - b`, wrapping.
    fn sub_word(&mut self, a: Self::W, b: Self::W) -> Self::W;
    /// `a & b`
    fn and_word(&mut self, a: Self::W, b: i32) -> Self::W;
    /// `a << count`
    fn shift_left(&mut self, a: Self::W, count: u32) -> Self::W;
    /// `a >> count` with copies of the sign.
    fn shift_right(&mut self, a: Self::W, count: u32) -> Self::W;
    /// `a != 0`
    fn is_nonzero(&mut self, a: Self::W) -> Self::P;

    /// Exact.
    fn widen(&mut self, a: Self::F) -> Self::D;
    /// Rounded to nearest.
    fn narrow(&mut self, a: Self::D) -> Self::F;
    /// `a + b`
    fn add_double(&mut self, a: Self::D, b: Self::D) -> Self::D;
    /// `a - b`
    fn sub_double(&mut self, a: Self::D, b: Self::D) -> Self::D;
    /// `a * b`
    fn mul_double(&mut self, a: Self::D, b: Self::D) -> Self::D;
    /// `a * b + c`, rounded once.
    fn fma_double(&mut self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// `a / b`
    fn div_double(&mut self, a: Self::D, b: Self::D) -> Self::D;
    /// To the nearest whole number, ties to even.
    fn round_double(&mut self, a: Self::D) -> Self::D;
    /// Toward zero to a whole number.
    fn truncate_double(&mut self, a: Self::D) -> Self::D;
    /// `a < b`
    fn less_double(&mut self, a: Self::D, b: Self::D) -> Self::P;
    /// `a` where the condition holds, else `b`.
    fn select_double(&mut self, cond: Self::P, a: Self::D, b: Self::D) -> Self::D;
    /// The low word of a whole number, clamped to 64 bits with sign.
    fn word_of_double(&mut self, a: Self::D) -> Self::W;
    /// A signed word as f64.
    fn double_of_word(&mut self, a: Self::W) -> Self::D;
    /// The word with sign and exponent.
    fn high_word(&mut self, a: Self::D) -> Self::W;
    /// The same f64 with another word of sign and exponent.
    fn with_high_word(&mut self, a: Self::D, high: Self::W) -> Self::D;

    /// Repeats `step` on a value of f64 as long as the predicate that it gives first holds.
    fn repeat_double(
        &mut self,
        start: Self::D,
        again: impl FnMut(&mut Self, Self::D) -> Self::P,
        step: impl FnMut(&mut Self, Self::D) -> Self::D,
    ) -> Self::D;
}

/// `c[0] + c[1] x + c[2] x^2 + ..` by Horner's rule.
fn polynomial<M: Floats>(m: &mut M, x: M::F, coefficients: &[f32]) -> M::F {
    let (&last, others) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = m.float(last);
    for &coefficient in others.iter().rev() {
        let coefficient = m.float(coefficient);
        sum = m.fma(sum, x, coefficient);
    }
    sum
}

/// `x + x^3 P(x^2)`: an odd function whose slope at 0 is 1.
fn odd<M: Floats>(m: &mut M, x: M::F, coefficients: &[f32]) -> M::F {
    let square = m.mul(x, x);
    let tail = polynomial(m, square, coefficients);
    let cube = m.mul(square, x);
    m.fma(tail, cube, x)
}
