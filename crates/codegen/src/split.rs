//! A region whose kernel cannot reduce as it goes, in parts: the product first, and what is reduced of its results after it.
//!
//! In: a contraction region with reductions, of rows or of blocks of columns, after its anchor. Out: the work of regions that have none, in order. Values
//! between them that the region does not give lie in scratch memory.

use crate::error::Fault;
use crate::program::Program;
use crate::work::{KernelLaunch, Memory, Work};
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, NodeId, Op, Region};
use std::collections::{BTreeMap, BTreeSet};

/// Scratch memory is counted in multiples of this.
const ALIGNMENT: u64 = 256;

/// The work of all parts of `region`, whose program is `whole`. `compile` gives the work of one part.
pub(crate) fn works(
    graph: &Graph,
    region: &Region,
    whole: &Program,
    compile: impl Fn(&Region, &Program) -> Result<Vec<Work>, Fault>,
) -> Result<Vec<Work>, Fault> {
    let mut between: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
    let mut end = 0;
    let mut works = Vec::new();
    for (part, given) in parts(graph, region)? {
        let program = Program::of_part(graph, &part, &given)?;
        for (position, &(_, id)) in program.outputs.iter().enumerate() {
            if !whole.outputs.iter().any(|(_, output)| *output == id) {
                let bytes = program.output_type(position).bytes() as u64;
                between.insert(id, (end, bytes));
                end += bytes.next_multiple_of(ALIGNMENT);
            }
        }
        let places = Places { whole, part: &program, between: &between, own: end };
        for work in compile(&part, &program)? {
            works.push(match work {
                Work::Launch(launch) => {
                    let args: Vec<Memory> = launch.args.iter().map(|arg| places.of(arg)).collect::<Result<_, _>>()?;
                    end = args.iter().map(scratch_end).fold(end, u64::max);
                    Work::Launch(KernelLaunch { args, ..launch })
                }
                Work::Copy { .. } => return Err(Fault::contract("a part of a region copies")),
            });
        }
        end = end.next_multiple_of(ALIGNMENT);
    }
    Ok(works)
}

fn scratch_end(memory: &Memory) -> u64 {
    match memory {
        Memory::Scratch { offset, bytes, .. } => offset + bytes,
        _ => 0,
    }
}

/// Where the memory of a part lies.
struct Places<'a> {
    whole: &'a Program,
    part: &'a Program,
    between: &'a BTreeMap<NodeId, (u64, u64)>,
    /// Where scratch memory of the part's own begins.
    own: u64,
}

impl Places<'_> {
    fn of(&self, memory: &Memory) -> Result<Memory, Fault> {
        let whole_output = |id: NodeId| self.whole.outputs.iter().position(|(_, output)| *output == id);
        let between = |id: NodeId, written| {
            let &(offset, bytes) =
                self.between.get(&id).ok_or_else(|| Fault::contract("a part of a region reads what none gives"))?;
            Ok(Memory::Scratch { offset, bytes, written })
        };
        match memory {
            Memory::Input(position) => {
                let (_, id) = self.part.inputs[*position];
                if let Some(input) = self.whole.inputs.iter().position(|(_, input)| *input == id) {
                    return Ok(Memory::Input(input));
                }
                // What an earlier part has written of the region's outputs is read.
                whole_output(id).map_or_else(|| between(id, false), |output| Ok(Memory::Update(output)))
            }
            Memory::Output(position) | Memory::Update(position) => {
                let (_, id) = self.part.outputs[*position];
                match (whole_output(id), memory) {
                    (Some(output), Memory::Update(_)) => Ok(Memory::Update(output)),
                    (Some(output), _) => Ok(Memory::Output(output)),
                    (None, _) => between(id, true),
                }
            }
            Memory::Scratch { offset, bytes, written } => {
                Ok(Memory::Scratch { offset: self.own + offset, bytes: *bytes, written: *written })
            }
            Memory::TensorMap { of, map } => Ok(Memory::TensorMap { of: Box::new(self.of(of)?), map: map.clone() }),
        }
    }
}

