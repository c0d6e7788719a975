//! A right factor that memory holds in a narrow type, unpacked in registers on its way to a stage.
//!
//! ```text
//!  16 bytes of a column          8-bit elements: 2 chunks          4-bit elements: 4 chunks
//!  +----------------+     ->     k 0 .. 7 | k 8 .. 15              k 0 .. 7 | .. | k 24 .. 31        times their scales
//! ```
//!
//! In: columns along k, each load whole inside or outside. Out: the chunks in k order, each where the swizzle has it. Every
//! step is exact or rounds as the graph does (`few_rows/format.rs`).

use super::boxes::SPAN;
use super::cta::TilePlace;
use super::few_rows::format::Format;
use super::few_rows::scales::Scales;
use super::few_rows::source::{self, CHUNK_BYTES, Source};
use super::problem::{ContractionError, Major, Part, Problem, Quantised, Side};
use super::surround::Surround;
use super::tile::{CHUNK, Share, SharedTile};
use gable_ptx::{B32, B64, KernelBuilder, Pred, R};

/// Elements of a chunk in a stage, of 16 bits.
const CHUNK_ELEMENTS: u32 = CHUNK / 2;

/// Elements of a load.
pub(super) fn load_elements(quantised: &Quantised) -> u32 {
    CHUNK_BYTES * 8 / quantised.codes.bits()
}

/// The right factor, if threads unpack it: a matrix along k whose columns are whole aligned loads, with scales that fit them.
pub(super) fn unpacked(problem: &Problem, side: Side) -> Option<&Quantised> {
    let quantised = problem.quantised.as_ref().filter(|_| side == Side::B && problem.products() == 1)?;
    let stored = &quantised.stored;
    let elements = load_elements(quantised);
    let fits = stored.is_matrix()
        && stored.vector().0 == Major::K
        && source::vector_bytes(stored, quantised.codes.bits()) == CHUNK_BYTES
        && problem.k.is_multiple_of(elements as usize)
        && (quantised.scales.is_none() || Scales::of(quantised, elements).is_some());
    fits.then_some(quantised)
}

/// Registers that a load of the factor takes on its way, for each chunk that it becomes: its words and scales.
pub(super) fn chunk_registers(quantised: &Quantised) -> u32 {
    let elements = load_elements(quantised);
    let scales = Scales::of(quantised, elements).map_or(0, |scales| scales.per_chunk);
    (CHUNK_BYTES / 4 + scales).div_ceil(elements / CHUNK_ELEMENTS)
}

/// One thread's way of bringing some columns of a tile.
pub(super) struct Narrow {
    format: Format,
    source: Source,
    scales: Option<Scales>,
    share: Share,
    /// The thread's columns.
    columns: Vec<Column>,
    /// Its first element of k in the first round.
    element: R<B32>,
    /// Values of k, where the last round has fewer than others.
    k_extent: Option<u32>,
    /// Bytes of the stage where the chunks of the first column's load go.
    writes: Vec<R<B32>>,
}

struct Column {
    /// Of its elements, at k 0.
    stored: R<B64>,
    scales: Option<R<B64>>,
    /// Whether it is a column of the result, where that is not always so.
    valid: Option<R<Pred>>,
}

/// The loads of a round: for each column its words and scales.
pub(super) type Loads = Vec<(Vec<R<B32>>, Vec<R<B32>>)>;

