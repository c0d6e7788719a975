//! What an instruction touches at a fixed place of an array, as far as its row tells.

use crate::meaning::{Bulk, Mbarrier, Meaning, TensorMemory};

/// Bytes from a place on that an instruction certainly touches, and how they must be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub bytes: u32,
    pub align: u32,
}

/// An mbarrier.
const BARRIER: Reach = Reach { bytes: 8, align: 8 };
/// A row of a bulk copy or of a matrix that a warp loads or stores, of 16 bytes or more.
const ROW: Reach = Reach { bytes: 16, align: 16 };
/// A box of a tensor, whose size its tensor map gives: it is a multiple of 16 bytes.
const BOX: Reach = Reach { bytes: 16, align: 128 };

/// What the instruction touches at its operand number `operand`, from 0, an address.
pub(crate) fn reach(meaning: Meaning, operand: usize) -> Option<Reach> {
    match (meaning, operand) {
        (Meaning::Load(access) | Meaning::Store(access), 0) => {
            let bytes = access.ty.bytes() * u32::from(access.count);
            Some(Reach { bytes, align: bytes })
        }
        (Meaning::Mbarrier(step), 0) if step != Mbarrier::FenceInit => Some(BARRIER),
        (Meaning::TensorLoad(_) | Meaning::TensorLoadPixels(_), 0) | (Meaning::TensorStore(_), 1) => Some(BOX),
        (Meaning::TensorLoad(_) | Meaning::TensorLoadPixels(_), 2) => Some(BARRIER),
        (Meaning::Bulk(Bulk::Load { .. }), 0) | (Meaning::Bulk(Bulk::Store { .. } | Bulk::ToCluster), 1) => Some(ROW),
        (Meaning::Bulk(Bulk::Load { .. }), 3) => Some(BARRIER),
        (Meaning::LoadMatrix { .. } | Meaning::StoreMatrix { .. }, 0) => Some(ROW),
        (Meaning::LoadNarrowMatrix { .. } | Meaning::StoreNarrowMatrix { .. }, 0) => Some(ROW),
        (Meaning::LaunchControl(_), 0) => Some(ROW),
        (Meaning::LaunchControl(_), 1) => Some(BARRIER),
        (Meaning::TensorMemory(TensorMemory::Allocate { .. }), 0) => Some(Reach { bytes: 4, align: 4 }),
        (Meaning::TensorMemory(TensorMemory::Commit { .. }), 0) => Some(BARRIER),
        _ => None,
    }
}
