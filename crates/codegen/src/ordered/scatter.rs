//! Scatter: a copy of the operand, and then the updates, in their order.
//!
//! Threads share out the destination, not the updates: element `i` of every slice belongs to the threads that have `i`,
//! and among them slice `b` to the one with `b mod groups`. Each walks over all updates in order and applies those that are its
//! own, so that updates to one place keep their order without atomics, and equal inputs give equal bits.

use crate::arithmetic;
use crate::class::Class;
use crate::element::{self, compute_type};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Memory, Work};
use gable_ir::attr::ScatterKind;
use gable_ir::{Op, ops};
use gable_ptx::meaning::Comparison;
use gable_ptx::{B32, Pred, R};
use gable_tensor::DType;

const THREADS: u32 = 128;

/// Threads wanted in all: groups are made until there are so many.
const WANTED_THREADS: usize = 16_384;

pub(super) fn work(
    program: &Program,
    hardware: &Hardware,
    output: ValueId,
    op: &ops::ScatterNd,
) -> Result<Vec<Work>, Fault> {
    let node = &program.values[output];
    let [x, indices, updates] = node.operands[..] else { return Err(Fault::contract("scatter has three operands")) };
    let position_of = |id: ValueId| program.inputs.iter().position(|&(input, _)| input == id);
    let x_position = position_of(x).ok_or_else(|| Fault::contract("the operand of a scatter lies in memory"))?;
    let copy = Work::Copy { input: x_position, output: 0 };
    let shape = &node.ty.shape;
    let depth = *program.ty(indices).shape.last().ok_or_else(|| Fault::contract("indices have no coordinates"))?;
    let slice: usize = shape[depth..].iter().product();
    let n_slices: usize = shape[..depth].iter().product();
    let n_updates = program.ty(updates).len().checked_div(slice).unwrap_or(0);
    if n_updates == 0 || slice == 0 {
        return Ok(vec![copy]);
    }
    let groups = WANTED_THREADS.div_ceil(slice).min(n_slices).min(n_updates).max(1);
    let too_many = || Fault::unsupported("scatter_nd", format!("{n_updates} updates of {slice} elements"));
    let word = |n: usize| u32::try_from(n).ok().filter(|&n| n < i32::MAX as u32).ok_or_else(too_many);
    let (n_threads, n_updates) = (word(groups * slice)?, word(n_updates)?);
    word(n_slices)?;

    let mut engine = Engine::new(program, "scatter", hardware.target, &[]);
    let schedule = Schedule::PerThread { lanes: 1, threads: THREADS };
    engine.k.required_threads(THREADS, 1, 1);
    engine.k.comment(format!("{schedule}, {n_updates} updates of {slice}, {groups} groups"));
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let thread = engine.k.mad_lo_u32(cta, THREADS, tid);
    let past = engine.k.setp_ge_u32(thread, n_threads);
    engine.k.when(past, |k| k.exit());
    let thread = engine.variable(thread, 0, i64::from(n_threads) - 1);
    let (group, in_slice) = engine.indices.divide(thread, slice as i64);
    let group: R<B32> = engine.index_register(group, false)?.typed().expect("a narrow index is 32 bits");
    let in_slice_at = engine.indices.coordinates(in_slice, &shape[depth..]);
    let index_shape = program.ty(indices).shape.clone();
    let update_shape = program.ty(updates).shape.clone();
    engine.for_u32(0u32, n_updates, 1u32, |engine, step: R<B32>| -> Result<(), Fault> {
        let update = engine.variable(step, 0, i64::from(n_updates) - 1);
        let mut inside: Option<R<Pred>> = None;
        let mut destination = Vec::with_capacity(shape.len());
        for axis in 0..depth {
            let axis_index = engine.indices.constant(axis as i64);
            let flat = engine.indices.scale_add(update, depth as i64, axis_index);
            let at = engine.indices.coordinates(flat, &index_shape);
            let number = engine.emit(indices, &at)?.at(0);
            let ty = compute_type(program.ty(indices).dtype)?;
            let not_below = engine.k.compare(Comparison::Ge, ty, number, 0)?;
            let below = engine.k.compare(Comparison::Lt, ty, number, shape[axis] as u64)?;
            let within = engine.k.and_pred(not_below, below);
            inside = Some(match inside {
                None => within,
                Some(inside) => engine.k.and_pred(inside, within),
            });
            let number = element::register(&mut engine.k, ty, number)?;
            let narrow = arithmetic::cast(&mut engine.k, program.ty(indices).dtype, DType::I32, number.into())?;
            let register = element::register(&mut engine.k, gable_ptx::ScalarType::S32, narrow)?;
            destination.push(engine.variable(register, 0, shape[axis] as i64 - 1));
        }
        if groups > 1 {
            // Outside of the operand this is any number; such updates are dropped anyway.
            let slice_number = engine.indices.flat(&destination, &shape[..depth]);
            let slice_number = engine.index_register(slice_number, false)?;
            let slice_number: R<B32> = slice_number.typed().expect("a narrow index is 32 bits");
            let owner = engine.k.rem_u32(slice_number, groups as u32);
            let is_own = engine.k.setp_eq_u32(owner, group);
            inside = Some(match inside {
                None => is_own,
                Some(inside) => engine.k.and_pred(inside, is_own),
            });
        }
        destination.extend(&in_slice_at);
        let from = engine.indices.scale_add(update, slice as i64, in_slice);
        let from = engine.indices.coordinates(from, &update_shape);
        let apply = |engine: &mut Engine<'_>| -> Result<(), Fault> {
            let new = engine.emit(updates, &from)?.at(0);
            let value = match combined(op.kind) {
                None => new,
                Some(op) => {
                    let old = engine.load_output(0, &destination)?;
                    let dtype = node.ty.dtype;
                    arithmetic::map(&mut engine.k, &op, &[dtype, dtype], dtype, &[old, new])?
                }
            };
            engine.store_output(0, &destination, &Lanes::uniform(value), GuardId::ALWAYS)
        };
        match inside {
            Some(inside) => engine.if_(inside, apply),
            None => apply(engine),
        }
    })?;
    engine.k.exit();
    let class = match (combined(op.kind), node.ty.dtype.is_float()) {
        (Some(_), true) => Class::Fma,
        _ => Class::None,
    };
    let mut args = KernelLaunch::all_inputs(program);
    args.push(Memory::Update(0));
    let launch = Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class,
        schedule,
        grid: [n_threads.div_ceil(THREADS), 1, 1],
        block: [THREADS, 1, 1],
        dynamic_shared_bytes: 0,
        args,
    });
    Ok(vec![copy, launch])
}

/// The map that puts an update and what is there together; `None` where the update replaces.
fn combined(kind: ScatterKind) -> Option<Op> {
    match kind {
        ScatterKind::Replace => None,
        ScatterKind::Add => Some(ops::Add {}.into()),
        ScatterKind::Mul => Some(ops::Mul {}.into()),
        ScatterKind::Max => Some(ops::Max {}.into()),
        ScatterKind::Min => Some(ops::Min {}.into()),
    }
}
