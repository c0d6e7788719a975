//! Running combinations: one thread walks along each row. Neighbouring threads take neighbouring rows.

use crate::combine::Combine;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::map::stated_class;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::ops;
use gable_ptx::{B32, R, Value};

const THREADS: u32 = 128;

pub(super) fn work(
    program: &Program,
    hardware: &Hardware,
    output: ValueId,
    op: &ops::Scan,
) -> Result<Vec<Work>, Fault> {
    let node = &program.values[output];
    let shape = &node.ty.shape;
    let (x, length) = (node.operands[0], shape[op.axis]);
    let n_rows = node.ty.len() / length;
    let too_long = || Fault::unsupported("scan", format!("{n_rows} rows of {length}"));
    let n_threads = u32::try_from(n_rows).ok().filter(|&n| n <= i32::MAX as u32).ok_or_else(too_long)?;
    let length = u32::try_from(length).ok().filter(|&n| n < i32::MAX as u32).ok_or_else(too_long)?;
    let combine = Combine::of(&node.op, node.ty.dtype, shape[op.axis])?;

    let mut engine = Engine::new(program, "scan", hardware.target, &[]);
    let schedule = Schedule::PerThread { lanes: 1, threads: THREADS };
    engine.k.required_threads(THREADS, 1, 1);
    engine.k.comment(format!("{schedule}, {n_rows} rows of {length}"));
    let (cta, tid) = (engine.k.ctaid_x(), engine.k.tid_x());
    let thread = engine.k.mad_lo_u32(cta, THREADS, tid);
    let past = engine.k.setp_ge_u32(thread, n_threads);
    engine.k.when(past, |k| k.exit());
    let row = engine.variable(thread, 0, i64::from(n_threads) - 1);
    let mut others = shape.clone();
    others.remove(op.axis);
    let mut coordinates = engine.indices.coordinates(row, &others);
    let zero = engine.indices.constant(0);
    coordinates.insert(op.axis, zero);
    let sum = combine.start(&mut engine)?;
    engine.for_u32(0u32, length, 1u32, |engine, step: R<B32>| -> Result<(), Fault> {
        let mut at = engine.variable(step, 0, i64::from(length) - 1);
        if op.reverse {
            let negative = engine.indices.scale(at, -1);
            at = engine.indices.offset(negative, i64::from(length) - 1);
        }
        coordinates[op.axis] = at;
        let element = engine.emit(x, &coordinates)?;
        let none = |_: &mut Engine<'_>| Err(Fault::contract("scans have no positions"));
        let one = combine.of_element(engine, element.at(0), none)?;
        let running = |engine: &mut Engine<'_>| {
            let now: Vec<Value> = sum.iter().map(|&register| register.into()).collect();
            combine.finish(&mut engine.k, &now, combine.count(1))
        };
        if op.exclusive {
            let before = running(engine)?;
            engine.store_output(0, &coordinates, &Lanes::uniform(before), GuardId::ALWAYS)?;
            combine.add_to(engine, &sum, &one)
        } else {
            combine.add_to(engine, &sum, &one)?;
            let now = running(engine)?;
            engine.store_output(0, &coordinates, &Lanes::uniform(now), GuardId::ALWAYS)
        }
    })?;
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
