//! Barriers, mbarriers, fences, grids that depend on each other.

use super::{BASE, has, rows, sm};
use crate::target::Feature::{ClusterWideCancel, RegisterReallocation};

rows! {
    BarSync:
        "bar.sync", BASE;
        "barrier.sync{.aligned}", sm(30, 6, 0);
        "bar.cta.sync", sm(30, 7, 8);
        "barrier.cta.sync{.aligned}", sm(30, 7, 8);
    BarArrive:
        "bar.arrive", BASE;
        "barrier.arrive{.aligned}", sm(30, 6, 0);
        "bar.cta.arrive", sm(30, 7, 8);
        "barrier.cta.arrive{.aligned}", sm(30, 7, 8);
    BarRed:
        "bar.red(.popc.u32|.and.pred|.or.pred)", BASE;
        "barrier.red(.popc|.popc.aligned).u32", sm(30, 6, 0);
        "barrier.red(.and|.or){.aligned}.pred", sm(30, 6, 0);
        "barrier.cta.red(.popc|.popc.aligned).u32", sm(30, 7, 8);
        "barrier.cta.red(.and|.or){.aligned}.pred", sm(30, 7, 8);
        "bar.cta.red(.popc.u32|.and.pred|.or.pred)", sm(30, 7, 8);
    BarWarpSync:
        "bar.warp.sync", sm(30, 6, 0);
    BarrierClusterArrive:
        "barrier.cluster.arrive{.aligned}", sm(90, 7, 8);
        "barrier.cluster.arrive(.release|.relaxed){.aligned}", sm(90, 8, 0);
    BarrierClusterWait:
        "barrier.cluster.wait{.aligned}", sm(90, 7, 8);
        "barrier.cluster.wait.acquire{.aligned}", sm(90, 8, 0);
    Membar:
        "membar(.cta|.gl|.sys)", BASE;
    Fence:
        "fence{.sc|.acq_rel}$SCOPE", sm(70, 6, 0);
        "fence(.acquire|.release)$SCOPE", sm(70, 8, 6);
        "fence.acquire.sync_restrict::shared::cluster.cluster", sm(90, 8, 6);
        "fence.release.sync_restrict::shared::cta.cluster", sm(90, 8, 6);
    FenceMbarrierInit:
        "fence.mbarrier_init.release.cluster", sm(90, 8, 0);
    FenceProxy:
        "fence.proxy.alias", sm(70, 7, 5);
        "fence.proxy.async{.global|.shared::cta|.shared::cluster}", sm(90, 8, 0);
        "fence.proxy.tensormap::generic(.release|.acquire)$SCOPE", sm(90, 8, 3);
        "fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster", sm(90, 8, 6);
        "fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster", sm(90, 8, 6);
        "membar.proxy.alias", sm(70, 7, 5);
    MbarrierInit:
        "mbarrier.init{.shared|.shared::cta}.b64", sm(80, 7, 0);
    MbarrierInval:
        "mbarrier.inval{.shared|.shared::cta}.b64", sm(80, 7, 0);
    MbarrierExpectTx:
        "mbarrier.expect_tx{.relaxed.cta|.relaxed.cluster}{.shared|.shared::cta|.shared::cluster}.b64", sm(90, 8, 0);
    MbarrierCompleteTx:
        "mbarrier.complete_tx{.relaxed.cta|.relaxed.cluster}{.shared|.shared::cta|.shared::cluster}.b64", sm(90, 8, 0);
    MbarrierArrive:
        "mbarrier.arrive{.release.cta}{.noComplete}{.shared|.shared::cta}.b64", sm(80, 7, 0);
        "mbarrier.arrive{.expect_tx}{$MBARRIER_RELEASE}{.shared|.shared::cta|.shared::cluster}.b64", sm(90, 8, 0);
    MbarrierArriveDrop:
        "mbarrier.arrive_drop{.release.cta}{.noComplete}{.shared|.shared::cta}.b64", sm(80, 7, 0);
        "mbarrier.arrive_drop{.expect_tx}{$MBARRIER_RELEASE}{.shared|.shared::cta|.shared::cluster}.b64", sm(90, 8, 0);
    MbarrierTestWait:
        "mbarrier.test_wait{.acquire.cta}{.shared|.shared::cta}.b64", sm(80, 7, 0);
        "mbarrier.test_wait.parity{.acquire.cta}{.shared|.shared::cta}.b64", sm(80, 7, 1);
        "mbarrier.test_wait{.parity}{$MBARRIER_ACQUIRE}{.shared|.shared::cta}.b64", sm(90, 8, 0);
    MbarrierTryWait:
        "mbarrier.try_wait{.parity}{.shared|.shared::cta}.b64", sm(90, 7, 8);
        "mbarrier.try_wait{.parity}$MBARRIER_ACQUIRE{.shared|.shared::cta}.b64", sm(90, 8, 0);
    MbarrierPendingCount:
        "mbarrier.pending_count.b64", sm(80, 7, 0);
    Griddepcontrol:
        "griddepcontrol(.launch_dependents|.wait)", sm(90, 7, 8);
    ClusterlaunchcontrolTryCancel:
        "clusterlaunchcontrol.try_cancel.async{.shared::cta}.mbarrier::complete_tx::bytes.b128", sm(100, 8, 6);
        "clusterlaunchcontrol.try_cancel.async{.shared::cta}.mbarrier::complete_tx::bytes.multicast::cluster::all.b128", has(ClusterWideCancel, 8, 6);
    ClusterlaunchcontrolQueryCancel:
        "clusterlaunchcontrol.query_cancel.is_canceled.pred.b128", sm(100, 8, 6);
        "clusterlaunchcontrol.query_cancel.get_first_ctaid.v4.b32.b128", sm(100, 8, 6);
        "clusterlaunchcontrol.query_cancel(.get_first_ctaid::x|.get_first_ctaid::y|.get_first_ctaid::z).b32.b128", sm(100, 8, 6);
    Setmaxnreg:
        "setmaxnreg(.inc|.dec).sync.aligned.u32", has(RegisterReallocation, 8, 0);
    Nanosleep:
        "nanosleep.u32", sm(70, 6, 3);
}
