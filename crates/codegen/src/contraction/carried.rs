//! Operands that are no boxes of a tensor map, brought to the stages of a ring by threads: rows at any element, padded images,
//! converted elements, and what the region computes.
//!
//! ```text
//!  each thread, for each tile of the CTA, for each few rounds
//!     load or compute its chunks of 16 bytes of these rounds
//!     for each of them:  wait empty[s] | one thread: expect and copy what is boxes | store chunks, swizzled as boxes are
//!                        | make the stores visible to the tensor cores | each warp: arrive on full[s]
//! ```
//!
//! Chunks that memory holds as they are go past registers, by `cp.async`. Those of a few rounds are under way at once: a
//! warp arrives on a stage so many rounds after it has asked for it, when its copies are there.
//!
//! In: the walk of the CTA over its tiles, which is that of the consumers. Out: stages laid out as `operands` says. What is
//! outside the problem is zero along k; rows and columns outside may hold anything, because their sums are not stored.

use super::boxes::SPAN;
use super::cta::{TilePlace, Walk};
use super::gather::{Gather, GatherTile};
use super::narrow::{self, Loads, Narrow};
use super::operands::{self, Factor, Operands, ROWS, major};
use super::problem::{ContractionError, Major, Operand, Problem, Side};
use super::ring::{Position, Ring};
use super::schedule::{Tile, WARP};
use super::surround::Surround;
use super::tile::{CHUNK, PERIOD, Share, SharedTile};
use super::values::{Chunk, scalar_type};
use gable_ptx::{B32, KernelBuilder, Pred, R, ScalarType};
use gable_tensor::DType;
use std::fmt;

/// Rounds whose copies past registers are under way at most.
const MOST_LAG: u32 = 3;

/// Registers of a thread for chunks on their way: of so many carrying threads in all.
const CHUNK_REGISTERS: u32 = 64 * 128;

/// Whether threads can bring an operand: its elements are 16 bits, or 32 of tf32.
pub(super) fn suits(problem: &Problem, side: Side) -> bool {
    let is_known = match problem.operand(side) {
        Operand::Memory(memory) => scalar_type(memory.stored).is_ok(),
        // The region does not compute with the type of such scales.
        Operand::Expression { .. } if narrow::unpacked(problem, side).is_some() => true,
        Operand::Expression { .. } => {
            let scales = problem.quantised.as_ref().and_then(|quantised| quantised.scales.as_ref());
            side == Side::A || scales.is_none_or(|scales| scales.stored != DType::UE8M0)
        }
    };
    is_known && matches!(problem.element, DType::F16 | DType::BF16 | DType::Tf32)
}

/// Whether so many threads can share what is carried of a tile: they take as many chunks or loads each, or some take one.
fn divides(problem: &Problem, tile: Tile, threads: u32) -> bool {
    [(Side::A, tile.m), (Side::B, tile.n)].into_iter().filter(|&(side, _)| operands::is_carried(problem, side)).all(
        |(side, outer)| {
            let per_row = narrow::unpacked(problem, side)
                .map_or(SPAN / CHUNK, |quantised| tile.k / narrow::load_elements(quantised));
            let pieces = part_outer(outer) * per_row;
            pieces < threads || pieces.is_multiple_of(threads)
        },
    )
}

/// Refuses a number of carriers, of so many threads each, that does not go with the problem's operands, by the name of the
/// schedule. Says whether any operand is carried.
pub(super) fn require(
    problem: &Problem,
    schedule: &dyn fmt::Display,
    tile: Tile,
    (carriers, threads_each): (u32, u32),
) -> Result<bool, ContractionError> {
    let refuse = |what, found: u32, expected: &str| {
        let (schedule, expected) = (schedule.to_string(), expected.into());
        Err(ContractionError::Schedule { schedule, what, found: found.into(), expected })
    };
    let carries = operands::any_carried(problem);
    if carries != (carriers > 0) || carriers > 2 {
        let expected =
            if carries { "1 or 2: threads carry an operand" } else { "0: the copy engine brings all operands" };
        return refuse("carriers", carriers, expected);
    }
    let threads = carriers * threads_each;
    if carries && !divides(problem, tile, threads) {
        return refuse("threads that carry", threads, "a divisor of the chunks of both tiles, or more than there are");
    }
    Ok(carries)
}

