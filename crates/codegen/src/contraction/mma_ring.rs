//! The pipeline on `mma.sync` that the copy engine feeds: warp-specialised persistent kernels for sm_120 and sm_121, which have
//! neither `wgmma` nor tensor memory, and for whole numbers on sm_103, whose tensor memory sums none.
//!
//! ```text
//!  last warp, one thread: for each tile of this CTA, for each round of 128 bytes of k
//!     wait empty[s] | expect bytes on full[s] | copy boxes of A and B to stage s
//!
//!  stage s of the ring, within 99 KB                      results of a warp
//!  +--------------------+--------------------+--------+   +------------------------+
//!  | A tile.m rows x 128 | B tile.n rows x 128 | scales |   | 16 rows x 128 bytes, 2 x |   all but scales swizzled by 128 bytes
//!  +--------------------+--------------------+--------+   +------------------------+
//!
//!            n                 warps.0 x warps.1 warps, for each round:
//!        +-------+                wait full[s] | for each 32 bytes of k: fragments by `ldmatrix`, 16 x 8 products | arrive on
//!        |   B   |                empty[s]
//!   +---++-------+             after the last: sums -> region -> staging buffer -> copy to memory, while stages of the
//!   | A || w0 w1 |                next tile fill
//!   |   || w2 w3 |
//!   +---++-------+             four warps more, where factors have block scales: scales to the stage (see `scaler`); one, where
//!                              they have scales of whole rounds (see `group_scales`)
//! ```
//!
//! Fragments of a step are loaded while the products of the step before run. Block scales are read from the stage as words of
//! four, one for each of A's rows and B's columns, by the lanes that the instruction takes them from. Scales of whole rounds multiply
//! sums: those of a round begin at zero, and are then added to the tile's.

mod epilogue;
mod fragments;
pub mod rule;
pub mod schedule;

use super::MapParameter;
use super::block_scaled::{ATOM, ATOM_SCALES, BlockScaled};
use super::boxes::SPAN;
use super::cta::{TilePlace, Walk, digits};
use super::group_scales::{self, Factors, GroupScaler, GroupScales, Slots, promote};
use super::groups::Groups;
use super::operands::{self, Bringing, Operands, STEP};
use super::problem::{ContractionError, Problem, Side};
use super::ring::{BARRIER, Ring, Scope};
use super::scaler::Scaler;
use super::schedule::{Schedule, WARP, sum_type};
use super::short_codes;
use super::staged::BUFFERS;
use super::surround::{Place, Surround};
use super::widening::Widening;
use epilogue::Epilogue;
use fragments::Fragments;
use gable_ptx::meaning::{BlockScaledMultiply, BlockScales, Element, MatrixMultiply, Meaning};
use gable_ptx::{
    B32, Class, F32, Family, Feature, KernelBuilder, Opcode, Operand, Pred, R, Reg, ScaleOperand, Target, Value,
};
use gable_tensor::DType;
use schedule::{FRAGMENT, MmaRingSchedule, STAGING};

/// Sums of a warp, `[16 rows][8 columns][register]`: register `i` of a lane is row `8 (i / 2)` further down, column `i % 2`,
/// counted from the lane's first row and column.
type Sums = Vec<Vec<[Reg; 4]>>;

