//! Model files (ONNX, safetensors, `.gir`) to graph and weights. All file parsing is here.

mod error;
pub mod hf;
pub mod onnx;
mod signature;

pub use error::{CaptureError, NodeError, NodePlace};
pub use signature::{Port, Signature};
