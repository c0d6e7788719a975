//! What can go wrong while kernels are written.

use gable_ptx::EmitError;

/// A region that cannot be turned into kernels, by its name.
#[derive(Debug, thiserror::Error)]
#[error("region `{region}` on {target}: {fault}")]
pub struct CodegenError {
    /// The region.
    pub region: String,
    /// The target.
    pub target: &'static str,
    /// What is wrong.
    pub fault: Box<Fault>,
}

/// Why a region cannot be turned into kernels.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something that the code generator does not do.
    #[error("op `{op}`: {what}")]
    Unsupported {
        /// The op.
        op: String,
        /// What it is that is not done, and what to do about it.
        what: String,
    },
    /// The region does not keep to the contract of its kind.
    #[error("{0}")]
    Contract(String),
    /// The graph does not fit its own rules; a verified and bound graph does.
    #[error("graph: {0}")]
    Graph(#[from] gable_ir::OpError),
    /// A contraction that no kernel does, or a schedule that does not fit.
    #[error(transparent)]
    Contraction(#[from] crate::contraction::problem::ContractionError),
    /// An instruction that the table lacks: a bug of ours.
    #[error("instruction: {0}")]
    Emit(#[from] EmitError),
}

impl Fault {
    /// Something that the code generator does not do.
    pub fn unsupported(op: impl Into<String>, what: impl Into<String>) -> Fault {
        Fault::Unsupported { op: op.into(), what: what.into() }
    }

    /// A region that breaks the contract of its kind.
    pub fn contract(what: impl Into<String>) -> Fault {
        Fault::Contract(what.into())
    }
}

impl CodegenError {
    /// Whether the fault is in the compiler rather than in the request.
    pub fn is_bug(&self) -> bool {
        !matches!(*self.fault, Fault::Unsupported { .. })
    }
}
