//! Reductions over axes and over sliding windows, and positions of extremes.
//!
//! Floats are summed in f64 and rounded once, as the reference does, in an order of their own.

use super::data::{Class, Lane};
use super::kernel::{Arg, Kernel, Out};
use super::layout::{Layout, Walk};
use super::number::{Float, Int};
use super::parallel;
use super::rounding::Round;
use super::window::{Axis, coordinates, for_each_tap};
use gable_ir::ops::{ArgReduce, ReduceWindow};
use gable_ir::{ConcreteType, OpError};
use gable_tensor::DType;
use gable_tensor::tensor::strides;
use std::marker::PhantomData;

/// How one kind of reduction goes in one class.
pub(super) trait Reducer: Send + Sync + 'static {
    type Item: Round;
    type Sum: Copy + Send + Sync;
    fn start(dtype: DType) -> Self::Sum;
    fn push(sum: Self::Sum, x: Self::Item) -> Self::Sum;
    /// Both parts together.
    fn join(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    fn finish(sum: Self::Sum, count: usize) -> Self::Item;
}

macro_rules! reducers {
    ($( $Name:ident<$T:ident: $Bound:ident>($Sum:ty) start |$dtype:pat_param| $start:expr, push |$s:ident, $x:ident| $push:expr,
        join |$a:ident, $b:ident| $join:expr, finish |$f:ident, $n:pat_param| $finish:expr ; )+) => { $(
        pub(super) struct $Name<$T>(PhantomData<$T>);
        impl<$T: $Bound> Reducer for $Name<$T> {
            type Item = $T;
            type Sum = $Sum;
            fn start($dtype: DType) -> $Sum { $start }
            #[inline(always)]
            fn push($s: $Sum, $x: $T) -> $Sum { $push }
            #[inline(always)]
            fn join($a: $Sum, $b: $Sum) -> $Sum { $join }
            fn finish($f: $Sum, $n: usize) -> $T { $finish }
        }
    )+ };
}

reducers! {
    FloatSum<F: Float>(f64) start |_| 0.0, push |s, x| s + x.to_f64(), join |a, b| a + b, finish |s, _| F::from_f64(s);
    FloatMean<F: Float>(f64) start |_| 0.0, push |s, x| s + x.to_f64(), join |a, b| a + b,
        finish |s, n| F::from_f64(s / n as f64);
    FloatProd<F: Float>(f64) start |_| 1.0, push |s, x| s * x.to_f64(), join |a, b| a * b, finish |s, _| F::from_f64(s);
    FloatMax<F: Float>(F) start |_| F::NEG_INFINITY, push |s, x| s.larger(x), join |a, b| a.larger(b), finish |s, _| s;
    FloatMin<F: Float>(F) start |_| -F::NEG_INFINITY, push |s, x| s.smaller(x), join |a, b| a.smaller(b), finish |s, _| s;
    IntSum<I: Int>(I) start |_| I::ZERO, push |s, x| s.add(x), join |a, b| a.add(b), finish |s, _| s;
    IntProd<I: Int>(I) start |_| I::from_scalar(gable_tensor::Scalar::I(1)), push |s, x| s.mul(x),
        join |a, b| a.mul(b), finish |s, _| s;
    IntMax<I: Int>(I) start |dtype| least(dtype), push |s, x| s.max(x), join |a, b| a.max(b), finish |s, _| s;
    IntMin<I: Int>(I) start |dtype| greatest(dtype), push |s, x| s.min(x), join |a, b| a.min(b), finish |s, _| s;
}

/// Any.
pub(super) struct BoolMax;
impl Reducer for BoolMax {
    type Item = bool;
    type Sum = bool;
    fn start(_dtype: DType) -> bool {
        false
    }
    fn push(sum: bool, x: bool) -> bool {
        sum | x
    }
    fn join(a: bool, b: bool) -> bool {
        a | b
    }
    fn finish(sum: bool, _count: usize) -> bool {
        sum
    }
}

