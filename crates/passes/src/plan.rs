//! A place in memory for every value that crosses regions.
//!
//! In: a graph with regions in the order in which they run. Out: for each input, weight and region output a [`Place`];
//! everything that is neither the caller's nor a weight lies in one arena. Two values share bytes of the arena only
//! when they are never needed at the same time, or when one is the other's reshape, or when a map writes each element
//! over the one that it was computed from.

use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, Group, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Every place in the arena starts at a multiple of this: the driver's own alignment, and enough for every access.
pub const ALIGNMENT: u64 = 256;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's input of this position.
    Input(usize),
    /// The caller's output of this position.
    Output(usize),
    /// With the weights, under the key that its node names.
    Weight,
    /// In the arena, from this byte on.
    Arena(u64),
}

/// A value to copy when all regions have run: an output that is an input or a weight, or one value of two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputCopy {
    /// The output's position.
    pub output: usize,
    /// The value.
    pub from: NodeId,
}

/// Places for all values of a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryPlan {
    /// Size of the arena: the peak.
    pub arena_bytes: u64,
    /// The most bytes that are needed at one time: no plan has a smaller arena.
    pub needed_bytes: u64,
    /// Bytes that there would be if nothing were shared.
    pub unshared_bytes: u64,
    /// Where each input, weight and region output lies.
    pub place: BTreeMap<NodeId, Place>,
    /// Regions, by position in the graph's list, that need no kernel: their outputs lie where their operand lies.
    pub aliases: BTreeSet<usize>,
    /// Copies to make at the end.
    pub copies: Vec<OutputCopy>,
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_arena = self.place.values().filter(|place| matches!(place, Place::Arena(_))).count();
        writeln!(f, "arena: {} bytes for {in_arena} values", self.arena_bytes)?;
        writeln!(f, "needed at one time: {} bytes; without sharing: {} bytes", self.needed_bytes, self.unshared_bytes)?;
        writeln!(f, "regions without a kernel: {}; copies to outputs: {}", self.aliases.len(), self.copies.len())
    }
}

/// Bytes of the arena that hold one value, or several that share them on purpose.
#[derive(Clone, Debug)]
struct Buffer {
    bytes: u64,
    /// Regions from the first that writes to the last that reads, both included.
    live: (usize, usize),
}

/// Plans the memory of a fused graph of known sizes.
pub fn plan(graph: &Graph) -> MemoryPlan {
    let mut plan = MemoryPlan::default();
    for (position, &id) in graph.inputs().iter().enumerate() {
        plan.place.insert(id, Place::Input(position));
    }
    for id in graph.ids() {
        if matches!(graph.op(id), Op::Weight(_)) {
            plan.place.insert(id, Place::Weight);
        }
    }
    let outputs: Vec<Vec<NodeId>> = graph.regions.iter().map(|r| region::outputs(graph, &r.nodes)).collect();
    let roots = alias_roots(graph, &outputs, &mut plan.aliases);
    let root = |id: NodeId| roots.get(&id).copied().unwrap_or(id);

    // The first name of a value decides where it lies; a value that the caller or the weights hold is copied.
    let mut taken: BTreeSet<NodeId> = BTreeSet::new();
    for (output, (_, id)) in graph.outputs().iter().enumerate() {
        if graph.op(root(*id)).is(Group::Leaf) || !taken.insert(root(*id)) {
            plan.copies.push(OutputCopy { output, from: *id });
        } else {
            plan.place.insert(root(*id), Place::Output(output));
        }
    }

    let last_use = last_uses(graph, &roots);
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut buffer_of: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (step, values) in outputs.iter().enumerate() {
        for &id in values.iter().filter(|&&id| root(id) == id && !plan.place.contains_key(&id)) {
            let bytes = byte_size(graph, id);
            let end = last_use.get(&id).copied().unwrap_or(step).max(step);
            plan.unshared_bytes += bytes.next_multiple_of(ALIGNMENT);
            let reused = overwritable(graph, step, id, &root).into_iter().find_map(|operand| {
                let buffer = *buffer_of.get(&root(operand))?;
                (last_use.get(&root(operand)) == Some(&step) && buffers[buffer].live.1 == step).then_some(buffer)
            });
            let buffer = reused.unwrap_or(buffers.len());
            match reused {
                Some(buffer) => buffers[buffer].live.1 = end,
                None => buffers.push(Buffer { bytes, live: (step, end) }),
            }
            buffer_of.insert(id, buffer);
        }
    }
    let offsets = pack(&buffers, &mut plan.arena_bytes);
    plan.needed_bytes = needed(&buffers, graph.regions.len());
    for (id, buffer) in buffer_of {
        plan.place.insert(id, Place::Arena(offsets[buffer]));
    }
    for (&id, root) in &roots {
        plan.place.insert(id, plan.place[root]);
    }
    plan
}

