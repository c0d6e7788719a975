//! Tensor memory: its allocation, and moves between it, registers and shared memory. The multiplies are in `tcgen05_mma`.
//!
//! An address has the lane in its upper half and the column in its lower. Rows whose name ends in `_cta_group_2` are for
//! the two CTAs of a pair; a kernel has only such or only others. Loads, stores and copies are found by their shape.

use super::columns::*;
use crate::form::{DstSlot, Effect, Floor, Form, Pipe, Slot};
use crate::meaning::TensorMemory as Step;
use crate::meaning::{Meaning, TensorAccess, TensorCopy, TensorCopyShape, TensorShape, TensorUnpack};
use crate::operand::{Shared, Tensor as Memory};
use crate::register::Class;
use crate::slot::TensorColumns;
use crate::target::Feature;

super::forms! {
    { "tcgen05-instructions-tcgen05-alloc", Tensor, UsesTensorMemory, with(Feature::Tcgen05, 8, 6) }
    tcgen05_alloc(Nothing <- to: Shared, columns: TensorColumns) = "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32"
        => TensorMemory(Step::Allocate { cta_pair: false });
    tcgen05_alloc_cta_group_2(Nothing <- to: Shared, columns: TensorColumns) = "tcgen05.alloc.cta_group::2.sync.aligned.shared::cta.b32"
        => TensorMemory(Step::Allocate { cta_pair: true });
    tcgen05_dealloc(Nothing <- address: RegB32, columns: TensorColumns) = "tcgen05.dealloc.cta_group::1.sync.aligned.b32"
        => TensorMemory(Step::Free { cta_pair: false });
    tcgen05_dealloc_cta_group_2(Nothing <- address: RegB32, columns: TensorColumns) = "tcgen05.dealloc.cta_group::2.sync.aligned.b32"
        => TensorMemory(Step::Free { cta_pair: true });
    tcgen05_relinquish_alloc_permit(Nothing <- ) = "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned"
        => TensorMemory(Step::Relinquish { cta_pair: false });
    tcgen05_relinquish_alloc_permit_cta_group_2(Nothing <- ) = "tcgen05.relinquish_alloc_permit.cta_group::2.sync.aligned"
        => TensorMemory(Step::Relinquish { cta_pair: true });

    { "tcgen05-instructions-tcgen05-wait", Tensor, UsesTensorMemory, with(Feature::Tcgen05, 8, 6) }
    tcgen05_wait_ld(Nothing <- ) = "tcgen05.wait::ld.sync.aligned" => TensorMemory(Step::WaitLoads);
    tcgen05_wait_st(Nothing <- ) = "tcgen05.wait::st.sync.aligned" => TensorMemory(Step::WaitStores);

    { "tcgen05-instructions-tcgen05-shift", Tensor, UsesTensorMemory, with(Feature::TensorMemoryShift, 8, 6) }
    tcgen05_shift_down(Nothing <- address: Memory) = "tcgen05.shift.cta_group::1.down" => TensorMemory(Step::Shift { cta_pair: false });
    tcgen05_shift_down_cta_group_2(Nothing <- address: Memory) = "tcgen05.shift.cta_group::2.down" => TensorMemory(Step::Shift { cta_pair: true });

    { "tcgen05-instructions-tcgen05-commit", Tensor, UsesTensorMemory, with(Feature::Tcgen05, 8, 6) }
    tcgen05_commit(Nothing <- barrier: Shared)
        = "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64"
        => TensorMemory(Step::Commit { cta_pair: false, multicast: false });
    tcgen05_commit_cta_group_2(Nothing <- barrier: Shared)
        = "tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.b64"
        => TensorMemory(Step::Commit { cta_pair: true, multicast: false });
    tcgen05_commit_multicast(Nothing <- barrier: Shared, ctas: RegB16)
        = "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64"
        => TensorMemory(Step::Commit { cta_pair: false, multicast: true });
    tcgen05_commit_multicast_cta_group_2(Nothing <- barrier: Shared, ctas: RegB16)
        = "tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64"
        => TensorMemory(Step::Commit { cta_pair: true, multicast: true });

    { "tcgen05-instructions-tcgen05-fence", Tensor, UsesTensorMemory, with(Feature::Tcgen05, 8, 6) }
    tcgen05_fence_before_thread_sync(Nothing <- ) = "tcgen05.fence::before_thread_sync" => TensorMemory(Step::FenceBefore);
    tcgen05_fence_after_thread_sync(Nothing <- ) = "tcgen05.fence::after_thread_sync" => TensorMemory(Step::FenceAfter);
}

const ADDRESS: Slot = Slot::Address(Space::Tensor);
const FLOOR: Floor = Floor::feature(Feature::Tcgen05, PtxVersion::new(8, 6));
/// Columns between the two halves of `16x32bx2`.
const SPLIT: Slot = Slot::Constant(0, 511);

const fn access(shape: TensorShape, count: u8, packed: bool) -> TensorAccess {
    TensorAccess { shape, count, packed }
}

const fn load(name: &'static str, spelling: &'static str, access: TensorAccess) -> Form {
    Form {
        name,
        spelling,
        dst: Some(DstSlot::Vector(Class::B32, access.count * access.shape.registers())),
        src: match access.shape {
            TensorShape::Lanes16Bits32Twice => &[ADDRESS, SPLIT],
            _ => &[ADDRESS],
        },
        fixed: None,
        floor: FLOOR,
        effect: Effect::UsesTensorMemory,
        pipe: Pipe::LoadStore,
        section: "tcgen05-instructions-tcgen05-ld",
        meaning: Meaning::TensorMemory(Step::Load(access)),
    }
}

