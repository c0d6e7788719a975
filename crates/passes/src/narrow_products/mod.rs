//! Multiplies factors as they are stored, where a graph widens them to f32 first.
//!
//! In: `matmul(cast(a) * sa, cast(b) * sb)` in f32. Three steps, each for itself:
//!
//! - [`scales`]: scales on which k has no influence leave the product and multiply its result. That rounds the sum instead of each
//!   element, to f32 both times (`docs/decisions/0056-scales-on-sums.md`).
//! - What is left on both sides is one narrow type, converted: the product is that of the stored elements. Integers are then
//!   summed exactly.
//! - [`crate::exact`]: else, where every element of both factors is a number of bf16 (or of f16), the product is one of that type: no
//!   product changes, and no element of 2^-126 or more.
//!
//! Sums stay f32. Factors that the model has rounded to 16 bits after scaling stay rounded, unless a precision is asked for: then
//! they are multiplied as they are stored too, which is exacter than what the model says.

mod scales;

use crate::context::Context;
use crate::error::PassError;
use crate::exact::{self, MAX_DEPTH, is_view};
use crate::options::Precision;
use crate::unpacking;
use gable_ir::{Builder, Graph, Module, NodeId, Op, OpError, ops};
use gable_tensor::{DType, Dim};

/// Bytes that rows of a copy's boxes are multiples of.
const CHUNK: i64 = 16;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = narrow(&mut b, context).map_err(|source| PassError::Built { pass: "narrow-products", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn narrow(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    for id in b.graph.order() {
        let Op::Matmul(op) = b.graph.op(id).clone() else { continue };
        let [left, right] = b.graph.operands(id)[..] else { continue };
        if op.acc != DType::F32 {
            continue;
        }
        b.set_origin(b.graph.node(id).origin.clone());
        let new = match b.dtype(left) {
            DType::F32 => narrowed(b, &op, [left, right])?,
            DType::F16 | DType::BF16 if context.options.precision != Precision::AsIs => {
                unrounded(b, &op, [left, right])?
            }
            _ => None,
        };
        if let Some(new) = new {
            if !context.step() {
                break;
            }
            b.graph.replace_uses(id, new);
        }
    }
    Ok(())
}

/// The same product by narrower factors, where there is one.
fn narrowed(b: &mut Builder, op: &ops::Matmul, factors: [NodeId; 2]) -> Result<Option<NodeId>, OpError> {
    let last = b.rank(factors[0]) - 1;
    let mut outside = Vec::new();
    let mut inner = factors;
    for (factor, k_axis) in inner.iter_mut().zip([last, last - 1]) {
        if is_stored_narrow(&b.graph, *factor, MAX_DEPTH) {
            let peeled = scales::peel(b, *factor, Some(k_axis), MAX_DEPTH)?;
            *factor = peeled.value;
            outside.extend(peeled.scales);
        }
    }
    if let Some(stored) = as_stored(b, inner)? {
        return product_of_stored(b, op, stored, outside).map(Some);
    }
    let product = if let Some(narrow) = exact::common(b, inner) {
        let factors =
            [exact::narrowed(b, inner[0], narrow, MAX_DEPTH)?, exact::narrowed(b, inner[1], narrow, MAX_DEPTH)?];
        b.add(ops::Matmul { acc: DType::F32, out: DType::F32 }, &factors)?
    } else if outside.is_empty() {
        return Ok(None);
    } else {
        b.add(ops::Matmul { acc: DType::F32, out: DType::F32 }, &inner)?
    };
    let result = scales::multiply(b, product, outside)?;
    b.cast(result, op.out).map(Some)
}

/// The product of the stored elements of two factors that were scaled and then rounded to 16 bits.
fn unrounded(b: &mut Builder, op: &ops::Matmul, factors: [NodeId; 2]) -> Result<Option<NodeId>, OpError> {
    if !factors.iter().all(|&factor| is_stored_narrow(&b.graph, factor, MAX_DEPTH)) {
        return Ok(None);
    }
    let last = b.rank(factors[0]) - 1;
    let mut outside = Vec::new();
    let mut inner = factors;
    for (factor, k_axis) in inner.iter_mut().zip([last, last - 1]) {
        let wide = widened(b, *factor, MAX_DEPTH)?;
        let peeled = scales::peel(b, wide, Some(k_axis), MAX_DEPTH)?;
        *factor = peeled.value;
        outside.extend(peeled.scales);
    }
    let Some(stored) = as_stored(b, inner)? else { return Ok(None) };
    product_of_stored(b, op, stored, outside).map(Some)
}

/// A value of 16 bits, computed in f32.
fn widened(b: &mut Builder, id: NodeId, depth: usize) -> Result<NodeId, OpError> {
    let operands = b.graph.operands(id);
    if depth == 0 || b.dtype(id) == DType::F32 {
        return b.cast(id, DType::F32);
    }
    match b.graph.op(id).clone() {
        Op::Cast(_) => b.cast(operands[0], DType::F32),
        Op::Mul(op) => {
            let both = [widened(b, operands[0], depth - 1)?, widened(b, operands[1], depth - 1)?];
            b.add(op, &both)
        }
        op if is_view(&op) => {
            let value = widened(b, operands[0], depth - 1)?;
            b.add(op, &[value])
        }
        _ => b.cast(id, DType::F32),
    }
}

/// A product of stored elements, times scales.
fn product_of_stored(
    b: &mut Builder,
    op: &ops::Matmul,
    stored: [NodeId; 2],
    outside: Vec<NodeId>,
) -> Result<NodeId, OpError> {
    let acc = if b.dtype(stored[0]).is_int() { DType::I32 } else { DType::F32 };
    let product = b.add(ops::Matmul { acc, out: acc }, &stored)?;
    let product = b.cast(product, DType::F32)?;
    let result = scales::multiply(b, product, outside)?;
    b.cast(result, op.out)
}

/// Whether a value is stored elements of at most 8 bits, converted, scaled and moved.
pub fn is_stored_narrow(graph: &Graph, id: NodeId, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    if unpacking::is_element(graph, id) {
        return true;
    }
    let stored = |position: usize| is_stored_narrow(graph, graph.operand(id, position), depth);
    match graph.op(id) {
        Op::Cast(op) => op.to.is_float() && (is_multiplied(graph.ty(graph.operand(id, 0)).dtype) || stored(0)),
        Op::Mul(_) => stored(0) || stored(1),
        // Bytes less a zero point.
        Op::Sub(_) => matches!(converted_from(graph, graph.operand(id, 0)), Some(DType::I8 | DType::U8)),
        op => is_view(op) && stored(0),
    }
}

/// Whether elements of the type are stored to be multiplied.
fn is_multiplied(dtype: DType) -> bool {
    (dtype.is_float() && dtype.bits() <= 8 && dtype != DType::UE8M0) || dtype == DType::I8
}

/// Both factors before their conversion, where it is the last thing that happened to them and tensor cores multiply their type.
fn as_stored(b: &mut Builder, factors: [NodeId; 2]) -> Result<Option<[NodeId; 2]>, OpError> {
    let types = factors.map(|factor| converted_from(&b.graph, factor));
    let last = b.rank(factors[0]) - 1;
    let lie_along_k = lies_along(&b.graph, factors[0], last) && lies_along(&b.graph, factors[1], last - 1);
    match types {
        [Some(one), Some(other)]
            if one == other && matches!(one, DType::E4M3 | DType::E5M2 | DType::I8) && lie_along_k =>
        {
            Ok(Some([unconverted(b, factors[0])?, unconverted(b, factors[1])?]))
        }
        _ => Ok(None),
    }
}

/// Whether memory has neighbours along an axis together, in whole chunks of [`CHUNK`] bytes: only so do tensor cores take 8-bit
/// elements everywhere. A stored weight can be brought into that order.
fn lies_along(graph: &Graph, id: NodeId, axis: usize) -> bool {
    let (mut source, mut axis) = (id, axis);
    let is_whole = graph.ty(id).shape[axis].value().is_some_and(|size| size % CHUNK == 0);
    loop {
        let (op, ty) = (graph.op(source), graph.ty(source));
        let from = graph.operands(source).first().map(|&operand| &graph.ty(operand).shape);
        match (op, from) {
            (Op::Transpose(op), _) => axis = op.perm[axis],
            (Op::Broadcast(_), Some(from)) => match (axis + from.len()).checked_sub(ty.rank()) {
                Some(inner) if from[inner] == ty.shape[axis] => axis = inner,
                _ => return false,
            },
            (Op::Reshape(_), Some(from)) if axis + 1 == ty.rank() && from.last() == ty.shape.last() => {
                axis = from.len() - 1;
            }
            (Op::Cast(_) | Op::Slice(_), Some(_)) => {}
            (Op::Weight(_), _) => return is_whole,
            _ => return is_whole && axis + 1 == ty.rank(),
        }
        source = graph.operand(source, 0);
    }
}

/// The type that a value was converted from, seen through moves.
fn converted_from(graph: &Graph, mut id: NodeId) -> Option<DType> {
    while is_view(graph.op(id)) {
        id = graph.operand(id, 0);
    }
    matches!(graph.op(id), Op::Cast(_)).then(|| graph.ty(graph.operand(id, 0)).dtype)
}

/// The value before its conversion, moved as it was afterwards.
fn unconverted(b: &mut Builder, id: NodeId) -> Result<NodeId, OpError> {
    let (mut source, mut views) = (id, Vec::new());
    while is_view(b.graph.op(source)) {
        views.push(b.graph.op(source).clone());
        source = b.graph.operand(source, 0);
    }
    let stored = b.graph.operand(source, 0);
    views.into_iter().rev().try_fold(stored, |value, view| b.add(view, &[value]))
}

/// A shape of as many axes, all of size 1.
fn ones(rank: usize) -> Vec<Dim> {
    vec![Dim::known(1); rank]
}
