//! Convolutions. Transposed ones are convolutions of the spread-out image with mirrored filters.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, scalar, sizes};
use crate::onnx::ops::window::{Windows, explicit_pads, per_axis};
use gable_ir::attr::Layout;
use gable_ir::build::default_acc;
use gable_ir::ops::{Conv, Pad, Slice};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};

pub(crate) fn conv(b: &mut Builder, call: &Call) -> Lowered {
    let (x, filter) = (call.input(0, "X")?, call.input(1, "W")?);
    let dtype = b.dtype(x);
    let result = convolution(b, call, x, filter, dtype)?;
    Ok(vec![with_bias(b, result, call.optional(2))?])
}

/// The convolution itself, with `groups`, strides and padding from the node's attributes.
pub(crate) fn convolution(b: &mut Builder, call: &Call, x: NodeId, filter: NodeId, out: DType) -> Value {
    let (image, kernel) = (sizes(b, x)?, sizes(b, filter)?);
    if image.len() < 3 || kernel.len() != image.len() {
        return Err(bad_input("W", b.ty(filter), format!("the rank of X, {}, and at least 3", b.ty(x))));
    }
    if let Some(stated) = call.ints("kernel_shape")?
        && !stated.iter().map(|&n| n as usize).eq(kernel[2..].iter().copied())
    {
        return Err(bad_attr("kernel_shape", format!("{stated:?}"), format!("{:?}, the shape of W", &kernel[2..])));
    }
    let windows = Windows::new(call, &image[2..], kernel[2..].to_vec())?;
    let groups = call.size("group", 1, 1)?;
    let conv = Conv {
        strides: windows.strides,
        dilations: windows.dilations,
        low: windows.low,
        high: windows.high,
        groups,
        layout: Layout::ChannelsFirst,
        acc: default_acc(b.dtype(x)),
        out,
    };
    Ok(b.add(conv, &[x, filter])?)
}

/// Adds one value per channel.
pub(crate) fn with_bias(b: &mut Builder, x: NodeId, bias: Option<NodeId>) -> Value {
    let Some(bias) = bias else { return Ok(x) };
    let bias = per_channel(b, bias, b.rank(x))?;
    Ok(b.plus(x, bias)?)
}

/// A vector over the channels, shaped to broadcast over `[n, channels, ...]`.
pub(crate) fn per_channel(b: &mut Builder, vector: NodeId, rank: usize) -> Value {
    if b.rank(vector) != 1 || rank < 2 {
        return Err(bad_input("B", b.ty(vector), "one value per channel"));
    }
    let mut shape = vec![Dim::known(1); rank - 1];
    shape[0] = b.shape(vector)[0].clone();
    Ok(b.reshape(vector, shape)?)
}

pub(crate) fn conv_transpose(b: &mut Builder, call: &Call) -> Lowered {
    let (x, filter) = (call.input(0, "X")?, call.input(1, "W")?);
    let (image, kernel) = (sizes(b, x)?, sizes(b, filter)?);
    if image.len() < 3 || kernel.len() != image.len() {
        return Err(bad_input("W", b.ty(filter), format!("the rank of X, {}, and at least 3", b.ty(x))));
    }
    let n = image.len() - 2;
    let groups = call.size("group", 1, 1)?;
    let strides = per_axis(call, "strides", n)?;
    let dilations = per_axis(call, "dilations", n)?;
    let windows = Windows {
        kernel: kernel[2..].to_vec(),
        strides: strides.clone(),
        dilations: dilations.clone(),
        low: vec![0; n],
        high: vec![0; n],
        ceil: vec![0; n],
    };
    if windows.kernel.contains(&0) {
        return Err(bad_input("W", b.ty(filter), "a kernel of at least one element"));
    }
    let (cut_low, cut_high, extra) = transposed_pads(call, &image[2..], &windows)?;
    // The elements move `stride` apart, and the window needs all of itself but one element around them.
    let (mut low, mut high, mut interior) = (vec![0i64; 2], vec![0i64; 2], vec![0i64; 2]);
    for axis in 0..n {
        let around = windows.extent(axis)? - 1;
        low.push(around - cut_low[axis]);
        high.push(around - cut_high[axis] + extra[axis]);
        interior.push(strides[axis] as i64 - 1);
    }
    let zero = scalar(b, x, 0.0)?;
    let spread = if interior.iter().all(|&n| n == 0) {
        x
    } else {
        b.add(Pad { low: vec![0; n + 2], high: vec![0; n + 2], interior }, &[x, zero])?
    };
    let mirrored = mirrored_filter(b, filter, groups)?;
    let dtype = b.dtype(x);
    let conv = Conv {
        strides: vec![1; n],
        dilations,
        low: low.split_off(2),
        high: high.split_off(2),
        groups,
        layout: Layout::ChannelsFirst,
        acc: default_acc(dtype),
        out: dtype,
    };
    let result = b.add(conv, &[spread, mirrored])?;
    Ok(vec![with_bias(b, result, call.optional(2))?])
}

/// Per spatial axis: what is cut before and after the full result, and what is added at its end.
type Cuts = (Vec<i64>, Vec<i64>, Vec<i64>);

