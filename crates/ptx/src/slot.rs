//! Operand kinds as types, which the rows of the table name.
//!
//! A type that implements `Source` can stand right of the `<-` of a row, one that implements `Destination` left of it.
//! The types decide the signature of the builder's method and the `Slot` of the row, so that the two cannot differ.

use std::marker::PhantomData;

use crate::builder::KernelBuilder;
use crate::form::{DstSlot, Slot};
use crate::operand::{Address, AddressSpace, Label, Operand, Src, Symbol, TensorPlace, Value};
use crate::register::{B16, B32, B64, Class, F32, F64, Pred, R, Reg, RegisterClass};
use crate::scalar::{ScalarType, Space};

/// A kind of operand that is read.
pub trait Source {
    /// What the builder's method takes.
    type Arg;
    /// The same for code that only knows the row.
    const SLOT: Slot;
    /// The argument as an operand.
    fn operand(arg: Self::Arg) -> Operand;
}

/// A kind of result.
pub trait Destination {
    /// What the builder's method returns.
    type Regs: Copy;
    /// The same for code that only knows the row.
    const SLOT: Option<DstSlot>;
    /// Registers that no instruction uses yet.
    fn fresh(builder: &mut KernelBuilder) -> Self::Regs;
    /// The registers in order.
    fn registers(regs: Self::Regs) -> Vec<Reg>;
}

macro_rules! class_slots {
    ($($Class:ident),*) => { $(
        impl Source for $Class {
            type Arg = Src<$Class>;
            const SLOT: Slot = Slot::Value(Class::$Class);
            fn operand(arg: Src<$Class>) -> Operand {
                Operand::Value(arg.into())
            }
        }
    )* };
}
class_slots!(B16, B32, B64, F32, F64);

impl Source for Pred {
    type Arg = R<Pred>;
    const SLOT: Slot = Slot::Reg(Class::Pred);
    fn operand(arg: R<Pred>) -> Operand {
        Operand::from(arg)
    }
}

/// A predicate register, or `true` or `false`.
pub struct PredOrConstant;

impl Source for PredOrConstant {
    type Arg = Src<Pred>;
    const SLOT: Slot = Slot::Value(Class::Pred);
    fn operand(arg: Src<Pred>) -> Operand {
        Operand::Value(arg.into())
    }
}

impl<C: RegisterClass> Destination for C {
    type Regs = R<C>;
    const SLOT: Option<DstSlot> = Some(DstSlot::Reg(C::CLASS));
    fn fresh(builder: &mut KernelBuilder) -> R<C> {
        builder.fresh()
    }
    fn registers(regs: R<C>) -> Vec<Reg> {
        vec![regs.reg()]
    }
}

/// A register where a constant may not stand.
pub struct RegisterOnly<C>(PhantomData<C>);

impl<C: RegisterClass> Source for RegisterOnly<C> {
    type Arg = R<C>;
    const SLOT: Slot = Slot::Reg(C::CLASS);
    fn operand(arg: R<C>) -> Operand {
        Operand::from(arg)
    }
}

impl<C: RegisterClass> Destination for RegisterOnly<C> {
    type Regs = R<C>;
    const SLOT: Option<DstSlot> = Some(DstSlot::Reg(C::CLASS));
    fn fresh(builder: &mut KernelBuilder) -> R<C> {
        builder.fresh()
    }
    fn registers(regs: R<C>) -> Vec<Reg> {
        vec![regs.reg()]
    }
}

/// `N` values in braces.
pub struct Vector<C, const N: usize>(PhantomData<C>);

/// The argument for a `Vector` operand: an array of registers or of constants.
pub struct SrcVector<C, const N: usize>([Src<C>; N]);

impl<C, T: Into<Src<C>>, const N: usize> From<[T; N]> for SrcVector<C, N> {
    fn from(values: [T; N]) -> Self {
        SrcVector(values.map(Into::into))
    }
}

