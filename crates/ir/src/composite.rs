//! What composite ops mean: their decomposition into simpler ops.
//!
//! The decomposition is the op's `eval` oracle, and the fallback of every pass or code generator that has nothing
//! better. Rows of 16-bit or narrower floats are computed in f32 and rounded once, at the end.

use crate::attr::ReduceKind;
use crate::build::Builder;
use crate::eval;
use crate::graph::NodeId;
use crate::op::{Op, OpError};
use crate::ops::*;
use crate::types::{ConcreteType, Type};
use gable_tensor::{DType, Dim, Scalar, Tensor};

type Built = Result<NodeId, OpError>;

/// Adds the decomposition of `op` over `args`; `None` for an op that is not composite.
pub fn decompose(b: &mut Builder, op: &Op, args: &[NodeId]) -> Option<Built> {
    Some(match op {
        Op::Silu(_) => wide(b, args, |b, args| {
            let gate = b.sigmoid(args[0])?;
            b.mul(args[0], gate)
        }),
        Op::Gelu(op) => wide(b, args, |b, args| gelu(b, op, args[0])),
        Op::Softmax(op) => wide(b, args, |b, args| softmax(b, op.axis, args[0])),
        Op::LogSoftmax(op) => wide(b, args, |b, args| log_softmax(b, op.axis, args[0])),
        Op::LayerNorm(op) => wide(b, args, |b, args| layer_norm(b, op, args)),
        Op::RmsNorm(op) => wide(b, args, |b, args| rms_norm(b, op, args)),
        Op::GroupNorm(op) => wide(b, args, |b, args| group_norm(b, op, args)),
        Op::Rope(op) => wide(b, args, |b, args| rope(b, op, args)),
        Op::Attention(op) => attention(b, op, args),
        _ => return None,
    })
}

/// The value of a composite op, by evaluating its decomposition.
pub(crate) fn eval_decomposed(op: &Op, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
    let mut b = Builder::new("decomposition");
    let names: Vec<String> = (0..args.len()).map(|i| i.to_string()).collect();
    let inputs: Vec<NodeId> =
        names.iter().zip(args).map(|(name, arg)| b.input(name.clone(), ConcreteType::of(arg).into())).collect();
    let result = decompose(&mut b, op, &inputs).ok_or_else(|| OpError::new("is not composite"))??;
    b.output("result", result);
    let given: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(args.iter().copied()).collect();
    let mut values = eval::evaluate(&b.finish(), &given).map_err(|e| OpError::new(e.to_string()))?;
    let (_, value) = values.remove(0);
    debug_assert_eq!(ConcreteType::of(&value), *out);
    Ok(value)
}

/// Computes `body` in f32 when the operands are narrower floats, and rounds the result to the first operand's type.
fn wide(b: &mut Builder, args: &[NodeId], body: impl Fn(&mut Builder, &[NodeId]) -> Built) -> Built {
    let dtype = b.dtype(args[0]);
    if !dtype.is_float() || matches!(dtype, DType::F32 | DType::F64) {
        return body(b, args);
    }
    let raised: Vec<NodeId> = args.iter().map(|&arg| b.cast(arg, DType::F32)).collect::<Result<_, _>>()?;
    let result = body(b, &raised)?;
    b.cast(result, dtype)
}

fn gelu(b: &mut Builder, op: &Gelu, x: NodeId) -> Built {
    let half = b.scalar_like(x, 0.5)?;
    let one = b.scalar_like(x, 1.0)?;
    let inner = if op.tanh {
        // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), Hendrycks and Gimpel 2016.
        let (c, k) = (b.scalar_like(x, (2.0 / std::f64::consts::PI).sqrt())?, b.scalar_like(x, 0.044715)?);
        let square = b.mul(x, x)?;
        let cube = b.mul(square, x)?;
        let bent = b.mul(cube, k)?;
        let sum = b.plus(x, bent)?;
        let scaled = b.mul(sum, c)?;
        b.tanh(scaled)?
    } else {
        let c = b.scalar_like(x, std::f64::consts::FRAC_1_SQRT_2)?;
        let scaled = b.mul(x, c)?;
        b.erf(scaled)?
    };
    let shifted = b.plus(inner, one)?;
    let halved = b.mul(x, half)?;
    b.mul(halved, shifted)
}

