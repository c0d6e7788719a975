//! The pipeline on `tcgen05`: warp-specialised persistent kernels for sm_100 and sm_103.
//!
//! ```text
//!  warp 4, one thread: for each tile of this CTA, for each round of 128 bytes of k
//!     wait empty[s] | expect bytes on full[s] | copy boxes of A and B to stage s
//!
//!  stage s of the ring, in shared memory             staging buffers of a warp
//!  +-------------------+------------------------+   +------------------------+
//!  | A  128 rows x 128  | B  tile.n rows x 128    |   | 32 rows x 128 bytes, 2 x |    all swizzled by 128 bytes
//!  +-------------------+------------------------+   +------------------------+
//!
//!  warp 5, one thread: for each tile
//!     wait free[a] | for each round: wait full[s], multiply 4 x 32 bytes of k, commit to empty[s] | commit to ready[a]
//!
//!  tensor memory: 128 lanes of 32-bit columns, two accumulators
//!                  0 .. tile.n - 1              tile.n .. 2 tile.n - 1
//!  lanes  0..31   +--------------------------+--------------------------+   warp 0
//!  lanes 32..63   | accumulator 0            | accumulator 1            |   warp 1
//!  lanes 64..95   |  lane = row of the tile  |                          |   warp 2
//!  lanes 96..127  |  column = its column     |                          |   warp 3
//!                 +--------------------------+--------------------------+
//!
//!  warps 0 to 3: for each tile
//!     wait ready[a] | sums of 32 rows to registers, a row per thread, arrive on free[a] | region | staging buffer | memory
//! ```
//!
//! Several products of one left factor are one to the instruction: a stage holds a tile of each right factor, one after
//! the other, and an accumulator the columns of the first product, then of the next.
//!
//! Where an operand is no boxes of a tensor map, warps 6 and up carry it, and have the copy engine bring the other one: see
//! `carried`. Warp 4 has nothing to do then.
//!
//! Where factors have scales of whole rounds, an accumulator is a round's: warps 0 to 3 load its sums, multiply them by the
//! factors that warps 6 and 7 have laid beside it (see `group_scales`), and add them to the tile's in registers, which go to
//! columns of their own after the last round, and leave from there as all do.
//!
//! Other sums never occupy registers while they grow, so two threads keep the tensor cores busy, and a tile is finished while the
//! next one is multiplied: `free` and `ready` are a ring of two stages like the one of operands.
//!
//! Tiles are walked over at a fixed distance, or taken over from CTAs that have not begun: see `takeover`.
//!
//! Two CTAs of a cluster may share a tile of 256 rows. Each brings 128 rows of A and half of the columns of B, and has the
//! sums of its rows; so each column is read from shared memory once for 256 rows:
//!
//! ```text
//!              CTA 0, which leads                           CTA 1
//!  producer    waits its empty[s], brings A 0..127,         waits its empty[s], brings A 128..255,
//!              B 0 .. n/2 - 1; full[s] of CTA 0 expects     B n/2 .. n - 1; counted on full[s] of CTA 0
//!              the bytes of both
//!  multiplier  waits full[s], begins products of both,      (allocates tensor memory)
//!              commits to empty[s], ready[a] of both
//!  finishers   wait ready[a], arrive on free[a] of CTA 0    wait ready[a], arrive on free[a] of CTA 0
//! ```

mod epilogue;
pub mod rule;
mod scale_columns;
pub mod schedule;

use super::MapParameter;
use super::block_scaled::BlockScaled;
use super::boxes::SPAN;
use super::carried::{self, Carriers};
use super::cta::{Pair, Walk};
use super::group_scales::{self, GroupScaler, GroupScales, Slots};
use super::groups::Groups;
use super::operands::{self, Bringing, Operands, STEP};
use super::problem::{ContractionError, Major, Problem, Side};
use super::ring::{Position, Ring, Scope};
use super::scaler::Scaler;
use super::schedule::{Schedule, WARP};
use super::surround::Surround;
use super::takeover::{self, SLOT_BYTES, Takeover};
use super::widening::Widening;
use epilogue::Epilogue;
use gable_ptx::meaning::{Collector, TensorKind, TensorMultiply};
use gable_ptx::{B32, Feature, KernelBuilder, Offset, Pred, R, Src, Target, Tcgen05Operand};
use gable_tensor::DType;
use scale_columns::ScaleColumns;
use schedule::{CARRIER_THREADS, FINISHERS, FIRST_SCALER, MULTIPLIER, PRODUCER, ROWS, Tcgen05Schedule};

