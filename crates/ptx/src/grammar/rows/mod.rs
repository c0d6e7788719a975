//! The rows: every instruction form, by chapter.
//!
//! A floor is the lowest target and version that `ptxas` takes the form for, not told apart below sm_75. A form that several
//! floors share stands in one row; where a feature of one target widens a list, a second row has the wider list.

mod control;
mod convert;
mod copy;
mod float;
mod integer;
mod logic;
mod matrix;
mod memory;
mod synchronisation;
mod tensor_memory;
mod video;
mod warp;

use super::Row;
use crate::form::Floor;
use crate::target::{Feature, PtxVersion};

/// What every module has.
const BASE: Floor = Floor::sm(20, PtxVersion::new(1, 0));

/// From a compute capability on.
const fn sm(sm: u32, major: u8, minor: u8) -> Floor {
    Floor::sm(sm, PtxVersion::new(major, minor))
}

/// Where the target has a feature.
const fn has(feature: Feature, major: u8, minor: u8) -> Floor {
    Floor::feature(feature, PtxVersion::new(major, minor))
}

macro_rules! rows {
    ($($Op:ident: $($pattern:literal, $floor:expr;)+)*) => {
        pub(super) const ROWS: &[$crate::grammar::Row] =
            &[$($($crate::grammar::Row { op: $crate::grammar::Op::$Op, pattern: $pattern, floor: $floor }),+),*];
    };
}
use rows;

/// Every row, by chapter.
pub(super) const CHAPTERS: &[&[Row]] = &[
    integer::ROWS,
    float::ROWS,
    logic::ROWS,
    convert::ROWS,
    memory::ROWS,
    copy::ROWS,
    synchronisation::ROWS,
    warp::ROWS,
    matrix::ROWS,
    tensor_memory::ROWS,
    control::ROWS,
    video::ROWS,
];
