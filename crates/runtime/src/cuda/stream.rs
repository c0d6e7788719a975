//! Work in order: a stream, the events that time it, and graphs captured from it.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use super::context::Context;
use super::driver::check;
use super::memory::DeviceBuffer;
use super::module::Function;
use crate::error::{CudaError, RuntimeError};
use cudarc::driver::sys::{
    self, CUdeviceptr, CUevent, CUgraphExec, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue,
    CUlaunchConfig, CUstream, CUtensorMap,
};
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A stream that does not wait for the default one.
pub struct Stream {
    raw: CUstream,
    context: Arc<Context>,
    /// Whether what was submitted last is a kernel: only behind one may a launch begin early.
    behind_kernel: Cell<bool>,
}

// SAFETY: Streams may be used from any thread in which their context is current.
unsafe impl Send for Stream {}

/// Sizes of one launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// Blocks per cluster in x, y, z; all ones for none.
    pub cluster: [u32; 3],
    /// Whether it may begin before a kernel right before it has finished.
    pub dependent: bool,
}

/// One parameter of a kernel.
pub enum Param {
    /// A parameter of at most eight bytes, in the low bytes.
    Word(u64),
    /// An encoded tensor map.
    TensorMap(Box<CUtensorMap>),
}

impl Param {
    /// How many bytes the driver may read.
    fn bytes(&self) -> usize {
        match self {
            Param::Word(_) => size_of::<u64>(),
            Param::TensorMap(_) => size_of::<CUtensorMap>(),
        }
    }

    /// Where the driver finds the value.
    fn pointer(&self) -> *mut c_void {
        match self {
            Param::Word(word) => (word as *const u64).cast_mut().cast(),
            Param::TensorMap(map) => (&raw const **map).cast_mut().cast(),
        }
    }
}

