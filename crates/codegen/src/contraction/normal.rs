//! A region's anchor as a problem: which axes are batch, m, n and k, where each operand lies, how results leave.
//!
//! Batch axes that one operand does not depend on join the other operand's outer index: a linear layer over
//! `[batch, tokens, width]` is one product of `batch * tokens` rows. A convolution has its images and output positions as
//! m, its filters as n, and taps and channels as k, in the order in which the filter has them. Groups are a batch axis.

use super::axes::{
    Axes, Home, Kind, conv_axes, count_together, first_spatial, grouped_axes, matmul_axes, shape, tap_axis, touched,
};
use super::columns::{self, Columns};
use super::fold::{self, Apart, Fold};
use super::problem::{Digit, Entries, Major, Memory, Operand, Problem, Right, Side, Store, Window};
use super::radix::{Axis, digits_of, joined};
use super::surround::ResultRows;
use crate::engine::{Engine, View};
use crate::error::Fault;
use crate::index::{IndexId, Indices};
use crate::program::{Program, ValueId};
use gable_ir::attr::Layout;
use gable_ir::region::MAX_PRODUCTS;
use gable_ir::{Group, Op};
use gable_ptx::Target;
use gable_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};

/// The most neighbours handed on together.
const MAX_LANES: usize = 8;

/// Alignment of every buffer in bytes.
const BUFFER_ALIGNMENT: usize = 16;

/// How an image's element is found: coordinates, and which of them may lie outside, with the axis' size.
pub(super) struct Place {
    /// One index per axis of the operand.
    pub coordinates: Vec<IndexId>,
    /// Axes of a padded image, with their size.
    pub padded: Vec<(usize, usize)>,
}

/// A contraction region, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The products' results: the anchor, and those of further products of its left factor.
    pub anchors: Vec<ValueId>,
    /// The problem.
    pub problem: Problem,
    /// Sizes of the axes.
    pub sizes: Axes<usize>,
    /// The columns that each of [`Plan::results`] has.
    pub columns: Vec<Columns>,
    /// The value and the element behind an operand that is memory, at batch axes made for reasoning.
    pub views: BTreeMap<Side, View>,
    /// Positions of the outputs that are given at each element of the result; the others follow folds.
    pub results: Vec<usize>,
    /// Reductions of the result's rows.
    pub folds: Vec<Fold>,
    /// Reductions of blocks of its columns.
    pub blocks: Vec<Fold>,
    /// Positions of the outputs that are given for each block.
    pub per_block: Vec<usize>,
    /// The ends of groups of rows, where rows are in groups.
    pub ends: Option<ValueId>,
    kind: Kind,
    /// The left factor, and the right one of each product.
    operands: Vec<ValueId>,
}

/// Whether a pipeline multiplies the problem's factors as memory holds them.
fn has_pipeline(problem: &Problem, target: Target) -> bool {
    super::wgmma::suits(problem, target)
        || super::tcgen05::suits(problem, target)
        || super::mma_ring::suits(problem, target)
}

impl Plan {
    /// Takes the engine's program apart. Writes no instructions. `None` where the result has no element.
    pub fn of(engine: &mut Engine<'_>) -> Result<Option<Plan>, Fault> {
        let target = engine.k.target();
        let plan = Plan::of_factors(engine, false)?;
        // Narrow elements with scales are multiplied as they are stored where a pipeline scales sums. Elsewhere the region
        // computes the factors.
        if let Some(stored) = plan.as_ref().and_then(|plan| plan.of_stored(engine))
            && has_pipeline(&stored.problem, target)
        {
            return Ok(Some(stored));
        }
        // Floats of 8 bits are multiplied where a pipeline takes them as they are. Elsewhere the region gives them as the
        // f32 that they are exactly.
        match plan {
            Some(plan) if is_float8(plan.problem.element) && !has_pipeline(&plan.problem, target) => {
                Plan::of_factors(engine, true)
            }
            plan => Ok(plan),
        }
    }

