//! `tcgen05.ld`, `tcgen05.st` and their waits.
//!
//! A load owns its registers from its issue to the wait. A store takes its registers at once and writes when the schedule says.

use gable_ptx::syntax::{Instruction, Operand as Text};

use super::{At, Decoded, Fault, HazardKind, says, split};
use crate::exec::{Execute, Flow, wgmma::uniform};
use crate::machine::{Asynchronous, Cluster, LANES, Queue};
use crate::order::{Kind, Operation, OperationKind};
use crate::program::{Address, Decoder, Destination, LoadError, Source};
use crate::tensor_core::tcgen05::moves::{MoveShape, pack, unpack};

/// Operations of a warp on tensor memory that were not waited for.
#[derive(Clone, Debug, Default)]
pub struct WarpTensor {
    loads: Vec<Pending>,
    stores: Vec<Pending>,
    /// The last multiply, copy or shift of each lane that issued any.
    pipelines: Vec<(usize, Option<Operation>)>,
}

#[derive(Clone, Debug)]
struct Pending {
    number: u64,
    operation: Option<Operation>,
}

impl WarpTensor {
    /// The last operation in the pipeline of a lane.
    pub(super) fn last(&mut self, lane: usize) -> &mut Option<Operation> {
        let index = match self.pipelines.iter().position(|(other, _)| *other == lane) {
            Some(index) => index,
            None => {
                self.pipelines.push((lane, None));
                self.pipelines.len() - 1
            }
        };
        &mut self.pipelines[index].1
    }
}

const IN_FLIGHT: &str = "a tcgen05.ld that was not waited for still writes: tcgen05.wait::ld must come first";

/// Where a load or store works.
#[derive(Clone, Copy)]
struct Move {
    shape: MoveShape,
    repetitions: u32,
    packed: bool,
    address: Address,
}

/// `.min` or `.max` of a reducing load.
#[derive(Clone, Copy)]
struct Reduction {
    to: Destination,
    maximum: bool,
    absolute: bool,
    propagates_nan: bool,
    ty: Number,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    F32,
    U32,
    S32,
}

pub(super) fn load(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let to = d.elements(d.operand(inst, 0)?)?;
    let to = to.iter().map(|to| d.destination(to)).collect::<Result<Vec<_>, _>>()?;
    let reduces = says(inst, "red");
    let address = if reduces { 2 } else { 1 };
    let reduction = if reduces {
        let ty = match (says(inst, "f32"), says(inst, "u32")) {
            (true, _) => Number::F32,
            (false, true) => Number::U32,
            (false, false) => Number::S32,
        };
        Some(Reduction {
            to: d.destination(d.operand(inst, 1)?)?,
            maximum: says(inst, "max"),
            absolute: says(inst, "abs"),
            propagates_nan: says(inst, "NaN"),
            ty,
        })
    } else {
        None
    };
    let place = place(d, inst, address, address + 1, "pack::16b")?;
    check_count(d, inst, place, to.len())?;
    Ok(Decoded::aligned(Load { place, to, reduction }))
}

pub(super) fn store(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let last = inst.operands.len().saturating_sub(1);
    let place = place(d, inst, 0, 1, "unpack::16b")?;
    let from: Vec<Text> = d.elements(d.operand(inst, last)?)?;
    let from = from.iter().map(|from| d.value(from)).collect::<Result<Vec<_>, _>>()?;
    check_count(d, inst, place, from.len())?;
    Ok(Decoded::aligned(Store { place, from }))
}

fn check_count(d: &Decoder<'_>, inst: &Instruction, place: Move, found: usize) -> Result<(), LoadError> {
    let expected = (place.shape.registers() * place.repetitions) as usize;
    if found != expected {
        return Err(d.error(format!("`{}` has {found} registers, expected {expected}", inst.spelling())));
    }
    Ok(())
}

fn place(
    d: &mut Decoder<'_>,
    inst: &Instruction,
    address: usize,
    split: usize,
    packing: &str,
) -> Result<Move, LoadError> {
    let address = d.address(d.operand(inst, address)?)?;
    let words = || inst.modifiers.iter().map(|word| &**word);
    let mut shape = words().find_map(|word| {
        Some(match word {
            "32x32b" => MoveShape::L32x32b,
            "16x64b" => MoveShape::L16x64b,
            "16x128b" => MoveShape::L16x128b,
            "16x256b" => MoveShape::L16x256b,
            "16x32bx2" => MoveShape::L16x32bx2 { split: 0 },
            _ => return None,
        })
    });
    if let Some(MoveShape::L16x32bx2 { split: columns }) = &mut shape {
        *columns = d.immediate(d.operand(inst, split)?)? as u32;
    }
    let repetitions = words().find_map(|word| word.strip_prefix('x')?.parse::<u32>().ok());
    match (shape, repetitions) {
        (Some(shape), Some(repetitions)) if shape.allows(repetitions) => {
            Ok(Move { shape, repetitions, packed: says(inst, packing), address })
        }
        _ => Err(d.error(format!("`{}` has no such shape", inst.spelling()))),
    }
}

