//! A plan on a device: its buffers, its kernels, and its steps ready to be submitted.

use super::context::Context;
use super::memory::DeviceBuffer;
use super::module::Function;
use super::stream::{Geometry, Param, Stream};
use super::tensor_map;
use crate::error::{CudaError, RuntimeError};
use crate::session::{SessionOptions, Stage};
use crate::trace::Memory;
use cudarc::driver::sys::CUdeviceptr;
use gable_artifact::{Action, Arg, Artifact, BufferRef, Launch, Signature, Space, TargetPlan};
use gable_tensor::Tensor;
use gable_tensor::tensor::byte_count;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A plan whose buffers are allocated, weights uploaded and kernels loaded.
pub struct LoadedPlan {
    /// The plan as the artifact has it.
    pub plan: TargetPlan,
    outputs: Vec<Signature>,
    /// Kernels by position in the plan.
    pub functions: Vec<Function>,
    buffers: Buffers,
    steps: Vec<Work>,
}

/// Memory by space. Each input, output and weight has an allocation of its own, so that a checker sees an access past
/// its end.
struct Buffers {
    inputs: Vec<DeviceBuffer>,
    outputs: Vec<DeviceBuffer>,
    /// `None` for weights that the plan does not use.
    weights: Vec<Option<DeviceBuffer>>,
    arena: DeviceBuffer,
}

/// A step with its addresses filled in.
enum Work {
    Launch { kernel: usize, geometry: Geometry, params: Vec<Param> },
    Fill { target: CUdeviceptr, word: u32, words: usize },
    Copy { source: CUdeviceptr, target: CUdeviceptr, bytes: usize },
}

