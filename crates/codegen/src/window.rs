//! Window regions: one reduction over windows that slide over every axis, with maps and movement around it.
//!
//! A thread takes V neighbouring results along the last axis and walks over the taps of their windows. The taps of the
//! last axes are written out, up to [`MAX_WRITTEN_OUT`] loads; loops go over those of the others. A tap in the padding
//! loads nothing and counts as the reduction's identity; where the ranges of the indices prove that none is, there is
//! nothing to test. When the last axis is not windowed (channels last), the V elements of a tap are one vector load.
//!
//! Neighbouring windows share elements, which the L1 cache serves: every result costs all its taps in loads.

use crate::combine::{Combine, Partial};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::map::stated_class;
use crate::ordered::rows::{Thread, grid, leave_at};
use crate::ordered::vector_lanes;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::attr::ReduceKind;
use gable_ir::{Op, ops};
use gable_ptx::meaning::Binary;
use gable_ptx::{Reg, Value};

/// Threads of a CTA.
const THREADS: u32 = 256;

/// Loads of one thread that are written out one after the other.
const MAX_WRITTEN_OUT: usize = 32;

/// Kernels for a region around one `reduce_window`. `overwritten` are inputs that share memory with outputs.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let found = program.find(|op| matches!(op, Op::ReduceWindow(_)));
    let &[anchor] = found.as_slice() else {
        return Err(Fault::contract(format!("a window region has {} windows, expected 1", found.len())));
    };
    let Op::ReduceWindow(op) = &program.values[anchor].op else {
        return Err(Fault::contract("the anchor of a window region is no window"));
    };
    let (operand, ty) = (program.values[anchor].operands[0], program.ty(anchor));
    if ty.is_empty() {
        return Ok(Vec::new());
    }
    let last = ty.shape.last().copied().unwrap_or(1);
    let lanes = vector_lanes(last, ty.dtype.bytes(), ty.len(), hardware, 1024);
    let n_vectors = ty.len() / lanes as usize;
    let grid = grid("reduce_window", n_vectors.div_ceil(THREADS as usize))?;

    let mut engine = Engine::new(program, "window", hardware.target, overwritten);
    engine.k.required_threads(THREADS, 1, 1);
    let thread = Thread::here(&mut engine, grid, THREADS);
    leave_at(&mut engine, thread.global, n_vectors)?;
    let lane = engine.set_lanes(lanes);
    let flat = engine.indices.scale_add(thread.global, i64::from(lanes), lane);
    let at = engine.indices.coordinates(flat, &ty.shape);
    let combine = Combine::of(&program.values[anchor].op, ty.dtype, 0)?;
    let window = Window { op, operand, combine };
    let results = window.results(&mut engine, &at)?;
    engine.store_followers(anchor, &at, results, GuardId::ALWAYS)?;
    engine.k.exit();
    Ok(vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule: Schedule::PerThread { lanes, threads: THREADS },
        grid,
        block: [THREADS, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })])
}

struct Window<'p> {
    op: &'p ops::ReduceWindow,
    operand: ValueId,
    combine: Combine,
}

/// Registers that grow from tap to tap, for each lane.
struct Sums {
    partials: Vec<Vec<Reg>>,
    /// Taps that lie inside; only of means whose windows reach into the padding.
    counts: Vec<Reg>,
}