impl Stream {
    /// Makes a stream.
    pub fn new(context: &Arc<Context>) -> Result<Stream, CudaError> {
        context.bind()?;
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: Writes one handle, destroyed in `drop`.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut raw, flags) })?;
        Ok(Stream { raw, context: Arc::clone(context), behind_kernel: Cell::new(false) })
    }

    /// The driver's handle, for libraries that submit to it.
    pub fn raw(&self) -> CUstream {
        self.behind_kernel.set(false);
        self.raw
    }

    /// Waits until everything is done. An error may come from any work before.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.bind()?;
        // SAFETY: The stream lives as long as `self`.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.raw) })
    }

    /// Copies `data` to the start of `target` and waits.
    pub fn upload(&self, target: &DeviceBuffer, data: &[u8]) -> Result<(), CudaError> {
        assert!(data.len() <= target.bytes(), "the caller sized the buffer for the data");
        if data.is_empty() {
            return Ok(());
        }
        self.context.bind()?;
        // SAFETY: The device range was just checked; `data` is borrowed until the stream has been waited for.
        let result = unsafe { sys::cuMemcpyHtoDAsync_v2(target.address(), data.as_ptr().cast(), data.len(), self.raw) };
        check("cuMemcpyHtoDAsync", result)
            .map_err(|error| error.during(|| format!("uploading {} bytes", data.len())))?;
        self.synchronize()
    }

    /// Copies `bytes` from `offset` of `source` and waits.
    pub fn download(&self, source: &DeviceBuffer, offset: usize, bytes: usize) -> Result<Vec<u8>, CudaError> {
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= source.bytes());
        assert!(fits, "the artifact's check keeps ranges inside their buffers");
        let mut data = vec![0; bytes];
        if bytes == 0 {
            return Ok(data);
        }
        self.context.bind()?;
        let address = source.address() + offset as u64;
        // SAFETY: Both ranges are `bytes` long, and `data` lives until the stream has been waited for.
        let result = unsafe { sys::cuMemcpyDtoHAsync_v2(data.as_mut_ptr().cast(), address, bytes, self.raw) };
        let copied =
            check("cuMemcpyDtoHAsync", result).map_err(|error| error.during(|| format!("downloading {bytes} bytes")));
        // Waited for in any case, because `data` must not go before the copy ends.
        copied.and(self.synchronize()).map(|()| data)
    }

    /// Copies within the device. The ranges lie inside live buffers and do not overlap.
    pub fn copy(&self, source: CUdeviceptr, target: CUdeviceptr, bytes: usize) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        self.context.bind()?;
        self.behind_kernel.set(false);
        // SAFETY: Device addresses only: a wrong one is an error of the driver's, not a fault of this process.
        check("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(target, source, bytes, self.raw) })
            .map_err(|error| error.during(|| format!("copying {bytes} bytes within the device")))
    }

    /// Sets `words` words from `target` on. The range lies inside a live buffer and is aligned to words.
    pub fn fill(&self, target: CUdeviceptr, word: u32, words: usize) -> Result<(), CudaError> {
        if words == 0 {
            return Ok(());
        }
        self.context.bind()?;
        self.behind_kernel.set(false);
        // SAFETY: As for `copy`.
        check("cuMemsetD32Async", unsafe { sys::cuMemsetD32Async(target, word, words, self.raw) })
            .map_err(|error| error.during(|| format!("filling {words} words")))
    }

    /// Launches `function` with parameters of the number and sizes that it declares.
    pub fn launch(&self, function: &Function, geometry: Geometry, params: &[Param]) -> Result<(), CudaError> {
        let fits = params.iter().zip(&function.param_bytes).all(|(param, &bytes)| bytes as usize <= param.bytes());
        assert!(fits && params.len() == function.param_bytes.len(), "the caller compared arguments and parameters");
        self.context.bind()?;
        let Geometry { grid, block, cluster, dependent } = geometry;
        let mut attributes = Vec::with_capacity(2);
        if cluster != [1, 1, 1] {
            attributes.push(attribute(CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, |value| {
                value.clusterDim.x = cluster[0];
                value.clusterDim.y = cluster[1];
                value.clusterDim.z = cluster[2];
            }));
        }
        if dependent && self.behind_kernel.get() {
            let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            attributes.push(attribute(id, |value| value.programmaticStreamSerializationAllowed = 1));
        }
        let config = CUlaunchConfig {
            gridDimX: grid[0],
            gridDimY: grid[1],
            gridDimZ: grid[2],
            blockDimX: block[0],
            blockDimY: block[1],
            blockDimZ: block[2],
            sharedMemBytes: function.dynamic_shared_bytes,
            hStream: self.raw,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut pointers: Vec<*mut c_void> = params.iter().map(Param::pointer).collect();
        // SAFETY: The driver copies as many parameters as the kernel declares, of the sizes that it declares, before it
        // returns; there are as many, of these sizes. It only reads through the pointers and the attributes. What the
        // kernel then does to device memory is the artifact's responsibility, and cannot reach this process's own memory.
        let result =
            unsafe { sys::cuLaunchKernelEx(&config, function.raw(), pointers.as_mut_ptr(), std::ptr::null_mut()) };
        self.behind_kernel.set(true);
        check("cuLaunchKernelEx", result).map_err(|error| {
            error.during(|| {
                format!(
                    "launching kernel `{}` with grid {grid:?}, block {block:?}, cluster {cluster:?}, \
                     {} bytes of dynamic shared memory and {} parameters",
                    function.name,
                    function.dynamic_shared_bytes,
                    params.len()
                )
            })
        })
    }

    /// Records `event` behind everything before it. Inside [`Stream::capture`] it becomes a part of the graph, and is
    /// recorded each time the graph runs.
    pub fn record(&self, event: &Event, place: RecordPlace) -> Result<(), CudaError> {
        self.context.bind()?;
        self.behind_kernel.set(false);
        let flags = match place {
            RecordPlace::Stream => sys::CUevent_record_flags::CU_EVENT_RECORD_DEFAULT,
            RecordPlace::Capture => sys::CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL,
        };
        // SAFETY: Event and stream are live handles of one context.
        check("cuEventRecordWithFlags", unsafe { sys::cuEventRecordWithFlags(event.raw, self.raw, flags as u32) })
    }

    /// Turns the work that `body` submits to this stream into a graph. Nothing of it runs yet.
    pub fn capture<E: From<CudaError> + Into<RuntimeError>>(
        &self,
        body: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, RuntimeError> {
        self.context.bind()?;
        self.behind_kernel.set(false);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: The stream is live and nothing is being captured from it: captures begin and end in this function.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.raw, mode) })?;
        let submitted = body();
        let mut template = std::ptr::null_mut();
        // SAFETY: Ends the capture that began above, whatever happened in between, and writes one handle or null.
        let ended = check("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(self.raw, &mut template) });
        let mut raw = std::ptr::null_mut();
        let instantiated = submitted.map_err(Into::into).and(ended.map_err(RuntimeError::from)).and_then(|()| {
            // SAFETY: The template was captured without error; one handle is written, destroyed with `Graph`.
            let result = unsafe { sys::cuGraphInstantiateWithFlags(&mut raw, template, 0) };
            check("cuGraphInstantiateWithFlags", result).map_err(RuntimeError::from)
        });
        if !template.is_null() {
            // SAFETY: The handle came from the capture and is not used again; the executable graph is independent.
            let _ = unsafe { sys::cuGraphDestroy(template) };
        }
        instantiated?;
        let graph = Graph { raw, context: Arc::clone(&self.context) };
        // SAFETY: Both handles are live; uploading ahead keeps the cost out of the first run.
        check("cuGraphUpload", unsafe { sys::cuGraphUpload(graph.raw, self.raw) })?;
        Ok(graph)
    }

    /// Runs a graph.
    pub fn replay(&self, graph: &Graph) -> Result<(), CudaError> {
        self.context.bind()?;
        self.behind_kernel.set(false);
        // SAFETY: Both handles are live. The buffers and functions in the graph belong to the same device object.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(graph.raw, self.raw) })
    }
}