fn byte_size(graph: &Graph, id: NodeId) -> u64 {
    graph.ty(id).concrete().expect("dimensions are bound before memory is planned").bytes() as u64
}

/// Regions of reshapes alone compute nothing: each value lies where the first operand of its chain lies.
fn alias_roots(graph: &Graph, outputs: &[Vec<NodeId>], aliases: &mut BTreeSet<usize>) -> BTreeMap<NodeId, NodeId> {
    let mut roots: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for (index, region) in graph.regions.iter().enumerate() {
        if !region.nodes.iter().all(|&id| matches!(graph.op(id), Op::Reshape(_))) {
            continue;
        }
        aliases.insert(index);
        for &id in &outputs[index] {
            let mut from = id;
            while region.nodes.contains(&from) {
                from = graph.operand(from, 0);
            }
            roots.insert(id, roots.get(&from).copied().unwrap_or(from));
        }
    }
    roots
}

/// For each root the last region that reads it or a value that lies in it. Results of the graph last to the end.
fn last_uses(graph: &Graph, roots: &BTreeMap<NodeId, NodeId>) -> BTreeMap<NodeId, usize> {
    let mut last = BTreeMap::new();
    for (step, region) in graph.regions.iter().enumerate() {
        for input in region::inputs(graph, &region.nodes) {
            last.insert(roots.get(&input).copied().unwrap_or(input), step);
        }
    }
    for (_, id) in graph.outputs() {
        last.insert(roots.get(id).copied().unwrap_or(*id), graph.regions.len());
    }
    last
}

/// Operands of a map region whose memory its one output may take: as large, of elements as wide, and read only at the
/// element that is written. Another operand in the same memory would be read elsewhere, so there must be none.
fn overwritable(graph: &Graph, step: usize, output: NodeId, root: &impl Fn(NodeId) -> NodeId) -> Vec<NodeId> {
    let region = &graph.regions[step];
    if region.kind != RegionKind::Map || region::outputs(graph, &region.nodes) != [output] {
        return Vec::new();
    }
    let inside: BTreeSet<NodeId> = region.nodes.iter().copied().collect();
    // Values that are computed at the output's element alone.
    let mut in_place: BTreeSet<NodeId> = BTreeSet::from([output]);
    for &id in graph.order_within(&region.nodes).expect("a region has no cycle").iter().rev() {
        let keeps_place = |user: &NodeId| in_place.contains(user) && keeps_elements(graph, *user);
        if id != output && graph.users(id).iter().filter(|user| inside.contains(user)).all(keeps_place) {
            in_place.insert(id);
        }
    }
    let inputs = region::inputs(graph, &region.nodes);
    let same_memory = |id: NodeId| inputs.iter().filter(|&&other| root(other) == root(id)).count() > 1;
    let (wide, bytes) = (graph.ty(output).dtype.bytes(), byte_size(graph, output));
    inputs
        .iter()
        .copied()
        .filter(|&id| {
            let mut users = graph.users(id).into_iter().filter(|user| inside.contains(user));
            users.all(|user| in_place.contains(&user) && keeps_elements(graph, user))
                && graph.ty(id).dtype.bytes() == wide
                && byte_size(graph, id) == bytes
                && !same_memory(id)
        })
        .collect()
}

/// Whether element `i` of the op's result needs of each operand element `i` alone.
fn keeps_elements(graph: &Graph, id: NodeId) -> bool {
    graph.op(id).is(Group::Map) || matches!(graph.op(id), Op::Reshape(_))
}

/// Offsets by first fit, larger buffers first: large ones leave holes that small ones fill, not the other way round.
fn pack(buffers: &[Buffer], arena_bytes: &mut u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), buffers[i].live.0, i));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let (first, last) = buffers[i].live;
        let mut busy: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&j| buffers[j].live.0 <= last && first <= buffers[j].live.1 && buffers[j].bytes > 0)
            .map(|&j| (offsets[j], offsets[j] + buffers[j].bytes))
            .collect();
        busy.sort_unstable();
        let mut at = 0u64;
        for (start, end) in busy {
            if at + buffers[i].bytes <= start {
                break;
            }
            at = at.max(end.next_multiple_of(ALIGNMENT));
        }
        offsets[i] = at;
        *arena_bytes = (*arena_bytes).max(at + buffers[i].bytes);
        placed.push(i);
    }
    *arena_bytes = arena_bytes.next_multiple_of(ALIGNMENT);
    offsets
}

fn needed(buffers: &[Buffer], n_regions: usize) -> u64 {
    let at = |step: usize| -> u64 {
        let live = buffers.iter().filter(|buffer| buffer.live.0 <= step && step <= buffer.live.1);
        live.map(|buffer| buffer.bytes.next_multiple_of(ALIGNMENT)).sum()
    };
    (0..=n_regions).map(at).max().unwrap_or(0)
}