impl Window<'_> {
    /// The anchor's elements at `at`.
    fn results(&self, engine: &mut Engine<'_>, at: &[IndexId]) -> Result<Lanes, Fault> {
        let mut sums = Sums { partials: Vec::new(), counts: Vec::new() };
        let is_counted = self.op.kind == ReduceKind::Mean && !self.lies_inside(engine, at);
        let ty = self.combine.types()?[0];
        for _ in 0..engine.lanes() {
            sums.partials.push(self.combine.start(engine)?);
            if is_counted {
                let none = self.combine.count(0);
                sums.counts.push(engine.copy(ty, none)?);
            }
        }
        let mut taps = Vec::with_capacity(at.len());
        self.walk(engine, at, &mut taps, &sums)?;
        let n_taps = self.combine.count(self.op.window.iter().product());
        let mut results = Vec::with_capacity(sums.partials.len());
        for (lane, sum) in sums.partials.iter().enumerate() {
            let partial: Partial = sum.iter().map(|&register| register.into()).collect();
            let count = sums.counts.get(lane).map_or(n_taps, |&count| count.into());
            results.push(self.combine.finish(&mut engine.k, &partial, count)?);
        }
        Ok(Lanes::new(results))
    }

    /// Whether no window reaches into the padding.
    fn lies_inside(&self, engine: &Engine<'_>, at: &[IndexId]) -> bool {
        let sizes = &engine.program.ty(self.operand).shape;
        (0..at.len()).all(|axis| {
            let (low, high) = engine.indices.range(at[axis]);
            let reach = (self.op.window[axis] - 1) * self.op.dilations[axis];
            let stride = self.op.strides[axis] as i64;
            low * stride >= self.op.low[axis] && high * stride + reach as i64 - self.op.low[axis] < sizes[axis] as i64
        })
    }

    /// Goes over the taps of the axes from `taps.len()` on.
    fn walk(&self, engine: &mut Engine<'_>, at: &[IndexId], taps: &mut Vec<IndexId>, sums: &Sums) -> Result<(), Fault> {
        let Some(&size) = self.op.window.get(taps.len()) else { return self.add_tap(engine, at, taps, sums) };
        let loads: usize = self.op.window[taps.len()..].iter().product::<usize>() * sums.partials.len();
        if loads <= MAX_WRITTEN_OUT || size == 1 {
            for tap in 0..size {
                taps.push(engine.indices.constant(tap as i64));
                self.walk(engine, at, taps, sums)?;
                taps.pop();
            }
            return Ok(());
        }
        let end = u32::try_from(size)
            .ok()
            .filter(|&size| size <= i32::MAX as u32)
            .ok_or_else(|| Fault::unsupported("reduce_window", format!("a window of {size} elements is too long")))?;
        engine.for_u32(0, end, 1, |engine, tap| {
            taps.push(engine.variable(tap, 0, size as i64 - 1));
            let result = self.walk(engine, at, taps, sums);
            taps.pop();
            result
        })
    }

    /// Combines one tap of every lane's window.
    fn add_tap(&self, engine: &mut Engine<'_>, at: &[IndexId], taps: &[IndexId], sums: &Sums) -> Result<(), Fault> {
        let sizes = &engine.program.ty(self.operand).shape;
        let mut guard = GuardId::ALWAYS;
        let mut coordinates = Vec::with_capacity(at.len());
        for (axis, (&at, &tap)) in at.iter().zip(taps).enumerate() {
            let moved = engine.indices.scale(at, self.op.strides[axis] as i64);
            let moved = engine.indices.scale_add(tap, self.op.dilations[axis] as i64, moved);
            let coordinate = engine.indices.offset(moved, -self.op.low[axis]);
            let from_start = engine.guard_at_least(guard, coordinate, 0);
            let within = from_start.and_then(|guard| engine.guard_below(guard, coordinate, sizes[axis] as i64));
            // A tap that no window has inside is none.
            let Some(within) = within else { return Ok(()) };
            guard = within;
            coordinates.push(coordinate);
        }
        let elements = engine.emit_guarded(self.operand, &coordinates, guard)?;
        for (lane, sum) in (0..).zip(&sums.partials) {
            let inside = engine.predicate(guard, lane)?;
            let mut partial = self.combine.of_element(engine, elements.at(lane), |_| Ok(Value::Int(0)))?;
            if let Some(inside) = inside {
                partial = self.combine.where_(&mut engine.k, inside, &partial)?;
            }
            self.combine.add_to(engine, sum, &partial)?;
            if let Some(&count) = sums.counts.get(lane as usize) {
                let ty = self.combine.types()?[0];
                let one = match inside {
                    None => self.combine.count(1),
                    Some(inside) => engine.k.select(ty, self.combine.count(1), self.combine.count(0), inside)?.into(),
                };
                let next = engine.k.binary(Binary::Add, ty, count, one)?;
                engine.assign(count, next.into())?;
            }
        }
        Ok(())
    }
}
