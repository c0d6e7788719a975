//! Quantization: real numbers as integers (or 8-bit floats) times a scale, and products of such integers.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, constant, scalar, sizes};
use crate::onnx::ops::conv::convolution;
use crate::onnx::ops::linear::product;
use gable_ir::attr::ReduceKind;
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

/// A scale or zero point spread over `x`: one for all, one per position of an axis, or one per block along it.
fn spread(b: &mut Builder, x: NodeId, parameter: NodeId, axis: i64, block: usize) -> Value {
    let (shape, own) = (sizes(b, x)?, sizes(b, parameter)?);
    if own.iter().product::<usize>() == 1 {
        return Ok(b.reshape(parameter, [] as [Dim; 0])?);
    }
    let axis = crate::onnx::call::normal_axis("axis", axis, shape.len())?;
    if block == 0 {
        if own != [shape[axis]] {
            return Err(bad_input("scale", b.ty(parameter), format!("one value, or {} of them", shape[axis])));
        }
        let mut place = vec![1; shape.len()];
        place[axis] = shape[axis];
        return Ok(b.reshape(parameter, place)?);
    }
    let mut expected = shape.clone();
    expected[axis] = shape[axis].div_ceil(block);
    if own != expected {
        return Err(bad_input("scale", b.ty(parameter), format!("{expected:?}, one value per block of {block}")));
    }
    let mut split = own.clone();
    split.insert(axis + 1, 1);
    let mut repeated: Vec<Dim> = split.iter().map(|&size| size.into()).collect();
    repeated[axis + 1] = block.into();
    let mut merged = own;
    merged[axis] *= block;
    let value = b.reshape(parameter, split)?;
    let value = b.broadcast_to(value, &repeated)?;
    let value = b.reshape(value, merged)?;
    // The last block may be cut short.
    Ok(b.slice_axis(value, axis, 0usize, shape[axis])?)
}

/// A value rounded to the nearest integer of `to`, held within its range.
fn rounded(b: &mut Builder, x: NodeId, zero_point: Option<NodeId>, to: DType) -> Value {
    let mut x = b.round(x)?;
    if let Some(zero_point) = zero_point {
        let zero_point = b.cast(zero_point, b.dtype(x))?;
        x = b.plus(x, zero_point)?;
    }
    // The cast saturates.
    Ok(b.cast(x, to)?)
}

pub(crate) fn quantize(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale) = (call.input(0, "x")?, call.input(1, "y_scale")?);
    let (axis, block) = (call.int("axis", 1)?, call.size("block_size", 0, 0)?);
    let zero_point = call.optional(2);
    let to = match (call.dtype("output_dtype")?, zero_point) {
        (_, Some(zero_point)) => b.dtype(zero_point),
        (Some(to), None) => to,
        (None, None) => DType::U8,
    };
    let scale = spread(b, x, scale, axis, block)?;
    let wide = match call.dtype("precision")? {
        Some(precision) => precision,
        None if b.dtype(x).is_float() => b.dtype(x),
        None => DType::F32,
    };
    let (x, scale) = (b.cast(x, wide)?, b.cast(scale, wide)?);
    let ratio = b.div(x, scale)?;
    let zero_point = match zero_point {
        Some(zero_point) => Some(spread(b, x, zero_point, axis, block)?),
        None => None,
    };
    if to.is_float() {
        if !call.flag("saturate", true)? {
            return Err(NodeError::Unsupported(format!("`saturate` = 0 for {to}")));
        }
        // Zero points of floats are zero.
        return Ok(vec![b.cast(ratio, to)?]);
    }
    Ok(vec![rounded(b, ratio, zero_point, to)?])
}

pub(crate) fn dequantize(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale) = (call.input(0, "x")?, call.input(1, "x_scale")?);
    let (axis, block) = (call.int("axis", 1)?, call.size("block_size", 0, 0)?);
    let to = call.dtype("output_dtype")?.unwrap_or(b.dtype(scale));
    let spread_scale = spread(b, x, scale, axis, block)?;
    let mut value = b.cast(x, DType::F32)?;
    // Zero points of floats are zero, and those of symmetric scales are.
    let is_zero = |b: &Builder, points: NodeId| {
        constant(b, points).is_some_and(|points| points.scalars().all(|point| point.as_f64() == 0.0))
    };
    if let Some(zero_point) = call.optional(2).filter(|&points| !b.dtype(x).is_float() && !is_zero(b, points)) {
        let zero_point = spread(b, x, zero_point, axis, block)?;
        let zero_point = b.cast(zero_point, DType::F32)?;
        value = b.sub(value, zero_point)?;
    }
    let wide_scale = b.cast(spread_scale, DType::F32)?;
    let result = b.mul(value, wide_scale)?;
    Ok(vec![b.cast(result, to)?])
}

/// The range of the data, which zero must lie in, on the 256 values of `u8`.
pub(crate) fn dynamic_quantize(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "x")?;
    let axes: Vec<usize> = (0..b.rank(x)).collect();
    let zero = scalar(b, x, 0.0)?;
    let largest = b.reduce(ReduceKind::Max, x, &axes, false)?;
    let largest = b.max(largest, zero)?;
    let least = b.reduce(ReduceKind::Min, x, &axes, false)?;
    let least = b.min(least, zero)?;
    let range = b.sub(largest, least)?;
    let steps = scalar(b, x, 255.0)?;
    let scale = b.div(range, steps)?;
    let lowest = b.neg(least)?;
    let offset = b.div(lowest, scale)?;
    let zero_point = rounded(b, offset, None, DType::U8)?;
    let ratio = b.div(x, scale)?;
    Ok(vec![rounded(b, ratio, Some(zero_point), DType::U8)?, scale, zero_point])
}

