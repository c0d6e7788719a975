//! Computes what depends on constants and weights alone, by each op's own `eval`.
//!
//! In: known sizes. Out: the same values, fewer ops. Nothing grows: a result replaces its op when it has at most
//! [`SMALL_BYTES`] or is no larger than what it was computed from. Broadcasts stay (kernels repeat an element for
//! free), and so do grids computed from coordinates (kernels count for free). What is stored narrow stays so: neither
//! 8-bit floats nor packed elements of four bits become wider weights, or scales of another type, however small.

use crate::context::Context;
use crate::error::PassError;
use crate::unpacking;
use gable_ir::build::MAX_INLINE_ELEMENTS;
use gable_ir::{Builder, ConcreteType, Graph, Group, Module, NodeId, Op, OpError, cost};
use gable_tensor::{Scalar, Tensor, tensor};
use std::collections::BTreeMap;

/// Results up to this size are kept whatever they were computed from.
const SMALL_BYTES: usize = 64 << 10;

/// Work on one op that compilation may spend, in operations of the reference evaluator (some 20 ns each). Converting
/// or permuting a weight takes one for each element and is not limited.
const MAX_WORK: f64 = 3e7;

/// Memory that one result may take to compute, beside twice what it is computed from: a model file of a few bytes can
/// name values of any size.
const MAX_PEAK_BYTES: usize = 64 << 20;

