//! The order of one cluster: what its lanes and operations know, and the shadow of its shared and tensor memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::order::access::{Access, Kind, OperationKind, Place, Proxy, WHOLE};
use crate::order::cell::{Actor, Cell, Found};
use crate::order::conflict::{Agent, Conflict, Reason, Side};
use crate::order::global::GlobalOrder;
use crate::order::knowledge::{Clock, View, Warp, join};
use crate::order::operation::{Operation, Slots};
use crate::order::shadow::{PAGE, Page};
use crate::order::vector::Vector;

/// Lanes of a CTA's tensor memory that are tracked together.
const TENSOR_LANES: u32 = 16;
/// Groups of lanes, and columns, of a CTA's tensor memory.
const TENSOR_GROUPS: usize = 8;
const TENSOR_COLUMNS: usize = 512;
/// Accesses that a cell of shared or tensor memory remembers beside the last write and a read.
const REMEMBERED_SHARED: usize = 64;
/// The same for global memory, where thousands of clusters may read the same bytes.
const REMEMBERED_GLOBAL: usize = 8;

/// Sizes of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterShape {
    /// CTAs of the cluster.
    pub ctas: u32,
    /// Warps of a CTA. Warps of the cluster are counted CTA by CTA.
    pub warps_per_cta: u32,
    /// Shared memory of a CTA in bytes, as far as addresses reach.
    pub shared_bytes: u32,
}

/// Happens-before in one cluster. The machine calls it for every access and every synchronisation of the cluster.
#[derive(Debug)]
pub struct ClusterOrder {
    global: Arc<GlobalOrder>,
    cluster: u32,
    shape: ClusterShape,
    warps: Vec<Warp>,
    slots: Slots,
    /// Pages of each CTA's shared memory.
    shared: Vec<Vec<Option<Page>>>,
    /// Cells of each CTA's tensor memory, by column and group of lanes; empty until first touched.
    tensor: Vec<Vec<Cell>>,
    /// What locations of shared memory release.
    locations: HashMap<u64, Clock>,
}

impl ClusterOrder {
    /// A cluster at its start: everything before the launch is known.
    pub fn new(global: Arc<GlobalOrder>, cluster: u32, shape: ClusterShape) -> Self {
        let warps = shape.ctas * shape.warps_per_cta;
        let view = View::new(cluster);
        let pages = u64::from(shape.shared_bytes).div_ceil(PAGE) as usize;
        ClusterOrder {
            global,
            cluster,
            shape,
            warps: (0..warps).map(|agent| Warp::new(agent, &view)).collect(),
            slots: Slots::new(warps),
            shared: (0..shape.ctas).map(|_| vec![None; pages]).collect(),
            tensor: (0..shape.ctas).map(|_| Vec::new()).collect(),
            locations: HashMap::new(),
        }
    }

    /// One instruction of a warp: each lane of `mask` accesses `bytes` bytes at its address. `same` tells whether two lanes store
    /// the same bytes where they overlap; it is asked only then. Vector accesses are one access of all their bytes.
    ///
    /// # Errors
    /// The first conflict found; the access is then recorded only in part.
    #[expect(clippy::too_many_arguments, reason = "an access has this many parts")]
    pub fn lanes(
        &mut self,
        warp: u32,
        mask: u32,
        addresses: &[u64; 32],
        bytes: u32,
        place: Place,
        kind: Kind,
        at: u32,
        same: &dyn Fn(u32, u32) -> bool,
    ) -> Result<(), Conflict> {
        let mut mask = mask;
        if kind == Kind::Write {
            mask = self.one_lane_per_byte(warp, mask, addresses, bytes, place, at, same)?;
        }
        for index in 0..self.warps[warp as usize].groups.len() {
            let mut rest = self.warps[warp as usize].groups[index].mask & mask;
            while rest != 0 {
                let run = Run::first(rest, addresses, bytes);
                rest &= !run.mask;
                self.touch_run(warp, index, &run, place, kind, at)?;
            }
        }
        Ok(())
    }

