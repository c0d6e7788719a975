//! What is worth computing together. Legality is not decided here.
//!
//! A value that is computed where it is used saves one write and the reads of it; it costs what is computed more than
//! once. The exchange rate is [`OPS_PER_BYTE`].

use super::fold;
use super::partition::Partition;
use crate::unpacking;
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, Group, NodeId, Op, Unit, cost};
use gable_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};

/// Operations that a GPU does in the time in which it moves a byte: f32 rate over memory rate, which is 14 (H200) to 70
/// (RTX PRO 6000) on the machines of the roofline table. The low end, so that no machine is made to compute too much.
const OPS_PER_BYTE: f64 = 14.0;

/// One special function counts as this many operations: the special function unit has a sixteenth of the f32 lanes,
/// each of which does two operations in a multiply-add; half of that for the range reduction beside it.
const OPS_PER_SPECIAL: f64 = 16.0;

/// Operations that a GPU does in the time that one more launch takes: half a microsecond at 40 Tflop/s.
const OPS_PER_LAUNCH: f64 = 2e7;

/// How far apart rows or columns of a contraction's result are that a block computes together: what is before it is
/// computed again for each.
const CONTRACTION_TILE: f64 = 128.0;

/// Elementwise operations on one element of a contraction's operand before it goes to the tensor cores. More would
/// keep them waiting.
const MAX_FACTOR_OPS: usize = 4;

/// Whether an anchor's group would take a value that follows it.
pub(super) fn follows(partition: &Partition, group: usize, user: NodeId) -> bool {
    let graph = &*partition.graph;
    let from: Vec<NodeId> =
        graph.operands(user).into_iter().filter(|&operand| partition.home(operand) == Some(group)).collect();
    if fold::follows_blocks(partition, group, &from) {
        let op = graph.op(user);
        return op.is(Group::Map) || matches!(op, Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_));
    }
    let only_user = from.iter().all(|&id| graph.users(id) == [user] && !graph.is_output(id));
    match graph.op(user) {
        // The operand would be written beside it, in another shape.
        Op::Reshape(_) | Op::Bitcast(_) => only_user,
        // Stores stay whole lines only when the last axis stays; else the reader takes it as a view.
        Op::Transpose(op) => only_user && op.perm.last().is_some_and(|&axis| axis + 1 == op.perm.len()),
        // All of it goes to slices, which are written instead of it.
        Op::Slice(_) => {
            let parts = |id: NodeId| graph.users(id).iter().all(|&part| region::cuts_columns(graph, part));
            from.iter().all(|&id| parts(id) && !graph.is_output(id))
        }
        Op::Broadcast(_) => partition.groups[group].kind == RegionKind::Row,
        // Readers widen for themselves and read less.
        Op::Cast(op) => only_user || !widens(graph.ty(graph.operand(user, 0)).dtype, op.to),
        op => op.is(Group::Map),
    }
}

/// Whether two right factors come from memory in the same way, so that one kernel brings both alike.
pub(super) fn lie_alike(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    let is_computed = |id: NodeId| graph.op(id).is(Group::Map) || graph.op(id).is(Group::Movement);
    let mut pending = vec![(a, b)];
    let mut seen = BTreeSet::new();
    while let Some((a, b)) = pending.pop() {
        if !seen.insert((a, b)) {
            continue;
        }
        if graph.ty(a) != graph.ty(b) {
            return false;
        }
        if is_computed(a) || is_computed(b) {
            let (of_a, of_b) = (graph.operands(a), graph.operands(b));
            if graph.op(a) != graph.op(b) || of_a.len() != of_b.len() {
                return false;
            }
            pending.extend(of_a.into_iter().zip(of_b));
        }
    }
    true
}

/// The most rows of which kernels read several narrow right factors at once.
const MAX_ROWS_OF_SEVERAL: f64 = 64.0;

/// Whether kernels take each product by itself: one of two factors that are stored narrow, which tensor cores multiply as they
/// are stored, and one of many rows by such a factor, whose elements are unpacked for one product at a time.
pub(super) fn stands_alone(graph: &Graph, product: NodeId) -> bool {
    let is_narrow = |position: usize| {
        let mut factor = graph.operand(product, position);
        while graph.op(factor).is(Group::Movement) && !unpacking::is_element(graph, factor) {
            factor = graph.operand(factor, 0);
        }
        unpacking::is_element(graph, factor) || is_dequantisation(graph, factor, MAX_FACTOR_OPS)
    };
    let columns = graph.ty(product).shape.last().and_then(|size| size.value()).unwrap_or(1);
    let rows = elements(graph, product) / columns.max(1) as f64;
    is_narrow(1) && (is_narrow(0) || rows > MAX_ROWS_OF_SEVERAL)
}

fn widens(from: DType, to: DType) -> bool {
    to.bytes() > from.bytes()
}

