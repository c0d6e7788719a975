//! Random inputs of a problem: factors nearly normal, products of size one. Never zeros, which draw less power.

use super::case::{Case, Form, e2m1};
use crate::Error;
use gable_tensor::random::Random;
use gable_tensor::{DType, Scalar, Tensor};
use rayon::prelude::*;

/// Values are drawn from a table of so many, by 16 random bits.
const TABLE: usize = 1 << 16;
/// Elements that one thread fills from one stream.
const CHUNK: usize = 1 << 20;

/// A value for each input, in graph order; the same for the same seed.
pub fn inputs(case: &Case, seed: u64) -> Result<Vec<Tensor>, Error> {
    let terms = case.sizes[2] as f64;
    // Root of the mean square of e2m1's numbers, each as likely as the others.
    let size_of_codes = (e2m1().iter().map(|number| number * number).sum::<f64>() / e2m1().len() as f64).sqrt();
    let input = |(name, dtype, shape): (&str, DType, Vec<usize>)| {
        if name == "ends" {
            let mut end = 0;
            let ends = case.groups().into_iter().map(|rows| {
                end += rows as i128;
                Scalar::I(end)
            });
            return Ok(Tensor::from_scalars(dtype, shape, ends.collect::<Vec<_>>()));
        }
        let small = terms.sqrt().recip();
        // Weights shrink with the length of the sums; those of 8 bits keep their size and leave that to their scales.
        let (offset, spread) = match name {
            "column" => (small, 0.1 * small),
            "row" => (1.0, 0.1),
            "w" if matches!(case.form, Form::Scaled | Form::Blocks | Form::Weights) => (0.0, 1.0),
            "scales" => (small / size_of_codes, 0.1 * small / size_of_codes),
            "w" | "gate" | "up" => (0.0, small),
            _ => (0.0, 1.0),
        };
        let mut random = Random::named(seed, name);
        if dtype == DType::U8 {
            // Two codes to a byte, each as likely as the others.
            let table: Vec<u8> = (0..TABLE).map(|entry| entry as u8).collect();
            return fill(dtype, shape, &table, random.next_u64());
        }
        let table: Vec<u8> = (0..TABLE)
            .flat_map(|_| {
                let mut bytes = vec![0; dtype.bytes()];
                Scalar::F(offset + spread * random.normal()).store(dtype, &mut bytes);
                bytes
            })
            .collect();
        fill(dtype, shape, &table, random.next_u64())
    };
    case.inputs().into_iter().map(input).collect()
}

fn fill(dtype: DType, shape: Vec<usize>, table: &[u8], seed: u64) -> Result<Tensor, Error> {
    let width = dtype.bytes();
    let bytes = gable_tensor::tensor::byte_count(dtype, &shape).map_err(|error| Error::Request(error.to_string()))?;
    let mut data = vec![0u8; bytes];
    data.par_chunks_mut(CHUNK * width).enumerate().for_each(|(chunk, data)| {
        let mut random = Random::new(seed ^ (chunk as u64) << 32);
        for four in data.chunks_mut(4 * width) {
            let bits = random.next_u64();
            for (lane, element) in four.chunks_exact_mut(width).enumerate() {
                let entry = (bits >> (16 * lane)) as usize % TABLE;
                element.copy_from_slice(&table[entry * width..][..width]);
            }
        }
    });
    Tensor::new(dtype, shape, data).map_err(|error| Error::Request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_the_size_of_one_whatever_their_length() {
        for form in [Form::Plain, Form::Scaled, Form::Blocks, Form::Weights, Form::Weights4] {
            let case = Case { form, sizes: [32, 128, 512], batch: 1 };
            let inputs = inputs(&case, 1).expect("the sizes are small");
            let sample = super::super::reference::Sample::of(&case);
            let values = sample.expected(&case, &inputs);
            let mean_square = values.iter().map(|y| y * y).sum::<f64>() / values.len() as f64;
            assert!((0.5..2.0).contains(&mean_square), "{case}: {mean_square}");
        }
    }
}
