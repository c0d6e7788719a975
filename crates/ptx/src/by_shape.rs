//! Asynchronous tensor instructions whose row is chosen by a shape: ranks of tensors, tiles of matrices.
//!
//! As in `dynamic`, operands that do not fit the row give an error, and nothing is written.

use crate::builder::KernelBuilder;
use crate::dynamic::EmitError;
use crate::form::Opcode;
use crate::meaning::{
    BlockScaledMultiply, Element, MatrixMultiply, Meaning, TensorAccess, TensorCopy, TensorLoad, TensorMemory,
    TensorMultiply, TensorMultiplyByWarp, TensorStore, WarpgroupMultiply,
};
use crate::operand::{Address, Operand, Shared, Src, Tensor, TensorPlace, Value};
use crate::register::{B16, B32, B64, F32, Pred, R, Reg};
use crate::target::Family;

/// Where `wgmma` reads its `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WgmmaOperand {
    /// In shared memory, given by a matrix descriptor.
    Descriptor(R<B64>),
    /// In registers: the fragment that the PTX ISA gives for the type.
    Registers([R<B32>; 4]),
}

/// Where `tcgen05.mma` reads its `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcgen05Operand {
    /// In shared memory, given by a matrix descriptor.
    Descriptor(R<B64>),
    /// In tensor memory, at an address.
    TensorMemory(R<B32>),
}

impl From<Tcgen05Operand> for Operand {
    fn from(operand: Tcgen05Operand) -> Self {
        match operand {
            Tcgen05Operand::Descriptor(descriptor) => Operand::from(descriptor),
            Tcgen05Operand::TensorMemory(address) => Operand::Address(address.into()),
        }
    }
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
            WgmmaOperand::Registers(registers) => vector(&registers),
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
        let own_cta = self.target().row().family == Family::Sm120 && !multicast && !cta_pair;
        let row = row(Meaning::TensorLoad(TensorLoad { rank, multicast, hint, cta_pair, own_cta }))?;
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

/// Where a block-scaled `mma.sync` finds the scales of an operand: in a register of some lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleOperand {
    /// Four scales, each a byte.
    pub register: R<B32>,
    /// The first byte that counts: as many as there are blocks along K follow it.
    pub byte: u8,
    /// Which lanes of each group of four: for `a` lanes 0 and 1, or 2 and 3; for `b` the lane.
    pub thread: u8,
}

impl ScaleOperand {
    fn operands(self) -> [Operand; 2] {
        let selector = [self.byte, self.thread].map(|value| Value::from(u32::from(value)));
        [Operand::from(self.register), Operand::Vector(selector.into())]
    }
}

impl KernelBuilder {
    /// `mma.sync` of floats of 8, 6 and 4 bits: `sums = a * b + sums`. Every element takes a byte.
    ///
    /// `sums` are four registers of f32, or two of pairs of f16.
    pub fn mma_f8f6f4(
        &mut self,
        shape: MatrixMultiply,
        sums: &[Reg],
        a: [R<B32>; 4],
        b: [R<B32>; 2],
    ) -> Result<(), EmitError> {
        // Two 8-bit floats have rows that more targets have.
        let row = row(Meaning::NarrowMultiply(shape)).or_else(|_| row(Meaning::MatrixMultiply(shape)))?;
        self.emit_into(row, sums.to_vec(), vec![vector(&a), vector(&b), vector(sums)])
    }

    /// Block-scaled `mma.sync`: `sums = a * b + sums`, where every block of `a` and `b` along K has a scale.
    pub fn mma_block_scaled(
        &mut self,
        shape: BlockScaledMultiply,
        sums: [R<F32>; 4],
        a: ([R<B32>; 4], ScaleOperand),
        b: ([R<B32>; 2], ScaleOperand),
    ) -> Result<(), EmitError> {
        let row = row(Meaning::BlockScaledMultiply(shape))?;
        let mut src = vec![vector(&a.0), vector(&b.0), vector(&sums)];
        src.extend(a.1.operands());
        src.extend(b.1.operands());
        self.emit_into(row, sums.map(R::reg).to_vec(), src)
    }
}

