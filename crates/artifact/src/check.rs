//! What must hold between the parts of an artifact, so that whoever runs it can index without looking.
//!
//! Every reader and every writer checks. All faults are collected, each with its place.

use crate::error::{Fault, FormatError};
use crate::plan::{Action, Arg, Artifact, BufferRef, Launch, Space, Step, TargetPlan};
use crate::tensor_map::TensorMap;
use gable_tensor::DType;
use gable_tensor::tensor::byte_count;
use std::collections::BTreeSet;

/// Threads in a block, on every target (CUDA C++ Programming Guide, Compute Capabilities).
const MAX_BLOCK_THREADS: u64 = 1024;
/// Largest size of a block in x, y and z.
const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
/// Largest size of a grid in x, y and z.
const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];
/// Blocks in a cluster; more than 8 are not portable, more than 16 exist nowhere.
const MAX_CLUSTER_BLOCKS: u64 = 16;
/// Bytes of kernel parameters from compute capability 7.0 on.
const MAX_PARAM_BYTES: u32 = 32764;
/// The one target with tensor maps before Blackwell.
const HOPPER: &str = "sm_90a";
/// What a kernel executes before it touches what the launch before it works on.
const DEPENDENCY_WAIT: &str = "griddepcontrol.wait";

impl Artifact {
    /// Finds every contradiction between the parts.
    pub fn check(&self) -> Result<(), FormatError> {
        let mut checker = Checker { artifact: self, faults: Vec::new() };
        checker.artifact();
        if checker.faults.is_empty() { Ok(()) } else { Err(FormatError::Inconsistent(checker.faults)) }
    }
}

struct Checker<'a> {
    artifact: &'a Artifact,
    faults: Vec<Fault>,
}

impl<'a> Checker<'a> {
    fn fault(&mut self, place: &str, message: impl Into<String>) {
        self.faults.push(Fault { place: place.to_string(), message: message.into() });
    }

    fn artifact(&mut self) {
        let artifact = self.artifact;
        self.unique("inputs", "name", artifact.inputs.iter().map(|input| &input.name));
        self.unique("outputs", "name", artifact.outputs.iter().map(|output| &output.name));
        self.unique("weights", "key", artifact.weights.iter().map(|weight| &weight.key));
        self.unique("plans", "target", artifact.plans.iter().map(|plan| &plan.target));
        for input in &artifact.inputs {
            self.size(&format!("input `{}`", input.name), input.dtype, &input.shape);
        }
        for output in &artifact.outputs {
            self.size(&format!("output `{}`", output.name), output.dtype, &output.shape);
        }
        for weight in &artifact.weights {
            let place = format!("weight `{}`", weight.key);
            if let Some(expected) = self.size(&place, weight.dtype, &weight.shape)
                && weight.data.len() != expected
            {
                self.fault(&place, format!("holds {} bytes, its shape needs {expected}", weight.data.len()));
            }
        }
        for plan in &artifact.plans {
            self.plan(plan);
        }
    }

