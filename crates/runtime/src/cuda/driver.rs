//! The driver library: is it there, is it new enough, and what do its errors mean.
//!
//! The bindings look each function up when it is first called and panic when the library or the function is missing.
//! So nothing here calls the driver before [`load`] has succeeded, and `load` asks for a driver that has every
//! function that this crate calls.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use crate::error::{CudaError, RuntimeError};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// Oldest driver that works: the newest function called here, `cuEventElapsedTime_v2`, came with CUDA 12.8, as did
/// the Blackwell targets.
const OLDEST_CUDA: i32 = 12080;

#[cfg(windows)]
const LIBRARY: &str = "nvcuda.dll";
#[cfg(not(windows))]
const LIBRARY: &str = "libcuda.so.1";

/// Finds and starts the driver. Cheap after the first time.
pub fn load() -> Result<(), RuntimeError> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: Opens the driver library by its well-known names, whose initialisers are the driver's own.
    if !*PRESENT.get_or_init(|| unsafe { sys::is_culib_present() }) {
        return Err(RuntimeError::NoDriver { library: LIBRARY });
    }
    let version = cuda_version_number()?;
    if version < OLDEST_CUDA {
        return Err(RuntimeError::OldDriver { found: version_text(version), needed: version_text(OLDEST_CUDA) });
    }
    // SAFETY: May be called any number of times, from any thread; 0 is the only flag value there is.
    check("cuInit", unsafe { sys::cuInit(0) })?;
    Ok(())
}

/// The CUDA version that the driver supports, such as `13.0`. The driver is loaded.
pub fn cuda_version() -> Result<String, CudaError> {
    cuda_version_number().map(version_text)
}

fn cuda_version_number() -> Result<i32, CudaError> {
    let mut version = 0;
    // SAFETY: The library is there, this function is in every driver, works before `cuInit`, and writes one integer.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) })?;
    Ok(version)
}

fn version_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Turns the result of `call` into an error that carries the code's name and description.
pub fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(CudaError {
        call,
        // SAFETY: Both functions write a pointer to a static string, or fail and leave it null.
        name: text(|name| unsafe { sys::cuGetErrorName(result, name) })
            .unwrap_or_else(|| format!("code {}", result as u32)),
        // SAFETY: As above.
        description: text(|description| unsafe { sys::cuGetErrorString(result, description) })
            .unwrap_or_else(|| "unknown to this driver".to_string()),
        during: String::new(),
    })
}

fn text(get: impl FnOnce(*mut *const c_char) -> CUresult) -> Option<String> {
    let mut text = std::ptr::null();
    if get(&mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
        return None;
    }
    // SAFETY: The driver has just set `text` to a zero-terminated string that lives as long as the driver.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_says_so() {
        match load() {
            Ok(()) => println!("SKIPPED: this machine has a CUDA driver"),
            Err(error @ RuntimeError::NoDriver { .. }) => {
                assert!(error.to_string().starts_with("no CUDA driver: libcuda.so.1 was not found"), "{error}");
            }
            Err(error) => println!("SKIPPED: this machine has a CUDA driver that does not start: {error}"),
        }
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(version_text(OLDEST_CUDA), "12.8");
        assert_eq!(version_text(13000), "13.0");
    }
}
