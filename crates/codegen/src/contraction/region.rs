//! A contraction region as a kernel: the problem that its anchor is, a schedule, and the expression engine around the sums.

mod ahead;
mod blocks;
mod quotients;

use super::MapParameter;
use super::axes::Axes;
use super::columns::Columns;
use super::direct;
use super::fold::{self, Gathered};
use super::normal::Plan;
use super::problem::{ContractionError, Major, Operand, Part, Problem, Side};
use super::realign::{Copies, Realigned};
use super::rule;
use super::schedule::{Schedule, sum_type};
use super::surround::{self, Fragment, ResultRows, Surround};
use crate::combine::combine_lanes;
use crate::element;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::{Program, ValueId};
use crate::work::{KernelLaunch, Memory, Work};
use ahead::Ahead;
use gable_artifact::TensorMap;
use gable_ptx::{B32, B64, Base, KernelBuilder, Pred, R, Reg, ScalarType, Target, Value};
use gable_tensor::DType;
use std::collections::BTreeMap;

/// A contraction's kernel and how it is launched.
#[derive(Clone, Debug)]
pub struct ContractionKernel {
    /// The code.
    pub kernel: gable_ptx::Kernel,
    /// What it computes.
    pub problem: Problem,
    /// How.
    pub schedule: Schedule,
    /// Parameters that are buffers: inputs, outputs, and partial results of folds.
    pub buffers: Vec<Memory>,
    /// Tensor maps that are parameters after the buffers, and what they are over.
    pub maps: Vec<(Memory, TensorMap)>,
    /// The kernels that copy factors to rows that the copy engine can bring, before.
    pub copies: Vec<KernelLaunch>,
    /// The kernel that joins the partial results of folds afterwards.
    pub join: Option<KernelLaunch>,
}

impl ContractionKernel {
    /// CTAs of the launch, in x.
    pub fn grid(&self) -> u32 {
        // Validated with the schedule to be below 2^31.
        self.schedule.ctas(&self.problem) as u32
    }

    /// Threads of a CTA, in x.
    pub fn block(&self) -> u32 {
        self.schedule.threads()
    }

    /// Dynamic shared memory in bytes.
    pub fn shared_bytes(&self) -> u32 {
        self.schedule.shared_bytes(&self.problem)
    }

    /// All launches, in order.
    pub fn work(mut self) -> Vec<Work> {
        let join = self.join.take();
        let mut launches = std::mem::take(&mut self.copies);
        launches.push(self.launch());
        launches.extend(join);
        launches.into_iter().map(Work::Launch).collect()
    }

    /// The launch of the product's kernel.
    fn launch(self) -> KernelLaunch {
        let (grid, block, dynamic_shared_bytes) = ([self.grid(), 1, 1], [self.block(), 1, 1], self.shared_bytes());
        let class = self.schedule.class();
        let maps = self.maps.into_iter().map(|(of, map)| Memory::TensorMap { of: Box::new(of), map: Box::new(map) });
        KernelLaunch {
            schedule: crate::schedule::Schedule::Tiles(self.schedule.to_string()),
            kernel: self.kernel,
            class,
            grid,
            block,
            cluster: [self.schedule.cluster(), 1, 1],
            dependent: false,
            dynamic_shared_bytes,
            args: self.buffers.into_iter().chain(maps).collect(),
        }
    }
}

/// The kernel of a region around one matrix product or convolution; none where the result has no element.
/// `overwritten` are positions of inputs that share memory with outputs.
pub fn kernel(program: &Program, target: Target, overwritten: &[usize]) -> Result<Option<ContractionKernel>, Fault> {
    kernel_by(program, target, overwritten, |problem| rule::choose(problem, target))
}

/// The problem of a region whose schedule is a choice; none where the result has no element, or where there is one way only.
pub fn problem(program: &Program, target: Target) -> Result<Option<Problem>, Fault> {
    let mut engine = Engine::new(program, "problem", target, &[]);
    let plan = Plan::of(&mut engine)?;
    let Some(mut plan) = plan.filter(|plan| !direct::suits(plan, &plan.problem)) else { return Ok(None) };
    Copies::make(&mut plan, program, target, Realigned::WhereFaster)?;
    Ok(Some(plan.problem))
}