    /// The lanes that remain when of lanes that store the same bytes only one does.
    #[expect(clippy::too_many_arguments, reason = "an access has this many parts")]
    fn one_lane_per_byte(
        &self,
        warp: u32,
        mask: u32,
        addresses: &[u64; 32],
        bytes: u32,
        place: Place,
        at: u32,
        same: &dyn Fn(u32, u32) -> bool,
    ) -> Result<u32, Conflict> {
        let lanes = || (0..32usize).filter(|lane| mask >> lane & 1 == 1);
        let apart = lanes()
            .zip(lanes().skip(1))
            .all(|(one, next)| addresses[next] >= addresses[one].saturating_add(u64::from(bytes)));
        if apart {
            return Ok(mask);
        }
        let mut sorted: Vec<usize> = lanes().collect();
        sorted.sort_by_key(|&lane| addresses[lane]);
        let mut kept = mask;
        let mut last = sorted[0];
        for &lane in &sorted[1..] {
            if addresses[lane] >= addresses[last].saturating_add(u64::from(bytes)) {
                last = lane;
            } else if same(last as u32, lane as u32) {
                kept &= !(1 << lane);
            } else {
                let side = |lane: usize| Side {
                    agent: Agent::Lane { cluster: self.cluster, warp, lane: lane as u32 },
                    kind: Kind::Write,
                    proxy: Proxy::Generic,
                    at,
                };
                return Err(Conflict {
                    reason: Reason::SameInstruction,
                    place,
                    address: addresses[lane],
                    first: side(last),
                    second: side(lane),
                });
            }
        }
        Ok(kept)
    }

    fn touch_run(
        &mut self,
        warp: u32,
        group: usize,
        run: &Run,
        place: Place,
        kind: Kind,
        at: u32,
    ) -> Result<(), Conflict> {
        let state = &self.warps[warp as usize];
        let view = &state.groups[group].view;
        let access = Access {
            cluster: self.cluster,
            agent: state.agent,
            counter: state.counter,
            at,
            lanes: run.lanes,
            shift: run.shift,
            kind,
            proxy: Proxy::Generic,
            operation: None,
        };
        let actor = Actor {
            known: &view.known,
            fenced: &view.fenced,
            mapped: &view.mapped,
            tensor: &state.groups[group].tensor,
            own: Some(state.agent),
            warps_per_cta: self.shape.warps_per_cta,
            remembered: remembered(place),
            tensor_memory: false,
        };
        touch(&self.global, &mut self.shared, place, run.address, run.bytes, access, &actor)
            .map_err(|(base, found)| self.conflict(place, base, &found, &access))
    }

    /// Every lane of the participants learns what all of them know: `bar.sync`, `bar.warp.sync`.
    pub fn barrier(&mut self, participants: &[(u32, u32)]) {
        let mut clock = Clock::default();
        for &(warp, mask) in participants {
            self.release(warp, mask, &mut clock);
        }
        for &(warp, mask) in participants {
            self.acquire(warp, mask, &clock);
        }
    }

    /// The lanes tell what they know: an arrival.
    pub fn release(&mut self, warp: u32, mask: u32, into: &mut Clock) {
        let state = &mut self.warps[warp as usize];
        if let Some(view) = state.together(mask) {
            into.learn(&view);
            state.counter += 1;
        }
    }

    /// The lanes learn what was told: a wait that was satisfied.
    pub fn acquire(&mut self, warp: u32, mask: u32, from: &Clock) {
        if let Some(view) = &from.inside {
            self.warps[warp as usize].change(mask, |group| group.view.join(view));
        }
    }

