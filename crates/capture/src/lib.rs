//! Model files (ONNX, safetensors, `.gir`) to graph and weights. All file parsing is here.

mod error;
pub mod gir;
pub mod hf;
mod model;
pub mod onnx;
mod signature;

pub use error::{CaptureError, NodeError, NodePlace};
pub use model::Model;
pub use signature::{Port, Signature};
