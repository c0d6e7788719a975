//! A stand-in for the CUDA driver library: one device of compute capability 9.0 whose memory is the host's.
//!
//! It knows a kernel by its entry: `add(a, b, c, n)` writes `a + b` to `c` as `n` binary32 numbers, `twice(map)` doubles the
//! binary32 numbers of a tensor map, `read_all(start, chunks)` only reads, and `trap(n)` faults when it runs. PTX that holds `syntax error` does not assemble, and assembled code must begin with `cubin`.
//! It refuses, with a code of the driver's, what would be a mistake of the runtime's: a call without a context, memory
//! ranges that were not allocated, waiting inside a capture, an event recorded in the wrong way, an early start behind
//! anything but a kernel.

#![expect(unsafe_code, reason = "implements a C interface")]
#![expect(missing_docs, reason = "the functions are those of the driver's reference")]
#![expect(clippy::missing_safety_doc, reason = "the contracts are those of the driver's reference")]
#![expect(clippy::undocumented_unsafe_blocks, reason = "pointers are used as the driver's reference permits")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

type Code = c_uint;
const SUCCESS: Code = 0;
const INVALID_VALUE: Code = 1;
const OUT_OF_MEMORY: Code = 2;
const INVALID_CONTEXT: Code = 201;
const INVALID_IMAGE: Code = 200;
const INVALID_PTX: Code = 218;
const ILLEGAL_STATE: Code = 401;
const NOT_FOUND: Code = 500;
const LAUNCH_FAILED: Code = 719;
const CAPTURE_UNSUPPORTED: Code = 900;

const MEMORY_BYTES: usize = 1 << 26;
const SHARED_BYTES: c_int = 232_448;
const LOG_BUFFER: c_int = 5;

const CLUSTER: c_uint = 4;
const EARLY_START: c_uint = 6;
/// The driver's number for the element type of a tensor map.
const FLOAT32: c_uint = 7;

/// Launches as the driver's reference lays them out.
#[repr(C)]
pub struct LaunchConfig {
    /// Grid, block, dynamic shared memory.
    sizes: [c_uint; 7],
    stream: *mut c_void,
    attributes: *const Attribute,
    n_attributes: c_uint,
}

#[repr(C)]
struct Attribute {
    id: c_uint,
    _pad: c_uint,
    value: [c_uint; 3],
    _rest: [c_uint; 13],
}

#[derive(Clone, Copy)]
enum Work {
    Add { a: u64, b: u64, c: u64, n: usize },
    Trap,
    Copy { source: u64, target: u64, bytes: usize },
    Fill { target: u64, word: u32, words: usize },
    Record(usize),
}

struct Driver {
    memory: BTreeMap<u64, Box<[u8]>>,
    /// Whether the module was loaded from assembled code, by handle.
    modules: Vec<bool>,
    /// Entry and module, by handle.
    functions: Vec<(String, usize)>,
    graphs: Vec<Vec<Work>>,
    events: Vec<Option<Instant>>,
    capture: Option<Vec<Work>>,
    /// Whether a kernel was submitted last.
    behind_kernel: bool,
    /// The error that work on the device has met, if any.
    fault: Code,
}

static DRIVER: Mutex<Driver> = Mutex::new(Driver {
    memory: BTreeMap::new(),
    modules: Vec::new(),
    functions: Vec::new(),
    graphs: Vec::new(),
    events: Vec::new(),
    capture: None,
    behind_kernel: false,
    fault: SUCCESS,
});

