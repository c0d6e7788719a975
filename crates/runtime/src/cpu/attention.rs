//! Attention: scores, softmax and weighted values of a tile of queries at a time; the scores never reach memory.

use super::data::{Class, with_lane};
use super::gemm::{Gemm, Grid, Matrix, multiply_tiles};
use super::kernel::{Arg, Kernel, Out};
use super::layout::{Layout, Walk};
use super::number::Float;
use super::rounding;
use super::row;
use gable_ir::OpError;
use gable_ir::ops::Attention as Op;
use gable_tensor::{DType, Scalar};
use std::marker::PhantomData;

/// Scores of one task: 256 KiB of f32, within the second-level cache.
const SCORE_ELEMENTS: usize = 64 * 1024;

/// Attention over `[batch, heads, tokens, width]` of one float type.
pub(super) struct Attention<F> {
    pub op: Op,
    pub dtype: DType,
    pub lane: PhantomData<F>,
}

/// One head's matrix of a `[batch, heads, tokens, width]` operand.
fn head<'a, F: Float>(arg: &Arg<'a>, batch: usize, head: usize) -> Matrix<'a, F> {
    let layout = arg.layout;
    Matrix {
        data: arg.lanes::<F>(),
        offset: layout.offset_at(0..2, batch * layout.shape[1] + head),
        rows: layout.shape[2],
        columns: layout.shape[3],
        row_stride: layout.strides[2],
        column_stride: layout.strides[3],
    }
}

impl<F: Gemm + Float> Kernel for Attention<F> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (q, k, v, out) = (&args[0], &args[1], &args[2], out.lanes::<F>());
        let (heads, queries) = (q.layout.shape[1], q.layout.shape[2]);
        let (shared, keys, width) = (heads / k.layout.shape[1].max(1), k.layout.shape[2], v.layout.shape[3]);
        if keys == 0 {
            out.fill(F::ZERO);
            return Ok(());
        }
        let mask = args.get(3).map(|mask| (mask, mask.layout.broadcast(&[q.layout.shape[0], heads, queries, keys])));
        let grid = Grid::stacked(q.layout.shape[0] * heads, queries, width);
        let tile = (SCORE_ELEMENTS / keys).clamp(16, queries.max(16)).min(queries.max(1));
        multiply_tiles(out, &grid, (tile, width.max(1)), |tile, multiply| {
            let (batch, number) = (tile.outer / heads, tile.outer % heads);
            let q = head::<F>(q, batch, number).part(tile.rows.clone(), 0..q.layout.shape[3]);
            let k = head::<F>(k, batch, number / shared);
            let k = Matrix {
                rows: k.columns,
                columns: k.rows,
                row_stride: k.column_stride,
                column_stride: k.row_stride,
                ..k
            };
            let mut scores = vec![F::ZERO; tile.rows.len() * keys];
            if q.columns > 0 {
                let whole = Grid::stacked(1, tile.rows.len(), keys);
                multiply_tiles(&mut scores, &whole, (tile.rows.len(), keys), |_, multiply| multiply(q, k));
            }
            for (query, row) in tile.rows.clone().zip(scores.chunks_mut(keys)) {
                self.shape_scores(row);
                if let Some((mask, layout)) = &mask {
                    apply_mask(mask, layout, (tile.outer * queries + query) * keys, row);
                }
                self.hide(row, query, queries);
                row::softmax(row);
                F::round_to(self.dtype, row);
            }
            let weights = Matrix {
                data: &scores,
                offset: 0,
                rows: tile.rows.len(),
                columns: keys,
                row_stride: keys as isize,
                column_stride: 1,
            };
            multiply(weights, head::<F>(v, batch, number / shared).part(0..keys, tile.columns.clone()));
        });
        rounding::round_all(self.dtype, out);
        Ok(())
    }
}

impl<F: Float> Attention<F> {
    /// Scale and soft cap.
    fn shape_scores(&self, row: &mut [F]) {
        let scale = F::from_f64(self.op.scale);
        row.iter_mut().for_each(|x| *x = *x * scale);
        if self.op.softcap > 0.0 {
            let cap = F::from_f64(self.op.softcap);
            row.iter_mut().for_each(|x| *x = (*x / cap).tanh() * cap);
        }
    }

    /// Causality and window.
    fn hide(&self, row: &mut [F], query: usize, queries: usize) {
        if !self.op.causal && self.op.window == 0 {
            return;
        }
        let position = query as i64 + row.len() as i64 - queries as i64;
        let window = if self.op.window > 0 { self.op.window as i64 } else { i64::MAX };
        for (column, x) in row.iter_mut().enumerate() {
            let distance = position - column as i64;
            if distance < 0 || distance >= window {
                *x = F::NEG_INFINITY;
            }
        }
    }
}

/// Adds a float mask's row to the scores, or hides where a bool mask is false.
fn apply_mask<F: Float>(mask: &Arg<'_>, layout: &Layout, start: usize, row: &mut [F]) {
    let walk = Walk::new(layout);
    if mask.data.class() == Class::Bool {
        let mut keep = vec![false; row.len()];
        walk.read(mask.lanes::<bool>(), start, &mut keep);
        row.iter_mut().zip(keep).filter(|(_, keep)| !keep).for_each(|(x, _)| *x = F::NEG_INFINITY);
        return;
    }
    with_lane!(mask.data.class(), T => {
        let mut added = vec![T::default(); row.len()];
        walk.read(mask.lanes::<T>(), start, &mut added);
        row.iter_mut().zip(added).for_each(|(x, added)| *x = *x + F::from_scalar(Scalar::F(to_f64(added))));
    });
}

fn to_f64<T: super::data::Lane>(x: T) -> f64 {
    x.to_scalar().as_f64()
}
