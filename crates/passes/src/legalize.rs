//! Decomposes composite ops that have no anchor, by the decomposition that is their meaning.
//!
//! In: any ops. Out: no `attention`, `rope` or `group_norm`; softmax and norms only along the last axis and only over
//! rows that a row region takes. Maps that are composite stay: they are scalar functions to a kernel.

use crate::context::Context;
use crate::error::PassError;
use gable_ir::region::MAX_ROW;
use gable_ir::{Builder, Graph, Module, NodeId, Op, OpError, composite};

/// See the table.
pub fn run(module: &mut Module, _context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    // A decomposition may hold composites again (attention's softmax), each simpler than what it is part of.
    let mut result = Ok(true);
    while let Ok(true) = result {
        result = decompose_once(&mut b);
        b.graph.remove_dead();
    }
    *module = b.finish();
    result.map(|_| ()).map_err(|source| PassError::Built { pass: "legalize", source })
}

/// Decomposes what has no anchor; whether there was something.
fn decompose_once(b: &mut Builder) -> Result<bool, OpError> {
    let mut found = false;
    for id in b.graph.order() {
        if has_anchor(&b.graph, id) {
            continue;
        }
        let (op, operands) = (b.graph.op(id).clone(), b.graph.operands(id));
        b.set_origin(b.graph.node(id).origin.clone());
        let Some(simpler) = composite::decompose(b, &op, &operands) else { continue };
        b.graph.replace_uses(id, simpler?);
        found = true;
    }
    Ok(found)
}

/// Whether a kernel takes the op as it is. True as well for what is not composite.
fn has_anchor(graph: &Graph, id: NodeId) -> bool {
    let along_row = |axis: usize| {
        let shape = &graph.ty(id).shape;
        axis + 1 == shape.len() && shape[axis].value().is_some_and(|length| (1..=MAX_ROW).contains(&length))
    };
    let last = graph.ty(id).rank().saturating_sub(1);
    match graph.op(id) {
        Op::Attention(_) | Op::Rope(_) | Op::GroupNorm(_) => false,
        Op::Softmax(op) => along_row(op.axis),
        Op::LogSoftmax(op) => along_row(op.axis),
        Op::LayerNorm(_) | Op::RmsNorm(_) => along_row(last),
        _ => true,
    }
}
