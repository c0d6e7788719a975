//! The asynchronous halves of bulk copies: what was planned at issue happens when the schedule says.
//!
//! Bytes are checked against allocations, and recorded for happens-before, when the operation is issued; whether they were ever
//! written shows when they are read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::At;
use super::bulk_group::{Half, Issued};
use super::mbarrier;
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, Queue};
use crate::memory::rank_of;
use crate::order::{Kind, Operation, OperationKind, Place as Memory, Proxy, Scope};
use crate::tensor_map::cluster::{self, Destination};
use crate::tensor_map::convert::{self, Conversion};
use crate::tensor_map::copy::{Copy, Place, Run};
use crate::tensor_map::reduce;

/// Checks that all of the bytes lie in global memory.
pub(super) fn check_global(c: &Cluster<'_>, address: u64, bytes: u64) -> Result<(), Fault> {
    c.grid.memory.find(address, bytes).map(drop)
}

/// Checks that all of the bytes lie in the shared memory of a CTA of the cluster.
pub(super) fn check_shared(c: &Cluster<'_>, address: u32, bytes: usize) -> Result<(), Fault> {
    let (rank, offset) = rank_of(address);
    let Some(cta) = c.ctas.get(rank as usize) else {
        let message = format!("shared address {address:#x} is in CTA {rank} of a cluster of {}", c.ctas.len());
        return Err(Fault::new(HazardKind::OutOfBounds, message).at(u64::from(address)));
    };
    cta.shared.read_any(offset, bytes).map(drop)
}

fn start(c: &mut Cluster<'_>, at: &At, lane: usize, kind: OperationKind) -> Option<Operation> {
    c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, kind))
}

/// A load into shared memory that signals an mbarrier.
struct Load {
    copy: Arc<Copy>,
    to: Destination,
    operation: Option<Operation>,
}

/// Issues a load of `copy`, whose tile goes to `to.data` whatever CTA it was planned for.
pub(super) fn load(c: &mut Cluster<'_>, at: &At, lane: usize, copy: &Arc<Copy>, to: Destination) -> Result<(), Fault> {
    check_shared(c, to.data, copy.shared_bytes as usize)?;
    let operation = start(c, at, lane, OperationKind::BulkLoad);
    for (address, bytes) in copy.global_ranges() {
        check_global(c, address, bytes)?;
        c.touch(at, operation.as_ref(), Memory::Global, address, bytes as usize, Kind::Read, Proxy::Async);
    }
    let rank = cluster::rank(to.data);
    for (address, bytes) in copy.shared_ranges() {
        let address = u64::from(cluster::map(address, rank));
        c.touch(at, operation.as_ref(), Memory::Shared, address, bytes as usize, Kind::Write, Proxy::Async);
    }
    mbarrier::touch_by_operation(c, at, operation.as_ref(), to.barrier);
    let load = Load { copy: copy.clone(), to, operation };
    c.issue(Queue::Unordered, (at.warp, lane as u32), at.pc, Box::new(load)).map(drop)
}

impl Asynchronous for Load {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let rank = cluster::rank(self.to.data);
        let mut data = Vec::new();
        for run in &self.copy.runs {
            let shared = cluster::map(run.shared, rank);
            match run.place {
                Place::Padding | Place::Beyond(_) => continue,
                Place::Global(address) => {
                    data.resize(run.length as usize, 0);
                    c.read_global(address, &mut data)?;
                    if self.copy.conversion == Conversion::RoundToTf32 {
                        for word in data.chunks_exact_mut(4) {
                            let bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                            word.copy_from_slice(&convert::round_to_tf32(bits).to_le_bytes());
                        }
                    }
                }
                Place::Fill => {
                    data.clear();
                    data.extend((0..run.length).map(|byte| self.copy.filling[(shared + byte) as usize % 16]));
                }
            }
            c.write_shared(shared, &data)?;
        }
        if let Some(profile) = &mut c.profile {
            profile.global.read += self.copy.global_ranges().map(|(_, bytes)| bytes).sum::<u64>();
            profile.shared.written += u64::from(self.copy.shared_bytes);
        }
        let bytes = self.copy.transaction_bytes;
        mbarrier::complete_transactions(c, self.to.barrier, bytes, self.operation.as_ref())
    }
}

/// What a store does to the bytes that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    /// Replaces them.
    Replace,
    /// Replaces those of every sixteen whose bit is set.
    Masked(u16),
    /// Combines elements.
    Reduce(reduce::Operation, reduce::Type),
}

/// A store out of shared memory; both halves hold it, and the first that needs the source reads it.
struct Store {
    copy: Copy,
    combine: Combine,
    /// The bytes of each run, once they were read.
    data: Mutex<Option<Vec<Vec<u8>>>>,
}

