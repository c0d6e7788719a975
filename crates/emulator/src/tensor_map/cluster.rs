//! Shared addresses of a cluster, and where multicast data and signals arrive.
//!
//! A shared address is 32 bits: the rank of the CTA in its cluster from bit 24 on, the offset in the CTA's window below.
//! Kernels for CTA pairs rely on it: they clear bit 24 of a barrier's address to reach the even CTA of the pair.

/// Lowest bit of the CTA's rank in a shared address.
pub const RANK_SHIFT: u32 = 24;
/// The bit that tells the two CTAs of a pair apart.
pub const PEER_BIT: u32 = 1 << RANK_SHIFT;

/// The offset of a shared address in its CTA's window.
pub fn offset(address: u32) -> u32 {
    address & (PEER_BIT - 1)
}

/// The rank in the cluster of the CTA that holds `address`.
pub fn rank(address: u32) -> u32 {
    address >> RANK_SHIFT
}

/// The same offset in the CTA of rank `rank`, as `mapa` gives it.
pub fn map(address: u32, rank: u32) -> u32 {
    offset(address) | (rank << RANK_SHIFT)
}

/// The CTA of rank `rank` and its neighbour make one pair: ranks 2i and 2i + 1.
pub fn peer(rank: u32) -> u32 {
    rank ^ 1
}

/// Whether a load may signal the barrier at `barrier` for data at `destination`.
///
/// With `cta_group::1` both lie in the same CTA; with `cta_group::2` the barrier may lie in the peer.
pub fn may_signal(destination: u32, barrier: u32, group: u32) -> bool {
    let (data, signal) = (rank(destination), rank(barrier));
    data == signal || (group == 2 && peer(data) == signal)
}

/// One destination of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where the data goes.
    pub data: u32,
    /// Which barrier is signalled.
    pub barrier: u32,
}

/// The destinations of a multicast load, in the order of their ranks.
///
/// Data arrives at the same offset in every CTA of `mask`. With `cta_group::1` so does the signal; with `cta_group::2` it goes
/// to whichever CTA of the destination's pair has the parity of the CTA that `barrier` names.
pub fn multicast(destination: u32, barrier: u32, mask: u16, group: u32) -> impl Iterator<Item = Destination> {
    (0..16).filter(move |rank| mask & (1 << rank) != 0).map(move |to| {
        let signal = if group == 2 { (to & !1) | (rank(barrier) & 1) } else { to };
        Destination { data: map(destination, to), barrier: map(barrier, signal) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_bit_24_reaches_the_even_cta_of_a_pair() {
        let barrier = map(0x420, 3);
        assert_eq!(barrier, 0x0300_0420);
        assert_eq!(barrier & !PEER_BIT, map(0x420, 2));
        assert_eq!((rank(barrier), offset(barrier)), (3, 0x420));
    }

    #[test]
    fn multicast_reaches_the_same_offsets_in_every_cta_of_the_mask() {
        let found: Vec<_> = multicast(map(0x800, 1), map(0x40, 1), 0b1010, 1).collect();
        let expected = [1, 3].map(|rank| Destination { data: map(0x800, rank), barrier: map(0x40, rank) });
        assert_eq!(found, expected);
    }

    #[test]
    fn pair_multicast_signals_the_cta_of_the_barriers_parity() {
        let found: Vec<_> = multicast(map(0x800, 1), map(0x40, 0), 0b1110, 2).map(|to| rank(to.barrier)).collect();
        assert_eq!(found, [0, 2, 2]);
        assert!(may_signal(map(0, 1), map(0, 0), 2));
        assert!(!may_signal(map(0, 1), map(0, 0), 1));
        assert!(!may_signal(map(0, 1), map(0, 2), 2));
    }
}
