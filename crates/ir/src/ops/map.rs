//! Maps: the scalar function of each, and the shape rule, loop and cost that they share.
//!
//! Floats are computed in f64 and rounded once to the result's type; integers in i128 and wrapped. So the oracle of a
//! single map is correctly rounded (but for the few functions whose f64 library versions err in the last place, far
//! below an f32's).

use super::*;
use crate::composite::eval_decomposed;
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::{DType, Kind, Scalar, Tensor};

/// What operand types a map takes.
#[derive(Clone, Copy, PartialEq)]
enum Domain {
    Float,
    /// Integers and floats.
    Number,
    /// Integers and `bool`.
    Bits,
    Integer,
    Any,
}

impl Domain {
    fn has(self, dtype: DType) -> bool {
        match self {
            Domain::Float => dtype.is_float(),
            Domain::Number => dtype != DType::Bool,
            Domain::Bits => !dtype.is_float(),
            Domain::Integer => dtype.is_int(),
            Domain::Any => true,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Domain::Float => "a float",
            Domain::Number => "a number",
            Domain::Bits => "an integer or bool",
            Domain::Integer => "an integer",
            Domain::Any => "any type",
        }
    }
}

/// What hardware a map runs on, and how many operations one element takes there.
#[derive(Clone, Copy)]
enum Work {
    /// Additions, multiplications and the like, in the operand's type.
    Plain(f64),
    /// Special function unit operations, with as many plain ones around each.
    Special(f64),
}

fn infer_same(name: &str, domain: Domain, args: &[&Type]) -> Result<Type, OpError> {
    let first = args[0];
    if !domain.has(first.dtype) {
        return Err(OpError(format!("`{name}` takes {}, found {first}", domain.describe())));
    }
    for (position, arg) in args.iter().enumerate().skip(1) {
        if *arg != first {
            return Err(OpError(format!("`{name}` operand {position} is {arg}, expected {first}")));
        }
    }
    Ok(first.clone())
}

fn eval_scalars(args: &[&Tensor], out: &ConcreteType, f: impl Fn(&[Scalar]) -> Scalar) -> Tensor {
    let mut values = [Scalar::B(false); 3];
    let at = |i: usize| {
        args.iter().enumerate().for_each(|(position, arg)| values[position] = arg.get(i));
        f(&values[..args.len()])
    };
    Tensor::from_scalars(out.dtype, out.shape.clone(), (0..out.len()).map(at))
}

fn cost(work: Work, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
    let dtype = args[0].dtype;
    let plain = if dtype.is_float() { Unit::Float(wide_enough(dtype)) } else { Unit::Integer };
    match work {
        Work::Plain(n) => Cost::streaming(plain, n, args, out),
        Work::Special(n) if dtype.is_float() => {
            Cost::streaming(Unit::Special, n, args, out).with(plain, n * out.len() as f64)
        }
        Work::Special(n) => Cost::streaming(plain, n, args, out),
    }
}

/// The type whose arithmetic unit serves a float: types under 16 bits are computed in f32.
fn wide_enough(dtype: DType) -> DType {
    if dtype.bits() < 16 || dtype == DType::Tf32 { DType::F32 } else { dtype }
}

/// The result element of a map at its operands' elements, before rounding to the result's type.
/// `dtype` is the operands' type (of the last operand for `select`). `None` for an op that is not a map, or is
/// a composite one.
pub fn scalar_map(op: &Op, dtype: DType, args: &[Scalar]) -> Option<Scalar> {
    op.is(crate::Group::Map).then_some(())?;
    let map: Option<&dyn ScalarMap> = scalar_map_of(op);
    map.map(|map| map.scalar(dtype, args))
}

trait ScalarMap {
    fn scalar(&self, dtype: DType, args: &[Scalar]) -> Scalar;
}

