//! Number formats, conversions and arithmetic, bit for bit as the hardware does them.
//!
//! A number is its bits in the low end of a `u64`, zeros above, as a lane of a register holds it. Two ways lead to a result.
//! `exact` takes any format apart into a significand and an exponent and rounds once: it is the definition. `float` has the
//! formats that registers hold as types, with native arithmetic where that rounds the same way. Tests hold both against a third
//! way that shares nothing with them.
//!
//! What the manual leaves open was decided by recordings of an H200 (`tests/hardware/registers`); where nothing has been measured
//! yet, the choice is said in its place, after "open:". docs/emulator.md lists them.

pub mod approximate;
pub mod convert;
pub mod exact;
pub mod float;
pub mod format;
pub mod integer;
pub mod packed;
pub mod stochastic;

pub use format::{Format, Specials};

/// What happens to values between two values of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`: to nearest, ties to even.
    Nearest,
    /// `.rz`: toward zero.
    Zero,
    /// `.rm`: downward.
    Down,
    /// `.rp`: upward.
    Up,
    /// `.rna`: to nearest, ties away from zero.
    NearestAway,
}

impl Rounding {
    /// Every rounding.
    pub const ALL: [Rounding; 5] =
        [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up, Rounding::NearestAway];
}
