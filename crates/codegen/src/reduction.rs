//! Reduction regions: one reduction over any axes, with maps and movement around it.
//!
//! ```text
//! along the reduced axes:  the last axis is reduced. Neighbouring threads take neighbouring elements of one result and
//!                          put their partial results together, as rows do.
//! along the results:       the last axis is kept. Neighbouring threads take neighbouring results and each walks over
//!                          the reduced elements; several rows of threads share a result through shared memory.
//! ```
//!
//! Where the results are too few to fill the machine, the reduced elements are cut into parts, each the work of a CTA of
//! its own, whose partial results a second kernel joins in order. Nothing is added by atomics: equal inputs give equal
//! bits.

mod join;

use crate::combine::{Combine, Partial, WARP, combine_cta, combine_lanes, memory_type};
use crate::element;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::map::stated_class;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Memory, Work};
use gable_ir::Op;
use gable_ptx::meaning::Access;
use gable_ptx::{B32, B64, R, Reg, ScalarType, Space, Value};

/// Threads of a CTA.
const THREADS: u32 = 256;

/// Threads of a CTA that share a result, where neighbouring threads take neighbouring results.
const RESULT_ROWS: u32 = 8;

/// Vectors that a thread reads in one turn of its loop, each into a partial result of its own.
const UNROLLED: u32 = 4;

/// A part has at least so many elements for each of its threads.
const MIN_ELEMENTS_PER_THREAD: usize = 16;

/// Parts of one result at most.
const MAX_PARTS: u32 = 1024;

/// What is reduced to what.
struct Shape {
    anchor: ValueId,
    combine: Combine,
    /// Sizes and positions of the operand's axes that stay.
    kept: Vec<usize>,
    kept_axes: Vec<usize>,
    /// Sizes and positions of the reduced axes.
    reduced: Vec<usize>,
    reduced_axes: Vec<usize>,
}

impl Shape {
    fn of(program: &Program) -> Result<Shape, Fault> {
        let anchors = program.find(|op| matches!(op, Op::Reduce(_) | Op::ArgReduce(_)));
        let [anchor] = anchors[..] else {
            return Err(Fault::contract(format!("a reduction region has {} reductions", anchors.len())));
        };
        let node = &program.values[anchor];
        let operand = program.ty(node.operands[0]);
        let reduced_axes = match &node.op {
            Op::Reduce(op) => op.axes.clone(),
            Op::ArgReduce(op) => vec![op.axis],
            _ => Vec::new(),
        };
        let kept_axes: Vec<usize> = (0..operand.shape.len()).filter(|axis| !reduced_axes.contains(axis)).collect();
        let sizes = |axes: &[usize]| axes.iter().map(|&axis| operand.shape[axis]).collect::<Vec<_>>();
        let reduced = sizes(&reduced_axes);
        let combine = Combine::of(&node.op, operand.dtype, reduced.iter().product())?;
        Ok(Shape { anchor, combine, kept: sizes(&kept_axes), kept_axes, reduced, reduced_axes })
    }

    fn n_results(&self) -> usize {
        self.kept.iter().product()
    }

    fn n_reduced(&self) -> usize {
        self.reduced.iter().product()
    }

    /// Whether the last axis that has more than one element is reduced.
    fn along_reduced(&self) -> bool {
        let last = |axes: &[usize], sizes: &[usize]| {
            axes.iter().zip(sizes).rev().find(|&(_, &size)| size > 1).map(|(&axis, _)| axis)
        };
        last(&self.reduced_axes, &self.reduced) >= last(&self.kept_axes, &self.kept)
    }

    /// The operand's coordinates for a result and an element of it, both flat.
    fn coordinates(&self, engine: &mut Engine<'_>, result: IndexId, element: IndexId) -> Vec<IndexId> {
        let kept = engine.indices.coordinates(result, &self.kept);
        let reduced = engine.indices.coordinates(element, &self.reduced);
        let mut all = vec![result; self.kept.len() + self.reduced.len()];
        for (&axis, coordinate) in self.kept_axes.iter().zip(kept).chain(self.reduced_axes.iter().zip(reduced)) {
            all[axis] = coordinate;
        }
        all
    }

