//! Copies of tensor boxes and of bytes in a row by the tensor memory accelerator, which one thread begins.
//!
//! A box is given by a tensor map and the coordinates of its first element, `(map, [x, y])`, the innermost dimension
//! first. What comes to shared memory is counted in bytes by an mbarrier; what leaves it belongs to the thread's bulk
//! group. Shared addresses are aligned to 128 bytes, those of rows of bytes and their sizes to 16. Before a copy reads
//! what ordinary stores have written, each of their threads needs `fence_proxy_async_shared_cta`.

use super::columns::*;
use crate::meaning::{Bulk as Rows, TensorLoad as Load, TensorStore as Store};
use crate::operand::{Generic, Global, Shared, SharedCluster};
use crate::slot::{BulkBytes, PendingGroups};
use crate::target::Feature::CtaPairCopies;

/// One line per rank: loads, loads of a pair of CTAs, loads whose destination is spelled as memory of the own CTA, stores
/// and reductions.
macro_rules! boxes {
    ($($rank:literal $dim:literal $Tensor:ident:
        $load:ident $load_multicast:ident $load_hint:ident $load_both:ident
        $pair:ident $pair_multicast:ident $pair_hint:ident $pair_both:ident
        $own:ident $own_hint:ident $store:ident $store_hint:ident $add:ident $add_hint:ident;)*) => {
        super::forms! {
            $(
            { "data-movement-and-conversion-instructions-cp-async-bulk-tensor", LoadStore, CopiesAsync, from(90, 8, 0) }
            $load(Nothing <- to: Shared, source: $Tensor, barrier: Shared)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: false, cta_pair: false, own_cta: false });
            $load_multicast(Nothing <- to: Shared, source: $Tensor, barrier: Shared, ctas: B16)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster")
                => TensorLoad(Load { rank: $rank, multicast: true, hint: false, cta_pair: false, own_cta: false });
            $load_hint(Nothing <- to: Shared, source: $Tensor, barrier: Shared, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: true, cta_pair: false, own_cta: false });
            $load_both(Nothing <- to: Shared, source: $Tensor, barrier: Shared, ctas: B16, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint")
                => TensorLoad(Load { rank: $rank, multicast: true, hint: true, cta_pair: false, own_cta: false });

            { "data-movement-and-conversion-instructions-cp-async-bulk-tensor", LoadStore, CopiesAsync, with(CtaPairCopies, 8, 6) }
            $pair(Nothing <- to: Shared, source: $Tensor, barrier: Shared)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.cta_group::2")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: false, cta_pair: true, own_cta: false });
            $pair_multicast(Nothing <- to: Shared, source: $Tensor, barrier: Shared, ctas: B16)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster.cta_group::2")
                => TensorLoad(Load { rank: $rank, multicast: true, hint: false, cta_pair: true, own_cta: false });
            $pair_hint(Nothing <- to: Shared, source: $Tensor, barrier: Shared, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.cta_group::2.L2::cache_hint")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: true, cta_pair: true, own_cta: false });
            $pair_both(Nothing <- to: Shared, source: $Tensor, barrier: Shared, ctas: B16, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster.cta_group::2.L2::cache_hint")
                => TensorLoad(Load { rank: $rank, multicast: true, hint: true, cta_pair: true, own_cta: false });

            { "data-movement-and-conversion-instructions-cp-async-bulk-tensor", LoadStore, CopiesAsync, from(90, 8, 6) }
            $own(Nothing <- to: Shared, source: $Tensor, barrier: Shared)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cta.global.tile.mbarrier::complete_tx::bytes")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: false, cta_pair: false, own_cta: true });
            $own_hint(Nothing <- to: Shared, source: $Tensor, barrier: Shared, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".shared::cta.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint")
                => TensorLoad(Load { rank: $rank, multicast: false, hint: true, cta_pair: false, own_cta: true });

            { "data-movement-and-conversion-instructions-cp-async-bulk-tensor", LoadStore, StoresAsync, from(90, 8, 0) }
            $store(Nothing <- to: $Tensor, source: Shared)
                = concat!("cp.async.bulk.tensor.", $dim, ".global.shared::cta.tile.bulk_group")
                => TensorStore(Store { rank: $rank, add: false, hint: false });
            $store_hint(Nothing <- to: $Tensor, source: Shared, policy: B64)
                = concat!("cp.async.bulk.tensor.", $dim, ".global.shared::cta.tile.bulk_group.L2::cache_hint")
                => TensorStore(Store { rank: $rank, add: false, hint: true });

            { "data-movement-and-conversion-instructions-cp-reduce-async-bulk-tensor", LoadStore, StoresAsync, from(90, 8, 0) }
            $add(Nothing <- to: $Tensor, source: Shared)
                = concat!("cp.reduce.async.bulk.tensor.", $dim, ".global.shared::cta.add.tile.bulk_group")
                => TensorStore(Store { rank: $rank, add: true, hint: false });
            $add_hint(Nothing <- to: $Tensor, source: Shared, policy: B64)
                = concat!("cp.reduce.async.bulk.tensor.", $dim, ".global.shared::cta.add.tile.bulk_group.L2::cache_hint")
                => TensorStore(Store { rank: $rank, add: true, hint: true });
            )*

            { "data-movement-and-conversion-instructions-cp-async-bulk", LoadStore, CopiesAsync, from(90, 8, 0) }
            bulk_load(Nothing <- to: Shared, source: Global, bytes: BulkBytes, barrier: Shared)
                = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                => Bulk(Rows::Load { multicast: false, hint: false });
            bulk_load_multicast(Nothing <- to: Shared, source: Global, bytes: BulkBytes, barrier: Shared, ctas: B16)
                = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
                => Bulk(Rows::Load { multicast: true, hint: false });
            bulk_load_hint(Nothing <- to: Shared, source: Global, bytes: BulkBytes, barrier: Shared, policy: B64)
                = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
                => Bulk(Rows::Load { multicast: false, hint: true });
            bulk_load_multicast_hint(Nothing <- to: Shared, source: Global, bytes: BulkBytes, barrier: Shared, ctas: B16, policy: B64)
                = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
                => Bulk(Rows::Load { multicast: true, hint: true });
            bulk_copy_cluster(Nothing <- to: SharedCluster, source: Shared, bytes: BulkBytes, barrier: SharedCluster)
                = "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes" => Bulk(Rows::ToCluster);

            { "data-movement-and-conversion-instructions-cp-async-bulk", LoadStore, StoresAsync, from(90, 8, 0) }
            bulk_store(Nothing <- to: Global, source: Shared, bytes: BulkBytes)
                = "cp.async.bulk.global.shared::cta.bulk_group" => Bulk(Rows::Store { hint: false });
            bulk_store_hint(Nothing <- to: Global, source: Shared, bytes: BulkBytes, policy: B64)
                = "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint" => Bulk(Rows::Store { hint: true });

            { "data-movement-and-conversion-instructions-cp-async-bulk-prefetch", LoadStore, Reads(Space::Global), from(90, 8, 0) }
            bulk_prefetch_l2(Nothing <- source: Global, bytes: BulkBytes) = "cp.async.bulk.prefetch.L2.global" => Bulk(Rows::PrefetchL2);

            { "data-movement-and-conversion-instructions-cp-async-bulk-commit-group", LoadStore, AsyncGroup, from(90, 8, 0) }
            bulk_commit_group(Nothing <- ) = "cp.async.bulk.commit_group" => Bulk(Rows::Commit);

            { "data-movement-and-conversion-instructions-cp-async-bulk-wait-group", LoadStore, AsyncGroup, from(90, 8, 0) }
            bulk_wait_group(Nothing <- pending: PendingGroups) = "cp.async.bulk.wait_group" => Bulk(Rows::Wait);
            bulk_wait_group_read(Nothing <- pending: PendingGroups) = "cp.async.bulk.wait_group.read" => Bulk(Rows::WaitRead);

            { "data-movement-and-conversion-instructions-prefetch-prefetchu", LoadStore, Reads(Space::Generic), from(90, 8, 0) }
            prefetch_tensormap(Nothing <- map: Generic) = "prefetch.tensormap" => PrefetchTensorMap;

            { "data-movement-and-conversion-instructions-prefetch-prefetchu", LoadStore, Reads(Space::Global), BASE }
            prefetch_l2(Nothing <- line: Global) = "prefetch.global.L2" => PrefetchL2;
        }
    };
}