/// `x` less its largest along `axis`.
fn shifted(b: &mut Builder, axis: usize, x: NodeId) -> Built {
    let largest = b.reduce(ReduceKind::Max, x, &[axis], true)?;
    b.sub(x, largest)
}

fn softmax(b: &mut Builder, axis: usize, x: NodeId) -> Built {
    let shifted = shifted(b, axis, x)?;
    let powers = b.exp(shifted)?;
    let sum = b.reduce(ReduceKind::Sum, powers, &[axis], true)?;
    b.div(powers, sum)
}

fn log_softmax(b: &mut Builder, axis: usize, x: NodeId) -> Built {
    let shifted = shifted(b, axis, x)?;
    let powers = b.exp(shifted)?;
    let sum = b.reduce(ReduceKind::Sum, powers, &[axis], true)?;
    let log = b.log(sum)?;
    b.sub(shifted, log)
}

/// `x` to mean 0 and variance 1 along `axis`.
fn normalized(b: &mut Builder, axis: usize, eps: f64, x: NodeId) -> Built {
    let mean = b.reduce(ReduceKind::Mean, x, &[axis], true)?;
    let centered = b.sub(x, mean)?;
    scaled_to_unit(b, axis, eps, centered)
}

/// `x` over its root mean square along `axis`.
fn scaled_to_unit(b: &mut Builder, axis: usize, eps: f64, x: NodeId) -> Built {
    let square = b.mul(x, x)?;
    let variance = b.reduce(ReduceKind::Mean, square, &[axis], true)?;
    let eps = b.scalar_like(x, eps)?;
    let sum = b.plus(variance, eps)?;
    let inverse = b.rsqrt(sum)?;
    b.mul(x, inverse)
}

fn layer_norm(b: &mut Builder, op: &LayerNorm, args: &[NodeId]) -> Built {
    let axis = b.rank(args[0]) - 1;
    let unit = normalized(b, axis, op.eps, args[0])?;
    let scaled = b.mul(unit, args[1])?;
    match args.get(2) {
        Some(&bias) => b.plus(scaled, bias),
        None => Ok(scaled),
    }
}

fn rms_norm(b: &mut Builder, op: &RmsNorm, args: &[NodeId]) -> Built {
    let axis = b.rank(args[0]) - 1;
    let unit = scaled_to_unit(b, axis, op.eps, args[0])?;
    b.mul(unit, args[1])
}

fn group_norm(b: &mut Builder, op: &GroupNorm, args: &[NodeId]) -> Built {
    let shape = b.shape(args[0]);
    let groups = Dim::from(op.groups);
    let divide = |n: Dim| n.floor_div(&groups).ok_or_else(|| OpError::new("group_norm needs at least one group"));
    let row = divide(Dim::product(&shape[1..]))?;
    let rows = b.reshape(args[0], [shape[0].clone(), groups.clone(), row])?;
    let unit = normalized(b, 2, op.eps, rows)?;
    let unit = b.reshape(unit, shape.clone())?;
    let mut per_channel = vec![Dim::known(1); shape.len() - 1];
    per_channel[0] = shape[1].clone();
    let scale = b.reshape(args[1], per_channel.clone())?;
    let bias = b.reshape(args[2], per_channel)?;
    let scaled = b.mul(unit, scale)?;
    b.plus(scaled, bias)
}

fn rope(b: &mut Builder, op: &Rope, args: &[NodeId]) -> Built {
    let (x, shape) = (args[0], b.shape(args[0]));
    let last = shape.len() - 1;
    let half = shape[last].floor_div(&Dim::known(2)).expect("2 is not zero");
    let rotated = if op.interleaved {
        let mut pairs = shape[..last].to_vec();
        pairs.extend([half, Dim::known(2)]);
        let paired = b.reshape(x, pairs)?;
        let (even, odd) = (b.slice_axis(paired, last + 1, 0i64, 1i64)?, b.slice_axis(paired, last + 1, 1i64, 2i64)?);
        let negated = b.neg(odd)?;
        let swapped = b.concat(&[negated, even], last + 1)?;
        b.reshape(swapped, shape.clone())?
    } else {
        let low = b.slice_axis(x, last, 0i64, half.clone())?;
        let high = b.slice_axis(x, last, half, shape[last].clone())?;
        let negated = b.neg(high)?;
        b.concat(&[negated, low], last)?
    };
    let straight = b.mul(x, args[1])?;
    let turned = b.mul(rotated, args[2])?;
    b.plus(straight, turned)
}

