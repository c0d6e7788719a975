//! Asynchronous tensor instructions whose row is chosen by a shape: ranks of tensors, tiles of matrices.
//!
//! As in `dynamic`, operands that do not fit the row give an error, and nothing is written.

use crate::builder::KernelBuilder;
use crate::dynamic::EmitError;
use crate::form::Opcode;
use crate::meaning::{Element, Meaning, TensorLoad, TensorStore, WarpgroupMultiply};
use crate::operand::{Address, Operand, Shared, Src, TensorPlace, Value};
use crate::register::{B16, B32, B64, Pred, R, Reg};

/// Where `wgmma` reads its `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WgmmaOperand {
    /// In shared memory, given by a matrix descriptor.
    Descriptor(R<B64>),
    /// In registers: the fragment that the PTX ISA gives for the type.
    Registers([R<B32>; 4]),
}

fn row(meaning: Meaning) -> Result<Opcode, EmitError> {
    Opcode::of(meaning).ok_or(EmitError::NoRow { meaning })
}

impl KernelBuilder {
    /// `wgmma.mma_async`: `sums = a * b + sums`, or `a * b` where `accumulate` is false, of 64 rows.
    ///
    /// `sums` are the accumulators of a thread: `n / 2` registers of f32 or s32, `n / 4` of pairs of f16. `b` is a matrix
    /// descriptor. `transposed` says of `a` and `b` whether their K dimension is the strided one in shared memory, which
    /// only 16-bit types can have, and `a` only where it is in shared memory.
    pub fn wgmma(
        &mut self,
        shape: WarpgroupMultiply,
        sums: &[Reg],
        a: WgmmaOperand,
        b: R<B64>,
        accumulate: impl Into<Src<Pred>>,
        transposed: (bool, bool),
    ) -> Result<(), EmitError> {
        let row = row(Meaning::WarpgroupMultiply(shape))?;
        let integers = matches!(shape.a, Element::S8 | Element::U8);
        let can_transpose = matches!(shape.a, Element::F16 | Element::Bf16);
        if (transposed.0 && (shape.a_in_registers || !can_transpose)) || (transposed.1 && !can_transpose) {
            return Err(EmitError::Transposed { form: row.form().name });
        }
        let a = match a {
            WgmmaOperand::Descriptor(descriptor) => Operand::from(descriptor),
            WgmmaOperand::Registers(registers) => Operand::Vector(registers.map(Value::from).into()),
        };
        let mut src = vec![a, Operand::from(b), Operand::Value(accumulate.into().into())];
        if !integers {
            // Neither operand is negated.
            src.extend([Operand::from(1), Operand::from(1)]);
        }
        if can_transpose {
            src.extend((!shape.a_in_registers).then(|| Operand::from(transposed.0)));
            src.push(Operand::from(transposed.1));
        }
        self.emit_into(row, sums.to_vec(), src)
    }

    /// `cp.async.bulk.tensor` to shared memory: the box of `map` whose first element has these coordinates, the innermost
    /// dimension first. `barrier` counts the bytes of the whole box. With `ctas`, a bit for each CTA of the cluster, it
    /// goes to the same place in all of them; `policy` is one of the L2 cache.
    #[expect(clippy::too_many_arguments, reason = "they are the operands of the instruction")]
    pub fn tma_load(
        &mut self,
        to: impl Into<Address<Shared>>,
        map: R<B64>,
        coordinates: &[Src<B32>],
        barrier: impl Into<Address<Shared>>,
        ctas: Option<Src<B16>>,
        policy: Option<Src<B64>>,
        cta_pair: bool,
    ) -> Result<(), EmitError> {
        let (rank, multicast, hint) = (rank(coordinates), ctas.is_some(), policy.is_some());
        let row = row(Meaning::TensorLoad(TensorLoad { rank, multicast, hint, cta_pair }))?;
        let mut src =
            vec![Operand::Address(to.into().into()), tensor(map, coordinates), Operand::Address(barrier.into().into())];
        src.extend(ctas.map(|ctas| Operand::Value(ctas.into())));
        src.extend(policy.map(|policy| Operand::Value(policy.into())));
        self.emit(row, src).map(drop)
    }

    /// `cp.async.bulk.tensor` to global memory, or with `add` `cp.reduce.async.bulk.tensor`: the box of `map` whose first
    /// element has these coordinates, the innermost dimension first. Belongs to the thread's bulk group.
    pub fn tma_store(
        &mut self,
        map: R<B64>,
        coordinates: &[Src<B32>],
        from: impl Into<Address<Shared>>,
        policy: Option<Src<B64>>,
        add: bool,
    ) -> Result<(), EmitError> {
        let store = TensorStore { rank: rank(coordinates), add, hint: policy.is_some() };
        let row = row(Meaning::TensorStore(store))?;
        let mut src = vec![tensor(map, coordinates), Operand::Address(from.into().into())];
        src.extend(policy.map(|policy| Operand::Value(policy.into())));
        self.emit(row, src).map(drop)
    }
}

/// No row has a rank beyond 5, so the error of a longer list is that there is none.
fn rank(coordinates: &[Src<B32>]) -> u8 {
    u8::try_from(coordinates.len()).unwrap_or(u8::MAX)
}

fn tensor(map: R<B64>, coordinates: &[Src<B32>]) -> Operand {
    let coordinates = coordinates.iter().copied().map(Value::from).collect();
    Operand::Tensor(TensorPlace { map: map.reg(), coordinates })
}
