//! Places casts so that contractions multiply in the type asked for.
//!
//! This pass, alone, may change what is rounded: each f32 factor of a matrix product or convolution is rounded to
//! tf32, bf16 or f16 (nearest even). Products are still summed in f32 and the result is still f32; maps, norms and
//! softmax stay as they are. Factors of other types stay as the model has them.

use crate::context::Context;
use crate::error::PassError;
use crate::exact::{self, MAX_DEPTH};
use crate::narrow_products::is_stored_narrow;
use gable_ir::{Builder, Module, NodeId, Op, OpError};
use gable_tensor::DType;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let Some(factor) = context.options.precision.factor() else { return Ok(()) };
    let mut b = Builder::over(std::mem::take(module));
    let result = place_casts(&mut b, factor, context).map_err(|source| PassError::Built { pass: "precision", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn place_casts(b: &mut Builder, factor: DType, context: &mut Context) -> Result<(), OpError> {
    for id in b.graph.order() {
        let op = b.graph.op(id).clone();
        let sums_in_f32 = match &op {
            Op::Matmul(op) => op.acc == DType::F32,
            Op::GroupedMatmul(op) => op.acc == DType::F32,
            Op::Conv(op) => op.acc == DType::F32,
            _ => false,
        };
        let operands = b.graph.operands(id);
        if !sums_in_f32 || b.dtype(operands[0]) != DType::F32 || !context.step() {
            continue;
        }
        b.set_origin(b.graph.node(id).origin.clone());
        let is_factor = |b: &Builder, x: NodeId| b.dtype(x) == DType::F32;
        let rounded: Vec<NodeId> = operands
            .iter()
            .map(|&x| if is_factor(b, x) { cast_at_source(b, x, factor) } else { Ok(x) })
            .collect::<Result<_, _>>()?;
        let new = b.add(op, &rounded)?;
        b.graph.replace_uses(id, new);
    }
    Ok(())
}

/// The value cast before it is moved: the same bits, but the cast is then next to what computes the value, which can
/// store 16 bits, and one cast serves all views of it. Elements that are stored narrow and their scales are cast each, and multiplied
/// in 16 bits, which is how kernels unpack them.
fn cast_at_source(b: &mut Builder, x: NodeId, to: DType) -> Result<NodeId, OpError> {
    if matches!(to, DType::BF16 | DType::F16) && is_stored_narrow(&b.graph, x, MAX_DEPTH) {
        return exact::narrowed(b, x, to, MAX_DEPTH);
    }
    let (mut source, mut views) = (x, Vec::new());
    while let Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_) | Op::Slice(_) = b.graph.op(source) {
        views.push(b.graph.op(source).clone());
        source = b.graph.operand(source, 0);
    }
    let cast = b.cast(source, to)?;
    views.into_iter().rev().try_fold(cast, |value, view| b.add(view, &[value]))
}
