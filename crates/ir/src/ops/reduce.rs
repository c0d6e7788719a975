//! Reductions over axes and over sliding windows, and positions of extremes.
//!
//! Floats accumulate in f64 and round once. The hardware accumulates in f32: tolerances account for that.

use super::arrange::for_each_index;
use super::{ArgReduce, Reduce, ReduceWindow};
use crate::attr::ReduceKind;
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::tensor::strides;
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// Checks that a kind of reduction means something for a type.
pub(super) fn check_kind(name: &str, kind: ReduceKind, dtype: DType) -> Result<(), OpError> {
    let fits = match kind {
        ReduceKind::Max | ReduceKind::Min => true,
        ReduceKind::Mean => dtype.is_float(),
        ReduceKind::Sum | ReduceKind::Prod => dtype != DType::Bool,
    };
    if fits { Ok(()) } else { Err(OpError(format!("`{name}` kind {} does not apply to {dtype}", kind.name()))) }
}

/// A running combination.
pub(super) struct Accumulator {
    kind: ReduceKind,
    value: Scalar,
    count: usize,
}

impl Accumulator {
    /// The neutral start: for max and min the least and greatest value of the type.
    pub(super) fn new(kind: ReduceKind, dtype: DType) -> Accumulator {
        let (low, high) = match dtype.int_range() {
            Some((low, high)) => (Scalar::I(low).to_kind(dtype), Scalar::I(high).to_kind(dtype)),
            None => (Scalar::F(f64::NEG_INFINITY), Scalar::F(f64::INFINITY)),
        };
        let value = match kind {
            ReduceKind::Sum | ReduceKind::Mean => Scalar::I(0).to_kind(dtype),
            ReduceKind::Prod => Scalar::I(1).to_kind(dtype),
            ReduceKind::Max => low,
            ReduceKind::Min => high,
        };
        Accumulator { kind, value, count: 0 }
    }

    pub(super) fn push(&mut self, x: Scalar) {
        self.count += 1;
        self.value = match (self.kind, self.value, x) {
            (ReduceKind::Sum | ReduceKind::Mean, Scalar::F(a), Scalar::F(b)) => Scalar::F(a + b),
            (ReduceKind::Sum, Scalar::I(a), Scalar::I(b)) => Scalar::I(a.wrapping_add(b)),
            (ReduceKind::Prod, Scalar::F(a), Scalar::F(b)) => Scalar::F(a * b),
            (ReduceKind::Prod, Scalar::I(a), Scalar::I(b)) => Scalar::I(a.wrapping_mul(b)),
            (ReduceKind::Max, Scalar::F(a), Scalar::F(b)) => Scalar::F(if a.is_nan() || a > b { a } else { b }),
            (ReduceKind::Min, Scalar::F(a), Scalar::F(b)) => Scalar::F(if a.is_nan() || a < b { a } else { b }),
            (ReduceKind::Max, Scalar::I(a), Scalar::I(b)) => Scalar::I(a.max(b)),
            (ReduceKind::Min, Scalar::I(a), Scalar::I(b)) => Scalar::I(a.min(b)),
            (ReduceKind::Max, Scalar::B(a), Scalar::B(b)) => Scalar::B(a | b),
            (ReduceKind::Min, Scalar::B(a), Scalar::B(b)) => Scalar::B(a & b),
            (kind, a, b) => unreachable!("infer refuses {} of {a:?} and {b:?}", kind.name()),
        };
    }

    pub(super) fn finish(&self) -> Scalar {
        match (self.kind, self.value) {
            (ReduceKind::Mean, Scalar::F(sum)) => Scalar::F(sum / self.count as f64),
            (_, value) => value,
        }
    }
}

fn work_unit(dtype: DType) -> Unit {
    match dtype {
        DType::F64 => Unit::Float(DType::F64),
        _ if dtype.is_float() => Unit::Float(DType::F32),
        _ => Unit::Integer,
    }
}

impl OpDef for Reduce {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        check_kind("reduce", self.kind, x.dtype)?;
        let increasing = self.axes.windows(2).all(|pair| pair[0] < pair[1]);
        if !increasing || self.axes.iter().any(|&axis| axis >= x.rank()) {
            return Err(OpError(format!("`reduce` axes {:?} are not increasing axes of {x}", self.axes)));
        }
        Ok(x.with_shape(reduced_shape(&x.shape, &self.axes, self.keep)))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0];
        // Strides of the result by the operand's axes; reduced axes do not move.
        let kept: Vec<usize> = reduced_shape(x.shape(), &self.axes, true);
        let to: Vec<usize> = strides(&kept).into_iter().zip(&kept).map(|(s, &n)| if n == 1 { 0 } else { s }).collect();
        let mut accumulators: Vec<Accumulator> =
            (0..out.len()).map(|_| Accumulator::new(self.kind, x.dtype())).collect();
        let mut values = x.scalars();
        for_each_index(x.shape(), |index| {
            let at: usize = index.iter().zip(&to).map(|(i, s)| i * s).sum();
            accumulators[at].push(values.next().expect("one value per position"));
        });
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), accumulators.iter().map(Accumulator::finish)))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out).with(work_unit(args[0].dtype), args[0].len() as f64)
    }
}

