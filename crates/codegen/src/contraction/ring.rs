//! A ring of stages in shared memory between threads that fill them, or have them filled by asynchronous copies, and warps
//! that read them.
//!
//! ```text
//! stage s:  full[s]   completes when all bytes of the stage have arrived      producers expect or store them, consumers wait
//!           empty[s]  completes when every reader has arrived                 consumers arrive, producer waits
//! ```
//!
//! Accumulators in tensor memory are such stages too: filled by products and read by the warps that finish tiles.
//!
//! Both sides walk round the ring with a `Position` of their own: a stage and the parity of its current trip. A fresh
//! barrier counts as completed for parity 1, so producers begin there and find every stage empty.
//!
//! CTAs that bring operands for each other have a ring each. Bytes are counted where they arrive; readers tell every CTA that
//! writes to their stage.
//!
//! A pair of CTAs has a ring in each, whose stages fill and empty together. Readers tell the leading CTA, in whose barriers
//! all arrivals of both are counted.

use super::neighbours::Neighbours;
use gable_ptx::{B32, KernelBuilder, Pred, R};

/// Bytes of an mbarrier.
pub(super) const BARRIER: u32 = 8;

/// Where the stages and their barriers lie.
#[derive(Clone, Copy)]
pub(super) struct Ring {
    /// Stages.
    pub stages: u32,
    /// Bytes of each; columns in tensor memory.
    pub stage_bytes: u32,
    /// Address of stage 0.
    pub data: R<B32>,
    /// Shared address of the barriers that say a stage is full, `stages` of them; those that say it is empty follow.
    pub barriers: R<B32>,
    /// Whose threads arrive on the barriers.
    pub scope: Scope,
}

/// Whose threads, copies and products arrive on the barriers of a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The CTA's own.
    Cta,
    /// Those of both CTAs of a pair.
    Pair,
    /// The CTA's own; a stage is empty when it is so in those of the cluster, too, with which the CTA shares operands.
    Neighbours(Neighbours),
}

/// A walk round the ring: registers that `advance` changes.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// The stage.
    pub stage: R<B32>,
    /// Parity of the phase that is waited for.
    pub parity: R<B32>,
}

impl Ring {
    /// The most stages of `stage_bytes` in `limit` bytes of shared memory, of which everything with one stage takes
    /// `with_one`.
    pub fn most_stages(limit: u32, with_one: u32, stage_bytes: u32) -> u32 {
        1 + limit.saturating_sub(with_one) / (stage_bytes + 2 * BARRIER)
    }

    /// Initialises the barriers: `writers` arrivals fill a stage, beside the bytes that are expected, and `readers` empty it.
    /// By one thread, before the CTA's first barrier.
    pub fn init(&self, k: &mut KernelBuilder, writers: u32, readers: u32) {
        for stage in 0..self.stages {
            k.mbarrier_init(self.barriers.at((stage * BARRIER) as i32), writers);
            k.mbarrier_init(self.barriers.at(((self.stages + stage) * BARRIER) as i32), readers);
        }
        k.fence_mbarrier_init();
    }

    /// Where one that fills stages starts.
    pub fn first_to_fill(&self, k: &mut KernelBuilder) -> Position {
        Position { stage: k.mov_b32(0), parity: k.mov_b32(1) }
    }

    /// Where one that reads stages starts.
    pub fn first_to_read(&self, k: &mut KernelBuilder) -> Position {
        Position { stage: k.mov_b32(0), parity: k.mov_b32(0) }
    }

    /// Address of the stage's data.
    pub fn stage(&self, k: &mut KernelBuilder, at: Position) -> R<B32> {
        k.mad_lo_u32(at.stage, self.stage_bytes, self.data)
    }

    /// Address of the barrier that says the stage is full.
    pub fn full(&self, k: &mut KernelBuilder, at: Position) -> R<B32> {
        k.mad_lo_u32(at.stage, BARRIER, self.barriers)
    }

    /// Bytes from a stage's barrier that says it is full to the one that says it is empty.
    pub fn empty_offset(&self) -> i32 {
        (self.stages * BARRIER) as i32
    }