    /// `fence.sc`, `fence.acq_rel` and the one-sided ones, at a scope of CTA or more.
    pub fn fence(&mut self, warp: u32, mask: u32, acquire: bool, release: bool) {
        let state = &mut self.warps[warp as usize];
        if acquire {
            state.change(mask, |group| {
                if let Some(observed) = group.observed.take() {
                    group.view.join(&observed);
                }
            });
        }
        if release {
            for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
                let view = state.together(1 << lane).map(Arc::new);
                state.change(1 << lane, |group| group.released.clone_from(&view));
            }
            state.counter += 1;
        }
    }

    /// `fence.proxy.async`: all that the lanes know of generic accesses may be followed by the async proxy.
    pub fn fence_proxy_async(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.fenced = group.view.known.clone();
        });
        mark(&mut state.own.fenced, mask, state.counter);
        state.counter += 1;
    }

    /// `fence.proxy.tensormap`, the acquiring side: what the lanes know of written tensor maps may be followed by their use.
    pub fn fence_proxy_tensormap(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.mapped = group.view.known.clone();
        });
        mark(&mut state.own.mapped, mask, state.counter);
        state.counter += 1;
    }

    /// `tcgen05.fence::before_thread_sync`.
    pub fn fence_tensor_before(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.before = group.view.known.clone();
        });
        mark(&mut state.own.before, mask, state.counter);
        state.counter += 1;
    }

    /// `tcgen05.fence::after_thread_sync`.
    pub fn fence_tensor_after(&mut self, warp: u32, mask: u32) {
        self.warps[warp as usize].change(mask, |group| {
            let before = group.view.before.clone();
            join(&mut group.tensor, &before);
        });
    }

    /// The releasing half of a strong store or update of one lane; call it before memory changes.
    /// `release`: the operation itself releases; otherwise only an earlier fence does.
    pub fn synchronize_store(&mut self, warp: u32, lane: u32, place: Place, address: u64, update: bool, release: bool) {
        let state = &mut self.warps[warp as usize];
        let told = if release {
            let view = state.together(1 << lane);
            state.counter += 1;
            view
        } else {
            let group = state.groups.iter().find(|group| group.mask >> lane & 1 == 1);
            group.and_then(|group| group.released.as_ref()).map(|view| (**view).clone())
        };
        let change = |clock: &mut Clock| {
            // An update continues the release sequence of what it read; a store begins anew.
            if !update {
                clock.clear();
            }
            if let Some(view) = &told {
                clock.learn(view);
            }
        };
        match place {
            Place::Global => self.global.location(address, change),
            Place::Shared | Place::Tensor => {
                change(self.locations.entry(address).or_default());
            }
        }
    }

    /// The acquiring half of a strong load or update of one lane; call it after memory was read.
    /// `acquire`: the operation itself acquires; otherwise a later fence does.
    pub fn synchronize_load(&mut self, warp: u32, lane: u32, place: Place, address: u64, acquire: bool) {
        let seen = match place {
            Place::Global => self.global.location(address, |clock| clock.clone()),
            Place::Shared | Place::Tensor => self.locations.get(&address).cloned().unwrap_or_default(),
        };
        let Some(view) = seen.inside else {
            return;
        };
        let cluster = self.cluster;
        self.warps[warp as usize].change(1 << lane, |group| {
            if acquire {
                group.view.join(&view);
            } else {
                let mut observed =
                    group.observed.as_ref().map_or_else(|| View::new(cluster), |observed| (**observed).clone());
                observed.join(&view);
                group.observed = Some(Arc::new(observed));
            }
        });
    }

    /// An asynchronous operation of the lanes of `mask`: it inherits all that they know.
    pub fn start(&mut self, warp: u32, mask: u32, kind: OperationKind) -> Operation {
        let state = &self.warps[warp as usize];
        let mut inherited: Option<View> = None;
        let mut tensor: Option<Arc<Vector>> = None;
        for group in state.groups.iter().filter(|group| group.mask & mask != 0) {
            match &mut inherited {
                Some(view) => view.join(&group.view),
                None => inherited = Some(group.view.clone()),
            }
            match &mut tensor {
                Some(vector) => join(vector, &group.tensor),
                None => tensor = Some(group.tensor.clone()),
            }
        }
        let inherited = inherited.unwrap_or_else(|| View::new(self.cluster));
        let mut tensor = tensor.unwrap_or_default();
        let mut view = inherited.clone();
        state.add_own(&mut view, mask);
        Arc::make_mut(&mut tensor).raise(state.agent, mask, state.counter);
        let (agent, generation) = self.slots.take(&inherited.known);
        Operation { agent, generation, kind, view, tensor, inherited }
    }

    /// One access of an operation, at the time of issue, as far as it will reach. For tensor memory see
    /// [`ClusterOrder::operation_tensor`].
    ///
    /// # Errors
    /// The conflict found.
    #[expect(clippy::too_many_arguments, reason = "an access has this many parts")]
    pub fn operation_access(
        &mut self,
        operation: &Operation,
        address: u64,
        bytes: u64,
        place: Place,
        kind: Kind,
        proxy: Proxy,
        at: u32,
    ) -> Result<(), Conflict> {
        let access = operation_record(self.cluster, operation, kind, proxy, at);
        let actor = operation_actor(operation, self.shape, place);
        touch(&self.global, &mut self.shared, place, address, bytes, access, &actor)
            .map_err(|(base, found)| self.conflict(place, base, &found, &access))
    }

    /// One access of an operation to a rectangle of the tensor memory of a CTA, at the time of issue.
    ///
    /// # Errors
    /// The conflict found.
    pub fn operation_tensor(
        &mut self,
        operation: &Operation,
        cta: u32,
        lanes: std::ops::Range<u32>,
        columns: std::ops::Range<u32>,
        kind: Kind,
        at: u32,
    ) -> Result<(), Conflict> {
        let access = operation_record(self.cluster, operation, kind, Proxy::Async, at);
        let actor = operation_actor(operation, self.shape, Place::Tensor);
        let cells = &mut self.tensor[cta as usize];
        if cells.is_empty() {
            cells.resize(TENSOR_GROUPS * TENSOR_COLUMNS, Cell::EMPTY);
        }
        let groups = lanes.start / TENSOR_LANES..lanes.end.div_ceil(TENSOR_LANES).min(TENSOR_GROUPS as u32);
        for column in columns.start..columns.end.min(TENSOR_COLUMNS as u32) {
            for group in groups.clone() {
                let cell = &mut cells[column as usize * TENSOR_GROUPS + group as usize];
                if let Err(found) = cell.touch(1, 0, 1, access, &actor) {
                    let address = u64::from(cta) << 32 | u64::from(group * TENSOR_LANES) << 16 | u64::from(column);
                    return Err(self.conflict(Place::Tensor, address, &found, &access));
                }
            }
        }
        Ok(())
    }

    /// Whoever acquires `into` will know the operation to be finished: a completion that an mbarrier signals.
    pub fn finish(&mut self, operation: &Operation, into: &mut Clock) {
        into.learn(&self.completion(operation));
    }

    /// The lanes know the operation to be finished: a wait of the issuing threads themselves (bulk groups, wgmma groups,
    /// `tcgen05.wait`).
    pub fn complete(&mut self, operation: &Operation, warp: u32, mask: u32) {
        let view = self.completion(operation);
        self.warps[warp as usize].change(mask, |group| {
            group.view.join(&view);
            join(&mut group.tensor, &view.before);
        });
    }

    fn completion(&self, operation: &Operation) -> View {
        let mut view = operation.inherited.clone();
        for vector in [&mut view.known, &mut view.fenced, &mut view.before] {
            Arc::make_mut(vector).raise(operation.agent, u32::MAX, operation.generation);
        }
        view
    }

    fn conflict(&self, place: Place, base: u64, found: &Found, second: &Access) -> Conflict {
        Conflict {
            reason: found.reason,
            place,
            address: base + u64::from(found.offset),
            first: side(&found.first, found.first_lane),
            second: side(second, found.second_lane),
        }
    }
}

