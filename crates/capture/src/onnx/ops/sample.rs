//! Sampling an image at computed positions: grid sampling, affine grids, and images from columns.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, scalar, sizes};
use crate::onnx::ops::window::{explicit_pads, per_axis};
use gable_ir::ops::{Gather, Iota, Pad};
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// What lies outside the image.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// How elements around a position are weighted.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// One spatial axis of the image.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    /// Where reflection turns back.
    low: f64,
    high: f64,
}

/// The taps of one axis: index values and weights, both of the grid's shape.
type Taps = Vec<(NodeId, Option<NodeId>)>;

pub(crate) fn grid_sample(b: &mut Builder, call: &Call) -> Lowered {
    let (x, grid) = (call.input(0, "X")?, call.input(1, "grid")?);
    let (image, points) = (sizes(b, x)?, sizes(b, grid)?);
    let rank = image.len();
    let n = rank.saturating_sub(2);
    if n == 0 || points.len() != rank || points[rank - 1] != n || points[0] != image[0] || image[2..].contains(&0) {
        return Err(bad_input("grid", b.ty(grid), format!("positions in {}", b.ty(x))));
    }
    let mode = match call.text("mode", "linear")?.as_str() {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(bad_attr("mode", format!("`{other}`"), "nearest, linear or cubic")),
    };
    let padding = match call.text("padding_mode", "zeros")?.as_str() {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(bad_attr("padding_mode", format!("`{other}`"), "zeros, border or reflection")),
    };
    let corners = call.flag("align_corners", false)?;
    let grid = if b.dtype(grid) == DType::F64 { grid } else { b.cast(grid, DType::F32)? };
    let (mut per_axis, mut axes) = (Vec::new(), Vec::new());
    for axis in 0..n {
        let size = image[2 + axis];
        let (low, high) = if corners { (0.0, size as f64 - 1.0) } else { (-0.5, size as f64 - 0.5) };
        axes.push(Axis { size, low, high });
        // The grid's last axis lists coordinates from the innermost axis outwards.
        let component = n - 1 - axis;
        let position = b.slice_axis(grid, rank - 1, component, component + 1)?;
        let position = b.reshape(position, points[..rank - 1].to_vec())?;
        let position = denormalized(b, position, size, corners)?;
        per_axis.push(taps(b, position, axes[axis], mode, padding)?);
    }
    // Channels last, so that one gather takes all channels of a position.
    let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    let table = b.transpose(x, &perm)?;
    let area: usize = image[2..].iter().product();
    let table = b.reshape(table, [image[0] * area, image[1]])?;
    let sampler = Sampler { table, axes, dtype: b.dtype(x), padding };
    let sample_axis: Vec<Dim> = points[..rank - 1].iter().map(|&size| size.into()).collect();
    let sample = b.add(Iota { axis: 0, dtype: DType::I64, shape: sample_axis }, &[])?;
    let area = b.scalar(DType::I64, area as i64)?;
    let start = b.mul(sample, area)?;
    let sum = sampler.sum(b, &per_axis, start)?;
    let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(vec![b.transpose(sum, &perm)?])
}

/// From -1..1 to element positions.
fn denormalized(b: &mut Builder, position: NodeId, size: usize, corners: bool) -> Value {
    let (scale, offset) = match corners {
        true => ((size as f64 - 1.0) / 2.0, (size as f64 - 1.0) / 2.0),
        false => (size as f64 / 2.0, (size as f64 - 1.0) / 2.0),
    };
    let (scale, offset) = (scalar(b, position, scale)?, scalar(b, position, offset)?);
    let scaled = b.mul(position, scale)?;
    Ok(b.plus(scaled, offset)?)
}

fn clamped(b: &mut Builder, x: NodeId, low: f64, high: f64) -> Value {
    let (low, high) = (scalar(b, x, low)?, scalar(b, x, high)?);
    let x = b.max(x, low)?;
    Ok(b.min(x, high)?)
}

