//! The emulator device: a plan's kernels, for any target, run and checked on the host's processor.
//!
//! The plan and the code are those that a GPU would get. Each launch sees only the ranges that its step names, each in an
//! allocation of its own, so that an access past a range, a write to what the plan says is only read, a read of what nobody
//! wrote and a byte that the plan says is written but is not, all stop the run, as races and missing waits do.

mod buffers;
mod image;
mod tensor_map;

use crate::device::{DeviceInfo, DeviceKind};
use crate::error::RuntimeError;
use crate::session::{Device, LoadedKernel, SessionOptions, Stage};
use crate::timing::{Profile, ProfileOptions};
use crate::trace::{Memory, TraceStep};
use buffers::Buffers;
use gable_artifact::{Action, Arg, Artifact, BufferRef, Launch, Signature, Space, TargetPlan};
use gable_emulator::{GlobalMemory, Kernel, Module, Options, Target};
use gable_tensor::Tensor;
use image::Images;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

pub use gable_emulator::Schedule;
pub use tensor_map::encode_tensor_map;

/// How the emulator runs a plan. Other devices ignore it.
#[derive(Clone, Copy, Debug)]
pub struct Emulation<'a> {
    /// The target whose plan is run; the artifact's first where absent.
    pub target: Option<&'a str>,
    /// When asynchronous operations finish, and in which order warps run.
    pub schedule: Schedule,
    /// Whether accesses are checked for races and missing waits.
    pub races: bool,
}

impl Default for Emulation<'_> {
    fn default() -> Self {
        Emulation { target: None, schedule: Schedule::default(), races: true }
    }
}

/// A plan in the emulator.
pub(crate) struct Emulator {
    info: DeviceInfo,
    plan: TargetPlan,
    outputs: Vec<Signature>,
    /// By position in the plan.
    kernels: Vec<Kernel>,
    /// The weights at all times, and the ranges of a step while it runs.
    memory: GlobalMemory,
    /// Addresses of the weights that the plan reads.
    weights: Vec<Option<u64>>,
    images: Images,
    options: Options,
}

impl Emulator {
    /// Decodes the kernels of the plan that the options choose, and places its weights.
    pub fn open(artifact: &Artifact, options: SessionOptions<'_>) -> Result<Emulator, RuntimeError> {
        let Emulation { target, schedule, races } = options.emulation;
        let plan = choose_plan(artifact, target)?;
        let kernels = load_kernels(plan, options)?;
        let mut memory = GlobalMemory::new();
        let weights = place_weights(&mut memory, artifact, plan, options);
        let images = Images::new(artifact, plan)?;
        let checks = if races { "races are checked" } else { "races are not checked" };
        let info = DeviceInfo {
            device: DeviceKind::Emulator.to_string(),
            name: format!("{}, schedule {schedule}, {checks}", plan.target),
            cuda: None,
        };
        let options = Options { schedule, races, ..Options::default() };
        let outputs = artifact.outputs.clone();
        Ok(Emulator { info, plan: plan.clone(), outputs, kernels, memory, weights, images, options })
    }

    fn run_step(&mut self, position: usize) -> Result<(), RuntimeError> {
        match self.plan.steps[position].action.clone() {
            Action::Launch(launch) => self.launch(position, &launch),
            Action::Fill { target, word } => {
                self.images.fill(&target, word);
                Ok(())
            }
            Action::Copy { source, target } if matches!(source.space, Space::Weight(_)) => {
                let data = self.read(source)?;
                let (bytes, written) = self.images.range_mut(&target);
                bytes.copy_from_slice(&data);
                written.fill(true);
                Ok(())
            }
            Action::Copy { source, target } => {
                self.images.copy(&source, &target);
                Ok(())
            }
        }
    }

    fn launch(&mut self, position: usize, launch: &Launch) -> Result<(), RuntimeError> {
        let buffers = Buffers::place(&mut self.memory, &self.images, launch);
        let result = self.launch_on(position, launch, &buffers);
        buffers.free(&mut self.memory);
        result
    }

    fn launch_on(&mut self, position: usize, launch: &Launch, buffers: &Buffers) -> Result<(), RuntimeError> {
        let kernel = &self.kernels[launch.kernel];
        let code = &self.plan.kernels[launch.kernel];
        let label = &self.plan.steps[position].label;
        let given: Vec<u32> = launch.args.iter().map(Arg::bytes).collect();
        let declared: Vec<u32> = kernel.params.iter().map(|param| param.bytes).collect();
        if given != declared {
            let (label, kernel) = (label.clone(), code.name.clone());
            return Err(RuntimeError::Params { step: position, label, kernel, given, declared });
        }
        let refused = |message: String| RuntimeError::Launch {
            step: position,
            label: label.clone(),
            kernel: code.name.clone(),
            message,
        };
        let mut params = vec![0; kernel.param_bytes as usize];
        for (arg, param) in launch.args.iter().zip(&kernel.params) {
            let value = match arg {
                Arg::Read(range) | Arg::Write(range) | Arg::Update(range) => {
                    self.address(buffers, range).to_le_bytes().to_vec()
                }
                Arg::TensorMap { place, map, .. } => encode_tensor_map(map, self.address(buffers, place))
                    .map_err(|message| refused(format!("argument `{}`: {message}", param.name)))?,
                Arg::U64(value) => value.to_le_bytes().to_vec(),
                Arg::U32(value) | Arg::F32Bits(value) => value.to_le_bytes().to_vec(),
            };
            let start = param.offset as usize;
            params[start..start + value.len()].copy_from_slice(&value);
        }
        let geometry = gable_emulator::Launch {
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            shared_bytes: code.dynamic_shared_bytes,
            params,
        };
        // Launches run one after the other, so a dependent one finds its dependencies met.
        let outcome =
            kernel.run(&mut self.memory, &geometry, &self.options).map_err(|error| refused(error.to_string()))?;
        if !outcome.hazards.is_empty() {
            return Err(RuntimeError::Hazards {
                step: position,
                label: label.clone(),
                kernel: code.name.clone(),
                target: self.plan.target.clone(),
                hazards: outcome.hazards,
            });
        }
        if let Some((range, first)) = buffers.unwritten(&self.memory, launch) {
            let place = format!("step {position} (`{label}`), kernel `{}`, which promises to write it all,", code.name);
            return Err(RuntimeError::Unwritten { place, what: range.to_string(), first });
        }
        buffers.keep(&self.memory, &mut self.images);
        Ok(())
    }

