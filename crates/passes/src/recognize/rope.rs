//! Rotary position embedding: `x * cos + rotated(x) * sin`, rotated by halves.

use super::{Found, both_ways, repeated};
use gable_ir::ops::Rope;
use gable_ir::{Builder, Graph, NodeId, Op};

/// `x`, when `id` is `(-second half, first half)` of `x` along the last axis.
fn rotated(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let Op::Concat(concat) = graph.op(id) else { return None };
    let operands = graph.operands(id);
    let [negated, low] = operands[..] else { return None };
    let Op::Neg(_) = graph.op(negated) else { return None };
    let high = graph.operand(negated, 0);
    let x = graph.operands(low).first().copied()?;
    let shape = &graph.ty(x).shape;
    let last = shape.len().checked_sub(1)?;
    let width = shape[last].value()?;
    let half = |id: NodeId, from: i64, to: i64| match graph.op(id) {
        Op::Slice(op) => {
            graph.operand(id, 0) == x
                && (0..=last).all(|axis| {
                    let (start, end) = if axis == last { (from, Some(to)) } else { (0, shape[axis].value()) };
                    op.steps[axis] == 1 && op.starts[axis].value() == Some(start) && op.ends[axis].value() == end
                })
        }
        _ => false,
    };
    let fits = concat.axis == last && width % 2 == 0 && half(low, 0, width / 2) && half(high, width / 2, width);
    fits.then_some(x)
}

/// See the module.
pub fn rope(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let Op::Add(_) = graph.op(id) else { return Ok(None) };
    for (straight, turned) in both_ways(graph, id) {
        let (Op::Mul(_), Op::Mul(_)) = (graph.op(straight), graph.op(turned)) else { continue };
        for (turn, sin) in both_ways(graph, turned) {
            let Some(x) = rotated(graph, turn) else { continue };
            if let Some((_, cos)) = both_ways(graph, straight).into_iter().find(|(factor, _)| *factor == x) {
                let (cos, sin) = (repeated(graph, cos), repeated(graph, sin));
                return b.add(Rope { interleaved: false }, &[x, cos, sin]).map(Some);
            }
        }
    }
    Ok(None)
}
