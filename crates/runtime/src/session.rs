//! One artifact on one device: the way to run a model.

use crate::cpu::Cpu;
use crate::cuda;
use crate::device::{DeviceInfo, DeviceKind};
use crate::emulator::{Emulation, Emulator};
use crate::error::RuntimeError;
use crate::timing::{Profile, ProfileOptions};
use crate::trace::TraceStep;
use gable_artifact::{Artifact, Signature};
use gable_tensor::Tensor;

/// A device that holds a model. Tensors come and go in the order of the artifact's inputs and outputs; the session has
/// checked the inputs.
pub(crate) trait Device: Send {
    fn info(&self) -> &DeviceInfo;

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError>;

    fn profile(&mut self, inputs: &[Tensor], options: ProfileOptions) -> Result<Profile, RuntimeError>;

    fn trace(
        &mut self,
        inputs: &[Tensor],
        visit: &mut dyn FnMut(TraceStep<'_>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError>;

    /// The kernels as the driver sees them; none where no kernels run.
    fn kernels(&self) -> Result<Vec<LoadedKernel>, RuntimeError>;
}

/// How a CUDA device runs a plan. Other devices ignore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// The whole plan as one CUDA graph, captured once and replayed.
    #[default]
    Graph,
    /// Each step by itself, waiting for it to finish: slow, and an error names the step that caused it.
    Stepwise,
}

/// What can be chosen when a session opens.
#[derive(Clone, Copy, Default)]
pub struct SessionOptions<'a> {
    /// How a CUDA device runs the plan.
    pub execution: Execution,
    /// How the emulator runs a plan.
    pub emulation: Emulation<'a>,
    /// Told how far the opening is; may be called from several threads.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

/// How far the opening of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of it is done: kernels or bytes.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// The parts of opening that can take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Loading kernels, which the driver may have to assemble; counted in kernels.
    Kernels,
    /// Uploading weights; counted in bytes.
    Weights,
}

impl SessionOptions<'_> {
    pub(crate) fn report(&self, stage: Stage, done: u64, total: u64) {
        if let Some(progress) = self.progress {
            progress(Progress { stage, done, total });
        }
    }
}

/// A kernel as the driver has loaded it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoadedKernel {
    /// Its name in the plan.
    pub name: String,
    /// Whether the artifact's assembled code was loaded, not its PTX assembled by the driver.
    pub from_cubin: bool,
    /// Registers per thread.
    pub registers: u32,
    /// Local memory per thread: stack and spills.
    pub local_bytes: u32,
    /// Static shared memory per block.
    pub static_shared_bytes: u32,
    /// The architecture that the code was assembled for, as ten times the major version plus the minor one.
    pub binary_version: u32,
}

/// A model that is ready to run.
pub struct Session {
    inputs: Vec<Signature>,
    outputs: Vec<Signature>,
    device: Box<dyn Device>,
}

impl Session {
    /// Loads the artifact onto a device: uploads weights, loads kernels, captures the plan.
    pub fn open(artifact: &Artifact, kind: DeviceKind) -> Result<Session, RuntimeError> {
        Session::open_with(artifact, kind, SessionOptions::default())
    }

    /// As [`Session::open`], with choices.
    pub fn open_with(
        artifact: &Artifact,
        kind: DeviceKind,
        options: SessionOptions<'_>,
    ) -> Result<Session, RuntimeError> {
        // Artifacts built in memory have not passed through a reader's check yet.
        artifact.check()?;
        let device: Box<dyn Device> = match kind {
            DeviceKind::Cpu => Box::new(Cpu::open(artifact)?),
            DeviceKind::Emulator => Box::new(Emulator::open(artifact, options)?),
            DeviceKind::Cuda(ordinal) => Box::new(cuda::Cuda::open(artifact, ordinal, options)?),
            DeviceKind::Auto => match cuda::find_device(artifact) {
                Ok(ordinal) => Box::new(cuda::Cuda::open(artifact, ordinal, options)?),
                Err(reason) => {
                    tracing::info!("device `auto` is the cpu: {reason}");
                    Box::new(Cpu::open(artifact)?)
                }
            },
        };
        Ok(Session { inputs: artifact.inputs.clone(), outputs: artifact.outputs.clone(), device })
    }

    /// The device that the session runs on.
    pub fn device(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// What [`Session::run`] needs, in graph order.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// What [`Session::run`] gives, in graph order.
    pub fn outputs(&self) -> &[Signature] {
        &self.outputs
    }

    /// Runs the model once. Inputs go by name, in any order; outputs come in graph order.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, RuntimeError> {
        let inputs = self.arrange(inputs)?;
        let outputs = self.device.run(&inputs)?;
        Ok(self.outputs.iter().map(|output| output.name.clone()).zip(outputs).collect())
    }

    /// Measures the model. Times depend on values: give random inputs, not zeros.
    pub fn profile(&mut self, inputs: &[(&str, &Tensor)], options: ProfileOptions) -> Result<Profile, RuntimeError> {
        let inputs = self.arrange(inputs)?;
        self.device.profile(&inputs, options)
    }

    /// Runs the plan step by step and shows `visit` the memory after each. An error from `visit` ends the run.
    pub fn trace(
        &mut self,
        inputs: &[(&str, &Tensor)],
        visit: &mut dyn FnMut(TraceStep<'_>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let inputs = self.arrange(inputs)?;
        self.device.trace(&inputs, visit)
    }

    /// The kernels as the driver has loaded them; none on the other devices.
    pub fn kernels(&self) -> Result<Vec<LoadedKernel>, RuntimeError> {
        self.device.kernels()
    }

    /// The named tensors in graph order, once each is there, once, with the right type and shape.
    fn arrange(&self, given: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        if let Some((name, _)) = given.iter().find(|(name, _)| self.inputs.iter().all(|input| input.name != *name)) {
            let known = self.inputs.iter().map(|input| input.name.clone()).collect();
            return Err(RuntimeError::UnknownInput { name: name.to_string(), known });
        }
        self.inputs.iter().map(|input| arrange_one(input, given)).collect()
    }
}

fn arrange_one(input: &Signature, given: &[(&str, &Tensor)]) -> Result<Tensor, RuntimeError> {
    let Signature { name, dtype, shape } = input;
    let mut found = given.iter().filter(|(given, _)| given == name).map(|(_, tensor)| *tensor);
    let missing = || RuntimeError::MissingInput { name: name.clone(), dtype: *dtype, shape: shape.clone() };
    let tensor = found.next().ok_or_else(missing)?;
    if found.next().is_some() {
        return Err(RuntimeError::RepeatedInput { name: name.clone() });
    }
    if tensor.dtype() != *dtype || tensor.shape() != shape {
        return Err(RuntimeError::InputMismatch {
            name: name.clone(),
            found_dtype: tensor.dtype(),
            found_shape: tensor.shape().to_vec(),
            dtype: *dtype,
            shape: shape.clone(),
        });
    }
    Ok(tensor.clone())
}
