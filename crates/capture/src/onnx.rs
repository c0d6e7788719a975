//! ONNX files to graph and weights.
//!
//! - `proto`: the file's own form; `tensor` and `external` read its tensors, inside the file and beside it.
//! - [`model`]: a loaded file and its signature; `lower` turns it into a module with every dimension bound.
//! - `table`: one row per operator; `ops` has their lowerings, `call` what they see of a node, `control` those with
//!   sub-graphs.

mod call;
mod control;
mod external;
mod lower;
pub mod model;
mod ops;
// Generated: `tests/onnx_proto.rs` checks that it is current and rewrites it.
#[rustfmt::skip]
#[expect(clippy::enum_variant_names, reason = "the names are the format's own")]
mod proto;
mod table;
mod tensor;

pub use model::{OnnxModel, load_tensor};
pub use table::operators;