    /// What the elements at `result` and `element` add, for each lane.
    fn partials(
        &self,
        engine: &mut Engine<'_>,
        result: IndexId,
        element: IndexId,
        guard: GuardId,
    ) -> Result<Vec<Partial>, Fault> {
        let operand = engine.program.values[self.anchor].operands[0];
        let coordinates = self.coordinates(engine, result, element);
        let elements = engine.emit_guarded(operand, &coordinates, guard)?;
        let pred = engine.predicate(guard, 0)?;
        let mut partials = Vec::with_capacity(engine.lanes() as usize);
        for lane in 0..engine.lanes() {
            let position = |engine: &mut Engine<'_>| -> Result<Value, Fault> {
                let at = engine.indices.at_lane(element, lane);
                Ok(engine.index_register(at, false)?.into())
            };
            let one = self.combine.of_element(engine, elements.at(lane), position)?;
            partials.push(match pred {
                None => one,
                Some(pred) => self.combine.where_(&mut engine.k, pred, &one)?,
            });
        }
        Ok(partials)
    }

    /// Stores everything that follows from the anchor's whole results, one for each lane.
    fn store(&self, engine: &mut Engine<'_>, result: IndexId, wholes: &[Partial], guard: GuardId) -> Result<(), Fault> {
        let count = self.combine.count(self.n_reduced());
        let mut elements = Vec::with_capacity(wholes.len());
        for whole in wholes {
            elements.push(self.combine.finish(&mut engine.k, whole, count)?);
        }
        let coordinates = engine.indices.coordinates(result, &engine.program.ty(self.anchor).shape);
        engine.store_followers(self.anchor, &coordinates, Lanes::new(elements), guard)
    }
}

/// How a reduction is cut up.
struct Cut {
    lanes: u32,
    along_reduced: bool,
    threads_per_result: u32,
    /// Results of one CTA.
    results: u32,
    parts: u32,
    /// Reduced elements of one part; a multiple of the lanes along the reduced axes.
    part_elements: usize,
}

impl Cut {
    fn of(program: &Program, shape: &Shape, hardware: &Hardware) -> Cut {
        let (n_results, n_reduced) = (shape.n_results(), shape.n_reduced());
        let operand = program.ty(program.values[shape.anchor].operands[0]);
        let inputs = program.inputs.iter().map(|&(id, _)| program.ty(id));
        let narrowest = inputs.filter(|ty| ty.len() >= operand.len() / 2).map(|ty| ty.dtype.bytes() as u32).min();
        let mut lanes = (16 / narrowest.unwrap_or(4)).clamp(1, 8);
        let along_reduced = shape.along_reduced();
        let contiguous = if along_reduced { &shape.reduced } else { &shape.kept };
        let contiguous = contiguous.iter().rev().copied().find(|&size| size > 1).unwrap_or(1);
        while contiguous % lanes as usize != 0 {
            lanes /= 2;
        }
        let (threads_per_result, results) = if along_reduced {
            let n_vectors = n_reduced / lanes as usize;
            let threads = match n_vectors.div_ceil(UNROLLED as usize) {
                0..=1 => 1,
                n if n <= WARP as usize => n.next_power_of_two() as u32,
                n if n <= 4 * WARP as usize => WARP,
                _ => THREADS,
            };
            (threads, (THREADS / threads).max(1))
        } else {
            // Few reduced elements need no sharing.
            let rows = if n_reduced < 4 * RESULT_ROWS as usize { 1 } else { RESULT_ROWS };
            (rows, THREADS / rows * lanes)
        };
        let n_ctas = n_results.div_ceil(results as usize);
        let wanted = (2 * hardware.n_sms) as usize;
        let least = MIN_ELEMENTS_PER_THREAD * threads_per_result as usize;
        let most = (n_reduced / least.max(1)).clamp(1, MAX_PARTS as usize);
        let parts = if n_ctas >= wanted { 1 } else { wanted.div_ceil(n_ctas.max(1)).min(most) };
        let unit = if along_reduced { lanes as usize } else { 1 };
        let part_elements = n_reduced.div_ceil(parts).next_multiple_of(unit).max(unit);
        let parts = n_reduced.div_ceil(part_elements).max(1) as u32;
        Cut { lanes, along_reduced, threads_per_result, results, parts, part_elements }
    }

