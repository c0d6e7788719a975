//! Instructions that compute on registers alone: the row of an instruction to a function over the 32 lanes of a warp.
//!
//! A register of any width is 32 lanes of 64 bits. A source holds its value in the low bits, zeros above; a function cuts its
//! sources to the types of the instruction itself. A result may carry a sign in the bits above its type: whoever stores it
//! cuts it to the width of the destination register.

/// One register of a warp.
pub type Register = [u64; 32];

/// What an instruction computes.
#[derive(Clone, Copy)]
pub enum Compute {
    /// A value from one source.
    One(fn(&mut Register, &Register)),
    /// A value from two sources.
    Two(fn(&mut Register, &Register, &Register)),
    /// A value from three sources.
    Three(fn(&mut Register, &Register, &Register, &Register)),
    /// A value from four sources.
    Four(fn(&mut Register, &Register, &Register, &Register, &Register)),
    /// One bit per lane from one source.
    Test(fn(&Register) -> u32),
    /// One bit per lane from two sources: comparisons.
    Compare(fn(&Register, &Register) -> u32),
}

/// x
pub fn compute(_: gable_ptx::grammar::Op, _: &[gable_ptx::grammar::Modifier]) -> Option<Compute> {
    None
}