    fn unique(&mut self, place: &str, what: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() {
                self.fault(place, format!("an empty {what}"));
            } else if !seen.insert(name) {
                self.fault(place, format!("{what} `{name}` appears twice"));
            }
        }
    }

    fn size(&mut self, place: &str, dtype: DType, shape: &[usize]) -> Option<usize> {
        byte_count(dtype, shape).map_err(|error| self.fault(place, error.to_string())).ok()
    }

    fn plan(&mut self, plan: &'a TargetPlan) {
        let place = format!("plan {}", plan.target);
        self.unique(&format!("{place}, kernels"), "name", plan.kernels.iter().map(|kernel| &kernel.name));
        if isize::try_from(plan.arena_bytes).is_err() {
            self.fault(&place, format!("an arena of {} bytes cannot be addressed", plan.arena_bytes));
        }
        for kernel in &plan.kernels {
            let place = format!("{place}, kernel `{}`", kernel.name);
            if kernel.entry.is_empty() || !kernel.ptx.contains(&kernel.entry) {
                self.fault(&place, format!("entry `{}` does not occur in its code", kernel.entry));
            }
            if kernel.ptx.contains('\0') || kernel.entry.contains('\0') {
                self.fault(&place, "its code or entry holds a zero byte");
            }
            if kernel.cubin.as_ref().is_some_and(|cubin| cubin.is_empty()) {
                self.fault(&place, "its assembled code is empty");
            }
        }
        for (position, step) in plan.steps.iter().enumerate() {
            self.step(&format!("{place}, step {position} ({})", step.label), plan, step);
        }
    }

    fn step(&mut self, place: &str, plan: &TargetPlan, step: &Step) {
        for buffer in step.reads() {
            self.buffer(place, plan, buffer);
        }
        for buffer in step.writes() {
            self.buffer(place, plan, buffer);
            if matches!(buffer.space, Space::Input(_) | Space::Weight(_)) {
                self.fault(place, format!("writes {buffer}: inputs and weights are read only"));
            }
        }
        let predicted = step.predicted.as_ref().map(|prediction| prediction.seconds);
        for number in step.cost.flops.values().copied().chain(predicted) {
            if !(number.is_finite() && number >= 0.0) {
                self.fault(place, format!("a cost or time is {number}, expected a finite number from 0 up"));
            }
        }
        match &step.action {
            Action::Launch(launch) => self.launch(place, plan, launch),
            Action::Fill { target, .. } => {
                if target.offset % 4 != 0 || target.bytes % 4 != 0 {
                    self.fault(place, format!("fills {target}, which is not made of whole words"));
                }
            }
            Action::Copy { source, target } => {
                if source.bytes != target.bytes {
                    self.fault(place, format!("copies {source} to {target}: lengths differ"));
                }
                if source.overlaps(target) {
                    self.fault(place, format!("copies {source} to {target}: they overlap"));
                }
            }
        }
    }

    fn launch(&mut self, place: &str, plan: &TargetPlan, launch: &Launch) {
        match plan.kernels.get(launch.kernel) {
            None => self.fault(place, format!("kernel {} of {}", launch.kernel, plan.kernels.len())),
            Some(kernel) if launch.dependent && !kernel.ptx.contains(DEPENDENCY_WAIT) => {
                let name = &kernel.name;
                self.fault(place, format!("is dependent, but kernel `{name}` holds no `{DEPENDENCY_WAIT}`"));
            }
            Some(_) => {}
        }
        let product = |sizes: [u32; 3]| sizes.iter().fold(1u64, |product, &size| product.saturating_mul(size.into()));
        let within = |sizes: [u32; 3], limits: [u32; 3]| {
            sizes.iter().zip(limits).all(|(&size, limit)| (1..=limit).contains(&size))
        };
        let Launch { grid, block, cluster, .. } = *launch;
        if !within(grid, MAX_GRID) {
            self.fault(place, format!("grid is {grid:?}, expected sizes from 1 to {MAX_GRID:?}"));
        }
        if !within(block, MAX_BLOCK) || product(block) > MAX_BLOCK_THREADS {
            self.fault(
                place,
                format!("block is {block:?}, expected at most {MAX_BLOCK_THREADS} threads in {MAX_BLOCK:?}"),
            );
        }
        let divides = grid.iter().zip(cluster).all(|(&grid, cluster)| cluster != 0 && grid % cluster == 0);
        if !divides || product(cluster) > MAX_CLUSTER_BLOCKS {
            self.fault(
                place,
                format!(
                    "cluster is {cluster:?}, expected at most {MAX_CLUSTER_BLOCKS} blocks that divide grid {grid:?}"
                ),
            );
        }
        let param_bytes =
            launch.args.iter().map(|arg| (arg.bytes(), arg.alignment())).fold(0u32, |end, (bytes, alignment)| {
                end.checked_next_multiple_of(alignment).unwrap_or(u32::MAX).saturating_add(bytes)
            });
        if param_bytes > MAX_PARAM_BYTES {
            self.fault(place, format!("{param_bytes} bytes of parameters, at most {MAX_PARAM_BYTES} fit"));
        }
        for (position, arg) in launch.args.iter().enumerate() {
            if let Arg::TensorMap { place: memory, map, .. } = arg {
                self.tensor_map(&format!("{place}, argument {position}"), &plan.target, *memory, map);
            }
        }
    }

    /// That the range lies in its buffer is checked with the step's other ranges.
    fn tensor_map(&mut self, place: &str, target: &str, memory: BufferRef, map: &TensorMap) {
        if let Err(error) = map.check() {
            return self.fault(place, error.to_string());
        }
        if map.reach() > memory.bytes {
            self.fault(place, format!("tensor map: `dims` reach {} bytes from the start of {memory}", map.reach()));
        }
        if !memory.offset.is_multiple_of(map.alignment()) {
            let alignment = map.alignment();
            self.fault(place, format!("tensor map: {memory} does not start at a multiple of {alignment} bytes"));
        }
        if target == HOPPER
            && let Some((field, value)) = map.needs_blackwell()
        {
            self.fault(place, format!("tensor map: `{field}` is {value}, which {HOPPER} does not have"));
        }
    }

    fn buffer(&mut self, place: &str, plan: &TargetPlan, buffer: BufferRef) {
        let artifact = self.artifact;
        let of_signature = |signature: &crate::plan::Signature| byte_count(signature.dtype, &signature.shape).ok();
        let (count, size) = match buffer.space {
            Space::Input(i) => (artifact.inputs.len(), artifact.inputs.get(i).map(of_signature)),
            Space::Output(i) => (artifact.outputs.len(), artifact.outputs.get(i).map(of_signature)),
            Space::Weight(i) => (artifact.weights.len(), artifact.weights.get(i).map(|w| Some(w.data.len()))),
            Space::Arena => (1, Some(usize::try_from(plan.arena_bytes).ok())),
        };
        match size {
            None => self.fault(place, format!("{buffer} does not exist: there are {count}")),
            // The size itself overflows, and has been reported where it stands.
            Some(None) => {}
            Some(Some(size)) => {
                let fits = buffer.offset.checked_add(buffer.bytes).is_some_and(|end| end <= size as u64);
                if !fits {
                    self.fault(place, format!("{buffer} reaches past its {size} bytes"));
                }
            }
        }
    }
}

impl std::fmt::Display for BufferRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.space {
            Space::Input(i) => write!(f, "input {i}")?,
            Space::Output(i) => write!(f, "output {i}")?,
            Space::Weight(i) => write!(f, "weight {i}")?,
            Space::Arena => write!(f, "arena")?,
        }
        write!(f, "[{}, +{}]", self.offset, self.bytes)
    }
}
