//! Warps that add the partial sums of a group of columns while the others multiply the next one, and CTAs of a cluster that
//! exchange theirs.
//!
//! ```text
//!  warps of the CTA                   joiner j: groups j, j + joiners, ..       joiner j of every CTA, the same groups
//!  +--------+                          sums over the warps,                      +---------------------+
//!  | slab 0 | --full-->  in the order  of all columns of the group  --> part r - | from CTA 0, 1, ..   | --> results of part r
//!  | slab 1 | <-empty--  of the warps                                  of CTA r  | in the order of     |
//!  +--------+                                                                    | the CTAs            |
//!                                                                                +---------------------+
//! ```
//!
//! Sets of slabs take turns, with a barrier each that says they are full and one that says they are empty: a warp
//! that multiplies waits only for sums of some groups before, and no warp for any other that multiplies. Each joiner has a set
//! of its own, a single one two: a barrier's parity tells a phase from the next one only.
//!
//! Where k is split, a joiner writes the sums of each part of the columns to the CTA that finishes it, where its twin waits for
//! as many arrivals as there are CTAs. Each joiner has memory for two groups: what a CTA sends for a third
//! follows what it received for the second, which others sent after they had read the first. So nobody need say that it has
//! read, and no CTA ends before all that is sent to it has come.

use super::super::super::cta::{Cta, digits};
use super::super::super::problem::{ContractionError, Problem};
use super::super::super::ring::{BARRIER, Position, Ring, Scope};
use super::super::super::schedule::WARP;
use super::super::super::surround::Surround;
use super::super::join::Slabs;
use super::schedule::{GIVEN_COLUMNS, StreamedSchedule, TURNS};
use gable_ptx::{B32, F32, KernelBuilder, R};

/// The joiners of a CTA, and the slabs that they read.
pub(super) struct Joiners<'a> {
    problem: &'a Problem,
    schedule: StreamedSchedule,
    slabs: Slabs,
    /// The slabs, as stages that the warps fill together.
    pub ring: Ring,
    /// What comes from the CTAs of the cluster, `[joiner, turn, CTA, row, column]`, and where barriers say that it has come,
    /// `[joiner, turn]`.
    received: R<B32>,
    arrived: R<B32>,
}