fn side(access: &Access, lane: u32) -> Side {
    let agent = match access.operation {
        Some(kind) => Agent::Operation { cluster: access.cluster, kind },
        None => Agent::Lane { cluster: access.cluster, warp: access.agent, lane },
    };
    Side { agent, kind: access.kind, proxy: access.proxy, at: access.at }
}

fn remembered(place: Place) -> usize {
    match place {
        Place::Global => REMEMBERED_GLOBAL,
        Place::Shared | Place::Tensor => REMEMBERED_SHARED,
    }
}

fn operation_record(cluster: u32, operation: &Operation, kind: Kind, proxy: Proxy, at: u32) -> Access {
    Access {
        cluster,
        agent: operation.agent,
        counter: operation.generation,
        at,
        lanes: u32::MAX,
        shift: WHOLE,
        kind,
        proxy,
        operation: Some(operation.kind),
    }
}

fn operation_actor(operation: &Operation, shape: ClusterShape, place: Place) -> Actor<'_> {
    Actor {
        known: &operation.view.known,
        fenced: &operation.view.fenced,
        mapped: &operation.view.mapped,
        tensor: &operation.tensor,
        own: None,
        warps_per_cta: shape.warps_per_cta,
        remembered: remembered(place),
        tensor_memory: place == Place::Tensor,
    }
}

