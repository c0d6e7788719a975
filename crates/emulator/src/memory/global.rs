//! Global memory: named allocations that all CTAs of a launch share.
//!
//! CTAs run on several threads of the host, so words are atomics; no order is asked of them, since `order` decides what a kernel may
//! rely on. A word is four bytes; narrower writes replace a part of it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::shared;
use crate::hazard::{Fault, HazardKind};

/// Where the first allocation starts.
const FIRST: u64 = 0x7f00_0000_0000;

/// Bytes between allocations that belong to none, so that an overrun meets no neighbour.
const GAP: u64 = 4096;

/// Allocations start at multiples of this, as `cuMemAlloc` gives them at least.
const ALIGNMENT: u64 = 512;

/// What words hold that nobody wrote.
const UNWRITTEN: u32 = u32::from_le_bytes([shared::UNWRITTEN; 4]);

/// One allocation.
#[derive(Debug)]
pub struct Allocation {
    /// What it is, for messages.
    pub name: String,
    /// Address of its first byte.
    pub base: u64,
    /// Its size.
    pub bytes: u64,
    /// Whether the kernel may only read it.
    pub read_only: bool,
    words: Box<[AtomicU32]>,
    /// One bit per byte.
    written: Box<[AtomicU32]>,
}

/// All allocations, by address.
#[derive(Debug, Default)]
pub struct GlobalMemory {
    allocations: Vec<Allocation>,
}

impl GlobalMemory {
    /// No memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new allocation of `bytes` bytes that nobody wrote. Gives its address.
    pub fn allocate(&mut self, name: impl Into<String>, bytes: u64) -> u64 {
        self.allocate_part(name, 0, bytes)
    }

    /// As [`GlobalMemory::allocate`], for `bytes` bytes that lie `offset` bytes inside a buffer: the address is no better aligned than
    /// it is there.
    pub fn allocate_part(&mut self, name: impl Into<String>, offset: u64, bytes: u64) -> u64 {
        let after = self.allocations.last().map_or(FIRST, |last| (last.base + last.bytes + GAP).max(FIRST));
        let base = after.next_multiple_of(ALIGNMENT) + offset % ALIGNMENT;
        let (words, written) = (filled(bytes.div_ceil(4), UNWRITTEN), filled(bytes.div_ceil(32), 0));
        self.allocations.push(Allocation { name: name.into(), base, bytes, read_only: false, words, written });
        base
    }

    /// A new allocation that holds `data`.
    pub fn allocate_with(&mut self, name: impl Into<String>, data: &[u8]) -> u64 {
        let base = self.allocate(name, data.len() as u64);
        let allocation = self.allocations.last().expect("it was just made");
        allocation.write(0, data);
        base
    }

    /// An allocation at an address of its own, for the variables of modules. It takes the place of those that are there.
    pub fn place(&mut self, name: impl Into<String>, base: u64, data: &[u8], read_only: bool) {
        let bytes = data.len() as u64;
        self.allocations.retain(|other| other.base + other.bytes <= base || base + bytes <= other.base);
        let (words, written) = (filled(bytes.div_ceil(4), UNWRITTEN), filled(bytes.div_ceil(32), 0));
        let allocation = Allocation { name: name.into(), base, bytes, read_only, words, written };
        allocation.write(0, data);
        let index = self.allocations.partition_point(|other| other.base < base);
        self.allocations.insert(index, allocation);
    }

    /// Forbids the kernel to write the allocation at `base`.
    pub fn protect(&mut self, base: u64) {
        if let Some(allocation) = self.allocations.iter_mut().find(|allocation| allocation.base == base) {
            allocation.read_only = true;
        }
    }

    /// Takes the allocation at `base` away.
    pub fn free(&mut self, base: u64) {
        self.allocations.retain(|allocation| allocation.base != base);
    }

