//! Row regions: softmax, norms, and reductions along the last axis with maps around them that share the rows.
//!
//! ```text
//! thread t of the T that share row r:   vectors t, t + T, t + 2 T, .. of V neighbouring elements
//! ```
//!
//! A row that fits is read once: the engine keeps what it has computed at an index, so that each phase (largest, then
//! sum, then output) finds the elements of the one before in registers. Longer rows are read again in each phase, from
//! L2 where they fit it. Threads put their partial results together by shuffles, and over warps through shared memory.

use crate::combine::{Combine, Partial, WARP, combine_cta, combine_lanes};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::map::stated_class;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::Op;
use gable_ptx::{B32, R};

/// Elements of one thread that stay in registers between phases.
const HELD_ELEMENTS: u64 = 16;

/// Threads of a CTA that takes several short rows.
const SHORT_ROW_THREADS: u32 = 128;

/// Most threads that share a row: with more, a thread has under 64 registers.
const MAX_THREADS: u32 = 1024;

/// Rows and their length.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rows {
    n: usize,
    length: usize,
}

/// Kernels for a region of rows.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let anchors = program.find(|op| matches!(op, Op::Reduce(_)));
    let rows = rows_of(program, &anchors)?;
    if program.outputs.iter().all(|&(id, _)| program.ty(id).is_empty()) {
        return Ok(Vec::new());
    }
    let (lanes, threads_per_row, vectors, streamed) = shape(program, rows);
    let rows_per_cta = if threads_per_row > WARP { 1 } else { SHORT_ROW_THREADS / threads_per_row };
    let threads = threads_per_row * rows_per_cta;
    let schedule = Schedule::Row { lanes, vectors, threads_per_row, rows: rows_per_cta, streamed };
    let n_ctas = rows.n.div_ceil(rows_per_cta as usize);
    let grid = u32::try_from(n_ctas).ok().filter(|&n| n <= i32::MAX as u32);
    let grid = grid.ok_or_else(|| Fault::unsupported("reduce", format!("{} rows", rows.n)))?;

    let mut engine = Engine::new(program, "row", hardware.target, overwritten);
    engine.k.required_threads(threads, 1, 1);
    engine.k.comment(format!("{schedule}, {} rows of {}", rows.n, rows.length));
    let mut kernel = RowKernel::new(&mut engine, rows, lanes, threads_per_row, rows_per_cta);
    if streamed {
        kernel.stream(&anchors)?;
    } else {
        kernel.hold(&anchors, vectors)?;
    }
    engine.k.exit();
    Ok(vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [grid, 1, 1],
        block: [threads, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })])
}

/// The rows that all anchors work on.
fn rows_of(program: &Program, anchors: &[ValueId]) -> Result<Rows, Fault> {
    let mut found: Option<Rows> = None;
    for &anchor in anchors {
        let shape = &program.ty(program.values[anchor].operands[0]).shape;
        let Op::Reduce(op) = &program.values[anchor].op else { continue };
        let last = shape.len().wrapping_sub(1);
        if op.axes != [last] {
            return Err(Fault::contract("a row region reduces along another axis than the last"));
        }
        let rows = Rows { n: shape[..last].iter().product(), length: shape[last] };
        if found.is_some_and(|found| found != rows) {
            return Err(Fault::contract("a row region has rows of different lengths"));
        }
        found = Some(rows);
    }
    found.filter(|rows| rows.length > 0).ok_or_else(|| Fault::contract("a row region has no rows"))
}

/// Lanes, threads of a row, vectors of a thread, and whether rows are streamed.
fn shape(program: &Program, rows: Rows) -> (u32, u32, u32, bool) {
    let full = program.inputs.iter().chain(&program.outputs).map(|&(id, _)| program.ty(id));
    let full = full.filter(|ty| ty.len() == rows.n * rows.length);
    let narrowest = full.map(|ty| ty.dtype.bytes() as u32).min().unwrap_or(4);
    let mut lanes = (16 / narrowest).clamp(1, 8);
    while !rows.length.is_multiple_of(lanes as usize) {
        lanes /= 2;
    }
    let n_vectors = (rows.length / lanes as usize) as u64;
    let held_vectors = HELD_ELEMENTS / u64::from(lanes);
    if n_vectors <= u64::from(WARP) * held_vectors {
        // A warp or less, as many threads as there are vectors.
        let threads = n_vectors.next_power_of_two().min(u64::from(WARP)) as u32;
        return (lanes, threads, n_vectors.div_ceil(u64::from(threads)) as u32, false);
    }
    // Half of what could be held first: more threads bring more loads in flight.
    for vectors in [held_vectors / 2, held_vectors] {
        let threads = n_vectors.div_ceil(vectors.max(1)).next_multiple_of(u64::from(WARP));
        if threads <= u64::from(MAX_THREADS) {
            return (lanes, threads as u32, n_vectors.div_ceil(threads) as u32, false);
        }
    }
    (lanes, MAX_THREADS, 1, true)
}

