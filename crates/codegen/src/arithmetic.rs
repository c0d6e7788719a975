//! Maps as instructions, element by element.
//!
//! Every op of the table is named, so that a new one does not compile before it is lowered. Floats of 32 bits and less
//! are computed in f32 and rounded to their type; integers wrap at their width. f64 has arithmetic, roots, rounding and
//! comparison; its transcendental functions are refused by name.

use crate::element::{self, compute_type};
use crate::error::Fault;
use crate::math;
use gable_ir::Op;
use gable_ptx::meaning::{Binary, Comparison, Unary};
use gable_ptx::{B32, F32, KernelBuilder, Pred, R, ScalarType, Value};
use gable_tensor::{DType, Kind};

/// The element that `op` makes of `args`, elements of types `dtypes`; the result is of type `out`.
pub fn map(k: &mut KernelBuilder, op: &Op, dtypes: &[DType], out: DType, args: &[Value]) -> Result<Value, Fault> {
    let dtype = *dtypes.first().ok_or_else(|| Fault::contract(format!("`{}` has no operand", op.name())))?;
    let mut on = Elements { k, op: op.name(), dtype, ty: compute_type(dtype)? };
    let x = *args.first().ok_or_else(|| Fault::contract(format!("`{}` has no operand", op.name())))?;
    let y = args.get(1).copied().unwrap_or(x);
    let value = match op {
        Op::Neg(_) => on.negated(x)?,
        Op::Abs(_) => on.absolute(x)?,
        Op::Sign(_) => on.sign(x)?,
        Op::Relu(_) => on.relu(x)?,
        Op::Exp(_) => on.f32_function(x, math::exp)?,
        Op::Log(_) => on.f32_function(x, math::log)?,
        Op::Sqrt(_) => on.float_unary(Unary::Sqrt, x)?,
        Op::Rsqrt(_) => on.rsqrt(x)?,
        Op::Recip(_) => on.float_unary(Unary::Rcp, x)?,
        Op::Sin(_) => on.f32_function(x, math::sin)?,
        Op::Cos(_) => on.f32_function(x, math::cos)?,
        Op::Tan(_) => on.f32_function(x, math::tan)?,
        Op::Asin(_) => on.f32_function(x, math::asin)?,
        Op::Acos(_) => on.f32_function(x, math::acos)?,
        Op::Atan(_) => on.f32_function(x, math::atan)?,
        Op::Sinh(_) => on.f32_function(x, math::sinh)?,
        Op::Cosh(_) => on.f32_function(x, math::cosh)?,
        Op::Asinh(_) => on.f32_function(x, math::asinh)?,
        Op::Acosh(_) => on.f32_function(x, math::acosh)?,
        Op::Atanh(_) => on.f32_function(x, math::atanh)?,
        Op::Tanh(_) => on.f32_function(x, math::tanh)?,
        Op::Erf(_) => on.f32_function(x, math::erf)?,
        Op::Sigmoid(_) if is_narrow(out) => on.f32_function(x, math::narrow::sigmoid)?,
        Op::Sigmoid(_) => on.f32_function(x, math::sigmoid)?,
        Op::Silu(_) if is_narrow(out) => on.f32_function(x, math::narrow::silu)?,
        Op::Gelu(op) if is_narrow(out) && op.tanh => on.f32_function(x, math::narrow::gelu_tanh)?,
        Op::Gelu(_) if is_narrow(out) => on.f32_function(x, math::narrow::gelu_erf)?,
        Op::Silu(_) | Op::Gelu(_) => {
            return Err(Fault::contract(format!("`{}` of {out} is decomposed before", op.name())));
        }
        Op::Floor(_) => on.float_unary(Unary::Floor, x)?,
        Op::Ceil(_) => on.float_unary(Unary::Ceil, x)?,
        Op::Round(_) => on.float_unary(Unary::RoundEven, x)?,
        Op::Trunc(_) => on.float_unary(Unary::Truncate, x)?,
        Op::IsNan(_) => return Ok(on.compare(Comparison::Nan, x, x)?.into()),
        Op::IsInf(op) => return on.is_infinite(op.positive, op.negative, x),
        Op::Not(_) => {
            let x = element::register(on.k, on.ty, x)?;
            on.k.unary(Unary::Not, on.ty, x)?.into()
        }
        Op::Cast(_) => return cast(k, dtype, out, x),
        Op::Add(_) => on.binary(Binary::Add, x, y)?,
        Op::Sub(_) => on.binary(Binary::Sub, x, y)?,
        Op::Mul(_) => on.binary(if dtype == DType::Bool { Binary::And } else { Binary::Mul }, x, y)?,
        Op::Div(_) => on.divided(x, y)?,
        Op::Rem(_) => on.remainder(x, y)?,
        Op::Modulo(_) => on.modulo(x, y)?,
        Op::Pow(_) => on.power(x, y)?,
        Op::Max(_) => on.larger(x, y)?,
        Op::Min(_) => on.smaller(x, y)?,
        Op::And(_) => on.binary(Binary::And, x, y)?,
        Op::Or(_) => on.binary(Binary::Or, x, y)?,
        Op::Xor(_) => on.binary(Binary::Xor, x, y)?,
        Op::Shl(_) => on.shifted_left(x, y)?,
        Op::Shr(_) => on.shifted_right(x, y)?,
        Op::Eq(_) => return on.compared(Comparison::Eq, x, y),
        Op::Ne(_) => return on.compared(Comparison::Ne, x, y),
        Op::Lt(_) => return on.compared(Comparison::Lt, x, y),
        Op::Le(_) => return on.compared(Comparison::Le, x, y),
        Op::Gt(_) => return on.compared(Comparison::Gt, x, y),
        Op::Ge(_) => return on.compared(Comparison::Ge, x, y),
        Op::Select(_) => {
            let cond = element::predicate(k, x)?;
            let other = args.get(2).copied().unwrap_or(y);
            return element::select(k, out, cond, y, other);
        }
        Op::Input(_)
        | Op::Weight(_)
        | Op::Const(_)
        | Op::Iota(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Broadcast(_)
        | Op::Slice(_)
        | Op::Concat(_)
        | Op::Pad(_)
        | Op::Bitcast(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::Reduce(_)
        | Op::ReduceWindow(_)
        | Op::ArgReduce(_)
        | Op::Softmax(_)
        | Op::LogSoftmax(_)
        | Op::LayerNorm(_)
        | Op::RmsNorm(_)
        | Op::GroupNorm(_)
        | Op::Rope(_)
        | Op::Matmul(_)
        | Op::GroupedMatmul(_)
        | Op::Conv(_)
        | Op::Attention(_)
        | Op::Scan(_)
        | Op::Argsort(_)
        | Op::ScatterNd(_) => {
            return Err(Fault::contract(format!("`{}` is not computed element by element", op.name())));
        }
    };
    round(k, dtype, value)
}

/// Whether values of the type are floats of 16 bits or fewer, for which functions need not be exact in f32.
pub fn is_narrow(dtype: DType) -> bool {
    dtype.is_float() && dtype.bits() <= 16
}

/// The value rounded or wrapped to `dtype`.
pub fn round(k: &mut KernelBuilder, dtype: DType, value: Value) -> Result<Value, Fault> {
    match compute_type(dtype)? {
        ScalarType::F32 => element::round_f32(k, dtype, value),
        ScalarType::S32 | ScalarType::U32 => element::wrap(k, dtype, value),
        _ => Ok(value),
    }
}

/// An element of type `from` as type `to`: floats round to nearest even, float to integer truncates and saturates,
/// integers wrap.
pub fn cast(k: &mut KernelBuilder, from: DType, to: DType, x: Value) -> Result<Value, Fault> {
    let (from_ty, to_ty) = (compute_type(from)?, compute_type(to)?);
    let value = match (from.kind(), to.kind()) {
        (Kind::Bool, Kind::Bool) => x,
        (Kind::Bool, _) => {
            let truth = element::predicate(k, x)?;
            let (one, zero): (Value, Value) = match to_ty {
                ScalarType::F32 => (1.0f32.into(), 0.0f32.into()),
                ScalarType::F64 => (1.0f64.into(), 0.0f64.into()),
                _ => (Value::Int(1), Value::Int(0)),
            };
            k.select(to_ty, one, zero, truth)?.into()
        }
        (Kind::Float, Kind::Bool) => {
            let zero: Value = if from_ty == ScalarType::F64 { 0.0f64.into() } else { 0.0f32.into() };
            k.compare(Comparison::NeU, from_ty, x, zero)?.into()
        }
        (_, Kind::Bool) => k.compare(Comparison::Ne, from_ty, x, 0)?.into(),
        (Kind::Float, Kind::Signed | Kind::Unsigned) => {
            let mut whole = element::convert(k, to_ty, from_ty, x)?;
            // NaN is 0. Where either side has 64 bits, the instruction alone gives the sign bit (PTX ISA, cvt).
            if from_ty == ScalarType::F64 || to_ty.bytes() == 8 {
                let is_number = k.compare(Comparison::Num, from_ty, x, x)?;
                whole = k.select(to_ty, whole, Value::Int(0), is_number)?.into();
            }
            // The conversion saturates at 32 or 64 bits; narrower types lie inside.
            match to.int_range() {
                Some((low, high)) if to.bits() < 32 => {
                    let at_least = k.binary(Binary::Max, to_ty, whole, low as i64)?;
                    k.binary(Binary::Min, to_ty, at_least, high as i64)?.into()
                }
                _ => whole,
            }
        }
        _ => element::convert(k, to_ty, from_ty, x)?,
    };
    round(k, to, value)
}

/// Where the elements of one op are computed.
struct Elements<'k> {
    k: &'k mut KernelBuilder,
    op: &'static str,
    dtype: DType,
    ty: ScalarType,
}

impl Elements<'_> {
    fn is_float(&self) -> bool {
        self.dtype.is_float()
    }

    /// A constant of the elements' type.
    fn number(&self, value: i32) -> Value {
        match self.ty {
            ScalarType::F32 => (value as f32).into(),
            ScalarType::F64 => f64::from(value).into(),
            _ => Value::Int(value.into()),
        }
    }

    fn binary(&mut self, op: Binary, x: Value, y: Value) -> Result<Value, Fault> {
        if self.ty == ScalarType::Pred {
            let (x, y) = (element::predicate(self.k, x)?, element::predicate(self.k, y)?);
            return Ok(self.k.binary(op, self.ty, x, y)?.into());
        }
        Ok(self.k.binary(op, self.ty, x, y)?.into())
    }

    fn compare(&mut self, op: Comparison, x: Value, y: Value) -> Result<R<Pred>, Fault> {
        Ok(self.k.compare(op, self.ty, x, y)?)
    }

    fn compared(&mut self, op: Comparison, x: Value, y: Value) -> Result<Value, Fault> {
        if self.ty == ScalarType::Pred {
            let (x, y) = (element::predicate(self.k, x)?, element::predicate(self.k, y)?);
            let (x, y) = (self.k.selp_b32(1, 0, x), self.k.selp_b32(1, 0, y));
            return Ok(self.k.compare(op, ScalarType::U32, x, y)?.into());
        }
        // NaN differs from everything, itself included.
        let op = if op == Comparison::Ne && self.is_float() { Comparison::NeU } else { op };
        Ok(self.compare(op, x, y)?.into())
    }

    fn select(&mut self, cond: R<Pred>, a: Value, b: Value) -> Result<Value, Fault> {
        element::select(self.k, self.dtype, cond, a, b)
    }

    fn float_unary(&mut self, op: Unary, x: Value) -> Result<Value, Fault> {
        let x = element::register(self.k, self.ty, x)?;
        Ok(self.k.unary(op, self.ty, x)?.into())
    }

    fn f32_function(&mut self, x: Value, f: fn(&mut KernelBuilder, R<F32>) -> R<F32>) -> Result<Value, Fault> {
        self.refuse_f64()?;
        let x = element::f32_register(self.k, x)?;
        Ok(f(self.k, x).into())
    }

    fn f32_function_of_two(
        &mut self,
        x: Value,
        y: Value,
        f: fn(&mut KernelBuilder, R<F32>, R<F32>) -> R<F32>,
    ) -> Result<Value, Fault> {
        self.refuse_f64()?;
        let (x, y) = (element::f32_register(self.k, x)?, element::f32_register(self.k, y)?);
        Ok(f(self.k, x, y).into())
    }

    fn refuse_f64(&self) -> Result<(), Fault> {
        if self.ty == ScalarType::F64 {
            let what = "is not computed in f64 on a GPU: cast to f32 before, or run on the cpu device";
            return Err(Fault::unsupported(self.op, what));
        }
        Ok(())
    }

    fn negated(&mut self, x: Value) -> Result<Value, Fault> {
        if self.is_float() {
            return self.float_unary(Unary::Neg, x);
        }
        self.binary(Binary::Sub, Value::Int(0), x)
    }

    fn absolute(&mut self, x: Value) -> Result<Value, Fault> {
        match self.dtype.kind() {
            Kind::Float => self.float_unary(Unary::Abs, x),
            Kind::Signed => self.float_unary(Unary::Abs, x),
            Kind::Unsigned | Kind::Bool => Ok(x),
        }
    }

    fn sign(&mut self, x: Value) -> Result<Value, Fault> {
        let (zero, one, minus_one) = (self.number(0), self.number(1), self.number(-1));
        let is_positive = self.compare(Comparison::Gt, x, zero)?;
        if self.dtype.kind() == Kind::Unsigned {
            return self.select(is_positive, one, zero);
        }
        let is_negative = self.compare(Comparison::Lt, x, zero)?;
        let below = self.select(is_negative, minus_one, x)?;
        self.select(is_positive, one, below)
    }

    fn relu(&mut self, x: Value) -> Result<Value, Fault> {
        let zero = self.number(0);
        self.larger(x, zero)
    }

    fn rsqrt(&mut self, x: Value) -> Result<Value, Fault> {
        if self.ty == ScalarType::F64 {
            let root = self.float_unary(Unary::Sqrt, x)?;
            return self.float_unary(Unary::Rcp, root);
        }
        self.float_unary(Unary::RsqrtApprox, x)
    }

    fn is_infinite(&mut self, positive: bool, negative: bool, x: Value) -> Result<Value, Fault> {
        let infinity = |sign: f64| -> Value {
            if self.ty == ScalarType::F64 {
                (sign * f64::INFINITY).into()
            } else {
                ((sign * f64::INFINITY) as f32).into()
            }
        };
        let (above, below) = (infinity(1.0), infinity(-1.0));
        let mut found: Option<R<Pred>> = None;
        for (asked, bound) in [(positive, above), (negative, below)] {
            if asked {
                let one = self.compare(Comparison::Eq, x, bound)?;
                found = Some(match found {
                    None => one,
                    Some(other) => self.k.or_pred(other, one),
                });
            }
        }
        Ok(found.map_or(Value::Int(0), Value::from))
    }

    /// The larger; NaN wins.
    fn larger(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        match self.ty {
            ScalarType::Pred => self.binary(Binary::Or, x, y),
            ScalarType::F32 => self.binary(Binary::MaxNan, x, y),
            ScalarType::F64 => self.extreme_f64(Binary::Max, x, y),
            _ => self.binary(Binary::Max, x, y),
        }
    }

    /// The smaller; NaN wins.
    fn smaller(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        match self.ty {
            ScalarType::Pred => self.binary(Binary::And, x, y),
            ScalarType::F32 => self.binary(Binary::MinNan, x, y),
            ScalarType::F64 => self.extreme_f64(Binary::Min, x, y),
            _ => self.binary(Binary::Min, x, y),
        }
    }

    /// f64 has no extreme that keeps NaN; a sum does.
    fn extreme_f64(&mut self, op: Binary, x: Value, y: Value) -> Result<Value, Fault> {
        let extreme = self.binary(op, x, y)?;
        let sum = self.binary(Binary::Add, x, y)?;
        let has_nan = self.compare(Comparison::Nan, x, y)?;
        self.select(has_nan, sum, extreme)
    }

    fn divided(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        if self.is_float() {
            return self.binary(Binary::Div, x, y);
        }
        let (zero, one) = (self.number(0), self.number(1));
        let by_zero = self.compare(Comparison::Eq, y, zero)?;
        let divisor = self.select(by_zero, one, y)?;
        let quotient = self.binary(Binary::Div, x, divisor)?;
        let quotient = self.quotient_by_minus_one(x, y, quotient)?;
        self.select(by_zero, zero, quotient)
    }

    /// The least integer over -1 wraps, which the hardware leaves open.
    fn quotient_by_minus_one(&mut self, x: Value, y: Value, quotient: Value) -> Result<Value, Fault> {
        if self.dtype.kind() != Kind::Signed {
            return Ok(quotient);
        }
        let minus_one = self.number(-1);
        let negated = self.negated(x)?;
        let by_minus_one = self.compare(Comparison::Eq, y, minus_one)?;
        self.select(by_minus_one, negated, quotient)
    }

    fn remainder(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        if self.is_float() {
            return self.f32_function_of_two(x, y, math::remainder);
        }
        let (zero, one) = (self.number(0), self.number(1));
        let mut has_none = self.compare(Comparison::Eq, y, zero)?;
        if self.dtype.kind() == Kind::Signed {
            let minus_one = self.number(-1);
            let by_minus_one = self.compare(Comparison::Eq, y, minus_one)?;
            has_none = self.k.or_pred(has_none, by_minus_one);
        }
        let divisor = self.select(has_none, one, y)?;
        let rest = self.binary(Binary::Rem, x, divisor)?;
        self.select(has_none, zero, rest)
    }

    fn modulo(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        if self.is_float() {
            return self.f32_function_of_two(x, y, math::modulo);
        }
        let rest = self.remainder(x, y)?;
        if self.dtype.kind() == Kind::Unsigned {
            return Ok(rest);
        }
        // Signs differ where the exclusive or is negative.
        let zero = self.number(0);
        let signs = self.binary(Binary::Xor, rest, y)?;
        let differ = self.compare(Comparison::Lt, signs, zero)?;
        let is_rest = self.compare(Comparison::Ne, rest, zero)?;
        let moves = self.k.and_pred(differ, is_rest);
        let moved = self.binary(Binary::Add, rest, y)?;
        let moved = self.select(moves, moved, rest)?;
        // A zero divisor has remainder 0, whose sign differs from nothing.
        Ok(moved)
    }

    fn power(&mut self, x: Value, y: Value) -> Result<Value, Fault> {
        if self.is_float() {
            return self.f32_function_of_two(x, y, math::pow);
        }
        let (zero, one) = (self.number(0), self.number(1));
        let copy = |k: &mut KernelBuilder, ty, value| k.copy(ty, value);
        let result = copy(self.k, self.ty, one)?;
        let square = copy(self.k, self.ty, x)?;
        let exponent = copy(self.k, self.ty, y)?;
        let (head, done) = (self.k.label("power"), self.k.label("end_power"));
        self.k.place(&head);
        let more = self.compare(Comparison::Gt, exponent.into(), zero)?;
        self.k.bra_unless(more, &done);
        let bit = self.binary(Binary::And, exponent.into(), one)?;
        let is_odd = self.compare(Comparison::Ne, bit, zero)?;
        let times = self.binary(Binary::Mul, result.into(), square.into())?;
        let times = self.select(is_odd, times, result.into())?;
        self.k.copy_into(result, times)?;
        let squared = self.binary(Binary::Mul, square.into(), square.into())?;
        self.k.copy_into(square, squared)?;
        let unsigned = match self.ty {
            ScalarType::S64 | ScalarType::U64 => ScalarType::U64,
            _ => ScalarType::U32,
        };
        let halved = self.k.binary(Binary::Shr, unsigned, exponent, 1)?;
        self.k.copy_into(exponent, halved)?;
        self.k.bra(head);
        self.k.place(&done);
        if self.dtype.kind() == Kind::Unsigned {
            return Ok(result.into());
        }
        // Powers below 0 are truncated reciprocals: nothing is left but of 1 and -1.
        let minus_one = self.number(-1);
        let below = self.compare(Comparison::Lt, y, zero)?;
        let is_one = self.compare(Comparison::Eq, x, one)?;
        let is_minus_one = self.compare(Comparison::Eq, x, minus_one)?;
        let bit = self.binary(Binary::And, y, one)?;
        let is_odd = self.compare(Comparison::Ne, bit, zero)?;
        let signed = self.select(is_odd, minus_one, one)?;
        let reciprocal = self.select(is_minus_one, signed, zero)?;
        let reciprocal = self.select(is_one, one, reciprocal)?;
        self.select(below, reciprocal, result.into())
    }

    /// The shift count as a 32-bit word, and whether it is below the width of the type.
    fn shift_count(&mut self, count: Value) -> Result<(R<B32>, R<Pred>), Fault> {
        let bits = self.dtype.bits();
        let is_wide = matches!(self.ty, ScalarType::S64 | ScalarType::U64);
        let unsigned = if is_wide { ScalarType::U64 } else { ScalarType::U32 };
        // Negative counts are large without sign.
        let within = self.k.compare(Comparison::Lt, unsigned, count, bits)?;
        let count = element::convert(self.k, ScalarType::U32, unsigned, count)?;
        let count = element::register(self.k, ScalarType::U32, count)?;
        Ok((count.typed().expect("a count is converted to 32 bits"), within))
    }

    fn shifted_left(&mut self, x: Value, count: Value) -> Result<Value, Fault> {
        let (count, within) = self.shift_count(count)?;
        let shifted = self.k.binary(Binary::Shl, self.ty, x, count)?;
        let zero = self.number(0);
        self.select(within, shifted.into(), zero)
    }

    fn shifted_right(&mut self, x: Value, count: Value) -> Result<Value, Fault> {
        let (count, within) = self.shift_count(count)?;
        let shifted = self.k.binary(Binary::Shr, self.ty, x, count)?;
        let zero = self.number(0);
        let out = match self.dtype.kind() {
            Kind::Signed => {
                let last = self.dtype.bits() - 1;
                self.k.binary(Binary::Shr, self.ty, x, last)?.into()
            }
            _ => zero,
        };
        self.select(within, shifted.into(), out)
    }
}