    fn schedule(&self) -> Schedule {
        Schedule::Reduction {
            lanes: self.lanes,
            along_reduced: self.along_reduced,
            threads_per_result: self.threads_per_result,
            results: self.results,
            parts: self.parts,
        }
    }
}

/// Kernels for a region of one reduction.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let shape = Shape::of(program)?;
    let n_results = shape.n_results();
    if n_results == 0 {
        return Ok(Vec::new());
    }
    let limit = |n: usize, what: &str| {
        u32::try_from(n)
            .ok()
            .filter(|&n| n <= i32::MAX as u32)
            .ok_or_else(|| Fault::unsupported("reduce", format!("{n} {what} are more than 2^31")))
    };
    limit(n_results, "results")?;
    limit(shape.n_reduced(), "elements for each result")?;
    let cut = Cut::of(program, &shape, hardware);
    let grid = [limit(n_results.div_ceil(cut.results as usize), "CTAs")?, cut.parts, 1];
    let scratch = Scratch::of(&shape, cut.parts)?;
    let alone = cut.parts == 1;
    let mut engine = if alone {
        Engine::new(program, "reduce", hardware.target, overwritten)
    } else {
        Engine::of_inputs(program, "reduce_part", hardware.target)
    };
    engine.k.required_threads(THREADS, 1, 1);
    engine.k.comment(format!("{}, {n_results} results of {}", cut.schedule(), shape.n_reduced()));
    let pointers = if alone { Vec::new() } else { scratch.pointers(&mut engine) };
    if cut.along_reduced {
        reduce_along(&mut engine, &shape, &cut, &pointers)?;
    } else {
        reduce_across(&mut engine, &shape, &cut, &pointers)?;
    }
    engine.k.exit();
    let mut args = if alone { KernelLaunch::all_buffers(program) } else { KernelLaunch::all_inputs(program) };
    if !alone {
        args.extend(scratch.memory(true));
    }
    let mut works = vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule: cut.schedule(),
        grid,
        block: [THREADS, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args,
    })];
    if !alone {
        works.push(join::work(program, hardware, overwritten, &shape, cut.parts, &scratch)?);
    }
    Ok(works)
}

/// Partial results in memory: for each register of one, `parts` times `n_results` elements.
struct Scratch {
    types: Vec<ScalarType>,
    elements: u64,
}

impl Scratch {
    fn of(shape: &Shape, parts: u32) -> Result<Scratch, Fault> {
        Ok(Scratch { types: shape.combine.types()?, elements: u64::from(parts) * shape.n_results() as u64 })
    }

    fn pointers(&self, engine: &mut Engine<'_>) -> Vec<R<B64>> {
        (0..self.types.len()).map(|part| engine.k.param_pointer(&format!("scratch{part}"))).collect()
    }

    fn memory(&self, written: bool) -> Vec<Memory> {
        let mut offset = 0;
        let mut memory = Vec::new();
        for ty in &self.types {
            let bytes = self.elements * u64::from(ty.bytes());
            memory.push(Memory::Scratch { offset, bytes, written });
            offset = (offset + bytes).next_multiple_of(256);
        }
        memory
    }

