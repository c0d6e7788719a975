//! Random traces, judged by the engine and by the slow second judgement: the first conflict must be at the same event.

use proptest::prelude::*;

use super::oracle::{Node, Oracle};
use super::*;
use crate::order::{Clock, Operation, OperationKind, Scope};

/// Lanes of a warp that take part.
const LANES: u32 = 4;
const FLAG: u64 = 1 << 20;

#[derive(Clone, Debug)]
enum Step {
    Lanes { warp: u32, mask: u32, address: u64, bytes: u32, pattern: Pattern, place: Place, kind: Kind },
    Barrier { masks: [u32; 3] },
    Release { warp: u32, mask: u32, clock: usize },
    Acquire { warp: u32, mask: u32, clock: usize },
    ProxyFence { warp: u32, mask: u32 },
    Fence { warp: u32, mask: u32 },
    Store { warp: u32, lane: u32, update: bool, release: bool },
    Load { warp: u32, lane: u32, acquire: bool },
    Start { warp: u32, lane: u32, address: u64, bytes: u64, place: Place, write: bool, queued: bool },
    Finish { operation: usize, clock: usize },
    Complete { operation: usize },
    Copy { warp: u32, mask: u32, address: u64 },
    WaitCopies { warp: u32, mask: u32, behind: u32 },
    FinishCopies { warp: u32, mask: u32, clock: usize },
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Row,
    Reversed,
    Same,
    Apart,
}

fn address(pattern: Pattern, base: u64, lane: u32, bytes: u32) -> u64 {
    let step = u64::from(bytes);
    let lane = u64::from(lane);
    match pattern {
        Pattern::Row => base + lane * step,
        Pattern::Reversed => base + (u64::from(LANES) - 1 - lane % u64::from(LANES)) * step,
        Pattern::Same => base,
        Pattern::Apart => base + lane * 16,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let warp = 0..3u32;
    let lane = 0..LANES;
    let mask = prop_oneof![3 => Just(0b1111u32), 2 => 1..16u32];
    let size = prop_oneof![Just(1u32), Just(2), Just(4), Just(8), Just(16)];
    let place = prop_oneof![3 => Just(Place::Shared), 1 => Just(Place::Global)];
    let pattern = prop_oneof![
        4 => Just(Pattern::Row),
        1 => Just(Pattern::Reversed),
        1 => Just(Pattern::Same),
        1 => Just(Pattern::Apart)
    ];
    let kind = prop_oneof![
        4 => Just(Kind::Read),
        4 => Just(Kind::Write),
        1 => Just(Kind::StrongRead(Scope::Gpu)),
        1 => Just(Kind::StrongWrite(Scope::Gpu))
    ];
    let lanes = (warp.clone(), mask.clone(), 0..4u64, size, pattern, place.clone(), kind).prop_map(
        |(warp, mask, unit, bytes, pattern, place, kind)| {
            // Lanes of a store at the same address are a matter of their own.
            let pattern = if kind.writes() && matches!(pattern, Pattern::Same) { Pattern::Row } else { pattern };
            Step::Lanes { warp, mask, address: unit * 16, bytes, pattern, place, kind }
        },
    );
    let start = (warp.clone(), lane.clone(), 0..16u64, 1..4u64, place, any::<bool>(), any::<bool>()).prop_map(
        |(warp, lane, unit, count, place, write, queued)| Step::Start {
            warp,
            lane,
            address: unit * 4,
            bytes: count * 8,
            place,
            write,
            queued,
        },
    );
    prop_oneof![
        8 => lanes,
        3 => prop::array::uniform3(prop_oneof![2 => Just(15u32), 1 => Just(0), 1 => 0..16u32])
            .prop_map(|masks| Step::Barrier { masks }),
        3 => (warp.clone(), mask.clone(), 0..2usize)
            .prop_map(|(warp, mask, clock)| Step::Release { warp, mask, clock }),
        3 => (warp.clone(), mask.clone(), 0..2usize)
            .prop_map(|(warp, mask, clock)| Step::Acquire { warp, mask, clock }),
        2 => (warp.clone(), mask.clone()).prop_map(|(warp, mask)| Step::ProxyFence { warp, mask }),
        1 => (warp.clone(), mask.clone()).prop_map(|(warp, mask)| Step::Fence { warp, mask }),
        1 => (warp.clone(), lane.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(warp, lane, update, release)| Step::Store { warp, lane, update, release }),
        1 => (warp.clone(), lane, any::<bool>()).prop_map(|(warp, lane, acquire)| Step::Load { warp, lane, acquire }),
        2 => start,
        2 => (0..30usize, 0..2usize).prop_map(|(operation, clock)| Step::Finish { operation, clock }),
        2 => (0..30usize).prop_map(|operation| Step::Complete { operation }),
        1 => (warp.clone(), mask.clone(), 0..4u64)
            .prop_map(|(warp, mask, unit)| Step::Copy { warp, mask, address: unit * 16 }),
        1 => (warp.clone(), mask.clone(), 0..2u32)
            .prop_map(|(warp, mask, behind)| Step::WaitCopies { warp, mask, behind }),
        1 => (warp, mask, 0..2usize).prop_map(|(warp, mask, clock)| Step::FinishCopies { warp, mask, clock }),
    ]
}

/// The engine and the oracle, side by side.
struct Both {
    order: ClusterOrder,
    oracle: Oracle,
    clocks: [(Clock, Vec<Node>); 2],
    flag: Vec<Node>,
    /// Operations, their threads and the nodes that know of their completion: in a queue, earlier ones too.
    operations: Vec<(Operation, (u32, u32), Vec<Node>)>,
    queues: [Vec<Node>; 64],
    copies: [u32; 3],
}

fn threads(warp: u32, mask: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1).map(move |lane| (warp, lane))
}

