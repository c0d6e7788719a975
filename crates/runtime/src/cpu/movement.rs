//! Movement that needs a copy: concatenation, padding and gathers, generic over what the elements are.

use super::data::Lane;
use super::kernel::{Arg, Kernel, Out};
use super::layout::{Layout, Walk, copy_run};
use super::parallel;
use super::window::coordinates;
use gable_ir::ops;
use gable_ir::{ConcreteType, OpError};
use std::marker::PhantomData;

/// Operands one after the other along an axis.
pub(super) struct Concat<T> {
    /// Elements of one row of each operand, a row being what the axis and those after it span.
    rows: Vec<usize>,
    lane: PhantomData<T>,
}

impl<T> Concat<T> {
    pub fn new(op: &ops::Concat, args: &[&ConcreteType]) -> Concat<T> {
        Concat { rows: args.iter().map(|arg| arg.shape[op.axis..].iter().product()).collect(), lane: PhantomData }
    }
}

impl<T: Lane> Kernel for Concat<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let walks: Vec<Walk> = args.iter().map(|arg| Walk::new(arg.layout)).collect();
        let whole: usize = self.rows.iter().sum();
        parallel::for_each_row(out.lanes::<T>(), whole, whole, |number, mut row| {
            for ((arg, walk), &n) in args.iter().zip(&walks).zip(&self.rows) {
                let (part, rest) = row.split_at_mut(n);
                parallel::for_each_chunk(part, 1, 1, |start, part| {
                    walk.read(arg.lanes::<T>(), number * n + start, part);
                });
                row = rest;
            }
        });
        Ok(())
    }
}

/// A value before, after and between the elements.
pub(super) struct Pad<T> {
    op: ops::Pad,
    shape: Vec<usize>,
    lane: PhantomData<T>,
}

impl<T> Pad<T> {
    /// `None` for a scalar, which has no axis to pad.
    pub fn new(op: &ops::Pad, out: &ConcreteType) -> Option<Pad<T>> {
        (!out.shape.is_empty()).then(|| Pad { op: op.clone(), shape: out.shape.clone(), lane: PhantomData })
    }

    /// The operand's position along `axis` that a result's position shows.
    fn source(&self, axis: usize, at: usize, size: usize) -> Option<usize> {
        let (at, step) = (at as i64 - self.op.low[axis], self.op.interior[axis] + 1);
        (at >= 0 && at % step == 0 && at / step < size as i64).then(|| (at / step) as usize)
    }
}

impl<T: Lane> Kernel for Pad<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (layout, x) = (args[0].layout, args[0].lanes::<T>());
        let value = args[1].lanes::<T>()[args[1].layout.offset];
        let last = self.shape.len() - 1;
        let width = self.shape[last];
        let (low, step) = (self.op.low[last], self.op.interior[last] + 1);
        // The operand's elements of a row that are not cropped.
        let first = if low < 0 { ((-low + step - 1) / step) as usize } else { 0 };
        let room = width as i64 - low;
        let end = (if room <= 0 { 0 } else { ((room - 1) / step + 1) as usize }).min(layout.shape[last]);
        parallel::for_each_chunk(out.lanes::<T>(), width, width, |first_row, rows| {
            let mut at = vec![0; last];
            for (i, row) in rows.chunks_mut(width).enumerate() {
                row.fill(value);
                coordinates(first_row + i, self.shape[..last].iter().copied(), &mut at);
                let base = (0..last).try_fold(layout.offset as isize, |base, axis| {
                    let source = self.source(axis, at[axis], layout.shape[axis])?;
                    Some(base + source as isize * layout.strides[axis])
                });
                let (Some(base), true) = (base, first < end) else { continue };
                let start = (low + first as i64 * step) as usize;
                let from = base + first as isize * layout.strides[last];
                if step == 1 {
                    copy_run(x, from, layout.strides[last], &mut row[start..start + end - first]);
                } else {
                    let places = row[start..].iter_mut().step_by(step as usize).take(end - first);
                    places
                        .enumerate()
                        .for_each(|(i, out)| *out = x[(from + i as isize * layout.strides[last]) as usize]);
                }
            }
        });
        Ok(())
    }
}

fn refuse_empty(name: &str, axis: usize, layout: &Layout) -> Result<(), OpError> {
    if layout.shape[axis] == 0 {
        return Err(OpError::new(format!("`{name}` takes elements of axis {axis}, which has none")));
    }
    Ok(())
}

/// Slices along an axis, by index.
pub(super) struct Gather<T> {
    axis: usize,
    n_indices: usize,
    /// Elements after the axis.
    inner: usize,
    lane: PhantomData<T>,
}

impl<T> Gather<T> {
    pub fn new(op: &ops::Gather, x: &ConcreteType, indices: &ConcreteType) -> Gather<T> {
        let inner = x.shape[op.axis + 1..].iter().product();
        Gather { axis: op.axis, n_indices: indices.len(), inner, lane: PhantomData }
    }
}

impl<T: Lane> Kernel for Gather<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (layout, x, out) = (args[0].layout, args[0].lanes::<T>(), out.lanes::<T>());
        let indices = args[1].dense::<i64>();
        if out.is_empty() {
            return Ok(());
        }
        refuse_empty("gather", self.axis, layout)?;
        let last = layout.shape[self.axis] as i64 - 1;
        let walk = Walk::new(&layout.tail(self.axis + 1, 0));
        parallel::for_each_row(out, self.inner, self.inner, |row, out| {
            let index = indices[row % self.n_indices].clamp(0, last) as isize;
            let before = layout.offset_at(0..self.axis, row / self.n_indices);
            let start = before.strict_add_signed(index * layout.strides[self.axis]);
            walk.moved(start).read(x, 0, out);
        });
        Ok(())
    }
}

/// Elements whose coordinate along an axis comes from an index.
pub(super) struct GatherElements<T> {
    pub axis: usize,
    pub lane: PhantomData<T>,
}

impl<T: Lane> Kernel for GatherElements<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (layout, x, out) = (args[0].layout, args[0].lanes::<T>(), out.lanes::<T>());
        if out.is_empty() {
            return Ok(());
        }
        refuse_empty("gather_elements", self.axis, layout)?;
        let indices = args[1].dense::<i64>();
        let last = layout.shape[self.axis] as i64 - 1;
        // The result has the shape of the indices, and reads `x` by its own coordinates but for the axis.
        let mut steady = Layout { offset: layout.offset, ..args[1].layout.clone() };
        steady.strides = layout.strides.clone();
        steady.strides[self.axis] = 0;
        let rank = steady.shape.len();
        parallel::for_each_chunk(out, 1, 4 * rank, |start, chunk| {
            for (i, out) in chunk.iter_mut().enumerate() {
                let index = indices[start + i].clamp(0, last) as isize;
                let base = steady.offset_at(0..rank, start + i);
                *out = x[base.strict_add_signed(index * layout.strides[self.axis])];
            }
        });
        Ok(())
    }
}
