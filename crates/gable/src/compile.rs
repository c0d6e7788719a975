//! The whole way from a model to an artifact: capture, passes, code generation, assembly, packing.

use crate::options::Options;
use crate::plan::target_plan;
use crate::records::Records;
use crate::{Error, Model, Target, assemble};
use gable_artifact::{Artifact, Provenance, Signature, Weight};
use gable_codegen::{Choices, Tunable};
use gable_ir::{Graph, Module, NodeId, Weights};
use gable_passes::{MemoryPlan, PassOptions, RunnerConfig};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Targets for a machine without a GPU.
const DEFAULT_TARGETS: [Target; 2] = [Target::Sm100a, Target::Sm120a];

/// Compiles with the default options.
pub fn optimize(model: &Model) -> Result<Compiled, Error> {
    Options::new().optimize(model)
}

/// A compiled model: an artifact, in memory or mapped from a file.
#[derive(Clone, Debug)]
pub struct Compiled {
    artifact: Artifact,
    memory: Option<MemoryPlan>,
    timings: Vec<(String, Duration)>,
}

impl Compiled {
    /// Opens a compiled file; its weights stay mapped.
    pub fn open(path: impl AsRef<Path>) -> Result<Compiled, Error> {
        Ok(Compiled { artifact: Artifact::open(path.as_ref())?, memory: None, timings: Vec::new() })
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.artifact.save(path.as_ref())?)
    }

    /// Plan, kernels and weights as data.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// What was made, in a few lines.
    pub fn summary(&self) -> String {
        let artifact = &self.artifact;
        let weight_bytes: usize = artifact.weights.iter().map(|weight| weight.data.len()).sum();
        let mut text =
            format!("{}: {} weights, {weight_bytes} bytes", artifact.provenance.model_name, artifact.weights.len());
        for plan in &artifact.plans {
            let assembled = plan.kernels.iter().filter(|kernel| kernel.cubin.is_some()).count();
            let registers = plan.kernels.iter().filter_map(|kernel| kernel.resources).map(|r| r.registers).max();
            let _ = write!(
                text,
                "\n  {}: {} kernels in {} steps, arena {} bytes, {assembled} assembled",
                plan.target,
                plan.kernels.len(),
                plan.steps.len(),
                plan.arena_bytes
            );
            if let Some(registers) = registers {
                let _ = write!(text, ", at most {registers} registers, no spills");
            }
        }
        text
    }

    /// Where values lie between kernels; for a compiled file only the arena's size is left.
    pub fn memory(&self) -> String {
        match &self.memory {
            Some(memory) => memory.to_string(),
            None => {
                self.artifact.plans.iter().fold(String::new(), |text, plan| {
                    format!("{text}{}: arena {} bytes\n", plan.target, plan.arena_bytes)
                })
            }
        }
    }

    /// Where the time of the compilation went, a line each.
    pub fn timings(&self) -> String {
        self.timings
            .iter()
            .fold(String::new(), |text, (stage, time)| format!("{text}{:>9.2} ms  {stage}\n", time.as_secs_f64() * 1e3))
    }
}

/// Captures a model and compiles it.
pub(crate) fn compile_model(model: &Model, options: &Options) -> Result<Compiled, Error> {
    Lowered::of_model(model, options)?.emit_recorded(options)
}

/// Runs the stages and keeps their times.
pub(crate) fn compile_module(name: &str, module: Module, options: &Options) -> Result<Compiled, Error> {
    Lowered::of_module(name, module, options)?.emit_recorded(options)
}

/// A model fused and placed, before code is written for a target.
pub(crate) struct Lowered {
    name: String,
    hash: String,
    graph: Graph,
    weights: Weights,
    memory: MemoryPlan,
    timings: Vec<(String, Duration)>,
}

impl Lowered {
    /// Captures a model and runs the passes.
    pub fn of_model(model: &Model, options: &Options) -> Result<Lowered, Error> {
        let start = Instant::now();
        let module = model.module(&options.dims)?;
        let name = model.path().file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
        let captured = start.elapsed();
        let mut lowered = Lowered::of_module(&name, module, options)?;
        lowered.timings.insert(0, ("capture".into(), captured));
        Ok(lowered)
    }

    /// Runs the passes over a module.
    pub fn of_module(name: &str, module: Module, options: &Options) -> Result<Lowered, Error> {
        let start = Instant::now();
        let hash = hash(&module);
        let mut timings = vec![("hash".to_string(), start.elapsed())];
        let optimized = gable_passes::optimize(module.clone(), &options.pass_options(&module))?;
        timings.extend(optimized.timings.iter().map(|timing| (format!("pass {}", timing.pass), timing.time)));
        let Module { graph, mut weights } = optimized.module;
        weights.retain_used(&graph);
        Ok(Lowered { name: name.into(), hash, graph, weights, memory: optimized.plan, timings })
    }

    /// The contractions whose schedules are a choice on a target.
    pub fn tunables(&self, target: Target) -> Result<Vec<Tunable>, Error> {
        Ok(gable_codegen::tunables(&self.graph, target)?)
    }

    /// Writes code by the records that the options name, by the bundled ones, and by the rules.
    fn emit_recorded(&self, options: &Options) -> Result<Compiled, Error> {
        let bundled = if options.by_rule { Records::default() } else { Records::bundled()? };
        let matters = options.records.is_some() || options.targets().into_iter().any(|target| bundled.has(target));
        let here = if matters { options.device_name() } else { None };
        if let Some(records) = &options.records {
            records.check(&options.targets(), here.as_deref())?;
        }
        let bundled = bundled.for_device(here.as_deref());
        self.emit(options, |target| {
            let mut choices = match bundled.has(target) {
                true => bundled.choices_among(target, &gable_codegen::region_keys(&self.graph, target)?),
                false => Choices::default(),
            };
            if let Some(records) = &options.records {
                choices.by_region.extend(records.choices(target, &self.tunables(target)?)?.by_region);
            }
            Ok(choices)
        })
    }

