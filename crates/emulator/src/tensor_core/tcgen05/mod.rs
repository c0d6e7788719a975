//! The fifth-generation tensor core: instruction descriptors, where matrices lie in tensor memory, and how data gets there.
//!
//! Tensor memory is 128 lanes of 512 columns of 32 bits for each multiprocessor. An address has the lane in bits 16-31 and the
//! column in bits 0-15.

pub mod column_mask;
pub mod copy;
pub mod instruction_descriptor;
pub mod layout;
pub mod moves;
pub mod scales;

/// Lanes of tensor memory.
pub const LANES: u32 = 128;
/// Columns of tensor memory.
pub const COLUMNS: u32 = 512;
