//! Matrix products of consecutive rows by a matrix of their group. The meaning is that of a matrix product, group by group.

use super::GroupedMatmul;
use super::contract::{check_types, dot};
use super::index::check_indices;
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::{Scalar, Tensor};
use std::ops::Range;

/// The rows of each group, of so many in all.
pub fn group_rows(ends: &Tensor, rows: usize) -> Vec<Range<usize>> {
    let groups = ends.len();
    let mut start = 0;
    let each = (0..groups).map(|group| {
        let end = match group + 1 == groups {
            true => rows,
            // Clamped to what is left, which is no more than the rows.
            false => ends.get(group).as_i128().clamp(start as i128, rows as i128) as usize,
        };
        let own = start..end;
        start = end;
        own
    });
    each.collect()
}

impl OpDef for GroupedMatmul {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (x, w, ends) = (args[0], args[1], args[2]);
        check_types("grouped_matmul", [x, w], self.acc, self.out)?;
        check_indices("grouped_matmul", ends)?;
        if x.rank() != 2 || w.rank() != 3 || ends.rank() != 1 {
            return Err(OpError(format!(
                "`grouped_matmul` operands are {x}, {w} and {ends}, expected [rows, k], [groups, k, n] and [groups]"
            )));
        }
        if x.shape[1] != w.shape[1] {
            return Err(OpError(format!("`grouped_matmul` inner sizes {} and {} differ", x.shape[1], w.shape[1])));
        }
        if w.shape[0] != ends.shape[0] {
            return Err(OpError(format!("`grouped_matmul` has {} matrices and {} ends", w.shape[0], ends.shape[0])));
        }
        if w.shape[0].value() == Some(0) {
            return Err(OpError("`grouped_matmul` has no groups, expected at least one".into()));
        }
        Ok(Type { dtype: self.out, shape: vec![x.shape[0].clone(), w.shape[2].clone()] })
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (x, w) = (args[0], args[1]);
        let (k, n) = (x.shape()[1], out.shape[1]);
        let float = x.dtype().is_float();
        let groups = group_rows(args[2], out.shape[0]);
        let (x, w): (Vec<Scalar>, Vec<Scalar>) = (x.scalars().collect(), w.scalars().collect());
        let mut values = Vec::with_capacity(out.len());
        for (group, rows) in groups.into_iter().enumerate() {
            for (row, column) in rows.flat_map(|row| (0..n).map(move |column| (row, column))) {
                values.push(dot(float, (0..k).map(|p| (x[row * k + p], w[(group * k + p) * n + column]))));
            }
        }
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let k = args[0].shape.last().copied().unwrap_or(0);
        let unit = Unit::Contraction { input: args[0].dtype, acc: self.acc };
        Cost::moving(args, out).with(unit, 2.0 * out.len() as f64 * k as f64)
    }
}
