//! Neutral elements, double negation, powers and quotients, where the result has the same bits.

use super::Rewrite;
use crate::constant::{is_non_negative, splat};
use gable_ir::ops::*;
use gable_ir::{Builder, Group, NodeId, Op};
use gable_tensor::{DType, Scalar};

/// A constant is the second operand, so that other rules look in one place.
pub fn constant_last(b: &mut Builder, id: NodeId) -> Rewrite {
    let op = b.graph.op(id).clone();
    if !op.is(Group::Commutative) {
        return Ok(None);
    }
    let operands = b.graph.operands(id);
    if splat(&b.graph, operands[0]).is_none() || splat(&b.graph, operands[1]).is_some() {
        return Ok(None);
    }
    b.add(op, &[operands[1], operands[0]]).map(Some)
}

/// `x * 1`, `x + -0`, `x - 0`, `x / 1`, `max(x, -inf)` and their like are `x`; `x * -1` is `-x`.
pub fn neutral(b: &mut Builder, id: NodeId) -> Rewrite {
    let operands = b.graph.operands(id);
    let [x, c] = operands[..] else { return Ok(None) };
    if matches!(b.graph.op(id), Op::And(_) | Op::Or(_)) && x == c {
        return Ok(Some(x));
    }
    let Some(c) = splat(&b.graph, c) else { return Ok(None) };
    let is = |value: f64| match c {
        Scalar::F(c) => c == value,
        Scalar::I(c) => c == value as i128,
        Scalar::B(_) => false,
    };
    let (zero, negative_zero) = match c {
        Scalar::F(c) => (c == 0.0 && c.is_sign_positive(), c == 0.0 && c.is_sign_negative()),
        // An integer has one zero.
        _ => (is(0.0), is(0.0)),
    };
    let same = match b.graph.op(id) {
        Op::Mul(_) => is(1.0) || c == Scalar::B(true),
        Op::Div(_) => is(1.0),
        Op::Add(_) => negative_zero,
        Op::Sub(_) => zero,
        Op::Max(_) => is(f64::NEG_INFINITY) && matches!(c, Scalar::F(_)),
        Op::Min(_) => is(f64::INFINITY) && matches!(c, Scalar::F(_)),
        Op::And(_) => c == Scalar::B(true),
        Op::Or(_) => c == Scalar::B(false),
        Op::Pow(_) => is(1.0),
        _ => false,
    };
    if same {
        return Ok(Some(x));
    }
    match b.graph.op(id) {
        Op::Mul(_) if is(-1.0) => b.neg(x).map(Some),
        _ => Ok(None),
    }
}

/// Twice the same is once or nothing.
pub fn unary(b: &mut Builder, id: NodeId) -> Rewrite {
    let operands = b.graph.operands(id);
    let [x] = operands[..] else { return Ok(None) };
    let inner = b.graph.operands(x).first().copied();
    let (outer_op, inner_op) = (b.graph.op(id), b.graph.op(x));
    match (outer_op, inner_op, inner) {
        (Op::Neg(_), Op::Neg(_), Some(y)) | (Op::Not(_), Op::Not(_), Some(y)) => Ok(Some(y)),
        (Op::Abs(_), Op::Neg(_), Some(y)) => b.abs(y).map(Some),
        (Op::Abs(_), Op::Abs(_), _) | (Op::Relu(_), Op::Relu(_), _) => Ok(Some(x)),
        (
            Op::Floor(_) | Op::Ceil(_) | Op::Round(_) | Op::Trunc(_),
            Op::Floor(_) | Op::Ceil(_) | Op::Round(_) | Op::Trunc(_),
            _,
        ) => Ok(Some(x)),
        (Op::Abs(_), _, _) if is_non_negative(&b.graph, x) => Ok(Some(x)),
        _ => Ok(None),
    }
}

/// Powers that are a product, a root or a reciprocal. A root differs from the power for -0 and for minus infinity, so
/// it is taken of what cannot be negative.
pub fn power(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Pow(_) = b.graph.op(id) else { return Ok(None) };
    let (x, exponent) = (b.graph.operand(id, 0), b.graph.operand(id, 1));
    match splat(&b.graph, exponent) {
        Some(Scalar::F(2.0) | Scalar::I(2)) => b.mul(x, x).map(Some),
        Some(Scalar::F(-1.0)) => b.recip(x).map(Some),
        Some(Scalar::F(0.5)) if is_non_negative(&b.graph, x) => b.sqrt(x).map(Some),
        Some(Scalar::F(-0.5)) if is_non_negative(&b.graph, x) => b.rsqrt(x).map(Some),
        _ => Ok(None),
    }
}

/// `1 / x` is a reciprocal; division by a power of two is multiplication by its reciprocal.
pub fn divide(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Div(_) = b.graph.op(id) else { return Ok(None) };
    let dtype = b.dtype(id);
    if !dtype.is_float() {
        return Ok(None);
    }
    let (x, divisor) = (b.graph.operand(id, 0), b.graph.operand(id, 1));
    if splat(&b.graph, x) == Some(Scalar::F(1.0)) {
        return b.recip(divisor).map(Some);
    }
    let Some(Scalar::F(c)) = splat(&b.graph, divisor) else { return Ok(None) };
    let reciprocal = 1.0 / c;
    if !is_power_of_two(c) || !is_normal(dtype, reciprocal) {
        return Ok(None);
    }
    let shape = b.shape(id);
    let reciprocal = b.scalar(dtype, reciprocal)?;
    let reciprocal = b.broadcast_to(reciprocal, &shape)?;
    b.mul(x, reciprocal).map(Some)
}

fn is_power_of_two(x: f64) -> bool {
    x.is_normal() && x.to_bits() & ((1 << 52) - 1) == 0
}

/// Whether the type holds the value with all its significant bits.
fn is_normal(dtype: DType, x: f64) -> bool {
    let least = match dtype {
        DType::F64 => f64::MIN_POSITIVE,
        DType::F32 | DType::BF16 | DType::Tf32 => f64::from(f32::MIN_POSITIVE),
        DType::F16 => 2f64.powi(-14),
        _ => return false,
    };
    x.abs() >= least && Scalar::F(x).rounded(dtype) == Scalar::F(x)
}

/// A choice that is made already, or that makes no difference, or that is turned round.
pub fn select(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Select(_) = b.graph.op(id) else { return Ok(None) };
    let operands = b.graph.operands(id);
    let (cond, yes, no) = (operands[0], operands[1], operands[2]);
    if yes == no {
        return Ok(Some(yes));
    }
    if let Some(Scalar::B(chosen)) = splat(&b.graph, cond) {
        return Ok(Some(if chosen { yes } else { no }));
    }
    if let Op::Not(_) = b.graph.op(cond) {
        let cond = b.graph.operand(cond, 0);
        return b.add(Select {}, &[cond, no, yes]).map(Some);
    }
    Ok(None)
}
