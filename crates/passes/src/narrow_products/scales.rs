//! Takes scales out of a factor, where they are the same for every k.

use super::ones;
use crate::exact::MAX_DEPTH;
use gable_ir::{Builder, NodeId, Op, OpError};
use gable_tensor::{DType, Dim};

/// A value without some of the scales that it was multiplied by.
pub struct Peeled {
    pub value: NodeId,
    /// Of as many axes as the value, to which they broadcast; of size 1 along k.
    pub scales: Vec<NodeId>,
}

/// Peels the f32 value, whose axis of k is `k_axis`; where that is not known, only scales of one element leave.
pub fn peel(b: &mut Builder, id: NodeId, k_axis: Option<usize>, depth: usize) -> Result<Peeled, OpError> {
    let whole = Peeled { value: id, scales: Vec::new() };
    if depth == 0 || b.dtype(id) != DType::F32 {
        return Ok(whole);
    }
    match b.graph.op(id).clone() {
        Op::Mul(op) => {
            let [x, y] = b.graph.operands(id)[..] else { return Ok(whole) };
            for (rest, scale) in [(x, y), (y, x)] {
                if let Some(scale) = same_for_every_k(b, scale, k_axis)? {
                    let mut peeled = peel(b, rest, k_axis, depth - 1)?;
                    peeled.scales.push(scale);
                    return Ok(peeled);
                }
            }
            let (x, y) = (peel(b, x, k_axis, depth - 1)?, peel(b, y, k_axis, depth - 1)?);
            let scales = [x.scales, y.scales].concat();
            if scales.is_empty() {
                return Ok(whole);
            }
            Ok(Peeled { value: b.add(op, &[x.value, y.value])?, scales })
        }
        Op::Transpose(op) => {
            let inner = k_axis.and_then(|axis| op.perm.get(axis).copied());
            let peeled = peel(b, b.graph.operand(id, 0), inner, depth - 1)?;
            moved(b, op.clone(), peeled, whole, |b, scale| b.transpose(scale, &op.perm))
        }
        Op::Broadcast(op) => {
            let from = b.graph.operand(id, 0);
            let added = b.rank(id) - b.rank(from);
            let inner = k_axis.and_then(|axis| axis.checked_sub(added));
            let peeled = peel(b, from, inner, depth - 1)?;
            moved(b, op, peeled, whole, |b, scale| {
                let shape: Vec<Dim> = ones(added).into_iter().chain(b.shape(scale)).collect();
                b.reshape(scale, shape)
            })
        }
        Op::Reshape(op) => {
            // Where rows and k have come from is not asked: one element is everywhere.
            let peeled = peel(b, b.graph.operand(id, 0), None, depth - 1)?;
            let rank = op.shape.len();
            moved(b, op, peeled, whole, |b, scale| b.reshape(scale, ones(rank)))
        }
        _ => Ok(whole),
    }
}

/// What is left of a move's operand, moved, with its scales.
fn moved(
    b: &mut Builder,
    op: impl Into<Op>,
    peeled: Peeled,
    whole: Peeled,
    place: impl Fn(&mut Builder, NodeId) -> Result<NodeId, OpError>,
) -> Result<Peeled, OpError> {
    if peeled.scales.is_empty() {
        return Ok(whole);
    }
    let value = b.add(op, &[peeled.value])?;
    let scales = peeled.scales.into_iter().map(|scale| place(b, scale)).collect::<Result<_, _>>()?;
    Ok(Peeled { value, scales })
}

/// The scale of size 1 along k that a value repeats, in as many axes.
fn same_for_every_k(b: &mut Builder, id: NodeId, k_axis: Option<usize>) -> Result<Option<NodeId>, OpError> {
    let rank = b.rank(id);
    let mut source = id;
    for _ in 0..MAX_DEPTH {
        match b.graph.op(source) {
            Op::Broadcast(_) => source = b.graph.operand(source, 0),
            _ => break,
        }
    }
    let shape: Vec<Dim> = ones(rank - b.rank(source)).into_iter().chain(b.shape(source)).collect();
    let is_one = |dim: &Dim| dim.value() == Some(1);
    let is_same = k_axis.is_some_and(|axis| is_one(&shape[axis])) || shape.iter().all(is_one);
    if is_same {
        return b.reshape(source, shape).map(Some);
    }
    // One element, repeated and then moved.
    let mut moved = source;
    for _ in 0..MAX_DEPTH {
        match b.graph.op(moved) {
            Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) => moved = b.graph.operand(moved, 0),
            _ => break,
        }
    }
    if b.shape(moved).iter().all(is_one) { b.reshape(moved, ones(rank)).map(Some) } else { Ok(None) }
}

/// The product times its scales; those of one element are multiplied with each other first.
pub fn multiply(b: &mut Builder, product: NodeId, scales: Vec<NodeId>) -> Result<NodeId, OpError> {
    let is_single = |b: &Builder, id: NodeId| b.shape(id).iter().all(|dim| dim.value() == Some(1));
    let (single, others): (Vec<NodeId>, Vec<NodeId>) = scales.into_iter().partition(|&scale| is_single(b, scale));
    let joint = single.into_iter().map(Ok).reduce(|one, other| b.mul(one?, other?)).transpose()?;
    others.into_iter().chain(joint).try_fold(product, |product, scale| b.mul(product, scale))
}
