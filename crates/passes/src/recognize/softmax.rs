//! Softmax and its logarithm.

use super::{Found, both_ways, repeated};
use gable_ir::attr::ReduceKind;
use gable_ir::ops::{LogSoftmax, Softmax};
use gable_ir::{Builder, Graph, NodeId, Op};

/// The operand of a reduction of this kind along one axis that keeps it, and the axis.
fn reduced(graph: &Graph, id: NodeId, kind: ReduceKind) -> Option<(NodeId, usize)> {
    match graph.op(id) {
        Op::Reduce(op) if op.kind == kind && op.keep && op.axes.len() == 1 => Some((graph.operand(id, 0), op.axes[0])),
        _ => None,
    }
}

/// `x` and the axis, when `id` is `exp(x - max(x))`.
fn shifted_powers(graph: &Graph, id: NodeId) -> Option<(NodeId, usize)> {
    let Op::Exp(_) = graph.op(id) else { return None };
    let shifted = graph.operand(id, 0);
    let Op::Sub(_) = graph.op(shifted) else { return None };
    let (x, largest) = (graph.operand(shifted, 0), repeated(graph, graph.operand(shifted, 1)));
    let (of, axis) = reduced(graph, largest, ReduceKind::Max)?;
    (of == x).then_some((x, axis))
}

/// `p / sum(p)`, or `p * (1 / sum(p))`, for `p = exp(x - max(x))`.
pub fn softmax(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let pairs = match graph.op(id) {
        Op::Div(_) => vec![(graph.operand(id, 0), repeated(graph, graph.operand(id, 1)))],
        Op::Mul(_) => both_ways(graph, id)
            .into_iter()
            .filter_map(|(powers, inverse)| {
                let inverse = repeated(graph, inverse);
                matches!(graph.op(inverse), Op::Recip(_)).then(|| (powers, graph.operand(inverse, 0)))
            })
            .collect(),
        _ => return Ok(None),
    };
    for (powers, sum) in pairs {
        let (Some((x, axis)), Some((of, sum_axis))) =
            (shifted_powers(graph, powers), reduced(graph, sum, ReduceKind::Sum))
        else {
            continue;
        };
        if of == powers && axis == sum_axis {
            return b.add(Softmax { axis }, &[x]).map(Some);
        }
    }
    Ok(None)
}

/// `log(softmax(x))`, or `(x - max(x)) - log(sum(exp(x - max(x))))`.
pub fn log_softmax(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let found = match graph.op(id) {
        Op::Log(_) => match graph.op(graph.operand(id, 0)) {
            Op::Softmax(op) => Some((graph.operand(graph.operand(id, 0), 0), op.axis)),
            _ => None,
        },
        Op::Sub(_) => {
            let (shifted, log) = (graph.operand(id, 0), repeated(graph, graph.operand(id, 1)));
            let Op::Log(_) = graph.op(log) else { return Ok(None) };
            let sum = reduced(graph, graph.operand(log, 0), ReduceKind::Sum);
            sum.filter(|(powers, _)| graph.operands(*powers) == [shifted])
                .and_then(|(powers, axis)| shifted_powers(graph, powers).filter(|(_, of)| *of == axis))
        }
        _ => None,
    };
    match found {
        Some((x, axis)) => b.add(LogSoftmax { axis }, &[x]).map(Some),
        None => Ok(None),
    }
}
