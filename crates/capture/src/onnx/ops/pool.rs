//! Pooling over sliding windows and over whole images.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, int_vector, scalar, sizes};
use crate::onnx::ops::shape::MAX_INDEX_TABLE;
use crate::onnx::ops::window::{Windows, kernel_shape};
use gable_ir::attr::{ReduceKind, ScatterKind};
use gable_ir::ops::{ArgReduce, Gather, GatherElements, Iota, Pad, ReduceWindow, ScatterNd};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

fn image_sizes(b: &Builder, x: NodeId) -> Result<Vec<usize>, NodeError> {
    let shape = sizes(b, x)?;
    if shape.len() < 3 {
        return Err(bad_input("X", b.ty(x), "[n, channels, spatial...]"));
    }
    Ok(shape)
}

/// A window over the spatial axes; batch and channels are left alone.
fn reduce_window(b: &mut Builder, x: NodeId, kind: ReduceKind, windows: &Windows, padded: bool) -> Value {
    let spatial = |values: &[usize]| [1, 1].into_iter().chain(values.iter().copied()).collect::<Vec<_>>();
    let pads = |values: Vec<i64>| [0, 0].into_iter().chain(values).collect::<Vec<_>>();
    // Padding that the operand already carries is not added again.
    let low = if padded { vec![0; windows.low.len()] } else { windows.low.clone() };
    let high = (0..windows.high.len()).map(|axis| if padded { 0 } else { windows.high[axis] } + windows.ceil[axis]);
    let op = ReduceWindow {
        kind,
        window: spatial(&windows.kernel),
        strides: spatial(&windows.strides),
        dilations: spatial(&windows.dilations),
        low: pads(low),
        high: pads(high.collect()),
    };
    Ok(b.add(op, &[x])?)
}

/// `x` with the windows' own padding, filled with `value`.
fn padded(b: &mut Builder, x: NodeId, windows: &Windows, value: f64, with_ceil: bool) -> Value {
    let low = [0, 0].into_iter().chain(windows.low.iter().copied()).collect::<Vec<i64>>();
    let high = windows.high.iter().zip(&windows.ceil).map(|(&high, &ceil)| high + if with_ceil { ceil } else { 0 });
    let high = [0, 0].into_iter().chain(high).collect::<Vec<i64>>();
    let value = scalar(b, x, value)?;
    let interior = vec![0; low.len()];
    Ok(b.add(Pad { low, high, interior }, &[x, value])?)
}

pub(crate) fn max_pool(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = image_sizes(b, x)?;
    let windows = Windows::new(call, &shape[2..], kernel_shape(call, shape.len() - 2)?)?;
    let mut results = vec![reduce_window(b, x, ReduceKind::Max, &windows, false)?];
    if call.wants(1) {
        let column_major = call.flag("storage_order", false)?;
        results.push(max_positions(b, x, &shape, &windows, column_major)?);
    }
    Ok(results)
}