    /// Stores a partial result at element `at`.
    fn store(
        &self,
        engine: &mut Engine<'_>,
        pointers: &[R<B64>],
        at: IndexId,
        partial: &[Value],
        guard: GuardId,
    ) -> Result<(), Fault> {
        for ((&ty, &pointer), &value) in self.types.iter().zip(pointers).zip(partial) {
            let place = engine.place(pointer, at, ty.bytes() as usize)?;
            let value = element::register(&mut engine.k, ty, value)?;
            let access = Access::new(Space::Global, memory_type(ty), 1);
            match engine.predicate(guard, 0)? {
                None => engine.k.store(access, place, &[value.into()])?,
                Some(pred) => engine.k.when(pred, |k| k.store(access, place, &[value.into()]))?,
            }
        }
        Ok(())
    }
}

/// The first reduced vector of the CTA's part, and the one after its last, both as registers or constants.
fn part_bounds(engine: &mut Engine<'_>, shape: &Shape, cut: &Cut, unit: usize) -> (Value, Value) {
    let total = (shape.n_reduced() / unit) as u32;
    if cut.parts == 1 {
        return (Value::Int(0), Value::Int(total.into()));
    }
    let per_part = (cut.part_elements / unit) as u32;
    let part = engine.k.ctaid_y();
    let start = engine.k.mul_lo_u32(part, per_part);
    let end = engine.k.add_u32(start, per_part);
    let end = engine.k.min_u32(end, total);
    (start.into(), end.into())
}

fn word(engine: &mut Engine<'_>, value: Value) -> Result<R<B32>, Fault> {
    let register: Reg = element::register(&mut engine.k, ScalarType::U32, value)?;
    Ok(register.typed().expect("bounds are 32-bit words"))
}

/// The last axis is reduced: threads along it.
fn reduce_along(engine: &mut Engine<'_>, shape: &Shape, cut: &Cut, scratch: &[R<B64>]) -> Result<(), Fault> {
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let (mut result, mut thread) = (cta, tid);
    let mut in_results = GuardId::ALWAYS;
    if cut.results > 1 {
        let own = engine.k.shr_u32(tid, cut.threads_per_result.trailing_zeros());
        result = engine.k.mad_lo_u32(cta, cut.results, own);
        thread = engine.k.and_b32(tid, cut.threads_per_result - 1);
        if !shape.n_results().is_multiple_of(cut.results as usize) {
            let exists = engine.k.setp_lt_u32(result, shape.n_results() as u32);
            in_results = engine.guard_by(GuardId::ALWAYS, exists);
        }
    }
    let result = engine.variable(result, 0, shape.n_results() as i64 - 1);
    let (start, end) = part_bounds(engine, shape, cut, cut.lanes as usize);
    let end = word(engine, end)?;
    let start = word(engine, start)?;
    let first = engine.k.add_u32(start, thread);
    let n_vectors = (shape.n_reduced() / cut.lanes as usize) as u32;
    let step = cut.threads_per_result * UNROLLED;
    let lane = engine.set_lanes(cut.lanes);
    let mut sums = Vec::new();
    for _ in 0..UNROLLED {
        sums.push(shape.combine.start(engine)?);
    }
    // Every thread takes part in every turn as far as the guards let it.
    let is_whole = cut.parts == 1 && n_vectors.is_multiple_of(step);
    engine.for_u32(first, end, step, |engine, vector| -> Result<(), Fault> {
        let base = engine.variable(vector, 0, i64::from(n_vectors) - 1);
        for (turn, sum) in (0..UNROLLED).zip(&sums) {
            let ahead = turn * cut.threads_per_result;
            let (index, guard) = if turn == 0 {
                (base, in_results)
            } else if is_whole {
                (engine.indices.offset(base, ahead.into()), in_results)
            } else {
                let register = engine.k.add_u32(vector, ahead);
                let exists = engine.k.setp_lt_u32(register, end);
                let guard = engine.guard_by(in_results, exists);
                (engine.variable(register, 0, i64::from(n_vectors) - 1), guard)
            };
            let element = engine.indices.scale_add(index, cut.lanes.into(), lane);
            let partials = shape.partials(engine, result, element, guard)?;
            let mut joined: Option<Partial> = None;
            for partial in partials {
                joined = Some(match joined {
                    None => partial,
                    Some(joined) => shape.combine.combine(&mut engine.k, &joined, &partial)?,
                });
            }
            shape.combine.add_to(engine, sum, &joined.expect("a vector has a lane"))?;
        }
        Ok(())
    })?;
    let mut whole: Option<Partial> = None;
    for sum in sums {
        let sum: Partial = sum.into_iter().map(Into::into).collect();
        whole = Some(match whole {
            None => sum,
            Some(whole) => shape.combine.combine(&mut engine.k, &whole, &sum)?,
        });
    }
    let whole = whole.expect("there is a partial result for each turn");
    let whole = if cut.threads_per_result > WARP {
        combine_cta(engine, &shape.combine, whole, cut.threads_per_result, 0)?
    } else {
        combine_lanes(&mut engine.k, &shape.combine, whole, cut.threads_per_result)?
    };
    engine.set_lanes(1);
    let is_first = engine.k.setp_eq_u32(thread, 0);
    let guard = engine.guard_by(in_results, is_first);
    finish(engine, shape, cut, scratch, result, &[whole], guard)
}

