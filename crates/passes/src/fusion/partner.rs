//! Further products of a contraction's left factor: a gated layer's second product, say. Where their results meet, one
//! kernel brings the left factor once, and no result goes through memory on its way to the other.

use super::partition::Partition;
use super::policy;
use gable_ir::region::{MAX_PRODUCTS, RegionKind};
use gable_ir::{Group, NodeId, Op};

/// Values between a further product and the group at most.
const MAX_BETWEEN: usize = 16;

/// A product that the group can compute as well, and all that lies between it and the group.
pub(super) fn find(partition: &Partition, group: usize) -> Option<Vec<NodeId>> {
    let graph = &*partition.graph;
    let own = &partition.groups[group];
    if own.kind != RegionKind::Contraction {
        return None;
    }
    let products: Vec<NodeId> = own.nodes.iter().copied().filter(|&id| is_product(partition, id)).collect();
    let first = *products.first()?;
    if products.len() >= MAX_PRODUCTS || policy::stands_alone(graph, first) {
        return None;
    }
    let left = graph.operand(first, 0);
    let mut others: Vec<NodeId> = graph.users(left);
    others.sort_by_key(|&id| (partition.position(id), id));
    others.into_iter().find_map(|other| {
        let is_further = is_product(partition, other)
            && partition.home(other).is_none()
            && graph.operand(other, 0) == left
            && graph.ty(other) == graph.ty(first)
            && policy::lie_alike(graph, graph.operand(first, 1), graph.operand(other, 1));
        let taken = is_further.then(|| on_its_way(partition, group, other)).flatten()?;
        let needed = taken.iter().flat_map(|&id| graph.operands(id)).filter(|operand| !taken.contains(operand));
        let needed: Vec<NodeId> = needed.collect();
        (partition.fits_all(group, &taken) && !partition.leads_to(group, &needed)).then_some(taken)
    })
}

fn is_product(partition: &Partition, id: NodeId) -> bool {
    matches!(partition.graph.op(id), Op::Matmul(_))
}

/// The product and what follows it up to the group, if nothing of it is needed elsewhere.
fn on_its_way(partition: &Partition, group: usize, product: NodeId) -> Option<Vec<NodeId>> {
    let graph = &*partition.graph;
    let mut found = vec![product];
    let mut meets = false;
    let mut at = 0;
    while let Some(&id) = found.get(at) {
        if graph.is_output(id) {
            return None;
        }
        for user in graph.users(id) {
            let op = graph.op(user);
            match partition.home(user) {
                Some(home) if home == group => meets = true,
                None if found.contains(&user) => {}
                None if found.len() <= MAX_BETWEEN
                    && (op.is(Group::Map) || matches!(op, Op::Reshape(_) | Op::Transpose(_))) =>
                {
                    found.push(user);
                }
                _ => return None,
            }
        }
        at += 1;
    }
    meets.then_some(found)
}
