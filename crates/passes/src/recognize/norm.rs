//! Layer norm, RMS norm and group norm: rows to unit variance, with or without their mean taken off.

use super::{Found, both_ways, repeated, vector_along};
use crate::constant::splat_float;
use gable_ir::attr::ReduceKind;
use gable_ir::ops::{GroupNorm, LayerNorm, RmsNorm};
use gable_ir::{Builder, Graph, NodeId, Op};

/// Rows of `x` along the last axis over their root mean square, after their mean is taken off when `centered`.
#[derive(Clone, Copy)]
struct Unit {
    x: NodeId,
    eps: f64,
    centered: bool,
}

/// The operand of a mean along the last axis that keeps it.
fn row_mean(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let Op::Reduce(op) = graph.op(id) else { return None };
    let x = graph.operand(id, 0);
    let along_rows = op.kind == ReduceKind::Mean && op.keep && op.axes == [graph.ty(x).rank() - 1];
    along_rows.then_some(x)
}

/// `c` and eps, when `id` is `mean(c * c) + eps`.
fn mean_square(graph: &Graph, id: NodeId) -> Option<(NodeId, f64)> {
    let Op::Add(_) = graph.op(id) else { return None };
    let eps = splat_float(graph, graph.operand(id, 1))?;
    let square = row_mean(graph, graph.operand(id, 0))?;
    let Op::Mul(_) = graph.op(square) else { return None };
    let (a, b) = (graph.operand(square, 0), graph.operand(square, 1));
    (a == b && eps >= 0.0).then_some((a, eps))
}

/// `c` and eps, when `id` is one over the root of `mean(c * c) + eps`.
fn inverse_root(graph: &Graph, id: NodeId) -> Option<(NodeId, f64)> {
    match graph.op(id) {
        Op::Rsqrt(_) => mean_square(graph, graph.operand(id, 0)),
        Op::Recip(_) => root(graph, graph.operand(id, 0)),
        _ => None,
    }
}

fn root(graph: &Graph, id: NodeId) -> Option<(NodeId, f64)> {
    match graph.op(id) {
        Op::Sqrt(_) => mean_square(graph, graph.operand(id, 0)),
        _ => None,
    }
}

fn unit(graph: &Graph, id: NodeId) -> Option<Unit> {
    let (c, eps) = match graph.op(id) {
        Op::Div(_) => {
            let (c, divisor) = (graph.operand(id, 0), repeated(graph, graph.operand(id, 1)));
            root(graph, divisor).filter(|(of, _)| *of == c)?
        }
        Op::Mul(_) => both_ways(graph, id)
            .into_iter()
            .find_map(|(c, inverse)| inverse_root(graph, repeated(graph, inverse)).filter(|(of, _)| *of == c))?,
        _ => return None,
    };
    if let Op::Sub(_) = graph.op(c) {
        let (x, mean) = (graph.operand(c, 0), repeated(graph, graph.operand(c, 1)));
        if row_mean(graph, mean) == Some(x) {
            return Some(Unit { x, eps, centered: true });
        }
    }
    Some(Unit { x: c, eps, centered: false })
}

/// A unit, seen through what scales and shifts it: `unit * scale + bias`, `unit * scale`, `unit`.
struct Affine<T> {
    unit: T,
    scale: Option<NodeId>,
    bias: Option<NodeId>,
}

fn affine<T>(graph: &Graph, id: NodeId, unit: impl Fn(NodeId) -> Option<T>) -> Option<Affine<T>> {
    let scaled = |id: NodeId| match graph.op(id) {
        Op::Mul(_) => both_ways(graph, id).into_iter().find_map(|(x, scale)| unit(x).map(|unit| (unit, scale))),
        _ => None,
    };
    if let Op::Add(_) = graph.op(id) {
        for (x, bias) in both_ways(graph, id) {
            if let Some((unit, scale)) = scaled(x) {
                return Some(Affine { unit, scale: Some(scale), bias: Some(bias) });
            }
        }
    }
    if let Some((unit, scale)) = scaled(id) {
        return Some(Affine { unit, scale: Some(scale), bias: None });
    }
    unit(id).map(|unit| Affine { unit, scale: None, bias: None })
}

/// Norms along the last axis. Where the scale is no vector along it, the unit rows are taken with a scale of 1.
pub fn row_norm(b: &mut Builder, id: NodeId) -> Found {
    let Some(found) = affine(&b.graph, id, |x| unit(&b.graph, x)) else { return Ok(None) };
    let Unit { x, eps, centered } = found.unit;
    if b.ty(x) != b.ty(id) || (found.bias.is_some() && !centered) {
        return Ok(None);
    }
    let axis = b.rank(x) - 1;
    let width = b.shape(x)[axis].clone();
    let scale = match found.scale {
        Some(scale) => vector_along(b, scale, x, axis)?,
        None => {
            let one = b.scalar_like(x, 1.0)?;
            Some(b.broadcast_to(one, &[width])?)
        }
    };
    let Some(scale) = scale else { return Ok(None) };
    let mut operands = vec![x, scale];
    if let Some(bias) = found.bias {
        match vector_along(b, bias, x, axis)? {
            Some(bias) => operands.push(bias),
            None => return Ok(None),
        }
    }
    if centered { b.add(LayerNorm { eps }, &operands).map(Some) } else { b.add(RmsNorm { eps }, &operands).map(Some) }
}

/// `[n, channels, ...]` as `[n, groups, rest]`, each row to unit variance, back, and scale and bias for each channel.
pub fn group_norm(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let Op::Add(_) = graph.op(id) else { return Ok(None) };
    let unit_back = |id: NodeId| match graph.op(id) {
        Op::Reshape(_) => unit(graph, graph.operand(id, 0)),
        _ => None,
    };
    let Some(Affine { unit, scale: Some(scale), bias: Some(bias) }) = affine(graph, id, unit_back) else {
        return Ok(None);
    };
    let Op::Reshape(_) = graph.op(unit.x) else { return Ok(None) };
    let x = graph.operand(unit.x, 0);
    let (shape, rows) = (&graph.ty(x).shape, &graph.ty(unit.x).shape);
    let groups = match rows.as_slice() {
        [n, groups, _] if shape.len() > 2 && *n == shape[0] && unit.centered => groups.value(),
        _ => None,
    };
    let divides = |groups: i64| groups > 0 && shape[1].value().is_some_and(|channels| channels % groups == 0);
    let Some(groups) = groups.filter(|&groups| divides(groups) && graph.ty(x) == graph.ty(id)) else {
        return Ok(None);
    };
    let (Some(scale), Some(bias)) = (vector_along(b, scale, x, 1)?, vector_along(b, bias, x, 1)?) else {
        return Ok(None);
    };
    b.add(GroupNorm { groups: groups as usize, eps: unit.eps }, &[x, scale, bias]).map(Some)
}
