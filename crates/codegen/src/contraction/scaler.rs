//! Warps that bring block scales to the stages of a ring, as atoms (see `block_scaled`).
//!
//! ```text
//!  thread t of 128: row t of the tile's part of A, columns t and t + 128 of B
//!     for four rounds at once: load each row's scales to registers
//!     for each of these rounds: wait empty[s] | words of four scales to the atoms of stage s | arrive on full[s]
//! ```
//!
//! What lies beyond the edges is zero: its scales are the smallest there are, and its elements are zeros.

use super::block_scaled::{ATOM, ATOM_ROWS, ATOM_SCALES, BlockScaled, Steps, blocks};
use super::cta::{Walk, digits};
use super::problem::{ContractionError, Memory, Operand, Problem, Side};
use super::ring::Ring;
use super::schedule::WARP;
use super::surround::Surround;
use super::values::load_into;
use super::widening::Widening;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, KernelBuilder, Pred, R, ScalarType, Space};
use gable_tensor::DType;

/// Rounds whose scales are loaded together, so that their latency is waited for once.
const ROUNDS: u32 = 4;

/// One thread that brings scales.
pub(super) struct Scaler<'a> {
    /// What a round brings: columns of B that scales are for, and values of k.
    pub columns: u32,
    pub tile_k: u32,
    /// Bytes of the factors, before the scales of a stage.
    pub operand_bytes: u32,
    /// Which, of 128.
    pub thread: R<B32>,
    /// Whether it speaks for its warp.
    pub elected: R<Pred>,
    /// Codes that it changes first.
    pub widening: Option<Widening<'a>>,
}

/// A row whose scales the thread brings.
struct Row {
    /// Where they begin.
    start: R<B64>,
    /// Whether there is such a row.
    exists: R<Pred>,
    steps: Steps,
}

impl Scaler<'_> {
    /// Brings the scales of every round of every tile.
    pub fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        scaled: &BlockScaled,
        ring: &Ring,
        walk: &Walk,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let at = ring.first_to_fill(k);
        let widening = self.widening.as_ref().map(|widening| (widening, widening.first(k)));
        // Row r of an atom: 16 bytes for each of 32, four for each quarter.
        let (within, quarter) = (k.and_b32(self.thread, 31), k.shr_u32(self.thread, 5));
        let slot = k.shl_b32(within, 4);
        let slot = k.mad_lo_u32(quarter, ATOM_SCALES, slot);
        let (rounds, per_round) = (problem.rounds(self.tile_k), scaled.per_round());
        walk.for_each(k, problem, |k, place| {
            let mut rows = Vec::new();
            let own = walk.pair.iter().fold(place.row, |row, pair| k.mad_lo_u32(pair.rank, ATOM_ROWS, row));
            let row = k.add_u32(own, self.thread);
            rows.push(Row::new(k, problem, scaled, (Side::A, row), &place.batch, surround)?);
            for block in 0..blocks(self.columns) {
                let column = k.add_u32(place.column, block * ATOM_ROWS);
                let column = k.add_u32(column, self.thread);
                rows.push(Row::new(k, problem, scaled, (Side::B, column), &place.batch, surround)?);
            }
            k.no_unroll();
            k.for_u32(0, rounds, ROUNDS, |k, first| {
                let words: Vec<Vec<R<B32>>> =
                    rows.iter().map(|row| row.load(k, first, per_round)).collect::<Result<_, _>>()?;
                if scaled.scale == DType::E4M3 {
                    refuse_signs(k, &words);
                }
                for number in 0..ROUNDS {
                    let put = |k: &mut KernelBuilder| -> Result<(), ContractionError> {
                        let full = ring.wait_empty(k, at);
                        let stage = ring.stage(k, at);
                        if let Some((widening, arrived)) = widening {
                            widening.run(k, self.thread, stage, arrived)?;
                        }
                        let stage = k.add_u32(stage, slot);
                        let along_k = per_round / ATOM_SCALES;
                        for (row, words) in (0..).zip(&words) {
                            for atom in 0..along_k {
                                let offset = self.operand_bytes + (row * along_k + atom) * ATOM;
                                let word = words[(number * along_k + atom) as usize];
                                k.st_shared_b32(stage.at(offset as i32), word);
                            }
                        }
                        k.fence_proxy_async_shared_cta();
                        k.bar_warp_sync(-1);
                        ring.fill(k, full, self.elected);
                        ring.advance(k, at);
                        Ok(())
                    };
                    if rounds.is_multiple_of(ROUNDS) || number == 0 {
                        put(k)?;
                    } else {
                        let round = k.add_u32(first, number);
                        let is_one = k.setp_lt_u32(round, rounds);
                        k.if_(is_one, put)?;
                    }
                }
                Ok(())
            })
        })
    }
}

