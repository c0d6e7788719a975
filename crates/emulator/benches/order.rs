//! Speed of the happens-before engine, an element of the throughput being one lane's access (or 16 bytes of an operation).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gable_emulator::order::{Clock, ClusterOrder, ClusterShape, GlobalOrder, Kind, OperationKind, Place, Proxy};

const ALL: u32 = u32::MAX;
const WARPS: u32 = 8;

fn cluster() -> ClusterOrder {
    let shape = ClusterShape { ctas: 1, warps_per_cta: WARPS, shared_bytes: 64 << 10, tensor_fences: true };
    ClusterOrder::new(Arc::new(GlobalOrder::new()), 0, shape)
}

/// A store and a load of each warp with a barrier between, at addresses `step` bytes apart.
fn exchange(order: &mut ClusterOrder, place: Place, bytes: u32, step: u64) {
    let all: Vec<(u32, u32)> = (0..WARPS).map(|warp| (warp, ALL)).collect();
    for (kind, shift) in [(Kind::Write, 0), (Kind::Read, 1)] {
        for warp in 0..WARPS {
            let base = u64::from((warp + shift) % WARPS) * 32 * step;
            let addresses = std::array::from_fn(|lane| base + lane as u64 * step);
            let found = order.lanes(warp, ALL, &addresses, bytes, place, kind, 1);
            assert!(black_box(found).is_ok());
        }
        order.barrier(&all);
    }
}

fn lanes(c: &mut Criterion) {
    let mut group = c.benchmark_group("lanes");
    group.throughput(Throughput::Elements(u64::from(2 * WARPS * 32)));
    for (name, place, bytes, step) in [
        ("shared 4 bytes in a row", Place::Shared, 4, 4),
        ("shared 16 bytes in a row", Place::Shared, 16, 16),
        ("shared 2 bytes in a row", Place::Shared, 2, 2),
        ("shared 4 bytes apart", Place::Shared, 4, 36),
        ("global 4 bytes in a row", Place::Global, 4, 4),
    ] {
        let mut order = cluster();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| exchange(&mut order, place, bytes, step));
        });
    }
    group.finish();
}

/// A ring of four stages of 16 KiB: a bulk load, its mbarrier, reads by an operation of each of four warps, arrivals.
fn ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(5 * 1024));
    let mut order = cluster();
    let mut stage = 0;
    let mut empty: [Clock; 4] = Default::default();
    group.bench_function("a stage of 16 KiB", |b| {
        b.iter(|| {
            let base = stage as u64 * (16 << 10);
            order.acquire(4, 1, &empty[stage]);
            let load = order.start(4, 1, OperationKind::BulkLoad);
            let filled = order.operation_access(&load, base, 16 << 10, Place::Shared, Kind::Write, Proxy::Async, 1);
            assert!(black_box(filled).is_ok());
            let mut full = Clock::default();
            order.finish(&load, &mut full);
            let mut emptied = Clock::default();
            for warp in 0..4 {
                order.acquire(warp, ALL, &full);
                let multiply = order.start(warp, ALL, OperationKind::Wgmma);
                let read =
                    order.operation_access(&multiply, base, 16 << 10, Place::Shared, Kind::Read, Proxy::Async, 2);
                assert!(black_box(read).is_ok());
                order.complete(&multiply, warp, ALL);
                order.release(warp, ALL, &mut emptied);
            }
            empty[stage] = emptied;
            stage = (stage + 1) % 4;
        });
    });
    group.finish();
}

criterion_group!(benches, lanes, ring);
criterion_main!(benches);