/// Writes the kernel's body. Gives the tensor maps that it takes as further parameters, in order.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaRingSchedule,
    surround: &mut dyn Surround,
) -> Result<Vec<MapParameter>, ContractionError> {
    Schedule::MmaRing(*schedule).validate(problem, k.target())?;
    k.required_threads(schedule.threads(), 1, 1);
    k.min_ctas_per_sm(1);

    let operands = Operands::new(k, problem, Bringing::all(schedule.tile), schedule)?;
    let epilogue = Epilogue::new(k, problem, schedule, surround);
    let mut maps = operands.parameters();
    maps.extend(epilogue.parameters());

    let thread = k.tid_x();
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let memory = k.dynamic_shared(1024);
    let data = k.address_of_shared(&memory);
    let barriers = k.add_u32(data, schedule.ring_bytes() + schedule.staging_bytes());
    let stage_bytes = schedule.stage_bytes();
    let ring = Ring { stages: schedule.stages, stage_bytes, data, barriers, scope: Scope::Cta };
    let scaled = BlockScaled::of(problem);
    let group_scales = if scaled.is_none() { GroupScales::of(problem, schedule.tile) } else { None };
    let factors = group_scales.map(|scales| {
        let slots = Slots { first: k.add_u32(data, schedule.operand_bytes()), stride: stage_bytes };
        (scales, slots)
    });
    // Codes that share a byte arrive, and are then spread by the warps that bring scales.
    let pairs = scaled.as_ref().filter(|scaled| scaled.short(true).next().is_some());
    let arrivals = pairs.map(|_| Ring { barriers: k.add_u32(barriers, 2 * schedule.stages * BARRIER), ..ring });
    let first_thread = k.setp_eq_u32(thread, 0);
    k.if_(first_thread, |k| {
        let scalers = schedule.scalers();
        ring.init(k, if arrivals.is_some() { scalers } else { 1 + scalers }, schedule.consumers());
        if let Some(arrivals) = &arrivals {
            arrivals.init(k, 1, 1);
        }
    });
    let ends = k.add_u32(data, schedule.shared_bytes());
    let groups = Groups::read(k, problem, ends, (thread, schedule.threads()), surround)?;
    k.bar_warp_sync(-1);
    k.bar_sync(0u32);

    let (_, elected) = k.elect_sync(-1);
    let mut walk = Walk::alone(k, schedule.extent(), schedule.group, schedule.ctas);
    // Each warp walks over the tiles once, in one part.
    walk.search = groups.map(|groups| groups.search(k));
    let consumes = k.setp_lt_u32(warp, schedule.consumers());
    k.if_(consumes, |k| {
        let consumer = Consumer::new(k, schedule, thread, warp, elected, data);
        let factors = factors.as_ref().map(|(scales, slots)| consumer.factors(k, schedule, scales, *slots));
        let scales = (scaled.as_ref(), factors.as_ref());
        consumer.run(k, problem, schedule, scales, &ring, &walk, &epilogue, surround)
    })?;
    let first = schedule.consumers();
    let brings_scales = (schedule.scalers() > 0).then(|| {
        let after = k.setp_ge_u32(warp, first);
        let before = k.setp_lt_u32(warp, first + schedule.scalers());
        k.and_pred(after, before)
    });
    if let (Some(scales), Some(brings)) = (&factors, brings_scales) {
        k.if_(brings, |k| {
            let thread = k.sub_u32(thread, first * WARP);
            let scaler = GroupScaler { thread, threads: schedule.scalers() * WARP, elected, slots: scales.1 };
            scaler.run(k, problem, &scales.0, &ring, &walk, surround)
        })?;
    }
    if let (Some(scaled), Some(brings)) = (&scaled, brings_scales) {
        k.if_(brings, |k| {
            let scaler = Scaler {
                columns: schedule.tile.n,
                tile_k: schedule.tile.k,
                operand_bytes: schedule.operand_bytes(),
                thread: k.sub_u32(thread, first * WARP),
                elected,
                widening: arrivals.as_ref().map(|arrivals| Widening::of(scaled.short(true), arrivals, schedule.tile)),
            };
            scaler.run(k, problem, scaled, &ring, &walk, surround)
        })?;
    }
    let last = k.setp_eq_u32(warp, schedule.threads() / WARP - 1);
    let brings = k.and_pred(last, elected);
    k.if_(brings, |k| operands.bring_apart(k, problem, (&ring, arrivals.as_ref()), schedule.tile.k, &walk))?;
    k.exit();
    Ok(maps)
}

/// One thread of a warp that multiplies: who it is and what it has.
struct Consumer {
    lane: R<B32>,
    /// Whether the thread speaks for its warp.
    elected: R<Pred>,
    /// The warp's first row and column in the tile.
    row: R<B32>,
    column: R<B32>,
    /// Its warp's first staging buffer.
    staging: R<B32>,
}