    /// The problem of the factors as the region has them; with floats of 8 bits as f32 where it `widens`.
    pub(super) fn of_factors(engine: &mut Engine<'_>, widens: bool) -> Result<Option<Plan>, Fault> {
        let anchors = engine.program.find(|op| matches!(op, Op::Matmul(_) | Op::GroupedMatmul(_) | Op::Conv(_)));
        let operands = factors(engine.program, &anchors)?;
        let node = &engine.program.values[anchors[0]];
        let element = match engine.program.ty(operands[0]).dtype {
            element if widens && is_float8(element) => DType::F32,
            element => element,
        };
        let out = node.ty.dtype;
        if node.ty.is_empty() {
            return Ok(None);
        }
        let (kind, sizes) = match &node.op {
            Op::Matmul(_) => matmul_axes(engine, &operands, columns::cuts(engine.program, &anchors))?,
            Op::GroupedMatmul(_) => grouped_axes(engine, [operands[0], operands[1]]),
            Op::Conv(op) => conv_axes(engine, op, [operands[0], operands[1]]),
            other => unreachable!("`{}` is no anchor of a contraction", other.name()),
        };
        let total = |sizes: &[usize]| sizes.iter().product::<usize>();
        let expression = Operand::Expression { major: Major::K, lanes: 1 };
        let acc = match &node.op {
            Op::Matmul(op) => op.acc,
            Op::GroupedMatmul(op) => op.acc,
            _ => DType::F32,
        };
        let ends = matches!(kind, Kind::Grouped).then(|| node.operands[2]);
        let problem = Problem {
            batch: sizes.batch.clone(),
            ragged: ends.is_some(),
            m: total(&sizes.m),
            n: total(&sizes.n),
            k: total(&sizes.k),
            element,
            out,
            a: expression.clone(),
            b: expression.clone(),
            quantised: None,
            further: vec![Right { operand: expression.clone(), quantised: None }; anchors.len() - 1],
            addend: false,
            columns_together: 1,
            scaled: None,
            realigned: false,
            short_sums: is_float8(element) && matches!(acc, DType::Tf32 | DType::F16 | DType::BF16),
            store: Store { along_m: false, lanes: 1 },
        };
        let Apart { folds, blocks, results, per_block } = fold::apart(engine.program, &anchors)?;
        let columns = columns::columns_of_results(engine.program, &anchors, &results, problem.n)?;
        let views = BTreeMap::new();
        let mut plan =
            Plan { anchors, columns, problem, sizes, views, results, folds, blocks, per_block, ends, kind, operands };
        for side in plan.problem.sides() {
            let operand = match plan.memory(engine, side) {
                Some((memory, view)) => {
                    plan.views.insert(side, view);
                    Operand::Memory(memory)
                }
                None => plan.expression(engine, side),
            };
            match side {
                Side::A => plan.problem.a = operand,
                Side::B => plan.problem.b = operand,
                further => plan.problem.further[further.product() - 1].operand = operand,
            }
        }
        plan.problem.quantised = plan.quantised(engine, Side::B);
        for (number, &side) in Side::RIGHT[1..plan.operands.len() - 1].iter().enumerate() {
            plan.problem.further[number].quantised = plan.quantised(engine, side);
        }
        plan.problem.store = plan.store(engine)?;
        plan.problem.columns_together = plan.columns_together(engine);
        plan.problem.addend = plan.results.len() == 1 && plan.addend(engine).is_some();
        Ok(Some(plan))
    }

    /// Whether the anchor is a convolution of groups.
    pub fn is_grouped(&self) -> bool {
        matches!(&self.kind, Kind::Conv(op) if op.groups > 1)
    }

    /// Whether the anchor is a convolution.
    pub fn is_convolution(&self) -> bool {
        matches!(self.kind, Kind::Conv(_))
    }

    /// Channels that one filter of a convolution reads.
    pub fn channels_per_group(&self) -> Option<usize> {
        match &self.kind {
            Kind::Conv(op) => Some(
                self.sizes.k[match op.layout {
                    Layout::ChannelsLast => op.strides.len(),
                    Layout::ChannelsFirst => 0,
                }],
            ),
            Kind::Matmul(_) | Kind::Grouped => None,
        }
    }

    /// The value of an operand.
    pub fn operand(&self, side: Side) -> ValueId {
        self.operands[side as usize]
    }

