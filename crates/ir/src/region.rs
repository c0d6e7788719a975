//! Regions: groups of values that one kernel computes together.
//!
//! A region does not change the graph, so fusion cannot change what is computed or rounded where. Leaves stay outside
//! regions, except constants and coordinates that a kernel writes into its code. Regions do not overlap; a cheap value
//! that two regions need is duplicated in the graph before.
//!
//! # The contract
//!
//! This is what fusion promises and code generation relies on; [`anatomy`] checks it and says what each value's role is.
//!
//! A region holds at least one value that is not a leaf. Beside its anchor it holds maps, movement, bitcasts, constants
//! and coordinates only. A value is *after* the anchor when it depends on it, else *before*. Values before the anchor may
//! be any such expression; a kernel evaluates them backward, from the element it needs to the elements it loads.
//!
//! - `map`: no anchor. All outputs have the same number of elements.
//! - `contraction`, `convolution`, `window`, `reduction`: exactly one `matmul`, `grouped_matmul`, `conv`, `reduce_window`,
//!   or `reduce` or `arg_reduce`; or several `matmul`s, at most [`MAX_PRODUCTS`], of one left operand and one result type, of which none
//!   depends on another. After it come maps, reshapes and transposes only, so each element of the anchor's result goes to one
//!   place of each output; operands that meet again have come the same way. Every output is the anchor or after it.
//!   After a single `matmul` there may also be *folds*: `reduce` over the whole last axis of a value that came to it from the
//!   matmul by maps and by moves that leave the last axis as it is. After a fold come maps and reshapes of folds of the
//!   same axis; they do not meet values that have all elements. Such a region has an output that is no fold's.
//!   In place of folds there may be *block folds*: `reduce` over the last axis of a value whose last axis is a block of neighbouring
//!   columns, a power of two from [`MIN_BLOCK`] to [`MAX_BLOCK`] that divides them, and that came to it by maps and reshapes. All have
//!   blocks of one size, and none depends on another. After a block fold come maps, reshapes and transposes of values with one element
//!   for each block, and `broadcast`s of those over their blocks, which then have all elements again. One output at least has
//!   all elements. Values that have all elements again may be packed: a `bitcast` to wider elements, after which come reshapes and
//!   transposes alone.
//!   In a region without folds of either kind, `matmul`s are also followed by slices of neighbouring columns, the last axis, before any
//!   reshape or transpose: an output may have a part of the columns.
//! - `row`: one or more anchors over rows of one length of at most [`MAX_ROW`], along the last axis: `softmax`,
//!   `log_softmax`, `layer_norm`, `rms_norm`, and `reduce` over the last axis alone. Element `(row, column)` of a *full*
//!   value is at row-major position `row * length + column`, whatever its shape; a *per-row* value has one element for
//!   each row. After an anchor come maps and reshapes, and broadcasts of a per-row `[..., 1]` to a full `[..., length]`;
//!   after those of full values a `bitcast` to wider elements, and then reshapes alone.
//!   Outputs are after an anchor, or full values before one that reach an anchor through maps and reshapes.
//! - `ordered`: one `scan`, `argsort` or `scatter_nd`, alone.

use crate::attr::attr_enum;
use crate::graph::{Graph, NodeId};
use crate::op::{Group, Op};
use std::collections::{BTreeMap, BTreeSet};

/// The most products over one left factor in a `contraction` region.
pub const MAX_PRODUCTS: usize = 4;

/// The columns of the smallest block that a `contraction` region may fold.
pub const MIN_BLOCK: i64 = 16;

/// The columns of the largest one.
pub const MAX_BLOCK: i64 = 128;

/// The longest row that a `row` region may work on, in elements.
pub const MAX_ROW: i64 = 65536;

attr_enum! {
    /// What decides the shape of a region's kernel: its anchor.
    RegionKind {
        /// Maps and movement: every output element on its own.
        Map = "map",
        /// Reductions along some axes, with maps before and after.
        Reduction = "reduction",
        /// Whole rows along the last axis: softmax, norms, with maps before and after.
        Row = "row",
        /// A matrix product with prologue and epilogue.
        Contraction = "contraction",
        /// A convolution with prologue and epilogue.
        Convolution = "convolution",
        /// Sliding windows.
        Window = "window",
        /// Scatter, sort, scan: a kernel of its own.
        Ordered = "ordered",
    }
}

