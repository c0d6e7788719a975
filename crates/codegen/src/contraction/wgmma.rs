//! The pipeline on `wgmma`: warp-specialised persistent kernels for Hopper.
//!
//! ```text
//!  warpgroup 0, one thread: for each tile of this CTA, for each round of 128 bytes of k
//!     wait empty[s] | expect bytes on full[s] | copy boxes of A and B to stage s
//!
//!  stage s of the ring                           results of a warp
//!  +---------------------+---------------------+   +------------------------+
//!  | A  tile.m rows x 128 | B  tile.n rows x 128 |   | 16 rows x 128 bytes, 2 x |   all swizzled by 128 bytes
//!  +---------------------+---------------------+   +------------------------+
//!
//!  warpgroups 1..: for each round
//!     wait full[s] | wgmma on the stage, rows in blocks of 64 | arrive on empty[s]
//!     after the last: sums -> region -> staging buffer -> copy to memory, while the next tile's stages fill
//! ```
//!
//! Where an operand is no boxes of a tensor map, all threads of one or two producing warpgroups carry it: see `carried`.
//!
//! Cooperating consumers share each tile's rows. With ping-pong each has a tile of its own and they take turns at the
//! tensor cores, so that one finishes its tile while the other multiplies: better where k is short or much follows.
//!
//! Several products of one left factor are one to the instruction: a stage holds a tile of each right factor, one after
//! the other, and a thread's sums are those of the first product, then of the next, at the same rows and columns.
//!
//! Of 8-bit floats the tensor cores keep 13 fraction bits of a sum, cut towards zero (H200, 20,480 sums compared bit for
//! bit). So the products of a round, 128 of k, are summed there from zero, and added to the tile's sums in f32 registers:
//! twice the registers, and additions that another consumer's products hide. Scales of factors are multiplied in there
//! (`promotion`); two more warps of warpgroup 0 bring them (`group_scales`).
//!
//! Two consumers that keep a group of products pending each make the tensor cores switch between them, which costs a few
//! percent; so cooperating ones wait for every round's products, and overlap each other.

mod addend;
pub(super) mod epilogue;
mod promotion;
pub mod rule;
pub mod schedule;
mod split;

use super::MapParameter;
use super::boxes::SPAN;
use super::carried::{self, Carriers};
use super::cta::{TilePlace, Walk};
use super::group_scales::{self, GroupScaler, GroupScales, Slots};
use super::groups::Groups;
use super::neighbours::Neighbours;
use super::operands::{self, Bringing, Operands, STEP};
use super::problem::{ContractionError, Problem};
use super::ring::{Ring, Scope};
use super::schedule::{Schedule, WARP, sum_type};
use super::surround::{Place, Surround};
use addend::Arrivals;
use epilogue::Epilogue;
use gable_ptx::meaning::{Element, WarpgroupMultiply};
use gable_ptx::{B32, Class, KernelBuilder, Pred, R, Reg, Src, WgmmaOperand};
use gable_tensor::DType;
use schedule::{ROWS, STAGING, Sharing, WARPGROUP, WgmmaSchedule};
use std::cell::RefCell;

/// How descriptors say that rows are swizzled by 128 bytes.
const SWIZZLED: u64 = 1 << 62;

/// Registers of a block of 64 rows of sums, and what they hold: register `4 j + i` of a thread is row `8 (i / 2)` further
/// down, column `8 j + i % 2`, counted from the thread's first row and column. Of several products, the columns of the first
/// come before those of the next.
pub(super) type Sums = Vec<Vec<[Reg; 4]>>;

/// Named barriers by which consumers that take turns wait for each other; 0 is the whole CTA's.
const TURN: u32 = 1;

/// Warps of the producing warpgroup that bring scales of sums, and the first of them: one thread of warp 0 has boxes copied.
const SCALERS: u32 = 2;
const FIRST_SCALER: u32 = 2;

