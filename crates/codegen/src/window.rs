//! Window regions: one reduction over sliding windows, with maps and movement around it.
//!
//! One thread for each result, or for neighbouring results along the last axis where windows do not slide along it:
//! channels, in images that keep them last. Taps are unrolled where they are few, and a loop where they are many.

use crate::combine::Combine;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::map::stated_class;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::{Op, ops};
use gable_ptx::meaning::Binary;
use gable_ptx::{B32, R, Reg, ScalarType, Value};
use gable_tensor::DType;

/// Threads of a CTA.
const THREADS: u32 = 128;

/// Taps that are written out one after the other.
const UNROLLED_TAPS: usize = 32;

/// Kernels for a region of windows.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let anchors = program.find(|op| matches!(op, Op::ReduceWindow(_)));
    let [anchor] = anchors[..] else {
        return Err(Fault::contract(format!("a window region has {} windows", anchors.len())));
    };
    let node = &program.values[anchor];
    let Op::ReduceWindow(op) = &node.op else { return Err(Fault::contract("the anchor is not a window")) };
    let n = node.ty.len();
    if n == 0 {
        return Ok(Vec::new());
    }
    let dtype = program.ty(node.operands[0]).dtype;
    let combine = Combine::of(&node.op, dtype, op.window.iter().product())?;
    let lanes = lanes(op, &node.ty.shape, dtype);
    let n_vectors = n / lanes as usize;
    let too_many = || Fault::unsupported("reduce_window", format!("{n} results need more CTAs than a launch has"));
    let n_threads = u32::try_from(n_vectors).ok().filter(|&n| n <= i32::MAX as u32).ok_or_else(too_many)?;

    let mut engine = Engine::new(program, "window", hardware.target, overwritten);
    engine.k.required_threads(THREADS, 1, 1);
    let schedule = Schedule::PerThread { lanes, threads: THREADS };
    engine.k.comment(format!("{schedule}, {n} results of {} taps", op.window.iter().product::<usize>()));
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let thread = engine.k.mad_lo_u32(cta, THREADS, tid);
    if n_threads % THREADS != 0 {
        let past = engine.k.setp_ge_u32(thread, n_threads);
        engine.k.when(past, |k| k.exit());
    }
    let vector = engine.variable(thread, 0, i64::from(n_threads) - 1);
    let lane = engine.set_lanes(lanes);
    let result = engine.indices.scale_add(vector, lanes.into(), lane);
    let result = engine.indices.coordinates(result, &node.ty.shape);
    let mut kernel = WindowKernel { engine: &mut engine, op, combine, operand: node.operands[0], lanes };
    let elements = kernel.results(&result)?;
    engine.store_followers(anchor, &result, elements, GuardId::ALWAYS)?;
    engine.k.exit();
    Ok(vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [n_threads.div_ceil(THREADS), 1, 1],
        block: [THREADS, 1, 1],
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })])
}

/// Neighbouring results of a thread: where the window leaves the last axis alone they read neighbours.
fn lanes(op: &ops::ReduceWindow, shape: &[usize], dtype: DType) -> u32 {
    let Some(last) = shape.len().checked_sub(1) else { return 1 };
    let slides = op.window[last] != 1 || op.strides[last] != 1 || op.low[last] != 0 || op.high[last] != 0;
    if slides {
        return 1;
    }
    let mut lanes = (16 / dtype.bytes() as u32).clamp(1, 8);
    while !shape[last].is_multiple_of(lanes as usize) {
        lanes /= 2;
    }
    lanes
}

struct WindowKernel<'e, 'p, 'o> {
    engine: &'e mut Engine<'p>,
    op: &'o ops::ReduceWindow,
    combine: Combine,
    operand: ValueId,
    lanes: u32,
}

/// Running results of a thread: one for each lane, and how many elements lay inside.
struct Running {
    sums: Vec<Vec<Reg>>,
    count: Option<Reg>,
}

