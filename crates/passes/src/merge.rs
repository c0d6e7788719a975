//! Common subexpressions and dead values.

use crate::context::Context;
use crate::error::PassError;
use gable_ir::{Graph, Group, Module, NodeId, Op};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Makes one value of values that are the same op of the same operands, in either order where the op allows it.
pub fn common_subexpressions(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let graph = &mut module.graph;
    let mut seen: BTreeMap<(&'static str, Vec<NodeId>, u64), Vec<NodeId>> = BTreeMap::new();
    for id in graph.order() {
        if matches!(graph.op(id), Op::Input(_)) {
            continue;
        }
        let mut operands = graph.operands(id);
        if graph.op(id).is(Group::Commutative) {
            operands.sort_unstable();
        }
        let same = seen.entry((graph.op(id).name(), operands, bucket(graph, id))).or_default();
        match same.iter().copied().find(|&first| graph.op(first) == graph.op(id)) {
            Some(first) if context.step() => graph.replace_uses(id, first),
            Some(_) => {}
            None => same.push(id),
        }
    }
    graph.remove_dead();
    Ok(())
}

/// Spreads leaves, which have no operands to tell them apart; equality decides.
fn bucket(graph: &Graph, id: NodeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    graph.ty(id).hash(&mut hasher);
    match graph.op(id) {
        Op::Const(op) => op.value.bytes().hash(&mut hasher),
        Op::Weight(op) => op.key.hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

/// Removes what no output needs, from the graph and from the weight store.
pub fn dead_values(module: &mut Module, _context: &mut Context) -> Result<(), PassError> {
    module.graph.remove_dead();
    module.weights.retain_used(&module.graph);
    Ok(())
}
