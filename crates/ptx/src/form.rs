//! A row of the instruction table, and what its columns can say.
//!
//! Every column is required: a row that leaves one out does not compile. `Opcode` is a reference to a row.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use crate::meaning::Meaning;
use crate::register::Class;
use crate::scalar::{ScalarType, Space};
use crate::table;
use crate::target::{Feature, PtxVersion, Target};

/// One concrete form of an instruction.
#[derive(Debug)]
pub struct Form {
    /// The builder method that makes it; unique.
    pub name: &'static str,
    /// Everything before the operands, `add.rn.f32`. Several forms may share it.
    pub spelling: &'static str,
    /// What it writes, if it writes registers.
    pub dst: Option<DstSlot>,
    /// What it reads, in the order of the text.
    pub src: &'static [Slot],
    /// A last operand that is part of the form, `%tid.x`.
    pub fixed: Option<&'static str>,
    /// The lowest target and PTX version that have it.
    pub floor: Floor,
    /// What it does beside computing its result.
    pub effect: Effect,
    /// The unit of the SM that executes it.
    pub pipe: Pipe,
    /// The anchor of its section in NVIDIA's "Parallel Thread Execution ISA".
    pub section: &'static str,
    /// What it computes.
    pub meaning: Meaning,
}

/// The registers that a form writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DstSlot {
    /// One register.
    Reg(Class),
    /// `{d0, d1, ..}`.
    Vector(Class, u8),
    /// `d|p`: a register and a predicate.
    WithPred(Class),
    /// `{d0, d1, ..}`, which the instruction reads as well, unless an operand `0` says that it only writes them.
    Accumulators(Class, u8),
    /// `_`: a result that is dropped.
    Discarded,
}

impl DstSlot {
    /// The classes of the registers written, in order.
    pub fn classes(self) -> Vec<Class> {
        match self {
            DstSlot::Reg(class) => vec![class],
            DstSlot::Vector(class, count) | DstSlot::Accumulators(class, count) => vec![class; usize::from(count)],
            DstSlot::Discarded => Vec::new(),
            DstSlot::WithPred(class) => vec![class, Class::Pred],
        }
    }
}

/// One operand that a form reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A register of the class, or a constant.
    Value(Class),
    /// A register of the class, or an integer constant between the two.
    Bounded(Class, i64, i64),
    /// A register of the class.
    Reg(Class),
    /// So many values in braces.
    Vector(Class, u8),
    /// So many registers in braces.
    RegVector(Class, u8),
    /// An integer constant between the two.
    Constant(i64, i64),
    /// One of some integer constants.
    OneOf(&'static [i64]),
    /// `{byte, thread}`: constants, each one of some.
    Selector(&'static [i64], &'static [i64]),
    /// `[base+offset]` in the space.
    Address(Space),
    /// `[map, {c0, ..}]` with so many coordinates.
    Tensor(u8),
    /// `[name]` of a parameter of the type.
    Param(ScalarType),
    /// The name of an array in the space, or of a parameter.
    Symbol(Space),
    /// A label of the kernel.
    Label,
}

/// The lowest target and PTX version that have a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Lowest compute capability times ten.
    pub sm: u32,
    /// Lowest PTX version.
    pub ptx: PtxVersion,
    /// The ability that the target must have in addition.
    pub feature: Option<Feature>,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Value(class) => write!(f, "{class} register or constant"),
            Slot::Bounded(class, low, high) => write!(f, "{class} register or constant from {low} to {high}"),
            Slot::Reg(class) => write!(f, "{class} register"),
            Slot::Vector(class, count) => write!(f, "{count} {class} values in braces"),
            Slot::RegVector(class, count) => write!(f, "{count} {class} registers in braces"),
            Slot::Constant(low, high) => write!(f, "constant from {low} to {high}"),
            Slot::OneOf(allowed) => write!(f, "one of the constants {allowed:?}"),
            Slot::Selector(bytes, threads) => {
                write!(f, "one of the constants {bytes:?} and one of {threads:?} in braces")
            }
            Slot::Address(space) => write!(f, "address in {space} memory"),
            Slot::Tensor(rank) => write!(f, "tensor map and {rank} coordinates in brackets"),
            Slot::Param(ty) => write!(f, "parameter of type {ty}"),
            Slot::Symbol(Space::Param) => f.write_str("name of a parameter"),
            Slot::Symbol(space) => write!(f, "array in {space} memory"),
            Slot::Label => f.write_str("label"),
        }
    }
}

