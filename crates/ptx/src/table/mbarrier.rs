//! Barriers in shared memory that count arrivals and the bytes of asynchronous copies.
//!
//! An mbarrier is 8 bytes, aligned to 8. Of a fresh one the phase of parity 0 runs: a wait for parity 1 holds at once.
//! A wait that gives false is to be repeated.

use super::columns::*;
use crate::meaning::Mbarrier as Step;
use crate::operand::{Shared, SharedCluster};
use crate::slot::{ArrivalCount, Discarded, Parity};

super::forms! {
    { "parallel-synchronization-and-communication-instructions-mbarrier-init", LoadStore, UpdatesBarrier, from(80, 7, 8) }
    mbarrier_init(Nothing <- address: Shared, count: ArrivalCount) = "mbarrier.init.shared::cta.b64" => Mbarrier(Step::Init);

    { "parallel-synchronization-and-communication-instructions-mbarrier-inval", LoadStore, UpdatesBarrier, from(80, 7, 8) }
    mbarrier_inval(Nothing <- address: Shared) = "mbarrier.inval.shared::cta.b64" => Mbarrier(Step::Invalidate);

    { "parallel-synchronization-and-communication-instructions-membar", Control, UpdatesBarrier, from(90, 8, 0) }
    fence_mbarrier_init(Nothing <- ) = "fence.mbarrier_init.release.cluster" => Mbarrier(Step::FenceInit);

    { "parallel-synchronization-and-communication-instructions-mbarrier-arrive", LoadStore, UpdatesBarrier, from(80, 7, 8) }
    mbarrier_arrive(Discarded <- address: Shared) = "mbarrier.arrive.shared::cta.b64" => Mbarrier(Step::Arrive);

    { "parallel-synchronization-and-communication-instructions-mbarrier-arrive", LoadStore, UpdatesBarrier, from(90, 7, 8) }
    mbarrier_arrive_count(Discarded <- address: Shared, count: ArrivalCount) = "mbarrier.arrive.shared::cta.b64"
        => Mbarrier(Step::ArriveCount);

    { "parallel-synchronization-and-communication-instructions-mbarrier-arrive", LoadStore, UpdatesBarrier, from(90, 8, 0) }
    mbarrier_arrive_expect_tx(Discarded <- address: Shared, bytes: B32) = "mbarrier.arrive.expect_tx.shared::cta.b64"
        => Mbarrier(Step::ArriveExpectBytes);
    mbarrier_arrive_cluster(Discarded <- address: SharedCluster) = "mbarrier.arrive.release.cluster.shared::cluster.b64"
        => Mbarrier(Step::ArriveCluster);
    mbarrier_arrive_remote(Discarded <- address: SharedCluster) = "mbarrier.arrive.shared::cluster.b64"
        => Mbarrier(Step::ArriveRemote);
    mbarrier_arrive_expect_tx_cluster(Discarded <- address: SharedCluster, bytes: B32)
        = "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64" => Mbarrier(Step::ArriveExpectBytesCluster);

    { "parallel-synchronization-and-communication-instructions-mbarrier-expect-tx", LoadStore, UpdatesBarrier, from(90, 8, 0) }
    mbarrier_expect_tx(Nothing <- address: Shared, bytes: B32) = "mbarrier.expect_tx.relaxed.cta.shared::cta.b64"
        => Mbarrier(Step::ExpectBytes);

    { "parallel-synchronization-and-communication-instructions-mbarrier-test-wait", LoadStore, UpdatesBarrier, from(80, 7, 8) }
    mbarrier_test_wait_parity(Pred <- address: Shared, parity: Parity) = "mbarrier.test_wait.parity.shared::cta.b64"
        => Mbarrier(Step::TestWaitParity);

    { "parallel-synchronization-and-communication-instructions-mbarrier-test-wait", LoadStore, UpdatesBarrier, from(90, 7, 8) }
    mbarrier_try_wait_parity(Pred <- address: Shared, parity: Parity) = "mbarrier.try_wait.parity.shared::cta.b64"
        => Mbarrier(Step::TryWaitParity);

    { "parallel-synchronization-and-communication-instructions-mbarrier-test-wait", LoadStore, UpdatesBarrier, from(90, 8, 0) }
    mbarrier_try_wait_parity_cluster(Pred <- address: Shared, parity: Parity)
        = "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64" => Mbarrier(Step::TryWaitParityCluster);

    { "data-movement-and-conversion-instructions-cp-async-mbarrier-arrive", LoadStore, UpdatesBarrier, from(80, 7, 8) }
    cp_async_mbarrier_arrive_noinc(Nothing <- address: Shared) = "cp.async.mbarrier.arrive.noinc.shared::cta.b64"
        => Mbarrier(Step::ArriveAfterCopies);
}
