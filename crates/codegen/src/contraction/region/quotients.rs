//! Quotients by a block's scale that are rounded to narrow floats next: one reciprocal for each block, three instructions for each
//! element, and the bits of a division.
//!
//! With `r` the reciprocal of `s` rounded to nearest, `q = x r` is less than two units in the last place from `x / s`, `q s - x` is exact, and
//! `q - (q s - x) r` rounds to the quotient (P. Markstein, Computation of elementary functions on the IBM RISC System/6000
//! processor, 1990), as long as nothing overflows and no bit is lost below the smallest numbers. What is lost there is lost of
//! quotients that a narrow float rounds to zero, whose sign stays. Overflow is ruled out for a whole block: its largest size is at hand, since the
//! block was folded for it. Threads with a block for which this does not hold (a scale of zero, or none at all) divide.
//!
//! In: a region whose blocks are folded. Out: words, in registers that both ways write.

use super::super::fold::blocks::Place;
use super::super::normal::Plan;
use super::{blocks, element};
use crate::engine::Engine;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ir::attr::ReduceKind;
use gable_ir::{Group, Op};
use gable_ptx::{B32, F32, Pred, R, ScalarType, Value};
use gable_tensor::DType;
use std::collections::BTreeMap;

/// Scales between 2^-60 and 2^60, by the bits of f32: theirs and their reciprocals' products with quotients up to 2^60 stay far
/// from both ends of the range.
const SCALES: (u32, u32) = ((127 - 60) << 23, (127 + 60) << 23);

/// The largest quotient: beyond what any narrow float holds.
const LARGEST: f32 = (1u64 << 60) as f32;

/// A value of narrow floats that is a quotient by a scale, rounded.
struct Quotient {
    /// The dividend.
    x: (ValueId, Vec<IndexId>),
    /// The scale, before it was repeated.
    scale: (ValueId, Vec<IndexId>),
    /// The fold of the dividend's sizes.
    largest: ValueId,
}

/// A block's scale and its reciprocal, negated.
#[derive(Clone, Copy)]
struct Scale {
    scale: R<F32>,
    negated_reciprocal: R<F32>,
}

/// The elements of one output at one place, and by which scale they are divided.
type Divided = (Quotient, Scale);

/// Whether the value's type is one that quotients are rounded to here.
fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::E4M3 | DType::E5M2 | DType::E2M1)
}

/// Where a value comes from by moves alone; whether one of them repeats it.
fn before_moves(
    engine: &mut Engine<'_>,
    mut value: ValueId,
    coordinates: &[IndexId],
) -> Option<(ValueId, Vec<IndexId>, bool)> {
    let (mut place, mut is_repeated) = (coordinates.to_vec(), false);
    loop {
        let node = &engine.program.values[value];
        if !node.op.is(Group::Movement) {
            return Some((value, place, is_repeated));
        }
        is_repeated |= matches!(node.op, Op::Broadcast(_));
        place = engine.moved(node, &place)?;
        value = node.operands[0];
    }
}

impl Quotient {
    /// The quotient that a value is, if its dividend's sizes are folded and its divisor is one for several elements.
    fn of(engine: &mut Engine<'_>, plan: &Plan, value: ValueId, coordinates: &[IndexId]) -> Option<Quotient> {
        let program = engine.program;
        let (rounded, place, _) = before_moves(engine, value, coordinates)?;
        let Op::Cast(op) = &program.values[rounded].op else { return None };
        let (divided, place, _) = before_moves(engine, program.values[rounded].operands[0], &place)?;
        let node = &program.values[divided];
        let (Op::Div(_), DType::F32, &[x, by]) = (&node.op, node.ty.dtype, node.operands.as_slice()) else {
            return None;
        };
        let (scale, at, is_repeated) = before_moves(engine, by, &place)?;
        // Powers of two have exact reciprocals, which the engine multiplies by.
        let is_power = matches!(program.values[scale].op, Op::Cast(_))
            && program.ty(program.values[scale].operands[0]).dtype == DType::UE8M0;
        if !is_narrow(op.to) || !is_repeated || is_power {
            return None;
        }
        let folds_sizes = |value: ValueId| {
            let is_largest = matches!(&program.values[value].op, Op::Reduce(op) if op.kind == ReduceKind::Max);
            let of = &program.values[program.values[value].operands[0]];
            is_largest && matches!(of.op, Op::Abs(_)) && of.operands == [x]
        };
        let largest = plan.blocks.iter().map(|fold| fold.value).find(|&value| folds_sizes(value))?;
        Some(Quotient { x: (x, place), scale: (scale, at), largest })
    }

    /// The quotients, as near as rounding to a narrow float can tell.
    fn elements(&self, engine: &mut Engine<'_>, by: Scale, lanes: u32) -> Result<Vec<R<F32>>, Fault> {
        let dividends = engine.emit(self.x.0, &self.x.1)?;
        let mut found = Vec::with_capacity(lanes as usize);
        for lane in 0..lanes {
            let x = element::f32_register(&mut engine.k, dividends.at(lane))?;
            let k = &mut engine.k;
            let near = k.mul_f32(x, by.negated_reciprocal);
            let near = k.neg_f32(near);
            let negated = k.neg_f32(x);
            let rest = k.fma_f32(near, by.scale, negated);
            found.push(k.fma_f32(rest, by.negated_reciprocal, near));
        }
        Ok(found)
    }
}