/// Ops on the way from what is stored to a result: they are followed by recursion.
const MAX_DEPTH: usize = 256;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = fold(&mut b, context).map_err(|source| PassError::Built { pass: "fold", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

/// What is known of a constant value without looking at its elements.
#[derive(Clone, Copy)]
struct Known {
    /// Bytes that are stored for it, or of the largest leaf that it is computed from.
    stored_bytes: usize,
    /// Whether it is made of coordinates and scalars alone.
    counted: bool,
    /// The largest value that computing it needs at one time, in bytes.
    peak_bytes: usize,
    /// Ops between it and what is stored.
    depth: usize,
    /// Whether it comes from elements of a narrow float or of four bits.
    narrow: bool,
}

impl Known {
    fn stored(bytes: usize, narrow: bool) -> Known {
        Known { stored_bytes: bytes, counted: false, peak_bytes: bytes, depth: 0, narrow }
    }
}

fn fold(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    let mut known: BTreeMap<NodeId, Known> = BTreeMap::new();
    for id in b.graph.order() {
        let Some(fact) = fact(&b.graph, id, &known) else { continue };
        known.insert(id, fact);
        let is_result = !b.graph.op(id).is(Group::Leaf) && worth_storing(&b.graph, id, &known) && context.step();
        if !is_result {
            continue;
        }
        // An op that refuses its operands' values (an index of an empty axis) is left to say so when it runs.
        let Ok(value) = evaluate(b, id, &mut BTreeMap::new()) else { continue };
        b.set_origin(b.graph.node(id).origin.clone());
        let new = store(b, id, value)?;
        b.graph.replace_uses(id, new);
        known.insert(new, Known::stored(b.ty(new).concrete().map_or(0, |ty| ty.bytes()), fact.narrow));
    }
    Ok(())
}

/// Whether a stored value is one that kernels read as it is, and convert: narrow floats, more than a few.
fn is_narrow(ty: &ConcreteType) -> bool {
    ty.dtype.is_float() && ty.dtype.bits() <= 8 && ty.len() > MAX_INLINE_ELEMENTS
}

fn fact(graph: &Graph, id: NodeId, known: &BTreeMap<NodeId, Known>) -> Option<Known> {
    let ty = graph.ty(id).concrete()?;
    let bytes = ty.bytes();
    match graph.op(id) {
        Op::Input(_) => None,
        Op::Iota(_) => Some(Known { stored_bytes: 0, counted: true, peak_bytes: bytes, depth: 0, narrow: false }),
        Op::Const(_) | Op::Weight(_) => Some(Known::stored(bytes, is_narrow(&ty))),
        _ => {
            let operands = graph.operands(id);
            let facts: Vec<Known> =
                operands.iter().map(|operand| known.get(operand).copied()).collect::<Option<_>>()?;
            // The largest, not the sum: a value used twice is stored once.
            let stored = facts.iter().map(|fact| fact.stored_bytes).max().unwrap_or(0);
            let scalar_bytes = 8;
            let counted = facts.iter().any(|fact| fact.counted)
                && facts.iter().all(|fact| fact.counted || fact.stored_bytes <= scalar_bytes);
            let peak_bytes = facts.iter().map(|fact| fact.peak_bytes).fold(bytes, usize::max);
            let depth = 1 + facts.iter().map(|fact| fact.depth).max().unwrap_or(0);
            let narrow = facts.iter().any(|fact| fact.narrow) || unpacking::is_part(graph, id);
            Some(Known { stored_bytes: stored, counted, peak_bytes, depth, narrow })
        }
    }
}

fn worth_storing(graph: &Graph, id: NodeId, known: &BTreeMap<NodeId, Known>) -> bool {
    let Some(ty) = graph.ty(id).concrete() else { return false };
    let op = graph.op(id);
    let stored = graph.operands(id).into_iter().map(|operand| known[&operand].stored_bytes);
    let operands = stored.fold(0, usize::saturating_add);
    if matches!(op, Op::Broadcast(_)) {
        return false;
    }
    if known[&id].counted && (op.is(Group::Map) || op.is(Group::Movement)) && ty.len() > MAX_INLINE_ELEMENTS {
        return false;
    }
    let fact = known[&id];
    if fact.depth > MAX_DEPTH || fact.peak_bytes > operands.saturating_mul(2).max(MAX_PEAK_BYTES) {
        return false;
    }
    let widens = ty.dtype.bits() > 8 && !op.is(Group::Reduction) || ty.bytes() > fact.stored_bytes;
    if fact.narrow && (widens || unpacking::is_part(graph, id)) {
        return false;
    }
    let moves_once = op.is(Group::Movement) || op.is(Group::Map);
    let work = cost::of_node(graph, id).map_or(f64::INFINITY, |cost| cost.total_flops());
    (ty.bytes() <= SMALL_BYTES || ty.bytes() <= operands) && (moves_once || work <= MAX_WORK)
}

/// Whether a value depends on constants and weights alone, by at most so many ops.
pub fn is_constant(graph: &Graph, id: NodeId, depth: usize) -> bool {
    match graph.op(id) {
        Op::Const(_) | Op::Weight(_) => true,
        op if op.is(Group::Leaf) || depth == 0 => false,
        _ => graph.operands(id).into_iter().all(|operand| is_constant(graph, operand, depth - 1)),
    }
}

/// The value, computed from leaves; what is not stored is computed for this once, each value once.
pub fn evaluate(b: &Builder, id: NodeId, seen: &mut BTreeMap<NodeId, Tensor>) -> Result<Tensor, OpError> {
    if let Some(value) = seen.get(&id) {
        return Ok(value.clone());
    }
    let graph = &b.graph;
    let ty = graph.ty(id).concrete().ok_or_else(|| OpError::new("its size is not known"))?;
    let value = match graph.op(id) {
        Op::Weight(weight) => {
            let found = b.weights.get(&weight.key).filter(|tensor| ConcreteType::of(tensor) == ty);
            found.cloned().ok_or_else(|| OpError(format!("weight `{}` is not in the store", weight.key)))?
        }
        op => {
            tensor::byte_count(ty.dtype, &ty.shape).map_err(|e| OpError(e.to_string()))?;
            let operands = graph.operands(id);
            let args: Vec<Tensor> =
                operands.iter().map(|&operand| evaluate(b, operand, seen)).collect::<Result<_, _>>()?;
            op.def().eval(&args.iter().collect::<Vec<_>>(), &ty)?
        }
    };
    seen.insert(id, value.clone());
    Ok(value)
}

/// A leaf with this value. A weight that one op turned into another keeps its name, with the op's added.
fn store(b: &mut Builder, id: NodeId, value: Tensor) -> Result<NodeId, OpError> {
    let op = b.graph.op(id);
    let keeps_bits = op.is(Group::Movement) || matches!(op, Op::Cast(_));
    let value = if keeps_bits { value } else { with_one_nan(value) };
    let operands = b.graph.operands(id);
    if let [only] = operands[..]
        && let Op::Weight(weight) = b.graph.op(only)
        && value.len() > MAX_INLINE_ELEMENTS
    {
        let op = b.graph.op(id);
        let attrs: Vec<String> = op.attrs().into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        let key = format!("{}|{}({})", weight.key, op.name(), attrs.join(","));
        return b.weight(key, value);
    }
    b.constant(value)
}

/// Which NaN an operation gives differs between machines; a compiled model does not.
fn with_one_nan(value: Tensor) -> Tensor {
    let is_nan = |x: &Scalar| matches!(x, Scalar::F(x) if x.is_nan());
    if !value.dtype().is_float() || !value.scalars().any(|x| is_nan(&x)) {
        return value;
    }
    let scalars = value.scalars().map(|x| if is_nan(&x) { Scalar::F(f64::NAN) } else { x });
    Tensor::from_scalars(value.dtype(), value.shape(), scalars)
}
