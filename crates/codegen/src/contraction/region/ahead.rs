//! What a region reads besides its sums, asked for while a tile is multiplied.
//!
//! Matrices with an element for each result come as far as L2. Vectors with an element for each column, a bias say, come to
//! registers, where they are few enough: a warp that finishes a tile has nobody beside it to hide the time of a load.

use super::super::normal::Plan;
use super::super::problem::ContractionError;
use super::super::surround::Place;
use super::{Region, batch_indices};
use crate::engine::Engine;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ptx::{B32, KernelBuilder, R, Reg};
use std::collections::BTreeMap;

/// Bytes of a line of L2.
const LINE: u32 = 128;

/// Registers that a thread keeps of what it loads ahead: those that sums of 128 registers leave free.
const REGISTERS: u32 = 16;

/// Packed elements that were loaded ahead, by input and distance from the thread's first column.
pub(super) type Ahead = BTreeMap<(ValueId, u32), Vec<Reg>>;

impl Region<'_> {
    /// As [`super::Surround::prefetch`].
    pub(super) fn prefetch_rows(
        &mut self,
        k: &mut KernelBuilder,
        place: Place<'_>,
        columns: u32,
        but: Option<ValueId>,
    ) {
        let (m, n) = (self.plan.problem.m, self.plan.problem.n);
        for (value, rows) in self.plan.row_inputs(&mut self.engine) {
            let Some(pointer) = self.engine.input_pointer(value).filter(|_| but != Some(value)) else { continue };
            let bytes = rows.dtype.bytes() as i64;
            let inside = k.setp_lt_u32(place.row, m as u32);
            let across = k.setp_lt_u32(place.column, n as u32);
            let inside = k.and_pred(inside, across);
            k.if_(inside, |k| {
                let mut at = k.mad_wide_u32(place.column, bytes as u32, pointer);
                let row = k.cvt_u64_u32(place.row);
                at = k.mad_lo_u64(row, rows.stride * bytes, at);
                for (&coordinate, &stride) in place.batch.iter().zip(&rows.batch_strides) {
                    let coordinate = k.cvt_u64_u32(coordinate);
                    at = k.mad_lo_u64(coordinate, stride * bytes, at);
                }
                let at = if rows.start == 0 { at } else { k.add_u64(at, rows.start * bytes) };
                let last = (columns - 1) * bytes as u32;
                let distances = (0..last).step_by(LINE as usize).chain([last]);
                if n.is_multiple_of(columns as usize) {
                    distances.for_each(|distance| k.prefetch_l2(at.at(distance as i32)));
                    return;
                }
                // Not beyond the last column, which may be the last of the memory.
                let left = k.sub_u32(n as u32 - 1, place.column);
                let left = k.mul_lo_u32(left, bytes as u32);
                for distance in distances {
                    let distance = k.min_u32(left, distance);
                    let line = k.mad_wide_u32(distance, 1, at);
                    k.prefetch_l2(line.at(0));
                }
            });
        }
    }

    /// As [`super::Surround::load_ahead`].
    pub(super) fn load_columns(
        &mut self,
        k: &mut KernelBuilder,
        batch: &[R<B32>],
        (first_row, first_column): (R<B32>, R<B32>),
        extent: (u32, u32),
        (columns, lanes): (&[u32], u32),
    ) -> Result<(), ContractionError> {
        let mut ahead = Ahead::new();
        self.write(k, |engine, plan| {
            let mut free = REGISTERS;
            let batch = batch_indices(engine, plan, batch);
            for (value, dtype) in plan.column_inputs(engine) {
                let words = (lanes * dtype.bytes() as u32).div_ceil(4) * columns.len() as u32;
                if words > free {
                    continue;
                }
                free -= words;
                for &distance in columns {
                    let at = (first_row, first_column, distance);
                    let Some(flat) = Self::column_read(engine, plan, value, &batch, at, extent, lanes)? else {
                        continue;
                    };
                    if let Some(loaded) = engine.load_packed(value, flat)? {
                        ahead.insert((value, distance), loaded);
                    }
                }
            }
            Ok(())
        })?;
        self.ahead = ahead;
        Ok(())
    }

    /// The element of an input that is read at so many columns from the first.
    fn column_read(
        engine: &mut Engine<'_>,
        plan: &Plan,
        value: ValueId,
        batch: &[IndexId],
        (row, column, distance): (R<B32>, R<B32>, u32),
        extent: (u32, u32),
        lanes: u32,
    ) -> Result<Option<IndexId>, Fault> {
        let problem = &plan.problem;
        let row = Self::fragment_index(engine, (row, 0), problem.m, (extent.0, problem.ragged), 1);
        let column = Self::fragment_index(engine, (column, distance), problem.n, (extent.1, false), lanes);
        engine.set_lanes(lanes);
        let axes = plan.axes_at(engine, batch, row, column, None);
        let result = plan.result(engine, &axes);
        plan.read_at(engine, value, &result)
    }

    /// States what was loaded ahead for a fragment, so that it is not loaded again.
    pub(super) fn bring_ahead(
        engine: &mut Engine<'_>,
        plan: &Plan,
        ahead: &Ahead,
        distance: u32,
        result: &[IndexId],
    ) -> Result<(), Fault> {
        for ((value, _), words) in ahead.iter().filter(|((_, at), _)| *at == distance) {
            if let Some(flat) = plan.read_at(engine, *value, result)? {
                engine.bring(*value, flat, words)?;
            }
        }
        Ok(())
    }
}
