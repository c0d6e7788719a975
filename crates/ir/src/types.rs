//! The type of a value: element type and (possibly symbolic) shape.

use gable_tensor::{Bindings, DType, Dim, Tensor};
use std::fmt;

/// Element type and shape of a value in a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<Dim>,
}

impl Type {
    /// A type from sizes of any kind that converts to [`Dim`].
    pub fn new<D: Into<Dim>>(dtype: DType, shape: impl IntoIterator<Item = D>) -> Type {
        Type { dtype, shape: shape.into_iter().map(Into::into).collect() }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The same shape with another element type.
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type { dtype, shape: self.shape.clone() }
    }

    /// The same element type with another shape.
    pub fn with_shape(&self, shape: Vec<Dim>) -> Type {
        Type { dtype: self.dtype, shape }
    }

    /// Number of elements.
    pub fn len(&self) -> Dim {
        Dim::product(&self.shape)
    }

    /// Whether some dimension is known to be zero.
    pub fn is_empty(&self) -> bool {
        self.shape.iter().any(|dim| dim.value() == Some(0))
    }

    /// With every size known and representable; `None` while a symbol is left or a size is negative.
    pub fn concrete(&self) -> Option<ConcreteType> {
        let shape = self.shape.iter().map(|dim| usize::try_from(dim.value()?).ok()).collect::<Option<_>>()?;
        Some(ConcreteType { dtype: self.dtype, shape })
    }

    /// With the named dimensions replaced.
    pub fn bind(&self, bindings: &Bindings) -> Type {
        Type { dtype: self.dtype, shape: self.shape.iter().map(|dim| dim.bind(bindings)).collect() }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        write!(f, "{}[{}]", self.dtype, sizes.join(", "))
    }
}

/// A type with every size known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConcreteType {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

impl ConcreteType {
    /// The type of a tensor.
    pub fn of(tensor: &Tensor) -> ConcreteType {
        ConcreteType { dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    }

    /// Number of elements. A verified graph's types cannot overflow.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether some dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on a device.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.bytes()
    }
}

impl From<ConcreteType> for Type {
    fn from(ty: ConcreteType) -> Type {
        Type::new(ty.dtype, ty.shape)
    }
}

impl fmt::Display for ConcreteType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Type::from(self.clone()).fmt(f)
    }
}
