//! Modules and functions to code: variables get addresses, statements become instructions, labels get places.

use std::collections::HashMap;
use std::sync::Arc;

use gable_ptx::Target;
use gable_ptx::grammar::{self, Platform};
use gable_ptx::syntax::{
    Function, Initializer, Item, Linkage, Operand, Parameter, Source as Tree, Statement, VariableSpace,
};

use super::decoder::{Decoder, LoadError};
use super::layout::{self, GlobalVariable, MODULE_VARIABLES};
use super::names::{RegisterRun, Scope, Variable};
use super::{Kernel, Label};
use crate::memory::SHARED_BASE;

impl<'s> Decoder<'s> {
    /// The entry with everything that it may call.
    pub(super) fn kernel(source: &'s Tree, entry: &str, machine: Target) -> Result<Kernel, LoadError> {
        let functions = || {
            source.items.iter().filter_map(|item| match item {
                Item::Function(function) => Some(function),
                Item::Variable(_) | Item::Alias { .. } => None,
            })
        };
        let found = functions().find(|function| function.is_entry && &*function.name == entry);
        let Some(function) = found.filter(|function| function.body.is_some()) else {
            let names: Vec<&str> = functions().filter(|f| f.is_entry).map(|f| &*f.name).collect();
            let known = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
            return Err(LoadError { line: 1, message: format!("there is no entry `{entry}`; entries: {known}") });
        };
        let mut decoder = Decoder::new(Platform::new(source, machine)?, function.directives.clone());
        decoder.shared_end = SHARED_BASE;
        let main = decoder.new_label();
        let mut defined: HashMap<Arc<str>, (&Function, u32)> = HashMap::new();
        for other in functions().filter(|f| !f.is_entry) {
            // A definition counts, not its declarations.
            if other.body.is_some() || !defined.contains_key(&other.name) {
                let label = decoder.new_label();
                defined.insert(other.name.clone(), (other, label.0));
            }
        }
        for item in &source.items {
            if let Item::Alias { alias, of, line } = item {
                let Some(function) = defined.get(of).copied() else {
                    return Err(LoadError { line: *line, message: format!("`{alias}`: there is no function `{of}`") });
                };
                defined.insert(alias.clone(), function);
            }
        }
        decoder.functions = defined;
        decoder.names.scopes.push(Scope::default());
        decoder.module_variables(source)?;
        (decoder.params, decoder.param_bytes) = layout::parameters(&function.params)?;
        // Functions first: their parameters must have places before a call names them.
        let mut reached: Vec<Arc<str>> = Vec::new();
        reach(function, &decoder.functions, source, &mut reached);
        refuse_recursion(function, &decoder.functions)?;
        let mut scopes = HashMap::new();
        for name in &reached {
            let (callee, _) = decoder.functions[name];
            scopes.insert(name.clone(), decoder.function_scope(callee)?);
        }
        decoder.callees = scopes.iter().map(|(name, (_, interface))| (name.clone(), interface.clone())).collect();

        let mut scope = Scope::default();
        for param in &decoder.params {
            scope.variables.insert(param.name.clone(), Variable::Parameter(param.offset));
        }
        decoder.labels[main.0 as usize] = 0;
        decoder.function(function, scope)?;
        for name in &reached {
            let (callee, label) = decoder.functions[name];
            let Some((scope, _)) = scopes.remove(name) else { continue };
            if callee.body.is_some() {
                decoder.labels[label as usize] = decoder.code.len() as u32;
                decoder.function(callee, scope)?;
            }
        }
        if decoder.local_end > layout::MAX_LOCAL {
            let (found, most) = (decoder.local_end, layout::MAX_LOCAL);
            let message = format!("`{entry}` has {found} bytes of local memory and arguments, at most {most}");
            return Err(LoadError { line: function.line, message });
        }
        Ok(decoder.finish(entry))
    }

    fn module_variables(&mut self, source: &Tree) -> Result<(), LoadError> {
        let mut next = MODULE_VARIABLES;
        let mut with_values = Vec::new();
        for item in &source.items {
            let Item::Variable(variable) = item else { continue };
            let place = match variable.space {
                VariableSpace::Shared if variable.linkage == Linkage::Extern => {
                    layout::size(&gable_ptx::syntax::Variable { dimensions: vec![0], ..variable.clone() })?;
                    self.dynamic_align = self.dynamic_align.max(variable.align as u32);
                    Variable::DynamicShared
                }
                VariableSpace::Shared => Variable::Shared(layout::place(&mut self.shared_end, variable)?),
                VariableSpace::Global | VariableSpace::Constant => {
                    let address = next.next_multiple_of(variable.align.max(256));
                    next = address + u64::from(layout::size(variable)?);
                    if next - MODULE_VARIABLES > layout::MAX_BYTES {
                        let message = format!("the variables of the module have more than {} bytes", layout::MAX_BYTES);
                        return Err(LoadError { line: variable.line, message });
                    }
                    with_values.push((variable, address));
                    Variable::Global(address)
                }
                VariableSpace::Local | VariableSpace::Param => {
                    let message = format!("`{}` cannot stand at module scope", variable.name);
                    return Err(LoadError { line: variable.line, message });
                }
            };
            self.names.innermost().variables.insert(variable.name.clone(), place);
        }
        for (variable, address) in with_values {
            let find = |name: &str, _generic: bool| match self.variable(name)? {
                Variable::Global(address) => Some(address),
                Variable::Function(label) => Some(crate::exec::control::function_address(Label(label))),
                _ => None,
            };
            let data = layout::initial(variable, &find)?;
            let read_only = variable.space == VariableSpace::Constant;
            self.globals.push(GlobalVariable { name: variable.name.clone(), data, address, read_only });
        }
        Ok(())
    }