/// Flat position, in the whole operand, of each window's largest element: the windows are laid out by gathers, one axis
/// after the other, and the position within the window is looked up in a table.
fn max_positions(b: &mut Builder, x: NodeId, shape: &[usize], windows: &Windows, column_major: bool) -> Value {
    let n = shape.len() - 2;
    let lowest =
        if b.dtype(x).is_float() { f64::NEG_INFINITY } else { b.dtype(x).int_range().map_or(0.0, |r| r.0 as f64) };
    let mut patches = padded(b, x, windows, lowest, true)?;
    let padded_sizes = sizes(b, patches)?;
    let (mut counts, mut taps) = (Vec::new(), Vec::new());
    for axis in 0..n {
        let span = padded_sizes[axis + 2] as i64 - windows.extent(axis)?;
        let count = usize::try_from(span).map_or(0, |span| span / windows.strides[axis] + 1);
        let at = |i: usize| {
            (i / windows.kernel[axis] * windows.strides[axis] + i % windows.kernel[axis] * windows.dilations[axis])
                as i64
        };
        let total = count.checked_mul(windows.kernel[axis]).filter(|&total| total <= MAX_INDEX_TABLE);
        let total = total
            .ok_or_else(|| bad_attr("kernel_shape", format!("{:?}", windows.kernel), "windows that fit a table"))?;
        let positions: Vec<i64> = (0..total).map(at).collect();
        let indices = int_vector(b, &positions)?;
        patches = b.add(Gather { axis: axis + 2 }, &[patches, indices])?;
        taps.push(positions.iter().map(|&p| p - windows.low[axis]).collect::<Vec<i64>>());
        counts.push(count);
    }
    // [n, c, count0 * k0, count1 * k1, ..] to [n, c, count0, count1, .., k0 * k1 * ..].
    let mut split = shape[..2].to_vec();
    counts.iter().zip(&windows.kernel).for_each(|(&count, &k)| split.extend([count, k]));
    let perm: Vec<usize> = (0..2).chain((0..n).map(|i| 2 + 2 * i)).chain((0..n).map(|i| 3 + 2 * i)).collect();
    let area: usize = windows.kernel.iter().product();
    let mut rows = shape[..2].to_vec();
    rows.extend(&counts);
    let mut merged = rows.clone();
    merged.push(area);
    let laid_out = b.reshape(patches, split)?;
    let laid_out = b.transpose(laid_out, &perm)?;
    let laid_out = b.reshape(laid_out, merged.clone())?;
    let best = b.add(ArgReduce { largest: true, axis: n + 2, keep: true, last: false }, &[laid_out])?;
    // The table holds, for every window and tap, the position within one channel.
    let mut table: Option<NodeId> = None;
    for axis in 0..n {
        let order: usize =
            if column_major { shape[2..axis + 2].iter().product() } else { shape[axis + 3..].iter().product() };
        let scaled: Vec<i64> = taps[axis].iter().map(|&tap| tap * order as i64).collect();
        let values = int_vector(b, &scaled)?;
        let mut place = vec![1usize; 2 * n];
        (place[axis], place[n + axis]) = (counts[axis], windows.kernel[axis]);
        let values = b.reshape(values, place)?;
        table = Some(match table {
            Some(sum) => b.plus(sum, values)?,
            None => values,
        });
    }
    let table = table.expect("an image has a spatial axis");
    let mut table_shape = vec![1, 1];
    table_shape.extend(&counts);
    table_shape.push(area);
    let table = b.reshape(table, table_shape)?;
    let merged: Vec<Dim> = merged.into_iter().map(Dim::from).collect();
    let table = b.broadcast_to(table, &merged)?;
    let within = b.add(GatherElements { axis: n + 2 }, &[table, best])?;
    let within = b.reshape(within, rows.clone())?;
    let rows: Vec<Dim> = rows.into_iter().map(Dim::from).collect();
    let image: usize = shape[2..].iter().product();
    let mut position = within;
    for (axis, per_step) in [(0, image * shape[1]), (1, image)] {
        let step = b.add(Iota { axis, dtype: DType::I64, shape: rows.clone() }, &[])?;
        let per_step = b.scalar(DType::I64, per_step as i64)?;
        let offset = b.mul(step, per_step)?;
        position = b.plus(position, offset)?;
    }
    Ok(position)
}

pub(crate) fn average_pool(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = image_sizes(b, x)?;
    let windows = Windows::new(call, &shape[2..], kernel_shape(call, shape.len() - 2)?)?;
    if call.flag("count_include_pad", false)? {
        // Stated padding counts as elements; what rounding up adds past it does not.
        let x = padded(b, x, &windows, 0.0, false)?;
        return Ok(vec![reduce_window(b, x, ReduceKind::Mean, &windows, true)?]);
    }
    Ok(vec![reduce_window(b, x, ReduceKind::Mean, &windows, false)?])
}

