//! Splitting work over threads. What a task computes depends on sizes alone, so results do not depend on their number.

use rayon::prelude::*;

/// Work of one task, in elementary steps: some ten microseconds, far above what handing a task over takes.
const TASK_WORK: usize = 16 * 1024;

/// Calls `work` with consecutive groups of whole rows of `out`, and the number of each group's first row.
/// `row` is a row's length, `row_work` roughly how many elementary steps a row takes.
pub(super) fn for_each_chunk<T: Send>(
    out: &mut [T],
    row: usize,
    row_work: usize,
    work: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    if out.is_empty() {
        return;
    }
    let rows = (TASK_WORK / row_work.max(1)).max(1);
    if out.len() <= rows * row {
        return work(0, out);
    }
    out.par_chunks_mut(rows * row).enumerate().for_each(|(chunk, out)| work(chunk * rows, out));
}

/// As [`for_each_chunk`], row by row.
pub(super) fn for_each_row<T: Send>(
    out: &mut [T],
    row: usize,
    row_work: usize,
    work: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    for_each_chunk(out, row, row_work, |first, rows| {
        rows.chunks_mut(row).enumerate().for_each(|(i, out)| work(first + i, out));
    });
}
