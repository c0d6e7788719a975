//! Writes one kernel, instruction by instruction.
//!
//! Each row of the instruction table is a method here, named like the row: it takes registers or constants, makes the
//! result registers and returns them. `set` gives the result registers instead, `when` and `unless` put a predicate
//! before what a closure writes. Control flow is in `flow`, methods that choose the row by run-time types in `dynamic`.
//!
//! ```
//! use gable_ptx::{KernelBuilder, Module, Target};
//!
//! let mut k = KernelBuilder::new("double", Target::Sm90a);
//! let x = k.param_pointer("x");
//! let n = k.param_u32("n");
//! let i = k.global_thread_x();
//! let past_end = k.setp_ge_u32(i, n);
//! k.when(past_end, |k| k.exit());
//! let offset = k.mul_wide_u32(i, 4);
//! let at = k.add_u64(x, offset);
//! let value = k.ld_global_f32(at);
//! let twice = k.mul_f32(value, 2.0);
//! k.st_global_f32(at, twice);
//! k.exit();
//! let module = Module::new(Target::Sm90a, vec![k.finish()]);
//! assert!(module.to_string().contains("mul.rn.f32"));
//! ```

use std::sync::Arc;

use crate::form::Opcode;
use crate::inst::{Guard, Inst, Statement};
use crate::module::{Array, DYNAMIC_SHARED, Kernel, Param, ParamType};
use crate::operand::{Address, Label, Local, Operand, Shared, Symbol};
use crate::register::{B32, B64, Class, F32, F64, Pred, R, Reg, RegisterClass};
use crate::scalar::ScalarType;
use crate::target::Target;

/// A kernel being written.
pub struct KernelBuilder {
    target: Target,
    kernel: Kernel,
    guard: Option<Guard>,
    n_registers: [u32; Class::ALL.len()],
    n_labels: u32,
}

