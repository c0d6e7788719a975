//! What stands after an instruction's name: values, vectors, addresses, labels and symbols.
//!
//! `Value` and `Operand` know their class at run time only; `Src<C>` and `Address<S>` are the same things with the class
//! or the space in the Rust type. Integers convert into the class of the operand that they stand for; whether they fit
//! is the verifier's question.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::register::{B16, B32, B64, Class, F32, F64, Pred, R, Reg, RegisterClass};
use crate::scalar::Space;

/// A register or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A register.
    Reg(Reg),
    /// An integer constant; a u64 above `i64::MAX` is stored by its bits.
    Int(i64),
    /// The bits of an f32 constant.
    F32(u32),
    /// The bits of an f64 constant.
    F64(u64),
}

impl Value {
    /// Whether the value may stand where `class` is read.
    pub fn fits(self, class: Class) -> bool {
        match self {
            Value::Reg(reg) => reg.class == class,
            Value::F32(_) => class == Class::F32,
            Value::F64(_) => class == Class::F64,
            Value::Int(value) => match class {
                Class::Pred => (0..=1).contains(&value),
                Class::B16 => (i64::from(i16::MIN)..=i64::from(u16::MAX)).contains(&value),
                Class::B32 => (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&value),
                Class::B64 => true,
                Class::B8 | Class::B128 | Class::F32 | Class::F64 => false,
            },
        }
    }

    /// The register, if it is one.
    pub fn as_reg(self) -> Option<Reg> {
        match self {
            Value::Reg(reg) => Some(reg),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Reg(reg) => write!(f, "{reg}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::F32(bits) => write!(f, "0f{bits:08X}"),
            Value::F64(bits) => write!(f, "0d{bits:016X}"),
        }
    }
}

impl From<Reg> for Value {
    fn from(reg: Reg) -> Self {
        Value::Reg(reg)
    }
}
impl<C: RegisterClass> From<R<C>> for Value {
    fn from(register: R<C>) -> Self {
        Value::Reg(register.reg())
    }
}
impl<C> From<Src<C>> for Value {
    fn from(source: Src<C>) -> Self {
        source.value
    }
}
impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::F32(value.to_bits())
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::F64(value.to_bits())
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Int(i64::from(value))
    }
}
impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(i64::from(value))
    }
}
impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Int(i64::from(value))
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Int(value.cast_signed())
    }
}

/// A register of class `C` or a constant that stands for one.
pub struct Src<C> {
    value: Value,
    class: PhantomData<C>,
}

impl<C> Src<C> {
    fn new(value: Value) -> Self {
        Src { value, class: PhantomData }
    }
}
impl<C> Clone for Src<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Src<C> {}
impl<C> fmt::Debug for Src<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.value, f)
    }
}
impl<C: RegisterClass> From<R<C>> for Src<C> {
    fn from(register: R<C>) -> Self {
        Src::new(register.into())
    }
}

macro_rules! constants {
    ($($Class:ident: $($number:ty)|+;)*) => { $( $(
        impl From<$number> for Src<$Class> {
            fn from(value: $number) -> Self {
                Src::new(Value::from(value))
            }
        }
    )+ )* };
}
// An integer literal without a suffix is an i32, so i32 converts into every integer class.
constants! {
    Pred: bool;
    B16: i32 | u32;
    B32: i32 | u32;
    B64: i32 | u32 | i64 | u64;
    F32: f32;
    F64: f64;
}

/// A state space as a type: which register class addresses it.
pub trait AddressSpace: 'static {
    /// The space as a value.
    const SPACE: Space;
    /// The class of a register that holds an address of this space.
    type Base: RegisterClass;
}

macro_rules! spaces {
    ($($Marker:ident($Base:ident): $doc:literal;)*) => { $(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub enum $Marker {}
        impl AddressSpace for $Marker {
            const SPACE: Space = Space::$Marker;
            type Base = $Base;
        }
    )* };
}
spaces! {
    Global(B64): "Global memory, addressed by 64-bit registers (after `cvta.to.global`).";
    Shared(B32): "Shared memory of the CTA, addressed by 32-bit registers.";
    Local(B64): "Memory private to a thread, addressed by 64-bit registers.";
    SharedCluster(B32): "Shared memory of a CTA of the cluster, addressed by 32-bit registers (after `mapa`).";
    Generic(B64): "Memory of any space, addressed by 64-bit registers.";
    Tensor(B32): "Tensor memory, addressed by 32-bit registers: the lane in the upper half, the column in the lower.";
}

/// The name of a parameter or of an array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub Arc<str>);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a kernel's body that a branch can go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub Arc<str>);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an address counts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The address in a register.
    Reg(Reg),
    /// The start of a named array or parameter.
    Symbol(Symbol),
}

