//! How values lie in memory while they are computed with: one Rust type per class of element types.
//!
//! Every float up to 32 bits is held as the `f32` of the same value, every integer up to 64 bits but `u64` as the
//! `i64` of the same value. So a conversion that cannot round is no work at all, and rounding is the only thing that
//! distinguishes `f16` from `f32` (see [`super::rounding`]). Tensors are converted where they enter and leave.

use gable_tensor::{DType, Kind, Scalar, Tensor, small_float};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The Rust type that holds the elements of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    F32,
    F64,
    I64,
    U64,
    Bool,
}

impl Class {
    pub fn of(dtype: DType) -> Class {
        match dtype.kind() {
            Kind::Float if dtype == DType::F64 => Class::F64,
            Kind::Float => Class::F32,
            Kind::Unsigned if dtype == DType::U64 => Class::U64,
            Kind::Signed | Kind::Unsigned => Class::I64,
            Kind::Bool => Class::Bool,
        }
    }
}

/// The elements of one or more values.
#[derive(Clone, Debug)]
pub(super) enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

/// A Rust type that holds a class.
pub(super) trait Lane: Copy + Default + PartialOrd + Send + Sync + std::fmt::Debug + 'static {
    const CLASS: Class;
    /// The elements. Panics when `data` is of another class: a plan gives every value the class of its type.
    fn of(data: &Data) -> &[Self];
    /// As [`Lane::of`], to be written.
    fn of_mut(data: &mut Data) -> &mut [Self];
    fn wrap(values: Vec<Self>) -> Data;
    fn to_scalar(self) -> Scalar;
    /// The value of `scalar`, which is exact in this class but for floats, which round to nearest.
    fn from_scalar(scalar: Scalar) -> Self;
}

macro_rules! lanes {
    ($( $t:ty = $Class:ident, |$x:ident| $to:expr, |$s:ident| $from:expr ; )+) => { $(
        impl Lane for $t {
            const CLASS: Class = Class::$Class;
            fn of(data: &Data) -> &[Self] {
                match data {
                    Data::$Class(values) => values,
                    other => unreachable!("a value of class {:?} is read as {:?}", other.class(), Class::$Class),
                }
            }
            fn of_mut(data: &mut Data) -> &mut [Self] {
                match data {
                    Data::$Class(values) => values,
                    other => unreachable!("a value of class {:?} is written as {:?}", other.class(), Class::$Class),
                }
            }
            fn wrap(values: Vec<Self>) -> Data { Data::$Class(values) }
            fn to_scalar(self) -> Scalar { let $x = self; $to }
            fn from_scalar($s: Scalar) -> Self { $from }
        }
    )+ };
}
lanes! {
    f32 = F32, |x| Scalar::F(x.into()), |s| s.as_f64() as f32;
    f64 = F64, |x| Scalar::F(x), |s| s.as_f64();
    i64 = I64, |x| Scalar::I(x.into()), |s| s.as_i128() as i64;
    u64 = U64, |x| Scalar::I(x.into()), |s| s.as_i128() as u64;
    bool = Bool, |x| Scalar::B(x), |s| s.as_bool();
}

/// Runs `$body` with `$T` bound to the Rust type of a class.
macro_rules! with_lane {
    ($class:expr, $T:ident => $body:expr) => {
        match $class {
            $crate::cpu::data::Class::F32 => {
                type $T = f32;
                $body
            }
            $crate::cpu::data::Class::F64 => {
                type $T = f64;
                $body
            }
            $crate::cpu::data::Class::I64 => {
                type $T = i64;
                $body
            }
            $crate::cpu::data::Class::U64 => {
                type $T = u64;
                $body
            }
            $crate::cpu::data::Class::Bool => {
                type $T = bool;
                $body
            }
        }
    };
}
pub(super) use with_lane;

impl Data {
    pub fn class(&self) -> Class {
        match self {
            Data::F32(_) => Class::F32,
            Data::F64(_) => Class::F64,
            Data::I64(_) => Class::I64,
            Data::U64(_) => Class::U64,
            Data::Bool(_) => Class::Bool,
        }
    }

    pub fn empty(class: Class) -> Data {
        with_lane!(class, T => T::wrap(Vec::new()))
    }

    pub fn len(&self) -> usize {
        with_lane!(self.class(), T => T::of(self).len())
    }

    /// `len` zeros, or `None` when the system has no memory for them.
    pub fn zeroed(class: Class, len: usize) -> Option<Data> {
        fn zeros<T: Lane>(len: usize) -> Option<Data> {
            let mut values: Vec<T> = Vec::new();
            values.try_reserve_exact(len).ok()?;
            values.resize(len, T::default());
            Some(T::wrap(values))
        }
        with_lane!(class, T => zeros::<T>(len))
    }