    /// Where an operand's element lies for given axes.
    pub fn place(&self, engine: &mut Engine<'_>, side: Side, axes: &Axes<IndexId>) -> Place {
        let value = self.operand(side);
        let own = if side == Side::A { &axes.m } else { &axes.n };
        let zero = engine.indices.constant(0);
        match &self.kind {
            Kind::Matmul(homes) => {
                let mut coordinates: Vec<IndexId> = homes
                    .iter()
                    .map(|home| match (home, side) {
                        (Home::Batch(position), _) => axes.batch[*position],
                        (Home::M(position), Side::A) => axes.m[*position],
                        (Home::N(position), right) if right != Side::A => axes.n[*position],
                        // The operand does not depend on the axis.
                        _ => zero,
                    })
                    .collect();
                let last = *own.last().expect("m and n have an axis of their own");
                coordinates.extend(if side == Side::A { [last, axes.k[0]] } else { [axes.k[0], last] });
                Place { coordinates, padded: Vec::new() }
            }
            Kind::Grouped => {
                let coordinates = match side {
                    Side::A => vec![axes.m[0], axes.k[0]],
                    _ => vec![axes.batch[0], axes.k[0], axes.n[0]],
                };
                Place { coordinates, padded: Vec::new() }
            }
            Kind::Conv(op) => {
                let spatial = op.strides.len();
                let sizes = shape(engine, value);
                let (taps, channel) = match op.layout {
                    Layout::ChannelsLast => (&axes.k[..spatial], axes.k[spatial]),
                    Layout::ChannelsFirst => (&axes.k[1..], axes.k[0]),
                };
                let group = axes.batch.first().copied().unwrap_or(zero);
                let first_axis = first_spatial(op);
                let mut padded = Vec::new();
                let (leading, positions, channel) = match side {
                    Side::A => {
                        let mut positions = Vec::new();
                        for i in 0..spatial {
                            let start = engine.indices.constant(-op.low[i]);
                            let start = engine.indices.scale_add(axes.m[1 + i], op.strides[i] as i64, start);
                            let position = engine.indices.scale_add(taps[i], op.dilations[i] as i64, start);
                            let reach = (self.sizes.m[1 + i].max(1) - 1) * op.strides[i]
                                + (self.sizes.k[tap_axis(op, i)].max(1) - 1) * op.dilations[i];
                            let inside = op.low[i] <= 0 && (reach as i64) - op.low[i] < sizes[first_axis + i] as i64;
                            if !inside {
                                padded.push((first_axis + i, sizes[first_axis + i]));
                            }
                            positions.push(position);
                        }
                        let per_group = self.sizes.k[if op.layout == Layout::ChannelsLast { spatial } else { 0 }];
                        (axes.m[0], positions, engine.indices.scale_add(group, per_group as i64, channel))
                    }
                    _ => {
                        let filter = engine.indices.scale_add(group, self.sizes.n[0] as i64, axes.n[0]);
                        (filter, taps.to_vec(), channel)
                    }
                };
                let mut coordinates = vec![leading];
                match op.layout {
                    Layout::ChannelsLast => coordinates.extend(positions.into_iter().chain([channel])),
                    Layout::ChannelsFirst => coordinates.extend([channel].into_iter().chain(positions)),
                }
                Place { coordinates, padded }
            }
        }
    }

    /// The anchor's own coordinates for given axes.
    pub fn result(&self, engine: &mut Engine<'_>, axes: &Axes<IndexId>) -> Vec<IndexId> {
        match &self.kind {
            Kind::Matmul(homes) => {
                let batch = homes.iter().map(|home| match home {
                    Home::Batch(position) => axes.batch[*position],
                    Home::M(position) => axes.m[*position],
                    Home::N(position) => axes.n[*position],
                });
                let own = [&axes.m, &axes.n].map(|axes| *axes.last().expect("m and n have an axis of their own"));
                batch.chain(own).collect()
            }
            Kind::Grouped => vec![axes.m[0], axes.n[0]],
            Kind::Conv(op) => {
                let group = axes.batch.first().copied().unwrap_or_else(|| engine.indices.constant(0));
                let channel = engine.indices.scale_add(group, self.sizes.n[0] as i64, axes.n[0]);
                let mut coordinates = vec![axes.m[0]];
                match op.layout {
                    Layout::ChannelsLast => coordinates.extend(axes.m[1..].iter().copied().chain([channel])),
                    Layout::ChannelsFirst => {
                        coordinates.extend([channel].into_iter().chain(axes.m[1..].iter().copied()))
                    }
                }
                coordinates
            }
        }
    }

