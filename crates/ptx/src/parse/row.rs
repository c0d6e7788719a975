//! Operands as they were written, and whether they are those of a row of the table.

use crate::dynamic::misfit;
use crate::form::{DstSlot, Form, Opcode, Slot};
use crate::inst::{Guard, Inst};
use crate::operand::{Label, Operand, Value};
use crate::register::Reg;

/// An operand whose meaning depends on the row.
pub(super) enum Raw<'t> {
    Operand(Operand),
    /// `%tid.x`
    Special(&'t str),
    /// `d|p`
    Pair(Reg, Reg),
    /// `_`
    Discarded,
}

/// The operands as those of `row`, if they are of its kinds; classes may be wrong.
pub(super) fn read(row: Opcode, operands: &[Raw<'_>], guard: Option<Guard>) -> Option<Inst> {
    let form = row.form();
    let mut operands = operands;
    if let Some(fixed) = form.fixed {
        let (last, others) = operands.split_last()?;
        if !matches!(last, Raw::Special(name) if *name == fixed) {
            return None;
        }
        operands = others;
    }
    let mut dst = Vec::new();
    if let Some(slot) = form.dst {
        let (first, others) = operands.split_first()?;
        operands = others;
        match (slot, first) {
            (DstSlot::Reg(_), Raw::Operand(Operand::Value(Value::Reg(reg)))) => dst.push(*reg),
            (DstSlot::WithPred(_), Raw::Pair(value, pred)) => dst.extend([*value, *pred]),
            (DstSlot::Discarded, Raw::Discarded) => {}
            (DstSlot::Vector(..) | DstSlot::Accumulators(..), Raw::Operand(Operand::Vector(values))) => {
                dst = values.iter().map(|value| value.as_reg()).collect::<Option<_>>()?;
            }
            _ => return None,
        }
    }
    if operands.len() != form.src.len() {
        return None;
    }
    let src = form.src.iter().zip(operands).map(|(slot, operand)| {
        let Raw::Operand(operand) = operand else { return None };
        match (slot, operand) {
            (Slot::Label, Operand::Symbol(name)) => Some(Operand::Label(Label(name.0.clone()))),
            (Slot::Symbol(_), Operand::Symbol(_))
            | (Slot::Address(_) | Slot::Param(_), Operand::Address(_))
            | (Slot::Tensor(_), Operand::Tensor(_))
            | (Slot::Vector(..) | Slot::RegVector(..) | Slot::Selector(..), Operand::Vector(_))
            | (
                Slot::Value(_) | Slot::Bounded(..) | Slot::Reg(_) | Slot::Constant(..) | Slot::OneOf(_),
                Operand::Value(_),
            ) => Some(operand.clone()),
            _ => None,
        }
    });
    let src = src.collect::<Option<Vec<Operand>>>()?;
    Some(Inst { guard, op: row, dst, src })
}

/// Whether classes and constants are those of the row.
pub(super) fn fits(inst: &Inst) -> bool {
    let form = inst.op.form();
    let classes = form.dst.map_or(Vec::new(), |dst| dst.classes());
    inst.dst.iter().map(|reg| reg.class).eq(classes)
        && form.src.iter().zip(&inst.src).all(|(slot, operand)| misfit(*slot, operand).is_none())
}

/// What a row takes, in words.
pub(super) fn signature(form: &Form) -> String {
    let dst = form.dst.map(|dst| match dst {
        DstSlot::Reg(class) => format!("{class} register"),
        DstSlot::Vector(class, count) => format!("{count} {class} registers in braces"),
        DstSlot::Accumulators(class, count) => format!("{count} {class} registers in braces"),
        DstSlot::WithPred(class) => format!("{class} and predicate register joined by `|`"),
        DstSlot::Discarded => "`_`".to_owned(),
    });
    let parts: Vec<String> = dst
        .into_iter()
        .chain(form.src.iter().map(Slot::to_string))
        .chain(form.fixed.map(|fixed| format!("`{fixed}`")))
        .collect();
    if parts.is_empty() { "no operands".to_owned() } else { parts.join(", ") }
}
