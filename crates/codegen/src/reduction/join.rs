//! The second kernel of a reduction in parts: joins the parts of each result, in order.

use super::{Scratch, Shape, THREADS};
use crate::combine::{Partial, WARP, combine_lanes, memory_type};
use crate::engine::{Engine, GuardId};
use crate::error::Fault;
use crate::map::stated_class;
use crate::program::Program;
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ptx::Space;
use gable_ptx::meaning::Access;

/// Lanes of a warp share a result; each walks over every so many parts.
pub(super) fn work(
    program: &Program,
    hardware: &Hardware,
    overwritten: &[usize],
    shape: &Shape,
    parts: u32,
    scratch: &Scratch,
) -> Result<Work, Fault> {
    let n_results = shape.n_results();
    let threads_per_result = parts.next_power_of_two().min(WARP);
    let results = THREADS / threads_per_result;
    let mut engine = Engine::new(program, "reduce_join", hardware.target, overwritten);
    engine.k.required_threads(THREADS, 1, 1);
    let schedule = Schedule::Reduction { lanes: 1, along_reduced: true, threads_per_result, results, parts: 1 };
    engine.k.comment(format!("{schedule}, {n_results} results of {parts} parts"));
    let pointers = scratch.pointers(&mut engine);
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let own = engine.k.shr_u32(tid, threads_per_result.trailing_zeros());
    let result = engine.k.mad_lo_u32(cta, results, own);
    let thread = engine.k.and_b32(tid, threads_per_result - 1);
    let mut in_results = GuardId::ALWAYS;
    if !n_results.is_multiple_of(results as usize) {
        let exists = engine.k.setp_lt_u32(result, n_results as u32);
        in_results = engine.guard_by(GuardId::ALWAYS, exists);
    }
    let result = engine.variable(result, 0, n_results as i64 - 1);
    let sum = shape.combine.start(&mut engine)?;
    let types = shape.combine.types()?;
    engine.for_u32(thread, parts, threads_per_result, |engine, part| -> Result<(), Fault> {
        let part = engine.variable(part, 0, i64::from(parts) - 1);
        let at = engine.indices.scale_add(part, n_results as i64, result);
        let mut partial: Partial = Vec::with_capacity(types.len());
        for (&ty, &pointer) in types.iter().zip(&pointers) {
            let place = engine.place(pointer, at, ty.bytes() as usize)?;
            let access = Access::new(Space::Global, memory_type(ty), 1);
            let pred = engine.predicate(in_results, 0)?;
            let loaded = match pred {
                None => engine.k.load(access, place)?,
                Some(pred) => engine.k.when(pred, |k| k.load(access, place))?,
            };
            partial.push(loaded[0].into());
        }
        shape.combine.add_to(engine, &sum, &partial)
    })?;
    let whole: Partial = sum.into_iter().map(Into::into).collect();
    let whole = combine_lanes(&mut engine.k, &shape.combine, whole, threads_per_result)?;
    let is_first = engine.k.setp_eq_u32(thread, 0);
    let guard = engine.guard_by(in_results, is_first);
    shape.store(&mut engine, result, &[whole], guard)?;
    engine.k.exit();
    let mut args = KernelLaunch::all_buffers(program);
    args.extend(scratch.memory(false));
    Ok(Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [n_results.div_ceil(results as usize) as u32, 1, 1],
        block: [THREADS, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args,
    }))
}