pub(crate) fn lp_pool(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = image_sizes(b, x)?;
    let windows = Windows::new(call, &shape[2..], kernel_shape(call, shape.len() - 2)?)?;
    let p = call.int("p", 2)?;
    let powers = power_of_size(b, x, p)?;
    let sum = reduce_window(b, powers, ReduceKind::Sum, &windows, false)?;
    Ok(vec![root(b, sum, p)?])
}

fn power_of_size(b: &mut Builder, x: NodeId, p: i64) -> Value {
    let size = b.abs(x)?;
    match p {
        1 => Ok(size),
        2 => Ok(b.mul(x, x)?),
        _ => {
            let p = scalar(b, x, p as f64)?;
            Ok(b.pow(size, p)?)
        }
    }
}

fn root(b: &mut Builder, sum: NodeId, p: i64) -> Value {
    match p {
        1 => Ok(sum),
        2 => Ok(b.sqrt(sum)?),
        0 => Err(bad_attr("p", p, "a number other than zero")),
        _ => {
            let inverse = scalar(b, sum, 1.0 / p as f64)?;
            Ok(b.pow(sum, inverse)?)
        }
    }
}

pub(crate) fn global_pool(b: &mut Builder, call: &Call, kind: ReduceKind) -> Lowered {
    let x = call.input(0, "X")?;
    let axes: Vec<usize> = (2..image_sizes(b, x)?.len()).collect();
    Ok(vec![b.reduce(kind, x, &axes, true)?])
}

pub(crate) fn global_lp_pool(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let axes: Vec<usize> = (2..image_sizes(b, x)?.len()).collect();
    let p = call.int("p", 2)?;
    let powers = power_of_size(b, x, p)?;
    let sum = b.reduce(ReduceKind::Sum, powers, &axes, true)?;
    Ok(vec![root(b, sum, p)?])
}

/// Writes each element to the position that a pooling recorded; the rest is zero.
pub(crate) fn max_unpool(b: &mut Builder, call: &Call) -> Lowered {
    let (x, indices) = (call.input(0, "X")?, call.input(1, "I")?);
    let shape = image_sizes(b, x)?;
    let windows = Windows::new(call, &shape[2..], kernel_shape(call, shape.len() - 2)?)?;
    let mut natural = shape[..2].to_vec();
    for axis in 0..shape.len() - 2 {
        let full = (shape[axis + 2] as i64 - 1).checked_mul(windows.strides[axis] as i64);
        let full = full.map(|full| full + windows.kernel[axis] as i64 - windows.low[axis] - windows.high[axis]);
        let size = full.and_then(|full| usize::try_from(full).ok());
        natural.push(size.ok_or_else(|| bad_attr("pads", format!("{:?}", windows.low), "less than the result"))?);
    }
    // Positions count in the natural shape, which a stated output shape only extends.
    let elements = natural.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let elements = elements.ok_or_else(|| bad_input("X", b.ty(x), "a result that can be addressed"))?;
    let stated = call.constant_ints_opt(b, 2, "output_shape")?;
    let zero = scalar(b, x, 0.0)?;
    let flat = b.broadcast_to(zero, &[Dim::from(elements)])?;
    let n: usize = shape.iter().product();
    let positions = b.reshape(indices, [n, 1])?;
    let updates = b.reshape(x, [n])?;
    let filled = b.add(ScatterNd { kind: ScatterKind::Replace }, &[flat, positions, updates])?;
    let result = b.reshape(filled, natural.clone())?;
    let Some(stated) = stated else { return Ok(vec![result]) };
    if stated.len() != natural.len() {
        return Err(bad_input("output_shape", format!("{stated:?}"), format!("{} sizes", natural.len())));
    }
    let high = stated.iter().zip(&natural).map(|(&wanted, &size)| wanted.saturating_sub(size as i64)).collect();
    let rank = natural.len();
    Ok(vec![b.add(Pad { low: vec![0; rank], high, interior: vec![0; rank] }, &[result, zero])?])
}
