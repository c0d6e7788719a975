//! A right factor that memory holds in a narrow type: recognises, in the region, elements that are converted and scaled
//! and nothing else.
//!
//! ```text
//!   stored: e4m3[n, k]      scales: ue8m0[n, k / 32]
//!        cast to bf16            cast to bf16, repeated 32 times along k
//!              \________  mul  ________/
//!                          |
//!                     the factor, bf16
//! ```
//! Moves may stand anywhere on the way. Elements of four bits are written as a table of sixteen values that is looked up by
//! `and 15` and `shr 4` of bytes, joined in turn along the last axis; those of e2m1 also as a `bitcast` of bytes. What is recognised is exact to the bit: a stored element of at most eight bits is
//! exact in f16 and bf16, so the only rounding is that of the product.

use super::axes::Axes;
use super::normal::Plan;
use super::problem::{Codes, Entries, Memory, Operand, Part, Quantised, Side};
use super::radix::{Axis, digits_of, joined};
use crate::engine::{Engine, View};
use crate::index::IndexId;
use crate::program::{Program, ValueId};
use gable_ir::{Group, Op};
use gable_tensor::DType;

/// Where a quantised element comes from.
struct Source {
    /// The stored element, counted in elements, and what it means.
    stored: (View, Codes),
    /// The scale, and its type in memory.
    scale: Option<(View, DType)>,
}

/// Types that are stored narrow, and exact in f16 and bf16.
fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::E4M3 | DType::E5M2 | DType::I8)
}

/// The values of e2m1 in the order of their bits.
const E2M1: [f64; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Types that a scale may have in memory.
pub(super) fn is_scale(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::E4M3 | DType::UE8M0)
}

impl Plan {
    /// A right factor as memory holds it, where it is an expression of the kind in the module's text.
    pub(super) fn quantised(&self, engine: &mut Engine<'_>, side: Side) -> Option<Quantised> {
        let halves = matches!(self.problem.element, DType::F16 | DType::BF16);
        if !halves || !matches!(self.problem.operand(side), Operand::Expression { .. }) || self.is_convolution() {
            return None;
        }
        let axes = self.reasoning_axes(engine);
        let indices = axes.map(|axis| axis.index);
        let source = self.source(engine, side, &indices)?;
        let memory = |engine: &Engine<'_>, view: &View, stored: DType, bits: u32| {
            memory_of(engine, Side::B, &axes, view, (stored, bits))
        };
        let (view, codes) = &source.stored;
        let stored = match codes {
            Codes::Bytes(dtype) => *dtype,
            Codes::E2m1Pairs | Codes::Int4Pairs => DType::U8,
        };
        let stored = memory(engine, view, stored, codes.bits())?;
        let scales = match &source.scale {
            Some((view, dtype)) => Some(memory(engine, view, *dtype, dtype.bits())?),
            None => None,
        };
        Some(Quantised { stored, codes: *codes, scales })
    }

    /// The element that a part starts at in the batch entry of these coordinates, and the bits of one.
    pub(super) fn quantised_entry(
        &self,
        engine: &mut Engine<'_>,
        side: Side,
        part: Part,
        batch: &[IndexId],
    ) -> Option<(View, u32)> {
        let zero = engine.indices.constant(0);
        let axes = self.axes_at(engine, batch, zero, zero, Some(zero));
        let source = self.source(engine, side, &axes)?;
        match part {
            Part::Stored => Some((source.stored.0, source.stored.1.bits())),
            Part::Scales => source.scale.map(|(view, dtype)| (view, dtype.bits())),
        }
    }

    fn source(&self, engine: &mut Engine<'_>, side: Side, axes: &Axes<IndexId>) -> Option<Source> {
        let place = self.place(engine, side, axes);
        factor(engine, self.operand(side), &place.coordinates)
    }
}

/// Where elements of so many bits lie, over the axes of a side.
pub(super) fn memory_of(
    engine: &Engine<'_>,
    side: Side,
    axes: &Axes<Axis>,
    view: &View,
    (stored, bits): (DType, u32),
) -> Option<Memory> {
    let own = if side == Side::A { &axes.m } else { &axes.n };
    let all: Vec<Axis> = axes.batch.iter().chain(own).chain(&axes.k).copied().collect();
    let (start, digits) = digits_of(&engine.indices, view.element, &all)?;
    let mut digits = digits.into_iter();
    let mut take = |count: usize| digits.by_ref().take(count).collect::<Vec<_>>();
    let (batch, outer, k) = (take(axes.batch.len()), take(own.len()).concat(), take(axes.k.len()).concat());
    // Bits, because four of them are half a byte; buffers start at 16 bytes.
    let bits = i64::from(bits);
    let moves = batch.iter().flatten().map(|digit| digit.stride * bits).chain([start * bits]);
    let alignment = moves.fold(128i64, |alignment, bits| 1 << alignment.trailing_zeros().min(bits.trailing_zeros()));
    let strides: Option<Vec<i64>> = batch
        .iter()
        .map(|digits| match digits[..] {
            [] => Some(0),
            [digit] => Some(digit.stride),
            _ => None,
        })
        .collect();
    let memory = Memory {
        stored,
        alignment: alignment as usize / 8,
        entries: strides.map(|strides| Entries { start, strides }),
        offset: 0,
        outer: joined(outer),
        k: joined(k),
        windows: Vec::new(),
    };
    (alignment >= 8 && memory.within_reach()).then_some(memory)
}

