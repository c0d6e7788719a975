//! The problems of the suite: shapes of real models and awkward ones, and the graph of each.

use crate::Error;
use gable_ir::attr::ReduceKind;
use gable_ir::{Builder, Module, NodeId, OpError, Type, ops};
use gable_runtime::cuda::{Product, Scales};
use gable_tensor::random::Random;
use gable_tensor::{DType, Dim, Scalar, Tensor};
use std::fmt;

/// What is around the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Plain,
    /// A bias for each column and GELU by tanh.
    BiasGelu,
    /// Two products of half the columns: SiLU of one times the other.
    Swiglu,
    /// A matrix is added, and the squares of each row of the sum are added up.
    Residual,
    /// The result in 8 bits, with a scale for each 128 columns of a row.
    Quantised,
    /// Factors of 8 bits with a scale for each row and each column.
    Scaled,
    /// Factors of 8 bits; a scale for each 128 terms of a row, and for each 128 columns by 128 terms.
    Blocks,
    /// Weights of 8 bits with a scale for each column, activations of 16.
    Weights,
    /// Weights of 4 bits (e2m1, two to a byte) with a scale (e4m3) for each 16 terms of a column, activations of 16.
    Weights4,
    /// Rows in groups, each by a matrix of its own, as a mixture of experts has them; `batch` is their number.
    Grouped,
    /// Many products side by side, the second factor with its columns adjacent.
    Batched,
}

/// Names of the forms, in the order of the enum.
const FORMS: [(Form, &str); 11] = [
    (Form::Plain, "plain"),
    (Form::BiasGelu, "bias_gelu"),
    (Form::Swiglu, "swiglu"),
    (Form::Residual, "residual"),
    (Form::Quantised, "quantised"),
    (Form::Scaled, "scaled"),
    (Form::Blocks, "blocks"),
    (Form::Weights, "weights"),
    (Form::Weights4, "weights4"),
    (Form::Grouped, "grouped"),
    (Form::Batched, "batched"),
];

impl Form {
    /// Its name.
    pub fn name(self) -> &'static str {
        FORMS.iter().find(|(form, _)| *form == self).expect("the table has every form").1
    }
}

/// One problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// What is around the product.
    pub form: Form,
    /// Rows, columns, terms of each sum; for a pair, columns of both together.
    pub sizes: [usize; 3],
    /// Products side by side.
    pub batch: usize,
}

/// Shapes of transformers, diffusion models and decoders, by rows, columns and terms.
pub const SHAPES: [[usize; 3]; 18] = [
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [16384, 3072, 768],
    [65536, 4096, 1024],
    [262144, 5120, 1280],
    [4096, 6144, 4096],
    [4096, 28672, 4096],
    [4096, 4096, 14336],
    [2048, 128256, 2048],
    [512, 4096, 4096],
    [128, 4096, 4096],
    [64, 28672, 4096],
    [16, 28672, 4096],
    [16, 4096, 14336],
    [1, 6144, 4096],
    [1, 28672, 4096],
    [1, 4096, 14336],
    [1000, 1000, 1000],
];
/// Shapes whose epilogues are compared.
const FUSED: [[usize; 3]; 4] = [[16384, 3072, 768], [65536, 4096, 1024], [262144, 5120, 1280], [4096, 28672, 4096]];
/// Rows of a decoding step.
const DECODE_ROWS: [usize; 3] = [1, 4, 16];
/// Columns and terms of a decoding step.
const DECODE: [[usize; 2]; 4] = [[6144, 4096], [28672, 4096], [4096, 14336], [128256, 4096]];
/// The largest number of e4m3.
const LARGEST_E4M3: f64 = 448.0;
/// What a block's largest size counts as at least, so that its scale has a reciprocal.
const LEAST_SIZE: f64 = 1e-4;
/// Columns and terms that share a scale, where blocks do.
pub const BLOCK: usize = 128;
/// Codes of e2m1.
const E2M1_CODES: usize = 16;
/// Terms that share a scale, where weights have 4 bits.
pub const GROUP: usize = 16;
/// Sizes that no tile divides, and the aligned ones that they are held against.
const UNALIGNED: [[usize; 3]; 5] =
    [[4095, 4097, 4093], [17, 50257, 768], [1024, 1024, 1024], [4096, 4104, 4096], [24, 50264, 768]];
