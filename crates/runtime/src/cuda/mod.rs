//! The cuda device: a plan's kernels on an NVIDIA GPU, through the driver alone.
//!
//! A plan is placed once: buffers, weights, kernels. It is then captured as one graph, and a run is: upload the
//! inputs, replay the graph, download the outputs. Everything goes through one stream.

pub mod contest;
mod context;
mod cublaslt;
mod driver;
mod memory;
mod module;
mod nvml;
mod plan;
mod profile;
mod reader;
mod roofs;
mod stream;
mod tensor_map;

use crate::device::DeviceInfo;
use crate::error::RuntimeError;
use crate::session::{Device, Execution, LoadedKernel, SessionOptions};
use crate::target::choose_plan;
use crate::timing::{Profile, ProfileOptions};
use crate::trace::TraceStep;
use context::Context;
use gable_artifact::Artifact;
use gable_tensor::Tensor;
use plan::LoadedPlan;
use std::sync::Arc;
use stream::{Graph, Stream};

pub use cublaslt::{Product, Scales, version as cublaslt_version};
pub use roofs::{measure_copy_bandwidth, measure_read_bandwidth};

/// Facts about every CUDA device; an error when there is no driver.
pub fn devices() -> Result<Vec<DeviceInfo>, RuntimeError> {
    (0..context::device_count()?).map(context::device_info).collect()
}

/// The first device that the artifact has a plan for.
pub(crate) fn find_device(artifact: &Artifact) -> Result<usize, RuntimeError> {
    let mut reason = RuntimeError::NoDevice { ordinal: 0, count: 0 };
    for (ordinal, info) in devices()?.iter().enumerate().rev() {
        let capability = info.cuda.as_ref().expect("these are cuda devices").capability;
        match choose_plan(artifact, &info.name, capability) {
            Ok(_) => return Ok(ordinal),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// A plan on a device. Fields are dropped in order: the graph before what it refers to.
pub(crate) struct Cuda {
    graph: Option<Graph>,
    loaded: LoadedPlan,
    stream: Stream,
    context: Arc<Context>,
}

impl Cuda {
    /// Places the artifact's plan for device `ordinal` on it.
    pub fn open(artifact: &Artifact, ordinal: usize, options: SessionOptions<'_>) -> Result<Cuda, RuntimeError> {
        let context = Context::retain(ordinal)?;
        let plan = choose_plan(artifact, &context.info.name, context.cuda().capability)?;
        let stream = Stream::new(&context)?;
        let loaded = LoadedPlan::load(&context, &stream, artifact, plan, options)?;
        let graph = match options.execution {
            Execution::Graph => Some(stream.capture(|| loaded.submit_all(&stream))?),
            Execution::Stepwise => None,
        };
        Ok(Cuda { graph, loaded, stream, context })
    }
}

impl Device for Cuda {
    fn info(&self) -> &DeviceInfo {
        &self.context.info
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        self.loaded.upload_inputs(&self.stream, inputs)?;
        match &self.graph {
            Some(graph) => {
                self.stream.replay(graph)?;
                self.stream.synchronize().map_err(|error| {
                    error.during(|| {
                        let steps = self.loaded.len();
                        format!("running the plan's {steps} steps as one graph; run stepwise to find the one at fault")
                    })
                })?;
            }
            None => (0..self.loaded.len()).try_for_each(|position| self.loaded.run_step(&self.stream, position))?,
        }
        Ok(self.loaded.download_outputs(&self.stream)?)
    }

    fn profile(&mut self, inputs: &[Tensor], options: ProfileOptions) -> Result<Profile, RuntimeError> {
        self.loaded.upload_inputs(&self.stream, inputs)?;
        profile::profile(&self.context, &self.stream, &self.loaded, options)
    }

    fn trace(
        &mut self,
        inputs: &[Tensor],
        visit: &mut dyn FnMut(TraceStep<'_>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        self.loaded.upload_inputs(&self.stream, inputs)?;
        let memory = self.loaded.memory(&self.stream);
        for position in 0..self.loaded.len() {
            self.loaded.run_step(&self.stream, position)?;
            visit(TraceStep { position, plan: &self.loaded.plan, memory: &memory })?;
        }
        Ok(())
    }

    fn kernels(&self) -> Result<Vec<LoadedKernel>, RuntimeError> {
        Ok(self.loaded.functions.iter().map(|function| function.describe()).collect::<Result<_, _>>()?)
    }
}
