//! Operators that rearrange elements, and the ones that only compute with shapes.

use crate::error::NodeError;
use crate::onnx::call::{
    Call, Lowered, Value, bad_attr, bad_input, int_vector, normal_axes, normal_axis, scalar, sizes,
};
use gable_ir::ops::{Iota, Pad, Slice};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim, Scalar, Tensor};

pub(crate) fn shape(b: &mut Builder, call: &Call) -> Lowered {
    let sizes = sizes(b, call.input(0, "data")?)?;
    let rank = sizes.len() as i64;
    let bound = |value: i64| (if value < 0 { value.saturating_add(rank) } else { value }).clamp(0, rank) as usize;
    let (start, end) = (bound(call.int("start", 0)?), bound(call.int("end", i64::MAX)?));
    let taken: Vec<i64> = sizes[start..end.max(start)].iter().map(|&size| size as i64).collect();
    Ok(vec![int_vector(b, &taken)?])
}

pub(crate) fn size(b: &mut Builder, call: &Call) -> Lowered {
    let elements: usize = sizes(b, call.input(0, "data")?)?.iter().product();
    Ok(vec![b.scalar(DType::I64, elements as i64)?])
}

pub(crate) fn reshape(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let wanted = call.constant_ints(b, 1, "shape")?;
    let zero_is_zero = call.flag("allowzero", false)?;
    let from = sizes(b, x)?;
    let bad = || bad_input("shape", format!("{wanted:?}"), format!("a shape for the elements of {}", b.ty(x)));
    let mut shape = Vec::with_capacity(wanted.len());
    for (axis, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            -1 => 1,
            0 if !zero_is_zero => *from.get(axis).ok_or_else(bad)?,
            size => usize::try_from(size).map_err(|_| bad())?,
        });
    }
    if wanted.iter().filter(|&&size| size == -1).count() > 1 {
        return Err(bad());
    }
    if let Some(open) = wanted.iter().position(|&size| size == -1) {
        let others = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).ok_or_else(bad)?;
        let elements: usize = from.iter().product();
        shape[open] = elements.checked_div(others).unwrap_or(0);
    }
    Ok(vec![b.reshape(x, shape)?])
}

pub(crate) fn flatten(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let sizes = sizes(b, x)?;
    // The axis may also lie past the last one.
    let axis = call.int("axis", 1)?;
    let at = if axis < 0 { axis.saturating_add(sizes.len() as i64) } else { axis };
    let at = usize::try_from(at).ok().filter(|&at| at <= sizes.len());
    let at = at.ok_or_else(|| bad_attr("axis", axis, format!("from 0 to {}", sizes.len())))?;
    let (rows, columns) = (sizes[..at].iter().product::<usize>(), sizes[at..].iter().product::<usize>());
    Ok(vec![b.reshape(x, [rows, columns])?])
}

pub(crate) fn squeeze(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let sizes = sizes(b, x)?;
    let axes = match call.ints_by_attr_or_input(b, "axes", 1)? {
        Some(axes) => normal_axes("axes", &axes, sizes.len())?,
        None => (0..sizes.len()).filter(|&axis| sizes[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| sizes[axis] != 1) {
        return Err(bad_attr("axes", format!("{axes:?}"), format!("axes of size 1; axis {axis} has {}", sizes[axis])));
    }
    let kept = sizes.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &size)| size);
    Ok(vec![b.reshape(x, kept.collect::<Vec<_>>())?])
}

pub(crate) fn unsqueeze(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let axes = call.ints_by_attr_or_input(b, "axes", 1)?.ok_or_else(|| bad_attr("axes", "absent", "axes"))?;
    let sizes = sizes(b, x)?;
    let axes = normal_axes("axes", &axes, sizes.len() + axes.len())?;
    let mut shape = sizes;
    for axis in axes {
        shape.insert(axis, 1);
    }
    Ok(vec![b.reshape(x, shape)?])
}

