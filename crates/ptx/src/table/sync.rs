//! Barriers and fences.

use super::columns::*;
use crate::meaning::{Fence as Order, Scope};
use crate::slot::{BarrierId, BarrierThreads};

super::forms! {
    { "parallel-synchronization-and-communication-instructions-bar", Control, Barrier, BASE }
    bar_sync(Nothing <- barrier: BarrierId) = "bar.sync" => BarrierSync { counted: false };
    bar_sync_count(Nothing <- barrier: BarrierId, threads: BarrierThreads) = "bar.sync" => BarrierSync { counted: true };
    bar_arrive(Nothing <- barrier: BarrierId, threads: BarrierThreads) = "bar.arrive" => BarrierArrive;

    { "parallel-synchronization-and-communication-instructions-bar-warp-sync", Control, WarpSync, BASE }
    bar_warp_sync(Nothing <- mask: B32) = "bar.warp.sync" => WarpBarrier;

    { "parallel-synchronization-and-communication-instructions-membar", Control, Orders, BASE }
    membar_cta(Nothing <- ) = "membar.cta" => Fence(Order::Membar, Scope::Cta);
    membar_gl(Nothing <- ) = "membar.gl" => Fence(Order::Membar, Scope::Device);
    membar_sys(Nothing <- ) = "membar.sys" => Fence(Order::Membar, Scope::System);
    fence_acq_rel_cta(Nothing <- ) = "fence.acq_rel.cta" => Fence(Order::AcquireRelease, Scope::Cta);
    fence_acq_rel_gpu(Nothing <- ) = "fence.acq_rel.gpu" => Fence(Order::AcquireRelease, Scope::Device);
    fence_acq_rel_sys(Nothing <- ) = "fence.acq_rel.sys" => Fence(Order::AcquireRelease, Scope::System);
    fence_sc_cta(Nothing <- ) = "fence.sc.cta" => Fence(Order::SequentiallyConsistent, Scope::Cta);
    fence_sc_gpu(Nothing <- ) = "fence.sc.gpu" => Fence(Order::SequentiallyConsistent, Scope::Device);
    fence_sc_sys(Nothing <- ) = "fence.sc.sys" => Fence(Order::SequentiallyConsistent, Scope::System);
}