/// Products of attention, for each of 32 heads.
const BATCHED: [[usize; 3]; 2] = [[2048, 128, 2048], [2048, 2048, 128]];

/// Groups of rows, and all rows, columns, terms.
const GROUPED: [(usize, [usize; 3]); 2] = [(64, [8192, 4096, 14336]), (64, [8192, 14336, 4096])];

/// All problems, each once.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |form, sizes, batch| {
        let case = Case { form, sizes, batch };
        if !cases.contains(&case) {
            cases.push(case);
        }
    };
    SHAPES.iter().for_each(|&sizes| add(Form::Plain, sizes, 1));
    for form in [Form::BiasGelu, Form::Swiglu, Form::Residual, Form::Quantised] {
        FUSED.iter().for_each(|&sizes| add(form, sizes, 1));
    }
    // The library wants sizes that 16 divides of factors of 8 bits.
    SHAPES.iter().filter(|[_, n, k]| n % 16 == 0 && k % 16 == 0).for_each(|&sizes| add(Form::Scaled, sizes, 1));
    let whole_blocks = |[_, n, k]: &&[usize; 3]| n % BLOCK == 0 && k % BLOCK == 0;
    SHAPES.iter().filter(whole_blocks).for_each(|&sizes| add(Form::Blocks, sizes, 1));
    for form in [Form::Plain, Form::Weights, Form::Weights4] {
        for m in DECODE_ROWS {
            DECODE.iter().for_each(|&[n, k]| add(form, [m, n, k], 1));
        }
    }
    UNALIGNED.iter().for_each(|&sizes| add(Form::Plain, sizes, 1));
    GROUPED.iter().for_each(|&(groups, sizes)| add(Form::Grouped, sizes, groups));
    BATCHED.iter().for_each(|&sizes| add(Form::Batched, sizes, 32));
    cases
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m, n, k] = self.sizes;
        write!(f, "{}/{}/", self.types(), self.form.name())?;
        if self.batch > 1 {
            write!(f, "{}x", self.batch)?;
        }
        write!(f, "{m}x{n}x{k}")
    }
}