impl KernelBuilder {
    /// An empty kernel. `name` must be an identifier of PTX: letters, digits, `_` and `$`, no digit first.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        KernelBuilder {
            target,
            kernel: Kernel::new(name.into()),
            guard: None,
            n_registers: [0; Class::ALL.len()],
            n_labels: 0,
        }
    }

    /// The machine that the kernel is for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The kernel as it stands.
    pub fn finish(self) -> Kernel {
        self.kernel
    }

    /// At most so many threads per CTA, in one dimension; bounds the registers of a thread.
    pub fn max_threads(&mut self, count: u32) {
        self.kernel.max_threads = Some([count, 1, 1]);
    }

    /// Exactly so many threads per CTA; a launch with others fails.
    pub fn required_threads(&mut self, x: u32, y: u32, z: u32) {
        self.kernel.required_threads = Some([x, y, z]);
    }

    /// At least so many CTAs shall fit one SM; bounds the registers of a thread.
    pub fn min_ctas_per_sm(&mut self, count: u32) {
        self.kernel.min_ctas_per_sm = Some(count);
    }

    /// At most so many registers per thread, on entry; `setmaxnreg` moves registers between warpgroups later.
    pub fn max_registers(&mut self, count: u32) {
        self.kernel.max_registers = Some(count);
    }

    /// Exactly so many CTAs per cluster; a launch with others fails, one that asks for none has these.
    pub fn required_cluster(&mut self, x: u32, y: u32, z: u32) {
        self.kernel.required_cluster = Some([x, y, z]);
    }

    /// A line or more of text before the next instruction.
    pub fn comment(&mut self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            self.kernel.body.push(Statement::Comment(line.trim().to_owned()));
        }
    }

    /// Asks `ptxas` not to unroll the loop whose label comes next.
    pub fn no_unroll(&mut self) {
        self.kernel.body.push(Statement::NoUnroll);
    }

    /// A register that nothing has written yet.
    pub fn fresh<C: RegisterClass>(&mut self) -> R<C> {
        R::new(self.next_index(C::CLASS))
    }

    /// The same with the class as a value.
    pub fn fresh_reg(&mut self, class: Class) -> Reg {
        Reg { class, index: self.next_index(class) }
    }

    fn next_index(&mut self, class: Class) -> u32 {
        let next = &mut self.n_registers[class as usize];
        *next += 1;
        *next - 1
    }

    /// Adds an instruction under the current guard.
    pub(crate) fn push(&mut self, op: Opcode, dst: Vec<Reg>, src: Vec<Operand>) {
        self.kernel.body.push(Statement::Inst(Inst { guard: self.guard, op, dst, src }));
    }

    pub(crate) fn push_label(&mut self, label: Label) {
        self.kernel.body.push(Statement::Label(label));
    }

    pub(crate) fn next_label_index(&mut self) -> u32 {
        self.n_labels += 1;
        self.n_labels - 1
    }

    /// The next instruction writes `regs` instead of fresh registers: `k.set(sum).fma_f32(a, b, sum)`.
    pub fn set<D>(&mut self, regs: D) -> Assign<'_, D> {
        Assign { builder: self, regs }
    }

    /// What `body` writes runs only in threads where `pred` holds. Branches out of it may be written, labels not.
    ///
    /// Inside another guard both must hold. Results are undefined in threads where an instruction does not run.
    pub fn when<T>(&mut self, pred: R<Pred>, body: impl FnOnce(&mut Self) -> T) -> T {
        self.guarded(Guard { pred: pred.reg(), negated: false }, body)
    }

    /// What `body` writes runs only in threads where `pred` does not hold; else as `when`.
    pub fn unless<T>(&mut self, pred: R<Pred>, body: impl FnOnce(&mut Self) -> T) -> T {
        self.guarded(Guard { pred: pred.reg(), negated: true }, body)
    }

    fn guarded<T>(&mut self, inner: Guard, body: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.guard.take();
        self.guard = Some(match outer {
            None => inner,
            Some(outer) => {
                let outer = self.positive(outer);
                let inner = self.positive(inner);
                Guard { pred: self.and_pred(outer, inner).reg(), negated: false }
            }
        });
        let result = body(self);
        self.guard = outer;
        result
    }

    /// A predicate that holds where the guard lets instructions run.
    fn positive(&mut self, guard: Guard) -> R<Pred> {
        let pred: R<Pred> = guard.pred.typed().expect("a guard is made from a predicate");
        if guard.negated { self.not_pred(pred) } else { pred }
    }

    /// Declares a parameter of type `ty`, after the ones declared before.
    pub fn declare_param(&mut self, name: &str, ty: ScalarType) -> Symbol {
        let name = Symbol(Arc::from(name));
        self.kernel.params.push(Param { name: name.clone(), ty: ty.into() });
        name
    }

    /// Declares a parameter that is a tensor map (128 bytes, aligned to 64) and gives its generic address.
    pub fn param_tensor_map(&mut self, name: &str) -> R<B64> {
        let name = Symbol(Arc::from(name));
        self.kernel.params.push(Param { name: name.clone(), ty: ParamType::TensorMap });
        let address = self.mov_param_address(name);
        self.cvta_param(address)
    }

    /// Declares a parameter and loads it.
    pub fn param_u64(&mut self, name: &str) -> R<B64> {
        let name = self.declare_param(name, ScalarType::U64);
        self.ld_param_u64(name)
    }

    /// Declares a parameter that is an address of global memory, and loads it.
    pub fn param_pointer(&mut self, name: &str) -> R<B64> {
        let generic = self.param_u64(name);
        self.cvta_to_global(generic)
    }

    /// Declares a parameter and loads it.
    pub fn param_u32(&mut self, name: &str) -> R<B32> {
        let name = self.declare_param(name, ScalarType::U32);
        self.ld_param_u32(name)
    }

    /// Declares a parameter and loads it.
    pub fn param_f32(&mut self, name: &str) -> R<F32> {
        let name = self.declare_param(name, ScalarType::F32);
        self.ld_param_f32(name)
    }

    /// Declares a parameter and loads it.
    pub fn param_f64(&mut self, name: &str) -> R<F64> {
        let name = self.declare_param(name, ScalarType::F64);
        self.ld_param_f64(name)
    }

    /// Static shared memory. Its address: `k.address_of_shared(&array)`, or the array itself as an address.
    pub fn shared_array(&mut self, name: &str, bytes: u32, align: u32) -> SharedArray {
        let name = Symbol(Arc::from(name));
        self.kernel.shared.push(Array { name: name.clone(), bytes, align });
        SharedArray { name }
    }

    /// The shared memory that the launch sizes, aligned to `align` bytes. One array, however often it is asked for.
    pub fn dynamic_shared(&mut self, align: u32) -> SharedArray {
        self.kernel.dynamic_shared_align = self.kernel.dynamic_shared_align.max(Some(align));
        SharedArray { name: Symbol(Arc::from(DYNAMIC_SHARED)) }
    }

    /// An array of each thread. It lies in device memory: registers are far faster.
    pub fn local_array(&mut self, name: &str, bytes: u32, align: u32) -> LocalArray {
        let name = Symbol(Arc::from(name));
        self.kernel.local.push(Array { name: name.clone(), bytes, align });
        LocalArray { name }
    }

    /// The address of an array in shared memory.
    pub fn address_of_shared(&mut self, array: &SharedArray) -> R<B32> {
        self.mov_shared_address(array.name.clone())
    }

    /// The address of an array of the thread.
    pub fn address_of_local(&mut self, array: &LocalArray) -> R<B64> {
        self.mov_local_address(array.name.clone())
    }

    /// `ctaid.x * ntid.x + tid.x`: the number of the thread in a one-dimensional launch.
    pub fn global_thread_x(&mut self) -> R<B32> {
        let (cta, threads, thread) = (self.ctaid_x(), self.ntid_x(), self.tid_x());
        self.mad_lo_u32(cta, threads, thread)
    }
}

/// Writes one instruction into given registers; made by `KernelBuilder::set`.
pub struct Assign<'k, D> {
    pub(crate) builder: &'k mut KernelBuilder,
    pub(crate) regs: D,
}

/// An array in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedArray {
    name: Symbol,
}

/// An array of each thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalArray {
    name: Symbol,
}

impl SharedArray {
    /// The address `bytes` after the start.
    pub fn at(&self, bytes: i32) -> Address<Shared> {
        Address::new(self.name.clone().into()).at(bytes)
    }
}

impl LocalArray {
    /// The address `bytes` after the start.
    pub fn at(&self, bytes: i32) -> Address<Local> {
        Address::new(self.name.clone().into()).at(bytes)
    }
}

impl From<&SharedArray> for Address<Shared> {
    fn from(array: &SharedArray) -> Self {
        array.at(0)
    }
}

impl From<&LocalArray> for Address<Local> {
    fn from(array: &LocalArray) -> Self {
        array.at(0)
    }
}
