//! Recognises how graphs unpack elements of four bits, two of which are stored in a byte.
//!
//! ```text
//!   bytes: u8[.., k / 2]
//!      and 15      shr 4           halves
//!         \_ concat _/             nibbles: joined along a last axis of 2, so that low and high halves take turns
//!             |  cast
//!   table[16] gather               elements
//! ```
//! Or they say `bitcast` of the bytes to e2m1, which gives the elements at once.
//!
//! Moves and casts between integers may stand anywhere. Kernels of contractions read such a factor as it is stored
//! (`docs/decisions/0050-quantised-weights.md`).

use crate::constant::splat;
use gable_ir::{Graph, Group, NodeId, Op};
use gable_tensor::{DType, Scalar};

/// Entries of a table of the values that four bits stand for.
const TABLE: i64 = 16;

/// Values on the way from bytes to elements: they are followed by recursion.
const MAX_DEPTH: usize = 16;

/// Whether the value is part of an unpacking: halves of bytes, nibbles, elements looked up by them, or the bits of bytes as
/// elements.
pub fn is_part(graph: &Graph, id: NodeId) -> bool {
    is_bits(graph, id) || is_element(graph, id) || is_nibble(graph, id, MAX_DEPTH) || is_half(graph, id, MAX_DEPTH)
}

/// Whether the value is looked up in a constant table of sixteen by nibbles.
pub fn is_element(graph: &Graph, id: NodeId) -> bool {
    let Op::Gather(op) = graph.op(id) else { return false };
    let (table, at) = (graph.operand(id, 0), graph.operand(id, 1));
    let is_table = matches!(graph.op(table), Op::Const(_))
        && graph.ty(table).shape.first().is_some_and(|n| n.value() == Some(TABLE));
    op.axis == 0 && graph.ty(table).rank() == 1 && is_table && is_nibble(graph, at, MAX_DEPTH)
}

/// Whether the value is the bits of bytes as elements of four bits.
fn is_bits(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Op::Bitcast(op) if op.to.bits() < graph.ty(graph.operand(id, 0)).dtype.bits())
}

/// Whether the value is both halves of bytes in turn.
fn is_nibble(graph: &Graph, id: NodeId, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match graph.op(id) {
        Op::Concat(op) => {
            let operands = graph.operands(id);
            let is_last = op.axis + 1 == graph.ty(id).rank();
            is_last && operands.len() == 2 && operands.iter().all(|&half| is_half(graph, half, depth))
        }
        _ => passes_on(graph, id) && is_nibble(graph, graph.operand(id, 0), depth),
    }
}

/// Whether the value is the low or the high half of bytes.
fn is_half(graph: &Graph, id: NodeId, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let by = |constant: i128| {
        let is_byte = graph.ty(graph.operand(id, 0)).dtype == DType::U8;
        is_byte && matches!(splat(graph, graph.operand(id, 1)), Some(Scalar::I(found)) if found == constant)
    };
    match graph.op(id) {
        Op::And(_) => by(15),
        Op::Shr(_) => by(4),
        _ => passes_on(graph, id) && is_half(graph, graph.operand(id, 0), depth),
    }
}

/// Whether a value is another, moved or as another integer type.
fn passes_on(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    let is_move =
        op.is(Group::Movement) && !matches!(op, Op::Concat(_) | Op::Gather(_) | Op::GatherElements(_) | Op::Pad(_));
    is_move || matches!(op, Op::Cast(op) if op.to.is_int())
}