thread_local! {
    static IN_CONTEXT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call that needs a context.
fn with(call: impl FnOnce(&mut Driver) -> Result<(), Code>) -> Code {
    if !IN_CONTEXT.get() {
        return INVALID_CONTEXT;
    }
    call(&mut DRIVER.lock().unwrap_or_else(PoisonError::into_inner)).err().unwrap_or(SUCCESS)
}

/// Handles are positions that begin at 1, so that null is none.
fn handle(position: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(position + 1)
}

fn position(handle: *mut c_void) -> usize {
    handle.addr().wrapping_sub(1)
}

impl Driver {
    /// The bytes from `address` on, which lie in one allocation.
    fn range(&mut self, address: u64, bytes: usize) -> Result<&mut [u8], Code> {
        let (start, memory) = self.memory.range_mut(..=address).next_back().ok_or(LAUNCH_FAILED)?;
        let offset = (address - start) as usize;
        memory.get_mut(offset..offset + bytes).ok_or(LAUNCH_FAILED)
    }

    fn submit(&mut self, work: Work) -> Result<(), Code> {
        self.behind_kernel = matches!(work, Work::Add { .. } | Work::Trap);
        match &mut self.capture {
            Some(capture) => capture.push(work),
            None => self.execute(work),
        }
        Ok(())
    }

    /// Faults show later, when someone waits, as they do on a device.
    fn execute(&mut self, work: Work) {
        if self.fault == SUCCESS {
            self.fault = self.try_execute(work).err().unwrap_or(SUCCESS);
        }
    }

    fn try_execute(&mut self, work: Work) -> Result<(), Code> {
        match work {
            Work::Add { a, b, c, n } => {
                let floats = |bytes: &[u8]| -> Vec<f32> {
                    bytes.chunks_exact(4).map(|raw| f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])).collect()
                };
                let (a, b) = (floats(self.range(a, 4 * n)?), floats(self.range(b, 4 * n)?));
                let sums: Vec<u8> = a.iter().zip(b).flat_map(|(a, b)| (a + b).to_le_bytes()).collect();
                self.range(c, 4 * n)?.copy_from_slice(&sums);
            }
            Work::Trap => return Err(LAUNCH_FAILED),
            Work::Copy { source, target, bytes } => {
                let data = self.range(source, bytes)?.to_vec();
                self.range(target, bytes)?.copy_from_slice(&data);
            }
            Work::Fill { target, word, words } => {
                self.range(target, 4 * words)?.copy_from_slice(&word.to_le_bytes().repeat(words));
            }
            Work::Record(event) => self.events[event] = Some(Instant::now()),
        }
        Ok(())
    }
}

macro_rules! driver_calls {
    ($( fn $name:ident($($arg:ident: $ty:ty),*) $body:block )+) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> Code $body
    )+ };
}

