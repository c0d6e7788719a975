//! The lanes of one instruction, cut into runs that the shadow of memory takes at once.

use crate::order::access::WHOLE;

/// Lanes of one instruction whose bytes follow one another, or are the same.
pub(super) struct Run {
    /// The lanes.
    pub(super) mask: u32,
    /// The first byte.
    pub(super) address: u64,
    /// All bytes of the run.
    pub(super) bytes: u64,
    /// Lanes and shift of its [`crate::order::access::Access`].
    pub(super) lanes: u32,
    pub(super) shift: u8,
}

impl Run {
    /// The run that begins with the first lane of `rest`.
    pub(super) fn first(rest: u32, addresses: &[u64; 32], bytes: u32) -> Run {
        let first = rest.trailing_zeros();
        let address = addresses[first as usize];
        let mut run = Run { mask: 1 << first, address, bytes: u64::from(bytes), lanes: 1 << first, shift: WHOLE };
        let next = |lane: u32| (lane < 32 && rest >> lane & 1 == 1).then(|| addresses[lane as usize]);
        let mut lane = first + 1;
        if next(lane) == Some(address) {
            while next(lane) == Some(address) {
                run.mask |= 1 << lane;
                lane += 1;
            }
            run.lanes = run.mask;
            return run;
        }
        if !bytes.is_power_of_two() {
            return run;
        }
        while next(lane) == Some(address.wrapping_add(run.bytes)) {
            run.mask |= 1 << lane;
            run.bytes += u64::from(bytes);
            lane += 1;
        }
        if lane > first + 1 {
            run.lanes = first;
            run.shift = bytes.trailing_zeros() as u8;
        }
        run
    }
}
