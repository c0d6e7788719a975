//! Scan, sort and scatter: results whose elements depend on each other.

use super::index::check_indices;
use super::reduce::{Accumulator, check_kind};
use super::{Argsort, Scan, ScatterNd};
use crate::attr::{ReduceKind, ScatterKind};
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::tensor::strides;
use gable_tensor::{DType, Scalar, Tensor};
use std::cmp::Ordering;

/// Rows along `axis`: for each, the flat positions of its elements in order.
fn rows(shape: &[usize], axis: usize) -> impl Iterator<Item = Vec<usize>> + use<> {
    let inner: usize = shape[axis + 1..].iter().product();
    let n = shape[axis];
    let outer: usize = shape[..axis].iter().product();
    (0..outer * inner).map(move |row| (0..n).map(|i| (row / inner * n + i) * inner + row % inner).collect())
}

impl OpDef for Scan {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        check_kind("scan", self.kind, args[0].dtype)?;
        if self.axis >= args[0].rank() || self.kind == ReduceKind::Mean {
            return Err(OpError(format!(
                "`scan` of kind {} along axis {} does not apply to {}",
                self.kind.name(),
                self.axis,
                args[0]
            )));
        }
        Ok(args[0].clone())
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0];
        let mut values = vec![Scalar::B(false); out.len()];
        for mut row in rows(&out.shape, self.axis) {
            if self.reverse {
                row.reverse();
            }
            let mut running = Accumulator::new(self.kind, x.dtype());
            for at in row {
                let before = running.finish();
                running.push(x.get(at));
                values[at] = if self.exclusive { before } else { running.finish() };
            }
        }
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let unit = if out.dtype.is_float() { Unit::Float(DType::F32) } else { Unit::Integer };
        Cost::streaming(unit, 1.0, args, out)
    }
}

/// Ascending order in which NaN is largest; `bool` sorts false first.
fn compare(a: Scalar, b: Scalar) -> Ordering {
    match (a, b) {
        (Scalar::F(a), Scalar::F(b)) => a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        _ => a.as_i128().cmp(&b.as_i128()),
    }
}

impl OpDef for Argsort {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        if self.axis >= args[0].rank() {
            return Err(OpError(format!("`argsort` axis is {}, the operand is {}", self.axis, args[0])));
        }
        Ok(args[0].with_dtype(DType::I64))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let mut values = vec![Scalar::I(0); out.len()];
        for row in rows(&out.shape, self.axis) {
            let mut sorted: Vec<usize> = (0..row.len()).collect();
            sorted.sort_by(|&a, &b| {
                let order = compare(args[0].get(row[a]), args[0].get(row[b]));
                if self.descending { order.reverse() } else { order }
            });
            row.into_iter().zip(sorted).for_each(|(at, position)| values[at] = Scalar::I(position as i128));
        }
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let n = out.shape[self.axis].max(2) as f64;
        Cost::streaming(Unit::Integer, n.log2().ceil(), args, out)
    }
}

impl OpDef for ScatterNd {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (x, indices, updates) = (args[0], args[1], args[2]);
        check_indices("scatter_nd", indices)?;
        let depth = indices.shape.last().and_then(|dim| dim.value()).and_then(|n| usize::try_from(n).ok());
        let Some(depth) = depth.filter(|&depth| depth <= x.rank()) else {
            return Err(OpError(format!(
                "`scatter_nd` indices are {indices}: the last axis must hold at most the {} coordinates of {x}",
                x.rank()
            )));
        };
        let mut expected = indices.shape[..indices.rank() - 1].to_vec();
        expected.extend(x.shape[depth..].iter().cloned());
        let expected = x.with_shape(expected);
        if *updates != expected {
            return Err(OpError(format!("`scatter_nd` updates are {updates}, expected {expected}")));
        }
        if x.dtype == DType::Bool && matches!(self.kind, ScatterKind::Add | ScatterKind::Mul) {
            return Err(OpError::new("`scatter_nd` cannot add or multiply bool"));
        }
        Ok(x.clone())
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (x, indices, updates) = (args[0], args[1], args[2]);
        let depth = *indices.shape().last().expect("infer demands an axis of coordinates");
        let by_axis = strides(&out.shape);
        let slice: usize = out.shape[depth..].iter().product();
        let mut values: Vec<Scalar> = x.scalars().collect();
        let n_updates = updates.len().checked_div(slice).unwrap_or(0);
        for update in 0..n_updates {
            let mut base = Some(0);
            for axis in 0..depth {
                let at = indices.get(update * depth + axis).as_i128();
                let inside = at >= 0 && at < out.shape[axis] as i128;
                base = base.filter(|_| inside).map(|sum| sum + at as usize * by_axis[axis]);
            }
            let Some(base) = base else { continue };
            for i in 0..slice {
                let (old, new) = (values[base + i], updates.get(update * slice + i));
                values[base + i] = self.combine(out.dtype, old, new).rounded(out.dtype);
            }
        }
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out).with(Unit::Integer, args[2].len() as f64)
    }
}

impl ScatterNd {
    fn combine(&self, dtype: DType, old: Scalar, new: Scalar) -> Scalar {
        let kind = match self.kind {
            ScatterKind::Replace => return new,
            ScatterKind::Add => ReduceKind::Sum,
            ScatterKind::Mul => ReduceKind::Prod,
            ScatterKind::Max => ReduceKind::Max,
            ScatterKind::Min => ReduceKind::Min,
        };
        let mut accumulator = Accumulator::new(kind, dtype);
        accumulator.push(old);
        accumulator.push(new);
        accumulator.finish()
    }
}
