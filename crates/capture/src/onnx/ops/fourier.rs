//! Discrete Fourier transforms, as products with matrices of cosines and sines: exact for every length, and what tensor
//! cores are good at for the lengths that models use.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, bad_attr, bad_input, int_vector, normal_axis, scalar, sizes};
use crate::onnx::ops::linear::product;
use crate::onnx::ops::shape::MAX_INDEX_TABLE;
use gable_ir::ops::{Gather, Pad};
use gable_ir::{Builder, NodeId};
use gable_tensor::{Scalar, Tensor};

/// What the real and the imaginary part of a point are multiplied by, as functions of the angle.
type Waves = [fn(f64) -> f64; 2];

/// Which transform, of how many points.
#[derive(Clone, Copy)]
struct Transform {
    /// Points of the signal.
    n: usize,
    inverse: bool,
    /// Whether the spectrum of a real signal is given by its first half.
    onesided: bool,
}

impl Transform {
    fn n_bins(self) -> usize {
        if self.onesided { self.n / 2 + 1 } else { self.n }
    }

    /// The matrix that takes points, real parts above imaginary ones, to one part of the bins: `f` and `g` of the angle
    /// `2 pi i k / n`, times a weight per point.
    fn matrix(
        self,
        b: &mut Builder,
        x: &Complex,
        [points, bins]: [usize; 2],
        [f, g]: Waves,
        weight: impl Fn(usize) -> f64,
    ) -> Result<NodeId, NodeError> {
        let rows = if x.im.is_some() { 2 * points } else { points };
        if rows.checked_mul(bins).is_none_or(|elements| elements > MAX_INDEX_TABLE) {
            return Err(NodeError::Unsupported(format!("a transform of {} points", self.n)));
        }
        // The product is reduced before the angle is formed: large angles would lose digits.
        let angle = |i: usize, k: usize| 2.0 * std::f64::consts::PI * (i * k % self.n) as f64 / self.n as f64;
        let values = (0..rows * bins).map(|at| {
            let (row, k) = (at / bins, at % bins);
            let i = row % points;
            Scalar::F(if row < points { f } else { g }(angle(i, k)) * weight(i))
        });
        Ok(b.constant(Tensor::from_scalars(b.dtype(x.re), [rows, bins], values))?)
    }

    /// The transform of rows: `[..., points]` to `[..., bins]`, or back.
    fn apply(self, b: &mut Builder, x: &Complex) -> Result<Complex, NodeError> {
        let back = self.inverse && self.onesided;
        let shape = if back { [self.n_bins(), self.n] } else { [self.n, self.n_bins()] };
        let scale = if self.inverse { 1.0 / self.n as f64 } else { 1.0 };
        // A bin of the half that is given stands for its mirror image too, but for the first and the middle one.
        let weight = |bin: usize| if back && bin != 0 && 2 * bin != self.n { 2.0 * scale } else { scale };
        // (a + ib)(cos -+ i sin): each part of the result is one sum over both parts of the points.
        let (re, im): (Waves, Waves) = match self.inverse {
            false => ([f64::cos, f64::sin], [|angle| -angle.sin(), f64::cos]),
            true => ([f64::cos, |angle| -angle.sin()], [f64::sin, f64::cos]),
        };
        let dtype = b.dtype(x.re);
        let rows = match x.im {
            Some(part) => b.concat(&[x.re, part], b.rank(x.re) - 1)?,
            None => x.re,
        };
        let re = self.matrix(b, x, shape, re, weight)?;
        let re = product(b, rows, re, dtype)?;
        if back {
            return Ok(Complex { re, im: None });
        }
        let im = self.matrix(b, x, shape, im, weight)?;
        Ok(Complex { re, im: Some(product(b, rows, im, dtype)?) })
    }
}

/// Real and imaginary part of rows along the last axis; a real signal has no imaginary part.
struct Complex {
    re: NodeId,
    im: Option<NodeId>,
}

/// Takes the last axis apart: one column is a real signal, two are a complex one.
fn split(b: &mut Builder, x: NodeId) -> Result<Complex, NodeError> {
    let shape = sizes(b, x)?;
    let last = shape.len() - 1;
    let mut part = |at: usize| -> Result<NodeId, NodeError> {
        let column = b.slice_axis(x, last, at, at + 1)?;
        Ok(b.reshape(column, shape[..last].to_vec())?)
    };
    match shape[last] {
        1 => Ok(Complex { re: part(0)?, im: None }),
        2 => Ok(Complex { re: part(0)?, im: Some(part(1)?) }),
        _ => Err(bad_input("input", b.ty(x), "a last axis of 1 (real) or 2 (complex)")),
    }
}

