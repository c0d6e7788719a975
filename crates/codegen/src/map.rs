//! Map regions: every output element on its own.
//!
//! ```text
//! thread t of CTA c:   vectors (c U + u) T + t for u in 0..U, each of V neighbouring elements of the flat output
//! ```
//!
//! Neighbouring threads take neighbouring vectors, so that a warp's accesses are whole lines; the U vectors of a thread
//! lie T vectors apart and are independent, which keeps several loads in flight. Elements that do not fill a vector are
//! taken one by one, by the first threads.

mod transpose;

use crate::class::Class;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::program::{Program, ValueId};
use crate::schedule::{Hardware, Schedule};
use crate::work::{KernelLaunch, Work};
use gable_ir::{Group, Op};
use gable_ptx::{B32, B64, R, Reg};
use gable_tensor::DType;

/// Threads of a CTA: enough CTAs fit an SM to fill it, and 8 warps hide a CTA's start.
const THREADS: u32 = 256;

/// Vectors of at most so many bytes of the narrowest type: more lanes cost registers.
const MAX_LANES: u32 = 8;

/// Below this many threads per SM, narrower vectors bring more threads.
const THREADS_PER_SM_WANTED: u64 = 512;

/// Kernels for a region of maps and movement.
pub fn work(program: &Program, hardware: &Hardware, overwritten: &[usize]) -> Result<Vec<Work>, Fault> {
    let n = n_elements(program)?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let turned = if has_bits(program) { None } else { transpose::work(program, hardware, overwritten)? };
    if let Some(work) = turned {
        return Ok(vec![work]);
    }
    let (lanes, vectors) = shape(program, hardware, n);
    let n_vectors = n / u64::from(lanes);
    let per_cta = u64::from(THREADS) * u64::from(vectors);
    let n_ctas = n_vectors.div_ceil(per_cta).max(1);
    let grid = u32::try_from(n_ctas)
        .ok()
        .filter(|&ctas| ctas <= i32::MAX as u32)
        .ok_or_else(|| Fault::unsupported("map", format!("{n} elements need more CTAs than a launch has")))?;

    let mut engine = Engine::new(program, "map", hardware.target, overwritten);
    engine.k.required_threads(THREADS, 1, 1);
    let schedule = Schedule::Map { lanes, vectors, threads: THREADS };
    engine.k.comment(format!("{schedule}, {n} elements"));
    let (cta, thread) = (engine.k.ctaid_x(), engine.k.tid_x());
    let first = flat_thread(&mut engine, cta, thread, per_cta);
    if n_vectors > 0 {
        store_vectors(&mut engine, first, lanes, vectors, n_vectors)?;
    }
    store_rest(&mut engine, cta, thread, n, n_vectors * u64::from(lanes))?;
    engine.k.exit();
    Ok(vec![Work::Launch(KernelLaunch {
        kernel: engine.k.finish(),
        class: stated_class(program),
        schedule,
        grid: [grid, 1, 1],
        block: [THREADS, 1, 1],
        cluster: [1, 1, 1],
        dependent: false,
        dynamic_shared_bytes: 0,
        args: KernelLaunch::all_buffers(program),
    })])
}

/// Whether elements share bytes.
fn has_bits(program: &Program) -> bool {
    !program.packed.is_empty() || program.values.iter().any(|value| value.op.is(Group::Bits))
}

/// Elements of every output.
fn n_elements(program: &Program) -> Result<u64, Fault> {
    let mut counts = program.outputs.iter().map(|&(id, _)| program.ty(id).len() as u64);
    let n = counts.next().ok_or_else(|| Fault::contract("the region has no output"))?;
    if counts.any(|other| other != n) {
        return Err(Fault::contract("outputs of a map region differ in their number of elements"));
    }
    Ok(n)
}

/// Elements of a vector, and vectors of a thread.
fn shape(program: &Program, hardware: &Hardware, n: u64) -> (u32, u32) {
    let large = program.inputs.iter().chain(&program.outputs).map(|&(id, _)| program.ty(id));
    let narrowest = large.filter(|ty| ty.len() as u64 >= n / 2).map(|ty| ty.dtype.bytes() as u32).min().unwrap_or(4);
    let mut lanes = (16 / narrowest).clamp(1, MAX_LANES);
    let wanted = THREADS_PER_SM_WANTED * u64::from(hardware.n_sms);
    while lanes > 1 && n / u64::from(lanes) < wanted {
        lanes /= 2;
    }
    if !program.packed.is_empty() {
        // Whole bytes, and no element left over.
        lanes = lanes.max(2).min(1 << n.trailing_zeros().min(MAX_LANES.trailing_zeros()));
    }
    // Short programs wait for memory and want more of it in flight; long ones need their registers.
    let n_maps = program.values.iter().filter(|value| value.op.is(Group::Map)).count() as u32;
    let n_inputs = program.inputs.len() as u32;
    let mut vectors = match n_maps * lanes {
        0..=16 => 4,
        17..=64 => 2,
        _ => 1,
    };
    while vectors > 1 && (vectors * n_inputs * lanes > 64 || n / u64::from(lanes * vectors) < 4 * wanted) {
        vectors /= 2;
    }
    (lanes, vectors)
}

/// The first vector of the thread: `cta * per_cta + thread`, in 32 bits where that suffices.
fn flat_thread(engine: &mut Engine<'_>, cta: R<B32>, thread: R<B32>, per_cta: u64) -> FlatThread {
    let wide_cta = engine.k.cvt_u64_u32(cta);
    FlatThread { cta, thread, wide_cta, per_cta }
}