/// Writes the kernel's body. Gives the tensor maps that it takes as further parameters, in order.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &WgmmaSchedule,
    surround: &mut dyn Surround,
) -> Result<Vec<MapParameter>, ContractionError> {
    Schedule::Wgmma(*schedule).validate(problem, k.target())?;
    k.required_threads(schedule.threads(), 1, 1);
    // The registers that `setmaxnreg` moves between warpgroups are counted from here.
    k.min_ctas_per_sm(1);

    let bringing = Bringing { tile: schedule.tile, short: schedule.carriers == 0, along: schedule.along };
    let operands = Operands::new(k, problem, bringing, schedule)?;
    let mut epilogue = Epilogue::new(k, problem, schedule, surround);
    let mut maps = operands.parameters();
    maps.extend(epilogue.parameters());

    let thread = k.tid_x();
    let warpgroup = k.shr_u32(thread, WARPGROUP.trailing_zeros());
    let memory = k.dynamic_shared(1024);
    let data = k.address_of_shared(&memory);
    let barriers = k.add_u32(data, schedule.ring_bytes() + schedule.staging_bytes());
    let is_alone = schedule.along == (1, 1);
    let scope = if is_alone { Scope::Cta } else { Scope::Neighbours(Neighbours::new(k, schedule.along)) };
    let ring = Ring { stages: schedule.stages, stage_bytes: schedule.stage_bytes(), data, barriers, scope };
    let readers = match schedule.sharing {
        Sharing::Cooperative => schedule.consumers,
        Sharing::PingPong => 1,
    };
    let first_thread = k.setp_eq_u32(thread, 0);
    let carriers = schedule.carriers * WARPGROUP;
    let writers = if carriers == 0 { 1 } else { carried::writers(&operands, carriers) };
    let scales = GroupScales::of(problem, schedule.tile);
    k.if_(first_thread, |k| {
        epilogue.init(k, schedule, data);
        // Factors are written by warps, and each warp says that it has read them.
        let (scalers, warps) = if scales.is_some() { (SCALERS, WARPGROUP / WARP) } else { (0, 1) };
        ring.init(k, writers + scalers, readers * warps * Neighbours::receivers(schedule.along));
    });
    let beside = k.add_u32(data, schedule.shared_bytes());
    let ends = k.add_u32(beside, schedule.scale_bytes(problem));
    let groups = Groups::read(k, problem, ends, (thread, schedule.threads()), surround)?;
    operands.clear_missing_rows(k, &ring, (thread, schedule.threads()))?;
    k.bar_warp_sync(-1);
    k.bar_sync(0u32);
    if !is_alone {
        // Others write to the stages and arrive on the barriers.
        k.cluster_arrive();
        k.cluster_wait();
    }

    let produces = k.setp_lt_u32(warpgroup, schedule.producers());
    // Producers ask the region for elements, consumers hand it sums; one is written after the other.
    let surround = RefCell::new(surround);
    let (produced, consumed) = k.if_else(
        produces,
        |k| -> Result<(), ContractionError> {
            k.setmaxnreg_dec(schedule.registers().0);
            let mut walk = walk_of(k, problem, schedule, &ring);
            walk.search = groups.map(|groups| groups.search(k));
            let mut surround = surround.borrow_mut();
            if carriers == 0 {
                k.if_(first_thread, |k| operands.bring_all(k, problem, &ring, schedule.tile.k, &walk))?;
                let Some(scales) = &scales else { return Ok(()) };
                let lane = k.and_b32(thread, WARP - 1);
                let elected = k.setp_eq_u32(lane, 0);
                let (scaler, threads) = (k.sub_u32(thread, FIRST_SCALER * WARP), SCALERS * WARP);
                let slots = Slots { first: beside, stride: scales.bytes() };
                let scaler = GroupScaler { thread: scaler, threads, elected, slots };
                let brings_scales = k.setp_ge_u32(thread, FIRST_SCALER * WARP);
                return k.if_(brings_scales, |k| scaler.run(k, problem, scales, &ring, &walk, *surround));
            }
            let carriers = Carriers { thread, threads: carriers };
            carried::carry_all(k, problem, &ring, &operands, schedule.tile, &walk, &carriers, *surround).map(|_| ())
        },
        |k| -> Result<(), ContractionError> {
            k.setmaxnreg_inc(schedule.registers().1);
            let consumer = Consumer::new(k, schedule, (thread, warpgroup), (data, beside), scales.is_some());
            consumer.run(k, problem, schedule, &ring, &operands, groups, &mut epilogue, *surround.borrow_mut())
        },
    );
    produced.and(consumed)?;
    if !is_alone {
        // Shared memory that others still write to stays.
        k.cluster_arrive();
        k.cluster_wait();
    }
    k.exit();
    Ok(maps)
}

