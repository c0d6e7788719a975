//! Which part of the result a CTA computes, and small arithmetic on indices that several kernels need.
//!
//! CTAs are numbered in one dimension: batch entry, then groups of tiles. Within a group of `group` tiles along m, the
//! tiles of one column come one after the other, so that CTAs that run together share rows of A and columns of B in L2.
//! Rows that are in groups are found by `groups`.

use super::groups::Search;
use super::neighbours::Neighbours;
use super::problem::{ContractionError, Problem};
use super::schedule::WARP;
use super::surround::{Place, Surround};
use super::takeover::Takeover;
use crate::division::quotient;
use gable_ptx::{B32, KernelBuilder, Pred, R, Reg};

/// A CTA's place.
pub(super) struct Cta {
    /// Thread in the CTA.
    pub thread: R<B32>,
    /// Lane in the warp.
    pub lane: R<B32>,
    /// Warp in the CTA.
    pub warp: R<B32>,
    /// Batch coordinates.
    pub batch: Vec<R<B32>>,
    /// First row of the tile.
    pub row: R<B32>,
    /// First column of the tile.
    pub column: R<B32>,
    /// The row before which its batch entry ends, where entries have rows of their own.
    pub end: Option<R<B32>>,
}

/// Digits of `index` in a mixed radix, slowest first. The index is below the product of the sizes.
pub(super) fn digits(k: &mut KernelBuilder, index: R<B32>, sizes: &[usize]) -> Vec<R<B32>> {
    let mut rest = index;
    let mut found = Vec::with_capacity(sizes.len());
    for (position, &size) in sizes.iter().enumerate().rev() {
        if size == 1 {
            found.push(k.mov_b32(0));
        } else if sizes[..position].iter().all(|&slower| slower == 1) {
            found.push(rest);
        } else {
            let quotient = quotient(k, rest, size as u32);
            let below = k.mul_lo_u32(quotient, size as u32);
            found.push(k.sub_u32(rest, below));
            rest = quotient;
        }
    }
    found.reverse();
    found
}

/// Finds the CTA's place for tiles of `extent` rows and columns.
pub(super) fn place(k: &mut KernelBuilder, problem: &Problem, extent: (u32, u32), group: u32) -> Cta {
    let thread = k.tid_x();
    let lane = k.and_b32(thread, WARP - 1);
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let number = k.ctaid_x();
    let TilePlace { batch, row, column, end } = place_of(k, problem, extent, group, number);
    Cta { thread, lane, warp, batch, row, column, end }
}

/// A tile's place.
pub(super) struct TilePlace {
    /// Batch coordinates.
    pub batch: Vec<R<B32>>,
    /// First row.
    pub row: R<B32>,
    /// First column.
    pub column: R<B32>,
    /// The row before which its batch entry ends, where entries have rows of their own.
    pub end: Option<R<B32>>,
}

/// Tiles of `extent` rows and columns in all batch entries. Validated with the schedule to be below 2^31.
pub(super) fn tiles_of(problem: &Problem, extent: (u32, u32)) -> u32 {
    problem.tiles(extent) as u32
}

/// Finds the place of a tile by its number.
pub(super) fn place_of(
    k: &mut KernelBuilder,
    problem: &Problem,
    extent: (u32, u32),
    group: u32,
    number: R<B32>,
) -> TilePlace {
    let tiles_m = problem.m.div_ceil(extent.0 as usize) as u32;
    let tiles_n = problem.n.div_ceil(extent.1 as usize) as u32;
    let (entry, tile) = if problem.batches() == 1 {
        (k.mov_b32(0), number)
    } else {
        let split = digits(k, number, &[problem.batches(), (tiles_m * tiles_n) as usize]);
        (split[0], split[1])
    };
    let batch = digits(k, entry, &problem.batch);
    let (tile_m, tile_n) = if tiles_n == 1 {
        (tile, k.mov_b32(0))
    } else if tiles_m <= group {
        let split = digits(k, tile, &[tiles_n as usize, tiles_m as usize]);
        (split[1], split[0])
    } else {
        let split = digits(k, tile, &[tiles_m.div_ceil(group) as usize, (group * tiles_n) as usize]);
        let first = k.mul_lo_u32(split[0], group);
        let left = k.sub_u32(tiles_m, first);
        let height = k.min_u32(left, group);
        let tile_n = k.div_u32(split[1], height);
        let below = k.mul_lo_u32(tile_n, height);
        let within = k.sub_u32(split[1], below);
        (k.add_u32(first, within), tile_n)
    };
    let row = k.mul_lo_u32(tile_m, extent.0);
    let column = k.mul_lo_u32(tile_n, extent.1);
    TilePlace { batch, row, column, end: None }
}

/// A CTA's way over tiles, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    /// Rows and columns of a tile.
    pub extent: (u32, u32),
    /// Tiles along m that neighbours share columns with.
    pub group: u32,
    /// The first tile.
    pub first: R<B32>,
    /// From one tile to the next.
    pub step: u32,
    /// Which CTA of a pair this is, where two share every tile.
    pub pair: Option<Pair>,
    /// Where rows are in groups, how far it has come.
    pub search: Option<Search>,
    /// Where tiles are handed out while the kernel runs, how.
    pub takeover: Option<Takeover>,
    /// The CTA's part of k, where a cluster shares every tile so.
    pub part: Option<Part>,
    /// Where a cluster has a block of tiles, the CTA's place in it. `extent` is the block's.
    pub neighbours: Option<Neighbours>,
}

