//! Elements in registers on their way between memory, shared tiles and fragments: packing, conversion, zeros.

use super::problem::ContractionError;
use crate::element;
use gable_ptx::meaning::{Access, Meaning};
use gable_ptx::{B16, B32, Class, F32, KernelBuilder, Opcode, Operand, Place, Pred, R, Reg, ScalarType, Value};
use gable_tensor::DType;

/// Neighbouring elements: one per register, or pairs of 16-bit elements where `ty` is `B32`.
pub(super) struct Chunk {
    /// What a register holds.
    pub ty: ScalarType,
    /// The elements in order.
    pub registers: Vec<Reg>,
}

/// The type under which elements are loaded and stored.
pub(super) fn scalar_type(dtype: DType) -> Result<ScalarType, ContractionError> {
    Ok(match dtype {
        DType::F64 => ScalarType::F64,
        DType::F32 => ScalarType::F32,
        DType::Tf32 => ScalarType::Tf32,
        DType::F16 => ScalarType::F16,
        DType::BF16 => ScalarType::Bf16,
        DType::I64 => ScalarType::S64,
        DType::U64 => ScalarType::U64,
        DType::I32 => ScalarType::S32,
        DType::U32 => ScalarType::U32,
        DType::I16 => ScalarType::S16,
        DType::U16 => ScalarType::U16,
        DType::I8 => ScalarType::S8,
        DType::U8 => ScalarType::U8,
        other => return Err(ContractionError::Type(other)),
    })
}

/// The class of the registers that elements are loaded into: narrow integers come extended to 32 bits.
pub(super) fn loaded_class(ty: ScalarType) -> Class {
    match ty {
        ScalarType::S16 | ScalarType::U16 => Class::B32,
        _ => ty.class(),
    }
}

/// The type in which the region computes with elements: narrow floats in f32, narrow integers in 32 bits.
pub(super) fn computed_type(ty: ScalarType) -> ScalarType {
    match ty {
        ScalarType::F16 | ScalarType::Bf16 | ScalarType::Tf32 => ScalarType::F32,
        ScalarType::S8 | ScalarType::S16 => ScalarType::S32,
        ScalarType::U8 | ScalarType::U16 => ScalarType::U32,
        _ => ty,
    }
}

/// Sets a register to zero.
pub(super) fn clear(k: &mut KernelBuilder, register: Reg) -> Result<(), ContractionError> {
    Ok(k.copy_into(register, zero(register.class))?)
}

fn zero(class: Class) -> Value {
    match class {
        Class::F32 => Value::from(0f32),
        Class::F64 => Value::from(0f64),
        _ => Value::from(0i32),
    }
}

/// The register where `pred` holds, else zero.
pub(super) fn or_zero(k: &mut KernelBuilder, register: Reg, pred: R<Pred>) -> Result<Reg, ContractionError> {
    Ok(k.select(register.class.scalar_type(), register, zero(register.class), pred)?)
}

/// Loads into given registers.
pub(super) fn load_into(
    k: &mut KernelBuilder,
    access: Access,
    address: Place,
    registers: &[Reg],
) -> Result<(), ContractionError> {
    // Rows that only care for bits are named by them; narrow integers have rows of their own, which extend.
    let bits = match access.ty {
        ScalarType::F16 | ScalarType::Bf16 => ScalarType::B16,
        ScalarType::S32 | ScalarType::U32 | ScalarType::Tf32 => ScalarType::B32,
        ScalarType::S64 | ScalarType::U64 => ScalarType::B64,
        other => other,
    };
    let row = [access.ty, bits]
        .into_iter()
        .find_map(|ty| Opcode::of(Meaning::Load(Access { ty, ..access })))
        .ok_or(gable_ptx::EmitError::NoRow { meaning: Meaning::Load(access) })?;
    Ok(k.emit_into(row, registers.to_vec(), vec![Operand::Address(address)])?)
}

/// Typed again, after a detour over registers of any class.
pub(super) fn typed<C: gable_ptx::RegisterClass>(register: Reg) -> R<C> {
    register.typed().expect("the element type decides the register's class")
}

