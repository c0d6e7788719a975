//! Brings a tile of an operand out of memory, or out of the region, one chunk of neighbours per thread at a time.
//!
//! In: an operand, the thread's share of the tile's chunks, and the tile's first outer index. Out, for the tile that starts
//! at any k: chunks in registers, or copies to shared memory under way. What lies outside the problem, or in a
//! convolution's padding, reads as zero, so that main loops never look at edges.
//!
//! Three ways, from fast to general:
//! - a strided matrix: one cursor that moves by a constant per tile, chunks at constant offsets from it;
//! - any memory: digits of the outer index once, digits of k once per tile and chunk column, added per chunk;
//! - an expression: the region computes the elements, with indices held inside the problem at the edges.

use super::cta::digits;
use super::problem::{ContractionError, Digit, Major, Memory, Operand, Problem, Side};
use super::surround::{Place, Surround};
use super::tile::{CHUNK, Share};
use super::values::{Chunk, scalar_type};
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, KernelBuilder, Place as Address, Pred, R, Reg, ScalarType, Space};

/// What stays the same from tile to tile of an outer index.
struct OuterContext {
    /// The index itself.
    index: R<B32>,
    /// Element offset; absent for a matrix, whose cursor holds it.
    offset: Option<R<B32>>,
    /// Position on each window axis without k's steps.
    positions: Vec<R<B32>>,
    /// Whether the index is inside the problem, where that is not always so.
    valid: Option<R<Pred>>,
}

/// What one k adds.
struct KContext {
    index: R<B32>,
    offset: Option<R<B32>>,
    steps: Vec<R<B32>>,
    valid: Option<R<Pred>>,
}

enum From {
    /// The address of the thread's first vector in the next tile.
    Cursor(R<B64>),
    /// The start of the batch entry.
    Start(R<B64>),
    /// The region.
    Region,
}

/// One thread's way of bringing an operand.
pub(super) struct Gather {
    side: Side,
    operand: Operand,
    major: Major,
    from: From,
    share: Share,
    /// Elements of a chunk, and how many of them come together.
    elements: u32,
    together: u32,
    outer: Vec<OuterContext>,
    outer_extent: u32,
    k_extent: u32,
    k_tile: u32,
    element: ScalarType,
    batch: Vec<R<B32>>,
}

/// The tile that a gather brings.
pub(super) struct GatherTile<'a> {
    /// The problem.
    pub problem: &'a Problem,
    /// The operand.
    pub side: Side,
    /// Direction of a chunk's neighbours.
    pub major: Major,
    /// Elements of a chunk.
    pub elements: u32,
    /// First outer index.
    pub origin: R<B32>,
    /// Outer indices from one tile to the next, of which this may be a part: where they divide the extent, all lie inside.
    pub step: u32,
    /// Values of k in the tile.
    pub k: u32,
    /// Batch coordinates.
    pub batch: &'a [R<B32>],
}

impl Gather {
    /// Sets up registers that last for the whole kernel.
    pub fn new(
        k: &mut KernelBuilder,
        tile: GatherTile<'_>,
        share: Share,
        surround: &mut dyn Surround,
    ) -> Result<Gather, ContractionError> {
        let GatherTile { problem, side, major, elements, origin, batch, .. } = tile;
        let operand = problem.operand(side).clone();
        let (operand_major, lanes) = operand.vector();
        // Narrow integers are extended as they are loaded, which only single loads do.
        let extends =
            matches!(&operand, Operand::Memory(memory) if memory.stored.is_int() && memory.stored.bytes() < 4);
        let together = if operand_major == major && !extends { elements.min(lanes as u32) } else { 1 };
        let outer_extent = problem.outer(side) as u32;
        let ragged = !outer_extent.is_multiple_of(tile.step);
        // Chunks differ in their row; a row is an outer index or a k, by the major direction.
        let first = k.mul_lo_u32(share.column, elements);
        let from_origin = |k: &mut KernelBuilder, within: R<B32>, step: u32| {
            let index = k.add_u32(origin, within);
            if step == 0 { index } else { k.add_u32(index, step) }
        };
        let indices: Vec<R<B32>> = match major {
            Major::K => (0..share.count).map(|i| from_origin(k, share.row, i * share.row_step)).collect(),
            Major::Outer => (0..elements / together).map(|j| from_origin(k, first, j * together)).collect(),
        };
        let mut gather = Gather {
            side,
            major,
            from: From::Region,
            elements,
            together,
            outer: Vec::new(),
            outer_extent,
            k_extent: problem.k as u32,
            k_tile: tile.k,
            element: scalar_type(problem.element)?,
            batch: batch.to_vec(),
            operand,
            share,
        };
        if let Operand::Memory(memory) = &gather.operand {
            let start = surround.pointer(k, side, batch)?;
            let start = entry_start(k, memory, start);
            gather.from = match gather.constant_steps(memory) {
                Some((row, column)) => {
                    let row_start = k.mad_wide_u32(indices[0], outer_step(memory), start);
                    let (k_first, k_stride) = match major {
                        Major::K => (first, column),
                        Major::Outer => (gather.share.row, row),
                    };
                    From::Cursor(k.mad_wide_u32(k_first, k_stride, row_start))
                }
                None => From::Start(start),
            };
        }
        let by_cursor = matches!(gather.from, From::Cursor(_));
        for index in indices {
            let valid = ragged.then(|| k.setp_lt_u32(index, outer_extent));
            let (offset, positions) = match &gather.operand {
                Operand::Memory(memory) if !by_cursor => {
                    let values = digits(k, index, &memory.outer.iter().map(|d| d.size).collect::<Vec<_>>());
                    let offset = weighted(k, &values, &memory.outer, |d| d.stride, memory.offset);
                    let positions = (0..memory.windows.len())
                        .map(|axis| weighted(k, &values, &memory.outer, |d| along(d, axis), -memory.windows[axis].low))
                        .collect();
                    (Some(offset), positions)
                }
                _ => (None, Vec::new()),
            };
            gather.outer.push(OuterContext { index, offset, positions, valid });
        }
        Ok(gather)
    }

