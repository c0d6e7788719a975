//! What a compiled model consists of. All fields are plain data; [`Artifact::check`] says what must hold between them.
//!
//! A plan is a straight list of steps over four kinds of memory: the caller's inputs and outputs, the weights, and one
//! arena for everything in between. Sizes are bytes unless a name says otherwise.

use crate::tensor_map::{MAP_ALIGNMENT, MAP_BYTES, TensorMap};
use bytes::Bytes;
use gable_tensor::{Bindings, DType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A compiled model: one graph, its weights, and a plan for each target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Where it came from.
    pub provenance: Provenance,
    /// The optimised graph as `.gir` text: what the cpu device evaluates and `inspect` shows.
    #[serde(skip)]
    pub graph: String,
    /// Values of the model's symbolic dimensions for which the plans were made.
    pub dims: Bindings,
    /// What the caller gives, in graph order.
    pub inputs: Vec<Signature>,
    /// What the caller gets, in graph order.
    pub outputs: Vec<Signature>,
    /// Constant tensors, by key. The graph and the plans share them.
    pub weights: Vec<Weight>,
    /// One plan for each target, each target once.
    pub plans: Vec<TargetPlan>,
}

/// How the artifact was made. Nothing here depends on the machine or the time of the build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the compiler.
    pub gable_version: String,
    /// The model's own name, or its file's name without folders.
    pub model_name: String,
    /// Hash of the model's contents, in hexadecimal.
    pub model_hash: String,
    /// Compiler options that shaped the result, by their command line names.
    pub options: BTreeMap<String, String>,
}

/// Name, element type and concrete shape of one input or output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The graph's name for it.
    pub name: String,
    /// Element type.
    #[serde(with = "dtype_name")]
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

/// One constant tensor, dense and row-major, little endian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// The name under which the graph refers to it.
    pub key: String,
    /// Element type.
    #[serde(with = "dtype_name")]
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The elements; a slice of the mapped file when the artifact was opened from one.
    #[serde(skip)]
    pub data: Bytes,
}

/// Kernels and steps for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPlan {
    /// The target's name, such as `sm_90a`.
    pub target: String,
    /// Bytes that the arena needs: the peak of the memory plan.
    pub arena_bytes: u64,
    /// Kernels, each under a name of its own.
    pub kernels: Vec<Kernel>,
    /// What runs, in order.
    pub steps: Vec<Step>,
}

/// One kernel: its code and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Unique within its plan.
    pub name: String,
    /// The entry point's symbol in the code.
    pub entry: String,
    /// A whole PTX module.
    #[serde(skip)]
    pub ptx: String,
    /// The same module assembled for the plan's target, where an assembler was there to do it.
    #[serde(skip)]
    pub cubin: Option<Bytes>,
    /// The instruction class that does its arithmetic: `mma.sync`, `fma`, or `none` for a kernel that only moves data.
    pub class: String,
    /// Shared memory that each launch asks for beyond the static part.
    pub dynamic_shared_bytes: u32,
    /// What the assembler reported; absent when it was not assembled.
    pub resources: Option<Resources>,
}

/// An assembler's figures for one kernel, per thread unless stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Registers.
    pub registers: u32,
    /// Bytes stored by spills.
    pub spill_store_bytes: u32,
    /// Bytes loaded by spills.
    pub spill_load_bytes: u32,
    /// Stack frame.
    pub stack_bytes: u32,
    /// Static shared memory per block.
    pub static_shared_bytes: u32,
    /// Constant memory, parameters included, per kernel.
    pub constant_bytes: u32,
    /// Hardware barriers per block.
    pub barriers: u32,
}

/// One thing that happens on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The region it carries out.
    pub label: String,
    /// What to do.
    pub action: Action,
    /// What the region needs, whatever the kernel does.
    pub cost: StepCost,
    /// What the cost model expects on the plan's target.
    pub predicted: Option<Prediction>,
}

/// The kinds of step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Runs a kernel.
    Launch(Launch),
    /// Sets memory to one 32-bit pattern.
    Fill {
        /// Where; a whole number of words, aligned to words.
        target: BufferRef,
        /// The pattern.
        word: u32,
    },
    /// Copies memory that does not overlap.
    Copy {
        /// From where.
        source: BufferRef,
        /// To where; as long as the source.
        target: BufferRef,
    },
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Position in the plan's kernels.
    pub kernel: usize,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// Blocks per cluster in x, y, z; all ones for none.
    pub cluster: [u32; 3],
    /// Whether it may start before the step before it has finished (programmatic dependent launch). Its kernel then waits
    /// by itself, with `griddepcontrol.wait`, before it touches memory that another step writes or reads.
    pub dependent: bool,
    /// The kernel's parameters, in order.
    pub args: Vec<Arg>,
}

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arg {
    /// A 64-bit address of memory that the kernel reads.
    Read(BufferRef),
    /// A 64-bit address of memory that the kernel writes, every byte of it, without reading it first.
    Write(BufferRef),
    /// A 64-bit address of memory that the kernel reads and writes, or writes in part.
    Update(BufferRef),
    /// A tensor map over memory, encoded for its address when the plan is loaded.
    TensorMap {
        /// The memory: element 0 lies at its start, the last element inside it.
        place: BufferRef,
        /// What the kernel does with it.
        access: Access,
        /// How copies walk over it.
        map: Box<TensorMap>,
    },
    /// A 32-bit word.
    U32(u32),
    /// A 64-bit word.
    U64(u64),
    /// A binary32 number, given by its bits so that every value survives the text form.
    F32Bits(u32),
}

