//! Factors whose rows begin anywhere in memory, copied first to rows that begin at whole 16 bytes.
//!
//! ```text
//!   input, rows of 4093 elements                scratch memory, rows of 4096
//!   r0 r0 r0 ... r0 r1 r1 r1 ... r1 r2    -->   r0 r0 r0 ... r0 0 0 0        -->  boxes of a tensor map
//!                                               r1 r1 r1 ... r1 0 0 0
//! ```
//!
//! The copy engine takes no rows that begin elsewhere, and threads bring two bytes at a time there. A large product is faster
//! by the copy and the boxes together: the copy reads and writes each factor once, the product reads it many times.
//!
//! In: a plan's problem and the program's inputs. Out: the problem over the copies, and the launches that make them.

mod copy;

use super::boxes::SPAN;
use super::normal::Plan;
use super::problem::{ContractionError, Digit, Entries, Memory as Lies, Operand, Problem, Side};
use super::schedule::Schedule;
use super::wgmma::rule::START_S;
use super::{mma_ring, operands, predict, rule, tcgen05, wgmma};
use crate::error::Fault;
use crate::program::{Program, ValueId};
use crate::work::{KernelLaunch, Memory};
use gable_ptx::Target;
use gable_tensor::DType;
use std::collections::BTreeMap;

/// Bytes that rows of a copy begin at multiples of.
const GRAIN: usize = 16;

/// Scratch memory is counted in multiples of this.
const ALIGNMENT: u64 = 256;

/// Share of the memory's data sheet that such a copy reaches beside its start: 22.3 us for 67 MB (H200, 2026-11-22).
const COPY_SHARE: f64 = 0.7;

/// An input and its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// The input.
    pub input: ValueId,
    dtype: DType,
    /// Rows of all dimensions but the last.
    rows: usize,
    /// Elements of a row, and from one row of the copy to the next.
    row: usize,
    pitch: usize,
}

impl Copied {
    /// The copy of an input whose rows are no multiples of 16 bytes; none for others.
    fn of(program: &Program, input: ValueId) -> Option<Copied> {
        let ty = program.ty(input);
        let &row = ty.shape.last()?;
        let rows = ty.shape.split_last()?.1.iter().product();
        let grain = GRAIN.checked_div(ty.dtype.bytes()).filter(|&grain| grain > 0)?;
        let is_odd = row > 0 && !row.is_multiple_of(grain) && ty.dtype.bits() >= 8;
        let copied = Copied { input, dtype: ty.dtype, rows, row, pitch: row.next_multiple_of(grain) };
        Some(copied).filter(|copied| is_odd && copied.countable())
    }

    fn bytes(&self) -> u64 {
        (self.rows * self.pitch * self.dtype.bytes()) as u64
    }

    /// Where in the copy an element of the input lies, for distances that are whole rows or stay within one.
    fn place(&self, elements: i64) -> Option<i64> {
        let (row, pitch) = (self.row as i64, self.pitch as i64);
        match elements.checked_rem(row)? {
            0 => (elements / row).checked_mul(pitch),
            rest if elements == rest => Some(rest),
            _ => None,
        }
    }

    fn digits(&self, digits: &[Digit]) -> Option<Vec<Digit>> {
        digits.iter().map(|digit| Some(Digit { stride: self.place(digit.stride)?, ..*digit })).collect()
    }

    /// How an operand lies in the copy that is a matrix in each batch entry of the input.
    fn lies(&self, memory: &Lies, batch: &[usize]) -> Option<Lies> {
        let entries = memory.entries.as_ref()?;
        let (row, pitch) = (self.row as i64, self.pitch as i64);
        let start = entries.start.checked_add(memory.offset).filter(|&start| start >= 0)?;
        // What moves within a row does not leave it.
        let moves = memory.outer.iter().chain(&memory.k).map(|digit| (digit.size, digit.stride));
        let moves = moves.chain(batch.iter().copied().zip(entries.strides.iter().copied()));
        let within: i64 = moves.filter(|(_, stride)| stride % row != 0).map(|(size, by)| (size as i64 - 1) * by).sum();
        if !memory.is_matrix() || start % row + within >= row {
            return None;
        }
        Some(Lies {
            alignment: SPAN as usize,
            entries: Some(Entries {
                start: start / row * pitch + start % row,
                strides: entries.strides.iter().map(|&stride| self.place(stride)).collect::<Option<_>>()?,
            }),
            offset: 0,
            outer: self.digits(&memory.outer)?,
            k: self.digits(&memory.k)?,
            ..memory.clone()
        })
    }
}

