//! Reductions of a product's rows join the product: each of its tiles reduces what it has computed, and the result is
//! never read back for it.

use super::partition::Partition;
use super::policy;
use crate::context::Context;
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, Group, NodeId, Op, OpError};
use std::collections::BTreeSet;

/// Whether some of the values have one element for each of the blocks of columns that the group folds, or for each row where
/// that is no longer than a block may be: what becomes of them is used with the blocks' elements again, or is small.
pub(super) fn follows_blocks(partition: &Partition, group: usize, values: &[NodeId]) -> bool {
    let region = &partition.groups[group];
    let graph = &*partition.graph;
    let folds: Vec<NodeId> = region.nodes.iter().copied().filter(|&id| region::folds(graph, id)).collect();
    let is_short = |&fold: &NodeId| {
        let last = graph.ty(graph.operand(fold, 0)).shape.last().and_then(|size| size.value());
        last.is_some_and(|size| size <= region::MAX_BLOCK)
    };
    region.kind == RegionKind::Contraction
        && folds.iter().any(is_short)
        && region::anatomy(graph, region).is_ok_and(|anatomy| {
            values.iter().any(|value| anatomy.per_block.contains(value) || anatomy.per_row.contains(value))
        })
}

/// Takes what only repeats or widens the values of the group's blocks for others out of it again: readers do so for themselves, and
/// read less, as narrow as it is.
pub(super) fn leave_widening(partition: &mut Partition, group: usize) -> Result<(), OpError> {
    let Ok(anatomy) = region::anatomy(partition.graph, &partition.groups[group]) else { return Ok(()) };
    if anatomy.per_block.is_empty() {
        return Ok(());
    }
    let mut nodes = partition.groups[group].nodes.clone();
    nodes.sort_by_key(|&id| std::cmp::Reverse((partition.position(id), id)));
    for id in nodes {
        let graph = &*partition.graph;
        if graph.is_output(id) || !widens_blocks(graph, &anatomy.per_block, id) {
            continue;
        }
        let is_inside = |user: &NodeId| partition.home(*user) == Some(group);
        let (inside, outside): (Vec<NodeId>, Vec<NodeId>) = graph.users(id).into_iter().partition(is_inside);
        if inside.is_empty() {
            partition.leave(group, id);
        } else if !outside.is_empty() {
            partition.copy_for(&outside, id)?;
        }
    }
    Ok(())
}

/// Whether the value is one that has an element for each block, repeated or as a wider type, and moved after that.
fn widens_blocks(graph: &Graph, per_block: &BTreeSet<NodeId>, id: NodeId) -> bool {
    let of_operand = |is: &dyn Fn(NodeId) -> bool| graph.operands(id).first().is_some_and(|&operand| is(operand));
    match graph.op(id) {
        Op::Broadcast(_) => of_operand(&|operand| per_block.contains(&operand)),
        Op::Cast(op) => {
            of_operand(&|operand| per_block.contains(&operand) && op.to.bytes() > graph.ty(operand).dtype.bytes())
        }
        Op::Reshape(_) | Op::Transpose(_) => of_operand(&|operand| widens_blocks(graph, per_block, operand)),
        _ => false,
    }
}

/// Takes reductions over the last axis of what a group of a matmul computes, each with the maps before it. Whether there
/// was one.
pub(super) fn take_folds(partition: &mut Partition, group: usize, context: &mut Context) -> Result<bool, OpError> {
    if partition.groups[group].kind != RegionKind::Contraction {
        return Ok(false);
    }
    let mut taken = false;
    for fold in candidates(partition, group) {
        let Some(maps) = maps_before(partition, group, fold) else { continue };
        if leads_to_rows(partition, fold) || !fits(partition, group, fold, &maps) || !context.step() {
            continue;
        }
        let maps = own(partition, fold, maps)?;
        maps.into_iter().chain([fold]).for_each(|id| partition.join(group, id));
        taken = true;
    }
    Ok(taken)
}

