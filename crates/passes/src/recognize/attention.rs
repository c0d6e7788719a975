//! Attention: `softmax(scale * q k^T + mask) v` over `[batch, heads, tokens, width]`.
//!
//! The scale may stand on the scores, on q, on k, or be split between the two; the mask is added, or selects between
//! the score and minus infinity; key/value heads may be repeated by a broadcast. A constant mask that hides just what
//! comes later is `causal`.

use super::{Found, both_ways, repeated};
use crate::constant::splat_float;
use gable_ir::ops::Attention;
use gable_ir::{Builder, Graph, NodeId, Op};
use gable_tensor::{Scalar, Tensor};

/// A mask value from here down leaves nothing of any score that f32 can hold beside others.
const HIDDEN: f64 = -1e30;

/// What was found on the way from the softmax down to the product of q and k.
struct Scores {
    product: NodeId,
    scale: f64,
    mask: Option<NodeId>,
}

/// See the module.
pub fn attention(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let Op::Matmul(outer) = graph.op(id) else { return Ok(None) };
    let (weights, v) = (graph.operand(id, 0), graph.operand(id, 1));
    let Op::Softmax(softmax) = graph.op(weights) else { return Ok(None) };
    let dtype = graph.ty(id).dtype;
    let rank = graph.ty(id).rank();
    if rank != 4 || softmax.axis != 3 || outer.out != dtype || graph.ty(v).dtype != dtype {
        return Ok(None);
    }
    let Some(scores) = scores(graph, graph.operand(weights, 0)) else { return Ok(None) };
    let Op::Matmul(inner) = graph.op(scores.product) else { return Ok(None) };
    if inner.out != dtype || inner.acc != outer.acc {
        return Ok(None);
    }
    let (q, q_scale) = unscaled(graph, graph.operand(scores.product, 0));
    let (k_columns, k_scale) = unscaled(graph, graph.operand(scores.product, 1));
    let scale = scores.scale * q_scale * k_scale;
    let mut causal = false;
    let mut mask = scores.mask.map(|mask| repeated(graph, mask));
    if let Some(found) = mask
        && hides_what_comes_later(b, found, scores.product)
    {
        (causal, mask) = (true, None);
    }
    let mut k = b.transpose(k_columns, &[0, 1, 3, 2])?;
    if let Op::Transpose(inner) = b.graph.op(k_columns)
        && inner.perm == [0, 1, 3, 2]
    {
        k = b.graph.operand(k_columns, 0);
    }
    let mut v = v;
    if let (Some(few_k), Some(few_v)) = (repeated_heads(&b.graph, k), repeated_heads(&b.graph, v))
        && b.shape(few_k)[..3] == b.shape(few_v)[..3]
    {
        (k, v) = (few_k, few_v);
    }
    let operands: Vec<NodeId> = [q, k, v].into_iter().chain(mask).collect();
    b.add(Attention { scale, causal, window: 0, softcap: 0.0 }, &operands).map(Some)
}

/// Takes masks and then scales off the scores.
fn scores(graph: &Graph, id: NodeId) -> Option<Scores> {
    if let Some((product, scale)) = scaled_product(graph, id) {
        return Some(Scores { product, scale, mask: None });
    }
    match graph.op(id) {
        Op::Add(_) => both_ways(graph, id).into_iter().find_map(|(x, mask)| {
            let (product, scale) = scaled_product(graph, x)?;
            Some(Scores { product, scale, mask: Some(mask) })
        }),
        Op::Select(_) => {
            let operands = graph.operands(id);
            let (product, scale) = scaled_product(graph, operands[1])?;
            let hidden = splat_float(graph, operands[2])?;
            (hidden == f64::NEG_INFINITY).then_some(Scores { product, scale, mask: Some(operands[0]) })
        }
        _ => None,
    }
}

fn scaled_product(graph: &Graph, id: NodeId) -> Option<(NodeId, f64)> {
    let (x, scale) = unscaled(graph, id);
    matches!(graph.op(x), Op::Matmul(_)).then_some((x, scale))
}

