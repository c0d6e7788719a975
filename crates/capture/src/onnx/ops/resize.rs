//! Resizing: along each axis, gathers of the source positions and a weighted sum. Positions and weights follow from
//! sizes and scales alone, so they are constants.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, int_vector, normal_axis, sizes};
use crate::onnx::ops::shape::MAX_INDEX_TABLE;
use gable_ir::ops::Gather;
use gable_ir::{Builder, NodeId};
use gable_tensor::{Dim, Scalar, Tensor};

/// How source elements make a result element.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// How a result position maps to a source position.
struct Coordinates {
    transform: String,
    nearest: String,
    cubic_a: f64,
    exclude_outside: bool,
    antialias: bool,
    extrapolation: f64,
}

/// One axis to be resized.
struct Axis {
    axis: usize,
    from: usize,
    to: usize,
    scale: f64,
    /// Share of the axis where the region of interest begins and ends.
    roi: (f64, f64),
}

/// The scales are an attribute in version 7 and an input in 9.
pub(crate) fn upsample(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = sizes(b, x)?;
    let scales = match call.floats("scales")? {
        Some(scales) => scales,
        None => call.constant(b, 1, "scales")?.scalars().map(Scalar::as_f64).collect(),
    };
    let axes: Vec<usize> = (0..shape.len()).collect();
    let axes = scaled_axes(&shape, &axes, &scales)?;
    let mode = mode_of(call)?;
    let coordinates = Coordinates::asymmetric();
    Ok(vec![resample(b, x, &axes, mode, &coordinates)?])
}

fn mode_of(call: &Call) -> Result<Mode, NodeError> {
    match call.text("mode", "nearest")?.as_str() {
        "nearest" => Ok(Mode::Nearest),
        "linear" | "bilinear" => Ok(Mode::Linear),
        "cubic" => Ok(Mode::Cubic),
        other => Err(bad_attr("mode", format!("`{other}`"), "nearest, linear or cubic")),
    }
}

/// Version 10 has scales only; 11 adds the region of interest and sizes; 18 axes, antialiasing and aspect ratios.
pub(crate) fn resize(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "X")?;
    let shape = sizes(b, x)?;
    let mode = mode_of(call)?;
    let numbers = |index: usize, name: &'static str| -> Result<Vec<f64>, NodeError> {
        if call.optional(index).is_none() {
            return Ok(Vec::new());
        }
        Ok(call.constant(b, index, name)?.scalars().map(Scalar::as_f64).collect())
    };
    if call.opset < 11 {
        let axes = scaled_axes(&shape, &(0..shape.len()).collect::<Vec<_>>(), &numbers(1, "scales")?)?;
        return Ok(vec![resample(b, x, &axes, mode, &Coordinates::asymmetric())?]);
    }
    let chosen = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| normal_axis("axes", axis, shape.len())).collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect::<Vec<_>>(),
    };
    let coordinates = Coordinates {
        transform: call.text("coordinate_transformation_mode", "half_pixel")?,
        nearest: call.text("nearest_mode", "round_prefer_floor")?,
        cubic_a: call.float("cubic_coeff_a", -0.75)?,
        exclude_outside: call.flag("exclude_outside", false)?,
        antialias: call.flag("antialias", false)?,
        extrapolation: call.float("extrapolation_value", 0.0)?,
    };
    let (scales, sizes) = (numbers(2, "scales")?, numbers(3, "sizes")?);
    let mut axes = if scales.is_empty() {
        sized_axes(&shape, &chosen, &sizes, &call.text("keep_aspect_ratio_policy", "stretch")?)?
    } else {
        scaled_axes(&shape, &chosen, &scales)?
    };
    if coordinates.transform == "tf_crop_and_resize" {
        let roi = numbers(1, "roi")?;
        if roi.len() != 2 * chosen.len() {
            return Err(bad_input("roi", format!("{roi:?}"), format!("{} numbers", 2 * chosen.len())));
        }
        for (i, axis) in axes.iter_mut().enumerate() {
            axis.roi = (roi[i], roi[i + chosen.len()]);
        }
    }
    Ok(vec![resample(b, x, &axes, mode, &coordinates)?])
}

