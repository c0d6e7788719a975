//! Barriers, fences, and what a warp or a warpgroup agrees on.

use super::columns::*;
use crate::meaning::{Fence as Order, ProxyFence as Proxy, Scope};
use crate::slot::{B32AndPred, BarrierId, BarrierThreads, RegisterCount};
use crate::target::Feature;

super::forms! {
    { "parallel-synchronization-and-communication-instructions-bar", Control, Barrier, BASE }
    bar_sync(Nothing <- barrier: BarrierId) = "bar.sync" => BarrierSync { counted: false, in_register: false };
    bar_sync_reg(Nothing <- barrier: RegB32) = "bar.sync" => BarrierSync { counted: false, in_register: true };
    bar_sync_count(Nothing <- barrier: BarrierId, threads: BarrierThreads) = "bar.sync"
        => BarrierSync { counted: true, in_register: false };
    bar_sync_count_reg(Nothing <- barrier: RegB32, threads: BarrierThreads) = "bar.sync"
        => BarrierSync { counted: true, in_register: true };
    bar_arrive(Nothing <- barrier: BarrierId, threads: BarrierThreads) = "bar.arrive"
        => BarrierArrive { in_register: false };
    bar_arrive_reg(Nothing <- barrier: RegB32, threads: BarrierThreads) = "bar.arrive"
        => BarrierArrive { in_register: true };

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

    { "parallel-synchronization-and-communication-instructions-membar", Control, Orders, from(90, 7, 8) }
    fence_acq_rel_cluster(Nothing <- ) = "fence.acq_rel.cluster" => Fence(Order::AcquireRelease, Scope::Cluster);
    fence_sc_cluster(Nothing <- ) = "fence.sc.cluster" => Fence(Order::SequentiallyConsistent, Scope::Cluster);

    { "parallel-synchronization-and-communication-instructions-membar", Control, Orders, from(90, 8, 0) }
    fence_proxy_async(Nothing <- ) = "fence.proxy.async" => ProxyFence(Proxy::All);
    fence_proxy_async_global(Nothing <- ) = "fence.proxy.async.global" => ProxyFence(Proxy::Global);
    fence_proxy_async_shared_cta(Nothing <- ) = "fence.proxy.async.shared::cta" => ProxyFence(Proxy::SharedCta);
    fence_proxy_async_shared_cluster(Nothing <- ) = "fence.proxy.async.shared::cluster" => ProxyFence(Proxy::SharedCluster);

    { "parallel-synchronization-and-communication-instructions-elect-sync", Control, WarpSync, from(90, 8, 0) }
    elect_sync(B32AndPred <- mask: B32) = "elect.sync" => Elect;

    // All warps of a warpgroup ask for the same number; an increase waits until registers are free.
    { "miscellaneous-instructions-setmaxnreg", Control, WarpgroupSync, with(Feature::RegisterReallocation, 8, 0) }
    setmaxnreg_inc(Nothing <- registers: RegisterCount) = "setmaxnreg.inc.sync.aligned.u32" => SetMaxRegisters { increase: true };
    setmaxnreg_dec(Nothing <- registers: RegisterCount) = "setmaxnreg.dec.sync.aligned.u32" => SetMaxRegisters { increase: false };
}