/// The product with what it gives at each element, and then the reductions with what is around them; each with the values
/// that it gives. What does not depend on the product is computed wherever it is needed.
fn parts(graph: &Graph, region: &Region) -> Result<Vec<(Region, Vec<NodeId>)>, Fault> {
    let anatomy = region::anatomy(graph, region).map_err(Fault::Contract)?;
    let order = graph.order_within(&region.nodes).ok_or_else(|| Fault::contract("the region has a cycle"))?;
    // Reductions and what depends on them.
    let mut late: BTreeSet<NodeId> = anatomy.per_row.union(&anatomy.per_block).copied().collect();
    for &id in &order {
        if graph.operands(id).iter().any(|operand| late.contains(operand)) {
            late.insert(id);
        }
    }
    let given = region::outputs(graph, &region.nodes).into_iter().filter(|id| !late.contains(id));
    let before_blocks = last_before_blocks(graph, &anatomy, &order, &late);
    let product =
        with_ancestors(graph, &order, given.chain(anatomy.anchors.iter().copied()).chain(before_blocks), |_| true);
    let rest: Vec<NodeId> = order.iter().copied().filter(|id| !product.contains(id) && anatomy.follows(*id)).collect();
    let gives = |nodes: &BTreeSet<NodeId>| -> Vec<NodeId> {
        let nodes: Vec<NodeId> = nodes.iter().copied().collect();
        region::outputs(graph, &nodes).into_iter().filter(|id| anatomy.follows(*id)).collect()
    };
    let with_leading = |ids: &[NodeId]| {
        let own: BTreeSet<NodeId> = ids.iter().copied().collect();
        with_ancestors(graph, &order, ids.iter().copied(), |id| own.contains(&id) || !anatomy.follows(id))
    };
    let part = |name: String, kind, nodes: BTreeSet<NodeId>| {
        let given = gives(&nodes);
        (Region::new(name, kind, nodes), given)
    };
    let mut parts = vec![part(format!("{}.product", region.name), region.kind, product)];
    for kind in [RegionKind::Row, RegionKind::Reduction] {
        let (together, given) = part(format!("{}.rows", region.name), kind, with_leading(&rest));
        if region::anatomy_giving(graph, &together, &given).is_ok() {
            parts.push((together, given));
            return Ok(parts);
        }
    }
    for (number, id) in rest.into_iter().enumerate() {
        let kind =
            if region::can_anchor(graph, id, RegionKind::Reduction) { RegionKind::Reduction } else { RegionKind::Map };
        parts.push((Region::new(format!("{}.{number}", region.name), kind, with_leading(&[id])), vec![id]));
    }
    Ok(parts)
}

/// The values and, of those of the region, all that they are computed from through values that may be `taken`.
fn with_ancestors(
    graph: &Graph,
    order: &[NodeId],
    values: impl Iterator<Item = NodeId>,
    taken: impl Fn(NodeId) -> bool,
) -> BTreeSet<NodeId> {
    let inside: BTreeSet<NodeId> = order.iter().copied().collect();
    let mut found: BTreeSet<NodeId> = BTreeSet::new();
    let mut pending: Vec<NodeId> = values.collect();
    while let Some(id) = pending.pop() {
        if inside.contains(&id) && taken(id) && found.insert(id) {
            pending.extend(graph.operands(id));
        }
    }
    found
}

/// Of a region that folds blocks: the last values that still have the product's shape, as narrow as they were.
fn last_before_blocks(
    graph: &Graph,
    anatomy: &region::Anatomy,
    order: &[NodeId],
    late: &BTreeSet<NodeId>,
) -> Vec<NodeId> {
    let Some(&anchor) = anatomy.anchors.first().filter(|_| !anatomy.per_block.is_empty()) else { return Vec::new() };
    let has_shape = |id: NodeId| graph.ty(id).shape == graph.ty(anchor).shape && !late.contains(&id);
    let is_last = |id: &NodeId| {
        let ends = |user: &NodeId| order.contains(user) && !has_shape(*user);
        anatomy.follows(*id) && has_shape(*id) && graph.users(*id).iter().any(ends)
    };
    let narrowest = |mut id: NodeId| {
        while let Op::Cast(op) = graph.op(id) {
            let from = graph.operand(id, 0);
            if op.to.bits() <= graph.ty(from).dtype.bits() || !anatomy.follows(from) {
                break;
            }
            id = from;
        }
        id
    };
    order.iter().copied().filter(is_last).map(narrowest).collect()
}
