//! What can be wrong with a model file. Every message names the file and the place in it, what was found, what was
//! expected, and what to do.

use crate::hf::BuildError;
use gable_ir::OpError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The model cannot be captured. The user can act on every one of these.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file cannot be opened or mapped.
    #[error("`{}`: cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file contradicts its own format or itself.
    #[error("`{}`: {place}: {problem}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The node, tensor, input or field.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// An ONNX operator that has no row in the operator table.
    #[error(
        "{0} is not supported; re-export the model without it, or add a row to the operator table \
         (crates/capture/src/onnx/table.rs)"
    )]
    UnsupportedOperator(Box<NodePlace>),
    /// An ONNX node that its operator's lowering refuses.
    #[error("{place}: {source}")]
    Node {
        /// The node.
        place: Box<NodePlace>,
        /// What is wrong.
        source: NodeError,
    },
    /// A Hugging Face configuration that names no architecture of the table.
    #[error("`{}`: {found} is not supported; supported: {known}. A new one is a row in \
         crates/capture/src/hf/architecture.rs", file.display())]
    UnknownArchitecture {
        /// The configuration.
        file: PathBuf,
        /// What it names.
        found: String,
        /// The architectures of the table.
        known: String,
    },
    /// A Hugging Face model whose configuration, sizes or tensors its architecture refuses.
    #[error("`{}`: {architecture}: {source}", file.display())]
    Architecture {
        /// The configuration, or the folder when it is about tensors.
        file: PathBuf,
        /// The architecture.
        architecture: String,
        /// What does not fit.
        source: Box<BuildError>,
    },
    /// A value for a dimension that the model does not have, or cannot have.
    #[error("`{}`: dimension `{dim}` is given {value}, expected {expected}", file.display())]
    DimValue {
        /// The file.
        file: PathBuf,
        /// The dimension.
        dim: String,
        /// Its value.
        value: i64,
        /// What the model takes.
        expected: String,
    },
    /// A dynamic dimension without a value.
    #[error("`{}`: dimension `{dim}` of input `{input}` has no value; pass `--dim {dim}=VALUE`, or give the input", file.display())]
    UnboundDim {
        /// The file.
        file: PathBuf,
        /// The dimension.
        dim: String,
        /// The first input that has it.
        input: String,
    },
}

/// Which node of which file.
#[derive(Clone, Debug)]
pub struct NodePlace {
    /// The file.
    pub file: PathBuf,
    /// The node's name, or its operator and first result where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The operator's domain; `ai.onnx` is the default one.
    pub domain: String,
    /// The version of the domain that the model imports.
    pub opset: i64,
}

impl fmt::Display for NodePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodePlace { file, node, op, domain, opset } = self;
        write!(f, "`{}`: node `{node}`: operator `{op}` ({domain} {opset})", file.display())
    }
}

/// What is wrong with one ONNX node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An attribute is missing or has a value that the operator does not take.
    #[error("attribute `{attr}` is {found}, expected {expected}")]
    Attr {
        /// The attribute.
        attr: String,
        /// Its value, or `absent`.
        found: String,
        /// What the operator takes.
        expected: String,
    },
    /// A valid node that uses a part of the operator that is not supported.
    #[error("{0} is not supported; re-export the model without it")]
    Unsupported(String),
    /// An input is missing.
    #[error("input {index} (`{name}`) is absent, but the operator needs it")]
    MissingInput {
        /// Position.
        index: usize,
        /// The operator's own name for it.
        name: &'static str,
    },
    /// An input has a type, shape or value that the operator does not take.
    #[error("input `{name}` is {found}, expected {expected}")]
    Input {
        /// The operator's own name for it.
        name: &'static str,
        /// Its type or value.
        found: String,
        /// What the operator takes.
        expected: String,
    },
    /// An input that decides shapes depends on the graph's inputs.
    #[error(
        "input `{0}` decides the shape of the result, but its value depends on the data given at run time; \
         re-export the model with this value constant"
    )]
    NotConstant(&'static str),
    /// The operands do not fit the operator.
    #[error(transparent)]
    Op(#[from] OpError),
}
