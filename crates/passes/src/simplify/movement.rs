//! Movement that moves nothing, and movement of movement.

use super::Rewrite;
use crate::constant::splat;
use gable_ir::ops::*;
use gable_ir::{Builder, Graph, NodeId, Op};
use gable_tensor::{Dim, Tensor};

fn is_one(dim: &Dim) -> bool {
    dim.value() == Some(1)
}

/// A constant of equal elements is one element, repeated.
pub fn constant(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Const(op) = b.graph.op(id) else { return Ok(None) };
    if op.value.shape().is_empty() {
        return Ok(None);
    }
    let Some(value) = splat(&b.graph, id) else { return Ok(None) };
    let (dtype, shape) = (b.dtype(id), b.shape(id));
    let scalar = b.add(Const { value: Tensor::scalar(dtype, value) }, &[])?;
    b.broadcast_to(scalar, &shape).map(Some)
}

/// To the same shape, of a reshape, of a repeated scalar, and of axes of size 1 among repeated ones.
pub fn reshape(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Reshape(Reshape { shape }) = b.graph.op(id).clone() else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    if b.ty(x).shape == shape {
        return Ok(Some(x));
    }
    match b.graph.op(x) {
        Op::Reshape(_) => b.reshape(b.graph.operand(x, 0), shape).map(Some),
        Op::Broadcast(_) => match repeated_scalar(b, x, &shape)? {
            Some(value) => Ok(Some(value)),
            None => repeated_elsewhere(b, x, &shape),
        },
        Op::Reduce(op) if !op.keep => {
            // Axes that come back with size 1 might as well have stayed.
            let (op, source) = (op.clone(), b.graph.operand(x, 0));
            let from = b.shape(source);
            let stays = |axis: usize| if op.axes.contains(&axis) { Dim::known(1) } else { from[axis].clone() };
            if !(0..from.len()).map(stays).eq(shape.iter().cloned()) {
                return Ok(None);
            }
            b.add(Reduce { keep: true, ..op }, &[source]).map(Some)
        }
        _ => Ok(None),
    }
}

/// `shape` filled with the scalar that `x` repeats, if it does.
fn repeated_scalar(b: &mut Builder, x: NodeId, shape: &[Dim]) -> Rewrite {
    let source = b.graph.operand(x, 0);
    if b.rank(source) == 0 { b.broadcast_to(source, shape).map(Some) } else { Ok(None) }
}

/// A broadcast under a shape that has other axes of size 1 only: the broadcast of its operand under such a shape.
fn repeated_elsewhere(b: &mut Builder, x: NodeId, shape: &[Dim]) -> Rewrite {
    let source = b.graph.operand(x, 0);
    let (wide, own) = (b.shape(x), b.shape(source));
    let added = wide.len() - own.len();
    let mut kept = (0..wide.len()).filter(|&axis| !is_one(&wide[axis]));
    let mut moved = Vec::with_capacity(shape.len());
    for dim in shape {
        moved.push(match is_one(dim) {
            true => Dim::known(1),
            false => match kept.next().filter(|&axis| wide[axis] == *dim) {
                Some(axis) => axis.checked_sub(added).map_or(Dim::known(1), |axis| own[axis].clone()),
                None => return Ok(None),
            },
        });
    }
    if kept.next().is_some() {
        return Ok(None);
    }
    let value = b.reshape(source, moved)?;
    b.broadcast_to(value, shape).map(Some)
}

/// The identity, of a transpose, of a repeated scalar, and of axes of size 1 among others in order.
pub fn transpose(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Transpose(Transpose { perm }) = b.graph.op(id).clone() else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(Some(x));
    }
    let shape = b.shape(id);
    match b.graph.op(x) {
        Op::Transpose(inner) => {
            let composed: Vec<usize> = perm.iter().map(|&axis| inner.perm[axis]).collect();
            return b.transpose(b.graph.operand(x, 0), &composed).map(Some);
        }
        Op::Broadcast(_) if b.rank(b.graph.operand(x, 0)) == 0 => return repeated_scalar(b, x, &shape),
        _ => {}
    }
    let from = &b.ty(x).shape;
    let moved: Vec<usize> = perm.iter().copied().filter(|&axis| !is_one(&from[axis])).collect();
    if moved.windows(2).all(|pair| pair[0] < pair[1]) {
        return b.reshape(x, shape).map(Some);
    }
    Ok(None)
}