/// How a step is multiplied.
enum Multiply<'a> {
    Plain(Opcode),
    Scaled(&'a BlockScaled, BlockScaledMultiply, Scales),
}

impl Consumer {
    fn new(
        k: &mut KernelBuilder,
        schedule: &MmaRingSchedule,
        thread: R<B32>,
        warp: R<B32>,
        elected: R<Pred>,
        data: R<B32>,
    ) -> Consumer {
        let lane = k.and_b32(thread, WARP - 1);
        let place = digits(k, warp, &[schedule.warps.0 as usize, schedule.warps.1 as usize]);
        let (warp_m, warp_n) = schedule.warp_tile();
        let staging = k.mad_lo_u32(warp, BUFFERS * STAGING, data);
        let staging = k.add_u32(staging, schedule.ring_bytes());
        let (row, column) = (k.mul_lo_u32(place[0], warp_m), k.mul_lo_u32(place[1], warp_n));
        Consumer { lane, elected, row, column, staging }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &MmaRingSchedule,
        (scaled, factors): (Option<&BlockScaled>, Option<&Factors>),
        ring: &Ring,
        walk: &Walk,
        epilogue: &Epilogue,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let (warp_m, warp_n) = schedule.warp_tile();
        let major = |side| problem.operand(side).vector().0;
        let a = Fragments::new(k, Side::A, major(Side::A), (self.row, warp_m), self.lane, 0);
        let b = Fragments::new(k, Side::B, major(Side::B), (self.column, warp_n), self.lane, schedule.tile.m * SPAN);
        let multiply = match scaled {
            None => Multiply::Plain(instruction(problem.element)?),
            Some(scaled) => {
                Multiply::Scaled(scaled, scaled_instruction(scaled)?, Scales::new(k, schedule, scaled, self))
            }
        };
        let class = if sum_type(problem.element) == DType::F32 { Class::F32 } else { Class::B32 };
        let mut fresh = || -> Sums {
            let mut fragment = || std::array::from_fn(|_| k.fresh_reg(class));
            (0..warp_m / FRAGMENT.0).map(|_| (0..warp_n / FRAGMENT.1).map(|_| fragment()).collect()).collect()
        };
        let sums = fresh();
        let promoted = factors.map(|factors| (factors, fresh()));
        let clear = |k: &mut KernelBuilder, sums: &Sums| {
            sums.iter().flatten().flatten().try_for_each(|&sum| match class {
                Class::F32 => k.copy_into(sum, 0.0f32),
                _ => k.copy_into(sum, 0u32),
            })
        };
        let at = ring.first_to_read(k);
        walk.for_each(k, problem, |k, place| {
            self.prefetch(k, schedule, place, surround)?;
            clear(k, &sums)?;
            k.no_unroll();
            k.for_u32(0, problem.rounds(schedule.tile.k), 1, |k, _| -> Result<(), ContractionError> {
                ring.wait_full(k, at);
                k.bar_warp_sync(-1);
                let stage = ring.stage(k, at);
                match &promoted {
                    None => round(k, schedule, [&a, &b], &multiply, stage, &sums)?,
                    Some((factors, of_round)) => {
                        let factors = (*factors, factors.of_round(k, at));
                        clear(k, of_round)?;
                        round(k, schedule, [&a, &b], &multiply, stage, of_round)?;
                        promote_all(k, factors, of_round, &sums)?;
                    }
                }
                // Every lane has read what it needs of the stage.
                k.bar_warp_sync(-1);
                ring.release(k, at.stage, self.elected);
                ring.advance(k, at);
                Ok(())
            })?;
            epilogue.finish(k, problem, schedule, self, place, &sums, surround)
        })?;
        epilogue.drain(k);
        Ok(())
    }

