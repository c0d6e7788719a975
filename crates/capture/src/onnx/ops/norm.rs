//! Normalizations. The IR's norms work on rows along the last axis, or on groups of channels; the others are spelled out.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_input, normal_axes, scalar, sizes};
use crate::onnx::ops::conv::per_channel;
use gable_ir::attr::ReduceKind;
use gable_ir::ops::{GroupNorm, LayerNorm, ReduceWindow, RmsNorm};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Scalar, Tensor};

/// Scale and shift per channel. The running statistics are parameters, so what is computed from them alone folds.
pub(crate) fn batch_norm(b: &mut Builder, call: &Call) -> Lowered {
    let names = ["X", "scale", "B", "input_mean", "input_var"];
    let mut inputs = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        inputs.push(call.input(index, name)?);
    }
    let (x, eps) = (inputs[0], call.float("epsilon", 1e-5)?);
    if call.flag("training_mode", false)? {
        return batch_norm_training(b, call, &inputs, eps);
    }
    Ok(vec![scale_and_shift(b, x, &inputs[1..], eps)?])
}

/// `(x - mean) / sqrt(var + eps) * scale + bias` as one multiplication and one addition per element.
fn scale_and_shift(b: &mut Builder, x: NodeId, channel: &[NodeId], eps: f64) -> Value {
    let dtype = b.dtype(x);
    // Parameters may be of a wider type than the data.
    let &[gamma, bias, mean, variance] = channel else { return Err(bad_input("scale", "too few", "four vectors")) };
    let eps = scalar(b, variance, eps)?;
    let shifted = b.plus(variance, eps)?;
    let inverse = b.rsqrt(shifted)?;
    let gamma = b.cast(gamma, b.dtype(inverse))?;
    let scale = b.mul(gamma, inverse)?;
    let moved = b.mul(mean, scale)?;
    let bias = b.cast(bias, b.dtype(moved))?;
    let offset = b.sub(bias, moved)?;
    let rank = b.rank(x);
    let (scale, offset) = (per_channel_or_scalar(b, scale, rank)?, per_channel_or_scalar(b, offset, rank)?);
    let wide = b.cast(x, b.dtype(scale))?;
    let scaled = b.mul(wide, scale)?;
    let result = b.plus(scaled, offset)?;
    Ok(b.cast(result, dtype)?)
}

/// As [`per_channel`]; operands without a channel axis take a vector of one.
fn per_channel_or_scalar(b: &mut Builder, vector: NodeId, rank: usize) -> Value {
    if rank >= 2 { per_channel(b, vector, rank) } else { Ok(vector) }
}

fn batch_norm_training(b: &mut Builder, call: &Call, inputs: &[NodeId], eps: f64) -> Lowered {
    let (x, rank) = (inputs[0], b.rank(inputs[0]));
    let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    let mean = b.reduce(ReduceKind::Mean, x, &axes, true)?;
    let centered = b.sub(x, mean)?;
    let square = b.mul(centered, centered)?;
    let variance = b.reduce(ReduceKind::Mean, square, &axes, false)?;
    let channels = b.shape(variance);
    let mean = b.reshape(mean, channels)?;
    let y = scale_and_shift(b, x, &[inputs[1], inputs[2], mean, variance], eps)?;
    let momentum = call.float("momentum", 0.9)?;
    let mut results = vec![y];
    for (old, new) in [(inputs[3], mean), (inputs[4], variance)] {
        let (keep, take) = (scalar(b, old, momentum)?, scalar(b, new, 1.0 - momentum)?);
        let (kept, taken) = (b.mul(old, keep)?, b.mul(new, take)?);
        results.push(b.plus(kept, taken)?);
    }
    Ok(results)
}

pub(crate) fn instance_norm(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale, bias) = (call.input(0, "input")?, call.input(1, "scale")?, call.input(2, "B")?);
    let groups = sizes(b, x)?.get(1).copied().unwrap_or(0);
    Ok(vec![b.add(GroupNorm { groups, eps: call.float("epsilon", 1e-5)? }, &[x, scale, bias])?])
}

