//! Counts of a run: instructions by kind, bytes by space, bank conflicts, sector efficiency.

use std::collections::BTreeMap;

use gable_ptx::grammar::Op;

use crate::memory::{Target, rank_of};

/// Bytes of a sector, the least that global memory moves.
const SECTOR: u64 = 32;

/// Banks of shared memory, four bytes wide each.
const BANKS: usize = 32;

/// Traffic of one state space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Instructions of warps.
    pub accesses: u64,
    /// Bytes that lanes read.
    pub read: u64,
    /// Bytes that lanes wrote.
    pub written: u64,
}

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Warp and thread instructions by kind.
    pub instructions: BTreeMap<Op, (u64, u64)>,
    /// Global memory.
    pub global: Traffic,
    /// Shared memory.
    pub shared: Traffic,
    /// Local memory.
    pub local: Traffic,
    /// Sectors of 32 bytes that global accesses touch.
    pub sectors: u64,
    /// Sectors that the same bytes would fill.
    pub least_sectors: u64,
    /// Passes over shared memory that accesses take.
    pub shared_passes: u64,
    /// Passes that the same bytes would take without bank conflicts.
    pub least_shared_passes: u64,
}

impl Profile {
    pub(crate) fn count(&mut self, op: Op, active: u32) {
        let (warps, threads) = self.instructions.entry(op).or_default();
        *warps += 1;
        *threads += u64::from(active.count_ones());
    }

    pub(crate) fn traffic(&mut self, mask: u32, targets: &[Target; 32], bytes: usize, write: bool) {
        let mut sectors: Vec<u64> = Vec::new();
        let mut words: Vec<u32> = Vec::new();
        let (mut global, mut shared, mut local) = (0u64, 0u64, 0u64);
        for lane in crate::machine::lanes(mask) {
            match targets[lane] {
                Target::Global(address) => {
                    global += bytes as u64;
                    sectors.extend(address / SECTOR..=(address + bytes as u64 - 1) / SECTOR);
                }
                Target::Shared(short) => {
                    shared += bytes as u64;
                    let (_, offset) = rank_of(short);
                    words.extend(offset / 4..=(offset + bytes as u32 - 1) / 4);
                }
                Target::Local(_) => local += bytes as u64,
            }
        }
        for (traffic, moved) in [(&mut self.global, global), (&mut self.shared, shared), (&mut self.local, local)] {
            if moved > 0 {
                traffic.accesses += 1;
                *(if write { &mut traffic.written } else { &mut traffic.read }) += moved;
            }
        }
        sectors.sort_unstable();
        sectors.dedup();
        self.sectors += sectors.len() as u64;
        self.least_sectors += global.div_ceil(SECTOR);
        words.sort_unstable();
        words.dedup();
        let mut banks = [0u64; BANKS];
        words.iter().for_each(|word| banks[*word as usize % BANKS] += 1);
        self.shared_passes += banks.iter().max().copied().unwrap_or(0);
        self.least_shared_passes += (words.len() as u64).div_ceil(BANKS as u64);
    }

    /// Adds the counts of another part of the run.
    pub fn add(&mut self, other: &Profile) {
        for (op, (warps, threads)) in &other.instructions {
            let mine = self.instructions.entry(*op).or_default();
            mine.0 += warps;
            mine.1 += threads;
        }
        let pairs =
            [(&mut self.global, other.global), (&mut self.shared, other.shared), (&mut self.local, other.local)];
        for (mine, theirs) in pairs {
            mine.accesses += theirs.accesses;
            mine.read += theirs.read;
            mine.written += theirs.written;
        }
        self.sectors += other.sectors;
        self.least_sectors += other.least_sectors;
        self.shared_passes += other.shared_passes;
        self.least_shared_passes += other.least_shared_passes;
    }
}
