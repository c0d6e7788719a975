//! Matrix instructions as plain functions: fragments, descriptors, layouts, and how each family adds up.

pub mod accumulate;
pub mod element;
mod integers;
pub mod multiply;
mod panel;
mod sums;

pub use integers::{BitOperation, multiply_bits, multiply_f64};