/// A triangle wave between the turning points.
fn reflected(b: &mut Builder, x: NodeId, axis: Axis) -> Value {
    let range = axis.high - axis.low;
    if range == 0.0 {
        let zero = scalar(b, x, 0.0)?;
        return Ok(b.mul(x, zero)?);
    }
    let (low, whole, range) = (scalar(b, x, axis.low)?, scalar(b, x, 2.0 * range)?, scalar(b, x, range)?);
    let moved = b.sub(x, low)?;
    let phase = b.modulo(moved, whole)?;
    let back = b.sub(whole, phase)?;
    let rises = b.le(phase, range)?;
    let folded = b.select(rises, phase, back)?;
    Ok(b.plus(folded, low)?)
}

fn taps(b: &mut Builder, position: NodeId, axis: Axis, mode: Mode, padding: Padding) -> Result<Taps, NodeError> {
    let last = axis.size as f64 - 1.0;
    if mode == Mode::Nearest {
        let nearest = b.round(position)?;
        return Ok(vec![(nearest, None)]);
    }
    let position = match padding {
        Padding::Zeros => position,
        Padding::Border => clamped(b, position, 0.0, last)?,
        Padding::Reflection => reflected(b, position, axis)?,
    };
    let floor = b.floor(position)?;
    let offset = b.sub(position, floor)?;
    let steps: &[f64] = if mode == Mode::Linear { &[0.0, 1.0] } else { &[-1.0, 0.0, 1.0, 2.0] };
    let mut taps = Vec::new();
    for &step in steps {
        let step = scalar(b, floor, step)?;
        let index = b.plus(floor, step)?;
        let distance = b.sub(offset, step)?;
        let distance = b.abs(distance)?;
        let weight = match mode {
            Mode::Cubic => cubic(b, distance)?,
            _ => {
                let one = scalar(b, distance, 1.0)?;
                b.sub(one, distance)?
            }
        };
        taps.push((index, Some(weight)));
    }
    Ok(taps)
}

/// Keys' cubic kernel with a = -0.75, at a distance of up to 2.
fn cubic(b: &mut Builder, d: NodeId) -> Value {
    let a = -0.75;
    let mut polynomial = |coefficients: [f64; 4]| -> Value {
        let mut sum = scalar(b, d, coefficients[0])?;
        for coefficient in &coefficients[1..] {
            let scaled = b.mul(sum, d)?;
            let coefficient = scalar(b, d, *coefficient)?;
            sum = b.plus(scaled, coefficient)?;
        }
        Ok(sum)
    };
    let near = polynomial([a + 2.0, -(a + 3.0), 0.0, 1.0])?;
    let far = polynomial([a, -5.0 * a, 8.0 * a, -4.0 * a])?;
    let one = scalar(b, d, 1.0)?;
    let is_near = b.le(d, one)?;
    Ok(b.select(is_near, near, far)?)
}

/// Reads weighted taps out of an image laid out as rows of channels.
struct Sampler {
    table: NodeId,
    axes: Vec<Axis>,
    dtype: DType,
    padding: Padding,
}