    /// Whether chunks can go to shared memory without registers: as they are, sixteen bytes at a time.
    pub fn is_async(&self, stored_as: gable_tensor::DType) -> bool {
        match &self.operand {
            Operand::Memory(memory) => {
                memory.stored == stored_as
                    && self.together == self.elements
                    && self.elements * memory.stored.bytes() as u32 == CHUNK
            }
            Operand::Expression { .. } => false,
        }
    }

    /// Bytes between a thread's chunks and between neighbouring values along the other direction, where the operand is
    /// a matrix whose offsets are small constants.
    fn constant_steps(&self, memory: &Memory) -> Option<(u32, u32)> {
        let stride = |digits: &[Digit]| digits.first().map_or(0, |d| d.stride);
        let bytes = memory.stored.bytes() as i64;
        let (row, column) = match self.major {
            Major::K => (stride(&memory.outer), stride(&memory.k)),
            Major::Outer => (stride(&memory.k), stride(&memory.outer)),
        };
        let far =
            row * bytes * i64::from(self.share.row_step * self.share.count) + column * bytes * i64::from(self.elements);
        let small = far < i64::from(i32::MAX) && row >= 0 && column >= 0;
        (memory.is_matrix() && small).then_some(((row * bytes) as u32, (column * bytes) as u32))
    }

    /// Contexts of k for the tile that starts at `k0`.
    fn k_contexts(&self, k: &mut KernelBuilder, k0: R<B32>) -> Vec<KContext> {
        let ragged = !self.k_extent.is_multiple_of(self.k_tile);
        let by_cursor = matches!(self.from, From::Cursor(_));
        let steps: Vec<(R<B32>, u32)> = match self.major {
            Major::K => {
                let first = k.mad_lo_u32(self.share.column, self.elements, k0);
                (0..self.elements / self.together).map(|j| (first, j * self.together)).collect()
            }
            Major::Outer => {
                let first = k.add_u32(self.share.row, k0);
                (0..self.share.count).map(|i| (first, i * self.share.row_step)).collect()
            }
        };
        let mut contexts = Vec::new();
        for (first, step) in steps {
            let index = if step == 0 { first } else { k.add_u32(first, step) };
            let valid = ragged.then(|| k.setp_lt_u32(index, self.k_extent));
            let (offset, steps) = match &self.operand {
                Operand::Memory(memory) if !by_cursor => {
                    let values = digits(k, index, &memory.k.iter().map(|d| d.size).collect::<Vec<_>>());
                    let offset = weighted(k, &values, &memory.k, |d| d.stride, 0);
                    let steps = (0..memory.windows.len())
                        .map(|axis| weighted(k, &values, &memory.k, |d| along(d, axis), 0))
                        .collect();
                    (Some(offset), steps)
                }
                _ => (None, Vec::new()),
            };
            contexts.push(KContext { index, offset, steps, valid });
        }
        contexts
    }

    /// Vectors of chunk `i`, as positions of their outer context and their k context.
    fn vectors(&self, i: u32) -> Vec<(usize, usize)> {
        (0..self.elements / self.together)
            .map(|j| match self.major {
                Major::K => (i as usize, j as usize),
                Major::Outer => (j as usize, i as usize),
            })
            .collect()
    }