/// The threads that carry.
pub(super) struct Carriers {
    /// Which of them.
    pub thread: R<B32>,
    /// How many.
    pub threads: u32,
}

/// Arrivals that fill a stage: one for each carrying warp, and one for the bytes of what is copied.
pub(super) fn writers(operands: &Operands, threads: u32) -> u32 {
    threads / WARP + u32::from(operands.copied_bytes() > 0)
}

/// One thread's way of bringing an operand's tile.
struct Carried {
    /// Of at most 64 outer indices each, one after the other.
    parts: Vec<Piece>,
    /// Registers that the chunks of a part take on their way.
    part_registers: u32,
    /// Whether its chunks go past registers.
    is_async: bool,
}

/// Some outer indices of a tile: brought as they are or as the region gives them, or unpacked.
enum Piece {
    Gathered(Part),
    Narrow(Narrow),
}

/// What was loaded of them.
enum Fetched {
    Chunks(Vec<Chunk>),
    Narrow(Loads),
}

impl Piece {
    fn fetch(
        &self,
        k: &mut KernelBuilder,
        k0: R<B32>,
        element: ScalarType,
        surround: &mut dyn Surround,
    ) -> Result<Fetched, ContractionError> {
        Ok(match self {
            Piece::Gathered(part) => Fetched::Chunks(part.fetch(k, k0, element, surround)?),
            Piece::Narrow(narrow) => Fetched::Narrow(narrow.fetch(k, k0)?),
        })
    }

    fn land(
        &self,
        k: &mut KernelBuilder,
        fetched: &Fetched,
        stage: R<B32>,
        element: ScalarType,
    ) -> Result<(), ContractionError> {
        match (self, fetched) {
            (Piece::Gathered(part), Fetched::Chunks(chunks)) => part.land(k, chunks, stage, element),
            (Piece::Narrow(narrow), Fetched::Narrow(loads)) => narrow.land(k, loads, stage),
            _ => unreachable!("what a piece fetched is its own"),
        }
    }
}

/// Some outer indices that are gathered.
struct Part {
    gather: Gather,
    /// Byte of the stage where the thread's first chunk goes.
    write: R<B32>,
    /// Whether the region computes it.
    is_computed: bool,
}

impl Carried {
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        operands: &Operands,
        factor: &Factor,
        tile: Tile,
        place: &TilePlace,
        carriers: &Carriers,
        surround: &mut dyn Surround,
    ) -> Result<Carried, ContractionError> {
        let elements = CHUNK / problem.element.bytes() as u32;
        let origin = if factor.side == Side::A { place.row } else { place.column };
        let outer = part_outer(factor.outer);
        let rows = if factor.major == Major::K { outer } else { tile.k };
        let is_computed = matches!(problem.operand(factor.side), Operand::Expression { .. });
        let mut parts = Vec::new();
        for number in 0..factor.outer / outer {
            let origin = k.add_u32(origin, number * outer);
            let start = operands.start(factor.side) + number * outer * SPAN;
            if let Some(quantised) = narrow::unpacked(problem, factor.side) {
                let (columns, carrier) = ((origin, (outer, factor.outer), tile.k), (carriers.thread, carriers.threads));
                let narrow = Narrow::new(k, problem, quantised, place, columns, carrier, start, surround)?;
                parts.push(Piece::Narrow(narrow));
                continue;
            }
            let shared = SharedTile { rows, row_bytes: SPAN };
            let share = Share::of(k, carriers.thread, rows, shared.chunks(), carriers.threads);
            assert!(share.count == 1 || share.row_step.is_multiple_of(PERIOD), "a thread's chunks share a swizzle");
            let described = GatherTile {
                problem,
                side: factor.side,
                major: factor.major,
                elements,
                origin,
                step: factor.outer,
                k: tile.k,
                batch: &place.batch,
            };
            let gather = Gather::new(k, described, share, surround)?;
            let (row, column) = gather.first();
            let write = shared.offset(k, row, column);
            let write = k.add_u32(write, start);
            parts.push(Piece::Gathered(Part { gather, write, is_computed }));
        }
        let is_async = copies(problem, factor.side);
        let part_registers = chunk_registers(problem, factor.side) * part_chunks(factor.outer, carriers.threads);
        Ok(Carried { parts, part_registers, is_async })
    }

    /// Starts copies of the round at `k0` to a stage.
    fn copy(&self, k: &mut KernelBuilder, k0: R<B32>, stage: R<B32>) {
        for part in &self.parts {
            let Piece::Gathered(part) = part else { continue };
            let to = k.add_u32(stage, part.write);
            part.gather.copy(k, k0, to, part.gather.row_step() * SPAN);
        }
    }
}

