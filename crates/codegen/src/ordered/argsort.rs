//! Sorting positions by counting: an element's rank is the number of elements before it in the order.
//!
//! One thread for each element, which reads its row once: any length, in time of its square. Equal elements keep their
//! order because those to the left count as before.

use crate::class::Class;
use crate::element::{self, compute_type};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::ops;
use gable_ptx::meaning::Comparison;
use gable_ptx::{B32, KernelBuilder, Pred, R, ScalarType, Value};

const THREADS: u32 = 128;

pub(super) fn work(
    program: &Program,
    hardware: &Hardware,
    output: ValueId,
    op: &ops::Argsort,
) -> Result<Vec<Work>, Fault> {
    let node = &program.values[output];
    let shape = &node.ty.shape;
    let x = node.operands[0];
    let (n, length) = (node.ty.len(), shape[op.axis]);
    let too_many = || Fault::unsupported("argsort", format!("{n} elements are more than 2^31"));
    let n_threads = u32::try_from(n).ok().filter(|&n| n < i32::MAX as u32).ok_or_else(too_many)?;
    let dtype = program.ty(x).dtype;

    let mut engine = Engine::new(program, "argsort", hardware.target, &[]);
    let schedule = Schedule::PerThread { lanes: 1, threads: THREADS };
    engine.k.required_threads(THREADS, 1, 1);
    engine.k.comment(format!("{schedule}, {} rows of {length}", n / length));
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let thread = engine.k.mad_lo_u32(cta, THREADS, tid);
    let past = engine.k.setp_ge_u32(thread, n_threads);
    engine.k.when(past, |k| k.exit());
    let flat = engine.variable(thread, 0, i64::from(n_threads) - 1);
    let mut coordinates = engine.indices.coordinates(flat, shape);
    let own_index = coordinates[op.axis];
    let own_register: R<B32> = engine.index_register(own_index, false)?.typed().expect("a narrow index is 32 bits");
    let own = engine.emit(x, &coordinates)?.at(0);
    let own = ordered_value(&mut engine.k, dtype, own)?;
    let rank = engine.k.mov_b32(0);
    engine.for_u32(0u32, length as u32, 1u32, |engine, step: R<B32>| -> Result<(), Fault> {
        coordinates[op.axis] = engine.variable(step, 0, length as i64 - 1);
        let other = engine.emit(x, &coordinates)?.at(0);
        let other = ordered_value(&mut engine.k, dtype, other)?;
        let k = &mut engine.k;
        let (first, second) = if op.descending { (own, other) } else { (other, own) };
        let before = is_less(k, dtype, first, second)?;
        let after = is_less(k, dtype, second, first)?;
        let unequal = k.or_pred(before, after);
        let equal = k.not_pred(unequal);
        let is_left = k.setp_lt_u32(step, own_register);
        let tied_left = k.and_pred(equal, is_left);
        let counts = k.or_pred(before, tied_left);
        let more = k.selp_b32(1, 0, counts);
        k.set(rank).add_u32(rank, more);
        Ok(())
    })?;
    coordinates[op.axis] = engine.variable(rank, 0, length as i64 - 1);
    let position = engine.k.cvt_u64_u32(own_register);
    engine.store_output(0, &coordinates, &Lanes::uniform(position), GuardId::ALWAYS)?;
    engine.k.exit();
    Ok(vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: Class::None,
        schedule,
        grid: [n_threads.div_ceil(THREADS), 1, 1],
        block: [THREADS, 1, 1],
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })])
}

/// The element in a register; `bool` as 0 or 1.
fn ordered_value(k: &mut KernelBuilder, dtype: gable_tensor::DType, value: Value) -> Result<Value, Fault> {
    let ty = compute_type(dtype)?;
    let register = element::register(k, ty, value)?;
    Ok(match ty {
        ScalarType::Pred => k.selp_b32(1, 0, register.typed().expect("bool is in a predicate")).into(),
        _ => register.into(),
    })
}

/// `a < b` where NaN is the largest.
fn is_less(k: &mut KernelBuilder, dtype: gable_tensor::DType, a: Value, b: Value) -> Result<R<Pred>, Fault> {
    let ty = match compute_type(dtype)? {
        ScalarType::Pred => ScalarType::U32,
        other => other,
    };
    let less = k.compare(Comparison::Lt, ty, a, b)?;
    if !ty.is_float() {
        return Ok(less);
    }
    let (a_number, b_nan) = (k.compare(Comparison::Num, ty, a, a)?, k.compare(Comparison::Nan, ty, b, b)?);
    let by_nan = k.and_pred(a_number, b_nan);
    Ok(k.or_pred(less, by_nan))
}