    /// Writes code for every target of the options, with the schedules that `choices` gives for it.
    pub fn emit(
        &self,
        options: &Options,
        choices: impl Fn(Target) -> Result<Choices, Error>,
    ) -> Result<Compiled, Error> {
        let Lowered { graph, weights, .. } = self;
        let mut timings = self.timings.clone();
        let mut stage = |name: String, start: Instant| timings.push((name, start.elapsed()));
        let weight_index: BTreeMap<&str, usize> = weights.iter().map(|(key, _)| key).zip(0..).collect();

        let ptxas = assemble::assembler(&options.assemble)?;
        let mut plans = Vec::new();
        let mut recorded = options.recorded(ptxas.as_ref());
        for target in options.targets() {
            let start = Instant::now();
            let choices = choices(target)?;
            for (region, schedule) in &choices.by_region {
                recorded.insert(format!("schedule {target} {region}"), schedule.clone());
            }
            let mut plan = target_plan(graph, &self.memory, &weight_index, target, &choices)?;
            stage(format!("code for {target}"), start);
            if let Some(ptxas) = &ptxas {
                let start = Instant::now();
                assemble::assemble(&mut plan, target, ptxas)?;
                stage(format!("ptxas for {target}"), start);
            }
            plans.push(plan);
        }

        let start = Instant::now();
        let artifact = Artifact {
            provenance: Provenance {
                gable_version: env!("CARGO_PKG_VERSION").into(),
                model_name: self.name.clone(),
                model_hash: self.hash.clone(),
                options: recorded,
            },
            graph: graph.to_string(),
            dims: options.dims.clone(),
            inputs: graph.inputs().iter().map(|&id| signature(graph, graph.input_name(id), id)).collect(),
            outputs: graph.outputs().iter().map(|(name, id)| signature(graph, name, *id)).collect(),
            weights: weights
                .iter()
                .map(|(key, tensor)| Weight {
                    key: key.into(),
                    dtype: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                    data: tensor.bytes().clone(),
                })
                .collect(),
            plans,
        };
        artifact.check().map_err(gable_runtime::RuntimeError::from)?;
        stage("pack and check".into(), start);
        Ok(Compiled { artifact, memory: Some(self.memory.clone()), timings })
    }
}

/// The graph's text after the pass called `pass`, or as captured for `capture`.
pub fn passes_until(model: &Model, options: &Options, pass: &str) -> Result<String, Error> {
    let module = model.module(&options.dims)?;
    if pass == "capture" {
        return Ok(module.graph.to_string());
    }
    let pass_options = options.pass_options(&module);
    let module = gable_passes::run_until(module, &pass_options, &RunnerConfig::from_env()?, pass)?;
    Ok(module.graph.to_string())
}

/// Hash of the graph and its weights, in hexadecimal: the model's contents, whatever file they came from.
fn hash(module: &Module) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(module.graph.to_string().as_bytes());
    for (key, tensor) in module.weights.iter() {
        hasher.update(key.as_bytes());
        hasher.update(tensor.bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn signature(graph: &Graph, name: &str, id: NodeId) -> Signature {
    let ty = graph.ty(id).concrete().expect("the passes bound every dimension");
    Signature { name: name.into(), dtype: ty.dtype, shape: ty.shape }
}

impl Options {
    /// The targets asked for, or the defaults.
    pub(crate) fn targets(&self) -> Vec<Target> {
        if !self.targets.is_empty() {
            return self.targets.clone();
        }
        let here = gable_runtime::cuda::devices().ok().into_iter().flatten().find_map(|device| {
            let targets = gable_runtime::target::targets_for(device.cuda?.capability);
            targets.iter().find_map(|target| target.parse().ok())
        });
        here.map_or(DEFAULT_TARGETS.to_vec(), |target| vec![target])
    }

    /// The name of the device here that runs the first target, where there is one.
    fn device_name(&self) -> Option<String> {
        let target = self.targets().first()?.name();
        let runs = |device: &gable_runtime::DeviceInfo| {
            let cuda = device.cuda.as_ref();
            cuda.is_some_and(|cuda| gable_runtime::target::targets_for(cuda.capability).contains(&target))
        };
        gable_runtime::cuda::devices().ok()?.into_iter().find(runs).map(|device| device.name)
    }

    /// What the passes need to know: sizes of the dimensions that capture left symbolic.
    fn pass_options(&self, module: &Module) -> PassOptions {
        let symbolic = module.graph.symbols();
        let dims = self.dims.iter().filter(|(name, _)| symbolic.contains(name));
        PassOptions { dims: dims.map(|(name, size)| (name.clone(), *size)).collect(), precision: self.precision }
    }

    /// The options that shape the result, by their command line names.
    fn recorded(&self, ptxas: Option<&gable_ptx::ptxas::Ptxas>) -> BTreeMap<String, String> {
        let mut options = BTreeMap::from([("precision".to_string(), self.precision.to_string())]);
        for (name, size) in &self.dims {
            options.insert(format!("dim {name}"), size.to_string());
        }
        if let Some(version) = ptxas.and_then(|ptxas| ptxas.version().ok()) {
            options.insert("ptxas".into(), version);
        }
        options
    }
}
