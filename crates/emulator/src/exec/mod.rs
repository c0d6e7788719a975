//! What instructions do: one file per family, decoding and execution side by side.
//!
//! `decode` finds the family of an instruction; the family reads the operands and gives an `Execute`. At run time an `Execute` gets
//! the cluster and the lanes that run it, does its work, and says how the lanes go on.

pub mod arithmetic;
pub mod atomic;
pub mod barrier;
pub mod bulk;
pub mod bulk_group;
pub mod carry;
pub mod control;
pub mod copy;
pub mod launch_control;
pub mod matrix_moves;
pub mod mbarrier;
pub mod memory;
pub mod mma;
pub mod moves;
pub mod print;
mod shared_operand;
pub mod store_async;
pub mod tcgen05;
pub mod tensor_copy;
pub mod tensor_map;
mod transfer;
pub mod warp;
pub mod wgmma;
pub mod wmma;

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use crate::hazard::{Fault, HazardKind};
use crate::machine::Cluster;
use crate::program::{Converge, Decoder, Label, LoadError};
use crate::scalar::Register;

/// Who runs an instruction.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Index of the warp in the cluster.
    pub warp: usize,
    /// Lanes that run it: at least one.
    pub mask: u32,
    /// The token of the wait that it goes on from, if it waited.
    pub resume: Option<u64>,
    /// Whether the wait may end without what it waits for.
    pub timed_out: bool,
    /// Index of the instruction.
    pub pc: u32,
}

/// How the lanes go on.
#[derive(Clone, Debug)]
pub enum Flow {
    /// With the next instruction.
    Next,
    /// With the next instruction, after others have had a turn.
    Yield,
    /// At a label.
    Jump(Label),
    /// Each lane at an index of its own.
    Scatter(Box<[u32; 32]>),
    /// In a function.
    Call {
        /// Its label.
        function: Label,
        /// The lanes that call it; others of the instruction come back to it.
        lanes: u32,
    },
    /// Not at all.
    Exit,
    /// Here again, when something has happened.
    Wait {
        /// Given back in `At::resume`. 0 where the lanes have not arrived anywhere: other lanes may then join them.
        token: u64,
        /// What they wait for.
        on: String,
        /// Whether they may be woken without it.
        may_time_out: bool,
    },
}

/// A decoded instruction.
pub trait Execute: Send + Sync {
    /// Runs it in the lanes of `at`.
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault>;

    /// Whether it may name registers that an asynchronous operation of its own kind still owns.
    fn may_touch_in_flight(&self) -> bool {
        false
    }
}

/// What decoding gives.
pub struct Decoded {
    /// Who must be there.
    pub converge: Converge,
    /// What it does.
    pub execute: Box<dyn Execute>,
    /// Steps after it, in the same lanes.
    pub after: Vec<Box<dyn Execute>>,
}

impl Decoded {
    /// An instruction that lanes run without each other.
    pub fn free(execute: impl Execute + 'static) -> Self {
        Decoded { converge: Converge::Never, execute: Box::new(execute), after: Vec::new() }
    }

    /// An instruction that all lanes of the warp run together.
    pub fn aligned(execute: impl Execute + 'static) -> Self {
        Decoded { converge: Converge::Warp, execute: Box::new(execute), after: Vec::new() }
    }
}

/// Decodes an instruction.
pub fn decode(decoder: &mut Decoder<'_>, resolved: &Resolved, instruction: &Instruction) -> Result<Decoded, LoadError> {
    let families: [Family; 21] = [
        matrix_moves::decode,
        mma::decode,
        store_async::decode,
        launch_control::decode,
        tensor_map::decode,
        mbarrier::decode,
        bulk::decode,
        bulk_group::decode,
        tensor_copy::decode,
        moves::decode,
        memory::decode,
        atomic::decode,
        control::decode,
        barrier::decode,
        warp::decode,
        carry::decode,
        copy::decode,
        wgmma::decode,
        wmma::decode,
        tcgen05::decode,
        arithmetic::decode,
    ];
    for family in families {
        if let Some(decoded) = family(decoder, resolved, instruction)? {
            return Ok(decoded);
        }
    }
    Err(decoder.error(format!("`{}` is not emulated", instruction.spelling())))
}

/// A family's decoder: none where the instruction is of another family.
pub type Family = fn(&mut Decoder<'_>, &Resolved, &Instruction) -> Result<Option<Decoded>, LoadError>;

/// A closure as an instruction, for those that only move values between registers.
pub(crate) struct Step<F>(pub F);

impl<F> Execute for Step<F>
where
    F: Fn(&mut Cluster<'_>, At) -> Result<Flow, Fault> + Send + Sync,
{
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        (self.0)(cluster, at)
    }
}

/// A closure as a `Step`, with its type found.
pub(crate) fn step<F>(run: F) -> Step<F>
where
    F: Fn(&mut Cluster<'_>, At) -> Result<Flow, Fault> + Send + Sync,
{
    Step(run)
}

/// `a|b` as two operands, or one and a sink.
pub(crate) fn pair(operand: &Operand) -> (&Operand, &Operand) {
    match operand {
        Operand::Pair(a, b) => (a, b),
        other => (other, &Operand::Sink),
    }
}

/// Bits of a scalar type.
pub(crate) fn bits_of(ty: Modifier) -> Option<u32> {
    use Modifier as M;
    Some(match ty {
        M::B8 | M::U8 | M::S8 => 8,
        M::B16 | M::U16 | M::S16 | M::F16 | M::Bf16 => 16,
        M::B32 | M::U32 | M::S32 | M::F32 | M::F16x2 | M::Bf16x2 | M::U16x2 | M::S16x2 => 32,
        M::B64 | M::U64 | M::S64 | M::F64 | M::F32x2 => 64,
        M::B128 => 128,
        _ => return None,
    })
}

/// Whether values of the type carry a sign into wider registers.
pub(crate) fn is_signed(ty: Modifier) -> bool {
    matches!(ty, Modifier::S8 | Modifier::S16 | Modifier::S32 | Modifier::S64)
}

/// The low `bits` of a value, extended by its sign where `signed`.
pub(crate) fn extend(value: u64, bits: u32, signed: bool) -> u64 {
    if bits >= 64 {
        return value;
    }
    let low = value & ((1 << bits) - 1);
    if signed && low >> (bits - 1) & 1 == 1 { low | u64::MAX << bits } else { low }
}

/// A register that holds the same everywhere.
pub(crate) const fn splat(value: u64) -> Register {
    [value; 32]
}

/// Whether the operation is one of some.
pub(crate) fn is(op: Op, ops: &[Op]) -> bool {
    ops.contains(&op)
}

/// Whether the word stands in the mnemonic.
pub(crate) fn says(instruction: &Instruction, word: &str) -> bool {
    instruction.modifiers.iter().any(|modifier| &**modifier == word)
}

/// Finishes the operations that own a register which an instruction uses before the wait. The registers of a multiply may be moved
/// before it; any other use is a fault at once, since the assembler then gives up on running multiplies side by side.
pub(crate) fn finish_owners(c: &mut Cluster<'_>, warp: usize, op: Op, why: &'static str) -> Result<(), Fault> {
    if why != wgmma::IN_FLIGHT {
        return tcgen05::load::finish_loads(c, warp);
    }
    if op == Op::Mov {
        return wgmma::finish_multiplies(c, warp);
    }
    Err(Fault::new(HazardKind::NotWaitedFor, format!("uses a register that {why}")))
}
