//! Checked access to memory, for lanes and for asynchronous operations.

use crate::exec::At;
use crate::hazard::{Fault, HazardKind};
use crate::memory::{Allocation, GENERIC_LOCAL, GENERIC_SHARED, GlobalMemory, SHARED_BASE, Target, rank_of, resolve};
use crate::order::{Conflict, Kind, Operation, Place, Proxy, Reason, Scope};
use crate::scalar::Register;

use super::{Cluster, LANES, Schedule, lanes};

/// The state space that an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// None: the address says.
    Generic,
    /// Global and constant memory.
    Global,
    /// Shared memory of the own CTA.
    Shared,
    /// Shared memory of the cluster.
    SharedCluster,
    /// Memory of the thread.
    Local,
    /// The kernel's parameters, by offset.
    Param,
}

/// The most bytes that one lane moves at once.
pub const MOST: usize = 32;

/// Bytes of each lane.
pub type LaneBytes = [[u8; MOST]; LANES];

impl Cluster<'_> {
    /// Where an address of a lane lies.
    pub fn locate(&self, warp: usize, space: Space, address: u64) -> Result<Target, Fault> {
        let out = |message: String| Err(Fault::new(HazardKind::OutOfBounds, message).at(address));
        let shared = |address: u64, own: bool| {
            let Ok(short) = u32::try_from(address) else {
                return out(format!("{address:#x} is no shared address: it does not fit 32 bits"));
            };
            let (rank, offset) = rank_of(short);
            if rank as usize >= self.ctas.len() {
                let count = self.ctas.len();
                return out(format!("shared address {short:#x} is in CTA {rank} of a cluster of {count}"));
            }
            if own && rank != self.cta_of(warp).rank {
                return out(format!(
                    "shared address {short:#x} is in CTA {rank}; `.shared::cta` reaches the own CTA only"
                ));
            }
            if offset < SHARED_BASE {
                return out(format!("offset {offset:#x} is below the kernel's shared memory: a null address?"));
            }
            Ok(Target::Shared(short))
        };
        match space {
            Space::Shared => shared(address, true),
            Space::SharedCluster => shared(address, false),
            Space::Local => Ok(Target::Local(address as u32)),
            Space::Param => Ok(Target::Global(self.grid.param_base.wrapping_add(address))),
            Space::Global => match resolve(address) {
                Target::Global(address) => Ok(Target::Global(address)),
                other => out(format!("{address:#x} is in the window of {other:?}, not global memory")),
            },
            Space::Generic => match resolve(address) {
                Target::Shared(short) => shared(u64::from(short), false),
                other => Ok(other),
            },
        }
    }

    /// The generic address of a place.
    pub fn generic(target: Target) -> u64 {
        match target {
            Target::Global(address) => address,
            Target::Shared(short) => GENERIC_SHARED + u64::from(short),
            Target::Local(offset) => GENERIC_LOCAL + u64::from(offset),
        }
    }

    fn aligned(address: u64, bytes: usize) -> Result<(), Fault> {
        // Sizes of accesses are powers of two; 12 bytes and the like come in parts.
        if address.is_multiple_of(bytes as u64) {
            return Ok(());
        }
        let message = format!("{bytes} bytes at {address:#x}: the address must be a multiple of {bytes}");
        Err(Fault::new(HazardKind::Misaligned, message).at(address))
    }

    fn locate_all(&self, at: &At, space: Space, addresses: &Register, bytes: usize) -> Result<[Target; LANES], Fault> {
        let mut targets = [Target::Local(0); LANES];
        for lane in lanes(at.mask) {
            let address = addresses[lane];
            Self::aligned(address, bytes).map_err(|fault| fault.lane(lane))?;
            targets[lane] = self.locate(at.warp, space, address).map_err(|fault| fault.lane(lane))?;
        }
        Ok(targets)
    }

    /// Checks happens-before for one instruction of a warp. Compilers let all threads that hold a sum store it: of lanes of one store that
    /// write the same bytes one wins (CUDA C++ Programming Guide, SIMT architecture), another one in another schedule; and warps that
    /// store what is there already, which `repeats` says, are not in a race that anybody could see.
    fn check_order(&mut self, at: &At, targets: &[Target; LANES], bytes: usize, kind: Kind, repeats: bool) {
        let Some(order) = &mut self.order else { return };
        let (mut global, mut shared) = (0, 0);
        let mut addresses = [0; LANES];
        for lane in lanes(at.mask) {
            match targets[lane] {
                Target::Global(address) => {
                    global |= 1 << lane;
                    addresses[lane] = address;
                }
                Target::Shared(short) => {
                    shared |= 1 << lane;
                    addresses[lane] = u64::from(short);
                }
                Target::Local(_) => {}
            }
        }
        let mut conflicts = Vec::new();
        for (mask, place) in [(global, Place::Global), (shared, Place::Shared)] {
            if mask != 0 {
                let (warp, bytes) = (at.warp as u32, bytes as u32);
                conflicts.extend(order.lanes(warp, mask, &addresses, bytes, place, kind, at.pc).err());
            }
        }
        for conflict in conflicts {
            let of_stores = conflict.reason == Reason::Race && conflict.first.kind == Kind::Write;
            if !(repeats && of_stores) {
                self.report_conflict(at.warp, conflict);
            }
        }
    }

    /// Whether a store of some lanes leaves every byte as it is.
    fn repeats(&self, at: &At, targets: &[Target; LANES], bytes: usize, from: &LaneBytes) -> bool {
        self.order.is_some()
            && lanes(at.mask).all(|lane| {
                let new = &from[lane][..bytes];
                match targets[lane] {
                    Target::Global(address) => {
                        let mut old = [0; MOST];
                        self.grid.memory.read(address, &mut old[..bytes]).is_ok() && old[..bytes] == *new
                    }
                    Target::Shared(short) => {
                        let (rank, offset) = rank_of(short);
                        self.ctas[rank as usize].shared.read(offset, bytes).is_ok_and(|old| old == new)
                    }
                    Target::Local(_) => true,
                }
            })
    }

    /// Adds a conflict to the report.
    pub fn report_conflict(&mut self, warp: usize, conflict: Conflict) {
        let code = &self.grid.kernel.code;
        let lines = [conflict.first.at, conflict.second.at].map(|at| code.get(at as usize).map_or(0, |inst| inst.line));
        lines.into_iter().for_each(|line| self.explained(line));
        let fault = self.conflict_fault(&conflict);
        self.report(warp, fault);
    }

    /// Reads `bytes` bytes of each lane.
    pub fn read_lanes(
        &mut self,
        at: &At,
        space: Space,
        addresses: &Register,
        bytes: usize,
        kind: Kind,
        into: &mut LaneBytes,
    ) -> Result<(), Fault> {
        let targets = self.locate_all(at, space, addresses, bytes)?;
        let common = self.common_allocation(at.mask, &targets, bytes);
        for lane in lanes(at.mask) {
            let into = &mut into[lane][..bytes];
            if let (Some(allocation), Target::Global(address)) = (common, targets[lane])
                && allocation.read(address, into)
            {
                continue;
            }
            self.read_target(at.warp, lane, targets[lane], into)
                .map_err(|fault| fault.lane(lane).at(addresses[lane]))?;
        }
        self.check_order(at, &targets, bytes, kind, false);
        // Parameters come from constant memory.
        if space != Space::Param {
            self.count_traffic(at, &targets, bytes, false);
        }
        Ok(())
    }

    /// Writes `bytes` bytes of each lane.
    pub fn write_lanes(
        &mut self,
        at: &At,
        space: Space,
        addresses: &Register,
        bytes: usize,
        kind: Kind,
        from: &LaneBytes,
    ) -> Result<(), Fault> {
        let targets = self.locate_all(at, space, addresses, bytes)?;
        let repeats = self.repeats(at, &targets, bytes, from);
        let common = self.common_allocation(at.mask, &targets, bytes).filter(|allocation| !allocation.read_only);
        // Where lanes write the same bytes, who wins is for the schedule to say.
        let backwards = self.grid.options.schedule == Schedule::Lazy;
        for index in 0..LANES {
            let lane = if backwards { LANES - 1 - index } else { index };
            if at.mask >> lane & 1 == 0 {
                continue;
            }
            let from = &from[lane][..bytes];
            if let (Some(allocation), Target::Global(address)) = (common, targets[lane]) {
                allocation.write_at(address, from);
                continue;
            }
            self.write_target(at.warp, lane, targets[lane], from)
                .map_err(|fault| fault.lane(lane).at(addresses[lane]))?;
        }
        self.check_order(at, &targets, bytes, kind, repeats);
        self.count_traffic(at, &targets, bytes, true);
        Ok(())
    }

    /// Reads, changes and writes a value of each lane, one after the other. `change` gives the new bytes, or none to leave them.
    #[expect(clippy::too_many_arguments, reason = "an access has this many parts")]
    pub fn update_lanes(
        &mut self,
        at: &At,
        space: Space,
        addresses: &Register,
        bytes: usize,
        scope: Scope,
        old: &mut LaneBytes,
        mut change: impl FnMut(usize, &[u8]) -> Option<[u8; MOST]>,
    ) -> Result<(), Fault> {
        let targets = self.locate_all(at, space, addresses, bytes)?;
        for lane in lanes(at.mask) {
            let place = |fault: Fault| fault.lane(lane).at(addresses[lane]);
            self.read_target(at.warp, lane, targets[lane], &mut old[lane][..bytes]).map_err(place)?;
            if let Some(new) = change(lane, &old[lane][..bytes]) {
                self.write_target(at.warp, lane, targets[lane], &new[..bytes]).map_err(place)?;
            }
        }
        self.check_order(at, &targets, bytes, Kind::StrongWrite(scope), false);
        self.count_traffic(at, &targets, bytes, true);
        Ok(())
    }

    fn live(&self, warp: usize, rank: u32) -> Result<(), Fault> {
        let cta = &self.ctas[rank as usize];
        if cta.exited >= self.threads_per_cta() && self.warps[warp].cta != rank as usize {
            let message = format!("touches shared memory of CTA {rank} of the cluster, which has exited");
            return Err(Fault::new(HazardKind::OutOfBounds, message));
        }
        Ok(())
    }

    /// Reads what a lane asks for. Bytes that nobody wrote are reported and read as they are: the kernel goes on, and a race that is
    /// the cause is found too.
    fn read_target(&mut self, warp: usize, lane: usize, target: Target, into: &mut [u8]) -> Result<(), Fault> {
        let fault = match target {
            Target::Global(address) => match self.grid.memory.read(address, into) {
                Err(fault) if fault.kind == HazardKind::Uninitialized => {
                    self.grid.memory.read_any(address, into)?;
                    fault
                }
                other => return other,
            },
            Target::Shared(short) => {
                let (rank, offset) = rank_of(short);
                self.live(warp, rank)?;
                let shared = &self.ctas[rank as usize].shared;
                match shared.read(offset, into.len()) {
                    Ok(data) => {
                        into.copy_from_slice(data);
                        return Ok(());
                    }
                    Err(fault) if fault.kind == HazardKind::Uninitialized => {
                        into.copy_from_slice(shared.read_any(offset, into.len())?);
                        fault
                    }
                    Err(fault) => return Err(fault),
                }
            }
            Target::Local(offset) => {
                let local = self.warps[warp].local.get(lane).ok_or_else(no_local)?;
                match local.read(offset, into.len()) {
                    Ok(data) => {
                        into.copy_from_slice(data);
                        return Ok(());
                    }
                    Err(fault) if fault.kind == HazardKind::Uninitialized => {
                        into.copy_from_slice(local.read_any(offset, into.len())?);
                        fault
                    }
                    Err(fault) => return Err(fault),
                }
            }
        };
        self.report(warp, fault.lane(lane));
        Ok(())
    }

    fn write_target(&mut self, warp: usize, lane: usize, target: Target, from: &[u8]) -> Result<(), Fault> {
        match target {
            Target::Global(address) => self.grid.memory.write(address, from),
            Target::Shared(short) => {
                let (rank, offset) = rank_of(short);
                self.live(warp, rank)?;
                self.ctas[rank as usize].shared.write(offset, from)
            }
            Target::Local(offset) => self.warps[warp].local.get_mut(lane).ok_or_else(no_local)?.write(offset, from),
        }
    }

    /// Reads global memory, as an asynchronous operation does when it finishes.
    pub fn read_global(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.grid.memory.read(address, into)
    }

    /// Writes global memory, as an asynchronous operation does when it finishes.
    pub fn write_global(&mut self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.grid.memory.write(address, from)
    }

    /// Reads shared memory of the cluster, as an asynchronous operation does when it finishes.
    pub fn read_shared(&self, address: u32, bytes: usize) -> Result<&[u8], Fault> {
        let (rank, offset) = rank_of(address);
        self.ctas.get(rank as usize).ok_or_else(|| no_cta(rank))?.shared.read(offset, bytes)
    }

    /// Writes shared memory of the cluster, as an asynchronous operation does when it finishes.
    pub fn write_shared(&mut self, address: u32, from: &[u8]) -> Result<(), Fault> {
        let threads = self.threads_per_cta();
        let (rank, offset) = rank_of(address);
        let cta = self.ctas.get_mut(rank as usize).ok_or_else(|| no_cta(rank))?;
        if cta.exited >= threads {
            let message = format!("an asynchronous operation writes shared memory of CTA {rank}, which has exited");
            return Err(Fault::new(HazardKind::NotWaitedFor, message).at(u64::from(address)));
        }
        cta.shared.write(offset, from)
    }

    /// Records bytes that an asynchronous operation will touch. Call it when the operation is issued: from then on until its
    /// completion is waited for, whoever else touches them is in conflict, in every schedule.
    #[expect(clippy::too_many_arguments, reason = "an access has this many parts")]
    pub fn touch(
        &mut self,
        at: &At,
        operation: Option<&Operation>,
        place: Place,
        address: u64,
        bytes: usize,
        kind: Kind,
        proxy: Proxy,
    ) {
        let (Some(order), Some(operation)) = (&mut self.order, operation) else { return };
        let found = order.operation_access(operation, address, bytes as u64, place, kind, proxy, at.pc);
        if let Err(conflict) = found {
            self.report_conflict(at.warp, conflict);
        }
    }

    /// The acquiring half of strong loads and updates, after memory was read.
    pub fn synchronize_loads(&mut self, at: &At, space: Space, addresses: &Register, acquires: bool) {
        for (lane, place, address) in self.shared_or_global(at, space, addresses) {
            if let Some(order) = &mut self.order {
                order.synchronize_load(at.warp as u32, lane, place, address, acquires);
            }
        }
    }

    /// The releasing half of strong stores and updates, before memory is written.
    pub fn synchronize_stores(&mut self, at: &At, space: Space, addresses: &Register, update: bool, releases: bool) {
        for (lane, place, address) in self.shared_or_global(at, space, addresses) {
            if let Some(order) = &mut self.order {
                order.synchronize_store(at.warp as u32, lane, place, address, update, releases);
            }
        }
    }

    /// The lanes whose addresses others can reach; those that lie nowhere are the access's own fault.
    fn shared_or_global(&self, at: &At, space: Space, addresses: &Register) -> Vec<(u32, Place, u64)> {
        if self.order.is_none() {
            return Vec::new();
        }
        let place = |lane: usize| match self.locate(at.warp, space, addresses[lane]).ok()? {
            Target::Global(address) => Some((lane as u32, Place::Global, address)),
            Target::Shared(short) => Some((lane as u32, Place::Shared, u64::from(short))),
            Target::Local(_) => None,
        };
        lanes(at.mask).filter_map(place).collect()
    }

    fn count_traffic(&mut self, at: &At, targets: &[Target; LANES], bytes: usize, write: bool) {
        if let Some(profile) = &mut self.profile {
            profile.traffic(at.mask, targets, bytes, write);
        }
    }
}

impl<'l> Cluster<'l> {
    /// The allocation of global memory that all lanes' bytes lie in, where one holds them all: each lane then needs no search.
    fn common_allocation(&self, mask: u32, targets: &[Target; LANES], bytes: usize) -> Option<&'l Allocation> {
        let (mut low, mut high) = (u64::MAX, 0);
        for lane in lanes(mask) {
            let Target::Global(address) = targets[lane] else { return None };
            low = low.min(address);
            high = high.max(address);
        }
        let memory: &'l GlobalMemory = self.grid.memory;
        memory.holding(low, (high - low).checked_add(bytes as u64)?)
    }
}

fn no_local() -> Fault {
    Fault::new(HazardKind::OutOfBounds, "the kernel declares no local memory")
}

fn no_cta(rank: u32) -> Fault {
    Fault::new(HazardKind::OutOfBounds, format!("there is no CTA {rank} in the cluster"))
}
