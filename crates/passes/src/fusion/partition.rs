//! A graph while its values are being put into regions.
//!
//! Invariant: every group keeps the contract, and the graph of groups and single values has no cycle.

use super::{anchor_kind, region_of};
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, NodeId, OpError, Region};
use std::collections::BTreeSet;

/// Regions hold no more values than this: a kernel's registers and its time to compile are bounded.
const MAX_VALUES: usize = 96;

/// A kernel reads no more buffers than this, unless one op alone does: launch parameters are bounded.
const MAX_INPUTS: usize = 24;

/// Groups of values over a graph.
pub(super) struct Partition<'g> {
    pub(super) graph: &'g mut Graph,
    pub(super) groups: Vec<Region>,
    /// By index of the value.
    homes: Vec<Option<usize>>,
    /// Place in the canonical order by index of the value; a copy has its original's.
    positions: Vec<usize>,
    spans: Vec<Span>,
}

/// How far a group reaches in the canonical order: what a search for a way through it has to know.
#[derive(Clone, Copy)]
struct Span {
    /// The last value with an operand from outside.
    last_entry: usize,
    /// The first value with a user outside.
    first_exit: usize,
}

impl<'g> Partition<'g> {
    /// No groups yet.
    pub(super) fn new(graph: &'g mut Graph) -> Partition<'g> {
        let mut partition =
            Partition { graph, groups: Vec::new(), homes: Vec::new(), positions: Vec::new(), spans: Vec::new() };
        for (position, id) in partition.graph.order().into_iter().enumerate() {
            partition.set_position(id, position);
        }
        partition
    }

    fn set_position(&mut self, id: NodeId, position: usize) {
        let n_values = self.positions.len().max(id.index() + 1);
        self.positions.resize(n_values, 0);
        self.homes.resize(n_values, None);
        self.positions[id.index()] = position;
    }

    /// The group that a value is in.
    pub(super) fn home(&self, id: NodeId) -> Option<usize> {
        self.homes[id.index()]
    }

    /// Values as they were before, in canonical order.
    pub(super) fn order(&self) -> Vec<NodeId> {
        let mut order = self.graph.ids();
        order.sort_by_key(|&id| (self.position(id), id));
        order
    }

    /// Place in the canonical order.
    pub(super) fn position(&self, id: NodeId) -> usize {
        self.positions[id.index()]
    }

    /// A new group of one value.
    pub(super) fn seed(&mut self, kind: RegionKind, id: NodeId) -> usize {
        self.groups.push(region_of(kind, [id]));
        let group = self.groups.len() - 1;
        self.homes[id.index()] = Some(group);
        self.spans.push(self.span(group));
        group
    }

    fn span(&self, group: usize) -> Span {
        let outside = |id: &NodeId| self.home(*id) != Some(group);
        let nodes = &self.groups[group].nodes;
        let entries = nodes.iter().filter(|&&id| self.graph.operands(id).iter().any(outside));
        let exits = nodes.iter().filter(|&&id| self.graph.users(id).iter().any(outside));
        Span {
            last_entry: entries.map(|&id| self.position(id)).max().unwrap_or(0),
            first_exit: exits.map(|&id| self.position(id)).min().unwrap_or(usize::MAX),
        }
    }

    /// The first place in the canonical order of a value that a way out of one of the groups can lead to. From value
    /// to value a way goes up in the order; through a group it may go down to the group's first exit.
    fn first_reached(&self, groups: &BTreeSet<usize>) -> usize {
        let mut first = groups.iter().map(|&group| self.spans[group].first_exit).min().unwrap_or(0);
        loop {
            let through = self.spans.iter().filter(|span| span.last_entry > first).map(|span| span.first_exit).min();
            match through {
                Some(exit) if exit < first => first = exit,
                _ => return first,
            }
        }
    }

    /// Whether the group with `id` as well keeps the contract and the limits.
    pub(super) fn fits(&self, group: usize, id: NodeId) -> bool {
        self.fits_all(group, &[id])
    }

    /// The same with all of `ids`.
    pub(super) fn fits_all(&self, group: usize, ids: &[NodeId]) -> bool {
        let now = &self.groups[group];
        let larger = region_of(now.kind, now.nodes.iter().chain(ids).copied());
        larger.nodes.len() <= MAX_VALUES
            && region::anatomy(self.graph, &larger).is_ok()
            && region::inputs(self.graph, &larger.nodes).len() <= MAX_INPUTS
    }

    /// As [`Partition::fits`], for a copy of `id` that only this group uses.
    pub(super) fn fits_as_own(&self, group: usize, id: NodeId) -> bool {
        let now = &self.groups[group];
        let larger = region_of(now.kind, now.nodes.iter().copied().chain([id]));
        let mut outputs = region::outputs(self.graph, &larger.nodes);
        outputs.retain(|&output| output != id);
        larger.nodes.len() <= MAX_VALUES
            && region::anatomy_giving(self.graph, &larger, &outputs).is_ok()
            && region::inputs(self.graph, &larger.nodes).len() <= MAX_INPUTS
    }

    /// As [`Partition::fits`], for several values, of which `own` are needed by nobody else.
    pub(super) fn fit_together(&self, group: usize, ids: &[NodeId], own: &[NodeId]) -> bool {
        let now = &self.groups[group];
        let larger = region_of(now.kind, now.nodes.iter().chain(ids).copied());
        let mut outputs = region::outputs(self.graph, &larger.nodes);
        outputs.retain(|output| !own.contains(output));
        larger.nodes.len() <= MAX_VALUES
            && region::anatomy_giving(self.graph, &larger, &outputs).is_ok()
            && region::inputs(self.graph, &larger.nodes).len() <= MAX_INPUTS
    }

    /// Puts a value without a home into a group.
    pub(super) fn join(&mut self, group: usize, id: NodeId) {
        let now = &self.groups[group];
        self.groups[group] = region_of(now.kind, now.nodes.iter().copied().chain([id]));
        self.homes[id.index()] = Some(group);
        self.spans[group] = self.span(group);
    }

    /// Takes a value that none of the group's uses out of it again.
    pub(super) fn leave(&mut self, group: usize, id: NodeId) {
        let now = &self.groups[group];
        self.groups[group] = region_of(now.kind, now.nodes.iter().copied().filter(|&node| node != id));
        self.homes[id.index()] = None;
        self.spans[group] = self.span(group);
    }

    /// Makes the group use a copy of `id` of its own, and puts that into the group.
    pub(super) fn join_copy(&mut self, group: usize, id: NodeId) -> Result<NodeId, OpError> {
        let users = self.groups[group].nodes.clone();
        let copy = self.copy_for(&users, id)?;
        self.join(group, copy);
        Ok(copy)
    }

    /// Makes `users` use a copy of `id` of their own, which stands where `id` does.
    pub(super) fn copy_for(&mut self, users: &[NodeId], id: NodeId) -> Result<NodeId, OpError> {
        let operands = self.graph.operands(id);
        let copy = self.graph.add(self.graph.op(id).clone(), &operands)?;
        self.graph.node_mut(copy).origin = self.graph.node(id).origin.clone();
        self.set_position(copy, self.position(id));
        for &user in users {
            for (at, operand) in self.graph.operands(user).into_iter().enumerate() {
                if operand == id {
                    self.graph.set_operand(user, at, copy);
                }
            }
        }
        Ok(copy)
    }

    /// Puts a new value into a group; it stands where `like` stands in the canonical order.
    pub(super) fn adopt(&mut self, group: usize, new: NodeId, like: NodeId) {
        self.set_position(new, self.position(like));
        self.join(group, new);
    }

    /// The groups that use a value, sorted.
    pub(super) fn groups_using(&self, id: NodeId) -> BTreeSet<usize> {
        self.graph.users(id).into_iter().filter_map(|user| self.home(user)).collect()
    }

    /// Whether some way leads from one of `groups` to one of the values `to`. A value in a group needs all that the
    /// group needs. Values of `except` are not looked behind.
    fn leads(&self, groups: &BTreeSet<usize>, to: Vec<NodeId>, except: Option<usize>) -> bool {
        let first = self.first_reached(groups);
        let mut pending = to;
        let mut seen = vec![false; self.positions.len()];
        let mut seen_groups: BTreeSet<usize> = except.into_iter().collect();
        while let Some(id) = pending.pop() {
            if self.position(id) < first {
                continue;
            }
            match self.home(id) {
                Some(home) if groups.contains(&home) => return true,
                Some(home) => {
                    if seen_groups.insert(home) {
                        pending.extend(region::inputs(self.graph, &self.groups[home].nodes));
                    }
                }
                None => {
                    if !std::mem::replace(&mut seen[id.index()], true) {
                        pending.extend(self.graph.operands(id));
                    }
                }
            }
        }
        false
    }

    /// Whether some way leads from the group to one of `to` through values outside of it. Direct edges do not count.
    pub(super) fn leads_to(&self, group: usize, to: &[NodeId]) -> bool {
        let outside = to.iter().copied().filter(|&id| self.home(id) != Some(group)).collect();
        self.leads(&BTreeSet::from([group]), outside, None)
    }

    /// Whether the group needs what another of `others` computes.
    pub(super) fn group_needs(&self, group: usize, others: &BTreeSet<usize>) -> bool {
        let others = others.iter().copied().filter(|&other| other != group).collect();
        self.leads(&others, region::inputs(self.graph, &self.groups[group].nodes), Some(group))
    }

    /// The groups as regions. A lone reduction of rows to one element each is a reduction.
    pub(super) fn finish(mut self) -> Vec<Region> {
        for group in &mut self.groups {
            if group.kind == RegionKind::Row && is_plain_reduction(self.graph, group) {
                group.kind = RegionKind::Reduction;
            }
        }
        self.groups
    }

    /// Seeds a group for every anchor, in canonical order.
    pub(super) fn anchors(&self) -> Vec<(NodeId, RegionKind)> {
        self.order().into_iter().filter_map(|id| Some((id, anchor_kind(self.graph, id)?))).collect()
    }
}

fn is_plain_reduction(graph: &Graph, group: &Region) -> bool {
    let candidate = region_of(RegionKind::Reduction, group.nodes.iter().copied());
    region::anatomy(graph, &candidate).is_ok()
}