/// The source of a value's element at coordinates.
fn factor(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<Source> {
    if let Some(stored) = stored(engine, value, coordinates) {
        return Some(Source { stored, scale: None });
    }
    let program = engine.program;
    let node = &program.values[value];
    match &node.op {
        op if op.is(Group::Movement) => {
            let inner = engine.moved(node, coordinates)?;
            factor(engine, node.operands[0], &inner)
        }
        Op::Mul(_) => {
            let [a, b] = node.operands[..] else { return None };
            let (stored, scale) = match stored(engine, a, coordinates) {
                Some(found) => (found, b),
                None => (stored(engine, b, coordinates)?, a),
            };
            let scale = engine.converted_view(scale, coordinates).filter(|(_, dtype)| is_scale(*dtype))?;
            Some(Source { stored, scale: Some(scale) })
        }
        // Two factors of at most eight bits have an exact product in f32, so that rounding it is the product's only
        // rounding, as it would be in the narrower type.
        Op::Cast(_) if program.ty(node.operands[0]).dtype == DType::F32 => {
            let source = factor(engine, node.operands[0], coordinates)?;
            let exact = source.scale.as_ref().is_some_and(|(_, dtype)| dtype.bits() == 8);
            exact.then_some(source)
        }
        _ => None,
    }
}

/// A value that is a stored element and its conversion.
pub(super) fn stored(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<(View, Codes)> {
    match engine.converted_view(value, coordinates) {
        Some((view, dtype)) => is_narrow(dtype).then_some((view, Codes::Bytes(dtype))),
        None => looked_up(engine, value, coordinates),
    }
}

/// A value that is looked up in a table of sixteen by half a byte, or is the bits of half a byte, converted at most.
fn looked_up(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<(View, Codes)> {
    let program = engine.program;
    let node = &program.values[value];
    match &node.op {
        Op::Cast(op) if op.to.is_float() => looked_up(engine, node.operands[0], coordinates),
        Op::Bitcast(op) if op.to == DType::E2M1 && program.ty(node.operands[0]).dtype == DType::U8 => {
            let (&half, inner) = coordinates.split_last()?;
            let bytes = engine.view(node.operands[0], inner)?;
            let element = engine.indices.scale_add(bytes.element, 2, half);
            Some((View { input: bytes.input, element }, Codes::E2m1Pairs))
        }
        Op::Gather(op) if op.axis == 0 => {
            let Op::Const(table) = &program.values[node.operands[0]].op else { return None };
            let values: Vec<f64> = table.value.scalars().map(|scalar| scalar.as_f64()).collect();
            let is_int4 = values.iter().copied().eq((-8..8).map(f64::from));
            let codes = match values[..] {
                // The sign of zero counts for nothing in a sum that begins with zero.
                _ if values == E2M1 => Codes::E2m1Pairs,
                _ if is_int4 => Codes::Int4Pairs,
                _ => return None,
            };
            Some((half_bytes(engine, node.operands[1], coordinates)?, codes))
        }
        op if op.is(Group::Movement) => {
            let inner = engine.moved(node, coordinates)?;
            looked_up(engine, node.operands[0], &inner)
        }
        _ => None,
    }
}

/// Whole numbers that are the low and the high halves of bytes in turn: where they lie, counted in halves.
fn half_bytes(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<View> {
    let program = engine.program;
    let node = &program.values[value];
    match &node.op {
        Op::Cast(op) if op.to.is_int() => half_bytes(engine, node.operands[0], coordinates),
        Op::Concat(op) if op.axis + 1 == coordinates.len() && node.ty.shape[op.axis] == 2 => {
            let [low, high] = node.operands[..] else { return None };
            let (&half, before) = coordinates.split_last()?;
            let zero = engine.indices.constant(0);
            let inner: Vec<IndexId> = before.iter().copied().chain([zero]).collect();
            let low = half_byte(engine, low, &inner, |op| matches!(op, Op::And(_)), 15)?;
            let high = half_byte(engine, high, &inner, |op| matches!(op, Op::Shr(_)), 4)?;
            if low != high {
                return None;
            }
            Some(View { input: low.input, element: engine.indices.scale_add(low.element, 2, half) })
        }
        op if op.is(Group::Movement) => {
            let inner = engine.moved(node, coordinates)?;
            half_bytes(engine, node.operands[0], &inner)
        }
        _ => None,
    }
}

/// The byte of which a value is one half: taken by an op, and a constant everywhere.
fn half_byte(
    engine: &mut Engine<'_>,
    value: ValueId,
    coordinates: &[IndexId],
    takes: impl Fn(&Op) -> bool,
    constant: i128,
) -> Option<View> {
    let program = engine.program;
    let node = &program.values[value];
    if takes(&node.op) {
        let [bytes, by] = node.operands[..] else { return None };
        let is_byte = program.ty(bytes).dtype == DType::U8;
        return if is_byte && is_all(program, by, constant) { engine.view(bytes, coordinates) } else { None };
    }
    if !node.op.is(Group::Movement) {
        return None;
    }
    let inner = engine.moved(node, coordinates)?;
    half_byte(engine, node.operands[0], &inner, takes, constant)
}

/// Whether every element of a value is a constant.
fn is_all(program: &Program, value: ValueId, constant: i128) -> bool {
    let node = &program.values[value];
    match &node.op {
        Op::Const(op) => op.value.scalars().all(|scalar| scalar.as_i128() == constant),
        Op::Broadcast(_) | Op::Reshape(_) => is_all(program, node.operands[0], constant),
        _ => false,
    }
}
