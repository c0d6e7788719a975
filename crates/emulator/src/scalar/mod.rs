//! Instructions that compute on registers alone: the row of an instruction to a function over the 32 lanes of a warp.
//!
//! A register of any width is 32 lanes of 64 bits. A source holds its value in the low bits, zeros above; a function cuts its
//! sources to the types of the instruction itself. A result may carry a sign in the bits above its type: whoever stores it
//! cuts it to the width of the destination register.

mod bits;
mod compare;
mod convert;
mod float;
mod integer;
mod lanes;
mod permute;

use gable_ptx::grammar::{Modifier, Op};

pub use convert::four_elements;
pub use float::extreme_of_three;

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

/// A function of five sources: four values and the random bits that round them.
pub type FiveSources = fn(&mut Register, [&Register; 5]);

/// The function of an instruction, if it computes on registers alone.
///
/// Some families need to know more than `Compute` says. The truth table of `lop3` is its fourth source. `setp` is the comparison
/// alone: what combines it with a predicate is the caller's, and packed halves are compared one at a time, in the low bits.
/// `min` and `max` of three sources are `extreme_of_three`, stochastic conversions of four sources `four_elements`.
pub fn compute(op: Op, modifiers: &[Modifier]) -> Option<Compute> {
    let spelled = Spelled::new(modifiers);
    match op {
        Op::Setp => compare::setp(&spelled),
        Op::Testp => compare::testp(&spelled),
        Op::Cvt => convert::cvt(&spelled),
        Op::CvtPack => convert::pack(&spelled),
        Op::Prmt => permute::prmt(&spelled),
        Op::Rcp | Op::Sqrt | Op::Rsqrt | Op::Sin | Op::Cos | Op::Lg2 | Op::Ex2 | Op::Tanh => {
            float::of_one(op, &spelled)
        }
        Op::Fma | Op::Copysign => float::arithmetic(op, &spelled),
        Op::Add | Op::Sub | Op::Mul | Op::Mad | Op::Div | Op::Min | Op::Max | Op::Neg | Op::Abs => {
            if spelled.is_float() { float::arithmetic(op, &spelled) } else { integer::arithmetic(op, &spelled) }
        }
        Op::Mul24 | Op::Mad24 | Op::Sad | Op::Rem | Op::Dp4a | Op::Dp2a => integer::arithmetic(op, &spelled),
        _ => bits::compute(op, &spelled),
    }
}

/// The modifiers of an instruction, to be asked for by name.
struct Spelled<'a> {
    modifiers: &'a [Modifier],
    /// The first modifier that is a type.
    ty: Option<Modifier>,
    /// The second.
    second: Option<Modifier>,
}

impl<'a> Spelled<'a> {
    fn new(modifiers: &'a [Modifier]) -> Self {
        let mut types = modifiers.iter().copied().filter(|modifier| modifier.is_type());
        Spelled { modifiers, ty: types.next(), second: types.next() }
    }

    fn has(&self, modifier: Modifier) -> bool {
        self.modifiers.contains(&modifier)
    }

    fn is_float(&self) -> bool {
        use Modifier as M;
        matches!(self.ty, Some(M::F16 | M::F16x2 | M::Bf16 | M::Bf16x2 | M::F32 | M::F32x2 | M::F64))
    }
}
