//! Matrix instructions as plain functions: fragments, descriptors, layouts, and how each family adds up.

pub mod accumulate;
mod block_sums;
pub mod descriptor;
pub mod element;
mod integers;
mod lanes;
pub mod matrix_moves;
pub mod mma_sync;
pub mod multiply;
pub mod operand;
pub mod packing;
mod panel;
pub mod sparsity;
mod sums;
pub mod tcgen05;
pub mod wgmma;

pub use integers::{BitOperation, multiply_bits, multiply_f64};