/// Copies that a plan's factors lie in.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    of: Vec<Copied>,
    /// Which side lies in which of them.
    sides: BTreeMap<Side, usize>,
}

/// Whether copies are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realigned {
    /// Never.
    Never,
    /// Where the product is expected to be faster with them.
    WhereFaster,
    /// Wherever they can be.
    WherePossible,
}

impl Copies {
    /// Places every factor that is no boxes in a copy, if all are boxes then and the target has a copy engine that products
    /// wait for; else, changes nothing.
    pub fn make(
        plan: &mut Plan,
        program: &Program,
        target: Target,
        when: Realigned,
    ) -> Result<Copies, ContractionError> {
        let mut copies = Copies::default();
        let mut problem = plan.problem.clone();
        let is_plain = problem.quantised.is_none() && problem.scaled.is_none() && problem.k > 0;
        if when == Realigned::Never || !is_plain {
            return Ok(copies);
        }
        for side in plan.problem.sides() {
            let Operand::Memory(memory) = problem.operand(side) else { return Ok(Copies::default()) };
            if operands::boxes(&problem, side, operands::ROWS, problem.element).is_some() {
                continue;
            }
            let copied = plan.views.get(&side).and_then(|view| Copied::of(program, view.input));
            let Some((copied, lies)) = copied.and_then(|copied| Some((copied, copied.lies(memory, &problem.batch)?)))
            else {
                return Ok(Copies::default());
            };
            let number = copies.of.iter().position(|other| *other == copied).unwrap_or(copies.of.len());
            if number == copies.of.len() {
                copies.of.push(copied);
            }
            copies.sides.insert(side, number);
            match side {
                Side::A => problem.a = Operand::Memory(lies),
                Side::B => problem.b = Operand::Memory(lies),
                further => problem.further[further.product() - 1].operand = Operand::Memory(lies),
            }
        }
        problem.realigned = !copies.of.is_empty();
        let has_engine =
            wgmma::suits(&problem, target) || tcgen05::suits(&problem, target) || mma_ring::suits(&problem, target);
        let is_whole = operands::are_boxes(&problem, (operands::ROWS, operands::ROWS));
        if !problem.realigned || !is_whole || !has_engine {
            return Ok(Copies::default());
        }
        if when == Realigned::WhereFaster && !copies.are_faster(&plan.problem, &problem, target)? {
            return Ok(Copies::default());
        }
        plan.problem = problem;
        Ok(copies)
    }

    fn are_faster(&self, before: &Problem, after: &Problem, target: Target) -> Result<bool, ContractionError> {
        let machine = rule::machine_of(target);
        let seconds = |problem: &Problem, schedule: &Schedule| predict::seconds(problem, schedule, machine);
        let Ok(schedule) = rule::choose(after, target) else { return Ok(false) };
        let copying =
            |copied: &Copied| START_S + 2.0 * copied.bytes() as f64 / (COPY_SHARE * machine.memory_bytes_per_s());
        let with = seconds(after, &schedule) + self.of.iter().map(copying).sum::<f64>();
        Ok(with < seconds(before, &rule::choose(before, target)?))
    }

    /// The launches that make the copies, in scratch memory after what `buffers` take.
    pub fn launches(
        &self,
        program: &Program,
        buffers: &[Memory],
        target: Target,
    ) -> Result<(Vec<KernelLaunch>, Vec<Memory>), Fault> {
        let ends = buffers.iter().filter_map(|memory| match memory {
            Memory::Scratch { offset, bytes, .. } => Some(offset + bytes),
            _ => None,
        });
        let mut offset = ends.max().unwrap_or(0).next_multiple_of(ALIGNMENT);
        let (mut launches, mut places) = (Vec::new(), Vec::new());
        for copied in &self.of {
            let position = program.inputs.iter().position(|(id, _)| *id == copied.input);
            let position = position.ok_or_else(|| Fault::contract("a factor that is copied is no input"))?;
            let place = |written| Memory::Scratch { offset, bytes: copied.bytes(), written };
            launches.push(copied.launch(position, place(true), target));
            places.push(place(false));
            offset = (offset + copied.bytes()).next_multiple_of(ALIGNMENT);
        }
        Ok((launches, self.sides.values().map(|&number| places[number].clone()).collect()))
    }

    /// The sides that lie in copies, in the order of the places that [`Copies::launches`] gives.
    pub fn sides(&self) -> impl Iterator<Item = Side> + '_ {
        self.sides.keys().copied()
    }
}
