//! Groups of maps as a small vector program: blocks of elements go through registers that stay in the first-level
//! cache, so values inside a group never reach memory.
//!
//! In: the members of a group in order, and the layouts of the values it reads (broadcast ones too). Out: a kernel that
//! loads, computes and rounds block by block. Each instruction is one op of the graph over one block.

use super::data::{Class, with_lane};
use super::kernel::{Arg, Kernel, Out};
use super::layout::{Layout, Walk};
use super::map_ops;
use super::parallel;
use super::rounding::{self, Round};
use gable_ir::{Graph, NodeId, Op, OpError};
use gable_tensor::DType;
use std::collections::BTreeMap;

/// Elements per block: a few registers of f64 fit the first-level cache, and an instruction's overhead is spread thin.
const BLOCK: usize = 1024;

/// Registers of every class, and how many lanes of them are in use.
#[derive(Default)]
pub(super) struct Frame {
    f32: Vec<Vec<f32>>,
    f64: Vec<Vec<f64>>,
    i64: Vec<Vec<i64>>,
    u64: Vec<Vec<u64>>,
    bool: Vec<Vec<bool>>,
    lanes: usize,
}

/// A class with registers.
pub(super) trait Bank: Round {
    fn bank(frame: &Frame) -> &[Vec<Self>];
    fn bank_mut(frame: &mut Frame) -> &mut Vec<Vec<Self>>;
}

macro_rules! banks {
    ($($t:ident),+) => { $(
        impl Bank for $t {
            fn bank(frame: &Frame) -> &[Vec<Self>] { &frame.$t }
            fn bank_mut(frame: &mut Frame) -> &mut Vec<Vec<Self>> { &mut frame.$t }
        }
    )+ };
}
banks!(f32, f64, i64, u64, bool);

impl Frame {
    fn new(registers: &BTreeMap<Class, usize>) -> Frame {
        let mut frame = Frame::default();
        for (&class, &n) in registers {
            with_lane!(class, T => *T::bank_mut(&mut frame) = vec![vec![T::default(); BLOCK]; n]);
        }
        frame
    }

    fn read<T: Bank>(&self, register: usize) -> &[T] {
        &T::bank(self)[register][..self.lanes]
    }

    /// Lets `compute` fill a register from the others.
    fn write<T: Bank>(&mut self, register: usize, compute: impl FnOnce(&Frame, &mut [T])) {
        let mut lanes = std::mem::take(&mut T::bank_mut(self)[register]);
        compute(self, &mut lanes[..self.lanes]);
        T::bank_mut(self)[register] = lanes;
    }
}

/// One op over one block.
pub(super) type Instruction = Box<dyn Fn(&mut Frame) + Send + Sync>;

/// The registers that an instruction reads and the one it writes, which is none of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    pub from: [usize; 3],
    pub to: usize,
}

pub(super) fn unary<A: Bank, R: Bank>(at: Registers, f: impl Fn(A) -> R + Send + Sync + 'static) -> Instruction {
    Box::new(move |frame| {
        frame.write(at.to, |frame, out| {
            let x = frame.read::<A>(at.from[0]);
            out.iter_mut().zip(x).for_each(|(out, &x)| *out = f(x));
        });
    })
}

pub(super) fn binary<A: Bank, R: Bank>(at: Registers, f: impl Fn(A, A) -> R + Send + Sync + 'static) -> Instruction {
    Box::new(move |frame| {
        frame.write(at.to, |frame, out| {
            let (a, b) = (frame.read::<A>(at.from[0]), frame.read::<A>(at.from[1]));
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (&a, &b))| *out = f(a, b));
        });
    })
}

pub(super) fn select<T: Bank>(at: Registers) -> Instruction {
    Box::new(move |frame| {
        frame.write(at.to, |frame, out| {
            let condition = frame.read::<bool>(at.from[0]);
            let (a, b) = (frame.read::<T>(at.from[1]), frame.read::<T>(at.from[2]));
            for (out, (&c, (&a, &b))) in out.iter_mut().zip(condition.iter().zip(a.iter().zip(b))) {
                *out = if c { a } else { b };
            }
        });
    })
}

fn round<T: Bank>(dtype: DType, register: usize) -> Instruction {
    Box::new(move |frame| frame.write::<T>(register, |_, lanes| T::round_to(dtype, lanes)))
}

enum Step {
    Load { operand: usize, class: Class, register: usize },
    Compute(Instruction),
}

/// A compiled group.
pub(super) struct MapGroup {
    steps: Vec<Step>,
    walks: Vec<Walk>,
    registers: BTreeMap<Class, usize>,
    result: (Class, usize),
}

