//! Operands of `wgmma` and `tcgen05` in shared memory: how boxes of tensor maps fill a stage, and the descriptors that
//! read it.
//!
//! ```text
//! k-major: one box of 128 bytes of k by all rows     outer-major (16-bit elements): boxes of 64 rows by 64 k
//!   row 0    k 0 ..                                     box 0        box 1
//!   row 1    k 0 ..                                     k 0  row 0 .. 63    k 0  row 64 .. 127
//!   ...      8 rows make one pattern of 1024 bytes      k 1  ...            k 1  ...
//! ```
//!
//! Either way 64 rows of the result take 8192 bytes, one after the other. The right factors of several products follow each
//! other, so that for an instruction they are one factor with all their columns. A factor that is no boxes is laid out alike
//! by threads: see `carried`.

use super::MapParameter;
use super::boxes::{Boxes, Receivers, SPAN};
use super::carried;
use super::cta::{TilePlace, Walk};
use super::narrow;
use super::neighbours::{Neighbours, Share};
use super::problem::{ContractionError, Digit, Entries, Major, Memory, Operand, Problem, Scaled, Side};
use super::ring::{Position, Ring, Scope};
use super::schedule::Tile;
use gable_ptx::{B32, B64, KernelBuilder, R};
use gable_tensor::DType;
use std::fmt;

/// Bytes of k that one instruction sums over, whatever the type.
pub(super) const STEP: u32 = 32;

/// Rows that take a block of their own in a stage.
pub(super) const ROWS: u32 = 64;

/// Most elements of a box along one dimension.
const MOST_BOX_ROWS: u32 = 256;

/// Bytes that a thread clears at once.
const CHUNK: u32 = 16;

/// Bytes of eight rows of a span, after which the swizzle repeats.
const PATTERN: u32 = 8 * SPAN;

/// One operand's tile.
pub(super) struct Factor {
    pub side: Side,
    /// Along which index neighbours lie in a stage.
    pub major: Major,
    /// Outer indices of the tile.
    pub outer: u32,
    /// How the copy engine brings it; none where threads do.
    pub copied: Option<Copied>,
}

/// An operand that the copy engine brings.
pub(super) struct Copied {
    boxes: Boxes,
    map: R<B64>,
    /// Outer indices of one box, and bytes of one box.
    per_box: (u32, u32),
    /// Outer indices that a CTA asks for.
    brought: u32,
    /// Bytes of k of each: those of a span, or a half of it where two elements that the tensor cores see as bytes share one.
    span: u32,
}

/// What of the operands' tiles a kernel brings.
#[derive(Clone, Copy)]
pub(super) struct Bringing {
    /// The CTA's tile of one round.
    pub tile: Tile,
    /// Whether rows of A that no tile has are not brought; [`Operands::clear_missing_rows`] is to be called then.
    pub short: bool,
    /// CTAs along m and along n that bring operands for each other.
    pub along: (u32, u32),
}

impl Bringing {
    /// Everything, by the CTA for itself.
    pub fn all(tile: Tile) -> Bringing {
        Bringing { tile, short: false, along: (1, 1) }
    }
}

/// All operands: the left factor, then the right one of each product.
pub(super) struct Operands {
    pub sides: Vec<Factor>,
    /// CTAs along m and along n that bring them for each other.
    along: (u32, u32),
}

/// Along which index neighbours of an operand lie in a stage: only elements of 16 bits are read across rows, and what is
/// unpacked lies along k.
pub(super) fn major(problem: &Problem, side: Side) -> Major {
    let is_read_across = problem.element.bytes() == 2 && narrow::unpacked(problem, side).is_none();
    if is_read_across { problem.operand(side).vector().0 } else { Major::K }
}

/// Outer indices of one box of an operand's tile of `outer` outer indices.
fn rows_per_box(problem: &Problem, side: Side, outer: u32, element: DType) -> u32 {
    match major(problem, side) {
        Major::K => outer.min(MOST_BOX_ROWS),
        Major::Outer => SPAN / element.bytes() as u32,
    }
}

