//! Each idiom of synchronisation as a short trace: clean when whole, found when a step is left out.

mod operations;
mod oracle;
mod random;
mod threads;

use std::sync::Arc;

use crate::order::{ClusterOrder, ClusterShape, Conflict, GlobalOrder, Kind, Place, Proxy, Reason};

/// All lanes of a warp.
const ALL: u32 = u32::MAX;

/// Two CTAs of four warps each.
fn cluster() -> ClusterOrder {
    of(&Arc::new(GlobalOrder::new()), 0)
}

fn of(global: &Arc<GlobalOrder>, cluster: u32) -> ClusterOrder {
    let shape = ClusterShape { ctas: 2, warps_per_cta: 4, shared_bytes: 64 << 10, tensor_fences: true };
    ClusterOrder::new(global.clone(), cluster, shape)
}

/// Every lane of the warp accesses 4 bytes, in a row from `base` on.
fn row(order: &mut ClusterOrder, warp: u32, base: u64, place: Place, kind: Kind, at: u32) -> Result<(), Conflict> {
    let addresses = std::array::from_fn(|lane| base + 4 * lane as u64);
    order.lanes(warp, ALL, &addresses, 4, place, kind, at)
}

/// One lane accesses 4 bytes.
fn one(order: &mut ClusterOrder, warp: u32, lane: u32, address: u64, place: Place, kind: Kind) -> Result<(), Conflict> {
    order.lanes(warp, 1 << lane, &[address; 32], 4, place, kind, 7)
}

fn reason(result: Result<(), Conflict>) -> Option<Reason> {
    result.err().map(|conflict| conflict.reason)
}
