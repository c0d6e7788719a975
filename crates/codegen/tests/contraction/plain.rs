//! A region that is nothing but the contraction: factors in buffers 0 and 1, the result densely in buffer 2; and what such
//! a contraction gives, computed in the obvious way.

use gable_codegen::contraction::problem::{ContractionError, Digit, Memory, Operand, Part, Problem, Side, Store};
use gable_codegen::contraction::schedule::sum_type;
use gable_codegen::contraction::surround::{Fragment, Place, ResultRows, Surround};
use gable_ptx::meaning::Access;
use gable_ptx::{B32, B64, F32, KernelBuilder, R, Reg, ScalarType, Space, Value};
use gable_tensor::random::Random;
use gable_tensor::{DType, Scalar};

/// Writes a problem's kernel around memory alone.
pub struct Plain {
    pub problem: Problem,
    /// What an operand that is an expression is computed from: twice the element there.
    pub behind: [Option<Memory>; 2],
    /// Elements between batch entries of the factors.
    pub batch_strides: [Vec<i64>; 2],
    pointers: [R<B64>; 3],
}

impl Plain {
    /// Declares the parameters.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        behind: [Option<Memory>; 2],
        batch_strides: [Vec<i64>; 2],
    ) -> Plain {
        let pointers = ["a", "b", "c"].map(|name| k.param_pointer(name));
        Plain { problem: problem.clone(), behind, batch_strides, pointers }
    }

    fn flat(&self, k: &mut KernelBuilder, place: Place<'_>, strides: (u32, u32), batch: &[i64]) -> R<B32> {
        let mut at = k.mul_lo_u32(place.row, strides.0);
        at = k.mad_lo_u32(place.column, strides.1, at);
        for (&coordinate, &stride) in place.batch.iter().zip(batch) {
            at = k.mad_lo_u32(coordinate, stride as u32, at);
        }
        at
    }
}

/// Strides of a dense result, and of its batch dimensions.
fn result_strides(problem: &Problem) -> ((u32, u32), Vec<i64>) {
    let inner = if problem.store.along_m { (1, problem.m as u32) } else { (problem.n as u32, 1) };
    let mut batch = vec![0; problem.batch.len()];
    let mut next = (problem.m * problem.n) as i64;
    for (stride, &size) in batch.iter_mut().zip(&problem.batch).rev() {
        *stride = next;
        next *= size as i64;
    }
    (inner, batch)
}

impl Surround for Plain {
    fn pointer(&mut self, k: &mut KernelBuilder, side: Side, batch: &[R<B32>]) -> Result<R<B64>, ContractionError> {
        let Operand::Memory(memory) = self.problem.operand(side) else { unreachable!("only memory has an address") };
        let mut at = self.pointers[side as usize];
        for (&coordinate, &stride) in batch.iter().zip(&self.batch_strides[side as usize]) {
            at = k.mad_wide_u32(coordinate, stride as u32 * memory.stored.bytes() as u32, at);
        }
        Ok(at)
    }

    fn quantised(
        &mut self,
        _: &mut KernelBuilder,
        _: Side,
        part: Part,
        _: &[R<B32>],
    ) -> Result<R<B64>, ContractionError> {
        unreachable!("the plain problems have no {part:?} part")
    }

    fn scales(
        &mut self,
        _: &mut KernelBuilder,
        side: Side,
        position: usize,
        _: &[R<B32>],
    ) -> Result<R<B64>, ContractionError> {
        unreachable!("factor {side:?} of the plain problems has no scales {position}")
    }

    fn group_end(&mut self, _: &mut KernelBuilder, _: R<B32>) -> Result<R<B32>, ContractionError> {
        unreachable!("rows of the plain problems are in no groups")
    }

    fn load(&mut self, k: &mut KernelBuilder, side: Side, place: Place<'_>) -> Result<Vec<Reg>, ContractionError> {
        let memory = self.behind[side as usize].clone().expect("an expression has memory behind it");
        let (_, lanes) = self.problem.operand(side).vector();
        let strides = (memory.outer[0].stride as u32, memory.k[0].stride as u32);
        let batch = self.batch_strides[side as usize].clone();
        let at = self.flat(k, place, strides, &batch);
        let at = k.mad_wide_u32(at, memory.stored.bytes() as u32, self.pointers[side as usize]);
        let access = Access::new(Space::Global, ScalarType::F32, lanes as u8);
        let loaded = k.load(access, at)?;
        Ok(loaded
            .into_iter()
            .map(|r| k.add_f32(r.typed::<F32>().expect("f32"), r.typed::<F32>().expect("f32")).reg())
            .collect())
    }

    fn store(&mut self, k: &mut KernelBuilder, place: Place<'_>, sums: &[Reg]) -> Result<(), ContractionError> {
        let (strides, batch) = result_strides(&self.problem);
        let at = self.flat(k, place, strides, &batch);
        let out = self.problem.out;
        let at = k.mad_wide_u32(at, out.bytes() as u32, self.pointers[2]);
        let ty = match out {
            DType::F64 => ScalarType::F64,
            DType::I32 => ScalarType::S32,
            DType::I64 => ScalarType::S64,
            _ => ScalarType::F32,
        };
        let step = (16 / out.bytes()).min(4).min(sums.len());
        for (i, sums) in sums.chunks(step).enumerate() {
            let place = at.at((i * step * out.bytes()) as i32);
            if out == DType::BF16 {
                for (j, &sum) in sums.iter().enumerate() {
                    let rounded = k.cvt_bf16_f32(sum.typed::<F32>().expect("f32"));
                    k.st_global_b16(at.at(((i * step + j) * 2) as i32), rounded);
                }
            } else {
                let values: Vec<Value> = sums.iter().map(|&sum| sum.into()).collect();
                k.store(Access::new(Space::Global, ty, step as u8), place, &values)?;
            }
        }
        Ok(())
    }

