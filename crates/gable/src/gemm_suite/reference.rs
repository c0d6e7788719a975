//! Whether a result is right: some of its rows and columns against sums in f64.
//!
//! The first and the last row and column are always among them, so that edges are.

use super::case::{BLOCK, Case, Form, GROUP, e2m1};
use gable_tensor::{DType, Scalar, Tensor};
use rayon::prelude::*;

/// Rows and columns that are compared, at most.
const SAMPLED: usize = 24;

/// Positions in a result.
pub struct Sample {
    /// Rows, of all products together.
    pub rows: Vec<usize>,
    /// Columns.
    pub columns: Vec<usize>,
}

impl Sample {
    /// Positions spread over the whole result.
    pub fn of(case: &Case) -> Sample {
        let [m, n, _] = case.sizes;
        let n = if case.form == Form::Swiglu { n / 2 } else { n };
        let products = if case.form == Form::Grouped { 1 } else { case.batch };
        Sample { rows: spread(m * products), columns: spread(n) }
    }

    /// What belongs there, row by row.
    pub fn expected(&self, case: &Case, inputs: &[Tensor]) -> Vec<f64> {
        let [m, n, k] = case.sizes;
        let firsts: Vec<Vec<f64>> = self.rows.iter().map(|&row| line(&inputs[0], row * k, 1, k)).collect();
        let seconds = |input: &Tensor, product: usize| -> Vec<Vec<f64>> {
            let column = |&column: &usize| match case.form {
                Form::Batched => line(input, product * k * n + column, n, k),
                Form::Grouped => line(input, (product * n + column) * k, 1, k),
                Form::Weights4 => weights(input, &inputs[2], column, k),
                _ => line(input, column * k, 1, k),
            };
            self.columns.par_iter().map(column).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let blocks = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|(a, b)| dot(a, b)).collect()
        };
        let at = |input: &Tensor, index: usize| input.get(index).as_f64();
        let second = seconds(&inputs[1], 0);
        let up = if case.form == Form::Swiglu { seconds(&inputs[2], 0) } else { Vec::new() };
        let row_of = |(position, &row): (usize, &usize)| -> Vec<f64> {
            let product = match case.form {
                Form::Grouped => group_of(&case.groups(), row),
                _ => row / m,
            };
            let own = if case.batch > 1 { seconds(&inputs[1], product) } else { Vec::new() };
            let second = if case.batch > 1 { &own } else { &second };
            let value = |(place, &column): (usize, &usize)| {
                let product = match case.form {
                    Form::Blocks => blocks(&firsts[position], &second[place])
                        .into_iter()
                        .enumerate()
                        .map(|(block, sum)| {
                            let column = column / BLOCK * (k / BLOCK) + block;
                            sum * at(&inputs[2], block * m + row) * at(&inputs[3], column)
                        })
                        .sum(),
                    _ => dot(&firsts[position], &second[place]),
                };
                match case.form {
                    Form::Plain | Form::Weights4 | Form::Batched | Form::Blocks | Form::Grouped | Form::Quantised => {
                        product
                    }
                    Form::BiasGelu => gelu(product + at(&inputs[2], column)),
                    Form::Swiglu => product / (1.0 + (-product).exp()) * dot(&firsts[position], &up[place]),
                    Form::Residual => product + at(&inputs[2], row * n + column),
                    Form::Scaled => product * at(&inputs[2], row) * at(&inputs[3], column),
                    Form::Weights => product * at(&inputs[2], column),
                }
            };
            self.columns.iter().enumerate().map(value).collect()
        };
        self.rows.par_iter().enumerate().flat_map_iter(row_of).collect()
    }

    /// The sampled columns of downloaded rows of `result`.
    pub fn found(&self, result: DType, rows: &[Vec<u8>]) -> Vec<f64> {
        let width = result.bytes();
        let value = |row: &Vec<u8>, column: usize| Scalar::load(result, &row[column * width..][..width]).as_f64();
        rows.iter().flat_map(|row| self.columns.iter().map(move |&column| value(row, column))).collect()
    }
}

/// Elements times the scale of the [`BLOCK`] columns that each is in: `scales` are rows of f32.
pub fn dequantised(sample: &Sample, elements: Vec<f64>, scales: &[Vec<u8>]) -> Vec<f64> {
    let scale = |row: &Vec<u8>, column: usize| Scalar::load(DType::F32, &row[column / BLOCK * 4..][..4]).as_f64();
    let scales = scales.iter().flat_map(|row| sample.columns.iter().map(move |&column| scale(row, column)));
    elements.into_iter().zip(scales).map(|(element, scale)| element * scale).collect()
}

