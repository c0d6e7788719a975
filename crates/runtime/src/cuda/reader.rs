//! Reading memory and nothing else: what pushes everything out of the L2 cache without leaving lines there that wait to be
//! written, and what the roof of kernels is that mostly read.

use super::context::Context;
use super::module::Function;
use super::stream::{Geometry, Param, Stream};
use crate::error::CudaError;
use cudarc::driver::sys::CUdeviceptr;
use gable_artifact::Kernel;
use std::sync::Arc;

/// Threads of a block.
const THREADS: u32 = 256;
/// Blocks per multiprocessor: with eight chunks of 16 bytes for each thread, 256 KiB under way.
const BLOCKS_PER_SM: u32 = 8;
/// Bytes that a thread reads at once.
const CHUNK: usize = 16;

/// The kernel that reads.
pub struct Reader {
    function: Function,
    blocks: u32,
}

impl Reader {
    /// Loads the kernel.
    pub fn new(context: &Arc<Context>) -> Result<Reader, CudaError> {
        let kernel = Kernel {
            name: "read_all".into(),
            entry: "read_all".into(),
            ptx: include_str!("read_all.ptx").into(),
            cubin: None,
            class: "none".into(),
            dynamic_shared_bytes: 0,
            resources: None,
        };
        let blocks = context.cuda().sm_count.max(1).saturating_mul(BLOCKS_PER_SM);
        Ok(Reader { function: Function::load(context, &kernel)?, blocks })
    }

    /// Reads the first `bytes` from `start` on, of a live buffer aligned to 16 bytes; what is left of a chunk is not read.
    pub fn read(&self, stream: &Stream, start: CUdeviceptr, bytes: usize) -> Result<(), CudaError> {
        let geometry =
            Geometry { grid: [self.blocks, 1, 1], block: [THREADS, 1, 1], cluster: [1, 1, 1], dependent: false };
        stream.launch(&self.function, geometry, &[Param::Word(start), Param::Word((bytes / CHUNK) as u64)])
    }
}