pub(crate) fn transpose(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let rank = b.rank(x);
    let perm = match call.ints("perm")? {
        Some(perm) => perm.iter().map(|&axis| normal_axis("perm", axis, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect::<Vec<_>>(),
    };
    Ok(vec![b.transpose(x, &perm)?])
}

pub(crate) fn expand(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let wanted: Vec<Dim> = call.constant_ints(b, 1, "shape")?.into_iter().map(Dim::from).collect();
    let shape = gable_ir::build::broadcast_shape(&b.shape(x), &wanted)?;
    Ok(vec![b.broadcast_to(x, &shape)?])
}

pub(crate) fn concat(b: &mut Builder, call: &Call) -> Lowered {
    let inputs = call.all("inputs")?;
    let axis = call.int_opt("axis")?.ok_or_else(|| bad_attr("axis", "absent", "an axis"))?;
    let axis = normal_axis("axis", axis, b.rank(inputs[0]))?;
    Ok(vec![b.concat(&inputs, axis)?])
}

pub(crate) fn split(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let sizes = sizes(b, x)?;
    let axis = call.axis("axis", 0, sizes.len())?;
    let whole = sizes[axis];
    let parts = match call.ints_by_attr_or_input(b, "split", 1)? {
        Some(parts) => {
            let parts: Option<Vec<usize>> = parts.iter().map(|&part| usize::try_from(part).ok()).collect();
            let sum = |parts: &[usize]| parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
            let parts = parts.filter(|parts| sum(parts) == Some(whole));
            parts.ok_or_else(|| bad_attr("split", "not a division", format!("sizes that add up to {whole}")))?
        }
        None => {
            // Equal parts, the last one smaller when they do not divide.
            let n = call.int("num_outputs", call.n_outputs() as i64)?;
            let n = usize::try_from(n).ok().filter(|&n| n > 0 && n <= call.n_outputs().max(1));
            let n = n.ok_or_else(|| bad_attr("num_outputs", call.n_outputs(), "the number of outputs"))?;
            let part = whole.div_ceil(n);
            (0..n).map(|i| part.min(whole.saturating_sub(i * part))).collect()
        }
    };
    let mut at = 0;
    let mut results = Vec::new();
    for part in parts {
        results.push(b.slice_axis(x, axis, at, at + part)?);
        at += part;
    }
    Ok(results)
}

/// Bounds are attributes until version 9, then inputs.
pub(crate) fn slice(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let sizes = sizes(b, x)?;
    let needed = |found: Option<Vec<i64>>, name| found.ok_or_else(|| bad_attr(name, "absent", "one bound per axis"));
    let starts = needed(call.ints_by_attr_or_input(b, "starts", 1)?, "starts")?;
    let ends = needed(call.ints_by_attr_or_input(b, "ends", 2)?, "ends")?;
    let axes = call.ints_by_attr_or_input(b, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.constant_ints_opt(b, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(bad_input("starts", format!("{starts:?}"), "as many as `ends`, `axes` and `steps`"));
    }
    normal_axes("axes", &axes, sizes.len())?;
    let mut slice = Slice {
        starts: vec![Dim::known(0); sizes.len()],
        ends: sizes.iter().map(|&size| Dim::from(size)).collect(),
        steps: vec![1; sizes.len()],
    };
    for (i, &axis) in axes.iter().enumerate() {
        let axis = normal_axis("axes", axis, sizes.len())?;
        let n = sizes[axis] as i64;
        let from_front = |bound: i64| if bound < 0 { bound.saturating_add(n) } else { bound };
        let step = steps[i];
        let (start, end) = match step {
            0 => return Err(bad_input("steps", "0", "steps other than zero")),
            1.. => (from_front(starts[i]).clamp(0, n), from_front(ends[i]).clamp(0, n)),
            _ => (from_front(starts[i]).clamp(-1, n - 1), from_front(ends[i]).clamp(-1, n - 1)),
        };
        // An end before the start takes nothing, which the IR writes as start..start.
        let end = if step > 0 { end.max(start) } else { end.min(start) };
        (slice.starts[axis], slice.ends[axis]) = (start.into(), end.into());
        // A step past the whole axis takes one element however long it is.
        slice.steps[axis] = step.clamp(-n - 1, n + 1);
    }
    // A start before the first element is an empty slice going down.
    for axis in 0..sizes.len() {
        if slice.steps[axis] < 0 && slice.starts[axis] == Dim::known(-1) {
            (slice.starts[axis], slice.ends[axis], slice.steps[axis]) = (Dim::known(0), Dim::known(0), 1);
        }
    }
    Ok(vec![b.add(slice, &[x])?])
}

pub(crate) fn tile(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let sizes = sizes(b, x)?;
    let repeats = call.constant_ints(b, 1, "repeats")?;
    if repeats.len() != sizes.len() || repeats.iter().any(|&n| n < 0) {
        return Err(bad_input("repeats", format!("{repeats:?}"), format!("{} numbers of at least 0", sizes.len())));
    }
    // [a, b] becomes [1, a, 1, b], is repeated along the ones, and becomes [ra, rb].
    let spread: Vec<Dim> = sizes.iter().flat_map(|&size| [Dim::known(1), size.into()]).collect();
    let repeated: Vec<Dim> = sizes.iter().zip(&repeats).flat_map(|(&size, &n)| [n.into(), size.into()]).collect();
    let shape: Vec<Dim> = sizes.iter().zip(&repeats).map(|(&size, &n)| Dim::from(size) * Dim::from(n)).collect();
    let x = b.reshape(x, spread)?;
    let x = b.broadcast_to(x, &repeated)?;
    Ok(vec![b.reshape(x, shape)?])
}

/// Padding amounts are an attribute until version 10, then inputs.
pub(crate) fn pad(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "data")?;
    let rank = b.rank(x);
    let pads = match call.ints("pads")? {
        Some(pads) => pads,
        None => call.constant_ints(b, 1, "pads")?,
    };
    let axes = match call.constant_ints_opt(b, 3, "axes")? {
        Some(axes) => axes.iter().map(|&axis| normal_axis("axes", axis, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect::<Vec<_>>(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(bad_input("pads", format!("{pads:?}"), format!("{} numbers", 2 * axes.len())));
    }
    let (mut low, mut high) = (vec![0i64; rank], vec![0i64; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        (low[axis], high[axis]) = (pads[i], pads[i + axes.len()]);
    }
    let mode = call.text("mode", "constant")?;
    if mode == "constant" {
        let value = match call.optional(2).filter(|_| call.opset >= 11) {
            Some(value) => b.reshape(value, [] as [Dim; 0])?,
            None => scalar(b, x, call.float("value", 0.0)?)?,
        };
        return Ok(vec![b.add(Pad { low, high, interior: vec![0; rank] }, &[x, value])?]);
    }
    let mut result = x;
    for axis in 0..rank {
        result = pad_by_index(b, result, axis, low[axis], high[axis], &mode)?;
    }
    Ok(vec![result])
}

/// The most positions that a table of gathered indices may list.
pub(crate) const MAX_INDEX_TABLE: usize = 1 << 24;

/// Padding one axis with elements of the operand: a gather with precomputed positions.
fn pad_by_index(b: &mut Builder, x: NodeId, axis: usize, low: i64, high: i64, mode: &str) -> Value {
    if low == 0 && high == 0 {
        return Ok(x);
    }
    let n = sizes(b, x)?[axis] as i64;
    let total = n.checked_add(low).and_then(|sum| sum.checked_add(high)).filter(|&total| total >= 0);
    let total = total.filter(|&total| total as usize <= MAX_INDEX_TABLE && (n > 0 || total == 0));
    let total = total
        .ok_or_else(|| bad_input("pads", format!("{low} and {high}"), format!("amounts that fit {n} elements")))?;
    let source = |position: i64| -> Option<i64> {
        let at = position - low;
        Some(match mode {
            "edge" => at.clamp(0, n - 1),
            "wrap" => at.rem_euclid(n),
            "reflect" if n == 1 => 0,
            "reflect" => {
                let period = 2 * (n - 1);
                let folded = at.rem_euclid(period);
                folded.min(period - folded)
            }
            _ => return None,
        })
    };
    let positions: Option<Vec<i64>> = (0..total).map(source).collect();
    let positions =
        positions.ok_or_else(|| bad_attr("mode", format!("`{mode}`"), "constant, reflect, edge or wrap"))?;
    let positions = int_vector(b, &positions)?;
    Ok(b.add(gable_ir::ops::Gather { axis }, &[x, positions])?)
}

pub(crate) fn constant_value(b: &mut Builder, call: &Call) -> Lowered {
    let value = if let Some(tensor) = call.tensor("value")? {
        tensor
    } else if let Some(value) = call.float_opt("value_float")? {
        Tensor::scalar(DType::F32, value)
    } else if let Some(values) = call.floats("value_floats")? {
        Tensor::from_scalars(DType::F32, [values.len()], values.iter().map(|&v| Scalar::F(v)))
    } else if let Some(value) = call.int_opt("value_int")? {
        Tensor::scalar(DType::I64, value)
    } else if let Some(values) = call.ints("value_ints")? {
        Tensor::from_vec([values.len()], &values)
    } else {
        return Err(NodeError::Unsupported("a constant of text, or a sparse one,".into()));
    };
    Ok(vec![b.constant(value)?])
}

pub(crate) fn constant_of_shape(b: &mut Builder, call: &Call) -> Lowered {
    let shape: Vec<Dim> = call.constant_ints(b, 0, "input")?.into_iter().map(Dim::from).collect();
    if shape.iter().any(|dim| dim.value().is_none_or(|n| n < 0)) {
        return Err(bad_input("input", format!("{shape:?}"), "sizes of zero or more"));
    }
    let value = call.tensor("value")?.unwrap_or_else(|| Tensor::scalar(DType::F32, 0.0));
    let value =
        value.reshaped([]).map_err(|_| bad_attr("value", format!("of {} elements", value.len()), "one element"))?;
    let value = b.constant(value)?;
    Ok(vec![b.broadcast_to(value, &shape)?])
}

pub(crate) fn range(b: &mut Builder, call: &Call) -> Lowered {
    let bound = |index, name| -> Result<Scalar, NodeError> {
        let value = call.constant(b, index, name)?;
        value.scalars().next().ok_or_else(|| bad_input(name, "empty", "one number"))
    };
    let (start, limit, delta) = (bound(0, "start")?, bound(1, "limit")?, bound(2, "delta")?);
    let bad = || bad_input("delta", format!("{delta:?}"), "a step that reaches `limit` from `start`");
    let count = match (start, limit, delta) {
        (Scalar::I(start), Scalar::I(limit), Scalar::I(delta)) if delta != 0 => {
            // Ceiling division; the operands are 64-bit, so nothing overflows in 128.
            let span = limit - start;
            (span / delta + i128::from(span % delta != 0 && (span > 0) == (delta > 0))).max(0)
        }
        _ => {
            let count = ((limit.as_f64() - start.as_f64()) / delta.as_f64()).ceil();
            if !count.is_finite() {
                return Err(bad());
            }
            count.max(0.0) as i128
        }
    };
    let count = i64::try_from(count).map_err(|_| bad())?;
    let like = call.input(0, "start")?;
    let dtype = b.dtype(like);
    let steps = b.add(Iota { axis: 0, dtype, shape: vec![count.into()] }, &[])?;
    let delta = b.scalar(dtype, delta)?;
    let scaled = b.mul(steps, delta)?;
    let start = b.scalar(dtype, start)?;
    Ok(vec![b.plus(scaled, start)?])
}

pub(crate) fn eye_like(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let shape = b.shape(x);
    if shape.len() != 2 {
        return Err(bad_input("input", b.ty(x), "a matrix"));
    }
    let dtype = call.dtype("dtype")?.unwrap_or(b.dtype(x));
    let offset = call.int("k", 0)?;
    let row = b.add(Iota { axis: 0, dtype: DType::I64, shape: shape.clone() }, &[])?;
    let column = b.add(Iota { axis: 1, dtype: DType::I64, shape }, &[])?;
    let offset = b.scalar(DType::I64, offset)?;
    let diagonal = b.plus(row, offset)?;
    let on = b.eq(column, diagonal)?;
    Ok(vec![b.cast(on, dtype)?])
}

pub(crate) fn trilu(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let offset = call.constant_ints_opt(b, 1, "k")?.and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = call.flag("upper", true)?;
    let shape = b.shape(x);
    let Some(lead) = shape.len().checked_sub(2) else {
        return Err(bad_input("input", b.ty(x), "rank 2 or more"));
    };
    let grid = shape[lead..].to_vec();
    let row = b.add(Iota { axis: 0, dtype: DType::I64, shape: grid.clone() }, &[])?;
    let column = b.add(Iota { axis: 1, dtype: DType::I64, shape: grid }, &[])?;
    // The diagonal is column - row = offset; beyond +-2^62 it lies outside every matrix.
    let offset = b.scalar(DType::I64, offset.clamp(-(1 << 62), 1 << 62))?;
    let diagonal = b.plus(row, offset)?;
    let kept = if upper { b.ge(column, diagonal)? } else { b.le(column, diagonal)? };
    let zero = b.scalar_like(x, 0.0)?;
    Ok(vec![b.select(kept, x, zero)?])
}

pub(crate) fn depth_to_space(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let block = call.size("blocksize", 0, 1)?;
    let &[n, c, h, w] = &sizes(b, x)?[..] else { return Err(bad_input("input", b.ty(x), "rank 4")) };
    let square = block.checked_mul(block).filter(|square| c % square == 0);
    let square =
        square.ok_or_else(|| bad_attr("blocksize", block, format!("one whose square divides {c} channels")))?;
    let (split, perm) = match call.text("mode", "DCR")?.as_str() {
        "DCR" => ([n, block, block, c / square, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, c / square, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(bad_attr("mode", format!("`{other}`"), "DCR or CRD")),
    };
    let x = b.reshape(x, split)?;
    let x = b.transpose(x, &perm)?;
    Ok(vec![b.reshape(x, [n, c / square, h * block, w * block])?])
}

pub(crate) fn space_to_depth(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let block = call.size("blocksize", 0, 1)?;
    let &[n, c, h, w] = &sizes(b, x)?[..] else { return Err(bad_input("input", b.ty(x), "rank 4")) };
    if h % block != 0 || w % block != 0 {
        return Err(bad_attr("blocksize", block, format!("one that divides {h} and {w}")));
    }
    let x = b.reshape(x, [n, c, h / block, block, w / block, block])?;
    let perm = match call.text("mode", "DCR")?.as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return Err(bad_attr("mode", format!("`{other}`"), "DCR or CRD")),
    };
    let x = b.transpose(x, &perm)?;
    Ok(vec![b.reshape(x, [n, c * block * block, h / block, w / block])?])
}

/// Each sample's first `sequence_lens` elements reversed along time.
pub(crate) fn reverse_sequence(b: &mut Builder, call: &Call) -> Lowered {
    let (x, lengths) = (call.input(0, "input")?, call.input(1, "sequence_lens")?);
    let shape = b.shape(x);
    let time = call.axis("time_axis", 0, shape.len())?;
    let batch = call.axis("batch_axis", 1, shape.len())?;
    let reversed = crate::onnx::ops::recurrent::reversal_positions(b, lengths, &shape, time, batch)?;
    Ok(vec![b.add(gable_ir::ops::GatherElements { axis: time }, &[x, reversed])?])
}

pub(crate) fn center_crop_pad(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input_data")?;
    let from = sizes(b, x)?;
    let wanted = call.constant_ints(b, 1, "shape")?;
    let axes = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| normal_axis("axes", axis, from.len())).collect::<Result<_, _>>()?,
        None => (0..from.len()).collect::<Vec<_>>(),
    };
    if wanted.len() != axes.len() || wanted.iter().any(|&size| size < 0) {
        return Err(bad_input("shape", format!("{wanted:?}"), format!("{} sizes", axes.len())));
    }
    let (mut low, mut high) = (vec![0i64; from.len()], vec![0i64; from.len()]);
    for (&axis, &size) in axes.iter().zip(&wanted) {
        // Crops and pads halve toward the front: an odd element more is cut or added at the back.
        let more = size - from[axis] as i64;
        low[axis] = if more >= 0 { more / 2 } else { -(-more / 2) };
        high[axis] = more - low[axis];
    }
    let zero = scalar(b, x, 0.0)?;
    Ok(vec![b.add(Pad { low, high, interior: vec![0; from.len()] }, &[x, zero])?])
}

/// `off` everywhere but `on` at the position that each index names along a new axis.
pub(crate) fn one_hot(b: &mut Builder, call: &Call) -> Lowered {
    let indices = call.input(0, "indices")?;
    let values = call.input(2, "values")?;
    let depth = call.constant(b, 1, "depth")?.scalars().next().map_or(0, Scalar::as_i128);
    let depth = i64::try_from(depth).ok().filter(|&depth| depth > 0);
    let depth = depth.ok_or_else(|| bad_input("depth", "not positive", "a number above zero"))?;
    let indices = b.cast(indices, DType::I64)?;
    let axis = call.axis("axis", -1, b.rank(indices) + 1)?;
    let wrapped = crate::onnx::ops::index::from_front(b, indices, depth as usize)?;
    let mut shape = b.shape(indices);
    shape.insert(axis, Dim::known(1));
    let column = b.reshape(wrapped, shape.clone())?;
    shape[axis] = Dim::known(depth);
    let position = b.add(Iota { axis, dtype: DType::I64, shape }, &[])?;
    let hot = b.eq(position, column)?;
    let (off, on) = (b.slice_axis(values, 0, 0i64, 1i64)?, b.slice_axis(values, 0, 1i64, 2i64)?);
    let (off, on) = (b.reshape(off, [] as [Dim; 0])?, b.reshape(on, [] as [Dim; 0])?);
    Ok(vec![b.select(hot, on, off)?])
}

/// Positions of the elements that are not zero, when they are known.
pub(crate) fn non_zero(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.constant(b, 0, "X")?;
    let strides = gable_tensor::tensor::strides(x.shape());
    let hits: Vec<usize> = x.scalars().enumerate().filter(|(_, v)| v.as_bool()).map(|(at, _)| at).collect();
    let coordinate = |axis: usize| hits.iter().map(move |&at| (at, axis));
    let values: Vec<i64> = (0..x.shape().len())
        .flat_map(coordinate)
        .map(|(at, axis)| (at / strides[axis] % x.shape()[axis]) as i64)
        .collect();
    Ok(vec![b.constant(Tensor::from_vec([x.shape().len(), hits.len()], &values))?])
}

/// The slices along an axis whose condition holds, when the condition is known.
pub(crate) fn compress(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let condition = call.constant(b, 1, "condition")?;
    let (x, axis) = match call.int_opt("axis")? {
        Some(axis) => (x, normal_axis("axis", axis, b.rank(x))?),
        None => {
            let elements: usize = sizes(b, x)?.iter().product();
            (b.reshape(x, [elements])?, 0)
        }
    };
    let n = sizes(b, x)?[axis];
    let kept: Vec<i64> =
        condition.scalars().take(n).enumerate().filter(|(_, v)| v.as_bool()).map(|(at, _)| at as i64).collect();
    let kept = int_vector(b, &kept)?;
    Ok(vec![b.add(gable_ir::ops::Gather { axis }, &[x, kept])?])
}

/// The window functions: `a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N)`.
pub(crate) fn window(b: &mut Builder, call: &Call, coefficients: [f64; 3]) -> Lowered {
    let size = call.constant_ints(b, 0, "size")?.first().copied().unwrap_or(0);
    if !(0..=MAX_INDEX_TABLE as i64).contains(&size) {
        return Err(bad_input("size", size, format!("0 to {MAX_INDEX_TABLE}")));
    }
    let dtype = call.dtype("output_datatype")?.unwrap_or(DType::F32);
    let period = if call.flag("periodic", true)? { size } else { size - 1 };
    let value = |n: i64| {
        let turn = 2.0 * std::f64::consts::PI * n as f64 / (period.max(1)) as f64;
        Scalar::F(coefficients[0] - coefficients[1] * turn.cos() + coefficients[2] * (2.0 * turn).cos())
    };
    Ok(vec![b.constant(Tensor::from_scalars(dtype, [size as usize], (0..size).map(value)))?])
}
