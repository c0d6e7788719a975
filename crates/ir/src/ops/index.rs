//! Gathers: elements chosen by index tensors.

use super::arrange::pick;
use super::{Gather, GatherElements};
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::tensor::strides;
use gable_tensor::{DType, Tensor};

pub(super) fn check_indices(name: &str, indices: &Type) -> Result<(), OpError> {
    match indices.dtype {
        DType::I32 | DType::I64 => Ok(()),
        _ => Err(OpError(format!("`{name}` indices are {indices}, expected i32 or i64"))),
    }
}

fn check_axis(name: &str, axis: usize, x: &Type) -> Result<(), OpError> {
    if axis < x.rank() { Ok(()) } else { Err(OpError(format!("`{name}` axis is {axis}, the operand is {x}"))) }
}

fn check_not_empty(name: &str, axis: usize, x: &Tensor, out: &ConcreteType) -> Result<(), OpError> {
    if x.shape()[axis] == 0 && !out.is_empty() {
        return Err(OpError(format!("`{name}` takes elements of axis {axis}, which has none")));
    }
    Ok(())
}

/// The coordinate that an index selects on an axis of `n` elements.
fn clamped(indices: &Tensor, at: usize, n: usize) -> usize {
    indices.get(at).as_i128().clamp(0, n as i128 - 1) as usize
}

impl OpDef for Gather {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        check_indices("gather", args[1])?;
        check_axis("gather", self.axis, args[0])?;
        let mut shape = args[0].shape.clone();
        shape.splice(self.axis..=self.axis, args[1].shape.iter().cloned());
        Ok(args[0].with_shape(shape))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (x, indices) = (args[0], args[1]);
        check_not_empty("gather", self.axis, x, out)?;
        let (from, by_index) = (strides(x.shape()), strides(indices.shape()));
        let n_index = indices.shape().len();
        Ok(pick(x, out, |index| {
            let at: usize = (0..n_index).map(|i| index[self.axis + i] * by_index[i]).sum();
            let before: usize = (0..self.axis).map(|axis| index[axis] * from[axis]).sum();
            let after: usize = (self.axis + 1..from.len()).map(|axis| index[axis + n_index - 1] * from[axis]).sum();
            before + clamped(indices, at, x.shape()[self.axis]) * from[self.axis] + after
        }))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        // At most the whole of `x`, at most one element of it per result element.
        let mut cost = Cost::moving(args, out).with(Unit::Integer, out.len() as f64);
        cost.read_bytes[0] = cost.read_bytes[0].min(out.bytes() as f64);
        cost
    }
}

impl OpDef for GatherElements {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        check_indices("gather_elements", args[1])?;
        check_axis("gather_elements", self.axis, args[0])?;
        let (x, indices) = (args[0], args[1]);
        let others_fit = x.rank() == indices.rank()
            && (0..x.rank()).all(|axis| {
                axis == self.axis
                    || match (indices.shape[axis].value(), x.shape[axis].value()) {
                        (Some(i), Some(n)) => i <= n,
                        _ => indices.shape[axis] == x.shape[axis],
                    }
            });
        if !others_fit {
            return Err(OpError(format!(
                "`gather_elements` indices are {indices}, which do not fit {x} along axis {}",
                self.axis
            )));
        }
        Ok(x.with_shape(indices.shape.clone()))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (x, indices) = (args[0], args[1]);
        check_not_empty("gather_elements", self.axis, x, out)?;
        let from = strides(x.shape());
        let mut flat = 0;
        Ok(pick(x, out, |index| {
            let chosen = clamped(indices, flat, x.shape()[self.axis]);
            flat += 1;
            let at = |axis: usize| if axis == self.axis { chosen } else { index[axis] };
            (0..index.len()).map(|axis| at(axis) * from[axis]).sum()
        }))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let mut cost = Cost::moving(args, out).with(Unit::Integer, out.len() as f64);
        cost.read_bytes[0] = cost.read_bytes[0].min(out.bytes() as f64);
        cost
    }
}
