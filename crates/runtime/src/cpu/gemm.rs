//! Products of strided matrices, tile by tile in parallel: all of the cpu device's `unsafe` code.
//!
//! A [`Grid`] says where equal matrices lie in the output; its tiles are disjoint by construction, which is checked.
//! Tiles depend on sizes alone, and each is summed in one task, so results do not depend on the number of threads.

use super::data::Lane;
use rayon::prelude::*;
use std::ops::Range;

/// Arithmetic of one tile, roughly: enough for the packing of operands to be paid off, small enough to share out.
const TILE_FLOPS: usize = 1 << 25;

/// A matrix to be read: its elements are `data[offset + row * row_stride + column * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub offset: usize,
    pub rows: usize,
    pub columns: usize,
    pub row_stride: isize,
    pub column_stride: isize,
}

impl<'a, T> Matrix<'a, T> {
    /// The rows and columns of these ranges.
    pub fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Matrix<'a, T> {
        let start = rows.start as isize * self.row_stride + columns.start as isize * self.column_stride;
        Matrix {
            offset: if rows.is_empty() || columns.is_empty() { 0 } else { self.offset.strict_add_signed(start) },
            rows: rows.len(),
            columns: columns.len(),
            ..*self
        }
    }

    /// Panics when an element lies outside the data.
    fn check(&self) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let reach = |n: usize, stride: isize| (n as isize - 1).strict_mul(stride);
        let (down, across) = (reach(self.rows, self.row_stride), reach(self.columns, self.column_stride));
        let first = self.offset as isize + down.min(0) + across.min(0);
        let last = self.offset as isize + down.max(0) + across.max(0);
        assert!(first >= 0 && (last as usize) < self.data.len(), "a matrix lies in its buffer");
    }
}

/// A float with a matrix product.
pub(super) trait Gemm: Lane {
    /// Writes `a b` to rows of `c` that are `c_stride` apart.
    ///
    /// # Safety
    /// `a` and `b` lie in their data, and `c` is valid for writes of `a.rows` rows of `b.columns` elements.
    #[expect(unsafe_code, reason = "the library's kernels take raw pointers")]
    unsafe fn product(a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: *mut Self, c_stride: isize);
}

macro_rules! gemm {
    ($( $t:ident = $gemm:ident ),+) => { $(
        impl Gemm for $t {
            #[expect(unsafe_code, reason = "the library's kernels take raw pointers")]
            unsafe fn product(a: Matrix<'_, $t>, b: Matrix<'_, $t>, c: *mut $t, c_stride: isize) {
                let (m, k, n) = (a.rows, a.columns, b.columns);
                let (a_start, b_start) = (a.data[a.offset..].as_ptr(), b.data[b.offset..].as_ptr());
                // SAFETY: The caller promises that all three lie in their memory; `c` is not read, as beta is 0.
                unsafe {
                    matrixmultiply::$gemm(
                        m, k, n, 1.0, a_start, a.row_stride, a.column_stride, b_start, b.row_stride, b.column_stride,
                        0.0, c, c_stride, 1,
                    );
                }
            }
        }
    )+ };
}
gemm!(f32 = sgemm, f64 = dgemm);

/// `outer.0 * inner.0` matrices of `rows` by `columns` in one buffer: number `(o, i)` starts at
/// `o * outer.1 + i * inner.1`, its rows are `row_stride` apart, its columns 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub outer: (usize, usize),
    pub inner: (usize, usize),
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
}

impl Grid {
    /// Matrices one after the other.
    pub fn stacked(count: usize, rows: usize, columns: usize) -> Grid {
        Grid { outer: (count, rows * columns), inner: (1, 0), rows, columns, row_stride: columns }
    }

    /// Panics unless all elements are distinct and below `len`.
    fn check(&self, len: usize) {
        let span = |n: usize, stride: usize, extent: usize| (n - 1).strict_mul(stride).strict_add(extent);
        let matrix = span(self.rows, self.row_stride, self.columns);
        let side_by_side = span(self.inner.0, self.inner.1, self.columns) <= self.row_stride;
        let (inner_fits, inner) = if side_by_side && self.inner.1 >= self.columns {
            (true, span(self.rows, self.row_stride, span(self.inner.0, self.inner.1, self.columns)))
        } else {
            (self.inner.0 == 1 || self.inner.1 >= matrix, span(self.inner.0, self.inner.1, matrix))
        };
        let outer_fits = self.outer.0 == 1 || self.outer.1 >= inner;
        let rows_fit = self.rows == 1 || self.row_stride >= self.columns;
        assert!(rows_fit && inner_fits && outer_fits, "the matrices of {self:?} overlap");
        assert!(span(self.outer.0, self.outer.1, inner) <= len, "the matrices of {self:?} leave {len} elements");
    }
}

