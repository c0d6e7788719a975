//! Virtual registers: a class and a number. `R<C>` carries the class in its Rust type, `Reg` carries it as a value.
//!
//! PTX types belong to instructions; a register only has a width and a kind. f16 and bf16 live in `B16`, packed pairs,
//! tf32 and shared-memory addresses in `B32`, global addresses in `B64`, signed and unsigned integers in the `B` class of
//! their width. Numbers count from 0 in each class.

use std::fmt;
use std::marker::PhantomData;

use crate::scalar::ScalarType;

/// What a register can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// One bit: the result of a comparison.
    Pred,
    /// 8 bits: a pair of 4-bit floats.
    B8,
    /// 16 bits: integers, f16, bf16, a pair of 8-bit floats.
    B16,
    /// 32 bits: integers, packed 16-bit pairs, tf32, shared-memory addresses.
    B32,
    /// 64 bits: integers, global and local addresses.
    B64,
    /// 128 bits: the answer of `clusterlaunchcontrol`.
    B128,
    /// One f32.
    F32,
    /// One f64.
    F64,
}

impl Class {
    /// Every class, in the order in which a kernel declares them.
    pub const ALL: [Class; 8] =
        [Class::Pred, Class::B8, Class::B16, Class::B32, Class::B64, Class::B128, Class::F32, Class::F64];

    /// The type in a `.reg` declaration, without the dot.
    pub fn type_name(self) -> &'static str {
        match self {
            Class::Pred => "pred",
            Class::B8 => "b8",
            Class::B16 => "b16",
            Class::B32 => "b32",
            Class::B64 => "b64",
            Class::B128 => "b128",
            Class::F32 => "f32",
            Class::F64 => "f64",
        }
    }

    /// What stands between `%` and the number of a register.
    pub fn prefix(self) -> &'static str {
        match self {
            Class::Pred => "p",
            Class::B8 => "b",
            Class::B16 => "h",
            Class::B32 => "r",
            Class::B64 => "rd",
            Class::B128 => "rq",
            Class::F32 => "f",
            Class::F64 => "fd",
        }
    }

    /// The type whose values are the bits of such a register, or its floats.
    pub fn scalar_type(self) -> ScalarType {
        match self {
            Class::Pred => ScalarType::Pred,
            Class::B8 => ScalarType::B8,
            Class::B16 => ScalarType::B16,
            Class::B32 => ScalarType::B32,
            Class::B64 => ScalarType::B64,
            Class::B128 => ScalarType::B128,
            Class::F32 => ScalarType::F32,
            Class::F64 => ScalarType::F64,
        }
    }

    /// Width in bits; 1 for a predicate.
    pub fn bits(self) -> u32 {
        match self {
            Class::Pred => 1,
            Class::B8 => 8,
            Class::B16 => 16,
            Class::B32 | Class::F32 => 32,
            Class::B64 | Class::F64 => 64,
            Class::B128 => 128,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

/// A register whose class is known when the compiler of PTX runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg {
    /// What it holds.
    pub class: Class,
    /// Its number within the class.
    pub index: u32,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.class.prefix(), self.index)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A register was asked for as another class than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reg}` is a {} register, expected {expected}", reg.class)]
pub struct ClassError {
    /// The register.
    pub reg: Reg,
    /// The class asked for.
    pub expected: Class,
}

impl Reg {
    /// The register as one whose class Rust checks.
    pub fn typed<C: RegisterClass>(self) -> Result<R<C>, ClassError> {
        if self.class == C::CLASS { Ok(R::new(self.index)) } else { Err(ClassError { reg: self, expected: C::CLASS }) }
    }
}

/// A type that stands for a register class: `Pred`, `B8`, `B16`, `B32`, `B64`, `B128`, `F32`, `F64`.
pub trait RegisterClass: 'static {
    /// The class as a value.
    const CLASS: Class;
}

macro_rules! classes {
    ($($Marker:ident: $doc:literal;)*) => { $(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub enum $Marker {}
        impl RegisterClass for $Marker {
            const CLASS: Class = Class::$Marker;
        }
    )* };
}
classes! {
    Pred: "Class of one bit.";
    B8: "Class of 8 bits: a pair of 4-bit floats.";
    B16: "Class of 16 bits: integers, f16, bf16.";
    B32: "Class of 32 bits: integers, packed pairs, shared-memory addresses.";
    B64: "Class of 64 bits: integers, global addresses.";
    B128: "Class of 128 bits: the answer of `clusterlaunchcontrol`.";
    F32: "Class of f32.";
    F64: "Class of f64.";
}

/// A register whose class Rust checks.
pub struct R<C> {
    index: u32,
    class: PhantomData<C>,
}

impl<C: RegisterClass> R<C> {
    pub(crate) fn new(index: u32) -> Self {
        R { index, class: PhantomData }
    }

    /// The same register with its class as a value.
    pub fn reg(self) -> Reg {
        Reg { class: C::CLASS, index: self.index }
    }
}

impl<C> Clone for R<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for R<C> {}
impl<C> PartialEq for R<C> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<C> Eq for R<C> {}
impl<C: RegisterClass> fmt::Debug for R<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reg(), f)
    }
}
impl<C: RegisterClass> From<R<C>> for Reg {
    fn from(typed: R<C>) -> Reg {
        typed.reg()
    }
}
impl<C: RegisterClass> TryFrom<Reg> for R<C> {
    type Error = ClassError;
    fn try_from(reg: Reg) -> Result<Self, ClassError> {
        reg.typed()
    }
}
