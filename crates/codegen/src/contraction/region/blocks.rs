//! What a region with block folds makes of sums: `super::super::fold::blocks` has the picture.
//!
//! In: fragments of whole blocks. Out: the packed words of the results that have every element; those that have one for each
//! block are stored here, by the first of the lanes that share a row.

use super::super::fold::blocks::{self, BlockColumns, Place};
use super::super::normal::Plan;
use super::super::problem::ContractionError;
use super::super::surround::Fragment;
use super::{Region, batch_indices, bind, quotients, rounded};
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ir::{Group, Op};
use gable_ptx::{B32, KernelBuilder, R, Value};
use gable_tensor::DType;
use std::collections::BTreeMap;

impl Region<'_> {
    /// As [`super::Surround::results`], for a region that folds blocks of columns.
    pub(super) fn results_of_blocks(
        &mut self,
        k: &mut KernelBuilder,
        batch: &[R<B32>],
        (first_row, first_column): (R<B32>, R<B32>),
        extent: (u32, u32),
        fragments: &[Fragment<'_>],
    ) -> Result<Vec<Vec<Vec<Value>>>, ContractionError> {
        let (addend, width) = (self.addend, self.width);
        self.write(k, |engine, plan| {
            let problem = &plan.problem;
            let batch = batch_indices(engine, plan, batch);
            let Some(first) = fragments.first() else { return Ok(vec![Vec::new(); plan.results.len()]) };
            let lanes = first.sums.len() as u32 / problem.products();
            let distances: Vec<u32> = fragments.iter().map(|fragment| fragment.column).collect();
            let columns = BlockColumns::new(engine, plan, first_column, (lanes, extent.1), &distances);
            let mut rows: BTreeMap<u32, IndexId> = BTreeMap::new();
            let mut blocks: BTreeMap<u32, IndexId> = BTreeMap::new();
            let mut places = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                let row = *rows.entry(fragment.row).or_insert_with(|| {
                    Self::fragment_index(engine, (first_row, fragment.row), problem.m, (extent.0, false), 1)
                });
                let number = columns.number(fragment.column);
                let block = *blocks.entry(number).or_insert_with(|| columns.block(engine, number));
                let column = columns.column(engine, block, fragment.column);
                let axes = plan.axes_at(engine, &batch, row, column, None);
                let anchors = rounded(engine, problem, fragment.sums)?;
                let result = plan.result(engine, &axes);
                bind(engine, plan, &result, anchors);
                if let (Some(addend), false) = (addend, fragment.addend.is_empty())
                    && let Some(flat) = plan.read_at(engine, addend, &result)?
                {
                    engine.bring(addend, flat, fragment.addend)?;
                }
                places.push(Place { row: fragment.row, block: number, ways: plan.ways(engine, &result)? });
            }
            blocks::bind(engine, plan, &places, (lanes, width))?;
            let results = match quotients::words(engine, plan, &places, lanes)? {
                Some(results) => results,
                None => words(engine, plan, &places, lanes)?,
            };
            store_per_block(engine, plan, &places, (first_row, extent.0), &columns, width)?;
            Ok(results)
        })
    }
}

/// The words of every result at each place.
fn words(engine: &mut Engine<'_>, plan: &Plan, places: &[Place], lanes: u32) -> Result<Vec<Vec<Vec<Value>>>, Fault> {
    let mut results = vec![Vec::with_capacity(places.len()); plan.results.len()];
    for place in places {
        for (found, &position) in results.iter_mut().zip(&plan.results) {
            let (value, _) = engine.program.outputs[position];
            found.push(packed(engine, (value, position), place.of(value)?, lanes)?);
        }
    }
    Ok(results)
}

/// The elements of the output at `position`, a value, as words.
pub(super) fn packed(
    engine: &mut Engine<'_>,
    (value, position): (ValueId, usize),
    coordinates: &[IndexId],
    lanes: u32,
) -> Result<Vec<Value>, Fault> {
    let dtype = engine.program.ty(value).dtype;
    let (value, coordinates) = before_rounding(engine, dtype, value, coordinates);
    let elements = engine.emit(value, &coordinates)?;
    let elements: Vec<Value> = (0..lanes).map(|lane| elements.at(lane)).collect();
    if engine.program.packed.contains(&position) { engine.pack_pairs(&elements) } else { engine.pack(dtype, &elements) }
}

/// Whether packing elements of a type rounds them to it, as a conversion does.
pub(super) fn packing_rounds(engine: &Engine<'_>, dtype: DType) -> bool {
    matches!(dtype, DType::E4M3 | DType::E5M2) || dtype == DType::E2M1 && engine.converts_to_e2m1()
}

/// What a value of narrow floats is converted from last, at the same element: packing converts once more, and alike.
fn before_rounding(
    engine: &mut Engine<'_>,
    dtype: DType,
    value: ValueId,
    coordinates: &[IndexId],
) -> (ValueId, Vec<IndexId>) {
    let (mut at, mut place) = (value, coordinates.to_vec());
    let rounds = packing_rounds(engine, dtype);
    loop {
        let node = &engine.program.values[at];
        match &node.op {
            Op::Cast(_) if rounds => {
                let from = engine.program.ty(node.operands[0]).dtype;
                if from.is_float() && from != DType::F64 {
                    return (node.operands[0], place);
                }
            }
            op if op.is(Group::Movement) => {
                if let Some(inner) = engine.moved(node, &place) {
                    (at, place) = (node.operands[0], inner);
                    continue;
                }
            }
            _ => {}
        }
        return (value, coordinates.to_vec());
    }
}

/// Stores the outputs that have one element for each block, where its row and the block exist.
fn store_per_block(
    engine: &mut Engine<'_>,
    plan: &Plan,
    places: &[Place],
    (first_row, rows): (R<B32>, u32),
    columns: &BlockColumns,
    width: u32,
) -> Result<(), Fault> {
    if plan.per_block.is_empty() {
        return Ok(());
    }
    let mut stores = None;
    if width > 1 {
        let thread = engine.k.tid_x();
        let lane = engine.k.and_b32(thread, width - 1);
        stores = Some(engine.k.setp_eq_u32(lane, 0));
    }
    let mut each: BTreeMap<(u32, u32), &Place> = BTreeMap::new();
    for place in places {
        each.entry((place.row, place.block)).or_insert(place);
    }
    engine.set_lanes(1);
    for ((row, block), place) in each {
        let mut pred = stores;
        let mut also = |engine: &mut Engine<'_>, more| {
            pred = Some(match pred {
                None => more,
                Some(pred) => engine.k.and_pred(pred, more),
            });
        };
        if !plan.problem.m.is_multiple_of(rows as usize) {
            let at = engine.k.add_u32(first_row, row);
            let exists = engine.k.setp_lt_u32(at, plan.problem.m as u32);
            also(engine, exists);
        }
        if let Some(exists) = columns.exists(engine, block) {
            also(engine, exists);
        }
        let guard = match pred {
            None => GuardId::ALWAYS,
            Some(pred) => engine.guard_by(GuardId::ALWAYS, pred),
        };
        for &position in &plan.per_block {
            let (value, _) = engine.program.outputs[position];
            let coordinates = place.of(value)?;
            let element: Lanes = engine.emit(value, coordinates)?;
            engine.store_output(position, coordinates, &element, guard)?;
        }
    }
    Ok(())
}
