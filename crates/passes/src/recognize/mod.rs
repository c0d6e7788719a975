//! Finds composite ops in graphs that spell them out.
//!
//! In: a simplified graph. Out: the same functions of the reals; what a recognised group rounds in between is no longer
//! rounded, so only groups of f32 and f64 are taken, where the results agree to a few units in the last place. A group
//! that behaves otherwise at an edge (a softmax that does not subtract the largest, a guard against NaN) is left.

mod activation;
mod attention;
mod norm;
mod rope;
mod softmax;

use crate::context::Context;
use crate::error::PassError;
use gable_ir::{Builder, Graph, Module, NodeId, Op, OpError};
use gable_tensor::{DType, Dim};

/// What a recogniser gives: the composite value, or nothing.
type Found = Result<Option<NodeId>, OpError>;

/// In the order in which they run: attention looks for softmax. Each looks at the last values of a graph first, so the
/// largest form is found before its parts.
const RECOGNIZERS: &[fn(&mut Builder, NodeId) -> Found] = &[
    softmax::softmax,
    softmax::log_softmax,
    norm::group_norm,
    norm::row_norm,
    activation::gelu,
    activation::silu,
    rope::rope,
    attention::attention,
];

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = recognize(&mut b, context).map_err(|source| PassError::Built { pass: "recognize", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn recognize(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    for recognizer in RECOGNIZERS {
        for id in b.graph.order().into_iter().rev() {
            if b.graph.n_uses(id) == 0 || !matches!(b.dtype(id), DType::F32 | DType::F64) {
                continue;
            }
            b.set_origin(b.graph.node(id).origin.clone());
            if let Some(found) = recognizer(b, id)? {
                if !context.step() {
                    return Ok(());
                }
                debug_assert_eq!(b.ty(found), b.ty(id), "a recogniser keeps the type");
                b.graph.replace_uses(id, found);
            }
        }
        b.graph.remove_dead();
    }
    Ok(())
}

/// The value that a broadcast repeats; another value is itself.
fn repeated(graph: &Graph, id: NodeId) -> NodeId {
    match graph.op(id) {
        Op::Broadcast(_) => graph.operand(id, 0),
        _ => id,
    }
}

/// The two operands of a two-operand op, both ways round: for ops whose operands may be swapped.
fn both_ways(graph: &Graph, id: NodeId) -> [(NodeId, NodeId); 2] {
    let (a, b) = (graph.operand(id, 0), graph.operand(id, 1));
    [(a, b), (b, a)]
}

/// A vector along `axis` of `like` that `id`, of `like`'s shape, repeats; as a value of rank 1.
pub(crate) fn vector_along(b: &mut Builder, id: NodeId, like: NodeId, axis: usize) -> Found {
    if b.ty(id) != b.ty(like) {
        return Ok(None);
    }
    let width = b.shape(like)[axis].clone();
    let source = repeated(&b.graph, id);
    let shape = b.shape(source);
    let rank = b.rank(like);
    if shape.is_empty() {
        return b.broadcast_to(source, &[width]).map(Some);
    }
    if source == id && rank > 1 {
        return Ok(None);
    }
    // Aligned at the last axis: only `axis` may have more than one element.
    let offset = rank - shape.len();
    let fits = (0..shape.len()).all(|i| {
        let expected = if i + offset == axis { width.clone() } else { Dim::known(1) };
        shape[i] == expected
    });
    if fits && axis >= offset { b.reshape(source, [width]).map(Some) } else { Ok(None) }
}