impl Narrow {
    /// That of a thread for `rows` columns from `origin` on, of a tile of `step`, which lie `start` bytes into a stage. A round is `tile_k` values of k.
    #[expect(clippy::too_many_arguments, reason = "what a part of a tile is")]
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        quantised: &Quantised,
        place: &TilePlace,
        (origin, (rows, step), tile_k): (R<B32>, (u32, u32), u32),
        (thread, threads): (R<B32>, u32),
        start: u32,
        surround: &mut dyn Surround,
    ) -> Result<Narrow, ContractionError> {
        let elements = load_elements(quantised);
        let format = Format::of(problem);
        let source = Source::new(&quantised.stored, format.bits(), Side::B);
        let scales = Scales::of(quantised, elements);
        let stored = surround.quantised(k, Side::B, Part::Stored, &place.batch)?;
        let scales_start = match &scales {
            Some(_) => Some(surround.quantised(k, Side::B, Part::Scales, &place.batch)?),
            None => None,
        };
        let share = Share::of(k, thread, rows, tile_k / elements, threads);
        let element = k.mul_lo_u32(share.column, elements);
        let first = k.add_u32(origin, share.row);
        // These are a part of the `step` columns of a tile.
        let ragged = !problem.n.is_multiple_of(step as usize);
        let columns = (0..share.count)
            .map(|i| {
                let column = k.add_u32(first, i * share.row_step);
                let address = k.mad_wide_u32(column, source.row_bytes, stored);
                let scales = scales.as_ref().zip(scales_start).map(|(scales, start)| {
                    let address = k.fresh();
                    scales.set_column(k, address, column, start);
                    address
                });
                let valid = ragged.then(|| k.setp_lt_u32(column, problem.n as u32));
                let valid = valid.into_iter().chain(share.active).reduce(|a, b| k.and_pred(a, b));
                Column { stored: address, scales, valid }
            })
            .collect();
        let shared = SharedTile { rows, row_bytes: SPAN };
        let chunks = elements / CHUNK_ELEMENTS;
        let first_chunk = k.mul_lo_u32(share.column, chunks);
        let writes = (0..chunks)
            .map(|chunk| {
                let chunk = k.add_u32(first_chunk, chunk);
                let offset = shared.offset(k, share.row, chunk);
                k.add_u32(offset, start)
            })
            .collect();
        let k_extent = (!problem.k.is_multiple_of(tile_k as usize)).then_some(problem.k as u32);
        Ok(Narrow { format, source, scales, share, columns, element, k_extent, writes })
    }

    /// Loads the round at `k0`. What lies outside comes as zeros.
    pub fn fetch(&self, k: &mut KernelBuilder, k0: R<B32>) -> Result<Loads, ContractionError> {
        let element = k.add_u32(k0, self.element);
        let within = self.k_extent.map(|extent| k.setp_lt_u32(element, extent));
        let bytes = if self.format.bits() == 4 { k.shr_u32(element, 1) } else { element };
        let bytes = k.cvt_u64_u32(bytes);
        let mut loads = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let inside = column.valid.into_iter().chain(within).reduce(|a, b| k.and_pred(a, b));
            let address = k.add_u64(column.stored, bytes);
            let words = self.source.chunk(k);
            self.source.load(k, (address, 0), &words, inside.is_some(), |_, _| inside)?;
            let mut held = Vec::new();
            if let (Some(scales), Some(address)) = (&self.scales, column.scales) {
                held = (0..scales.per_chunk).map(|_| k.mov_b32(0)).collect();
                scales.load(k, (address, element, self.k_extent), &held, inside)?;
            }
            loads.push((words, held));
        }
        Ok(loads)
    }

    /// Unpacks what was loaded, and stores it to a stage.
    pub fn land(&self, k: &mut KernelBuilder, loads: &Loads, stage: R<B32>) -> Result<(), ContractionError> {
        let to: Vec<R<B32>> = self.writes.iter().map(|&write| k.add_u32(stage, write)).collect();
        for (i, (words, held)) in (0..).zip(loads) {
            let words = self.source.words(k, words);
            let pairs = self.format.pairs(k, words)?;
            let pairs = match &self.scales {
                Some(scales) => scales.apply(k, self.format, held, pairs)?,
                None => pairs,
            };
            let words = self.in_order(k, pairs);
            let at = i * self.share.row_step * SPAN;
            for (&to, chunk) in to.iter().zip(words.chunks(4)) {
                let &[x, y, z, w] = chunk else { unreachable!("a chunk is four words") };
                let store = |k: &mut KernelBuilder| k.st_shared_v4_b32(to.at(at as i32), [x, y, z, w]);
                match self.share.active {
                    Some(active) => k.when(active, store),
                    None => store(k),
                }
            }
        }
        Ok(())
    }

    /// Pairs of neighbours, where pairs of four-bit elements are the elements i and i + 4 of eight.
    fn in_order(&self, k: &mut KernelBuilder, pairs: Vec<R<B32>>) -> Vec<R<B32>> {
        if self.format.bits() != 4 {
            return pairs;
        }
        let (low, high) = (0x5410, 0x7632);
        let of_eight = |pairs: &[R<B32>]| {
            [(0, low), (2, low), (0, high), (2, high)].map(|(i, halves)| k.prmt_b32(pairs[i], pairs[i + 1], halves))
        };
        pairs.chunks(4).flat_map(of_eight).collect()
    }
}
