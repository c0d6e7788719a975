//! A region as a program of its own: primitive ops in order, with concrete shapes.
//!
//! In: a graph whose symbols are bound, and one region. Out: values numbered in topological order. Composite ops are
//! replaced by their decomposition, so that whoever writes kernels meets leaves, maps, movement, reductions, windows,
//! contractions and ordered ops only. Constants and coordinates are part of the program even where the region leaves
//! them outside, because kernels write them into their code.

use crate::arithmetic::is_narrow;
use crate::error::Fault;
use gable_ir::region::RegionKind;
use gable_ir::{Builder, ConcreteType, Graph, Group, NodeId, Op, Region, composite, region};
use gable_tensor::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};

/// Position of a value in a program.
pub type ValueId = usize;

/// Elements of one value at most: beyond, products of sizes and strides might not fit the 64 bits of an index.
const MAX_ELEMENTS: usize = 1 << 48;

/// One value.
#[derive(Clone, Debug)]
pub struct Value {
    /// What computes it; inputs of the program are `Op::Input`.
    pub op: Op,
    /// Values that it is computed from.
    pub operands: Vec<ValueId>,
    /// Element type and shape.
    pub ty: ConcreteType,
}

/// A region's values.
#[derive(Clone, Debug)]
pub struct Program {
    /// The region's name.
    pub name: String,
    /// Operands before users.
    pub values: Vec<Value>,
    /// Values that memory holds already: here, and in the graph.
    pub inputs: Vec<(ValueId, NodeId)>,
    /// Values to be written to memory: here, and in the graph.
    pub outputs: Vec<(ValueId, NodeId)>,
    /// Positions of the outputs that memory holds with two elements to a byte: values of e2m1 whose last axis, of 2, is a byte of the
    /// graph's.
    pub packed: BTreeSet<usize>,
}

impl Program {
    /// The program of `region`.
    pub fn of_region(graph: &Graph, region: &Region) -> Result<Program, Fault> {
        Program::of_part(graph, region, &region::outputs(graph, &region.nodes))
    }

    /// The same for a part of a region that gives these values and no others.
    pub fn of_part(graph: &Graph, region: &Region, given: &[NodeId]) -> Result<Program, Fault> {
        let order = graph.order_within(&region.nodes).ok_or_else(|| Fault::contract("the region has a cycle"))?;
        let mut builder = Builder::new(region.name.clone());
        let mut here: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let mut inputs = Vec::new();
        for (position, outside) in region::inputs(graph, &region.nodes).into_iter().enumerate() {
            let id = match graph.op(outside) {
                op @ (Op::Const(_) | Op::Iota(_)) => builder.add(op.clone(), &[])?,
                _ => {
                    let id = builder.input(format!("in{position}"), graph.ty(outside).clone());
                    inputs.push((id, outside));
                    id
                }
            };
            here.insert(outside, id);
        }
        for id in order {
            let operands: Vec<NodeId> = graph.operands(id).iter().map(|operand| here[operand]).collect();
            let op = graph.op(id);
            if op.is(Group::Leaf) && !matches!(op, Op::Const(_) | Op::Iota(_)) {
                return Err(Fault::contract(format!("`{}` is inside a region", op.name())));
            }
            // Where results are rounded at once there are shorter ways than the decomposition.
            let is_short = matches!(op, Op::Silu(_) | Op::Gelu(_)) && is_narrow(graph.ty(id).dtype);
            let decomposed = if is_short { None } else { composite::decompose(&mut builder, op, &operands) };
            let new = match decomposed {
                Some(decomposed) => decomposed?,
                None => builder.add(op.clone(), &operands)?,
            };
            here.insert(id, new);
        }
        let mut outputs: Vec<(NodeId, NodeId)> = given.iter().map(|&id| (here[&id], id)).collect();
        let mut packed = BTreeSet::new();
        for (position, (output, _)) in outputs.iter_mut().enumerate() {
            if let Some(codes) = before_bitcast(&mut builder, *output)? {
                *output = codes;
                packed.insert(position);
            }
        }
        // A map's outputs have as many elements each.
        if region.kind == RegionKind::Map && packed.len() < outputs.len() {
            outputs = given.iter().map(|&id| (here[&id], id)).collect();
            packed.clear();
        }
        Program::new(&builder.graph, region.name.clone(), inputs, outputs, packed)
    }