    fn address(&self, buffers: &Buffers, range: &BufferRef) -> u64 {
        match range.space {
            Space::Weight(index) => self.weights[index].expect("weights that a step reads are placed") + range.offset,
            Space::Input(_) | Space::Output(_) | Space::Arena => buffers.address(range),
        }
    }

    fn start(&mut self, inputs: &[Tensor]) {
        self.images.forget();
        for (index, input) in inputs.iter().enumerate() {
            self.images.set_input(index, input.bytes());
        }
    }
}

/// The plan for the target asked for, or the first.
fn choose_plan<'a>(artifact: &'a Artifact, target: Option<&str>) -> Result<&'a TargetPlan, RuntimeError> {
    let plan = match target {
        Some(target) => artifact.plan(target),
        None => artifact.plans.first(),
    };
    plan.ok_or_else(|| RuntimeError::NoTarget {
        target: target.unwrap_or("any target").to_string(),
        targets: artifact.targets().into_iter().map(str::to_string).collect(),
    })
}

fn load_kernels(plan: &TargetPlan, options: SessionOptions<'_>) -> Result<Vec<Kernel>, RuntimeError> {
    let total = plan.kernels.len() as u64;
    let done = AtomicU64::new(0);
    options.report(Stage::Kernels, 0, total);
    let load = |code: &gable_artifact::Kernel| {
        let error =
            |message: String| RuntimeError::Load { kernel: code.name.clone(), target: plan.target.clone(), message };
        let target: Target = plan.target.parse().map_err(|unknown| error(format!("{unknown}")))?;
        let module = Module::parse(&code.ptx).map_err(|fault| error(fault.to_string()))?;
        let kernel = module.kernel(&code.entry, target).map_err(|fault| error(fault.to_string()))?;
        options.report(Stage::Kernels, done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok(kernel)
    };
    let kernels: Vec<Result<Kernel, RuntimeError>> = plan.kernels.par_iter().map(load).collect();
    // Looked at in the plan's order, so the first error is the same one every time.
    kernels.into_iter().collect()
}

/// Weights live in allocations of their own for as long as the session, and may only be read.
fn place_weights(
    memory: &mut GlobalMemory,
    artifact: &Artifact,
    plan: &TargetPlan,
    options: SessionOptions<'_>,
) -> Vec<Option<u64>> {
    let reads: Vec<BufferRef> = plan.steps.iter().flat_map(|step| step.reads()).collect();
    let is_read = |index: usize| reads.iter().any(|range| range.space == Space::Weight(index));
    let total = (0..artifact.weights.len()).filter(|&index| is_read(index));
    let total = total.map(|index| artifact.weights[index].data.len() as u64).sum();
    let mut done = 0;
    options.report(Stage::Weights, done, total);
    let mut addresses = Vec::new();
    for (index, weight) in artifact.weights.iter().enumerate() {
        addresses.push(is_read(index).then(|| {
            let address = memory.allocate_with(format!("weight {}", weight.key), &weight.data);
            memory.protect(address);
            done += weight.data.len() as u64;
            options.report(Stage::Weights, done, total);
            address
        }));
    }
    addresses
}

impl Device for Emulator {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        self.start(inputs);
        (0..self.plan.steps.len()).try_for_each(|position| self.run_step(position))?;
        let output = |(index, signature): (usize, &Signature)| {
            let data = self.images.output(index).map_err(|first| RuntimeError::Unwritten {
                place: format!("the plan for {}", self.plan.target),
                what: format!("output `{}`", signature.name),
                first,
            })?;
            Ok(Tensor::new(signature.dtype, signature.shape.clone(), data).expect("images are sized by their shape"))
        };
        self.outputs.iter().enumerate().map(output).collect()
    }

    fn profile(&mut self, _inputs: &[Tensor], _options: ProfileOptions) -> Result<Profile, RuntimeError> {
        Err(RuntimeError::Unsupported {
            device: self.info.device.clone(),
            what: "has no times: it says whether kernels are right, not how fast they are",
        })
    }

    fn trace(
        &mut self,
        inputs: &[Tensor],
        visit: &mut dyn FnMut(TraceStep<'_>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        self.start(inputs);
        for position in 0..self.plan.steps.len() {
            self.run_step(position)?;
            visit(TraceStep { position, plan: &self.plan, memory: self })?;
        }
        Ok(())
    }

    fn kernels(&self) -> Result<Vec<LoadedKernel>, RuntimeError> {
        Ok(Vec::new())
    }
}

impl Memory for Emulator {
    fn read(&self, range: BufferRef) -> Result<Vec<u8>, RuntimeError> {
        let Space::Weight(index) = range.space else { return Ok(self.images.bytes(&range).to_vec()) };
        let address = self.weights[index].expect("weights that a step reads are placed") + range.offset;
        let mut data = vec![0; range.bytes as usize];
        self.memory.read(address, &mut data).expect("weights are written whole, and the plan was checked");
        Ok(data)
    }
}
