//! What no anchor took goes into the regions that use it, or becomes a map region of its own.
//!
//! From the outputs upward, so every user already has its region when a value is decided on.

use super::partition::Partition;
use super::policy;
use crate::context::Context;
use gable_ir::region::{self, RegionKind};
use gable_ir::{Group, NodeId, Op, OpError};
use std::collections::BTreeSet;

/// Gives every value a home.
pub(super) fn gather_rest(partition: &mut Partition, context: &mut Context) -> Result<(), OpError> {
    for id in partition.order().into_iter().rev() {
        if partition.home(id).is_some() {
            continue;
        }
        let op = partition.graph.op(id);
        if matches!(op, Op::Const(_) | Op::Iota(_)) {
            // Each has one user, which decides where it is written.
            let home = partition.groups_using(id).into_iter().next();
            home.into_iter().for_each(|group| partition.join(group, id));
        } else if !op.is(Group::Leaf) {
            place(partition, id, context)?;
        }
    }
    Ok(())
}

fn place(partition: &mut Partition, id: NodeId, context: &mut Context) -> Result<(), OpError> {
    let users = partition.groups_using(id);
    let takers: BTreeSet<usize> =
        users.iter().copied().filter(|&group| takes(partition, group, id) && context.step()).collect();
    let must_lie_in_memory = partition.graph.is_output(id) || takers.len() < users.len();
    let hosted = host(partition, id).is_some();
    if !must_lie_in_memory && policy::worth_copying(partition, id, takers.len(), hosted) {
        // The first taker gets the value itself.
        for &group in takers.iter().skip(1) {
            let copy = partition.join_copy(group, id)?;
            own_leaves(partition, group, copy)?;
        }
        takers.first().into_iter().for_each(|&group| partition.join(group, id));
        return Ok(());
    }
    // It lies in memory. Views and constants are still cheaper to take again than to read.
    if policy::is_view(partition.graph, id) {
        for &group in &takers {
            let copy = partition.join_copy(group, id)?;
            own_leaves(partition, group, copy)?;
        }
    }
    if partition.graph.n_uses(id) == 0 {
        return Ok(());
    }
    match host(partition, id) {
        Some(group) if context.step() => partition.join(group, id),
        _ => {
            partition.seed(RegionKind::Map, id);
        }
    }
    Ok(())
}

/// Whether the group may and would compute a value that it uses.
fn takes(partition: &Partition, group: usize, id: NodeId) -> bool {
    // What the group takes has no other users there, so it is judged as if it had none at all.
    policy::welcomes(partition, group, id) && partition.fits_as_own(group, id)
}

/// A group that uses the value and can write it as well, so that no kernel reads it back.
fn host(partition: &Partition, id: NodeId) -> Option<usize> {
    let users = partition.groups_using(id);
    let elements = partition.graph.ty(id).len();
    users.iter().copied().find(|&group| {
        let kind = partition.groups[group].kind;
        let nodes = &partition.groups[group].nodes;
        let same_space = match kind {
            RegionKind::Row => true,
            RegionKind::Map => {
                region::outputs(partition.graph, nodes).iter().all(|&o| partition.graph.ty(o).len() == elements)
                    && policy::read_in_place(partition.graph, nodes, id)
            }
            _ => false,
        };
        same_space
            && policy::welcomes(partition, group, id)
            && partition.fits(group, id)
            && !partition.group_needs(group, &users)
    })
}

/// A copy shares its constants with the original: it gets its own.
fn own_leaves(partition: &mut Partition, group: usize, copy: NodeId) -> Result<(), OpError> {
    for (position, operand) in partition.graph.operands(copy).into_iter().enumerate() {
        if matches!(partition.graph.op(operand), Op::Const(_) | Op::Iota(_)) {
            let leaf = partition.graph.add(partition.graph.op(operand).clone(), &[])?;
            partition.graph.node_mut(leaf).origin = partition.graph.node(operand).origin.clone();
            partition.graph.set_operand(copy, position, leaf);
            partition.adopt(group, leaf, operand);
        }
    }
    Ok(())
}