impl Arg {
    /// A binary32 number.
    pub fn f32(value: f32) -> Arg {
        Arg::F32Bits(value.to_bits())
    }

    /// Size of the parameter.
    pub fn bytes(&self) -> u32 {
        match self {
            Arg::Read(_) | Arg::Write(_) | Arg::Update(_) | Arg::U64(_) => 8,
            Arg::TensorMap { .. } => MAP_BYTES,
            Arg::U32(_) | Arg::F32Bits(_) => 4,
        }
    }

    /// Alignment of the parameter.
    pub fn alignment(&self) -> u32 {
        match self {
            Arg::TensorMap { .. } => MAP_ALIGNMENT,
            _ => self.bytes(),
        }
    }

    /// The memory that the parameter gives the kernel, and what the kernel does with it.
    pub fn memory(&self) -> Option<(BufferRef, Access)> {
        match self {
            Arg::Read(place) => Some((*place, Access::Read)),
            Arg::Write(place) => Some((*place, Access::Write)),
            Arg::Update(place) => Some((*place, Access::Update)),
            Arg::TensorMap { place, access, .. } => Some((*place, *access)),
            Arg::U32(_) | Arg::U64(_) | Arg::F32Bits(_) => None,
        }
    }
}

/// What a kernel does with memory that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every byte of it, without reading it first.
    Write,
    /// Reads and writes it, or writes it in part.
    Update,
}

impl Access {
    /// Whether the kernel may see what was there.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether the kernel may change what was there.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferRef {
    /// Which memory.
    pub space: Space,
    /// Where the range starts.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// The kinds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The input at this position.
    Input(usize),
    /// The output at this position.
    Output(usize),
    /// The weight at this position.
    Weight(usize),
    /// The plan's arena.
    Arena,
}

/// What a step's region costs at least, from the graph and never from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCost {
    /// Operations by arithmetic unit, such as `f32`.
    pub flops: BTreeMap<String, f64>,
    /// Compulsory bytes read.
    pub bytes_read: u64,
    /// Compulsory bytes written.
    pub bytes_written: u64,
    /// Names of the region's operators, in order.
    pub ops: Vec<String>,
}

/// A predicted time: never a measured one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The machine whose figures were used.
    pub machine: String,
    /// Predicted time in seconds.
    pub seconds: f64,
    /// The roof that binds, such as `dram`.
    pub bound: String,
}

impl Artifact {
    /// The plan for the target of this name.
    pub fn plan(&self, target: &str) -> Option<&TargetPlan> {
        self.plans.iter().find(|plan| plan.target == target)
    }

    /// Names of the targets, in the artifact's order.
    pub fn targets(&self) -> Vec<&str> {
        self.plans.iter().map(|plan| plan.target.as_str()).collect()
    }
}

impl TargetPlan {
    /// The kernel of this name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

impl Step {
    /// The launch, when the step is one.
    pub fn launch(&self) -> Option<&Launch> {
        match &self.action {
            Action::Launch(launch) => Some(launch),
            Action::Fill { .. } | Action::Copy { .. } => None,
        }
    }

    /// Ranges that the step reads, in argument order.
    pub fn reads(&self) -> Vec<BufferRef> {
        match &self.action {
            Action::Launch(launch) => launch.ranges(Access::reads),
            Action::Fill { .. } => Vec::new(),
            Action::Copy { source, .. } => vec![*source],
        }
    }

    /// Ranges that the step writes, in argument order.
    pub fn writes(&self) -> Vec<BufferRef> {
        match &self.action {
            Action::Launch(launch) => launch.ranges(Access::writes),
            Action::Fill { target, .. } | Action::Copy { target, .. } => vec![*target],
        }
    }
}

impl Launch {
    /// Ranges whose access is such, in argument order.
    fn ranges(&self, such: impl Fn(Access) -> bool) -> Vec<BufferRef> {
        let memory = self.args.iter().filter_map(Arg::memory);
        memory.filter(|(_, access)| such(*access)).map(|(place, _)| place).collect()
    }
}

impl BufferRef {
    /// Whether the two ranges share a byte.
    pub fn overlaps(&self, other: &BufferRef) -> bool {
        self.space == other.space
            && self.offset < other.offset.saturating_add(other.bytes)
            && other.offset < self.offset.saturating_add(self.bytes)
    }
}

/// Element types are stored by name.
mod dtype_name {
    use gable_tensor::DType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(dtype.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DType, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
