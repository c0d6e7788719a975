//! The instruction of each map in each class. What has none of its own runs the reference's scalar function.

use super::data::{Class, Lane, with_lane};
use super::map::{Bank, Instruction, Registers, binary, select, unary};
use super::number::{Float, Int};
use super::rounding::narrow;
use gable_ir::Op;
use gable_ir::ops::scalar_map;
use gable_tensor::{DType, Scalar};

/// The instruction for `op` on operands of type `from`, before rounding to the result's type `to`.
pub(super) fn instruction(op: &Op, from: DType, to: DType, at: Registers) -> Instruction {
    let own = match Class::of(from) {
        _ if matches!(op, Op::Cast(_)) => Some(cast(from, to, at)),
        class if matches!(op, Op::Select(_)) => Some(with_lane!(class, T => select::<T>(at))),
        Class::F32 => float::<f32>(op, at),
        Class::F64 => float::<f64>(op, at),
        Class::I64 => int::<i64>(op, at),
        Class::U64 => int::<u64>(op, at),
        Class::Bool => boolean(op, at),
    };
    own.unwrap_or_else(|| reference(op, from, to, at))
}

/// The reference's function, element by element.
fn reference(op: &Op, from: DType, to: DType, at: Registers) -> Instruction {
    let op = op.clone();
    let two = op.info().operands.len() == 2;
    let apply = move |args: &[Scalar]| scalar_map(&op, from, args).expect("composite maps have their own instruction");
    with_lane!(Class::of(from), A => with_lane!(Class::of(to), R => {
        if two {
            binary(at, move |a: A, b: A| R::from_scalar(apply(&[a.to_scalar(), b.to_scalar()])))
        } else {
            unary(at, move |x: A| R::from_scalar(apply(&[x.to_scalar()])))
        }
    }))
}

fn float<F: Float + Bank>(op: &Op, at: Registers) -> Option<Instruction> {
    let half = F::from_f64(0.5);
    Some(match op {
        Op::Neg(_) => unary(at, |x: F| -x),
        Op::Abs(_) => unary(at, F::abs),
        Op::Relu(_) => unary(at, |x: F| if x < F::ZERO { F::ZERO } else { x }),
        Op::Exp(_) => unary(at, F::exp),
        Op::Log(_) => unary(at, |x: F| F::from_f64(x.to_f64().ln())),
        Op::Sqrt(_) => unary(at, F::sqrt),
        Op::Rsqrt(_) => unary(at, |x: F| F::from_f64(1.0 / x.to_f64().sqrt())),
        Op::Recip(_) => unary(at, |x: F| F::ONE / x),
        Op::Sin(_) => unary(at, |x: F| F::from_f64(x.to_f64().sin())),
        Op::Cos(_) => unary(at, |x: F| F::from_f64(x.to_f64().cos())),
        Op::Tanh(_) => unary(at, F::tanh),
        Op::Erf(_) => unary(at, F::erf),
        Op::Sigmoid(_) => unary(at, F::sigmoid),
        Op::Floor(_) => unary(at, F::floor),
        Op::Ceil(_) => unary(at, F::ceil),
        Op::Round(_) => unary(at, F::round_ties_even),
        Op::Trunc(_) => unary(at, F::trunc),
        Op::IsNan(_) => unary(at, F::is_nan),
        // Composite maps follow their decomposition, rounding for rounding.
        Op::Silu(_) => unary(at, |x: F| x * x.sigmoid()),
        Op::Gelu(op) if op.tanh => {
            let (scale, bend) = (F::from_f64((2.0 / std::f64::consts::PI).sqrt()), F::from_f64(0.044715));
            unary(at, move |x: F| (x * half) * (((x + x * x * x * bend) * scale).tanh() + F::ONE))
        }
        Op::Gelu(_) => {
            let scale = F::from_f64(std::f64::consts::FRAC_1_SQRT_2);
            unary(at, move |x: F| (x * half) * ((x * scale).erf() + F::ONE))
        }
        Op::Add(_) => binary(at, |a: F, b: F| a + b),
        Op::Sub(_) => binary(at, |a: F, b: F| a - b),
        Op::Mul(_) => binary(at, |a: F, b: F| a * b),
        Op::Div(_) => binary(at, |a: F, b: F| a / b),
        Op::Rem(_) => binary(at, |a: F, b: F| a % b),
        Op::Pow(_) => binary(at, F::pow),
        Op::Max(_) => binary(at, F::larger),
        Op::Min(_) => binary(at, F::smaller),
        _ => return compare::<F>(op, at),
    })
}