/// Scale and bias are per group in version 18 and per channel from 21 on.
pub(crate) fn group_norm(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale, bias) = (call.input(0, "X")?, call.input(1, "scale")?, call.input(2, "bias")?);
    let groups = call.size("num_groups", 0, 1)?;
    let channels = sizes(b, x)?.get(1).copied().unwrap_or(0);
    if channels % groups != 0 {
        return Err(bad_input("X", b.ty(x), format!("channels that {groups} groups divide")));
    }
    let mut per_channel = |vector: NodeId| -> Value {
        if sizes(b, vector)? == [channels] {
            return Ok(vector);
        }
        let column = b.reshape(vector, [groups, 1])?;
        let wide = b.broadcast_to(column, &[groups.into(), (channels / groups).into()])?;
        Ok(b.reshape(wide, [channels])?)
    };
    let (scale, bias) = (per_channel(scale)?, per_channel(bias)?);
    Ok(vec![b.add(GroupNorm { groups, eps: call.float("epsilon", 1e-5)? }, &[x, scale, bias])?])
}

/// `x` as a matrix whose rows are normalized, and each parameter as a vector along them.
struct Rows {
    shape: Vec<usize>,
    axis: usize,
    n_rows: usize,
    width: usize,
}

impl Rows {
    fn new(b: &Builder, call: &Call, x: NodeId) -> Result<Rows, NodeError> {
        let shape = sizes(b, x)?;
        let axis = call.axis("axis", -1, shape.len())?;
        let (n_rows, width) = (shape[..axis].iter().product(), shape[axis..].iter().product());
        Ok(Rows { shape, axis, n_rows, width })
    }

    /// A matrix unless the last axis already is the row.
    fn of(&self, b: &mut Builder, x: NodeId) -> Value {
        if self.axis + 1 == self.shape.len() { Ok(x) } else { Ok(b.reshape(x, [self.n_rows, self.width])?) }
    }

    /// A parameter as a vector; `None` when it differs between rows.
    fn vector(&self, b: &mut Builder, parameter: NodeId) -> Result<Option<NodeId>, NodeError> {
        let shape = sizes(b, parameter)?;
        let row = &self.shape[self.axis..];
        let leads = shape.len().saturating_sub(row.len());
        if shape[..leads].iter().any(|&size| size != 1) || shape.iter().product::<usize>() > self.width {
            return Ok(None);
        }
        let within = b.reshape(parameter, shape[leads..].to_vec())?;
        let row: Vec<gable_tensor::Dim> = row.iter().map(|&size| size.into()).collect();
        let full = b.broadcast_to(within, &row)?;
        Ok(Some(b.reshape(full, [self.width])?))
    }
}

/// Two vectors of ones or zeros: the scale or bias of a norm without one.
fn filled(b: &mut Builder, like: NodeId, n: usize, value: f64) -> Value {
    let value = scalar(b, like, value)?;
    Ok(b.broadcast_to(value, &[n.into()])?)
}

pub(crate) fn layer_norm(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale) = (call.input(0, "X")?, call.input(1, "Scale")?);
    let rows = Rows::new(b, call, x)?;
    let eps = call.float("epsilon", 1e-5)?;
    let matrix = rows.of(b, x)?;
    let scale_vector = rows.vector(b, scale)?;
    let bias_vector = match call.optional(2) {
        Some(bias) => rows.vector(b, bias)?.map(Some),
        None => Some(None),
    };
    let y = match (scale_vector, bias_vector) {
        (Some(scale), Some(bias)) => {
            let operands: Vec<NodeId> = [matrix, scale].into_iter().chain(bias).collect();
            let y = b.add(LayerNorm { eps }, &operands)?;
            b.reshape(y, rows.shape.clone())?
        }
        // Parameters that differ between rows are applied after a norm without any.
        _ => {
            let ones = filled(b, x, rows.width, 1.0)?;
            let unit = b.add(LayerNorm { eps }, &[matrix, ones])?;
            let unit = b.reshape(unit, rows.shape.clone())?;
            let scaled = b.mul(unit, scale)?;
            match call.optional(2) {
                Some(bias) => b.plus(scaled, bias)?,
                None => scaled,
            }
        }
    };
    let mut results = vec![y];
    if call.wants(1) || call.wants(2) {
        let axes: Vec<usize> = (rows.axis..rows.shape.len()).collect();
        let stash = if b.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
        let wide = b.cast(x, stash)?;
        let mean = b.reduce(ReduceKind::Mean, wide, &axes, true)?;
        let centered = b.sub(wide, mean)?;
        let square = b.mul(centered, centered)?;
        let variance = b.reduce(ReduceKind::Mean, square, &axes, true)?;
        let eps = scalar(b, variance, eps)?;
        let shifted = b.plus(variance, eps)?;
        results.extend([mean, b.rsqrt(shifted)?]);
    }
    Ok(results)
}

