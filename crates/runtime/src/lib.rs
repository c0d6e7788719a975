//! Runs compiled models: cuda through the driver, emulator and cpu everywhere.
//!
//! A [`Session`] holds one artifact on one device. It knows nothing of how the artifact was made: this crate links no
//! compiler, and the CUDA driver is looked for when a session asks for it, so a program starts without one.
//!
//! [`device`] names and describes devices, [`target`] picks the plan that a device can run, [`timing`] holds measured
//! times, [`trace`] shows memory after each step; [`cuda`], [`emulator`] and [`cpu`] are the devices.

pub mod cpu;
pub mod cuda;
pub mod device;
pub mod emulator;
pub mod error;
mod host_memory;
pub mod session;
pub mod target;
pub mod timing;
pub mod trace;

pub use device::{Capability, DeviceInfo, DeviceKind};
pub use emulator::{Emulation, Schedule};
pub use error::{CudaError, RuntimeError};
pub use session::{Execution, LoadedKernel, Progress, Session, SessionOptions, Stage};
pub use timing::{Profile, ProfileOptions, StepTiming, Timing};