/// Stores results, or the part's partial results.
fn finish(
    engine: &mut Engine<'_>,
    shape: &Shape,
    cut: &Cut,
    scratch: &[R<B64>],
    result: IndexId,
    wholes: &[Partial],
    guard: GuardId,
) -> Result<(), Fault> {
    if cut.parts == 1 {
        return shape.store(engine, result, wholes, guard);
    }
    let part = engine.k.ctaid_y();
    let part = engine.variable(part, 0, i64::from(cut.parts) - 1);
    let at = engine.indices.scale_add(part, shape.n_results() as i64, result);
    let layout = Scratch::of(shape, cut.parts)?;
    for (lane, whole) in (0..).zip(wholes) {
        let at = engine.indices.at_lane(at, lane);
        layout.store(engine, scratch, at, whole, guard)?;
    }
    Ok(())
}

/// The last axis is kept: threads along the results, rows of threads over the reduced elements.
fn reduce_across(engine: &mut Engine<'_>, shape: &Shape, cut: &Cut, scratch: &[R<B64>]) -> Result<(), Fault> {
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let columns = THREADS / cut.threads_per_result;
    let column = engine.k.and_b32(tid, columns - 1);
    let row = engine.k.shr_u32(tid, columns.trailing_zeros());
    let n_vectors = (shape.n_results() / cut.lanes as usize) as u32;
    let vector = engine.k.mad_lo_u32(cta, columns, column);
    let mut in_results = GuardId::ALWAYS;
    if !n_vectors.is_multiple_of(columns) {
        let exists = engine.k.setp_lt_u32(vector, n_vectors);
        in_results = engine.guard_by(GuardId::ALWAYS, exists);
    }
    let lane = engine.set_lanes(cut.lanes);
    let vector = engine.variable(vector, 0, i64::from(n_vectors) - 1);
    let result = engine.indices.scale_add(vector, cut.lanes.into(), lane);
    let (start, end) = part_bounds(engine, shape, cut, 1);
    let (start, end) = (word(engine, start)?, word(engine, end)?);
    let first = engine.k.add_u32(start, row);
    let n_reduced = shape.n_reduced() as u32;
    let unrolled = if cut.lanes >= 8 { 2 } else { UNROLLED };
    let step = cut.threads_per_result * unrolled;
    let is_whole = cut.parts == 1 && n_reduced.is_multiple_of(step);
    let mut sums = Vec::new();
    for _ in 0..cut.lanes {
        sums.push(shape.combine.start(engine)?);
    }
    engine.for_u32(first, end, step, |engine, element| -> Result<(), Fault> {
        let base = engine.variable(element, 0, i64::from(n_reduced) - 1);
        let mut turns = Vec::new();
        for turn in 0..unrolled {
            let ahead = turn * cut.threads_per_result;
            let (index, guard) = if turn == 0 {
                (base, in_results)
            } else if is_whole {
                (engine.indices.offset(base, ahead.into()), in_results)
            } else {
                let register = engine.k.add_u32(element, ahead);
                let exists = engine.k.setp_lt_u32(register, end);
                let guard = engine.guard_by(in_results, exists);
                (engine.variable(register, 0, i64::from(n_reduced) - 1), guard)
            };
            turns.push(shape.partials(engine, result, index, guard)?);
        }
        for partials in turns {
            for (sum, partial) in sums.iter().zip(partials) {
                shape.combine.add_to(engine, sum, &partial)?;
            }
        }
        Ok(())
    })?;
    let wholes: Vec<Partial> = sums.into_iter().map(|sum| sum.into_iter().map(Into::into).collect()).collect();
    if cut.threads_per_result == 1 {
        return finish(engine, shape, cut, scratch, result, &wholes, in_results);
    }
    let places = store_rows(engine, shape, &wholes, tid)?;
    // Orders every thread's stores before the first row's loads.
    engine.k.bar_sync(0);
    let is_first = engine.k.setp_eq_u32(row, 0);
    engine.if_(is_first, |engine| {
        let wholes = join_rows(engine, shape, cut, wholes, &places, columns)?;
        finish(engine, shape, cut, scratch, result, &wholes, in_results)
    })
}

