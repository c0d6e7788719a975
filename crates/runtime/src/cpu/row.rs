//! Softmax, norms and rotary embedding, a whole row at a time, each rounding where its decomposition rounds.

use super::kernel::{Arg, Kernel, Out};
use super::layout::Walk;
use super::number::Float;
use super::parallel;
use super::reduce::{FloatMax, FloatSum, Reducer, fold};
use gable_ir::{ConcreteType, OpError};
use gable_tensor::DType;
use std::marker::PhantomData;

/// Work per element of a row, in elementary steps.
const ROW_WORK: usize = 8;

/// Softmax or its logarithm along any axis.
pub(super) struct Softmax<F> {
    dtype: DType,
    log: bool,
    /// Elements along the axis, and between two neighbours along it.
    size: usize,
    inner: usize,
    lane: PhantomData<F>,
}

impl<F> Softmax<F> {
    pub fn new(x: &ConcreteType, axis: usize, log: bool) -> Softmax<F> {
        let inner = x.shape[axis + 1..].iter().product();
        Softmax { dtype: x.dtype, log, size: x.shape[axis], inner, lane: PhantomData }
    }
}

impl<F: Float> Kernel for Softmax<F> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0], out.lanes::<F>());
        let (walk, data) = (Walk::new(x.layout), x.lanes::<F>());
        let slab = self.size * self.inner;
        parallel::for_each_row(out, slab, slab * ROW_WORK, |number, slab_out| {
            walk.read(data, number * slab, slab_out);
            if self.inner == 1 {
                self.row(slab_out);
                return;
            }
            let mut row = vec![F::ZERO; self.size];
            for column in 0..self.inner {
                row.iter_mut().enumerate().for_each(|(i, x)| *x = slab_out[i * self.inner + column]);
                self.row(&mut row);
                row.iter().enumerate().for_each(|(i, &x)| slab_out[i * self.inner + column] = x);
            }
        });
        Ok(())
    }
}

impl<F: Float> Softmax<F> {
    fn row(&self, row: &mut [F]) {
        if self.log {
            log_softmax(row)
        } else {
            softmax(row)
        }
        F::round_to(self.dtype, row);
    }
}

fn sum<F: Float>(row: &[F]) -> F {
    F::from_f64(fold::<FloatSum<F>>(0.0, row))
}

fn mean<F: Float>(row: &[F]) -> F {
    F::from_f64(fold::<FloatSum<F>>(0.0, row) / row.len() as f64)
}

fn largest<F: Float>(row: &[F]) -> F {
    let start = FloatMax::<F>::start(DType::F32);
    fold::<FloatMax<F>>(start, row)
}

/// Replaces a row by its softmax.
pub(super) fn softmax<F: Float>(row: &mut [F]) {
    let largest = largest(row);
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum = sum(row);
    row.iter_mut().for_each(|x| *x = *x / sum);
}

fn log_softmax<F: Float>(row: &mut [F]) {
    let largest = largest(row);
    row.iter_mut().for_each(|x| *x = *x - largest);
    let powers: Vec<F> = row.iter().map(|x| x.exp()).collect();
    let log = F::from_f64(sum(&powers).to_f64().ln());
    row.iter_mut().for_each(|x| *x = *x - log);
}

/// Divides a row by the root of `eps` plus its mean square; `squares` is as long as the row.
fn scale_to_unit<F: Float>(row: &mut [F], squares: &mut [F], eps: F) {
    squares.iter_mut().zip(&*row).for_each(|(square, &x)| *square = x * x);
    let inverse = F::from_f64(1.0 / (mean(squares) + eps).to_f64().sqrt());
    row.iter_mut().for_each(|x| *x = *x * inverse);
}

fn center<F: Float>(row: &mut [F]) {
    let mean = mean(row);
    row.iter_mut().for_each(|x| *x = *x - mean);
}

/// Layer norm, or with `centered` false RMS norm, over the last axis.
pub(super) struct RowNorm<F> {
    pub dtype: DType,
    pub centered: bool,
    pub eps: f64,
    pub width: usize,
    pub lane: PhantomData<F>,
}

