//! Shared-memory matrix descriptors of wgmma and tcgen05: 64 bits that say where an operand starts, how its tiles follow each
//! other and how its addresses are swizzled.
//!
//! | bits | Hopper | Blackwell |
//! |---|---|---|
//! | 0-13 | start address / 16 | same |
//! | 16-29 | leading byte offset / 16 | same; an address when bit 52 is set |
//! | 32-45 | stride byte offset / 16 | same |
//! | 46-48 | 0 | 0b001 |
//! | 49-51 | base offset | same |
//! | 52 | 0 | 1: the leading byte offset is an address (sm_103a) |
//! | 53-60 | 0 | 0 |
//! | 61-63 | bits 62-63: 0 none, 1 128B, 2 64B, 3 32B | 0 none, 1 128B with 32-byte atoms, 2 128B, 4 64B, 6 32B |
//!
//! Sources: PTX ISA `#asynchronous-warpgroup-level-matrix-shared-memory-layout-matrix-descriptor` and
//! `#tcgen05-shared-memory-descriptor`. A bit that the manual fixes and that is set otherwise is refused by name.

/// How the addresses of a tile are permuted, in chunks of 16 (or 32) bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// No permutation.
    None,
    /// Patterns of 256 bytes, rows of 32.
    Bytes32,
    /// Patterns of 512 bytes, rows of 64.
    Bytes64,
    /// Patterns of 1024 bytes, rows of 128.
    Bytes128,
    /// Patterns of 512 bytes, rows of 128, in atoms of 32 bytes: Blackwell only.
    Bytes128Atoms32,
}

impl Swizzle {
    /// Every mode.
    pub const ALL: [Swizzle; 5] =
        [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128, Swizzle::Bytes128Atoms32];

    /// Contiguous bytes of one row of a tile.
    pub const fn span(self) -> u32 {
        match self {
            Swizzle::None => 16,
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 | Swizzle::Bytes128Atoms32 => 128,
        }
    }

    /// Where the bytes at the address of the plain layout lie. The exclusive or uses absolute address bits (measured on an H200 for
    /// 32, 64 and 128 bytes); a base offset moves where the pattern starts, which is from the manual and was not measured.
    pub const fn apply(self, address: u32, base_offset: u32) -> u32 {
        let row = (address >> 7).wrapping_sub(base_offset);
        match self {
            Swizzle::None => address,
            Swizzle::Bytes32 => address ^ (row & 1) << 4,
            Swizzle::Bytes64 => address ^ (row & 3) << 4,
            Swizzle::Bytes128 => address ^ (row & 7) << 4,
            Swizzle::Bytes128Atoms32 => address ^ (row & 3) << 5,
        }
    }

    /// As the manual names it.
    pub const fn name(self) -> &'static str {
        match self {
            Swizzle::None => "no swizzling",
            Swizzle::Bytes32 => "32-byte swizzling",
            Swizzle::Bytes64 => "64-byte swizzling",
            Swizzle::Bytes128 => "128-byte swizzling",
            Swizzle::Bytes128Atoms32 => "128-byte swizzling with 32-byte atoms",
        }
    }
}

/// A descriptor that the hardware would not take, or whose meaning the manual leaves open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matrix descriptor {bits:#018x}: {fault}")]
pub struct DescriptorError {
    /// The descriptor.
    pub bits: u64,
    /// What is wrong with it.
    pub fault: DescriptorFault,
}