impl Floor {
    /// What every target has that a current `ptxas` still assembles for. Older floors are not told apart.
    pub const BASE: Floor = Floor::sm(75, PtxVersion::new(6, 3));

    /// From a compute capability on.
    pub const fn sm(sm: u32, ptx: PtxVersion) -> Floor {
        Floor { sm, ptx, feature: None }
    }

    /// Where the target has a feature.
    pub const fn feature(feature: Feature, ptx: PtxVersion) -> Floor {
        Floor { sm: 90, ptx, feature: Some(feature) }
    }

    /// Why a module of this version and target cannot hold the form, if it cannot.
    pub fn fault(&self, version: PtxVersion, target: Target) -> Option<String> {
        if let Some(feature) = self.feature
            && !target.has(feature)
        {
            return Some(format!("needs a target with {feature}, and {target} has none"));
        }
        self.fault_at(version, target.row().sm)
    }

    /// `fault` for a compute capability that is no target of ours.
    pub fn fault_at(&self, version: PtxVersion, sm: u32) -> Option<String> {
        if sm < self.sm {
            Some(format!("needs sm_{} or later, found sm_{sm}", self.sm))
        } else if version < self.ptx {
            Some(format!("needs `.version {}` or later, found {version}", self.ptx))
        } else {
            None
        }
    }
}

/// What an instruction does beside computing its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Nothing: the result depends on the sources alone.
    Pure,
    /// Nothing, but the result differs from one execution to the next.
    Volatile,
    /// Reads memory.
    Reads(Space),
    /// Writes memory.
    Writes(Space),
    /// Reads and writes memory in one step.
    Updates(Space),
    /// Reads global and later writes shared memory, in the background.
    CopiesAsync,
    /// Reads shared and later writes or updates global memory, in the background.
    StoresAsync,
    /// Groups asynchronous copies, or waits for them.
    AsyncGroup,
    /// Makes an mbarrier in shared memory, arrives at it, or waits for its phase.
    UpdatesBarrier,
    /// Meets the other threads of the CTA.
    Barrier,
    /// Orders memory.
    Orders,
    /// Meets the other CTAs of the cluster.
    MeetsCluster,
    /// Needs the other lanes of the warp.
    WarpSync,
    /// Needs the other warps of the warpgroup.
    WarpgroupSync,
    /// Reads shared memory for the whole warp.
    WarpReadsShared,
    /// Writes shared memory for the whole warp.
    WarpWritesShared,
    /// Allocates, reads, writes or multiplies in tensor memory, or waits for that.
    UsesTensorMemory,
    /// Decides what runs next.
    Control,
    /// Meets other kernels.
    Grid,
}

/// The unit of the SM that executes an instruction, for a cost model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pipe {
    /// Integers, logic, comparisons, selects.
    Alu,
    /// f32 and integer multiply-add.
    Fma,
    /// Packed and scalar 16-bit floats.
    Half,
    /// f64.
    Double,
    /// Transcendentals and most conversions.
    Special,
    /// No instruction of its own: `ptxas` writes a sequence.
    Sequence,
    /// Loads, stores, atomics, shuffles.
    LoadStore,
    /// Matrix multiply.
    Tensor,
    /// Branches, barriers, fences.
    Control,
}

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Opcode(pub(crate) &'static Form);

static BY_MEANING: LazyLock<BTreeMap<Meaning, Opcode>> =
    LazyLock::new(|| Opcode::all().map(|opcode| (opcode.form().meaning, opcode)).collect());

static BY_SPELLING: LazyLock<BTreeMap<&'static str, Vec<Opcode>>> = LazyLock::new(|| {
    let mut rows: BTreeMap<&'static str, Vec<Opcode>> = BTreeMap::new();
    for opcode in Opcode::all() {
        rows.entry(opcode.form().spelling).or_default().push(opcode);
    }
    rows
});

impl Opcode {
    /// Every row, in the order of the table.
    pub fn all() -> impl Iterator<Item = Opcode> {
        table::rows().map(Opcode)
    }

    /// The row that computes `meaning`.
    pub fn of(meaning: Meaning) -> Option<Opcode> {
        BY_MEANING.get(&meaning).copied()
    }

    /// The rows that are spelled so; they differ in their operands.
    pub fn spelled(spelling: &str) -> &'static [Opcode] {
        BY_SPELLING.get(spelling).map_or(&[], Vec::as_slice)
    }

    /// The columns of the row.
    pub fn form(self) -> &'static Form {
        self.0
    }
}

impl PartialEq for Opcode {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}
impl Eq for Opcode {}
impl Hash for Opcode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}
impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
