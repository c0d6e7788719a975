//! Passes: a module goes in as captured and comes out as fused regions with a memory plan.
//!
//! In: a verified module whose named dimensions may be unbound. Out: a module with every dimension known, every value
//! that an output needs in exactly one region, and a place in memory for every value that crosses regions.
//! This room knows no target, no PTX and no model format.
//!
//! - [`table`]: the passes, the pipeline, and why it is in that order.
//! - [`runner`]: verifies after each pass, times, dumps, and stops after a number of steps.
//! - [`fusion`]: regions. The contract they keep is in `gable_ir::region`.
//! - [`plan`]: places in memory.

pub mod context;
pub mod error;
pub mod fusion;
pub mod options;
pub mod plan;
pub mod runner;
pub mod table;

mod bind_dims;
mod constant;
mod exact;
mod fold;
mod fold_scale;
mod layout;
mod legalize;
mod merge;
mod merge_products;
mod narrow_products;
mod precision;
mod recognize;
mod simplify;
mod store_narrow;
mod unpacking;

pub use context::Context;
pub use error::PassError;
pub use options::{PassOptions, Precision};
pub use plan::MemoryPlan;
pub use runner::{Optimized, RunnerConfig, Timing, optimize, optimize_with, run_until};
pub use table::{PASSES, PIPELINE, Pass};
