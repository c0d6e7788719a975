//! Matrix multiplies in tensor memory that run in the background, begun by one thread: `d = a * b + d`.
//!
//! `b`, and `a` where it is not in tensor memory, are in shared memory and given by matrix descriptors; shape and element
//! types are in the instruction descriptor. Rows are found by their kind: `KernelBuilder::tcgen05_mma` and `tcgen05_mma_ws`.

use crate::form::{Effect, Floor, Form, Pipe, Slot};
use crate::meaning::{Collector, Meaning, TensorKind, TensorMultiply, TensorMultiplyByWarp};
use crate::register::Class;
use crate::scalar::Space;
use crate::target::{Feature, PtxVersion};

const PLACE: Slot = Slot::Address(Space::Tensor);
const DESCRIPTOR: Slot = Slot::Reg(Class::B64);
const INSTRUCTION: Slot = Slot::Value(Class::B32);
/// Whether the product is added to what is there.
const ACCUMULATE: Slot = Slot::Value(Class::Pred);

const fn floor(kind: TensorKind) -> Floor {
    match kind {
        TensorKind::I8 => Floor::feature(Feature::Tcgen05Int8, PtxVersion::new(8, 6)),
        kind => Floor::feature(Feature::Tcgen05, PtxVersion::new(8, if kind.is_scaled() { 8 } else { 6 })),
    }
}

const fn form(
    name: &'static str,
    spelling: &'static str,
    kind: TensorKind,
    a_in_tensor_memory: bool,
    meaning: Meaning,
) -> Form {
    Form {
        name,
        spelling,
        dst: None,
        src: match (a_in_tensor_memory, kind.is_scaled()) {
            (false, false) => &[PLACE, DESCRIPTOR, DESCRIPTOR, INSTRUCTION, ACCUMULATE],
            (true, false) => &[PLACE, PLACE, DESCRIPTOR, INSTRUCTION, ACCUMULATE],
            (false, true) => &[PLACE, DESCRIPTOR, DESCRIPTOR, INSTRUCTION, PLACE, PLACE, ACCUMULATE],
            (true, true) => &[PLACE, PLACE, DESCRIPTOR, INSTRUCTION, PLACE, PLACE, ACCUMULATE],
        },
        fixed: None,
        floor: floor(kind),
        effect: Effect::UsesTensorMemory,
        pipe: Pipe::Tensor,
        section: "tcgen05-instructions-tcgen05-mma",
        meaning,
    }
}

/// The multiplies of one kind, for one or two CTAs, with `a` in one of the memories: one for each use of the collector.
macro_rules! with_collectors {
    ($Kind:ident $kind:literal $group:literal $pair:literal $in_memory:literal $name:literal $where:literal) => {
        with_collectors!(@ $Kind $kind $group $pair $in_memory $name $where:
            Default "" "", Fill ".collector::a::fill" "_fill", Use ".collector::a::use" "_use",
            LastUse ".collector::a::lastuse" "_lastuse", Discard ".collector::a::discard" "_discard")
    };
    (@ $Kind:ident $kind:literal $group:literal $pair:literal $in_memory:literal $name:literal $where:literal:
        $($Collector:ident $collector:literal $suffix:literal),*) => {
        &[ $(
            &const {
                form(
                    concat!("tcgen05_mma_", $name, $where, $suffix),
                    concat!("tcgen05.mma.cta_group::", $group, $kind, $collector),
                    TensorKind::$Kind,
                    $in_memory,
                    Meaning::TensorMultiply(TensorMultiply {
                        kind: TensorKind::$Kind,
                        cta_pair: $pair,
                        a_in_tensor_memory: $in_memory,
                        collector: Collector::$Collector,
                    }),
                )
            },
        )* ]
    };
}