impl Case {
    /// The name of its factors' types: `bf16`, `fp8`, or `fp8w` and `fp4w` for weights alone.
    pub fn types(&self) -> &'static str {
        match self.form {
            Form::Scaled | Form::Blocks => "fp8",
            Form::Weights => "fp8w",
            Form::Weights4 => "fp4w",
            _ => "bf16",
        }
    }

    /// The element type that the tensor cores see.
    pub fn factors(&self) -> DType {
        if matches!(self.form, Form::Scaled | Form::Blocks) { DType::E4M3 } else { DType::BF16 }
    }

    /// Operations, a multiply-add counting as two.
    pub fn flops(&self) -> f64 {
        let products = if self.form == Form::Grouped { 1 } else { self.batch };
        2.0 * self.sizes.iter().map(|&size| size as f64).product::<f64>() * products as f64
    }

    /// Its inputs, in the graph's order: name, element type, shape.
    pub fn inputs(&self) -> Vec<(&'static str, DType, Vec<usize>)> {
        let [m, n, k] = self.sizes;
        let (x, w) = (vec![m, k], vec![n, k]);
        let (bf16, e4m3, f32) = (DType::BF16, DType::E4M3, DType::F32);
        match self.form {
            Form::Plain | Form::Quantised => vec![("x", bf16, x), ("w", bf16, w)],
            Form::BiasGelu => vec![("x", bf16, x), ("w", bf16, w), ("bias", bf16, vec![n])],
            Form::Swiglu => vec![("x", bf16, x), ("gate", bf16, vec![n / 2, k]), ("up", bf16, vec![n / 2, k])],
            Form::Residual => vec![("x", bf16, x), ("w", bf16, w), ("addend", bf16, vec![m, n])],
            Form::Scaled => vec![("x", e4m3, x), ("w", e4m3, w), ("row", f32, vec![m, 1]), ("column", f32, vec![1, n])],
            // Scales of neighbouring rows lie together, as quantising kernels write them and the library wants them.
            Form::Blocks => {
                let (row, column) = (vec![k / BLOCK, m], vec![n / BLOCK, k / BLOCK]);
                vec![("x", e4m3, x), ("w", e4m3, w), ("row", f32, row), ("column", f32, column)]
            }
            Form::Weights => vec![("x", bf16, x), ("w", e4m3, w), ("column", f32, vec![1, n])],
            Form::Weights4 => {
                vec![("x", bf16, x), ("w", DType::U8, vec![n, k / 2]), ("scales", e4m3, vec![n, k / GROUP])]
            }
            Form::Grouped => {
                let groups = self.batch;
                vec![("x", bf16, x), ("w", bf16, vec![groups, n, k]), ("ends", DType::I32, vec![groups])]
            }
            Form::Batched => vec![("x", bf16, vec![self.batch, m, k]), ("w", bf16, vec![self.batch, k, n])],
        }
    }

    /// The graph that computes it.
    pub fn module(&self) -> Result<Module, Error> {
        self.build().map_err(|error| Error::Request(format!("the graph of {self}: {error}")))
    }

    fn build(&self) -> Result<Module, OpError> {
        let mut b = Builder::new(self.form.name());
        let inputs: Vec<NodeId> =
            self.inputs().into_iter().map(|(name, dtype, shape)| b.input(name, Type::new(dtype, shape))).collect();
        let (x, w) = (inputs[0], inputs[1]);
        let rounded = |b: &mut Builder, w| {
            let transposed = b.transpose(w, &[1, 0])?;
            b.matmul(x, transposed)
        };
        let y = match self.form {
            Form::Plain => rounded(&mut b, w)?,
            Form::Batched => b.matmul(x, w)?,
            Form::Grouped => {
                let w = b.transpose(w, &[0, 2, 1])?;
                b.add(ops::GroupedMatmul { acc: DType::F32, out: DType::BF16 }, &[x, w, inputs[2]])?
            }
            Form::BiasGelu => {
                let product = rounded(&mut b, w)?;
                let sum = b.plus(product, inputs[2])?;
                b.add(ops::Gelu { tanh: true }, &[sum])?
            }
            Form::Swiglu => {
                let (gate, up) = (rounded(&mut b, w)?, rounded(&mut b, inputs[2])?);
                let gate = b.silu(gate)?;
                b.mul(gate, up)?
            }
            Form::Residual => {
                let product = rounded(&mut b, w)?;
                let sum = b.plus(product, inputs[2])?;
                let wide = b.cast(sum, DType::F32)?;
                let squares = b.mul(wide, wide)?;
                let squares = b.reduce(ReduceKind::Sum, squares, &[1], true)?;
                b.output("squares", squares);
                sum
            }
            Form::Quantised => {
                let product = rounded(&mut b, w)?;
                let (codes, scales) = quantised(&mut b, product, [self.sizes[0], self.sizes[1]])?;
                b.output("scales", scales);
                codes
            }
            Form::Blocks => {
                let [m, n, k] = self.sizes;
                let (rows, blocks) = (b.transpose(inputs[2], &[1, 0])?, inputs[3]);
                let x = dequantised(&mut b, x, rows, [m, k], [1, BLOCK])?;
                let w = dequantised(&mut b, w, blocks, [n, k], [BLOCK, BLOCK])?;
                let w = b.transpose(w, &[1, 0])?;
                b.add(ops::Matmul { acc: DType::F32, out: DType::BF16 }, &[x, w])?
            }
            Form::Weights4 => {
                let [_, n, k] = self.sizes;
                let w = unpacked(&mut b, w, [n, k])?;
                let scales = b.cast(inputs[2], DType::BF16)?;
                let w = scaled(&mut b, w, scales, [n, k], [1, GROUP])?;
                rounded(&mut b, w)?
            }
            Form::Scaled | Form::Weights => {
                let w = if self.form == Form::Weights { b.cast(w, DType::BF16)? } else { w };
                let w = b.transpose(w, &[1, 0])?;
                let wide = ops::Matmul { acc: DType::F32, out: DType::F32 };
                let mut product = b.add(wide, &[x, w])?;
                for &scale in &inputs[2..] {
                    product = b.mul(product, scale)?;
                }
                b.cast(product, DType::BF16)?
            }
        };
        b.output("y", y);
        Ok(b.finish())
    }

    /// Rows of each group, where rows are in groups: ragged, and the same each time.
    pub fn groups(&self) -> Vec<usize> {
        if self.form != Form::Grouped {
            return Vec::new();
        }
        let mut random = Random::named(1, "groups");
        let shares: Vec<u64> = (0..self.batch).map(|_| random.below(1000)).collect();
        let all = shares.iter().sum::<u64>().max(1);
        let (mut so_far, mut before) = (0, 0);
        let rows = shares.iter().map(|share| {
            so_far += share;
            let end = (self.sizes[0] as u64 * so_far / all) as usize;
            end - std::mem::replace(&mut before, end)
        });
        rows.collect()
    }

    /// The position of the product's result among the graph's outputs.
    pub fn result(&self) -> usize {
        if matches!(self.form, Form::Residual | Form::Quantised) { 1 } else { 0 }
    }

    /// The position of the scales that its result's elements are multiplied by, one for each [`BLOCK`] columns of a row.
    pub fn scales(&self) -> Option<usize> {
        (self.form == Form::Quantised).then_some(0)
    }

    /// The type of the result's elements.
    pub fn result_type(&self) -> DType {
        if self.form == Form::Quantised { DType::E4M3 } else { DType::BF16 }
    }

    /// What cuBLASLt does of it, and which part that is; nothing where it has no such types.
    pub fn product(&self) -> Option<(Product, &'static str)> {
        let [m, n, k] = self.sizes.map(|size| size as u64);
        let plain = Product {
            sizes: [m, n, k],
            batch: if self.form == Form::Grouped { 1 } else { self.batch as u64 },
            factors: self.factors(),
            result: DType::BF16,
            first: 0,
            seconds: vec![1],
            groups: self.groups().into_iter().map(|rows| rows as u64).collect(),
            second_is_kn: false,
            scales: None,
            gelu_bias: None,
            addend: None,
        };
        Some(match self.form {
            // Groups by a product for each.
            Form::Plain | Form::Grouped => (plain, "all"),
            Form::Batched => (Product { second_is_kn: true, ..plain }, "all"),
            Form::BiasGelu => (Product { gelu_bias: Some(2), ..plain }, "all"),
            Form::Swiglu => (Product { sizes: [m, n / 2, k], seconds: vec![1, 2], ..plain }, "both products only"),
            Form::Residual => (Product { addend: Some(2), ..plain }, "no row sums"),
            Form::Quantised => (plain, "plain product"),
            Form::Scaled => {
                (Product { scales: Some(Scales { rows: 2, columns: 3, by_blocks: false }), ..plain }, "all")
            }
            // The library pads the groups of k of a block of columns to multiples of four.
            Form::Blocks if (k as usize / BLOCK).is_multiple_of(4) => {
                (Product { scales: Some(Scales { rows: 2, columns: 3, by_blocks: true }), ..plain }, "all")
            }
            Form::Blocks => return None,
            Form::Weights | Form::Weights4 => return None,
        })
    }
}

