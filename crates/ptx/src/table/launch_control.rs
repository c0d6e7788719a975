//! Taking over the work of clusters that have not begun (`clusterlaunchcontrol`), for kernels that stay on their SM.
//!
//! The answer is 16 bytes in shared memory, which an mbarrier counts. Before the next request may overwrite it, what read
//! it needs `fence_proxy_async_shared_cta`. After an answer without work no further request may be made.

use super::columns::*;
use crate::meaning::LaunchControl as Step;
use crate::operand::Shared;
use crate::target::Feature;

super::forms! {
    { "parallel-synchronization-and-communication-instructions-clusterlaunchcontrol-try-cancel", Control, Grid, from(100, 8, 6) }
    clusterlaunchcontrol_try_cancel(Nothing <- answer: Shared, barrier: Shared)
        = "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128"
        => LaunchControl(Step::TryCancel { multicast: false });

    { "parallel-synchronization-and-communication-instructions-clusterlaunchcontrol-try-cancel", Control, Grid, with(Feature::ClusterWideCancel, 8, 6) }
    clusterlaunchcontrol_try_cancel_multicast(Nothing <- answer: Shared, barrier: Shared)
        = "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.multicast::cluster::all.b128"
        => LaunchControl(Step::TryCancel { multicast: true });

    { "parallel-synchronization-and-communication-instructions-clusterlaunchcontrol-query-cancel", Alu, Pure, from(100, 8, 6) }
    clusterlaunchcontrol_is_canceled(Pred <- answer: RegB128)
        = "clusterlaunchcontrol.query_cancel.is_canceled.pred.b128" => LaunchControl(Step::IsCanceled);
    clusterlaunchcontrol_first_ctaid_x(B32 <- answer: RegB128)
        = "clusterlaunchcontrol.query_cancel.get_first_ctaid::x.b32.b128" => LaunchControl(Step::FirstCtaidX);
    clusterlaunchcontrol_first_ctaid_y(B32 <- answer: RegB128)
        = "clusterlaunchcontrol.query_cancel.get_first_ctaid::y.b32.b128" => LaunchControl(Step::FirstCtaidY);
    clusterlaunchcontrol_first_ctaid_z(B32 <- answer: RegB128)
        = "clusterlaunchcontrol.query_cancel.get_first_ctaid::z.b32.b128" => LaunchControl(Step::FirstCtaidZ);
}