impl Sampler {
    /// The sum over every combination of the axes' taps; `start` is each sample's first row.
    fn sum(&self, b: &mut Builder, per_axis: &[Taps], start: NodeId) -> Value {
        let n_combinations: usize = per_axis.iter().map(Vec::len).product();
        let mut sum: Option<NodeId> = None;
        for combination in 0..n_combinations {
            let mut rest = combination;
            let (mut row, mut weight, mut inside) = (start, None, None);
            let mut stride: usize = self.axes.iter().map(|axis| axis.size).product();
            for (taps, &axis) in per_axis.iter().zip(&self.axes) {
                stride /= axis.size;
                let (index, tap_weight) = taps[rest % taps.len()];
                rest /= taps.len();
                let (index, is_inside) = self.index(b, index, axis)?;
                let step = b.scalar(DType::I64, stride as i64)?;
                let offset = b.mul(index, step)?;
                row = b.plus(row, offset)?;
                weight = product(b, weight, tap_weight, Builder::mul)?;
                inside = product(b, inside, is_inside, Builder::and)?;
            }
            let mut value = b.add(Gather { axis: 0 }, &[self.table, row])?;
            // Weights and conditions are per position; a last axis of one spreads them over the channels.
            let column: Vec<Dim> = b.shape(row).into_iter().chain([Dim::known(1)]).collect();
            if let Some(inside) = inside {
                let inside = b.reshape(inside, column.clone())?;
                let zero = b.scalar_like(value, 0.0)?;
                value = b.select(inside, value, zero)?;
            }
            if let Some(weight) = weight {
                let weight = b.cast(weight, self.dtype)?;
                let weight = b.reshape(weight, column)?;
                value = b.mul(value, weight)?;
            }
            sum = product(b, sum, Some(value), Builder::plus)?;
        }
        sum.ok_or_else(|| bad_input("grid", "without axes", "at least one axis"))
    }

    /// An integer index within the axis, and where the position lies inside when that matters.
    fn index(&self, b: &mut Builder, position: NodeId, axis: Axis) -> Result<(NodeId, Option<NodeId>), NodeError> {
        let last = axis.size as f64 - 1.0;
        let inside = if self.padding == Padding::Zeros {
            let (first, last) = (scalar(b, position, 0.0)?, scalar(b, position, last)?);
            let (above, below) = (b.ge(position, first)?, b.le(position, last)?);
            Some(b.and(above, below)?)
        } else {
            None
        };
        // The wide filter reaches past the image even from a position within it.
        let position = if self.padding == Padding::Reflection { reflected(b, position, axis)? } else { position };
        let index = clamped(b, position, 0.0, last)?;
        Ok((b.cast(index, DType::I64)?, inside))
    }
}

/// Combines two optional values; one alone stays as it is.
fn product(
    b: &mut Builder,
    a: Option<NodeId>,
    other: Option<NodeId>,
    combine: fn(&mut Builder, NodeId, NodeId) -> Result<NodeId, gable_ir::OpError>,
) -> Result<Option<NodeId>, NodeError> {
    Ok(match (a, other) {
        (Some(a), Some(other)) => Some(combine(b, a, other)?),
        (a, other) => a.or(other),
    })
}

/// Positions of an image's elements under an affine map, as grid sampling takes them.
pub(crate) fn affine_grid(b: &mut Builder, call: &Call) -> Lowered {
    let theta = call.input(0, "theta")?;
    let size = call.constant_ints(b, 1, "size")?;
    let corners = call.flag("align_corners", false)?;
    let sane = size.len() >= 3 && size.iter().all(|size| (1..1 << 24).contains(size));
    let n = size.len().saturating_sub(2);
    if !sane || sizes(b, theta)? != [size[0] as usize, n, n + 1] {
        return Err(bad_input("size", format!("{size:?}"), format!("sizes that fit {}", b.ty(theta))));
    }
    let dtype = b.dtype(theta);
    let spatial: Vec<usize> = size[2..].iter().map(|&size| size as usize).collect();
    let dims: Vec<Dim> = spatial.iter().map(|&size| size.into()).collect();
    let mut columns = Vec::new();
    // Coordinates from the innermost axis outwards, then a one.
    for (axis, &n) in spatial.iter().enumerate().rev() {
        let at = |i: usize| match corners {
            true if n == 1 => 0.0,
            true => 2.0 * i as f64 / (n as f64 - 1.0) - 1.0,
            false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
        };
        let line = Tensor::from_scalars(dtype, [n], (0..n).map(|i| Scalar::F(at(i))));
        let line = b.constant(line)?;
        let mut place = vec![1; spatial.len()];
        place[axis] = n;
        let line = b.reshape(line, place)?;
        columns.push(b.broadcast_to(line, &dims)?);
    }
    let one = scalar(b, theta, 1.0)?;
    columns.push(b.broadcast_to(one, &dims)?);
    let area = spatial.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let area = area.ok_or_else(|| bad_input("size", format!("{size:?}"), "sizes that can be addressed"))?;
    let mut rows = Vec::new();
    for column in columns {
        rows.push(b.reshape(column, [1, area])?);
    }
    let homogeneous = b.concat(&rows, 0)?;
    let batched = crate::onnx::ops::linear::product(b, theta, homogeneous, dtype)?;
    let grid = b.transpose(batched, &[0, 2, 1])?;
    let mut shape = vec![size[0] as usize];
    shape.extend(&spatial);
    shape.push(n);
    Ok(vec![b.reshape(grid, shape)?])
}