    /// Whether a vector is inside: absent where it always is.
    fn inside(&self, k: &mut KernelBuilder, outer: &OuterContext, at: &KContext) -> Option<R<Pred>> {
        let mut conditions: Vec<R<Pred>> = self.share.active.into_iter().chain(outer.valid).chain(at.valid).collect();
        if let Operand::Memory(memory) = &self.operand {
            for (axis, window) in memory.windows.iter().enumerate() {
                // One comparison of unsigned numbers: what lies before the axis is far above its end.
                let position = k.add_u32(outer.positions[axis], at.steps[axis]);
                conditions.push(k.setp_lt_u32(position, window.size as u32));
            }
        }
        conditions.into_iter().reduce(|a, b| k.and_pred(a, b))
    }

    /// The address of vector `j` of chunk `i`.
    fn address(
        &self,
        k: &mut KernelBuilder,
        memory: &Memory,
        (i, j): (u32, u32),
        pair: (&OuterContext, &KContext),
    ) -> Address {
        let bytes = memory.stored.bytes() as u32;
        match self.from {
            From::Cursor(cursor) => {
                let (row, column) = self.constant_steps(memory).expect("a cursor has constant steps");
                cursor.at((i * self.share.row_step * row + j * self.together * column) as i32).into()
            }
            From::Start(start) => {
                let of = |offset: Option<R<B32>>| offset.expect("contexts of a start have offsets");
                let offset = k.add_u32(of(pair.0.offset), of(pair.1.offset));
                k.mad_wide_s32(offset, bytes, start).into()
            }
            From::Region => unreachable!("an expression has no address"),
        }
    }

    /// Starts copies of the tile at `k0` to `shared`, where chunk `i` lies `i * chunk_step` bytes on, and moves on.
    pub fn copy(&self, k: &mut KernelBuilder, k0: R<B32>, shared: R<B32>, chunk_step: u32) {
        let Operand::Memory(memory) = &self.operand else { unreachable!("only memory is copied") };
        let contexts = self.k_contexts(k, k0);
        for i in 0..self.share.count {
            let (outer, at) = self.vectors(i)[0];
            let (outer, at) = (&self.outer[outer], &contexts[at]);
            let inside = self.inside(k, outer, at);
            let Address { base, offset } = self.address(k, memory, (i, 0), (outer, at));
            let gable_ptx::Base::Reg(base) = base else { unreachable!("addresses are in registers") };
            let source = base.typed::<B64>().expect("a global address has 64 bits").at(offset);
            let to = shared.at((i * chunk_step) as i32);
            match inside {
                None => k.cp_async_cg(to, source, CHUNK),
                Some(inside) => {
                    let bytes = k.selp_b32(CHUNK, 0, inside);
                    match self.share.active {
                        Some(active) => k.when(active, |k| k.cp_async_cg_zfill(to, source, CHUNK, bytes)),
                        None => k.cp_async_cg_zfill(to, source, CHUNK, bytes),
                    }
                }
            }
        }
        self.advance(k);
    }

    /// Loads the tile at `k0` into registers, and moves on.
    pub fn fetch(
        &self,
        k: &mut KernelBuilder,
        k0: R<B32>,
        surround: &mut dyn Surround,
    ) -> Result<Vec<Chunk>, ContractionError> {
        let contexts = self.k_contexts(k, k0);
        let mut chunks = Vec::new();
        for i in 0..self.share.count {
            let mut chunk: Option<Chunk> = None;
            for (j, (outer, at)) in self.vectors(i).into_iter().enumerate() {
                let pair = (&self.outer[outer], &contexts[at]);
                let part = match &self.operand {
                    Operand::Memory(memory) => self.load(k, memory, (i, j as u32), pair)?,
                    Operand::Expression { .. } => self.compute(k, pair, surround)?,
                };
                match &mut chunk {
                    None => chunk = Some(part),
                    Some(chunk) => chunk.registers.extend(part.registers),
                }
            }
            chunks.extend(chunk);
        }
        self.advance(k);
        Ok(chunks)
    }

    /// Stores under the predicate of threads that have chunks.
    pub fn land<T>(&self, k: &mut KernelBuilder, store: impl FnOnce(&mut KernelBuilder) -> T) -> T {
        match self.share.active {
            Some(active) => k.when(active, store),
            None => store(k),
        }
    }

    /// Rows between a thread's chunks.
    pub fn row_step(&self) -> u32 {
        self.share.row_step
    }

