//! Products of narrow factors as graphs say them, and inputs for them.

use gable_ir::attr::ReduceKind;
use gable_ir::ops::{Const, Gather, Matmul};
use gable_ir::{Builder, Module, NodeId, OpError, Type};
use gable_tensor::random::Random;
use gable_tensor::{DType, Dim, Scalar, Tensor};

/// How a factor `[rows, k]` is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// As it is.
    Plain,
    /// e4m3 with a power of two for 32 of k.
    Mxfp8,
    /// e2m1, two to a byte, with a power of two for 32 of k.
    Mxfp4,
    /// e2m1, two to a byte, with a scale of e4m3 for 16 of k, and of f32 for all.
    Nvfp4 { whole: bool },
    /// Whole numbers from -8 to 7, two to a byte, with a scale for 32 of k.
    Int4,
    /// Bytes with a scale of f32 for each row.
    Rows(DType),
}

/// `[m, n, k]`, both factors, and the type that they are widened to.
pub struct Form {
    pub sizes: [usize; 3],
    pub left: Store,
    pub right: Store,
    pub dtype: DType,
}

/// Both factors stored alike.
pub fn both(store: Store, dtype: DType, sizes: [usize; 3]) -> Module {
    Form { sizes, left: store, right: store, dtype }.with_inputs().0
}

/// A narrow right factor.
pub fn weight(store: Store, dtype: DType, sizes: [usize; 3]) -> Module {
    Form { sizes, left: Store::Plain, right: store, dtype }.with_inputs().0
}

/// Bytes; as e4m3 none is beyond 2.
pub fn noise(count: usize, small: bool) -> Vec<u8> {
    let mut random = Random::new(11);
    let byte = |bits: u64| if small { (bits as u8 & 0x80) | (bits as u8 % 0x40) } else { bits as u8 };
    (0..count).map(|_| byte(random.next_u64())).collect()
}

/// Numbers from -2 to 2.
pub fn numbers(dtype: DType, shape: &[usize]) -> Tensor {
    let mut random = Random::new(5);
    let scalars: Vec<Scalar> = (0..shape.iter().product()).map(|_| Scalar::F(random.uniform() * 4.0 - 2.0)).collect();
    Tensor::from_scalars(dtype, shape.to_vec(), scalars)
}

/// One of these for each element.
fn some_of(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
    let mut random = Random::new(23);
    let scalars: Vec<Scalar> =
        (0..shape.iter().product()).map(|_| Scalar::F(values[random.below(values.len() as u64) as usize])).collect();
    Tensor::from_scalars(dtype, shape.to_vec(), scalars)
}