/// `x - zero_point` in i32; the zero point is one, or one per row (`per_row`) or column.
fn centered(b: &mut Builder, x: NodeId, zero_point: Option<NodeId>, per_row: bool) -> Value {
    let wide = b.cast(x, DType::I32)?;
    let Some(zero_point) = zero_point else { return Ok(wide) };
    let zero_point = b.cast(zero_point, DType::I32)?;
    let zero_point = aligned(b, zero_point, per_row)?;
    Ok(b.sub(wide, zero_point)?)
}

/// A vector of per-row parameters as a column; anything else broadcasts as it is.
fn aligned(b: &mut Builder, parameter: NodeId, per_row: bool) -> Value {
    let shape = sizes(b, parameter)?;
    match (&shape[..], per_row) {
        (&[1], _) => Ok(b.reshape(parameter, [] as [Dim; 0])?),
        (&[n], true) => Ok(b.reshape(parameter, [n, 1])?),
        _ => Ok(parameter),
    }
}

pub(crate) fn matmul_integer(b: &mut Builder, call: &Call) -> Lowered {
    let x = centered(b, call.input(0, "A")?, call.optional(2), true)?;
    let y = centered(b, call.input(1, "B")?, call.optional(3), false)?;
    Ok(vec![product(b, x, y, DType::I32)?])
}

/// `accumulated * scale` on the grid of the result.
fn requantized(b: &mut Builder, accumulated: NodeId, scale: NodeId, zero_point: NodeId) -> Value {
    let real = b.cast(accumulated, DType::F32)?;
    let real = b.mul(real, scale)?;
    let to = b.dtype(zero_point);
    rounded(b, real, Some(zero_point), to)
}

/// `a_scale * b_scale / y_scale` in f32.
fn joint_scale(b: &mut Builder, a: NodeId, other: NodeId, y: NodeId) -> Value {
    let mut wide = [a, other, y];
    for scale in &mut wide {
        *scale = b.cast(*scale, DType::F32)?;
    }
    let joint = b.mul(wide[0], wide[1])?;
    Ok(b.div(joint, wide[2])?)
}

pub(crate) fn qlinear_matmul(b: &mut Builder, call: &Call) -> Lowered {
    let x = centered(b, call.input(0, "a")?, call.optional(2), true)?;
    let y = centered(b, call.input(3, "b")?, call.optional(5), false)?;
    let sum = product(b, x, y, DType::I32)?;
    let a_scale = aligned(b, call.input(1, "a_scale")?, true)?;
    let b_scale = aligned(b, call.input(4, "b_scale")?, false)?;
    let y_scale = aligned(b, call.input(6, "y_scale")?, true)?;
    let y_zero_point = aligned(b, call.input(7, "y_zero_point")?, true)?;
    let scale = joint_scale(b, a_scale, b_scale, y_scale)?;
    Ok(vec![requantized(b, sum, scale, y_zero_point)?])
}

/// A filter's parameter, one or one per result channel, shaped to broadcast over `rank` axes of which `axis` is it.
fn per_filter(b: &mut Builder, parameter: NodeId, rank: usize, axis: usize) -> Value {
    let n: usize = sizes(b, parameter)?.iter().product();
    if n == 1 {
        return Ok(b.reshape(parameter, [] as [Dim; 0])?);
    }
    let mut place = vec![1; rank];
    place[axis] = n;
    Ok(b.reshape(parameter, place)?)
}

fn integer_convolution(b: &mut Builder, call: &Call, operands: [Option<NodeId>; 4]) -> Value {
    let [x, x_zero, filter, filter_zero] = operands;
    let (Some(x), Some(filter)) = (x, filter) else { return Err(bad_attr("inputs", "absent", "image and filter")) };
    let rank = b.rank(filter);
    let image = centered(b, x, x_zero, false)?;
    let mut taps = b.cast(filter, DType::I32)?;
    if let Some(zero) = filter_zero {
        let zero = b.cast(zero, DType::I32)?;
        let zero = per_filter(b, zero, rank, 0)?;
        taps = b.sub(taps, zero)?;
    }
    convolution(b, call, image, taps, DType::I32)
}

pub(crate) fn conv_integer(b: &mut Builder, call: &Call) -> Lowered {
    let operands = [call.optional(0), call.optional(2), call.optional(1), call.optional(3)];
    Ok(vec![integer_convolution(b, call, operands)?])
}

pub(crate) fn qlinear_conv(b: &mut Builder, call: &Call) -> Lowered {
    let operands = [call.optional(0), call.optional(2), call.optional(3), call.optional(5)];
    let mut sum = integer_convolution(b, call, operands)?;
    if let Some(bias) = call.optional(8) {
        let bias = per_filter(b, bias, b.rank(sum), 1)?;
        sum = b.plus(sum, bias)?;
    }
    let rank = b.rank(sum);
    let w_scale = per_filter(b, call.input(4, "w_scale")?, rank, 1)?;
    let x_scale = per_filter(b, call.input(1, "x_scale")?, rank, 1)?;
    let y_scale = per_filter(b, call.input(6, "y_scale")?, rank, 1)?;
    let zero_point = per_filter(b, call.input(7, "y_zero_point")?, rank, 1)?;
    let scale = joint_scale(b, x_scale, w_scale, y_scale)?;
    Ok(vec![requantized(b, sum, scale, zero_point)?])
}