    /// How the lane reads factors of its sums.
    fn factors(
        &self,
        k: &mut KernelBuilder,
        schedule: &MmaRingSchedule,
        scales: &GroupScales,
        slots: Slots,
    ) -> Factors {
        let (warp_m, warp_n) = schedule.warp_tile();
        let down = k.shr_u32(self.lane, 2);
        let row = k.add_u32(self.row, down);
        let rows = (0..warp_m / 8).map(|half| half * 8).collect();
        Factors::new(k, scales, slots, (row, self.column), (rows, warp_n))
    }

    /// Has what the region reads for the warp's rows brought to L2 while the tile is multiplied, a row by each lane.
    fn prefetch(
        &self,
        k: &mut KernelBuilder,
        schedule: &MmaRingSchedule,
        place: &TilePlace,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let (rows, columns) = schedule.warp_tile();
        let own = k.add_u32(place.row, self.row);
        let column = k.add_u32(place.column, self.column);
        for first in (0..rows).step_by(WARP as usize) {
            let row = k.add_u32(own, self.lane);
            let row = k.add_u32(row, first);
            surround.prefetch(k, Place { batch: &place.batch, row, column }, columns, true)?;
        }
        Ok(())
    }
}

/// Adds the sums of a round to those of the tile, each times the factor of its row and column.
fn promote_all(
    k: &mut KernelBuilder,
    (places, factors): (&Factors, Vec<Vec<R<F32>>>),
    of_round: &Sums,
    sums: &Sums,
) -> Result<(), ContractionError> {
    for (i, (of_round, sums)) in of_round.iter().zip(sums).enumerate() {
        let columns = (0..).step_by(FRAGMENT.1 as usize);
        for (column, (of_round, sums)) in columns.zip(of_round.iter().zip(sums)) {
            // A fragment's registers are two of a row, then two eight rows further down.
            for (half, (of_round, sums)) in of_round.chunks(2).zip(sums.chunks(2)).enumerate() {
                let factor = factors[2 * i + half][places.group_of(column)];
                promote(k, Some(factor), of_round, sums)?;
            }
        }
    }
    Ok(())
}

/// The products of one stage.
fn round(
    k: &mut KernelBuilder,
    schedule: &MmaRingSchedule,
    [a, b]: [&Fragments; 2],
    multiply: &Multiply<'_>,
    stage: R<B32>,
    sums: &Sums,
) -> Result<(), ContractionError> {
    let (warp_m, warp_n) = schedule.warp_tile();
    let (a_from, b_from) = (a.at_stage(k, stage), b.at_stage(k, stage));
    let placed = |k: &mut KernelBuilder, side: Side, words: [R<B32>; 4]| match multiply {
        Multiply::Scaled(scaled, ..) if !scaled.packed => {
            words.map(|word| short_codes::placed(k, multiplied(scaled)[side as usize], word))
        }
        _ => words,
    };
    let load = |k: &mut KernelBuilder, step: u32| {
        let mut left = Vec::with_capacity((warp_m / 16) as usize);
        for i in 0..warp_m / 16 {
            let words = a.load(k, &a_from, i, step);
            left.push(placed(k, Side::A, words));
        }
        // One load serves two columns of eight.
        let mut right = Vec::with_capacity((warp_n / 16) as usize);
        for j in 0..warp_n / 16 {
            let words = b.load(k, &b_from, j, step);
            right.push(placed(k, Side::B, words));
        }
        (left, right)
    };
    let scales = match multiply {
        Multiply::Plain(_) => None,
        Multiply::Scaled(_, _, scales) => Some(scales.load(k, stage)),
    };
    let vector = |registers: &[Reg]| Operand::Vector(registers.iter().map(|&r| Value::Reg(r)).collect());
    let mut current = load(k, 0);
    for step in 0..SPAN / STEP {
        let next = (step + 1 < SPAN / STEP).then(|| load(k, step + 1));
        let (left, right) = &current;
        for (i, left) in left.iter().enumerate() {
            for (j, &sum) in sums[i].iter().enumerate() {
                let half = 2 * (j % 2);
                let right = [right[j / 2][half], right[j / 2][half + 1]];
                match (multiply, &scales) {
                    (Multiply::Scaled(scaled, shape, _), Some((rows, columns))) => {
                        let (word, byte) = scaled.of_step(step);
                        let (word, byte) = (word as usize, byte as u8);
                        let of_rows = ScaleOperand { register: rows[i][word], byte, thread: 0 };
                        // A register holds the scales of four times eight columns, those of each eight in a lane of four.
                        let of_columns = ScaleOperand { register: columns[j / 4][word], byte, thread: (j % 4) as u8 };
                        let broken = |_| ContractionError::Surround("sums of floats are floats".into());
                        let typed: Vec<R<F32>> =
                            sum.iter().map(|sum| sum.typed()).collect::<Result<_, _>>().map_err(broken)?;
                        let sums: [R<F32>; 4] = std::array::from_fn(|i| typed[i]);
                        k.mma_block_scaled(*shape, sums, (*left, of_rows), (right, of_columns))?;
                    }
                    (Multiply::Plain(row), _) => {
                        let sources = vec![vector(&left.map(R::reg)), vector(&right.map(R::reg)), vector(&sum)];
                        k.emit_into(*row, sum.to_vec(), sources)?;
                    }
                    _ => {}
                }
            }
        }
        if let Some(next) = next {
            current = next;
        }
    }
    Ok(())
}

