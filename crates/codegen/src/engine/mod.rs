//! The expression engine: writes the instructions that compute a value of a program at an index.
//!
//! `emit(value, coordinates)` walks from the value to memory: maps become arithmetic, movement changes the coordinates,
//! inputs become loads. One call computes `lanes` neighbouring elements, told apart by the lane that the coordinates may
//! hold; what does not depend on the lane is computed once. Nothing is computed twice at equal coordinates, which is
//! also how kernels keep a row in registers: what one phase has computed, the next finds.
//!
//! A kernel's skeleton (loops, barriers, reductions) is written around the engine. It makes variables of registers,
//! opens scopes for code that does not always run, and binds values that it has computed itself.

mod address;
mod bits;
mod guard;
mod memory;
mod movement;
mod quotient;
mod scoped;

use crate::arithmetic;
use crate::element::{self, compute_type};
use crate::error::Fault;
use crate::index::{IndexId, Indices};
use crate::program::{Program, ValueId};
use gable_ir::{Group, Op, ops};
use gable_ptx::{B32, B64, Class, KernelBuilder, Label, Pred, R, Reg, ScalarType, Src, Target, Value};
use gable_tensor::{Scalar, Tensor};
use scoped::Scoped;
use std::collections::BTreeMap;
use std::rc::Rc;

pub use guard::GuardId;
pub use memory::View;

/// Elements of a constant tensor that a kernel picks from by selection; larger ones belong into memory.
const MAX_TABLE_ELEMENTS: usize = 256;

/// The elements that one emission computes: one for each lane, or a single one that all lanes share.
#[derive(Clone, Debug)]
pub struct Lanes(Rc<[Value]>);

impl Lanes {
    /// One element for each lane.
    pub fn new(values: Vec<Value>) -> Lanes {
        Lanes(values.into())
    }

    /// One element for all lanes.
    pub fn uniform(value: impl Into<Value>) -> Lanes {
        Lanes(Rc::new([value.into()]))
    }

    /// The element in a lane.
    pub fn at(&self, lane: u32) -> Value {
        if self.0.len() == 1 { self.0[0] } else { self.0[lane as usize] }
    }

    /// Whether all lanes share the element.
    pub fn is_uniform(&self) -> bool {
        self.0.len() == 1
    }
}

/// Memory that a kernel gets by a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pointer: R<B64>,
    /// Nothing writes it while the kernel runs, so that loads may go through the read-only path.
    read_only: bool,
}

type ValueKey = (ValueId, Rc<[IndexId]>, GuardId);

/// Writes one kernel over one program.
pub struct Engine<'p> {
    /// The kernel so far.
    pub k: KernelBuilder,
    /// The indices of the kernel.
    pub indices: Indices,
    /// What it computes.
    pub program: &'p Program,
    lanes: u32,
    inputs: BTreeMap<ValueId, Buffer>,
    outputs: BTreeMap<usize, Buffer>,
    values: Scoped<ValueKey, Lanes>,
    reciprocals: Scoped<ValueKey, Lanes>,
    brought: Scoped<(ValueId, IndexId), Lanes>,
    registers: Scoped<(IndexId, bool), Reg>,
    addresses: Scoped<(R64, IndexId), R<B64>>,
    predicates: Scoped<(GuardId, Option<u32>), R<Pred>>,
    variables: BTreeMap<(u32, Option<u32>), Reg>,
    guards: guard::Guards,
}

/// A pointer register as a key.
type R64 = Reg;