impl LoadedPlan {
    /// Puts the plan on the device of `context`. The artifact has passed its check.
    pub fn load(
        context: &Arc<Context>,
        stream: &Stream,
        artifact: &Artifact,
        plan: &TargetPlan,
        options: SessionOptions<'_>,
    ) -> Result<LoadedPlan, RuntimeError> {
        let functions = load_functions(context, plan, options)?;
        let buffers = Buffers::new(context, artifact, plan)?;
        upload_weights(stream, artifact, &buffers, options)?;
        let steps = plan
            .steps
            .iter()
            .enumerate()
            .map(|(position, step)| match &step.action {
                Action::Launch(launch) => launch_work(launch, &functions, &buffers, position, &step.label),
                Action::Fill { target, word } => {
                    Ok(Work::Fill { target: buffers.address(target), word: *word, words: target.bytes as usize / 4 })
                }
                Action::Copy { source, target } => Ok(Work::Copy {
                    source: buffers.address(source),
                    target: buffers.address(target),
                    bytes: target.bytes as usize,
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(LoadedPlan { plan: plan.clone(), outputs: artifact.outputs.clone(), functions, buffers, steps })
    }

    /// Uploads the inputs, which are in graph order and fit.
    pub fn upload_inputs(&self, stream: &Stream, inputs: &[Tensor]) -> Result<(), CudaError> {
        self.buffers.inputs.iter().zip(inputs).try_for_each(|(buffer, input)| stream.upload(buffer, input.bytes()))
    }

    /// Downloads the outputs in graph order.
    pub fn download_outputs(&self, stream: &Stream) -> Result<Vec<Tensor>, CudaError> {
        let download = |(signature, buffer): (&Signature, &DeviceBuffer)| {
            let data = stream.download(buffer, 0, buffer.bytes())?;
            Ok(Tensor::new(signature.dtype, signature.shape.clone(), data).expect("buffers are sized by their shape"))
        };
        self.outputs.iter().zip(&self.buffers.outputs).map(download).collect()
    }

    /// Where an input lies on the device.
    pub fn input_address(&self, position: usize) -> CUdeviceptr {
        self.buffers.inputs[position].address()
    }

    /// The buffer of an output.
    pub fn output(&self, position: usize) -> &DeviceBuffer {
        &self.buffers.outputs[position]
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Submits one step.
    pub fn submit(&self, stream: &Stream, position: usize) -> Result<(), CudaError> {
        let submitted = match &self.steps[position] {
            Work::Launch { kernel, geometry, params } => stream.launch(&self.functions[*kernel], *geometry, params),
            Work::Fill { target, word, words } => stream.fill(*target, *word, *words),
            Work::Copy { source, target, bytes } => stream.copy(*source, *target, *bytes),
        };
        submitted.map_err(|mut error| {
            let place = self.place(position);
            error.during = if error.during.is_empty() { place } else { format!("{}, in {place}", error.during) };
            error
        })
    }

    /// Submits all steps in order.
    pub fn submit_all(&self, stream: &Stream) -> Result<(), CudaError> {
        (0..self.len()).try_for_each(|position| self.submit(stream, position))
    }

    /// Submits one step and waits, so that an error is known to be its own.
    pub fn run_step(&self, stream: &Stream, position: usize) -> Result<(), CudaError> {
        self.submit(stream, position)?;
        stream.synchronize().map_err(|error| error.during(|| format!("running {}", self.place(position))))
    }

    fn place(&self, position: usize) -> String {
        let step = &self.plan.steps[position];
        match &step.action {
            Action::Launch(Launch { kernel, grid, block, cluster, .. }) => format!(
                "step {position} (`{}`): kernel `{}`, grid {grid:?}, block {block:?}, cluster {cluster:?}, \
                 {} bytes of dynamic shared memory",
                step.label, self.plan.kernels[*kernel].name, self.plan.kernels[*kernel].dynamic_shared_bytes
            ),
            Action::Fill { .. } | Action::Copy { .. } => format!("step {position} (`{}`)", step.label),
        }
    }

    /// The plan's memory, as `stream` sees it.
    pub fn memory<'a>(&'a self, stream: &'a Stream) -> impl Memory + 'a {
        PlanMemory { buffers: &self.buffers, stream }
    }
}

/// Kernels are independent, and assembling one takes the driver a while.
fn load_functions(
    context: &Arc<Context>,
    plan: &TargetPlan,
    options: SessionOptions<'_>,
) -> Result<Vec<Function>, CudaError> {
    let total = plan.kernels.len() as u64;
    let done = AtomicU64::new(0);
    options.report(Stage::Kernels, 0, total);
    let load = |kernel| {
        let function = Function::load(context, kernel);
        options.report(Stage::Kernels, done.fetch_add(1, Ordering::Relaxed) + 1, total);
        function
    };
    let functions: Vec<Result<Function, CudaError>> = plan.kernels.par_iter().map(load).collect();
    // Looked at in the plan's order, so the first error is the same one every time.
    functions.into_iter().collect()
}

fn upload_weights(
    stream: &Stream,
    artifact: &Artifact,
    buffers: &Buffers,
    options: SessionOptions<'_>,
) -> Result<(), CudaError> {
    let total = buffers.weights.iter().flatten().map(|buffer| buffer.bytes() as u64).sum();
    let mut done = 0;
    options.report(Stage::Weights, done, total);
    for (weight, buffer) in artifact.weights.iter().zip(&buffers.weights) {
        let Some(buffer) = buffer else { continue };
        stream.upload(buffer, &weight.data).map_err(|mut error| {
            error.during = format!("{} of weight `{}`", error.during, weight.key);
            error
        })?;
        done += buffer.bytes() as u64;
        options.report(Stage::Weights, done, total);
    }
    Ok(())
}

struct PlanMemory<'a> {
    buffers: &'a Buffers,
    stream: &'a Stream,
}

impl Memory for PlanMemory<'_> {
    fn read(&self, range: BufferRef) -> Result<Vec<u8>, RuntimeError> {
        Ok(self.stream.download(self.buffers.get(&range), range.offset as usize, range.bytes as usize)?)
    }
}

impl Buffers {
    fn new(context: &Arc<Context>, artifact: &Artifact, plan: &TargetPlan) -> Result<Buffers, RuntimeError> {
        let read: BTreeSet<Space> = plan.steps.iter().flat_map(|step| step.reads()).map(|range| range.space).collect();
        let whole = |signatures: &[Signature], kind: &str| -> Result<Vec<DeviceBuffer>, RuntimeError> {
            let allocate = |signature: &Signature| {
                let bytes =
                    byte_count(signature.dtype, &signature.shape).expect("the artifact's check refuses overflow");
                DeviceBuffer::new(context, bytes, || format!("{kind} `{}`", signature.name))
            };
            signatures.iter().map(allocate).collect()
        };
        let weight = |(index, weight): (usize, &gable_artifact::Weight)| {
            let buffer = || DeviceBuffer::new(context, weight.data.len(), || format!("weight `{}`", weight.key));
            read.contains(&Space::Weight(index)).then(buffer).transpose()
        };
        Ok(Buffers {
            inputs: whole(&artifact.inputs, "input")?,
            outputs: whole(&artifact.outputs, "output")?,
            weights: artifact.weights.iter().enumerate().map(weight).collect::<Result<_, _>>()?,
            arena: DeviceBuffer::new(context, plan.arena_bytes as usize, || "the arena".to_string())?,
        })
    }

    fn get(&self, range: &BufferRef) -> &DeviceBuffer {
        match range.space {
            Space::Input(index) => &self.inputs[index],
            Space::Output(index) => &self.outputs[index],
            Space::Weight(index) => self.weights[index].as_ref().expect("weights that a step reads are loaded"),
            Space::Arena => &self.arena,
        }
    }

    fn address(&self, range: &BufferRef) -> CUdeviceptr {
        self.get(range).address() + range.offset
    }
}

fn launch_work(
    launch: &Launch,
    functions: &[Function],
    buffers: &Buffers,
    step: usize,
    label: &str,
) -> Result<Work, RuntimeError> {
    let function = &functions[launch.kernel];
    let given: Vec<u32> = launch.args.iter().map(Arg::bytes).collect();
    if given != function.param_bytes {
        return Err(RuntimeError::Params {
            step,
            label: label.to_string(),
            kernel: function.name.clone(),
            given,
            declared: function.param_bytes.clone(),
        });
    }
    // The architecture with the most portable clusters allows eight blocks.
    if launch.cluster.iter().product::<u32>() > 8 {
        function.permit_large_clusters()?;
    }
    let param = |arg: &Arg| match arg {
        Arg::Read(range) | Arg::Write(range) | Arg::Update(range) => Ok(Param::Word(buffers.address(range))),
        // Buffers stay where they are for the plan's life, the caller's tensors being copied into them and out of them.
        Arg::TensorMap { place, map, .. } => {
            tensor_map::encode(map, buffers.address(place)).map(|map| Param::TensorMap(Box::new(map)))
        }
        Arg::U64(value) => Ok(Param::Word(*value)),
        Arg::U32(value) | Arg::F32Bits(value) => Ok(Param::Word((*value).into())),
    };
    let params = launch.args.iter().map(param).collect::<Result<_, _>>().map_err(|error: CudaError| {
        let place = format!("for step {step} (`{label}`), kernel `{}`", function.name);
        CudaError { during: format!("{} {place}", error.during), ..error }
    })?;
    let Launch { grid, block, cluster, dependent, .. } = *launch;
    Ok(Work::Launch { kernel: launch.kernel, geometry: Geometry { grid, block, cluster, dependent }, params })
}
