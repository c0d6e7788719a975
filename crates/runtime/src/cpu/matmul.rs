//! Matrix products: tiled for floats, plain for integers, and without packing where there is a single row.

use super::data::Lane;
use super::gemm::{Gemm, Grid, Matrix, multiply_tiles, tile_size};
use super::kernel::{Arg, Kernel, Out};
use super::layout::Layout;
use super::number::{Float, Int};
use super::parallel;
use super::rounding::{self, Round};
use gable_ir::OpError;
use gable_tensor::DType;
use std::marker::PhantomData;

/// Sizes of a batched product, and the layouts of its operands as `[batch..., m, k]` and `[batch..., k, n]`.
#[derive(Clone, Debug)]
struct Product {
    a: Layout,
    b: Layout,
    /// Number of batch axes.
    lead: usize,
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    out: DType,
}

impl Product {
    fn new(a: &Layout, b: &Layout, out: DType) -> Product {
        let (mut a, mut b) = (a.clone(), b.clone());
        let lead = a.shape.len() - 2;
        // One second operand for the whole batch: the batch is more rows.
        if lead > 0 && b.strides[..lead].iter().zip(&b.shape).all(|(&stride, &size)| stride == 0 || size == 1) {
            let rows: usize = a.shape[..=lead].iter().product();
            if let Some(rows) = a.reshaped(&[rows, a.shape[lead + 1]]) {
                a = rows;
                b = b.tail(lead, b.offset);
            }
        }
        let lead = a.shape.len() - 2;
        let (m, k, n) = (a.shape[lead], a.shape[lead + 1], b.shape[lead + 1]);
        Product { batch: a.shape[..lead].iter().product(), a, b, lead, m, k, n, out }
    }

    fn matrix<'a, T>(&self, layout: &Layout, data: &'a [T], batch: usize) -> Matrix<'a, T> {
        Matrix {
            data,
            offset: layout.offset_at(0..self.lead, batch),
            rows: layout.shape[self.lead],
            columns: layout.shape[self.lead + 1],
            row_stride: layout.strides[self.lead],
            column_stride: layout.strides[self.lead + 1],
        }
    }
}

/// The product of floats.
pub(super) struct FloatMatmul<T> {
    product: Product,
    lane: PhantomData<T>,
}

impl<T> FloatMatmul<T> {
    pub fn new(a: &Layout, b: &Layout, out: DType) -> FloatMatmul<T> {
        FloatMatmul { product: Product::new(a, b, out), lane: PhantomData }
    }
}

impl<T: Gemm + Float> Kernel for FloatMatmul<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let product = &self.product;
        let (a, b, out) = (args[0].lanes::<T>(), args[1].lanes::<T>(), out.lanes::<T>());
        let unit_b = [product.b.strides[product.lead], product.b.strides[product.lead + 1]].contains(&1);
        if product.k == 0 {
            out.fill(T::ZERO);
        } else if product.m == 1 && unit_b {
            parallel::for_each_row(out, product.n, product.n * product.k, |batch, row| {
                let a = product.matrix(&product.a, a, batch);
                let b = product.matrix(&product.b, b, batch);
                multiply_row(a, b, row);
            });
        } else {
            let grid = Grid::stacked(product.batch, product.m, product.n);
            multiply_tiles(out, &grid, tile_size(product.m, product.n, product.k), |tile, multiply| {
                let a = product.matrix(&product.a, a, tile.outer);
                let b = product.matrix(&product.b, b, tile.outer);
                multiply(a.part(tile.rows.clone(), 0..product.k), b.part(0..product.k, tile.columns.clone()));
            });
        }
        rounding::round_all(product.out, out);
        Ok(())
    }
}

/// Lanes of partial sums: four vectors of four f32.
const LANES: usize = 16;

/// One row times a matrix with unit stride along one axis: every element of the matrix is read once.
fn multiply_row<T: Float>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: &mut [T]) {
    let mut row = vec![T::ZERO; b.rows];
    super::layout::copy_run(a.data, a.offset as isize, a.column_stride, &mut row);
    let block = 256;
    if b.column_stride == 1 {
        // Sums of a block of columns stay in the first-level cache while rows stream by.
        parallel::for_each_row(out, block, block * b.rows, |i, sums| {
            sums.fill(T::ZERO);
            for (p, &factor) in row.iter().enumerate() {
                let at = b.offset.strict_add_signed(p as isize * b.row_stride) + i * block;
                let b = &b.data[at..at + sums.len()];
                sums.iter_mut().zip(b).for_each(|(sum, &b)| *sum = *sum + factor * b);
            }
        });
        return;
    }
    parallel::for_each_row(out, 1, b.rows, |j, out| {
        let at = b.offset.strict_add_signed(j as isize * b.column_stride);
        out[0] = dot(&row, &b.data[at..at + b.rows]);
    });
}

fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let tail = rest.fold(T::ZERO, |sum, (&a, &b)| sum + a * b);
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] = lanes[i] + a[i] * b[i];
        }
    }
    lanes.iter().fold(tail, |sum, &lane| sum + lane)
}

/// The product of integers, wrapping.
pub(super) struct IntMatmul<T> {
    product: Product,
    lane: PhantomData<T>,
}

impl<T> IntMatmul<T> {
    pub fn new(a: &Layout, b: &Layout, out: DType) -> IntMatmul<T> {
        IntMatmul { product: Product::new(a, b, out), lane: PhantomData }
    }
}

impl<T: Int + Lane + Round> Kernel for IntMatmul<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let product = &self.product;
        let (a, b, out) = (args[0].lanes::<T>(), args[1].lanes::<T>(), out.lanes::<T>());
        parallel::for_each_row(out, product.n, product.n * product.k, |row, out| {
            let a = product.matrix(&product.a, a, row / product.m);
            let b = product.matrix(&product.b, b, row / product.m);
            let at = |matrix: &Matrix<'_, T>, row: usize, column: usize| {
                let step = row as isize * matrix.row_stride + column as isize * matrix.column_stride;
                matrix.data[matrix.offset.strict_add_signed(step)]
            };
            out.fill(T::ZERO);
            for p in 0..product.k {
                let factor = at(&a, row % product.m, p);
                for (j, out) in out.iter_mut().enumerate() {
                    *out = out.add(factor.mul(at(&b, p, j)));
                }
            }
            T::round_to(product.out, out);
        });
        Ok(())
    }
}
