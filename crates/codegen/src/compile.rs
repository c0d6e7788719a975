//! A fused graph as kernels and steps for one target.
//!
//! In: a module whose graph is bound, verified and has regions, and a place in memory for every value that crosses
//! regions. Out: a plan. Regions are compiled in parallel; kernels with the same text are kept once; the result depends
//! on nothing but the input.

use crate::class::Class;
use crate::contraction::candidates::{Choices, candidates, region_key};
use crate::contraction::problem::{ContractionError, Problem};
use crate::contraction::region::ContractionKernel;
use crate::error::{CodegenError, Fault};
use crate::program::Program;
use crate::schedule::Hardware;
use crate::work::{KernelLaunch, Memory, Work};
use crate::{contraction, map, ordered, reduction, row, split, window};
use gable_artifact::{Access, Action, Arg, BufferRef, Kernel, Launch, Space, Step, StepCost, TargetPlan};
use gable_ir::{Graph, NodeId, Op, Region, RegionKind, cost};
use gable_ptx::Target;
use gable_roofline::Machine;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Buffers start at multiples of this, and vectors count on it.
const BUFFER_ALIGNMENT: u64 = 16;

/// Scratch memory starts at multiples of this.
const SCRATCH_ALIGNMENT: u64 = 256;

/// Where values lie.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Memory of every input, weight and region output.
    pub of: BTreeMap<NodeId, BufferRef>,
    /// Bytes of the arena that these places take; scratch memory is put after them.
    pub arena_bytes: u64,
}

/// What one region becomes, before it is put together with the others.
struct Compiled<'g> {
    region: &'g Region,
    work: Vec<Work>,
    inputs: Vec<BufferRef>,
    outputs: Vec<BufferRef>,
    cost: StepCost,
}

/// Kernels and steps of all regions, in the order of their dependencies.
pub fn compile(graph: &Graph, places: &Places, target: Target) -> Result<TargetPlan, CodegenError> {
    compile_for(graph, places, &Hardware::of(target))
}

/// The same for a machine that is described.
pub fn compile_for(graph: &Graph, places: &Places, hardware: &Hardware) -> Result<TargetPlan, CodegenError> {
    compile_with(graph, places, hardware, &Choices::default())
}