driver_calls! {
    fn cuInit(_flags: c_uint) { SUCCESS }
    fn cuDriverGetVersion(version: *mut c_int) { unsafe { *version = 13000 }; SUCCESS }
    fn cuGetErrorName(code: Code, name: *mut *const c_char) {
        let text = match code {
            INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
            OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
            INVALID_IMAGE => c"CUDA_ERROR_INVALID_IMAGE",
            INVALID_CONTEXT => c"CUDA_ERROR_INVALID_CONTEXT",
            INVALID_PTX => c"CUDA_ERROR_INVALID_PTX",
            ILLEGAL_STATE => c"CUDA_ERROR_ILLEGAL_STATE",
            NOT_FOUND => c"CUDA_ERROR_NOT_FOUND",
            LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
            CAPTURE_UNSUPPORTED => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            _ => return INVALID_VALUE,
        };
        unsafe { *name = text.as_ptr() };
        SUCCESS
    }
    fn cuGetErrorString(_code: Code, text: *mut *const c_char) {
        unsafe { *text = c"said by the stand-in".as_ptr() };
        SUCCESS
    }

    fn cuDeviceGetCount(count: *mut c_int) { unsafe { *count = 1 }; SUCCESS }
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) { unsafe { *device = ordinal }; SUCCESS }
    fn cuDeviceGetName(name: *mut c_char, _length: c_int, _device: c_int) {
        let text = c"stand-in device";
        unsafe { name.copy_from(text.as_ptr(), text.count_bytes() + 1) };
        SUCCESS
    }
    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], _device: c_int) { unsafe { *uuid = [0xab; 16] }; SUCCESS }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { unsafe { *bytes = MEMORY_BYTES }; SUCCESS }
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) {
        let found = match attribute {
            16 => 4,             // multiprocessors
            38 => 1 << 16,       // L2 bytes
            75 => 9,             // capability, major
            76 => 0,             // capability, minor
            97 => SHARED_BYTES,
            _ => 1_000_000,      // clocks in kilohertz, widths
        };
        unsafe { *value = found };
        SUCCESS
    }
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) {
        unsafe { *context = handle(0) };
        SUCCESS
    }
    fn cuDevicePrimaryCtxRelease_v2(_device: c_int) { SUCCESS }
    fn cuCtxSetCurrent(context: *mut c_void) { IN_CONTEXT.set(!context.is_null()); SUCCESS }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        with(|driver| {
            let used: usize = driver.memory.values().map(|memory| memory.len()).sum();
            unsafe { (*free, *total) = (MEMORY_BYTES - used, MEMORY_BYTES) };
            Ok(())
        })
    }
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        with(|driver| {
            let used: usize = driver.memory.values().map(|memory| memory.len()).sum();
            if bytes == 0 {
                return Err(INVALID_VALUE);
            }
            if bytes > MEMORY_BYTES - used {
                return Err(OUT_OF_MEMORY);
            }
            // Never handed out twice, and far apart, so that a stale or a stray address is found out.
            let last = driver.memory.last_key_value().map_or(1 << 32, |(start, memory)| start + memory.len() as u64);
            let start = (last + 4096).next_multiple_of(256);
            // Not zero: whoever reads what was never written shall notice.
            driver.memory.insert(start, vec![0xcd; bytes].into_boxed_slice());
            unsafe { *address = start };
            Ok(())
        })
    }
    fn cuMemFree_v2(address: u64) {
        with(|driver| driver.memory.remove(&address).map(|_| ()).ok_or(INVALID_VALUE))
    }
    fn cuMemcpyHtoDAsync_v2(target: u64, source: *const u8, bytes: usize, _stream: *mut c_void) {
        with(|driver| {
            driver.range(target, bytes)?.copy_from_slice(unsafe { std::slice::from_raw_parts(source, bytes) });
            Ok(())
        })
    }
    fn cuMemcpyDtoHAsync_v2(target: *mut u8, source: u64, bytes: usize, _stream: *mut c_void) {
        with(|driver| {
            unsafe { std::slice::from_raw_parts_mut(target, bytes) }.copy_from_slice(driver.range(source, bytes)?);
            Ok(())
        })
    }
    fn cuMemcpyDtoDAsync_v2(target: u64, source: u64, bytes: usize, _stream: *mut c_void) {
        with(|driver| driver.submit(Work::Copy { source, target, bytes }))
    }
    fn cuMemsetD32Async(target: u64, word: u32, words: usize, _stream: *mut c_void) {
        with(|driver| driver.submit(Work::Fill { target, word, words }))
    }

    fn cuModuleLoadDataEx(
        module: *mut *mut c_void,
        image: *const c_char,
        n_options: c_uint,
        options: *const c_int,
        values: *const *mut c_char
    ) {
        with(|driver| {
            let text = unsafe { CStr::from_ptr(image) }.to_string_lossy();
            if !text.contains(".entry") && !text.starts_with("cubin") {
                return Err(INVALID_IMAGE);
            }
            if text.contains("syntax error") {
                let log = c"line 7; error: there is a syntax error";
                let n_options = n_options as usize;
                let options = unsafe { std::slice::from_raw_parts(options, n_options) };
                let buffer = options.iter().position(|&option| option == LOG_BUFFER).ok_or(INVALID_VALUE)?;
                unsafe { (*values.add(buffer)).copy_from(log.as_ptr(), log.count_bytes() + 1) };
                return Err(INVALID_PTX);
            }
            driver.modules.push(text.starts_with("cubin"));
            unsafe { *module = handle(driver.modules.len() - 1) };
            Ok(())
        })
    }
    fn cuModuleGetFunction(function: *mut *mut c_void, module: *mut c_void, name: *const c_char) {
        with(|driver| {
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            if !["add", "twice", "trap", "read_all"].contains(&name.as_str()) {
                return Err(NOT_FOUND);
            }
            driver.functions.push((name, position(module)));
            unsafe { *function = handle(driver.functions.len() - 1) };
            Ok(())
        })
    }
    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, _function: *mut c_void) {
        with(|_| {
            unsafe { *value = attribute };
            Ok(())
        })
    }
    fn cuFuncSetAttribute(_function: *mut c_void, _attribute: c_int, value: c_int) {
        with(|_| if value > SHARED_BYTES { Err(INVALID_VALUE) } else { Ok(()) })
    }
    fn cuFuncGetParamInfo(function: *mut c_void, index: usize, offset: *mut usize, bytes: *mut usize) {
        with(|driver| {
            let sizes: &[usize] = match driver.functions[position(function)].0.as_str() {
                "add" => &[8, 8, 8, 4],
                "twice" => &[128],
                "read_all" => &[8, 8],
                _ => &[4],
            };
            unsafe { (*offset, *bytes) = (8 * index, *sizes.get(index).ok_or(INVALID_VALUE)?) };
            Ok(())
        })
    }
    fn cuLaunchKernelEx(
        config: *const LaunchConfig,
        function: *mut c_void,
        params: *const *const c_void,
        _extra: *mut *mut c_void
    ) {
        with(|driver| {
            let config = unsafe { &*config };
            let attributes = match config.n_attributes as usize {
                0 => &[],
                count => unsafe { std::slice::from_raw_parts(config.attributes, count) },
            };
            for attribute in attributes {
                let fits = match (attribute.id, attribute.value) {
                    (CLUSTER, [x, y, z]) => config.sizes[0] % x == 0 && config.sizes[1] % y == 0 && config.sizes[2] % z == 0,
                    (EARLY_START, [allowed, ..]) => allowed == 1 && driver.behind_kernel,
                    _ => false,
                };
                if !fits {
                    return Err(INVALID_VALUE);
                }
            }
            let behind_kernel = std::mem::replace(&mut driver.behind_kernel, true);
            let address = |index| unsafe { *(*params.add(index)).cast::<u64>() };
            let number = |index| unsafe { *(*params.add(index)).cast::<u32>() } as usize;
            if config.sizes[3] > 1024 {
                return Err(INVALID_VALUE);
            }
            let work = match driver.functions[position(function)].0.as_str() {
                "add" => Work::Add { a: address(0), b: address(1), c: address(2), n: number(3) },
                "twice" => {
                    // Its callers ask for clusters, and for an early start wherever there can be one.
                    let has = |id| attributes.iter().any(|attribute| attribute.id == id);
                    if !has(CLUSTER) || has(EARLY_START) != behind_kernel {
                        return Err(INVALID_VALUE);
                    }
                    let [a, n] = unsafe { *(*params).cast::<[u64; 2]>() };
                    Work::Add { a, b: a, c: a, n: n as usize }
                }
                "read_all" => Work::Add { a: address(0), b: address(0), c: address(0), n: 0 },
                _ => Work::Trap,
            };
            driver.submit(work)
        })
    }

    fn cuTensorMapEncodeTiled(
        map: *mut [u64; 16],
        element: c_uint,
        rank: c_uint,
        address: *mut c_void,
        dims: *const u64,
        _strides: *const u64,
        _box_dims: *const c_uint,
        element_strides: *const c_uint,
        _interleave: c_uint,
        _swizzle: c_uint,
        _promotion: c_uint,
        _fill: c_uint
    ) {
        if element != FLOAT32 || rank != 1 || !address.addr().is_multiple_of(16) || unsafe { *element_strides } != 1 {
            return INVALID_VALUE;
        }
        unsafe { *map.cast::<[u64; 2]>() = [address.addr() as u64, *dims] };
        SUCCESS
    }

    fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) {
        with(|_| {
            unsafe { *stream = handle(0) };
            Ok(())
        })
    }
    fn cuStreamDestroy_v2(_stream: *mut c_void) { with(|_| Ok(())) }
    fn cuStreamSynchronize(_stream: *mut c_void) {
        with(|driver| match driver.capture {
            Some(_) => Err(CAPTURE_UNSUPPORTED),
            // A device would stay broken. This one recovers, so that one process can test many faults.
            None => match std::mem::replace(&mut driver.fault, SUCCESS) {
                SUCCESS => Ok(()),
                fault => Err(fault),
            },
        })
    }
    fn cuStreamBeginCapture_v2(_stream: *mut c_void, _mode: c_int) {
        with(|driver| match driver.capture.replace(Vec::new()) {
            None => {
                driver.behind_kernel = false;
                Ok(())
            }
            Some(_) => Err(ILLEGAL_STATE),
        })
    }
    fn cuStreamEndCapture(_stream: *mut c_void, graph: *mut *mut c_void) {
        with(|driver| {
            let captured = driver.capture.take().ok_or(ILLEGAL_STATE)?;
            driver.graphs.push(captured);
            unsafe { *graph = handle(driver.graphs.len() - 1) };
            Ok(())
        })
    }
    fn cuGraphInstantiateWithFlags(executable: *mut *mut c_void, graph: *mut c_void, _flags: c_ulonglong) {
        with(|_| {
            unsafe { *executable = graph };
            Ok(())
        })
    }
    fn cuGraphDestroy(_graph: *mut c_void) { with(|_| Ok(())) }
    fn cuGraphExecDestroy(graph: *mut c_void) {
        with(|driver| {
            driver.graphs[position(graph)].clear();
            Ok(())
        })
    }
    fn cuGraphUpload(_graph: *mut c_void, _stream: *mut c_void) { with(|_| Ok(())) }
    fn cuGraphLaunch(graph: *mut c_void, _stream: *mut c_void) {
        with(|driver| {
            driver.graphs[position(graph)].clone().into_iter().for_each(|work| driver.execute(work));
            Ok(())
        })
    }

    fn cuEventCreate(event: *mut *mut c_void, _flags: c_uint) {
        with(|driver| {
            driver.events.push(None);
            unsafe { *event = handle(driver.events.len() - 1) };
            Ok(())
        })
    }
    fn cuEventDestroy_v2(_event: *mut c_void) { with(|_| Ok(())) }
    fn cuEventRecordWithFlags(event: *mut c_void, _stream: *mut c_void, flags: c_uint) {
        with(|driver| {
            // In a capture, only an external record becomes a part of the graph.
            if (flags == 1) != driver.capture.is_some() {
                return Err(INVALID_VALUE);
            }
            driver.submit(Work::Record(position(event)))
        })
    }
    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) {
        with(|driver| {
            let time = |event: *mut c_void| driver.events[position(event)].ok_or(INVALID_VALUE);
            unsafe { *milliseconds = (time(end)?.duration_since(time(start)?)).as_secs_f32() * 1e3 };
            Ok(())
        })
    }
}
