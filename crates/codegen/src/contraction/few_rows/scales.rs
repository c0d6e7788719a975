//! The scales of a quantised B: where they lie, their loads, and the pairs that stored elements are multiplied by.

use super::super::cta::digits;
use super::super::problem::{ContractionError, Digit, Memory, Quantised};
use super::super::values::{load_into, scale_value};
use super::format::Format;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R, ScalarType, Space};
use gable_tensor::DType;

/// How the scales of a lane's chunk are found.
#[derive(Clone, Debug)]
pub(in super::super) struct Scales {
    stored: DType,
    outer: Vec<Digit>,
    /// log2 of the neighbouring k that share a scale; absent where all do.
    group_shift: Option<u32>,
    /// Bytes between the scales of neighbouring groups.
    group_bytes: u32,
    /// Scales of a chunk.
    pub per_chunk: u32,
}

impl Scales {
    /// How the scales are found for chunks of so many elements; `None` where groups and chunks do not fit each other.
    pub fn of(quantised: &Quantised, chunk_elements: u32) -> Option<Scales> {
        let memory = quantised.scales.as_ref()?;
        let moving: Vec<&Digit> = memory.k.iter().filter(|digit| digit.stride != 0).collect();
        let (group_shift, group_bytes, per_chunk) = match (quantised.group(), &moving[..]) {
            (None, _) => (None, 0, 1),
            (Some(group), [digit]) => {
                let (group, bytes) = (u32::try_from(group).ok()?, memory.stored.bytes() as i64);
                let step = u32::try_from(digit.stride.checked_mul(bytes)?).ok()?;
                // A chunk has one scale, or a few whole groups.
                let fits = group.is_power_of_two() && group * 4 >= chunk_elements;
                (fits.then(|| group.trailing_zeros()), step, chunk_elements.div_ceil(group))
            }
            _ => return None,
        };
        if quantised.group().is_some() && group_shift.is_none() || memory.outer.iter().any(|digit| digit.stride < 0) {
            return None;
        }
        Some(Scales { stored: memory.stored, outer: memory.outer.clone(), group_shift, group_bytes, per_chunk })
    }

    /// Writes the address of a column's scales to `address`.
    pub fn set_column(&self, k: &mut KernelBuilder, address: R<B64>, column: R<B32>, start: R<B64>) {
        k.set(address).mov_b64(start);
        let sizes: Vec<usize> = self.outer.iter().map(|digit| digit.size).collect();
        for (value, digit) in digits(k, column, &sizes).into_iter().zip(&self.outer) {
            let bytes = digit.stride as u32 * self.stored.bytes() as u32;
            if bytes != 0 {
                k.set(address).mad_wide_u32(value, bytes, address);
            }
        }
    }

    /// Loads the scales of the chunk whose first element is `element`. Where chunks may begin or end past the last of
    /// `elements`, the last group's scale stands in: it multiplies zeros, but must be a number.
    pub fn load(
        &self,
        k: &mut KernelBuilder,
        (column, element, elements): (R<B64>, R<B32>, Option<u32>),
        registers: &[R<B32>],
        inside: Option<R<Pred>>,
    ) -> Result<(), ContractionError> {
        // Lanes and later steps read the rest of the line.
        let access = Access { space: Space::Global, ty: self.loaded(), count: 1, cache: Cache::ReadOnly };
        let first = self.group_shift.map(|shift| k.shr_u32(element, shift));
        let mut address = column;
        for (i, &register) in (0..).zip(registers) {
            let mut offset = i * self.group_bytes;
            match (first, self.group_shift, elements) {
                (Some(group), Some(shift), Some(elements)) => {
                    let group = k.add_u32(group, i);
                    let group = k.min_u32(group, elements.saturating_sub(1) >> shift);
                    address = k.mad_wide_u32(group, self.group_bytes, column);
                    offset = 0;
                }
                (Some(group), ..) if i == 0 => address = k.mad_wide_u32(group, self.group_bytes, column),
                _ => {}
            }
            let place = address.at(offset as i32);
            match inside {
                None => load_into(k, access, place.into(), &[register.reg()])?,
                Some(inside) => k.when(inside, |k| load_into(k, access, place.into(), &[register.reg()]))?,
            }
        }
        Ok(())
    }