impl WindowKernel<'_, '_, '_> {
    /// The anchor's elements at `result`.
    fn results(&mut self, result: &[IndexId]) -> Result<Lanes, Fault> {
        let mut running = Running { sums: Vec::new(), count: None };
        for _ in 0..self.lanes {
            running.sums.push(self.combine.start(self.engine)?);
        }
        let n_taps: usize = self.op.window.iter().product();
        let is_padded = self.is_padded(result);
        if is_padded && self.op.kind == gable_ir::attr::ReduceKind::Mean {
            let zero = self.combine.count(0);
            running.count = Some(self.engine.copy(self.count_type(), zero)?);
        }
        if n_taps <= UNROLLED_TAPS {
            for tap in 0..n_taps {
                let tap = self.engine.indices.constant(tap as i64);
                self.tap(result, tap, &running)?;
            }
        } else {
            let n_taps = u32::try_from(n_taps).ok().filter(|&n| n < i32::MAX as u32);
            let n_taps = n_taps.ok_or_else(|| Fault::unsupported("reduce_window", "2^31 taps or more"))?;
            let WindowKernel { op, operand, lanes, .. } = *self;
            let combine = self.combine.clone();
            self.engine.for_u32(0u32, n_taps, 1u32, |engine, register: R<B32>| {
                let tap = engine.variable(register, 0, i64::from(n_taps) - 1);
                WindowKernel { engine, op, combine, operand, lanes }.tap(result, tap, &running)
            })?;
        }
        let count = match running.count {
            Some(register) => register.into(),
            None => self.combine.count(n_taps),
        };
        let mut elements = Vec::with_capacity(running.sums.len());
        for sum in running.sums {
            let sum: Vec<Value> = sum.into_iter().map(Into::into).collect();
            elements.push(self.combine.finish(&mut self.engine.k, &sum, count)?);
        }
        Ok(Lanes::new(elements))
    }

    fn count_type(&self) -> ScalarType {
        match self.combine.count(0) {
            Value::F64(_) => ScalarType::F64,
            _ => ScalarType::F32,
        }
    }

    /// Where a tap lies, axis by axis.
    fn place(&mut self, result: &[IndexId], tap: IndexId) -> Vec<IndexId> {
        let taps = self.engine.indices.coordinates(tap, &self.op.window);
        let mut place = Vec::with_capacity(result.len());
        for (axis, (&at, tap)) in result.iter().zip(taps).enumerate() {
            let start = self.engine.indices.scale(at, self.op.strides[axis] as i64);
            let offset = self.engine.indices.scale_add(tap, self.op.dilations[axis] as i64, start);
            place.push(self.engine.indices.offset(offset, -self.op.low[axis]));
        }
        place
    }

    /// Whether some window reaches outside of the operand.
    fn is_padded(&mut self, result: &[IndexId]) -> bool {
        let last: i64 = self.op.window.iter().product::<usize>() as i64 - 1;
        let shape = self.engine.program.ty(self.operand).shape.clone();
        [0, last].into_iter().any(|tap| {
            let tap = self.engine.indices.constant(tap);
            let place = self.place(result, tap);
            place.into_iter().zip(&shape).any(|(at, &size)| {
                let (low, high) = self.engine.indices.range(at);
                low < 0 || high >= size as i64
            })
        })
    }

    fn tap(&mut self, result: &[IndexId], tap: IndexId, running: &Running) -> Result<(), Fault> {
        let place = self.place(result, tap);
        let shape = &self.engine.program.ty(self.operand).shape;
        let mut inside = Some(GuardId::ALWAYS);
        for (&at, &size) in place.iter().zip(shape) {
            inside = inside.and_then(|guard| self.engine.guard_at_least(guard, at, 0));
            inside = inside.and_then(|guard| self.engine.guard_below(guard, at, size as i64));
        }
        let Some(inside) = inside else { return Ok(()) };
        let elements = self.engine.emit_guarded(self.operand, &place, inside)?;
        // Windows slide along no axis that holds a lane, or there is one lane: the guard is the same for all.
        let pred = self.engine.predicate(inside, 0)?;
        for (lane, sum) in (0..).zip(&running.sums) {
            let none = |_: &mut Engine<'_>| Err(Fault::contract("windows have no positions"));
            let mut one = self.combine.of_element(self.engine, elements.at(lane), none)?;
            if let Some(pred) = pred {
                one = self.combine.where_(&mut self.engine.k, pred, &one)?;
            }
            self.combine.add_to(self.engine, sum, &one)?;
        }
        if let Some(count) = running.count {
            let ty = self.count_type();
            let (one, zero) = (self.combine.count(1), self.combine.count(0));
            let more = match pred {
                None => one,
                Some(pred) => self.engine.k.select(ty, one, zero, pred)?.into(),
            };
            let next = self.engine.k.binary(Binary::Add, ty, count, more)?;
            self.engine.assign(count, next.into())?;
        }
        Ok(())
    }
}