    fn new(
        graph: &Graph,
        name: String,
        inputs: Vec<(NodeId, NodeId)>,
        outputs: Vec<(NodeId, NodeId)>,
        packed: BTreeSet<usize>,
    ) -> Result<Program, Fault> {
        // A decomposition may leave values that nothing uses.
        let mut live: BTreeSet<NodeId> = inputs.iter().map(|(id, _)| *id).collect();
        let mut pending: Vec<NodeId> = outputs.iter().map(|(id, _)| *id).collect();
        while let Some(id) = pending.pop() {
            if live.insert(id) {
                pending.extend(graph.operands(id));
            }
        }
        let order: Vec<NodeId> = graph.order().into_iter().filter(|id| live.contains(id)).collect();
        let position: BTreeMap<NodeId, ValueId> = order.iter().copied().zip(0..).collect();
        let mut values = Vec::with_capacity(order.len());
        for &id in &order {
            let (op, ty) = (graph.op(id).clone(), graph.ty(id));
            let concrete = ty.concrete().ok_or_else(|| {
                Fault::unsupported(op.name(), format!("type {ty} has unbound sizes: give them with `--dim`"))
            })?;
            let n_elements = concrete.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
            if n_elements.is_none_or(|n| n > MAX_ELEMENTS) {
                return Err(Fault::unsupported(op.name(), format!("{concrete} has more than 2^48 elements")));
            }
            let operands = graph.operands(id).iter().map(|operand| position[operand]).collect();
            values.push(Value { op, operands, ty: concrete });
        }
        let here =
            |list: Vec<(NodeId, NodeId)>| list.into_iter().map(|(id, outside)| (position[&id], outside)).collect();
        Ok(Program { name, values, inputs: here(inputs), outputs: here(outputs), packed })
    }

    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> &ConcreteType {
        &self.values[id].ty
    }

    /// The type of the output at a position as memory holds it.
    pub fn output_type(&self, position: usize) -> ConcreteType {
        let mut ty = self.ty(self.outputs[position].0).clone();
        if self.packed.contains(&position) {
            ty.dtype = DType::U8;
            ty.shape.pop();
        }
        ty
    }

    /// Values of a kind of op, in order.
    pub fn find(&self, is: impl Fn(&Op) -> bool) -> Vec<ValueId> {
        (0..self.values.len()).filter(|&id| is(&self.values[id].op)).collect()
    }

    /// The value and everything that it is computed from.
    pub fn ancestors(&self, id: ValueId) -> BTreeSet<ValueId> {
        let mut found = BTreeSet::from([id]);
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            for &operand in &self.values[id].operands {
                if found.insert(operand) {
                    pending.push(operand);
                }
            }
        }
        found
    }
}

/// The codes of a value that is their bytes, reshaped and transposed at most: moved in the same way, with a last axis of a byte's
/// two. Kernels then follow elements, of which two share a byte when they are stored.
fn before_bitcast(builder: &mut Builder, id: NodeId) -> Result<Option<NodeId>, Fault> {
    if builder.dtype(id) != DType::U8 || builder.shape(id).is_empty() {
        return Ok(None);
    }
    let operand = |builder: &Builder| builder.graph.operand(id, 0);
    let shape = builder.shape(id);
    match builder.graph.op(id).clone() {
        Op::Bitcast(_) => {
            let codes = operand(builder);
            Ok((builder.dtype(codes) == DType::E2M1).then_some(codes))
        }
        Op::Reshape(_) => {
            let from = operand(builder);
            let Some(codes) = before_bitcast(builder, from)? else { return Ok(None) };
            Ok(Some(builder.reshape(codes, shape.into_iter().chain([Dim::known(2)]))?))
        }
        Op::Transpose(op) => {
            let from = operand(builder);
            let Some(codes) = before_bitcast(builder, from)? else { return Ok(None) };
            let last = op.perm.len();
            let perm: Vec<usize> = op.perm.into_iter().chain([last]).collect();
            Ok(Some(builder.transpose(codes, &perm)?))
        }
        _ => Ok(None),
    }
}