/// The length of the difference over the length of what is expected; infinite where something is not a number.
pub fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    let error = (difference / square(&mut expected.iter().copied())).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// The group that a row is in.
fn group_of(groups: &[usize], row: usize) -> usize {
    let ends = groups.iter().scan(0, |end, rows| {
        *end += rows;
        Some(*end)
    });
    ends.take_while(|&end| end <= row).count()
}

fn spread(size: usize) -> Vec<usize> {
    let count = size.min(SAMPLED);
    let mut positions: Vec<usize> =
        (0..count).map(|i| if count == 1 { 0 } else { i * (size - 1) / (count - 1) }).collect();
    positions.dedup();
    positions
}

/// `count` elements from `start` on, `step` apart.
fn line(tensor: &Tensor, start: usize, step: usize, count: usize) -> Vec<f64> {
    let (dtype, width) = (tensor.dtype(), tensor.dtype().bytes());
    let element = |i: usize| Scalar::load(dtype, &tensor.bytes()[(start + i * step) * width..][..width]).as_f64();
    (0..count).map(element).collect()
}

/// A column of weights of 4 bits, times their scales.
fn weights(codes: &Tensor, scales: &Tensor, column: usize, terms: usize) -> Vec<f64> {
    let bytes = &codes.bytes()[column * terms / 2..][..terms / 2];
    let numbers = e2m1();
    let elements = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(|code| numbers[usize::from(code)]);
    let scales = line(scales, column * terms / GROUP, 1, terms / GROUP);
    elements.enumerate().map(|(term, element)| element * scales[term / GROUP]).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gable_ir::eval;

    /// Against the reference evaluator, at sizes where every row is sampled.
    #[test]
    fn the_reference_is_that_of_the_graph() {
        let forms =
            [Form::Plain, Form::BiasGelu, Form::Swiglu, Form::Residual, Form::Scaled, Form::Weights, Form::Batched];
        let mut cases: Vec<Case> = forms
            .into_iter()
            .map(|form| Case { form, sizes: [5, 6, 7], batch: if form == Form::Batched { 3 } else { 1 } })
            .collect();
        cases.push(Case { form: Form::Grouped, sizes: [11, 6, 7], batch: 4 });
        cases.push(Case { form: Form::Blocks, sizes: [3, 2 * BLOCK, 3 * BLOCK], batch: 1 });
        cases.push(Case { form: Form::Weights4, sizes: [5, 6, 3 * GROUP], batch: 1 });
        cases.push(Case { form: Form::Quantised, sizes: [5, 2 * BLOCK, 7], batch: 1 });
        for case in cases {
            let inputs = super::super::data::inputs(&case, 3).expect("the sizes are small");
            let module = case.module().expect("the graph can be built");
            let names = case.inputs();
            let given: Vec<(&str, &Tensor)> = names.iter().map(|(name, ..)| *name).zip(&inputs).collect();
            let outputs = eval::evaluate(&module, &given).expect("the graph is right");
            let sample = Sample::of(&case);
            let y = &outputs[case.result()].1;
            let columns = *y.shape().last().expect("a result has columns");
            let dtype = case.result_type();
            let rows: Vec<Vec<u8>> = y.bytes().chunks(columns * dtype.bytes()).map(<[u8]>::to_vec).collect();
            assert_eq!(rows.len(), sample.rows.len(), "{case}");
            let mut found = sample.found(dtype, &rows);
            // Each element is rounded to 8 bits, some up to three times; codes to four.
            let mut limit = 3.0 * 2f64.powi(-9);
            if let Some(position) = case.scales() {
                let scales = outputs[position].1.bytes().chunks(columns / BLOCK * 4).map(<[u8]>::to_vec);
                found = dequantised(&sample, found, &scales.collect::<Vec<_>>());
                limit = 2f64.powi(-5);
            }
            let error = relative_error(&found, &sample.expected(&case, &inputs));
            assert!(error < limit, "{case}: {error}");
        }
    }

    #[test]
    fn edges_are_sampled_and_nonsense_is_an_infinite_error() {
        assert_eq!(spread(1), [0]);
        assert_eq!((spread(50257)[0], spread(50257)[SAMPLED - 1]), (0, 50256));
        assert_eq!(relative_error(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative_error(&[f64::NAN], &[1.0]), f64::INFINITY);
    }
}