/// How descriptors of shared memory say that rows are swizzled by 128 bytes, and their version in bits 46 to 48.
const SWIZZLED: u64 = 2 << 61 | 1 << 46;

/// Writes the kernel's body. Gives the tensor maps that it takes as further parameters, in order.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &Tcgen05Schedule,
    surround: &mut dyn Surround,
) -> Result<Vec<MapParameter>, ContractionError> {
    Schedule::Tcgen05(*schedule).validate(problem, k.target())?;
    k.required_threads(schedule.threads(), 1, 1);
    k.min_ctas_per_sm(1);
    let is_pair = schedule.ctas_per_tile == 2;
    if is_pair {
        k.required_cluster(2, 1, 1);
    }

    let operands = Operands::new(k, problem, Bringing::all(schedule.brought()), schedule)?;
    let epilogue = Epilogue::new(k, problem, schedule, surround);
    let mut maps = operands.parameters();
    maps.extend(epilogue.parameters());

    let thread = k.tid_x();
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let memory = k.dynamic_shared(1024);
    let data = k.address_of_shared(&memory);
    let [barriers, accumulator_barriers, scale_barriers, arrival_barriers, answer_slots, address] =
        schedule.tail().map(|bytes| k.add_u32(data, bytes));
    let scope = if is_pair { Scope::Pair } else { Scope::Cta };
    let ring = Ring { stages: schedule.stages, stage_bytes: schedule.stage_bytes(), data, barriers, scope };

    let multiplies = k.setp_eq_u32(warp, MULTIPLIER);
    k.if_(multiplies, |k| {
        if is_pair {
            k.tcgen05_alloc_cta_group_2(address.at(0), schedule.tensor_columns());
            k.tcgen05_relinquish_alloc_permit_cta_group_2();
        } else {
            k.tcgen05_alloc(address.at(0), schedule.tensor_columns());
            k.tcgen05_relinquish_alloc_permit();
        }
    });
    let tensor = k.fresh();
    let accumulators = Ring {
        stages: schedule.accumulators,
        stage_bytes: schedule.columns(),
        data: tensor,
        barriers: accumulator_barriers,
        scope,
    };
    let carriers = schedule.carriers * CARRIER_THREADS;
    let scaled = BlockScaled::of(problem);
    let scalers = if scaled.is_some() { schedule.ctas_per_tile * schedule.scalers() } else { 0 };
    let promoted = GroupScales::of(problem, schedule.tile).filter(|_| schedule.promotes()).map(|scales| {
        let (first, stride) = schedule.factors();
        (scales, Slots { first: k.add_u32(data, first), stride })
    });
    let factor_writers = if promoted.is_some() { schedule.scalers() } else { 0 };
    // Codes of fewer bits than a byte arrive, and are then changed by the warps that bring scales.
    let arrivals = scaled.as_ref().filter(|scaled| scaled.short(false).next().is_some()).map(|_| Ring {
        barriers: arrival_barriers,
        scope: Scope::Cta,
        ..ring
    });
    let writers = match (carriers, &arrivals) {
        (0, None) => 1 + scalers,
        (0, Some(_)) => scalers,
        _ => carried::writers(&operands, carriers),
    };
    // Only this CTA's own thread waits for columns of scales.
    let scale_rounds = scaled.as_ref().map(|_| Ring {
        stages: schedule.scale_rounds(),
        stage_bytes: schedule.scale_columns(),
        data: k.fresh(),
        barriers: scale_barriers,
        scope: Scope::Cta,
    });
    let answers = schedule.takes_over.then(|| {
        let barriers = k.add_u32(answer_slots, SLOT_BYTES);
        takeover::ring(answer_slots, barriers, scope)
    });
    let first_thread = k.setp_eq_u32(thread, 0);
    k.if_(first_thread, |k| {
        if let Some(answers) = &answers {
            // Who brings, who finishes and who brings scales, of each CTA, and who multiplies.
            answers.init(k, 1, schedule.ctas_per_tile * (1 + FINISHERS) + scalers + factor_writers + 1);
        }
        ring.init(k, writers, 1);
        accumulators.init(k, 1 + factor_writers, schedule.ctas_per_tile * FINISHERS);
        for ring in scale_rounds.iter().chain(&arrivals) {
            ring.init(k, 1, 1);
        }
    });
    let ends = k.add_u32(data, schedule.shared_bytes());
    let groups = Groups::read(k, problem, ends, (thread, schedule.threads()), surround)?;
    meet(k, is_pair);
    k.set(tensor).ld_shared_b32(address.at(0));
    if let Some(rounds) = &scale_rounds {
        k.set(rounds.data).add_u32(tensor, schedule.sum_columns());
    }

    let Tcgen05Schedule { group, ctas, .. } = *schedule;
    let mut walk = if is_pair {
        Walk::paired(k, schedule.extent(), group, ctas)
    } else {
        Walk::alone(k, schedule.extent(), group, ctas)
    };
    // Each warp walks over the tiles once, in one part.
    walk.search = groups.map(|groups| groups.search(k));
    let (_, elected) = k.elect_sync(-1);
    walk.takeover = answers.map(|answers| Takeover::of_warps(k, answers, schedule.ctas_per_tile, elected));
    if carriers == 0 {
        let produces = k.setp_eq_u32(warp, PRODUCER);
        let brings = k.and_pred(produces, elected);
        k.if_(brings, |k| -> Result<(), ContractionError> {
            let walk = Walk { takeover: walk.takeover.map(|takeover| takeover.asking(k)), ..walk };
            let at = operands.bring_apart(k, problem, (&ring, arrivals.as_ref()), schedule.tile.k, &walk)?;
            wait_for_all(k, &ring, at);
            Ok(())
        })?;
    } else {
        let carries = k.setp_gt_u32(warp, MULTIPLIER);
        k.if_(carries, |k| -> Result<(), ContractionError> {
            let carriers = Carriers { thread: k.sub_u32(thread, (MULTIPLIER + 1) * WARP), threads: carriers };
            let at = carried::carry_all(k, problem, &ring, &operands, schedule.tile, &walk, &carriers, surround)?;
            wait_for_all(k, &ring, at);
            Ok(())
        })?;
    }
    let begins = k.and_pred(multiplies, elected);
    let begins = walk.pair.iter().fold(begins, |begins, pair: &Pair| k.and_pred(begins, pair.leads));
    let multiplier = Multiplier {
        ring: &ring,
        accumulators: &accumulators,
        operands: &operands,
        walk: &Walk { takeover: walk.takeover.map(Takeover::alone), ..walk },
        scales: scaled.as_ref().zip(scale_rounds.as_ref()),
    };
    k.if_(begins, |k| multiplier.run(k, problem, schedule))?;
    if let Some(scaled) = &scaled {
        let scales = k.setp_ge_u32(warp, FIRST_SCALER);
        k.if_(scales, |k| {
            let scaler = Scaler {
                columns: schedule.tile.n,
                tile_k: schedule.tile.k,
                operand_bytes: schedule.operand_bytes(),
                thread: k.sub_u32(thread, FIRST_SCALER * WARP),
                elected,
                widening: arrivals
                    .as_ref()
                    .map(|arrivals| Widening::of(scaled.short(false), arrivals, schedule.brought())),
            };
            scaler.run(k, problem, scaled, &ring, &walk, surround)
        })?;
    }
    if let Some((scales, slots)) = &promoted {
        let brings = k.setp_ge_u32(warp, FIRST_SCALER);
        k.if_(brings, |k| {
            let thread = k.sub_u32(thread, FIRST_SCALER * WARP);
            let scaler = GroupScaler { thread, threads: schedule.scalers() * WARP, elected, slots: *slots };
            scaler.run(k, problem, scales, &accumulators, &walk, surround)
        })?;
    }
    let finishes = k.setp_lt_u32(warp, FINISHERS);
    k.if_(finishes, |k| {
        let lane = k.and_b32(thread, WARP - 1);
        let bytes = schedule.warp_staging_bytes();
        let staging = k.mad_lo_u32(warp, bytes, data);
        let staging = k.add_u32(staging, schedule.ring_bytes());
        let promoted = promoted.as_ref().map(|(scales, slots)| epilogue::factors(k, schedule, scales, *slots, thread));
        let finisher = epilogue::Finisher { warp, lane, elected, staging, promoted };
        epilogue.run(k, problem, schedule, &finisher, &accumulators, &walk, surround)
    })?;

    // All sums have been read when the tensor memory is freed, and nothing of a pair reaches for a CTA that has ended.
    meet(k, is_pair);
    k.if_(multiplies, |k| {
        if is_pair {
            k.tcgen05_dealloc_cta_group_2(tensor, schedule.tensor_columns());
        } else {
            k.tcgen05_dealloc(tensor, schedule.tensor_columns());
        }
    });
    k.exit();
    Ok(maps)
}