impl Part {
    /// Loads the round at `k0`, or computes it, into registers.
    fn fetch(
        &self,
        k: &mut KernelBuilder,
        k0: R<B32>,
        element: ScalarType,
        surround: &mut dyn Surround,
    ) -> Result<Vec<Chunk>, ContractionError> {
        let mut chunks = self.gather.fetch(k, k0, surround)?;
        if self.is_computed {
            // There is nothing to wait for any more: fewer registers wait for the stage.
            for chunk in &mut chunks {
                let words = chunk.words(k, element)?;
                *chunk = Chunk { ty: ScalarType::B32, registers: words.iter().map(|word| word.reg()).collect() };
            }
        }
        Ok(chunks)
    }

    /// Stores what was fetched to a stage.
    fn land(
        &self,
        k: &mut KernelBuilder,
        chunks: &[Chunk],
        stage: R<B32>,
        element: ScalarType,
    ) -> Result<(), ContractionError> {
        let to = k.add_u32(stage, self.write);
        for (i, chunk) in (0..).zip(chunks) {
            let words = chunk.words(k, element)?;
            let at = i * self.gather.row_step() * SPAN;
            let [x, y, z, w] = words[..] else { unreachable!("a chunk is sixteen bytes") };
            self.gather.land(k, |k| k.st_shared_v4_b32(to.at(at as i32), [x, y, z, w]));
        }
        Ok(())
    }
}

/// Outer indices of a part of a tile of `outer`: all where there are few, or where they are no multiple of a part.
fn part_outer(outer: u32) -> u32 {
    if outer.is_multiple_of(ROWS) { ROWS } else { outer }
}

/// Chunks of a part that one of the threads brings.
fn part_chunks(outer: u32, threads: u32) -> u32 {
    (part_outer(outer) * SPAN / CHUNK).div_ceil(threads)
}

/// Registers that a chunk takes on its way.
fn chunk_registers(problem: &Problem, side: Side) -> u32 {
    let elements = CHUNK as usize / problem.element.bytes();
    if let Some(quantised) = narrow::unpacked(problem, side) {
        return narrow::chunk_registers(quantised);
    }
    let registers = match problem.operand(side) {
        // Its words, and what they are computed from.
        Operand::Expression { .. } => 8,
        Operand::Memory(memory) if memory.stored == problem.element && loads(problem, side) < elements => 4,
        Operand::Memory(memory) => elements * memory.stored.bytes().div_ceil(4),
    };
    registers as u32
}

/// Loads of a chunk: vectors that lie together in memory along the direction of the stage.
fn loads(problem: &Problem, side: Side) -> usize {
    let elements = CHUNK as usize / problem.element.bytes();
    let (along, lanes) = problem.operand(side).vector();
    if along == major(problem, side) { elements / lanes.min(elements) } else { elements }
}

/// Cycles from the loads of a round to the next ones, beside the slots that they take: with this the times of converted and
/// gathered left factors at 4096^3 and of 8-bit weights came out within a fifth (H200, 2026-11-21).
const LATENCY_CYCLES: f64 = 1500.0;

/// Registers that one round's chunks of a tile take in a thread.
fn round_registers(problem: &Problem, tile: Tile, threads: u32) -> u32 {
    let of = |side, outer: u32| {
        let parts = outer / part_outer(outer);
        parts * part_chunks(outer, threads) * chunk_registers(problem, side)
    };
    let sides = [(Side::A, tile.m), (Side::B, tile.n)].into_iter();
    let held = sides.filter(|&(side, _)| operands::is_carried(problem, side) && !copies(problem, side));
    held.map(|(side, outer)| of(side, outer)).sum()
}

/// Rounds whose chunks are in registers at once.
fn rounds_together(problem: &Problem, tile: Tile, threads: u32) -> u32 {
    (CHUNK_REGISTERS / threads).checked_div(round_registers(problem, tile, threads)).unwrap_or(1).clamp(1, 2)
}

