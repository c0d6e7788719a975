//! Matrix product and convolution. Products are exact in f64 and summed in f64; the result rounds once to `out`.
//! Hardware sums in `acc`, so comparisons carry a bound that grows with the inner dimension.

use super::arrange::for_each_index;
use super::reduce::window_count;
use super::{Conv, Matmul};
use crate::attr::Layout;
use crate::cost::{Cost, Unit};
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::tensor::strides;
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// Checks the accumulator and result types of a contraction.
pub(super) fn check_types(name: &str, operands: [&Type; 2], acc: DType, out: DType) -> Result<(), OpError> {
    let [a, b] = operands;
    if a.dtype != b.dtype || a.dtype == DType::Bool {
        return Err(OpError(format!("`{name}` operands are {a} and {b}, expected one number type")));
    }
    let float = a.dtype.is_float();
    if acc.is_float() != float || out.is_float() != float || acc == DType::Bool || out == DType::Bool {
        return Err(OpError(format!("`{name}` of {} cannot accumulate in {acc} and give {out}", a.dtype)));
    }
    Ok(())
}

/// A sum of products, in f64 or in wrapping integers.
pub(super) fn dot(float: bool, pairs: impl Iterator<Item = (Scalar, Scalar)>) -> Scalar {
    if float {
        Scalar::F(pairs.map(|(a, b)| a.as_f64() * b.as_f64()).sum())
    } else {
        Scalar::I(pairs.fold(0i128, |sum, (a, b)| sum.wrapping_add(a.as_i128().wrapping_mul(b.as_i128()))))
    }
}

impl OpDef for Matmul {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (a, b) = (args[0], args[1]);
        check_types("matmul", [a, b], self.acc, self.out)?;
        let rank = a.rank();
        if rank < 2 || b.rank() != rank || a.shape[..rank - 2] != b.shape[..rank - 2] {
            return Err(OpError(format!(
                "`matmul` operands are {a} and {b}, expected [..., m, k] and [..., k, n] with equal batch"
            )));
        }
        if a.shape[rank - 1] != b.shape[rank - 2] {
            return Err(OpError(format!(
                "`matmul` inner sizes {} and {} differ",
                a.shape[rank - 1],
                b.shape[rank - 2]
            )));
        }
        let mut shape = a.shape.clone();
        shape[rank - 1] = b.shape[rank - 1].clone();
        Ok(Type { dtype: self.out, shape })
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (a, b) = (args[0], args[1]);
        let rank = out.shape.len();
        let (m, n, k) = (out.shape[rank - 2], out.shape[rank - 1], a.shape()[rank - 1]);
        let float = a.dtype().is_float();
        let (a, b): (Vec<Scalar>, Vec<Scalar>) = (a.scalars().collect(), b.scalars().collect());
        let at = |i: usize| {
            let (batch, row, column) = (i / (m * n), i / n % m, i % n);
            dot(float, (0..k).map(|p| (a[(batch * m + row) * k + p], b[(batch * k + p) * n + column])))
        };
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), (0..out.len()).map(at)))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        let k = args[0].shape.last().copied().unwrap_or(0);
        let unit = Unit::Contraction { input: args[0].dtype, acc: self.acc };
        Cost::moving(args, out).with(unit, 2.0 * out.len() as f64 * k as f64)
    }
}

/// Where the axes of an image and of a filter are.
struct Axes {
    image_channel: usize,
    filter_in: usize,
    /// Spatial axes start here, in image and filter alike.
    spatial: usize,
}

impl Conv {
    fn axes(&self, rank: usize) -> Axes {
        match self.layout {
            Layout::ChannelsFirst => Axes { image_channel: 1, filter_in: 1, spatial: 2 },
            Layout::ChannelsLast => Axes { image_channel: rank - 1, filter_in: rank - 1, spatial: 1 },
        }
    }
}

impl OpDef for Conv {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let (x, filter) = (args[0], args[1]);
        check_types("conv", [x, filter], self.acc, self.out)?;
        let rank = x.rank();
        if rank < 3 || filter.rank() != rank {
            return Err(OpError(format!("`conv` operands are {x} and {filter}, expected equal ranks of at least 3")));
        }
        let spatial = rank - 2;
        let lengths = [self.strides.len(), self.dilations.len(), self.low.len(), self.high.len()];
        if lengths != [spatial; 4] {
            return Err(OpError(format!("`conv` needs {spatial} strides, dilations, low and high, found {lengths:?}")));
        }
        let axes = self.axes(rank);
        let groups = Dim::from(self.groups);
        let in_fits = filter.shape[axes.filter_in].clone() * groups.clone() == x.shape[axes.image_channel];
        let out_fits = filter.shape[0].value().is_none_or(|n| self.groups > 0 && n % self.groups as i64 == 0);
        if !in_fits || !out_fits {
            return Err(OpError(format!(
                "`conv` of {x} with filters {filter} does not divide into {} groups",
                self.groups
            )));
        }
        let mut shape = x.shape.clone();
        shape[axes.image_channel] = filter.shape[0].clone();
        for i in 0..spatial {
            let axis = axes.spatial + i;
            let window = filter.shape[axis].value().and_then(|n| usize::try_from(n).ok());
            let window = window.ok_or_else(|| OpError(format!("`conv` filters {filter} need known spatial sizes")))?;
            shape[axis] =
                window_count(&x.shape[axis], window, self.strides[i], self.dilations[i], self.low[i], self.high[i])?;
        }
        Ok(Type { dtype: self.out, shape })
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let (x, filter) = (args[0], args[1]);
        let rank = out.shape.len();
        let axes = self.axes(rank);
        let spatial = axes.spatial..axes.spatial + rank - 2;
        let (from, by_filter) = (strides(x.shape()), strides(filter.shape()));
        let (per_group_in, per_group_out) = (filter.shape()[axes.filter_in], filter.shape()[0] / self.groups);
        let window: Vec<usize> = filter.shape()[spatial.clone()].to_vec();
        let (xs, ws): (Vec<Scalar>, Vec<Scalar>) = (x.scalars().collect(), filter.scalars().collect());
        let mut values = Vec::with_capacity(out.len());
        for_each_index(&out.shape, |index| {
            let channel = index[axes.image_channel];
            let first_in = channel / per_group_out * per_group_in;
            let mut pairs = Vec::new();
            for_each_index(&window, |tap| {
                let (mut image, mut weight) = (Some(index[0] * from[0]), channel * by_filter[0]);
                for (i, axis) in spatial.clone().enumerate() {
                    let at = (index[axis] * self.strides[i] + tap[i] * self.dilations[i]) as i64 - self.low[i];
                    let inside = at >= 0 && (at as usize) < x.shape()[axis];
                    image = image.filter(|_| inside).map(|sum| sum + at as usize * from[axis]);
                    weight += tap[i] * by_filter[axis];
                }
                let Some(image) = image else { return };
                for c in 0..per_group_in {
                    pairs.push((
                        xs[image + (first_in + c) * from[axes.image_channel]],
                        ws[weight + c * by_filter[axes.filter_in]],
                    ));
                }
            });
            values.push(dot(x.dtype().is_float(), pairs.into_iter()));
        });
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        // Every product of the dense window counts, also those that meet the padding: the usual convention.
        let per_output: f64 = args[1].shape[1..].iter().map(|&n| n as f64).product();
        let unit = Unit::Contraction { input: args[0].dtype, acc: self.acc };
        Cost::moving(args, out).with(unit, 2.0 * out.len() as f64 * per_output)
    }
}