/// One row per map: operand domain, result type (`same` as the operands or `bool`), work, and the function of floats
/// and of integers (`bool` counts as the integers 0 and 1).
macro_rules! maps {
    ($( $Op:ident: $Domain:ident -> $out:ident, $work:expr, |$op:pat_param, $x:ident| f $float:expr, i $int:expr ; )+) => {
        $(
            impl ScalarMap for $Op {
                fn scalar(&self, dtype: DType, args: &[Scalar]) -> Scalar {
                    let $op = self;
                    if dtype.is_float() {
                        let $x = |i: usize| args[i].as_f64();
                        // Bodies for types outside the domain do not look at their operands.
                        let _ = &$x;
                        Scalar::from($float)
                    } else {
                        let $x = |i: usize| args[i].as_i128();
                        let _ = &$x;
                        IntResult::finish($int, dtype)
                    }
                }
            }
            impl OpDef for $Op {
                fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
                    let ty = infer_same(Op::from(self.clone()).name(), Domain::$Domain, args)?;
                    Ok(maps!(@out $out ty))
                }
                fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
                    let dtype = args[0].dtype();
                    Ok(eval_scalars(args, out, |values| self.scalar(dtype, values)))
                }
                fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
                    cost($work, args, out)
                }
            }
        )+
        fn scalar_map_of(op: &Op) -> Option<&dyn ScalarMap> {
            match op {
                $( Op::$Op(op) => Some(op), )+
                Op::Cast(op) => Some(op),
                Op::Select(op) => Some(op),
                _ => None,
            }
        }
    };
    (@out same $ty:ident) => { $ty };
    (@out bool $ty:ident) => { $ty.with_dtype(DType::Bool) };
}

/// Lets an integer body give an integer or a truth value.
trait IntResult {
    fn finish(self, dtype: DType) -> Scalar;
}
impl IntResult for i128 {
    fn finish(self, dtype: DType) -> Scalar {
        if dtype.kind() == Kind::Bool { Scalar::B(self & 1 == 1) } else { Scalar::I(self) }
    }
}
impl IntResult for bool {
    fn finish(self, _dtype: DType) -> Scalar {
        Scalar::B(self)
    }
}

/// A body for types that the op's domain excludes.
const NEVER: i128 = 0;

use Work::{Plain, Special};

