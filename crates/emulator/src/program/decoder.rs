//! Syntax tree to code: names to numbers, operands to sources and destinations.

use std::collections::HashMap;
use std::sync::Arc;

use gable_ptx::Target;
use gable_ptx::grammar::{Platform, Resolved, SpecialRegister};
use gable_ptx::syntax::{Directives, Function, Instruction, Operand, StorageType};

use super::body::Interface;
use super::names::{Names, Variable};
use super::{Address, Condition, Converge, Destination, GlobalVariable, Inst, Label, ParameterLayout, Source};
use crate::exec::{self, Execute};
use crate::scalar::Register;

/// The text is no kernel that this machine runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LoadError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

/// Most registers of a kernel, and most instructions: beyond is a mistake or an attack, not a kernel.
const MAX_REGISTERS: u32 = 1 << 20;
const MAX_CODE: usize = 1 << 24;

/// The state of decoding one kernel.
pub struct Decoder<'s> {
    pub(super) platform: Platform,
    pub(super) functions: HashMap<Arc<str>, (&'s Function, u32)>,
    pub(super) names: Names,
    pub(super) code: Vec<Inst>,
    /// Where labels are; `u32::MAX` until they are met.
    pub(super) labels: Vec<u32>,
    registers: HashMap<(u32, u32, u32), (u32, StorageType)>,
    declarations: u32,
    register_count: u32,
    predicate_count: u32,
    constants: Vec<Register>,
    constant_numbers: HashMap<u64, u32>,
    pub(super) params: Vec<ParameterLayout>,
    pub(super) param_bytes: u32,
    pub(super) shared_end: u32,
    pub(super) dynamic_align: u32,
    pub(super) local_end: u32,
    pub(super) globals: Vec<GlobalVariable>,
    pub(super) directives: Directives,
    pub(super) cooperative: bool,
    /// How the functions that are reached take arguments.
    pub(super) callees: HashMap<Arc<str>, Interface>,
    /// The instruction being decoded.
    line: u32,
    touched: Vec<u32>,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(platform: Platform, directives: Directives) -> Self {
        Decoder {
            platform,
            functions: HashMap::new(),
            names: Names::default(),
            code: Vec::new(),
            labels: Vec::new(),
            registers: HashMap::new(),
            declarations: 0,
            register_count: 0,
            predicate_count: 0,
            constants: Vec::new(),
            constant_numbers: HashMap::new(),
            params: Vec::new(),
            param_bytes: 0,
            shared_end: 0,
            dynamic_align: 1,
            local_end: 0,
            globals: Vec::new(),
            directives,
            cooperative: false,
            callees: HashMap::new(),
            line: 0,
            touched: Vec::new(),
        }
    }

    pub(super) fn finish(self, name: &str) -> super::Kernel {
        let tensor_fences = self.code.iter().any(|inst| inst.spelling.contains("tcgen05.fence"));
        super::Kernel {
            name: name.to_owned(),
            machine: self.platform.machine,
            code: self.code,
            labels: self.labels,
            registers: self.register_count,
            predicates: self.predicate_count,
            constants: self.constants,
            params: self.params,
            param_bytes: self.param_bytes,
            static_shared: self.shared_end,
            dynamic_align: self.dynamic_align,
            local_bytes: self.local_end,
            globals: self.globals,
            directives: self.directives,
            cooperative: self.cooperative,
            tensor_fences,
        }
    }

    /// The machine that the code is for.
    pub fn machine(&self) -> Target {
        self.platform.machine
    }

    /// An error at the instruction being decoded.
    pub fn error(&self, message: impl Into<String>) -> LoadError {
        LoadError { line: self.line, message: message.into() }
    }

    /// Says that CTAs of this kernel may wait for each other through global memory.
    pub fn takes_turns(&mut self) {
        self.cooperative = true;
    }

    pub(super) fn new_declaration(&mut self) -> u32 {
        self.declarations += 1;
        self.declarations
    }

    pub(super) fn new_label(&mut self) -> Label {
        self.labels.push(u32::MAX);
        Label(self.labels.len() as u32 - 1)
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }

    pub(super) fn set_line(&mut self, line: u32) {
        self.line = line;
    }

    // ---- code ----

    /// Appends an instruction.
    pub(super) fn instruction(&mut self, instruction: &Instruction) -> Result<(), LoadError> {
        self.line = instruction.line;
        self.touched.clear();
        let resolved = gable_ptx::grammar::resolve(instruction, &self.platform)?;
        let guard = match &instruction.guard {
            None => None,
            Some((name, negated)) => {
                let operand = Operand::Name { name: name.clone(), negated: *negated };
                match self.condition(&operand)? {
                    Condition::Predicate { index, negated } => Some((index, negated)),
                    Condition::Constant(_) => return Err(self.error("a guard is a predicate register")),
                }
            }
        };
        let spelling: Arc<str> = instruction.spelling().into();
        let decoded = exec::decode(self, &resolved, instruction)?;
        if self.code.len() >= MAX_CODE {
            return Err(self.error(format!("more than {MAX_CODE} instructions")));
        }
        self.push(&resolved, guard, decoded.converge, decoded.execute, spelling);
        for after in decoded.after {
            let spelling: Arc<str> = instruction.spelling().into();
            self.push(&resolved, guard, Converge::Never, after, spelling);
        }
        Ok(())
    }

    fn push(
        &mut self,
        resolved: &Resolved,
        guard: Option<(u32, bool)>,
        converge: Converge,
        execute: Box<dyn Execute>,
        spelling: Arc<str>,
    ) {
        let mut registers = self.touched.clone();
        registers.sort_unstable();
        registers.dedup();
        let (op, line) = (resolved.op, self.line);
        self.code.push(Inst { op, guard, converge, execute, line, spelling, registers: registers.into() });
    }

    /// An instruction before the one being decoded, for operands that need one.
    fn prepare(&mut self, execute: Box<dyn Execute>) {
        let line = self.line;
        let inst = Inst {
            op: gable_ptx::grammar::Op::Mov,
            guard: None,
            converge: Converge::Never,
            execute,
            line,
            spelling: "mov".into(),
            registers: Box::default(),
        };
        self.code.push(inst);
    }

    // ---- operands ----

    /// A register without a name.
    pub fn temporary(&mut self) -> Destination {
        self.register_count += 1;
        Destination { register: Some(self.register_count - 1), bits: 64 }
    }

    /// A constant in every lane.
    pub fn constant(&mut self, value: u64) -> Source {
        let constants = &mut self.constants;
        let number = *self.constant_numbers.entry(value).or_insert_with(|| {
            constants.push([value; 32]);
            constants.len() as u32 - 1
        });
        Source(number | Source::CONSTANT)
    }

    /// What a name stands for, if it is a register: its number and type.
    fn register(&mut self, name: &str) -> Result<Option<(u32, StorageType)>, LoadError> {
        let (base, component) = match name.rsplit_once('.') {
            Some((base, part)) if matches!(part, "x" | "y" | "z" | "w" | "r" | "g" | "b" | "a") => {
                let component = "xyzw".find(part).or("rgba".find(part)).unwrap_or(0);
                (base, component as u32)
            }
            _ => (name, 0),
        };
        let Some((run, number)) = self.names.register(base) else { return Ok(None) };
        self.register_of(run.id, number, component, run.ty).map(Some)
    }

    pub(super) fn register_of(
        &mut self,
        id: u32,
        number: u32,
        part: u32,
        ty: StorageType,
    ) -> Result<(u32, StorageType), LoadError> {
        if let Some(found) = self.registers.get(&(id, number, part)) {
            return Ok(*found);
        }
        let counter = match ty {
            StorageType::Pred => &mut self.predicate_count,
            _ => &mut self.register_count,
        };
        let index = *counter;
        // 128-bit registers take two.
        *counter += if ty == StorageType::B128 { 2 } else { 1 };
        if *counter > MAX_REGISTERS {
            return Err(self.error(format!("more than {MAX_REGISTERS} registers")));
        }
        self.registers.insert((id, number, part), (index, ty));
        Ok((index, ty))
    }

    /// The components of a vector register, or the operands of a vector in braces, or the operand alone.
    pub fn elements(&mut self, operand: &Operand) -> Result<Vec<Operand>, LoadError> {
        if let Operand::Vector(values) = operand {
            return Ok(values.clone());
        }
        if let Operand::Name { name, negated: false } = operand
            && let Some((run, _)) = self.names.register(name)
            && run.vector > 1
        {
            let component = |c: char| Operand::Name { name: format!("{name}.{c}").into(), negated: false };
            return Ok("xyzw".chars().take(run.vector as usize).map(component).collect());
        }
        Ok(vec![operand.clone()])
    }

    /// A value that is read. Float constants keep their bits; `f32_literal` cuts decimals to f32.
    pub fn value(&mut self, operand: &Operand) -> Result<Source, LoadError> {
        match operand {
            Operand::Int(value) => Ok(self.constant(*value)),
            Operand::F32(bits) => Ok(self.constant(u64::from(*bits))),
            Operand::F64(bits) => Ok(self.constant(*bits)),
            Operand::Name { name, negated: false } => {
                if let Some((index, ty)) = self.register(name)? {
                    if ty == StorageType::Pred {
                        return Err(self.error(format!("`{name}` is a predicate, expected a value")));
                    }
                    self.touched.push(index);
                    return Ok(Source(index));
                }
                if let Some(special) = SpecialRegister::of(name) {
                    let destination = self.temporary();
                    let execute = exec::moves::special(self, special, destination)?;
                    self.prepare(execute);
                    return Ok(Source(destination.register.unwrap_or_default()));
                }
                self.symbol(name, 0, false)
            }
            Operand::Expression { name, generic, offset } => self.symbol(name, *offset, *generic),
            Operand::Vector(values) if values.len() == 1 => self.value(&values[0]),
            other => Err(self.error(format!("{} is not a value", describe(other)))),
        }
    }

    /// A value read by an f32 instruction, where a decimal constant means an f32.
    pub fn value_f32(&mut self, operand: &Operand) -> Result<Source, LoadError> {
        match operand {
            Operand::F64(bits) => Ok(self.constant(u64::from((f64::from_bits(*bits) as f32).to_bits()))),
            other => self.value(other),
        }
    }

    /// The address of a variable in its own space or as a generic one, or of a function.
    fn symbol(&mut self, name: &str, offset: i64, generic: bool) -> Result<Source, LoadError> {
        let Some(variable) = self.variable(name) else {
            return Err(self.error(format!("`{name}` is not declared")));
        };
        match variable {
            Variable::Global(address) => Ok(self.constant(address.wrapping_add_signed(offset))),
            Variable::Function(label) => Ok(self.constant(exec::control::function_address(Label(label)))),
            Variable::Local(place) => {
                let base = if generic { crate::memory::GENERIC_LOCAL } else { 0 };
                Ok(self.constant((base + u64::from(place)).wrapping_add_signed(offset)))
            }
            Variable::Parameter(place) => {
                let destination = self.temporary();
                let execute = exec::moves::parameter_address(destination, i64::from(place) + offset);
                self.prepare(execute);
                Ok(Source(destination.register.unwrap_or_default()))
            }
            Variable::Shared(_) | Variable::DynamicShared => {
                let place = match variable {
                    Variable::Shared(place) => Some(place),
                    _ => None,
                };
                let destination = self.temporary();
                let execute = exec::moves::shared_address(destination, place, offset, generic);
                self.prepare(execute);
                Ok(Source(destination.register.unwrap_or_default()))
            }
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<Variable> {
        let declared = self.names.find(|scope| scope.variables.get(name).copied());
        declared.or_else(|| self.functions.get(name).map(|(_, label)| Variable::Function(*label)))
    }

    /// The offset of a kernel parameter, if the name is one.
    pub fn parameter(&self, name: &str) -> Option<u32> {
        match self.variable(name)? {
            Variable::Parameter(offset) => Some(offset),
            _ => None,
        }
    }

    /// The offset of a name in the thread's local memory: local variables, arguments and results of calls.
    pub fn local(&self, name: &str) -> Option<u32> {
        match self.variable(name)? {
            Variable::Local(offset) => Some(offset),
            _ => None,
        }
    }

    /// A register that is written, or `_`.
    pub fn destination(&mut self, operand: &Operand) -> Result<Destination, LoadError> {
        match operand {
            Operand::Sink => Ok(Destination { register: None, bits: 64 }),
            Operand::Name { name, negated: false } => match self.register(name)? {
                Some((_, StorageType::Pred)) => {
                    Err(self.error(format!("`{name}` is a predicate, expected a register for a value")))
                }
                Some((index, ty)) => {
                    self.touched.push(index);
                    Ok(Destination { register: Some(index), bits: (ty.bytes() * 8) as u32 })
                }
                None => Err(self.error(format!("`{name}` is not a declared register"))),
            },
            Operand::Vector(values) if values.len() == 1 => self.destination(&values[0]),
            other => Err(self.error(format!("{} is not a register", describe(other)))),
        }
    }

    /// A predicate register that is written; `_` gives none.
    pub fn predicate(&mut self, operand: &Operand) -> Result<Option<u32>, LoadError> {
        match operand {
            Operand::Sink => Ok(None),
            Operand::Name { name, negated: false } => match self.register(name)? {
                Some((index, StorageType::Pred)) => Ok(Some(index)),
                Some(_) => Err(self.error(format!("`{name}` is no predicate"))),
                None => Err(self.error(format!("`{name}` is not a declared register"))),
            },
            other => Err(self.error(format!("{} is not a predicate", describe(other)))),
        }
    }

    /// Whether the operand names a predicate register.
    pub fn is_predicate(&mut self, operand: &Operand) -> bool {
        match operand {
            Operand::Name { name, .. } => matches!(self.register(name), Ok(Some((_, StorageType::Pred)))),
            _ => false,
        }
    }

    /// Bits of the register that the operand names; 32 for anything else.
    pub fn width(&mut self, operand: &Operand) -> u32 {
        match operand {
            Operand::Name { name, .. } => match self.register(name) {
                Ok(Some((_, ty))) => (ty.bytes() * 8) as u32,
                _ => 32,
            },
            _ => 32,
        }
    }

    /// A predicate that is read: a register, negated or not, or an integer constant.
    pub fn condition(&mut self, operand: &Operand) -> Result<Condition, LoadError> {
        match operand {
            Operand::Int(value) => Ok(Condition::Constant(*value != 0)),
            Operand::Name { name, negated } => match self.register(name)? {
                Some((index, StorageType::Pred)) => Ok(Condition::Predicate { index, negated: *negated }),
                Some(_) => Err(self.error(format!("`{name}` is no predicate"))),
                None => Err(self.error(format!("`{name}` is not a declared register"))),
            },
            other => Err(self.error(format!("{} is not a predicate", describe(other)))),
        }
    }

    /// `[base+offset]`.
    pub fn address(&mut self, operand: &Operand) -> Result<Address, LoadError> {
        match operand {
            Operand::Address { base, offset, .. } => Ok(Address { base: self.value(base)?, offset: *offset }),
            other => Err(self.error(format!("{} is not an address", describe(other)))),
        }
    }

    /// The name inside `[name+offset]`, with the offset, where it is no register.
    pub fn address_symbol<'o>(&self, operand: &'o Operand) -> Option<(&'o str, i64)> {
        let Operand::Address { base, offset, .. } = operand else { return None };
        match &**base {
            Operand::Name { name, .. } if self.names.register(name).is_none() => Some((name, *offset)),
            Operand::Expression { name, offset: more, .. } => Some((name, offset + more)),
            _ => None,
        }
    }

    /// The label of a name.
    pub fn label(&self, operand: &Operand) -> Result<Label, LoadError> {
        let Operand::Name { name, .. } = operand else {
            return Err(self.error(format!("{} is not a label", describe(operand))));
        };
        self.label_named(name)
    }

    /// The label of a name.
    pub fn label_named(&self, name: &str) -> Result<Label, LoadError> {
        let label = self.names.find(|scope| scope.labels.get(name).copied());
        label.ok_or_else(|| self.error(format!("there is no label `{name}` here")))
    }

    /// The names of a `.branchtargets` or `.calltargets` list.
    pub fn targets(&self, name: &str) -> Option<Vec<Arc<str>>> {
        self.names.find(|scope| scope.targets.get(name).cloned())
    }

    /// Whether the name is a function.
    pub fn is_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// The functions that the kernel may call, in the order of their names.
    pub fn functions_by_address(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.callees.keys().cloned().collect();
        names.sort();
        names
    }

    /// Where a function starts, and how it takes arguments.
    pub(crate) fn callee(&self, name: &str) -> Result<(Label, Interface), LoadError> {
        let found = self.functions.get(name).zip(self.callees.get(name));
        let ((function, label), interface) =
            found.ok_or_else(|| self.error(format!("there is no function `{name}`")))?;
        if function.body.is_none() {
            return Err(self.error(format!("function `{name}` is declared and not defined in this module")));
        }
        Ok((Label(*label), interface.clone()))
    }

    /// A register as a source.
    pub(crate) fn source_of(&self, register: Destination) -> Source {
        Source(register.register.unwrap_or_default())
    }

    /// The upper 64 bits of a 128-bit value.
    pub(crate) fn upper_half(&mut self, low: Source) -> Source {
        match low.place() {
            (_, true) => self.constant(0),
            (index, false) => Source(index as u32 + 1),
        }
    }

    /// The constant that the operand must be.
    pub fn immediate(&self, operand: &Operand) -> Result<u64, LoadError> {
        match operand {
            Operand::Int(value) => Ok(*value),
            other => Err(self.error(format!("{} is not an integer constant", describe(other)))),
        }
    }

    /// Operand `index`, or an error that says how many there are.
    pub fn operand<'o>(&self, instruction: &'o Instruction, index: usize) -> Result<&'o Operand, LoadError> {
        instruction.operands.get(index).ok_or_else(|| {
            let (spelling, count) = (instruction.spelling(), instruction.operands.len());
            self.error(format!("`{spelling}` has {count} operands, expected at least {}", index + 1))
        })
    }
}

/// An operand in words.
pub(crate) fn describe(operand: &Operand) -> String {
    match operand {
        Operand::Name { name, negated: false } => format!("`{name}`"),
        Operand::Name { name, negated: true } => format!("`!{name}`"),
        Operand::Int(value) => format!("`{value}`"),
        Operand::F32(_) | Operand::F64(_) => "a float constant".to_owned(),
        Operand::Sink => "`_`".to_owned(),
        Operand::Vector(_) => "a vector".to_owned(),
        Operand::Pair(..) => "a pair".to_owned(),
        Operand::Address { .. } => "an address".to_owned(),
        Operand::Expression { name, offset, .. } => format!("`{name}+{offset}`"),
        Operand::List(_) => "a list".to_owned(),
    }
}
