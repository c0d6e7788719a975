//! Softmax, norms, rotary embedding and attention: composite ops, whose meaning is their decomposition.

use super::{Attention, GroupNorm, LayerNorm, LogSoftmax, RmsNorm, Rope, Softmax};
use crate::build::broadcast_shape;
use crate::composite::{eval_decomposed, infer_row_norm};
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::{DType, Dim, Tensor};

/// Plain and special operations per element, in the type that rows are computed in.
fn row_cost(plain: f64, special: f64, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
    let unit = if out.dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let n = out.len() as f64;
    Cost::moving(args, out).with(Unit::Float(unit), plain * n).with(Unit::Special, special * n)
}

fn infer_softmax(name: &str, axis: usize, x: &Type) -> Result<Type, OpError> {
    if !x.dtype.is_float() || axis >= x.rank() {
        return Err(OpError(format!("`{name}` along axis {axis} needs a float operand that has it, found {x}")));
    }
    Ok(x.clone())
}

macro_rules! composite_rows {
    ($( $Op:ident, |$op:ident, $args:ident| $infer:expr, plain $plain:literal, special $special:literal ; )+) => { $(
        impl OpDef for $Op {
            fn infer(&self, $args: &[&Type]) -> Result<Type, OpError> {
                let $op = self;
                $infer
            }
            fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
                eval_decomposed(&self.clone().into(), args, out)
            }
            fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
                row_cost($plain, $special, args, out)
            }
        }
    )+ };
}

composite_rows! {
    Softmax, |op, args| infer_softmax("softmax", op.axis, args[0]), plain 4.0, special 1.0;
    LogSoftmax, |op, args| infer_softmax("log_softmax", op.axis, args[0]), plain 4.0, special 1.0;
    LayerNorm, |_op, args| infer_row_norm("layer_norm", args), plain 7.0, special 0.0;
    RmsNorm, |_op, args| infer_row_norm("rms_norm", args), plain 4.0, special 0.0;
    GroupNorm, |op, args| op.infer_groups(args), plain 7.0, special 0.0;
    Rope, |op, args| op.infer_rotation(args), plain 3.0, special 0.0;
}

impl GroupNorm {
    fn infer_groups(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        if !x.dtype.is_float() || x.rank() < 2 {
            return Err(OpError(format!("`group_norm` needs a float operand of rank 2 or more, found {x}")));
        }
        let channels = Type::new(x.dtype, [x.shape[1].clone()]);
        for (position, vector) in args.iter().enumerate().skip(1) {
            if **vector != channels {
                return Err(OpError(format!("`group_norm` operand {position} is {vector}, expected {channels}")));
            }
        }
        let divides = self.groups > 0 && x.shape[1].value().is_none_or(|n| n % self.groups as i64 == 0);
        if !divides {
            return Err(OpError(format!("`group_norm` cannot divide the channels of {x} into {} groups", self.groups)));
        }
        Ok(x.clone())
    }
}

impl Rope {
    fn infer_rotation(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        let even = x.shape.last().is_some_and(|width| width.value().is_none_or(|n| n % 2 == 0));
        if !x.dtype.is_float() || !even {
            return Err(OpError(format!("`rope` needs a float operand with an even last axis, found {x}")));
        }
        for (position, angle) in args.iter().enumerate().skip(1) {
            let fits = broadcast_shape(&x.shape, &angle.shape).is_ok_and(|shape| shape == x.shape);
            if angle.dtype != x.dtype || !fits {
                return Err(OpError(format!("`rope` operand {position} is {angle}, which does not broadcast to {x}")));
            }
        }
        Ok(x.clone())
    }
}

impl OpDef for Attention {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (q, k, v) = (args[0], args[1], args[2]);
        let bad = |what: String| Err(OpError(format!("`attention` {what}")));
        if !q.dtype.is_float() || [q, k, v].iter().any(|ty| ty.rank() != 4 || ty.dtype != q.dtype) {
            return bad(format!("needs q, k and v of one float type and rank 4, found {q}, {k}, {v}"));
        }
        let fits = q.shape[0] == k.shape[0] && k.shape[..3] == v.shape[..3] && q.shape[3] == k.shape[3];
        let heads = match (q.shape[1].value(), k.shape[1].value()) {
            (Some(q), Some(k)) => k > 0 && q % k == 0,
            _ => q.shape[1] == k.shape[1],
        };
        if !fits || !heads {
            return bad(format!("shapes do not fit: q {q}, k {k}, v {v}"));
        }
        let scores = [q.shape[0].clone(), q.shape[1].clone(), q.shape[2].clone(), k.shape[2].clone()];
        if let Some(mask) = args.get(3) {
            let fits = broadcast_shape(&scores, &mask.shape).is_ok_and(|shape| shape == scores);
            if !fits || !(mask.dtype == DType::Bool || mask.dtype.is_float()) {
                let scores: Vec<String> = scores.iter().map(Dim::to_string).collect();
                return bad(format!(
                    "mask is {mask}, expected bool or float that broadcasts to [{}]",
                    scores.join(", ")
                ));
            }
        }
        let mut shape = q.shape.clone();
        shape[3] = v.shape[3].clone();
        Ok(q.with_shape(shape))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        eval_decomposed(&self.clone().into(), args, out)
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let (q, k, v) = (&args[0].shape, &args[1].shape, &args[2].shape);
        let acc = if out.dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let scores = (q[0] * q[1]) as f64 * self.visible_pairs(q[2], k[2]);
        Cost::moving(args, out)
            .with(Unit::Contraction { input: out.dtype, acc }, 2.0 * scores * (q[3] + v[3]) as f64)
            .with(Unit::Float(acc), 5.0 * scores)
            .with(Unit::Special, scores)
    }
}

impl Attention {
    /// Number of (query, key) pairs that causality and window leave, per head.
    fn visible_pairs(&self, queries: usize, keys: usize) -> f64 {
        if !self.causal && self.window == 0 {
            return queries as f64 * keys as f64;
        }
        let past = keys as i64 - queries as i64;
        let row = |query: usize| {
            let last = (query as i64 + past + 1).clamp(0, keys as i64);
            if self.window > 0 { last.min(self.window as i64) } else { last }
        };
        (0..queries).map(|query| row(query) as f64).sum()
    }
}
