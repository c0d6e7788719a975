//! Fused regions to PTX kernels: layouts, schedules, tile library.
//!
//! [`compile()`] turns a fused graph into the kernels and steps of one target. [`program`] makes a region a program of primitive
//! ops, [`engine`] writes the instructions that compute its values at an index, and one module for each kind of region
//! writes the kernel around them: [`map`], [`row`], [`reduction`], [`window`], [`ordered`]. `docs/codegen.md` tells how.

pub mod arithmetic;
pub mod class;
mod combine;
pub mod compile;
pub mod contraction;
mod division;
pub mod element;
pub mod engine;
pub mod error;
pub mod index;
pub mod map;
pub mod math;
pub mod ordered;
pub mod program;
pub mod reduction;
pub mod row;
pub mod schedule;
mod split;
pub mod window;
pub mod work;

pub use class::Class;
pub use compile::{Places, Predicted, Tunable, compile, compile_for, compile_with, predicted, region_keys, tunables};
pub use contraction::candidates::Choices;
pub use engine::{Engine, GuardId, Lanes, View};
pub use error::{CodegenError, Fault};
pub use program::{Program, ValueId};
pub use schedule::{Hardware, Schedule};
pub use work::{KernelLaunch, Memory, Work};
