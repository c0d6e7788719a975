//! Tokens to the tree.

use super::Source;

/// The text is no PTX.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
}

/// The module that `text` says.
pub fn parse(text: &str) -> Result<Source, SyntaxError> {
    let line = text.lines().count() as u32;
    Err(SyntaxError { line, column: 1, message: "expected `.version`".to_owned() })
}