impl Store {
    fn data(&self) -> MutexGuard<'_, Option<Vec<Vec<u8>>>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, c: &Cluster<'_>) -> Result<(), Fault> {
        let mut data = self.data();
        if data.is_none() {
            let read = |run: &Run| match c.read_shared(run.shared, run.length as usize) {
                // Nobody meant these bytes to be stored, so nobody need have written them.
                Err(_) if matches!(run.place, Place::Beyond(_)) => Ok(Vec::new()),
                read => read.map(<[u8]>::to_vec),
            };
            *data = Some(self.copy.runs.iter().map(read).collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    fn write(&self, c: &mut Cluster<'_>) -> Result<(), Fault> {
        self.read(c)?;
        let data = self.data().take().unwrap_or_default();
        for (run, bytes) in self.copy.runs.iter().zip(data) {
            let address = match run.place {
                Place::Global(address) => address,
                // Past the end of an allocation it is the hardware's padding that is overwritten.
                Place::Beyond(address) if check_global(c, address, u64::from(run.length)).is_ok() => address,
                _ => continue,
            };
            match (self.combine, self.copy.conversion) {
                (Combine::Reduce(operation, element), _) => {
                    let mut old = vec![0; bytes.len()];
                    match c.read_global(address, &mut old) {
                        Err(_) if matches!(run.place, Place::Beyond(_)) => continue,
                        read => read?,
                    }
                    reduce::combine_slice(operation, element, &mut old, &bytes);
                    c.write_global(address, &old)?;
                }
                (Combine::Masked(mask), _) => {
                    for (offset, byte) in bytes.iter().enumerate().filter(|(offset, _)| mask >> (offset % 16) & 1 == 1)
                    {
                        c.write_global(address + offset as u64, &[*byte])?;
                    }
                }
                (Combine::Replace, Conversion::PackSixBits) => {
                    for (unit, elements) in bytes.chunks_exact(16).enumerate() {
                        let elements: &[u8; 16] = elements.try_into().expect("chunks have sixteen bytes");
                        c.write_global(address + 12 * unit as u64, &convert::pack_six_bits(elements))?;
                    }
                }
                (Combine::Replace, _) => c.write_global(address, &bytes)?,
            }
        }
        if let Some(profile) = &mut c.profile {
            let bytes = self.copy.global_ranges().map(|(_, bytes)| bytes).sum::<u64>();
            profile.global.written += bytes;
            profile.shared.read += bytes;
        }
        Ok(())
    }
}

struct ReadSource(Arc<Store>);

impl Asynchronous for ReadSource {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        // The other half may have come first, and may have written already.
        if Arc::strong_count(&self.0) > 1 { self.0.read(c) } else { Ok(()) }
    }
}

struct WriteDestination(Arc<Store>);

impl Asynchronous for WriteDestination {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        self.0.write(c)
    }
}

/// Issues a store or reduction, and adds it to the lane's open bulk group.
pub(super) fn store(c: &mut Cluster<'_>, at: &At, lane: usize, copy: Copy, combine: Combine) -> Result<(), Fault> {
    let source = start(c, at, lane, OperationKind::BulkStoreSource);
    for (address, bytes) in copy.shared_ranges() {
        check_shared(c, address, bytes as usize)?;
        c.touch(at, source.as_ref(), Memory::Shared, u64::from(address), bytes as usize, Kind::Read, Proxy::Async);
    }
    let (kind, access) = match combine {
        Combine::Reduce(..) => (OperationKind::BulkReduce, Kind::StrongWrite(Scope::Gpu)),
        _ => (OperationKind::BulkStore, Kind::Write),
    };
    let destination = start(c, at, lane, kind);
    for (address, bytes) in copy.global_ranges() {
        check_global(c, address, bytes)?;
        c.touch(at, destination.as_ref(), Memory::Global, address, bytes as usize, access, Proxy::Async);
    }
    for (address, bytes) in
        copy.beyond_ranges().filter(|range| check_global(c, range.0, range.1).is_ok()).collect::<Vec<_>>()
    {
        c.touch(at, destination.as_ref(), Memory::Global, address, bytes as usize, access, Proxy::Async);
    }
    let store = Arc::new(Store { copy, combine, data: Mutex::new(None) });
    let issuer = (at.warp, lane as u32);
    let read = c.issue(Queue::Unordered, issuer, at.pc, Box::new(ReadSource(store.clone())))?;
    let write = c.issue(Queue::Unordered, issuer, at.pc, Box::new(WriteDestination(store)))?;
    c.warps[at.warp].bulk[lane].open.push(Issued {
        source: Some(Half { number: read, operation: source }),
        destination: Half { number: write, operation: destination },
    });
    Ok(())
}

/// A copy or reduction from the own shared memory to that of another CTA of the cluster, which signals an mbarrier there.
struct Between {
    from: u32,
    bytes: u32,
    to: Destination,
    combine: Combine,
    operation: Option<Operation>,
}

/// Issues a copy of `bytes` bytes between CTAs.
pub(super) fn between(
    c: &mut Cluster<'_>,
    at: &At,
    lane: usize,
    from: u32,
    bytes: u32,
    to: Destination,
    combine: Combine,
) -> Result<(), Fault> {
    check_shared(c, from, bytes as usize)?;
    check_shared(c, to.data, bytes as usize)?;
    let operation = start(c, at, lane, OperationKind::BulkLoad);
    let access = if combine == Combine::Replace { Kind::Write } else { Kind::StrongWrite(Scope::Cluster) };
    let length = bytes as usize;
    c.touch(at, operation.as_ref(), Memory::Shared, u64::from(from), length, Kind::Read, Proxy::Async);
    c.touch(at, operation.as_ref(), Memory::Shared, u64::from(to.data), length, access, Proxy::Async);
    mbarrier::touch_by_operation(c, at, operation.as_ref(), to.barrier);
    let copy = Between { from, bytes, to, combine, operation };
    c.issue(Queue::Unordered, (at.warp, lane as u32), at.pc, Box::new(copy)).map(drop)
}

impl Asynchronous for Between {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let length = self.bytes as usize;
        let mut data = c.read_shared(self.from, length)?.to_vec();
        if let Combine::Reduce(operation, element) = self.combine {
            let mut old = c.read_shared(self.to.data, length)?.to_vec();
            reduce::combine_slice(operation, element, &mut old, &data);
            data = old;
        }
        c.write_shared(self.to.data, &data)?;
        mbarrier::complete_transactions(c, self.to.barrier, self.bytes, self.operation.as_ref())
    }
}