/// Where a lane reads block scales in a stage.
struct Scales {
    /// For each 16 rows of A: the word of row `lane / 4`, or eight further down in odd lanes.
    rows: Vec<R<B32>>,
    /// For each 32 columns of B: the word of column `8 (lane % 4) + lane / 4`.
    columns: Vec<R<B32>>,
    /// Words of a row.
    words: u32,
}

/// Words of scales: of each place, in the order of k.
type Words = Vec<Vec<R<B32>>>;

impl Scales {
    fn new(k: &mut KernelBuilder, schedule: &MmaRingSchedule, scaled: &BlockScaled, consumer: &Consumer) -> Scales {
        let words = scaled.per_round() / ATOM_SCALES;
        let (group, within) = (k.shr_u32(consumer.lane, 2), k.and_b32(consumer.lane, 3));
        let (warp_m, warp_n) = schedule.warp_tile();
        // A row of an atom: 16 bytes for each of 32, four for each quarter.
        let place = |k: &mut KernelBuilder, row: R<B32>, start: u32| {
            let (low, quarter) = (k.and_b32(row, 31), k.shr_u32(row, 5));
            let offset = k.mad_lo_u32(low, 16, start);
            k.mad_lo_u32(quarter, ATOM_SCALES, offset)
        };
        let odd = k.and_b32(within, 1);
        let row = k.mad_lo_u32(odd, 8, group);
        let row = k.add_u32(row, consumer.row);
        let start = schedule.operand_bytes();
        let rows = (0..warp_m / 16)
            .map(|i| {
                let row = k.add_u32(row, i * 16);
                place(k, row, start)
            })
            .collect();
        let column = k.mad_lo_u32(within, 8, group);
        let column = k.add_u32(column, consumer.column);
        let columns = (0..warp_n.div_ceil(32))
            .map(|j| {
                let column = k.add_u32(column, j * 32);
                place(k, column, start + words * ATOM)
            })
            .collect();
        Scales { rows, columns, words }
    }

    /// The words of a stage, of rows and of columns.
    fn load(&self, k: &mut KernelBuilder, stage: R<B32>) -> (Words, Words) {
        let mut of = |places: &[R<B32>]| -> Words {
            places
                .iter()
                .map(|&place| {
                    let place = k.add_u32(place, stage);
                    (0..self.words).map(|word| k.ld_shared_b32(place.at((word * ATOM) as i32))).collect()
                })
                .collect()
        };
        (of(&self.rows), of(&self.columns))
    }
}

