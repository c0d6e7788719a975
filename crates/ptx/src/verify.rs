//! Checks a module that was parsed, rewritten or written with run-time types, and reports every fault at once.
//!
//! A module without faults is accepted by `ptxas` as far as the table knows: versions, classes, names, sizes. It is not
//! checked that addresses lie inside their memory (beyond named arrays), nor that threads meet at barriers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dynamic::misfit;
use crate::form::Slot;
use crate::inst::{Inst, Statement};
use crate::module::{Array, DYNAMIC_SHARED, Kernel, Module, Param, ParamType};
use crate::operand::{Base, Label, Operand, Place, Symbol};
use crate::parse::is_name;
use crate::reach::{Reach, reach};
use crate::reaching::reads_of_nothing;
use crate::register::Class;
use crate::scalar::{ScalarType, Space};
use crate::target::{MAX_CTAS_PER_CLUSTER, MAX_THREADS_PER_CTA, STATIC_SHARED_BYTES};

/// Bytes of parameters that a kernel can have on every target.
const MAX_PARAM_BYTES: u32 = 4096;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kernel, where it is not the module's fault.
    pub kernel: Option<String>,
    /// The place in the kernel's body, counted from 0, and its text.
    pub statement: Option<(usize, String)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kernel) = &self.kernel {
            write!(f, "kernel `{kernel}`: ")?;
        }
        if let Some((index, text)) = &self.statement {
            write!(f, "statement {index} `{text}`: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a module, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Checks a whole module.
pub fn verify(module: &Module) -> Result<(), Faults> {
    let mut checker = Checker { module, kernel: None, statement: None, faults: Vec::new() };
    checker.module();
    if checker.faults.is_empty() { Ok(()) } else { Err(Faults(checker.faults)) }
}

struct Checker<'m> {
    module: &'m Module,
    kernel: Option<&'m Kernel>,
    /// The place in the body that faults belong to now.
    statement: Option<usize>,
    faults: Vec<Fault>,
}

impl<'m> Checker<'m> {
    fn fault(&mut self, message: impl Into<String>) {
        let statement = self.kernel.zip(self.statement).map(|(kernel, index)| {
            let text = match &kernel.body[index] {
                Statement::Inst(inst) => inst.to_string(),
                Statement::Label(label) => format!("{label}:"),
                Statement::Comment(text) => format!("// {text}"),
                Statement::NoUnroll => ".pragma \"nounroll\";".to_owned(),
            };
            (index, text)
        });
        let kernel = self.kernel.map(|kernel| kernel.name.clone());
        self.faults.push(Fault { kernel, statement, message: message.into() });
    }

    fn module(&mut self) {
        let Module { version, target, .. } = self.module;
        let lowest = target.row().lowest_ptx;
        if *version < lowest {
            self.fault(format!("`.version {version}` does not know {target}, which came with {lowest}"));
        }
        if let Some(align) = self.module.dynamic_shared_align {
            self.alignment(DYNAMIC_SHARED, align);
        }
        let mut names = BTreeSet::new();
        for kernel in &self.module.kernels {
            self.kernel = Some(kernel);
            if !names.insert(&kernel.name) {
                self.fault("another kernel has the same name");
            }
            self.kernel(kernel);
            self.kernel = None;
        }
    }

    fn kernel(&mut self, kernel: &'m Kernel) {
        self.name("a kernel", &kernel.name);
        self.launch_bounds(kernel);
        self.params(&kernel.params);
        self.memory(kernel);

        let labels = self.labels(kernel);
        for (index, statement) in kernel.body.iter().enumerate() {
            self.statement = Some(index);
            match statement {
                Statement::Inst(inst) => self.inst(kernel, inst, &labels),
                Statement::Comment(text) if text.contains(['\n', '\r']) => {
                    self.fault("a comment spans lines: its second line would be an instruction");
                }
                Statement::Comment(_) | Statement::NoUnroll | Statement::Label(_) => {}
            }
        }
        for (index, reg) in reads_of_nothing(&kernel.body) {
            self.statement = Some(index);
            self.fault(format!("`{reg}` is read where nothing has written it"));
        }
        self.statement = None;
    }

    /// Every label of the body. Labels share their names with arrays and parameters.
    fn labels(&mut self, kernel: &'m Kernel) -> BTreeSet<&'m Label> {
        let arrays = kernel.shared.iter().chain(&kernel.local).map(|array| &array.name);
        let names: BTreeSet<&str> =
            kernel.params.iter().map(|param| &param.name).chain(arrays).map(|name| &*name.0).collect();
        let mut labels = BTreeSet::new();
        for (index, statement) in kernel.body.iter().enumerate() {
            let Statement::Label(label) = statement else { continue };
            self.statement = Some(index);
            self.name("a label", &label.0);
            if names.contains(&*label.0) {
                self.fault("an array or a parameter has the label's name");
            }
            if !labels.insert(label) {
                self.fault("the label stands twice");
            }
        }
        self.statement = None;
        labels
    }

    fn launch_bounds(&mut self, kernel: &Kernel) {
        for (directive, bound) in [(".maxntid", kernel.max_threads), (".reqntid", kernel.required_threads)] {
            let Some(threads) = bound else { continue };
            let product = threads.iter().try_fold(1u32, |product, n| product.checked_mul(*n));
            if !product.is_some_and(|product| (1..=MAX_THREADS_PER_CTA).contains(&product)) {
                let [x, y, z] = threads;
                self.fault(format!("`{directive} {x}, {y}, {z}` is not 1 to {MAX_THREADS_PER_CTA} threads"));
            }
        }
        if kernel.max_threads.is_some() && kernel.required_threads.is_some() {
            self.fault("`.maxntid` and `.reqntid` exclude each other");
        }
        if kernel.min_ctas_per_sm == Some(0) {
            self.fault("`.minnctapersm 0` asks for nothing");
        }
        if let Some(count) = kernel.max_registers {
            let most = self.module.target.row().max_registers_per_thread;
            if !(1..=most).contains(&count) {
                self.fault(format!("`.maxnreg {count}` is not 1 to {most} registers"));
            }
        }
        if let Some([x, y, z]) = kernel.required_cluster {
            let product = x.checked_mul(y).and_then(|product| product.checked_mul(z));
            if !product.is_some_and(|product| (1..=MAX_CTAS_PER_CLUSTER).contains(&product)) {
                self.fault(format!("`.reqnctapercluster {x}, {y}, {z}` is not 1 to {MAX_CTAS_PER_CLUSTER} CTAs"));
            }
        }
    }

    fn params(&mut self, params: &[Param]) {
        let mut end: u64 = 0;
        for param in params {
            self.name("a parameter", &param.name.0);
            use ScalarType::{B16, F32, F64, U32, U64};
            if let ParamType::Scalar(ty) = param.ty
                && !matches!(ty, B16 | U32 | U64 | F32 | F64)
            {
                self.fault(format!("parameter `{}` cannot be of type {ty}", param.name));
            }
            end = end.next_multiple_of(u64::from(param.ty.align())) + u64::from(param.ty.bytes());
        }
        if end > u64::from(MAX_PARAM_BYTES) {
            self.fault(format!("the parameters take {end} bytes, at most {MAX_PARAM_BYTES} are possible"));
        }
    }

    fn memory(&mut self, kernel: &'m Kernel) {
        let mut names: BTreeSet<&Symbol> = BTreeSet::new();
        for param in &kernel.params {
            if !names.insert(&param.name) {
                self.fault(format!("the name `{}` is declared twice", param.name));
            }
        }
        for array in kernel.shared.iter().chain(&kernel.local) {
            self.name("an array", &array.name.0);
            if !names.insert(&array.name) || &*array.name.0 == DYNAMIC_SHARED {
                self.fault(format!("the name `{}` is declared twice", array.name));
            }
            if array.bytes == 0 {
                self.fault(format!("array `{}` has no bytes", array.name));
            }
            self.alignment(&array.name.0, array.align);
        }
        let bytes = kernel.static_shared_bytes();
        let limit = STATIC_SHARED_BYTES.min(self.module.target.row().max_shared_bytes);
        if bytes > u64::from(limit) {
            self.fault(format!(
                "static shared memory takes {bytes} bytes, {} has {limit}: use dynamic shared memory",
                self.module.target
            ));
        }
        if kernel.dynamic_shared_align > self.module.dynamic_shared_align {
            self.fault("the module declares the dynamic shared memory with less alignment than the kernel asks for");
        }
    }

    fn alignment(&mut self, name: &str, align: u32) {
        if !align.is_power_of_two() {
            self.fault(format!("array `{name}`: alignment {align} is not a power of two"));
        }
    }

    fn name(&mut self, what: &str, name: &str) {
        if !is_name(name) {
            self.fault(format!("`{name}` cannot name {what}"));
        }
    }

    fn inst(&mut self, kernel: &'m Kernel, inst: &Inst, labels: &BTreeSet<&Label>) {
        let form = inst.op.form();
        if let Some(message) = form.floor.fault(self.module.version, self.module.target) {
            self.fault(message);
        }
        if let Some(guard) = inst.guard
            && guard.pred.class != Class::Pred
        {
            self.fault(format!("the guard `{}` is a {} register, expected a predicate", guard.pred, guard.pred.class));
        }
        let classes = form.dst.map_or(Vec::new(), |dst| dst.classes());
        if inst.dst.len() != classes.len() {
            self.fault(format!("writes {} registers, found {}", classes.len(), inst.dst.len()));
        }
        for (reg, class) in inst.dst.iter().zip(classes) {
            if reg.class != class {
                self.fault(format!("the result `{reg}` is a {} register, expected {class}", reg.class));
            }
        }
        let repeated = inst.dst.iter().enumerate().any(|(i, reg)| inst.dst[..i].contains(reg));
        if repeated {
            self.fault("a result register stands twice");
        }
        if inst.src.len() != form.src.len() {
            self.fault(format!("reads {} operands, found {}", form.src.len(), inst.src.len()));
        }
        for (index, (slot, operand)) in form.src.iter().zip(&inst.src).enumerate() {
            if let Some(expected) = misfit(*slot, operand) {
                self.fault(format!("operand `{operand}`: expected {expected}"));
            } else {
                self.names_in(kernel, *slot, operand, reach(form.meaning, index));
            }
            if let Operand::Label(label) = operand
                && !labels.contains(label)
            {
                self.fault(format!("label `{label}` stands nowhere"));
            }
        }
    }

    /// Whether the names in an operand are declared for what the slot wants.
    fn names_in(&mut self, kernel: &'m Kernel, slot: Slot, operand: &Operand, reach: Option<Reach>) {
        match (slot, operand) {
            (Slot::Param(ty), Operand::Address(Place { base: Base::Symbol(name), offset })) => {
                match self.param_named(kernel, name) {
                    None => {}
                    Some(Param { ty: ParamType::TensorMap, .. }) => {
                        self.fault(format!("parameter `{name}` is a tensor map, expected type {ty}"));
                    }
                    Some(Param { ty: ParamType::Scalar(found), .. }) if *found != ty => {
                        self.fault(format!("parameter `{name}` is of type {found}, expected {ty}"));
                    }
                    Some(_) if *offset != 0 => {
                        self.fault(format!("offset {offset} lies outside of parameter `{name}`"))
                    }
                    Some(_) => {}
                }
            }
            (Slot::Symbol(Space::Param), Operand::Symbol(name)) => {
                self.param_named(kernel, name);
            }
            (Slot::Symbol(space), Operand::Symbol(name)) => {
                self.array_named(kernel, space, name);
            }
            (Slot::Address(space), Operand::Address(Place { base: Base::Symbol(name), offset })) => {
                if let (Some(Some(array)), Some(reach)) = (self.array_named(kernel, space, name), reach) {
                    self.access(array, *offset, reach);
                }
            }
            _ => {}
        }
    }

    fn param_named(&mut self, kernel: &'m Kernel, name: &Symbol) -> Option<&'m Param> {
        let param = kernel.params.iter().find(|param| param.name == *name);
        if param.is_none() {
            self.fault(format!("the kernel has no parameter `{name}`"));
        }
        param
    }

    /// The array of that name; `Some(None)` is the dynamic shared memory, whose size is not known here.
    fn array_named(&mut self, kernel: &'m Kernel, space: Space, name: &Symbol) -> Option<Option<&'m Array>> {
        if space == Space::Shared && &*name.0 == DYNAMIC_SHARED {
            if self.module.dynamic_shared_align.is_none() {
                self.fault("the module declares no dynamic shared memory");
            }
            return Some(None);
        }
        let arrays: &[Array] = match space {
            Space::Shared => &kernel.shared,
            Space::Local => &kernel.local,
            Space::Global | Space::Param | Space::SharedCluster | Space::Generic | Space::Tensor => &[],
        };
        let array = arrays.iter().find(|array| array.name == *name);
        if array.is_none() {
            self.fault(format!("the kernel has no array `{name}` in {space} memory"));
        }
        array.map(Some)
    }

    /// Whether an access at a fixed place of an array lies inside it and is aligned.
    fn access(&mut self, array: &Array, offset: i32, Reach { bytes, align }: Reach) {
        let inside = u32::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_add(bytes))
            .is_some_and(|end| end <= array.bytes);
        if !inside {
            let Array { name, bytes: size, .. } = array;
            self.fault(format!("{bytes} bytes at {offset} lie outside of `{name}`, which has {size}"));
        } else if !offset.unsigned_abs().is_multiple_of(align) || !array.align.is_multiple_of(align) {
            self.fault(format!("{bytes} bytes at {offset} of `{}` are not aligned", array.name));
        }
    }
}

impl Module {
    /// Which rows the module uses and how often, by name in alphabetical order: evidence of the code that really runs.
    pub fn instruction_counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for inst in self.kernels.iter().flat_map(Kernel::insts) {
            *counts.entry(inst.op.form().name).or_default() += 1;
        }
        counts
    }
}
