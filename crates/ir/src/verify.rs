//! The verifier. It collects every fault with its place instead of stopping at the first.
//!
//! Checked: no cycle, also among regions; operand counts; operand positions without gaps; each stored type is what the
//! op infers; input names are unique and not empty; output names likewise; sizes are not negative and fit in memory
//! arithmetic; weights in the store have the declared type; regions do not overlap and name existing values.
//! Not checked: that a region's kind fits its contents (the code generator refuses such a region by name).

use crate::graph::{Graph, NodeId};
use crate::module::Module;
use crate::op::Op;
use crate::types::{ConcreteType, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Something wrong with a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where: a value, an input, an output, a region.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Every fault of a graph; none for a right one.
pub fn verify(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |place: String, message: String| faults.push(Fault { place, message });
    if graph.try_order().is_none() {
        fault(format!("graph @{}", graph.name), "values or regions depend on themselves".into());
    }
    for id in graph.ids() {
        check_node(graph, id, &mut |message| fault(describe(graph, id), message));
    }
    let inputs: Vec<&str> = graph.inputs().iter().map(|&id| graph.input_name(id)).collect();
    check_names("input", &inputs, &mut fault);
    let outputs: Vec<&str> = graph.outputs().iter().map(|(name, _)| name.as_str()).collect();
    check_names("output", &outputs, &mut fault);
    for (name, id) in graph.outputs() {
        if !graph.contains(*id) {
            fault(format!("output `{name}`"), "names a value that does not exist".into());
        }
    }
    let mut owner: BTreeMap<NodeId, &str> = BTreeMap::new();
    for region in &graph.regions {
        let place = || format!("region @{}", region.name);
        if region.nodes.is_empty() {
            fault(place(), "is empty".into());
        }
        for &id in &region.nodes {
            if !graph.contains(id) {
                fault(place(), format!("holds value %{} that does not exist", id.index()));
            } else if let Some(other) = owner.insert(id, &region.name) {
                fault(place(), format!("shares {} with region @{other}", describe(graph, id)));
            }
        }
    }
    let names: Vec<&str> = graph.regions.iter().map(|region| region.name.as_str()).collect();
    check_names("region", &names, &mut fault);
    faults
}

/// Every fault of a module: those of its graph, and weights that disagree with it.
pub fn verify_module(module: &Module) -> Vec<Fault> {
    let mut faults = verify(&module.graph);
    for id in module.graph.ids() {
        let Op::Weight(weight) = module.graph.op(id) else { continue };
        let place = format!("weight `{}`", weight.key);
        match module.weights.get(&weight.key) {
            None => faults.push(Fault { place, message: "is not in the store".into() }),
            Some(tensor) => {
                let found = Type::from(ConcreteType::of(tensor));
                if found != *module.graph.ty(id) {
                    let message = format!("is {found} in the store, {} in the graph", module.graph.ty(id));
                    faults.push(Fault { place, message });
                }
            }
        }
    }
    faults
}

fn describe(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    match &node.origin {
        Some(origin) => format!("%{} = {} ({origin})", id.index(), node.op.name()),
        None => format!("%{} = {}", id.index(), node.op.name()),
    }
}

fn check_node(graph: &Graph, id: NodeId, fault: &mut dyn FnMut(String)) {
    let node = graph.node(id);
    let operands = graph.operands(id);
    if let Err(error) = node.op.info().check_arity(operands.len()) {
        return fault(error.0);
    }
    let types: Vec<&Type> = operands.iter().map(|&operand| graph.ty(operand)).collect();
    match node.op.def().infer(&types) {
        Err(error) => fault(error.0),
        Ok(ty) if ty != node.ty => fault(format!("type is {}, expected {ty}", node.ty)),
        Ok(_) => {}
    }
    for dim in &node.ty.shape {
        if dim.value().is_some_and(|size| size < 0) {
            fault(format!("type {} has a negative size", node.ty));
        }
    }
    if let Some(ty) = node.ty.concrete()
        && let Err(error) = gable_tensor::tensor::byte_count(ty.dtype, &ty.shape)
    {
        fault(error.to_string());
    }
}

fn check_names(what: &str, names: &[&str], fault: &mut dyn FnMut(String, String)) {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            fault(format!("an {what}"), "has an empty name".into());
        } else if !seen.insert(name) {
            fault(format!("{what} `{name}`"), "is named twice".into());
        }
    }
}