/// All.
pub(super) struct BoolMin;
impl Reducer for BoolMin {
    type Item = bool;
    type Sum = bool;
    fn start(_dtype: DType) -> bool {
        true
    }
    fn push(sum: bool, x: bool) -> bool {
        sum & x
    }
    fn join(a: bool, b: bool) -> bool {
        a & b
    }
    fn finish(sum: bool, _count: usize) -> bool {
        sum
    }
}

fn least<I: Int>(dtype: DType) -> I {
    I::from_scalar(gable_tensor::Scalar::I(dtype.int_range().expect("integers have a range").0))
}

fn greatest<I: Int>(dtype: DType) -> I {
    I::from_scalar(gable_tensor::Scalar::I(dtype.int_range().expect("integers have a range").1))
}

/// Runs `$body` with `$R` bound to the reducer of a kind in a class; `None` where there is none.
macro_rules! with_reducer {
    ($kind:expr, $class:expr, $R:ident => $body:expr) => {{
        use gable_ir::attr::ReduceKind;
        use $crate::cpu::data::Class;
        use $crate::cpu::reduce::*;
        macro_rules! run {
            ($t:ty) => {{
                type $R = $t;
                Some($body)
            }};
        }
        match ($class, $kind) {
            (Class::F32, ReduceKind::Sum) => run!(FloatSum<f32>),
            (Class::F32, ReduceKind::Mean) => run!(FloatMean<f32>),
            (Class::F32, ReduceKind::Prod) => run!(FloatProd<f32>),
            (Class::F32, ReduceKind::Max) => run!(FloatMax<f32>),
            (Class::F32, ReduceKind::Min) => run!(FloatMin<f32>),
            (Class::F64, ReduceKind::Sum) => run!(FloatSum<f64>),
            (Class::F64, ReduceKind::Mean) => run!(FloatMean<f64>),
            (Class::F64, ReduceKind::Prod) => run!(FloatProd<f64>),
            (Class::F64, ReduceKind::Max) => run!(FloatMax<f64>),
            (Class::F64, ReduceKind::Min) => run!(FloatMin<f64>),
            (Class::I64, ReduceKind::Sum) => run!(IntSum<i64>),
            (Class::I64, ReduceKind::Prod) => run!(IntProd<i64>),
            (Class::I64, ReduceKind::Max) => run!(IntMax<i64>),
            (Class::I64, ReduceKind::Min) => run!(IntMin<i64>),
            (Class::U64, ReduceKind::Sum) => run!(IntSum<u64>),
            (Class::U64, ReduceKind::Prod) => run!(IntProd<u64>),
            (Class::U64, ReduceKind::Max) => run!(IntMax<u64>),
            (Class::U64, ReduceKind::Min) => run!(IntMin<u64>),
            (Class::Bool, ReduceKind::Max) => run!(BoolMax),
            (Class::Bool, ReduceKind::Min) => run!(BoolMin),
            (Class::I64 | Class::U64 | Class::Bool, _) => None,
        }
    }};
}
pub(super) use with_reducer;

/// Elements read at once, and results combined at once.
const BLOCK: usize = 1024;

/// Combines a run of elements in eight interleaved parts, which lets the processor overlap them.
pub(super) fn fold<R: Reducer>(start: R::Sum, xs: &[R::Item]) -> R::Sum {
    let mut lanes = [start; 8];
    let chunks = xs.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..8 {
            lanes[i] = R::push(lanes[i], chunk[i]);
        }
    }
    rest.iter().zip(&mut lanes).for_each(|(&x, lane)| *lane = R::push(*lane, x));
    lanes.into_iter().reduce(R::join).expect("there are eight")
}

/// A reduction over axes.
pub(super) struct Reduce<R> {
    dtype: DType,
    /// The operand with the kept axes first.
    layout: Layout,
    n_kept: usize,
    /// Elements of one result.
    count: usize,
    reducer: PhantomData<R>,
}