impl<'p> Engine<'p> {
    /// An empty kernel for `program`. Parameters are the program's inputs and then its outputs, all pointers.
    /// Inputs that share memory with an output are named in `overwritten`, by position.
    pub fn new(program: &'p Program, name: &str, target: Target, overwritten: &[usize]) -> Engine<'p> {
        let all: Vec<usize> = (0..program.outputs.len()).collect();
        Engine::giving(program, name, target, overwritten, &all)
    }

    /// The same without the outputs: a kernel that leaves its results in scratch memory.
    pub fn of_inputs(program: &'p Program, name: &str, target: Target) -> Engine<'p> {
        Engine::giving(program, name, target, &[], &[])
    }

    /// The same for a kernel that writes these outputs, by position, and no others.
    pub fn giving(
        program: &'p Program,
        name: &str,
        target: Target,
        overwritten: &[usize],
        outputs: &[usize],
    ) -> Engine<'p> {
        let mut k = KernelBuilder::new(name, target);
        let inputs = program.inputs.iter().enumerate().map(|(position, &(id, _))| {
            let pointer = k.param_pointer(&format!("in{position}"));
            (id, Buffer { pointer, read_only: !overwritten.contains(&position) })
        });
        let inputs = inputs.collect();
        let buffer = |&position: &usize| {
            (position, Buffer { pointer: k.param_pointer(&format!("out{position}")), read_only: false })
        };
        let outputs = outputs.iter().map(buffer).collect();
        Engine {
            k,
            indices: Indices::default(),
            program,
            lanes: 1,
            inputs,
            outputs,
            values: Scoped::default(),
            reciprocals: Scoped::default(),
            brought: Scoped::default(),
            registers: Scoped::default(),
            addresses: Scoped::default(),
            predicates: Scoped::default(),
            variables: BTreeMap::new(),
            guards: guard::Guards::default(),
        }
    }

    /// How many elements one emission computes.
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Sets how many elements one emission computes, and gives the lane as an index. A power of two, 16 at most.
    pub fn set_lanes(&mut self, lanes: u32) -> IndexId {
        self.lanes = lanes;
        self.indices.lane(lanes)
    }

    /// The index that a register holds. Its value lies between `low` and `high`, both included.
    /// A 32-bit register is read as signed.
    pub fn variable(&mut self, register: impl Into<Reg>, low: i64, high: i64) -> IndexId {
        let (index, number) = self.indices.variable(low, high);
        self.variables.insert((number, None), register.into());
        index
    }

    /// The index that one register for each lane holds.
    pub fn variable_per_lane(&mut self, registers: &[Reg], low: i64, high: i64) -> IndexId {
        let (index, number) = self.indices.variable_per_lane(registers.len() as u32, low, high);
        for (lane, &register) in registers.iter().enumerate() {
            self.variables.insert((number, Some(lane as u32)), register);
        }
        index
    }

    /// What `body` computes is forgotten afterwards: for code that does not always run, or runs more than once.
    pub fn scope<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        self.values.open();
        self.reciprocals.open();
        self.brought.open();
        self.registers.open();
        self.addresses.open();
        self.predicates.open();
        let result = body(self);
        self.values.close();
        self.reciprocals.close();
        self.brought.close();
        self.registers.close();
        self.addresses.close();
        self.predicates.close();
        result
    }

    /// Runs `body` in threads where `pred` holds.
    pub fn if_<T>(&mut self, pred: R<Pred>, body: impl FnOnce(&mut Self) -> T) -> T {
        let end = self.k.label("end_if");
        self.k.bra_unless(pred, &end);
        let result = self.scope(body);
        self.k.place(&end);
        result
    }

    /// Runs `body` for `i = start, start + step, ..` below `end`, all u32. `end + step` must not pass 2^32.
    pub fn for_u32<T>(
        &mut self,
        start: impl Into<Src<B32>>,
        end: impl Into<Src<B32>>,
        step: impl Into<Src<B32>>,
        body: impl FnOnce(&mut Self, R<B32>) -> T,
    ) -> T {
        let (end, step) = (end.into(), step.into());
        let (head, done): (Label, Label) = (self.k.label("for"), self.k.label("end_for"));
        let i = self.k.mov_b32(start);
        let none = self.k.setp_ge_u32(i, end);
        self.k.bra_if(none, &done);
        self.k.place(&head);
        let result = self.scope(|engine| body(engine, i));
        self.k.set(i).add_u32(i, step);
        let more = self.k.setp_lt_u32(i, end);
        self.k.bra_if(more, &head);
        self.k.place(&done);
        result
    }