macro_rules! multiplies {
    ($($Kind:ident $kind:literal $name:literal;)*) => {
        &[ $(
            with_collectors!($Kind $kind 1 false false $name ""),
            with_collectors!($Kind $kind 1 false true $name "_a_in_tensor_memory"),
            with_collectors!($Kind $kind 2 true false $name "_cta_group_2"),
            with_collectors!($Kind $kind 2 true true $name "_cta_group_2_a_in_tensor_memory"),
        )* ]
    };
}

/// The rows of `tcgen05.mma`, by kind.
pub(super) static MULTIPLIES: &[&[&Form]] = multiplies! {
    F16 ".kind::f16" "f16";
    Tf32 ".kind::tf32" "tf32";
    F8f6f4 ".kind::f8f6f4" "f8f6f4";
    I8 ".kind::i8" "i8";
    Mxf8f6f4 ".kind::mxf8f6f4.block_scale.block32" "mxf8f6f4";
    Mxf4 ".kind::mxf4.block_scale.block32" "mxf4";
    Mxf4nvf4Block16 ".kind::mxf4nvf4.block_scale.block16" "mxf4nvf4_block16";
    Mxf4nvf4Block32 ".kind::mxf4nvf4.block_scale.block32" "mxf4nvf4_block32";
};

/// The multiplies of one kind by warps, with `a` in one of the memories: one for each use of each collector buffer.
macro_rules! with_buffers {
    ($Kind:ident $kind:literal $in_memory:literal $name:literal $where:literal) => {
        with_buffers!(@ $Kind $kind $in_memory $name $where:
            0 Default "" "",
            0 Fill ".collector::b0::fill" "_b0_fill", 0 Use ".collector::b0::use" "_b0_use",
            0 LastUse ".collector::b0::lastuse" "_b0_lastuse", 0 Discard ".collector::b0::discard" "_b0_discard",
            1 Fill ".collector::b1::fill" "_b1_fill", 1 Use ".collector::b1::use" "_b1_use",
            1 LastUse ".collector::b1::lastuse" "_b1_lastuse", 1 Discard ".collector::b1::discard" "_b1_discard",
            2 Fill ".collector::b2::fill" "_b2_fill", 2 Use ".collector::b2::use" "_b2_use",
            2 LastUse ".collector::b2::lastuse" "_b2_lastuse", 2 Discard ".collector::b2::discard" "_b2_discard",
            3 Fill ".collector::b3::fill" "_b3_fill", 3 Use ".collector::b3::use" "_b3_use",
            3 LastUse ".collector::b3::lastuse" "_b3_lastuse", 3 Discard ".collector::b3::discard" "_b3_discard")
    };
    (@ $Kind:ident $kind:literal $in_memory:literal $name:literal $where:literal:
        $($buffer:literal $Collector:ident $collector:literal $suffix:literal),*) => {
        &[ $(
            &const {
                form(
                    concat!("tcgen05_mma_ws_", $name, $where, $suffix),
                    concat!("tcgen05.mma.ws.cta_group::1", $kind, $collector),
                    TensorKind::$Kind,
                    $in_memory,
                    Meaning::TensorMultiplyByWarp(TensorMultiplyByWarp {
                        kind: TensorKind::$Kind,
                        a_in_tensor_memory: $in_memory,
                        buffer: $buffer,
                        collector: Collector::$Collector,
                    }),
                )
            },
        )* ]
    };
}

macro_rules! multiplies_by_warp {
    ($($Kind:ident $kind:literal $name:literal;)*) => {
        &[ $(
            with_buffers!($Kind $kind false $name ""),
            with_buffers!($Kind $kind true $name "_a_in_tensor_memory"),
        )* ]
    };
}

/// The rows of `tcgen05.mma.ws`, by kind.
pub(super) static MULTIPLIES_BY_WARP: &[&[&Form]] = multiplies_by_warp! {
    F16 ".kind::f16" "f16";
    Tf32 ".kind::tf32" "tf32";
    F8f6f4 ".kind::f8f6f4" "f8f6f4";
    I8 ".kind::i8" "i8";
};