/// What a CTA sums of k.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The first k.
    pub first: R<B32>,
    /// Rounds from there on; those past the end of k find zeros.
    pub rounds: u32,
}

/// A CTA of a pair.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// 0 or 1.
    pub rank: R<B32>,
    /// Whether it is CTA 0, which multiplies for both.
    pub leads: R<Pred>,
}

impl Walk {
    /// The way over the tiles that are `step` apart, from `first` on.
    pub fn from(extent: (u32, u32), group: u32, first: R<B32>, step: u32) -> Walk {
        Walk { extent, group, first, step, pair: None, search: None, takeover: None, part: None, neighbours: None }
    }

    /// The way of each of `ctas` CTAs, which have their own tiles.
    pub fn alone(k: &mut KernelBuilder, extent: (u32, u32), group: u32, ctas: u32) -> Walk {
        Walk::from(extent, group, k.ctaid_x(), ctas)
    }

    /// The way of each of `ctas` CTAs, of which pairs share tiles. Clusters are pairs.
    pub fn paired(k: &mut KernelBuilder, extent: (u32, u32), group: u32, ctas: u32) -> Walk {
        let rank = k.cluster_ctarank();
        let pair = Pair { rank, leads: k.setp_eq_u32(rank, 0) };
        Walk { pair: Some(pair), ..Walk::from(extent, group, k.clusterid_x(), ctas / 2) }
    }

    /// The way of each CTA of `clusters` clusters, which share tiles: each sums `rounds` rounds of `tile_k`.
    pub fn split(
        k: &mut KernelBuilder,
        extent: (u32, u32),
        group: u32,
        clusters: u32,
        (rounds, tile_k): (u32, u32),
    ) -> Walk {
        let rank = k.cluster_ctarank();
        let part = Part { first: k.mul_lo_u32(rank, rounds * tile_k), rounds };
        Walk { part: Some(part), ..Walk::from(extent, group, k.clusterid_x(), clusters) }
    }

    /// The way of each of `ctas` CTAs, whose clusters have blocks of neighbouring tiles. `extent` is a block's, and tiles of the
    /// result are counted in blocks.
    pub fn blocks(k: &mut KernelBuilder, extent: (u32, u32), group: u32, ctas: u32, neighbours: Neighbours) -> Walk {
        let (group, clusters) = (group.div_ceil(neighbours.along.0), ctas / neighbours.count());
        Walk { neighbours: Some(neighbours), ..Walk::from(extent, group, k.clusterid_x(), clusters) }
    }

    /// Does the same for each tile.
    pub fn for_each(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        body: impl FnOnce(&mut KernelBuilder, &TilePlace) -> Result<(), ContractionError>,
    ) -> Result<(), ContractionError> {
        self.for_each_number(k, problem, |k, _, place| body(k, place))
    }

    /// The same, with the tile's number.
    pub fn for_each_number(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        body: impl FnOnce(&mut KernelBuilder, R<B32>, &TilePlace) -> Result<(), ContractionError>,
    ) -> Result<(), ContractionError> {
        if let Some(takeover) = &self.takeover {
            let number = k.mov_b32(self.first);
            let again = k.label("next_tile");
            k.place(&again);
            takeover.ask(k, self.pair.map(|pair| pair.leads));
            let place = place_of(k, problem, self.extent, self.group, number);
            body(k, number, &place)?;
            let exists = takeover.next(k, number);
            k.bra_if(exists, &again);
            return Ok(());
        }
        k.for_u32(self.first, tiles_of(problem, self.extent), self.step, |k, number| match &self.search {
            None => {
                let mut place = place_of(k, problem, self.extent, self.group, number);
                if let Some(neighbours) = &self.neighbours {
                    neighbours.step_to_own(k, self.extent, &mut place);
                }
                body(k, number, &place)
            }
            Some(search) => {
                let (place, exists) = search.find(k, problem, self.extent, self.group, number);
                k.if_(exists, |k| body(k, number, &place))
            }
        })
    }
}

/// Hands sums at `(row, column)` to the region, where they lie inside the result; `extent` is the CTA's tile.
pub(super) fn store_inside(
    k: &mut KernelBuilder,
    problem: &Problem,
    extent: (u32, u32),
    cta: &Cta,
    place: (R<B32>, R<B32>),
    sums: &[Reg],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    store_at(k, problem, extent, (&cta.batch, cta.end), place, sums, surround)
}

/// The same for batch coordinates that are given, and the end of their rows where they have some of their own.
pub(super) fn store_at(
    k: &mut KernelBuilder,
    problem: &Problem,
    extent: (u32, u32),
    (batch, end): (&[R<B32>], Option<R<B32>>),
    (row, column): (R<B32>, R<B32>),
    sums: &[Reg],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let mut conditions = Vec::new();
    if let Some(end) = end {
        conditions.push(k.setp_lt_u32(row, end));
    } else if !problem.m.is_multiple_of(extent.0 as usize) {
        conditions.push(k.setp_lt_u32(row, problem.m as u32));
    }
    if !problem.n.is_multiple_of(extent.1 as usize) {
        conditions.push(k.setp_lt_u32(column, problem.n as u32));
    }
    let place = Place { batch, row, column };
    match conditions.into_iter().reduce(|a, b| k.and_pred(a, b)) {
        None => surround.store(k, place, sums),
        Some(inside) => k.if_(inside, |k| surround.store(k, place, sums)),
    }
}
