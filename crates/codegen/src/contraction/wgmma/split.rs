//! A tile whose k is split between the CTAs of a cluster, where tiles alone do not fill the device.
//!
//! ```text
//!            columns of the tile, a part for each CTA
//!          +--------+--------+--        sums over CTA 0's k  --+
//!   CTA 0  | part 0 | part 1 | ..       sums over CTA 1's k  --+-- in this order --> part 0, finished by CTA 0
//!          +--------+--------+--                          ..  --+
//! ```
//!
//! Each CTA multiplies its rounds as if they were all. Then a thread writes the sums of each part to the CTA that finishes
//! it, for the thread of its own number there, which holds the same rows and columns: no layout but the threads' order, 16
//! bytes of neighbouring threads side by side. They lie in the ring, whose stages nobody needs any more: a barrier of the
//! cluster before the first write says so, another one after the last that all have arrived.
//!
//! Sums are added in the order of the CTAs, so results are equal from run to run.

use super::super::cta::{TilePlace, Walk, tiles_of};
use super::super::problem::{ContractionError, Problem};
use super::super::schedule::WARP;
use super::schedule::{ROWS, WARPGROUP, WgmmaSchedule};
use super::{Consumer, Sums};
use gable_ptx::{B32, F32, KernelBuilder, Pred, R, Reg};

/// Bytes of one thread's four neighbouring sums.
const VECTOR: u32 = 16;

/// A CTA's way over tiles, and over k.
pub(super) fn walk(k: &mut KernelBuilder, problem: &Problem, schedule: &WgmmaSchedule) -> Walk {
    let (extent, group) = (schedule.extent(), schedule.group);
    if schedule.split == 1 {
        return Walk::alone(k, extent, group, schedule.ctas);
    }
    Walk::split(k, extent, group, tiles_of(problem, extent), (schedule.rounds(problem), schedule.tile.k))
}

/// Exchanges partial sums with the other CTAs of the cluster, in the ring's memory from `data` on. The consumer's rows begin at
/// `row`; warps that have none inside the result exchange nothing. Gives the whole sums of the columns that this CTA
/// finishes, and their place. By all threads of the consumers, after their last products.
pub(super) fn join(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &WgmmaSchedule,
    consumer: &Consumer,
    (data, row): (R<B32>, R<B32>),
    sums: &Sums,
    place: &TilePlace,
) -> Result<(Sums, TilePlace), ContractionError> {
    let split = schedule.split;
    let blocks = schedule.consumer_rows() / ROWS;
    let groups = schedule.finished_columns() / 8;
    // From one vector of a thread to its next one, and from one CTA's part to the next one's.
    let vector_bytes = schedule.consumers * WARPGROUP * VECTOR;
    let part_bytes = blocks * groups * vector_bytes;
    let offset =
        |part: u32, block: u32, group: u32| (part * part_bytes + (block * groups + group) * vector_bytes) as i32;

    let warp = k.mad_lo_u32(consumer.number, WARPGROUP / WARP, consumer.warp);
    let thread = k.mad_lo_u32(warp, WARP, consumer.lane);
    let own = k.mad_lo_u32(thread, VECTOR, data);
    let rank = k.cluster_ctarank();
    let written = k.mad_lo_u32(rank, part_bytes, own);
    let warp_row = k.mad_lo_u32(consumer.warp, ROWS / (WARPGROUP / WARP), row);
    let has_rows: Vec<R<Pred>> = (0..blocks)
        .map(|block| {
            let first = k.add_u32(warp_row, block * ROWS);
            k.setp_lt_u32(first, problem.m as u32)
        })
        .collect();
    k.cluster_arrive();
    k.cluster_wait();
    for ((block, sums), &has_rows) in (0..).zip(sums).zip(&has_rows) {
        k.if_(has_rows, |k| -> Result<(), ContractionError> {
            for part in 0..split {
                let to = k.mapa_shared_cluster(written, part);
                for group in 0..groups {
                    let values = floats(&sums[(part * groups + group) as usize])?;
                    k.st_shared_cluster_v4_f32(to.at(offset(0, block, group)), values);
                }
            }
            Ok(())
        })?;
    }
    k.cluster_arrive();
    k.cluster_wait();
    let mut whole: Sums = Vec::new();
    for (block, &has_rows) in (0..).zip(&has_rows) {
        let row: Vec<[R<F32>; 4]> = (0..groups).map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect();
        k.if_(has_rows, |k| {
            for (group, sums) in (0..).zip(&row) {
                for part in 0..split {
                    let more = k.ld_shared_v4_f32(own.at(offset(part, block, group)));
                    for (&sum, more) in sums.iter().zip(more) {
                        k.set(sum).add_f32(sum, more);
                    }
                }
            }
        });
        whole.push(row.into_iter().map(|sums| sums.map(R::reg)).collect());
    }
    let column = k.mad_lo_u32(rank, schedule.finished_columns(), place.column);
    Ok((whole, TilePlace { column, batch: place.batch.clone(), ..*place }))
}

fn floats(sums: &[Reg; 4]) -> Result<[R<F32>; 4], ContractionError> {
    let typed: Result<Vec<R<F32>>, _> = sums.iter().map(|sum| sum.typed()).collect();
    let broken = || ContractionError::Surround("sums that are exchanged are floats".into());
    typed.ok().and_then(|sums| sums.try_into().ok()).ok_or_else(broken)
}