/// A part of one matrix of a grid.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub outer: usize,
    pub inner: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// How many rows and columns of a product of inner size `depth` one task takes. Halving the longer side keeps the
/// share of packing low.
pub(super) fn tile_size(rows: usize, columns: usize, depth: usize) -> (usize, usize) {
    let (mut tile_rows, mut tile_columns) = (rows, columns);
    let flops = |m: usize, n: usize| 2usize.saturating_mul(m).saturating_mul(n).saturating_mul(depth);
    while flops(tile_rows, tile_columns) > TILE_FLOPS && tile_rows.max(tile_columns) > 32 {
        let side = if tile_rows > tile_columns { &mut tile_rows } else { &mut tile_columns };
        *side = side.div_ceil(2).next_multiple_of(16);
    }
    (tile_rows, tile_columns)
}

/// A pointer that tasks may share, since each writes elements of its own.
struct Shared<T>(*mut T);

#[expect(unsafe_code, reason = "tiles of one output are written by several tasks")]
// SAFETY: Only `multiply_tiles` makes one, and there every task writes a tile of its own; tiles are disjoint.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn start(&self) -> *mut T {
        self.0
    }
}

/// Fills every matrix of `grid` in `out`. For each tile, `operands` calls its argument once with the matrices whose
/// product the tile is.
#[expect(unsafe_code, reason = "tiles of one output are written by several tasks")]
pub(super) fn multiply_tiles<T: Gemm>(
    out: &mut [T],
    grid: &Grid,
    (tile_rows, tile_columns): (usize, usize),
    operands: impl Fn(&Tile, &mut dyn FnMut(Matrix<'_, T>, Matrix<'_, T>)) + Sync,
) {
    if out.is_empty() || grid.outer.0 * grid.inner.0 * grid.rows * grid.columns == 0 {
        return;
    }
    grid.check(out.len());
    let (down, across) = (grid.rows.div_ceil(tile_rows), grid.columns.div_ceil(tile_columns));
    let shared = Shared(out.as_mut_ptr());
    let fill = |number: usize| {
        let (matrix, tile) = (number / (down * across), number % (down * across));
        let (row, column) = (tile / across * tile_rows, tile % across * tile_columns);
        let tile = Tile {
            outer: matrix / grid.inner.0,
            inner: matrix % grid.inner.0,
            rows: row..(row + tile_rows).min(grid.rows),
            columns: column..(column + tile_columns).min(grid.columns),
        };
        let start = tile.outer * grid.outer.1 + tile.inner * grid.inner.1 + row * grid.row_stride + column;
        operands(&tile, &mut |a, b| {
            let shapes = (a.rows, a.columns, b.columns);
            assert_eq!(shapes, (tile.rows.len(), b.rows, tile.columns.len()), "the operands have the tile's shape");
            a.check();
            b.check();
            // SAFETY: Both operands were checked. `Grid::check` proved every element of every matrix to lie in `out`
            // and to be distinct, and the tile is inside one matrix; tiles have different numbers, so no two tasks
            // write the same element, and `out` is borrowed mutably for as long as tasks run.
            unsafe { T::product(a, b, shared.start().add(start), grid.row_stride as isize) };
        });
    };
    match grid.outer.0 * grid.inner.0 * down * across {
        1 => fill(0),
        tiles => (0..tiles).into_par_iter().for_each(fill),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_stacked_and_interleaved_matrices() {
        let (m, k, n) = (37, 5, 50);
        let a: Vec<f64> = (0..m * k).map(|i| i as f64 % 7.0).collect();
        let b: Vec<f64> = (0..k * n).map(|i| i as f64 % 5.0).collect();
        let left = Matrix { data: &a, offset: 0, rows: m, columns: k, row_stride: k as isize, column_stride: 1 };
        // The second operand is the transpose of an [n, k] matrix.
        let right = Matrix { data: &b, offset: 0, rows: k, columns: n, row_stride: 1, column_stride: k as isize };
        for grid in
            [Grid::stacked(3, m, n), Grid { outer: (1, 0), inner: (3, n), rows: m, columns: n, row_stride: 3 * n }]
        {
            let mut out = vec![-1.0; 3 * m * n];
            multiply_tiles(&mut out, &grid, (16, 32), |tile, multiply| {
                multiply(left.part(tile.rows.clone(), 0..k), right.part(0..k, tile.columns.clone()));
            });
            for (matrix, row, column) in [(0, 0, 0), (1, 20, 33), (2, 36, 49), (2, 0, 49)] {
                let expected: f64 = (0..k).map(|p| a[row * k + p] * b[column * k + p]).sum();
                let start = if grid.inner.0 == 3 { matrix * n } else { matrix * m * n };
                assert_eq!(out[start + row * grid.row_stride + column], expected);
            }
        }
    }
}