    /// Multiplies the pairs of a chunk by its scales.
    pub fn apply(
        &self,
        k: &mut KernelBuilder,
        format: Format,
        registers: &[R<B32>],
        pairs: Vec<R<B32>>,
    ) -> Result<Vec<R<B32>>, ContractionError> {
        let scales: Vec<R<F32>> =
            registers.iter().map(|&register| scale_value(k, self.stored, register)).collect::<Result<_, _>>()?;
        Ok(multiplied(k, format, &scales, &pairs))
    }

    /// Bytes of a column's scales for `elements` neighbouring ones, where those are whole groups whose scales lie together.
    pub fn bytes_of(&self, elements: u32) -> Option<u32> {
        let scale = self.stored.bytes() as u32;
        let groups = elements >> self.group_shift?;
        (groups > 0 && self.group_bytes == scale).then_some(groups * scale)
    }

    /// Bytes of the scales of a column of `elements`, the last group of which may be short.
    pub fn bytes_of_all(&self, elements: u32) -> u32 {
        let groups = self.group_shift.map_or(1, |shift| elements.div_ceil(1 << shift));
        groups * self.group_bytes
    }

    /// Of the bytes of [`Scales::bytes_of`], where those of an element's group begin.
    pub fn place_of(&self, k: &mut KernelBuilder, element: R<B32>) -> R<B32> {
        let group = k.shr_u32(element, self.group_shift.unwrap_or(0));
        k.mul_lo_u32(group, self.group_bytes)
    }

    /// Whether scales of every column begin at a multiple of `bytes`.
    pub fn is_aligned(&self, memory: &Memory, bytes: u32) -> bool {
        let fits = |at: i64| at.unsigned_abs().is_multiple_of(u64::from(bytes));
        memory.alignment.is_multiple_of(bytes as usize)
            && self.outer.iter().all(|digit| fits(digit.stride * self.stored.bytes() as i64))
    }

    /// The pairs of a chunk times its scales, which begin at `address` in shared memory.
    pub fn apply_shared(
        &self,
        k: &mut KernelBuilder,
        format: Format,
        address: R<B32>,
        pairs: &[R<B32>],
    ) -> Result<Vec<R<B32>>, ContractionError> {
        let load = |k: &mut KernelBuilder, ty: ScalarType, offset: u32| -> Result<R<B32>, ContractionError> {
            let register = k.fresh();
            let access = Access::new(Space::Shared, ty, 1);
            load_into(k, access, address.at(offset as i32).into(), &[register.reg()])?;
            Ok(register)
        };
        let scales = if self.stored == DType::E4M3 && self.per_chunk == 2 {
            // Both by one load and one conversion.
            let both = load(k, ScalarType::U16, 0)?;
            let [both, _] = k.unpack_b32(both);
            let both = k.cvt_f16x2_e4m3x2(both);
            k.unpack_b32(both).map(|half| k.cvt_f32_f16(half)).to_vec()
        } else {
            let mut each = Vec::new();
            for i in 0..self.per_chunk {
                let register = load(k, self.loaded(), i * self.stored.bytes() as u32)?;
                each.push(scale_value(k, self.stored, register)?);
            }
            each
        };
        Ok(multiplied(k, format, &scales, pairs))
    }

    /// The type that a scale is loaded as.
    fn loaded(&self) -> ScalarType {
        match self.stored.bytes() {
            1 => ScalarType::U8,
            2 => ScalarType::U16,
            _ => ScalarType::B32,
        }
    }
}

/// Pairs times scales, each scale for as many neighbouring pairs.
fn multiplied(k: &mut KernelBuilder, format: Format, scales: &[R<F32>], pairs: &[R<B32>]) -> Vec<R<B32>> {
    let mut products = Vec::with_capacity(pairs.len());
    for (&scale, pairs) in scales.iter().zip(pairs.chunks(pairs.len() / scales.len())) {
        let both = format.pair(k, scale, scale);
        products.extend(pairs.iter().map(|&pair| format.multiply(k, pair, both)));
    }
    products
}