fn scaled_axes(shape: &[usize], axes: &[usize], scales: &[f64]) -> Result<Vec<Axis>, NodeError> {
    let sane = scales.len() == axes.len() && scales.iter().all(|&scale| scale > 0.0 && scale.is_finite());
    if !sane {
        return Err(bad_input("scales", format!("{scales:?}"), format!("{} numbers above zero", axes.len())));
    }
    let axis = |(&axis, &scale): (&usize, &f64)| {
        let from = shape[axis];
        Axis { axis, from, to: (from as f64 * scale).floor() as usize, scale, roi: (0.0, 1.0) }
    };
    Ok(axes.iter().zip(scales).map(axis).collect())
}

fn sized_axes(shape: &[usize], axes: &[usize], wanted: &[f64], policy: &str) -> Result<Vec<Axis>, NodeError> {
    let sane = wanted.len() == axes.len() && wanted.iter().all(|&size| (0.0..1e15).contains(&size));
    if !sane {
        return Err(bad_input("sizes", format!("{wanted:?}"), format!("{} sizes", axes.len())));
    }
    let ratios = axes.iter().zip(wanted).map(|(&axis, &size)| size / shape[axis] as f64);
    let joint = match policy {
        "stretch" => None,
        "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.fold(0.0, f64::max)),
        other => {
            return Err(bad_attr(
                "keep_aspect_ratio_policy",
                format!("`{other}`"),
                "stretch, not_larger or not_smaller",
            ));
        }
    };
    let axis = |(&axis, &size): (&usize, &f64)| {
        let from = shape[axis];
        let to = match joint {
            // Halves round up.
            Some(scale) => (from as f64 * scale + 0.5).floor(),
            None => size,
        };
        let scale = joint.unwrap_or(to / from as f64);
        Axis { axis, from, to: to as usize, scale, roi: (0.0, 1.0) }
    };
    Ok(axes.iter().zip(wanted).map(axis).collect())
}

/// Source positions and weights of one result element.
type Taps = Vec<(i64, f64)>;

impl Coordinates {
    /// What versions before 11 do.
    fn asymmetric() -> Coordinates {
        Coordinates {
            transform: "asymmetric".into(),
            nearest: "floor".into(),
            cubic_a: -0.75,
            exclude_outside: false,
            antialias: false,
            extrapolation: 0.0,
        }
    }