impl Both {
    /// Whether the accesses conflict with earlier ones; records them unless the step is to be left out.
    fn expect(&mut self, accesses: &[(Node, std::ops::Range<u64>)], kind: Kind, proxy: Proxy, leave_out: bool) -> bool {
        let conflict = accesses.iter().any(|(node, bytes)| self.oracle.conflicts(*node, bytes.clone(), kind, proxy));
        if !(conflict && leave_out) {
            accesses.iter().for_each(|(node, bytes)| self.oracle.record(*node, bytes.clone(), kind, proxy));
        }
        conflict
    }

    /// Does the step, and says whether the engine and the oracle found a conflict. A conflicting step is left out when asked: then only
    /// the oracle says it.
    fn step(&mut self, step: &Step, leave_out: bool) -> (bool, bool) {
        match *step {
            Step::Lanes { warp, mask, address: base, bytes, pattern, place, kind } => {
                let at = |lane| address(pattern, base, lane, bytes);
                let addresses = std::array::from_fn(|lane| at(lane as u32));
                let mut accesses = Vec::new();
                for thread in threads(warp, mask) {
                    let from = tagged(place, at(thread.1));
                    accesses.push((self.oracle.step(thread), from..from + u64::from(bytes)));
                }
                let expected = self.expect(&accesses, kind, Proxy::Generic, leave_out);
                if expected && leave_out {
                    return (false, true);
                }
                let found = self.order.lanes(warp, mask, &addresses, bytes, place, kind, 0).is_err();
                return (found, expected);
            }
            Step::Barrier { masks } => {
                let participants: Vec<(u32, u32)> =
                    (0..3).zip(masks).filter(|participant| participant.1 != 0).collect();
                self.order.barrier(&participants);
                let all: Vec<_> = participants.iter().flat_map(|&(warp, mask)| threads(warp, mask)).collect();
                let told: Vec<Node> = all.iter().map(|thread| self.oracle.step(*thread)).collect();
                for thread in all {
                    self.oracle.learn(thread, &told);
                }
            }
            Step::Release { warp, mask, clock } => {
                self.order.release(warp, mask, &mut self.clocks[clock].0);
                for thread in threads(warp, mask) {
                    let node = self.oracle.step(thread);
                    self.clocks[clock].1.push(node);
                }
            }
            Step::Acquire { warp, mask, clock } => {
                self.order.acquire(warp, mask, &self.clocks[clock].0);
                for thread in threads(warp, mask) {
                    self.oracle.learn(thread, &self.clocks[clock].1);
                }
            }
            Step::ProxyFence { warp, mask } => {
                self.order.fence_proxy_async(warp, mask);
                threads(warp, mask).for_each(|thread| self.oracle.proxy_fence(thread));
            }
            Step::Fence { warp, mask } => {
                self.order.fence(warp, mask, true, true);
                threads(warp, mask).for_each(|thread| self.oracle.fence(thread));
            }
            Step::Store { warp, lane, update, release } => {
                self.order.synchronize_store(warp, lane, Place::Global, FLAG, update, release);
                if !update {
                    self.flag.clear();
                }
                if release {
                    self.flag.push(self.oracle.step((warp, lane)));
                } else {
                    self.flag.extend(self.oracle.release_fence((warp, lane)));
                }
            }
            Step::Load { warp, lane, acquire } => {
                self.order.synchronize_load(warp, lane, Place::Global, FLAG, acquire);
                if acquire {
                    self.oracle.learn((warp, lane), &self.flag);
                } else {
                    self.oracle.observe((warp, lane), &self.flag);
                }
            }
            Step::Start { warp, lane, address, bytes, place, write, queued } => {
                let what = if queued { OperationKind::BulkStore } else { OperationKind::BulkLoad };
                let kind = if write { Kind::Write } else { Kind::Read };
                let (node, done) = self.oracle.operation((warp, lane));
                let from = tagged(place, address);
                let expected = self.expect(&[(node, from..from + bytes)], kind, Proxy::Async, leave_out);
                if expected && leave_out {
                    return (false, true);
                }
                let operation = self.order.start(warp, 1 << lane, what);
                let found =
                    self.order.operation_access(&operation, address, bytes, place, kind, Proxy::Async, 0).is_err();
                let mut done = vec![done];
                if queued {
                    // Whoever waits for one of a queue waited for those before it; what their issuer had learned comes with this one.
                    let queue = &mut self.queues[(warp * LANES + lane) as usize];
                    done.extend(queue.iter());
                    queue.push(node);
                }
                self.operations.push((operation, (warp, lane), done));
                return (found, expected);
            }
            Step::Finish { operation, clock } => {
                if let Some((operation, _, done)) = self.operations.get(operation) {
                    self.order.finish(operation, &mut self.clocks[clock].0);
                    self.clocks[clock].1.extend(done);
                }
            }
            Step::Complete { operation } => {
                if let Some((operation, thread, done)) = self.operations.get(operation) {
                    self.order.complete(operation, thread.0, 1 << thread.1);
                    self.oracle.learn(*thread, done);
                }
            }
            Step::Copy { warp, mask, address: base } => {
                let addresses = std::array::from_fn(|lane| base + 4 * lane as u64);
                let mut accesses = Vec::new();
                for thread in threads(warp, mask) {
                    let from = base + 4 * u64::from(thread.1);
                    accesses.push((self.oracle.copy(thread), from..from + 4));
                }
                let expected = self.expect(&accesses, Kind::Write, Proxy::Generic, leave_out);
                if expected && leave_out {
                    return (false, true);
                }
                self.copies[warp as usize] += 1;
                for (thread, (node, _)) in threads(warp, mask).zip(&accesses) {
                    self.oracle.issued(thread, self.copies[warp as usize], *node);
                }
                let found = self.order.copy_async(warp, mask, &addresses, 4, 0).1.is_some();
                return (found, expected);
            }
            Step::WaitCopies { warp, mask, behind } => {
                let number = self.copies[warp as usize].saturating_sub(behind);
                self.order.wait_copies(warp, mask, number);
                threads(warp, mask).for_each(|thread| self.oracle.wait_copies(thread, number));
            }
            Step::FinishCopies { warp, mask, clock } => {
                self.order.finish_copies(warp, mask, &mut self.clocks[clock].0);
                for thread in threads(warp, mask) {
                    let copies = self.oracle.copies(thread, self.copies[warp as usize]);
                    self.clocks[clock].1.extend(copies);
                }
            }
        }
        (false, false)
    }
}

/// Addresses of the two places apart.
fn tagged(place: Place, address: u64) -> u64 {
    if place == Place::Global { 1 << 40 | address } else { address }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Conflicting steps are left out until `clean` of the trace is done, so that long clean histories are judged too.
    #[test]
    fn the_first_conflict_is_where_a_search_for_paths_finds_it(
        steps in prop::collection::vec(step(), 1..150),
        clean in 0..120usize,
    ) {
        let mut both = Both {
            order: cluster(),
            oracle: Oracle::default(),
            clocks: Default::default(),
            flag: Vec::new(),
            operations: Vec::new(),
            queues: std::array::from_fn(|_| Vec::new()),
            copies: [0; 3],
        };
        for (index, step) in steps.iter().enumerate() {
            let leave_out = index < clean;
            let (found, expected) = both.step(step, leave_out);
            if expected && leave_out {
                continue;
            }
            prop_assert_eq!(found, expected, "event {}: engine {}, oracle {}", index, found, expected);
            if expected {
                break;
            }
        }
    }
}
