//! Which kernel computes which op. What has none here is computed by the op's own reference evaluation.

use super::attention::Attention;
use super::conv::FloatConv;
use super::data::{Class, Data, Lane, to_tensor, with_lane};
use super::kernel::{Arg, Kernel, Out};
use super::layout::Layout;
use super::matmul::{FloatMatmul, IntMatmul};
use super::movement::{Concat, Gather, GatherElements, Pad};
use super::ordered::{Argsort, Scan, Scatter};
use super::reduce::{Extreme, with_reducer};
use super::row::{GroupNorm, Rope, RowNorm, Softmax};
use gable_ir::{ConcreteType, Op, OpError};
use gable_tensor::Tensor;
use std::marker::PhantomData;

/// Runs `$body` with `$F` bound to the Rust type of a float class; `None` for the others.
macro_rules! with_float {
    ($class:expr, $F:ident => $body:expr) => {
        match $class {
            Class::F32 => {
                type $F = f32;
                Some($body)
            }
            Class::F64 => {
                type $F = f64;
                Some($body)
            }
            _ => None,
        }
    };
}

type Boxed = Box<dyn Kernel>;

/// The kernel of an op that is neither a leaf, nor a map, nor a change of layout alone.
/// `layouts` are where the operands will lie.
pub(super) fn kernel(op: &Op, args: &[&ConcreteType], layouts: &[&Layout], out: &ConcreteType) -> Option<Boxed> {
    let first = args[0];
    let class = Class::of(first.dtype);
    // Contractions may change the type; their kernels stay within a class.
    let same_class = class == Class::of(out.dtype);
    match op {
        Op::Concat(op) => Some(with_lane!(class, T => Box::new(Concat::<T>::new(op, args)))),
        Op::Pad(op) => with_lane!(class, T => Pad::<T>::new(op, out).map(|kernel| Box::new(kernel) as Boxed)),
        Op::Gather(op) => Some(with_lane!(class, T => Box::new(Gather::<T>::new(op, first, args[1])))),
        Op::GatherElements(op) => {
            Some(with_lane!(class, T => Box::new(GatherElements::<T> { axis: op.axis, lane: PhantomData })))
        }
        Op::Reduce(op) => {
            with_reducer!(op.kind, class, R => Box::new(Reduce::<R>::new(layouts[0], first.dtype, &op.axes)) as Boxed)
        }
        Op::ReduceWindow(op) => with_reducer!(op.kind, class, R => {
            WindowReduce::<R>::new(op, first, out).map(|kernel| Box::new(kernel) as Boxed)
        })
        .flatten(),
        Op::ArgReduce(op) => Some(with_lane!(class, T => Box::new(Extreme::<T>::new(op, layouts[0])))),
        Op::Softmax(op) => with_float!(class, F => Box::new(Softmax::<F>::new(first, op.axis, false))),
        Op::LogSoftmax(op) => with_float!(class, F => Box::new(Softmax::<F>::new(first, op.axis, true))),
        Op::LayerNorm(op) => row_norm(first, op.eps, true),
        Op::RmsNorm(op) => row_norm(first, op.eps, false),
        Op::GroupNorm(op) => with_float!(class, F => Box::new(GroupNorm::<F>::new(op, first))),
        Op::Rope(op) => with_float!(class, F => Box::new(Rope::<F> {
            dtype: first.dtype,
            interleaved: op.interleaved,
            shape: first.shape.clone(),
            lane: PhantomData,
        })),
        Op::Matmul(_) if same_class => match class {
            Class::F32 => Some(Box::new(FloatMatmul::<f32>::new(layouts[0], layouts[1], out.dtype))),
            Class::F64 => Some(Box::new(FloatMatmul::<f64>::new(layouts[0], layouts[1], out.dtype))),
            Class::I64 => Some(Box::new(IntMatmul::<i64>::new(layouts[0], layouts[1], out.dtype))),
            Class::U64 => Some(Box::new(IntMatmul::<u64>::new(layouts[0], layouts[1], out.dtype))),
            Class::Bool => None,
        },
        Op::Conv(op) if same_class => {
            with_float!(class, F => Box::new(FloatConv::<F>::new(op, first, args[1], out)))
        }
        Op::Attention(op) => with_float!(class, F => Box::new(Attention::<F> {
            op: op.clone(),
            dtype: first.dtype,
            lane: PhantomData,
        })),
        Op::Scan(op) => with_reducer!(op.kind, class, R => Box::new(Scan::<R>::new(op, first)) as Boxed),
        Op::Argsort(op) => Some(with_lane!(class, T => Box::new(Argsort::<T>::new(op, first)))),
        Op::ScatterNd(op) => Some(with_lane!(class, T => Box::new(Scatter::<T>::new(op, first, args[1])))),
        _ => None,
    }
}

fn row_norm(x: &ConcreteType, eps: f64, centered: bool) -> Option<Boxed> {
    let width = *x.shape.last().expect("a norm has a last axis");
    with_float!(Class::of(x.dtype), F => {
        Box::new(RowNorm::<F> { dtype: x.dtype, centered, eps, width, lane: PhantomData })
    })
}

/// Any op, by its reference evaluation: slow and right.
pub(super) struct Reference {
    pub op: Op,
    pub args: Vec<ConcreteType>,
    pub out: ConcreteType,
}

impl Kernel for Reference {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let tensors = args.iter().zip(&self.args).map(|(arg, ty)| arg_tensor(arg, ty));
        let tensors: Vec<Tensor> = tensors.collect();
        let result = self.op.def().eval(&tensors.iter().collect::<Vec<_>>(), &self.out)?;
        let result = Data::of_tensor(&result);
        with_lane!(result.class(), T => out.lanes::<T>().copy_from_slice(T::of(&result)));
        Ok(())
    }
}

/// An operand as a tensor.
pub(super) fn arg_tensor(arg: &Arg<'_>, ty: &ConcreteType) -> Tensor {
    with_lane!(arg.data.class(), T => to_tensor(ty.dtype, &ty.shape, &arg.dense::<T>()))
}