/// The same with a schedule that is given.
pub fn kernel_by(
    program: &Program,
    target: Target,
    overwritten: &[usize],
    choose: impl FnOnce(&Problem) -> Result<Schedule, ContractionError>,
) -> Result<Option<ContractionKernel>, Fault> {
    kernel_realigned(program, target, overwritten, Realigned::WhereFaster, choose)
}

/// The same, and whether factors whose rows begin anywhere are copied first.
pub fn kernel_realigned(
    program: &Program,
    target: Target,
    overwritten: &[usize],
    realigned: Realigned,
    choose: impl FnOnce(&Problem) -> Result<Schedule, ContractionError>,
) -> Result<Option<ContractionKernel>, Fault> {
    let name = if program.find(|op| matches!(op, gable_ir::Op::Conv(_))).is_empty() { "matmul" } else { "conv" };
    let after = fold::apart(program, &anchors_of(program))?;
    let mut given: Vec<usize> = after.results.iter().chain(&after.per_block).copied().collect();
    given.sort_unstable();
    let mut engine = Engine::giving(program, name, target, overwritten, &given);
    let Some(mut plan) = Plan::of(&mut engine)? else { return Ok(None) };
    refuse_overwritten(&engine, &plan, overwritten)?;
    let copies = if direct::suits(&plan, &plan.problem) {
        Copies::default()
    } else {
        Copies::make(&mut plan, program, target, realigned)?
    };
    let problem = plan.problem.clone();
    let mut buffers = KernelLaunch::all_inputs(program);
    buffers.extend(given.iter().map(|&position| Memory::Output(position)));
    if direct::suits(&plan, &problem) {
        let schedule = direct::schedule(&plan, &problem);
        engine.k.comment(format!("{problem}\n{}", Schedule::Direct(schedule)));
        Schedule::Direct(schedule).validate(&problem, target)?;
        direct::emit(&mut engine, &plan, &schedule)?;
        return Ok(Some(ContractionKernel {
            kernel: engine.k.finish(),
            problem,
            schedule: Schedule::Direct(schedule),
            buffers,
            maps: Vec::new(),
            copies: Vec::new(),
            join: None,
        }));
    }
    let schedule = choose(&problem)?;
    let (folds, addend, ahead, copied) = (None, None, Ahead::new(), BTreeMap::new());
    let mut region = Region { engine, plan, folds, addend, ahead, width: 1, copied };
    let mut join = None;
    if !region.plan.blocks.is_empty() && !super::folds_blocks(&problem, &schedule, &mut region) {
        return Err(ContractionError::FoldsApart(schedule.to_string()).into());
    }
    if !region.plan.folds.is_empty() {
        let scratch = region.scratch(&schedule)?.ok_or_else(|| ContractionError::FoldsApart(schedule.to_string()))?;
        join = Some(fold::join(program, &region.plan, &scratch, target)?);
        buffers.extend(scratch.memory(true));
        let pointers = scratch.pointers(&mut region.engine);
        region.folds = Some(Folds { scratch, pointers, gathered: Gathered::new(), row: None });
    }
    let (copying, places) = copies.launches(program, &buffers, target)?;
    region.copied = copies.sides().zip(places).collect();
    // The builder moves out of the engine, and back for each thing that the main loop asks of the region.
    let mut k = std::mem::replace(&mut region.engine.k, KernelBuilder::new(name, target));
    k.comment(format!("{problem}\n{schedule}"));
    let maps = super::emit(&mut k, &problem, &schedule, &mut region)?;
    let maps = maps.into_iter().map(|map| region.over(map)).collect::<Result<_, Fault>>()?;
    Ok(Some(ContractionKernel { kernel: k.finish(), problem, schedule, buffers, maps, copies: copying, join }))
}