/// A vector of a row: where it is, and whether it is.
struct Column {
    first: IndexId,
    guard: GuardId,
}

struct RowKernel<'e, 'p> {
    engine: &'e mut Engine<'p>,
    rows: Rows,
    threads_per_row: u32,
    lanes: u32,
    lane: IndexId,
    row: IndexId,
    /// Holds where the thread's row exists.
    in_rows: GuardId,
    /// The thread's number among those of its row.
    thread: R<B32>,
}

impl<'e, 'p> RowKernel<'e, 'p> {
    fn new(engine: &'e mut Engine<'p>, rows: Rows, lanes: u32, threads_per_row: u32, rows_per_cta: u32) -> Self {
        let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
        let (mut row, mut thread) = (cta, tid);
        let mut in_rows = GuardId::ALWAYS;
        if rows_per_cta > 1 {
            let own = engine.k.shr_u32(tid, threads_per_row.trailing_zeros());
            row = engine.k.mad_lo_u32(cta, rows_per_cta, own);
            thread = engine.k.and_b32(tid, threads_per_row - 1);
            if !rows.n.is_multiple_of(rows_per_cta as usize) {
                let exists = engine.k.setp_lt_u32(row, rows.n as u32);
                in_rows = engine.guard_by(GuardId::ALWAYS, exists);
            }
        }
        let row = engine.variable(row, 0, rows.n as i64 - 1);
        let lane = engine.set_lanes(lanes);
        RowKernel { engine, rows, threads_per_row, lanes, lane, row, in_rows, thread }
    }

    fn n_vectors(&self) -> u32 {
        (self.rows.length / self.lanes as usize) as u32
    }

    /// Every phase over vectors in registers.
    fn hold(&mut self, anchors: &[ValueId], vectors: u32) -> Result<(), Fault> {
        let whole = self.n_vectors() / self.threads_per_row;
        let base = self.engine.variable(self.thread, 0, i64::from(self.threads_per_row.min(self.n_vectors())) - 1);
        let mut columns = Vec::with_capacity(vectors as usize);
        for vector in 0..vectors {
            let ahead = vector * self.threads_per_row;
            columns.push(if vector < whole {
                Column { first: self.engine.indices.offset(base, ahead.into()), guard: self.in_rows }
            } else {
                let register = self.engine.k.add_u32(self.thread, ahead);
                self.last_column(register)
            });
        }
        for (slot, &anchor) in anchors.iter().enumerate() {
            let combine = self.combine(anchor)?;
            let mut sum: Option<Partial> = None;
            for column in &columns {
                let partial = self.partial(&combine, anchor, column)?;
                sum = Some(match sum {
                    None => partial,
                    Some(sum) => combine.combine(&mut self.engine.k, &sum, &partial)?,
                });
            }
            let sum = sum.expect("a row has a vector");
            self.finish(anchor, &combine, sum, slot)?;
        }
        for output in 0..self.engine.program.outputs.len() {
            if self.is_per_row(output)? {
                self.store_per_row(output)?;
                continue;
            }
            for column in &columns {
                self.store(output, column)?;
            }
        }
        Ok(())
    }

    /// Every phase in a loop over the row.
    fn stream(&mut self, anchors: &[ValueId]) -> Result<(), Fault> {
        let (n_vectors, step, thread) = (self.n_vectors(), self.threads_per_row, self.thread);
        for (slot, &anchor) in anchors.iter().enumerate() {
            let combine = self.combine(anchor)?;
            let sum = combine.start(self.engine)?;
            self.each_column(thread, n_vectors, step, |kernel, column| {
                let partial = kernel.partial(&combine, anchor, &column)?;
                combine.add_to(kernel.engine, &sum, &partial)
            })?;
            let sum = sum.into_iter().map(Into::into).collect();
            self.finish(anchor, &combine, sum, slot)?;
        }
        for output in 0..self.engine.program.outputs.len() {
            if self.is_per_row(output)? {
                self.store_per_row(output)?;
                continue;
            }
            self.each_column(thread, n_vectors, step, |kernel, column| kernel.store(output, &column))?;
        }
        Ok(())
    }