    /// The elements of a tensor.
    pub fn of_tensor(tensor: &Tensor) -> Data {
        fn widened<N: gable_tensor::tensor::Element>(tensor: &Tensor, widen: impl Fn(N) -> i64) -> Data {
            Data::I64(tensor.to_vec::<N>().into_iter().map(widen).collect())
        }
        match tensor.dtype() {
            DType::F64 => Data::F64(tensor.to_vec()),
            DType::F32 => Data::F32(tensor.to_vec()),
            DType::F16 => {
                let narrow: Vec<f16> = tensor.to_vec();
                Data::F32(narrow.to_f32_vec())
            }
            DType::BF16 => {
                let narrow: Vec<bf16> = tensor.to_vec();
                Data::F32(narrow.to_f32_vec())
            }
            DType::Tf32 | DType::E4M3 | DType::E5M2 | DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0 => {
                Data::F32(tensor.scalars().map(f32::from_scalar).collect())
            }
            DType::I8 => widened::<i8>(tensor, i64::from),
            DType::I16 => widened::<i16>(tensor, i64::from),
            DType::I32 => widened::<i32>(tensor, i64::from),
            DType::U8 => widened::<u8>(tensor, i64::from),
            DType::U16 => widened::<u16>(tensor, i64::from),
            DType::U32 => widened::<u32>(tensor, i64::from),
            DType::I64 => Data::I64(tensor.to_vec()),
            DType::U64 => Data::U64(tensor.to_vec()),
            DType::Bool => Data::Bool(tensor.to_vec()),
        }
    }
}

/// A tensor of elements that `dtype` holds exactly.
pub(super) fn to_tensor<T: Lane>(dtype: DType, shape: &[usize], values: &[T]) -> Tensor {
    fn narrowed<N: gable_tensor::tensor::Element>(shape: &[usize], data: &Data, narrow: impl Fn(i64) -> N) -> Tensor {
        Tensor::from_vec(shape, &i64::of(data).iter().map(|&x| narrow(x)).collect::<Vec<N>>())
    }
    // One copy more than needed: results leave once per run, and are small beside the work.
    let data = T::wrap(values.to_vec());
    match (dtype, &data) {
        (DType::F32, Data::F32(values)) => Tensor::from_vec(shape, values),
        (DType::F64, Data::F64(values)) => Tensor::from_vec(shape, values),
        (DType::F16, Data::F32(values)) => Tensor::from_vec(shape, &Vec::<f16>::from_f32_slice(values)),
        (DType::BF16, Data::F32(values)) => Tensor::from_vec(shape, &Vec::<bf16>::from_f32_slice(values)),
        (DType::I8, data @ Data::I64(_)) => narrowed(shape, data, |x| x as i8),
        (DType::I16, data @ Data::I64(_)) => narrowed(shape, data, |x| x as i16),
        (DType::I32, data @ Data::I64(_)) => narrowed(shape, data, |x| x as i32),
        (DType::U8, data @ Data::I64(_)) => narrowed(shape, data, |x| x as u8),
        (DType::U16, data @ Data::I64(_)) => narrowed(shape, data, |x| x as u16),
        (DType::U32, data @ Data::I64(_)) => narrowed(shape, data, |x| x as u32),
        (DType::I64, Data::I64(values)) => Tensor::from_vec(shape, values),
        (DType::U64, Data::U64(values)) => Tensor::from_vec(shape, values),
        (DType::Bool, Data::Bool(values)) => Tensor::from_vec(shape, values),
        // Storing saturates; an infinity that was only moved stays.
        (DType::E5M2, Data::F32(values)) => {
            let code = |&x: &f32| match x {
                f32::INFINITY => 0x7C,
                f32::NEG_INFINITY => 0xFC,
                x => small_float::encode(dtype, x.into()),
            };
            let codes: Vec<u8> = values.iter().map(code).collect();
            Tensor::new(dtype, shape.to_vec(), codes).expect("one code for each element")
        }
        (dtype, data) => {
            let scalars = with_lane!(data.class(), L => L::of(data).iter().map(|x| x.to_scalar()).collect::<Vec<_>>());
            Tensor::from_scalars(dtype, shape, scalars)
        }
    }
}

/// Conversion of whole slices by the processor's own instructions where it has them.
trait FromF32Slice: Sized {
    fn from_f32_slice(values: &[f32]) -> Self;
}

macro_rules! from_f32_slice {
    ($($t:ty),+) => { $(
        impl FromF32Slice for Vec<$t> {
            fn from_f32_slice(values: &[f32]) -> Self {
                let mut narrow = vec![<$t>::ZERO; values.len()];
                narrow.convert_from_f32_slice(values);
                narrow
            }
        }
    )+ };
}
from_f32_slice!(f16, bf16);

#[cfg(test)]
mod tests {
    use super::*;
    use gable_tensor::random::{self, Random};

    #[test]
    fn every_type_goes_in_and_comes_out_unchanged() {
        for &dtype in DType::ALL {
            let tensor = random::tensor(&mut Random::new(7), dtype, &[3, 5], 200).expect("small");
            let data = Data::of_tensor(&tensor);
            assert_eq!(data.class(), Class::of(dtype));
            let back = with_lane!(data.class(), T => to_tensor(dtype, &[3, 5], T::of(&data)));
            assert_eq!(back, tensor, "{dtype}");
        }
    }
}
