//! Inputs, weights, constants and coordinates.

use super::{Const, Input, Iota, Op, Weight};
use crate::cost::Cost;
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::{Bindings, DType, Dim, Scalar, Tensor};

/// Inputs and weights cost nothing by themselves: their bytes count where they are used.
fn free() -> Cost {
    Cost::default()
}

macro_rules! bound_elsewhere {
    ($Op:ident, $what:literal) => {
        impl OpDef for $Op {
            fn infer(&self, _args: &[&Type]) -> Result<Type, OpError> {
                Ok(Type { dtype: self.dtype, shape: self.shape.clone() })
            }
            fn eval(&self, _args: &[&Tensor], _out: &ConcreteType) -> Result<Tensor, OpError> {
                Err(OpError::new(concat!($what, " has a value only within a module")))
            }
            fn cost(&self, _args: &[&ConcreteType], _out: &ConcreteType) -> Cost {
                free()
            }
        }
    };
}
bound_elsewhere!(Input, "an input");
bound_elsewhere!(Weight, "a weight");

impl OpDef for Const {
    fn infer(&self, _args: &[&Type]) -> Result<Type, OpError> {
        Ok(ConcreteType::of(&self.value).into())
    }
    fn eval(&self, _args: &[&Tensor], _out: &ConcreteType) -> Result<Tensor, OpError> {
        Ok(self.value.clone())
    }
    fn cost(&self, _args: &[&ConcreteType], _out: &ConcreteType) -> Cost {
        free()
    }
}

impl OpDef for Iota {
    fn infer(&self, _args: &[&Type]) -> Result<Type, OpError> {
        if self.axis >= self.shape.len() {
            return Err(OpError::new(format!("iota axis is {}, the shape has {}", self.axis, self.shape.len())));
        }
        if self.dtype == DType::Bool {
            return Err(OpError::new("iota counts in numbers, found type bool"));
        }
        Ok(Type { dtype: self.dtype, shape: self.shape.clone() })
    }
    fn eval(&self, _args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let inner: usize = out.shape[self.axis + 1..].iter().product();
        let values = (0..out.len()).map(|i| Scalar::I((i / inner % out.shape[self.axis]) as i128));
        Ok(Tensor::from_scalars(out.dtype, out.shape.clone(), values))
    }
    fn cost(&self, _args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(&[], out)
    }
}

/// The op with named dimensions in its attributes replaced.
pub fn bind_op(op: &Op, bindings: &Bindings) -> Op {
    let bound = |dims: &[Dim]| dims.iter().map(|dim| dim.bind(bindings)).collect::<Vec<_>>();
    let mut op = op.clone();
    match &mut op {
        Op::Input(Input { shape, .. })
        | Op::Weight(Weight { shape, .. })
        | Op::Iota(Iota { shape, .. })
        | Op::Reshape(super::Reshape { shape })
        | Op::Broadcast(super::Broadcast { shape }) => *shape = bound(shape),
        Op::Slice(slice) => {
            slice.starts = bound(&slice.starts);
            slice.ends = bound(&slice.ends);
        }
        _ => {}
    }
    op
}