    /// Row and chunk column of the thread's first chunk.
    pub fn first(&self) -> (R<B32>, R<B32>) {
        (self.share.row, self.share.column)
    }

    fn advance(&self, k: &mut KernelBuilder) {
        if let (From::Cursor(cursor), Operand::Memory(memory)) = (&self.from, &self.operand) {
            let stride = memory.k.first().map_or(0, |d| d.stride) as u64;
            k.set(*cursor).add_u64(*cursor, stride * u64::from(self.k_tile) * memory.stored.bytes() as u64);
        }
    }

    fn load(
        &self,
        k: &mut KernelBuilder,
        memory: &Memory,
        at: (u32, u32),
        pair: (&OuterContext, &KContext),
    ) -> Result<Chunk, ContractionError> {
        let stored = scalar_type(memory.stored)?;
        let inside = self.inside(k, pair.0, pair.1);
        let address = self.address(k, memory, at, pair);
        // Elements of 16 bits that need no conversion travel in pairs.
        let packed = stored == self.element && stored.bytes() == 2 && self.together > 1;
        let (ty, count) = if packed { (ScalarType::B32, self.together / 2) } else { (stored, self.together) };
        let access = Access { space: Space::Global, ty, count: count as u8, cache: Cache::ReadOnly };
        let registers: Vec<Reg> = (0..count).map(|_| k.fresh_reg(super::values::loaded_class(ty))).collect();
        match inside {
            None => super::values::load_into(k, access, address, &registers)?,
            Some(inside) => {
                registers.iter().try_for_each(|&register| super::values::clear(k, register))?;
                k.when(inside, |k| super::values::load_into(k, access, address, &registers))?;
            }
        }
        Ok(Chunk { ty: if packed { ScalarType::B32 } else { stored }, registers })
    }

    /// Elements that the region computes. Past the edges it computes the last ones again: rows and columns outside the
    /// result are never stored, and k outside the sum counts as zero.
    fn compute(
        &self,
        k: &mut KernelBuilder,
        (outer, at): (&OuterContext, &KContext),
        surround: &mut dyn Surround,
    ) -> Result<Chunk, ContractionError> {
        let held = |k: &mut KernelBuilder, index, extent: u32, ragged: bool, along: bool| {
            let last = if along { extent - self.together } else { extent - 1 };
            if ragged { k.min_u32(index, last) } else { index }
        };
        let idle = self.share.active.is_some();
        let row = held(k, outer.index, self.outer_extent, outer.valid.is_some() || idle, self.major == Major::Outer);
        let column = held(k, at.index, self.k_extent, at.valid.is_some() || idle, self.major == Major::K);
        let mut registers = surround.load(k, self.side, Place { batch: &self.batch, row, column })?;
        if let Some(valid) = at.valid {
            for register in &mut registers {
                *register = super::values::or_zero(k, *register, valid)?;
            }
        }
        Ok(Chunk { ty: super::values::computed_type(self.element), registers })
    }
}

/// Bytes from one outer index to the next in a strided matrix.
fn outer_step(memory: &Memory) -> u32 {
    (memory.outer.first().map_or(0, |d| d.stride) * memory.stored.bytes() as i64) as u32
}

/// The address of a matrix' element of indices 0. In memory with padding it may lie before the buffer: there each
/// element's offset begins with it.
pub(super) fn entry_start(k: &mut KernelBuilder, memory: &Memory, start: R<B64>) -> R<B64> {
    let bytes = memory.stored.bytes() as i64;
    if memory.is_matrix() && memory.offset != 0 { k.add_s64(start, memory.offset * bytes) } else { start }
}

/// How far a digit moves along a window axis.
fn along(digit: &Digit, axis: usize) -> i64 {
    digit.window.filter(|(window, _)| *window == axis).map_or(0, |(_, step)| step)
}

/// `constant + sum of digit values by weight`, in 32 bits that wrap.
fn weighted(
    k: &mut KernelBuilder,
    values: &[R<B32>],
    digits: &[Digit],
    weight: impl Fn(&Digit) -> i64,
    constant: i64,
) -> R<B32> {
    let mut sum: Option<R<B32>> = None;
    for (&value, digit) in values.iter().zip(digits) {
        let weight = weight(digit) as i32;
        if digit.size == 1 || weight == 0 {
            continue;
        }
        sum = Some(match sum {
            None if constant == 0 && weight == 1 => value,
            None => k.mad_lo_s32(value, weight, constant as i32),
            Some(sum) => k.mad_lo_s32(value, weight, sum),
        });
    }
    sum.unwrap_or_else(|| k.mov_b32(constant as i32))
}