/// The region's matrix products, or its convolution.
fn anchors_of(program: &Program) -> Vec<ValueId> {
    program.find(|op| matches!(op, gable_ir::Op::Matmul(_) | gable_ir::Op::GroupedMatmul(_) | gable_ir::Op::Conv(_)))
}

/// An operand is read by many CTAs while others write results, so its memory must be its own.
fn refuse_overwritten(engine: &Engine<'_>, plan: &Plan, overwritten: &[usize]) -> Result<(), Fault> {
    let program = engine.program;
    if let Some(ends) = plan.ends
        && overwritten.iter().any(|&position| program.ancestors(ends).contains(&program.inputs[position].0))
    {
        return Err(Fault::contract("an output lies over the ends of groups of rows"));
    }
    for side in plan.problem.sides() {
        let read = program.ancestors(plan.operand(side));
        if let Some(position) = overwritten.iter().find(|&&position| read.contains(&program.inputs[position].0)) {
            return Err(Fault::contract(format!("an output lies over input {position}, a factor of the contraction")));
        }
    }
    Ok(())
}

/// The region around the sums, written by the engine.
struct Region<'p> {
    engine: Engine<'p>,
    plan: Plan,
    folds: Option<Folds>,
    addend: Option<ValueId>,
    ahead: Ahead,
    /// Where copies of factors lie.
    copied: BTreeMap<Side, Memory>,
    /// Lanes that share the rows of blocks.
    width: u32,
}

/// Folds while the kernel is written.
struct Folds {
    scratch: fold::Scratch,
    pointers: Vec<R<B64>>,
    gathered: Gathered,
    /// What is stored of a row adds to this.
    row: Option<fold::Row>,
}

impl<'p> Region<'p> {
    /// Where the schedule's kernel leaves the partial results of folds; `None` where it cannot reduce rows.
    fn scratch(&mut self, schedule: &Schedule) -> Result<Option<fold::Scratch>, Fault> {
        if !self.plan.folds_rows(&mut self.engine) {
            return Ok(None);
        }
        let problem = self.plan.problem.clone();
        let parts = super::fold_parts(&problem, schedule, self);
        parts.map(|parts| fold::Scratch::of(&self.plan, parts)).transpose()
    }

    /// A map, and the memory that it is over.
    fn over(&self, map: MapParameter) -> Result<(Memory, TensorMap), Fault> {
        match map {
            MapParameter::Addend(map) => {
                let inputs = &self.engine.program.inputs;
                let position = self.addend.and_then(|value| inputs.iter().position(|(id, _)| *id == value));
                let missing = || Fault::contract("a tensor map is over an addend that the region has not");
                Ok((Memory::Input(position.ok_or_else(missing)?), map))
            }
            MapParameter::Result(position, map) => Ok((Memory::Output(self.plan.results[position]), map)),
            MapParameter::Operand(side, map) if self.copied.contains_key(&side) => {
                Ok((self.copied[&side].clone(), map))
            }
            MapParameter::Operand(side, map) => {
                let view = self.plan.views.get(&side);
                let inputs = &self.engine.program.inputs;
                let position = view.and_then(|view| inputs.iter().position(|(id, _)| *id == view.input));
                let missing = || Fault::contract("an operand of a tensor map is no input");
                Ok((Memory::Input(position.ok_or_else(missing)?), map))
            }
        }
    }