fn reduced_shape<D: Clone + From<usize>>(shape: &[D], axes: &[usize], keep: bool) -> Vec<D> {
    let axis = |(axis, dim): (usize, &D)| match (axes.contains(&axis), keep) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(D::from(1usize)),
        (true, false) => None,
    };
    shape.iter().enumerate().filter_map(axis).collect()
}

impl OpDef for ArgReduce {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        if self.axis >= x.rank() {
            return Err(OpError(format!("`arg_reduce` axis is {}, the operand is {x}", self.axis)));
        }
        if x.shape[self.axis].value() == Some(0) {
            return Err(OpError(format!("`arg_reduce` along axis {} of {x}, which is empty", self.axis)));
        }
        Ok(Type { dtype: DType::I64, shape: reduced_shape(&x.shape, &[self.axis], self.keep) })
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0];
        let inner: usize = x.shape()[self.axis + 1..].iter().product();
        let n = x.shape()[self.axis];
        let best = |row: usize| {
            let at = |i: usize| x.get((row / inner * n + i) * inner + row % inner);
            let mut best = 0;
            for i in 1..n {
                if self.better(at(i), at(best)) {
                    best = i;
                }
            }
            Scalar::I(best as i128)
        };
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), (0..out.len()).map(best)))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out).with(Unit::Integer, args[0].len() as f64)
    }
}

impl ArgReduce {
    /// Whether a later element replaces the best so far.
    fn better(&self, later: Scalar, best: Scalar) -> bool {
        let (l, b) = (later.as_f64(), best.as_f64());
        match (later, best) {
            (Scalar::F(_), Scalar::F(_)) if l.is_nan() || b.is_nan() => l.is_nan() && (!b.is_nan() || self.last),
            _ => {
                let order = match (later, best) {
                    (Scalar::F(_), Scalar::F(_)) => l.partial_cmp(&b).expect("neither is NaN"),
                    _ => later.as_i128().cmp(&best.as_i128()),
                };
                let order = if self.largest { order } else { order.reverse() };
                order.is_gt() || (order.is_eq() && self.last)
            }
        }
    }
}

impl OpDef for ReduceWindow {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        check_kind("reduce_window", self.kind, x.dtype)?;
        let rank = x.rank();
        let lengths = [self.window.len(), self.strides.len(), self.dilations.len(), self.low.len(), self.high.len()];
        if lengths != [rank; 5] {
            return Err(OpError(format!("`reduce_window` needs {rank} of each attribute for {x}, found {lengths:?}")));
        }
        let axis = |axis: usize| {
            window_count(
                &x.shape[axis],
                self.window[axis],
                self.strides[axis],
                self.dilations[axis],
                self.low[axis],
                self.high[axis],
            )
        };
        Ok(x.with_shape((0..rank).map(axis).collect::<Result<_, _>>()?))
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0];
        let from = strides(x.shape());
        let mut values = Vec::with_capacity(out.len());
        for_each_index(&out.shape, |index| {
            let mut accumulator = Accumulator::new(self.kind, x.dtype());
            for_each_index(&self.window, |tap| {
                let mut source = Some(0);
                for axis in 0..tap.len() {
                    let at =
                        (index[axis] * self.strides[axis] + tap[axis] * self.dilations[axis]) as i64 - self.low[axis];
                    source = source
                        .filter(|_| at >= 0 && (at as usize) < x.shape()[axis])
                        .map(|s| s + at as usize * from[axis]);
                }
                if let Some(source) = source {
                    accumulator.push(x.get(source));
                }
            });
            values.push(accumulator.finish());
        });
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let taps: f64 = self.window.iter().map(|&n| n as f64).product();
        Cost::moving(args, out).with(work_unit(args[0].dtype), taps * out.len() as f64)
    }
}

/// How many windows fit on an axis; shared with convolution.
pub(super) fn window_count(
    size: &Dim,
    window: usize,
    stride: usize,
    dilation: usize,
    low: i64,
    high: i64,
) -> Result<Dim, OpError> {
    if window == 0 || stride == 0 || dilation == 0 {
        return Err(OpError::new(format!(
            "window {window}, stride {stride} and dilation {dilation} must be at least 1"
        )));
    }
    let reach = dilation.checked_mul(window - 1).and_then(|n| n.checked_add(1));
    let reach = reach.ok_or_else(|| OpError::new("the window's reach is too large"))?;
    let span = size.clone() + Dim::known(low) + Dim::known(high) - Dim::from(reach);
    if span.value().is_some_and(|span| span < 0) {
        return Err(OpError(format!(
            "a window that reaches over {reach} elements does not fit {size} padded by {low} and {high}"
        )));
    }
    Ok(span.floor_div(&Dim::from(stride)).expect("the stride is not zero") + Dim::known(1))
}