/// The sum of overlapping blocks: for each place in a block, its elements are spread over the image and added.
pub(crate) fn col2im(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let image = call.constant_ints(b, 1, "image_shape")?;
    let block = call.constant_ints(b, 2, "block_shape")?;
    let n = image.len();
    let whole = |values: &[i64], name: &'static str| -> Result<Vec<usize>, NodeError> {
        let sane = values.len() == n && values.iter().all(|value| (1..1 << 31).contains(value));
        if !sane {
            return Err(bad_input(name, format!("{values:?}"), format!("{n} sizes of at least 1")));
        }
        Ok(values.iter().map(|&value| value as usize).collect())
    };
    let (image, block) = (whole(&image, "image_shape")?, whole(&block, "block_shape")?);
    let (strides, dilations) = (per_axis(call, "strides", n)?, per_axis(call, "dilations", n)?);
    let (low, high) = explicit_pads(call, n)?;
    let area =
        block.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).filter(|&area| area <= 1 << 16);
    let area = area.ok_or_else(|| bad_input("block_shape", format!("{block:?}"), "at most 65536 elements"))?;
    let mut counts = Vec::new();
    for axis in 0..n {
        let span = image[axis] as i64 + low[axis] + high[axis] - (dilations[axis] * (block[axis] - 1)) as i64 - 1;
        let count = usize::try_from(span).ok().map(|span| span / strides[axis] + 1);
        counts.push(count.ok_or_else(|| bad_input("block_shape", format!("{block:?}"), "blocks that fit the image"))?);
    }
    let &[samples, channels, places] = &sizes(b, x)?[..] else { return Err(bad_input("input", b.ty(x), "rank 3")) };
    if channels % area != 0 || counts.iter().product::<usize>() != places {
        let expected = format!("[n, channels * {area}, {}]", counts.iter().product::<usize>());
        return Err(bad_input("input", b.ty(x), expected));
    }
    let channels = channels / area;
    let mut split = vec![samples, channels, area];
    split.extend(&counts);
    let x = b.reshape(x, split)?;
    let zero = scalar(b, x, 0.0)?;
    let mut sum: Option<NodeId> = None;
    for place in 0..area {
        let slice = b.slice_axis(x, 2, place, place + 1)?;
        let mut shape = vec![samples, channels];
        shape.extend(&counts);
        let slice = b.reshape(slice, shape)?;
        let (mut before, mut after, mut interior) = (vec![0; 2], vec![0; 2], vec![0; 2]);
        let mut inner = area;
        for axis in 0..n {
            inner /= block[axis];
            let tap = place / inner % block[axis];
            let first = (tap * dilations[axis]) as i64 - low[axis];
            let covered = ((counts[axis] - 1) * strides[axis]) as i64 + 1;
            before.push(first);
            after.push(image[axis] as i64 - first - covered);
            interior.push(strides[axis] as i64 - 1);
        }
        let spread = b.add(Pad { low: before, high: after, interior }, &[slice, zero])?;
        sum = product(b, sum, Some(spread), Builder::plus)?;
    }
    Ok(vec![sum.expect("a block has an element")])
}