/// All threads of the CTA, or of the pair, meet, and know what each did in tensor memory.
fn meet(k: &mut KernelBuilder, is_pair: bool) {
    k.bar_warp_sync(-1);
    k.tcgen05_fence_before_thread_sync();
    if is_pair {
        k.cluster_arrive();
        k.cluster_wait();
    } else {
        k.bar_sync(0u32);
    }
    k.tcgen05_fence_after_thread_sync();
}

/// Waits until all that was brought has been read: the tensor cores arrive on the barriers, which must be there until then.
fn wait_for_all(k: &mut KernelBuilder, ring: &Ring, at: Position) {
    for _ in 0..ring.stages {
        ring.wait_empty(k, at);
        ring.advance(k, at);
    }
}

/// The thread that begins all products, of one tile after the other: those of both CTAs of a pair.
struct Multiplier<'a> {
    ring: &'a Ring,
    accumulators: &'a Ring,
    operands: &'a Operands,
    walk: &'a Walk,
    /// Block scales, and the rounds of them that tensor memory holds.
    scales: Option<(&'a BlockScaled, &'a Ring)>,
}

impl Multiplier<'_> {
    fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &Tcgen05Schedule,
    ) -> Result<(), ContractionError> {
        let Multiplier { ring, accumulators, operands, walk, scales } = *self;
        let (multiply, instruction) = instruction(problem, schedule, k.target())?;
        let descriptors = operands.descriptors(k, SWIZZLED, ring.data, ring.data);
        let (at, sums_at) = (ring.first_to_read(k), accumulators.first_to_fill(k));
        let scales =
            scales.map(|(scaled, rounds)| (ScaleColumns { scaled, schedule }, rounds, rounds.first_to_fill(k)));
        let both = walk.pair.is_some().then(|| k.mov_b16(0b11));
        let commit = |k: &mut KernelBuilder, barrier: Offset<B32>| match both {
            Some(ctas) => k.tcgen05_commit_multicast_cta_group_2(barrier, ctas),
            None => k.tcgen05_commit(barrier),
        };
        // An accumulator is a tile's, or a round's.
        let begin = |k: &mut KernelBuilder| {
            let ready = accumulators.wait_empty(k, sums_at);
            k.tcgen05_fence_after_thread_sync();
            (ready, accumulators.stage(k, sums_at))
        };
        let end = |k: &mut KernelBuilder, ready: R<B32>| {
            commit(k, ready.at(0));
            accumulators.advance(k, sums_at);
        };
        walk.for_each(k, problem, |k, _| {
            let of_tile = (!schedule.promotes()).then(|| begin(k));
            k.for_u32(0, problem.rounds(schedule.tile.k), 1, |k, round| -> Result<(), ContractionError> {
                let (ready, sums) = of_tile.unwrap_or_else(|| begin(k));
                // The products that read the columns of scales before are over.
                let columns = scales.as_ref().map(|(_, rounds, scales_at)| {
                    rounds.wait_empty(k, *scales_at);
                    rounds.stage(k, *scales_at)
                });
                ring.wait_full(k, at);
                k.tcgen05_fence_after_thread_sync();
                let scales = scales.as_ref().zip(columns);
                if let Some(((scales, ..), columns)) = scales {
                    let stage = ring.stage(k, at);
                    scales.copy(k, stage, columns)?;
                }
                let (a, b) = descriptors.of_stage(k, at.stage, ring.stage_bytes);
                // The first product of an accumulator does not add to what it held.
                let adds: Src<Pred> = if of_tile.is_some() { k.setp_ne_u32(round, 0).into() } else { false.into() };
                for step in 0..SPAN / STEP {
                    let left = Tcgen05Operand::Descriptor(descriptors.left(k, a, step, 0));
                    let right = descriptors.right(k, b, step);
                    let of_step = scales.map(|((scales, ..), columns)| scales.of_step(k, columns, step));
                    let bits = scales.map_or(0, |((scales, ..), _)| scales.descriptor(step));
                    if step == 0 {
                        k.tcgen05_mma(multiply, sums, left, right, instruction | bits, of_step, adds)?;
                    } else {
                        k.tcgen05_mma(multiply, sums, left, right, instruction | bits, of_step, true)?;
                    }
                }
                let full = ring.full(k, at);
                commit(k, full.at(ring.empty_offset()));
                ring.advance(k, at);
                if let Some(((_, rounds, scales_at), _)) = scales {
                    let columns = rounds.full(k, *scales_at).at(rounds.empty_offset());
                    match both {
                        Some(_) => k.tcgen05_commit_cta_group_2(columns),
                        None => k.tcgen05_commit(columns),
                    }
                    rounds.advance(k, *scales_at);
                }
                if of_tile.is_none() {
                    end(k, ready);
                }
                Ok(())
            })?;
            if let Some((ready, _)) = of_tile {
                end(k, ready);
            }
            Ok(())
        })
    }
}

