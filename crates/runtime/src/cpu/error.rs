//! What can go wrong on the cpu device.

use gable_ir::OpError;

/// A graph could not be prepared or run.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// An input that the graph does not have.
    #[error("the graph has no input `{name}`; its inputs are {}", known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The graph's inputs.
        known: Vec<String>,
    },
    /// An input that was not given.
    #[error("input `{name}` ({expected}) is not given")]
    MissingInput {
        /// The input.
        name: String,
        /// Its type.
        expected: String,
    },
    /// An input of the wrong type.
    #[error("input `{name}` is {found}, expected {expected}")]
    InputType {
        /// The input.
        name: String,
        /// Type given.
        found: String,
        /// Type declared.
        expected: String,
    },
    /// A parameter is not in the store, or not of the type that the graph says.
    #[error("weight `{key}`: {what}")]
    Weight {
        /// The parameter.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A dimension is still symbolic.
    #[error("value %{index} has type {ty}: bind its dimensions first")]
    Symbolic {
        /// The value's id.
        index: usize,
        /// Its type.
        ty: String,
    },
    /// The graph's values depend on themselves.
    #[error("graph @{graph}: values or regions depend on themselves")]
    Cycle {
        /// The graph's name.
        graph: String,
    },
    /// An op cannot be computed.
    #[error("value %{index} (`{op}`{}): {source}", origin.as_ref().map(|o| format!(", from {o}")).unwrap_or_default())]
    Op {
        /// The value's id.
        index: usize,
        /// The op's name.
        op: &'static str,
        /// Where the op came from, where known.
        origin: Option<String>,
        /// Why.
        source: OpError,
    },
    /// The system has no memory for the values.
    #[error("no memory for {elements} elements of values that are alive at once; bind smaller dimensions")]
    OutOfMemory {
        /// Elements of the buffer that could not be had.
        elements: usize,
    },
}