/// Whether the group would compute a value that it uses, instead of reading it.
pub(super) fn welcomes(partition: &Partition, group: usize, id: NodeId) -> bool {
    let graph = &*partition.graph;
    let kind = partition.groups[group].kind;
    let op = graph.op(id);
    let is_expression = op.is(Group::Map) || op.is(Group::Movement) || op.is(Group::Bits);
    if kind == RegionKind::Ordered || !is_expression {
        return false;
    }
    let demand = Demand::of(partition, group, id);
    if let Some(depth) = demand.maps_to_factor {
        // Kernels read narrow elements as they are stored, and scale what comes of them.
        if unpacking::is_part(graph, id) {
            return true;
        }
        // What quantises: kernels of narrow factors read them from memory.
        if op.is(Group::Bits) || op.is(Group::Map) && graph.ty(id).dtype.bits() <= 8 {
            return false;
        }
        let plain = match op {
            Op::Gather(_) | Op::GatherElements(_) | Op::Concat(_) | Op::Pad(_) => false,
            Op::Cast(_) => true,
            _ if op.is(Group::Movement) => true,
            _ => special_ops(graph, id) == 0.0 && depth < MAX_FACTOR_OPS,
        };
        if !plain {
            return false;
        }
        if is_dequantisation(graph, id, MAX_FACTOR_OPS) {
            return true;
        }
    }
    if kind == RegionKind::Row && moves_last_axis(op) {
        return false;
    }
    let Some(ty) = graph.ty(id).concrete() else { return false };
    let again = (demand.evaluations - ty.len() as f64).max(0.0);
    let saved_bytes = 2.0 * ty.bytes() as f64;
    operations_per_element(graph, id) * again <= OPS_PER_BYTE * saved_bytes + OPS_PER_LAUNCH
}

/// Whether a value is stored in at most 8 bits, converted and scaled by at most so many ops.
fn is_dequantisation(graph: &Graph, id: NodeId, ops: usize) -> bool {
    let source = |mut id: NodeId| {
        while graph.op(id).is(Group::Movement) && !unpacking::is_element(graph, id) {
            id = graph.operand(id, 0);
        }
        id
    };
    let is_narrow = |id: NodeId| {
        let dtype = graph.ty(id).dtype;
        (dtype.is_float() && dtype.bits() <= 8) || unpacking::is_element(graph, id)
    };
    let from = |position: usize| source(graph.operand(id, position));
    match graph.op(id) {
        _ if ops == 0 => false,
        Op::Cast(op) if op.to.is_float() => {
            let from = from(0);
            is_narrow(from) || graph.ty(from).dtype == DType::I8 || is_dequantisation(graph, from, ops - 1)
        }
        Op::Mul(_) => {
            (0..2).map(from).any(|from| unpacking::is_element(graph, from) || is_dequantisation(graph, from, ops - 1))
        }
        _ => false,
    }
}

/// Whether a transpose takes neighbours apart.
fn moves_last_axis(op: &Op) -> bool {
    matches!(op, Op::Transpose(op) if op.perm.last().is_some_and(|&axis| axis + 1 != op.perm.len()))
}

/// How a group needs a value of its own or from outside.
#[derive(Clone, Copy, Default)]
struct Demand {
    /// How often an element of it is needed, over all its elements.
    evaluations: f64,
    /// Maps between it and the contraction whose factor it becomes; `None` when it only meets the result.
    maps_to_factor: Option<usize>,
}

impl Demand {
    fn of(partition: &Partition, group: usize, id: NodeId) -> Demand {
        let graph = &*partition.graph;
        let nodes = &partition.groups[group].nodes;
        let mut known: BTreeMap<NodeId, Demand> = BTreeMap::new();
        for &node in graph.order_within(nodes).expect("a group has no cycle").iter().rev() {
            let mut demand = Demand::from_users(graph, node, &known);
            let needed_whole = graph.is_output(node) || graph.users(node).iter().any(|user| !nodes.contains(user));
            if needed_whole || demand.evaluations == 0.0 {
                demand.evaluations = demand.evaluations.max(elements(graph, node));
            }
            known.insert(node, demand);
        }
        Demand::from_users(graph, id, &known)
    }