/// The kind of the multiply of an element type, the type's code in instruction descriptors, and that of the sums.
fn factors(element: DType, target: Target) -> Result<(TensorKind, u32, u32), ContractionError> {
    const F32: u32 = 1;
    const S32: u32 = 2;
    Ok(match element {
        DType::F16 => (TensorKind::F16, 0, F32),
        DType::BF16 => (TensorKind::F16, 1, F32),
        DType::Tf32 => (TensorKind::Tf32, 2, F32),
        DType::E4M3 => (TensorKind::F8f6f4, 0, F32),
        DType::E5M2 => (TensorKind::F8f6f4, 1, F32),
        DType::U8 if target.has(Feature::Tcgen05Int8) => (TensorKind::I8, 0, S32),
        DType::I8 if target.has(Feature::Tcgen05Int8) => (TensorKind::I8, 1, S32),
        other => return Err(ContractionError::Type(other)),
    })
}

/// The instruction, and its descriptor: bits 4-5 the type of sums, 7-9 and 10-12 those of the factors, 15 and 16 whether they
/// are read across rows, 17-22 eighths of the columns, 24-28 sixteenths of the rows.
fn instruction(
    problem: &Problem,
    schedule: &Tcgen05Schedule,
    target: Target,
) -> Result<(TensorMultiply, u32), ContractionError> {
    let (kind, codes, sums) = match BlockScaled::of(problem) {
        // Sums of scaled products are always of f32, and these bits mean something else.
        Some(scaled) => {
            let (kind, codes) = scale_columns::kind(&scaled);
            (kind, codes, 0)
        }
        None => {
            let (kind, code, sums) = factors(problem.element, target)?;
            (kind, [code; 2], sums)
        }
    };
    let across = |side| u32::from(operands::major(problem, side) == Major::Outer);
    let descriptor = sums << 4
        | codes[0] << 7
        | codes[1] << 10
        | across(Side::A) << 15
        | across(Side::B) << 16
        | (schedule.columns() / 8) << 17
        | (schedule.tile.m / 16) << 24;
    let cta_pair = schedule.ctas_per_tile == 2;
    let multiply = TensorMultiply { kind, cta_pair, a_in_tensor_memory: false, collector: Collector::Default };
    Ok((multiply, descriptor))
}

