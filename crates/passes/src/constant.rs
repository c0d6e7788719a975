//! What is known of a value before the program runs: used by rewrites that look for particular constants.

use gable_ir::attr::ReduceKind;
use gable_ir::{Graph, NodeId, Op};
use gable_tensor::Scalar;

/// The one value that every element has, when the value is a constant seen through reshapes, broadcasts and transposes.
pub fn splat(graph: &Graph, mut id: NodeId) -> Option<Scalar> {
    while let Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) = graph.op(id) {
        id = graph.operand(id, 0);
    }
    let Op::Const(op) = graph.op(id) else { return None };
    let width = op.value.dtype().bytes();
    let mut elements = op.value.bytes().chunks_exact(width);
    let first = elements.next()?;
    elements.all(|element| element == first).then(|| op.value.get(0))
}

/// As [`splat`], for floats.
pub fn splat_float(graph: &Graph, id: NodeId) -> Option<f64> {
    match splat(graph, id)? {
        Scalar::F(x) => Some(x),
        Scalar::I(_) | Scalar::B(_) => None,
    }
}

/// Whether no element is negative or -0, NaN aside.
pub fn is_non_negative(graph: &Graph, id: NodeId) -> bool {
    non_negative_within(graph, id, 8)
}

fn non_negative_within(graph: &Graph, id: NodeId, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    let operands = graph.operands(id);
    let all = || operands.iter().all(|&operand| non_negative_within(graph, operand, depth - 1));
    match graph.op(id) {
        Op::Const(op) => op.value.scalars().all(|x| x.as_f64() >= 0.0 && x.as_f64().is_sign_positive()),
        Op::Exp(_) | Op::Abs(_) | Op::Sigmoid(_) | Op::Softmax(_) => true,
        // A square is +0 at least; a sum starts from +0.
        Op::Mul(_) if operands[0] == operands[1] => true,
        Op::Reduce(op) => matches!(op.kind, ReduceKind::Sum | ReduceKind::Mean | ReduceKind::Max) && all(),
        Op::Add(_) | Op::Mul(_) | Op::Max(_) => all(),
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Cast(_) => all(),
        _ => false,
    }
}
