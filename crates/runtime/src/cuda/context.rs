//! A device and its primary context, which this process shares with every other user of the device in it.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use super::driver::{self, check};
use super::nvml;
use crate::device::{Capability, CudaInfo, DeviceInfo, DeviceKind};
use crate::error::{CudaError, RuntimeError};
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute as Attribute};
use std::ffi::{CStr, c_char};
use std::sync::Arc;

/// Number of devices that the driver sees.
pub fn device_count() -> Result<usize, RuntimeError> {
    driver::load()?;
    let mut count = 0;
    // SAFETY: Writes one integer.
    check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Facts about device `ordinal`, without making a context on it.
pub fn device_info(ordinal: usize) -> Result<DeviceInfo, RuntimeError> {
    let count = device_count()?;
    if ordinal >= count {
        return Err(RuntimeError::NoDevice { ordinal, count });
    }
    let device = device_handle(ordinal)?;
    let number = |attribute| attribute_of(device, attribute);
    let mut name = [0 as c_char; 256];
    // SAFETY: Writes at most the given number of bytes, a terminating zero among them.
    check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as i32, device) })?;
    // SAFETY: `name` holds a zero-terminated string: it began as zeros, and the driver terminates what it writes.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let mut memory_bytes = 0;
    // SAFETY: Writes one size.
    check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&mut memory_bytes, device) })?;
    let cuda = CudaInfo {
        ordinal,
        uuid: uuid(device)?,
        capability: Capability {
            major: number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        },
        cuda_version: driver::cuda_version()?,
        driver_version: nvml::driver_version(),
        sm_count: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: number(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        memory_bytes: memory_bytes as u64,
        memory_bus_bits: number(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
        shared_bytes_per_block: number(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        // The driver gives kilohertz.
        peak_sm_clock_mhz: number(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? / 1000,
        peak_memory_clock_mhz: number(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)? / 1000,
    };
    Ok(DeviceInfo { device: DeviceKind::Cuda(ordinal).to_string(), name, cuda: Some(cuda) })
}

fn device_handle(ordinal: usize) -> Result<CUdevice, CudaError> {
    let mut device = 0;
    // SAFETY: Writes one handle; a number that is out of range gives an error code.
    check("cuDeviceGet", unsafe { sys::cuDeviceGet(&mut device, ordinal as i32) })?;
    Ok(device)
}

fn attribute_of(device: CUdevice, attribute: Attribute) -> Result<u32, CudaError> {
    let mut value = 0;
    // SAFETY: Writes one integer.
    let result = unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, device) };
    check("cuDeviceGetAttribute", result).map_err(|error| error.during(|| format!("asking for {attribute:?}")))?;
    Ok(u32::try_from(value).unwrap_or(0))
}

fn uuid(device: CUdevice) -> Result<String, CudaError> {
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    // SAFETY: Writes the sixteen bytes of `uuid`.
    check("cuDeviceGetUuid", unsafe { sys::cuDeviceGetUuid_v2(&mut uuid, device) })?;
    let hex: String = uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
    Ok(format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A reference to a device's primary context.
pub struct Context {
    raw: CUcontext,
    device: CUdevice,
    /// Facts about the device.
    pub info: DeviceInfo,
}

// SAFETY: The driver's contexts may be used from any thread; each call first makes the context current on its own.
unsafe impl Send for Context {}
// SAFETY: As above; the driver does its own locking.
unsafe impl Sync for Context {}

impl Context {
    /// Takes a reference to the primary context of device `ordinal` and makes it current on this thread.
    pub fn retain(ordinal: usize) -> Result<Arc<Context>, RuntimeError> {
        let info = device_info(ordinal)?;
        let device = device_handle(ordinal)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: Writes one handle, which `drop` gives back.
        check("cuDevicePrimaryCtxRetain", unsafe { sys::cuDevicePrimaryCtxRetain(&mut raw, device) })
            .map_err(|error| error.during(|| format!("opening {}", info.device)))?;
        let context = Context { raw, device, info };
        context.bind()?;
        Ok(Arc::new(context))
    }

    /// Makes the context current on this thread. Everything that calls the driver does this first.
    pub fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: The context lives as long as `self`.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.raw) })
    }

    /// Facts that only a CUDA device has.
    pub fn cuda(&self) -> &CudaInfo {
        self.info.cuda.as_ref().expect("a context is on a cuda device")
    }

    /// Free and total bytes of device memory.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: Writes two sizes for the current context.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free, total))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: Gives back the reference taken in `retain`; everything made in the context holds an `Arc` of `self`,
        // so it is gone by now. An error here has no one to go to.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}