/// The matrix instruction of an element type.
fn instruction(element: DType) -> Result<Opcode, ContractionError> {
    let (k, factor, accumulator) = match element {
        DType::F16 => (16, Element::F16, Element::F32),
        DType::BF16 => (16, Element::Bf16, Element::F32),
        DType::Tf32 => (8, Element::Tf32, Element::F32),
        DType::E4M3 => (32, Element::E4m3, Element::F32),
        DType::E5M2 => (32, Element::E5m2, Element::F32),
        DType::I8 => (32, Element::S8, Element::S32),
        DType::U8 => (32, Element::U8, Element::S32),
        other => return Err(ContractionError::Type(other)),
    };
    let meaning = Meaning::MatrixMultiply(MatrixMultiply { m: 16, n: 8, k, a: factor, b: factor, accumulator });
    Ok(Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?)
}

/// The types that factors are multiplied in: those of pairs become floats of 8 bits where not both factors are.
fn multiplied(scaled: &BlockScaled) -> [DType; 2] {
    let mut elements = scaled.elements;
    for short in scaled.short(true) {
        elements[short.side as usize] = short_codes::float8(short.element).0;
    }
    elements
}

/// The block-scaled matrix instruction of factors and their scales.
fn scaled_instruction(scaled: &BlockScaled) -> Result<BlockScaledMultiply, ContractionError> {
    let element = |dtype| match dtype {
        DType::E4M3 => Ok(Element::E4m3),
        DType::E5M2 => Ok(Element::E5m2),
        DType::E2M3 => Ok(Element::E2m3),
        DType::E3M2 => Ok(Element::E3m2),
        DType::E2M1 => Ok(Element::E2m1),
        other => Err(ContractionError::Type(other)),
    };
    let scales = match (scaled.block, scaled.scale) {
        (32, DType::UE8M0) => BlockScales::Ue8m0Per32,
        (16, DType::E4M3) => BlockScales::Ue4m3Per16,
        (_, other) => return Err(ContractionError::Type(other)),
    };
    let k = if scaled.packed { 64 } else { 32 };
    let [a, b] = multiplied(scaled);
    Ok(BlockScaledMultiply { k, a: element(a)?, b: element(b)?, scales })
}

/// Whether an instruction of the target multiplies the factors.
fn multiplies(problem: &Problem, target: Target) -> bool {
    match (&problem.scaled, BlockScaled::of(problem)) {
        (Some(_), Some(scaled)) => scaled_instruction(&scaled).is_ok() && target.has(Feature::BlockScaledMma),
        (Some(_), None) => {
            target.row().family == Family::Sm120
                && matches!(problem.element, DType::E4M3 | DType::E5M2)
                && group_scales::suits(problem, SPAN)
        }
        (None, _) => instruction(problem.element).is_ok(),
    }
}

/// Whether the pipeline is one of the target's: of its family, and for whole numbers that its tensor memory does not sum.
fn is_for(problem: &Problem, target: Target) -> bool {
    let is_whole = matches!(problem.element, DType::I8 | DType::U8);
    match target.row().family {
        Family::Sm120 => true,
        Family::Sm100 => is_whole && !target.has(Feature::Tcgen05Int8),
        _ => false,
    }
}

/// Whether this pipeline multiplies the problem here: both operands are boxes of a tensor map.
pub(super) fn suits(problem: &Problem, target: Target) -> bool {
    let boxes = |side| operands::boxes(problem, side, 64, problem.element).is_some();
    let has_class = is_for(problem, target) && multiplies(problem, target);
    problem.k > 0 && problem.products() == 1 && has_class && boxes(Side::A) && boxes(Side::B)
}

/// Whether a warp has whole blocks of its columns, and results leave through staging buffers.
pub(super) fn folds_blocks(problem: &Problem, schedule: &MmaRingSchedule, surround: &mut dyn Surround) -> bool {
    let block = surround.share_blocks(super::wgmma::epilogue::QUAD);
    schedule.warp_tile().1.is_multiple_of(block) && epilogue::stages(problem, schedule, surround)
}

/// Parts of the columns whose folds the kernel leaves: those of its warps.
pub(super) fn fold_parts(problem: &Problem, schedule: &MmaRingSchedule) -> u32 {
    problem.n.div_ceil(schedule.tile.n as usize) as u32 * schedule.warps.1
}
