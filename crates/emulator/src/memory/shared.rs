//! Shared memory of one CTA, and local memory of one thread: bytes that know whether they were written.

use crate::hazard::{Fault, HazardKind};

/// What bytes hold that nobody wrote: NaN in every float format that has one.
pub(super) const UNWRITTEN: u8 = 0xff;

/// A block of bytes from an offset on.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    what: &'static str,
    base: u32,
    bytes: Vec<u8>,
    /// One bit per byte.
    written: Vec<u64>,
}

impl SharedMemory {
    /// `bytes` bytes that nobody wrote, from `base` on; `what` names the memory in faults.
    pub fn new(what: &'static str, base: u32, bytes: u32) -> Self {
        let bytes = bytes as usize;
        SharedMemory { what, base, bytes: vec![UNWRITTEN; bytes], written: vec![0; bytes.div_ceil(64)] }
    }

    /// One past the last offset.
    pub fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    /// Where `offset` lies in `bytes`, if `length` bytes from there on exist.
    fn start(&self, offset: u32, length: usize) -> Result<usize, Fault> {
        let start = offset.wrapping_sub(self.base) as usize;
        if offset >= self.base && start.checked_add(length).is_some_and(|end| end <= self.bytes.len()) {
            return Ok(start);
        }
        let (what, base, end) = (self.what, self.base, self.end());
        Err(Fault::new(
            HazardKind::OutOfBounds,
            format!("{length} bytes at offset {offset:#x} of {what} memory, which has {base:#x} to {end:#x}"),
        )
        .at(offset.into()))
    }

    /// The bytes from `offset` on, all of which must have been written.
    pub fn read(&self, offset: u32, length: usize) -> Result<&[u8], Fault> {
        let start = self.start(offset, length)?;
        if let Some(missing) = self.first_unwritten(start, length) {
            let what = self.what;
            return Err(Fault::new(
                HazardKind::Uninitialized,
                format!(
                    "reads {length} bytes at offset {offset:#x} of {what} memory; byte {:#x} was never written",
                    self.base as usize + missing
                ),
            )
            .at(offset.into()));
        }
        Ok(&self.bytes[start..start + length])
    }

    /// The bytes from `offset` on, written or not, for operations that are documented to read so.
    pub fn read_any(&self, offset: u32, length: usize) -> Result<&[u8], Fault> {
        let start = self.start(offset, length)?;
        Ok(&self.bytes[start..start + length])
    }

    /// Writes bytes.
    pub fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Fault> {
        let start = self.start(offset, data.len())?;
        self.bytes[start..start + data.len()].copy_from_slice(data);
        self.mark(start, data.len());
        Ok(())
    }

    fn mark(&mut self, start: usize, length: usize) {
        let mut at = start;
        let end = start + length;
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let count = (64 - bit).min(end - at);
            self.written[word] |= bits(count) << bit;
            at += count;
        }
    }

    fn first_unwritten(&self, start: usize, length: usize) -> Option<usize> {
        let mut at = start;
        let end = start + length;
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let count = (64 - bit).min(end - at);
            let missing = !(self.written[word] >> bit) & bits(count);
            if missing != 0 {
                return Some(at + missing.trailing_zeros() as usize);
            }
            at += count;
        }
        None
    }
}

const fn bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
