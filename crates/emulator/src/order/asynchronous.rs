//! Asynchronous operations: what they inherit, what they access, who learns that they are finished.

use std::sync::Arc;

use crate::order::access::{Access, Kind, OperationKind, Place, Proxy, WHOLE};
use crate::order::cell::{Actor, Cell};
use crate::order::cluster::{ClusterOrder, ClusterShape, lane_actor, remembered, touch};
use crate::order::conflict::Conflict;
use crate::order::knowledge::{Clock, Copies, View, join};
use crate::order::operation::Operation;
use crate::order::run::Run;
use crate::order::vector::Vector;

/// Lanes of a CTA's tensor memory that are tracked together.
const TENSOR_LANES: u32 = 16;
/// Groups of lanes, and columns, of a CTA's tensor memory.
const TENSOR_GROUPS: usize = 8;
const TENSOR_COLUMNS: usize = 512;
impl ClusterOrder {
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
        let tensor = tensor.unwrap_or_default();
        let mut view = inherited.clone();
        state.add_own(&mut view, mask);
        let (agent, generation) = match kind.queue() {
            Some(queue) => self.slots.take_queued(warp, mask.trailing_zeros(), queue),
            None => self.slots.take(&inherited.known),
        };
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
        let mut first = None;
        for column in columns.start..columns.end.min(TENSOR_COLUMNS as u32) {
            for group in groups.clone() {
                let cell = &mut cells[column as usize * TENSOR_GROUPS + group as usize];
                if let Err(found) = cell.touch(1, 0, 1, access, &actor) {
                    first.get_or_insert((found, group, column));
                }
            }
        }
        let Some((found, group, column)) = first else {
            return Ok(());
        };
        let address = u64::from(cta) << 32 | u64::from(group * TENSOR_LANES) << 16 | u64::from(column);
        Err(self.conflict(Place::Tensor, address, &found, &access))
    }

    /// Whoever acquires `into` will know the operation to be finished: a completion that an mbarrier signals. As
    /// `tcgen05.commit` does, it counts as a `tcgen05.fence::before_thread_sync` for the operation.
    pub fn finish(&mut self, operation: &Operation, into: &mut Clock) {
        let mut view = completion(operation);
        Arc::make_mut(&mut view.before).raise(operation.agent, u32::MAX, operation.generation);
        into.learn(&view);
    }

    /// The lanes know the operation to be finished: a wait of the issuing threads themselves (bulk groups, wgmma groups,
    /// `tcgen05.wait`).
    pub fn complete(&mut self, operation: &Operation, warp: u32, mask: u32) {
        let view = completion(operation);
        self.warps[warp as usize].change(mask, |group| {
            group.view.join(&view);
            if !group.tensor.knows(self.cluster, operation.agent, operation.generation, u32::MAX) {
                Arc::make_mut(&mut group.tensor).raise(operation.agent, u32::MAX, operation.generation);
            }
        });
    }

    /// `cp.async`: each lane of `mask` fills `bytes` bytes of shared memory at its address. The reading of the source is an
    /// access of the lane itself, by [`ClusterOrder::lanes`]. Returns the number of the instruction in its warp, for
    /// [`ClusterOrder::wait_copies`], and the first conflict found.
    pub fn copy_async(
        &mut self,
        warp: u32,
        mask: u32,
        addresses: &[u64; 32],
        bytes: u32,
        at: u32,
    ) -> (u32, Option<Conflict>) {
        let queue = OperationKind::CopyAsync.queue().unwrap_or(0);
        let (agent, generation) = self.slots.take_queued(warp, 0, queue);
        let state = &mut self.warps[warp as usize];
        let copies =
            state.copies.get_or_insert_with(|| Box::new(Copies { agent, issued: 0, waited: [0; 32], fenced: [0; 32] }));
        copies.issued = generation;
        let mut first = None;
        for index in 0..self.warps[warp as usize].groups.len() {
            let state = &self.warps[warp as usize];
            let group = &state.groups[index];
            let mut rest = group.mask & mask;
            while rest != 0 {
                let run = Run::first(rest, addresses, bytes);
                rest &= !run.mask;
                let access = Access {
                    cluster: self.cluster,
                    agent,
                    counter: generation,
                    at,
                    lanes: run.lanes,
                    shift: run.shift,
                    kind: Kind::Write,
                    proxy: Proxy::Generic,
                    operation: Some(OperationKind::CopyAsync),
                };
                let actor = lane_actor(state, index, self.shape, Place::Shared);
                let touched =
                    touch(&self.global, &mut self.shared, Place::Shared, run.address, run.bytes, access, &actor);
                if let Err((base, found)) = touched {
                    first.get_or_insert_with(|| self.conflict(Place::Shared, base, &found, &access));
                }
            }
        }
        (generation, first)
    }

    /// The lanes waited for their copies up to the instruction of that number: from now on these count as their own writes.
    pub fn wait_copies(&mut self, warp: u32, mask: u32, generation: u32) {
        if let Some(copies) = &mut self.warps[warp as usize].copies {
            for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
                copies.waited[lane] = copies.waited[lane].max(generation);
            }
        }
    }

    /// Whoever acquires `into` will know all copies that the lanes issued so far to be finished:
    /// `cp.async.mbarrier.arrive`.
    pub fn finish_copies(&mut self, warp: u32, mask: u32, into: &mut Clock) {
        let state = &self.warps[warp as usize];
        let Some(copies) = &state.copies else {
            return;
        };
        let mut view = View::new(self.cluster);
        Arc::make_mut(&mut view.known).raise(copies.agent, mask, copies.issued);
        into.learn(&view);
    }
}

/// What whoever waited for the operation knows: it, and what its issuer had learned from others.
fn completion(operation: &Operation) -> View {
    let mut view = operation.inherited.clone();
    for vector in [&mut view.known, &mut view.fenced] {
        Arc::make_mut(vector).raise(operation.agent, u32::MAX, operation.generation);
    }
    view
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
    let in_order = place == Place::Tensor && operation.kind.queue() == Some(OperationKind::TENSOR_PIPE);
    Actor {
        known: &operation.view.known,
        fenced: &operation.view.fenced,
        told: &operation.inherited.known,
        mapped: &operation.view.mapped,
        tensor: &operation.tensor,
        own: None,
        copies: None,
        in_order: in_order.then_some(operation.agent),
        warps_per_cta: shape.warps_per_cta,
        remembered: remembered(place),
        tensor_memory: place == Place::Tensor && shape.tensor_fences,
    }
}