/// The cuts that the attributes state or imply.
fn transposed_pads(call: &Call, image: &[usize], windows: &Windows) -> Result<Cuts, NodeError> {
    let n = image.len();
    let extra = call.ints("output_padding")?.unwrap_or_else(|| vec![0; n]);
    if extra.len() != n || extra.iter().any(|pad| !(0..1 << 31).contains(pad)) {
        return Err(bad_attr("output_padding", format!("{extra:?}"), format!("{n} numbers of at least 0")));
    }
    let auto_pad = call.text("auto_pad", "NOTSET")?;
    let wanted = match call.ints("output_shape")? {
        // Writers may state all axes; the spatial ones come last.
        Some(shape) if shape.len() >= n => Some(shape[shape.len() - n..].to_vec()),
        Some(shape) => return Err(bad_attr("output_shape", format!("{shape:?}"), format!("{n} sizes"))),
        None if auto_pad.starts_with("SAME") => {
            Some(image.iter().zip(&windows.strides).map(|(&size, &stride)| (size * stride) as i64).collect())
        }
        None => None,
    };
    let Some(wanted) = wanted else {
        let (low, high) = if auto_pad == "VALID" { (vec![0; n], vec![0; n]) } else { explicit_pads(call, n)? };
        return Ok((low, high, extra));
    };
    let (mut low, mut high) = (Vec::new(), Vec::new());
    for axis in 0..n {
        let span = (image[axis] as i64 - 1).checked_mul(windows.strides[axis] as i64);
        let full = span.map(|span| span + extra[axis]).zip(Some(windows.extent(axis)?)).map(|(a, e)| a + e);
        let total = full.and_then(|full| full.checked_sub(wanted[axis])).filter(|total| total.unsigned_abs() < 1 << 40);
        let total =
            total.ok_or_else(|| bad_attr("output_shape", format!("{wanted:?}"), "sizes that can be addressed"))?;
        // A result larger than the full one is filled with zeros at its end, as output padding is.
        let less = total.div_euclid(2);
        let (first, second) = if auto_pad == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
        low.push(first);
        high.push(second);
    }
    Ok((low, high, extra))
}

/// `[in, out / groups, k...]` to `[out, in / groups, k...]` with every spatial axis reversed.
fn mirrored_filter(b: &mut Builder, filter: NodeId, groups: usize) -> Value {
    let shape = sizes(b, filter)?;
    let (c_in, c_out, n) = (shape[0], shape[1], shape.len() - 2);
    if c_in % groups != 0 {
        return Err(bad_attr("group", groups, format!("a divisor of {c_in} channels")));
    }
    let mut grouped = vec![groups, c_in / groups, c_out];
    grouped.extend(&shape[2..]);
    let x = b.reshape(filter, grouped)?;
    let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..n + 3).collect();
    let x = b.transpose(x, &perm)?;
    let mut flat = vec![c_out * groups, c_in / groups];
    flat.extend(&shape[2..]);
    let x = b.reshape(x, flat.clone())?;
    let known = |values: Vec<i64>| values.into_iter().map(Dim::known).collect::<Vec<_>>();
    let starts = flat.iter().enumerate().map(|(axis, &size)| if axis < 2 { 0 } else { size as i64 - 1 }).collect();
    let ends = flat.iter().enumerate().map(|(axis, &size)| if axis < 2 { size as i64 } else { -1 }).collect();
    let steps = (0..flat.len()).map(|axis| if axis < 2 { 1 } else { -1 }).collect();
    Ok(b.add(Slice { starts: known(starts), ends: known(ends), steps }, &[x])?)
}

/// A convolution of each channel with its own filter over the past only; the past comes and goes as a state.
pub(crate) fn causal_conv(b: &mut Builder, call: &Call) -> Lowered {
    let (x, filter) = (call.input(0, "input")?, call.input(1, "weight")?);
    let (&[batch, channels, _], &[_, _, taps]) = (&sizes(b, x)?[..], &sizes(b, filter)?[..]) else {
        return Err(bad_input("input", b.ty(x), "[n, channels, length], with filters of rank 3"));
    };
    let before = taps.checked_sub(1).ok_or_else(|| bad_input("weight", b.ty(filter), "at least one tap"))?;
    let past = match call.optional(3) {
        Some(past) => past,
        None => {
            let zero = scalar(b, x, 0.0)?;
            b.broadcast_to(zero, &[batch.into(), channels.into(), before.into()])?
        }
    };
    let all = b.concat(&[past, x], 2)?;
    let dtype = b.dtype(x);
    let conv = Conv {
        strides: vec![1],
        dilations: vec![1],
        low: vec![0],
        high: vec![0],
        groups: channels,
        layout: Layout::ChannelsFirst,
        acc: default_acc(dtype),
        out: dtype,
    };
    let y = b.add(conv, &[all, filter])?;
    let y = with_bias(b, y, call.optional(2))?;
    let y = match call.text("activation", "none")?.as_str() {
        "none" => y,
        "silu" | "swish" => b.silu(y)?,
        other => return Err(bad_attr("activation", format!("`{other}`"), "none, silu or swish")),
    };
    let length = sizes(b, all)?[2];
    Ok(vec![y, b.slice_axis(all, 2, length - before, length)?])
}