    /// Runs `body` with the engine writing to `k`, and forgets what it computed: the main loop's places are reached on
    /// different ways.
    fn write<T>(
        &mut self,
        k: &mut KernelBuilder,
        body: impl FnOnce(&mut Engine<'p>, &Plan) -> Result<T, Fault>,
    ) -> Result<T, ContractionError> {
        std::mem::swap(&mut self.engine.k, k);
        let plan = &self.plan;
        let result = self.engine.scope(|engine| body(engine, plan));
        std::mem::swap(&mut self.engine.k, k);
        result.map_err(|fault| ContractionError::Surround(fault.to_string()))
    }
}

/// A register as an index below `size`.
fn index(engine: &mut Engine<'_>, register: R<B32>, size: usize) -> IndexId {
    if size == 1 { engine.indices.constant(0) } else { engine.variable(register, 0, size as i64 - 1) }
}

/// The same for the first of `lanes` neighbours, with the lane added. `register` is a multiple of `lanes`.
fn vector_index(engine: &mut Engine<'_>, register: R<B32>, size: usize, lanes: u32) -> IndexId {
    let lane = engine.set_lanes(lanes);
    if lanes == 1 {
        return index(engine, register, size);
    }
    let vector = engine.k.shr_u32(register, lanes.trailing_zeros());
    let vector = index(engine, vector, size / lanes as usize);
    engine.indices.scale_add(vector, lanes.into(), lane)
}

fn batch_indices(engine: &mut Engine<'_>, plan: &Plan, batch: &[R<B32>]) -> Vec<IndexId> {
    batch.iter().zip(&plan.sizes.batch).map(|(&register, &size)| index(engine, register, size)).collect()
}

impl Surround for Region<'_> {
    fn pointer(&mut self, k: &mut KernelBuilder, side: Side, batch: &[R<B32>]) -> Result<R<B64>, ContractionError> {
        self.write(k, |engine, plan| {
            let batch = batch_indices(engine, plan, batch);
            let missing = || Fault::contract("an operand in memory has no place there");
            let view = plan.entry(engine, side, &batch).ok_or_else(missing)?;
            let pointer = engine.input_pointer(view.input).ok_or_else(missing)?;
            let bytes = engine.program.ty(view.input).dtype.bytes();
            let place = engine.place(pointer, view.element, bytes)?;
            let Base::Reg(base) = place.base else { return Err(missing()) };
            let base: R<B64> = base.typed().map_err(|_| missing())?;
            Ok(if place.offset == 0 { base } else { engine.k.add_s64(base, i64::from(place.offset)) })
        })
    }

    fn quantised(
        &mut self,
        k: &mut KernelBuilder,
        side: Side,
        part: Part,
        batch: &[R<B32>],
    ) -> Result<R<B64>, ContractionError> {
        self.write(k, |engine, plan| {
            let batch = batch_indices(engine, plan, batch);
            let missing = || Fault::contract("a quantised factor has no place there");
            let (view, bits) = plan.quantised_entry(engine, side, part, &batch).ok_or_else(missing)?;
            let pointer = engine.input_pointer(view.input).ok_or_else(missing)?;
            if bits >= 8 {
                let place = engine.place(pointer, view.element, bits as usize / 8)?;
                let Base::Reg(base) = place.base else { return Err(missing()) };
                let base: R<B64> = base.typed().map_err(|_| missing())?;
                return Ok(if place.offset == 0 { base } else { engine.k.add_s64(base, i64::from(place.offset)) });
            }
            // Where an entry of packed elements starts has been checked to be a whole byte.
            let element = engine.index_register(view.element, true)?.typed().map_err(|_| missing())?;
            let bytes = engine.k.shr_u64(element, 1);
            Ok(engine.k.add_u64(pointer, bytes))
        })
    }

    fn scales(
        &mut self,
        k: &mut KernelBuilder,
        side: Side,
        position: usize,
        batch: &[R<B32>],
    ) -> Result<R<B64>, ContractionError> {
        self.write(k, |engine, plan| {
            let batch = batch_indices(engine, plan, batch);
            let missing = || Fault::contract("the scales of a factor have no place there");
            let (view, dtype) = plan.scale_entry(engine, side, position, &batch).ok_or_else(missing)?;
            let pointer = engine.input_pointer(view.input).ok_or_else(missing)?;
            let place = engine.place(pointer, view.element, dtype.bytes())?;
            let Base::Reg(base) = place.base else { return Err(missing()) };
            let base: R<B64> = base.typed().map_err(|_| missing())?;
            Ok(if place.offset == 0 { base } else { engine.k.add_s64(base, i64::from(place.offset)) })
        })
    }