/// What is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum DescriptorFault {
    #[error("bits {first}-{last} are {found:#b}, expected {expected:#b}")]
    Fixed { first: u32, last: u32, found: u64, expected: u64 },
    #[error("swizzle mode {0} in bits 61-63 does not exist; 0 none, 1 128B with 32-byte atoms, 2 128B, 4 64B, 6 32B")]
    SwizzleMode(u64),
    #[error("base offset {0} without swizzling: there is no pattern to offset")]
    BaseOffsetWithoutSwizzle(u32),
    #[error("bit 52 makes the leading byte offset an address: only sm_103a has that")]
    AbsoluteLeadingUnavailable,
    #[error(
        "an absolute leading address needs K-major 128-byte swizzling, base offset 0 and 48-byte rows (K = 96 of 4 bits)"
    )]
    AbsoluteLeadingMisused,
    #[error("{swizzle} is for MN-major operands of 32-bit elements only")]
    Atoms32Misused { swizzle: &'static str },
    #[error("MN-major 32-bit elements need 128-byte swizzling with 32-byte atoms, found {swizzle}")]
    Atoms32Missing { swizzle: &'static str },
    #[error("{element} operands must be K-major")]
    MnMajorUnavailable { element: &'static str },
    #[error("start address {start:#x} is not aligned to 32 bytes, which 32-byte atoms need")]
    Atoms32Start { start: u32 },
    #[error(
        "{extent} bytes from byte {offset} of a row run past the {span}-byte rows of {swizzle}: the start address was advanced too far, or the operand needs a wider swizzle"
    )]
    PastSpan { offset: u32, extent: u32, span: u32, swizzle: &'static str },
}

/// Whose descriptor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// wgmma of sm_90a.
    Hopper,
    /// tcgen05; `absolute_leading` when the target has bit 52 (sm_103a).
    Blackwell {
        /// Whether bit 52 may be set.
        absolute_leading: bool,
    },
}

/// A descriptor taken apart. Offsets and addresses in bytes, 18 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixDescriptor {
    /// The descriptor as given, for messages.
    pub bits: u64,
    /// Offset of the first element in the shared memory of the CTA.
    pub start: u32,
    /// The leading byte offset; see `operand` for its role.
    pub leading: u32,
    /// The stride byte offset; see `operand` for its role.
    pub stride: u32,
    /// Row of the swizzle pattern at which the first address of a 1024-byte block lies.
    pub base_offset: u32,
    /// Whether `leading` is an address.
    pub absolute_leading: bool,
    /// The permutation of addresses.
    pub swizzle: Swizzle,
}

const fn field(bits: u64, first: u32, last: u32) -> u64 {
    bits >> first & ((1 << (last - first + 1)) - 1)
}

impl MatrixDescriptor {
    /// Takes a descriptor apart.
    ///
    /// # Errors
    /// Names the first bit field that holds what the format forbids.
    pub fn decode(bits: u64, format: Format) -> Result<Self, DescriptorError> {
        let error = |fault| DescriptorError { bits, fault };
        let fixed: &[(u32, u32, u64)] = match format {
            Format::Hopper => &[(14, 15, 0), (30, 31, 0), (46, 48, 0), (52, 61, 0)],
            Format::Blackwell { .. } => &[(14, 15, 0), (30, 31, 0), (46, 48, 1), (53, 60, 0)],
        };
        for &(first, last, expected) in fixed {
            let found = field(bits, first, last);
            if found != expected {
                return Err(error(DescriptorFault::Fixed { first, last, found, expected }));
            }
        }
        let swizzle = match (format, field(bits, 61, 63)) {
            (_, 0) => Swizzle::None,
            (Format::Hopper, 2) => Swizzle::Bytes128,
            (Format::Hopper, 4) => Swizzle::Bytes64,
            (Format::Hopper, 6) => Swizzle::Bytes32,
            (Format::Blackwell { .. }, 1) => Swizzle::Bytes128Atoms32,
            (Format::Blackwell { .. }, 2) => Swizzle::Bytes128,
            (Format::Blackwell { .. }, 4) => Swizzle::Bytes64,
            (Format::Blackwell { .. }, 6) => Swizzle::Bytes32,
            (_, mode) => return Err(error(DescriptorFault::SwizzleMode(mode))),
        };
        let absolute_leading = field(bits, 52, 52) == 1;
        if absolute_leading && format != (Format::Blackwell { absolute_leading: true }) {
            return Err(error(DescriptorFault::AbsoluteLeadingUnavailable));
        }
        let base_offset = field(bits, 49, 51) as u32;
        if base_offset != 0 && swizzle == Swizzle::None {
            return Err(error(DescriptorFault::BaseOffsetWithoutSwizzle(base_offset)));
        }
        let offset = |first| (field(bits, first, first + 13) as u32) << 4;
        let start = offset(0);
        if swizzle == Swizzle::Bytes128Atoms32 && start % 32 != 0 {
            return Err(error(DescriptorFault::Atoms32Start { start }));
        }
        Ok(MatrixDescriptor {
            bits,
            start,
            leading: offset(16),
            stride: offset(32),
            base_offset,
            absolute_leading,
            swizzle,
        })
    }

