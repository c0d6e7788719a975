//! Tensor maps: encoding, decoding, and which bytes a bulk tensor copy moves.
//!
//! A tensor map describes a tensor in global memory and the box of it that one instruction moves. Here it is a plain struct;
//! [`bytes`] turns it into the 128 bytes a program holds and back, and applies `tensormap.replace`. [`encode`] is the host's
//! side with every limit of the driver. [`copy`] turns a map and coordinates into runs of bytes between global and shared
//! memory; [`reduce`] combines what a reduction finds there. Nothing here touches the machine: all is a pure function.

pub mod bytes;
pub mod cluster;
pub mod convert;
pub mod copy;
pub mod encode;
pub mod im2col;
pub mod map;

pub mod reduce;
pub mod swizzle;

#[cfg(test)]
mod model;

/// A tensor map that breaks a limit, with the field, what it holds and what it may hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor map: `{field}` is {found}, expected {expected}")]
pub struct Invalid {
    /// The field as the driver's interface or `tensormap.replace` calls it, with its index where it has one.
    pub field: String,
    /// What it holds.
    pub found: String,
    /// What it may hold.
    pub expected: String,
}

impl Invalid {
    pub(crate) fn new(field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self { field: field.into(), found: found.to_string(), expected: expected.into() }
    }
}
