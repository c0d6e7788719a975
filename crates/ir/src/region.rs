//! Regions: groups of values that one kernel computes together.
//!
//! A region does not change the graph, so fusion cannot change what is computed or rounded where. Leaves stay outside
//! regions, except constants and coordinates that a kernel writes into its code. Regions do not overlap; a cheap value
//! that two regions need is duplicated in the graph before.

use crate::attr::attr_enum;
use crate::graph::{Graph, NodeId};
use std::collections::BTreeSet;

attr_enum! {
    /// What decides the shape of a region's kernel: its anchor.
    RegionKind {
        /// Maps and movement: every output element on its own.
        Map = "map",
        /// Reductions along some axes, with maps before and after.
        Reduction = "reduction",
        /// Whole rows along the last axis: softmax, norms, with maps before and after.
        Row = "row",
        /// A matrix product with prologue and epilogue.
        Contraction = "contraction",
        /// A convolution with prologue and epilogue.
        Convolution = "convolution",
        /// Sliding windows.
        Window = "window",
        /// Scatter, sort, scan: a kernel of its own.
        Ordered = "ordered",
    }
}

/// A group of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Name, unique in the graph; kernels and report rows are called by it.
    pub name: String,
    /// The anchor.
    pub kind: RegionKind,
    /// The values, sorted by id.
    pub nodes: Vec<NodeId>,
}

impl Region {
    /// A region; sorts and deduplicates the values.
    pub fn new(name: impl Into<String>, kind: RegionKind, nodes: impl IntoIterator<Item = NodeId>) -> Region {
        let nodes: BTreeSet<NodeId> = nodes.into_iter().collect();
        Region { name: name.into(), kind, nodes: nodes.into_iter().collect() }
    }

    /// The same region over other ids.
    pub fn mapped(&self, map: impl Fn(NodeId) -> NodeId) -> Region {
        Region::new(self.name.clone(), self.kind, self.nodes.iter().map(|&id| map(id)))
    }
}

/// Values from outside that `nodes` use, in order of first use along the canonical order of `nodes`.
pub fn inputs(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let order = graph.order_within(nodes).unwrap_or_else(|| nodes.to_vec());
    let mut found = Vec::new();
    for operand in order.iter().flat_map(|&id| graph.operands(id)) {
        if !inside.contains(&operand) && !found.contains(&operand) {
            found.push(operand);
        }
    }
    found
}

/// Values of `nodes` that are used outside or are results of the graph, in canonical order.
pub fn outputs(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let order = graph.order_within(nodes).unwrap_or_else(|| nodes.to_vec());
    let leaves = |id: NodeId| graph.is_output(id) || graph.users(id).iter().any(|user| !inside.contains(user));
    order.into_iter().filter(|&id| leaves(id)).collect()
}
