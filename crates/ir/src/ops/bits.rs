//! Bitcast: elements of four bits as bytes of two, and back.
//!
//! Host tensors hold an element of four bits in the low half of a byte, so that packing moves bits.

use super::Bitcast;
use crate::cost::Cost;
use crate::op::{OpDef, OpError};
use crate::types::{ConcreteType, Type};
use gable_tensor::{DType, Dim, Tensor};

/// Elements of the type with fewer bits that make one of the other.
const PER_BYTE: i64 = 2;

impl OpDef for Bitcast {
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError> {
        let x = args[0];
        let refused = |what: String| Err(OpError(format!("`bitcast` of {x} to {}: {what}", self.to)));
        let mut shape = x.shape.clone();
        match (x.dtype, self.to) {
            (DType::E2M1, DType::U8) => match shape.pop() {
                Some(last) if last == Dim::known(PER_BYTE) => {}
                _ => return refused(format!("the last axis must have {PER_BYTE} elements, which become one")),
            },
            (DType::U8, DType::E2M1) => shape.push(Dim::known(PER_BYTE)),
            _ => return refused("it takes e2m1 to u8, and u8 to e2m1".into()),
        }
        Ok(Type { dtype: self.to, shape })
    }
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError> {
        let x = args[0].bytes();
        let data: Vec<u8> = match args[0].dtype() {
            DType::E2M1 => x.chunks_exact(2).map(|pair| pair[0] & 15 | pair[1] << 4).collect(),
            _ => x.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect(),
        };
        Tensor::new(out.dtype, out.shape.clone(), data).map_err(|e| OpError(e.to_string()))
    }
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost {
        Cost::moving(args, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(x: &Tensor, to: DType) -> Result<Tensor, OpError> {
        let op = Bitcast { to };
        let ty = op.infer(&[&Type::new(x.dtype(), x.shape().iter().copied())])?;
        op.eval(&[x], &ty.concrete().expect("sizes are known"))
    }

    #[test]
    fn every_byte_is_two_codes_and_the_same_byte_again() {
        let bytes = Tensor::new(DType::U8, vec![4, 64], (0..=255).collect::<Vec<u8>>()).expect("256 bytes");
        let codes = apply(&bytes, DType::E2M1).expect("bytes are pairs");
        assert_eq!(codes.shape(), [4, 64, 2]);
        assert_eq!((codes.get(2 * 0x5c).as_f64(), codes.get(2 * 0x5c + 1).as_f64()), (-2.0, 3.0));
        assert_eq!(apply(&codes, DType::U8), Ok(bytes));
    }

    #[test]
    fn the_last_axis_must_be_one_of_pairs() {
        for (dtype, shape, to) in [
            (DType::E2M1, vec![2usize, 4], DType::U8),
            (DType::E2M1, vec![], DType::U8),
            (DType::U8, vec![2], DType::I8),
            (DType::U8, vec![2], DType::U8),
            (DType::F32, vec![2], DType::U8),
        ] {
            let ty = Type::new(dtype, shape.iter().copied());
            let message = Bitcast { to }.infer(&[&ty]).expect_err("it is refused").to_string();
            assert!(message.contains(&ty.to_string()) && message.contains(to.name()), "{message}");
        }
    }
}