impl<'a> Joiners<'a> {
    /// The joiners of a CTA whose dynamic shared memory begins at `shared`.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &'a Problem,
        schedule: &StreamedSchedule,
        shared: R<B32>,
    ) -> Joiners<'a> {
        let slabs = schedule.slabs();
        let received = k.add_u32(shared, schedule.slabs_bytes(problem));
        let barriers = k.add_u32(received, schedule.received_bytes(problem));
        let stage_bytes = slabs.all_bytes(problem);
        let ring = Ring { stages: schedule.turns(), stage_bytes, data: shared, barriers, scope: Scope::Cta };
        let arrived = k.add_u32(barriers, 2 * schedule.turns() * BARRIER);
        Joiners { problem, schedule: *schedule, slabs, ring, received, arrived }
    }

    /// Initialises the barriers, by one thread. A barrier of the cluster must follow.
    pub fn init(&self, k: &mut KernelBuilder) {
        if self.schedule.split > 1 {
            for barrier in 0..self.schedule.joiners * TURNS {
                k.mbarrier_init(self.arrived.at((barrier * BARRIER) as i32), self.schedule.split);
            }
        }
        self.ring.init(k, self.schedule.warps, 1);
    }

    /// Adds and finishes every group of columns of a joiner. `group` is the first one of the CTA.
    pub fn run(
        &self,
        k: &mut KernelBuilder,
        (lane, joiner): (R<B32>, R<B32>),
        (group, groups): (R<B32>, u32),
        batch: &[R<B32>],
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let schedule = &self.schedule;
        let (joiners, clusters) = (schedule.joiners, schedule.clusters());
        let is_first = k.setp_eq_u32(lane, 0);
        let at = Position { stage: k.mov_b32(joiner), parity: k.mov_b32(0) };
        let turn = k.mov_b32(0);
        let first = k.mad_lo_u32(joiner, clusters, group);
        k.no_unroll();
        k.for_u32(first, groups, joiners * clusters, |k, group| {
            self.ring.wait_full(k, at);
            let slab = self.ring.stage(k, at);
            let column = k.mul_lo_u32(group, schedule.columns());
            let mut cta =
                Cta { thread: lane, lane, warp: joiner, batch: batch.to_vec(), row: k.mov_b32(0), column, end: None };
            if schedule.split == 1 {
                self.slabs.join(k, self.problem, &cta, (slab, WARP), surround)?;
                k.bar_warp_sync(-1);
                self.ring.release(k, at.stage, is_first);
            } else {
                let received = schedule.received();
                let rank = k.cluster_ctarank();
                let which = k.and_b32(turn, TURNS - 1);
                let place = k.mad_lo_u32(joiner, TURNS, which);
                let from = k.mad_lo_u32(place, received.all_bytes(self.problem), self.received);
                let arrived = k.mad_lo_u32(place, BARRIER, self.arrived);
                let to = k.mad_lo_u32(rank, received.bytes(self.problem), from);
                self.give(k, lane, slab, (&received, to))?;
                // All lanes have read the slab, and have written.
                k.bar_warp_sync(-1);
                self.ring.release(k, at.stage, is_first);
                let tells = k.setp_lt_u32(lane, schedule.split);
                k.when(tells, |k| {
                    let told = k.mapa_shared_cluster(arrived, lane);
                    k.mbarrier_arrive_cluster(told.at(0));
                });
                let round = k.shr_u32(turn, TURNS.trailing_zeros());
                let parity = k.and_b32(round, 1);
                let again = k.label("receive");
                k.place(&again);
                let done = k.mbarrier_try_wait_parity_cluster(arrived.at(0), parity);
                k.bra_unless(done, &again);
                cta.column = k.mad_lo_u32(rank, schedule.finished_columns(), column);
                received.join(k, self.problem, &cta, (from, WARP), surround)?;
                k.bar_warp_sync(-1);
                k.set(turn).add_u32(turn, 1);
            }
            self.ring.skip(k, at, joiners);
            Ok(())
        })
    }

    /// Writes the sums over a slab's warps to the CTAs that finish them: `to` is the CTA's place in what each receives.
    fn give(
        &self,
        k: &mut KernelBuilder,
        lane: R<B32>,
        slab: R<B32>,
        (received, to): (&Slabs, R<B32>),
    ) -> Result<(), ContractionError> {
        let schedule = &self.schedule;
        let finished = schedule.finished_columns();
        let sizes =
            [self.problem.m, schedule.products as usize, schedule.split as usize, (finished / GIVEN_COLUMNS) as usize];
        let vectors: usize = sizes.iter().product();
        k.no_unroll();
        k.for_u32(lane, vectors as u32, WARP, |k, vector| {
            let [row, product, part, across] = digits(k, vector, &sizes)[..] else {
                unreachable!("as many digits as sizes")
            };
            let within = k.mul_lo_u32(across, GIVEN_COLUMNS);
            let word = |k: &mut KernelBuilder, pitch: u32, columns: u32| {
                let word = k.mad_lo_u32(row, pitch, within);
                k.mad_lo_u32(product, columns, word)
            };
            let read = word(k, self.slabs.pitch, self.slabs.columns);
            let read = k.mad_lo_u32(part, finished, read);
            let read = k.mad_lo_u32(read, 4, slab);
            let sums = self.slabs.sum(k, self.problem, (read, 0), GIVEN_COLUMNS)?;
            let sums: [R<F32>; 4] = sums.try_into().map_err(|_| broken())?;
            let written = word(k, received.pitch, received.columns);
            let written = k.mad_lo_u32(written, 4, to);
            let written = k.mapa_shared_cluster(written, part);
            k.st_shared_cluster_v4_f32(written.at(0), sums);
            Ok(())
        })
    }
}

fn broken() -> ContractionError {
    ContractionError::Surround("a vector of sums has four".into())
}

const _: () = assert!(TURNS.is_power_of_two(), "turns are the low bits of a number");