/// A value without the constant that multiplies it, and the constant.
fn unscaled(graph: &Graph, id: NodeId) -> (NodeId, f64) {
    let constant = |position| splat_float(graph, graph.operand(id, position));
    match graph.op(id) {
        Op::Mul(_) => match (constant(1), constant(0)) {
            (Some(c), _) => (graph.operand(id, 0), c),
            (None, Some(c)) => (graph.operand(id, 1), c),
            (None, None) => (id, 1.0),
        },
        Op::Div(_) => match constant(1) {
            Some(c) if c != 0.0 => (graph.operand(id, 0), 1.0 / c),
            _ => (id, 1.0),
        },
        _ => (id, 1.0),
    }
}

/// The value whose heads are repeated, one after the other, when `id` is `[batch, heads, 1, ...]` repeated and joined.
fn repeated_heads(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let Op::Reshape(_) = graph.op(id) else { return None };
    let many = graph.operand(id, 0);
    let Op::Broadcast(_) = graph.op(many) else { return None };
    let split = graph.operand(many, 0);
    let Op::Reshape(_) = graph.op(split) else { return None };
    let few = graph.operand(split, 0);
    let (few_shape, split_shape, many_shape, all) =
        (&graph.ty(few).shape, &graph.ty(split).shape, &graph.ty(many).shape, &graph.ty(id).shape);
    let fits = few_shape.len() == 4
        && split_shape.len() == 5
        && many_shape.len() == 5
        && all.len() == 4
        && split_shape[2].value() == Some(1)
        && split_shape[..2] == few_shape[..2]
        && split_shape[3..] == few_shape[2..]
        && many_shape[..2] == split_shape[..2]
        && many_shape[3..] == split_shape[3..]
        && all[0] == few_shape[0]
        && all[2..] == few_shape[2..];
    fits.then_some(few)
}

/// Whether the mask is constant, the same for all heads, and lets query `i` see the keys up to `i + keys - queries`
/// just as they are.
fn hides_what_comes_later(b: &Builder, mask: NodeId, product: NodeId) -> bool {
    let Some(scores) = b.ty(product).concrete() else { return false };
    let (queries, keys) = (scores.shape[2], scores.shape[3]);
    if keys < queries {
        return false;
    }
    let shown = |i: usize| i % keys <= i / keys % queries + (keys - queries);
    if let Some(past) = compared_coordinates(&b.graph, mask) {
        return past == (keys - queries) as i128;
    }
    let value: &Tensor = match b.graph.op(mask) {
        Op::Const(op) => &op.value,
        Op::Weight(op) => match b.weights.get(&op.key) {
            Some(value) => value,
            None => return false,
        },
        _ => return false,
    };
    value.len() == queries * keys
        && value.shape().ends_with(&[queries, keys])
        && value.scalars().enumerate().all(|(i, element)| match element {
            Scalar::B(visible) => visible == shown(i),
            Scalar::F(added) => {
                if shown(i) {
                    added == 0.0
                } else {
                    added <= HIDDEN
                }
            }
            Scalar::I(_) => false,
        })
}

/// `past`, when the mask is `column <= row + past` over coordinates of its last two axes.
fn compared_coordinates(graph: &Graph, mask: NodeId) -> Option<i128> {
    let Op::Le(_) = graph.op(mask) else { return None };
    let rank = graph.ty(mask).rank();
    let counts = |id: NodeId, axis: usize| matches!(graph.op(id), Op::Iota(op) if op.axis == axis);
    let (column, row) = (graph.operand(mask, 0), graph.operand(mask, 1));
    if rank < 2
        || graph.ty(mask).shape[..rank - 2].iter().any(|dim| dim.value() != Some(1))
        || !counts(column, rank - 1)
    {
        return None;
    }
    match graph.op(row) {
        Op::Iota(op) if op.axis == rank - 2 => Some(0),
        Op::Add(_) if counts(graph.operand(row, 0), rank - 2) => {
            match crate::constant::splat(graph, graph.operand(row, 1))? {
                Scalar::I(past) => Some(past),
                Scalar::F(_) | Scalar::B(_) => None,
            }
        }
        _ => None,
    }
}
