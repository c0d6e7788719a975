//! The cpu device: graphs evaluated on the host's processors, with nothing else needed.
//!
//! [`CpuProgram`] prepares a module ([`plan`]: kernels, layouts, shared buffers) and runs it ([`program`]).
//! Kernels by kind: [`map`], [`matmul`] and [`conv`] over [`gemm`], [`reduce`], [`row`], [`attention`], [`movement`],
//! [`ordered`]; [`choose`] says which op goes to which.

mod attention;
mod choose;
mod conv;
mod data;
mod device;
mod error;
mod gemm;
mod kernel;
mod layout;
mod map;
mod map_ops;
mod matmul;
mod movement;
mod number;
mod ordered;
mod parallel;
mod plan;
mod program;
mod reduce;
mod rounding;
mod row;
mod special;
mod window;

pub(crate) use device::Cpu;
pub use error::CpuError;
pub use program::{CpuProgram, StepTime};