boxes! {
    1 "1d" Tensor1:
        tma_load_1d tma_load_1d_multicast tma_load_1d_hint tma_load_1d_multicast_hint
        tma_load_1d_cta_group_2 tma_load_1d_multicast_cta_group_2 tma_load_1d_hint_cta_group_2 tma_load_1d_multicast_hint_cta_group_2
        tma_load_1d_own_cta tma_load_1d_own_cta_hint tma_store_1d tma_store_1d_hint tma_reduce_add_1d tma_reduce_add_1d_hint;
    2 "2d" Tensor2:
        tma_load_2d tma_load_2d_multicast tma_load_2d_hint tma_load_2d_multicast_hint
        tma_load_2d_cta_group_2 tma_load_2d_multicast_cta_group_2 tma_load_2d_hint_cta_group_2 tma_load_2d_multicast_hint_cta_group_2
        tma_load_2d_own_cta tma_load_2d_own_cta_hint tma_store_2d tma_store_2d_hint tma_reduce_add_2d tma_reduce_add_2d_hint;
    3 "3d" Tensor3:
        tma_load_3d tma_load_3d_multicast tma_load_3d_hint tma_load_3d_multicast_hint
        tma_load_3d_cta_group_2 tma_load_3d_multicast_cta_group_2 tma_load_3d_hint_cta_group_2 tma_load_3d_multicast_hint_cta_group_2
        tma_load_3d_own_cta tma_load_3d_own_cta_hint tma_store_3d tma_store_3d_hint tma_reduce_add_3d tma_reduce_add_3d_hint;
    4 "4d" Tensor4:
        tma_load_4d tma_load_4d_multicast tma_load_4d_hint tma_load_4d_multicast_hint
        tma_load_4d_cta_group_2 tma_load_4d_multicast_cta_group_2 tma_load_4d_hint_cta_group_2 tma_load_4d_multicast_hint_cta_group_2
        tma_load_4d_own_cta tma_load_4d_own_cta_hint tma_store_4d tma_store_4d_hint tma_reduce_add_4d tma_reduce_add_4d_hint;
    5 "5d" Tensor5:
        tma_load_5d tma_load_5d_multicast tma_load_5d_hint tma_load_5d_multicast_hint
        tma_load_5d_cta_group_2 tma_load_5d_multicast_cta_group_2 tma_load_5d_hint_cta_group_2 tma_load_5d_multicast_hint_cta_group_2
        tma_load_5d_own_cta tma_load_5d_own_cta_hint tma_store_5d tma_store_5d_hint tma_reduce_add_5d tma_reduce_add_5d_hint;
}
