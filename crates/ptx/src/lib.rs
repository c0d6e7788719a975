//! A typed subset of PTX: instruction table, builder, printer, parser, verifier.
//!
//! PTX is NVIDIA's virtual machine language; `ptxas` or the driver makes machine code of it. This crate knows the forms that a tensor
//! compiler emits, one row each in `table`: from the row come the methods of `KernelBuilder`, the text, the way back from the
//! text, and the checks. It knows nothing of tensors, nor of devices.
//!
//! Way in: `KernelBuilder` writes a `Kernel`, kernels make a `Module` for a `Target`. Way out: `Module::to_string()`.

mod builder;
mod by_shape;
mod dynamic;
mod flow;
mod form;
pub mod grammar;
mod inst;
mod lex;
pub mod meaning;
mod module;
pub mod nvdisasm;
mod operand;
mod parse;
pub mod ptxas;
mod reach;
mod reaching;
mod register;
mod scalar;
pub mod slot;
pub mod syntax;
mod table;
mod target;
mod toolkit;
mod verify;

pub use builder::{Assign, KernelBuilder, LocalArray, SharedArray};
pub use by_shape::{ScaleOperand, Tcgen05Operand, WgmmaOperand};
pub use dynamic::EmitError;
pub use form::{DstSlot, Effect, Floor, Form, Opcode, Pipe, Slot};
pub use inst::{Guard, Inst, Statement};
pub use module::{Array, DYNAMIC_SHARED, Kernel, Module, Param, ParamType, TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES};
pub use operand::{
    Address, AddressSpace, Base, Generic, Global, Label, Local, Offset, Operand, Place, Shared, SharedCluster, Src,
    Symbol, Tensor, TensorPlace, Value,
};
pub use parse::{ParseError, parse};
pub use register::{B8, B16, B32, B64, B128, Class, ClassError, F32, F64, Pred, R, Reg, RegisterClass};
pub use scalar::{ScalarType, Space};
pub use target::{
    Family, Feature, MAX_CTAS_PER_CLUSTER, MAX_THREADS_PER_CTA, PtxVersion, STATIC_SHARED_BYTES, Target, TargetRow,
    UnknownTarget,
};
pub use verify::{Fault, Faults, verify};
