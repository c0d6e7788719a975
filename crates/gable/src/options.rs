//! What a compilation is asked for.

use crate::records::Records;
use crate::{Compiled, Device, Error, Model, Target};
use gable_passes::Precision;
use gable_tensor::Bindings;
use std::path::PathBuf;

/// What is compiled for when the emulator runs a model and no target is asked for.
const EMULATED_TARGET: Target = Target::Sm100a;

/// Whether kernels are assembled at compile time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Assemble {
    /// With the first ptxas found; without one, kernels stay PTX and the driver assembles them.
    #[default]
    IfFound,
    /// Never.
    Never,
    /// With this ptxas.
    With(PathBuf),
}

/// Options of a compilation; [`Options::new`] has the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) targets: Vec<Target>,
    pub(crate) precision: Precision,
    pub(crate) dims: Bindings,
    pub(crate) assemble: Assemble,
    pub(crate) records: Option<Records>,
    pub(crate) by_rule: bool,
}

impl Options {
    /// The defaults: the GPU here, else `sm_100a` and `sm_120a`; the model's own precision.
    pub fn new() -> Options {
        Options::default()
    }

    /// Adds a target.
    pub fn target(mut self, target: Target) -> Options {
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        self
    }

    /// Sets the precision of contractions.
    pub fn precision(mut self, precision: Precision) -> Options {
        self.precision = precision;
        self
    }

    /// Gives a symbolic dimension its size.
    pub fn dim(mut self, name: impl Into<String>, size: i64) -> Options {
        self.dims.insert(name.into(), size);
        self
    }

    /// Gives several symbolic dimensions their sizes.
    pub fn dims(mut self, dims: &Bindings) -> Options {
        self.dims.extend(dims.iter().map(|(name, size)| (name.clone(), *size)));
        self
    }

    /// Says whether kernels are assembled.
    pub fn assemble(mut self, assemble: Assemble) -> Options {
        self.assemble = assemble;
        self
    }

    /// Uses schedules that were chosen by measurement, before those of the bundled records.
    pub fn records(mut self, records: Records) -> Options {
        self.records = Some(records);
        self
    }

    /// Chooses every schedule by the rule: without this, products that [`Records::bundled`] has take the schedules that were
    /// fastest when this version was made, where the device here is the one of the record, or there is none.
    pub fn by_rule(mut self) -> Options {
        self.by_rule = true;
        self
    }

    /// Where no target is asked for: those of the device that the model will run on. A model that only the cpu runs
    /// needs no kernels, but is compiled for the default targets all the same, so that its report can be predicted.
    /// The emulator runs one target's PTX, so for it nothing is assembled, and one target is compiled for.
    pub fn for_device(mut self, device: Device) -> Options {
        if device == Device::Emulator {
            if self.assemble == Assemble::IfFound {
                self.assemble = Assemble::Never;
            }
            return if self.targets.is_empty() { self.target(EMULATED_TARGET) } else { self };
        }
        let Device::Cuda(ordinal) = device else { return self };
        if !self.targets.is_empty() {
            return self;
        }
        let devices = gable_runtime::cuda::devices().unwrap_or_default();
        let capability = devices.get(ordinal).and_then(|device| device.cuda.as_ref()).map(|cuda| cuda.capability);
        let targets = capability.map_or(&[][..], gable_runtime::target::targets_for);
        match targets.iter().find_map(|target| target.parse().ok()) {
            Some(target) => self.target(target),
            None => self,
        }
    }

    /// Compiles.
    pub fn optimize(&self, model: &Model) -> Result<Compiled, Error> {
        crate::compile::compile_model(model, self)
    }

    /// Compiles a graph built by hand.
    pub fn optimize_module(&self, name: &str, module: gable_ir::Module) -> Result<Compiled, Error> {
        crate::compile::compile_module(name, module, self)
    }
}