    fn group_end(&mut self, k: &mut KernelBuilder, group: R<B32>) -> Result<R<B32>, ContractionError> {
        self.write(k, |engine, plan| {
            let missing = || Fault::contract("rows that are in no groups have no ends");
            let ends = plan.ends.ok_or_else(missing)?;
            engine.set_lanes(1);
            let at = index(engine, group, plan.problem.batches());
            let end = engine.emit(ends, &[at])?.at(0);
            let dtype = engine.program.ty(ends).dtype;
            let end = engine.in_register(dtype, end)?;
            let (k, rows) = (&mut engine.k, plan.problem.m as u32);
            // Ends before the first row and beyond the last.
            Ok(if dtype == DType::I64 {
                let end: R<B64> = end.typed().map_err(|_| missing())?;
                let end = k.max_s64(end, 0i64);
                let end = k.min_s64(end, i64::from(rows));
                k.cvt_u32_u64(end)
            } else {
                let end: R<B32> = end.typed().map_err(|_| missing())?;
                let end = k.max_s32(end, 0);
                k.min_s32(end, rows)
            })
        })
    }

    fn load(
        &mut self,
        k: &mut KernelBuilder,
        side: Side,
        place: surround::Place<'_>,
    ) -> Result<Vec<Reg>, ContractionError> {
        self.write(k, |engine, plan| {
            let problem = &plan.problem;
            let Operand::Expression { major, lanes } = *problem.operand(side) else {
                return Err(Fault::contract("an operand in memory is not computed"));
            };
            let lanes = lanes as u32;
            let (outer_lanes, k_lanes) = if major == Major::K { (1, lanes) } else { (lanes, 1) };
            let batch = batch_indices(engine, plan, place.batch);
            let outer = vector_index(engine, place.row, problem.outer(side), outer_lanes);
            let summed = vector_index(engine, place.column, problem.k, k_lanes);
            engine.set_lanes(lanes);
            let zero = engine.indices.constant(0);
            let (row, column) = if side == Side::A { (outer, zero) } else { (zero, outer) };
            let axes: Axes<IndexId> = plan.axes_at(engine, &batch, row, column, Some(summed));
            let at = plan.place(engine, side, &axes);
            let mut guard = GuardId::ALWAYS;
            let mut inside: Option<R<Pred>> = None;
            for &(axis, size) in &at.padded {
                // What lies before the axis is, as an unsigned number, far above its end.
                let position: R<B32> = engine
                    .index_register(at.coordinates[axis], false)?
                    .typed()
                    .map_err(|_| Fault::contract("a position of an image is 32 bits"))?;
                let within = engine.k.setp_lt_u32(position, size as u32);
                inside = Some(match inside {
                    None => within,
                    Some(inside) => engine.k.and_pred(inside, within),
                });
            }
            if let Some(inside) = inside {
                guard = engine.guard_by(guard, inside);
            }
            let value = plan.operand(side);
            let dtype = engine.program.ty(value).dtype;
            let elements = engine.emit_guarded(value, &at.coordinates, guard)?;
            let mut registers = Vec::with_capacity(lanes as usize);
            for lane in 0..lanes {
                let mut element = elements.at(lane);
                if let Some(inside) = inside {
                    // Padding is zero after what the region computes, whatever that makes of a zero.
                    let ty = element::compute_type(dtype)?;
                    let zero = match ty {
                        ScalarType::F32 => Value::from(0f32),
                        ScalarType::F64 => Value::from(0f64),
                        _ => Value::Int(0),
                    };
                    element = element::select(&mut engine.k, dtype, inside, element, zero)?;
                }
                registers.push(engine.in_register(dtype, element)?);
            }
            Ok(registers)
        })
    }

