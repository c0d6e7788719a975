//! The order of one cluster: its agents, the shadow of its shared and tensor memory, and the accesses of its lanes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::order::access::{Access, Kind, OperationKind, Place, Proxy};
use crate::order::cell::{Actor, Cell, Found};
use crate::order::conflict::{Agent, Conflict, Reason, Side};
use crate::order::global::GlobalOrder;
use crate::order::knowledge::{Clock, View, Warp};
use crate::order::operation::Slots;
use crate::order::run::Run;
use crate::order::shadow::{PAGE, Page};

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
    /// Whether `tcgen05.fence` is demanded between threads. Compilers exist that never emit it and rely on ptxas not
    /// moving tensor memory accesses over barriers.
    pub tensor_fences: bool,
}

/// Happens-before in one cluster. The machine calls it for every access and every synchronisation of the cluster.
#[derive(Debug)]
pub struct ClusterOrder {
    pub(super) global: Arc<GlobalOrder>,
    pub(super) cluster: u32,
    pub(super) shape: ClusterShape,
    pub(super) warps: Vec<Warp>,
    pub(super) slots: Slots,
    /// Pages of each CTA's shared memory.
    pub(super) shared: Vec<Vec<Option<Page>>>,
    /// Cells of each CTA's tensor memory, by column and group of lanes; empty until first touched.
    pub(super) tensor: Vec<Vec<Cell>>,
    /// What locations of shared memory release.
    pub(super) locations: HashMap<u64, Clock>,
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

    /// One instruction of a warp: each lane of `mask` accesses `bytes` bytes at its address. Vector accesses are one access of all
    /// their bytes. Of lanes that store the same bytes one is as good as another: they are no conflict, and one of them is recorded.
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
    ) -> Result<(), Conflict> {
        let mask = if kind == Kind::Write { one_lane_per_byte(mask, addresses, bytes) } else { mask };
        let mut first = Ok(());
        for index in 0..self.warps[warp as usize].groups.len() {
            let mut rest = self.warps[warp as usize].groups[index].mask & mask;
            while rest != 0 {
                let run = Run::first(rest, addresses, bytes);
                rest &= !run.mask;
                first = first.and(self.touch_run(warp, index, &run, place, kind, at));
            }
        }
        first
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
        let actor = lane_actor(state, group, self.shape, place);
        touch(&self.global, &mut self.shared, place, run.address, run.bytes, access, &actor)
            .map_err(|(base, found)| self.conflict(place, base, &found, &access))
    }

    /// The end of a CTA whose threads have all exited, the last one at the instruction `at`: its shared memory is given back, so
    /// peers and asynchronous operations must be known to touch it no more. Signals of operations at mbarriers are left out: what
    /// they signal is waited for by its other effects.
    ///
    /// # Errors
    /// The first access that may still be under way.
    pub fn exit_cta(&mut self, cta: u32, at: u32) -> Result<(), Conflict> {
        let per_cta = self.shape.warps_per_cta;
        let own = cta * per_cta..(cta + 1) * per_cta;
        let mut all: Option<View> = None;
        for warp in own.clone() {
            if let Some(view) = self.warps[warp as usize].together(u32::MAX) {
                match &mut all {
                    Some(all) => all.join(&view),
                    None => all = Some(view),
                }
            }
        }
        let Some(view) = all else { return Ok(()) };
        let matters = |access: &Access| match access.operation {
            Some(OperationKind::CopyAsync) => false,
            Some(_) => access.kind.scope().is_none(),
            None => !own.contains(&access.agent),
        };
        for (number, page) in self.shared[cta as usize].iter().enumerate() {
            let found = page.as_ref().and_then(|page| page.unknown(&view.known, &matters));
            let Some((access, lane, byte)) = found else { continue };
            let reason = if access.operation.is_some() { Reason::NotWaited } else { Reason::Race };
            let agent = Agent::Operation { cluster: self.cluster, kind: OperationKind::Exit };
            return Err(Conflict {
                reason,
                place: Place::Shared,
                address: u64::from(cta) << 24 | (number as u64 * PAGE + u64::from(byte)),
                first: side(&access, lane),
                second: Side { agent, kind: Kind::Write, proxy: Proxy::Generic, at },
            });
        }
        Ok(())
    }

    pub(super) fn conflict(&self, place: Place, base: u64, found: &Found, second: &Access) -> Conflict {
        Conflict {
            reason: found.reason,
            place,
            address: base + u64::from(found.offset),
            first: side(&found.first, found.first_lane),
            second: side(second, found.second_lane),
        }
    }
}

/// The lanes that remain when of lanes that store the same bytes only one does.
fn one_lane_per_byte(mask: u32, addresses: &[u64; 32], bytes: u32) -> u32 {
    let lanes = || (0..32usize).filter(|lane| mask >> lane & 1 == 1);
    let apart = |one: usize, next: usize| addresses[next] >= addresses[one].saturating_add(u64::from(bytes));
    if lanes().zip(lanes().skip(1)).all(|(one, next)| apart(one, next)) {
        return mask;
    }
    let mut sorted: Vec<usize> = lanes().collect();
    sorted.sort_by_key(|&lane| addresses[lane]);
    let mut kept = mask;
    let mut last = sorted[0];
    for &lane in &sorted[1..] {
        if apart(last, lane) {
            last = lane;
        } else {
            kept &= !(1 << lane);
        }
    }
    kept
}

fn side(access: &Access, lane: u32) -> Side {
    let agent = match access.operation {
        Some(kind) => Agent::Operation { cluster: access.cluster, kind },
        None => Agent::Lane { cluster: access.cluster, warp: access.agent, lane },
    };
    Side { agent, kind: access.kind, proxy: access.proxy, at: access.at }
}

/// What the lanes of a group of a warp know.
pub(super) fn lane_actor(state: &Warp, group: usize, shape: ClusterShape, place: Place) -> Actor<'_> {
    let group = &state.groups[group];
    Actor {
        known: &group.view.known,
        fenced: &group.view.fenced,
        told: &group.view.known,
        mapped: &group.view.mapped,
        tensor: &group.tensor,
        own: Some(state.agent),
        copies: state.copies.as_deref(),
        in_order: None,
        warps_per_cta: shape.warps_per_cta,
        remembered: remembered(place),
        tensor_memory: false,
    }
}

pub(super) fn remembered(place: Place) -> usize {
    match place {
        Place::Global => REMEMBERED_GLOBAL,
        Place::Shared | Place::Tensor => REMEMBERED_SHARED,
    }
}

/// Checks and records an access to global or shared memory.
pub(super) fn touch(
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
    let mut first = Ok(());
    while from < end {
        let number = from / PAGE;
        let base = number * PAGE;
        let to = end.min(base + PAGE);
        // Beyond the end of shared memory nothing is tracked: the machine refuses such accesses itself.
        let Some(page) = pages.get_mut(number as usize) else {
            break;
        };
        let part = access.shifted((from - offset) as u32, 0);
        let page = page.get_or_insert_with(Page::new);
        let touched = page.touch((from - base) as u32, (to - base) as u32, part, actor);
        if touched.is_err() && first.is_ok() {
            first = touched.map_err(|found| (rank << 24 | base, found));
        }
        from = to;
    }
    first
}
