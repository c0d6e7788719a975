//! The kernel that copies rows which begin at any element to rows that begin at whole chunks.
//!
//! ```text
//!   a warp: 8 x 32 neighbouring words of one row of the copy, a word of 4 bytes by each lane in turn
//!
//!   input   | .. a | b c d e | f g h i |       words of memory, the row begins at b's left neighbour a
//!   copy         | a b c d | e f g h |         each a funnel shift of two of them; zeros beyond the row's end
//! ```

use super::Copied;
use crate::class::Class;
use crate::combine::WARP;
use crate::division::quotient;
use crate::schedule::Schedule;
use crate::work::{KernelLaunch, Memory};
use gable_ptx::{B32, B64, KernelBuilder, Pred, R, Target};

/// Bytes of a word.
const WORD: u32 = 4;

/// Words of a row that a lane copies, all on their way at once.
const WORDS: u32 = 8;

/// Warps of a CTA.
const WARPS: u32 = 8;

impl Copied {
    /// Bytes of a row of the copy, if everything that the kernel counts is counted in 31 bits.
    pub(super) fn countable(&self) -> bool {
        let pitch = self.pitch.checked_mul(self.dtype.bytes()).and_then(|bytes| u32::try_from(bytes).ok());
        let segments = pitch.map(|bytes| bytes.div_ceil(WORDS * WARP * WORD) as usize);
        segments.and_then(|segments| self.rows.checked_mul(segments)).is_some_and(|warps| warps <= i32::MAX as usize)
    }

    /// The launch that makes the copy in the scratch memory `to`, of the program's input at `position`.
    pub(super) fn launch(&self, position: usize, to: Memory, target: Target) -> KernelLaunch {
        let element = self.dtype.bytes() as u32;
        let (row_bytes, pitch_bytes) = (self.row as u32 * element, self.pitch as u32 * element);
        let segment = WORDS * WARP * WORD;
        let segments = pitch_bytes.div_ceil(segment);
        let warps = self.rows as u32 * segments;
        let mut k = KernelBuilder::new("realign", target);
        let (from, copy) = (k.param_pointer("in0"), k.param_pointer("out0"));
        let threads = WARPS * WARP;
        k.required_threads(threads, 1, 1);
        let schedule = Schedule::Map { lanes: WORD / element.min(WORD), vectors: WORDS, threads };
        k.comment(format!("{schedule}, {} rows of {row_bytes} bytes, {pitch_bytes} apart", self.rows));
        let (cta, tid) = (k.ctaid_x(), k.tid_x());
        let lane = k.and_b32(tid, WARP - 1);
        let warp = k.shr_u32(tid, WARP.trailing_zeros());
        let warp = k.mad_lo_u32(cta, WARPS, warp);
        let exists = k.setp_lt_u32(warp, warps);
        k.if_(exists, |k| {
            let row = quotient(k, warp, segments);
            let before = k.mul_lo_u32(row, segments);
            let number = k.sub_u32(warp, before);
            let lane_bytes = k.mul_lo_u32(lane, WORD);
            let first = k.mad_lo_u32(number, segment, lane_bytes);
            let start = k.mad_wide_u32(row, row_bytes, from);
            let start = k.cvt_u32_u64(start);
            // Of the row's first word of memory: all words of the row lie as this one does.
            let shift = k.and_b32(start, WORD - 1);
            let at = k.cvt_u64_u32(first);
            let at = k.mad_wide_u32(row, row_bytes, at);
            let back = k.cvt_u64_u32(shift);
            let at = k.sub_u64(at, back);
            let bits = k.shl_b32(shift, 3);
            let source = Source { from, at, all: self.rows as u64 * u64::from(row_bytes), element };
            let straddles = k.setp_ne_u32(shift, 0);
            // Two words of memory for each of the copy; the second is the next lane's first, and comes out of L1.
            let read: Vec<Read> = (0..WORDS)
                .flat_map(|step| {
                    let distance = step * WARP * WORD;
                    let low = k.setp_lt_u32(first, row_bytes.saturating_sub(distance));
                    let high = k.and_pred(straddles, low);
                    [(distance, low), (distance + WORD, high)].map(|(distance, wanted)| Read {
                        distance,
                        wanted,
                        word: source.word(k, distance, wanted),
                    })
                })
                .collect();
            if source.ends_within_a_word() {
                // Once all are on their way.
                let is_last = k.setp_eq_u32(row, self.rows as u32 - 1);
                k.if_(is_last, |k| read.iter().for_each(|read| source.finish(k, read)));
            }
            let words: Vec<R<B32>> = read.chunks(2).map(|pair| k.shf_r_b32(pair[0].word, pair[1].word, bits)).collect();
            let to = k.cvt_u64_u32(first);
            let to = k.add_u64(to, copy);
            let to = k.mad_wide_u32(row, pitch_bytes, to);
            for (step, word) in words.into_iter().enumerate() {
                let distance = step as u32 * WARP * WORD;
                // Bytes of the row from the word on: what lies beyond is zero.
                let left = k.sub_s32(row_bytes as i32 - distance as i32, first);
                let left = k.max_s32(left, 0);
                let left = k.min_s32(left, WORD as i32);
                let beyond = k.mul_lo_s32(left, -8);
                let beyond = k.add_u32(beyond, 8 * WORD);
                // A shift by 32 leaves nothing.
                let mask = k.shr_u32(u32::MAX, beyond);
                let word = k.and_b32(word, mask);
                let inside = k.setp_lt_u32(first, pitch_bytes.saturating_sub(distance));
                k.when(inside, |k| k.st_global_b32(to.at(distance as i32), word));
            }
        });
        k.exit();
        KernelLaunch {
            kernel: k.finish(),
            class: Class::None,
            schedule,
            grid: [warps.div_ceil(WARPS), 1, 1],
            block: [threads, 1, 1],
            cluster: [1, 1, 1],
            dependent: false,
            dynamic_shared_bytes: 0,
            args: vec![Memory::Input(position), to],
        }
    }
}

