//! The builder for code that learns types when it runs: the row is found by what it computes.
//!
//! Operands are `Reg`, `R<C>` or constants; each method checks their classes against the row and writes nothing where
//! they do not fit. Where a row only cares for bits (`and`, `selp`, `mov`, loads), the type's width decides:
//! `k.select(ScalarType::U32, ..)` finds `selp.b32`.

use crate::builder::KernelBuilder;
use crate::form::{Form, Opcode, Slot};
use crate::meaning::{Access, Binary, Cache, Clamp, Comparison, Convert, Meaning, Rounding, Ternary, Unary};
use crate::operand::{Operand, Place, TensorPlace, Value};
use crate::register::{Class, Pred, R, Reg};
use crate::scalar::{ScalarType, Space};

/// An instruction that the table does not have, or operands that it does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// No row computes this.
    #[error("no instruction of the table computes {meaning:?}")]
    NoRow {
        /// What was asked for.
        meaning: Meaning,
    },
    /// A wrong number of operands or results.
    #[error("`{form}` takes {expected} {what}, found {found}")]
    Count {
        /// The row.
        form: &'static str,
        /// Sources or results.
        what: &'static str,
        /// How many the row has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// An operand of the wrong kind or class.
    #[error("`{form}`: operand {index} is `{found}`, expected {expected}")]
    Operand {
        /// The row.
        form: &'static str,
        /// Which source, from 0; results are counted apart.
        index: usize,
        /// The operand as text.
        found: String,
        /// What the row takes there.
        expected: String,
    },
    /// An operand of a matrix multiply that is to be read transposed, and is not of 16-bit floats in shared memory.
    #[error("`{form}` transposes no operand other than 16-bit floats in shared memory")]
    Transposed {
        /// The row.
        form: &'static str,
    },
}

/// Why `operand` cannot stand in `slot`: what is expected there.
pub(crate) fn misfit(slot: Slot, operand: &Operand) -> Option<String> {
    let fits = match (slot, operand) {
        (Slot::Value(class), Operand::Value(value)) => value.fits(class),
        (Slot::Bounded(class, low, high), Operand::Value(value)) => match value {
            Value::Int(value) => (low..=high).contains(value),
            value => value.fits(class),
        },
        (Slot::Reg(class), Operand::Value(Value::Reg(reg))) => reg.class == class,
        (Slot::Vector(class, count), Operand::Vector(values)) => {
            values.len() == usize::from(count) && values.iter().all(|value| value.fits(class))
        }
        (Slot::RegVector(class, count), Operand::Vector(values)) => {
            values.len() == usize::from(count)
                && values.iter().all(|value| value.as_reg().is_some_and(|reg| reg.class == class))
        }
        (Slot::Selector(bytes, threads), Operand::Vector(values)) => match values.as_slice() {
            [Value::Int(byte), Value::Int(thread)] => bytes.contains(byte) && threads.contains(thread),
            _ => false,
        },
        (Slot::Constant(low, high), Operand::Value(Value::Int(value))) => (low..=high).contains(value),
        (Slot::OneOf(allowed), Operand::Value(Value::Int(value))) => allowed.contains(value),
        (Slot::Address(space), Operand::Address(place)) => place.fits(space),
        (Slot::Tensor(rank), Operand::Tensor(TensorPlace { map, coordinates })) => {
            map.class == Class::B64
                && coordinates.len() == usize::from(rank)
                && coordinates.iter().all(|coordinate| coordinate.fits(Class::B32))
        }
        (Slot::Param(_), Operand::Address(place)) => place.fits(Space::Param),
        (Slot::Symbol(_), Operand::Symbol(_)) | (Slot::Label, Operand::Label(_)) => true,
        _ => false,
    };
    (!fits).then(|| slot.to_string())
}

impl ScalarType {
    /// The type of the same width without a meaning: how rows that only care for bits are spelled.
    fn bits_type(self) -> ScalarType {
        self.class().scalar_type()
    }
}