fn int<I: Int + Bank>(op: &Op, at: Registers) -> Option<Instruction> {
    Some(match op {
        Op::Neg(_) => unary(at, I::neg),
        Op::Abs(_) => unary(at, I::abs),
        Op::Sign(_) => unary(at, I::sign),
        Op::Relu(_) => unary(at, |x: I| x.max(I::ZERO)),
        Op::Not(_) => unary(at, I::not),
        Op::Add(_) => binary(at, I::add),
        Op::Sub(_) => binary(at, I::sub),
        Op::Mul(_) => binary(at, I::mul),
        Op::Div(_) => binary(at, I::div),
        Op::Rem(_) => binary(at, I::rem),
        Op::Modulo(_) => binary(at, I::modulo),
        Op::Max(_) => binary(at, |a: I, b: I| a.max(b)),
        Op::Min(_) => binary(at, |a: I, b: I| a.min(b)),
        Op::And(_) => binary(at, I::and),
        Op::Or(_) => binary(at, I::or),
        Op::Xor(_) => binary(at, I::xor),
        Op::Shl(_) => binary(at, I::shl),
        Op::Shr(_) => binary(at, I::shr),
        _ => return compare::<I>(op, at),
    })
}

fn boolean(op: &Op, at: Registers) -> Option<Instruction> {
    Some(match op {
        Op::Not(_) => unary(at, |x: bool| !x),
        Op::And(_) | Op::Mul(_) | Op::Min(_) => binary(at, |a: bool, b: bool| a & b),
        Op::Or(_) | Op::Max(_) => binary(at, |a: bool, b: bool| a | b),
        Op::Xor(_) => binary(at, |a: bool, b: bool| a ^ b),
        _ => return compare::<bool>(op, at),
    })
}

fn compare<T: Bank>(op: &Op, at: Registers) -> Option<Instruction> {
    Some(match op {
        Op::Eq(_) => binary(at, |a: T, b: T| a == b),
        Op::Ne(_) => binary(at, |a: T, b: T| a != b),
        Op::Lt(_) => binary(at, |a: T, b: T| a < b),
        Op::Le(_) => binary(at, |a: T, b: T| a <= b),
        Op::Gt(_) => binary(at, |a: T, b: T| a > b),
        Op::Ge(_) => binary(at, |a: T, b: T| a >= b),
        _ => return None,
    })
}

/// Conversion between classes; within a class the elements stay, and rounding does the rest.
fn cast(from: DType, to: DType, at: Registers) -> Instruction {
    let round = || narrow(to);
    match (Class::of(from), Class::of(to)) {
        (a, b) if a == b => with_lane!(a, T => unary(at, |x: T| x)),
        (a, Class::Bool) => with_lane!(a, T => unary(at, |x: T| x != T::default())),
        (Class::F64, Class::F32) => unary(at, round()),
        (Class::I64, Class::F32) => {
            let round = round();
            unary(at, move |x: i64| round(x as f64))
        }
        (Class::U64, Class::F32) => {
            let round = round();
            unary(at, move |x: u64| round(x as f64))
        }
        (Class::Bool, Class::F32) => {
            let round = round();
            unary(at, move |x: bool| round(f64::from(u8::from(x))))
        }
        (Class::F32, Class::F64) => unary(at, |x: f32| f64::from(x)),
        (Class::I64, Class::F64) => unary(at, |x: i64| x as f64),
        (Class::U64, Class::F64) => unary(at, |x: u64| x as f64),
        (Class::Bool, Class::F64) => unary(at, |x: bool| f64::from(u8::from(x))),
        (Class::F32, Class::I64) => {
            let (low, high) = signed_range(to);
            unary(at, move |x: f32| (x as i64).clamp(low, high))
        }
        (Class::F64, Class::I64) => {
            let (low, high) = signed_range(to);
            unary(at, move |x: f64| (x as i64).clamp(low, high))
        }
        (Class::F32, Class::U64) => unary(at, |x: f32| x as u64),
        (Class::F64, Class::U64) => unary(at, |x: f64| x as u64),
        (Class::U64, Class::I64) => unary(at, |x: u64| x as i64),
        (Class::I64, Class::U64) => unary(at, |x: i64| x as u64),
        (Class::Bool, Class::I64) => unary(at, |x: bool| i64::from(x)),
        (Class::Bool, Class::U64) => unary(at, |x: bool| u64::from(x)),
        (from, to) => unreachable!("{from:?} to {to:?} is within one class"),
    }
}

/// Smallest and largest value of a type held as i64.
pub(super) fn signed_range(dtype: DType) -> (i64, i64) {
    let (low, high) = dtype.int_range().expect("integers have a range");
    (low as i64, high as i64)
}
