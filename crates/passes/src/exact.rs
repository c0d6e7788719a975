//! Values of f32 that are numbers of a type of 16 bits, by what they are computed from.

use crate::simplify::casts::{Format, format, is_exact};
use crate::unpacking;
use gable_ir::{Builder, NodeId, Op, OpError};
use gable_tensor::{DType, Kind, Tensor};

/// Values on the way from what is stored: they are followed by recursion.
pub const MAX_DEPTH: usize = 32;

/// Elements of a constant whose values are looked at.
const MAX_ELEMENTS: usize = 1 << 16;

/// Significant bits of f32, and the exponent of its least number.
const F32: (u32, i32) = (24, -149);

/// The type of 16 bits that has every element of both values.
pub fn common(b: &Builder, values: [NodeId; 2]) -> Option<DType> {
    let [one, other] = values.map(|value| format_of(b, value, MAX_DEPTH));
    let (one, other) = (one?, other?);
    [DType::BF16, DType::F16].into_iter().find(|&narrow| fits(one, narrow) && fits(other, narrow))
}

/// Whether a product of f32 that is then rounded to a type of 16 bits has the same bits where it is computed in that type: its
/// factors are numbers of it, and f32 rounds nothing.
pub fn rounds_once(b: &Builder, product: NodeId, to: DType) -> bool {
    let operands = b.graph.operands(product);
    let formats = operands.iter().map(|&operand| format_of(b, operand, MAX_DEPTH)).collect::<Option<Vec<_>>>();
    let Some([one, other]) = formats.as_deref() else { return false };
    let (joint, wide) = (one.times(*other), format(to));
    let is_number = |own: &Format| own.bits <= wide.bits && own.least >= wide.least && own.largest <= wide.largest;
    is_number(one) && is_number(other) && joint.bits <= F32.0 && joint.least >= F32.1
}

/// Whether numbers of a format are numbers of a type. Below 2^-126 those of bf16 lie wider apart than those of f32; that is
/// not asked, as scales that small are not met.
fn fits(own: Format, narrow: DType) -> bool {
    let wide = format(narrow);
    let reaches = narrow == DType::BF16 || (own.least >= wide.least && own.largest <= wide.largest);
    own.bits <= wide.bits && reaches
}

/// The format that holds every element, where the value is a product of narrow numbers, converted and moved.
fn format_of(b: &Builder, id: NodeId, depth: usize) -> Option<Format> {
    let depth = depth.checked_sub(1)?;
    let graph = &b.graph;
    if unpacking::is_element(graph, id) {
        let Op::Const(table) = graph.op(graph.operand(id, 0)) else { return None };
        return of_elements(&table.value);
    }
    match graph.op(id) {
        Op::Const(_) | Op::Weight(_) => stored_format(b, id),
        Op::Cast(op) => {
            let from = graph.ty(graph.operand(id, 0)).dtype;
            let is_number = from.is_float() && from.bits() <= 16 || matches!(from, DType::I8 | DType::U8);
            // What is stored may be less than its type could hold; what computes a narrow value is asked no further.
            let stored = || stored_format(b, graph.operand(id, 0)).unwrap_or(format(from));
            (is_number && is_exact(from, op.to)).then(stored)
        }
        Op::Mul(_) => {
            let [x, y] = [0, 1].map(|position| format_of(b, graph.operand(id, position), depth));
            Some(x?.times(y?))
        }
        // Whole numbers, as of a zero point: the difference has no more digits than the larger of them, or one more.
        Op::Sub(_) => {
            let operands = [0, 1].map(|position| graph.operand(id, position));
            let [x, y] = operands.map(|operand| format_of(b, operand, depth));
            let (x, y) = (x?, y?);
            let same_sign = operands.into_iter().all(|operand| is_non_negative(b, operand));
            let largest = if same_sign { x.largest.max(y.largest) } else { x.largest + y.largest };
            let bits = largest.log2().floor() as u32 + 1;
            (x.least >= 0 && y.least >= 0 && largest >= 1.0).then_some(Format { bits, least: 0, largest })
        }
        op if is_view(op) => format_of(b, graph.operand(id, 0), depth),
        _ => None,
    }
}

/// Whether no element is below zero, where it is stored or converted.
fn is_non_negative(b: &Builder, mut id: NodeId) -> bool {
    while is_view(b.graph.op(id)) {
        id = b.graph.operand(id, 0);
    }
    let has_none = |value: &Tensor| value.len() <= MAX_ELEMENTS && value.scalars().all(|scalar| scalar.as_f64() >= 0.0);
    match b.graph.op(id) {
        Op::Const(op) => has_none(&op.value),
        Op::Weight(op) => b.weights.get(&op.key).is_some_and(has_none),
        Op::Cast(_) => b.dtype(b.graph.operand(id, 0)).kind() == Kind::Unsigned,
        Op::Gather(_) if unpacking::is_element(&b.graph, id) => is_non_negative(b, b.graph.operand(id, 0)),
        _ => false,
    }
}

/// The least format that holds every element of a small constant, seen through moves.
fn stored_format(b: &Builder, mut id: NodeId) -> Option<Format> {
    while is_view(b.graph.op(id)) {
        id = b.graph.operand(id, 0);
    }
    match b.graph.op(id) {
        Op::Const(op) => of_elements(&op.value),
        Op::Weight(op) => of_elements(b.weights.get(&op.key)?),
        _ => None,
    }
}

/// The least format that holds every element of a small constant.
fn of_elements(value: &Tensor) -> Option<Format> {
    if value.len() > MAX_ELEMENTS || !value.dtype().is_float() {
        return None;
    }
    value.scalars().map(|scalar| of_number(scalar.as_f64())).reduce(|one, other| Some(one?.or(other?)))?
}

/// The least format that holds a number.
fn of_number(value: f64) -> Option<Format> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        return Some(Format { bits: 0, least: 0, largest: 0.0 });
    }
    // As an odd number times a power of two.
    let (mut odd, mut least) = (value.abs(), 0);
    while odd.fract() != 0.0 {
        (odd, least) = (odd * 2.0, least - 1);
    }
    while odd % 2.0 == 0.0 {
        (odd, least) = (odd / 2.0, least + 1);
    }
    let bits = odd.log2().floor() as u32 + 1;
    Some(Format { bits, least, largest: value.abs() })
}

/// The value computed in a type that [`common`] has found.
pub fn narrowed(b: &mut Builder, id: NodeId, to: DType, depth: usize) -> Result<NodeId, OpError> {
    let operands = b.graph.operands(id);
    if depth == 0 {
        return b.cast(id, to);
    }
    if unpacking::is_element(&b.graph, id) {
        let table = b.cast(operands[0], to)?;
        return b.add(b.graph.op(id).clone(), &[table, operands[1]]);
    }
    match b.graph.op(id).clone() {
        Op::Cast(_) => b.cast(operands[0], to),
        op @ (Op::Mul(_) | Op::Sub(_)) => {
            let both = [narrowed(b, operands[0], to, depth - 1)?, narrowed(b, operands[1], to, depth - 1)?];
            b.add(op, &both)
        }
        op if is_view(&op) => {
            let value = narrowed(b, operands[0], to, depth - 1)?;
            b.add(op, &[value])
        }
        _ => b.cast(id, to),
    }
}

/// Whether a move gives each element of its one operand a place, or several.
pub fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_) | Op::Slice(_))
}