impl<F: Float> Kernel for RowNorm<F> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (walk, data) = (Walk::new(args[0].layout), args[0].lanes::<F>());
        let (scale, bias) = (args[1].dense::<F>(), args.get(2).map(Arg::dense::<F>));
        parallel::for_each_chunk(out.lanes::<F>(), self.width, self.width * ROW_WORK, |first, rows| {
            let mut squares = vec![F::ZERO; self.width];
            for (i, row) in rows.chunks_mut(self.width).enumerate() {
                walk.read(data, (first + i) * self.width, row);
                if self.centered {
                    center(row);
                }
                scale_to_unit(row, &mut squares, F::from_f64(self.eps));
                row.iter_mut().zip(&*scale).for_each(|(x, &scale)| *x = *x * scale);
                if let Some(bias) = &bias {
                    row.iter_mut().zip(&**bias).for_each(|(x, &bias)| *x = *x + bias);
                }
                F::round_to(self.dtype, row);
            }
        });
        Ok(())
    }
}

/// Norm over groups of channels of `[n, channels, spatial...]`.
pub(super) struct GroupNorm<F> {
    dtype: DType,
    eps: f64,
    groups: usize,
    /// Channels of one group, and elements of one channel.
    channels: usize,
    plane: usize,
    lane: PhantomData<F>,
}

impl<F> GroupNorm<F> {
    pub fn new(op: &gable_ir::ops::GroupNorm, x: &ConcreteType) -> GroupNorm<F> {
        GroupNorm {
            dtype: x.dtype,
            eps: op.eps,
            groups: op.groups,
            channels: x.shape[1] / op.groups,
            plane: x.shape[2..].iter().product(),
            lane: PhantomData,
        }
    }
}

impl<F: Float> Kernel for GroupNorm<F> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (walk, data) = (Walk::new(args[0].layout), args[0].lanes::<F>());
        let (scale, bias) = (args[1].dense::<F>(), args[2].dense::<F>());
        let row = self.channels * self.plane;
        parallel::for_each_row(out.lanes::<F>(), row, row * ROW_WORK, |number, out| {
            walk.read(data, number * row, out);
            center(out);
            scale_to_unit(out, &mut vec![F::ZERO; row], F::from_f64(self.eps));
            let first = number % self.groups * self.channels;
            for (channel, plane) in out.chunks_mut(self.plane).enumerate() {
                let (scale, bias) = (scale[first + channel], bias[first + channel]);
                plane.iter_mut().for_each(|x| *x = *x * scale + bias);
            }
            F::round_to(self.dtype, out);
        });
        Ok(())
    }
}

/// Rotary embedding.
pub(super) struct Rope<F> {
    pub dtype: DType,
    pub interleaved: bool,
    pub shape: Vec<usize>,
    pub lane: PhantomData<F>,
}

impl<F: Float> Kernel for Rope<F> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let walks = [0, 1, 2].map(|i: usize| Walk::new(&args[i].layout.broadcast(&self.shape)));
        let width = *self.shape.last().expect("rope has a last axis");
        parallel::for_each_chunk(out.lanes::<F>(), width, width * ROW_WORK, |first, rows| {
            let mut lines = [0; 3].map(|_| vec![F::ZERO; width]);
            for (i, out) in rows.chunks_mut(width).enumerate() {
                for (position, line) in lines.iter_mut().enumerate() {
                    walks[position].read(args[position].lanes::<F>(), (first + i) * width, line);
                }
                let [x, cos, sin] = &lines;
                for (j, out) in out.iter_mut().enumerate() {
                    let half = width / 2;
                    let rotated = match (self.interleaved, j) {
                        (true, j) if j % 2 == 0 => -x[j + 1],
                        (true, j) => x[j - 1],
                        (false, j) if j < half => -x[j + half],
                        (false, j) => x[j - half],
                    };
                    *out = x[j] * cos[j] + rotated * sin[j];
                }
                F::round_to(self.dtype, out);
            }
        });
        Ok(())
    }
}
