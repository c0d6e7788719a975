//! What can be wrong with an artifact or its file.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}{consequence}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What that leaves behind.
        consequence: &'static str,
    },
    /// The contents are not an artifact that this build can use.
    #[error("`{}`: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: FormatError,
    },
}

/// What is wrong with an artifact's contents.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Another kind of file.
    #[error("not a gable artifact: it begins with {found}, expected {expected}")]
    Magic {
        /// First bytes of the file.
        found: String,
        /// First bytes of every artifact.
        expected: String,
    },
    /// Written by another version.
    #[error("artifact format version is {found}, this gable reads version {expected}: compile the model again")]
    Version {
        /// The file's version.
        found: u32,
        /// The version known here.
        expected: u32,
    },
    /// Shorter or longer than it says.
    #[error("artifact is truncated or padded: {what} is {found} bytes, expected {expected}")]
    Length {
        /// The part that is wrong.
        what: &'static str,
        /// Its length.
        found: u64,
        /// The length it must have.
        expected: u64,
    },
    /// Changed after it was written.
    #[error("artifact was altered: its contents hash to {found}, the file says {expected}")]
    Hash {
        /// Hash of what is there.
        found: String,
        /// Hash stored in the file.
        expected: String,
    },
    /// The manifest does not parse.
    #[error("artifact manifest: {0}")]
    Manifest(String),
    /// A binary section is missing, misplaced or unknown.
    #[error("artifact section `{name}`: {message}")]
    Section {
        /// The section.
        name: String,
        /// What was found and expected.
        message: String,
    },
    /// The parts contradict each other.
    #[error("artifact is inconsistent:{}", list(.0))]
    Inconsistent(Vec<Fault>),
}

/// One contradiction between parts of an artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where, such as `plan sm_90a, step 3 (softmax)`.
    pub place: String,
    /// What was found and expected.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A broken file can have as many faults as steps; the first few say enough.
const FAULTS_SHOWN: usize = 8;

fn list(faults: &[Fault]) -> String {
    let mut text: String = faults.iter().take(FAULTS_SHOWN).map(|fault| format!("\n  {fault}")).collect();
    if faults.len() > FAULTS_SHOWN {
        text.push_str(&format!("\n  and {} more", faults.len() - FAULTS_SHOWN));
    }
    text
}