maps! {
    Neg: Number -> same, Plain(1.0), |_, x| f -x(0), i x(0).wrapping_neg();
    Abs: Number -> same, Plain(1.0), |_, x| f x(0).abs(), i x(0).abs();
    Sign: Number -> same, Plain(1.0), |_, x| f if x(0).is_nan() || x(0) == 0.0 { x(0) } else { x(0).signum() }, i x(0).signum();
    Relu: Number -> same, Plain(1.0), |_, x| f if x(0) < 0.0 { 0.0 } else { x(0) }, i x(0).max(0);
    Exp: Float -> same, Special(1.0), |_, x| f x(0).exp(), i NEVER;
    Log: Float -> same, Special(1.0), |_, x| f x(0).ln(), i NEVER;
    Sqrt: Float -> same, Special(1.0), |_, x| f x(0).sqrt(), i NEVER;
    Rsqrt: Float -> same, Special(1.0), |_, x| f 1.0 / x(0).sqrt(), i NEVER;
    Recip: Float -> same, Special(1.0), |_, x| f 1.0 / x(0), i NEVER;
    Sin: Float -> same, Special(1.0), |_, x| f x(0).sin(), i NEVER;
    Cos: Float -> same, Special(1.0), |_, x| f x(0).cos(), i NEVER;
    Tan: Float -> same, Special(3.0), |_, x| f x(0).tan(), i NEVER;
    Asin: Float -> same, Special(2.0), |_, x| f x(0).asin(), i NEVER;
    Acos: Float -> same, Special(2.0), |_, x| f x(0).acos(), i NEVER;
    Atan: Float -> same, Special(2.0), |_, x| f x(0).atan(), i NEVER;
    Sinh: Float -> same, Special(2.0), |_, x| f x(0).sinh(), i NEVER;
    Cosh: Float -> same, Special(2.0), |_, x| f x(0).cosh(), i NEVER;
    Asinh: Float -> same, Special(2.0), |_, x| f x(0).asinh(), i NEVER;
    Acosh: Float -> same, Special(2.0), |_, x| f x(0).acosh(), i NEVER;
    Atanh: Float -> same, Special(2.0), |_, x| f x(0).atanh(), i NEVER;
    Tanh: Float -> same, Special(2.0), |_, x| f x(0).tanh(), i NEVER;
    Erf: Float -> same, Special(2.0), |_, x| f erf(x(0)), i NEVER;
    Sigmoid: Float -> same, Special(2.0), |_, x| f 1.0 / (1.0 + (-x(0)).exp()), i NEVER;
    Floor: Float -> same, Plain(1.0), |_, x| f x(0).floor(), i NEVER;
    Ceil: Float -> same, Plain(1.0), |_, x| f x(0).ceil(), i NEVER;
    Round: Float -> same, Plain(1.0), |_, x| f x(0).round_ties_even(), i NEVER;
    Trunc: Float -> same, Plain(1.0), |_, x| f x(0).trunc(), i NEVER;
    IsNan: Float -> bool, Plain(1.0), |_, x| f x(0).is_nan(), i NEVER;
    IsInf: Float -> bool, Plain(1.0), |op, x| f (op.positive && x(0) == f64::INFINITY) || (op.negative && x(0) == f64::NEG_INFINITY), i NEVER;
    Not: Bits -> same, Plain(1.0), |_, x| f f64::NAN, i !x(0);
    Add: Number -> same, Plain(1.0), |_, x| f x(0) + x(1), i x(0) + x(1);
    Sub: Number -> same, Plain(1.0), |_, x| f x(0) - x(1), i x(0) - x(1);
    Mul: Any -> same, Plain(1.0), |_, x| f x(0) * x(1), i x(0).wrapping_mul(x(1));
    Div: Number -> same, Special(1.0), |_, x| f x(0) / x(1), i x(0).checked_div(x(1)).unwrap_or(0);
    Rem: Number -> same, Special(1.0), |_, x| f x(0) % x(1), i x(0).checked_rem(x(1)).unwrap_or(0);
    Modulo: Number -> same, Special(1.0), |_, x| f floor_mod(x(0), x(1)),
        i x(0).checked_rem(x(1)).map_or(0, |r| if r != 0 && (r < 0) != (x(1) < 0) { r + x(1) } else { r });
    Pow: Number -> same, Special(2.0), |_, x| f x(0).powf(x(1)), i int_pow(x(0), x(1));
    Max: Any -> same, Plain(1.0), |_, x| f if x(0).is_nan() || x(0) > x(1) { x(0) } else { x(1) }, i x(0).max(x(1));
    Min: Any -> same, Plain(1.0), |_, x| f if x(0).is_nan() || x(0) < x(1) { x(0) } else { x(1) }, i x(0).min(x(1));
    And: Bits -> same, Plain(1.0), |_, x| f f64::NAN, i x(0) & x(1);
    Or: Bits -> same, Plain(1.0), |_, x| f f64::NAN, i x(0) | x(1);
    Xor: Bits -> same, Plain(1.0), |_, x| f f64::NAN, i x(0) ^ x(1);
    Shl: Integer -> same, Plain(1.0), |_, x| f f64::NAN, i u32::try_from(x(1)).ok().filter(|&n| n < 64).map_or(0, |n| x(0) << n);
    Shr: Integer -> same, Plain(1.0), |_, x| f f64::NAN, i x(0) >> u32::try_from(x(1)).unwrap_or(127).min(127);
    Eq: Any -> bool, Plain(1.0), |_, x| f x(0) == x(1), i x(0) == x(1);
    Ne: Any -> bool, Plain(1.0), |_, x| f x(0) != x(1), i x(0) != x(1);
    Lt: Any -> bool, Plain(1.0), |_, x| f x(0) < x(1), i x(0) < x(1);
    Le: Any -> bool, Plain(1.0), |_, x| f x(0) <= x(1), i x(0) <= x(1);
    Gt: Any -> bool, Plain(1.0), |_, x| f x(0) > x(1), i x(0) > x(1);
    Ge: Any -> bool, Plain(1.0), |_, x| f x(0) >= x(1), i x(0) >= x(1);
}

impl ScalarMap for Cast {
    fn scalar(&self, dtype: DType, args: &[Scalar]) -> Scalar {
        match (dtype.is_float(), self.to.int_range()) {
            (true, Some((low, high))) if self.to != DType::Bool => Scalar::I(args[0].as_i128().clamp(low, high)),
            _ => args[0].to_kind(self.to),
        }
    }
}

impl OpDef for Cast {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        Ok(args[0].with_dtype(self.to))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let dtype = args[0].dtype();
        Ok(eval_scalars(args, out, |values| self.scalar(dtype, values)))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

impl ScalarMap for Select {
    fn scalar(&self, _dtype: DType, args: &[Scalar]) -> Scalar {
        if args[0].as_bool() { args[1] } else { args[2] }
    }
}

impl OpDef for Select {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        if args[0].dtype != DType::Bool || args[0].shape != args[1].shape {
            let expected = args[1].with_dtype(DType::Bool);
            return Err(OpError(format!("`select` condition is {}, expected {expected}", args[0])));
        }
        infer_same("select", Domain::Any, &args[1..])
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        Ok(eval_scalars(args, out, |values| self.scalar(out.dtype, values)))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        cost(Work::Plain(1.0), &args[1..], out).reading(args)
    }
}