/// Words of memory that hold a row.
struct Source {
    from: R<B64>,
    /// Bytes from the memory's start to the lane's first word.
    at: R<B64>,
    /// Bytes of the memory.
    all: u64,
    /// Bytes of an element.
    element: u32,
}

/// A word of memory, so many bytes after the lane's first.
struct Read {
    distance: u32,
    wanted: R<Pred>,
    word: R<B32>,
}

impl Source {
    /// Whether the memory's last bytes are a part of a word.
    fn ends_within_a_word(&self) -> bool {
        self.element < WORD && !self.all.is_multiple_of(WORD.into())
    }

    /// The word so many bytes further, where `wanted` and all of it is memory; else zero.
    fn word(&self, k: &mut KernelBuilder, distance: u32, wanted: R<Pred>) -> R<B32> {
        let word = k.mov_b32(0);
        let inside = self.within(k, distance + WORD, wanted);
        let from = k.add_u64(self.from, self.at);
        k.when(inside, |k| k.set(word).ld_global_nc_b32(from.at(distance as i32)));
        word
    }

    /// Adds the elements of a word that the memory ends in.
    fn finish(&self, k: &mut KernelBuilder, read: &Read) {
        let whole = self.within(k, read.distance + WORD, read.wanted);
        let begins = self.within(k, read.distance + self.element, read.wanted);
        let ends = k.xor_pred(whole, begins);
        k.if_(ends, |k| {
            let from = k.add_u64(self.from, self.at);
            for byte in (0..WORD).step_by(self.element as usize) {
                let inside = self.within(k, read.distance + byte + self.element, read.wanted);
                let at = from.at((read.distance + byte) as i32);
                let part = k.mov_b32(0);
                k.when(inside, |k| {
                    if self.element == 1 { k.set(part).ld_global_nc_u8(at) } else { k.set(part).ld_global_nc_u16(at) }
                });
                let part = k.shl_b32(part, 8 * byte);
                k.set(read.word).or_b32(read.word, part);
            }
        });
    }

    /// Whether so many bytes from the lane's first are memory, where `wanted`.
    fn within(&self, k: &mut KernelBuilder, bytes: u32, wanted: R<Pred>) -> R<Pred> {
        let end = k.add_u64(self.at, i64::from(bytes));
        let inside = k.setp_le_u64(end, self.all as i64);
        k.and_pred(inside, wanted)
    }
}
