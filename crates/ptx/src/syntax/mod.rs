//! PTX as any compiler writes it: the syntax tree, without meaning.
//!
//! `parse` takes the text of a whole module and keeps everything that execution needs, with the line of each piece. Debug
//! sections, `.loc` and `.file` are skipped. What an instruction means, and whether it exists, is `grammar`'s question.
//! The typed `Module` of this crate is the subset that we write ourselves; every text of it parses here too.

use std::sync::Arc;

use crate::target::PtxVersion;

mod cursor;
mod declaration;
mod expression;
mod lexer;
mod operand;
mod parser;

pub use parser::{SyntaxError, parse};

/// A module.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `.version`.
    pub version: PtxVersion,
    /// The first word of `.target`, such as `sm_90a`.
    pub target: String,
    /// The words after it, such as `debug`.
    pub options: Vec<String>,
    /// Variables and functions, in the order of the text.
    pub items: Vec<Item>,
}

/// A declaration at module scope.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A variable in `.global`, `.const` or `.shared`.
    Variable(Variable),
    /// An `.entry` or a `.func`.
    Function(Function),
    /// `.alias alias, of;`.
    Alias {
        /// The new name.
        alias: Arc<str>,
        /// The function that it stands for.
        of: Arc<str>,
        /// Line, from 1.
        line: u32,
    },
}

/// Who sees a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// No directive: the module.
    Internal,
    /// `.visible`.
    Visible,
    /// `.extern`: defined elsewhere; for `.shared` the array that the launch sizes.
    Extern,
    /// `.weak` or `.common`.
    Weak,
}

/// State spaces of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VariableSpace {
    /// `.global`.
    Global,
    /// `.const`.
    Constant,
    /// `.shared`.
    Shared,
    /// `.local`.
    Local,
    /// `.param`: kernel parameters, and the arguments and results of calls.
    Param,
}

/// Types of registers, variables and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// `.pred`.
    Pred,
    /// `.b8 .u8 .s8` and the 8-bit floats.
    B8,
    /// `.b16 .u16 .s16 .f16 .bf16`.
    B16,
    /// `.b32 .u32 .s32 .f32 .f16x2 ..`.
    B32,
    /// `.b64 .u64 .s64 .f64`.
    B64,
    /// `.b128`.
    B128,
}

impl StorageType {
    /// Bytes in memory; 1 for a predicate.
    pub const fn bytes(self) -> u64 {
        match self {
            StorageType::Pred | StorageType::B8 => 1,
            StorageType::B16 => 2,
            StorageType::B32 => 4,
            StorageType::B64 => 8,
            StorageType::B128 => 16,
        }
    }
}

/// A variable or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: Arc<str>,
    /// Where it lives.
    pub space: VariableSpace,
    /// Who sees it.
    pub linkage: Linkage,
    /// Bits of one scalar.
    pub ty: StorageType,
    /// `.v2` or `.v4` before the type, else 1.
    pub vector: u32,
    /// Sizes of an array, outermost first; empty for a scalar. 0 stands for `[]`.
    pub dimensions: Vec<u64>,
    /// Alignment in bytes: as given, else the natural one.
    pub align: u64,
    /// Values, where the declaration gives them.
    pub init: Option<Initializer>,
    /// Line, from 1.
    pub line: u32,
}

impl Variable {
    /// Bytes that it takes; 0 for an array without a size; `None` where that overflows.
    pub fn bytes(&self) -> Option<u64> {
        let one = self.ty.bytes() * u64::from(self.vector);
        self.dimensions.iter().try_fold(one, |bytes, size| bytes.checked_mul(*size))
    }
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Initializer {
    /// An integer, as its low 64 bits.
    Int(u64),
    /// An `0f` constant or a decimal in an f32 variable.
    F32(u32),
    /// An `0d` constant or a decimal.
    F64(u64),
    /// The address of a variable or function plus bytes; `generic(name)` where `generic`.
    Address {
        /// Of what.
        name: Arc<str>,
        /// `generic(name)`.
        generic: bool,
        /// Bytes added.
        offset: i64,
    },
    /// `{ .. }`.
    List(Vec<Initializer>),
}

/// `.entry` or `.func`.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: Arc<str>,
    /// Whether a launch can start it.
    pub is_entry: bool,
    /// Who sees it.
    pub linkage: Linkage,
    /// Results of a `.func`: `.param` variables or registers (`space` is then `Local` and `is_register` true).
    pub results: Vec<Parameter>,
    /// Parameters.
    pub params: Vec<Parameter>,
    /// Directives between the head and the body.
    pub directives: Directives,
    /// Absent for a declaration.
    pub body: Option<Vec<Statement>>,
    /// Line, from 1.
    pub line: u32,
}