    fn store(
        &mut self,
        k: &mut KernelBuilder,
        place: surround::Place<'_>,
        sums: &[Reg],
    ) -> Result<(), ContractionError> {
        let fold_row = self.folds.as_ref().and_then(|folds| folds.row.clone());
        self.write(k, |engine, plan| {
            let problem = &plan.problem;
            let lanes = sums.len() as u32 / problem.products();
            let (m_lanes, n_lanes) = if problem.store.along_m { (lanes, 1) } else { (1, lanes) };
            let batch = batch_indices(engine, plan, place.batch);
            let row = vector_index(engine, place.row, problem.m, m_lanes);
            let anchors = rounded(engine, problem, sums)?;
            let all = Columns::all(problem);
            if plan.columns.contains(&all) {
                let column = vector_index(engine, place.column, problem.n, n_lanes);
                engine.set_lanes(lanes);
                let axes = plan.axes_at(engine, &batch, row, column, None);
                finish(engine, plan, &axes, anchors.clone(), all)?;
                if let Some(row) = &fold_row {
                    let result = plan.result(engine, &axes);
                    fold::add_to(engine, plan, &result, lanes, row)?;
                }
            }
            let mut parts: Vec<Columns> = plan.columns.iter().copied().filter(|columns| *columns != all).collect();
            parts.sort_unstable();
            parts.dedup();
            for columns in parts {
                // What lies before the first column is, as an unsigned number, far above the last.
                let within = engine.k.sub_u32(place.column, columns.first as u32);
                let inside = engine.k.setp_lt_u32(within, columns.count as u32);
                engine.if_(inside, |engine| {
                    let column = vector_index(engine, within, columns.count, n_lanes);
                    let column = engine.indices.offset(column, columns.first as i64);
                    engine.set_lanes(lanes);
                    let axes = plan.axes_at(engine, &batch, row, column, None);
                    finish(engine, plan, &axes, anchors.clone(), columns)
                })?;
            }
            Ok(())
        })
    }

    fn prefetch(
        &mut self,
        k: &mut KernelBuilder,
        place: surround::Place<'_>,
        columns: u32,
        with_addend: bool,
    ) -> Result<(), ContractionError> {
        self.prefetch_rows(k, place, columns, self.addend.filter(|_| !with_addend));
        Ok(())
    }

    fn load_ahead(
        &mut self,
        k: &mut KernelBuilder,
        batch: &[R<B32>],
        origin: (R<B32>, R<B32>),
        extent: (u32, u32),
        columns: (&[u32], u32),
    ) -> Result<(), ContractionError> {
        self.load_columns(k, batch, origin, extent, columns)
    }

    fn result_rows(&mut self) -> Option<Vec<ResultRows>> {
        self.plan.result_rows(&mut self.engine)
    }

