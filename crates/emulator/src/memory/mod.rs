//! Memory of a launch: global allocations, shared memory of a CTA, and the windows of generic addresses.
//!
//! Every byte knows whether it was written. Accesses are checked against allocations, alignment and that bit; who may
//! access when is `order`'s question.

mod global;
mod shared;
mod tensor;
mod window;

pub use global::{Allocation, GlobalMemory};
pub use shared::SharedMemory;
pub use tensor::TensorMemory;
pub use window::{GENERIC_LOCAL, GENERIC_SHARED, SHARED_BASE, Target, rank_of, resolve, shared_address};