/// Ends the kernel where a scale has a sign: the tensor cores would not see it.
fn refuse_signs(k: &mut KernelBuilder, words: &[Vec<R<B32>>]) {
    let all = words.iter().flatten().copied().reduce(|a, b| k.or_b32(a, b));
    let Some(all) = all else { return };
    let signs = k.and_b32(all, 0x8080_8080u32);
    let has_sign = k.setp_ne_u32(signs, 0);
    k.when(has_sign, |k| k.trap());
}

impl Row {
    fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        scaled: &BlockScaled,
        (side, index): (Side, R<B32>),
        batch: &[R<B32>],
        surround: &mut dyn Surround,
    ) -> Result<Row, ContractionError> {
        let position = scaled.positions[side as usize];
        let (memory, steps) = scales(problem, side, position)?;
        let start = surround.scales(k, side, position, batch)?;
        let count = problem.outer(side) as u32;
        let exists = k.setp_lt_u32(index, count);
        let index = k.min_u32(index, count - 1);
        let sizes: Vec<usize> = memory.outer.iter().map(|digit| digit.size).collect();
        let mut address = start;
        for (value, digit) in digits(k, index, &sizes).into_iter().zip(&memory.outer) {
            if digit.stride != 0 {
                address = k.mad_wide_u32(value, digit.stride as u32, address);
            }
        }
        Ok(Row { start: address, exists, steps })
    }

    /// The scales of four rounds from `first` on, as words of four.
    fn load(&self, k: &mut KernelBuilder, first: R<B32>, per_round: u32) -> Result<Vec<R<B32>>, ContractionError> {
        let Steps { count, scale, word, together } = self.steps;
        let ends_inside = !count.is_multiple_of(ROUNDS * per_round);
        let first = k.mul_lo_u32(first, per_round);
        let words = ROUNDS * per_round / ATOM_SCALES;
        let mut found = Vec::new();
        let inside = |k: &mut KernelBuilder, number: u32| {
            if !ends_inside {
                return self.exists;
            }
            let last = k.add_u32(first, number);
            let inside = k.setp_lt_u32(last, count);
            k.and_pred(inside, self.exists)
        };
        let first_word = k.shr_u32(first, ATOM_SCALES.trailing_zeros());
        let start = k.mad_wide_u32(first_word, word, self.start);
        // Other rounds read the rest of the line.
        let access = |ty, count| Access { space: Space::Global, ty, count, cache: Cache::ReadOnly };
        if together == 1 {
            for number in 0..words {
                let mut all = k.mov_b32(0);
                for i in 0..ATOM_SCALES {
                    let byte = k.mov_b32(0);
                    let inside = inside(k, number * ATOM_SCALES + i);
                    let place = start.at((number * word + i * scale) as i32);
                    k.when(inside, |k| load_into(k, access(ScalarType::U8, 1), place.into(), &[byte.reg()]))?;
                    let moved = k.shl_b32(byte, 8 * i);
                    all = k.or_b32(all, moved);
                }
                found.push(all);
            }
            return Ok(found);
        }
        let at_once = together / ATOM_SCALES;
        for number in (0..words).step_by(at_once as usize) {
            let registers: Vec<R<B32>> = (0..at_once).map(|_| k.mov_b32(0)).collect();
            let inside = inside(k, number * ATOM_SCALES);
            let place = start.at((number * word) as i32);
            let into: Vec<_> = registers.iter().map(|register| register.reg()).collect();
            k.when(inside, |k| load_into(k, access(ScalarType::B32, at_once as u8), place.into(), &into))?;
            found.extend(registers);
        }
        Ok(found)
    }
}

fn scales(problem: &Problem, side: Side, position: usize) -> Result<(&Memory, Steps), ContractionError> {
    let broken = || ContractionError::Surround("the factors of a block-scaled product have block scales".into());
    let scaled = problem.scaled.as_ref().ok_or_else(broken)?;
    debug_assert!(matches!(problem.operand(side), Operand::Memory(_)), "stored elements are memory");
    let memory = scaled[side as usize].scales.get(position).ok_or_else(broken)?;
    Ok((memory, Steps::of(memory).ok_or_else(broken)?))
}

/// Warps that bring scales: a thread for each row of an atom.
pub(super) const SCALERS: u32 = ATOM_ROWS / WARP;
