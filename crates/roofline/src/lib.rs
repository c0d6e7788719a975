//! Machines, their roofs, and the least time that a cost can take on them.
//!
//! A roof is the most that a machine can do of one thing per second: bytes from device memory, or operations of one
//! arithmetic unit. The bound of a cost is the largest of its needs over their roofs; no kernel can be faster, so a
//! share of the bound above 100 % means that the measurement or the roof is wrong, and is reported as that.

pub mod bound;
pub mod machine;
mod machines;

pub use bound::{Bound, Prediction, Roofs, Share, share};
pub use machine::{Machine, Source};
