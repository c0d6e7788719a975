//! A kernel ready to run: flat code, registers by number, variables at addresses.
//!
//! `Module::parse` reads the text; `Module::kernel` decodes one entry with all functions that it may call. Registers are static:
//! each function has its own, since recursion is refused. What differs from thread to thread or CTA to CTA, such as the address of
//! a shared array in a cluster, is an instruction of its own.

mod body;
mod decoder;
mod layout;
mod names;

use std::sync::Arc;

use gable_ptx::Target;
use gable_ptx::grammar::{GrammarError, Op};
use gable_ptx::syntax::{self, Directives, SyntaxError};

use crate::exec::Execute;
use crate::scalar::Register;

pub(crate) use body::Passed;
pub(crate) use decoder::describe;
pub use decoder::{Decoder, LoadError};
pub use layout::{GlobalVariable, ParameterLayout};

/// A value that an instruction reads: a register, or a constant where the high bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(u32);

impl Source {
    const CONSTANT: u32 = 1 << 31;

    /// Where the value is: the index, and whether among the constants.
    pub fn place(self) -> (usize, bool) {
        ((self.0 & !Self::CONSTANT) as usize, self.0 & Self::CONSTANT != 0)
    }
}

/// A register that an instruction writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its number; the value is dropped where absent (`_`).
    pub register: Option<u32>,
    /// Its width in bits. Values are cut to it.
    pub bits: u32,
}

/// A predicate that an instruction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A register, negated where so.
    Predicate {
        /// Its number.
        index: u32,
        /// `!p`.
        negated: bool,
    },
    /// A constant.
    Constant(bool),
}

/// An address: a value plus bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// What is added to.
    pub base: Source,
    /// Bytes added.
    pub offset: i64,
}

/// A place in the code, by number; `Kernel::labels` says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(pub u32);

/// Which lanes must come together before an instruction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converge {
    /// None: each group of lanes for itself.
    Never,
    /// All lanes of the warp that have not exited: `.aligned`.
    Warp,
    /// The lanes of a member mask: `.sync`.
    Members(Source),
    /// None, but lanes that give different member masks run it apart: `bar.warp.sync`.
    Tile(Source),
}

/// One instruction, decoded.
pub struct Inst {
    /// Which instruction, for profiles and messages.
    pub op: Op,
    /// Lanes where this is false pass over it.
    pub guard: Option<(u32, bool)>,
    /// Who must be there.
    pub converge: Converge,
    /// What it does.
    pub execute: Box<dyn Execute>,
    /// Line, from 1.
    pub line: u32,
    /// As it was written.
    pub spelling: Arc<str>,
    /// Registers read or written while an asynchronous operation may still own them are faults: all that it names.
    pub registers: Box<[u32]>,
}

/// A decoded entry with the functions that it may call.
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// The machine that it is decoded for.
    pub machine: Target,
    /// The code of all functions; the entry starts at 0.
    pub code: Vec<Inst>,
    /// Where each label is in the code.
    pub labels: Vec<u32>,
    /// Registers of a thread.
    pub registers: u32,
    /// Predicates of a thread.
    pub predicates: u32,
    /// Values that are the same in every lane and thread.
    pub constants: Vec<Register>,
    /// What a launch passes, in order.
    pub params: Vec<ParameterLayout>,
    /// Bytes of all parameters.
    pub param_bytes: u32,
    /// Bytes of declared shared memory; what the launch adds starts here, aligned to `dynamic_align`.
    pub static_shared: u32,
    /// Alignment of the array that the launch sizes, where it is named.
    pub dynamic_align: u32,
    /// Bytes of local memory of a thread, arguments of calls included.
    pub local_bytes: u32,
    /// Variables of the module, with their addresses already in the code.
    pub globals: Vec<GlobalVariable>,
    /// What the kernel says of its launch.
    pub directives: Directives,
    /// Whether CTAs may depend on each other through global memory, so that they must take turns.
    pub cooperative: bool,
    /// Whether the code has any `tcgen05.fence`. There are compilers that emit none and rely on ptxas not moving accesses to tensor
    /// memory over barriers: only code that has some is held to having all.
    pub tensor_fences: bool,
}

/// A parsed module.
pub struct Module {
    source: syntax::Source,
}

impl Module {
    /// Reads a module.
    pub fn parse(text: &str) -> Result<Module, LoadError> {
        Ok(Module { source: syntax::parse(text)? })
    }

    /// The names of its entries.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.source.items.iter().filter_map(|item| match item {
            syntax::Item::Function(function) if function.is_entry => Some(&*function.name),
            _ => None,
        })
    }

    /// The syntax tree.
    pub fn source(&self) -> &syntax::Source {
        &self.source
    }

    /// The entry of that name, decoded for a machine.
    pub fn kernel(&self, entry: &str, machine: Target) -> Result<Kernel, LoadError> {
        Decoder::kernel(&self.source, entry, machine)
    }
}

impl From<SyntaxError> for LoadError {
    fn from(error: SyntaxError) -> Self {
        LoadError { line: error.line, message: error.message }
    }
}

impl From<GrammarError> for LoadError {
    fn from(error: GrammarError) -> Self {
        LoadError { line: error.line, message: error.message }
    }
}
