//! Multiplies a constant scale per output channel into the constant weights of the contraction before it: what is left
//! of an inference batch norm.
//!
//! In: `contraction(x, w) * s`, or `(contraction(x, w) + b) * s`. Out: `contraction(x, w * s)`, or that `+ b * s`.
//! The product is then rounded in the weight instead of in the result, which moves results by a few units in the last
//! place; so this is done in f32 and f64 only, where nobody chose the rounding (docs/decisions/0030-fold-scale.md).

use crate::context::Context;
use crate::error::PassError;
use crate::recognize::vector_along;
use gable_ir::attr::Layout;
use gable_ir::{Builder, Graph, Module, NodeId, Op, OpError};
use gable_tensor::{DType, Dim};

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = fold_scales(&mut b, context).map_err(|source| PassError::Built { pass: "fold-scale", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn fold_scales(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    for id in b.graph.order() {
        if b.graph.n_uses(id) == 0 || !matches!(b.dtype(id), DType::F32 | DType::F64) {
            continue;
        }
        b.set_origin(b.graph.node(id).origin.clone());
        if let Some(new) = fold_scale(b, id)? {
            if !context.step() {
                break;
            }
            b.graph.replace_uses(id, new);
        }
    }
    Ok(())
}

fn fold_scale(b: &mut Builder, id: NodeId) -> Result<Option<NodeId>, OpError> {
    let Op::Mul(_) = b.graph.op(id) else { return Ok(None) };
    let (mut y, scale) = (b.graph.operand(id, 0), b.graph.operand(id, 1));
    let (mut y_scale, mut bias) = (scale, None);
    if !is_constant(&b.graph, y_scale) {
        (y, y_scale) = (scale, y);
    }
    if !is_constant(&b.graph, y_scale) || b.graph.n_uses(y) != 1 {
        return Ok(None);
    }
    if let Op::Add(_) = b.graph.op(y) {
        let (first, second) = (b.graph.operand(y, 0), b.graph.operand(y, 1));
        let (x, constant) = if is_constant(&b.graph, second) { (first, second) } else { (second, first) };
        if !is_constant(&b.graph, constant) || b.graph.n_uses(x) != 1 {
            return Ok(None);
        }
        (y, bias) = (x, Some(constant));
    }
    // A product of rows may be flattened; its columns stay its last axis.
    let shape = b.shape(y);
    let flat = match b.graph.op(y) {
        Op::Reshape(_) if b.shape(b.graph.operand(y, 0)).last() == shape.last() => b.graph.operand(y, 0),
        _ => y,
    };
    if b.graph.n_uses(flat) != 1 {
        return Ok(None);
    }
    let (op, operands) = (b.graph.op(flat).clone(), b.graph.operands(flat));
    // The result's axis of channels, and the weight's.
    let rank = shape.len();
    let (channel, weight_axis) = match &op {
        Op::Conv(conv) if flat == y && conv.layout == Layout::ChannelsFirst => (1, 0),
        Op::Conv(conv) if flat == y && conv.layout == Layout::ChannelsLast => (rank - 1, 0),
        Op::Matmul(_) => (rank - 1, b.rank(operands[1]) - 1),
        _ => return Ok(None),
    };
    let weight = operands[1];
    if !is_constant(&b.graph, weight) || b.dtype(weight) != b.dtype(id) {
        return Ok(None);
    }
    let Some(scale) = vector_along(b, y_scale, y, channel)? else { return Ok(None) };
    let bias = match bias {
        Some(bias) => match vector_along(b, bias, y, channel)? {
            Some(bias) => Some(b.mul(bias, scale)?),
            None => return Ok(None),
        },
        None => None,
    };
    let by_channel = along(b, scale, weight, weight_axis)?;
    let scaled = b.mul(weight, by_channel)?;
    let product = b.add(op, &[operands[0], scaled])?;
    let product = b.reshape(product, shape)?;
    match bias {
        Some(bias) => {
            let bias = along(b, bias, product, channel)?;
            b.plus(product, bias).map(Some)
        }
        None => Ok(Some(product)),
    }
}

/// The vector repeated to the shape of `like`, along `axis`.
fn along(b: &mut Builder, vector: NodeId, like: NodeId, axis: usize) -> Result<NodeId, OpError> {
    let shape = b.shape(like);
    let mut column = vec![Dim::known(1); shape.len() - axis];
    column[0] = shape[axis].clone();
    let column = b.reshape(vector, column)?;
    b.broadcast_to(column, &shape)
}

/// Whether the value is a stored constant, seen through movement.
fn is_constant(graph: &Graph, mut id: NodeId) -> bool {
    while let Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) = graph.op(id) {
        id = graph.operand(id, 0);
    }
    matches!(graph.op(id), Op::Const(_) | Op::Weight(_))
}