    fn results(
        &mut self,
        k: &mut KernelBuilder,
        batch: &[R<B32>],
        (row, column): (R<B32>, R<B32>),
        extent: (u32, u32),
        fragments: &[Fragment<'_>],
        only: Option<usize>,
    ) -> Result<Vec<Vec<Vec<Value>>>, ContractionError> {
        if !self.plan.blocks.is_empty() {
            return self.results_of_blocks(k, batch, (row, column), extent, fragments);
        }
        let mut gathered = self.folds.as_mut().map(|folds| std::mem::take(&mut folds.gathered)).unwrap_or_default();
        let (addend, ahead) = (self.addend, self.ahead.clone());
        let results = self.write(k, |engine, plan| {
            let problem = &plan.problem;
            let wanted = only.map_or(0..plan.results.len(), |number| number..number + 1);
            // A part of the columns holds its fragments whole.
            let (columns, extent) = match only.map(|number| plan.columns[number]) {
                Some(columns) if columns != Columns::all(problem) => (columns, (extent.0, 1)),
                _ => (Columns::all(problem), extent),
            };
            let column = if columns.first == 0 { column } else { engine.k.sub_u32(column, columns.first as u32) };
            let batch = batch_indices(engine, plan, batch);
            let mut rows: BTreeMap<u32, IndexId> = BTreeMap::new();
            let mut places: BTreeMap<u32, IndexId> = BTreeMap::new();
            let mut results = vec![Vec::with_capacity(fragments.len()); wanted.len()];
            let first_column = column;
            for fragment in fragments {
                let lanes = fragment.sums.len() as u32 / problem.products();
                let row = *rows.entry(fragment.row).or_insert_with(|| {
                    Self::fragment_index(engine, (row, fragment.row), problem.m, (extent.0, problem.ragged), 1)
                });
                let column = *places.entry(fragment.column).or_insert_with(|| {
                    let place = (column, fragment.column);
                    let within = Self::fragment_index(engine, place, columns.count, (extent.1, false), lanes);
                    engine.indices.offset(within, columns.first as i64)
                });
                engine.set_lanes(lanes);
                let axes = plan.axes_at(engine, &batch, row, column, None);
                let anchors = rounded(engine, problem, fragment.sums)?;
                let result = plan.result(engine, &axes);
                bind(engine, plan, &result, anchors);
                if let (Some(addend), false) = (addend, fragment.addend.is_empty())
                    && let Some(flat) = plan.read_at(engine, addend, &result)?
                {
                    engine.bring(addend, flat, fragment.addend)?;
                }
                Self::bring_ahead(engine, plan, &ahead, fragment.column, &result)?;
                let outputs = plan.outputs(engine, &result)?;
                for (found, number) in results.iter_mut().zip(wanted.clone()) {
                    let (value, _) = engine.program.outputs[plan.results[number]];
                    let elements = engine.emit(value, &outputs[number])?;
                    let elements: Vec<Value> = (0..lanes).map(|lane| elements.at(lane)).collect();
                    found.push(engine.pack(engine.program.ty(value).dtype, &elements)?);
                }
                if plan.folds.is_empty() {
                    continue;
                }
                let inside = (!problem.n.is_multiple_of(extent.1 as usize)).then(|| {
                    let at = engine.k.add_u32(first_column, fragment.column);
                    engine.k.setp_lt_u32(at, problem.n as u32)
                });
                fold::gather(engine, plan, &result, (lanes, fragment.row), inside, &mut gathered)?;
            }
            Ok(results)
        });
        if let Some(folds) = &mut self.folds {
            folds.gathered = gathered;
        }
        results
    }

    fn has_folds(&self) -> bool {
        self.folds.is_some()
    }

    fn begin_row(&mut self, k: &mut KernelBuilder) -> Result<(), ContractionError> {
        if self.folds.is_none() {
            return Ok(());
        }
        let row = self.write(k, fold::begin)?;
        if let Some(folds) = &mut self.folds {
            folds.row = Some(row);
        }
        Ok(())
    }

    fn share_blocks(&mut self, width: u32) -> u32 {
        self.width = width;
        self.plan.block_columns(&self.engine) as u32
    }

    fn addend(&mut self) -> Option<ResultRows> {
        let (value, rows) = self.plan.addend(&mut self.engine)?;
        self.addend = Some(value);
        Some(rows)
    }

    fn leave_folds(
        &mut self,
        k: &mut KernelBuilder,
        (batch, end): (&[R<B32>], Option<R<B32>>),
        row: R<B32>,
        extent: (u32, u32),
        width: u32,
        part: R<B32>,
    ) -> Result<(), ContractionError> {
        let Some(folds) = &mut self.folds else { return Ok(()) };
        let mut gathered = std::mem::take(&mut folds.gathered);
        for (number, sum) in folds.row.take().into_iter().flatten().enumerate() {
            gathered.insert((number, 0), sum.into_iter().map(Into::into).collect());
        }
        let (pointers, parts) = (folds.pointers.clone(), folds.scratch.parts);
        self.write(k, |engine, plan| {
            engine.set_lanes(1);
            let batch = batch_indices(engine, plan, batch);
            let part = engine.variable(part, 0, i64::from(parts) - 1);
            let thread = engine.k.tid_x();
            let lane = engine.k.and_b32(thread, width - 1);
            let is_first = engine.k.setp_eq_u32(lane, 0);
            let column = engine.indices.constant(0);
            for ((number, distance), partial) in gathered {
                let fold = &plan.folds[number];
                let partial = combine_lanes(&mut engine.k, &fold.combine, partial, width)?;
                let at =
                    Self::fragment_index(engine, (row, distance), plan.problem.m, (extent.0, plan.problem.ragged), 1);
                let axes = plan.axes_at(engine, &batch, at, column, None);
                let result = plan.result(engine, &axes);
                let mut stores = is_first;
                if end.is_some() || !plan.problem.m.is_multiple_of(extent.0 as usize) {
                    let at = engine.k.add_u32(row, distance);
                    let exists = match end {
                        Some(end) => engine.k.setp_lt_u32(at, end),
                        None => engine.k.setp_lt_u32(at, plan.problem.m as u32),
                    };
                    stores = engine.k.and_pred(stores, exists);
                }
                fold::leave(engine, plan, (number, pointers[number]), &result, part, &partial, stores)?;
            }
            Ok(())
        })
    }
}

impl Region<'_> {
    /// The index of a fragment's row or column: `from`, `distance` further, kept below `size` where the tiles do not divide it.
    /// It is a multiple of `lanes`, and the lane is added. Tiles begin `anywhere`, or at multiples of `extent`.
    fn fragment_index(
        engine: &mut Engine<'_>,
        (from, distance): (R<B32>, u32),
        size: usize,
        (extent, anywhere): (u32, bool),
        lanes: u32,
    ) -> IndexId {
        let last = size - lanes as usize;
        if anywhere || !size.is_multiple_of(extent as usize) {
            let at = engine.k.add_u32(from, distance);
            let inside = engine.k.min_u32(at, last as u32);
            return vector_index(engine, inside, size, lanes);
        }
        // Written as a distance from a place that all fragments share, so that they share its address.
        let base = vector_index(engine, from, size - distance as usize, lanes);
        engine.indices.offset(base, distance.into())
    }
}