/// The same with schedules of contractions that were chosen elsewhere.
pub fn compile_with(
    graph: &Graph,
    places: &Places,
    hardware: &Hardware,
    choices: &Choices,
) -> Result<TargetPlan, CodegenError> {
    let target = hardware.target;
    let span = tracing::info_span!("codegen", target = target.name());
    let _entered = span.enter();
    let regions = ordered_regions(graph);
    let compiled: Vec<Compiled<'_>> = regions
        .par_iter()
        .map(|region| {
            compile_region(graph, region, places, hardware, choices).map_err(|fault| CodegenError {
                region: region.name.clone(),
                target: target.name(),
                fault: Box::new(fault),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(assemble(compiled, places.arena_bytes, target))
}

/// Regions as the canonical order of their values has them.
fn ordered_regions(graph: &Graph) -> Vec<&Region> {
    let position: BTreeMap<NodeId, usize> = graph.order().into_iter().zip(0..).collect();
    let mut regions: Vec<&Region> = graph.regions.iter().collect();
    regions.sort_by_key(|region| region.nodes.iter().map(|id| position[id]).min());
    regions
}

fn compile_region<'g>(
    graph: &'g Graph,
    region: &'g Region,
    places: &Places,
    hardware: &Hardware,
    choices: &Choices,
) -> Result<Compiled<'g>, Fault> {
    let program = Program::of_region(graph, region)?;
    let place = |&(_, id): &(usize, NodeId)| {
        let place = places.of.get(&id).copied().ok_or_else(|| {
            Fault::contract(format!("value {} (`{}`) has no place in memory", id.index(), graph.op(id).name()))
        })?;
        if place.offset % BUFFER_ALIGNMENT != 0 {
            return Err(Fault::contract(format!("{place} does not start at a multiple of {BUFFER_ALIGNMENT} bytes")));
        }
        Ok(place)
    };
    let inputs = program.inputs.iter().map(place).collect::<Result<Vec<_>, Fault>>()?;
    let outputs = program.outputs.iter().map(place).collect::<Result<Vec<_>, Fault>>()?;
    let work = if is_view_in_place(graph, region, &inputs, &outputs) {
        Vec::new()
    } else {
        let overwritten: Vec<usize> =
            (0..inputs.len()).filter(|&input| outputs.iter().any(|output| output.overlaps(&inputs[input]))).collect();
        works(graph, region, &program, hardware, &overwritten, choices)?
    };
    for launch in work.iter().filter_map(Work::launch) {
        check_class(launch)?;
    }
    Ok(Compiled { region, work, inputs, outputs, cost: step_cost(graph, region) })
}

/// Kernels for a region of a graph that is bound, of memory that does not overlap.
pub fn region_works(graph: &Graph, region: &Region, hardware: &Hardware) -> Result<Vec<Work>, Fault> {
    let program = Program::of_region(graph, region)?;
    works(graph, region, &program, hardware, &[], &Choices::default())
}

/// Kernels for a region; of its parts where the chosen schedule leaves folds to kernels of their own.
fn works(
    graph: &Graph,
    region: &Region,
    program: &Program,
    hardware: &Hardware,
    overwritten: &[usize],
    choices: &Choices,
) -> Result<Vec<Work>, Fault> {
    match region_work_with(program, region.kind, hardware, overwritten, choices) {
        Err(Fault::Contraction(ContractionError::FoldsApart(_))) if overwritten.is_empty() => {
            let compile =
                |part: &Region, program: &Program| region_work_with(program, part.kind, hardware, overwritten, choices);
            split::works(graph, region, program, compile)
        }
        compiled => compiled,
    }
}

/// Kernels for one program by the kind of its region. `overwritten` are inputs that share memory with outputs.
pub fn region_work(
    program: &Program,
    kind: RegionKind,
    hardware: &Hardware,
    overwritten: &[usize],
) -> Result<Vec<Work>, Fault> {
    region_work_with(program, kind, hardware, overwritten, &Choices::default())
}

fn region_work_with(
    program: &Program,
    kind: RegionKind,
    hardware: &Hardware,
    overwritten: &[usize],
    choices: &Choices,
) -> Result<Vec<Work>, Fault> {
    match kind {
        RegionKind::Map => map::work(program, hardware, overwritten),
        RegionKind::Row => row::work(program, hardware, overwritten),
        RegionKind::Reduction => reduction::work(program, hardware, overwritten),
        RegionKind::Window => window::work(program, hardware, overwritten),
        RegionKind::Ordered => ordered::work(program, hardware, overwritten),
        RegionKind::Contraction | RegionKind::Convolution => {
            let target = hardware.target;
            let choose = |problem: &Problem| choices.choose(program, problem, target);
            let kernel = contraction::region::kernel_by(program, target, overwritten, choose)?;
            Ok(kernel.map(ContractionKernel::work).unwrap_or_default())
        }
    }
}

/// Regions of one kind of contraction, and the schedules worth timing for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunable {
    /// What the regions are, as [`Choices`] has it.
    pub key: String,
    /// The problem in one line.
    pub problem: String,
    /// Names of the regions.
    pub regions: Vec<String>,
    /// Texts of the schedules, the rule's choice first.
    pub candidates: Vec<String>,
}

/// The contractions of a fused graph whose schedules are a choice, each once, in the order of the regions.
pub fn tunables(graph: &Graph, target: Target) -> Result<Vec<Tunable>, CodegenError> {
    let mut found: Vec<Tunable> = Vec::new();
    each_product(graph, target, |region, program, problem| {
        let key = region_key(program, problem);
        if let Some(known) = found.iter_mut().find(|known| known.key == key) {
            known.regions.push(region.name.clone());
            return Ok(());
        }
        let candidates = candidates(problem, target)?.iter().map(ToString::to_string).collect();
        found.push(Tunable { key, problem: problem.to_string(), regions: vec![region.name.clone()], candidates });
        Ok(())
    })?;
    Ok(found)
}

/// What the contractions of a fused graph are, as [`Choices`] has it, without their candidates.
pub fn region_keys(graph: &Graph, target: Target) -> Result<BTreeSet<String>, CodegenError> {
    let mut found = BTreeSet::new();
    each_product(graph, target, |_, program, problem| {
        found.insert(region_key(program, problem));
        Ok(())
    })?;
    Ok(found)
}

fn each_product(
    graph: &Graph,
    target: Target,
    mut visit: impl FnMut(&Region, &Program, &Problem) -> Result<(), Fault>,
) -> Result<(), CodegenError> {
    let mut one = |region: &Region| {
        if !matches!(region.kind, RegionKind::Contraction | RegionKind::Convolution) {
            return Ok(());
        }
        let program = Program::of_region(graph, region)?;
        match contraction::region::problem(&program, target)? {
            Some(problem) => visit(region, &program, &problem),
            None => Ok(()),
        }
    };
    ordered_regions(graph).into_iter().try_for_each(|region| {
        one(region).map_err(|fault| CodegenError {
            region: region.name.clone(),
            target: target.name(),
            fault: Box::new(fault),
        })
    })
}

/// What is expected of a contraction's kernel on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// The schedule that the rule chooses.
    pub schedule: String,
    /// Its instruction class.
    pub class: String,
    /// Seconds, without the launch.
    pub seconds: f64,
}

