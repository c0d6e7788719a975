//! A region whose kernel cannot reduce as it goes, in parts: the product first, and what is reduced of its results after it.
//!
//! In: a contraction region with reductions after its anchor. Out: the work of regions that have none, in order. Values
//! between them that the region does not give lie in scratch memory.

use crate::error::Fault;
use crate::program::Program;
use crate::work::{KernelLaunch, Memory, Work};
use gable_ir::region::{self, RegionKind};
use gable_ir::{Graph, NodeId, Region};
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
    for part in parts(graph, region)? {
        let program = Program::of_region(graph, &part)?;
        for &(value, id) in &program.outputs {
            if !whole.outputs.iter().any(|(_, output)| *output == id) {
                let bytes = program.ty(value).bytes() as u64;
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

/// The product with what it gives at each element, and then the reductions with what is around them.
fn parts(graph: &Graph, region: &Region) -> Result<Vec<Region>, Fault> {
    let anatomy = region::anatomy(graph, region).map_err(Fault::Contract)?;
    let order = graph.order_within(&region.nodes).ok_or_else(|| Fault::contract("the region has a cycle"))?;
    let inside: BTreeSet<NodeId> = order.iter().copied().collect();
    let mut product: BTreeSet<NodeId> = BTreeSet::new();
    let given = region::outputs(graph, &region.nodes).into_iter().filter(|id| !anatomy.per_row.contains(id));
    let mut pending: Vec<NodeId> = given.chain(anatomy.anchors.iter().copied()).collect();
    while let Some(id) = pending.pop() {
        if inside.contains(&id) && product.insert(id) {
            pending.extend(graph.operands(id));
        }
    }
    let rest: Vec<NodeId> = order.iter().copied().filter(|id| !product.contains(id)).collect();
    let mut parts = vec![Region::new(format!("{}.product", region.name), region.kind, product)];
    for kind in [RegionKind::Row, RegionKind::Reduction] {
        let together = Region::new(format!("{}.rows", region.name), kind, rest.iter().copied());
        if region::anatomy(graph, &together).is_ok() {
            parts.push(together);
            return Ok(parts);
        }
    }
    for (number, id) in rest.into_iter().enumerate() {
        let kind =
            if region::can_anchor(graph, id, RegionKind::Reduction) { RegionKind::Reduction } else { RegionKind::Map };
        parts.push(Region::new(format!("{}.{number}", region.name), kind, [id]));
    }
    Ok(parts)
}
