//! Elements of four bits that share bytes, two to each: outputs that memory holds so, and bitcasts wherever else they stand.

use super::guard::GuardId;
use super::{Buffer, Engine, Lanes};
use crate::element;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::Value as Node;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B8, B32, Feature, R, ScalarType, Space, Value};
use gable_tensor::DType;

/// Codes of a word.
const PER_WORD: usize = 8;

/// Codes of a byte.
const PER_BYTE: u32 = 2;

/// Bits of a code.
const BITS: u32 = 4;

impl Engine<'_> {
    /// The elements of a bitcast: both codes of a byte, or the code that the last coordinate says.
    pub(super) fn bitcast(&mut self, node: &Node, coordinates: &[IndexId], guard: GuardId) -> Result<Lanes, Fault> {
        let x = node.operands[0];
        match (self.program.ty(x).dtype, node.ty.dtype) {
            (DType::E2M1, DType::U8) => {
                let half = |engine: &mut Self, half: i64| {
                    let last = engine.indices.constant(half);
                    let inner: Vec<IndexId> = coordinates.iter().copied().chain([last]).collect();
                    engine.emit_guarded(x, &inner, guard)
                };
                let halves = [half(self, 0)?, half(self, 1)?];
                self.per_lane(&halves, |engine, halves| {
                    let mut code = |value| {
                        let value = element::f32_register(&mut engine.k, value)?;
                        element::to_small_float(&mut engine.k, DType::E2M1, value)
                    };
                    let (low, high) = (code(halves[0])?, code(halves[1])?);
                    Ok(engine.k.bfi_b32(high, low, BITS, BITS).into())
                })
            }
            (DType::U8, DType::E2M1) => {
                let (&half, inner) =
                    coordinates.split_last().ok_or_else(|| Fault::contract("codes have a last axis"))?;
                let bytes = self.emit_guarded(x, inner, guard)?;
                let lanes = if bytes.is_uniform() && !self.indices.has_lane(half) { 1 } else { self.lanes() };
                let mut codes = Vec::with_capacity(lanes as usize);
                for lane in 0..lanes {
                    let byte = element::register(&mut self.k, ScalarType::U32, bytes.at(lane))?;
                    let byte: R<B32> = byte.typed().expect("bytes are computed in 32 bits");
                    let at = self.indices.at_lane(half, lane);
                    let code = match self.indices.as_constant(at) {
                        Some(half) => self.k.bfe_u32(byte, half as u32 * BITS, BITS),
                        None => {
                            let half = self.index_register(at, false)?.typed().expect("a narrow index is 32 bits");
                            let bit = self.k.shl_b32(half, BITS.trailing_zeros());
                            let code = self.k.shr_u32(byte, bit);
                            self.k.and_b32(code, (1u32 << BITS) - 1)
                        }
                    };
                    codes.push(element::from_small_float(&mut self.k, DType::E2M1, code)?.into());
                }
                Ok(Lanes::new(codes))
            }
            (from, to) => Err(Fault::contract(format!("a bitcast of {from} to {to}"))),
        }
    }

    /// Whether conversions to e2m1 are instructions: then they round as well, and alike.
    pub(crate) fn converts_to_e2m1(&self) -> bool {
        self.k.target().has(Feature::NarrowFloatConvert)
    }

    /// An even number of values of e2m1 as the words that memory holds: eight in each, or all of them in the lowest bits of one,
    /// whose other bits are anything. Values that no element has are rounded where conversions are instructions.
    pub(crate) fn pack_pairs(&mut self, values: &[Value]) -> Result<Vec<Value>, Fault> {
        let converts = self.converts_to_e2m1();
        let k = &mut self.k;
        let mut words = Vec::with_capacity(values.len().div_ceil(PER_WORD));
        for group in values.chunks(PER_WORD) {
            let registers =
                group.iter().map(|&value| element::f32_register(k, value)).collect::<Result<Vec<_>, _>>()?;
            if converts {
                let bytes: Vec<R<B8>> =
                    registers.chunks_exact(PER_BYTE as usize).map(|pair| k.cvt_e2m1x2_f32(pair[1], pair[0])).collect();
                words.push(match bytes[..] {
                    [a, b, c, d] => k.pack_b8x4([a, b, c, d]).into(),
                    [a, b] => {
                        let half = k.pack_b8x2([a, b]);
                        k.cvt_u32_u16(half).into()
                    }
                    [a] => {
                        let half = k.pack_b8x2([a, a]);
                        k.cvt_u32_u16(half).into()
                    }
                    _ => return Err(Fault::contract("codes share words in powers of two")),
                });
                continue;
            }
            let mut word: Option<R<B32>> = None;
            for (value, position) in registers.into_iter().zip(0..) {
                let code = element::to_small_float(k, DType::E2M1, value)?;
                word = Some(match word {
                    None => code,
                    Some(word) => k.bfi_b32(code, word, position * BITS, BITS),
                });
            }
            words.extend(word.map(Value::from));
        }
        Ok(words)
    }

    /// Stores neighbours of an output that memory holds with two elements to a byte, in threads where `guard` holds. `flat` counts
    /// elements, and is even in the first lane.
    pub(super) fn store_pairs(
        &mut self,
        buffer: Buffer,
        flat: IndexId,
        elements: &Lanes,
        guard: GuardId,
    ) -> Result<(), Fault> {
        let first = self.indices.at_lane(flat, 0);
        let together = self.indices.alignment(first, i64::from(self.lanes())) as u32;
        let neighbours = self.indices.lane_stride(flat) == Some(1) && !self.guard_has_lane(guard);
        if !neighbours || together < PER_BYTE {
            return Err(Fault::contract("elements that share a byte are stored by different threads"));
        }
        for lane in (0..self.lanes()).step_by(together as usize) {
            let at = self.indices.at_lane(flat, lane);
            let (at, _) = self.indices.divide(at, PER_BYTE.into());
            let values: Vec<Value> = (lane..lane + together).map(|lane| elements.at(lane)).collect();
            let packed = self.pack_pairs(&values)?;
            let place = self.place(buffer.pointer, at, 1)?;
            let ty = match together / PER_BYTE {
                1 => ScalarType::U8,
                2 => ScalarType::U16,
                _ => ScalarType::B32,
            };
            let access = Access { space: Space::Global, ty, count: packed.len() as u8, cache: Cache::Default };
            match self.predicate(guard, lane)? {
                None => self.k.store(access, place, &packed)?,
                Some(pred) => self.k.when(pred, |k| k.store(access, place, &packed))?,
            }
        }
        Ok(())
    }
}