/// To the same shape, of a broadcast, of a reshape that only adds leading axes.
pub fn broadcast(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Broadcast(Broadcast { shape }) = b.graph.op(id).clone() else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    if b.ty(x).shape == shape {
        return Ok(Some(x));
    }
    match b.graph.op(x) {
        Op::Broadcast(_) => b.broadcast_to(b.graph.operand(x, 0), &shape).map(Some),
        Op::Reshape(_) => {
            let source = b.graph.operand(x, 0);
            let (from, to) = (b.shape(source), b.shape(x));
            let added = to.len().checked_sub(from.len());
            match added {
                Some(n) if to[..n].iter().all(is_one) && to[n..] == from[..] => {
                    b.broadcast_to(source, &shape).map(Some)
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn is_whole(graph: &Graph, x: NodeId, slice: &Slice) -> bool {
    let shape = &graph.ty(x).shape;
    (0..shape.len())
        .all(|axis| slice.starts[axis].value() == Some(0) && slice.ends[axis] == shape[axis] && slice.steps[axis] == 1)
}

/// Of everything, and of a slice whose steps are 1.
pub fn slice(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Slice(outer) = b.graph.op(id).clone() else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    if is_whole(&b.graph, x, &outer) {
        return Ok(Some(x));
    }
    let Op::Slice(inner) = b.graph.op(x).clone() else { return Ok(None) };
    if inner.steps.iter().any(|&step| step != 1) || outer.steps.iter().any(|&step| step < 1) {
        return Ok(None);
    }
    let shifted = |dims: &[Dim]| -> Vec<Dim> {
        dims.iter().zip(&inner.starts).map(|(dim, start)| dim.clone() + start.clone()).collect()
    };
    let joined = Slice { starts: shifted(&outer.starts), ends: shifted(&outer.ends), steps: outer.steps };
    b.add(joined, &[b.graph.operand(x, 0)]).map(Some)
}

/// By nothing.
pub fn pad(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Pad(op) = b.graph.op(id) else { return Ok(None) };
    let nothing = [&op.low, &op.high, &op.interior].into_iter().flatten().all(|&n| n == 0);
    Ok(nothing.then(|| b.graph.operand(id, 0)))
}

/// Of one operand, of empty operands, and of concatenations along the same axis.
pub fn concat(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Concat(Concat { axis }) = *b.graph.op(id) else { return Ok(None) };
    let operands = b.graph.operands(id);
    let flat: Vec<NodeId> = operands
        .iter()
        .flat_map(|&x| match b.graph.op(x) {
            Op::Concat(inner) if inner.axis == axis => b.graph.operands(x),
            _ => vec![x],
        })
        .filter(|&x| b.ty(x).shape[axis].value() != Some(0))
        .collect();
    if flat == operands && flat.len() != 1 || flat.is_empty() {
        return Ok(None);
    }
    b.concat(&flat, axis).map(Some)
}

/// Of one known position: a slice.
pub fn gather_one(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Gather(Gather { axis }) = *b.graph.op(id) else { return Ok(None) };
    let (x, indices) = (b.graph.operand(id, 0), b.graph.operand(id, 1));
    let (Some(size), Some(index)) = (b.ty(x).shape[axis].value(), splat(&b.graph, indices)) else { return Ok(None) };
    if !b.ty(indices).shape.iter().all(is_one) || size == 0 {
        return Ok(None);
    }
    let at = index.as_i128().clamp(0, i128::from(size) - 1) as i64;
    let shape = b.shape(id);
    let one = b.slice_axis(x, axis, at, at + 1)?;
    b.reshape(one, shape).map(Some)
}

/// Over axes of size 1: a reshape.
pub fn reduce_ones(b: &mut Builder, id: NodeId) -> Rewrite {
    let Op::Reduce(op) = b.graph.op(id) else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    let from = &b.ty(x).shape;
    if !op.axes.iter().all(|&axis| is_one(&from[axis])) {
        return Ok(None);
    }
    let shape = b.shape(id);
    b.reshape(x, shape).map(Some)
}