fn attention(b: &mut Builder, op: &Attention, args: &[NodeId]) -> Built {
    let (q, k, v) = (args[0], args[1], args[2]);
    let dtype = b.dtype(q);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let (q_shape, k_shape) = (b.shape(q), b.shape(k));
    let (queries, keys) = (q_shape[2].clone(), k_shape[2].clone());
    let k = repeat_heads(b, k, &q_shape[1])?;
    let v = repeat_heads(b, v, &q_shape[1])?;
    let k_columns = b.transpose(k, &[0, 1, 3, 2])?;
    let mut scores = b.add(Matmul { acc: wide, out: wide }, &[q, k_columns])?;
    let scale = b.scalar(wide, op.scale)?;
    scores = b.mul(scores, scale)?;
    if op.softcap > 0.0 {
        let cap = b.scalar(wide, op.softcap)?;
        let ratio = b.div(scores, cap)?;
        let bent = b.tanh(ratio)?;
        scores = b.mul(bent, cap)?;
    }
    let hidden = b.scalar(wide, f64::NEG_INFINITY)?;
    if let Some(&mask) = args.get(3) {
        scores = if b.dtype(mask) == DType::Bool {
            b.select(mask, scores, hidden)?
        } else {
            let mask = b.cast(mask, wide)?;
            b.plus(scores, mask)?
        };
    }
    if op.causal || op.window > 0 {
        let grid = vec![queries.clone(), keys.clone()];
        let row = b.add(Iota { axis: 0, dtype: DType::I64, shape: grid.clone() }, &[])?;
        let column = b.add(Iota { axis: 1, dtype: DType::I64, shape: grid.clone() }, &[])?;
        // Queries are the last of the keys' positions.
        let past = keys - queries;
        let past = past.value().ok_or_else(|| OpError::new("causal attention needs its token counts bound"))?;
        let past = b.scalar(DType::I64, past)?;
        let position = b.plus(row, past)?;
        let mut visible = b.le(column, position)?;
        if op.window > 0 {
            let width = b.scalar(DType::I64, Scalar::I(op.window as i128))?;
            let distance = b.sub(position, column)?;
            let near = b.lt(distance, width)?;
            visible = b.and(visible, near)?;
        }
        scores = b.select(visible, scores, hidden)?;
    }
    let weights = b.add(Softmax { axis: 3 }, &[scores])?;
    let weights = b.cast(weights, dtype)?;
    b.add(Matmul { acc: wide, out: dtype }, &[weights, v])
}

/// Key/value heads repeated so that each query head has one: head `h` of `n` uses key head `h / (n / n_kv)`.
fn repeat_heads(b: &mut Builder, x: NodeId, heads: &Dim) -> Built {
    let shape = b.shape(x);
    if shape[1] == *heads {
        return Ok(x);
    }
    let repeats = heads.floor_div(&shape[1]).ok_or_else(|| OpError::new("attention has no key heads"))?;
    let split = [shape[0].clone(), shape[1].clone(), Dim::known(1), shape[2].clone(), shape[3].clone()];
    let mut repeated = split.clone();
    repeated[2] = repeats;
    let x = b.reshape(x, split)?;
    let x = b.broadcast_to(x, &repeated)?;
    b.reshape(x, [shape[0].clone(), heads.clone(), shape[2].clone(), shape[3].clone()])
}

/// The type rule that norms share: `x` is a float of rank 1 or more; the others are vectors along the last axis.
pub(crate) fn infer_row_norm(name: &str, args: &[&Type]) -> Result<Type, OpError> {
    let x = args[0];
    let Some(width) = x.shape.last().filter(|_| x.dtype.is_float()) else {
        return Err(OpError::new(format!("`{name}` needs a float operand of rank 1 or more, found {x}")));
    };
    for (position, vector) in args.iter().enumerate().skip(1) {
        if vector.dtype != x.dtype || vector.shape != [width.clone()] {
            let expected = Type::new(x.dtype, [width.clone()]);
            return Err(OpError::new(format!("`{name}` operand {position} is {vector}, expected {expected}")));
        }
    }
    Ok(x.clone())
}