/// The inverse of [`split`].
fn join(b: &mut Builder, x: &Complex) -> Result<NodeId, NodeError> {
    let mut shape = sizes(b, x.re)?;
    shape.push(1);
    let mut columns = Vec::new();
    for part in [Some(x.re), x.im].into_iter().flatten() {
        columns.push(b.reshape(part, shape.clone())?);
    }
    Ok(b.concat(&columns, shape.len() - 1)?)
}

/// The axis is an attribute in version 17 and an input from 20 on.
pub(crate) fn dft(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "input")?;
    let rank = b.rank(x);
    let axis = match call.opset {
        ..20 => call.int("axis", 1)?,
        _ => call.constant_ints_opt(b, 2, "axis")?.and_then(|axis| axis.first().copied()).unwrap_or(-2),
    };
    let axis = normal_axis("axis", axis, rank)?;
    if axis + 1 >= rank {
        return Err(bad_attr("axis", axis, "an axis before the last, which holds real and imaginary part"));
    }
    let (inverse, onesided) = (call.flag("inverse", false)?, call.flag("onesided", false)?);
    let given = sizes(b, x)?[axis];
    let n = match call.constant_ints_opt(b, 1, "dft_length")?.and_then(|n| n.first().copied()) {
        Some(n) => {
            usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| bad_input("dft_length", n, "at least 1"))?
        }
        None if inverse && onesided => 2 * given.saturating_sub(1),
        None => given,
    };
    if n == 0 {
        return Err(bad_input("input", b.ty(x), "at least one point"));
    }
    let transform = Transform { n, inverse, onesided };
    // The axis goes last but for the parts, and is cut or filled with zeros to its length.
    let mut perm: Vec<usize> = (0..rank).filter(|&other| other != axis).collect();
    perm.insert(rank - 2, axis);
    let moved = b.transpose(x, &perm)?;
    let wanted = if inverse && onesided { transform.n_bins() } else { n };
    let mut high = vec![0; rank];
    high[rank - 2] = wanted as i64 - given as i64;
    let moved = if high[rank - 2] == 0 {
        moved
    } else {
        let zero = scalar(b, x, 0.0)?;
        b.add(Pad { low: vec![0; rank], high, interior: vec![0; rank] }, &[moved, zero])?
    };
    let rows = split(b, moved)?;
    let result = transform.apply(b, &rows)?;
    let result = join(b, &result)?;
    let mut back = vec![0; rank];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    Ok(vec![b.transpose(result, &back)?])
}

/// Transforms of windows that step along a signal `[n, points, 1 or 2]`.
pub(crate) fn stft(b: &mut Builder, call: &Call) -> Lowered {
    let x = call.input(0, "signal")?;
    let &[samples, points, parts] = &sizes(b, x)?[..] else {
        return Err(bad_input("signal", b.ty(x), "[n, points, 1 or 2]"));
    };
    let positive = |value: Option<i64>, name: &'static str| {
        let size = value.and_then(|value| usize::try_from(value).ok()).filter(|&size| size > 0);
        size.ok_or_else(|| bad_input(name, format!("{value:?}"), "at least 1"))
    };
    let step = positive(call.constant_ints(b, 1, "frame_step")?.first().copied(), "frame_step")?;
    let length = match (call.constant_ints_opt(b, 3, "frame_length")?, call.optional(2)) {
        (Some(length), _) => positive(length.first().copied(), "frame_length")?,
        (None, Some(window)) => positive(sizes(b, window)?.first().map(|&n| n as i64), "window")?,
        (None, None) => return Err(NodeError::MissingInput { index: 3, name: "frame_length" }),
    };
    let Some(span) = points.checked_sub(length) else {
        return Err(bad_input("signal", b.ty(x), format!("at least the {length} points of one frame")));
    };
    let frames = span / step + 1;
    if frames.checked_mul(length).is_none_or(|positions| positions > MAX_INDEX_TABLE) {
        return Err(NodeError::Unsupported(format!("a transform of {frames} frames of {length} points")));
    }
    let positions: Vec<i64> = (0..frames * length).map(|at| (at / length * step + at % length) as i64).collect();
    let positions = int_vector(b, &positions)?;
    let framed = b.add(Gather { axis: 1 }, &[x, positions])?;
    let mut framed = b.reshape(framed, [samples, frames, length, parts])?;
    if let Some(window) = call.optional(2) {
        let window = b.reshape(window, [length, 1])?;
        framed = b.mul(framed, window)?;
    }
    let rows = split(b, framed)?;
    let onesided = call.flag("onesided", true)? && rows.im.is_none();
    let result = Transform { n: length, inverse: false, onesided }.apply(b, &rows)?;
    Ok(vec![join(b, &result)?])
}