pub(crate) fn rms_norm(b: &mut Builder, call: &Call) -> Lowered {
    let (x, scale) = (call.input(0, "X")?, call.input(1, "scale")?);
    let rows = Rows::new(b, call, x)?;
    let eps = call.float("epsilon", 1e-5)?;
    let matrix = rows.of(b, x)?;
    let y = match rows.vector(b, scale)? {
        Some(vector) => {
            let y = b.add(RmsNorm { eps }, &[matrix, vector])?;
            b.reshape(y, rows.shape.clone())?
        }
        None => {
            let ones = filled(b, x, rows.width, 1.0)?;
            let unit = b.add(RmsNorm { eps }, &[matrix, ones])?;
            let unit = b.reshape(unit, rows.shape.clone())?;
            b.mul(unit, scale)?
        }
    };
    Ok(vec![y])
}

/// `SkipLayerNormalization` and its RMS form: the sum of input, skip and bias, normalized. The sum is output 3.
pub(crate) fn skip_norm(b: &mut Builder, call: &Call, rms: bool) -> Lowered {
    let (x, skip, gamma) = (call.input(0, "input")?, call.input(1, "skip")?, call.input(2, "gamma")?);
    let (beta, bias) = if rms { (None, call.optional(3)) } else { (call.optional(3), call.optional(4)) };
    let mut sum = b.plus(x, skip)?;
    if let Some(bias) = bias {
        sum = b.plus(sum, bias)?;
    }
    let eps = call.float("epsilon", if rms { 1e-6 } else { 1e-12 })?;
    let y = if rms {
        b.add(RmsNorm { eps }, &[sum, gamma])?
    } else {
        let operands: Vec<NodeId> = [sum, gamma].into_iter().chain(beta).collect();
        b.add(LayerNorm { eps }, &operands)?
    };
    if call.wants(1) || call.wants(2) {
        return Err(NodeError::Unsupported("the mean and deviation outputs".into()));
    }
    Ok(vec![y, sum, sum, sum])
}

/// `x / (bias + alpha / size * (sum of squares over neighbouring channels)) ^ beta`.
pub(crate) fn lrn(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let rank = b.rank(x);
    let size = call.size("size", 0, 1)?;
    if rank < 2 {
        return Err(bad_input("X", b.ty(x), "[n, channels, ...]"));
    }
    let (alpha, beta, bias) = (call.float("alpha", 1e-4)?, call.float("beta", 0.75)?, call.float("bias", 1.0)?);
    let square = b.mul(x, x)?;
    let on_channels = |value: i64, other: i64| (0..rank).map(move |axis| if axis == 1 { value } else { other });
    let before = (size as i64 - 1) / 2;
    let sum = ReduceWindow {
        kind: ReduceKind::Sum,
        window: on_channels(size as i64, 1).map(|n| n as usize).collect(),
        strides: vec![1; rank],
        dilations: vec![1; rank],
        low: on_channels(before, 0).collect(),
        high: on_channels(size as i64 - 1 - before, 0).collect(),
    };
    let sum = b.add(sum, &[square])?;
    let (alpha, bias) = (scalar(b, x, alpha / size as f64)?, scalar(b, x, bias)?);
    let scaled = b.mul(sum, alpha)?;
    let base = b.plus(scaled, bias)?;
    let beta = scalar(b, x, beta)?;
    let divisor = b.pow(base, beta)?;
    Ok(vec![b.div(x, divisor)?])
}

pub(crate) fn mean_variance_norm(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let axes = call.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = normal_axes("axes", &axes, b.rank(x))?;
    let mean = b.reduce(ReduceKind::Mean, x, &axes, true)?;
    let centered = b.sub(x, mean)?;
    let square = b.mul(centered, centered)?;
    let variance = b.reduce(ReduceKind::Mean, square, &axes, true)?;
    let deviation = b.sqrt(variance)?;
    // The operator's definition adds this to the deviation.
    let eps = b.constant(Tensor::from_scalars(b.dtype(x), [], [Scalar::F(1e-9)]))?;
    let divisor = b.plus(deviation, eps)?;
    Ok(vec![b.div(centered, divisor)?])
}
