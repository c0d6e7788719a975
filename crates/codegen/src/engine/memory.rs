//! Loads and stores of vectors: as wide as the index proves contiguous and aligned, 16 bytes at most.
//!
//! Buffers start at multiples of 256 bytes, which the memory plan keeps to, so that the alignment of an access is the
//! alignment of its index.

use super::guard::GuardId;
use super::{Buffer, Engine, Lanes};
use crate::element;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ir::{Group, Op};
use gable_ptx::meaning::{Access, Cache, Meaning};
use gable_ptx::{B32, Opcode, Operand, Place, Pred, R, Reg, ScalarType, Space, Value};
use gable_tensor::DType;

/// Bytes of the widest access.
const VECTOR_BYTES: i64 = 16;

/// A value that is elements of one input, moved and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The input.
    pub input: ValueId,
    /// The element of it, counted from its start.
    pub element: IndexId,
}

/// How elements of a type lie in memory.
#[derive(Clone, Copy)]
struct Words {
    /// Type of one register's worth.
    ty: ScalarType,
    /// Registers of one access.
    count: u8,
}

fn words(dtype: DType, elements: u32) -> Words {
    let bytes = dtype.bytes() as u32 * elements;
    let of = |ty: ScalarType, width: u32| Words { ty, count: (bytes / width) as u8 };
    match dtype {
        DType::F32 => of(ScalarType::F32, 4),
        DType::F64 => of(ScalarType::F64, 8),
        DType::I64 | DType::U64 => of(ScalarType::B64, 8),
        _ => match bytes {
            1 => of(ScalarType::U8, 1),
            2 => of(ScalarType::U16, 2),
            _ => of(ScalarType::B32, 4),
        },
    }
}