/// A group of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Name, unique in the graph; kernels and report rows are called by it.
    pub name: String,
    /// The anchor.
    pub kind: RegionKind,
    /// The values, sorted by id.
    pub nodes: Vec<NodeId>,
}

impl Region {
    /// A region; sorts and deduplicates the values.
    pub fn new(name: impl Into<String>, kind: RegionKind, nodes: impl IntoIterator<Item = NodeId>) -> Region {
        let nodes: BTreeSet<NodeId> = nodes.into_iter().collect();
        Region { name: name.into(), kind, nodes: nodes.into_iter().collect() }
    }

    /// The same region over other ids.
    pub fn mapped(&self, map: impl Fn(NodeId) -> NodeId) -> Region {
        Region::new(self.name.clone(), self.kind, self.nodes.iter().map(|&id| map(id)))
    }
}

/// Values from outside that `nodes` use, in order of first use along the canonical order of `nodes`.
pub fn inputs(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let order = graph.order_within(nodes).unwrap_or_else(|| nodes.to_vec());
    let mut found = Vec::new();
    for operand in order.iter().flat_map(|&id| graph.operands(id)) {
        if !inside.contains(&operand) && !found.contains(&operand) {
            found.push(operand);
        }
    }
    found
}

/// The region as a graph of its own: what it reads become inputs `in0`, `in1`, ..., what it gives outputs `out0`, ...
pub fn alone(graph: &Graph, region: &Region) -> Graph {
    let mut own = Graph::new(region.name.clone());
    let mut here = std::collections::BTreeMap::new();
    for (position, id) in inputs(graph, &region.nodes).into_iter().enumerate() {
        here.insert(id, own.input(format!("in{position}"), graph.ty(id).clone()));
    }
    for id in graph.order_within(&region.nodes).unwrap_or_default() {
        let operands: Vec<NodeId> = graph.operands(id).iter().map(|operand| here[operand]).collect();
        let node = graph.node(id);
        here.insert(id, own.add_unchecked(node.op.clone(), &operands, node.ty.clone()));
    }
    for (position, id) in outputs(graph, &region.nodes).into_iter().enumerate() {
        own.output(format!("out{position}"), here[&id]);
    }
    own
}

/// Values of `nodes` that are used outside or are results of the graph, in canonical order.
pub fn outputs(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let order = graph.order_within(nodes).unwrap_or_else(|| nodes.to_vec());
    let leaves = |id: NodeId| graph.is_output(id) || graph.users(id).iter().any(|user| !inside.contains(user));
    order.into_iter().filter(|&id| leaves(id)).collect()
}

/// What a value is to its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Does not depend on an anchor.
    Before,
    /// An anchor.
    Anchor,
    /// Depends on an anchor.
    After,
}

/// A region, taken apart by the contract.
#[derive(Clone, Debug, Default)]
pub struct Anatomy {
    /// Anchors, in canonical order; none in a `map` region.
    pub anchors: Vec<NodeId>,
    /// The role of every value of the region.
    pub roles: BTreeMap<NodeId, Role>,
    /// Row regions: values that have one element per row. Contractions: folds and what comes after them.
    pub per_row: BTreeSet<NodeId>,
    /// Contractions: block folds, and values after them that have one element for each block.
    pub per_block: BTreeSet<NodeId>,
    /// Columns of a block; 0 where no blocks are folded.
    pub block: i64,
    /// Row regions: values that have all elements of every row.
    pub full: BTreeSet<NodeId>,
    /// Row regions: the rows' length.
    pub row_length: i64,
}

impl Anatomy {
    /// Whether the value depends on an anchor, or is one.
    pub fn follows(&self, id: NodeId) -> bool {
        matches!(self.roles.get(&id), Some(Role::Anchor | Role::After))
    }
}

/// Whether `op` on a value of this graph can anchor a region of `kind`.
pub fn can_anchor(graph: &Graph, id: NodeId, kind: RegionKind) -> bool {
    match (kind, graph.op(id)) {
        (RegionKind::Contraction, Op::Matmul(_) | Op::GroupedMatmul(_))
        | (RegionKind::Convolution, Op::Conv(_))
        | (RegionKind::Window, Op::ReduceWindow(_))
        | (RegionKind::Reduction, Op::Reduce(_) | Op::ArgReduce(_)) => true,
        (RegionKind::Ordered, op) => op.is(Group::Ordered),
        (RegionKind::Row, _) => row_anchor_length(graph, id).is_some_and(|length| (1..=MAX_ROW).contains(&length)),
        _ => false,
    }
}