/// A CTA's way over tiles, and over k.
fn walk_of(k: &mut KernelBuilder, problem: &Problem, schedule: &WgmmaSchedule, ring: &Ring) -> Walk {
    match ring.scope {
        Scope::Neighbours(neighbours) => Walk::blocks(k, schedule.extent(), schedule.group, schedule.ctas, neighbours),
        _ => split::walk(k, problem, schedule),
    }
}

/// One consumer's thread: who it is and where it reads.
struct Consumer {
    /// Which consumer.
    number: R<B32>,
    /// Warp in the warpgroup.
    warp: R<B32>,
    /// Lane in the warp.
    lane: R<B32>,
    /// Whether the thread speaks for its warpgroup; for its warp where factors lie beside stages.
    speaks: R<Pred>,
    /// The factors beside stage 0.
    beside: R<B32>,
    /// Its warp's first staging buffer.
    staging: R<B32>,
    /// What arrives in its warp's staging buffers.
    arrivals: Arrivals,
}

impl Consumer {
    fn new(
        k: &mut KernelBuilder,
        schedule: &WgmmaSchedule,
        (thread, warpgroup): (R<B32>, R<B32>),
        (data, beside): (R<B32>, R<B32>),
        is_scaled: bool,
    ) -> Consumer {
        let number = k.sub_u32(warpgroup, schedule.producers());
        let in_group = k.and_b32(thread, WARPGROUP - 1);
        let warp = k.shr_u32(in_group, WARP.trailing_zeros());
        let lane = k.and_b32(thread, WARP - 1);
        let speaks = k.setp_eq_u32(if is_scaled { lane } else { in_group }, 0);
        let all_warps = k.mad_lo_u32(number, WARPGROUP / WARP, warp);
        let staging = k.mad_lo_u32(all_warps, schedule.buffers * STAGING, data);
        let staging = k.add_u32(staging, schedule.ring_bytes());
        let arrivals = Arrivals::new(k, schedule, data, all_warps);
        Consumer { number, warp, lane, speaks, beside, staging, arrivals }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        ring: &Ring,
        operands: &Operands,
        groups: Option<Groups>,
        epilogue: &mut Epilogue,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let takes_turns = schedule.sharing == Sharing::PingPong;
        let blocks = schedule.consumer_rows() / ROWS;
        let class = if sum_type(problem.element) == DType::F32 { Class::F32 } else { Class::B32 };
        let mut fresh = || -> Sums {
            let mut block =
                || (0..schedule.columns() / 8).map(|_| std::array::from_fn(|_| k.fresh_reg(class))).collect();
            (0..blocks).map(|_| block()).collect()
        };
        let sums = fresh();
        let rounds_apart = schedule::promotes(problem).then(fresh);
        let own_rows = match schedule.sharing {
            Sharing::Cooperative => k.mul_lo_u32(self.number, schedule.consumer_rows()),
            Sharing::PingPong => k.mov_b32(0),
        };
        let factors = self.factors(k, problem, schedule, own_rows);
        let left = k.mad_lo_u32(own_rows, SPAN, ring.data);
        let descriptors = operands.descriptors(k, SWIZZLED, left, ring.data);
        let at = ring.first_to_read(k);
        let walk = walk_of(k, problem, schedule, ring);
        let (cta, step) = (walk.first, walk.step);
        let (first, step) = if takes_turns {
            let second = k.setp_ne_u32(self.number, 0);
            k.if_(second, |k| ring.skip(k, at, schedule.rounds(problem)));
            (k.mad_lo_u32(self.number, step, cta), 2 * step)
        } else {
            (cta, step)
        };
        // Whom the consumer waits for, and whom it lets go on.
        let own_turn = k.add_u32(self.number, TURN);
        let other_turn = k.sub_u32(2 * TURN + 1, own_turn);
        let waits = k.setp_ne_u32(self.number, 0);

        let search = groups.map(|groups| groups.search(k));
        let walk = Walk { first, step, search, part: None, ..walk };
        walk.for_each_number(k, problem, |k, tile, place| -> Result<(), ContractionError> {
            let with_addend = !epilogue.brings_addend(schedule);
            self.prefetch(k, schedule, place, (own_rows, with_addend), surround)?;
            let row = k.add_u32(place.row, own_rows);
            epilogue.begin(k, problem, schedule, self, place, row, surround)?;
            if takes_turns {
                // The very first tile waits for nobody.
                let not_first = k.setp_ne_u32(tile, first);
                let waits = k.or_pred(waits, not_first);
                k.if_(waits, |k| k.bar_sync_count_reg(own_turn, 2 * WARPGROUP));
            }
            match &rounds_apart {
                None => self.multiply(k, problem, schedule, ring, at, &descriptors, &sums)?,
                Some(round) => self.multiply_and_promote(
                    k,
                    problem,
                    schedule,
                    ring,
                    at,
                    &descriptors,
                    factors.as_ref(),
                    round,
                    &sums,
                )?,
            }
            if takes_turns {
                k.bar_arrive_reg(other_turn, 2 * WARPGROUP);
            }
            k.wgmma_wait_group(0);
            if schedule.keeps_pending() {
                let last = previous(k, ring, at);
                ring.release(k, last, self.speaks);
            }
            if takes_turns {
                ring.skip(k, at, schedule.rounds(problem));
            }
            if schedule.split == 1 {
                return epilogue.finish(k, problem, schedule, self, place, row, &sums, surround);
            }
            let (own, place) = split::join(k, problem, schedule, self, (ring.data, row), &sums, place)?;
            epilogue.finish(k, problem, schedule, self, &place, row, &own, surround)
        })?;
        epilogue.drain(k);
        Ok(())
    }

