//! What only the management library knows: the driver's own version, and the clocks at this moment.
//!
//! It comes with the driver but is not needed to run: where it is missing or refuses, there is no answer.

#![expect(unsafe_code, reason = "calls the management library")]

use crate::timing::Clocks;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

#[cfg(windows)]
const LIBRARY: &str = "nvml.dll";
#[cfg(not(windows))]
const LIBRARY: &str = "libnvidia-ml.so.1";

const SUCCESS: c_int = 0;
// Values of `nvmlClockType_t`.
const SM_CLOCK: c_int = 1;
const MEMORY_CLOCK: c_int = 2;

/// The library, loaded and started once for the life of the process.
fn library() -> Option<&'static Library> {
    static NVML: OnceLock<Option<Library>> = OnceLock::new();
    NVML.get_or_init(|| {
        // SAFETY: Opens the management library by its well-known name; its initialisers are the driver's own.
        let library = unsafe { Library::new(LIBRARY) }.ok()?;
        // SAFETY: `nvmlInit_v2` takes nothing and returns a code (NVML API reference).
        let started = unsafe {
            let init = library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2\0").ok()?;
            init() == SUCCESS
        };
        started.then_some(library)
    })
    .as_ref()
}

/// The version of the installed driver, such as `580.159.04`.
pub fn driver_version() -> Option<String> {
    type GetVersion = unsafe extern "C" fn(*mut c_char, c_uint) -> c_int;
    let mut text = [0 as c_char; 80];
    // SAFETY: The function writes at most the given number of bytes, a terminating zero among them.
    let result = unsafe {
        let get = library()?.get::<GetVersion>(b"nvmlSystemGetDriverVersion\0").ok()?;
        get(text.as_mut_ptr(), text.len() as c_uint)
    };
    if result != SUCCESS {
        return None;
    }
    // SAFETY: `text` holds a zero-terminated string: it began as zeros, and the library terminates what it writes.
    Some(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
}

/// The clocks of the board with this identity, now.
pub fn clocks(uuid: &str) -> Option<Clocks> {
    type GetHandle = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;
    type GetClock = unsafe extern "C" fn(*mut c_void, c_int, *mut c_uint) -> c_int;
    let uuid = CString::new(uuid).ok()?;
    let library = library()?;
    let mut board = std::ptr::null_mut();
    // SAFETY: The function reads a zero-terminated string and writes one handle, which stays valid.
    let found = unsafe {
        let get = library.get::<GetHandle>(b"nvmlDeviceGetHandleByUUID\0").ok()?;
        get(uuid.as_ptr(), &mut board)
    };
    if found != SUCCESS {
        return None;
    }
    // SAFETY: The signature is the one in the NVML API reference.
    let get = unsafe { library.get::<GetClock>(b"nvmlDeviceGetClockInfo\0") }.ok()?;
    let clock = |kind| {
        let mut mhz = 0;
        // SAFETY: `board` is the handle found above, and one integer is written.
        (unsafe { get(board, kind, &mut mhz) } == SUCCESS).then_some(mhz)
    };
    Some(Clocks { sm_mhz: clock(SM_CLOCK)?, memory_mhz: clock(MEMORY_CLOCK)? })
}