/// The length of the rows that a row anchor works on; `None` for other ops and for unbound lengths.
pub fn row_anchor_length(graph: &Graph, id: NodeId) -> Option<i64> {
    let x = graph.ty(*graph.operands(id).first()?);
    let last = x.rank().checked_sub(1)?;
    let along_last = match graph.op(id) {
        Op::Softmax(op) => op.axis == last,
        Op::LogSoftmax(op) => op.axis == last,
        Op::LayerNorm(_) | Op::RmsNorm(_) => true,
        Op::Reduce(op) => op.axes == [last],
        _ => false,
    };
    x.shape[last].value().filter(|_| along_last)
}

/// Takes a region apart, or says how it breaks the contract.
pub fn anatomy(graph: &Graph, region: &Region) -> Result<Anatomy, String> {
    anatomy_giving(graph, region, &outputs(graph, &region.nodes))
}

/// As [`anatomy`], for a region that is to give these outputs and no others.
pub fn anatomy_giving(graph: &Graph, region: &Region, outputs: &[NodeId]) -> Result<Anatomy, String> {
    let order = graph.order_within(&region.nodes).ok_or("its values depend on themselves")?;
    let named = |id: NodeId| format!("%{} (`{}`)", id.index(), graph.op(id).name());
    let mut found = Anatomy::default();
    for &id in &order {
        let op = graph.op(id);
        let role = if can_anchor(graph, id, region.kind) {
            found.anchors.push(id);
            Role::Anchor
        } else if is_expression(op) {
            let after = graph.operands(id).iter().any(|&operand| found.follows(operand));
            if after { Role::After } else { Role::Before }
        } else if region.kind == RegionKind::Contraction && folds(graph, id) && found.follows(graph.operand(id, 0)) {
            Role::After
        } else {
            return Err(format!("{} does not belong in a `{}` region", named(id), region.kind.name()));
        };
        found.roles.insert(id, role);
    }
    if order.iter().all(|&id| graph.op(id).is(Group::Leaf)) {
        return Err("it computes nothing".into());
    }
    match region.kind {
        RegionKind::Map => {
            let counts: BTreeSet<_> = outputs.iter().map(|&id| graph.ty(id).len()).collect();
            if counts.len() > 1 {
                return Err("its outputs differ in their number of elements".into());
            }
        }
        RegionKind::Row => check_rows(graph, &order, outputs, &mut found)?,
        RegionKind::Ordered if order.len() != 1 => return Err("an ordered op stands alone".into()),
        _ => {
            check_anchors(graph, region.kind, &found)?;
            check_after(graph, region.kind, &order, &mut found)?;
            if let Some(&id) = outputs.iter().find(|id| !found.follows(**id)) {
                return Err(format!("output {} does not depend on the anchor", named(id)));
            }
            if !found.per_row.is_empty() && found.anchors.len() > 1 {
                return Err("it has folds and more than one anchor".into());
            }
            if !found.per_row.is_empty() && !found.per_block.is_empty() {
                return Err("it folds both rows and blocks of columns".into());
            }
            let folded = |id: &NodeId| found.per_row.contains(id) || found.per_block.contains(id);
            if (!found.per_row.is_empty() || !found.per_block.is_empty()) && outputs.iter().all(folded) {
                return Err("every output is a fold or after one".into());
            }
        }
    }
    Ok(found)
}

/// Whether an op may stand beside anchors.
fn is_expression(op: &Op) -> bool {
    [Group::Map, Group::Movement, Group::Bits].iter().any(|&group| op.is(group))
        || matches!(op, Op::Const(_) | Op::Iota(_))
}

/// Whether the value is the bits of several narrower elements as one.
fn packs(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Op::Bitcast(op) if op.to.bits() > graph.ty(graph.operand(id, 0)).dtype.bits())
}