    /// Names of a `.func`'s parameters and results, with places in local memory or registers.
    fn function_scope(&mut self, function: &Function) -> Result<(Scope, Interface), LoadError> {
        let mut scope = Scope::default();
        let mut interface = Interface { params: Vec::new(), results: Vec::new() };
        let ends = [(&function.params, true), (&function.results, false)];
        for (list, is_param) in ends {
            for parameter in list {
                let passed = self.passed(parameter, &mut scope)?;
                if is_param { interface.params.push(passed) } else { interface.results.push(passed) }
            }
        }
        Ok((scope, interface))
    }

    fn passed(&mut self, parameter: &Parameter, scope: &mut Scope) -> Result<Passed, LoadError> {
        let variable = &parameter.variable;
        if parameter.is_register {
            let id = self.new_declaration();
            let run = RegisterRun { ty: variable.ty, vector: 1, count: None, id };
            scope.registers.insert(variable.name.clone(), run);
            let (register, _) = self.register_of(id, 0, 0, variable.ty)?;
            let bits = (variable.ty.bytes() * 8) as u32;
            return Ok(Passed::Register(super::Destination { register: Some(register), bits }));
        }
        let offset = layout::place(&mut self.local_end, variable)?;
        scope.variables.insert(variable.name.clone(), Variable::Local(offset));
        Ok(Passed::Memory { offset, bytes: self.local_end - offset })
    }

    fn function(&mut self, function: &Function, scope: Scope) -> Result<(), LoadError> {
        let Some(body) = &function.body else { return Ok(()) };
        self.names.scopes.truncate(1);
        self.names.scopes.push(scope);
        self.set_line(function.line);
        self.block(body, 0)?;
        self.names.scopes.pop();
        // A body that runs off its end returns.
        self.end_of_function()
    }

    fn end_of_function(&mut self) -> Result<(), LoadError> {
        let line = self.line();
        self.code.push(super::Inst {
            op: grammar::Op::Ret,
            guard: None,
            converge: super::Converge::Never,
            execute: Box::new(crate::exec::control::Return),
            line,
            spelling: "ret".into(),
            registers: Box::default(),
        });
        Ok(())
    }

    fn block(&mut self, statements: &[Statement], depth: usize) -> Result<(), LoadError> {
        if depth > 256 {
            return Err(self.error("more than 256 nested blocks"));
        }
        let mut scope = Scope::default();
        for statement in statements {
            match statement {
                Statement::Label(name, line) => {
                    let label = self.new_label();
                    if scope.labels.insert(name.clone(), label).is_some() {
                        return Err(LoadError { line: *line, message: format!("label `{name}` stands here twice") });
                    }
                }
                Statement::Targets(name, targets, _) => {
                    scope.targets.insert(name.clone(), targets.clone());
                }
                Statement::Prototype(name, _, _, _) => {
                    scope.targets.insert(name.clone(), Vec::new());
                }
                _ => {}
            }
        }
        self.names.scopes.push(scope);
        for statement in statements {
            match statement {
                Statement::Label(name, line) => {
                    self.set_line(*line);
                    let label = self.label_named(name)?;
                    self.labels[label.0 as usize] = self.code.len() as u32;
                }
                Statement::Registers(registers) => {
                    let id = self.new_declaration();
                    let run = RegisterRun { ty: registers.ty, vector: registers.vector, count: registers.count, id };
                    let scope = self.names.innermost();
                    let declared = if run.count.is_some() { &mut scope.runs } else { &mut scope.registers };
                    declared.insert(registers.name.clone(), run);
                }
                Statement::Variable(variable) => {
                    let place = match variable.space {
                        VariableSpace::Shared if variable.linkage == Linkage::Extern => Variable::DynamicShared,
                        VariableSpace::Shared => Variable::Shared(layout::place(&mut self.shared_end, variable)?),
                        VariableSpace::Local | VariableSpace::Param => {
                            Variable::Local(layout::place(&mut self.local_end, variable)?)
                        }
                        VariableSpace::Global | VariableSpace::Constant => {
                            let message = format!("`{}`: global variables stand at module scope", variable.name);
                            return Err(LoadError { line: variable.line, message });
                        }
                    };
                    self.names.innermost().variables.insert(variable.name.clone(), place);
                }
                Statement::Instruction(instruction) => self.instruction(instruction)?,
                Statement::Block(inner) => self.block(inner, depth + 1)?,
                Statement::Targets(..) | Statement::Prototype(..) => {}
            }
        }
        self.names.scopes.pop();
        Ok(())
    }
}