/// Sums of all products, one product after the other, as the elements that each anchor gives.
fn rounded(engine: &mut Engine<'_>, problem: &Problem, sums: &[Reg]) -> Result<Vec<Lanes>, Fault> {
    let sum = sum_type(problem.element);
    let of_product = |sums: &[Reg]| -> Result<Lanes, Fault> {
        let each = sums.iter().map(|&register| round(engine, sum, problem.out, register.into()));
        Ok(Lanes::new(each.collect::<Result<_, Fault>>()?))
    };
    sums.chunks(sums.len() / problem.products() as usize).map(of_product).collect()
}

/// Binds the elements of every anchor at the coordinates of a result.
fn bind(engine: &mut Engine<'_>, plan: &Plan, result: &[IndexId], anchors: Vec<Lanes>) {
    for (&anchor, elements) in plan.anchors.iter().zip(anchors) {
        engine.bind(anchor, result, elements);
    }
}

/// Binds the anchors' elements at the given axes, and computes and stores every output of these columns from them.
pub(super) fn finish(
    engine: &mut Engine<'_>,
    plan: &Plan,
    axes: &Axes<IndexId>,
    anchors: Vec<Lanes>,
    columns: Columns,
) -> Result<(), Fault> {
    let result = plan.result(engine, axes);
    bind(engine, plan, &result, anchors);
    for (number, coordinates) in plan.outputs(engine, &result)?.into_iter().enumerate() {
        if plan.columns[number] != columns {
            continue;
        }
        let position = plan.results[number];
        let (value, _) = engine.program.outputs[position];
        let elements = engine.emit(value, &coordinates)?;
        engine.store_output(position, &coordinates, &elements, GuardId::ALWAYS)?;
    }
    Ok(())
}

/// A sum in the type that the anchor gives, as elements of that type sit in registers.
pub(super) fn round(engine: &mut Engine<'_>, sum: DType, out: DType, value: Value) -> Result<Value, Fault> {
    let (from, to) = (element::compute_type(sum)?, element::compute_type(out)?);
    let k = &mut engine.k;
    // One rounding only: a narrow float result of an f64 sum would be rounded twice by way of f32.
    if from == ScalarType::F64 && to == ScalarType::F32 && out != DType::F32 {
        return Err(Fault::unsupported("matmul", format!("products of f64 give f64 or f32, not {out}")));
    }
    let value = element::convert(k, to, from, value)?;
    if to == ScalarType::F32 { element::round_f32(k, out, value) } else { element::wrap(k, out, value) }
}