impl Predicted {
    /// Both, one after the other.
    pub fn and(self, next: &Predicted) -> Predicted {
        let both = |a: String, b: &str| if a == b { a } else { format!("{a}, {b}") };
        Predicted {
            schedule: both(self.schedule, &next.schedule),
            class: both(self.class, &next.class),
            seconds: self.seconds + next.seconds,
        }
    }
}

/// What the rules expect of the contractions of a fused graph on a machine that runs the target, in the order of the regions.
pub fn predicted(graph: &Graph, target: Target, machine: &Machine) -> Result<Vec<Predicted>, CodegenError> {
    let mut found = Vec::new();
    for region in ordered_regions(graph) {
        if !matches!(region.kind, RegionKind::Contraction | RegionKind::Convolution) {
            continue;
        }
        let of_region = || -> Result<Option<Predicted>, Fault> {
            let program = Program::of_region(graph, region)?;
            let Some(problem) = contraction::region::problem(&program, target)? else { return Ok(None) };
            let schedule = contraction::rule::choose(&problem, target)?;
            let seconds = contraction::predict::seconds(&problem, &schedule, machine);
            Ok(Some(Predicted { schedule: schedule.to_string(), class: schedule.class().to_string(), seconds }))
        };
        found.extend(of_region().map_err(|fault| CodegenError {
            region: region.name.clone(),
            target: target.name(),
            fault: Box::new(fault),
        })?);
    }
    Ok(found)
}

/// Whether the region only names memory anew: reshapes whose result lies where their operand lies.
fn is_view_in_place(graph: &Graph, region: &Region, inputs: &[BufferRef], outputs: &[BufferRef]) -> bool {
    let only_reshapes = region.nodes.iter().all(|&id| matches!(graph.op(id), Op::Reshape(_)));
    only_reshapes && outputs.iter().all(|output| inputs.contains(output))
}

fn check_class(launch: &KernelLaunch) -> Result<(), Fault> {
    let found = Class::found(&launch.kernel);
    // A stated `fma` kernel may turn out to need none, where constants decide everything; never the other way round.
    let holds = found == launch.class || (launch.class == Class::Fma && found == Class::None);
    if !holds {
        return Err(Fault::contract(format!(
            "kernel `{}` states class `{}`, its instructions are of class `{found}`",
            launch.kernel.name, launch.class
        )));
    }
    let in_loops = Class::found_in_loops(&launch.kernel);
    if !launch.class.is_looped() || in_loops == launch.class {
        return Ok(());
    }
    Err(Fault::contract(format!(
        "kernel `{}` states class `{}`, the instructions of its loops are of class `{in_loops}`",
        launch.kernel.name, launch.class
    )))
}

fn step_cost(graph: &Graph, region: &Region) -> StepCost {
    let order = graph.order_within(&region.nodes).unwrap_or_else(|| region.nodes.clone());
    let ops = order.iter().map(|&id| graph.op(id).name().to_string()).collect();
    let Some(cost) = cost::of_group(graph, &region.nodes) else { return StepCost { ops, ..StepCost::default() } };
    StepCost {
        flops: cost.flops.iter().map(|(unit, &flops)| (unit.to_string(), flops)).collect(),
        bytes_read: cost.read_bytes.iter().sum::<f64>() as u64,
        bytes_written: cost.written_bytes as u64,
        ops,
    }
}

