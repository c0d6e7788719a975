//! A graph while its values are being put into regions.
//!
//! Invariant: every group keeps the contract, and the graph of groups and single values has no cycle.

use super::{anchor_kind, region_of};
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, NodeId, OpError, Region};
use std::collections::{BTreeMap, BTreeSet};

/// Regions hold no more values than this: a kernel's registers and its time to compile are bounded.
const MAX_VALUES: usize = 96;

/// A kernel reads no more buffers than this, unless one op alone does: launch parameters are bounded.
const MAX_INPUTS: usize = 24;

/// Groups of values over a graph.
pub(super) struct Partition<'g> {
    pub(super) graph: &'g mut Graph,
    pub(super) groups: Vec<Region>,
    home: BTreeMap<NodeId, usize>,
    /// Place in the canonical order; a copy has its original's.
    position: BTreeMap<NodeId, usize>,
}

impl<'g> Partition<'g> {
    /// No groups yet.
    pub(super) fn new(graph: &'g mut Graph) -> Partition<'g> {
        let position = graph.order().into_iter().enumerate().map(|(at, id)| (id, at)).collect();
        Partition { graph, groups: Vec::new(), home: BTreeMap::new(), position }
    }

    /// The group that a value is in.
    pub(super) fn home(&self, id: NodeId) -> Option<usize> {
        self.home.get(&id).copied()
    }

    /// Values as they were before, in canonical order.
    pub(super) fn order(&self) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = self.position.keys().copied().collect();
        order.sort_by_key(|id| self.position[id]);
        order
    }

    /// Place in the canonical order.
    pub(super) fn position(&self, id: NodeId) -> usize {
        self.position[&id]
    }

    /// A new group of one value.
    pub(super) fn seed(&mut self, kind: RegionKind, id: NodeId) -> usize {
        self.groups.push(region_of(kind, [id]));
        self.home.insert(id, self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Whether the group with `id` as well keeps the contract and the limits.
    pub(super) fn fits(&self, group: usize, id: NodeId) -> bool {
        let now = &self.groups[group];
        let larger = region_of(now.kind, now.nodes.iter().copied().chain([id]));
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

    /// Puts a value without a home into a group.
    pub(super) fn join(&mut self, group: usize, id: NodeId) {
        let now = &self.groups[group];
        self.groups[group] = region_of(now.kind, now.nodes.iter().copied().chain([id]));
        self.home.insert(id, group);
    }

    /// Makes the group use a copy of `id` of its own, and puts that into the group.
    pub(super) fn join_copy(&mut self, group: usize, id: NodeId) -> Result<NodeId, OpError> {
        let operands = self.graph.operands(id);
        let copy = self.graph.add(self.graph.op(id).clone(), &operands)?;
        self.graph.node_mut(copy).origin = self.graph.node(id).origin.clone();
        self.position.insert(copy, self.position[&id]);
        self.move_uses(group, id, copy);
        self.join(group, copy);
        Ok(copy)
    }

    /// Makes the group's values use `new` wherever they use `old`.
    pub(super) fn move_uses(&mut self, group: usize, old: NodeId, new: NodeId) {
        for user in self.groups[group].nodes.clone() {
            for (at, operand) in self.graph.operands(user).into_iter().enumerate() {
                if operand == old {
                    self.graph.set_operand(user, at, new);
                }
            }
        }
    }

    /// Puts a new value into a group; it stands where `like` stands in the canonical order.
    pub(super) fn adopt(&mut self, group: usize, new: NodeId, like: NodeId) {
        self.position.insert(new, self.position[&like]);
        self.join(group, new);
    }

    /// The groups that use a value, sorted.
    pub(super) fn groups_using(&self, id: NodeId) -> BTreeSet<usize> {
        self.graph.users(id).into_iter().filter_map(|user| self.home(user)).collect()
    }

    /// Whether some way leads from one of `groups` to one of the values `to`. A value in a group needs all that the
    /// group needs. Values of `except` are not looked behind.
    fn leads(&self, groups: &BTreeSet<usize>, to: Vec<NodeId>, except: Option<usize>) -> bool {
        let mut pending = to;
        let mut seen: BTreeSet<NodeId> = BTreeSet::new();
        let mut seen_groups: BTreeSet<usize> = except.into_iter().collect();
        while let Some(id) = pending.pop() {
            match self.home(id) {
                Some(home) if groups.contains(&home) => return true,
                Some(home) => {
                    if seen_groups.insert(home) {
                        pending.extend(region::inputs(self.graph, &self.groups[home].nodes));
                    }
                }
                None => {
                    if seen.insert(id) {
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