impl<C: RegisterClass, const N: usize> Source for Vector<C, N> {
    type Arg = SrcVector<C, N>;
    const SLOT: Slot = Slot::Vector(C::CLASS, N as u8);
    fn operand(arg: SrcVector<C, N>) -> Operand {
        Operand::Vector(arg.0.into_iter().map(Value::from).collect())
    }
}

impl<C: RegisterClass, const N: usize> Destination for Vector<C, N> {
    type Regs = [R<C>; N];
    const SLOT: Option<DstSlot> = Some(DstSlot::Vector(C::CLASS, N as u8));
    fn fresh(builder: &mut KernelBuilder) -> [R<C>; N] {
        std::array::from_fn(|_| builder.fresh())
    }
    fn registers(regs: [R<C>; N]) -> Vec<Reg> {
        regs.into_iter().map(R::reg).collect()
    }
}

/// `N` registers in braces, where constants may not stand.
pub struct RegisterVector<C, const N: usize>(PhantomData<C>);

impl<C: RegisterClass, const N: usize> Source for RegisterVector<C, N> {
    type Arg = [R<C>; N];
    const SLOT: Slot = Slot::RegVector(C::CLASS, N as u8);
    fn operand(arg: [R<C>; N]) -> Operand {
        Operand::Vector(arg.into_iter().map(Value::from).collect())
    }
}

/// Names of the vectors that rows use.
pub mod vectors {
    use super::{RegisterOnly, RegisterVector, TensorBox, Vector};
    use crate::register;

    /// An 8-bit register where a constant may not stand.
    pub type RegB8 = RegisterOnly<register::B8>;
    /// A 128-bit register where a constant may not stand.
    pub type RegB128 = RegisterOnly<register::B128>;
    /// `{a, b}`, registers
    pub type RegB8x2 = RegisterVector<register::B8, 2>;
    /// `{a, b, c, d}`, registers
    pub type RegB8x4 = RegisterVector<register::B8, 4>;
    /// `{a, b}`
    pub type B8x2 = Vector<register::B8, 2>;
    /// `{a, b, c, d}`
    pub type B8x4 = Vector<register::B8, 4>;
    /// `{a, b, c, d, e, f, g, h}`
    pub type B32x8 = Vector<register::B32, 8>;
    /// `{a, b, c, d, e, f, g, h}`
    pub type F32x8 = Vector<register::F32, 8>;
    /// `{a, b, c, d}`
    pub type B64x4 = Vector<register::B64, 4>;
    /// `{a, b}`, registers
    pub type RegB64x2 = RegisterVector<register::B64, 2>;
    /// A 16-bit register where a constant may not stand.
    pub type RegB16 = RegisterOnly<register::B16>;
    /// A 32-bit register where a constant may not stand.
    pub type RegB32 = RegisterOnly<register::B32>;
    /// A 64-bit register where a constant may not stand.
    pub type RegB64 = RegisterOnly<register::B64>;
    /// An f32 register where a constant may not stand.
    pub type RegF32 = RegisterOnly<register::F32>;
    /// An f64 register where a constant may not stand.
    pub type RegF64 = RegisterOnly<register::F64>;
    /// `{a}`
    pub type B16x1 = Vector<register::B16, 1>;
    /// `{a, b, c}`
    pub type B16x3 = Vector<register::B16, 3>;
    /// `{a, b}`
    pub type B16x2 = Vector<register::B16, 2>;
    /// `{a, b, c, d}`
    pub type B16x4 = Vector<register::B16, 4>;
    /// `{a}`
    pub type B32x1 = Vector<register::B32, 1>;
    /// `{a, b}`
    pub type B32x2 = Vector<register::B32, 2>;
    /// `{a, b, c, d}`
    pub type B32x4 = Vector<register::B32, 4>;
    /// `{a, b}`
    pub type B64x2 = Vector<register::B64, 2>;
    /// `{a, b}`
    pub type F32x2 = Vector<register::F32, 2>;
    /// `{a, b, c, d}`
    pub type F32x4 = Vector<register::F32, 4>;
    /// `{a, b}`
    pub type F64x2 = Vector<register::F64, 2>;
    /// `[map, {c0}]`
    pub type Tensor1 = TensorBox<1>;
    /// `[map, {c0, c1}]`
    pub type Tensor2 = TensorBox<2>;
    /// `[map, {c0, c1, c2}]`
    pub type Tensor3 = TensorBox<3>;
    /// `[map, {c0, c1, c2, c3}]`
    pub type Tensor4 = TensorBox<4>;
    /// `[map, {c0, c1, c2, c3, c4}]`
    pub type Tensor5 = TensorBox<5>;
    /// `{a}`, a register
    pub type RegB32x1 = RegisterVector<register::B32, 1>;
    /// `{a, b}`, registers
    pub type RegB32x2 = RegisterVector<register::B32, 2>;
    /// `{a, b, c, d}`, registers
    pub type RegB32x4 = RegisterVector<register::B32, 4>;
    /// `{a, b, c, d}`, registers
    pub type RegF32x4 = RegisterVector<register::F32, 4>;
}