fn mark(own: &mut [u32; 32], mask: u32, counter: u32) {
    for (lane, value) in own.iter_mut().enumerate() {
        if mask >> lane & 1 == 1 {
            *value = counter;
        }
    }
}

fn touch(
    global: &GlobalOrder,
    shared: &mut [Vec<Option<Page>>],
    place: Place,
    address: u64,
    bytes: u64,
    access: Access,
    actor: &Actor<'_>,
) -> Result<(), (u64, Found)> {
    if place == Place::Global {
        return global.touch(address, bytes, access, actor);
    }
    let (rank, offset) = (address >> 24, address & 0xff_ffff);
    let pages = shared.get_mut(rank as usize);
    let mut from = offset;
    let end = offset + bytes;
    let Some(pages) = pages else {
        return Ok(());
    };
    while from < end {
        let number = from / PAGE;
        let base = number * PAGE;
        let to = end.min(base + PAGE);
        // Beyond the end of shared memory nothing is tracked: the machine refuses such accesses itself.
        let Some(page) = pages.get_mut(number as usize) else {
            return Ok(());
        };
        page.get_or_insert_with(Page::new)
            .touch((from - base) as u32, (to - base) as u32, access.shifted((from - offset) as u32, 0), actor)
            .map_err(|found| (rank << 24 | base, found))?;
        from = to;
    }
    Ok(())
}

/// Lanes of one instruction whose bytes follow one another, or are the same.
struct Run {
    mask: u32,
    address: u64,
    bytes: u64,
    lanes: u32,
    shift: u8,
}

impl Run {
    /// The run that begins with the first lane of `rest`.
    fn first(rest: u32, addresses: &[u64; 32], bytes: u32) -> Run {
        let first = rest.trailing_zeros();
        let address = addresses[first as usize];
        let mut run = Run { mask: 1 << first, address, bytes: u64::from(bytes), lanes: 1 << first, shift: WHOLE };
        let next = |lane: u32| (lane < 32 && rest >> lane & 1 == 1).then(|| addresses[lane as usize]);
        let mut lane = first + 1;
        if next(lane) == Some(address) {
            while next(lane) == Some(address) {
                run.mask |= 1 << lane;
                lane += 1;
            }
            run.lanes = run.mask;
            return run;
        }
        if !bytes.is_power_of_two() {
            return run;
        }
        while next(lane) == Some(address.wrapping_add(run.bytes)) {
            run.mask |= 1 << lane;
            run.bytes += u64::from(bytes);
            lane += 1;
        }
        if lane > first + 1 {
            run.lanes = first;
            run.shift = bytes.trailing_zeros() as u8;
        }
        run
    }
}
