//! The ranges of one step as allocations of their own in emulated memory.

use super::image::Images;
use gable_artifact::{Access, Arg, BufferRef, Launch, Space};
use gable_emulator::GlobalMemory;

/// The allocations of one launch: ranges that overlap share one.
pub(super) struct Buffers {
    list: Vec<Buffer>,
}

struct Buffer {
    range: BufferRef,
    address: u64,
    /// Whether the step only reads all of it.
    read_only: bool,
}

impl Buffers {
    /// Allocates the ranges of a launch, weights aside. What the step reads is there as far as anybody wrote it; what it only
    /// writes starts unwritten.
    pub fn place(memory: &mut GlobalMemory, images: &Images, launch: &Launch) -> Buffers {
        let mut list: Vec<Buffer> = Vec::new();
        let mut ranges: Vec<(BufferRef, bool)> =
            ranges(launch).map(|(range, access)| (range, access.writes())).collect();
        ranges.sort_by_key(|(range, _)| (range.space, range.offset));
        for (range, writes) in ranges {
            match list.last_mut() {
                Some(last) if last.range.overlaps(&range) => {
                    let end = (range.offset + range.bytes).max(last.range.offset + last.range.bytes);
                    last.range.bytes = end - last.range.offset;
                    last.read_only &= !writes;
                }
                _ => list.push(Buffer { range, address: 0, read_only: !writes }),
            }
        }
        for buffer in &mut list {
            let range = buffer.range;
            buffer.address = memory.allocate_part(range.to_string(), range.offset, range.bytes);
        }
        let buffers = Buffers { list };
        for (range, _) in self::ranges(launch).filter(|(_, access)| access.reads()) {
            let address = buffers.address(&range);
            for (offset, bytes) in images.written(&range) {
                memory.fill(address + offset as u64, bytes).expect("the range lies in its allocation");
            }
        }
        for buffer in buffers.list.iter().filter(|buffer| buffer.read_only) {
            memory.protect(buffer.address);
        }
        buffers
    }

    /// Where a range of the launch begins.
    pub fn address(&self, range: &BufferRef) -> u64 {
        let inside = |buffer: &&Buffer| {
            let end = buffer.range.offset + buffer.range.bytes;
            buffer.range.space == range.space
                && buffer.range.offset <= range.offset
                && range.offset + range.bytes <= end
        };
        let buffer = self.list.iter().find(inside).expect("every range of the launch was placed");
        buffer.address + (range.offset - buffer.range.offset)
    }

    /// The first range that the launch promises to write whole and did not, with its first byte that is missing.
    pub fn unwritten(&self, memory: &GlobalMemory, launch: &Launch) -> Option<(BufferRef, u64)> {
        ranges(launch).filter(|(_, access)| !access.reads()).find_map(|(range, _)| {
            let missing = memory.first_unwritten(self.address(&range), range.bytes);
            missing.expect("the range lies in its allocation").map(|first| (range, first))
        })
    }

    /// Takes over what the launch wrote.
    pub fn keep(&self, memory: &GlobalMemory, images: &mut Images) {
        for buffer in self.list.iter().filter(|buffer| !buffer.read_only) {
            let (bytes, written) = images.range_mut(&buffer.range);
            memory.copy_out(buffer.address, bytes, written).expect("it is the whole allocation");
        }
    }

    /// Takes the allocations away.
    pub fn free(self, memory: &mut GlobalMemory) {
        for buffer in self.list {
            memory.free(buffer.address);
        }
    }
}

/// The ranges of a launch, weights aside, in argument order.
fn ranges(launch: &Launch) -> impl Iterator<Item = (BufferRef, Access)> {
    launch.args.iter().filter_map(Arg::memory).filter(|(range, _)| !matches!(range.space, Space::Weight(_)))
}
