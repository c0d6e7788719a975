//! What reductions do with two partial results, and how threads put theirs together.
//!
//! A partial result is one register, or two for positions of extremes: the element and where it was. Floats of 32 bits
//! and less are combined in f32 and rounded once, at the end.

use crate::arithmetic;
use crate::element::{self, compute_type};
use crate::engine::Engine;
use crate::error::Fault;
use gable_ir::attr::ReduceKind;
use gable_ir::{Op, ops};
use gable_ptx::meaning::{Access, Binary, Comparison};
use gable_ptx::{B32, KernelBuilder, Pred, R, Reg, ScalarType, Space, Value};
use gable_tensor::{DType, Kind, Scalar};

/// Threads of a warp.
pub(crate) const WARP: u32 = 32;
const ALL_LANES: u32 = 0xFFFF_FFFF;

/// How two partial results become one.
#[derive(Clone, Debug)]
pub(crate) enum Combine {
    /// Elements.
    Plain {
        /// How.
        kind: ReduceKind,
        /// Of what type.
        dtype: DType,
    },
    /// The position of the largest or smallest element.
    Position {
        /// Which and, among equals, where.
        op: ops::ArgReduce,
        /// Type of the elements.
        dtype: DType,
        /// Elements along the axis.
        n: usize,
    },
}

/// Registers of a partial result.
pub(crate) type Partial = Vec<Value>;

impl Combine {
    /// For an anchor on elements of `dtype`, `n` of them along the axis.
    pub(crate) fn of(op: &Op, dtype: DType, n: usize) -> Result<Combine, Fault> {
        match op {
            Op::Reduce(op) => Ok(Combine::Plain { kind: op.kind, dtype }),
            Op::ReduceWindow(op) => Ok(Combine::Plain { kind: op.kind, dtype }),
            Op::Scan(op) => Ok(Combine::Plain { kind: op.kind, dtype }),
            Op::ArgReduce(op) if i32::try_from(n).is_ok() => Ok(Combine::Position { op: op.clone(), dtype, n }),
            Op::ArgReduce(_) => Err(Fault::unsupported("arg_reduce", format!("an axis of {n} elements"))),
            other => Err(Fault::contract(format!("`{}` does not combine elements", other.name()))),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Combine::Plain { dtype, .. } | Combine::Position { dtype, .. } => *dtype,
        }
    }

    /// The type of the elements while they are combined: `bool` counts as 0 and 1.
    fn element_type(&self) -> Result<ScalarType, Fault> {
        Ok(match compute_type(self.dtype())? {
            ScalarType::Pred => ScalarType::U32,
            other => other,
        })
    }

    /// The types of a partial result's registers.
    pub(crate) fn types(&self) -> Result<Vec<ScalarType>, Fault> {
        let element = self.element_type()?;
        Ok(match self {
            Combine::Plain { .. } => vec![element],
            Combine::Position { .. } => vec![element, ScalarType::S32],
        })
    }

    /// The partial result of no elements.
    pub(crate) fn identity(&self) -> Result<Partial, Fault> {
        let dtype = self.dtype();
        let (low, high) = match dtype.int_range() {
            Some((low, high)) => (Scalar::I(low), Scalar::I(high)),
            None => (Scalar::F(f64::NEG_INFINITY), Scalar::F(f64::INFINITY)),
        };
        let number = |scalar: Scalar| -> Result<Value, Fault> {
            Ok(match self.element_type()? {
                ScalarType::F32 => (scalar.as_f64() as f32).into(),
                ScalarType::F64 => scalar.as_f64().into(),
                ScalarType::U64 => (scalar.as_i128() as u64).into(),
                _ => (scalar.as_i128() as i64).into(),
            })
        };
        Ok(match self {
            Combine::Plain { kind, .. } => vec![number(match kind {
                ReduceKind::Sum | ReduceKind::Mean => Scalar::I(0),
                ReduceKind::Prod => Scalar::I(1),
                ReduceKind::Max => low,
                ReduceKind::Min => high,
            })?],
            // A position that loses against every real one among equals.
            Combine::Position { op, n, .. } => {
                let nowhere = if op.last { -1 } else { *n as i64 };
                vec![number(if op.largest { low } else { high })?, Value::Int(nowhere)]
            }
        })
    }

