//! Fused regions to PTX kernels: layouts, schedules, tile library.

pub mod arithmetic;
pub mod contraction;
pub mod element;
pub mod engine;
pub mod error;
pub mod index;
pub mod math;
pub mod program;

pub use engine::{Engine, GuardId, Lanes, View};
pub use error::{CodegenError, Fault};
pub use program::{Program, ValueId};
