//! Host tensors: dense, row-major, little-endian bytes that may be shared or memory-mapped.

use crate::dtype::DType;
use crate::scalar::Scalar;
use bytes::Bytes;
use half::{bf16, f16};

/// What is wrong with a tensor's parts.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TensorError {
    /// The data is not as long as shape and type say.
    #[error("{dtype} tensor of shape {shape:?} needs {expected} bytes, found {found}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Shape asked for.
        shape: Vec<usize>,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The shape's element count or byte count overflows.
    #[error("a {dtype} tensor of shape {shape:?} is too large to address")]
    TooLarge {
        /// Element type.
        dtype: DType,
        /// Shape asked for.
        shape: Vec<usize>,
    },
}

/// A dense row-major tensor on the host. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// A tensor over `data`, which holds the elements in row-major order, little endian.
    pub fn new(dtype: DType, shape: Vec<usize>, data: impl Into<Bytes>) -> Result<Tensor, TensorError> {
        let data = data.into();
        let expected = byte_count(dtype, &shape)?;
        if data.len() != expected {
            return Err(TensorError::Length { dtype, shape, expected, found: data.len() });
        }
        Ok(Tensor { dtype, shape, data })
    }

    /// A tensor of native values. Panics when `values` is not as long as `shape` says: both come from the caller's code.
    pub fn from_vec<T: Element>(shape: impl Into<Vec<usize>>, values: &[T]) -> Tensor {
        let mut data = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|value| value.push(&mut data));
        Tensor::new(T::DTYPE, shape.into(), data).expect("the values fill the shape")
    }

    /// A tensor whose elements are `values` rounded to `dtype`. Panics as [`Tensor::from_vec`] does.
    pub fn from_scalars(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl IntoIterator<Item = Scalar>,
    ) -> Tensor {
        let width = dtype.bytes();
        let mut data = Vec::new();
        for value in values {
            let mut raw = [0; 8];
            value.store(dtype, &mut raw);
            data.extend_from_slice(&raw[..width]);
        }
        Tensor::new(dtype, shape.into(), data).expect("the values fill the shape")
    }

    /// One element in a tensor of rank 0.
    pub fn scalar(dtype: DType, value: impl Into<Scalar>) -> Tensor {
        Tensor::from_scalars(dtype, [], [value.into()])
    }

    /// Every element the same. Fails when the shape is too large.
    pub fn splat(dtype: DType, shape: impl Into<Vec<usize>>, value: impl Into<Scalar>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        let mut raw = [0; 8];
        value.into().store(dtype, &mut raw);
        let data = raw[..dtype.bytes()].repeat(element_count(dtype, &shape)?);
        Tensor::new(dtype, shape, data)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.bytes()
    }

    /// Whether some dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements' bytes, row-major and little endian. No alignment is promised.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The element at row-major position `index`. Panics past the end.
    pub fn get(&self, index: usize) -> Scalar {
        let width = self.dtype.bytes();
        Scalar::load(self.dtype, &self.data[index * width..(index + 1) * width])
    }

    /// The elements in row-major order.
    pub fn scalars(&self) -> impl ExactSizeIterator<Item = Scalar> + '_ {
        self.data.chunks_exact(self.dtype.bytes()).map(|raw| Scalar::load(self.dtype, raw))
    }

    /// The elements as `T`, converted exactly as `as` would from `f64` or `i128`; cheap when `T` is the element type.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        if T::DTYPE == self.dtype {
            return self.data.chunks_exact(size_of::<T>()).map(T::read).collect();
        }
        self.scalars().map(T::from_scalar).collect()
    }

    /// The same elements under another shape of the same size.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        Tensor::new(self.dtype, shape.into(), self.data.clone())
    }

    /// The elements rounded to `dtype` (see [`Scalar::store`]).
    pub fn cast(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype {
            return self.clone();
        }
        Tensor::from_scalars(dtype, self.shape.clone(), self.scalars())
    }
}

/// Number of elements of a shape, or an error when it overflows.
pub fn element_count(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    let too_large = || TensorError::TooLarge { dtype, shape: shape.to_vec() };
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).ok_or_else(too_large)
}

/// Number of bytes of a shape, or an error when it exceeds what can be addressed.
pub fn byte_count(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    element_count(dtype, shape)?
        .checked_mul(dtype.bytes())
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| TensorError::TooLarge { dtype, shape: shape.to_vec() })
}

/// Row-major strides in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// A native type that stores one element.
pub trait Element: Copy + Send + Sync + 'static {
    /// The element type that it stores.
    const DTYPE: DType;
    /// Reads from exactly `size_of::<Self>()` little-endian bytes.
    fn read(raw: &[u8]) -> Self;
    /// Appends little-endian bytes.
    fn push(self, bytes: &mut Vec<u8>);
    /// Converts a value of any type.
    fn from_scalar(value: Scalar) -> Self;
}

macro_rules! elements {
    ($( $t:ty = $dtype:ident, |$value:ident| $from:expr ; )+) => { $(
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            fn read(raw: &[u8]) -> Self {
                let mut bytes = [0; size_of::<$t>()];
                bytes.copy_from_slice(raw);
                <$t>::from_le_bytes(bytes)
            }
            fn push(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn from_scalar($value: Scalar) -> Self { $from }
        }
    )+ };
}

elements! {
    i8 = I8, |v| v.as_i128() as i8;
    i16 = I16, |v| v.as_i128() as i16;
    i32 = I32, |v| v.as_i128() as i32;
    i64 = I64, |v| v.as_i128() as i64;
    u8 = U8, |v| v.as_i128() as u8;
    u16 = U16, |v| v.as_i128() as u16;
    u32 = U32, |v| v.as_i128() as u32;
    u64 = U64, |v| v.as_i128() as u64;
    f32 = F32, |v| v.as_f64() as f32;
    f64 = F64, |v| v.as_f64();
    f16 = F16, |v| f16::from_f64(v.as_f64());
    bf16 = BF16, |v| bf16::from_f64(v.as_f64());
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn read(raw: &[u8]) -> bool {
        raw[0] != 0
    }
    fn push(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
    fn from_scalar(value: Scalar) -> bool {
        value.as_bool()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip() {
        let tensor = Tensor::from_vec([2, 2], &[1.5f32, -2.0, 0.25, 8.0]);
        assert_eq!(tensor.to_vec::<f32>(), [1.5, -2.0, 0.25, 8.0]);
        assert_eq!(tensor.cast(DType::I8).to_vec::<i8>(), [1, -2, 0, 8]);
        assert_eq!(tensor.get(2), Scalar::F(0.25));
    }

    #[test]
    fn impossible_shapes_are_errors() {
        assert!(matches!(Tensor::splat(DType::F32, [usize::MAX, 2], 0.0), Err(TensorError::TooLarge { .. })));
        assert!(matches!(Tensor::new(DType::F32, vec![3], vec![0; 11]), Err(TensorError::Length { expected: 12, .. })));
    }
}