    /// Coordinates of every result of [`Plan::results`] for those of the anchors.
    pub fn outputs(&self, engine: &mut Engine<'_>, anchor: &[IndexId]) -> Result<Vec<Vec<IndexId>>, Fault> {
        let mut ways = self.ways(engine, anchor)?;
        let missing = || Fault::contract("an output does not depend on the contraction");
        let ids = self.results.iter().map(|&position| engine.program.outputs[position].0);
        ids.map(|id| ways.remove(&id).ok_or_else(missing)).collect()
    }

    /// The results' values, in order.
    fn result_ids(&self, engine: &Engine<'_>) -> Vec<ValueId> {
        self.results.iter().map(|&position| engine.program.outputs[position].0).collect()
    }

    /// Coordinates of every value after the anchor and before folds of rows, for those of the anchor: through maps unchanged,
    /// through reshapes by position, through transposes by axis, through slices from their start. What is folded of a block
    /// is at the block's coordinates, and repeated over its block where the block's elements are.
    pub fn ways(&self, engine: &mut Engine<'_>, anchor: &[IndexId]) -> Result<BTreeMap<ValueId, Vec<IndexId>>, Fault> {
        let program = engine.program;
        let mut ways: BTreeMap<ValueId, Vec<IndexId>> = self.anchors.iter().map(|&id| (id, anchor.to_vec())).collect();
        // Of values with one element for each block: what the fold behind them reduces.
        let mut behind: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for (id, node) in program.values.iter().enumerate() {
            let Some(from) = node.operands.iter().find(|operand| ways.contains_key(operand)) else { continue };
            let before = &ways[from];
            let folded = behind.get(from).copied();
            let after = match &node.op {
                op if op.is(Group::Map) => before.clone(),
                Op::Reshape(_) => {
                    let flat = engine.indices.flat(before, &program.ty(*from).shape);
                    engine.indices.coordinates(flat, &node.ty.shape)
                }
                Op::Transpose(op) => op.perm.iter().map(|&axis| before[axis]).collect(),
                Op::Reduce(_) => match self.blocks.iter().find(|fold| fold.value == id) {
                    Some(fold) => {
                        behind.insert(id, fold.operand);
                        fold.coordinates(engine, before)
                    }
                    // What follows it has no element for each of the result's.
                    None => continue,
                },
                Op::Broadcast(_) if folded.is_some() => {
                    folded.map(|operand| ways[&operand].clone()).unwrap_or_default()
                }
                Op::Slice(op) => {
                    let starts = op.starts.iter().map(|start| start.value());
                    let starts: Option<Vec<i64>> = starts.collect();
                    let starts =
                        starts.ok_or_else(|| Fault::contract("a slice after the contraction has no known start"))?;
                    before.iter().zip(starts).map(|(&index, start)| engine.indices.offset(index, -start)).collect()
                }
                other => {
                    return Err(Fault::contract(format!("`{}` comes after the contraction", other.name())));
                }
            };
            if let (Some(operand), false) = (folded, matches!(node.op, Op::Broadcast(_))) {
                behind.insert(id, operand);
            }
            ways.insert(id, after);
        }
        Ok(ways)
    }