    /// States the elements of `value` at `coordinates`, which the kernel has computed by other means.
    pub fn bind(&mut self, value: ValueId, coordinates: &[IndexId], lanes: Lanes) {
        self.values.insert((value, coordinates.into(), GuardId::ALWAYS), lanes);
    }

    /// The elements of `value` at `coordinates`, in registers or as constants.
    ///
    /// Fails on ops that are not evaluated element by element and have not been bound at these coordinates.
    pub fn emit(&mut self, value: ValueId, coordinates: &[IndexId]) -> Result<Lanes, Fault> {
        self.emit_guarded(value, coordinates, GuardId::ALWAYS)
    }

    /// The same, touching memory only in threads (and lanes) where `guard` holds; elsewhere elements mean nothing.
    pub fn emit_guarded(&mut self, value: ValueId, coordinates: &[IndexId], guard: GuardId) -> Result<Lanes, Fault> {
        let mut key: ValueKey = (value, coordinates.into(), guard);
        for known in [guard, GuardId::ALWAYS] {
            key.2 = known;
            if let Some(lanes) = self.values.get(&key) {
                return Ok(lanes.clone());
            }
        }
        let lanes = self.compute(value, coordinates, guard)?;
        key.2 = guard;
        self.values.insert(key, lanes.clone());
        Ok(lanes)
    }

    fn compute(&mut self, value: ValueId, coordinates: &[IndexId], guard: GuardId) -> Result<Lanes, Fault> {
        let program = self.program;
        let node = &program.values[value];
        if node.op.is(Group::Movement) {
            return self.movement(node, coordinates, guard);
        }
        if node.op.is(Group::Map) {
            if let Some(quotient) = self.by_power_of_two(node, coordinates, guard)? {
                return Ok(quotient);
            }
            let mut operands = Vec::with_capacity(node.operands.len());
            for &operand in &node.operands {
                operands.push(self.emit_guarded(operand, coordinates, guard)?);
            }
            let dtypes: Vec<_> = node.operands.iter().map(|&operand| program.ty(operand).dtype).collect();
            return self.per_lane(&operands, |engine, elements| {
                arithmetic::map(&mut engine.k, &node.op, &dtypes, node.ty.dtype, elements)
            });
        }
        match &node.op {
            Op::Bitcast(_) => self.bitcast(node, coordinates, guard),
            Op::Input(_) | Op::Weight(_) => {
                let flat = self.indices.flat(coordinates, &node.ty.shape);
                self.load_input(value, flat, guard)
            }
            Op::Const(op) => self.constant(&op.value, coordinates),
            Op::Iota(op) => self.coordinate(op, coordinates[op.axis]),
            other => Err(Fault::contract(format!(
                "`{}` of {} is needed where the kernel has not computed it",
                other.name(),
                node.ty
            ))),
        }
    }

    /// Applies `f` lane by lane, once where all operands are uniform.
    pub(crate) fn per_lane(
        &mut self,
        operands: &[Lanes],
        mut f: impl FnMut(&mut Self, &[Value]) -> Result<Value, Fault>,
    ) -> Result<Lanes, Fault> {
        let n = if operands.iter().all(Lanes::is_uniform) { 1 } else { self.lanes };
        let mut results = Vec::with_capacity(n as usize);
        for lane in 0..n {
            let elements: Vec<Value> = operands.iter().map(|operand| operand.at(lane)).collect();
            results.push(f(self, &elements)?);
        }
        Ok(Lanes::new(results))
    }

    /// One register for each lane, or a single one.
    pub(crate) fn per_index_lane(
        &mut self,
        index: IndexId,
        mut f: impl FnMut(&mut Self, IndexId) -> Result<Value, Fault>,
    ) -> Result<Lanes, Fault> {
        let n = if self.indices.has_lane(index) { self.lanes } else { 1 };
        let mut results = Vec::with_capacity(n as usize);
        for lane in 0..n {
            let at = self.indices.at_lane(index, lane);
            results.push(f(self, at)?);
        }
        Ok(Lanes::new(results))
    }

