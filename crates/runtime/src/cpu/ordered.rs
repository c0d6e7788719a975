//! Scatter, scan and sort: results whose elements depend on each other.

use super::data::{Class, Lane};
use super::kernel::{Arg, Kernel, Out, copy_into};
use super::parallel;
use super::reduce::Reducer;
use super::rounding::Round;
use gable_ir::attr::ScatterKind;
use gable_ir::{ConcreteType, Op, OpError, ops};
use gable_tensor::DType;
use gable_tensor::tensor::strides;
use std::marker::PhantomData;

/// `x` with updates written at coordinates.
pub(super) struct Scatter<T> {
    kind: ScatterKind,
    dtype: DType,
    shape: Vec<usize>,
    depth: usize,
    lane: PhantomData<T>,
}

impl<T> Scatter<T> {
    pub fn new(op: &ops::ScatterNd, x: &ConcreteType, indices: &ConcreteType) -> Scatter<T> {
        let depth = *indices.shape.last().expect("infer demands an axis of coordinates");
        Scatter { kind: op.kind, dtype: x.dtype, shape: x.shape.clone(), depth, lane: PhantomData }
    }
}

impl<T: Round> Kernel for Scatter<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let out = out.lanes::<T>();
        copy_into(args[0].layout, args[0].lanes::<T>(), out);
        let (indices, updates) = (args[1].dense::<i64>(), args[2].dense::<T>());
        let by_axis = strides(&self.shape);
        let slice: usize = self.shape[self.depth..].iter().product();
        if slice == 0 || updates.is_empty() {
            return Ok(());
        }
        let combine = match self.kind {
            ScatterKind::Replace => None,
            ScatterKind::Add => Some(Op::from(ops::Add {})),
            ScatterKind::Mul => Some(ops::Mul {}.into()),
            ScatterKind::Max => Some(ops::Max {}.into()),
            ScatterKind::Min => Some(ops::Min {}.into()),
        };
        // One after the other: updates to one place come in order.
        for (number, update) in updates.chunks_exact(slice).enumerate() {
            let coordinates = &indices[number * self.depth..(number + 1) * self.depth];
            let inside = coordinates.iter().zip(&self.shape).all(|(&at, &size)| at >= 0 && (at as u64) < size as u64);
            if !inside {
                continue;
            }
            let base: usize = coordinates.iter().zip(&by_axis).map(|(&at, stride)| at as usize * stride).sum();
            let place = &mut out[base..base + slice];
            let Some(op) = &combine else {
                place.copy_from_slice(update);
                continue;
            };
            for (old, &new) in place.iter_mut().zip(update) {
                let both = [old.to_scalar(), new.to_scalar()];
                let value = ops::scalar_map(op, self.dtype, &both).expect("sums and extremes are maps");
                *old = T::from_scalar(value.rounded(self.dtype));
            }
        }
        Ok(())
    }
}

/// Running combination along an axis.
pub(super) struct Scan<R> {
    op: ops::Scan,
    dtype: DType,
    size: usize,
    inner: usize,
    reducer: PhantomData<R>,
}

impl<R> Scan<R> {
    pub fn new(op: &ops::Scan, x: &ConcreteType) -> Scan<R> {
        let inner = x.shape[op.axis + 1..].iter().product();
        Scan { op: op.clone(), dtype: x.dtype, size: x.shape[op.axis], inner, reducer: PhantomData }
    }
}

impl<R: Reducer> Kernel for Scan<R> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0].dense::<R::Item>(), out.lanes::<R::Item>());
        let slab = self.size * self.inner;
        parallel::for_each_row(out, slab, 4 * slab, |number, out| {
            let x = &x[number * slab..(number + 1) * slab];
            let mut running = vec![R::start(self.dtype); self.inner];
            for step in 0..self.size {
                let line = if self.op.reverse { self.size - 1 - step } else { step } * self.inner;
                let (x, out) = (&x[line..line + self.inner], &mut out[line..line + self.inner]);
                for ((out, &x), running) in out.iter_mut().zip(x).zip(&mut running) {
                    let before = *running;
                    *running = R::push(before, x);
                    *out = R::finish(if self.op.exclusive { before } else { *running }, 1);
                }
            }
            R::Item::round_to(self.dtype, out);
        });
        Ok(())
    }
}

/// Positions in sorted order along an axis.
pub(super) struct Argsort<T> {
    descending: bool,
    size: usize,
    inner: usize,
    lane: PhantomData<T>,
}

impl<T> Argsort<T> {
    pub fn new(op: &ops::Argsort, x: &ConcreteType) -> Argsort<T> {
        let inner = x.shape[op.axis + 1..].iter().product();
        Argsort { descending: op.descending, size: x.shape[op.axis], inner, lane: PhantomData }
    }
}

impl<T: Lane> Kernel for Argsort<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0].dense::<T>(), out.lanes::<i64>());
        let slab = self.size * self.inner;
        let float = matches!(T::CLASS, Class::F32 | Class::F64);
        // NaN is the only value that has no order with itself; it counts as largest.
        let nan = |x: T| float && x.partial_cmp(&x).is_none();
        let order = |a: T, b: T| a.partial_cmp(&b).unwrap_or_else(|| nan(a).cmp(&nan(b)));
        parallel::for_each_row(out, slab, 16 * slab, |number, out| {
            let x = &x[number * slab..(number + 1) * slab];
            for column in 0..self.inner {
                let at = |i: usize| x[i * self.inner + column];
                let mut sorted: Vec<usize> = (0..self.size).collect();
                sorted.sort_by(|&a, &b| {
                    let order = order(at(a), at(b));
                    if self.descending { order.reverse() } else { order }
                });
                sorted.iter().enumerate().for_each(|(i, &position)| out[i * self.inner + column] = position as i64);
            }
        });
        Ok(())
    }
}