/// The boxes of an operand, where it has some.
pub(super) fn boxes(problem: &Problem, side: Side, outer: u32, element: DType) -> Option<Boxes> {
    let Operand::Memory(memory) = problem.operand(side) else { return None };
    let rows = rows_per_box(problem, side, outer, element);
    let span = SPAN / element.bytes() as u32;
    match &problem.scaled {
        None => Boxes::of_operand(problem, memory, element, rows, span),
        Some(scaled) if scaled[side as usize].codes.bits() == 4 => {
            let memory = in_bytes(memory)?;
            if !is_unpacked(problem, side) {
                return Boxes::of_operand(problem, &memory, DType::U8, rows, span);
            }
            Boxes::of_operand(problem, &memory, DType::U8, rows, span / 2).map(Boxes::in_lines)
        }
        Some(_) => Boxes::of_operand(problem, memory, memory.stored, rows, span),
    }
}

/// Whether two elements of a factor share a byte in memory, and not where they are multiplied.
fn is_unpacked(problem: &Problem, side: Side) -> bool {
    let bits = |scaled: &Scaled| scaled.codes.bits();
    problem.scaled.as_ref().is_some_and(|both| bits(&both[side as usize]) == 4 && both.iter().any(|one| bits(one) != 4))
}

/// The bytes of a matrix of which two elements along k share one.
fn in_bytes(memory: &Memory) -> Option<Memory> {
    let half = |stride: i64| (stride % 2 == 0).then_some(stride / 2);
    let entries = memory.entries.as_ref()?;
    let strides = entries.strides.iter().map(|&stride| half(stride)).collect::<Option<_>>()?;
    let outer = memory.outer.iter().map(|digit| Some(Digit { stride: half(digit.stride)?, ..*digit }));
    let k = memory.k.iter().map(|digit| {
        (digit.stride == 1 && digit.size.is_multiple_of(2)).then_some(Digit { size: digit.size / 2, ..*digit })
    });
    Some(Memory {
        stored: DType::U8,
        entries: Some(Entries { start: half(entries.start)?, strides }),
        offset: half(memory.offset)?,
        outer: outer.collect::<Option<_>>()?,
        k: k.collect::<Option<_>>()?,
        ..memory.clone()
    })
}

/// Whether every operand has boxes for tiles of `m` rows and `n` columns of each product, and all right factors lie alike.
pub(super) fn are_boxes(problem: &Problem, (m, n): (u32, u32)) -> bool {
    let major = problem.b.vector().0;
    boxes(problem, Side::A, m, problem.element).is_some()
        && problem.rights().iter().all(|&side| {
            problem.operand(side).vector().0 == major && boxes(problem, side, n, problem.element).is_some()
        })
}

/// Whether threads carry an operand: of a single product, one that is no boxes.
pub(super) fn is_carried(problem: &Problem, side: Side) -> bool {
    problem.products() == 1 && boxes(problem, side, ROWS, problem.element).is_none()
}

/// Whether threads carry any operand.
pub(super) fn any_carried(problem: &Problem) -> bool {
    [Side::A, Side::B].into_iter().any(|side| is_carried(problem, side))
}

/// Whether all operands can be brought in tiles of `extent` rows and columns of each product: as boxes, or by threads.
pub(super) fn suit(problem: &Problem, extent: (u32, u32)) -> bool {
    are_boxes(problem, extent)
        || any_carried(problem)
            && [Side::A, Side::B].into_iter().all(|side| !is_carried(problem, side) || carried::suits(problem, side))
}

/// Refuses operands that can be brought in no way, by the name of the schedule.
pub(super) fn require(problem: &Problem, schedule: &dyn fmt::Display) -> Result<(), ContractionError> {
    if suit(problem, (ROWS, ROWS)) {
        return Ok(());
    }
    Err(ContractionError::Schedule {
        schedule: schedule.to_string(),
        what: "ways to bring an operand",
        found: 0,
        expected: "boxes of a tensor map, or elements that threads can carry".into(),
    })
}