/// An attribute of a launch whose value `set` fills in.
fn attribute(id: CUlaunchAttributeID, set: impl FnOnce(&mut CUlaunchAttributeValue)) -> CUlaunchAttribute {
    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
    set(&mut value);
    CUlaunchAttribute { id, pad: [0 as c_char; 4], value }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: The handle came from `cuStreamCreate` and is destroyed once.
            let _ = unsafe { sys::cuStreamDestroy_v2(self.raw) };
        }
    }
}

/// An executable graph.
pub struct Graph {
    raw: CUgraphExec,
    context: Arc<Context>,
}

// SAFETY: Graphs may be used from any thread, by one at a time, which `&mut` access to the device ensures.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: The handle came from `cuGraphInstantiate` and is destroyed once.
            let _ = unsafe { sys::cuGraphExecDestroy(self.raw) };
        }
    }
}

/// Where an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordPlace {
    /// In the stream, once.
    Stream,
    /// In the graph that is being captured.
    Capture,
}

/// A moment in a stream.
pub struct Event {
    raw: CUevent,
    context: Arc<Context>,
}

// SAFETY: Events may be used from any thread in which their context is current.
unsafe impl Send for Event {}

impl Event {
    /// Makes an event that keeps the time.
    pub fn new(context: &Arc<Context>) -> Result<Event, CudaError> {
        context.bind()?;
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: Writes one handle, destroyed in `drop`.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&mut raw, flags) })?;
        Ok(Event { raw, context: Arc::clone(context) })
    }

    /// Seconds from `self` to `later`; both are recorded and have happened.
    pub fn seconds_until(&self, later: &Event) -> Result<f64, CudaError> {
        let mut milliseconds = 0f32;
        // SAFETY: Both handles are live; events that have not happened give an error code.
        let result = unsafe { sys::cuEventElapsedTime_v2(&mut milliseconds, self.raw, later.raw) };
        check("cuEventElapsedTime", result)?;
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: The handle came from `cuEventCreate` and is destroyed once.
            let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
        }
    }
}
