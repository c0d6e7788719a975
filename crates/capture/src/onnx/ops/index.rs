//! Operators that choose elements by index tensors. ONNX counts negative indices from the end; the IR does not.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, constant, sizes};
use gable_ir::attr::ScatterKind;
use gable_ir::ops::{Gather, GatherElements, Iota, ScatterNd};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

/// Indices into an axis of `n` elements with negative ones counted from the front. Constants that need it are
/// rewritten, others get the selection that the operator's definition asks for.
pub(crate) fn from_front(b: &mut Builder, indices: NodeId, n: usize) -> Value {
    if !b.dtype(indices).is_int() {
        return Err(bad_input("indices", b.ty(indices), "integers"));
    }
    let known = constant(b, indices);
    if known.is_some_and(|values| values.scalars().all(|v| v.as_i128() >= 0)) {
        return Ok(indices);
    }
    let dtype = b.dtype(indices);
    let (zero, n) = (b.scalar(dtype, 0i64)?, b.scalar(dtype, n as i64)?);
    let negative = b.lt(indices, zero)?;
    let moved = b.plus(indices, n)?;
    Ok(b.select(negative, moved, indices)?)
}

pub(crate) fn gather(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices) = (call.input(0, "data")?, call.input(1, "indices")?);
    let shape = sizes(b, x)?;
    let axis = call.axis("axis", 0, shape.len())?;
    let indices = from_front(b, indices, shape[axis])?;
    Ok(vec![b.add(Gather { axis }, &[x, indices])?])
}

pub(crate) fn gather_elements(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices) = (call.input(0, "data")?, call.input(1, "indices")?);
    let shape = sizes(b, x)?;
    let axis = call.axis("axis", 0, shape.len())?;
    let indices = from_front(b, indices, shape[axis])?;
    Ok(vec![b.add(GatherElements { axis }, &[x, indices])?])
}

/// A gather of flat positions: the coordinates are folded into one index over the leading axes of `data`.
pub(crate) fn gather_nd(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices) = (call.input(0, "data")?, call.input(1, "indices")?);
    let (from, by) = (sizes(b, x)?, sizes(b, indices)?);
    let n_batch = call.size("batch_dims", 0, 0)?;
    let depth = by.last().copied().unwrap_or(0);
    let fits = depth > 0 && n_batch < by.len() && n_batch + depth <= from.len() && from[..n_batch] == by[..n_batch];
    if !fits {
        return Err(bad_input("indices", b.ty(indices), format!("coordinates into {}", b.ty(x))));
    }
    let leading = n_batch + depth;
    let flat = flat_index(b, indices, &from, n_batch, depth)?;
    let rows: usize = from[..leading].iter().product();
    let mut table = vec![rows];
    table.extend(&from[leading..]);
    let table = b.reshape(x, table)?;
    Ok(vec![b.add(Gather { axis: 0 }, &[table, flat])?])
}

/// Row-major positions over the first `n_batch + depth` axes of `shape`: the batch coordinates are implied, the other
/// `depth` are the last axis of `indices`.
fn flat_index(b: &mut Builder, indices: NodeId, shape: &[usize], n_batch: usize, depth: usize) -> Value {
    let dtype = b.dtype(indices);
    let by = b.shape(indices);
    let last = by.len() - 1;
    let lead: Vec<Dim> = by[..last].to_vec();
    let mut stride: usize = shape[..n_batch + depth].iter().product();
    let mut flat: Option<NodeId> = None;
    for axis in 0..n_batch + depth {
        stride = stride.checked_div(shape[axis]).unwrap_or(0);
        let coordinate = if axis < n_batch {
            b.add(Iota { axis, dtype, shape: lead.clone() }, &[])?
        } else {
            let at = axis - n_batch;
            let column = b.slice_axis(indices, last, at, at + 1)?;
            let column = b.reshape(column, lead.clone())?;
            from_front(b, column, shape[axis])?
        };
        let stride = b.scalar(dtype, stride as i64)?;
        let term = b.mul(coordinate, stride)?;
        flat = Some(match flat {
            Some(sum) => b.plus(sum, term)?,
            None => term,
        });
    }
    flat.ok_or_else(|| bad_input("indices", "without coordinates", "at least one"))
}

fn scatter_kind(call: &Call) -> Result<ScatterKind, NodeError> {
    Ok(match call.text("reduction", "none")?.as_str() {
        "none" => ScatterKind::Replace,
        "add" => ScatterKind::Add,
        "mul" => ScatterKind::Mul,
        "max" => ScatterKind::Max,
        "min" => ScatterKind::Min,
        other => return Err(bad_attr("reduction", format!("`{other}`"), "none, add, mul, max or min")),
    })
}

