//! The second kernel of a contraction with folds: combines the parts of each row in order, and computes what follows.
//!
//! ```text
//!   warp w of a CTA: parts w, w + 8, w + 16, .. of 32 rows next to each other, a row by each lane
//!   then through shared memory: warp 0 combines the warps' partial results, in their order
//! ```

use super::{Fold, Scratch};
use crate::combine::{Partial, WARP, memory_type};
use crate::contraction::normal::Plan;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::map::stated_class;
use crate::program::{Program, ValueId};
use crate::schedule::Schedule;
use crate::work::{KernelLaunch, Memory};
use gable_ptx::meaning::Access;
use gable_ptx::{B32, B64, R, Space, Target};
use std::collections::BTreeMap;

/// Warps of a CTA.
const WARPS: u32 = 8;

/// Parts of a row that a lane loads before it combines them.
const UNROLLED: u32 = 4;

/// The kernel over the program's inputs, the outputs that follow folds, and the partial results.
pub(in crate::contraction) fn launch(
    program: &Program,
    plan: &Plan,
    scratch: &Scratch,
    target: Target,
) -> Result<KernelLaunch, Fault> {
    let rows = u32::try_from(scratch.rows).ok().filter(|&rows| rows <= i32::MAX as u32);
    let rows = rows.ok_or_else(|| Fault::unsupported("reduce", format!("{} rows", scratch.rows)))?;
    let outputs: Vec<usize> = (0..program.outputs.len()).filter(|position| !plan.results.contains(position)).collect();
    let mut engine = Engine::giving(program, "fold_join", target, &[], &outputs);
    let threads = WARPS * WARP;
    engine.k.required_threads(threads, 1, 1);
    let schedule =
        Schedule::Reduction { lanes: 1, along_reduced: false, threads_per_result: WARPS, results: WARP, parts: 1 };
    engine.k.comment(format!("{schedule}, {rows} rows of {} parts", scratch.parts));
    let pointers = scratch.pointers(&mut engine);
    // The launch is prepared while the product is still computed.
    engine.k.griddepcontrol_wait();
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let lane = engine.k.and_b32(tid, WARP - 1);
    let warp = engine.k.shr_u32(tid, WARP.trailing_zeros());
    let row = engine.k.mad_lo_u32(cta, WARP, lane);
    let mut guard = GuardId::ALWAYS;
    if !rows.is_multiple_of(WARP) {
        let exists = engine.k.setp_lt_u32(row, rows);
        guard = engine.guard_by(GuardId::ALWAYS, exists);
    }
    let row = engine.variable(row, 0, i64::from(rows) - 1);
    let mut places = Vec::new();
    for (slot, (fold, &pointer)) in plan.folds.iter().zip(&pointers).enumerate() {
        let sum = gather(&mut engine, fold, pointer, (row, guard), warp, scratch)?;
        let ty = fold.ty()?;
        let array = engine.k.shared_array(&format!("joined{slot}"), threads * ty.bytes(), 16);
        let base = engine.k.address_of_shared(&array);
        let place = engine.k.mad_lo_u32(tid, ty.bytes(), base);
        engine.k.store(Access::new(Space::Shared, memory_type(ty), 1), place, &sum)?;
        places.push((ty, place, sum));
    }
    // Orders every warp's stores before the first warp's loads.
    engine.k.bar_sync(0);
    let joins = engine.k.setp_eq_u32(warp, 0);
    engine.if_(joins, |engine| -> Result<(), Fault> {
        let mut followers: BTreeMap<ValueId, Vec<IndexId>> = BTreeMap::new();
        for (fold, (ty, place, mut sum)) in plan.folds.iter().zip(places) {
            for other in 1..WARPS {
                let offset = (other * WARP * ty.bytes()) as i32;
                let loaded = engine.k.load(Access::new(Space::Shared, memory_type(ty), 1), place.at(offset))?;
                sum = fold.combine.combine(&mut engine.k, &sum, &[loaded[0].into()])?;
            }
            let count = fold.combine.count(plan.problem.n);
            let element = fold.combine.finish(&mut engine.k, &sum, count)?;
            let coordinates = engine.indices.coordinates(row, &program.ty(fold.value).shape);
            engine.bind(fold.value, &coordinates, Lanes::uniform(element));
            followers.extend(engine.followers(fold.value, &coordinates)?);
        }
        for &position in &outputs {
            let id = program.outputs[position].0;
            let at = followers.get(&id).ok_or_else(|| Fault::contract("an output follows no fold"))?;
            let elements = engine.emit_guarded(id, at, guard)?;
            engine.store_output(position, at, &elements, guard)?;
        }
        Ok(())
    })?;
    engine.k.exit();
    let mut args = KernelLaunch::all_inputs(program);
    args.extend(outputs.iter().map(|&position| Memory::Output(position)));
    args.extend(scratch.memory(false));
    Ok(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [rows.div_ceil(WARP), 1, 1],
        block: [threads, 1, 1],
        cluster: [1, 1, 1],
        dependent: true,
        dynamic_shared_bytes: 0,
        args,
    })
}

/// A lane's share of its row's parts: every so many from its warp's number on.
fn gather(
    engine: &mut Engine<'_>,
    fold: &Fold,
    pointer: R<B64>,
    (row, guard): (IndexId, GuardId),
    warp: R<B32>,
    scratch: &Scratch,
) -> Result<Partial, Fault> {
    let ty = fold.ty()?;
    let sum = fold.combine.start(engine)?;
    let row_guard = engine.predicate(guard, 0)?;
    engine.for_u32(warp, scratch.parts, WARPS * UNROLLED, |engine, first| -> Result<(), Fault> {
        let mut loaded: Vec<Partial> = Vec::with_capacity(UNROLLED as usize);
        for step in 0..UNROLLED {
            let part = engine.k.add_u32(first, step * WARPS);
            let exists = engine.k.setp_lt_u32(part, scratch.parts);
            let exists = match row_guard {
                None => exists,
                Some(row) => engine.k.and_pred(row, exists),
            };
            let part = engine.variable(part, 0, i64::from(scratch.parts) - 1);
            let at = engine.indices.scale_add(part, scratch.rows as i64, row);
            let place = engine.place(pointer, at, ty.bytes() as usize)?;
            let access = Access::new(Space::Global, memory_type(ty), 1);
            let value = engine.k.when(exists, |k| k.load(access, place))?;
            loaded.push(fold.combine.where_(&mut engine.k, exists, &[value[0].into()])?);
        }
        loaded.iter().try_for_each(|partial| fold.combine.add_to(engine, &sum, partial))
    })?;
    Ok(sum.into_iter().map(Into::into).collect())
}