/// The row for `ty`, or else the one for its bits.
fn row_of(meaning: impl Fn(ScalarType) -> Meaning, ty: ScalarType) -> Result<Opcode, EmitError> {
    Opcode::of(meaning(ty))
        .or_else(|| Opcode::of(meaning(ty.bits_type())))
        .ok_or_else(|| EmitError::NoRow { meaning: meaning(ty) })
}

impl KernelBuilder {
    /// Writes any row: results into fresh registers, which come back in order.
    pub fn emit(&mut self, op: Opcode, src: Vec<Operand>) -> Result<Vec<Reg>, EmitError> {
        check_sources(op.form(), &src)?;
        let classes = op.form().dst.map_or(Vec::new(), |dst| dst.classes());
        let dst: Vec<Reg> = classes.into_iter().map(|class| self.fresh_reg(class)).collect();
        self.push(op, dst.clone(), src);
        Ok(dst)
    }

    /// Writes any row: results into `dst`.
    pub fn emit_into(&mut self, op: Opcode, dst: Vec<Reg>, src: Vec<Operand>) -> Result<(), EmitError> {
        let form = op.form();
        check_sources(form, &src)?;
        let classes = form.dst.map_or(Vec::new(), |dst| dst.classes());
        if classes.len() != dst.len() {
            return Err(EmitError::Count {
                form: form.name,
                what: "results",
                expected: classes.len(),
                found: dst.len(),
            });
        }
        for (index, (class, reg)) in classes.into_iter().zip(&dst).enumerate() {
            if reg.class != class {
                let (found, expected) = (reg.to_string(), format!("{class} register"));
                return Err(EmitError::Operand { form: form.name, index, found, expected });
            }
        }
        self.push(op, dst, src);
        Ok(())
    }

    fn emit_one(&mut self, op: Opcode, src: Vec<Operand>) -> Result<Reg, EmitError> {
        let form = op.form();
        match self.emit(op, src)?.as_slice() {
            [reg] => Ok(*reg),
            regs => Err(EmitError::Count { form: form.name, what: "results", expected: regs.len(), found: 1 }),
        }
    }

    /// A copy of `a`, which may be a constant.
    pub fn copy(&mut self, ty: ScalarType, a: impl Into<Value>) -> Result<Reg, EmitError> {
        self.emit_one(row_of(Meaning::Move, ty)?, vec![Operand::Value(a.into())])
    }

    /// Copies `a` into `dst`, whose class decides the row.
    pub fn copy_into(&mut self, dst: Reg, a: impl Into<Value>) -> Result<(), EmitError> {
        self.emit_into(row_of(Meaning::Move, dst.class.scalar_type())?, vec![dst], vec![Operand::Value(a.into())])
    }

    /// `op a` on type `ty`.
    pub fn unary(&mut self, op: Unary, ty: ScalarType, a: impl Into<Value>) -> Result<Reg, EmitError> {
        let row = row_of(|ty| Meaning::Unary(op, ty), ty)?;
        self.emit_one(row, vec![Operand::Value(a.into())])
    }

    /// `a op b` on type `ty`.
    pub fn binary(
        &mut self,
        op: Binary,
        ty: ScalarType,
        a: impl Into<Value>,
        b: impl Into<Value>,
    ) -> Result<Reg, EmitError> {
        let row = row_of(|ty| Meaning::Binary(op, ty), ty)?;
        self.emit_one(row, vec![Operand::Value(a.into()), Operand::Value(b.into())])
    }

    /// `op(a, b, c)` on type `ty`.
    pub fn ternary(
        &mut self,
        op: Ternary,
        ty: ScalarType,
        a: impl Into<Value>,
        b: impl Into<Value>,
        c: impl Into<Value>,
    ) -> Result<Reg, EmitError> {
        let row = row_of(|ty| Meaning::Ternary(op, ty), ty)?;
        let src = [a.into(), b.into(), c.into()].map(Operand::Value);
        self.emit_one(row, src.into())
    }

    /// A predicate from two values of type `ty`.
    pub fn compare(
        &mut self,
        op: Comparison,
        ty: ScalarType,
        a: impl Into<Value>,
        b: impl Into<Value>,
    ) -> Result<R<Pred>, EmitError> {
        let row = row_of(|ty| Meaning::Compare(op, ty), ty)?;
        let pred = self.emit_one(row, vec![Operand::Value(a.into()), Operand::Value(b.into())])?;
        Ok(pred.typed().expect("a comparison's row writes a predicate"))
    }