/// A matrix in 8 bits, and the scale of each [`BLOCK`] columns of a row, by which the largest of them is the type's largest.
fn quantised(b: &mut Builder, x: NodeId, [rows, columns]: [usize; 2]) -> Result<(NodeId, NodeId), OpError> {
    let dims = |sizes: &[usize]| sizes.iter().map(|&size| Dim::from(size)).collect::<Vec<Dim>>();
    let blocks = columns / BLOCK;
    let wide = b.cast(x, DType::F32)?;
    let wide = b.reshape(wide, dims(&[rows, blocks, BLOCK]))?;
    let sizes = b.add(ops::Abs {}, &[wide])?;
    let largest = b.reduce(ReduceKind::Max, sizes, &[2], true)?;
    let least = b.scalar(DType::F32, LEAST_SIZE)?;
    let largest = b.max(largest, least)?;
    let of_type = b.scalar(DType::F32, LARGEST_E4M3)?;
    let inverse = b.div(of_type, largest)?;
    let scaled = b.mul(wide, inverse)?;
    let codes = b.cast(scaled, DType::E4M3)?;
    let codes = b.reshape(codes, dims(&[rows, columns]))?;
    let of_type = b.scalar(DType::F32, LARGEST_E4M3)?;
    let scales = b.div(largest, of_type)?;
    Ok((codes, b.reshape(scales, dims(&[rows, blocks]))?))
}