    fn from_users(graph: &Graph, id: NodeId, known: &BTreeMap<NodeId, Demand>) -> Demand {
        let mut demand = Demand::default();
        for user in graph.users(id) {
            let Some(of_user) = known.get(&user) else { continue };
            let (own, result, n) = (elements(graph, id), elements(graph, user).max(1.0), of_user.evaluations);
            let (evaluations, maps_to_factor) = match graph.op(user) {
                Op::Matmul(_) => {
                    let shape = graph.ty(user).concrete().map(|ty| ty.shape).unwrap_or_default();
                    let across = if graph.operand(user, 0) == id { shape.len() - 1 } else { shape.len() - 2 };
                    (own * (shape[across] as f64 / CONTRACTION_TILE).ceil(), Some(0))
                }
                // Ends of groups are looked at again and again: never computed in between.
                Op::GroupedMatmul(_) if graph.operand(user, 2) == id => (f64::INFINITY, Some(MAX_FACTOR_OPS)),
                Op::GroupedMatmul(_) => {
                    let of_left = graph.operand(user, 0) == id;
                    let shape = graph.ty(user).concrete().map(|ty| ty.shape).unwrap_or_default();
                    // A group's matrix meets the group's rows.
                    let tiles = if of_left { (shape[1] as f64 / CONTRACTION_TILE).ceil() } else { 1.0 };
                    (own * tiles, Some(0))
                }
                Op::Conv(_) => {
                    let filter = graph.ty(graph.operand(user, 1)).concrete().map(|ty| ty.shape).unwrap_or_default();
                    let n_filters = filter.first().map_or(1.0, |&n| n as f64);
                    // An image element meets every tap; a filter meets every tile of the image.
                    let again = if graph.operand(user, 0) == id {
                        filter[2..].iter().map(|&n| n as f64).product::<f64>().max(1.0)
                    } else {
                        (result / n_filters / CONTRACTION_TILE).ceil()
                    };
                    (own * again, Some(0))
                }
                Op::ReduceWindow(op) => (result * op.window.iter().map(|&n| n as f64).product::<f64>(), None),
                op if op.is(Group::Reduction) || op.is(Group::RowWise) => (own, None),
                Op::Concat(_) => (n * own / result, of_user.maps_to_factor),
                Op::Bitcast(_) => (n * (own / result).max(1.0), of_user.maps_to_factor),
                op => (n, of_user.maps_to_factor.map(|depth| depth + usize::from(op.is(Group::Map)))),
            };
            demand.evaluations = demand.evaluations.max(evaluations);
            demand.maps_to_factor = demand.maps_to_factor.max(maps_to_factor);
        }
        demand
    }
}

fn elements(graph: &Graph, id: NodeId) -> f64 {
    graph.ty(id).concrete().map_or(0.0, |ty| ty.len() as f64)
}

fn operations_per_element(graph: &Graph, id: NodeId) -> f64 {
    let Some(cost) = cost::of_node(graph, id) else { return 0.0 };
    let elements = graph.ty(id).concrete().map_or(1.0, |ty| ty.len().max(1) as f64);
    let weight = |unit: &Unit| if *unit == Unit::Special { OPS_PER_SPECIAL } else { 1.0 };
    cost.flops.iter().map(|(unit, flops)| weight(unit) * flops).sum::<f64>() / elements
}

/// Whether computing the value twice costs next to nothing: conversions and single operations.
pub(super) fn is_cheap(graph: &Graph, id: NodeId) -> bool {
    special_ops(graph, id) == 0.0 && operations_per_element(graph, id) <= 1.0
}

fn special_ops(graph: &Graph, id: NodeId) -> f64 {
    cost::of_node(graph, id).and_then(|cost| cost.flops.get(&Unit::Special).copied()).unwrap_or(0.0)
}

/// Whether `copies` groups that each compute the value move fewer bytes than one kernel that writes it for the others
/// to read. `hosted`: that kernel is one of them. What is stored narrow is read so by each.
pub(super) fn worth_copying(partition: &Partition, id: NodeId, copies: usize, hosted: bool) -> bool {
    let graph = &*partition.graph;
    if copies <= 1
        || is_view(graph, id)
        || unpacking::is_part(graph, id)
        || is_dequantisation(graph, id, MAX_FACTOR_OPS)
    {
        return true;
    }
    let Some(cost) = cost::of_node(graph, id) else { return false };
    let read: f64 = cost.read_bytes.iter().sum();
    let (n, size) = (copies as f64, cost.written_bytes);
    let readers = if hosted { n - 1.0 } else { n };
    n * read < read + size + readers * size
}

/// Whether reading the value's operand in its stead costs nothing more.
pub(super) fn is_view(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_) | Op::Slice(_))
}

/// Whether the map region's outputs need the value only at their own element.
pub(super) fn read_in_place(graph: &Graph, nodes: &[NodeId], id: NodeId) -> bool {
    // From the outputs through maps and reshapes: these are computed once, at the output's element.
    let mut in_place: Vec<NodeId> = gable_ir::region::outputs(graph, nodes);
    let mut at = 0;
    while at < in_place.len() {
        let op = graph.op(in_place[at]);
        if op.is(Group::Map) || matches!(op, Op::Reshape(_)) {
            for operand in graph.operands(in_place[at]) {
                if nodes.contains(&operand) && !in_place.contains(&operand) {
                    in_place.push(operand);
                }
            }
        }
        at += 1;
    }
    let users = graph.users(id);
    users.iter().filter(|user| nodes.contains(user)).all(|user| {
        in_place.contains(user) && (graph.op(*user).is(Group::Map) || matches!(graph.op(*user), Op::Reshape(_)))
    })
}