impl<R: Reducer> Reduce<R> {
    pub fn new(x: &Layout, dtype: DType, axes: &[usize]) -> Reduce<R> {
        let kept: Vec<usize> = (0..x.shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let perm: Vec<usize> = kept.iter().chain(axes).copied().collect();
        let count = axes.iter().map(|&axis| x.shape[axis]).product();
        Reduce { dtype, layout: x.transposed(&perm), n_kept: kept.len(), count, reducer: PhantomData }
    }

    /// Each result from a run of its own elements.
    fn by_rows(&self, x: &[R::Item], out: &mut [R::Item]) {
        parallel::for_each_chunk(out, 1, self.count, |first, out| {
            let mut block = vec![R::Item::default(); BLOCK.min(self.count)];
            for (i, out) in out.iter_mut().enumerate() {
                let row = self.layout.tail(self.n_kept, self.layout.offset_at(0..self.n_kept, first + i));
                *out = R::finish(self.row(&row, x, &mut block), self.count);
            }
        });
    }

    fn row(&self, row: &Layout, x: &[R::Item], block: &mut [R::Item]) -> R::Sum {
        let start = R::start(self.dtype);
        if let Some(dense) = row.dense(x) {
            return fold::<R>(start, dense);
        }
        let walk = Walk::new(row);
        let mut sum = start;
        for at in (0..self.count).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(self.count - at)];
            walk.read(x, at, block);
            sum = R::join(sum, fold::<R>(start, block));
        }
        sum
    }

    /// Neighbouring results together, from neighbouring elements.
    fn by_columns(&self, x: &[R::Item], out: &mut [R::Item]) {
        let last = self.n_kept - 1;
        let width = self.layout.shape[last];
        let reduced = self.layout.shape.len() - self.n_kept;
        let strip = BLOCK.min(width);
        // Strips of a row of results; a row is what the last kept axis spans.
        parallel::for_each_row(out, width, width * self.count, |row, out| {
            let base = self.layout.offset_at(0..last, row);
            let elements = self.layout.tail(self.n_kept, base);
            parallel::for_each_row(out, strip, strip * self.count, |i, out| {
                let mut sums = vec![R::start(self.dtype); out.len()];
                for element in 0..self.count {
                    let at = elements.offset_at(0..reduced, element) + i * strip;
                    let xs = &x[at..at + sums.len()];
                    sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum = R::push(*sum, x));
                }
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = R::finish(sum, self.count));
            });
        });
    }
}

impl<R: Reducer> Kernel for Reduce<R> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0].lanes::<R::Item>(), out.lanes::<R::Item>());
        let last_kept = self.n_kept.checked_sub(1);
        let side_by_side = last_kept.is_some_and(|axis| self.layout.strides[axis] == 1 && self.layout.shape[axis] > 1);
        let rows_run = self.layout.strides[self.n_kept..].last() == Some(&1);
        if side_by_side && !rows_run && self.count > 0 {
            self.by_columns(x, out);
        } else {
            self.by_rows(x, out);
        }
        super::rounding::round_all(self.dtype, out);
        Ok(())
    }
}

/// A reduction over windows.
pub(super) struct WindowReduce<R> {
    dtype: DType,
    axes: Vec<Axis>,
    strides: Vec<usize>,
    reducer: PhantomData<R>,
}

impl<R: Reducer> WindowReduce<R> {
    /// `None` for a scalar, which has no axis to slide along.
    pub fn new(op: &ReduceWindow, x: &ConcreteType, out: &ConcreteType) -> Option<WindowReduce<R>> {
        let axis = |i: usize| Axis {
            input: x.shape[i],
            output: out.shape[i],
            taps: op.window[i],
            stride: op.strides[i],
            dilation: op.dilations[i],
            low: op.low[i],
        };
        let axes: Vec<Axis> = (0..x.shape.len()).map(axis).collect();
        (!axes.is_empty()).then(|| WindowReduce {
            dtype: x.dtype,
            axes,
            strides: strides(&x.shape),
            reducer: PhantomData,
        })
    }
}