/// One anchor, or several products of one left operand.
fn check_anchors(graph: &Graph, kind: RegionKind, found: &Anatomy) -> Result<(), String> {
    let most = if kind == RegionKind::Contraction { MAX_PRODUCTS } else { 1 };
    let &[first, ref further @ ..] = found.anchors.as_slice() else { return Err("it has no anchor".into()) };
    if found.anchors.len() > most {
        return Err(format!("it has {} anchors, expected at most {most}", found.anchors.len()));
    }
    let grouped = found.anchors.iter().find(|&&id| matches!(graph.op(id), Op::GroupedMatmul(_)));
    if let Some(id) = grouped.filter(|_| !further.is_empty()) {
        return Err(format!("%{} (`grouped_matmul`) is not the only anchor", id.index()));
    }
    for &anchor in further {
        let place = format!("%{} (`{}`)", anchor.index(), graph.op(anchor).name());
        if graph.operand(anchor, 0) != graph.operand(first, 0) || graph.ty(anchor) != graph.ty(first) {
            return Err(format!(
                "{place} is no product of the same left operand to the same type as %{}",
                first.index()
            ));
        }
        if graph.operands(anchor).iter().any(|&operand| found.follows(operand)) {
            return Err(format!("{place} depends on another anchor"));
        }
    }
    Ok(())
}

/// Whether `id` is a `reduce` over the last axis alone: after a matmul, a fold.
pub fn folds(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Reduce(op) => graph.ty(graph.operand(id, 0)).rank().checked_sub(1).is_some_and(|last| op.axes == [last]),
        _ => false,
    }
}

/// One step of the way from an anchor to a value that is not a map.
#[derive(Clone, Copy, PartialEq)]
enum Step<'g> {
    Move(&'g Op),
    Fold,
}

/// After the anchors: maps, reshapes, transposes, folds and slices, and one way from an anchor to each value.
fn check_after(graph: &Graph, kind: RegionKind, order: &[NodeId], found: &mut Anatomy) -> Result<(), String> {
    let mut ways: BTreeMap<NodeId, Vec<Step<'_>>> = found.anchors.iter().map(|&id| (id, Vec::new())).collect();
    // Values whose last axis is the anchor's.
    let mut keep_last: BTreeSet<NodeId> = found.anchors.iter().copied().collect();
    let mut blocks = Blocks::default();
    let mut packed: BTreeSet<NodeId> = BTreeSet::new();
    let repeated = repeated(graph, order);
    let after: Vec<NodeId> = order.iter().copied().filter(|id| found.roles[id] == Role::After).collect();
    for &id in &after {
        let op = graph.op(id);
        let from: Vec<NodeId> = graph.operands(id).into_iter().filter(|operand| ways.contains_key(operand)).collect();
        if from.windows(2).any(|pair| ways[&pair[0]] != ways[&pair[1]]) {
            return Err(format!("%{} (`{}`) joins values that lie differently", id.index(), op.name()));
        }
        let first = from[0];
        let mut way = ways[&first].clone();
        let per_row = found.per_row.contains(&first);
        if from.iter().any(|operand| packed.contains(operand)) {
            if !matches!(op, Op::Reshape(_) | Op::Transpose(_)) {
                return Err(format!("%{} (`{}`) comes after a bitcast", id.index(), op.name()));
            }
            packed.insert(id);
        }
        match op {
            Op::Bitcast(_) if blocks.widened.contains(&first) && packs(graph, id) => {
                packed.insert(id);
                way.push(Step::Move(op));
            }
            Op::Reshape(_) => way.push(Step::Move(op)),
            Op::Transpose(_) if !per_row => way.push(Step::Move(op)),
            // Rows no longer than a block may be blocks.
            Op::Reduce(_) if keep_last.contains(&first) && !repeated.contains(&id) => way.push(Step::Fold),
            Op::Reduce(_) => {
                blocks.fold(graph, found, id, &way)?;
                way.push(Step::Fold);
            }
            Op::Broadcast(_) if found.per_block.contains(&first) => {
                let operand = blocks.widened(graph, first, id, &way)?;
                way = ways[&operand].clone();
            }
            Op::Slice(_)
                if kind == RegionKind::Contraction
                    && way.iter().all(|step| matches!(step, Step::Move(Op::Slice(_)))) =>
            {
                if !cuts_columns(graph, id) {
                    return Err(format!("%{} (`slice`) takes no neighbouring columns", id.index()));
                }
                way.push(Step::Move(op));
            }
            _ if op.is(Group::Map) => {}
            _ => return Err(format!("%{} (`{}`) comes after the anchor", id.index(), op.name())),
        }
        ways.insert(id, way);
        if blocks.follow(found, id, &from, op) {
            continue;
        }
        if per_row || matches!(op, Op::Reduce(_)) {
            found.per_row.insert(id);
        } else if keep_last.contains(&first) && keeps_last_axis(graph, id) {
            keep_last.insert(id);
        }
    }
    let has = |is: fn(&Op) -> bool| after.iter().any(|&id| is(graph.op(id)));
    if has(|op| matches!(op, Op::Slice(_))) && has(|op| matches!(op, Op::Reduce(_))) {
        return Err("it cuts columns and folds rows".into());
    }
    Ok(())
}