/// Issue slots of a warp that bringing 32 chunks of an operand takes: estimates.
pub(super) fn chunk_cycles(problem: &Problem, side: Side) -> f64 {
    match problem.operand(side) {
        _ if copies(problem, side) => 12.0,
        _ if narrow::unpacked(problem, side).is_some() => 40.0,
        Operand::Memory(_) => 8.0 + 12.0 * loads(problem, side) as f64,
        Operand::Expression { .. } => 8.0 + 40.0 * loads(problem, side) as f64,
    }
}

/// Cycles that carrying one round of a tile takes; none where the copy engine brings both operands. A schedule multiplies
/// rounds no faster than that.
pub(super) fn round_cycles(problem: &Problem, tile: Tile, threads: u32) -> f64 {
    if threads == 0 {
        return 0.0;
    }
    let sides = [(Side::A, tile.m), (Side::B, tile.n)];
    let mut issue = 0.0;
    let mut waits = false;
    for (side, outer) in sides.into_iter().filter(|&(side, _)| operands::is_carried(problem, side)) {
        let chunks = f64::from((outer * SPAN / CHUNK).div_ceil(ISSUERS * WARP));
        issue += chunks * chunk_cycles(problem, side);
        waits |= !copies(problem, side);
    }
    // Loads are waited for once for each time that the registers are full; what is left over lands while others do.
    let fills =
        (f64::from(round_registers(problem, tile, threads)) * f64::from(threads) / f64::from(CHUNK_REGISTERS)).max(1.0);
    let together = f64::from(rounds_together(problem, tile, threads) * threads.div_ceil(ISSUERS * WARP));
    issue + if waits { LATENCY_CYCLES * fills / together } else { 0.0 }
}

/// Warps that a multiprocessor issues from in one cycle.
const ISSUERS: u32 = 4;

/// The arrivals of a carrying warp, some rounds after it has asked for a stage.
struct Arrivals {
    /// Rounds between asking and arriving.
    lag: u32,
    /// The stage that is arrived on next.
    due: Position,
    /// Rounds that were asked for and not arrived on, at most `lag`.
    under_way: R<B32>,
    /// Whether the thread arrives for its warp.
    speaks: R<Pred>,
}

impl Arrivals {
    /// Makes what is there visible to the tensor cores, and says so.
    fn arrive(&self, k: &mut KernelBuilder, ring: &Ring, stage: Position) {
        k.fence_proxy_async_shared_cta();
        k.bar_warp_sync(-1);
        let full = ring.full(k, stage);
        k.when(self.speaks, |k| k.mbarrier_arrive(full.at(0)));
    }

    /// After everything of the round for `at` has been stored or asked for.
    fn after_round(&self, k: &mut KernelBuilder, ring: &Ring, at: Position) {
        if self.lag == 0 {
            self.arrive(k, ring, at);
            return;
        }
        k.cp_async_commit_group();
        let is_due = k.setp_ge_u32(self.under_way, self.lag);
        k.if_else(
            is_due,
            |k| {
                k.cp_async_wait_group(self.lag);
                self.arrive(k, ring, self.due);
                ring.advance(k, self.due);
            },
            |k| k.set(self.under_way).add_u32(self.under_way, 1),
        );
    }

    /// After the last round.
    fn drain(&self, k: &mut KernelBuilder, ring: &Ring) {
        if self.lag == 0 {
            return;
        }
        k.cp_async_wait_all();
        k.fence_proxy_async_shared_cta();
        k.bar_warp_sync(-1);
        for number in 0..self.lag {
            let is_due = k.setp_gt_u32(self.under_way, number);
            let arrives = k.and_pred(is_due, self.speaks);
            let full = ring.full(k, self.due);
            k.when(arrives, |k| k.mbarrier_arrive(full.at(0)));
            ring.advance(k, self.due);
        }
    }
}

