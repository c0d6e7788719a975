//! Runs the pipeline. Whatever is done around every pass is done here and nowhere else: verifying, timing, dumping,
//! counting steps.

use crate::context::Context;
use crate::error::PassError;
use crate::options::PassOptions;
use crate::plan::{self, MemoryPlan};
use crate::table::{self, PASSES, PIPELINE, Pass};
use gable_ir::{Module, text, verify};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How to run: for people who look for a fault. None of it changes the result, but for `fuel`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunnerConfig {
    /// Check after each pass that the graph's text reads back as the same graph.
    pub check: bool,
    /// Write `NN-PASS.gir` after each pass into this folder.
    pub dump: Option<PathBuf>,
    /// Stop rewriting after this many steps; what later passes must do they still do.
    pub fuel: Option<u64>,
}

impl RunnerConfig {
    /// From the environment: `GABLE_CHECK` (0 or 1; else 1 in debug builds and under `CI`), `GABLE_DUMP`, `GABLE_FUEL`.
    pub fn from_env() -> Result<RunnerConfig, PassError> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let check = match read("GABLE_CHECK").as_deref() {
            Some("0") => false,
            Some("1") => true,
            Some(value) => return Err(environment("GABLE_CHECK", value, "0 or 1")),
            None => cfg!(debug_assertions) || read("CI").is_some(),
        };
        let fuel = match read("GABLE_FUEL") {
            Some(value) => Some(value.parse().map_err(|_| environment("GABLE_FUEL", &value, "a number of steps"))?),
            None => None,
        };
        Ok(RunnerConfig { check, dump: read("GABLE_DUMP").map(PathBuf::from), fuel })
    }
}

fn environment(name: &'static str, value: &str, expected: &'static str) -> PassError {
    PassError::Environment { name, value: value.to_string(), expected }
}

/// What one pass took.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The pass, or `plan`.
    pub pass: &'static str,
    /// Time in the pass itself, without verifying and dumping.
    pub time: Duration,
    /// Rewrites that it did.
    pub steps: u64,
    /// Number of values that it left.
    pub n_values: usize,
}

/// An optimised module.
#[derive(Clone, Debug)]
pub struct Optimized {
    /// Graph with regions, in the order in which they run; and weights.
    pub module: Module,
    /// Where every value lies that crosses regions.
    pub plan: MemoryPlan,
    /// What each pass took, in order.
    pub timings: Vec<Timing>,
}

/// Runs the whole pipeline, configured from the environment.
pub fn optimize(module: Module, options: &PassOptions) -> Result<Optimized, PassError> {
    optimize_with(module, options, &RunnerConfig::from_env()?)
}

/// Runs the whole pipeline.
pub fn optimize_with(module: Module, options: &PassOptions, config: &RunnerConfig) -> Result<Optimized, PassError> {
    let (module, mut timings) = run_passes(module, options, config, PIPELINE)?;
    let start = Instant::now();
    let plan = tracing::debug_span!("pass", name = "plan").in_scope(|| plan::plan(&module.graph));
    timings.push(Timing { pass: "plan", time: start.elapsed(), steps: 0, n_values: module.graph.len() });
    Ok(Optimized { module, plan, timings })
}

/// The module as the pipeline has it after the last run of the pass `name`.
pub fn run_until(
    module: Module,
    options: &PassOptions,
    config: &RunnerConfig,
    name: &str,
) -> Result<Module, PassError> {
    let last = PIPELINE.iter().rposition(|pass| *pass == name).ok_or_else(|| unknown(name))?;
    run_passes(module, options, config, &PIPELINE[..=last]).map(|(module, _)| module)
}

fn unknown(name: &str) -> PassError {
    PassError::UnknownPass { name: name.to_string(), known: PASSES.iter().map(|pass| pass.name.to_string()).collect() }
}

/// Runs the named passes in that order.
pub fn run_passes(
    mut module: Module,
    options: &PassOptions,
    config: &RunnerConfig,
    names: &[&str],
) -> Result<(Module, Vec<Timing>), PassError> {
    let faults = verify::verify_module(&module);
    if !faults.is_empty() {
        return Err(PassError::Input(faults));
    }
    // Passes find inputs first and ids dense, whoever built the graph.
    module.graph = module.graph.compacted();
    let mut context = Context::new(options, config.fuel);
    let mut timings = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let pass = table::find(name).ok_or_else(|| unknown(name))?;
        let _span = tracing::debug_span!("pass", name = pass.name).entered();
        let (start, steps) = (Instant::now(), context.steps());
        (pass.run)(&mut module, &mut context)?;
        let (time, steps) = (start.elapsed(), context.steps() - steps);
        settle(&mut module, pass, config)?;
        tracing::debug!(steps, n_values = module.graph.len(), ?time, "done");
        timings.push(Timing { pass: pass.name, time, steps, n_values: module.graph.len() });
        if let Some(folder) = &config.dump {
            let path = folder.join(format!("{position:02}-{}.gir", pass.name));
            let written =
                std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, module.graph.to_string()));
            written.map_err(|source| PassError::Dump { path, source })?;
        }
    }
    Ok((module, timings))
}

/// Verifies what a pass left and numbers it canonically.
fn settle(module: &mut Module, pass: &Pass, config: &RunnerConfig) -> Result<(), PassError> {
    let faults = verify::verify_module(module);
    if !faults.is_empty() {
        return Err(PassError::Left { pass: pass.name, faults });
    }
    module.graph = module.graph.compacted();
    if config.check {
        let printed = module.graph.to_string();
        let failed = |what: String| Err(PassError::RoundTrip { pass: pass.name, what });
        match text::parse(&printed) {
            Err(error) => return failed(error.to_string()),
            Ok(parsed) if parsed != module.graph => {
                let reprinted = parsed.to_string();
                let differing = printed.lines().zip(reprinted.lines()).find(|(a, b)| a != b);
                return failed(format!("{:?}", differing.unwrap_or(("", "the text is the same"))));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