    /// Has what the region reads for the consumer's rows brought to L2 while the tile is multiplied, a row by each thread.
    fn prefetch(
        &self,
        k: &mut KernelBuilder,
        schedule: &WgmmaSchedule,
        place: &TilePlace,
        (own_rows, with_addend): (R<B32>, bool),
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let in_group = k.mad_lo_u32(self.warp, WARP, self.lane);
        for first in (0..schedule.consumer_rows()).step_by(WARPGROUP as usize) {
            let row = k.add_u32(in_group, first);
            let is_own = k.setp_lt_u32(row, schedule.consumer_rows());
            let row = k.add_u32(row, own_rows);
            let row = k.add_u32(row, place.row);
            // Rows of other consumers are theirs; a row beyond the last is beyond the edge.
            let row = k.selp_b32(row, u32::MAX, is_own);
            let place = Place { batch: &place.batch, row, column: place.column };
            surround.prefetch(k, place, schedule.tile.n, with_addend)?;
        }
        Ok(())
    }

    /// The rounds of one tile. Where products are kept pending, those of the last round are still under way afterwards.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    fn multiply(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        ring: &Ring,
        at: super::ring::Position,
        descriptors: &operands::Descriptors,
        sums: &Sums,
    ) -> Result<(), ContractionError> {
        let shape = shape_of(problem.element, schedule.columns())?;
        k.for_u32(0, schedule.rounds(problem), 1, |k, round| -> Result<(), ContractionError> {
            ring.wait_full(k, at);
            // The first products of a tile do not add to what the registers held.
            let adds = k.setp_ne_u32(round, 0);
            start_round(k, shape, ring, at, descriptors, adds, sums)?;
            if schedule.keeps_pending() {
                k.wgmma_wait_group(1);
                let speaks = k.and_pred(self.speaks, adds);
                let before = previous(k, ring, at);
                ring.release(k, before, speaks);
            } else {
                k.wgmma_wait_group(0);
                ring.release(k, at.stage, self.speaks);
            }
            ring.advance(k, at);
            Ok(())
        })
    }
}

