//! Gable: an ahead-of-time tensor-graph compiler for NVIDIA GPUs.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = gable::Model::load("resnet50.onnx")?;
//! let compiled = gable::optimize(&model)?;
//! compiled.save("resnet50.gable")?;
//! let mut session = gable::Session::open(&compiled, gable::Device::Auto)?;
//! let picture = gable::Tensor::splat(gable::DType::F32, [1, 3, 224, 224], 0.5)?;
//! let outputs = session.run(&[("x", &picture)])?;
//! println!("{}", session.report()?);
//! # let _ = outputs; Ok(()) }
//! ```

mod assemble;
mod compile;
pub mod emulate;
pub mod error;
pub mod gemm_suite;
pub mod inputs;
pub mod options;
mod plan;
pub mod records;
pub mod report;
mod session;
pub mod tune;

pub use compile::{Compiled, optimize, passes_until};
pub use error::Error;
pub use gable_capture::Model;
pub use gable_ir as ir;
pub use gable_passes::Precision;
pub use gable_ptx::Target;
pub use gable_runtime::DeviceKind as Device;
pub use gable_runtime::{Emulation, Schedule, SessionOptions};
pub use gable_tensor::{Bindings, DType, Tensor};
pub use options::{Assemble, Options};
pub use report::Report;
pub use session::Session;
