//! Fusion: every value that an output needs gets into exactly one region.
//!
//! In: a legal graph of known sizes. Out: the same values (cheap ones duplicated where several regions use them) and
//! regions that keep the contract in `gable_ir::region`, in the order in which they run. Nothing is rounded elsewhere
//! than before: regions only say what is computed together.
//!
//! Three phases. [`grow`]: each anchor takes what follows it, further products that meet it there ([`partner`]), and the
//! reductions of a product's rows ([`fold`]). [`gather`]: what is left goes, from the outputs upward,
//! into the regions that use it, or becomes a map region. [`name`]: order and names.
//!
//! Legality is asked of one place, `gable_ir::region::anatomy`; [`policy`] decides what is worth while.

mod fold;
mod gather;
mod grow;
mod partition;
mod partner;
mod policy;

use crate::context::Context;
use crate::error::PassError;
use gable_ir::ops::Reshape;
use gable_ir::region::{self, RegionKind};
use gable_ir::verify::Fault;
use gable_ir::{Graph, Group, Module, NodeId, Op, OpError, Region};
use partition::Partition;
use std::collections::{BTreeMap, BTreeSet};

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let graph = &mut module.graph;
    graph.remove_dead();
    let built = |source| PassError::Built { pass: "fusion", source };
    give_leaves_a_place(graph).map_err(built)?;
    give_regions_their_own_leaves(graph).map_err(built)?;
    let mut partition = Partition::new(graph);
    grow::grow_anchors(&mut partition, context).map_err(built)?;
    gather::gather_rest(&mut partition, context).map_err(built)?;
    module.graph.regions = partition.finish();
    module.graph.remove_dead();
    name(&mut module.graph);
    let faults = check(&module.graph);
    if faults.is_empty() { Ok(()) } else { Err(PassError::Left { pass: "fusion", faults }) }
}

/// Every breach of the contract between fusion and code generation; none for a rightly fused graph.
pub fn check(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut homes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (index, region) in graph.regions.iter().enumerate() {
        region.nodes.iter().for_each(|&id| {
            homes.insert(id, index);
        });
        if let Err(message) = region::anatomy(graph, region) {
            faults.push(Fault { place: format!("region @{}", region.name), message });
        }
        for input in region::inputs(graph, &region.nodes) {
            if matches!(graph.op(input), Op::Const(_) | Op::Iota(_)) {
                let message = format!("%{} is written into kernels, not read from memory", input.index());
                faults.push(Fault { place: format!("region @{}", region.name), message });
            }
        }
    }
    for id in graph.ids() {
        if !graph.op(id).is(Group::Leaf) && !homes.contains_key(&id) {
            let place = format!("%{} = {}", id.index(), graph.op(id).name());
            faults.push(Fault { place, message: "is in no region".into() });
        }
    }
    faults
}

/// Constants and coordinates live in kernels. Where one must lie in memory (a result of the graph, an operand of an
/// op that stands alone) a reshape to its own shape computes it there.
fn give_leaves_a_place(graph: &mut Graph) -> Result<(), OpError> {
    for id in graph.order() {
        if !matches!(graph.op(id), Op::Const(_) | Op::Iota(_)) {
            continue;
        }
        let alone: Vec<NodeId> =
            graph.users(id).into_iter().filter(|&user| graph.op(user).is(Group::Ordered)).collect();
        if alone.is_empty() && !graph.is_output(id) {
            continue;
        }
        let users = graph.users(id);
        let placed = graph.add(Reshape { shape: graph.ty(id).shape.clone() }, &[id])?;
        graph.replace_uses(id, placed);
        // Users that can have the constant in their code keep it.
        for user in users.into_iter().filter(|user| !alone.contains(user)) {
            for (position, operand) in graph.operands(user).into_iter().enumerate() {
                if operand == placed {
                    graph.set_operand(user, position, id);
                }
            }
        }
    }
    Ok(())
}

/// A copy of each constant and of each coordinate tensor for each of its users.
fn give_regions_their_own_leaves(graph: &mut Graph) -> Result<(), OpError> {
    for id in graph.order() {
        if !matches!(graph.op(id), Op::Const(_) | Op::Iota(_)) {
            continue;
        }
        for user in graph.users(id).into_iter().skip(1) {
            let copy = graph.add(graph.op(id).clone(), &[])?;
            graph.node_mut(copy).origin = graph.node(id).origin.clone();
            for (position, operand) in graph.operands(user).into_iter().enumerate() {
                if operand == id {
                    graph.set_operand(user, position, copy);
                }
            }
        }
    }
    Ok(())
}

/// Puts the regions in the order in which they run, and names each for its anchor (a map region for its last value).
fn name(graph: &mut Graph) {
    let position: BTreeMap<NodeId, usize> = graph.order().into_iter().enumerate().map(|(at, id)| (id, at)).collect();
    let mut regions = std::mem::take(&mut graph.regions);
    regions.sort_by_key(|region| region.nodes.iter().map(|id| position[id]).min());
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (index, region) in regions.iter_mut().enumerate() {
        let mut nodes = region.nodes.clone();
        nodes.sort_by_key(|id| position[id]);
        let anchor = nodes.iter().copied().find(|&id| region::can_anchor(graph, id, region.kind));
        let shown = anchor.or(nodes.last().copied()).expect("a region is not empty");
        region.name = format!("{}_{index}", graph.op(shown).name());
        debug_assert!(used.insert(region.name.clone()), "the index makes names unique");
    }
    graph.regions = regions;
}

/// The kind of region that a value anchors; `None` for maps, movement and leaves.
fn anchor_kind(graph: &Graph, id: NodeId) -> Option<RegionKind> {
    use RegionKind::*;
    [Row, Contraction, Convolution, Window, Reduction, Ordered].into_iter().find(|&k| region::can_anchor(graph, id, k))
}

/// A region while it grows.
fn region_of(kind: RegionKind, nodes: impl IntoIterator<Item = NodeId>) -> Region {
    Region::new("", kind, nodes)
}
