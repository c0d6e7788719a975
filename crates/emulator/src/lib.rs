//! Runs PTX on the CPU, functionally and strictly: what passes here can be trusted on hardware.
//!
//! `Module::parse` reads PTX of any compiler, `Module::kernel` decodes an entry for a machine, and `Kernel::run` launches a grid over
//! `GlobalMemory`. What is wrong with the kernel comes back as hazards: races, missing waits and fences, reads of what nobody wrote,
//! bad descriptors, deadlocks. `docs/emulator.md` says what is checked, how it was validated and what is not modelled.

pub mod exec;
pub mod hazard;
pub mod machine;
pub mod mbarrier;
pub mod memory;
pub mod numbers;
pub mod order;
pub mod profile;
pub mod program;
pub mod scalar;
pub mod tensor_core;
pub mod tensor_map;

pub use gable_ptx::Target;
pub use hazard::{Fault, Hazard, HazardKind};
pub use machine::{Launch, LaunchError, Options, Outcome, Schedule};
pub use memory::GlobalMemory;
pub use program::{Kernel, LoadError, Module};
