//! Generic addresses: which state space one lies in.
//!
//! A shared address is 32 bits, the rank of the CTA in its cluster from bit 24 and the offset in the CTA's shared memory below:
//! an address of the own CTA is also one in `shared::cluster`, as `cta_group::2` code relies on by clearing bit 24. Offsets start
//! at 1024, since the hardware keeps the first KiB for itself from sm_90 on.

/// Offset of the first byte of shared memory that a kernel has.
pub const SHARED_BASE: u32 = 1024;

/// Where the shared window starts in generic addresses.
pub const GENERIC_SHARED: u64 = 0x7100_0000_0000;

/// Where the local window starts in generic addresses.
pub const GENERIC_LOCAL: u64 = 0x7200_0000_0000;

/// Bytes of a window.
const WINDOW: u64 = 1 << 32;

/// What a generic address points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Global memory, constants and kernel parameters; the address itself.
    Global(u64),
    /// Shared memory of the cluster: a 32-bit shared address.
    Shared(u32),
    /// The thread's own local memory: an offset.
    Local(u32),
}

/// The space of a generic address.
pub fn resolve(address: u64) -> Target {
    match address {
        GENERIC_SHARED.. if address < GENERIC_SHARED + WINDOW => Target::Shared((address - GENERIC_SHARED) as u32),
        GENERIC_LOCAL.. if address < GENERIC_LOCAL + WINDOW => Target::Local((address - GENERIC_LOCAL) as u32),
        _ => Target::Global(address),
    }
}

/// The shared address of an offset in a CTA.
pub const fn shared_address(rank: u32, offset: u32) -> u32 {
    rank << 24 | offset
}

/// The CTA of a shared address, and the offset in it.
pub const fn rank_of(address: u32) -> (u32, u32) {
    (address >> 24, address & 0x00ff_ffff)
}
