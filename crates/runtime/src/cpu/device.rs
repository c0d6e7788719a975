//! An artifact on the cpu: its graph, read and checked, as a program.

use super::CpuProgram;
use crate::device::DeviceInfo;
use crate::error::RuntimeError;
use crate::host_memory::check_values_fit;
use crate::session::{Device, LoadedKernel};
use crate::timing::{Profile, ProfileOptions, Timing};
use crate::trace::TraceStep;
use gable_artifact::{Artifact, Signature};
use gable_ir::{Module, Weights, text, verify};
use gable_tensor::Tensor;
use std::time::Instant;

/// An artifact's graph, ready to run on the host.
pub(crate) struct Cpu {
    info: DeviceInfo,
    program: CpuProgram,
    inputs: Vec<Signature>,
}

impl Cpu {
    /// Reads and prepares the artifact's graph.
    pub fn open(artifact: &Artifact) -> Result<Cpu, RuntimeError> {
        let graph = text::parse(&artifact.graph).map_err(|error| RuntimeError::Graph(error.to_string()))?;
        let graph = graph.bind(&artifact.dims).map_err(|error| RuntimeError::Graph(error.to_string()))?;
        let mut weights = Weights::default();
        for weight in &artifact.weights {
            let tensor = Tensor::new(weight.dtype, weight.shape.clone(), weight.data.clone())
                .map_err(|error| RuntimeError::Graph(format!("weight `{}`: {error}", weight.key)))?;
            weights.insert(&weight.key, tensor);
        }
        let module = Module { graph, weights };
        let faults: Vec<String> = verify::verify_module(&module).iter().map(ToString::to_string).collect();
        if !faults.is_empty() {
            return Err(RuntimeError::Graph(faults.join("; ")));
        }
        check_signatures(artifact, &module)?;
        check_values_fit(&module.graph)?;
        let program = CpuProgram::new(&module)?;
        Ok(Cpu { info: DeviceInfo::cpu(), program, inputs: artifact.inputs.clone() })
    }
}

/// The graph's inputs and outputs are the ones that the artifact declares.
fn check_signatures(artifact: &Artifact, module: &Module) -> Result<(), RuntimeError> {
    let graph = &module.graph;
    let inputs: Vec<_> = graph.inputs().iter().map(|&id| (graph.input_name(id), id)).collect();
    let outputs: Vec<_> = graph.outputs().iter().map(|(name, id)| (name.as_str(), *id)).collect();
    for (what, declared, found) in [("input", &artifact.inputs, inputs), ("output", &artifact.outputs, outputs)] {
        if declared.len() != found.len() {
            let message = format!("has {} {what}s, the artifact declares {}", found.len(), declared.len());
            return Err(RuntimeError::Graph(message));
        }
        for (signature, (name, id)) in declared.iter().zip(found) {
            let ty = graph.ty(id).concrete();
            let same = ty.as_ref().is_some_and(|ty| ty.dtype == signature.dtype && ty.shape == signature.shape);
            if name != signature.name || !same {
                return Err(RuntimeError::Graph(format!(
                    "has {what} `{name}` of type {}, the artifact declares `{}` of {} {:?}",
                    graph.ty(id),
                    signature.name,
                    signature.dtype,
                    signature.shape
                )));
            }
        }
    }
    Ok(())
}

impl Device for Cpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        let named: Vec<(&str, &Tensor)> = self.inputs.iter().map(|input| input.name.as_str()).zip(inputs).collect();
        let outputs = self.program.run(&named)?;
        Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect())
    }

    fn profile(&mut self, inputs: &[Tensor], options: ProfileOptions) -> Result<Profile, RuntimeError> {
        for _ in 0..options.warm_up {
            self.run(inputs)?;
        }
        let sample = |_| {
            let start = Instant::now();
            self.run(inputs)?;
            Ok(start.elapsed().as_secs_f64())
        };
        let samples = (0..options.repetitions.max(1)).map(sample).collect::<Result<Vec<f64>, RuntimeError>>()?;
        Ok(Profile {
            device: self.info.clone(),
            clocks: None,
            options,
            timer: "wall clock of the host",
            timer_overhead_s: 0.0,
            total: Timing::of(samples).expect("there is at least one repetition"),
            total_cold: None,
            steps: Vec::new(),
        })
    }

    fn trace(
        &mut self,
        _inputs: &[Tensor],
        _visit: &mut dyn FnMut(TraceStep<'_>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unsupported {
            device: self.info.device.clone(),
            what: "runs no plan, so it has no steps to trace",
        })
    }

    fn kernels(&self) -> Result<Vec<LoadedKernel>, RuntimeError> {
        Ok(Vec::new())
    }
}