    /// Waits until the stage is full.
    pub fn wait_full(&self, k: &mut KernelBuilder, at: Position) {
        let barrier = self.full(k, at);
        self.wait(k, barrier, 0, at.parity);
    }

    /// Waits until the stage is empty, and gives the address of its other barrier.
    pub fn wait_empty(&self, k: &mut KernelBuilder, at: Position) -> R<B32> {
        let barrier = self.full(k, at);
        self.wait(k, barrier, self.empty_offset(), at.parity);
        barrier
    }

    /// Address, in the cluster, of the leading CTA's barrier for one of this CTA.
    pub fn leading(&self, k: &mut KernelBuilder, barrier: R<B32>) -> R<B32> {
        match self.scope {
            Scope::Cta | Scope::Neighbours(_) => barrier,
            Scope::Pair => k.mapa_shared_cluster(barrier, 0),
        }
    }

    /// Says that this reader is done with the stage, in threads where `arrives` holds: one of each reader.
    pub fn release(&self, k: &mut KernelBuilder, stage: R<B32>, arrives: R<Pred>) {
        let barrier = k.mad_lo_u32(stage, BARRIER, self.barriers);
        self.arrive(k, barrier, self.empty_offset(), arrives);
        if let Scope::Neighbours(neighbours) = &self.scope {
            for rank in neighbours.others.into_iter().flatten() {
                k.when(arrives, |k| {
                    let barrier = k.mapa_shared_cluster(barrier, rank);
                    k.mbarrier_arrive_remote(barrier.at(self.empty_offset()));
                });
            }
        }
    }

    /// Says that a filler of the stage with this barrier is done, in threads where `arrives` holds: one of each filler.
    pub fn fill(&self, k: &mut KernelBuilder, full: R<B32>, arrives: R<Pred>) {
        self.arrive(k, full, 0, arrives);
    }

    fn arrive(&self, k: &mut KernelBuilder, barrier: R<B32>, offset: i32, arrives: R<Pred>) {
        let barrier = self.leading(k, barrier);
        k.when(arrives, |k| match self.scope {
            Scope::Cta | Scope::Neighbours(_) => k.mbarrier_arrive(barrier.at(offset)),
            Scope::Pair => k.mbarrier_arrive_cluster(barrier.at(offset)),
        });
    }

    /// To the next stage.
    pub fn advance(&self, k: &mut KernelBuilder, at: Position) {
        k.set(at.stage).add_u32(at.stage, 1);
        self.wrap(k, at);
    }

    /// Over `count` stages, which others use.
    pub fn skip(&self, k: &mut KernelBuilder, at: Position, count: u32) {
        k.set(at.stage).add_u32(at.stage, count % self.stages);
        if count / self.stages % 2 == 1 {
            k.set(at.parity).xor_b32(at.parity, 1);
        }
        if !count.is_multiple_of(self.stages) {
            self.wrap(k, at);
        }
    }

    fn wrap(&self, k: &mut KernelBuilder, at: Position) {
        let past: R<Pred> = k.setp_ge_u32(at.stage, self.stages);
        k.when(past, |k| {
            k.set(at.stage).sub_u32(at.stage, self.stages);
            k.set(at.parity).xor_b32(at.parity, 1);
        });
    }

    /// Waits for the phase of `parity` of the barrier `offset` bytes after the address.
    fn wait(&self, k: &mut KernelBuilder, barrier: R<B32>, offset: i32, parity: R<B32>) {
        let again = k.label("wait");
        k.place(&again);
        let done = match self.scope {
            // Only asynchronous copies follow the readers of other CTAs, whose products are complete: an acquire at the scope
            // of the cluster, and the release that it would meet, cost a microsecond a round.
            Scope::Cta | Scope::Neighbours(_) => k.mbarrier_try_wait_parity(barrier.at(offset), parity),
            Scope::Pair => k.mbarrier_try_wait_parity_cluster(barrier.at(offset), parity),
        };
        k.bra_unless(done, &again);
    }
}