/// A parameter or a result of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As a variable in `.param` space.
    pub variable: Variable,
    /// Whether it is a register, as `.func (.reg .b32 %r) f(.reg .b32 %a)` may have.
    pub is_register: bool,
}

/// What a kernel says of its launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `.maxntid`.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`.
    pub required_threads: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub min_ctas_per_sm: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`.
    pub required_cluster: Option<[u32; 3]>,
    /// `.maxclusterrank`.
    pub max_cluster_rank: Option<u32>,
    /// `.explicitcluster`.
    pub explicit_cluster: bool,
    /// `.blocksareclusters`.
    pub blocks_are_clusters: bool,
}

/// A statement of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `name:`.
    Label(Arc<str>, u32),
    /// An instruction.
    Instruction(Instruction),
    /// `.reg .b32 %r<4>, %x;`.
    Registers(Registers),
    /// A variable of the function.
    Variable(Variable),
    /// `{ .. }` with names of its own.
    Block(Vec<Statement>),
    /// `name: .branchtargets a, b;` or `.calltargets`.
    Targets(Arc<str>, Vec<Arc<str>>, u32),
    /// `name: .callprototype (results) _ (params);`.
    Prototype(Arc<str>, Vec<Parameter>, Vec<Parameter>, u32),
}

/// `.reg` with one declared name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// `%r` of `%r<4>`, or a whole name.
    pub name: Arc<str>,
    /// 4 of `%r<4>`; absent for a single register.
    pub count: Option<u32>,
    /// Bits.
    pub ty: StorageType,
    /// `.v2` or `.v4`, else 1.
    pub vector: u32,
    /// Line, from 1.
    pub line: u32,
}

/// An instruction, not yet understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Line of its first word, from 1.
    pub line: u32,
    /// `@p` or `@!p`: the name, and whether negated.
    pub guard: Option<(Arc<str>, bool)>,
    /// The mnemonic up to the first dot: `ld`.
    pub name: Arc<str>,
    /// The rest of it, split at dots: `global`, `L1::no_allocate`, `v4`, `f32`.
    pub modifiers: Vec<Arc<str>>,
    /// The operands, in the order of the text.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// The mnemonic as it was written.
    pub fn spelling(&self) -> String {
        let mut text = self.name.to_string();
        for modifier in &self.modifiers {
            text.push('.');
            text.push_str(modifier);
        }
        text
    }
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, a special register with its `.x`, a variable, a label, a function. `negated` for `!p`.
    Name {
        /// As written, `%r1`, `%tid.x`, `shared_array`.
        name: Arc<str>,
        /// `!p`.
        negated: bool,
    },
    /// An integer constant, as its low 64 bits; constant expressions are folded.
    Int(u64),
    /// An `0f` constant.
    F32(u32),
    /// An `0d` constant, or a decimal with a point.
    F64(u64),
    /// `_`.
    Sink,
    /// `{a, b}`.
    Vector(Vec<Operand>),
    /// `a|b`.
    Pair(Box<Operand>, Box<Operand>),
    /// `[base+offset]`; `[tensor_map, {c0, c1}]` and other lists keep the rest in `more`.
    Address {
        /// A name or an integer.
        base: Box<Operand>,
        /// Bytes added.
        offset: i64,
        /// What stands after a comma inside the brackets.
        more: Vec<Operand>,
    },
    /// `name+4` outside brackets, as in `mov.u32 %r, array+4`; also `generic(name)`.
    Expression {
        /// Of what.
        name: Arc<str>,
        /// `generic(name)`: the generic address, not the one in the variable's space.
        generic: bool,
        /// Bytes added.
        offset: i64,
    },
    /// `(a, b)`, the results or arguments of a call.
    List(Vec<Operand>),
}
