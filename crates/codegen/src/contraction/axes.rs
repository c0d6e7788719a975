//! Which axes of an anchor are batch, m, n and k, and what an operand's elements depend on.

use super::radix::{Axis, mentions, stride_along};
use crate::engine::Engine;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ir::attr::Layout;
use gable_ir::{Group, Op, ops};

/// Sizes of the axes that make up each index of the problem, slowest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Axes<T> {
    pub batch: Vec<T>,
    pub m: Vec<T>,
    pub n: Vec<T>,
    pub k: Vec<T>,
}

impl<T> Axes<T> {
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Axes<U> {
        let mut each = |list: &[T]| list.iter().map(&mut f).collect::<Vec<U>>();
        Axes { batch: each(&self.batch), m: each(&self.m), n: each(&self.n), k: each(&self.k) }
    }
}

/// Where a batch axis of a matrix product went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    Batch(usize),
    M(usize),
    N(usize),
}

/// What the anchor is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Matmul(Vec<Home>),
    /// Rows in groups, each by a matrix of its own: a batch entry for each group.
    Grouped,
    Conv(Box<ops::Conv>),
}

/// The shape of a value.
pub(super) fn shape(engine: &Engine<'_>, value: ValueId) -> Vec<usize> {
    engine.program.ty(value).shape.clone()
}

/// Elements of inputs and constants that a value at coordinates is computed from, with what they are elements of. False where
/// some are found otherwise than by formula.
pub(super) fn touched(
    engine: &mut Engine<'_>,
    value: ValueId,
    coordinates: &[IndexId],
    found: &mut Vec<(ValueId, IndexId)>,
) -> bool {
    let program = engine.program;
    let node = &program.values[value];
    match &node.op {
        Op::Input(_) | Op::Weight(_) | Op::Const(_) => {
            found.push((value, engine.indices.flat(coordinates, &node.ty.shape)));
            true
        }
        Op::Iota(op) => {
            found.push((value, coordinates[op.axis]));
            true
        }
        op if op.is(Group::Map) => {
            let mut all = true;
            for &from in &node.operands {
                all &= touched(engine, from, coordinates, found);
            }
            all
        }
        op if op.is(Group::Movement) => match engine.moved(node, coordinates) {
            Some(inner) => touched(engine, node.operands[0], &inner, found),
            None => false,
        },
        _ => false,
    }
}

/// How many of `elements` lie next to each other along the fastest of `axes`.
pub(super) fn count_together(engine: &Engine<'_>, elements: &[IndexId], axes: &[Axis]) -> usize {
    let Some(last) = axes.iter().rfind(|axis| axis.size > 1) else { return 0 };
    elements.iter().filter(|&&element| stride_along(&engine.indices, element, last) == Some(1)).count()
}

/// The first spatial axis of image and filter.
pub(super) fn first_spatial(op: &ops::Conv) -> usize {
    match op.layout {
        Layout::ChannelsLast => 1,
        Layout::ChannelsFirst => 2,
    }
}

/// Which axis of k is tap axis `i`.
pub(super) fn tap_axis(op: &ops::Conv, i: usize) -> usize {
    match op.layout {
        Layout::ChannelsLast => i,
        Layout::ChannelsFirst => 1 + i,
    }
}

/// Of products of a left factor, first of `factors`, by right factors. Where results are split by columns, n is the last
/// axis alone.
pub(super) fn matmul_axes(
    engine: &mut Engine<'_>,
    factors: &[ValueId],
    is_split: bool,
) -> Result<(Kind, Axes<usize>), Fault> {
    let &[a, b, ..] = factors else { return Err(Fault::contract("a product has two factors")) };
    let (a_shape, b_shape) = (shape(engine, a), shape(engine, b));
    let rank = a_shape.len();
    let depends = |engine: &mut Engine<'_>, value: ValueId| -> Vec<bool> {
        let axes: Vec<Axis> = shape(engine, value).iter().map(|&size| Axis::new(&mut engine.indices, size)).collect();
        let coordinates: Vec<IndexId> = axes.iter().map(|axis| axis.index).collect();
        let mut read = Vec::new();
        let complete = touched(engine, value, &coordinates, &mut read);
        let mentioned = |axis: &Axis| read.iter().any(|&(_, index)| mentions(&engine.indices, index, axis));
        axes[..rank - 2].iter().map(|axis| !complete || mentioned(axis)).collect()
    };
    let a_depends = depends(engine, a);
    // An axis is none of the right factors' only where all of them repeat along it.
    let mut b_depends = vec![false; rank - 2];
    for &right in &factors[1..] {
        b_depends.iter_mut().zip(depends(engine, right)).for_each(|(any, this)| *any |= this);
    }
    let mut sizes = Axes { batch: vec![], m: vec![], n: vec![], k: vec![a_shape[rank - 1]] };
    let mut homes = Vec::new();
    for axis in 0..rank - 2 {
        let list = match (a_depends[axis], b_depends[axis]) {
            (_, false) => &mut sizes.m,
            (false, true) if !is_split => &mut sizes.n,
            (_, true) => &mut sizes.batch,
        };
        let position = list.len();
        list.push(a_shape[axis]);
        homes.push(match (a_depends[axis], b_depends[axis]) {
            (_, false) => Home::M(position),
            (false, true) if !is_split => Home::N(position),
            (_, true) => Home::Batch(position),
        });
    }
    sizes.m.push(a_shape[rank - 2]);
    sizes.n.push(b_shape[rank - 1]);
    Ok((Kind::Matmul(homes), sizes))
}

pub(super) fn grouped_axes(engine: &Engine<'_>, [a, b]: [ValueId; 2]) -> (Kind, Axes<usize>) {
    let (rows, matrices) = (shape(engine, a), shape(engine, b));
    let [groups, k, n] = [matrices[0], matrices[1], matrices[2]];
    (Kind::Grouped, Axes { batch: vec![groups], m: vec![rows[0]], n: vec![n], k: vec![k] })
}

pub(super) fn conv_axes(engine: &Engine<'_>, op: &ops::Conv, [x, filter]: [ValueId; 2]) -> (Kind, Axes<usize>) {
    let (x, filter) = (shape(engine, x), shape(engine, filter));
    let spatial = op.strides.len();
    let (first, channel) = match op.layout {
        Layout::ChannelsLast => (1, spatial + 1),
        Layout::ChannelsFirst => (2, 1),
    };
    let mut m = vec![x[0]];
    for i in 0..spatial {
        let window = (filter[first + i].max(1) - 1) * op.dilations[i] + 1;
        let padded = x[first + i] as i64 + op.low[i] + op.high[i];
        m.push(((padded - window as i64) / op.strides[i] as i64 + 1).max(0) as usize);
    }
    let taps = filter[first..first + spatial].iter().copied();
    let k = match op.layout {
        Layout::ChannelsLast => taps.chain([filter[channel]]).collect(),
        Layout::ChannelsFirst => [filter[channel]].into_iter().chain(taps).collect(),
    };
    let batch = if op.groups > 1 { vec![op.groups] } else { Vec::new() };
    (Kind::Conv(Box::new(op.clone())), Axes { batch, m, n: vec![filter[0] / op.groups.max(1)], k })
}