/// One `tcgen05.st` of so many registers.
const fn store<const N: u8>(name: &'static str, spelling: &'static str, access: TensorAccess) -> Form {
    assert!(N == access.count * access.shape.registers(), "the registers are those of the shape");
    Form {
        name,
        spelling,
        dst: None,
        src: match access.shape {
            TensorShape::Lanes16Bits32Twice => const { &[ADDRESS, SPLIT, Slot::RegVector(Class::B32, N)] },
            _ => const { &[ADDRESS, Slot::RegVector(Class::B32, N)] },
        },
        fixed: None,
        floor: FLOOR,
        effect: Effect::UsesTensorMemory,
        pipe: Pipe::LoadStore,
        section: "tcgen05-instructions-tcgen05-st",
        meaning: Meaning::TensorMemory(Step::Store(access)),
    }
}

/// The loads and stores of one shape, for each number of pieces.
macro_rules! accesses {
    ($Shape:ident $shape:literal: $($count:literal)*) => {
        &[ $(
            &const {
                load(
                    concat!("tcgen05_ld_", $shape, "_x", $count),
                    concat!("tcgen05.ld.sync.aligned.", $shape, ".x", $count, ".b32"),
                    access(TensorShape::$Shape, $count, false),
                )
            },
            &const {
                load(
                    concat!("tcgen05_ld_", $shape, "_x", $count, "_pack"),
                    concat!("tcgen05.ld.sync.aligned.", $shape, ".x", $count, ".pack::16b.b32"),
                    access(TensorShape::$Shape, $count, true),
                )
            },
            &const {
                store::<{ $count * TensorShape::$Shape.registers() }>(
                    concat!("tcgen05_st_", $shape, "_x", $count),
                    concat!("tcgen05.st.sync.aligned.", $shape, ".x", $count, ".b32"),
                    access(TensorShape::$Shape, $count, false),
                )
            },
            &const {
                store::<{ $count * TensorShape::$Shape.registers() }>(
                    concat!("tcgen05_st_", $shape, "_x", $count, "_unpack"),
                    concat!("tcgen05.st.sync.aligned.", $shape, ".x", $count, ".unpack::16b.b32"),
                    access(TensorShape::$Shape, $count, true),
                )
            },
        )* ]
    };
}

const fn copy(name: &'static str, spelling: &'static str, copy: TensorCopy) -> Form {
    Form {
        name,
        spelling,
        dst: None,
        src: &[ADDRESS, Slot::Reg(Class::B64)],
        fixed: None,
        floor: FLOOR,
        effect: Effect::UsesTensorMemory,
        pipe: Pipe::Tensor,
        section: "tcgen05-instructions-tcgen05-cp",
        meaning: Meaning::TensorMemory(Step::Copy(copy)),
    }
}

/// The copies of one shape: to a matrix descriptor belongs what is unpacked, and for which CTAs.
macro_rules! copies {
    ($Shape:ident $shape:literal $name:literal) => {
        copies!(@ $Shape $shape $name:
            None "" "" 1 "" false, Bits6 ".b8x16.b6x16_p32" "_b6" 1 "" false, Bits4 ".b8x16.b4x16_p64" "_b4" 1 "" false,
            None "" "" 2 "_cta_group_2" true, Bits6 ".b8x16.b6x16_p32" "_b6" 2 "_cta_group_2" true,
            Bits4 ".b8x16.b4x16_p64" "_b4" 2 "_cta_group_2" true)
    };
    (@ $Shape:ident $shape:literal $name:literal:
        $($Unpack:ident $format:literal $suffix:literal $group:literal $group_suffix:literal $pair:literal),*) => {
        &[ $(
            &const {
                copy(
                    concat!("tcgen05_cp_", $name, $suffix, $group_suffix),
                    concat!("tcgen05.cp.cta_group::", $group, $shape, $format),
                    TensorCopy { shape: TensorCopyShape::$Shape, unpack: TensorUnpack::$Unpack, cta_pair: $pair },
                )
            },
        )* ]
    };
}

/// The rows of `tcgen05.ld`, `tcgen05.st` and `tcgen05.cp`, by shape.
pub(super) static MOVES: &[&[&Form]] = &[
    accesses!(Lanes16Bits64 "16x64b": 1 2 4 8 16 32 64 128),
    accesses!(Lanes16Bits128 "16x128b": 1 2 4 8 16 32 64),
    accesses!(Lanes16Bits256 "16x256b": 1 2 4 8 16 32),
    accesses!(Lanes32Bits32 "32x32b": 1 2 4 8 16 32 64 128),
    accesses!(Lanes16Bits32Twice "16x32bx2": 1 2 4 8 16 32 64 128),
    copies!(Lanes128Bits256 ".128x256b" "128x256b"),
    copies!(Lanes4Bits256 ".4x256b" "4x256b"),
    copies!(Lanes128Bits128 ".128x128b" "128x128b"),
    copies!(Lanes64Bits128Warps02And13 ".64x128b.warpx2::02_13" "64x128b_02_13"),
    copies!(Lanes64Bits128Warps01And23 ".64x128b.warpx2::01_23" "64x128b_01_23"),
    copies!(Lanes32Bits128 ".32x128b.warpx4" "32x128b"),
];