/// Values that a `broadcast` of the region repeats, or what becomes of them.
fn repeated(graph: &Graph, order: &[NodeId]) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for &id in order.iter().rev() {
        if matches!(graph.op(id), Op::Broadcast(_)) || found.contains(&id) {
            found.extend(graph.operands(id));
        }
    }
    found
}

/// What is known of block folds while the values after the anchors are gone through.
#[derive(Default)]
struct Blocks {
    /// Of values with one element for each block: what the fold behind them reduces.
    operands: BTreeMap<NodeId, NodeId>,
    /// Values that have all elements and depend on a block fold.
    widened: BTreeSet<NodeId>,
}

impl Blocks {
    /// Takes up a `reduce` of blocks, to whose operand `way` leads.
    fn fold(&mut self, graph: &Graph, found: &mut Anatomy, id: NodeId, way: &[Step<'_>]) -> Result<(), String> {
        let named = || format!("%{} (`reduce`)", id.index());
        let operand = graph.operand(id, 0);
        if found.per_row.contains(&operand) || found.per_block.contains(&operand) || self.widened.contains(&operand) {
            return Err(format!("{} reduces what depends on another `reduce`", named()));
        }
        let last = |id: NodeId| graph.ty(id).shape.last().and_then(|size| size.value());
        let (block, columns) = (last(operand), found.anchors.first().and_then(|&anchor| last(anchor)));
        let (Some(block), Some(columns)) = (block, columns) else {
            return Err(format!("{} reduces an axis of no known size", named()));
        };
        let is_block = (MIN_BLOCK..=MAX_BLOCK).contains(&block) && block.count_ones() == 1 && columns % block == 0;
        if !is_block || way.iter().any(|step| !matches!(step, Step::Move(Op::Reshape(_)))) {
            return Err(format!("{} reduces no block of columns", named()));
        }
        if found.block != 0 && found.block != block {
            return Err(format!("{} reduces blocks of {block} columns, another `reduce` of {}", named(), found.block));
        }
        found.block = block;
        found.per_block.insert(id);
        self.operands.insert(id, operand);
        Ok(())
    }

    /// What the fold behind `from` reduces, if `to` repeats its elements over their blocks.
    fn widened(&self, graph: &Graph, from: NodeId, to: NodeId, way: &[Step<'_>]) -> Result<NodeId, String> {
        let operand = self.operands[&from];
        let is_in_place = |step: &Step<'_>| matches!(step, Step::Fold | Step::Move(Op::Reshape(_)));
        let block = graph.ty(operand).shape.last().and_then(|size| size.value()).unwrap_or(0);
        if way.iter().all(is_in_place)
            && graph.ty(to).shape == graph.ty(operand).shape
            && widens_rows(graph, from, to, block)
        {
            return Ok(operand);
        }
        Err(format!("%{} (`broadcast`) does not repeat elements over their blocks", to.index()))
    }

    /// Says what a value after the operands `from` has; whether it has one element for each block.
    fn follow(&mut self, found: &mut Anatomy, id: NodeId, from: &[NodeId], op: &Op) -> bool {
        if found.per_block.contains(&id) {
            return true;
        }
        let block = from.iter().find_map(|operand| self.operands.get(operand)).copied();
        if let (Some(operand), false) = (block, matches!(op, Op::Broadcast(_))) {
            found.per_block.insert(id);
            self.operands.insert(id, operand);
            return true;
        }
        if block.is_some() || from.iter().any(|operand| self.widened.contains(operand)) {
            self.widened.insert(id);
        }
        false
    }
}

/// Whether a map or move leaves the last axis of its operand as it is.
fn keeps_last_axis(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Reshape(_) => graph.ty(id).shape.last() == graph.ty(graph.operand(id, 0)).shape.last(),
        Op::Transpose(op) => op.perm.last().is_some_and(|&axis| axis + 1 == op.perm.len()),
        Op::Slice(_) | Op::Bitcast(_) => false,
        _ => true,
    }
}

/// Whether a slice takes neighbours along the last axis, and all of every other.
pub fn cuts_columns(graph: &Graph, id: NodeId) -> bool {
    let Op::Slice(op) = graph.op(id) else { return false };
    let (from, to) = (&graph.ty(graph.operand(id, 0)).shape, &graph.ty(id).shape);
    let Some((last, leading)) = from.split_last() else { return false };
    op.steps.iter().all(|&step| step == 1)
        && leading == &to[..to.len() - 1]
        && last.value().is_some()
        && op.starts.iter().chain(&op.ends).all(|end| end.value().is_some())
}

fn check_rows(graph: &Graph, order: &[NodeId], outputs: &[NodeId], found: &mut Anatomy) -> Result<(), String> {
    let named = |id: NodeId| format!("%{} (`{}`)", id.index(), graph.op(id).name());
    let first = *found.anchors.first().ok_or("it has no anchor")?;
    let row_space = |id: NodeId| (row_anchor_length(graph, id), graph.ty(graph.operand(id, 0)).len());
    let (length, elements) = row_space(first);
    found.row_length = length.ok_or("its rows have no known length")?;
    if let Some(&other) = found.anchors.iter().find(|&&id| row_space(id) != (length, elements.clone())) {
        return Err(format!("{} and {} work on different rows", named(first), named(other)));
    }
    let mut packed: BTreeSet<NodeId> = BTreeSet::new();
    for &id in order.iter().filter(|&&id| found.roles[&id] != Role::Before) {
        let op = graph.op(id);
        let operands = graph.operands(id);
        let after_packed = operands.iter().any(|operand| packed.contains(operand));
        if after_packed || packs(graph, id) {
            packed.insert(id);
        }
        let per_row = operands.iter().any(|operand| found.per_row.contains(operand));
        let full = operands.iter().any(|operand| found.full.contains(operand));
        let fits = match op {
            _ if found.roles[&id] == Role::Anchor => {
                !per_row && operands[1..].iter().all(|&operand| !found.follows(operand))
            }
            Op::Reshape(_) => true,
            _ if after_packed => false,
            // Pairs lie within rows.
            Op::Bitcast(_) => packs(graph, id) && full && found.row_length % 2 == 0,
            Op::Broadcast(_) => per_row && widens_rows(graph, operands[0], id, found.row_length),
            _ => op.is(Group::Map) && !(per_row && full),
        };
        if !fits {
            return Err(format!("{} does not keep to the rows", named(id)));
        }
        let gives_per_row = matches!(op, Op::Reduce(_)) || (per_row && !matches!(op, Op::Broadcast(_)));
        if gives_per_row {
            found.per_row.insert(id)
        } else {
            found.full.insert(id)
        };
    }
    // Full values before an anchor: what reaches its rows through maps and reshapes alone.
    for &id in order.iter().rev() {
        let op = graph.op(id);
        let carries = found.roles[&id] == Role::Anchor
            || (found.full.contains(&id) && (op.is(Group::Map) || matches!(op, Op::Reshape(_))));
        if carries {
            let n_rows_operands = if found.roles[&id] == Role::Anchor { 1 } else { usize::MAX };
            for operand in graph.operands(id).into_iter().take(n_rows_operands) {
                if found.roles.get(&operand) == Some(&Role::Before) {
                    found.full.insert(operand);
                }
            }
        }
    }
    match outputs.iter().find(|id| !found.full.contains(id) && !found.per_row.contains(id)) {
        Some(&id) => Err(format!("output {} does not lie along the rows", named(id))),
        None => Ok(()),
    }
}

/// Whether `to` repeats each row's one element of `from` along the last axis, to `length`.
fn widens_rows(graph: &Graph, from: NodeId, to: NodeId, length: i64) -> bool {
    let (from, to) = (&graph.ty(from).shape, &graph.ty(to).shape);
    let (Some((one, leading)), Some((last, rest))) = (from.split_last(), to.split_last()) else { return false };
    one.value() == Some(1) && last.value() == Some(length) && leading == rest
}
