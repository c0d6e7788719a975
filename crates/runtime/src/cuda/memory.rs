//! Device memory that is freed when its owner goes.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use super::context::Context;
use super::driver::check;
use crate::error::RuntimeError;
use cudarc::driver::sys::{self, CUdeviceptr, CUresult};
use std::sync::Arc;

/// One allocation on a device, aligned to at least 256 bytes.
pub struct DeviceBuffer {
    context: Arc<Context>,
    address: CUdeviceptr,
    bytes: usize,
}

impl DeviceBuffer {
    /// Allocates `bytes` for `what`, which the error names. The contents are undefined. A buffer of no bytes has an
    /// address too.
    pub fn new(context: &Arc<Context>, bytes: usize, what: impl Fn() -> String) -> Result<DeviceBuffer, RuntimeError> {
        context.bind()?;
        let mut address = 0;
        // SAFETY: Writes one address; the memory is freed in `drop`.
        let result = unsafe { sys::cuMemAlloc_v2(&mut address, bytes.max(1)) };
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let (free_bytes, total_bytes) = context.memory()?;
            return Err(RuntimeError::OutOfMemory {
                device: context.info.name.clone(),
                what: what(),
                needed_bytes: bytes,
                free_bytes,
                total_bytes,
            });
        }
        check("cuMemAlloc", result)
            .map_err(|error| error.during(|| format!("allocating {bytes} bytes for {}", what())))?;
        Ok(DeviceBuffer { context: Arc::clone(context), address, bytes })
    }

    /// The device's address of the first byte.
    pub fn address(&self) -> CUdeviceptr {
        self.address
    }

    /// Length.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: The address came from `cuMemAlloc` and is freed once. Freeing waits for work that uses it.
            let _ = unsafe { sys::cuMemFree_v2(self.address) };
        }
    }
}