/// Brings every round of every tile of the CTA as stages become empty, by all carrying threads. Gives where they stand on the
/// ring afterwards.
#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
pub(super) fn carry_all(
    k: &mut KernelBuilder,
    problem: &Problem,
    ring: &Ring,
    operands: &Operands,
    tile: Tile,
    walk: &Walk,
    carriers: &Carriers,
    surround: &mut dyn Surround,
) -> Result<Position, ContractionError> {
    let element = scalar_type(problem.element)?;
    let carried: Vec<&Factor> = operands.sides.iter().filter(|one| one.copied.is_none()).collect();
    let is_async = |factor: &&Factor| copies(problem, factor.side);
    let rounds = problem.rounds(tile.k);
    let together = rounds_together(problem, tile, carriers.threads);
    let together = together.min(ring.stages).min(rounds);

    operands.prefetch_maps(k);
    let lane = k.and_b32(carriers.thread, WARP - 1);
    let arrivals = Arrivals {
        lag: if carried.iter().any(is_async) { (ring.stages - 2).clamp(1, MOST_LAG) } else { 0 },
        due: ring.first_to_fill(k),
        under_way: k.mov_b32(0),
        speaks: k.setp_eq_u32(lane, 0),
    };
    let is_first = k.setp_eq_u32(carriers.thread, 0);
    let at = ring.first_to_fill(k);
    let shares = operands.shares(k, ring.scope);
    walk.for_each(k, problem, |k, place| {
        let ways = carried
            .iter()
            .map(|factor| Carried::new(k, problem, operands, factor, tile, place, carriers, surround))
            .collect::<Result<Vec<_>, _>>()?;
        // Parts that the registers hold at once: all of them, where they hold several rounds.
        let most = ways.iter().filter(|way| !way.is_async).map(|way| way.part_registers).max().unwrap_or(1);
        let per_group =
            if together > 1 { usize::MAX } else { (CHUNK_REGISTERS / carriers.threads / most).max(1) as usize };
        let mut bring = |k: &mut KernelBuilder, k0: R<B32>, count: u32| -> Result<(), ContractionError> {
            let starts: Vec<R<B32>> = (0..count).map(|i| k.add_u32(k0, i * tile.k)).collect();
            let parts: Vec<&Piece> = ways.iter().filter(|way| !way.is_async).flat_map(|way| &way.parts).collect();
            let fetch = |k: &mut KernelBuilder, group: &[&Piece], k0: R<B32>, surround: &mut dyn Surround| {
                group.iter().map(|part| part.fetch(k, k0, element, surround)).collect::<Result<Vec<_>, _>>()
            };
            let mut groups = parts.chunks(per_group);
            let first = groups.next().unwrap_or(&[]);
            let fetched = starts.iter().map(|&k0| fetch(k, first, k0, surround)).collect::<Result<Vec<_>, _>>()?;
            for (&k0, fetched) in starts.iter().zip(&fetched) {
                let full = ring.wait_empty(k, at);
                let stage = ring.stage(k, at);
                if operands.copied_bytes() > 0 {
                    k.if_(is_first, |k| {
                        k.mbarrier_arrive_expect_tx(full.at(0), operands.copied_bytes());
                        operands.copy(k, place, k0, stage, (full, &shares))
                    })?;
                }
                ways.iter().filter(|way| way.is_async).for_each(|way| way.copy(k, k0, stage));
                first.iter().zip(fetched).try_for_each(|(part, chunks)| part.land(k, chunks, stage, element))?;
                for group in groups.by_ref() {
                    let fetched = fetch(k, group, k0, surround)?;
                    group.iter().zip(&fetched).try_for_each(|(part, chunks)| part.land(k, chunks, stage, element))?;
                }
                arrivals.after_round(k, ring, at);
                ring.advance(k, at);
            }
            Ok(())
        };
        let whole = rounds / together * together;
        k.no_unroll();
        k.for_u32(0, whole * tile.k, together * tile.k, |k, k0| bring(k, k0, together))?;
        match rounds - whole {
            0 => Ok(()),
            left => {
                let k0 = k.mov_b32(whole * tile.k);
                bring(k, k0, left)
            }
        }
    })?;
    arrivals.drain(k, ring);
    Ok(at)
}

/// Whether an operand's chunks go past registers: sixteen bytes of memory as they are.
pub(super) fn copies(problem: &Problem, side: Side) -> bool {
    let (along, lanes) = problem.operand(side).vector();
    match problem.operand(side) {
        Operand::Memory(memory) => {
            memory.stored == problem.element
                && along == major(problem, side)
                && lanes * memory.stored.bytes() == CHUNK as usize
        }
        Operand::Expression { .. } => false,
    }
}
