//! Modules and kernels as data, and their text.
//!
//! The text is a function of the data: registers are declared by their highest number, everything else is printed in the
//! order in which it stands. `parse` reads the text back into an equal module.

use std::collections::BTreeMap;
use std::fmt;

use crate::form::{DstSlot, Slot};
use crate::inst::{Inst, Statement};
use crate::meaning::Meaning;
use crate::operand::{Base, Operand, Symbol, Value};
use crate::register::{Class, Reg};
use crate::scalar::ScalarType;
use crate::target::{PtxVersion, Target};

/// The name of the array that a launch sizes. A module has one, so kernels share the name.
pub const DYNAMIC_SHARED: &str = "dynamic_shared";

/// Size of a tensor map in bytes.
pub const TENSOR_MAP_BYTES: u32 = 128;

/// Alignment of a tensor map in bytes.
pub const TENSOR_MAP_ALIGN: u32 = 64;

/// A PTX file: kernels for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The version of the language.
    pub version: PtxVersion,
    /// The machine.
    pub target: Target,
    /// Alignment in bytes of the dynamic shared memory, where a kernel uses it.
    pub dynamic_shared_align: Option<u32>,
    /// The kernels.
    pub kernels: Vec<Kernel>,
}

/// One `.entry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its name, by which it is launched.
    pub name: String,
    /// What the launch passes, in order.
    pub params: Vec<Param>,
    /// `.maxntid`: the launch has no more threads in each direction.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`: the launch has exactly these.
    pub required_threads: Option<[u32; 3]>,
    /// `.minnctapersm`: so many CTAs fit one SM, which bounds the registers.
    pub min_ctas_per_sm: Option<u32>,
    /// `.maxnreg`: a thread is given at most so many registers.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`: the launch has clusters of exactly these CTAs.
    pub required_cluster: Option<[u32; 3]>,
    /// Static shared memory.
    pub shared: Vec<Array>,
    /// Arrays of each thread.
    pub local: Vec<Array>,
    /// Alignment in bytes that it asks of the dynamic shared memory, where it uses it.
    /// Not part of its text: the module declares the array.
    pub dynamic_shared_align: Option<u32>,
    /// The instructions.
    pub body: Vec<Statement>,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: Symbol,
    /// Its type; pointers are scalars of type `U64`.
    pub ty: ParamType,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// One value.
    Scalar(ScalarType),
    /// A tensor map: 128 bytes, aligned to 64, which the driver encodes.
    TensorMap,
}

impl ParamType {
    /// Bytes that it takes among the parameters.
    pub fn bytes(self) -> u32 {
        match self {
            ParamType::Scalar(ty) => ty.bytes(),
            ParamType::TensorMap => TENSOR_MAP_BYTES,
        }
    }

    /// Alignment in bytes.
    pub fn align(self) -> u32 {
        match self {
            ParamType::Scalar(ty) => ty.bytes(),
            ParamType::TensorMap => TENSOR_MAP_ALIGN,
        }
    }
}

impl From<ScalarType> for ParamType {
    fn from(ty: ScalarType) -> Self {
        ParamType::Scalar(ty)
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty {
            ParamType::Scalar(ty) => write!(f, ".param .{ty} {}", self.name),
            ParamType::TensorMap => {
                write!(f, ".param .align {TENSOR_MAP_ALIGN} .b8 {}[{TENSOR_MAP_BYTES}]", self.name)
            }
        }
    }
}

/// A named array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its name.
    pub name: Symbol,
    /// Its size.
    pub bytes: u32,
    /// Its alignment in bytes, a power of two.
    pub align: u32,
}

impl Module {
    /// A module of the lowest PTX version that has the target and every instruction of the kernels.
    pub fn new(target: Target, kernels: Vec<Kernel>) -> Self {
        let mut module =
            Module { version: target.row().lowest_ptx, target, dynamic_shared_align: None, kernels: Vec::new() };
        for kernel in kernels {
            module.push(kernel);
        }
        module
    }

