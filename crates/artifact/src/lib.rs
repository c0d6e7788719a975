//! The compiled model as plain data: plan, kernels, packed weights, predictions.
//!
//! The compiler fills an [`Artifact`] and saves it; the runtime opens the file and runs it. This room knows no
//! operators, no PTX grammar and no CUDA: kernels are text with a name, the graph is text, arguments are numbers.
//!
//! [`plan`] and [`tensor_map`] hold the data, [`check`] what must hold between its parts, [`file`] its form on disk.

pub mod check;
pub mod error;
pub mod file;
pub mod plan;
pub mod tensor_map;

pub use error::{ArtifactError, Fault, FormatError};
pub use plan::{
    Access, Action, Arg, Artifact, BufferRef, Kernel, Launch, Prediction, Provenance, Resources, Signature, Space,
    Step, StepCost, TargetPlan, Weight,
};
pub use tensor_map::{MapElement, MapError, TensorMap};