impl Chunk {
    /// The elements as 32-bit words of packed `element`s (16 or 32 bits wide).
    pub fn words(&self, k: &mut KernelBuilder, element: ScalarType) -> Result<Vec<R<B32>>, ContractionError> {
        if self.ty == ScalarType::B32 || self.ty == element && element.bytes() == 4 {
            return Ok(self.registers.iter().map(|&r| typed(r)).collect());
        }
        if element.bytes() == 4 {
            let convert = |k: &mut KernelBuilder, r: Reg| -> Result<R<B32>, ContractionError> {
                // Rounded to nearest even as a cast is.
                Ok(if self.ty == ScalarType::F32 {
                    k.cvt_rn_tf32_f32(typed::<F32>(r))
                } else {
                    typed(k.convert(element, self.ty, r)?)
                })
            };
            return self.registers.iter().map(|&r| convert(k, r)).collect();
        }
        let mut words = Vec::with_capacity(self.registers.len() / 2);
        for pair in self.registers.chunks(2) {
            words.push(match (self.ty, element) {
                (ScalarType::F32, ScalarType::Bf16) => k.cvt_bf16x2_f32(typed::<F32>(pair[1]), typed::<F32>(pair[0])),
                (ScalarType::F32, ScalarType::F16) => k.cvt_f16x2_f32(typed::<F32>(pair[1]), typed::<F32>(pair[0])),
                _ => {
                    let low: R<B16> = typed(k.convert(element, self.ty, pair[0])?);
                    let high: R<B16> = typed(k.convert(element, self.ty, pair[1])?);
                    k.pack_b32([low, high])
                }
            });
        }
        Ok(words)
    }

    /// The elements one per register, in type `sum`.
    pub fn each(
        &self,
        k: &mut KernelBuilder,
        element: ScalarType,
        sum: ScalarType,
    ) -> Result<Vec<Reg>, ContractionError> {
        let mut single = Vec::new();
        let ty = if self.ty == ScalarType::B32 && element.bytes() == 2 {
            if element == ScalarType::Bf16 && sum == ScalarType::F32 {
                // A bf16 is the upper half of an f32: one instruction for each element of a pair.
                for &pair in &self.registers {
                    let low = k.shl_b32(typed::<B32>(pair), 16);
                    let high = k.and_b32(typed::<B32>(pair), 0xffff_0000u32);
                    single.extend([k.f32_of_b32(low).reg(), k.f32_of_b32(high).reg()]);
                }
                return Ok(single);
            }
            for &pair in &self.registers {
                let [low, high] = k.unpack_b32(typed::<B32>(pair));
                single.extend([low.reg(), high.reg()]);
            }
            element
        } else {
            single.clone_from(&self.registers);
            self.ty
        };
        single.into_iter().map(|r| widen(k, ty, sum, r)).collect()
    }
}

/// An element in the type that products are summed in.
fn widen(k: &mut KernelBuilder, from: ScalarType, sum: ScalarType, register: Reg) -> Result<Reg, ContractionError> {
    use ScalarType::{F32, S8, S16, S32, S64, Tf32, U8, U16, U32, U64};
    Ok(match (from, sum) {
        // Narrow integers are extended already, and sums wrap alike whether signed or not.
        (S8 | U8 | S32 | U32 | S16 | U16, S32) | (S64 | U64, S64) => register,
        (Tf32, F32) => k.f32_of_b32(typed::<B32>(register)).reg(),
        _ => k.convert(sum, from, register)?,
    })
}

/// A loaded scale of a type, the rest of its register zero, as f32, exactly.
pub(super) fn scale_value(k: &mut KernelBuilder, stored: DType, bits: R<B32>) -> Result<R<F32>, ContractionError> {
    Ok(match stored {
        DType::F32 => k.f32_of_b32(bits),
        DType::BF16 => {
            let bits = k.shl_b32(bits, 16);
            k.f32_of_b32(bits)
        }
        DType::F16 => {
            let [half, _] = k.unpack_b32(bits);
            k.cvt_f32_f16(half)
        }
        DType::E4M3 => {
            let [pair, _] = k.unpack_b32(bits);
            let pair = k.cvt_f16x2_e4m3x2(pair);
            let [half, _] = k.unpack_b32(pair);
            k.cvt_f32_f16(half)
        }
        DType::UE8M0 => {
            let broken = |fault: crate::error::Fault| ContractionError::Surround(fault.to_string());
            element::from_small_float(k, stored, bits).map_err(broken)?
        }
        other => return Err(ContractionError::Type(other)),
    })
}