impl Engine<'_> {
    pub(super) fn load_input(&mut self, value: ValueId, flat: IndexId, guard: GuardId) -> Result<Lanes, Fault> {
        let buffer = *self.inputs.get(&value).ok_or_else(|| Fault::contract("a leaf has no buffer"))?;
        if let Some(lanes) = self.brought.get(&(value, flat)) {
            return Ok(lanes.clone());
        }
        let dtype = self.program.ty(value).dtype;
        let guard_has_lane = self.guard_has_lane(guard);
        if !self.indices.has_lane(flat) && !guard_has_lane {
            return Ok(Lanes::new(self.load(buffer, dtype, flat, 1, guard, 0)?));
        }
        let chunk = match self.indices.lane_stride(flat) {
            Some(1) if !guard_has_lane => self.chunk(dtype, flat),
            _ => 1,
        };
        let mut elements = Vec::with_capacity(self.lanes() as usize);
        for lane in (0..self.lanes()).step_by(chunk as usize) {
            let at = self.indices.at_lane(flat, lane);
            elements.extend(self.load(buffer, dtype, at, chunk, guard, lane)?);
        }
        Ok(Lanes::new(elements))
    }

    /// Loads the elements of an input from position `flat` on, one for each lane, and leaves them as memory holds them, for
    /// [`Engine::bring`]; nothing where one access does not take all.
    pub(crate) fn load_packed(&mut self, value: ValueId, flat: IndexId) -> Result<Option<Vec<Reg>>, Fault> {
        let buffer = *self.inputs.get(&value).ok_or_else(|| Fault::contract("a leaf has no buffer"))?;
        let dtype = self.program.ty(value).dtype;
        let neighbours = self.lanes() == 1 || self.indices.lane_stride(flat) == Some(1);
        if !neighbours || self.chunk(dtype, flat) < self.lanes() {
            return Ok(None);
        }
        let first = self.indices.at_lane(flat, 0);
        let place = self.place(buffer.pointer, first, dtype.bytes())?;
        Ok(Some(self.load_words(buffer, dtype, place, self.lanes(), None)?))
    }

    /// States the elements of an input from position `flat` on, one for each lane, by words as memory holds them: the kernel has
    /// brought them by other means.
    pub(crate) fn bring(&mut self, value: ValueId, flat: IndexId, words: &[Reg]) -> Result<(), Fault> {
        let dtype = self.program.ty(value).dtype;
        let elements = (0..self.lanes()).map(|lane| self.unpack(dtype, words, lane)).collect::<Result<_, _>>()?;
        self.brought.insert((value, flat), Lanes::new(elements));
        Ok(())
    }

    /// How many neighbouring elements one access may take, for an index with lane stride 1.
    fn chunk(&mut self, dtype: DType, flat: IndexId) -> u32 {
        let first = self.indices.at_lane(flat, 0);
        let alignment = self.indices.alignment(first, i64::from(self.lanes()));
        alignment.min(VECTOR_BYTES / dtype.bytes() as i64) as u32
    }

    /// Loads `n` neighbouring elements from `index` on, which has no lane.
    fn load(
        &mut self,
        buffer: Buffer,
        dtype: DType,
        index: IndexId,
        n: u32,
        guard: GuardId,
        lane: u32,
    ) -> Result<Vec<Value>, Fault> {
        let place = self.place(buffer.pointer, index, dtype.bytes())?;
        let pred = self.predicate(guard, lane)?;
        let registers = self.load_words(buffer, dtype, place, n, pred)?;
        (0..n).map(|element| self.unpack(dtype, &registers, element)).collect()
    }

    /// The words that hold `n` neighbouring elements, which one access takes; zeros where `pred` does not hold.
    fn load_words(
        &mut self,
        buffer: Buffer,
        dtype: DType,
        place: Place,
        n: u32,
        pred: Option<R<Pred>>,
    ) -> Result<Vec<Reg>, Fault> {
        let Words { ty, count } = words(dtype, n);
        let cache = if buffer.read_only { Cache::ReadOnly } else { Cache::Default };
        let meaning = Meaning::Load(Access { space: Space::Global, ty, count, cache });
        let row = Opcode::of(meaning).ok_or(gable_ptx::EmitError::NoRow { meaning })?;
        let address = vec![Operand::Address(place)];
        Ok(match pred {
            None => self.k.emit(row, address)?,
            Some(pred) => {
                // Where the guard does not hold the elements are zero, not whatever the register held.
                let class = match row.form().dst {
                    Some(gable_ptx::DstSlot::Reg(class) | gable_ptx::DstSlot::Vector(class, _)) => class,
                    _ => ty.class(),
                };
                let mut registers = Vec::with_capacity(count as usize);
                for _ in 0..count {
                    let register = self.k.fresh_reg(class);
                    let zero: Value = match class {
                        gable_ptx::Class::F32 => 0.0f32.into(),
                        gable_ptx::Class::F64 => 0.0f64.into(),
                        _ => Value::Int(0),
                    };
                    self.k.copy_into(register, zero)?;
                    registers.push(register);
                }
                let result = registers.clone();
                self.k.when(pred, |k| k.emit_into(row, registers, address))?;
                result
            }
        })
    }

    /// The element at `position` among loaded words, as it is computed with.
    fn unpack(&mut self, dtype: DType, words: &[Reg], position: u32) -> Result<Value, Fault> {
        let bits = dtype.bytes() as u32 * 8;
        if bits >= 32 {
            let register = words[position as usize];
            return Ok(match dtype {
                DType::Tf32 => {
                    let value = self.k.f32_of_b32(word(register));
                    element::round_f32(&mut self.k, dtype, value.into())?
                }
                _ => register.into(),
            });
        }
        let bit = position * bits;
        let word = word(words[(bit / 32) as usize]);
        let start = bit % 32;
        let k = &mut self.k;
        Ok(match dtype {
            DType::BF16 => {
                let high = if start == 0 { k.shl_b32(word, 16) } else { k.and_b32(word, 0xFFFF_0000u32) };
                k.f32_of_b32(high).into()
            }
            DType::F16 => {
                let halves = k.unpack_b32(word);
                k.cvt_f32_f16(halves[(start / 16) as usize]).into()
            }
            DType::E4M3 | DType::E5M2 => {
                let byte = k.bfe_u32(word, start, 8u32);
                let byte = k.cvt_u16_u32(byte);
                element::from_float8(k, dtype, byte)?.into()
            }
            DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0 => {
                let byte = k.bfe_u32(word, start, 8u32);
                element::from_small_float(k, dtype, byte)?.into()
            }
            DType::Bool => {
                let byte = k.and_b32(word, 0xFFu32 << start);
                k.setp_ne_u32(byte, 0).into()
            }
            DType::I8 | DType::I16 => k.bfe_s32(word, start, bits).into(),
            DType::U8 | DType::U16 => k.bfe_u32(word, start, bits).into(),
            other => {
                element::compute_type(other)?;
                return Err(Fault::contract(format!("elements of type {other} have no place in a word")));
            }
        })
    }

    /// Stores the elements of output `output` (by position) at `coordinates`, in lanes where `guard` holds.
    pub fn store_output(
        &mut self,
        output: usize,
        coordinates: &[IndexId],
        elements: &Lanes,
        guard: GuardId,
    ) -> Result<(), Fault> {
        let ty = self.program.ty(self.program.outputs[output].0);
        let flat = self.indices.flat(coordinates, &ty.shape);
        let buffer = self.output_buffer(output)?;
        if self.program.packed.contains(&output) {
            return self.store_pairs(buffer, flat, elements, guard);
        }
        self.store_flat(buffer, ty.dtype, flat, elements, guard)
    }

    /// The element that an output holds at `coordinates` by now. There must be one lane.
    pub fn load_output(&mut self, output: usize, coordinates: &[IndexId]) -> Result<Value, Fault> {
        let ty = self.program.ty(self.program.outputs[output].0);
        let flat = self.indices.flat(coordinates, &ty.shape);
        let buffer = self.output_buffer(output)?;
        let loaded = self.load(buffer, ty.dtype, flat, 1, GuardId::ALWAYS, 0)?;
        Ok(loaded[0])
    }

    fn output_buffer(&self, output: usize) -> Result<Buffer, Fault> {
        let buffer = self.outputs.get(&output).copied();
        buffer.ok_or_else(|| Fault::contract(format!("output {output} is another kernel's")))
    }

    pub(crate) fn store_flat(
        &mut self,
        buffer: Buffer,
        dtype: DType,
        flat: IndexId,
        elements: &Lanes,
        guard: GuardId,
    ) -> Result<(), Fault> {
        let guard_has_lane = self.guard_has_lane(guard);
        if !self.indices.has_lane(flat) && !guard_has_lane {
            return self.store(buffer, dtype, flat, &[elements.at(0)], guard, 0);
        }
        let chunk = match self.indices.lane_stride(flat) {
            Some(1) if !guard_has_lane => self.chunk(dtype, flat),
            _ => 1,
        };
        for lane in (0..self.lanes()).step_by(chunk as usize) {
            let at = self.indices.at_lane(flat, lane);
            let values: Vec<Value> = (lane..lane + chunk).map(|lane| elements.at(lane)).collect();
            self.store(buffer, dtype, at, &values, guard, lane)?;
        }
        Ok(())
    }

    fn store(
        &mut self,
        buffer: Buffer,
        dtype: DType,
        index: IndexId,
        values: &[Value],
        guard: GuardId,
        lane: u32,
    ) -> Result<(), Fault> {
        let place: Place = self.place(buffer.pointer, index, dtype.bytes())?;
        let pred = self.predicate(guard, lane)?;
        let Words { ty, count } = words(dtype, values.len() as u32);
        let packed = self.pack(dtype, values)?;
        debug_assert_eq!(packed.len(), count as usize);
        let access = Access { space: Space::Global, ty, count, cache: Cache::Default };
        match pred {
            None => self.k.store(access, place, &packed)?,
            Some(pred) => self.k.when(pred, |k| k.store(access, place, &packed))?,
        }
        Ok(())
    }

    /// Elements as the words that memory holds.
    pub(crate) fn pack(&mut self, dtype: DType, values: &[Value]) -> Result<Vec<Value>, Fault> {
        let k = &mut self.k;
        let ty = element::compute_type(dtype)?;
        let mut words = Vec::new();
        match dtype {
            DType::BF16 | DType::F16 => {
                for pair in values.chunks(2) {
                    let low = element::f32_register(k, pair[0])?;
                    words.push(match (pair.get(1), dtype) {
                        (Some(&high), DType::BF16) => {
                            let high = element::f32_register(k, high)?;
                            k.cvt_bf16x2_f32(high, low).into()
                        }
                        (Some(&high), _) => {
                            let high = element::f32_register(k, high)?;
                            k.cvt_f16x2_f32(high, low).into()
                        }
                        (None, DType::BF16) => {
                            let half = k.cvt_bf16_f32(low);
                            k.cvt_u32_u16(half).into()
                        }
                        (None, _) => {
                            let half = k.cvt_f16_f32(low);
                            k.cvt_u32_u16(half).into()
                        }
                    });
                }
            }
            DType::Tf32 => {
                for &value in values {
                    let value = element::f32_register(k, value)?;
                    words.push(k.b32_of_f32(value).into());
                }
            }
            DType::E4M3 | DType::E5M2 => {
                for group in values.chunks(4) {
                    let mut whole: Option<R<B32>> = None;
                    for (pair, position) in group.chunks(2).zip(0..) {
                        let low = element::f32_register(k, pair[0])?;
                        let high = element::f32_register(k, pair.get(1).copied().unwrap_or(0.0f32.into()))?;
                        let both = match dtype {
                            DType::E4M3 => k.cvt_e4m3x2_f32(high, low),
                            _ => k.cvt_e5m2x2_f32(high, low),
                        };
                        let both = k.cvt_u32_u16(both);
                        whole = Some(match whole {
                            None => both,
                            Some(whole) => k.bfi_b32(both, whole, position * 16, 16),
                        });
                    }
                    words.extend(whole.map(Value::from));
                }
            }
            DType::E2M1 if k.target().has(gable_ptx::Feature::NarrowFloatConvert) => {
                for group in values.chunks(4) {
                    let mut whole: Option<R<B32>> = None;
                    for (pair, position) in group.chunks(2).zip(0..) {
                        let low = element::f32_register(k, pair[0])?;
                        let high = element::f32_register(k, pair.get(1).copied().unwrap_or(0.0f32.into()))?;
                        let both = k.cvt_e2m1x2_f32(high, low);
                        let both = k.pack_b8x2([both, both]);
                        let both = k.cvt_u32_u16(both);
                        let (low, high) = (k.and_b32(both, 0xfu32), k.and_b32(both, 0xf0u32));
                        let both = k.mad_lo_u32(high, 16, low);
                        whole = Some(match whole {
                            None => both,
                            Some(whole) => k.bfi_b32(both, whole, position * 16, 16),
                        });
                    }
                    words.extend(whole.map(Value::from));
                }
            }
            DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::E2M1 | DType::UE8M0 => {
                let bits = dtype.bytes() as u32 * 8;
                let per_word = (32 / bits) as usize;
                for group in values.chunks(per_word) {
                    let mut whole: Option<R<B32>> = None;
                    for (&value, position) in group.iter().zip(0..) {
                        let part: R<B32> = match dtype {
                            DType::Bool => {
                                let truth = element::predicate(k, value)?;
                                k.selp_b32(1, 0, truth)
                            }
                            DType::E2M1 | DType::UE8M0 => {
                                let value = element::f32_register(k, value)?;
                                element::to_small_float(k, dtype, value)?
                            }
                            _ => word(element::register(k, ty, value)?),
                        };
                        whole = Some(match whole {
                            None => part,
                            Some(whole) => k.bfi_b32(part, whole, position * bits, bits),
                        });
                    }
                    words.extend(whole.map(Value::from));
                }
            }
            DType::E2M3 | DType::E3M2 => return Err(element::not_written(dtype)),
            _ => words.extend(values),
        }
        Ok(words)
    }

    /// Where `value` at `coordinates` comes from, when it is elements of one input and only moved on the way, without
    /// padding or gathering. Writes no instructions.
    pub fn view(&mut self, value: ValueId, coordinates: &[IndexId]) -> Option<View> {
        let program = self.program;
        let node = &program.values[value];
        match &node.op {
            Op::Input(_) | Op::Weight(_) => {
                let element = self.indices.flat(coordinates, &node.ty.shape);
                Some(View { input: value, element })
            }
            op if op.is(Group::Movement) => {
                let inner = self.moved(node, coordinates)?;
                self.view(node.operands[0], &inner)
            }
            _ => None,
        }
    }

    /// As `view`, where one conversion may stand on the way; and the element type before it.
    pub fn converted_view(&mut self, value: ValueId, coordinates: &[IndexId]) -> Option<(View, DType)> {
        if let Some(view) = self.view(value, coordinates) {
            return Some((view, self.program.ty(view.input).dtype));
        }
        let program = self.program;
        let node = &program.values[value];
        match &node.op {
            Op::Cast(_) => {
                let view = self.view(node.operands[0], coordinates)?;
                Some((view, program.ty(view.input).dtype))
            }
            op if op.is(Group::Movement) => {
                let inner = self.moved(node, coordinates)?;
                self.converted_view(node.operands[0], &inner)
            }
            _ => None,
        }
    }

    /// The pointer of an input, for kernels that load by other means.
    pub fn input_pointer(&self, input: ValueId) -> Option<R<gable_ptx::B64>> {
        self.inputs.get(&input).map(|buffer| buffer.pointer)
    }
}

fn word(register: Reg) -> R<B32> {
    register.typed().expect("elements under 32 bits are loaded in 32-bit words")
}
