//! Reshape, transpose, broadcast, slice, concat and pad.

use super::{Broadcast, Concat, Pad, Reshape, Slice, Transpose};
use crate::cost::Cost;
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::tensor::strides;
use gable_tensor::{Dim, Tensor};

/// Gathers elements by position: result element `i` (coordinates given) is the operand's bytes at `source(i)`.
pub(super) fn pick(x: &Tensor, out: &ConcreteType, mut source: impl FnMut(&[usize]) -> usize) -> Tensor {
    let width = x.dtype().bytes();
    let mut data = Vec::with_capacity(out.bytes());
    for_each_index(&out.shape, |index| {
        let at = source(index) * width;
        data.extend_from_slice(&x.bytes()[at..at + width]);
    });
    Tensor::new(out.dtype, out.shape.clone(), data).expect("one element was written for each position")
}

/// Calls `visit` with every coordinate of `shape` in row-major order.
pub(super) fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut index = vec![0; shape.len()];
    for _ in 0..shape.iter().product() {
        visit(&index);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

impl OpDef for Reshape {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let ty = args[0].with_shape(self.shape.clone());
        if ty.len() != args[0].len() {
            return Err(OpError(format!("`reshape` of {} to {ty} changes the number of elements", args[0])));
        }
        Ok(ty)
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        args[0].reshaped(out.shape.clone()).map_err(|e| OpError(e.to_string()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

impl OpDef for Transpose {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..args[0].rank()) {
            return Err(OpError(format!(
                "`transpose` perm {:?} is not a permutation of the axes of {}",
                self.perm, args[0]
            )));
        }
        Ok(args[0].with_shape(self.perm.iter().map(|&axis| args[0].shape[axis].clone()).collect()))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let from = strides(args[0].shape());
        let by_axis: Vec<usize> = self.perm.iter().map(|&axis| from[axis]).collect();
        Ok(pick(args[0], out, |index| index.iter().zip(&by_axis).map(|(i, s)| i * s).sum()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

impl OpDef for Broadcast {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (from, to) = (&args[0].shape, &self.shape);
        let fits = from.len() <= to.len()
            && from.iter().rev().zip(to.iter().rev()).all(|(a, b)| a == b || *a == Dim::known(1));
        let ty = args[0].with_shape(to.clone());
        if fits { Ok(ty) } else { Err(OpError(format!("{} does not broadcast to {ty}", args[0]))) }
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let shape = args[0].shape();
        let lead = out.shape.len() - shape.len();
        let by_axis: Vec<usize> =
            strides(shape).into_iter().zip(shape).map(|(stride, &size)| if size == 1 { 0 } else { stride }).collect();
        Ok(pick(args[0], out, |index| index[lead..].iter().zip(&by_axis).map(|(i, s)| i * s).sum()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

impl OpDef for Slice {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let rank = args[0].rank();
        for (name, found) in [("starts", self.starts.len()), ("ends", self.ends.len()), ("steps", self.steps.len())] {
            if found != rank {
                return Err(OpError(format!("`slice` has {found} {name}, expected {rank}")));
            }
        }
        let mut shape = Vec::with_capacity(rank);
        for axis in 0..rank {
            shape.push(self.size(axis, &args[0].shape[axis])?);
        }
        Ok(args[0].with_shape(shape))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let from = strides(args[0].shape());
        let starts: Option<Vec<i64>> = self.starts.iter().map(Dim::value).collect();
        let starts = starts.ok_or_else(|| OpError::new("`slice` has unbound starts"))?;
        Ok(pick(args[0], out, |index| {
            let at = |axis: usize| (starts[axis] + index[axis] as i64 * self.steps[axis]) as usize;
            (0..index.len()).map(|axis| at(axis) * from[axis]).sum()
        }))
    }
    fn cost(&self, _args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(&[out], out)
    }
}

impl Slice {
    /// Number of elements that axis `axis`, of size `from`, keeps.
    fn size(&self, axis: usize, from: &Dim) -> Result<Dim, OpError> {
        let (start, end, step) = (&self.starts[axis], &self.ends[axis], self.steps[axis]);
        if step == 0 {
            return Err(OpError::new(format!("`slice` has step 0 on axis {axis}")));
        }
        // Number of steps from start before end: ceil((end - start) / step).
        let span = if step > 0 { end.clone() - start.clone() } else { start.clone() - end.clone() };
        let step_size = Dim::known(step.checked_abs().unwrap_or(i64::MAX));
        let rounded_up = (span.clone() + step_size.clone() - Dim::known(1)).floor_div(&step_size);
        let count = if step.abs() == 1 { span } else { rounded_up.expect("the step is not zero") };
        // What is known must lie inside; what is symbolic is checked again once bound.
        if let (Some(start), Some(end), Some(n)) = (start.value(), end.value(), from.value()) {
            let inside = if step > 0 {
                0 <= start && start <= end && end <= n
            } else {
                -1 <= end && end <= start && start < n.max(1)
            };
            if !inside {
                return Err(OpError(format!(
                    "`slice` takes {start}..{end} by {step} of axis {axis}, which has {n} elements"
                )));
            }
        }
        Ok(count)
    }
}

impl OpDef for Concat {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let first = args[0];
        if self.axis >= first.rank() {
            return Err(OpError(format!("`concat` axis is {}, operand 0 is {first}", self.axis)));
        }
        let mut ty = first.clone();
        for (position, arg) in args.iter().enumerate().skip(1) {
            let mut expected = first.clone();
            if arg.rank() == first.rank() {
                expected.shape[self.axis] = arg.shape[self.axis].clone();
            }
            if **arg != expected {
                return Err(OpError(format!(
                    "`concat` operand {position} is {arg}, expected {first} but for axis {}",
                    self.axis
                )));
            }
            ty.shape[self.axis] = ty.shape[self.axis].clone() + arg.shape[self.axis].clone();
        }
        Ok(ty)
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let outer: usize = out.shape[..self.axis].iter().product();
        let inner: usize = out.shape[self.axis + 1..].iter().product();
        let mut data = Vec::with_capacity(out.bytes());
        for row in 0..outer {
            for arg in args {
                let bytes = arg.shape()[self.axis] * inner * out.dtype.bytes();
                data.extend_from_slice(&arg.bytes()[row * bytes..(row + 1) * bytes]);
            }
        }
        Tensor::new(out.dtype, out.shape.clone(), data).map_err(|e| OpError(e.to_string()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

impl OpDef for Pad {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (x, value) = (args[0], args[1]);
        if value.dtype != x.dtype || value.rank() != 0 {
            return Err(OpError(format!("`pad` value is {value}, expected {}", Type::new(x.dtype, [0i64; 0]))));
        }
        let rank = x.rank();
        if [self.low.len(), self.high.len(), self.interior.len()] != [rank; 3] || self.interior.iter().any(|&n| n < 0) {
            return Err(OpError(format!("`pad` needs {rank} low, high and interior sizes, interior not negative")));
        }
        let mut shape = Vec::with_capacity(rank);
        for (axis, dim) in x.shape.iter().enumerate() {
            let spread = if dim.value() == Some(0) {
                Dim::known(0)
            } else {
                (dim.clone() - Dim::known(1)) * Dim::known(self.interior[axis]) + dim.clone()
            };
            let size = spread + Dim::known(self.low[axis]) + Dim::known(self.high[axis]);
            if size.value().is_some_and(|n| n < 0) {
                return Err(OpError(format!("`pad` crops axis {axis} of {x} to a negative size")));
            }
            shape.push(size);
        }
        Ok(x.with_shape(shape))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0];
        let from = strides(x.shape());
        let width = out.dtype.bytes();
        let mut data = args[1].bytes().repeat(out.len());
        let mut flat = 0;
        for_each_index(&out.shape, |index| {
            let mut source = Some(0);
            for axis in 0..index.len() {
                let at = index[axis] as i64 - self.low[axis];
                let step = self.interior[axis] + 1;
                let inside = at >= 0 && at % step == 0 && at / step < x.shape()[axis] as i64;
                source = source.filter(|_| inside).map(|sum| sum + (at / step) as usize * from[axis]);
            }
            if let Some(source) = source {
                data[flat * width..(flat + 1) * width]
                    .copy_from_slice(&x.bytes()[source * width..(source + 1) * width]);
            }
            flat += 1;
        });
        Tensor::new(out.dtype, out.shape.clone(), data).map_err(|e| OpError(e.to_string()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}
