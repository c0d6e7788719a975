//! Runs PTX on the CPU, functionally and strictly: what passes here can be trusted on hardware.

pub mod numbers;
pub mod order;
pub mod scalar;
pub mod tensor_core;
pub mod tensor_map;
