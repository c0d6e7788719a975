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
//! other, so that for an instruction they are one factor with all their columns.

use super::MapParameter;
use super::boxes::{Boxes, SPAN};
use super::cta::{TilePlace, Walk};
use super::problem::{ContractionError, Major, Operand, Problem, Side};
use super::ring::{Position, Ring, Scope};
use super::schedule::Tile;
use gable_ptx::{B32, B64, KernelBuilder, R};
use gable_tensor::DType;
use std::fmt;

/// Bytes of k that one instruction sums over, whatever the type.
pub(super) const STEP: u32 = 32;

/// Rows that take a block of their own in a stage.
const ROWS: u32 = 64;

/// Most elements of a box along one dimension.
const MOST_BOX_ROWS: u32 = 256;

/// Bytes of eight rows of a span, after which the swizzle repeats.
const PATTERN: u32 = 8 * SPAN;

/// One operand's map and tile.
struct Brought {
    side: Side,
    major: Major,
    boxes: Boxes,
    map: R<B64>,
    /// Outer indices of one box, and bytes of one box.
    per_box: (u32, u32),
    /// Outer indices of the tile.
    outer: u32,
}

/// All operands: the left factor, then the right one of each product.
pub(super) struct Operands {
    sides: Vec<Brought>,
}

/// Outer indices of one box of an operand's tile of `outer` outer indices.
fn rows_per_box(problem: &Problem, side: Side, outer: u32, element: DType) -> u32 {
    match problem.operand(side).vector().0 {
        Major::K => outer.min(MOST_BOX_ROWS),
        Major::Outer => SPAN / element.bytes() as u32,
    }
}

/// The boxes of an operand, where it has some.
pub(super) fn boxes(problem: &Problem, side: Side, outer: u32, element: DType) -> Option<Boxes> {
    let Operand::Memory(memory) = problem.operand(side) else { return None };
    let rows = rows_per_box(problem, side, outer, element);
    Boxes::of_operand(problem, memory, rows, SPAN / element.bytes() as u32)
}

/// Whether every operand has boxes for tiles of `m` rows and `n` columns of each product, and all right factors lie alike.
pub(super) fn are_boxes(problem: &Problem, (m, n): (u32, u32)) -> bool {
    let major = problem.b.vector().0;
    boxes(problem, Side::A, m, problem.element).is_some()
        && problem.rights().iter().all(|&side| {
            problem.operand(side).vector().0 == major && boxes(problem, side, n, problem.element).is_some()
        })
}

impl Operands {
    /// Declares the maps as parameters; `tile` is what the CTA brings for a round. `schedule` names the schedule in errors.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        tile: Tile,
        schedule: &dyn fmt::Display,
    ) -> Result<Operands, ContractionError> {
        let mut bring = |side: Side, outer: u32| -> Result<Brought, ContractionError> {
            let missing = || ContractionError::Schedule {
                schedule: schedule.to_string(),
                what: "boxes of an operand",
                found: 0,
                expected: "an operand that lies in memory as one strided matrix for each batch entry".into(),
            };
            let boxes = boxes(problem, side, outer, problem.element).ok_or_else(missing)?;
            let map = k.param_tensor_map(&format!("map_{}", format!("{side:?}").to_lowercase()));
            let rows = rows_per_box(problem, side, outer, problem.element);
            let bytes = boxes.map.box_bytes() as u32;
            let major = problem.operand(side).vector().0;
            Ok(Brought { side, major, boxes, map, per_box: (rows, bytes), outer })
        };
        let outer = |side| if side == Side::A { tile.m } else { tile.n };
        let sides = problem.sides().map(|side| bring(side, outer(side))).collect::<Result<_, _>>()?;
        Ok(Operands { sides })
    }

    /// The maps, in the order of the parameters.
    pub fn parameters(&self) -> Vec<MapParameter> {
        self.sides.iter().map(|one| MapParameter::Operand(one.side, one.boxes.map.clone())).collect()
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
        for one in &self.sides {
            k.prefetch_tensormap(one.map.at(0));
        }
        let at = ring.first_to_fill(k);
        let depth = problem.rounds(tile_k) * tile_k;
        walk.for_each(k, problem, |k, place| {
            let mut own = TilePlace { batch: place.batch.clone(), ..*place };
            if let Some(pair) = &walk.pair {
                own.row = k.mad_lo_u32(pair.rank, self.sides[0].outer, place.row);
                own.column = k.mad_lo_u32(pair.rank, self.sides[1].outer, place.column);
            }
            k.for_u32(0, depth, tile_k, |k, k0| {
                let full = ring.wait_empty(k, at);
                match &walk.pair {
                    None => k.mbarrier_arrive_expect_tx(full.at(0), ring.stage_bytes),
                    Some(pair) => {
                        k.when(pair.leads, |k| k.mbarrier_arrive_expect_tx(full.at(0), 2 * ring.stage_bytes));
                    }
                }
                let full = ring.leading(k, full);
                let stage = ring.stage(k, at);
                for one in &self.sides {
                    self.bring(k, one, &own, k0, stage, (full, ring.scope))?;
                }
                ring.advance(k, at);
                Ok(())
            })
        })?;
        Ok(at)
    }

    /// Begins to bring an operand's tile at `k0` to the stage at `stage`.
    fn bring(
        &self,
        k: &mut KernelBuilder,
        one: &Brought,
        place: &TilePlace,
        k0: R<B32>,
        stage: R<B32>,
        (full, scope): (R<B32>, Scope),
    ) -> Result<(), ContractionError> {
        let (start, origin) = match one.side {
            Side::A => (0, place.row),
            right => ((self.sides[0].outer + right.product() as u32 * one.outer) * SPAN, place.column),
        };
        let (rows, bytes) = one.per_box;
        for number in 0..one.outer.div_ceil(rows) {
            let to = k.add_u32(stage, start + number * bytes);
            let outer = k.add_u32(origin, number * rows);
            let at = match one.major {
                Major::K => (k0, outer),
                Major::Outer => (outer, k0),
            };
            one.boxes.load(k, one.map, at, &place.batch, to, full, scope == Scope::Pair)?;
        }
        Ok(())
    }

    /// Descriptors of stage 0 at `data`, one for all right factors. The left factor's rows are read from `left` on. `format` is how the instruction's
    /// descriptors say that rows are swizzled by 128 bytes.
    pub fn descriptors(&self, k: &mut KernelBuilder, format: u64, left: R<B32>, data: R<B32>) -> Descriptors {
        let right = k.add_u32(data, self.sides[0].outer * SPAN);
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
