//! Everything that can go wrong between a model and its results, and whose fault it is.

use std::path::PathBuf;

/// An error of the library face or of the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be read, or asks for what Gable does not do.
    #[error(transparent)]
    Capture(#[from] gable_capture::CaptureError),
    /// A pass found the request impossible.
    #[error(transparent)]
    Pass(#[from] gable_passes::PassError),
    /// No kernel can be made for a region.
    #[error(transparent)]
    Codegen(#[from] gable_codegen::CodegenError),
    /// The assembler refused a kernel.
    #[error("assembling kernel `{kernel}` for {target}: {source}")]
    Assemble {
        /// The kernel.
        kernel: String,
        /// The target.
        target: String,
        /// What ptxas said.
        source: gable_ptx::ptxas::PtxasError,
    },
    /// The assembled kernel breaks a promise: it spills, say.
    #[error("kernel `{kernel}` for {target} {what}; please report this with the model")]
    KernelPromise {
        /// The kernel.
        kernel: String,
        /// The target.
        target: String,
        /// What is broken.
        what: String,
    },
    /// The compiled file cannot be read or written.
    #[error(transparent)]
    Artifact(#[from] gable_artifact::ArtifactError),
    /// The device cannot run it.
    #[error(transparent)]
    Runtime(#[from] gable_runtime::RuntimeError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `.npy` file is not one.
    #[error("{}: {source}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: gable_tensor::npy::NpyError,
    },
    /// A file of records is broken, or its records are of another version or device.
    #[error("{}: {message}", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong with it.
        message: String,
    },
    /// The request cannot be met.
    #[error("{0}")]
    Request(String),
    /// Problems of a suite gave wrong results or none.
    #[error("{failed} of {measured} problem(s) of the suite gave a wrong result or none")]
    Suite {
        /// How many.
        failed: usize,
        /// Of how many.
        measured: usize,
    },
    /// The measurement contradicts the roofs.
    #[error(
        "{0} row(s) are faster than their roof: the measurement or the roof is wrong, so this report is not a result"
    )]
    Impossible(usize),
}

impl Error {
    /// A report was asked of the emulator.
    pub fn no_emulated_times() -> Error {
        Error::Request(
            "device `emulator` has no times: it says whether kernels are right, not how fast they are; \
             measure on `cuda:N`, or predict with `--machine NAME`"
                .into(),
        )
    }

    /// 1 when the input or the request is at fault, 3 when Gable is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Assemble { .. } | Error::KernelPromise { .. } | Error::Suite { .. } => 3,
            Error::Pass(error) if error.is_bug() => 3,
            Error::Codegen(error) if error.is_bug() => 3,
            _ => 1,
        }
    }
}