/// Puts regions together: one kernel for each text, scratch memory after the arena, steps in order.
fn assemble(compiled: Vec<Compiled<'_>>, arena_bytes: u64, target: Target) -> TargetPlan {
    let scratch_start = arena_bytes.next_multiple_of(SCRATCH_ALIGNMENT);
    let mut arena_end = arena_bytes;
    let mut kernels: Vec<Kernel> = Vec::new();
    let mut by_text: BTreeMap<(String, u32), usize> = BTreeMap::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut steps = Vec::new();
    for mut region in compiled {
        let n_launches = region.work.iter().filter(|work| work.launch().is_some()).count();
        let main = main_step(&region.work);
        for (n_steps, work) in std::mem::take(&mut region.work).into_iter().enumerate() {
            let action = match work {
                Work::Copy { input, output } => {
                    Action::Copy { source: region.inputs[input], target: region.outputs[output] }
                }
                Work::Launch(launch) => {
                    let args: Vec<Arg> = launch
                        .args
                        .iter()
                        .map(|memory| {
                            let arg = region.arg(memory, scratch_start);
                            if let Some((place, _)) = arg.memory().filter(|(place, _)| place.space == Space::Arena) {
                                arena_end = arena_end.max(place.offset + place.bytes);
                            }
                            arg
                        })
                        .collect();
                    let KernelLaunch { grid, block, cluster, dependent, .. } = launch;
                    let base = match n_launches {
                        1 => region.region.name.clone(),
                        _ => format!("{}.{n_steps}", region.region.name),
                    };
                    let kernel = keep(&mut kernels, &mut by_text, &mut names, base, launch, target);
                    Action::Launch(Launch { kernel, grid, block, cluster, dependent, args })
                }
            };
            let cost = if n_steps == main { region.cost.clone() } else { StepCost::default() };
            steps.push(Step { label: region.region.name.clone(), action, cost, predicted: None });
        }
    }
    TargetPlan { target: target.name().to_string(), arena_bytes: arena_end, kernels, steps }
}

/// The step that what the region needs counts with, once: the first of those that do its arithmetic.
fn main_step(work: &[Work]) -> usize {
    let class = |work: &Work| work.launch().map(|launch| launch.class);
    let highest = work.iter().map(class).max();
    work.iter().position(|work| Some(class(work)) == highest).unwrap_or(0)
}

impl Compiled<'_> {
    /// A parameter with its place in memory; scratch memory begins at `scratch_start` of the arena.
    fn arg(&self, memory: &Memory, scratch_start: u64) -> Arg {
        let (place, access) = self.place(memory, scratch_start);
        match (memory, access) {
            (Memory::TensorMap { map, .. }, _) => Arg::TensorMap { place, access, map: map.clone() },
            (_, Access::Read) => Arg::Read(place),
            (_, Access::Write) => Arg::Write(place),
            (_, Access::Update) => Arg::Update(place),
        }
    }

    fn place(&self, memory: &Memory, scratch_start: u64) -> (BufferRef, Access) {
        match memory {
            Memory::Input(position) => (self.inputs[*position], Access::Read),
            Memory::Output(position) => {
                let output = self.outputs[*position];
                // An output that lies over an input is read as well.
                let is_read = self.inputs.iter().any(|input| input.overlaps(&output));
                (output, if is_read { Access::Update } else { Access::Write })
            }
            Memory::Update(position) => (self.outputs[*position], Access::Update),
            Memory::Scratch { offset, bytes, written } => {
                let place = BufferRef { space: Space::Arena, offset: scratch_start + offset, bytes: *bytes };
                (place, if *written { Access::Write } else { Access::Read })
            }
            Memory::TensorMap { of, .. } => self.place(of, scratch_start),
        }
    }
}

fn keep(
    kernels: &mut Vec<Kernel>,
    by_text: &mut BTreeMap<(String, u32), usize>,
    names: &mut BTreeSet<String>,
    base: String,
    launch: KernelLaunch,
    target: Target,
) -> usize {
    let entry = launch.kernel.name.clone();
    let ptx = gable_ptx::Module::new(target, vec![launch.kernel]).to_string();
    let key = (ptx, launch.dynamic_shared_bytes);
    if let Some(&known) = by_text.get(&key) {
        return known;
    }
    let mut name = base.clone();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{base}~{number}");
        number += 1;
    }
    kernels.push(Kernel {
        name,
        entry,
        ptx: key.0.clone(),
        cubin: None,
        class: launch.class.name().to_string(),
        dynamic_shared_bytes: launch.dynamic_shared_bytes,
        resources: None,
    });
    by_text.insert(key, kernels.len() - 1);
    kernels.len() - 1
}

impl Work {
    /// The launch, when it is one.
    pub fn launch(&self) -> Option<&KernelLaunch> {
        match self {
            Work::Launch(launch) => Some(launch),
            Work::Copy { .. } => None,
        }
    }
}