    /// An operand that only moves elements of one input, converted at most: where they lie.
    fn memory(&self, engine: &mut Engine<'_>, side: Side) -> Option<(Memory, View)> {
        let axes = self.reasoning_axes(engine);
        let indices = axes.map(|axis| axis.index);
        let place = self.place(engine, side, &indices);
        // A padded axis is looked at as an axis of its own, to which output position and tap contribute.
        let mut coordinates = place.coordinates.clone();
        let mut stand_ins = Vec::new();
        for &(axis, size) in &place.padded {
            let stand_in = Axis::new(&mut engine.indices, size);
            coordinates[axis] = stand_in.index;
            stand_ins.push((axis, stand_in));
        }
        let element = self.problem.element;
        let (view, stored) = engine.converted_view(self.operand(side), &coordinates)?;
        // On the way to a tensor core f32 is rounded as a cast rounds; on the way to an f32 sum a narrow float is exact.
        let half = |dtype| matches!(dtype, DType::F16 | DType::BF16);
        let converts = (stored == DType::F32 && (half(element) || element == DType::Tf32))
            || (half(stored) && element == DType::F32);
        let known = super::values::scalar_type(stored).is_ok() || is_float8(stored);
        if stored != element && !converts || !known {
            return None;
        }
        let own = if side == Side::A { &axes.m } else { &axes.n };
        let all: Vec<Axis> = axes
            .batch
            .iter()
            .chain(own)
            .chain(&axes.k)
            .copied()
            .chain(stand_ins.iter().map(|(_, axis)| *axis))
            .collect();
        let (start, digits) = digits_of(&engine.indices, view.element, &all)?;
        let mut digits = digits.into_iter();
        let mut take = |count: usize| digits.by_ref().take(count).collect::<Vec<_>>();
        let (batch, mut outer, mut k) = (take(axes.batch.len()), take(own.len()), take(axes.k.len()));
        let mut windows = Vec::new();
        let mut offset = 0;
        if let Kind::Conv(op) = &self.kind {
            let first_axis = first_spatial(op);
            for ((axis, stand_in), along) in stand_ins.iter().zip(take(stand_ins.len())) {
                let stride = match along[..] {
                    [] => 0,
                    [digit] => digit.stride,
                    _ => return None,
                };
                let i = axis - first_axis;
                let tap_at = tap_axis(op, i);
                let step = |size, step: usize| Digit {
                    size,
                    stride: step as i64 * stride,
                    window: Some((windows.len(), step as i64)),
                };
                outer[1 + i] = vec![step(self.sizes.m[1 + i], op.strides[i])];
                k[tap_at] = vec![step(self.sizes.k[tap_at], op.dilations[i])];
                windows.push(Window { low: op.low[i], size: stand_in.size });
                offset -= op.low[i] * stride;
            }
        }
        let bytes = stored.bytes();
        let aligned = batch.iter().flatten().map(|digit| digit.stride).chain([start_of(&engine.indices, view.element)]);
        let alignment = aligned.fold(BUFFER_ALIGNMENT / bytes.min(BUFFER_ALIGNMENT), |alignment, stride| {
            1 << alignment.trailing_zeros().min(stride.trailing_zeros())
        });
        let along = |digits: &Vec<Digit>| match digits[..] {
            [] => Some(0),
            [digit] => Some(digit.stride),
            _ => None,
        };
        let strides: Option<Vec<i64>> = batch.iter().map(along).collect();
        let memory = Memory {
            stored,
            alignment: alignment * bytes,
            entries: strides.map(|strides| Entries { start, strides }),
            offset,
            outer: joined(outer.concat()),
            k: joined(k.concat()),
            windows,
        };
        memory.within_reach().then_some((memory, view))
    }

    /// An operand that the region computes: along the index by which most of what it reads lies together.
    fn expression(&self, engine: &mut Engine<'_>, side: Side) -> Operand {
        let axes = self.reasoning_axes(engine);
        let indices = axes.map(|axis| axis.index);
        let place = self.place(engine, side, &indices);
        let mut read = Vec::new();
        touched(engine, self.operand(side), &place.coordinates, &mut read);
        let read: Vec<IndexId> = read.into_iter().map(|(_, element)| element).collect();
        let own = if side == Side::A { &axes.m } else { &axes.n };
        let together = |list: &[Axis]| count_together(engine, &read, list);
        // Neighbours of a padded axis differ in whether they lie inside, so they come one by one.
        let (k_padded, own_padded) = match &self.kind {
            Kind::Conv(op) => {
                (op.layout == Layout::ChannelsFirst && !place.padded.is_empty(), !place.padded.is_empty())
            }
            Kind::Matmul(_) | Kind::Grouped => (false, false),
        };
        let by_outer = match together(&axes.k).cmp(&together(own)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => side != Side::A,
            std::cmp::Ordering::Greater => false,
        };
        let (major, list, padded) =
            if by_outer { (Major::Outer, own, own_padded) } else { (Major::K, &axes.k, k_padded) };
        let lanes = if padded { 1 } else { dividing(list.last().map_or(1, |axis| axis.size), 4) };
        Operand::Expression { major, lanes }
    }