struct FlatThread {
    cta: R<B32>,
    thread: R<B32>,
    wide_cta: R<B64>,
    per_cta: u64,
}

impl FlatThread {
    fn register(&self, engine: &mut Engine<'_>, n_vectors: u64) -> Reg {
        if n_vectors <= i32::MAX as u64 {
            engine.k.mad_lo_u32(self.cta, self.per_cta as u32, self.thread).reg()
        } else {
            let thread = engine.k.cvt_u64_u32(self.thread);
            engine.k.mad_lo_u64(self.wide_cta, self.per_cta, thread).reg()
        }
    }
}

fn store_vectors(
    engine: &mut Engine<'_>,
    thread: FlatThread,
    lanes: u32,
    vectors: u32,
    n_vectors: u64,
) -> Result<(), Fault> {
    let register = thread.register(engine, n_vectors);
    let per_cta = u64::from(THREADS) * u64::from(vectors);
    let base = engine.variable(register, 0, n_vectors as i64 - 1);
    let lane = engine.set_lanes(lanes);
    let outputs: Vec<ValueId> = engine.program.outputs.iter().map(|&(id, _)| id).collect();
    let mut pending: Vec<(usize, Vec<crate::index::IndexId>, Lanes, GuardId)> = Vec::new();
    for vector in 0..vectors {
        let ahead = i64::from(vector) * i64::from(THREADS);
        let at = engine.indices.offset(base, ahead);
        let mut guard = GuardId::ALWAYS;
        if !n_vectors.is_multiple_of(per_cta) {
            let bound = n_vectors as i64 - ahead;
            let Some(within) = guard_end(engine, register, bound)? else { continue };
            guard = within;
        }
        let flat = engine.indices.scale_add(at, i64::from(lanes), lane);
        for (position, &output) in outputs.iter().enumerate() {
            let coordinates = engine.indices.coordinates(flat, &engine.program.ty(output).shape);
            let elements = engine.emit_guarded(output, &coordinates, guard)?;
            pending.push((position, coordinates, elements, guard));
        }
    }
    // Stores come last: inputs that an output overwrites are read before.
    for (position, coordinates, elements, guard) in pending {
        engine.store_output(position, &coordinates, &elements, guard)?;
    }
    Ok(())
}

/// The guard `register < bound`, as a predicate: the range of the vectors' index counts those that exist only.
fn guard_end(engine: &mut Engine<'_>, register: Reg, bound: i64) -> Result<Option<GuardId>, Fault> {
    if bound <= 0 {
        return Ok(None);
    }
    let pred = match register.class {
        gable_ptx::Class::B64 => {
            let register: R<B64> = register.typed().expect("the class was looked at");
            engine.k.setp_lt_s64(register, bound)
        }
        _ => {
            let register: R<B32> = register.typed().expect("a flat thread is in 32 or 64 bits");
            engine.k.setp_lt_u32(register, bound as u32)
        }
    };
    Ok(Some(engine.guard_by(GuardId::ALWAYS, pred)))
}

/// Elements from `start` on, fewer than a vector has, by the first threads of the first CTA.
fn store_rest(engine: &mut Engine<'_>, cta: R<B32>, thread: R<B32>, n: u64, start: u64) -> Result<(), Fault> {
    if start == n {
        return Ok(());
    }
    let rest = (n - start) as u32;
    engine.set_lanes(1);
    let is_first = engine.k.setp_eq_u32(cta, 0);
    let is_low = engine.k.setp_lt_u32(thread, rest);
    let takes_part = engine.k.and_pred(is_first, is_low);
    engine.if_(takes_part, |engine| {
        let at = engine.variable(thread, 0, i64::from(rest) - 1);
        let flat = engine.indices.offset(at, start as i64);
        let program = engine.program;
        let mut pending = Vec::new();
        for &(output, _) in &program.outputs {
            let coordinates = engine.indices.coordinates(flat, &program.ty(output).shape);
            let elements = engine.emit(output, &coordinates)?;
            pending.push((coordinates, elements));
        }
        for (position, (coordinates, elements)) in pending.into_iter().enumerate() {
            engine.store_output(position, &coordinates, &elements, GuardId::ALWAYS)?;
        }
        Ok(())
    })
}

/// The class that a program of maps, movement and reductions states for its kernels.
pub(crate) fn stated_class(program: &Program) -> Class {
    let computes = |op: &Op, dtype: DType| {
        let moves = op.is(Group::Leaf) || op.is(Group::Movement);
        let chooses = matches!(
            op,
            Op::Cast(_)
                | Op::Select(_)
                | Op::Eq(_)
                | Op::Ne(_)
                | Op::Lt(_)
                | Op::Le(_)
                | Op::Gt(_)
                | Op::Ge(_)
                | Op::IsNan(_)
                | Op::IsInf(_)
                | Op::ArgReduce(_)
                | Op::Argsort(_)
                | Op::Sign(_)
        );
        dtype.is_float() && !moves && !chooses
    };
    let any = program.values.iter().any(|value| {
        // Multiplied by a power of two on their way from bits and back.
        if matches!(value.ty.dtype, DType::E2M1 | DType::E2M3 | DType::E3M2) {
            return true;
        }
        let operand = value.operands.first().map_or(value.ty.dtype, |&operand| program.ty(operand).dtype);
        computes(&value.op, operand)
    });
    if any { Class::Fma } else { Class::None }
}