    /// `a` where `pred` holds, else `b`.
    pub fn select(
        &mut self,
        ty: ScalarType,
        a: impl Into<Value>,
        b: impl Into<Value>,
        pred: R<Pred>,
    ) -> Result<Reg, EmitError> {
        let src = [a.into(), b.into(), pred.into()].map(Operand::Value);
        self.emit_one(row_of(Meaning::Select, ty)?, src.into())
    }

    /// `a` of type `from` as type `to`. Float to integer goes toward zero, other roundings to nearest even.
    ///
    /// Types of the same class and meaning come back as they are.
    pub fn convert(&mut self, to: ScalarType, from: ScalarType, a: Reg) -> Result<Reg, EmitError> {
        if to == from {
            return Ok(a);
        }
        let plain = |rounding| Meaning::Convert(Convert { to, from, rounding, clamp: Clamp::Off });
        // At most one of these is a row for a pair of types: float to integer has `Nearest` too, but `Zero` comes first.
        let row = [Rounding::Exact, Rounding::Zero, Rounding::Nearest]
            .into_iter()
            .filter(|rounding| !(*rounding == Rounding::Zero && to.is_float()))
            .find_map(|rounding| Opcode::of(plain(rounding)))
            .ok_or_else(|| EmitError::NoRow { meaning: plain(Rounding::Nearest) })?;
        self.emit_one(row, vec![Operand::from(a)])
    }

    /// Any conversion, by its rounding and clamping; a packed result takes its upper half first.
    pub fn convert_with(&mut self, convert: Convert, src: &[Reg]) -> Result<Reg, EmitError> {
        let meaning = Meaning::Convert(convert);
        let row = Opcode::of(meaning).ok_or(EmitError::NoRow { meaning })?;
        self.emit_one(row, src.iter().copied().map(Operand::from).collect())
    }

    /// Loads `access.count` consecutive elements. Narrow integers come extended, in 32-bit registers.
    pub fn load(&mut self, access: Access, address: impl Into<Place>) -> Result<Vec<Reg>, EmitError> {
        let row = row_of(|ty| Meaning::Load(Access { ty, ..access }), access.ty)?;
        self.emit(row, vec![Operand::Address(address.into())])
    }

    /// Loads into given registers, which keep their values where a guard does not hold.
    pub fn load_into(&mut self, access: Access, dst: &[Reg], address: impl Into<Place>) -> Result<(), EmitError> {
        let row = row_of(|ty| Meaning::Load(Access { ty, ..access }), access.ty)?;
        self.emit_into(row, dst.to_vec(), vec![Operand::Address(address.into())])
    }

    /// Stores `access.count` consecutive elements, as many as there are `values`.
    pub fn store(&mut self, access: Access, address: impl Into<Place>, values: &[Value]) -> Result<(), EmitError> {
        let row = row_of(|ty| Meaning::Store(Access { ty, ..access }), access.ty)?;
        let value = match values {
            [value] => Operand::Value(*value),
            values => Operand::Vector(values.to_vec()),
        };
        self.emit(row, vec![Operand::Address(address.into()), value])?;
        Ok(())
    }
}

impl Access {
    /// `count` elements of `ty` in `space`, through the default caches.
    pub fn new(space: Space, ty: ScalarType, count: u8) -> Self {
        Access { space, ty, count, cache: Cache::Default }
    }
}

fn check_sources(form: &'static Form, src: &[Operand]) -> Result<(), EmitError> {
    if form.src.len() != src.len() {
        return Err(EmitError::Count { form: form.name, what: "operands", expected: form.src.len(), found: src.len() });
    }
    for (index, (slot, operand)) in form.src.iter().zip(src).enumerate() {
        if let Some(expected) = misfit(*slot, operand) {
            return Err(EmitError::Operand { form: form.name, index, found: operand.to_string(), expected });
        }
    }
    Ok(())
}