impl Operands {
    /// Declares the maps as parameters. `schedule` names the schedule in errors.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        Bringing { tile, short, along }: Bringing,
        schedule: &dyn fmt::Display,
    ) -> Result<Operands, ContractionError> {
        require(problem, schedule)?;
        let mut bring = |side: Side, outer: u32| -> Factor {
            let major = major(problem, side);
            // Where no tile has more rows inside the matrix, the rest is never asked for.
            let brought = match (side, major) {
                (Side::A, Major::K) if short && along.1 == 1 => outer.min(u32::try_from(problem.m).unwrap_or(u32::MAX)),
                _ => outer / Neighbours::slices(along, side),
            };
            let copied = boxes(problem, side, brought, problem.element).map(|boxes| {
                let map = k.param_tensor_map(&format!("map_{}", format!("{side:?}").to_lowercase()));
                let rows = rows_per_box(problem, side, brought, problem.element);
                let bytes = boxes.map.box_bytes() as u32;
                let span = if is_unpacked(problem, side) { SPAN / 2 } else { SPAN };
                Copied { boxes, map, per_box: (rows, bytes), brought, span }
            });
            Factor { side, major, outer, copied }
        };
        let outer = |side| if side == Side::A { tile.m } else { tile.n };
        let sides = problem.sides().map(|side| bring(side, outer(side))).collect();
        Ok(Operands { sides, along })
    }

    /// The maps, in the order of the parameters.
    pub fn parameters(&self) -> Vec<MapParameter> {
        let maps = self.sides.iter().filter_map(|one| Some((one.side, one.copied.as_ref()?)));
        maps.map(|(side, copied)| MapParameter::Operand(side, copied.boxes.map.clone())).collect()
    }

    /// Bytes of a stage that the copy engine brings.
    pub fn copied_bytes(&self) -> u32 {
        self.sides.iter().filter(|one| one.copied.is_some()).map(|one| one.outer * SPAN).sum::<u32>()
            - self.missing_bytes()
    }

    /// Byte of a stage where an operand's tile begins.
    pub fn start(&self, side: Side) -> u32 {
        match side {
            Side::A => 0,
            right => (self.sides[0].outer + right.product() as u32 * self.sides[1].outer) * SPAN,
        }
    }

    /// Has the maps fetched.
    pub fn prefetch_maps(&self, k: &mut KernelBuilder) {
        for copied in self.sides.iter().filter_map(|one| one.copied.as_ref()) {
            k.prefetch_tensormap(copied.map.at(0));
        }
    }

    /// Bytes of a stage that are never brought: rows of A beyond the last.
    fn missing_bytes(&self) -> u32 {
        let left = &self.sides[0];
        let slices = Neighbours::slices(self.along, Side::A);
        left.copied.as_ref().map_or(0, |copied| (left.outer - slices * copied.brought) * SPAN)
    }

    /// Writes zeros to the rows of A that are never brought, in every stage. By all `threads` threads, before the CTA's first
    /// barrier.
    pub fn clear_missing_rows(
        &self,
        k: &mut KernelBuilder,
        ring: &Ring,
        (thread, threads): (R<B32>, u32),
    ) -> Result<(), ContractionError> {
        let missing = self.missing_bytes();
        if missing == 0 {
            return Ok(());
        }
        let zero = k.mov_f32(0.0);
        let first = k.mul_lo_u32(thread, CHUNK);
        let start = k.add_u32(ring.data, self.sides[0].outer * SPAN - missing);
        k.for_u32(first, missing, threads * CHUNK, |k, offset| -> Result<(), ContractionError> {
            let to = k.add_u32(start, offset);
            for stage in 0..ring.stages {
                k.st_shared_v4_f32(to.at((stage * ring.stage_bytes) as i32), [zero; 4]);
            }
            Ok(())
        })?;
        // The tensor cores read them without another fence.
        k.fence_proxy_async_shared_cta();
        Ok(())
    }

    /// Brings every round of `tile_k` of every tile of the walk, as stages of the ring become empty. By one thread; gives
    /// where it stands on the ring afterwards.
    ///
    /// Of a pair, each CTA brings its rows of A and its columns of B, which are counted in the leading one.
    pub fn bring_all(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        ring: &Ring,
        tile_k: u32,
        walk: &Walk,
    ) -> Result<Position, ContractionError> {
        self.bring_apart(k, problem, (ring, None), tile_k, walk)
    }

    /// The same where others change what has arrived before the stage is full: bytes are counted by barriers of the CTA's own, those
    /// of another ring.
    pub fn bring_apart(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        (ring, arrivals): (&Ring, Option<&Ring>),
        tile_k: u32,
        walk: &Walk,
    ) -> Result<Position, ContractionError> {
        self.prefetch_maps(k);
        let at = ring.first_to_fill(k);
        // Boxes count bytes where elements are shorter.
        let span = SPAN / problem.element.bytes() as u32;
        let rounds = walk.part.as_ref().map_or(problem.rounds(tile_k), |part| part.rounds);
        let span_of = |one: &Factor| one.copied.as_ref().map_or(SPAN, |copied| copied.span);
        let bytes = self.sides.iter().map(|one| one.outer * span_of(one)).sum::<u32>();
        let shares = self.shares(k, arrivals.unwrap_or(ring).scope);
        walk.for_each(k, problem, |k, place| {
            let mut own = TilePlace { batch: place.batch.clone(), ..*place };
            if let Some(pair) = &walk.pair {
                own.row = k.mad_lo_u32(pair.rank, self.sides[0].outer, place.row);
                own.column = k.mad_lo_u32(pair.rank, self.sides[1].outer, place.column);
            }
            k.for_u32(0, rounds * span, span, |k, k0| {
                let k0 = match &walk.part {
                    Some(part) => k.add_u32(k0, part.first),
                    None => k0,
                };
                let full = ring.wait_empty(k, at);
                let (counted, full) = match arrivals {
                    None => (ring, full),
                    Some(arrivals) => (arrivals, arrivals.full(k, at)),
                };
                match walk.pair.as_ref().filter(|_| counted.scope == Scope::Pair) {
                    None => k.mbarrier_arrive_expect_tx(full.at(0), bytes - self.missing_bytes()),
                    Some(pair) => {
                        k.when(pair.leads, |k| k.mbarrier_arrive_expect_tx(full.at(0), 2 * bytes));
                    }
                }
                let full = counted.leading(k, full);
                let stage = ring.stage(k, at);
                self.copy(k, &own, k0, stage, (full, &shares))?;
                ring.advance(k, at);
                Ok(())
            })
        })?;
        Ok(at)
    }

    /// What the CTA asks for of each operand.
    pub fn shares(&self, k: &mut KernelBuilder, scope: Scope) -> Vec<Share> {
        let mut share = |side| match scope {
            Scope::Cta => Share { slice: None, receivers: Receivers::Own },
            Scope::Pair => Share { slice: None, receivers: Receivers::Pair },
            Scope::Neighbours(neighbours) => neighbours.share(k, side),
        };
        self.sides.iter().map(|one| share(one.side)).collect()
    }

    /// Has the copy engine begin to bring what it can of the round at `k0` to the stage at `stage`.
    pub fn copy(
        &self,
        k: &mut KernelBuilder,
        place: &TilePlace,
        k0: R<B32>,
        stage: R<B32>,
        (full, shares): (R<B32>, &[Share]),
    ) -> Result<(), ContractionError> {
        for (one, share) in self.sides.iter().zip(shares) {
            if let Some(copied) = &one.copied {
                self.copy_one(k, (one, copied), place, k0, stage, (full, share))?;
            }
        }
        Ok(())
    }

    /// Begins to bring an operand's tile at `k0` to the stage at `stage`.
    fn copy_one(
        &self,
        k: &mut KernelBuilder,
        (one, copied): (&Factor, &Copied),
        place: &TilePlace,
        k0: R<B32>,
        stage: R<B32>,
        (full, share): (R<B32>, &Share),
    ) -> Result<(), ContractionError> {
        let start = self.start(one.side);
        let origin = if one.side == Side::A { place.row } else { place.column };
        // A slice lies in the stage where it would lie with all the others.
        let (origin, stage) = match share.slice {
            None => (origin, stage),
            Some(slice) => {
                (k.mad_lo_u32(slice, copied.brought, origin), k.mad_lo_u32(slice, copied.brought * SPAN, stage))
            }
        };
        let (rows, bytes) = copied.per_box;
        let k0 = if copied.span == SPAN { k0 } else { k.shr_u32(k0, 1) };
        for number in 0..copied.brought.div_ceil(rows) {
            let to = k.add_u32(stage, start + number * bytes);
            let outer = k.add_u32(origin, number * rows);
            let at = match one.major {
                Major::K => (k0, outer),
                Major::Outer => (outer, k0),
            };
            copied.boxes.load(k, copied.map, at, &place.batch, to, full, share.receivers)?;
        }
        Ok(())
    }

    /// Descriptors of stage 0 at `data`, one for all right factors. The left factor's rows are read from `left` on. `format` is how the instruction's
    /// descriptors say that rows are swizzled by 128 bytes.
    pub fn descriptors(&self, k: &mut KernelBuilder, format: u64, left: R<B32>, data: R<B32>) -> Descriptors {
        let right = k.add_u32(data, self.start(Side::B));
        let majors = [self.sides[0].major, self.sides[1].major];
        let a = descriptor(k, format, left, majors[0]);
        let b = descriptor(k, format, right, majors[1]);
        Descriptors { a, b, majors }
    }
}

