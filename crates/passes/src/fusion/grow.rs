//! Each anchor takes what follows it: maps over its result, and reshapes and transposes that a store can follow. A product
//! takes further products of its left factor too, where the results meet.

use super::fold;
use super::partition::Partition;
use super::{partner, policy};
use crate::context::Context;
use gable_ir::OpError;
use gable_ir::region::{self, RegionKind};

/// Makes a group of every anchor that no earlier group has taken, in canonical order.
pub(super) fn grow_anchors(partition: &mut Partition, context: &mut Context) -> Result<(), OpError> {
    for (anchor, kind) in partition.anchors() {
        if partition.home(anchor).is_some() {
            continue;
        }
        let group = partition.seed(kind, anchor);
        if kind != RegionKind::Ordered {
            grow(partition, group, context);
            if fold::take_folds(partition, group, context)? {
                // What a fold is made into.
                grow(partition, group, context);
                fold::leave_widening(partition, group)?;
            }
        }
    }
    Ok(())
}

/// Takes users of the group's values until none fits.
fn grow(partition: &mut Partition, group: usize, context: &mut Context) {
    loop {
        let mut candidates: Vec<_> = partition.groups[group]
            .nodes
            .iter()
            .flat_map(|&id| partition.graph.users(id))
            .filter(|&user| partition.home(user).is_none())
            .collect();
        candidates.sort_by_key(|&id| (partition.position(id), id));
        candidates.dedup();
        let Some(taken) = candidates.into_iter().find(|&user| {
            let kind = partition.groups[group].kind;
            let anchors_too = kind == RegionKind::Row && region::can_anchor(partition.graph, user, kind);
            (anchors_too || policy::follows(partition, group, user))
                && partition.fits(group, user)
                && !partition.leads_to(group, &partition.graph.operands(user))
        }) else {
            match partner::find(partition, group) {
                Some(taken) if context.step() => taken.into_iter().for_each(|id| partition.join(group, id)),
                _ => return,
            }
            continue;
        };
        if !context.step() {
            return;
        }
        partition.join(group, taken);
    }
}