/// `[base+offset]`: an address whose space belongs to the instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What the address counts from.
    pub base: Base,
    /// Bytes added to it.
    pub offset: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Reg(reg) => write!(f, "[{reg}")?,
            Base::Symbol(symbol) => write!(f, "[{symbol}")?,
        }
        if self.offset != 0 {
            write!(f, "+{}", self.offset)?;
        }
        f.write_str("]")
    }
}

impl Place {
    /// Whether the base can hold an address of `space`: a register of its class, or a name where arrays lie there.
    pub fn fits(&self, space: Space) -> bool {
        match (&self.base, space) {
            (Base::Symbol(_), Space::SharedCluster | Space::Generic | Space::Tensor) => false,
            (Base::Symbol(_), _) => true,
            (Base::Reg(reg), Space::Shared | Space::SharedCluster | Space::Tensor) => reg.class == Class::B32,
            (Base::Reg(reg), Space::Global | Space::Local | Space::Generic) => reg.class == Class::B64,
            (Base::Reg(_), Space::Param) => false,
        }
    }
}

impl From<Reg> for Place {
    fn from(reg: Reg) -> Self {
        Place { base: Base::Reg(reg), offset: 0 }
    }
}
impl<C: RegisterClass> From<R<C>> for Place {
    fn from(register: R<C>) -> Self {
        register.at(0).into()
    }
}
impl<S> From<Address<S>> for Place {
    fn from(address: Address<S>) -> Self {
        address.place
    }
}
impl Reg {
    /// The place `offset` bytes after the address in this register.
    pub fn at(self, offset: i32) -> Place {
        Place { base: Base::Reg(self), offset }
    }
}

/// An address of space `S`: a register, a register and an offset in bytes (`register.at(16)`), or an array.
pub struct Address<S> {
    place: Place,
    space: PhantomData<S>,
}

impl<S: AddressSpace> Address<S> {
    pub(crate) fn new(place: Place) -> Self {
        Address { place, space: PhantomData }
    }

    /// The address `bytes` further on.
    pub fn at(mut self, bytes: i32) -> Self {
        self.place.offset += bytes;
        self
    }
}
impl<S> Clone for Address<S> {
    fn clone(&self) -> Self {
        Address { place: self.place.clone(), space: PhantomData }
    }
}
impl<S> fmt::Debug for Address<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place, f)
    }
}

/// A register of class `C` and an offset in bytes.
#[derive(Clone, Copy)]
pub struct Offset<C> {
    base: R<C>,
    bytes: i32,
}

impl<C: RegisterClass> R<C> {
    /// The address `bytes` after the one in this register: `k.ld_global_f32(pointer.at(4))`.
    pub fn at(self, bytes: i32) -> Offset<C> {
        Offset { base: self, bytes }
    }
}
impl<C: RegisterClass> From<Offset<C>> for Place {
    fn from(offset: Offset<C>) -> Self {
        Place { base: Base::Reg(offset.base.reg()), offset: offset.bytes }
    }
}
impl<S: AddressSpace> From<R<S::Base>> for Address<S> {
    fn from(base: R<S::Base>) -> Self {
        Address::new(base.at(0).into())
    }
}
impl<S: AddressSpace> From<Offset<S::Base>> for Address<S> {
    fn from(offset: Offset<S::Base>) -> Self {
        Address::new(offset.into())
    }
}

/// One source operand of an instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register or a constant.
    Value(Value),
    /// `{a, b, ..}`: consecutive elements in registers or constants.
    Vector(Vec<Value>),
    /// `[base+offset]`.
    Address(Place),
    /// `[map, {c0, c1}]`.
    Tensor(TensorPlace),
    /// The address of an array itself.
    Symbol(Symbol),
    /// Where a branch goes.
    Label(Label),
}

/// `[map, {c0, c1}]`: a box of a tensor, by its tensor map and the coordinates of its first element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorPlace {
    /// The generic address of the tensor map, in a 64-bit register.
    pub map: Reg,
    /// Signed element counts in 32 bits, the innermost dimension first.
    pub coordinates: Vec<Value>,
}

impl fmt::Display for TensorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, ", self.map)?;
        braced(&self.coordinates, f)?;
        f.write_str("]")
    }
}

/// `{a, b}`
fn braced(values: &[Value], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (i, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str("}")
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Value(value) => write!(f, "{value}"),
            Operand::Vector(values) => braced(values, f),
            Operand::Address(place) => write!(f, "{place}"),
            Operand::Tensor(place) => write!(f, "{place}"),
            Operand::Symbol(symbol) => write!(f, "{symbol}"),
            Operand::Label(label) => write!(f, "{label}"),
        }
    }
}

impl<V: Into<Value>> From<V> for Operand {
    fn from(value: V) -> Self {
        Operand::Value(value.into())
    }
}
impl From<Place> for Operand {
    fn from(place: Place) -> Self {
        Operand::Address(place)
    }
}
impl From<Symbol> for Place {
    fn from(symbol: Symbol) -> Self {
        Place { base: Base::Symbol(symbol), offset: 0 }
    }
}