pub(crate) fn scatter_nd(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices, updates) = (call.input(0, "data")?, call.input(1, "indices")?, call.input(2, "updates")?);
    let kind = scatter_kind(call)?;
    let (to, by) = (sizes(b, x)?, sizes(b, indices)?);
    let depth = by.last().copied().filter(|&depth| depth <= to.len());
    let depth = depth.ok_or_else(|| bad_input("indices", b.ty(indices), format!("coordinates into {}", b.ty(x))))?;
    let last = by.len() - 1;
    let columns = (0..depth).map(|at| {
        let column = b.slice_axis(indices, last, at, at + 1)?;
        from_front(b, column, to[at])
    });
    let columns: Vec<NodeId> = columns.collect::<Result<_, NodeError>>()?;
    let indices = if columns.is_empty() { indices } else { b.concat(&columns, last)? };
    Ok(vec![b.add(ScatterNd { kind }, &[x, indices, updates])?])
}

/// Update `i` goes to `i` with one coordinate replaced: the full coordinates are written out.
pub(crate) fn scatter_elements(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices, updates) = (call.input(0, "data")?, call.input(1, "indices")?, call.input(2, "updates")?);
    let kind = scatter_kind(call)?;
    let to = sizes(b, x)?;
    let axis = call.axis("axis", 0, to.len())?;
    if b.rank(indices) != to.len() {
        return Err(bad_input("indices", b.ty(indices), format!("the rank of {}", b.ty(x))));
    }
    let indices = from_front(b, indices, to[axis])?;
    let coordinates = with_own_coordinates(b, indices, axis)?;
    Ok(vec![b.add(ScatterNd { kind }, &[x, coordinates, updates])?])
}

/// Coordinates of every position of `indices`, with coordinate `axis` taken from it, along a new last axis.
pub(crate) fn with_own_coordinates(b: &mut Builder, indices: NodeId, axis: usize) -> Value {
    let (dtype, shape) = (b.dtype(indices), b.shape(indices));
    let mut column_shape = shape.clone();
    column_shape.push(Dim::known(1));
    let mut columns = Vec::with_capacity(shape.len());
    for own in 0..shape.len() {
        let coordinate =
            if own == axis { indices } else { b.add(Iota { axis: own, dtype, shape: shape.clone() }, &[])? };
        columns.push(b.reshape(coordinate, column_shape.clone())?);
    }
    Ok(b.concat(&columns, shape.len())?)
}

/// Writes updates into a cache at positions that may differ per sample.
pub(crate) fn tensor_scatter(b: &mut Builder, call: &Call) -> Lowered {
    let (cache, update) = (call.input(0, "past_cache")?, call.input(1, "update")?);
    let to = sizes(b, cache)?;
    let axis = call.axis("axis", -2, to.len())?;
    let shape = b.shape(update);
    if shape.len() != to.len() || axis == 0 {
        return Err(bad_input("update", b.ty(update), format!("the rank of {}", b.ty(cache))));
    }
    let step = b.add(Iota { axis, dtype: DType::I64, shape: shape.clone() }, &[])?;
    let position = match call.optional(2) {
        Some(start) => {
            let start = b.cast(start, DType::I64)?;
            let mut per_sample = vec![Dim::known(1); to.len()];
            per_sample[0] = shape[0].clone();
            let start = b.reshape(start, per_sample)?;
            b.plus(step, start)?
        }
        None => step,
    };
    let position = match call.text("mode", "linear")?.as_str() {
        "linear" => position,
        "circular" => {
            let n = b.scalar(DType::I64, to[axis] as i64)?;
            b.modulo(position, n)?
        }
        other => return Err(bad_attr("mode", format!("`{other}`"), "linear or circular")),
    };
    let coordinates = with_own_coordinates(b, position, axis)?;
    Ok(vec![b.add(ScatterNd { kind: ScatterKind::Replace }, &[cache, coordinates, update])?])
}

/// Elements of the last axis chosen by a list of positions.
pub(crate) fn array_feature_extractor(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices) = (call.input(0, "X")?, call.input(1, "Y")?);
    let n: usize = sizes(b, indices)?.iter().product();
    let indices = b.reshape(indices, [n])?;
    let rank = b.rank(x);
    if rank == 0 {
        return Err(bad_input("X", b.ty(x), "rank 1 or more"));
    }
    let axis = rank - 1;
    let taken = b.add(Gather { axis }, &[x, indices])?;
    let rows: usize = sizes(b, x)?[..axis].iter().product();
    Ok(vec![b.reshape(taken, [rows, n])?])
}