/// The words of the outputs at `results` at every place, by quotients of this kind where they are; `None` where none is.
pub(super) fn words(
    engine: &mut Engine<'_>,
    plan: &Plan,
    places: &[Place],
    lanes: u32,
) -> Result<Option<Vec<Vec<Vec<Value>>>>, Fault> {
    let mut scales: BTreeMap<(ValueId, Vec<IndexId>), Scale> = BTreeMap::new();
    let mut divides: Option<R<Pred>> = None;
    let mut of_results: Vec<Option<Vec<Divided>>> = Vec::with_capacity(plan.results.len());
    for &position in &plan.results {
        let (value, _) = engine.program.outputs[position];
        let mut quotients = Vec::with_capacity(places.len());
        for place in places {
            quotients.extend(Quotient::of(engine, plan, value, place.of(value)?));
        }
        if quotients.len() < places.len() {
            of_results.push(None);
            continue;
        }
        let mut divided = Vec::with_capacity(places.len());
        for (quotient, place) in quotients.into_iter().zip(places) {
            let scale = match scales.get(&quotient.scale) {
                Some(&known) => known,
                None => {
                    let (scale, apart) = prepare(engine, &quotient, place)?;
                    divides = Some(match divides {
                        None => apart,
                        Some(divides) => engine.k.or_pred(divides, apart),
                    });
                    scales.insert(quotient.scale.clone(), scale);
                    scale
                }
            };
            divided.push((quotient, scale));
        }
        of_results.push(Some(divided));
    }
    let Some(divides) = divides else { return Ok(None) };
    let mut words = vec![Vec::with_capacity(places.len()); plan.results.len()];
    // What is no such quotient is computed once.
    for ((words, divided), &position) in words.iter_mut().zip(&of_results).zip(&plan.results) {
        if divided.is_none() {
            let (value, _) = engine.program.outputs[position];
            for place in places {
                words.push(blocks::packed(engine, (value, position), place.of(value)?, lanes)?);
            }
        }
    }
    let (apart, end) = (engine.k.label("divide"), engine.k.label("divided"));
    engine.k.bra_if(divides, &apart);
    engine.scope(|engine| -> Result<(), Fault> {
        for ((words, divided), &position) in words.iter_mut().zip(&of_results).zip(&plan.results) {
            for (quotient, scale) in divided.iter().flatten() {
                let elements = quotient.elements(engine, *scale, lanes)?;
                let packed = packed(engine, position, elements)?;
                let registers = packed.into_iter().map(|word| engine.copy(ScalarType::B32, word).map(Value::from));
                words.push(registers.collect::<Result<_, _>>()?);
            }
        }
        Ok(())
    })?;
    engine.k.bra(end.clone());
    engine.k.place(&apart);
    engine.scope(|engine| -> Result<(), Fault> {
        for ((words, divided), &position) in words.iter().zip(&of_results).zip(&plan.results) {
            if divided.is_none() {
                continue;
            }
            let (value, _) = engine.program.outputs[position];
            for (words, place) in words.iter().zip(places) {
                let exact = blocks::packed(engine, (value, position), place.of(value)?, lanes)?;
                for (word, exact) in words.iter().zip(exact) {
                    let Value::Reg(word) = *word else { return Err(Fault::contract("words are in registers")) };
                    engine.assign(word, exact)?;
                }
            }
        }
        Ok(())
    })?;
    engine.k.place(&end);
    Ok(Some(words))
}

/// The scale of a quotient's block, and whether its elements are divided.
fn prepare(engine: &mut Engine<'_>, quotient: &Quotient, place: &Place) -> Result<(Scale, R<Pred>), Fault> {
    let (scale, at) = &quotient.scale;
    let scale = engine.emit(*scale, at)?;
    let largest = engine.emit(quotient.largest, place.of(quotient.largest)?)?;
    let k = &mut engine.k;
    let scale = element::f32_register(k, scale.at(0))?;
    let largest = element::f32_register(k, largest.at(0))?;
    let reciprocal = k.rcp_f32(scale);
    let bits: R<B32> = k.b32_of_f32(scale);
    // Zeros, negative and other numbers lie outside too.
    let above = k.sub_u32(bits, SCALES.0);
    let is_scale = k.setp_le_u32(above, SCALES.1 - SCALES.0);
    let most = k.mul_f32(largest, reciprocal);
    let is_small = k.setp_le_f32(most, LARGEST);
    let both = k.and_pred(is_scale, is_small);
    let apart = k.not_pred(both);
    let negated_reciprocal = k.neg_f32(reciprocal);
    Ok((Scale { scale, negated_reciprocal }, apart))
}

/// Quotients as the words of an output.
fn packed(engine: &mut Engine<'_>, position: usize, elements: Vec<R<F32>>) -> Result<Vec<Value>, Fault> {
    let (value, _) = engine.program.outputs[position];
    let dtype = engine.program.ty(value).dtype;
    let mut rounded = Vec::with_capacity(elements.len());
    for element in elements {
        rounded.push(match blocks::packing_rounds(engine, dtype) {
            true => element.into(),
            false => element::round_f32(&mut engine.k, dtype, element.into())?,
        });
    }
    if engine.program.packed.contains(&position) { engine.pack_pairs(&rounded) } else { engine.pack(dtype, &rounded) }
}