/// Matrix descriptors of both operands in stage 0. The low bits count 16 bytes.
pub(super) struct Descriptors {
    a: R<B64>,
    b: R<B64>,
    majors: [Major; 2],
}

/// In units of 16 bytes, as descriptors count.
const fn units(bytes: u32) -> u32 {
    bytes / 16
}

/// The descriptor of an operand at a shared address: swizzle of 128 bytes, patterns of eight rows (k-major) or eight k
/// (outer-major) one after the other, and spans of outer indices behind each other.
fn descriptor(k: &mut KernelBuilder, format: u64, address: R<B32>, major: Major) -> R<B64> {
    let leading = match major {
        // Not looked at.
        Major::K => 1,
        Major::Outer => u64::from(units(ROWS * SPAN)),
    };
    let fixed = format | u64::from(units(PATTERN)) << 32 | leading << 16;
    let shifted = k.shr_u32(address, 4);
    let start = k.and_b32(shifted, 0x3fff);
    let start = k.cvt_u64_u32(start);
    k.or_b64(start, fixed)
}

impl Descriptors {
    /// Those of the stage of that number.
    pub fn of_stage(&self, k: &mut KernelBuilder, stage: R<B32>, stage_bytes: u32) -> (R<B64>, R<B64>) {
        let offset = k.mul_wide_u32(stage, units(stage_bytes));
        (k.add_u64(self.a, offset), k.add_u64(self.b, offset))
    }

    /// The left factor's, of one step of k and one block of 64 rows.
    pub fn left(&self, k: &mut KernelBuilder, a: R<B64>, step: u32, block: u32) -> R<B64> {
        k.add_u64(a, step_units(self.majors[0], step) + block * units(ROWS * SPAN))
    }

    /// The right factor's, of one step of k.
    pub fn right(&self, k: &mut KernelBuilder, b: R<B64>, step: u32) -> R<B64> {
        k.add_u64(b, step_units(self.majors[1], step))
    }

    /// Which operands are read across rows.
    pub fn transposed(&self) -> (bool, bool) {
        (self.majors[0] == Major::Outer, self.majors[1] == Major::Outer)
    }
}

/// How far a step of k is: along a row, or two patterns of eight k.
fn step_units(major: Major, step: u32) -> u32 {
    match major {
        Major::K => units(step * STEP),
        Major::Outer => units(step * 2 * PATTERN),
    }
}