    /// An error about this descriptor.
    pub(crate) fn error(&self, fault: DescriptorFault) -> DescriptorError {
        DescriptorError { bits: self.bits, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACKWELL: Format = Format::Blackwell { absolute_leading: false };
    const BLACKWELL_103: Format = Format::Blackwell { absolute_leading: true };

    #[test]
    fn the_constants_of_known_kernels_decode_to_what_they_mean() {
        let hopper = MatrixDescriptor::decode(0x4000_0040_0001_0000 | 0x40, Format::Hopper).unwrap();
        assert_eq!((hopper.start, hopper.leading, hopper.stride), (1024, 16, 1024));
        assert_eq!((hopper.swizzle, hopper.base_offset), (Swizzle::Bytes128, 0));
        let blackwell = MatrixDescriptor::decode(0x4000_4040_0001_0000 | 0x42, BLACKWELL).unwrap();
        assert_eq!((blackwell.start, blackwell.leading, blackwell.stride), (1056, 16, 1024));
        assert_eq!(blackwell.swizzle, Swizzle::Bytes128);
        let scales = MatrixDescriptor::decode(0x0000_4008_0000_0000 | 0x80, BLACKWELL).unwrap();
        assert_eq!((scales.start, scales.leading, scales.stride, scales.swizzle), (2048, 0, 128, Swizzle::None));
    }

    #[test]
    fn every_bit_that_the_manual_fixes_is_refused_when_it_differs() {
        let hopper = 0x4000_0040_0001_0000u64;
        for bit in [14, 15, 30, 31, 46, 47, 48].into_iter().chain(52..=61) {
            let refused = MatrixDescriptor::decode(hopper ^ 1 << bit, Format::Hopper);
            let Err(DescriptorError { fault: DescriptorFault::Fixed { first, last, .. }, .. }) = refused else {
                panic!("bit {bit}: {refused:?}")
            };
            assert!((first..=last).contains(&bit));
        }
        let blackwell = 0x4000_4040_0001_0000u64;
        for bit in [14, 15, 30, 31, 46, 47, 48].into_iter().chain(53..=60) {
            let refused = MatrixDescriptor::decode(blackwell ^ 1 << bit, BLACKWELL);
            assert!(
                matches!(refused, Err(DescriptorError { fault: DescriptorFault::Fixed { .. }, .. })),
                "bit {bit}: {refused:?}"
            );
        }
        assert!(MatrixDescriptor::decode(blackwell | 1 << 52, BLACKWELL_103).unwrap().absolute_leading);
        let refused = MatrixDescriptor::decode(blackwell | 1 << 52, BLACKWELL).unwrap_err();
        assert_eq!(refused.fault, DescriptorFault::AbsoluteLeadingUnavailable);
    }

    #[test]
    fn a_descriptor_of_one_generation_is_refused_by_the_other() {
        assert!(MatrixDescriptor::decode(0x4000_4040_0001_0000, Format::Hopper).is_err());
        assert!(MatrixDescriptor::decode(0x4000_0040_0001_0000, BLACKWELL).is_err());
    }

    #[test]
    fn swizzle_modes_that_do_not_exist_are_refused() {
        for mode in [3u64, 5, 7] {
            let refused = MatrixDescriptor::decode(0x4000_0000_0000 | mode << 61, BLACKWELL).unwrap_err();
            assert_eq!(refused.fault, DescriptorFault::SwizzleMode(mode));
        }
        let refused = MatrixDescriptor::decode(0x4000_0000_0000 | 1 << 49, BLACKWELL).unwrap_err();
        assert_eq!(refused.fault, DescriptorFault::BaseOffsetWithoutSwizzle(1));
        let refused = MatrixDescriptor::decode(0x4000_0000_0001 | 1 << 61, BLACKWELL).unwrap_err();
        assert_eq!(refused.fault, DescriptorFault::Atoms32Start { start: 16 });
    }

    #[test]
    fn swizzling_permutes_each_pattern() {
        for swizzle in Swizzle::ALL {
            let mut hit = [false; 2048 / 16];
            for chunk in 0..2048 / 16 {
                let address = swizzle.apply(chunk * 16, 0);
                assert_eq!(address / swizzle.span(), chunk * 16 / swizzle.span(), "stays in its row");
                hit[address as usize / 16] = true;
            }
            assert!(hit.iter().all(|&hit| hit), "{}", swizzle.name());
        }
    }
}