    fn coordinate(&mut self, op: &ops::Iota, coordinate: IndexId) -> Result<Lanes, Fault> {
        self.per_index_lane(coordinate, |engine, at| {
            if let Some(number) = engine.indices.as_constant(at) {
                return element::constant(&mut engine.k, op.dtype, Scalar::I(number.into()));
            }
            let wide = engine.is_wide(at);
            let register = engine.index_register(at, wide)?;
            let from = if wide { gable_tensor::DType::I64 } else { gable_tensor::DType::I32 };
            arithmetic::cast(&mut engine.k, from, op.dtype, register.into())
        })
    }

    fn constant(&mut self, tensor: &Tensor, coordinates: &[IndexId]) -> Result<Lanes, Fault> {
        let dtype = tensor.dtype();
        let first = tensor.scalars().next();
        let all_equal = first.is_some_and(|first| {
            let bits = |scalar: Scalar| {
                let mut bytes = [0; 8];
                scalar.store(dtype, &mut bytes);
                bytes
            };
            tensor.scalars().all(|scalar| bits(scalar) == bits(first))
        });
        let flat = self.indices.flat(coordinates, tensor.shape());
        if let (true, Some(first)) = (all_equal, first) {
            return Ok(Lanes::uniform(element::constant(&mut self.k, dtype, first)?));
        }
        if tensor.len() > MAX_TABLE_ELEMENTS {
            let what = format!("{} elements are too many for a kernel's code: make it a weight", tensor.len());
            return Err(Fault::unsupported("const", what));
        }
        self.per_index_lane(flat, |engine, at| match engine.indices.as_constant(at) {
            // A guard may keep the index inside the tensor; elsewhere any element will do.
            Some(number) => {
                let last = tensor.len().saturating_sub(1);
                let position = usize::try_from(number).unwrap_or(0).min(last);
                element::constant(&mut engine.k, dtype, tensor.get(position))
            }
            None => engine.pick(tensor, at),
        })
    }

    /// The element of a small tensor at `index`: selections by the bits of the index, lowest first.
    fn pick(&mut self, tensor: &Tensor, index: IndexId) -> Result<Value, Fault> {
        let dtype = tensor.dtype();
        let register: R<B32> = self.index_register(index, false)?.typed().expect("a narrow index is 32 bits");
        let mut level = Vec::with_capacity(tensor.len());
        for scalar in tensor.scalars() {
            level.push(element::constant(&mut self.k, dtype, scalar)?);
        }
        let mut bit = 0;
        while level.len() > 1 {
            let masked = self.k.and_b32(register, 1u32 << bit);
            let odd = self.k.setp_ne_u32(masked, 0);
            let mut next = Vec::with_capacity(level.len().div_ceil(2));
            for pair in level.chunks(2) {
                next.push(match *pair {
                    [low, high] => element::select(&mut self.k, dtype, odd, high, low)?,
                    _ => pair[0],
                });
            }
            level = next;
            bit += 1;
        }
        level.first().copied().ok_or_else(|| Fault::contract("an element of an empty constant is needed"))
    }

    /// A value as a register of its element type's class.
    pub fn in_register(&mut self, dtype: gable_tensor::DType, value: Value) -> Result<Reg, Fault> {
        element::register(&mut self.k, compute_type(dtype)?, value)
    }

    /// A fresh register that holds `value`, to be changed later.
    pub fn copy(&mut self, ty: ScalarType, value: impl Into<Value>) -> Result<Reg, Fault> {
        let value = value.into();
        if ty == ScalarType::Pred {
            let register = element::register(&mut self.k, ty, value)?;
            return Ok(self.k.copy(ScalarType::Pred, register)?);
        }
        Ok(self.k.copy(ty, value)?)
    }

    /// Overwrites `register`.
    pub fn assign(&mut self, register: Reg, value: Value) -> Result<(), Fault> {
        let value = match register.class {
            Class::Pred => element::register(&mut self.k, ScalarType::Pred, value)?.into(),
            _ => value,
        };
        Ok(self.k.copy_into(register, value)?)
    }
}
