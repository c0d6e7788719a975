//! Seeded random tensors: the same seed gives the same bytes on every machine.

use crate::dtype::{DType, Kind};
use crate::scalar::Scalar;
use crate::tensor::{Tensor, TensorError, element_count};

/// SplitMix64 (Steele, Lea, Flood 2014): a counter-based generator with a 64-bit state, enough for test data.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose stream depends on `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator for the thing called `name` under `seed`: different names get unrelated streams.
    pub fn named(seed: u64, name: &str) -> Random {
        // FNV-1a, to spread names over the seed space.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut random = Random(seed ^ hash);
        random.next_u64();
        random
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal with mean 0 and variance 1: the sum of twelve uniforms less six, so within [-6, 6].
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Uniform integer in `[0, bound)`; `bound` of 0 gives 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// A random tensor: unit normal for floats, `0..bound` for integers (`bound` from the caller: a vocabulary size,
/// say), fair coins for `bool`.
pub fn tensor(random: &mut Random, dtype: DType, shape: &[usize], bound: u64) -> Result<Tensor, TensorError> {
    let n = element_count(dtype, shape)?;
    crate::tensor::byte_count(dtype, shape)?;
    let mut draw = || match dtype.kind() {
        Kind::Float => Scalar::F(random.normal()),
        Kind::Bool => Scalar::B(random.next_u64() & 1 == 1),
        Kind::Signed | Kind::Unsigned => Scalar::I(random.below(bound).into()),
    };
    Ok(Tensor::from_scalars(dtype, shape, (0..n).map(|_| draw())))
}