/// Where the move of a warp starts, checked: the lanes of the warp's quarter, and columns that are allocated.
fn locate(c: &Cluster<'_>, at: &At, place: Move) -> Result<(u32, u32, u32), Fault> {
    let base = uniform(c, at, place.address.base, "the address of tensor memory")? as u32;
    let address = base.wrapping_add(place.address.offset as u32);
    let (lane, column) = split(address);
    let warp = &c.warps[at.warp];
    let quarter = warp.number % 4 * 32;
    if lane < quarter || lane + place.shape.lanes() > quarter + 32 || lane % 16 != 0 {
        let message = format!(
            "lanes {lane} to {} of tensor memory; warp {} of the CTA reaches lanes {quarter} to {} only",
            lane + place.shape.lanes() - 1,
            warp.number,
            quarter + 31
        );
        return Err(Fault::new(HazardKind::TensorMemory, message).at(address.into()));
    }
    let columns = place.shape.columns(place.repetitions, place.packed);
    let rank = c.cta_of(at.warp).rank;
    c.ctas[rank as usize].tensor.check(lane, place.shape.lanes(), column, columns).map_err(|f| f.at(address.into()))?;
    Ok((rank, lane, column))
}

/// Records the columns that a move touches: for two halves apart, each of them.
fn touch(
    c: &mut Cluster<'_>,
    at: &At,
    kind: OperationKind,
    place: Move,
    (rank, lane, column): (u32, u32, u32),
) -> Option<Operation> {
    let order = c.order.as_mut()?;
    let operation = order.start(at.warp as u32, at.mask, kind);
    let access = if kind == OperationKind::TensorLoad { Kind::Read } else { Kind::Write };
    let halves = match place.shape {
        MoveShape::L16x32bx2 { split } => {
            let half = MoveShape::L16x32bx2 { split: 0 }.columns(place.repetitions, place.packed);
            vec![(column, half), (column + split, half)]
        }
        shape => vec![(column, shape.columns(place.repetitions, place.packed))],
    };
    let lanes = lane..lane + place.shape.lanes();
    let mut found = Vec::new();
    for (first, columns) in halves {
        let columns = first..first + columns;
        found.extend(order.operation_tensor(&operation, rank, lanes.clone(), columns, access, at.pc).err());
    }
    for conflict in found {
        c.report_conflict(at.warp, conflict);
    }
    Some(operation)
}

struct Load {
    place: Move,
    to: Vec<Destination>,
    reduction: Option<Reduction>,
}

impl Execute for Load {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let start = locate(c, &at, self.place)?;
        let operation = touch(c, &at, OperationKind::TensorLoad, self.place, start);
        let running =
            Loading { warp: at.warp, place: self.place, start, to: self.to.clone(), reduction: self.reduction };
        let number = c.issue(Queue::Unordered, (at.warp, 0), at.pc, Box::new(running))?;
        let warp = &mut c.warps[at.warp];
        warp.tensor.loads.push(Pending { number, operation });
        let registers = self.to.iter().chain(self.reduction.iter().map(|r| &r.to)).filter_map(|to| to.register);
        warp.in_flight.extend(registers.map(|register| (register, IN_FLIGHT)));
        Ok(Flow::Next)
    }
}

struct Loading {
    warp: usize,
    place: Move,
    start: (u32, u32, u32),
    to: Vec<Destination>,
    reduction: Option<Reduction>,
}

