//! What an op needs whatever the machine: arithmetic by unit, and compulsory bytes.
//!
//! Costs come from the graph alone, never from a kernel: re-reads, padding and recomputation are a kernel's waste.

use crate::graph::{Graph, NodeId};
use crate::types::ConcreteType;
use gable_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The kind of arithmetic hardware that an operation can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Multiply-add of a contraction: tensor cores where they take the type, else the ordinary pipes.
    Contraction {
        /// Type of the factors.
        input: DType,
        /// Type of the sum.
        acc: DType,
    },
    /// Ordinary floating-point arithmetic of this type.
    Float(DType),
    /// Transcendental and root functions: the special function unit.
    Special,
    /// Integer, logic and comparison.
    Integer,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Contraction { input, acc } => write!(f, "contraction.{input}.{acc}"),
            Unit::Float(dtype) => write!(f, "float.{dtype}"),
            Unit::Special => f.write_str("special"),
            Unit::Integer => f.write_str("integer"),
        }
    }
}

impl std::str::FromStr for Unit {
    type Err = String;

    /// Reads what [`fmt::Display`] prints.
    fn from_str(text: &str) -> Result<Unit, String> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts[..] {
            ["contraction", input, acc] => Ok(Unit::Contraction { input: input.parse()?, acc: acc.parse()? }),
            ["float", dtype] => Ok(Unit::Float(dtype.parse()?)),
            ["special"] => Ok(Unit::Special),
            ["integer"] => Ok(Unit::Integer),
            _ => Err(format!("unknown arithmetic unit `{text}`")),
        }
    }
}

/// Arithmetic and compulsory traffic of an op or a group of ops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Operations by unit; a multiply-add counts as two.
    pub flops: BTreeMap<Unit, f64>,
    /// Bytes that must be read of each operand.
    pub read_bytes: Vec<f64>,
    /// Bytes that must be written.
    pub written_bytes: f64,
}

impl Cost {
    /// `per_element` operations on `unit` for every result element; every operand read whole, the result written.
    pub fn streaming(unit: Unit, per_element: f64, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out).with(unit, per_element * out.len() as f64)
    }

    /// No arithmetic: every operand read whole, the result written.
    pub fn moving(args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost {
            flops: BTreeMap::new(),
            read_bytes: args.iter().map(|arg| arg.bytes() as f64).collect(),
            written_bytes: out.bytes() as f64,
        }
    }

    /// Adds operations.
    pub fn with(mut self, unit: Unit, flops: f64) -> Cost {
        if flops > 0.0 {
            *self.flops.entry(unit).or_insert(0.0) += flops;
        }
        self
    }

    /// Replaces what is read: every operand whole.
    pub fn reading(mut self, args: &[&ConcreteType]) -> Cost {
        self.read_bytes = args.iter().map(|arg| arg.bytes() as f64).collect();
        self
    }

    /// All operations together.
    pub fn total_flops(&self) -> f64 {
        // The sum of no floats is -0.0.
        self.flops.values().sum::<f64>() + 0.0
    }

    /// All bytes together.
    pub fn total_bytes(&self) -> f64 {
        self.read_bytes.iter().sum::<f64>() + self.written_bytes
    }
}

/// The cost of one node; `None` while a symbolic dimension is left.
pub fn of_node(graph: &Graph, id: NodeId) -> Option<Cost> {
    let args: Vec<ConcreteType> =
        graph.operands(id).iter().map(|&arg| graph.ty(arg).concrete()).collect::<Option<_>>()?;
    let args: Vec<&ConcreteType> = args.iter().collect();
    Some(graph.op(id).def().cost(&args, &graph.ty(id).concrete()?))
}

/// The cost of nodes that one kernel computes together: their arithmetic, what they read of values from outside
/// (each value once, no more than its size), and what of them is needed outside.
/// `read_bytes` is in the order of [`crate::region::inputs`].
pub fn of_group(graph: &Graph, nodes: &[NodeId]) -> Option<Cost> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let inputs = crate::region::inputs(graph, nodes);
    let mut read: BTreeMap<NodeId, f64> = inputs.iter().map(|&id| (id, 0.0)).collect();
    let mut total = Cost::default();
    for &id in nodes {
        let cost = of_node(graph, id)?;
        for (unit, flops) in cost.flops {
            total = total.with(unit, flops);
        }
        for (operand, bytes) in graph.operands(id).into_iter().zip(cost.read_bytes) {
            if !inside.contains(&operand) {
                let size = graph.ty(operand).concrete()?.bytes() as f64;
                let entry = read.entry(operand).or_insert(0.0);
                *entry = (*entry + bytes).min(size);
            }
        }
    }
    for id in crate::region::outputs(graph, nodes) {
        total.written_bytes += graph.ty(id).concrete()?.bytes() as f64;
    }
    total.read_bytes = inputs.iter().map(|id| read[id]).collect();
    Some(total)
}