/// Reductions without a home over the last axis of what the group's values become by maps, in canonical order.
fn candidates(partition: &Partition, group: usize) -> Vec<NodeId> {
    let mut pending = partition.groups[group].nodes.clone();
    let mut seen: BTreeSet<NodeId> = pending.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(id) = pending.pop() {
        for user in partition.graph.users(id) {
            if partition.home(user).is_some() || !seen.insert(user) {
                continue;
            }
            if region::folds(partition.graph, user) {
                found.push(user);
            } else if partition.graph.op(user).is(Group::Map) {
                pending.push(user);
            }
        }
    }
    found.sort_by_key(|&id| (partition.position(id), id));
    found
}

/// The maps between the group's values and the operand of `fold`, operands before users; `None` where something else
/// stands between, or where another group has computed one of them.
fn maps_before(partition: &Partition, group: usize, fold: NodeId) -> Option<Vec<NodeId>> {
    let graph = &*partition.graph;
    let follows = follows(partition, group);
    let mut pending = vec![graph.operand(fold, 0)];
    let mut found: BTreeSet<NodeId> = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if partition.home(id) == Some(group) || !follows(id) || found.contains(&id) {
            continue;
        }
        if partition.home(id).is_some() || !graph.op(id).is(Group::Map) {
            return None;
        }
        found.insert(id);
        pending.extend(graph.operands(id));
    }
    let mut found: Vec<NodeId> = found.into_iter().collect();
    found.sort_by_key(|&id| (partition.position(id), id));
    Some(found)
}

/// Says of a value whether it depends on the group.
fn follows(partition: &Partition, group: usize) -> impl Fn(NodeId) -> bool {
    let mut after: BTreeSet<NodeId> = partition.groups[group].nodes.iter().copied().collect();
    let mut pending: Vec<NodeId> = after.iter().copied().collect();
    while let Some(id) = pending.pop() {
        pending.extend(partition.graph.users(id).into_iter().filter(|&user| after.insert(user)));
    }
    move |id| after.contains(&id)
}

/// Whether rows that depend on the fold are worked on as wholes afterwards: they are read once more anyhow, and the fold
/// costs nothing there.
fn leads_to_rows(partition: &Partition, fold: NodeId) -> bool {
    let graph = &*partition.graph;
    let mut pending = vec![fold];
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    while let Some(id) = pending.pop() {
        for user in graph.users(id).into_iter().filter(|&user| partition.home(user).is_none()) {
            if !seen.insert(user) {
                continue;
            }
            if region::can_anchor(graph, user, RegionKind::Row) {
                return true;
            }
            if graph.op(user).is(Group::Map) || graph.op(user).is(Group::Movement) {
                pending.push(user);
            }
        }
    }
    false
}

/// Whether the group keeps the contract with the fold and its maps, and no way leads out of it and back in; and whether
/// what others need of the maps as well is cheap to compute twice.
fn fits(partition: &Partition, group: usize, fold: NodeId, maps: &[NodeId]) -> bool {
    let graph = &*partition.graph;
    let all: Vec<NodeId> = maps.iter().copied().chain([fold]).collect();
    let operands: Vec<NodeId> =
        all.iter().flat_map(|&id| graph.operands(id)).filter(|operand| !all.contains(operand)).collect();
    let shared = maps.iter().filter(|&&id| is_shared(graph, &all, id));
    shared.into_iter().all(|&id| policy::is_cheap(graph, id))
        && partition.fit_together(group, &all, maps)
        && !partition.leads_to(group, &operands)
}

/// Whether others than `all` need the value.
fn is_shared(graph: &Graph, all: &[NodeId], id: NodeId) -> bool {
    graph.is_output(id) || graph.users(id).iter().any(|user| !all.contains(user))
}

/// Copies of those maps that others use too: the group computes them for itself and does not write them. In the same
/// order, with the others as they were.
fn own(partition: &mut Partition, fold: NodeId, maps: Vec<NodeId>) -> Result<Vec<NodeId>, OpError> {
    let mut all: Vec<NodeId> = maps;
    all.push(fold);
    // From the last one on, so that the users of a copied value are known.
    for at in (0..all.len() - 1).rev() {
        let id = all[at];
        if is_shared(partition.graph, &all, id) {
            all[at] = partition.copy_for(&all[at + 1..], id)?;
        }
    }
    all.pop();
    Ok(all)
}