/// Puts every thread's partial results into shared memory, `[part][lane][thread]`, so that a warp's words are neighbours.
/// Gives for each part its type and the thread's first place.
fn store_rows(
    engine: &mut Engine<'_>,
    shape: &Shape,
    wholes: &[Partial],
    tid: R<B32>,
) -> Result<Vec<(ScalarType, R<B32>)>, Fault> {
    let types = shape.combine.types()?;
    let mut places = Vec::new();
    for (part, &ty) in types.iter().enumerate() {
        let bytes = THREADS * wholes.len() as u32 * ty.bytes();
        let array = engine.k.shared_array(&format!("rows{part}"), bytes, 16);
        let base = engine.k.address_of_shared(&array);
        let mine = engine.k.mad_lo_u32(tid, ty.bytes(), base);
        for (lane, whole) in (0..).zip(wholes) {
            let place = mine.at((lane * THREADS * ty.bytes()) as i32);
            let value = element::register(&mut engine.k, ty, whole[part])?;
            engine.k.store(Access::new(Space::Shared, memory_type(ty), 1), place, &[value.into()])?;
        }
        places.push((ty, mine));
    }
    Ok(places)
}

/// The first row of threads takes the partial results of the others, in order.
fn join_rows(
    engine: &mut Engine<'_>,
    shape: &Shape,
    cut: &Cut,
    wholes: Vec<Partial>,
    places: &[(ScalarType, R<B32>)],
    columns: u32,
) -> Result<Vec<Partial>, Fault> {
    let mut joined = wholes;
    for row in 1..cut.threads_per_result {
        for (lane, whole) in (0..).zip(joined.iter_mut()) {
            let mut other = Vec::with_capacity(places.len());
            for &(ty, mine) in places {
                let offset = (lane * THREADS + row * columns) * ty.bytes();
                let loaded = engine.k.load(Access::new(Space::Shared, memory_type(ty), 1), mine.at(offset as i32))?;
                other.push(loaded[0].into());
            }
            *whole = shape.combine.combine(&mut engine.k, whole, &other)?;
        }
    }
    Ok(joined)
}
