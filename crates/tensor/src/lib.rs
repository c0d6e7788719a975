//! Element types, symbolic dimensions, host tensors, `.npy` files and comparison classes.
//!
//! The lowest room of the workspace: it knows nothing of operators, model files or GPUs.

pub mod compare;
pub mod dim;
pub mod dtype;
pub mod mapped_file;
pub mod npy;
pub mod random;
pub mod scalar;
pub mod small_float;
pub mod tensor;

pub use compare::{Comparison, Tolerance};
pub use dim::{Bindings, Dim};
pub use dtype::{DType, Kind};
pub use scalar::Scalar;
pub use tensor::{Tensor, TensorError};
