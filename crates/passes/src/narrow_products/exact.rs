//! Values of f32 that are numbers of a type of 16 bits, by what they are computed from.

use super::{MAX_DEPTH, is_view};
use crate::simplify::casts::{Format, format, is_exact};
use crate::unpacking;
use gable_ir::{Builder, Graph, NodeId, Op, OpError, ops};
use gable_tensor::DType;

/// The type of 16 bits that has every element of both values.
pub fn common(graph: &Graph, values: [NodeId; 2]) -> Option<DType> {
    let [a, b] = values.map(|value| format_of(graph, value, MAX_DEPTH));
    let (a, b) = (a?, b?);
    [DType::BF16, DType::F16].into_iter().find(|&narrow| fits(a, narrow) && fits(b, narrow))
}

/// Whether numbers of a format are numbers of a type. Below 2^-126 those of bf16 lie wider apart than those of f32; that is
/// not asked, as scales that small are not met.
fn fits(own: Format, narrow: DType) -> bool {
    let wide = format(narrow);
    let reaches = narrow == DType::BF16 || (own.least >= wide.least && own.largest <= wide.largest);
    own.bits <= wide.bits && reaches
}

/// The format that holds every element, where the value is a product of narrow numbers, converted and moved.
fn format_of(graph: &Graph, id: NodeId, depth: usize) -> Option<Format> {
    let depth = depth.checked_sub(1)?;
    if unpacking::is_element(graph, id) {
        let Op::Const(table) = graph.op(graph.operand(id, 0)) else { return None };
        return table.value.scalars().map(|scalar| of_number(scalar.as_f64())).reduce(|a, b| Some(a?.or(b?)))?;
    }
    match graph.op(id) {
        Op::Cast(op) => {
            let from = graph.ty(graph.operand(id, 0)).dtype;
            let is_number = from.is_float() && from.bits() <= 16 || matches!(from, DType::I8 | DType::U8);
            // What a narrow value is computed from is asked no further.
            (is_number && is_exact(from, op.to)).then(|| format(from))
        }
        Op::Mul(_) => {
            let [x, y] = [0, 1].map(|position| format_of(graph, graph.operand(id, position), depth));
            Some(x?.times(y?))
        }
        op if is_view(op) => format_of(graph, graph.operand(id, 0), depth),
        _ => None,
    }
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
        Op::Mul(_) => {
            let factors = [narrowed(b, operands[0], to, depth - 1)?, narrowed(b, operands[1], to, depth - 1)?];
            b.add(ops::Mul {}, &factors)
        }
        op if is_view(&op) => {
            let value = narrowed(b, operands[0], to, depth - 1)?;
            b.add(op, &[value])
        }
        _ => b.cast(id, to),
    }
}