/// Starts the products of one round and closes their group; the first ones add to the sums where `adds` holds.
fn start_round(
    k: &mut KernelBuilder,
    shape: WarpgroupMultiply,
    ring: &Ring,
    at: super::ring::Position,
    descriptors: &operands::Descriptors,
    adds: impl Into<Src<Pred>>,
    sums: &Sums,
) -> Result<(), ContractionError> {
    let adds = adds.into();
    let (a, b) = descriptors.of_stage(k, at.stage, ring.stage_bytes);
    k.wgmma_fence();
    for step in 0..SPAN / STEP {
        let right = descriptors.right(k, b, step);
        for (block, sums) in sums.iter().enumerate() {
            let left = WgmmaOperand::Descriptor(descriptors.left(k, a, step, block as u32));
            let accumulate = if step == 0 { adds } else { true.into() };
            k.wgmma(shape, &sums.concat(), left, right, accumulate, descriptors.transposed())?;
        }
    }
    k.wgmma_commit_group();
    Ok(())
}

/// The stage before a position's.
fn previous(k: &mut KernelBuilder, ring: &Ring, at: super::ring::Position) -> R<B32> {
    let is_first = k.setp_eq_u32(at.stage, 0);
    let before = k.sub_u32(at.stage, 1);
    k.selp_b32(ring.stages - 1, before, is_first)
}

/// The instruction of an element type.
fn shape_of(element: DType, n: u32) -> Result<WarpgroupMultiply, ContractionError> {
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
    Ok(WarpgroupMultiply { n: n as u16, k, a: factor, b: factor, accumulator, a_in_registers: false })
}

/// Whether `wgmma` multiplies the problem here: all operands are boxes of a tensor map, or threads can carry them.
pub(super) fn suits(problem: &Problem, target: gable_ptx::Target) -> bool {
    problem.k > 0
        && target.has(gable_ptx::Feature::Wgmma)
        && shape_of(problem.element, 8).is_ok()
        && group_scales::suits(problem, WgmmaSchedule::k_of(problem.element))
        && operands::suit(problem, (ROWS, ROWS))
}

/// Whether a warp has whole blocks of the columns that it finishes, and its results leave through staging buffers.
pub(super) fn folds_blocks(problem: &Problem, schedule: &WgmmaSchedule, surround: &mut dyn Surround) -> bool {
    let block = surround.share_blocks(epilogue::QUAD);
    schedule.finished_columns().is_multiple_of(block) && epilogue::stages(problem, schedule, surround)
}

/// Parts of the columns whose folds the kernel leaves: its tiles, or each CTA's columns of them, where results leave through staging buffers.
pub(super) fn fold_parts(problem: &Problem, schedule: &WgmmaSchedule, surround: &mut dyn Surround) -> Option<u32> {
    let stages = epilogue::stages(problem, schedule, surround);
    stages.then(|| problem.n.div_ceil(schedule.extent().1 as usize) as u32 * schedule.along.1 * schedule.split)
}