impl Asynchronous for Loading {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let (rank, lane, column) = self.start;
        let Move { shape, packed, .. } = self.place;
        let tensor = &c.ctas[rank as usize].tensor;
        let mut registers = vec![[0u64; LANES]; self.to.len()];
        for (number, register) in registers.iter_mut().enumerate() {
            for (thread, value) in register.iter_mut().enumerate() {
                let (row, first) = shape.cell(thread as u32, number as u32, packed);
                let cells = tensor.read(lane + row, column + first, if packed { 2 } else { 1 })?;
                *value = u64::from(if packed { pack(cells[0], cells[1]) } else { cells[0] });
            }
        }
        let warp = &mut c.warps[self.warp];
        for (to, register) in self.to.iter().zip(&registers) {
            warp.set(*to, u32::MAX, register);
        }
        if let Some(reduction) = self.reduction {
            let values: [u64; LANES] = std::array::from_fn(|thread| {
                let loaded = registers.iter().map(|register| register[thread] as u32);
                u64::from(reduction.reduce(loaded))
            });
            warp.set(reduction.to, u32::MAX, &values);
        }
        Ok(())
    }
}

impl Reduction {
    /// The least or greatest of the values that a thread loaded.
    fn reduce(self, values: impl Iterator<Item = u32>) -> u32 {
        let prepared = values.map(|bits| if self.absolute { bits & 0x7fff_ffff } else { bits });
        prepared.reduce(|one, other| self.choose(one, other)).unwrap_or(0)
    }

    fn choose(self, one: u32, other: u32) -> u32 {
        let first = match self.ty {
            Number::U32 => (one > other) == self.maximum,
            Number::S32 => (one as i32 > other as i32) == self.maximum,
            Number::F32 => {
                let (x, y) = (f32::from_bits(one), f32::from_bits(other));
                if x.is_nan() || y.is_nan() {
                    if self.propagates_nan || (x.is_nan() && y.is_nan()) {
                        return 0x7fff_ffff;
                    }
                    return if x.is_nan() { other } else { one };
                }
                // Zeros are equal as numbers, and minus zero is the smaller.
                (x.total_cmp(&y) == std::cmp::Ordering::Greater) == self.maximum
            }
        };
        if first { one } else { other }
    }
}

struct Store {
    place: Move,
    from: Vec<Source>,
}

impl Execute for Store {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let start = locate(c, &at, self.place)?;
        let operation = touch(c, &at, OperationKind::TensorStore, self.place, start);
        let warp = &c.warps[at.warp];
        let registers = self.from.iter().map(|from| *warp.source(c.grid.kernel, *from)).collect();
        let running = Storing { place: self.place, start, registers };
        let number = c.issue(Queue::Unordered, (at.warp, 0), at.pc, Box::new(running))?;
        c.warps[at.warp].tensor.stores.push(Pending { number, operation });
        Ok(Flow::Next)
    }
}

struct Storing {
    place: Move,
    start: (u32, u32, u32),
    registers: Vec<[u64; LANES]>,
}

impl Asynchronous for Storing {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let (rank, lane, column) = self.start;
        let Move { shape, packed, .. } = self.place;
        let tensor = &mut c.ctas[rank as usize].tensor;
        for (number, register) in self.registers.iter().enumerate() {
            for (thread, value) in register.iter().enumerate() {
                let (row, first) = shape.cell(thread as u32, number as u32, packed);
                let (low, high) = unpack(*value as u32);
                let cells = if packed { [low, high] } else { [*value as u32, 0] };
                tensor.write(lane + row, column + first, &cells[..if packed { 2 } else { 1 }])?;
            }
        }
        Ok(())
    }
}

/// Finishes the loads of a warp, whose registers are used before the wait.
pub(in crate::exec) fn finish_loads(c: &mut Cluster<'_>, warp: usize) -> Result<(), Fault> {
    let numbers: Vec<u64> = c.warps[warp].tensor.loads.iter().map(|load| load.number).collect();
    numbers.into_iter().try_for_each(|number| c.finish_queue_up_to(number))
}

/// Waits for the loads, or the stores, of a warp.
pub(super) fn wait(c: &mut Cluster<'_>, at: &At, loads: bool) -> Result<Flow, Fault> {
    let tensor = &mut c.warps[at.warp].tensor;
    let done = std::mem::take(if loads { &mut tensor.loads } else { &mut tensor.stores });
    for pending in &done {
        c.finish_queue_up_to(pending.number)?;
        if let (Some(order), Some(operation)) = (&mut c.order, &pending.operation) {
            order.complete(operation, at.warp as u32, at.mask);
        }
    }
    if loads {
        let warp = &mut c.warps[at.warp];
        warp.in_flight.retain(|(_, why)| *why != IN_FLIGHT);
        warp.early_use = warp.early_use.filter(|(_, _, why)| *why != IN_FLIGHT);
    }
    Ok(Flow::Next)
}
