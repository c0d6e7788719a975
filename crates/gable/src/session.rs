//! A compiled model on a device: run it, measure it, report on it.

use crate::inputs::random_input;
use crate::{Compiled, Device, Error, Report};
use gable_artifact::{Artifact, Signature};
use gable_roofline::{Machine, Roofs};
use gable_runtime::{DeviceInfo, ProfileOptions, SessionOptions};
use gable_tensor::Tensor;

/// Seed of the random inputs that reports are measured with.
const REPORT_SEED: u64 = 1;

/// A model that is ready to run.
pub struct Session {
    artifact: Artifact,
    inner: gable_runtime::Session,
}

impl Session {
    /// Loads a compiled model onto a device.
    pub fn open(compiled: &Compiled, device: Device) -> Result<Session, Error> {
        Session::open_with(compiled, device, SessionOptions::default())
    }

    /// As [`Session::open`], with choices: how a CUDA device runs the plan, which target the emulator runs and how.
    pub fn open_with(compiled: &Compiled, device: Device, options: SessionOptions<'_>) -> Result<Session, Error> {
        let inner = gable_runtime::Session::open_with(compiled.artifact(), device, options)?;
        Ok(Session { artifact: compiled.artifact().clone(), inner })
    }

    /// Runs the model once. Inputs go by name, in any order; outputs come in graph order.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        Ok(self.inner.run(inputs)?)
    }

    /// What [`Session::run`] needs.
    pub fn inputs(&self) -> &[Signature] {
        self.inner.inputs()
    }

    /// What [`Session::run`] gives.
    pub fn outputs(&self) -> &[Signature] {
        self.inner.outputs()
    }

    /// The device.
    pub fn device(&self) -> &DeviceInfo {
        self.inner.device()
    }

    /// The roofline report with default settings: measured with random inputs on a GPU; on the cpu, where no kernel
    /// runs, predicted for the first target's machine. The emulator has no times and refuses.
    pub fn report(&mut self) -> Result<Report, Error> {
        self.report_with(&[], ProfileOptions::default())
    }

    /// The roofline report with chosen settings. Inputs that are not given are random.
    pub fn report_with(&mut self, given: &[(&str, &Tensor)], options: ProfileOptions) -> Result<Report, Error> {
        let Some(cuda) = self.inner.device().cuda.clone() else {
            return match self.inner.device().device.parse() {
                Ok(Device::Emulator) => Err(Error::no_emulated_times()),
                _ => predicted(&self.artifact),
            };
        };
        let graph = gable_ir::text::parse(&self.artifact.graph).ok();
        let filled: Vec<(String, Tensor)> = self
            .inner
            .inputs()
            .iter()
            .map(|input| match given.iter().find(|(name, _)| *name == input.name) {
                Some((_, tensor)) => Ok((input.name.clone(), (*tensor).clone())),
                None => Ok((input.name.clone(), random_input(input, graph.as_ref(), REPORT_SEED)?)),
            })
            .collect::<Result<_, Error>>()?;
        let inputs: Vec<(&str, &Tensor)> = filled.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let name = self.inner.device().name.clone();
        let machine = Machine::of_device(&name).ok_or_else(|| {
            Error::Request(format!("`{name}` is not in the machine table, so it has no roofs to be held against"))
        })?;
        let bandwidth = gable_runtime::cuda::measure_copy_bandwidth(cuda.ordinal)?;
        let plan = gable_runtime::target::choose_plan(&self.artifact, &name, cuda.capability)?;
        let profile = self.inner.profile(&inputs, options)?;
        Ok(Report::measured(&self.artifact, plan, Roofs::measured(machine, bandwidth.bytes_per_second), profile))
    }
}

/// The report of an artifact for the machine that its first target stands for: nothing is run.
pub fn predicted(artifact: &Artifact) -> Result<Report, Error> {
    let plan = artifact.plans.first().ok_or_else(|| Error::Request("the artifact has no plan".into()))?;
    let machine = Machine::for_target(&plan.target)
        .ok_or_else(|| Error::Request(format!("no machine in the table has target {}", plan.target)))?;
    Ok(Report::predicted(artifact, plan, machine))
}