    /// The direction in which outputs lie together, and how many neighbours keep their way to the outputs simple.
    fn store(&self, engine: &mut Engine<'_>) -> Result<Store, Fault> {
        let (mut along_m, mut along_n) = (0, 0);
        for (number, id) in self.result_ids(engine).into_iter().enumerate() {
            let mut axes = self.reasoning_axes(engine);
            let mut indices = axes.map(|axis| axis.index);
            let columns = self.columns[number];
            if columns != Columns::all(&self.problem) {
                let own = Axis::new(&mut engine.indices, columns.count);
                (axes.n, indices.n) = (vec![own], vec![engine.indices.offset(own.index, columns.first as i64)]);
            }
            let result = self.result(engine, &indices);
            let coordinates = self.outputs(engine, &result)?.swap_remove(number);
            let shape = &engine.program.ty(id).shape;
            let written = [engine.indices.flat(&coordinates, shape)];
            along_m += count_together(engine, &written, &axes.m);
            along_n += count_together(engine, &written, &axes.n);
        }
        // Rows of a group begin anywhere, so that no vectors along them are aligned.
        let along_m = !self.problem.ragged && along_m > along_n;
        let list = if along_m { &self.sizes.m } else { &self.sizes.n };
        let mut lanes = dividing(list.last().copied().unwrap_or(1), MAX_LANES);
        if !along_m {
            let ends = self.columns.iter().flat_map(|columns| [columns.first, columns.count]);
            lanes = ends.filter(|&end| end > 0).fold(lanes, |lanes, end| lanes.min(dividing(end, MAX_LANES)));
        }
        while lanes > 1 && !self.keeps_its_way(engine, along_m, lanes)? {
            lanes /= 2;
        }
        Ok(Store { along_m, lanes })
    }

    /// How every output lies in memory, where each lies as rows of the problem.
    pub fn result_rows(&self, engine: &mut Engine<'_>) -> Option<Vec<ResultRows>> {
        let mut rows = Vec::new();
        for (number, id) in self.result_ids(engine).into_iter().enumerate() {
            let (all, coordinates) = self.result_at(engine, number)?;
            let ty = engine.program.ty(id);
            let flat = engine.indices.flat(&coordinates, &ty.shape);
            let pairs = engine.program.packed.contains(&self.results[number]);
            rows.push(ResultRows { pairs, ..self.rows_of(engine, id, flat, &all, self.columns[number])? });
        }
        Some(rows)
    }

    /// Inputs of which every result reads the element at its own row and column, such as a residual.
    pub fn row_inputs(&self, engine: &mut Engine<'_>) -> Vec<(ValueId, ResultRows)> {
        self.inputs_read(engine).into_iter().filter(|(_, rows)| rows.stride > 0).collect()
    }

    /// Inputs of which every result reads the element at its own column, whatever its row and batch entry, such as a bias.
    pub fn column_inputs(&self, engine: &mut Engine<'_>) -> Vec<(ValueId, DType)> {
        let read = self.inputs_read(engine).into_iter();
        let same = |rows: &ResultRows| rows.stride == 0 && rows.batch_strides.iter().all(|&stride| stride == 0);
        read.filter(|(_, rows)| same(rows)).map(|(value, rows)| (value, rows.dtype)).collect()
    }

    /// Inputs whose elements results read along their columns, with how those lie.
    fn inputs_read(&self, engine: &mut Engine<'_>) -> Vec<(ValueId, ResultRows)> {
        // What is read of a part of the columns is not brought ahead.
        let whole = Columns::all(&self.problem);
        if self.columns.iter().any(|columns| *columns != whole) {
            return Vec::new();
        }
        let mut read = Vec::new();
        let all = self.reasoning_places(engine, whole);
        for (number, id) in self.result_ids(engine).into_iter().enumerate() {
            let Some(coordinates) = self.result_of(engine, number, &all, whole) else { return Vec::new() };
            touched(engine, id, &coordinates, &mut read);
        }
        read.sort_unstable();
        read.dedup();
        let is_input = |value: &ValueId| engine.program.inputs.iter().any(|(id, _)| id == value);
        read.iter()
            .filter(|(value, _)| is_input(value))
            .filter_map(|&(value, flat)| Some((value, self.rows_of(engine, value, flat, &all, whole)?)))
            .collect()
    }

    /// The first of those inputs that has 16-bit elements.
    pub fn addend(&self, engine: &mut Engine<'_>) -> Option<(ValueId, ResultRows)> {
        let read = self.row_inputs(engine);
        read.into_iter().find(|(_, rows)| matches!(rows.dtype, DType::BF16 | DType::F16))
    }

    /// The element of an input that results read where the result's element is at these coordinates.
    pub fn read_at(
        &self,
        engine: &mut Engine<'_>,
        input: ValueId,
        result: &[IndexId],
    ) -> Result<Option<IndexId>, Fault> {
        let mut read = Vec::new();
        for (coordinates, id) in self.outputs(engine, result)?.iter().zip(self.result_ids(engine)) {
            touched(engine, id, coordinates, &mut read);
        }
        Ok(read.into_iter().find(|(value, _)| *value == input).map(|(_, flat)| flat))
    }