    /// Writes bytes of the host, to read-only memory too.
    pub fn fill(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, data.len() as u64)?;
        allocation.write(offset, data);
        Ok(())
    }

    /// The first of some bytes that nobody wrote, counted from `address`.
    pub fn first_unwritten(&self, address: u64, bytes: u64) -> Result<Option<u64>, Fault> {
        let (allocation, offset) = self.find(address, bytes)?;
        Ok(allocation.first_unwritten(offset, bytes).map(|byte| byte - offset))
    }

    /// The allocations, by address.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// The bytes of the allocation at `base`, `ff` where nobody wrote, and whether all were written.
    pub fn contents(&self, base: u64) -> Option<(Vec<u8>, bool)> {
        let allocation = self.allocations.iter().find(|allocation| allocation.base == base)?;
        let mut data = vec![0; allocation.bytes as usize];
        allocation.copy(0, &mut data);
        Some((data, allocation.first_unwritten(0, allocation.bytes).is_none()))
    }

    /// Copies bytes to the host, and for each whether anybody wrote it; zero where nobody did.
    pub fn copy_out(&self, address: u64, into: &mut [u8], written: &mut [bool]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, into.len() as u64)?;
        allocation.copy(offset, into);
        let mut bits = spans(offset, into.len() as u64).flat_map(|(word, bits)| {
            let marks = allocation.written[word].load(Ordering::Relaxed);
            (0..32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| marks >> bit & 1 == 1)
        });
        written.iter_mut().for_each(|mark| *mark = bits.next().unwrap_or(false));
        Ok(())
    }

    /// The allocation that holds all of the bytes, and the offset in it.
    pub fn find(&self, address: u64, bytes: u64) -> Result<(&Allocation, u64), Fault> {
        let next = self.allocations.partition_point(|allocation| allocation.base <= address);
        let found = next.checked_sub(1).map(|index| &self.allocations[index]);
        if let Some(allocation) = found {
            let offset = address - allocation.base;
            if offset.checked_add(bytes).is_some_and(|end| end <= allocation.bytes) {
                return Ok((allocation, offset));
            }
        }
        let near = match found {
            Some(near) if address - near.base < near.bytes + GAP => {
                format!(", {} bytes after the start of `{}`, which has {}", address - near.base, near.name, near.bytes)
            }
            _ => String::new(),
        };
        Err(Fault::new(HazardKind::OutOfBounds, format!("{bytes} bytes at {address:#x} are in no allocation{near}"))
            .at(address))
    }

    /// Reads bytes, all of which must have been written.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, into.len() as u64)?;
        if let Some(missing) = allocation.first_unwritten(offset, into.len() as u64) {
            return Err(Fault::new(
                HazardKind::Uninitialized,
                format!(
                    "reads {} bytes of `{}` at offset {offset:#x}; the byte at {missing:#x} was never written",
                    into.len(),
                    allocation.name
                ),
            )
            .at(address));
        }
        allocation.copy(offset, into);
        Ok(())
    }

    /// The allocation that holds all of the bytes, if one does.
    pub(crate) fn holding(&self, address: u64, bytes: u64) -> Option<&Allocation> {
        let next = self.allocations.partition_point(|allocation| allocation.base <= address);
        let allocation = &self.allocations[next.checked_sub(1)?];
        let end = (address - allocation.base).checked_add(bytes)?;
        (end <= allocation.bytes).then_some(allocation)
    }

    /// Reads bytes, written or not.
    pub fn read_any(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, into.len() as u64)?;
        allocation.copy(offset, into);
        Ok(())
    }

    /// Writes bytes.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, data.len() as u64)?;
        if allocation.read_only {
            return Err(Fault::new(HazardKind::ReadOnly, format!("writes `{}`, which is read only", allocation.name))
                .at(address));
        }
        allocation.write(offset, data);
        Ok(())
    }
}

impl Allocation {
    /// Reads bytes that lie in it. False, and nothing read, where nobody wrote one of them.
    #[inline]
    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let (offset, length) = (address - self.base, into.len() as u64);
        let written = match offset % 32 {
            // Accesses of lanes are aligned: they have one word of marks.
            bit if length > 0 && bit + length <= 32 => {
                let bits = (u32::MAX >> (32 - length)) << bit;
                self.written[(offset / 32) as usize].load(Ordering::Relaxed) & bits == bits
            }
            _ => self.first_unwritten(offset, length).is_none(),
        };
        if written {
            self.copy(offset, into);
        }
        written
    }

    #[inline]
    fn copy(&self, offset: u64, into: &mut [u8]) {
        let mut at = offset as usize;
        if at.is_multiple_of(4) && into.len().is_multiple_of(4) {
            let words = &self.words[at / 4..(at + into.len()) / 4];
            for (bytes, word) in into.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
            return;
        }
        let mut rest = into;
        while !rest.is_empty() {
            let word = self.words[at / 4].load(Ordering::Relaxed).to_le_bytes();
            let count = (4 - at % 4).min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&word[at % 4..at % 4 + count]);
            at += count;
            rest = later;
        }
    }

    /// Writes bytes that lie in it.
    #[inline]
    pub(crate) fn write_at(&self, address: u64, data: &[u8]) {
        self.write(address - self.base, data);
    }

    #[inline]
    fn write(&self, offset: u64, data: &[u8]) {
        let mut at = offset as usize;
        if at.is_multiple_of(4) && data.len().is_multiple_of(4) {
            let words = &self.words[at / 4..(at + data.len()) / 4];
            for (bytes, word) in data.chunks_exact(4).zip(words) {
                let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                word.store(value, Ordering::Relaxed);
            }
            self.mark(offset, data.len() as u64);
            return;
        }
        let mut rest = data;
        while !rest.is_empty() {
            let count = (4 - at % 4).min(rest.len());
            let (now, later) = rest.split_at(count);
            let mut bytes = [0; 4];
            bytes[at % 4..at % 4 + count].copy_from_slice(now);
            let value = u32::from_le_bytes(bytes);
            let word = &self.words[at / 4];
            if count == 4 {
                word.store(value, Ordering::Relaxed);
            } else {
                let keep = !((u32::MAX >> (32 - 8 * count)) << (8 * (at % 4)));
                let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & keep | value));
            }
            at += count;
            rest = later;
        }
        self.mark(offset, data.len() as u64);
    }

    fn mark(&self, offset: u64, length: u64) {
        for (word, bits) in spans(offset, length) {
            // Most writes are to bytes already marked: a plain load is cheaper than the locked update.
            if self.written[word].load(Ordering::Relaxed) & bits != bits {
                self.written[word].fetch_or(bits, Ordering::Relaxed);
            }
        }
    }

    fn first_unwritten(&self, offset: u64, length: u64) -> Option<u64> {
        spans(offset, length).find_map(|(word, bits)| {
            let missing = !self.written[word].load(Ordering::Relaxed) & bits;
            (missing != 0).then(|| word as u64 * 32 + u64::from(missing.trailing_zeros()))
        })
    }
}

fn filled(count: u64, value: u32) -> Box<[AtomicU32]> {
    (0..count).map(|_| AtomicU32::new(value)).collect()
}

/// The words of 32 bits that cover bytes, each with its bits.
fn spans(offset: u64, length: u64) -> impl Iterator<Item = (usize, u32)> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (word, bit) = (at / 32, at % 32);
        let count = (32 - bit).min(end - at);
        at += count;
        Some((word as usize, (u32::MAX >> (32 - count)) << bit))
    })
}