    /// Adds a kernel, raising the version where it needs that.
    pub fn push(&mut self, kernel: Kernel) {
        let needed = kernel.insts().map(|inst| inst.op.form().floor.ptx).max();
        self.version = self.version.max(needed.unwrap_or(self.version));
        self.dynamic_shared_align = self.dynamic_shared_align.max(kernel.dynamic_shared_align);
        self.kernels.push(kernel);
        // One array serves all kernels, with the strictest alignment.
        for kernel in &mut self.kernels {
            if kernel.dynamic_shared_align.is_some() {
                kernel.dynamic_shared_align = self.dynamic_shared_align;
            }
        }
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

impl Kernel {
    /// A kernel without parameters, demands or instructions.
    pub(crate) fn new(name: String) -> Kernel {
        Kernel {
            name,
            params: Vec::new(),
            max_threads: None,
            required_threads: None,
            min_ctas_per_sm: None,
            max_registers: None,
            required_cluster: None,
            shared: Vec::new(),
            local: Vec::new(),
            dynamic_shared_align: None,
            body: Vec::new(),
        }
    }

    /// The instructions of the body in order.
    pub fn insts(&self) -> impl Iterator<Item = &Inst> {
        self.body.iter().filter_map(|statement| match statement {
            Statement::Inst(inst) => Some(inst),
            _ => None,
        })
    }

    /// The instructions between a label and a later branch back to it, in order.
    pub fn insts_in_loops(&self) -> impl Iterator<Item = &Inst> {
        let mut labels = BTreeMap::new();
        let mut in_loop = vec![false; self.body.len()];
        for (position, statement) in self.body.iter().enumerate() {
            match statement {
                Statement::Label(label) => {
                    labels.insert(label, position);
                }
                Statement::Inst(inst) if matches!(inst.op.form().meaning, Meaning::Branch { .. }) => {
                    let target = inst.src.iter().find_map(|operand| match operand {
                        Operand::Label(label) => labels.get(label),
                        _ => None,
                    });
                    if let Some(&start) = target {
                        in_loop[start..position].fill(true);
                    }
                }
                _ => {}
            }
        }
        self.body.iter().zip(in_loop).filter_map(|(statement, in_loop)| match statement {
            Statement::Inst(inst) if in_loop => Some(inst),
            _ => None,
        })
    }

    /// Static shared memory in bytes, padding between the arrays included.
    pub fn static_shared_bytes(&self) -> u64 {
        self.shared
            .iter()
            .fold(0, |end, array| end.next_multiple_of(u64::from(array.align.max(1))) + u64::from(array.bytes))
    }

    /// How many registers of `class` the text declares.
    pub fn register_count(&self, class: Class) -> u32 {
        self.insts()
            .flat_map(registers)
            .filter(|reg| reg.class == class)
            .map(|reg| reg.index.saturating_add(1))
            .max()
            .unwrap_or(0)
    }
}

/// Every register that an instruction names.
pub(crate) fn registers(inst: &Inst) -> Vec<Reg> {
    let mut regs: Vec<Reg> = inst.guard.iter().map(|guard| guard.pred).collect();
    regs.extend(&inst.dst);
    regs.extend(sources(inst));
    regs
}

/// The registers that an instruction reads, its guard left out.
pub(crate) fn sources(inst: &Inst) -> Vec<Reg> {
    let mut regs = Vec::new();
    if reads_accumulators(inst) {
        regs.extend(&inst.dst);
    }
    for operand in &inst.src {
        match operand {
            Operand::Value(value) => regs.extend(value.as_reg()),
            Operand::Vector(values) => regs.extend(values.iter().filter_map(|v| v.as_reg())),
            Operand::Address(place) => {
                if let Base::Reg(reg) = place.base {
                    regs.push(reg);
                }
            }
            Operand::Tensor(place) => {
                regs.push(place.map);
                regs.extend(place.coordinates.iter().filter_map(|coordinate| coordinate.as_reg()));
            }
            Operand::Symbol(_) | Operand::Label(_) => {}
        }
    }
    regs
}

/// Whether the results are read as well: no predicate among the operands is the constant 0, which says that they are not.
fn reads_accumulators(inst: &Inst) -> bool {
    let form = inst.op.form();
    matches!(form.dst, Some(DstSlot::Accumulators(..)))
        && !form
            .src
            .iter()
            .zip(&inst.src)
            .any(|(slot, operand)| *slot == Slot::Value(Class::Pred) && *operand == Operand::Value(Value::Int(0)))
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, ".version {}", self.version)?;
        writeln!(f, ".target {}", self.target)?;
        writeln!(f, ".address_size 64")?;
        if let Some(align) = self.dynamic_shared_align {
            writeln!(f, "\n.extern .shared .align {align} .b8 {DYNAMIC_SHARED}[];")?;
        }
        for kernel in &self.kernels {
            write!(f, "\n{kernel}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".visible .entry {}(", self.name)?;
        for (i, param) in self.params.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            write!(f, "{separator}\n    {param}")?;
        }
        writeln!(f, "{})", if self.params.is_empty() { "" } else { "\n" })?;
        if let Some([x, y, z]) = self.max_threads {
            writeln!(f, ".maxntid {x}, {y}, {z}")?;
        }
        if let Some([x, y, z]) = self.required_threads {
            writeln!(f, ".reqntid {x}, {y}, {z}")?;
        }
        if let Some(count) = self.min_ctas_per_sm {
            writeln!(f, ".minnctapersm {count}")?;
        }
        if let Some(count) = self.max_registers {
            writeln!(f, ".maxnreg {count}")?;
        }
        if let Some([x, y, z]) = self.required_cluster {
            writeln!(f, ".reqnctapercluster {x}, {y}, {z}")?;
        }
        writeln!(f, "{{")?;
        for class in Class::ALL {
            let count = self.register_count(class);
            if count > 0 {
                writeln!(f, "    .reg .{class} %{}<{count}>;", class.prefix())?;
            }
        }
        for (space, arrays) in [("shared", &self.shared), ("local", &self.local)] {
            for Array { name, bytes, align } in arrays {
                writeln!(f, "    .{space} .align {align} .b8 {name}[{bytes}];")?;
            }
        }
        for statement in &self.body {
            match statement {
                Statement::Inst(inst) => writeln!(f, "    {inst}")?,
                Statement::Label(label) => writeln!(f, "{label}:")?,
                Statement::Comment(text) => writeln!(f, "    // {text}")?,
                Statement::NoUnroll => writeln!(f, "    .pragma \"nounroll\";")?,
            }
        }
        writeln!(f, "}}")
    }
}
