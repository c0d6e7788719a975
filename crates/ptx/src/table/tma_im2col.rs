//! Copies of tensor boxes for convolutions, and copies to the L2 cache only.
//!
//! An `im2col` box is a column of pixels: the tensor map gives the channels, the number of pixels and the corners between
//! which the window moves; the coordinates are those of the first pixel, innermost first, and `offsets` the place in the
//! filter, innermost first.

use super::columns::*;
use crate::meaning::TensorLoad as Load;
use crate::operand::Shared;

const fn pixels(rank: u8, multicast: bool, hint: bool) -> Load {
    Load { rank, multicast, hint, cta_pair: false, own_cta: false }
}

super::forms! {
    { "data-movement-and-conversion-instructions-cp-async-bulk-tensor", LoadStore, CopiesAsync, from(90, 8, 0) }
    tma_load_im2col_3d(Nothing <- to: Shared, source: Tensor3, barrier: Shared, offsets: B16x1)
        = "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
        => TensorLoadPixels(pixels(3, false, false));
    tma_load_im2col_3d_multicast(Nothing <- to: Shared, source: Tensor3, barrier: Shared, offsets: B16x1, ctas: B16)
        = "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster"
        => TensorLoadPixels(pixels(3, true, false));
    tma_load_im2col_3d_hint(Nothing <- to: Shared, source: Tensor3, barrier: Shared, offsets: B16x1, policy: B64)
        = "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint"
        => TensorLoadPixels(pixels(3, false, true));
    tma_load_im2col_3d_multicast_hint(Nothing <- to: Shared, source: Tensor3, barrier: Shared, offsets: B16x1, ctas: B16, policy: B64)
        = "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
        => TensorLoadPixels(pixels(3, true, true));
    tma_load_im2col_4d(Nothing <- to: Shared, source: Tensor4, barrier: Shared, offsets: B16x2)
        = "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
        => TensorLoadPixels(pixels(4, false, false));
    tma_load_im2col_4d_multicast(Nothing <- to: Shared, source: Tensor4, barrier: Shared, offsets: B16x2, ctas: B16)
        = "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster"
        => TensorLoadPixels(pixels(4, true, false));
    tma_load_im2col_4d_hint(Nothing <- to: Shared, source: Tensor4, barrier: Shared, offsets: B16x2, policy: B64)
        = "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint"
        => TensorLoadPixels(pixels(4, false, true));
    tma_load_im2col_4d_multicast_hint(Nothing <- to: Shared, source: Tensor4, barrier: Shared, offsets: B16x2, ctas: B16, policy: B64)
        = "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
        => TensorLoadPixels(pixels(4, true, true));
    tma_load_im2col_5d(Nothing <- to: Shared, source: Tensor5, barrier: Shared, offsets: B16x3)
        = "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
        => TensorLoadPixels(pixels(5, false, false));
    tma_load_im2col_5d_multicast(Nothing <- to: Shared, source: Tensor5, barrier: Shared, offsets: B16x3, ctas: B16)
        = "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster"
        => TensorLoadPixels(pixels(5, true, false));
    tma_load_im2col_5d_hint(Nothing <- to: Shared, source: Tensor5, barrier: Shared, offsets: B16x3, policy: B64)
        = "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.L2::cache_hint"
        => TensorLoadPixels(pixels(5, false, true));
    tma_load_im2col_5d_multicast_hint(Nothing <- to: Shared, source: Tensor5, barrier: Shared, offsets: B16x3, ctas: B16, policy: B64)
        = "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
        => TensorLoadPixels(pixels(5, true, true));

    { "data-movement-and-conversion-instructions-cp-async-bulk-prefetch-tensor", LoadStore, Reads(Space::Global), from(90, 8, 0) }
    tma_prefetch_1d(Nothing <- source: Tensor1) = "cp.async.bulk.prefetch.tensor.1d.L2.global.tile" => TensorPrefetch { rank: 1, hint: false };
    tma_prefetch_1d_hint(Nothing <- source: Tensor1, policy: B64) = "cp.async.bulk.prefetch.tensor.1d.L2.global.tile.L2::cache_hint" => TensorPrefetch { rank: 1, hint: true };
    tma_prefetch_2d(Nothing <- source: Tensor2) = "cp.async.bulk.prefetch.tensor.2d.L2.global.tile" => TensorPrefetch { rank: 2, hint: false };
    tma_prefetch_2d_hint(Nothing <- source: Tensor2, policy: B64) = "cp.async.bulk.prefetch.tensor.2d.L2.global.tile.L2::cache_hint" => TensorPrefetch { rank: 2, hint: true };
    tma_prefetch_3d(Nothing <- source: Tensor3) = "cp.async.bulk.prefetch.tensor.3d.L2.global.tile" => TensorPrefetch { rank: 3, hint: false };
    tma_prefetch_3d_hint(Nothing <- source: Tensor3, policy: B64) = "cp.async.bulk.prefetch.tensor.3d.L2.global.tile.L2::cache_hint" => TensorPrefetch { rank: 3, hint: true };
    tma_prefetch_4d(Nothing <- source: Tensor4) = "cp.async.bulk.prefetch.tensor.4d.L2.global.tile" => TensorPrefetch { rank: 4, hint: false };
    tma_prefetch_4d_hint(Nothing <- source: Tensor4, policy: B64) = "cp.async.bulk.prefetch.tensor.4d.L2.global.tile.L2::cache_hint" => TensorPrefetch { rank: 4, hint: true };
    tma_prefetch_5d(Nothing <- source: Tensor5) = "cp.async.bulk.prefetch.tensor.5d.L2.global.tile" => TensorPrefetch { rank: 5, hint: false };
    tma_prefetch_5d_hint(Nothing <- source: Tensor5, policy: B64) = "cp.async.bulk.prefetch.tensor.5d.L2.global.tile.L2::cache_hint" => TensorPrefetch { rank: 5, hint: true };
}
