//! Asynchronous operations with threads and with one another.

use super::*;
use crate::order::{Agent, Clock, OperationKind};

fn load(order: &mut ClusterOrder, warp: u32, full: &mut Clock) -> Result<(), Conflict> {
    let copy = order.start(warp, 1, OperationKind::BulkLoad);
    order.operation_access(&copy, 0, 1024, Place::Shared, Kind::Write, Proxy::Async, 10)?;
    order.finish(&copy, full);
    Ok(())
}

#[test]
fn a_bulk_load_is_seen_after_its_mbarrier() {
    for waited in [true, false] {
        let mut order = cluster();
        let mut full = Clock::default();
        load(&mut order, 0, &mut full).unwrap();
        if waited {
            order.acquire(1, ALL, &full);
        }
        let conflict = row(&mut order, 1, 128, Place::Shared, Kind::Read, 11).err();
        assert_eq!(conflict.as_ref().map(|conflict| conflict.reason), (!waited).then_some(Reason::NotWaited));
        if let Some(conflict) = conflict {
            assert!(matches!(conflict.first.agent, Agent::Operation { .. }));
        }
    }
}

#[test]
fn a_stage_is_filled_again_only_after_its_readers_arrived() {
    for arrived in [true, false] {
        let mut order = cluster();
        let (mut full, mut empty) = (Clock::default(), Clock::default());
        load(&mut order, 0, &mut full).unwrap();
        order.acquire(1, ALL, &full);
        row(&mut order, 1, 128, Place::Shared, Kind::Read, 11).unwrap();
        if arrived {
            order.release(1, ALL, &mut empty);
        } else {
            order.release(1, 1, &mut empty);
        }
        order.acquire(0, 1, &empty);
        let result = load(&mut order, 0, &mut full);
        assert_eq!(reason(result), (!arrived).then_some(Reason::Race));
    }
}

#[test]
fn a_bulk_store_needs_a_proxy_fence_of_its_writers() {
    for fenced in [true, false] {
        let mut order = cluster();
        row(&mut order, 0, 0, Place::Shared, Kind::Write, 1).unwrap();
        row(&mut order, 1, 128, Place::Shared, Kind::Write, 1).unwrap();
        order.fence_proxy_async(0, ALL);
        if fenced {
            order.fence_proxy_async(1, ALL);
        }
        order.barrier(&[(0, ALL), (1, ALL)]);
        let copy = order.start(0, 1, OperationKind::BulkStoreSource);
        let result = order.operation_access(&copy, 0, 256, Place::Shared, Kind::Read, Proxy::Async, 2);
        assert_eq!(reason(result), (!fenced).then_some(Reason::ProxyFence));
    }
}

#[test]
fn the_source_of_a_bulk_store_is_written_again_only_after_the_wait() {
    for waited in [true, false] {
        let mut order = cluster();
        row(&mut order, 0, 0, Place::Shared, Kind::Write, 1).unwrap();
        order.fence_proxy_async(0, ALL);
        order.barrier(&[(0, ALL)]);
        let copy = order.start(0, 1, OperationKind::BulkStoreSource);
        order.operation_access(&copy, 0, 128, Place::Shared, Kind::Read, Proxy::Async, 2).unwrap();
        if waited {
            order.complete(&copy, 0, 1);
        }
        order.barrier(&[(0, ALL)]);
        let result = row(&mut order, 0, 0, Place::Shared, Kind::Write, 3);
        assert_eq!(reason(result), (!waited).then_some(Reason::NotWaited));
    }
}
