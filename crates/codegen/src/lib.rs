//! Fused regions to PTX kernels: layouts, schedules, tile library.

pub mod index;
