//! Ways to compute the same thing, timed against each other: compiled plans and a library's algorithms.
//!
//! Each entrant is one graph: something else is read through the L2 cache, an event, the work, an event. So the work finds
//! none of its data there, nor lines of others that would have to be written back on its account. Entrants take turns, so
//! that clocks, temperature and neighbours meet all of them alike, and the processor's speed in launching shows in none.

use super::context::Context;
use super::cublaslt::{CublasLt, LibraryProduct, Product};
use super::memory::DeviceBuffer;
use super::nvml;
use super::plan::LoadedPlan;
use super::reader::Reader;
use super::stream::{Event, Graph, RecordPlace, Stream};
use crate::device::DeviceInfo;
use crate::error::RuntimeError;
use crate::session::SessionOptions;
use crate::target::choose_plan;
use crate::timing::Clocks;
use cudarc::cublaslt::sys::cublasLtMatmulAlgo_t as Algorithm;
use gable_artifact::Artifact;
use gable_tensor::Tensor;
use std::rc::Rc;
use std::sync::Arc;

/// How often the L2 cache's size is read before each sample, at least.
const FLUSH_FACTOR: u64 = 4;

/// A device on which entrants meet.
pub struct Contest {
    library: Option<Rc<CublasLt>>,
    flush: DeviceBuffer,
    reader: Reader,
    stream: Stream,
    context: Arc<Context>,
}

/// One way to compute. Fields are dropped in order: the graph before what it refers to.
pub struct Entrant {
    graph: Graph,
    start: Event,
    end: Event,
    work: Work,
}

enum Work {
    Plan(Rc<LoadedPlan>),
    Library { product: Rc<LibraryProduct>, algorithms: Vec<Algorithm> },
}

impl Contest {
    /// Opens device `ordinal`, and cuBLASLt where it is installed.
    pub fn open(ordinal: usize) -> Result<Contest, RuntimeError> {
        let context = Context::retain(ordinal)?;
        let stream = Stream::new(&context)?;
        let flush_bytes = context.cuda().l2_bytes.saturating_mul(FLUSH_FACTOR).next_power_of_two() as usize;
        let flush = DeviceBuffer::new(&context, flush_bytes, || "pushing data out of the L2 cache".to_string())?;
        stream.fill(flush.address(), 0x5a5a_5a5a, flush_bytes / 4)?;
        let reader = Reader::new(&context)?;
        Ok(Contest { library: CublasLt::open(&context)?, flush, reader, stream, context })
    }

    /// The device.
    pub fn device(&self) -> &DeviceInfo {
        &self.context.info
    }

    /// Bytes that are read before each sample.
    pub fn flush_bytes(&self) -> usize {
        self.flush.bytes()
    }

    /// The clocks at this moment, where the system says.
    pub fn clocks(&self) -> Option<Clocks> {
        nvml::clocks(&self.context.cuda().uuid)
    }

    /// Enters a compiled model with values for its inputs, in graph order.
    pub fn plan(&self, artifact: &Artifact, inputs: &[Tensor]) -> Result<Entrant, RuntimeError> {
        artifact.check()?;
        let plan = choose_plan(artifact, &self.context.info.name, self.context.cuda().capability)?;
        let loaded = LoadedPlan::load(&self.context, &self.stream, artifact, plan, SessionOptions::default())?;
        loaded.upload_inputs(&self.stream, inputs)?;
        self.enter(Work::Plan(Rc::new(loaded)))
    }

    /// Enters cuBLASLt's proposals for a product over the inputs of `plan`; none where the library is not installed or has no
    /// such product.
    pub fn library(&self, product: &Product, plan: &Entrant) -> Result<Vec<Entrant>, RuntimeError> {
        let (Some(library), Work::Plan(plan)) = (&self.library, &plan.work) else { return Ok(Vec::new()) };
        let described = Rc::new(LibraryProduct::new(library, product, plan)?);
        let proposals = described.algorithms()?;
        if proposals.is_empty() {
            let Product { sizes: [rows, columns, terms], factors, .. } = product;
            tracing::warn!("cuBLASLt proposes nothing for a product of {rows}x{columns}x{terms} in {factors}");
        }
        let mut entrants = Vec::with_capacity(proposals.len());
        for (position, algorithms) in proposals.into_iter().enumerate() {
            match self.enter(Work::Library { product: Rc::clone(&described), algorithms }) {
                Ok(entrant) => entrants.push(entrant),
                // A proposal that does not run after all is no entrant.
                Err(error) => tracing::warn!("proposal {position} of cuBLASLt does not run: {error}"),
            }
        }
        Ok(entrants)
    }

    fn enter(&self, work: Work) -> Result<Entrant, RuntimeError> {
        let (start, end) = (Event::new(&self.context)?, Event::new(&self.context)?);
        // Once by itself: whatever is loaded late cannot be while a graph is captured.
        work.submit(&self.stream)?;
        self.stream.synchronize()?;
        let graph = self.stream.capture::<RuntimeError>(|| {
            self.reader.read(&self.stream, self.flush.address(), self.flush.bytes())?;
            self.stream.record(&start, RecordPlace::Capture)?;
            work.submit(&self.stream)?;
            Ok(self.stream.record(&end, RecordPlace::Capture)?)
        })?;
        Ok(Entrant { graph, start, end, work })
    }

    /// Times all entrants in turn, `rounds` times; seconds by entrant and round.
    pub fn time(&self, entrants: &[&Entrant], rounds: usize) -> Result<Vec<Vec<f64>>, RuntimeError> {
        let mut times = vec![Vec::with_capacity(rounds); entrants.len()];
        for _ in 0..rounds {
            for entrant in entrants {
                self.stream.replay(&entrant.graph)?;
            }
            self.stream.synchronize().map_err(|error| error.during(|| "timing in turn".to_string()))?;
            for (times, entrant) in times.iter_mut().zip(entrants) {
                times.push(entrant.start.seconds_until(&entrant.end)?);
            }
        }
        Ok(times)
    }

    /// Computes once and downloads ranges of a result, each from a byte offset on: of a plan its output of this position, of
    /// the library the product with the second factor of this position.
    pub fn result(
        &self,
        entrant: &Entrant,
        position: usize,
        offsets: &[usize],
        bytes: usize,
    ) -> Result<Vec<Vec<u8>>, RuntimeError> {
        entrant.work.submit(&self.stream)?;
        self.stream.synchronize().map_err(|error| error.during(|| "computing once".to_string()))?;
        let buffer = match &entrant.work {
            Work::Plan(plan) => plan.output(position),
            Work::Library { product, .. } => product.result(position),
        };
        offsets.iter().map(|&offset| Ok(self.stream.download(buffer, offset, bytes)?)).collect()
    }
}

impl Work {
    fn submit(&self, stream: &Stream) -> Result<(), RuntimeError> {
        match self {
            Work::Plan(plan) => Ok(plan.submit_all(stream)?),
            Work::Library { product, algorithms } => product.submit(stream, algorithms),
        }
    }
}