    /// The source position of result position `i`.
    fn source(&self, axis: &Axis, i: usize) -> Result<f64, NodeError> {
        let (i, from, to, scale) = (i as f64, axis.from as f64, axis.to as f64, axis.scale);
        Ok(match self.transform.as_str() {
            "half_pixel" => (i + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                // The result's centre falls on the source's, also where the size was rounded.
                let adjustment = to / (scale * from);
                let offset = from / 2.0 * (1.0 - adjustment);
                offset + (i + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if to > 1.0 => (i + 0.5) / scale - 0.5,
            "pytorch_half_pixel" => 0.0,
            "align_corners" if to > 1.0 => i * (from - 1.0) / (to - 1.0),
            "align_corners" => 0.0,
            "asymmetric" => i / scale,
            "tf_half_pixel_for_nn" => (i + 0.5) / scale,
            "tf_crop_and_resize" => {
                let (start, end) = axis.roi;
                if to > 1.0 {
                    start * (from - 1.0) + i * (end - start) * (from - 1.0) / (to - 1.0)
                } else {
                    0.5 * (start + end) * (from - 1.0)
                }
            }
            other => {
                return Err(bad_attr(
                    "coordinate_transformation_mode",
                    format!("`{other}`"),
                    "half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, \
                     tf_half_pixel_for_nn or tf_crop_and_resize",
                ));
            }
        })
    }

    fn taps(&self, mode: Mode, axis: &Axis, at: f64) -> Result<Taps, NodeError> {
        // Antialiasing widens the filter to cover the source elements between two result elements.
        let stretch = if self.antialias && axis.scale < 1.0 { axis.scale } else { 1.0 };
        let weight: Box<dyn Fn(f64) -> f64> = match mode {
            Mode::Nearest => return Ok(vec![(self.nearest(at)?, 1.0)]),
            Mode::Linear => Box::new(|distance: f64| (1.0 - distance.abs()).max(0.0)),
            Mode::Cubic => Box::new(|distance: f64| self.cubic(distance.abs())),
        };
        let reach = if mode == Mode::Linear { 1.0 } else { 2.0 } / stretch;
        let (first, last) = ((at - reach).floor() as i64 + 1, (at + reach).ceil() as i64 - 1);
        let (first, last) = if stretch == 1.0 {
            // The plain filters have a fixed number of taps around the position.
            let (floor, half) = (at.floor() as i64, reach as i64);
            (floor - half + 1, floor + half)
        } else {
            (first, last)
        };
        let mut taps: Taps = (first..=last).map(|i| (i, weight((at - i as f64) * stretch))).collect();
        if self.exclude_outside {
            taps.retain(|(i, _)| (0..axis.from as i64).contains(i));
        }
        if self.exclude_outside || stretch != 1.0 {
            let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Ok(taps)
    }

    fn nearest(&self, at: f64) -> Result<i64, NodeError> {
        Ok(match self.nearest.as_str() {
            "round_prefer_floor" => (at - 0.5).ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            other => {
                let expected = "round_prefer_floor, round_prefer_ceil, floor or ceil";
                return Err(bad_attr("nearest_mode", format!("`{other}`"), expected));
            }
        } as i64)
    }

    /// Keys' cubic convolution kernel.
    fn cubic(&self, d: f64) -> f64 {
        let a = self.cubic_a;
        if d <= 1.0 {
            ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        } else if d < 2.0 {
            ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        } else {
            0.0
        }
    }
}

fn resample(b: &mut Builder, x: NodeId, axes: &[Axis], mode: Mode, coordinates: &Coordinates) -> Value {
    let dtype = b.dtype(x);
    if mode != Mode::Nearest && !dtype.is_float() {
        let wide = b.cast(x, gable_tensor::DType::F32)?;
        let result = resample(b, wide, axes, mode, coordinates)?;
        return Ok(b.cast(result, dtype)?);
    }
    let mut result = x;
    let mut inside: Option<NodeId> = None;
    for axis in axes {
        let identity = axis.from == axis.to && axis.scale == 1.0 && coordinates.transform != "tf_crop_and_resize";
        if identity {
            continue;
        }
        if axis.to > MAX_INDEX_TABLE || (axis.from == 0 && axis.to > 0) {
            let expected = format!("at most {MAX_INDEX_TABLE}, from at least one element");
            return Err(bad_input("sizes", format!("{} from {}", axis.to, axis.from), expected));
        }
        let sources: Vec<f64> = (0..axis.to).map(|i| coordinates.source(axis, i)).collect::<Result<_, _>>()?;
        result = resample_axis(b, result, axis, mode, coordinates, &sources)?;
        if coordinates.transform == "tf_crop_and_resize" {
            let last = axis.from as f64 - 1.0;
            let kept: Vec<bool> = sources.iter().map(|at| (0.0..=last).contains(at)).collect();
            let mut shape = vec![1; b.rank(x)];
            shape[axis.axis] = axis.to;
            let kept = b.constant(Tensor::from_vec(shape, &kept))?;
            inside = Some(match inside {
                Some(inside) => b.and(inside, kept)?,
                None => kept,
            });
        }
    }
    match inside {
        Some(inside) => {
            let outside = crate::onnx::call::scalar(b, result, coordinates.extrapolation)?;
            Ok(b.select(inside, result, outside)?)
        }
        None => Ok(result),
    }
}

fn resample_axis(
    b: &mut Builder,
    x: NodeId,
    axis: &Axis,
    mode: Mode,
    coordinates: &Coordinates,
    sources: &[f64],
) -> Value {
    let taps: Vec<Taps> = sources.iter().map(|&at| coordinates.taps(mode, axis, at)).collect::<Result<_, _>>()?;
    let n_taps = taps.iter().map(Vec::len).max().unwrap_or(0);
    let last = axis.from as i64 - 1;
    let mut sum: Option<NodeId> = None;
    for tap in 0..n_taps {
        let of = |taps: &Taps| taps.get(tap).copied().unwrap_or((0, 0.0));
        let positions: Vec<i64> = taps.iter().map(|taps| of(taps).0.clamp(0, last)).collect();
        let weights: Vec<f64> = taps.iter().map(|taps| of(taps).1).collect();
        let indices = int_vector(b, &positions)?;
        let mut term = b.add(Gather { axis: axis.axis }, &[x, indices])?;
        if weights.iter().any(|&weight| weight != 1.0) {
            let mut shape = vec![1; b.rank(x)];
            shape[axis.axis] = axis.to;
            let weights = Tensor::from_scalars(b.dtype(x), shape, weights.into_iter().map(Scalar::F));
            let weights = b.constant(weights)?;
            term = b.mul(term, weights)?;
        }
        sum = Some(match sum {
            Some(sum) => b.plus(sum, term)?,
            None => term,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        // No result elements along this axis.
        None => Ok(b.slice_axis(x, axis.axis, Dim::known(0), Dim::known(0))?),
    }
}