/// No result.
pub struct Nothing;

impl Destination for Nothing {
    type Regs = ();
    const SLOT: Option<DstSlot> = None;
    fn fresh(_: &mut KernelBuilder) {}
    fn registers((): ()) -> Vec<Reg> {
        Vec::new()
    }
}

/// `_`: a result that is dropped.
pub struct Discarded;

impl Destination for Discarded {
    type Regs = ();
    const SLOT: Option<DstSlot> = Some(DstSlot::Discarded);
    fn fresh(_: &mut KernelBuilder) {}
    fn registers((): ()) -> Vec<Reg> {
        Vec::new()
    }
}

/// `d|p`: 32 bits and a predicate.
pub struct B32AndPred;

impl Destination for B32AndPred {
    type Regs = (R<B32>, R<Pred>);
    const SLOT: Option<DstSlot> = Some(DstSlot::WithPred(Class::B32));
    fn fresh(builder: &mut KernelBuilder) -> (R<B32>, R<Pred>) {
        (builder.fresh(), builder.fresh())
    }
    fn registers((value, pred): (R<B32>, R<Pred>)) -> Vec<Reg> {
        vec![value.reg(), pred.reg()]
    }
}

impl<S: AddressSpace> Source for S {
    type Arg = Address<S>;
    const SLOT: Slot = Slot::Address(S::SPACE);
    fn operand(arg: Address<S>) -> Operand {
        Operand::Address(arg.into())
    }
}

/// `[map, {c0, ..}]`: a tensor map and the coordinates of a box's first element, the innermost dimension first.
pub struct TensorBox<const N: usize>;

/// The argument for a `TensorBox` operand: `(map, [c0, c1])`.
pub struct TensorArg<const N: usize> {
    map: R<B64>,
    coordinates: [Src<B32>; N],
}

impl<T: Into<Src<B32>>, const N: usize> From<(R<B64>, [T; N])> for TensorArg<N> {
    fn from((map, coordinates): (R<B64>, [T; N])) -> Self {
        TensorArg { map, coordinates: coordinates.map(Into::into) }
    }
}

impl<const N: usize> Source for TensorBox<N> {
    type Arg = TensorArg<N>;
    const SLOT: Slot = Slot::Tensor(N as u8);
    fn operand(arg: TensorArg<N>) -> Operand {
        let coordinates = arg.coordinates.into_iter().map(Value::from).collect();
        Operand::Tensor(TensorPlace { map: arg.map.reg(), coordinates })
    }
}

macro_rules! param_slots {
    ($($Marker:ident: $Type:ident;)*) => { $(
        #[doc = concat!("`[name]` of a parameter of type `", stringify!($Type), "`.")]
        pub struct $Marker;
        impl Source for $Marker {
            type Arg = Symbol;
            const SLOT: Slot = Slot::Param(ScalarType::$Type);
            fn operand(arg: Symbol) -> Operand {
                Operand::Address(arg.into())
            }
        }
    )* };
}
param_slots! {
    ParamB16: B16;
    ParamU32: U32;
    ParamU64: U64;
    ParamF32: F32;
    ParamF64: F64;
}