impl MapGroup {
    /// Compiles `members`, in canonical order; the last is the result. `operands` are the values from outside, each
    /// with its layout, in the order that the kernel will get them.
    pub fn compile(graph: &Graph, members: &[NodeId], operands: &[(NodeId, &Layout)]) -> MapGroup {
        let mut uses: BTreeMap<NodeId, usize> = BTreeMap::new();
        for &member in members {
            graph.operands(member).into_iter().for_each(|operand| *uses.entry(operand).or_default() += 1);
        }
        let mut compiler = Compiler { graph, uses, places: BTreeMap::new(), free: BTreeMap::new(), steps: Vec::new() };
        let mut registers = BTreeMap::new();
        for &member in members {
            for operand in graph.operands(member) {
                if let Some(position) = operands.iter().position(|(id, _)| *id == operand) {
                    compiler.load(operand, position, &mut registers);
                }
            }
            compiler.compute(member, &mut registers);
        }
        let result = compiler.places[members.last().expect("a group has members")];
        let walks = operands.iter().map(|(_, layout)| Walk::new(layout)).collect();
        MapGroup { steps: compiler.steps, walks, registers, result }
    }

    fn block(&self, args: &[Arg<'_>], start: usize, frame: &mut Frame) {
        for step in &self.steps {
            match step {
                Step::Load { operand, class, register } => with_lane!(*class, T => {
                    let data = args[*operand].lanes::<T>();
                    frame.write::<T>(*register, |_, lanes| self.walks[*operand].read(data, start, lanes));
                }),
                Step::Compute(instruction) => instruction(frame),
            }
        }
    }
}

impl Kernel for MapGroup {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (class, register) = self.result;
        with_lane!(class, T => {
            parallel::for_each_chunk(out.lanes::<T>(), 1, self.steps.len(), |start, chunk| {
                let mut frame = Frame::new(&self.registers);
                for (i, block) in chunk.chunks_mut(BLOCK).enumerate() {
                    frame.lanes = block.len();
                    self.block(args, start + i * BLOCK, &mut frame);
                    block.copy_from_slice(frame.read(register));
                }
            });
        });
        Ok(())
    }
}

struct Compiler<'a> {
    graph: &'a Graph,
    /// Uses within the group that are still to come.
    uses: BTreeMap<NodeId, usize>,
    /// Where live values are.
    places: BTreeMap<NodeId, (Class, usize)>,
    free: BTreeMap<Class, Vec<usize>>,
    steps: Vec<Step>,
}

impl Compiler<'_> {
    fn load(&mut self, id: NodeId, operand: usize, registers: &mut BTreeMap<Class, usize>) {
        if self.places.contains_key(&id) {
            return;
        }
        let class = Class::of(self.graph.ty(id).dtype);
        let register = self.take(class, registers);
        self.steps.push(Step::Load { operand, class, register });
        self.places.insert(id, (class, register));
    }

    fn compute(&mut self, id: NodeId, registers: &mut BTreeMap<Class, usize>) {
        let (op, dtype) = (self.graph.op(id), self.graph.ty(id).dtype);
        let operands = self.graph.operands(id);
        let class = Class::of(dtype);
        let to = self.take(class, registers);
        let mut from = [0; 3];
        operands.iter().zip(&mut from).for_each(|(operand, from)| *from = self.places[operand].1);
        // The operands' type: of a select's values, not its condition.
        let from_dtype = self.graph.ty(*operands.last().expect("maps have operands")).dtype;
        self.steps.push(Step::Compute(map_ops::instruction(op, from_dtype, dtype, Registers { from, to })));
        if rounding::rounds(dtype) && !keeps_values(op, dtype) {
            self.steps.push(Step::Compute(with_lane!(class, T => round::<T>(dtype, to))));
        }
        for operand in operands {
            let left = self.uses.get_mut(&operand).expect("every operand was counted");
            *left -= 1;
            if *left == 0 {
                let (class, register) = self.places[&operand];
                self.free.entry(class).or_default().push(register);
            }
        }
        self.places.insert(id, (class, to));
    }

    fn take(&mut self, class: Class, registers: &mut BTreeMap<Class, usize>) -> usize {
        self.free.entry(class).or_default().pop().unwrap_or_else(|| {
            let n = registers.entry(class).or_default();
            *n += 1;
            *n - 1
        })
    }
}

/// Whether the op's results are values of `dtype` as they are, given operands of `dtype`.
fn keeps_values(op: &Op, dtype: DType) -> bool {
    let kept =
        matches!(op, Op::Max(_) | Op::Min(_) | Op::Select(_) | Op::Neg(_) | Op::Abs(_) | Op::Sign(_) | Op::Relu(_));
    // Integers wrap when negated; types of 8 bits and less may have no sign or no zero, and saturate infinity.
    kept && dtype.is_float() && dtype.bits() >= 16
}
