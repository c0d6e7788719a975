//! Channels last for convolutions: `[n, spatial..., channels]` puts the inner dimension of the products next to each
//! other in memory, as tensor cores want it.
//!
//! In: convolutions of either layout. Out: convolutions with channels last, filters transposed to fit, and the layout
//! carried on through everything that can follow it: maps, windows, padding, slices, concatenation, reductions. So an
//! image is transposed where it enters and where it leaves, not around each convolution.
//!
//! Every value that has a channels-last twin is given by a transpose of that twin; those that nobody asks for are dead.

use crate::context::Context;
use crate::error::PassError;
use gable_ir::attr::Layout;
use gable_ir::ops::*;
use gable_ir::{Builder, Group, Module, NodeId, Op, OpError};
use gable_tensor::Dim;
use std::collections::BTreeMap;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = carry(&mut b, context).map_err(|source| PassError::Built { pass: "layout", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

/// Channels-last axes in channels-first order: `[n, channels, spatial...]` from `[n, spatial..., channels]`.
fn to_first(rank: usize) -> Vec<usize> {
    [0, rank - 1].into_iter().chain(1..rank - 1).collect()
}

/// Channels-first axes in channels-last order.
fn to_last(rank: usize) -> Vec<usize> {
    [0].into_iter().chain(2..rank).chain([1]).collect()
}

/// Where a channels-first axis is with channels last.
fn axis_last(axis: usize, rank: usize) -> usize {
    match axis {
        0 => 0,
        1 => rank - 1,
        _ => axis - 1,
    }
}

fn permuted<T: Clone>(values: &[T]) -> Vec<T> {
    to_last(values.len()).into_iter().map(|axis| values[axis].clone()).collect()
}

fn carry(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    let mut twins: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let mut made = Vec::new();
    for id in b.graph.order() {
        b.set_origin(b.graph.node(id).origin.clone());
        let follows = b.graph.operands(id).iter().any(|operand| twins.contains_key(operand));
        let is_conv = matches!(b.graph.op(id), Op::Conv(op) if op.layout == Layout::ChannelsFirst);
        if !(is_conv || follows) {
            continue;
        }
        if let Some(twin) = twin_of(b, id, &mut twins)? {
            if !context.step() {
                break;
            }
            twins.insert(id, twin);
            made.push(id);
        }
    }
    for id in made {
        let first = b.transpose(twins[&id], &to_first(b.rank(id)))?;
        b.graph.replace_uses(id, first);
    }
    Ok(())
}

/// The operand with channels last: its twin, or itself transposed. A broadcast is done again instead.
fn last(b: &mut Builder, x: NodeId, twins: &mut BTreeMap<NodeId, NodeId>) -> Result<NodeId, OpError> {
    if let Some(&twin) = twins.get(&x) {
        return Ok(twin);
    }
    let twin = match b.graph.op(x) {
        Op::Broadcast(Broadcast { shape }) => {
            let shape = permuted(shape);
            let source = b.graph.operand(x, 0);
            if b.rank(source) == 0 {
                b.broadcast_to(source, &shape)?
            } else {
                let mut whole = vec![Dim::known(1); shape.len() - b.rank(source)];
                whole.extend(b.shape(source));
                let whole = b.reshape(source, whole)?;
                let moved = b.transpose(whole, &to_last(shape.len()))?;
                b.broadcast_to(moved, &shape)?
            }
        }
        _ => b.transpose(x, &to_last(b.rank(x)))?,
    };
    twins.insert(x, twin);
    Ok(twin)
}

/// The value computed with channels last from operands with channels last; `None` when the op cannot follow.
fn twin_of(b: &mut Builder, id: NodeId, twins: &mut BTreeMap<NodeId, NodeId>) -> Result<Option<NodeId>, OpError> {
    let (op, operands, rank) = (b.graph.op(id).clone(), b.graph.operands(id), b.rank(id));
    if rank < 3 {
        return reduced_to_channels(b, id, twins);
    }
    let twin = match op {
        Op::Conv(conv) if conv.layout == Layout::ChannelsFirst => {
            let x = last(b, operands[0], twins)?;
            let filter = b.transpose(operands[1], &to_last(rank))?;
            b.add(Conv { layout: Layout::ChannelsLast, ..conv }, &[x, filter])?
        }
        Op::ReduceWindow(op) => {
            let x = last(b, operands[0], twins)?;
            let moved = ReduceWindow {
                kind: op.kind,
                window: permuted(&op.window),
                strides: permuted(&op.strides),
                dilations: permuted(&op.dilations),
                low: permuted(&op.low),
                high: permuted(&op.high),
            };
            b.add(moved, &[x])?
        }
        Op::Pad(op) if twins.contains_key(&operands[0]) => {
            let x = last(b, operands[0], twins)?;
            let moved = Pad { low: permuted(&op.low), high: permuted(&op.high), interior: permuted(&op.interior) };
            b.add(moved, &[x, operands[1]])?
        }
        Op::Slice(op) => {
            let x = last(b, operands[0], twins)?;
            let moved = Slice { starts: permuted(&op.starts), ends: permuted(&op.ends), steps: permuted(&op.steps) };
            b.add(moved, &[x])?
        }
        Op::Concat(op) => {
            let xs: Vec<NodeId> = operands.iter().map(|&x| last(b, x, twins)).collect::<Result<_, _>>()?;
            b.add(Concat { axis: axis_last(op.axis, rank) }, &xs)?
        }
        Op::Reduce(op) if op.keep => {
            let x = last(b, operands[0], twins)?;
            let mut axes: Vec<usize> = op.axes.iter().map(|&axis| axis_last(axis, rank)).collect();
            axes.sort_unstable();
            b.add(Reduce { axes, ..op }, &[x])?
        }
        Op::Softmax(op) => {
            let x = last(b, operands[0], twins)?;
            b.add(Softmax { axis: axis_last(op.axis, rank) }, &[x])?
        }
        Op::LogSoftmax(op) => {
            let x = last(b, operands[0], twins)?;
            b.add(LogSoftmax { axis: axis_last(op.axis, rank) }, &[x])?
        }
        // One row of positions for all: an axis resized by nearest neighbour, say.
        Op::Gather(op) if b.rank(operands[1]) == 1 && twins.contains_key(&operands[0]) => {
            let x = last(b, operands[0], twins)?;
            b.add(Gather { axis: axis_last(op.axis, rank) }, &[x, operands[1]])?
        }
        Op::Broadcast(op) if b.rank(operands[0]) == rank => {
            let x = last(b, operands[0], twins)?;
            b.broadcast_to(x, &permuted(&op.shape))?
        }
        // Space may be regrouped as long as samples and channels stay axes of their own.
        Op::Reshape(op) if b.rank(operands[0]) >= 3 && op.shape[..2] == b.shape(operands[0])[..2] => {
            let x = last(b, operands[0], twins)?;
            b.reshape(x, permuted(&op.shape))?
        }
        op if op.is(Group::Map) => {
            let xs: Vec<NodeId> = operands.iter().map(|&x| last(b, x, twins)).collect::<Result<_, _>>()?;
            b.add(op, &xs)?
        }
        _ => return Ok(None),
    };
    Ok(Some(twin))
}

/// A reduction over all of space that drops it leaves `[n, channels]`, which is the same in both layouts: the
/// reduction is replaced on the spot.
fn reduced_to_channels(
    b: &mut Builder,
    id: NodeId,
    twins: &mut BTreeMap<NodeId, NodeId>,
) -> Result<Option<NodeId>, OpError> {
    let Op::Reduce(op) = b.graph.op(id).clone() else { return Ok(None) };
    let x = b.graph.operand(id, 0);
    let rank = b.rank(x);
    if rank >= 3 && op.axes.iter().copied().eq(2..rank) && !op.keep {
        let x = last(b, x, twins)?;
        let moved = b.add(Reduce { axes: (1..rank - 1).collect(), ..op }, &[x])?;
        b.graph.replace_uses(id, moved);
    }
    Ok(None)
}