    fn prefetch(&mut self, _: &mut KernelBuilder, _: Place<'_>, _: u32, _: bool) -> Result<(), ContractionError> {
        Ok(())
    }

    fn result_rows(&mut self) -> Option<Vec<ResultRows>> {
        None
    }

    fn results(
        &mut self,
        _: &mut KernelBuilder,
        _: &[R<B32>],
        _: (R<B32>, R<B32>),
        _: (u32, u32),
        _: &[Fragment<'_>],
        _: Option<usize>,
    ) -> Result<Vec<Vec<Vec<Value>>>, ContractionError> {
        Err(ContractionError::Surround("results are stored one by one".into()))
    }
}

/// Small whole numbers: their products and sums are exact in every type, whatever the order.
pub fn fill(dtype: DType, elements: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = vec![0; elements * dtype.bytes()];
    for element in bytes.chunks_mut(dtype.bytes()) {
        let value = (random.next_u64() % 5) as i64 - 2;
        let scalar = if dtype.is_float() { Scalar::F(value as f64) } else { Scalar::I(value.into()) };
        scalar.store(dtype, element);
    }
    bytes
}

fn position(mut index: usize, digits: &[Digit], offset: &mut i64, windows: &mut [i64]) {
    for digit in digits.iter().rev() {
        let value = (index % digit.size) as i64;
        index /= digit.size;
        *offset += value * digit.stride;
        if let Some((axis, step)) = digit.window {
            windows[axis] += value * step;
        }
    }
}

/// The element at batch entry, outer index and k.
fn element(memory: &Memory, data: &[u8], entry: i64, outer: usize, k: usize) -> f64 {
    let mut offset = memory.offset + entry;
    let mut windows: Vec<i64> = memory.windows.iter().map(|w| -w.low).collect();
    position(outer, &memory.outer, &mut offset, &mut windows);
    position(k, &memory.k, &mut offset, &mut windows);
    if windows.iter().zip(&memory.windows).any(|(&at, w)| at < 0 || at >= w.size as i64) {
        return 0.0;
    }
    let width = memory.stored.bytes();
    Scalar::load(memory.stored, &data[offset as usize * width..][..width]).as_f64()
}

/// How many elements an operand's memory holds.
pub fn elements(memory: &Memory, batch: &[usize], strides: &[i64]) -> usize {
    if memory.windows.is_empty() {
        let digits = memory.outer.iter().chain(&memory.k).map(|d| (d.size, d.stride));
        let batch = batch.iter().copied().zip(strides.iter().copied());
        return 1 + memory.offset as usize + digits.chain(batch).map(|(n, s)| (n - 1) * s as usize).sum::<usize>();
    }
    // Images are dense: their largest stride times its axis.
    let axes = memory.outer.iter().filter(|d| d.window.is_none()).map(|d| d.size * d.stride as usize).max();
    axes.unwrap_or(1).max(memory.windows.iter().map(|w| w.size).product()).max(1)
}

/// The result in its memory order, in f64.
pub fn reference(
    problem: &Problem,
    memories: [&Memory; 2],
    batch_of: &[Vec<i64>; 2],
    data: [&[u8]; 2],
    factor: f64,
) -> Vec<f64> {
    let (strides, batch_strides) = result_strides(problem);
    let mut out = vec![f64::NAN; problem.batches() * problem.m * problem.n];
    for entry in 0..problem.batches() {
        let mut batch = vec![0; problem.batch.len()];
        let mut rest = entry;
        for (b, &size) in batch.iter_mut().zip(&problem.batch).rev() {
            *b = rest % size;
            rest /= size;
        }
        let base: i64 = batch.iter().zip(&batch_strides).map(|(&b, &s)| b as i64 * s).sum();
        let table = |side: usize, outer: usize| -> Vec<Vec<f64>> {
            let start = batch.iter().zip(&batch_of[side]).map(|(&b, &stride)| b as i64 * stride).sum();
            let row = |i| (0..problem.k).map(|k| element(memories[side], data[side], start, i, k)).collect();
            (0..outer).map(row).collect()
        };
        let (a, b) = (table(0, problem.m), table(1, problem.n));
        for (m, a) in a.iter().enumerate() {
            for (n, b) in b.iter().enumerate() {
                let sum: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                out[base as usize + m * strides.0 as usize + n * strides.1 as usize] = sum * factor;
            }
        }
    }
    out
}

/// A row-major `[m, k]` by `[k, n]` product, or with either factor transposed.
pub fn product(dtype: DType, (m, n, k): (usize, usize, usize), transposed: [bool; 2]) -> Problem {
    let a = if transposed[0] {
        Memory::matrix(dtype, (m, 1), (k, m as i64))
    } else {
        Memory::matrix(dtype, (m, k as i64), (k, 1))
    };
    let b = if transposed[1] {
        Memory::matrix(dtype, (n, k as i64), (k, 1))
    } else {
        Memory::matrix(dtype, (n, 1), (k, n as i64))
    };
    let lanes = [8, 4, 2, 1].into_iter().find(|l| n.is_multiple_of(*l)).expect("1 divides");
    Problem {
        batch: Vec::new(),
        ragged: false,
        m,
        n,
        k,
        element: dtype,
        out: sum_type(dtype),
        a: Operand::Memory(a),
        b: Operand::Memory(b),
        quantised: None,
        further: Vec::new(),
        addend: false,
        columns_together: 1,
        scaled: None,
        realigned: false,
        short_sums: false,
        store: Store { along_m: false, lanes },
    }
}