    /// Axes made for reasoning: batch entries, row, and column from the first of `columns` on.
    pub(super) fn reasoning_places(&self, engine: &mut Engine<'_>, columns: Columns) -> Vec<Axis> {
        let sizes = self.sizes.batch.iter().copied().chain([self.problem.m, columns.count]);
        sizes.map(|size| Axis::new(&mut engine.indices, size)).collect()
    }

    /// The coordinates of an output where such axes are.
    fn result_of(
        &self,
        engine: &mut Engine<'_>,
        number: usize,
        axes: &[Axis],
        columns: Columns,
    ) -> Option<Vec<IndexId>> {
        let (batch, place) = axes.split_at(self.sizes.batch.len());
        let batch: Vec<IndexId> = batch.iter().map(|axis| axis.index).collect();
        let column = engine.indices.offset(place[1].index, columns.first as i64);
        let axes = self.axes_at(engine, &batch, place[0].index, column, None);
        let result = self.result(engine, &axes);
        Some(self.outputs(engine, &result).ok()?.swap_remove(number))
    }

    /// Axes made for reasoning over the columns of an output, and its coordinates there.
    fn result_at(&self, engine: &mut Engine<'_>, number: usize) -> Option<(Vec<Axis>, Vec<IndexId>)> {
        let axes = self.reasoning_places(engine, self.columns[number]);
        let coordinates = self.result_of(engine, number, &axes, self.columns[number])?;
        Some((axes, coordinates))
    }

    /// The element `flat` of a value as rows of the problem, where it is one for the axes `all`.
    fn rows_of(
        &self,
        engine: &Engine<'_>,
        value: ValueId,
        flat: IndexId,
        all: &[Axis],
        columns: Columns,
    ) -> Option<ResultRows> {
        let (start, digits) = digits_of(&engine.indices, flat, all)?;
        let mut strides = Vec::with_capacity(digits.len());
        for (digits, axis) in digits.into_iter().zip(all) {
            strides.push(match joined(digits)[..] {
                [] => 0,
                [digit] if digit.size == axis.size => digit.stride,
                _ => return None,
            });
        }
        let (across, down) = (strides.pop()?, strides.pop()?);
        let is_dense = across == 1 || columns.count == 1;
        let dtype = engine.program.ty(value).dtype;
        is_dense.then_some(ResultRows { dtype, pairs: false, columns, start, stride: down, batch_strides: strides })
    }

    /// Whether the value depends on an anchor.
    fn depends(&self, program: &Program, id: ValueId) -> bool {
        let ancestors = program.ancestors(id);
        self.anchors.iter().any(|anchor| ancestors.contains(anchor))
    }

