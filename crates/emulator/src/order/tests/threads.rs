//! Threads with one another: barriers, arrivals, flags in memory.

use super::*;
use crate::order::{Agent, Clock, Scope};

const CTA: [(u32, u32); 4] = [(0, ALL), (1, ALL), (2, ALL), (3, ALL)];

#[test]
fn a_cta_barrier_orders_writes_before_reads_of_other_warps() {
    for synchronised in [true, false] {
        let mut order = cluster();
        row(&mut order, 0, 0, Place::Shared, Kind::Write, 1).unwrap();
        if synchronised {
            order.barrier(&CTA);
        }
        let result = row(&mut order, 1, 0, Place::Shared, Kind::Read, 2);
        assert_eq!(reason(result), (!synchronised).then_some(Reason::Race));
    }
}

#[test]
fn a_conflict_names_both_sides() {
    let mut order = cluster();
    row(&mut order, 0, 128, Place::Shared, Kind::Write, 1).unwrap();
    let conflict = one(&mut order, 1, 3, 128 + 20, Place::Shared, Kind::Read).unwrap_err();
    assert_eq!(conflict.address, 148);
    let lane = |warp, lane| Agent::Lane { cluster: 0, warp, lane };
    assert_eq!((conflict.first.agent, conflict.first.at), (lane(0, 5), 1));
    assert_eq!((conflict.second.agent, conflict.second.at), (lane(1, 3), 7));
}

#[test]
fn a_barrier_orders_reads_before_the_next_writes() {
    for synchronised in [true, false] {
        let mut order = cluster();
        row(&mut order, 0, 0, Place::Shared, Kind::Write, 1).unwrap();
        order.barrier(&CTA);
        row(&mut order, 1, 0, Place::Shared, Kind::Read, 2).unwrap();
        row(&mut order, 2, 0, Place::Shared, Kind::Read, 2).unwrap();
        if synchronised {
            order.barrier(&CTA);
        }
        let result = row(&mut order, 0, 0, Place::Shared, Kind::Write, 3);
        assert_eq!(reason(result), (!synchronised).then_some(Reason::Race));
    }
}

#[test]
fn lanes_of_a_warp_need_a_warp_barrier() {
    for synchronised in [true, false] {
        let mut order = cluster();
        row(&mut order, 0, 0, Place::Shared, Kind::Write, 1).unwrap();
        if synchronised {
            order.barrier(&[(0, ALL)]);
        }
        let reversed = std::array::from_fn(|lane| 4 * (31 - lane as u64));
        let result = order.lanes(0, ALL, &reversed, 4, Place::Shared, Kind::Read, 2);
        assert_eq!(reason(result), (!synchronised).then_some(Reason::Race));
    }
}

#[test]
fn a_lane_needs_nothing_for_its_own_bytes() {
    let mut order = cluster();
    for at in 0..4 {
        row(&mut order, 0, 0, Place::Global, Kind::Read, at).unwrap();
        row(&mut order, 0, 0, Place::Global, Kind::Write, at).unwrap();
    }
}

#[test]
fn lanes_of_one_store_may_overlap_and_other_warps_must_know_of_it() {
    let mut order = cluster();
    let result = order.lanes(0, 0b110, &[64; 32], 4, Place::Global, Kind::Write, 1);
    assert_eq!(reason(result), None);
    let result = one(&mut order, 1, 0, 64, Place::Global, Kind::Read);
    assert_eq!(reason(result), Some(Reason::Race));
}

#[test]
fn a_weak_access_is_not_forgotten_for_a_strong_one() {
    let strong = Kind::StrongWrite(Scope::Gpu);
    for weak in [Kind::Read, Kind::Write] {
        let mut order = cluster();
        one(&mut order, 0, 1, 64, Place::Shared, weak).unwrap();
        order.barrier(&[(0, ALL)]);
        one(&mut order, 0, 0, 64, Place::Shared, strong).unwrap();
        let result = one(&mut order, 2, 0, 64, Place::Shared, strong);
        assert_eq!(reason(result), Some(Reason::Race));
    }
}

#[test]
fn an_elected_arrival_tells_what_the_warp_barrier_gathered() {
    for synchronised in [true, false] {
        let mut order = cluster();
        let mut barrier = Clock::default();
        row(&mut order, 0, 0, Place::Shared, Kind::Read, 1).unwrap();
        if synchronised {
            order.barrier(&[(0, ALL)]);
        }
        order.release(0, 1, &mut barrier);
        order.acquire(1, 1, &barrier);
        let result = one(&mut order, 1, 0, 64, Place::Shared, Kind::Write);
        assert_eq!(reason(result), (!synchronised).then_some(Reason::Race));
    }
}

#[test]
fn a_flag_in_global_memory_orders_two_clusters() {
    let strong = Kind::StrongWrite(Scope::Gpu);
    for (fence, acquire) in [(true, true), (false, true), (true, false)] {
        let global = Arc::new(GlobalOrder::new());
        let (mut one_cluster, mut other) = (of(&global, 0), of(&global, 1));
        row(&mut one_cluster, 2, 0, Place::Global, Kind::Write, 1).unwrap();
        one_cluster.barrier(&CTA);
        // Thread 0 publishes: a fence, then a relaxed store. The other polls with relaxed loads, then a fence.
        if fence {
            one_cluster.fence(0, 1, true, true);
        }
        one_cluster.synchronize_store(0, 0, Place::Global, 4096, false, false);
        one(&mut one_cluster, 0, 0, 4096, Place::Global, strong).unwrap();
        let poll = Kind::StrongRead(Scope::Gpu);
        one(&mut other, 0, 0, 4096, Place::Global, poll).unwrap();
        other.synchronize_load(0, 0, Place::Global, 4096, false);
        if acquire {
            other.fence(0, 1, true, true);
        }
        other.barrier(&CTA);
        let result = row(&mut other, 3, 0, Place::Global, Kind::Read, 2);
        assert_eq!(reason(result), (!(fence && acquire)).then_some(Reason::Race));
    }
}