impl<R: Reducer> Kernel for WindowReduce<R> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0].dense::<R::Item>(), out.lanes::<R::Item>());
        let (last, leading) = self.axes.split_last().expect("there is an axis");
        let taps: usize = self.axes.iter().map(|axis| axis.taps).product();
        // How many taps of the last axis lie inside, by output.
        let mut inside = vec![0; last.output];
        (0..last.taps).for_each(|tap| inside[last.inside(tap)].iter_mut().for_each(|n| *n += 1));
        parallel::for_each_chunk(out, last.output, last.output * taps, |first, rows| {
            let mut sums = vec![R::start(self.dtype); last.output];
            let mut at = vec![0; leading.len()];
            for (i, out) in rows.chunks_mut(last.output).enumerate() {
                coordinates(first + i, leading.iter().map(|axis| axis.output), &mut at);
                sums.fill(R::start(self.dtype));
                let mut lines = 0;
                for_each_tap(leading, &self.strides, &at, &mut |_, base| {
                    lines += 1;
                    for tap in 0..last.taps {
                        let range = last.inside(tap);
                        if range.is_empty() {
                            continue;
                        }
                        let source = base + last.source(range.start, tap).expect("the tap lies inside");
                        let sums = &mut sums[range];
                        let n = sums.len();
                        if last.stride == 1 {
                            let xs = &x[source..source + n];
                            sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum = R::push(*sum, x));
                        } else {
                            let xs = x[source..].iter().step_by(last.stride);
                            sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum = R::push(*sum, x));
                        }
                    }
                });
                for (out, (&sum, &n)) in out.iter_mut().zip(sums.iter().zip(&inside)) {
                    *out = R::finish(sum, n * lines);
                }
                R::Item::round_to(self.dtype, out);
            }
        });
        Ok(())
    }
}

/// Positions of extremes along an axis.
pub(super) struct Extreme<T> {
    largest: bool,
    last: bool,
    /// The operand with the axis last.
    layout: Layout,
    lane: PhantomData<T>,
}

impl<T> Extreme<T> {
    pub fn new(op: &ArgReduce, x: &Layout) -> Extreme<T> {
        let perm: Vec<usize> = (0..x.shape.len()).filter(|&axis| axis != op.axis).chain([op.axis]).collect();
        Extreme { largest: op.largest, last: op.last, layout: x.transposed(&perm), lane: PhantomData }
    }
}

impl<T: Lane> Extreme<T> {
    /// Whether a later element replaces the best so far. NaN is the only value that does not equal itself.
    fn replaces(&self, later: T, best: T) -> bool {
        let nan = |x: T| x.partial_cmp(&x).is_none();
        if T::CLASS == Class::F32 || T::CLASS == Class::F64 {
            match (nan(later), nan(best)) {
                (true, true) => return self.last,
                (true, false) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        let beyond = if self.largest { later > best } else { later < best };
        beyond || (self.last && later == best)
    }
}

impl<T: Lane> Kernel for Extreme<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, out) = (args[0].lanes::<T>(), out.lanes::<i64>());
        let kept = self.layout.shape.len() - 1;
        let (n, stride) = (self.layout.shape[kept], self.layout.strides[kept]);
        parallel::for_each_row(out, 1, n, |row, out| {
            let base = self.layout.offset_at(0..kept, row);
            let at = |i: usize| x[base.strict_add_signed(i as isize * stride)];
            let (mut best, mut value) = (0, at(0));
            for i in 1..n {
                if self.replaces(at(i), value) {
                    (best, value) = (i, at(i));
                }
            }
            out[0] = best as i64;
        });
        Ok(())
    }
}