macro_rules! composite_maps {
    ($( $Op:ident $work:expr ; )+) => { $(
        impl OpDef for $Op {
            fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
                infer_same(Op::from(self.clone()).name(), Domain::Float, args)
            }
            fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
                eval_decomposed(&self.clone().into(), args, out)
            }
            fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
                cost($work, args, out)
            }
        }
    )+ };
}
composite_maps! {
    Silu Special(3.0);
    Gelu Special(4.0);
}

fn floor_mod(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

/// Integer power, wrapping; negative exponents give 0 but for bases 1 and -1, as truncated reciprocals do.
fn int_pow(base: i128, exponent: i128) -> i128 {
    match (base, exponent) {
        (1, _) => 1,
        (-1, e) => {
            if e % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (_, e) if e < 0 => 0,
        (base, mut e) => {
            let (mut result, mut square) = (1i128, base);
            while e > 0 {
                if e & 1 == 1 {
                    result = result.wrapping_mul(square);
                }
                square = square.wrapping_mul(square);
                e >>= 1;
            }
            result
        }
    }
}

/// The error function to within 1e-15, by its Maclaurin series near zero and the continued fraction of `erfc` beyond
/// (Abramowitz and Stegun 7.1.6 and 7.1.14).
pub(crate) fn erf(x: f64) -> f64 {
    let size = x.abs();
    if x.is_nan() || size == 0.0 {
        return x;
    }
    if size > 6.0 {
        return x.signum();
    }
    if size < 3.0 {
        // erf x = 2/sqrt(pi) exp(-x^2) sum over n of 2^n x^(2n+1) / (1 3 5 ... (2n+1)): every term is positive.
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while f64::abs(term) > 1e-17 * f64::abs(sum) {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum;
    }
    // sqrt(pi) exp(x^2) erfc x = 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))), from the inside out.
    let fraction = (1..=60).rev().fold(size, |tail, n| size + f64::from(n) / 2.0 / tail);
    x.signum() * (1.0 - (-size * size).exp() / (std::f64::consts::PI.sqrt() * fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_tabulated_values() {
        // Abramowitz and Stegun, table 7.1, and erfc from table 7.3.
        for (x, expected) in [
            (0.1, 0.1124629160182849),
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (2.0, 0.9953222650189527),
            (3.5, 0.9999992569016276),
        ] {
            assert!((erf(x) - expected).abs() < 1e-14, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn integers_wrap_and_never_divide_by_zero() {
        let scalar = |op: Op, a: i128, b: i128| {
            scalar_map(&op, DType::I8, &[Scalar::I(a), Scalar::I(b)]).map(|v| v.rounded(DType::I8))
        };
        assert_eq!(scalar(Add {}.into(), 127, 1), Some(Scalar::I(-128)));
        assert_eq!(scalar(Div {}.into(), -7, 2), Some(Scalar::I(-3)));
        assert_eq!(scalar(Div {}.into(), 5, 0), Some(Scalar::I(0)));
        assert_eq!(scalar(Modulo {}.into(), -7, 3), Some(Scalar::I(2)));
        assert_eq!(scalar(Rem {}.into(), -7, 3), Some(Scalar::I(-1)));
        assert_eq!(scalar(Pow {}.into(), 3, 4), Some(Scalar::I(81)));
    }

    #[test]
    fn casts_saturate_from_floats_and_wrap_from_integers() {
        let cast = |to, from, value: Scalar| scalar_map(&Cast { to }.into(), from, &[value]).map(|v| v.rounded(to));
        assert_eq!(cast(DType::I8, DType::F32, Scalar::F(300.7)), Some(Scalar::I(127)));
        assert_eq!(cast(DType::I8, DType::I32, Scalar::I(300)), Some(Scalar::I(44)));
        assert_eq!(cast(DType::U8, DType::F32, Scalar::F(f64::NAN)), Some(Scalar::I(0)));
        assert_eq!(cast(DType::Bool, DType::F32, Scalar::F(0.5)), Some(Scalar::B(true)));
    }
}
