//! The tensor graph: op table, graph, verifier, `.gir` text, reference evaluation and cost.
//!
//! This room knows nothing of model files, passes, targets or GPUs, and does no I/O: text comes in as `&str`.
//!
//! - [`op`]: the table (one row per op, in [`ops`]), its attributes and groups.
//! - [`graph`]: values and their operands on petgraph, with a canonical order; [`region`]s group what fuses.
//! - [`build`]: numpy-style broadcasting on top, for those who write graphs.
//! - [`verify`], [`text`], [`eval`], [`cost`]: what every graph can do; [`random_graph`]: graphs to test that with.

pub mod attr;
pub mod build;
pub mod composite;
pub mod cost;
pub mod eval;
pub mod graph;
pub mod module;
pub mod op;
pub mod ops;
pub mod random_graph;
pub mod region;
pub mod text;
pub mod types;
pub mod verify;

pub use build::Builder;
pub use cost::{Cost, Unit};
pub use graph::{Graph, NodeId};
pub use module::{Module, Weights};
pub use op::{Group, Op, OpDef, OpError};
pub use region::{Region, RegionKind};
pub use types::{ConcreteType, Type};
