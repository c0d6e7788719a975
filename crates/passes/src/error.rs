//! Why a pipeline stopped. The first group is the request's fault, the second ours.

use gable_ir::OpError;
use gable_ir::verify::Fault;
use std::path::PathBuf;

/// Why a module could not be optimised.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A named dimension has no value.
    #[error("input `{input}` is {ty}: its dimension `{dim}` has no value; give one with `--dim {dim}=VALUE`")]
    UnboundDim {
        /// The dimension.
        dim: String,
        /// An input that has it.
        input: String,
        /// That input's type.
        ty: String,
    },
    /// A value is given for a dimension that the model has not.
    #[error("`--dim {dim}` names no dimension of the model; it has {}", listed(.known))]
    UnknownDim {
        /// The name given.
        dim: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A dimension's value is not a size.
    #[error("`--dim {dim}={value}`: a size must not be negative")]
    NegativeDim {
        /// The dimension.
        dim: String,
        /// The value given.
        value: i64,
    },
    /// The model does not fit the values of its dimensions.
    #[error("with {dims}: {source}")]
    BadDims {
        /// The values, as they are given on the command line.
        dims: String,
        /// What does not fit.
        source: OpError,
    },
    /// An environment variable that steers the runner is not what it should be.
    #[error("{name}=`{value}`, expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// No pass has that name.
    #[error("there is no pass `{name}`; the passes are {}", listed(.known))]
    UnknownPass {
        /// The name given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A dump could not be written.
    #[error("cannot write {}: {source}", .path.display())]
    Dump {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The module was wrong before any pass saw it.
    #[error("the graph is not valid: {}", shown(.0))]
    Input(Vec<Fault>),

    /// A pass built an op that does not fit its operands: our bug.
    #[error("pass `{pass}` built a wrong op: {source}")]
    Built {
        /// The pass.
        pass: &'static str,
        /// What does not fit.
        source: OpError,
    },
    /// A pass left a wrong graph: our bug.
    #[error("pass `{pass}` left a wrong graph: {}", shown(.faults))]
    Left {
        /// The pass.
        pass: &'static str,
        /// What is wrong with it.
        faults: Vec<Fault>,
    },
    /// The graph's text does not read back as the same graph: our bug.
    #[error("after pass `{pass}` the graph's text does not read back: {what}")]
    RoundTrip {
        /// The pass.
        pass: &'static str,
        /// How it differs.
        what: String,
    },
}

impl PassError {
    /// Whether the fault is in the compiler rather than in the request.
    pub fn is_bug(&self) -> bool {
        matches!(self, PassError::Built { .. } | PassError::Left { .. } | PassError::RoundTrip { .. })
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_string(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The first faults, and how many more there are.
fn shown(faults: &[Fault]) -> String {
    const MOST: usize = 5;
    let mut text: Vec<String> = faults.iter().take(MOST).map(Fault::to_string).collect();
    if faults.len() > MOST {
        text.push(format!("and {} more", faults.len() - MOST));
    }
    text.join("; ")
}