    /// The partial result of one element; `position` is asked for where it counts.
    pub(crate) fn of_element(
        &self,
        engine: &mut Engine<'_>,
        element: Value,
        position: impl FnOnce(&mut Engine<'_>) -> Result<Value, Fault>,
    ) -> Result<Partial, Fault> {
        let element = match self.dtype() {
            DType::Bool => {
                let truth = element::predicate(&mut engine.k, element)?;
                engine.k.selp_b32(1, 0, truth).into()
            }
            _ => element,
        };
        Ok(match self {
            Combine::Plain { .. } => vec![element],
            Combine::Position { .. } => vec![element, position(engine)?],
        })
    }

    /// Both together. Integers wrap only at the end, which comes to the same.
    pub(crate) fn combine(&self, k: &mut KernelBuilder, a: &[Value], b: &[Value]) -> Result<Partial, Fault> {
        let ty = self.element_type()?;
        match self {
            Combine::Plain { kind, .. } => {
                let result: Value = match (kind, ty) {
                    (ReduceKind::Sum | ReduceKind::Mean, _) => k.binary(Binary::Add, ty, a[0], b[0])?.into(),
                    (ReduceKind::Prod, _) => k.binary(Binary::Mul, ty, a[0], b[0])?.into(),
                    (ReduceKind::Max, ScalarType::F32) => k.binary(Binary::MaxNan, ty, a[0], b[0])?.into(),
                    (ReduceKind::Min, ScalarType::F32) => k.binary(Binary::MinNan, ty, a[0], b[0])?.into(),
                    (ReduceKind::Max, ScalarType::F64) => {
                        arithmetic::map(k, &Op::Max(ops::Max {}), &[DType::F64], DType::F64, &[a[0], b[0]])?
                    }
                    (ReduceKind::Min, ScalarType::F64) => {
                        arithmetic::map(k, &Op::Min(ops::Min {}), &[DType::F64], DType::F64, &[a[0], b[0]])?
                    }
                    (ReduceKind::Max, _) => k.binary(Binary::Max, ty, a[0], b[0])?.into(),
                    (ReduceKind::Min, _) => k.binary(Binary::Min, ty, a[0], b[0])?.into(),
                };
                Ok(vec![result])
            }
            Combine::Position { op, .. } => {
                let before = if op.last { Comparison::Gt } else { Comparison::Lt };
                let better = if op.largest { Comparison::Gt } else { Comparison::Lt };
                let mut wins = k.compare(better, ty, a[0], b[0])?;
                let mut equal = k.compare(Comparison::Eq, ty, a[0], b[0])?;
                if ty.is_float() {
                    let (a_nan, b_nan) =
                        (k.compare(Comparison::Nan, ty, a[0], a[0])?, k.compare(Comparison::Nan, ty, b[0], b[0])?);
                    let b_number = k.not_pred(b_nan);
                    let only_a = k.and_pred(a_nan, b_number);
                    wins = k.or_pred(wins, only_a);
                    let both = k.and_pred(a_nan, b_nan);
                    equal = k.or_pred(equal, both);
                }
                let earlier = k.compare(before, ScalarType::S32, a[1], b[1])?;
                let by_place = k.and_pred(equal, earlier);
                wins = k.or_pred(wins, by_place);
                let element = k.select(ty, a[0], b[0], wins)?;
                let position = k.select(ScalarType::S32, a[1], b[1], wins)?;
                Ok(vec![element.into(), position.into()])
            }
        }
    }

    /// `a` where the predicate holds, else the partial result of nothing.
    pub(crate) fn where_(&self, k: &mut KernelBuilder, pred: R<Pred>, a: &[Value]) -> Result<Partial, Fault> {
        let mut kept = Vec::with_capacity(a.len());
        for ((&value, nothing), ty) in a.iter().zip(self.identity()?).zip(self.types()?) {
            kept.push(k.select(ty, value, nothing, pred)?.into());
        }
        Ok(kept)
    }

    /// The anchor's element from the partial result of all `count` elements.
    pub(crate) fn finish(&self, k: &mut KernelBuilder, partial: &[Value], count: Value) -> Result<Value, Fault> {
        let ty = self.element_type()?;
        match self {
            Combine::Plain { kind: ReduceKind::Mean, dtype } => {
                let mean = k.binary(Binary::Div, ty, partial[0], count)?;
                arithmetic::round(k, *dtype, mean.into())
            }
            Combine::Plain { dtype, .. } if dtype.kind() == Kind::Bool => {
                Ok(k.compare(Comparison::Ne, ScalarType::U32, partial[0], 0)?.into())
            }
            Combine::Plain { dtype, .. } => arithmetic::round(k, *dtype, partial[0]),
            Combine::Position { .. } => {
                let position: R<B32> =
                    element::register(k, ScalarType::S32, partial[1])?.typed().expect("a position is a 32-bit integer");
                Ok(k.cvt_s64_s32(position).into())
            }
        }
    }

    /// A count of elements as `finish` takes it.
    pub(crate) fn count(&self, n: usize) -> Value {
        if self.dtype() == DType::F64 { (n as f64).into() } else { (n as f32).into() }
    }

    /// Registers that hold a partial result and can be changed, with nothing in them yet.
    pub(crate) fn start(&self, engine: &mut Engine<'_>) -> Result<Vec<Reg>, Fault> {
        let (types, identity) = (self.types()?, self.identity()?);
        types.into_iter().zip(identity).map(|(ty, value)| engine.copy(ty, value)).collect()
    }

    /// Combines an addend into registers.
    pub(crate) fn add_to(&self, engine: &mut Engine<'_>, sum: &[Reg], addend: &[Value]) -> Result<(), Fault> {
        let now: Partial = sum.iter().map(|&register| register.into()).collect();
        let next = self.combine(&mut engine.k, &now, addend)?;
        for (&register, value) in sum.iter().zip(next) {
            engine.assign(register, value)?;
        }
        Ok(())
    }
}

/// A value of another lane of the warp: of the one whose number differs in `bit`.
pub(crate) fn exchange(k: &mut KernelBuilder, ty: ScalarType, value: Value, bit: u32) -> Result<Value, Fault> {
    let register = element::register(k, ty, value)?;
    let shuffle = |k: &mut KernelBuilder, word: R<B32>| k.shfl_bfly_b32(word, bit, WARP - 1, ALL_LANES);
    const CLASS: &str = "the class follows from the type";
    Ok(match ty {
        ScalarType::F32 => {
            let word = k.b32_of_f32(register.typed().expect(CLASS));
            let other = shuffle(k, word);
            k.f32_of_b32(other).into()
        }
        ScalarType::S64 | ScalarType::U64 | ScalarType::F64 => {
            let bits = match ty {
                ScalarType::F64 => k.b64_of_f64(register.typed().expect(CLASS)),
                _ => register.typed().expect(CLASS),
            };
            let [low, high] = k.unpack_b64(bits);
            let (low, high) = (shuffle(k, low), shuffle(k, high));
            let bits = k.pack_b64([low, high]);
            if ty == ScalarType::F64 { k.f64_of_b64(bits).into() } else { bits.into() }
        }
        _ => shuffle(k, register.typed().expect(CLASS)).into(),
    })
}

/// Combines over the lanes of a warp whose numbers differ below `width`, a power of two; all lanes get the result.
pub(crate) fn combine_lanes(
    k: &mut KernelBuilder,
    combine: &Combine,
    partial: Partial,
    width: u32,
) -> Result<Partial, Fault> {
    let types = combine.types()?;
    let mut partial = partial;
    let mut bit = width / 2;
    while bit > 0 {
        let mut other = Vec::with_capacity(partial.len());
        for (&value, &ty) in partial.iter().zip(&types) {
            other.push(exchange(k, ty, value, bit)?);
        }
        partial = combine.combine(k, &partial, &other)?;
        bit /= 2;
    }
    Ok(partial)
}

/// Combines over all threads of a one-dimensional CTA of `threads`, a multiple of 32; all threads get the result.
/// `slot` names the exchange: each of a kernel has shared memory of its own, so that one barrier does.
pub(crate) fn combine_cta(
    engine: &mut Engine<'_>,
    combine: &Combine,
    partial: Partial,
    threads: u32,
    slot: usize,
) -> Result<Partial, Fault> {
    let mut partial = combine_lanes(&mut engine.k, combine, partial, WARP)?;
    if threads <= WARP {
        return Ok(partial);
    }
    let n_warps = threads / WARP;
    let k = &mut engine.k;
    let thread = k.tid_x();
    let lane = k.and_b32(thread, WARP - 1);
    let warp = k.shr_u32(thread, 5);
    let is_first = k.setp_eq_u32(lane, 0);
    // Every lane takes part in an exchange among as many lanes as there are warps, so that all lanes get the result.
    let width = n_warps.next_power_of_two();
    let source = k.and_b32(lane, width - 1);
    let has_warp = k.setp_lt_u32(source, n_warps);
    let (types, identity) = (combine.types()?, combine.identity()?);
    let mut places = Vec::new();
    for (part, (&ty, &value)) in types.iter().zip(&partial).enumerate() {
        let array = k.shared_array(&format!("exchange{slot}_{part}"), n_warps * ty.bytes(), 8);
        let base = k.address_of_shared(&array);
        let mine = k.mad_lo_u32(warp, ty.bytes(), base);
        let theirs = k.mad_lo_u32(source, ty.bytes(), base);
        k.when(is_first, |k| k.store(Access::new(Space::Shared, ty, 1), mine, &[value]))?;
        places.push((ty, theirs));
    }
    // Orders the stores of all warps before the loads below.
    k.bar_sync(0);
    partial.clear();
    for ((ty, place), nothing) in places.into_iter().zip(identity) {
        let register = k.copy(ty, nothing)?;
        let row = gable_ptx::meaning::Meaning::Load(Access::new(Space::Shared, memory_type(ty), 1));
        let row = gable_ptx::Opcode::of(row).ok_or(gable_ptx::EmitError::NoRow { meaning: row })?;
        let address = gable_ptx::Operand::Address(place.into());
        k.when(has_warp, |k| k.emit_into(row, vec![register], vec![address]))?;
        partial.push(register.into());
    }
    combine_lanes(k, combine, partial, width)
}

/// The type under which a partial result's register lies in memory.
pub(crate) fn memory_type(ty: ScalarType) -> ScalarType {
    match ty {
        ScalarType::S32 | ScalarType::U32 => ScalarType::B32,
        ScalarType::S64 | ScalarType::U64 => ScalarType::B64,
        other => other,
    }
}