pub type Inputs = Vec<(&'static str, Tensor)>;

impl Form {
    /// The module, and an input for each of its ports.
    pub fn with_inputs(&self) -> (Module, Inputs) {
        self.built().unwrap_or_else(|e| panic!("the form is a graph: {e}"))
    }

    fn built(&self) -> Result<(Module, Inputs), OpError> {
        let [m, n, k] = self.sizes;
        let mut b = Builder::new("form");
        let mut inputs = Inputs::new();
        let left = self.factor(&mut b, &mut inputs, self.left, [m, k], ["a", "as", "at"])?;
        let right = self.factor(&mut b, &mut inputs, self.right, [n, k], ["b", "bs", "bt"])?;
        let right = b.transpose(right, &[1, 0])?;
        let product = b.add(Matmul { acc: DType::F32, out: self.dtype }, &[left, right])?;
        b.output("y", product);
        Ok((b.finish(), inputs))
    }

    fn factor(
        &self,
        b: &mut Builder,
        inputs: &mut Inputs,
        store: Store,
        [rows, k]: [usize; 2],
        [elements, scales, whole]: [&'static str; 3],
    ) -> Result<NodeId, OpError> {
        let mut input = |b: &mut Builder, name: &'static str, value: Tensor| {
            let id = b.input(name, Type::new(value.dtype(), value.shape().to_vec()));
            inputs.push((name, value));
            id
        };
        let bytes = |dtype: DType, columns: usize| {
            Tensor::new(dtype, vec![rows, columns], noise(rows * columns, dtype == DType::E4M3))
                .map_err(|e| OpError(e.to_string()))
        };
        let powers = [0.5, 1.0, 2.0];
        let dtype = self.dtype;
        let (values, scale, block) = match store {
            Store::Plain => return Ok(input(b, elements, numbers(dtype, &[rows, k]))),
            Store::Rows(stored) => {
                let values = input(b, elements, bytes(stored, k)?);
                let values = b.cast(values, dtype)?;
                let scale = input(b, scales, some_of(DType::F32, &[rows, 1], &[0.3, 0.7, 1.9]));
                let scale = b.cast(scale, dtype)?;
                return b.mul(values, scale);
            }
            Store::Mxfp8 => {
                let values = input(b, elements, bytes(DType::E4M3, k)?);
                let values = b.cast(values, dtype)?;
                (values, input(b, scales, some_of(DType::UE8M0, &[rows, k / 32], &powers)), 32)
            }
            Store::Mxfp4 | Store::Nvfp4 { .. } | Store::Int4 => {
                let stored = input(b, elements, bytes(DType::U8, k / 2)?);
                let values = unpacked(b, stored, [rows, k], store == Store::Int4, dtype)?;
                let (of, block) = match store {
                    Store::Mxfp4 => (DType::UE8M0, 32),
                    Store::Int4 => (dtype, 32),
                    _ => (DType::E4M3, 16),
                };
                (values, input(b, scales, some_of(of, &[rows, k / block], &powers)), block)
            }
        };
        let mut scale = b.cast(scale, dtype)?;
        if store == (Store::Nvfp4 { whole: true }) {
            let value = Tensor::scalar(DType::F32, Scalar::F(0.37));
            let all = input(b, whole, value);
            let all = b.cast(all, dtype)?;
            scale = b.mul(scale, all)?;
        }
        let split = b.reshape(scale, [rows, k / block, 1])?;
        let wide = b.broadcast_to(split, &[Dim::from(rows), Dim::from(k / block), Dim::from(block)])?;
        let wide = b.reshape(wide, [rows, k])?;
        b.mul(values, wide)
    }
}

/// Products of nvfp4 of which the first's result is what the second multiplies: bytes of two codes, and scales in atoms of 128 rows
/// by four. `[m, n, k]` are the first's sizes, and the second's weight is `[n, n]`.
pub struct Chain {
    sizes: [usize; 3],
    builder: Builder,
    inputs: Inputs,
}

impl Chain {
    fn new(sizes: [usize; 3]) -> Chain {
        Chain { sizes, builder: Builder::new("chain"), inputs: Inputs::new() }
    }

    /// Both products.
    pub fn whole(sizes: [usize; 3]) -> (Module, Inputs) {
        let mut chain = Chain::new(sizes);
        let both = chain.first().and_then(|quantised| chain.second(quantised));
        let product = both.unwrap_or_else(|e| panic!("the chain is a graph: {e}"));
        chain.builder.output("y", product);
        (chain.builder.finish(), chain.inputs)
    }

    /// The first alone, which gives codes and scales.
    pub fn quantising(sizes: [usize; 3]) -> (Module, Inputs) {
        let mut chain = Chain::new(sizes);
        let (codes, scales) = chain.first().unwrap_or_else(|e| panic!("the product is a graph: {e}"));
        chain.builder.output("codes", codes);
        chain.builder.output("scales", scales);
        (chain.builder.finish(), chain.inputs)
    }

    /// The second alone, of such codes and scales.
    pub fn of_quantised(sizes: [usize; 3]) -> (Module, Inputs) {
        let [m, n, _] = sizes;
        let mut chain = Chain::new(sizes);
        let codes = Tensor::new(DType::U8, vec![m, n / 2], noise(m * n / 2, false)).expect("as many bytes");
        let scales = some_of(DType::E4M3, &[m / 128, n / 64, 32, 4, 4], &[0.5, 1.0, 2.0]);
        let [codes, scales] = [("codes", codes), ("scales", scales)].map(|(name, value)| {
            let id = chain.builder.input(name, Type::new(value.dtype(), value.shape().to_vec()));
            chain.inputs.push((name, value));
            id
        });
        let product = chain.second((codes, scales)).unwrap_or_else(|e| panic!("the product is a graph: {e}"));
        chain.builder.output("y", product);
        (chain.builder.finish(), chain.inputs)
    }

    fn weight(&mut self, shape: [usize; 2], names: [&'static str; 3]) -> Result<NodeId, OpError> {
        let store = Store::Nvfp4 { whole: false };
        let form = Form { sizes: self.sizes, left: store, right: store, dtype: DType::F32 };
        form.factor(&mut self.builder, &mut self.inputs, store, shape, names)
    }

    fn product(&mut self, left: NodeId, right: NodeId) -> Result<NodeId, OpError> {
        let right = self.builder.transpose(right, &[1, 0])?;
        self.builder.add(Matmul { acc: DType::F32, out: DType::F32 }, &[left, right])
    }

    fn first(&mut self) -> Result<(NodeId, NodeId), OpError> {
        let [m, n, k] = self.sizes;
        let x = self.weight([m, k], ["x", "xs", "xt"])?;
        let weight = self.weight([n, k], ["w1", "w1s", "w1t"])?;
        let sum = self.product(x, weight)?;
        quantised(&mut self.builder, sum, [m, n])
    }

    fn second(&mut self, (codes, scales): (NodeId, NodeId)) -> Result<NodeId, OpError> {
        let [m, n, _] = self.sizes;
        let b = &mut self.builder;
        let values = b.bitcast(codes, DType::E2M1)?;
        let values = b.reshape(values, [m, n])?;
        let values = b.cast(values, DType::F32)?;
        let rows = b.transpose(scales, &[0, 3, 2, 1, 4])?;
        let rows = b.reshape(rows, [m, n / 16, 1])?;
        let rows = b.cast(rows, DType::F32)?;
        let wide = b.broadcast_to(rows, &[m, n / 16, 16].map(Dim::from))?;
        let wide = b.reshape(wide, [m, n])?;
        let left = b.mul(values, wide)?;
        let weight = self.weight([n, n], ["w2", "w2s", "w2t"])?;
        self.product(left, weight)
    }
}

/// A result `[m, n]` of f32 as bytes of two codes of e2m1, and scales of e4m3 for 16 columns in atoms: `[m / 128, n / 64, 32, 4, 4]`.
fn quantised(b: &mut Builder, sum: NodeId, [m, n]: [usize; 2]) -> Result<(NodeId, NodeId), OpError> {
    let blocks = n / 16;
    let x = b.reshape(sum, [m, blocks, 16])?;
    let size = b.abs(x)?;
    let largest = b.reduce(ReduceKind::Max, size, &[2], true)?;
    let most = b.scalar(DType::F32, Scalar::F(6.0))?;
    let ratio = b.div(largest, most)?;
    let least = b.scalar(DType::F32, Scalar::F(0.015625))?;
    let ratio = b.max(ratio, least)?;
    let scale = b.cast(ratio, DType::E4M3)?;
    let exact = b.cast(scale, DType::F32)?;
    let all = b.broadcast_to(exact, &[m, blocks, 16].map(Dim::from))?;
    let quotient = b.div(x, all)?;
    let code = b.cast(quotient, DType::E2M1)?;
    let pairs = b.reshape(code, [m, n / 2, 2])?;
    let bytes = b.bitcast(pairs, DType::U8)?;
    let parts = b.reshape(scale, [m / 128, 4, 32, blocks / 4, 4])?;
    Ok((bytes, b.transpose(parts, &[0, 3, 2, 1, 4])?))
}

/// Elements of four bits, looked up.
fn unpacked(
    b: &mut Builder,
    stored: NodeId,
    [rows, k]: [usize; 2],
    whole_numbers: bool,
    dtype: DType,
) -> Result<NodeId, OpError> {
    let (mask, shift) = (b.scalar(DType::U8, Scalar::I(15))?, b.scalar(DType::U8, Scalar::I(4))?);
    let (low, high) = (b.and(stored, mask)?, b.shr(stored, shift)?);
    let halves = [b.reshape(low, [rows, k / 2, 1])?, b.reshape(high, [rows, k / 2, 1])?];
    let joined = b.concat(&halves, 2)?;
    let codes = b.reshape(joined, [rows, k])?;
    let codes = b.cast(codes, DType::I32)?;
    let value = |code: u8| match whole_numbers {
        true => Scalar::F(f64::from(code) - 8.0),
        false => Scalar::load(DType::E2M1, &[code]),
    };
    let table = b.add(Const { value: Tensor::from_scalars(dtype, vec![16], (0..16).map(value)) }, &[])?;
    b.add(Gather { axis: 0 }, &[table, codes])
}