/// How a function takes arguments and gives results.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub params: Vec<Passed>,
    pub results: Vec<Passed>,
}

/// One argument or result.
#[derive(Clone, Debug)]
pub(crate) enum Passed {
    /// Bytes of local memory.
    Memory { offset: u32, bytes: u32 },
    /// A register.
    Register(super::Destination),
}

/// Functions that a body names, and those that they name. Naming without a call counts, in tables of the module that a body names
/// too: the address may be called.
fn reach(
    function: &Function,
    functions: &HashMap<Arc<str>, (&Function, u32)>,
    source: &Tree,
    reached: &mut Vec<Arc<str>>,
) {
    let tables: HashMap<&str, &Initializer> = source
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Variable(variable) => Some((&*variable.name, variable.init.as_ref()?)),
            _ => None,
        })
        .collect();
    let mut open = vec![function];
    while let Some(function) = open.pop() {
        let mut names = named(function.body.as_deref().unwrap_or(&[]));
        let tables: Vec<&Initializer> = names.iter().filter_map(|name| tables.get(&**name).copied()).collect();
        tables.into_iter().for_each(|table| names_in_table(table, &mut names));
        for name in names {
            if let Some((callee, _)) = functions.get(&name)
                && !reached.contains(&name)
            {
                reached.push(name);
                open.push(callee);
            }
        }
    }
}

/// Every name whose address a table holds.
fn names_in_table(table: &Initializer, names: &mut Vec<Arc<str>>) {
    match table {
        Initializer::List(values) => values.iter().for_each(|value| names_in_table(value, names)),
        Initializer::Address { name, .. } => names.push(name.clone()),
        _ => {}
    }
}

/// Every name that stands as an operand.
fn named(body: &[Statement]) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for statement in body {
        match statement {
            Statement::Instruction(instruction) => {
                instruction.operands.iter().for_each(|operand| names_in(operand, &mut names));
            }
            Statement::Block(inner) => names.extend(named(inner)),
            Statement::Targets(_, targets, _) => names.extend(targets.iter().cloned()),
            _ => {}
        }
    }
    names
}

fn names_in(operand: &Operand, names: &mut Vec<Arc<str>>) {
    match operand {
        Operand::Name { name, .. } | Operand::Expression { name, .. } => names.push(name.clone()),
        Operand::Vector(values) | Operand::List(values) => values.iter().for_each(|value| names_in(value, names)),
        Operand::Pair(a, b) => [a, b].into_iter().for_each(|value| names_in(value, names)),
        Operand::Address { base, more, .. } => {
            names_in(base, names);
            more.iter().for_each(|value| names_in(value, names));
        }
        Operand::Int(_) | Operand::F32(_) | Operand::F64(_) | Operand::Sink => {}
    }
}

/// Registers are static, so a function that is active twice on one thread would lose its values: refused.
fn refuse_recursion(entry: &Function, functions: &HashMap<Arc<str>, (&Function, u32)>) -> Result<(), LoadError> {
    // 1: on the path from the entry; 2: done.
    let mut state: HashMap<Arc<str>, u8> = HashMap::new();
    let callees = |function: &Function| -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = calls(function.body.as_deref().unwrap_or(&[]));
        names.retain(|name| functions.contains_key(name));
        names
    };
    let mut path: Vec<(Arc<str>, Vec<Arc<str>>)> = vec![(entry.name.clone(), callees(entry))];
    while let Some((name, open)) = path.last_mut() {
        let Some(next) = open.pop() else {
            state.insert(name.clone(), 2);
            path.pop();
            continue;
        };
        match state.get(&next) {
            Some(1) => {
                let line = functions[&next].0.line;
                return Err(LoadError { line, message: format!("`{next}` calls itself: recursion is not emulated") });
            }
            Some(_) => {}
            None => {
                state.insert(next.clone(), 1);
                let inner = callees(functions[&next].0);
                path.push((next, inner));
            }
        }
    }
    Ok(())
}

/// Names that stand in call instructions.
fn calls(body: &[Statement]) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for statement in body {
        match statement {
            Statement::Instruction(instruction) if &*instruction.name == "call" => {
                instruction.operands.iter().for_each(|operand| names_in(operand, &mut names));
            }
            Statement::Block(inner) => names.extend(calls(inner)),
            _ => {}
        }
    }
    names
}