/// Whether the problem's scales are factors of the sums of whole rounds.
fn promotes(problem: &Problem, target: Target) -> bool {
    let is_float8 = matches!(problem.element, DType::E4M3 | DType::E5M2) && factors(problem.element, target).is_ok();
    is_float8 && problem.scaled.is_some() && BlockScaled::of(problem).is_none() && group_scales::suits(problem, SPAN)
}

/// Whether `tcgen05` multiplies the problem here: all operands are boxes of a tensor map, or threads
/// can carry them.
pub(super) fn suits(problem: &Problem, target: Target) -> bool {
    problem.k > 0
        && target.has(Feature::Tcgen05)
        && match problem.scaled {
            Some(_) => {
                (BlockScaled::of(problem).is_some() || promotes(problem, target))
                    && operands::are_boxes(problem, (ROWS, ROWS))
            }
            None => factors(problem.element, target).is_ok() && operands::suit(problem, (ROWS, ROWS)),
        }
}

/// Sums of a row, of all products, that a thread has registers for beside what it computes of them.
const MOST_TOGETHER: u32 = 128;

/// Whether a thread has whole blocks of the columns that it finishes, and results leave through staging buffers.
pub(super) fn folds_blocks(problem: &Problem, schedule: &Tcgen05Schedule, surround: &mut dyn Surround) -> bool {
    let block = surround.share_blocks(1);
    schedule.tile.n.is_multiple_of(block)
        && block * schedule.products <= MOST_TOGETHER
        && epilogue::stages(problem, schedule, surround)
}

/// Parts of the columns whose folds the kernel leaves: its tiles.
pub(super) fn fold_parts(problem: &Problem, schedule: &Tcgen05Schedule) -> u32 {
    problem.n.div_ceil(schedule.tile.n as usize) as u32
}

/// A register that holds an address of tensor memory.
type TensorAddress = R<B32>;