macro_rules! symbol_slots {
    ($($Marker:ident: $Space:ident;)*) => { $(
        #[doc = concat!("The name of an array or a parameter in space `", stringify!($Space), "`.")]
        pub struct $Marker;
        impl Source for $Marker {
            type Arg = Symbol;
            const SLOT: Slot = Slot::Symbol(Space::$Space);
            fn operand(arg: Symbol) -> Operand {
                Operand::Symbol(arg)
            }
        }
    )* };
}
symbol_slots! {
    SharedSymbol: Shared;
    LocalSymbol: Local;
    ParamSymbol: Param;
}

/// A label.
pub struct Jump;

impl Source for Jump {
    type Arg = Label;
    const SLOT: Slot = Slot::Label;
    fn operand(arg: Label) -> Operand {
        Operand::Label(arg)
    }
}

/// The argument for an operand that must be a constant; whether it is one of those allowed is the verifier's question.
#[derive(Clone, Copy, Debug)]
pub struct Constant(i64);

// An integer literal without a suffix is an i32.
impl From<i32> for Constant {
    fn from(value: i32) -> Self {
        Constant(i64::from(value))
    }
}
impl From<u32> for Constant {
    fn from(value: u32) -> Self {
        Constant(i64::from(value))
    }
}

macro_rules! constant_slots {
    ($($(#[$doc:meta])* $Marker:ident = $slot:expr;)*) => { $(
        $(#[$doc])*
        pub struct $Marker;
        impl Source for $Marker {
            type Arg = Constant;
            const SLOT: Slot = $slot;
            fn operand(arg: Constant) -> Operand {
                Operand::Value(Value::Int(arg.0))
            }
        }
    )* };
}
macro_rules! bounded_slots {
    ($($(#[$doc:meta])* $Marker:ident: $Class:ident $low:literal to $high:literal;)*) => { $(
        $(#[$doc])*
        pub struct $Marker;
        impl Source for $Marker {
            type Arg = Src<$Class>;
            const SLOT: Slot = Slot::Bounded(Class::$Class, $low, $high);
            fn operand(arg: Src<$Class>) -> Operand {
                Operand::Value(arg.into())
            }
        }
    )* };
}
bounded_slots! {
    /// Parity of an mbarrier's phase, a register or a constant.
    Parity: B32 0 to 1;
    /// Arrivals at an mbarrier, a register or a constant.
    ArrivalCount: B32 1 to 1_048_575;
    /// Bytes of a bulk copy, a multiple of 16, a register or a constant.
    BulkBytes: B32 0 to 1_048_560;
}

constant_slots! {
    /// Bytes of one `cp.async.ca`.
    CopyBytes = Slot::OneOf(&[4, 8, 16]);
    /// Bytes of one `cp.async.cg`.
    CopyBytes16 = Slot::OneOf(&[16]);
    /// Groups of asynchronous copies that may stay pending.
    Pending = Slot::Constant(0, 62);
    /// Groups of bulk copies or of `wgmma` that may stay pending.
    PendingGroups = Slot::Constant(0, 7);
    /// Registers of a thread after `setmaxnreg`.
    RegisterCount = Slot::OneOf(&[
        24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208,
        216, 224, 232, 240, 248, 256,
    ]);
    /// Columns of tensor memory that are allocated.
    TensorColumns = Slot::OneOf(&[32, 64, 128, 256, 512]);
    /// A truth table of three inputs; a, b, c are 0xF0, 0xCC, 0xAA.
    TruthTable = Slot::Constant(0, 255);
    /// Number of a barrier of the CTA.
    BarrierId = Slot::Constant(0, 15);
    /// Threads that meet at a barrier: whole warps.
    BarrierThreads = Slot::OneOf(&[
        32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736,
        768, 800, 832, 864, 896, 928, 960, 992, 1024,
    ]);
    /// The lowest bit of a field.
    BitPosition = Slot::Constant(0, 31);
    /// Bits of a field.
    BitCount = Slot::Constant(0, 32);
}