    /// Whether every output, followed back, asks for the anchor exactly where it is bound, with so many lanes.
    fn keeps_its_way(&self, engine: &mut Engine<'_>, along_m: bool, lanes: usize) -> Result<bool, Fault> {
        let program = engine.program;
        let after: BTreeSet<ValueId> = (0..program.values.len()).filter(|&id| self.depends(program, id)).collect();
        let whole = Columns::all(&self.problem);
        let results = self.result_ids(engine).into_iter().enumerate();
        let results = results.map(|(number, id)| (id, self.columns[number]));
        let folded = self.folds.iter().chain(&self.blocks).map(|fold| (fold.operand, whole));
        let per_block = self.per_block.iter().map(|&position| (program.outputs[position].0, whole));
        let ends: Vec<(ValueId, Columns)> = results.chain(folded).chain(per_block).collect();
        for (id, columns) in ends {
            let lane = engine.indices.lane(lanes as u32);
            let (total, other) =
                if along_m { (self.problem.m, columns.count) } else { (columns.count, self.problem.m) };
            let vector = Axis::new(&mut engine.indices, total / lanes).index;
            let index = engine.indices.scale_add(vector, lanes as i64, lane);
            let other = Axis::new(&mut engine.indices, other).index;
            let (row, column) = if along_m { (index, other) } else { (other, index) };
            let column = engine.indices.offset(column, columns.first as i64);
            let batch: Vec<IndexId> =
                self.sizes.batch.iter().map(|&size| Axis::new(&mut engine.indices, size).index).collect();
            let axes = self.axes_at(engine, &batch, row, column, None);
            let result = self.result(engine, &axes);
            let ways = self.ways(engine, &result)?;
            let Some(coordinates) = ways.get(&id) else { continue };
            if !self.leads_back(engine, &after, &ways, (id, coordinates.clone()), &mut BTreeSet::new()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the value asks at these coordinates for anchors, and for folds of blocks, exactly where `ways` has them.
    fn leads_back(
        &self,
        engine: &mut Engine<'_>,
        after: &BTreeSet<ValueId>,
        ways: &BTreeMap<ValueId, Vec<IndexId>>,
        (id, coordinates): (ValueId, Vec<IndexId>),
        seen: &mut BTreeSet<(ValueId, Vec<IndexId>)>,
    ) -> bool {
        if self.anchors.contains(&id) || self.blocks.iter().any(|fold| fold.value == id) {
            return ways.get(&id) == Some(&coordinates);
        }
        if !seen.insert((id, coordinates.clone())) {
            return true;
        }
        let node = &engine.program.values[id];
        let inner = match node.op.is(Group::Movement) {
            true => engine.moved(node, &coordinates),
            false => Some(coordinates),
        };
        let Some(inner) = inner else { return false };
        let from: Vec<ValueId> = node.operands.iter().copied().filter(|operand| after.contains(operand)).collect();
        !from.is_empty()
            && from.into_iter().all(|from| self.leads_back(engine, after, ways, (from, inner.clone()), seen))
    }

    /// Axes of flat indices: row is m, column is n, and k where it is wanted.
    pub fn axes_at(
        &self,
        engine: &mut Engine<'_>,
        batch: &[IndexId],
        row: IndexId,
        column: IndexId,
        k: Option<IndexId>,
    ) -> Axes<IndexId> {
        let indices = &mut engine.indices;
        let zero = indices.constant(0);
        Axes {
            batch: batch.to_vec(),
            m: indices.coordinates(row, &self.sizes.m),
            n: indices.coordinates(column, &self.sizes.n),
            k: match k {
                Some(k) => indices.coordinates(k, &self.sizes.k),
                None => vec![zero; self.sizes.k.len()],
            },
        }
    }

    /// One variable per axis, without registers.
    pub(super) fn reasoning_axes(&self, engine: &mut Engine<'_>) -> Axes<Axis> {
        self.sizes.map(|&size| Axis::new(&mut engine.indices, size))
    }

    /// The element that an operand in memory starts at in the batch entry of these coordinates, padding left out.
    pub fn entry(&self, engine: &mut Engine<'_>, side: Side, batch: &[IndexId]) -> Option<View> {
        if self.problem.scaled.is_some() {
            return self.stored_entry(engine, side, batch);
        }
        let zero = engine.indices.constant(0);
        let axes = self.axes_at(engine, batch, zero, zero, Some(zero));
        let mut place = self.place(engine, side, &axes);
        for &(axis, _) in &place.padded {
            place.coordinates[axis] = zero;
        }
        engine.converted_view(self.operand(side), &place.coordinates).map(|(view, _)| view)
    }
}

/// The left factor of all anchors, and the right factor of each.
fn factors(program: &Program, anchors: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
    let &[first, ref further @ ..] = anchors else {
        return Err(Fault::contract("a contraction region has no anchor"));
    };
    let of = |anchor: ValueId| &program.values[anchor];
    let is_alike = |&anchor: &ValueId| {
        matches!(of(anchor).op, Op::Matmul(_))
            && of(anchor).operands[0] == of(first).operands[0]
            && of(anchor).ty == of(first).ty
    };
    if anchors.len() > MAX_PRODUCTS || !further.iter().chain(further.first().map(|_| &first)).all(is_alike) {
        let message = "the anchors of a contraction region are no products of one left factor to one type";
        return Err(Fault::contract(message));
    }
    Ok([of(first).operands[0]].into_iter().chain(anchors.iter().map(|&anchor| of(anchor).operands[1])).collect())
}

fn is_float8(dtype: DType) -> bool {
    matches!(dtype, DType::E4M3 | DType::E5M2)
}

/// The largest power of two up to `most` that divides `size`.
fn dividing(size: usize, most: usize) -> usize {
    1 << size.max(1).trailing_zeros().min(most.trailing_zeros())
}

fn start_of(indices: &Indices, element: IndexId) -> i64 {
    indices.parts(element).0
}