    fn each_column(
        &mut self,
        start: R<B32>,
        end: u32,
        step: u32,
        mut body: impl FnMut(&mut RowKernel<'_, 'p>, Column) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let RowKernel { rows, threads_per_row, lanes, lane, row, in_rows, thread, .. } = *self;
        self.engine.for_u32(start, end, step, |engine, register| {
            let first = engine.variable(register, 0, i64::from(end) - 1);
            let mut kernel = RowKernel { engine, rows, threads_per_row, lanes, lane, row, in_rows, thread };
            body(&mut kernel, Column { first, guard: in_rows })
        })
    }

    /// A vector that only some threads have.
    fn last_column(&mut self, register: R<B32>) -> Column {
        let n_vectors = self.n_vectors();
        let exists = self.engine.k.setp_lt_u32(register, n_vectors);
        let guard = self.engine.guard_by(self.in_rows, exists);
        Column { first: self.engine.variable(register, 0, i64::from(n_vectors) - 1), guard }
    }

    fn combine(&self, anchor: ValueId) -> Result<Combine, Fault> {
        let node = &self.engine.program.values[anchor];
        Combine::of(&node.op, self.engine.program.ty(node.operands[0]).dtype, self.rows.length)
    }

    /// Flat position of a column's elements among all rows.
    fn flat(&mut self, column: &Column) -> IndexId {
        let in_row = self.engine.indices.scale_add(column.first, i64::from(self.lanes), self.lane);
        self.engine.indices.scale_add(self.row, self.rows.length as i64, in_row)
    }

    /// What a column adds to an anchor.
    fn partial(&mut self, combine: &Combine, anchor: ValueId, column: &Column) -> Result<Partial, Fault> {
        let program = self.engine.program;
        let operand = program.values[anchor].operands[0];
        let flat = self.flat(column);
        let coordinates = self.engine.indices.coordinates(flat, &program.ty(operand).shape);
        let elements = self.engine.emit_guarded(operand, &coordinates, column.guard)?;
        let mut sum: Option<Partial> = None;
        for lane in 0..self.lanes {
            let none = |_: &mut Engine<'_>| Err(Fault::contract("rows have no positions"));
            let one = combine.of_element(self.engine, elements.at(lane), none)?;
            sum = Some(match sum {
                None => one,
                Some(sum) => combine.combine(&mut self.engine.k, &sum, &one)?,
            });
        }
        let sum = sum.expect("a vector has a lane");
        match self.engine.predicate(column.guard, 0)? {
            None => Ok(sum),
            Some(pred) => combine.where_(&mut self.engine.k, pred, &sum),
        }
    }

    /// Joins the threads' partial results and states the anchor's element of the row.
    fn finish(&mut self, anchor: ValueId, combine: &Combine, sum: Partial, slot: usize) -> Result<(), Fault> {
        let whole = if self.threads_per_row > WARP {
            combine_cta(self.engine, combine, sum, self.threads_per_row, slot)?
        } else {
            combine_lanes(&mut self.engine.k, combine, sum, self.threads_per_row)?
        };
        let count = combine.count(self.rows.length);
        let element = combine.finish(&mut self.engine.k, &whole, count)?;
        let program = self.engine.program;
        let coordinates = self.engine.indices.coordinates(self.row, &program.ty(anchor).shape);
        self.engine.bind(anchor, &coordinates, Lanes::uniform(element));
        Ok(())
    }

    /// Whether an output has one element for each row, and not all of the row's.
    fn is_per_row(&self, output: usize) -> Result<bool, Fault> {
        let ty = self.engine.program.ty(self.engine.program.outputs[output].0);
        match ty.len() {
            n if n == self.rows.n * self.rows.length => Ok(false),
            n if n == self.rows.n => Ok(true),
            _ => Err(Fault::contract(format!("an output of a row region is {ty}, which is not a matter of its rows"))),
        }
    }

    fn store(&mut self, output: usize, column: &Column) -> Result<(), Fault> {
        let program = self.engine.program;
        let id = program.outputs[output].0;
        let flat = self.flat(column);
        let coordinates = self.engine.indices.coordinates(flat, &program.ty(id).shape);
        let elements = self.engine.emit_guarded(id, &coordinates, column.guard)?;
        self.engine.store_output(output, &coordinates, &elements, column.guard)
    }

    fn store_per_row(&mut self, output: usize) -> Result<(), Fault> {
        let program = self.engine.program;
        let id = program.outputs[output].0;
        let is_first = self.engine.k.setp_eq_u32(self.thread, 0);
        let guard = self.engine.guard_by(self.in_rows, is_first);
        let coordinates = self.engine.indices.coordinates(self.row, &program.ty(id).shape);
        let elements = self.engine.emit_guarded(id, &coordinates, guard)?;
        self.engine.store_output(output, &coordinates, &elements, guard)
    }
}
