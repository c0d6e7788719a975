//! Operands of wgmma and tcgen05 in shared memory: what is read is recorded when the instruction is issued, and read when it runs.

use super::At;
use crate::hazard::{Fault, HazardKind};
use crate::machine::Cluster;
use crate::order::{Kind, Operation, Place, Proxy};
use crate::tensor_core::operand::SharedOperand;

/// Records that an operation reads the chunks of an operand, those that lie together at once.
pub(super) fn touch_shared(
    c: &mut Cluster<'_>,
    at: &At,
    operation: Option<&Operation>,
    rank: u64,
    operand: &SharedOperand,
    wanted: impl Fn(usize) -> bool,
) {
    if operation.is_none() {
        return;
    }
    let mut addresses: Vec<u32> =
        operand.chunk_addresses().enumerate().filter(|(chunk, _)| wanted(*chunk)).map(|(_, address)| address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let partial = operand.used_bytes() < 16;
    let mut run: Option<(u32, u32)> = None;
    for address in addresses.into_iter().map(Some).chain([None]) {
        match (run, address) {
            (Some((start, end)), Some(address)) if end == address && !partial => run = Some((start, address + 16)),
            (done, next) => {
                if let Some((start, end)) = done {
                    let bytes = if partial { operand.used_bytes() } else { end - start };
                    let start = rank | u64::from(start);
                    c.touch(at, operation, Place::Shared, start, bytes as usize, Kind::Read, Proxy::Async);
                }
                run = next.map(|address| (address, address + 16));
            }
        }
    }
}

/// The bytes of an operand's chunks in the shared memory of a CTA: the first `used` of each, the others are zero.
pub(super) fn read_shared(
    c: &Cluster<'_>,
    rank: u32,
    operand: &SharedOperand,
    used: usize,
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; operand.chunk_count() * 16];
    let (chunks, _) = bytes.as_chunks_mut::<16>();
    for (chunk, address) in operand.chunk_addresses().enumerate() {
        if wanted(chunk) {
            // An offset beyond the bits of a rank is beyond every shared memory.
            if address >= 1 << 24 {
                let message = format!("an operand reaches offset {address:#x} of shared memory");
                return Err(Fault::new(HazardKind::OutOfBounds, message));
            }
            chunks[chunk][..used].copy_from_slice(c.read_shared(rank << 24 | address, used)?);
        }
    }
    Ok(bytes)
}