/// Registers in braces.
fn vector<T: Copy + Into<Value>>(registers: &[T]) -> Operand {
    Operand::Vector(registers.iter().map(|register| (*register).into()).collect())
}

impl KernelBuilder {
    /// `tcgen05.mma`: what is in tensor memory at `sums` becomes `a * b` plus itself, or `a * b` where `accumulate` is false.
    ///
    /// `b` is a matrix descriptor, `instruction` the instruction descriptor, `scales` the addresses of the block scales of
    /// `a` and `b` in tensor memory, which kinds with such scales take and others do not.
    #[expect(clippy::too_many_arguments, reason = "they are the operands of the instruction")]
    pub fn tcgen05_mma(
        &mut self,
        multiply: TensorMultiply,
        sums: impl Into<Address<Tensor>>,
        a: Tcgen05Operand,
        b: R<B64>,
        instruction: impl Into<Src<B32>>,
        scales: Option<(R<B32>, R<B32>)>,
        accumulate: impl Into<Src<Pred>>,
    ) -> Result<(), EmitError> {
        let row = row(Meaning::TensorMultiply(multiply))?;
        let mut src = vec![
            Operand::Address(sums.into().into()),
            a.into(),
            Operand::from(b),
            Operand::Value(instruction.into().into()),
        ];
        src.extend(scales.into_iter().flat_map(|(a, b)| [a, b]).map(|scale| Operand::Address(scale.into())));
        src.push(Operand::Value(accumulate.into().into()));
        self.emit(row, src).map(drop)
    }

    /// `tcgen05.mma.ws`, as `tcgen05_mma`.
    pub fn tcgen05_mma_ws(
        &mut self,
        multiply: TensorMultiplyByWarp,
        sums: impl Into<Address<Tensor>>,
        a: Tcgen05Operand,
        b: R<B64>,
        instruction: impl Into<Src<B32>>,
        accumulate: impl Into<Src<Pred>>,
    ) -> Result<(), EmitError> {
        let row = row(Meaning::TensorMultiplyByWarp(multiply))?;
        let src = vec![
            Operand::Address(sums.into().into()),
            a.into(),
            Operand::from(b),
            Operand::Value(instruction.into().into()),
            Operand::Value(accumulate.into().into()),
        ];
        self.emit(row, src).map(drop)
    }

    /// `tcgen05.ld`: registers that hold their values after `tcgen05_wait_ld`. `split` is the distance in columns between
    /// the halves of `Lanes16Bits32Twice`, and of no other shape.
    pub fn tcgen05_ld(
        &mut self,
        access: TensorAccess,
        from: impl Into<Address<Tensor>>,
        split: Option<u32>,
    ) -> Result<Vec<R<B32>>, EmitError> {
        let row = row(Meaning::TensorMemory(TensorMemory::Load(access)))?;
        let mut src = vec![Operand::Address(from.into().into())];
        src.extend(split.map(Operand::from));
        let registers = self.emit(row, src)?;
        Ok(registers.into_iter().map(|reg| reg.typed().expect("the row writes 32-bit registers")).collect())
    }

    /// `tcgen05.st`, finished after `tcgen05_wait_st`. `split` as of `tcgen05_ld`.
    pub fn tcgen05_st(
        &mut self,
        access: TensorAccess,
        to: impl Into<Address<Tensor>>,
        split: Option<u32>,
        values: &[R<B32>],
    ) -> Result<(), EmitError> {
        let row = row(Meaning::TensorMemory(TensorMemory::Store(access)))?;
        let mut src = vec![Operand::Address(to.into().into())];
        src.extend(split.map(Operand::from));
        src.push(vector(values));
        self.emit(row, src).map(drop)
    }

    /// `tcgen05.cp` from the shared memory that a matrix descriptor gives.
    pub fn tcgen05_cp(
        &mut self,
        copy: TensorCopy,
        to: impl Into<Address<Tensor>>,
        from: R<B64>,
    ) -> Result<(), EmitError> {
        let row = row(Meaning::TensorMemory(TensorMemory::Copy(copy)))?;
        self.emit(row, vec![Operand::Address(to.into().into()), Operand::from(from)]).map(drop)
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