/// Elements of 8 bits in f32, times a scale for each block.
fn dequantised(
    b: &mut Builder,
    stored: NodeId,
    scales: NodeId,
    sizes: [usize; 2],
    block: [usize; 2],
) -> Result<NodeId, OpError> {
    let elements = b.cast(stored, DType::F32)?;
    scaled(b, elements, scales, sizes, block)
}

/// A matrix times a scale for each block of it.
fn scaled(
    b: &mut Builder,
    elements: NodeId,
    scales: NodeId,
    [rows, terms]: [usize; 2],
    [high, wide]: [usize; 2],
) -> Result<NodeId, OpError> {
    let dims = |sizes: &[usize]| sizes.iter().map(|&size| Dim::from(size)).collect::<Vec<Dim>>();
    let scales = b.reshape(scales, dims(&[rows / high, 1, terms / wide, 1]))?;
    let scales = b.broadcast_to(scales, &dims(&[rows / high, high, terms / wide, wide]))?;
    let scales = b.reshape(scales, dims(&[rows, terms]))?;
    b.mul(elements, scales)
}

/// The numbers of e2m1, by their codes.
pub fn e2m1() -> [f64; E2M1_CODES] {
    std::array::from_fn(|code| Scalar::load(DType::E2M1, &[code as u8]).as_f64())
}

/// Elements of e2m1 in bf16, two of them from each byte, the lower half first.
fn unpacked(b: &mut Builder, bytes: NodeId, [rows, terms]: [usize; 2]) -> Result<NodeId, OpError> {
    let dims = |sizes: &[usize]| sizes.iter().map(|&size| Dim::from(size)).collect::<Vec<Dim>>();
    let (mask, shift) = (b.scalar(DType::U8, 15i64)?, b.scalar(DType::U8, 4i64)?);
    let halves = [b.and(bytes, mask)?, b.shr(bytes, shift)?];
    let apart = dims(&[rows, terms / 2, 1]);
    let halves = [b.reshape(halves[0], apart.clone())?, b.reshape(halves[1], apart)?];
    let codes = b.concat(&halves, 2)?;
    let codes = b.reshape(codes, dims(&[rows, terms]))?;
    let codes = b.cast(codes, DType::I32)?;
    let table = b.constant(Tensor::from_scalars(DType::BF16, vec![E2M1_CODES], e2m1().map(Scalar::F)))?;
    b.add(ops::Gather { axis: 0 }, &[table, codes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_valid_graph_under_a_name_of_its_own() {
        let cases = cases();
        let names: std::collections::BTreeSet<String> = cases.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            let module = case.module().expect("the graph can be built");
            assert_eq!(gable_ir::verify::verify(&module.graph), [], "{case}");
            let (_, y) = &module.graph.outputs()[case.result()];
            let [m, n, _] = case.sizes;
            let n = if case.form == Form::Swiglu { n / 2 } else { n };
            let y = module.graph.ty(*y).concrete().expect("sizes are numbers");
            let products = if case.form == Form::Grouped { 1 } else { case.batch };
            assert_eq!((y.dtype, y.shape.iter().product::<usize>()), (case.result_type(), products * m * n), "{case}");
            let rows = case.groups();
            assert!(rows.is_empty() || rows.len() == case.batch && rows.iter().sum::<usize>() == m, "{rows:?}");
        }
    }
}
