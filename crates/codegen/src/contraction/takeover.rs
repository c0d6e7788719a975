//! Tiles by cluster launch control: a cluster that has finished its tile takes over that of one that has not begun.
//!
//! ```text
//!  the launch has a cluster for each tile; those that run ask for the tiles of those that wait
//!
//!  slot s of the ring of answers:   full[s]   the answer has arrived             empty[s]   every part of the CTA has read it
//!
//!  who brings operands, at a tile's start:  wait empty[s] | expect 16 bytes on full[s] | ask
//!  everybody, at the tile's end:            wait full[s] | read: which tile, or none | arrive on empty[s]
//! ```
//! One request is under way at a time, and none is made after one was refused. Of a pair, the first CTA asks, the answer comes
//! to both, and the empty barriers of the first count the readers of both.

use super::ring::{Position, Ring, Scope};
use gable_ptx::{B32, KernelBuilder, Pred, R};

/// Bytes of an answer.
const ANSWER: u32 = 16;

/// Answers that may wait to be read by those that are behind.
pub(super) const SLOTS: u32 = 4;

/// Bytes of the slots; they begin at a multiple of as many as an answer has.
pub(super) const SLOT_BYTES: u32 = SLOTS * ANSWER;

/// One part of a CTA on its way from tile to tile.
#[derive(Clone, Copy)]
pub(super) struct Takeover {
    answers: Ring,
    /// CTAs of a cluster.
    ctas: u32,
    read: Position,
    /// Where the part asks, if it does.
    asks: Option<Position>,
    /// Whether the part is whole warps, or one thread.
    has_warps: bool,
    /// Whether the thread speaks for its warp.
    elected: R<Pred>,
}

/// Where answers arrive.
pub(super) fn ring(slots: R<B32>, barriers: R<B32>, scope: Scope) -> Ring {
    Ring { stages: SLOTS, stage_bytes: ANSWER, data: slots, barriers, scope }
}

impl Takeover {
    /// The part of whole warps of a cluster of `ctas`, of each of which the thread where `elected` holds speaks.
    pub fn of_warps(k: &mut KernelBuilder, answers: Ring, ctas: u32, elected: R<Pred>) -> Takeover {
        Takeover { answers, ctas, read: answers.first_to_read(k), asks: None, has_warps: true, elected }
    }

    /// The same for a part that is that one thread of a warp.
    pub fn alone(self) -> Takeover {
        Takeover { has_warps: false, ..self }
    }

    /// The same for the thread that asks: there is one in each CTA.
    pub fn asking(self, k: &mut KernelBuilder) -> Takeover {
        Takeover { asks: Some(self.answers.first_to_fill(k)), ..self.alone() }
    }

    /// Asks for the next tile where the part does. Of a pair only the CTA that `leads` does, and both expect the answer.
    pub fn ask(&self, k: &mut KernelBuilder, leads: Option<R<Pred>>) {
        let Some(at) = self.asks else { return };
        let (slot, full) = (self.answers.stage(k, at), self.answers.full(k, at));
        match leads {
            None => {
                self.answers.wait_empty(k, at);
                k.mbarrier_arrive_expect_tx(full.at(0), ANSWER);
                k.clusterlaunchcontrol_try_cancel(slot.at(0), full.at(0));
            }
            Some(leads) => {
                // This CTA's barrier is at the next use of the slot: the thread itself has read the answer before.
                k.mbarrier_arrive_expect_tx(full.at(0), ANSWER);
                k.if_(leads, |k| {
                    self.answers.wait_empty(k, at);
                    k.clusterlaunchcontrol_try_cancel_multicast(slot.at(0), full.at(0));
                });
            }
        }
        self.answers.advance(k, at);
    }

    /// Waits for the answer, sets `number` to the tile's, and says whether there is one.
    pub fn next(&self, k: &mut KernelBuilder, number: R<B32>) -> R<Pred> {
        let Takeover { answers, read, has_warps, elected, .. } = *self;
        answers.wait_full(k, read);
        let slot = answers.stage(k, read);
        let answer = k.ld_shared_b128(slot.at(0));
        let exists = k.clusterlaunchcontrol_is_canceled(answer);
        k.when(exists, |k| {
            k.set(number).clusterlaunchcontrol_first_ctaid_x(answer);
        });
        if self.ctas > 1 {
            k.set(number).shr_u32(number, self.ctas.trailing_zeros());
        }
        // Orders the read before the next answer.
        k.fence_proxy_async_shared_cta();
        if has_warps {
            k.bar_warp_sync(-1);
        }
        answers.release(k, read.stage, elected);
        answers.advance(k, read);
        exists
    }
}
